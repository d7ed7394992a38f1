//! From Kafka by a rule to Kafka, through the real program and a real Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;

use super::servers::{create_topics, service};
use super::support::{Broker, free_port, project, run};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(90);

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

async fn produce(brokers: &str, topic: &str, values: impl Iterator<Item = String>) {
    let producer: FutureProducer = config(brokers).set("linger.ms", "2").create().unwrap();
    let mut reports = Vec::new();
    for value in values {
        let record = FutureRecord::<str, str>::to(topic).payload(&value);
        reports.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
    }
    for report in reports {
        report.await.unwrap().unwrap();
    }
}

/// How often each number came out, once so many different ones are there.
fn consume(brokers: &str, topic: &str, wanted: usize) -> BTreeMap<u64, u32> {
    let consumer: BaseConsumer = config(brokers).set("group.id", "looking").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..3 {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut seen = BTreeMap::new();
    let began = Instant::now();
    while seen.len() < wanted {
        assert!(began.elapsed() < PATIENCE, "{} of {wanted} came out", seen.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let data: Value = serde_json::from_slice(message.unwrap().payload().unwrap()).unwrap();
            *seen.entry(data["n"].as_u64().unwrap()).or_default() += 1;
        }
    }
    seen
}

fn numbers(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|number| format!("{{\"n\":{number},\"even\":{}}}", number % 2 == 0))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_takes_goes_from_topic_to_topic_whatever_is_killed() {
    let Some(said) = service("kafka") else { return };
    let brokers = said["KAFKA_BROKERS"].clone();
    let run_id = free_port();
    let (from, to) =
        (format!("e2e-in-{run_id}-{}", std::process::id()), format!("e2e-out-{run_id}-{}", std::process::id()));
    create_topics(&brokers, &[&from, &to]).await;
    let main = format!(
        "[server]\nlisten = \"127.0.0.1:{}\"\n\n\
         [source.orders]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = \"{from}\"\ngroup = \"{from}\"\n\
         codec = \"json\"\ninstances = 2\nfilter = {{ data = {{ even = [true] }} }}\n\
         options = {{ \"session.timeout.ms\" = \"6000\" }}\n\n\
         [sink.warehouse]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{to}\"\nkey = \"data.n\"\n",
        free_port()
    );
    let rules = "[[rule]]\nname = \"pass\"\nfrom = [\"orders\"]\n\
                 target = { sink = \"warehouse\", concurrency = 200 }\n";
    let folder = project(&[("eventyard.toml", &main), ("rules/pass.toml", rules)]);
    produce(&brokers, &from, numbers(0..4_000)).await;
    let mut broker = Broker::start("run", folder.path());
    consume(&brokers, &to, 300);
    broker.kill();
    let mut broker = Broker::start("run", folder.path());
    produce(&brokers, &from, numbers(4_000..6_000)).await;
    produce(&brokers, &from, ["no json".to_owned()].into_iter()).await;
    let seen = consume(&brokers, &to, 3_000);
    assert!(seen.keys().all(|number| number % 2 == 0));
    // Who reads twice after the kill would make an event anew; those that were under way are sent again, and those of
    // which it was not on the disk yet that they had come.
    let again = seen.values().filter(|count| **count > 1).count();
    assert!(again <= 1_000, "{again} came out more than once");

    let listed = |arguments: &[&str]| {
        let ended = run(arguments, folder.path());
        serde_json::from_str::<Value>(&ended.stdout).unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr))
    };
    let began = Instant::now();
    let letter = loop {
        let letters = listed(&["dead-letters", "list", "--json"]);
        let items = letters.get("items").unwrap_or(&letters).as_array().unwrap().clone();
        if let Some(letter) = items.into_iter().find(|letter| letter["kind"] == "source") {
            break letter;
        }
        assert!(began.elapsed() < PATIENCE, "no dead letter");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(letter["reason"]["code"], "decode", "{letter}");
    assert_eq!(letter["at"]["topic"], from.as_str(), "{letter}");
    assert_eq!(broker.terminate(), Some(0));
}
