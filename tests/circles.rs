//! Row R3: a circle of rules that goes by what is outside, and that no check can see in the files, ends as one dead letter.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{create_topics, service};
use crate::support::{Broker, free_port, listed, project, run};

/// How long the test waits for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// One event, that each of the two rules takes for a reason of its own.
const RULES: &str = r#"
[[rule]]
name = "begin"
from = ["events"]
target = { sink = "to-a", input = "INPUT" }

[[rule]]
name = "there"
from = ["a"]
pattern = { data = { there = [true] } }
target = { sink = "to-b", input = "INPUT" }

[[rule]]
name = "back"
from = ["b"]
pattern = { data = { back = [true] } }
target = { sink = "to-a", input = "INPUT" }
"#;

/// Waits until what is listed has come to be so.
async fn wait(folder: &Path, arguments: &[&str], is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let found = listed(folder, arguments);
        if is_so(&found) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{arguments:?}: {found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Lets one event go round through a project whose sources and sinks these are.
async fn ends_after_16(blocks: &str, port: u16, input: &str) {
    let main = format!("[server]\nlisten = \"127.0.0.1:{port}\"\n{blocks}");
    let folder = project(&[("eventyard.toml", &main), ("rules/circle.toml", &RULES.replace("INPUT", input))]);
    let folder = folder.path();
    let mut broker = Broker::start("run", folder);
    wait(folder, &["sources", "list", "--json"], |sources| {
        let ours = || sources.iter().filter(|source| source["name"] == "a" || source["name"] == "b");
        ours().count() == 2 && ours().all(|source| source["state"] == "running" || source["state"] == "listening")
    })
    .await;
    let sent = run(&["events", "send", "--type", "round", "--data", "{\"there\": true, \"back\": true}"], folder);
    assert_eq!(sent.code, 0, "{}{}", sent.stdout, sent.stderr);
    let letters = wait(folder, &["dead-letters", "list", "--json"], |letters| !letters.is_empty()).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(letter["reason"]["code"], "loop_detected", "{letter}");
    // It was sent on 16 times, by `begin` first and then by both in turn, and not once more.
    assert_eq!(letter["rule"], "back", "{letter}");
    let shown = run(&["events", "show", letter["event"].as_str().unwrap()], folder);
    assert!(shown.stdout.contains("passed on 16 times"), "{}{}", shown.stdout, shown.stderr);
    let deliveries = listed(folder, &["deliveries", "list", "--json", "--limit", "100"]);
    assert_eq!(deliveries.iter().filter(|delivery| delivery["state"] == "delivered").count(), 16, "{deliveries:?}");
    assert_eq!(broker.terminate(), Some(0));
}

/// A source and a sink of each of two places.
fn both(a: &str, b: &str, block: impl Fn(&str, &str) -> String) -> String {
    [("a", a), ("b", b)].into_iter().map(|(name, place)| block(name, place)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_topics_of_kafka_whatever_is_made_of_the_event() {
    let Some(said) = service("kafka") else { return };
    let brokers = &said["KAFKA_BROKERS"];
    for input in ["raw", "event", "data"] {
        let place = format!("circle-{}-{}", std::process::id(), free_port());
        let (a, b) = (format!("{place}-a"), format!("{place}-b"));
        create_topics(brokers, &[&a, &b]).await;
        let blocks = both(&a, &b, |name, topic| {
            format!(
                "[source.{name}]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = \"{topic}\"\ngroup = \"{topic}\"\n\
                 start = \"earliest\"\n[sink.to-{name}]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\n"
            )
        });
        ends_after_16(&blocks, free_port(), input).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_queues_of_rabbitmq() {
    let Some(said) = service("rabbitmq") else { return };
    let url = &said["AMQP_URL"];
    let place = format!("circle-{}-{}", std::process::id(), free_port());
    // A source that remembers ids ends the circle by itself, for its messages have the id of the event.
    let blocks = both(&format!("{place}-a"), &format!("{place}-b"), |name, queue| {
        format!(
            "[source.{name}]\nkind = \"amqp\"\nurl = \"{url}\"\nqueue = \"{queue}\"\ndeclare = \"queue\"\n\
             dedupe = \"off\"\n\
             [sink.to-{name}]\nkind = \"amqp\"\nurl = \"{url}\"\nexchange = \"\"\nrouting_key = \"{queue}\"\n"
        )
    });
    ends_after_16(&blocks, free_port(), "data").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_subjects_of_nats() {
    let Some(said) = service("nats") else { return };
    let servers = &said["NATS_URL"];
    let place = format!("circle-{}-{}", std::process::id(), free_port());
    let blocks = both(&format!("{place}.a"), &format!("{place}.b"), |name, subject| {
        format!(
            "[source.{name}]\nkind = \"nats\"\nservers = \"{servers}\"\nsubject = \"{subject}\"\n\
             [sink.to-{name}]\nkind = \"nats\"\nservers = \"{servers}\"\nsubject = \"{subject}\"\njetstream = false\n"
        )
    });
    ends_after_16(&blocks, free_port(), "data").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_addresses_of_the_broker_itself() {
    let port = free_port();
    let blocks = both("/in/a", "/in/b", |name, path| {
        format!(
            "[source.{name}]\nkind = \"http\"\npath = \"{path}\"\n\
             [sink.to-{name}]\nkind = \"http\"\nurl = \"http://127.0.0.1:{port}{path}\"\n"
        )
    });
    ends_after_16(&blocks, port, "data").await;
}
