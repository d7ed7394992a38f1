//! examples/fan-out against real servers: one event to four places, one of them down and caught up with later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::servers::{create_stream, create_topics, script, service};
use crate::support::{Broker, copy_project, eventyard, free_port, listed, run, run_with};

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
    let (Some(kafka), Some(amqp)) = (service("kafka"), service("rabbitmq")) else { return };
    let brokers = kafka["KAFKA_BROKERS"].clone();
    // Its programs are there or are made now; the server itself is not to run yet.
    if service("nats").is_none() {
        return;
    }
    let own = Own { name: format!("nats-fan-out-{}", std::process::id()), port: free_port() };
    let name = format!("fan-out-{}-{}", std::process::id(), own.port);
    create_topics(&brokers, &[&name]).await;

    let folder = copy_project("examples/fan-out");
    let receiving: PathBuf = folder.path().join("receiver");
    for project in [folder.path(), &receiving] {
        assert_eq!(run(&["check"], project).code, 0);
    }
    let receiver_port = free_port();
    let variables = [
        ("KAFKA_BROKERS", brokers),
        ("AMQP_URL", amqp["AMQP_URL"].clone()),
        ("NATS_URL", format!("nats://127.0.0.1:{}", own.port)),
        ("TOPIC", name.clone()),
        ("QUEUE", name),
        ("PARTNER_URL", format!("http://127.0.0.1:{receiver_port}/events")),
        ("RECEIVER_LISTEN", format!("127.0.0.1:{receiver_port}")),
    ];
    // As its README says: the folders of a project do not depend on where it is started.
    let receiver = {
        let mut command = eventyard(&["run", "receiver"], folder.path());
        Broker::spawn(command.envs(variables.iter().map(|(name, value)| (name, value))).stderr(Stdio::inherit()))
    };
    let mut broker = Broker::start_with("run", folder.path(), &variables);
    for order in 0..ORDERS {
        place_order(folder.path(), order);
        if order == ORDERS / 2 {
            broker.kill();
            broker = Broker::start_with("run", folder.path(), &variables);
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
    create_stream(&format!("127.0.0.1:{}", own.port), "ORDERS", "orders.>").await;
    all_received(&place("mailing"), 0).await;
    assert!(listed(folder.path(), &["dead-letters", "list", "--json"]).is_empty());
    drop((broker, receiver));
}
