//! A store's notifications through a real queue: MinIO really sends them to Kafka, RabbitMQ and JetStream, and the
//! source of an object store reads them from there.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::store::{Kind, bucket_name, store_with};
use super::{DEADLINE, events, get, start};
use crate::servers::{create_stream, create_topics, service};
use crate::support::{Broker, free_port, project};

/// What stumbles over encodings; what MinIO itself refuses (a segment `..`) is in the tests of the reader.
const KEYS: [&str; 7] = [
    "in/plain.txt",
    "in/two words.txt",
    "in/a+b%20c%2Fd.txt",
    "in/über/日本語 🎉.txt",
    "in/..hidden../a..b",
    "in/%2e%2e/%2e%2e/etc/passwd",
    "in/a&b='c'\".txt",
];

const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.store-events]
QUEUE

[source.uploads]
kind = "s3"
endpoint = "ENDPOINT"
bucket = "BUCKET"
prefix = "in/"
access_key_id = "eventyard"
secret_access_key = "eventyard-secret"
notifications = { from = "store-events" }

[sink.nowhere]
kind = "discard"
"#;

const RULES: &str = r#"
[[rule]]
name = "seen"
from = ["uploads"]
target = { sink = "nowhere" }
"#;

/// Puts and deletes objects on a MinIO of its own that sends to `queue` (its word for it), and holds the events of a
/// source that reads there against them.
async fn come_through(queue: &str, target: &[(&str, String)], source: &str) {
    let at = free_port();
    let mut variables = vec![
        ("MINIO_INSTANCE".to_owned(), format!("-{queue}-{}", std::process::id())),
        ("MINIO_PORT".to_owned(), at.to_string()),
    ];
    let own =
        |(name, value): &(&str, String)| (format!("MINIO_NOTIFY_{}_{name}_1", queue.to_uppercase()), value.clone());
    // With a folder to keep events in: without one, what the queue does not take at once is lost.
    let unsent = tempfile::tempdir().unwrap();
    let kept = ("QUEUE_DIR", unsent.path().to_str().unwrap().to_owned());
    variables.extend(target.iter().chain(&[kept, ("ENABLE", "on".to_owned())]).map(own));
    let bucket = bucket_name();
    let main = PROJECT.replace("PORT", &free_port().to_string()).replace("QUEUE", source);
    let main = main.replace("ENDPOINT", &format!("http://127.0.0.1:{at}")).replace("BUCKET", &bucket);
    let folder = project(&[("eventyard.toml", &main), ("rules/seen.toml", RULES)]);
    let broker = start(folder.path(), &[]);
    running(&broker).await;
    let Some(store) = store_with(Kind::Minio, &variables, bucket).await else { return };
    store.tell_of_changes(queue).await;
    for key in KEYS {
        store.put(key, key.as_bytes()).await;
    }
    // Another prefix's is none of this source's.
    store.put("elsewhere/a.txt", b"a").await;
    for key in &KEYS[..3] {
        store.delete(key).await;
    }
    let created = of(&broker, "s3.object_created", KEYS.len()).await;
    let deleted = of(&broker, "s3.object_deleted", 3).await;
    let keys = |events: &[Value]| -> BTreeSet<String> {
        events.iter().map(|event| event["data"]["key"].as_str().unwrap().to_owned()).collect()
    };
    let wanted = |keys: &[&str]| -> BTreeSet<String> { keys.iter().map(|key| (*key).to_owned()).collect() };
    assert_eq!((created.len(), deleted.len()), (KEYS.len(), 3));
    assert_eq!((keys(&created), keys(&deleted)), (wanted(&KEYS), wanted(&KEYS[..3])));
    for event in created.iter().chain(&deleted) {
        let data = &event["data"];
        assert_eq!((&event["source"], &data["bucket"]), (&"/sources/uploads".into(), &store.bucket.as_str().into()));
        assert_eq!(event["subject"], format!("{}/{}", store.bucket, data["key"].as_str().unwrap()));
        assert!(
            data["sequencer"].is_string() && data["event_name"].as_str().unwrap().starts_with("Object"),
            "{event:#}"
        );
    }
    let sizes = created.iter().all(|event| event["data"]["size"] == event["data"]["key"].as_str().unwrap().len());
    assert!(sizes, "{created:?}");
    let shown = get(&broker, "/api/v1/sources/uploads").await;
    assert_eq!(shown["state"], "running", "it is as well as the one that it takes from: {shown:#}");
    // What became events of the one source is none of the other's, but for what belongs to neither.
    let list = get(&broker, "/api/v1/events?limit=1000").await;
    let ours = |event: &&Value| event["cloudevent"]["source"] == "/sources/uploads";
    let others = list["items"].as_array().unwrap().iter().filter(|event| !ours(event)).count();
    assert_eq!(others, 1, "{list:#}");
}

/// The CloudEvents of a type.
async fn of(broker: &Broker, ty: &str, count: usize) -> Vec<Value> {
    events(broker, ty, count).await.into_iter().map(|event| event["cloudevent"].clone()).collect()
}

async fn running(broker: &Broker) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let shown = get(broker, "/api/v1/sources").await;
        let source = shown["items"].as_array().unwrap().iter().find(|one| one["name"] == "store-events").unwrap();
        if source["state"] == "running" {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{source:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_minio_says_through_kafka_becomes_the_same_events() {
    let Some(said) = service("kafka") else { return };
    let (brokers, topic) = (said["KAFKA_BROKERS"].clone(), bucket_name());
    create_topics(&brokers, &[&topic]).await;
    let target = [("BROKERS", brokers.clone()), ("TOPIC", topic.clone()), ("VERSION", "2.8.0".to_owned())];
    let source = format!("kind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = \"{topic}\"\ngroup = \"{topic}\"");
    come_through("kafka", &target, &source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_minio_says_through_rabbitmq_becomes_the_same_events() {
    let Some(said) = service("rabbitmq") else { return };
    let (url, name) = (said["AMQP_URL"].clone(), bucket_name());
    let target = [
        ("URL", url.clone()),
        ("EXCHANGE", name.clone()),
        ("EXCHANGE_TYPE", "direct".to_owned()),
        ("ROUTING_KEY", "photos".to_owned()),
        ("DURABLE", "on".to_owned()),
        ("DELIVERY_MODE", "2".to_owned()),
        ("PUBLISHER_CONFIRMS", "on".to_owned()),
    ];
    let address = url.split_once('@').unwrap().1;
    let source = format!(
        "kind = \"amqp\"\nurl = \"amqp://{address}\"\nusername = \"guest\"\npassword = {{ env = \"SECRET\", default = \"guest\" }}\n\
         queue = \"{name}\"\nexchange = \"{name}\"\nexchange_type = \"direct\"\nrouting_key = \"photos\"\ndeclare = \"all\""
    );
    come_through("amqp", &target, &source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_minio_says_through_jetstream_becomes_the_same_events() {
    let Some(said) = service("nats") else { return };
    let (address, name) = (said["NATS_URL"].trim_start_matches("nats://").to_owned(), bucket_name());
    create_stream(&address, &name, &format!("{name}.>")).await;
    let target = [("ADDRESS", address.clone()), ("SUBJECT", format!("{name}.photos")), ("JETSTREAM", "on".to_owned())];
    let source = format!("kind = \"nats\"\nservers = \"{address}\"\nstream = \"{name}\"");
    come_through("nats", &target, &source).await;
}
