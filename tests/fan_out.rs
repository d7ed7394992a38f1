//! examples/fan-out against real servers: one event to four places, one of them down and caught up with later.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use crate::support::{Broker, copy_project, free_port, run, run_with};

/// How long the test waits for anything.
const PATIENCE: Duration = Duration::from_secs(90);
const ORDERS: usize = 60;

/// A server of the test's own, which ends with it.
struct Own {
    name: String,
    port: u16,
}

impl Own {
    fn nats(&self, word: &str) -> Option<String> {
        let called = script("nats")
            .arg(word)
            .env("EVENTYARD_SERVICE_NAME", &self.name)
            .env("NATS_PORT", self.port.to_string())
            .output()
            .unwrap();
        called.status.success().then(|| String::from_utf8(called.stdout).unwrap())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.nats("wipe");
    }
}

fn script(service: &str) -> Command {
    let mut command = Command::new(format!("{}/tests/services/{service}.sh", env!("CARGO_MANIFEST_DIR")));
    command.stderr(Stdio::inherit());
    command
}

/// What a shared server's script says of how to reach it; `None`, and a word about it, where there can be none.
#[expect(clippy::print_stdout, reason = "who runs the tests is to see what they leave out")]
fn reach(service: &str, key: &str) -> Option<String> {
    let started = script(service).arg("start").output().unwrap();
    if !started.status.success() {
        assert!(std::env::var_os("EVENTYARD_SERVICES_REQUIRED").is_none(), "{service} does not start");
        println!("skipped: {service} does not start here");
        return None;
    }
    let said = String::from_utf8(started.stdout).unwrap();
    said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

async fn create_topic(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
    for made in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
}

/// Makes the stream by NATS's own words: what a client library would say for us.
fn create_stream(port: u16) {
    let stream = json!({ "name": "ORDERS", "subjects": ["orders.>"] }).to_string();
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        connection,
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.ORDERS answer {}\r\n{stream}\r\n",
        stream.len()
    )
    .unwrap();
    let mut lines = BufReader::new(connection).lines();
    let answer = lines.find(|line| line.as_ref().unwrap().contains("stream_create_response")).unwrap().unwrap();
    assert!(!answer.contains("\"error\""), "{answer}");
}

/// How often each order stands in the files of a place.
fn received(place: &Path) -> BTreeMap<u64, u32> {
    let mut orders = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(place) else { return orders };
    for entry in entries {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        // The last line may be half written at this moment.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&event["source"], &event["type"]), (&"/shop".into(), &"order.placed".into()), "{event}");
            *orders.entry(event["data"]["order"].as_u64().unwrap()).or_default() += 1;
        }
    }
    orders
}

/// Waits until every order stands in the files of a place, once, or `repeats` of them again.
async fn all_received(place: &Path, repeats: usize) {
    let began = Instant::now();
    loop {
        let orders = received(place);
        if orders.len() == ORDERS {
            let again = orders.values().filter(|times| **times > 1).count();
            assert!(again <= repeats, "{}: {orders:?}", place.display());
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{}: {} of {ORDERS}", place.display(), orders.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn listed(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let ended = run(arguments, folder);
    let list: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
    list["items"].as_array().unwrap().clone()
}

fn start(folder: &Path, variables: &[(&str, String)]) -> Broker {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Broker::start_with("run", folder, &variables)
}

fn place_order(folder: &Path, order: usize) {
    let event = json!({
        "specversion": "1.0", "id": order.to_string(), "source": "/shop", "type": "order.placed",
        "data": { "order": order, "customer": format!("customer-{}", order % 7) },
    });
    let sent = run_with(&["events", "send", "-"], folder, &event.to_string());
    assert_eq!(sent.code, 0, "{}{}", sent.stdout, sent.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_is_down_is_caught_up_with_and_nobody_waits_for_it() {
    let Some(brokers) = reach("kafka", "KAFKA_BROKERS") else { return };
    let Some(amqp) = reach("rabbitmq", "AMQP_URL") else { return };
    // Its programs are there or are made now; the server itself is not to run yet.
    if reach("nats", "NATS_URL").is_none() {
        return;
    }
    let own = Own { name: format!("nats-fan-out-{}", std::process::id()), port: free_port() };
    let name = format!("fan-out-{}-{}", std::process::id(), own.port);
    create_topic(&brokers, &name).await;

    let folder = copy_project("examples/fan-out");
    let receiving: PathBuf = folder.path().join("receiver");
    for project in [folder.path(), &receiving] {
        assert_eq!(run(&["check"], project).code, 0);
    }
    let receiver_port = free_port();
    let variables = [
        ("KAFKA_BROKERS", brokers),
        ("AMQP_URL", amqp),
        ("NATS_URL", format!("nats://127.0.0.1:{}", own.port)),
        ("TOPIC", name.clone()),
        ("QUEUE", name),
        ("PARTNER_URL", format!("http://127.0.0.1:{receiver_port}/events")),
        ("RECEIVER_LISTEN", format!("127.0.0.1:{receiver_port}")),
    ];
    let receiver = start(&receiving, &variables);
    let mut broker = start(folder.path(), &variables);
    for order in 0..ORDERS {
        place_order(folder.path(), order);
        if order == ORDERS / 2 {
            broker.kill();
            broker = start(folder.path(), &variables);
        }
    }
    let place = |name: &str| receiving.join("received").join(name);
    // What was under way when the broker was killed is sent again; a webhook and a stream know it by its id.
    all_received(&place("warehouse"), 1).await;
    all_received(&place("billing"), 1).await;
    all_received(&place("partner"), 0).await;
    assert!(received(&place("mailing")).is_empty());
    let waiting = listed(folder.path(), &["deliveries", "list", "--json", "--limit", "1000"]);
    let waiting: Vec<&Value> = waiting.iter().filter(|delivery| delivery["state"] != "delivered").collect();
    assert_eq!(waiting.len(), ORDERS, "{waiting:#?}");
    assert!(waiting.iter().all(|delivery| delivery["target"] == "mailing"), "{waiting:#?}");

    own.nats("start").expect("NATS starts");
    create_stream(own.port);
    all_received(&place("mailing"), 0).await;
    assert!(listed(folder.path(), &["dead-letters", "list", "--json"]).is_empty());
    drop((broker, receiver));
}
