//! What may go wrong: bad messages, wrong credentials, topics that go, servers that die.

use std::sync::Arc;
use std::time::Duration;

use eventyard_connectors::supervise::SourceState;
use eventyard_event::ExtensionValue;

use super::cluster::{Disk, Running, assert_exactly, own, shared, source, unique, until};

fn keys(brokers: &str, topic: &str, more: &str) -> String {
    format!("brokers = [\"{brokers}\"]\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_becomes_a_dead_letter_and_the_partition_goes_on() {
    let Some(kafka) = shared() else { return };
    let topic = unique("poison");
    kafka.create_topic(&topic, 1, &[("max.message.bytes", "20000000")]).await;
    let large = vec![b'x'; 3_000_000];
    let names: Vec<String> = (0..1_000).map(|number| format!("h{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    kafka.produce_one(&topic, Some(b"k"), Some(b"{\"n\":0}"), &[]).await;
    kafka.produce_one(&topic, None, Some(b"no json"), &[]).await;
    kafka.produce_one(&topic, Some(b"k"), None, &[]).await;
    kafka.produce_one(&topic, None, Some(&large), &[]).await;
    kafka.produce_one(&topic, Some(b"\xff"), Some(b"\xff\xfe"), &[]).await;
    kafka.produce_one(&topic, None, Some(b"{\"n\":1}"), &many).await;
    let whole = [("ce_specversion", "1.0"), ("ce_id", "7"), ("ce_source", "/shop"), ("ce_type", "t")];
    kafka
        .produce_one(&topic, None, Some(b"{\"n\":2}"), &[&whole[..], &[("content-type", "application/json")]].concat())
        .await;
    let disk = Arc::<Disk>::default();
    let running = Running::start(source(&keys(&kafka.brokers, &topic, "codec = \"json\"")).unwrap(), &disk);
    until("all are there", || disk.count() + disk.kept.lock().unwrap().dead.len() >= 7).await;
    until("the group is told", || kafka.committed(&topic, &topic, 1).get(&0) == Some(&7)).await;
    running.stop().await;
    let kept = disk.kept.lock().unwrap();
    let dead: Vec<(&str, i64, u64, usize)> = kept
        .dead
        .iter()
        .map(|dead| (dead.code.as_str(), dead.at["offset"].as_i64().unwrap(), dead.size, dead.raw.len()))
        .collect();
    assert_eq!(
        dead,
        [("decode", 1, 7, 7), ("tombstone", 2, 0, 0), ("too_large", 3, 3_000_000, 65_536), ("decode", 4, 2, 2)]
    );
    assert_eq!(kept.dead[1].at["key"], "k");
    let events: Vec<&eventyard_event::Event> = kept.events.iter().map(|incoming| &incoming.event).collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].extensions["key"], ExtensionValue::String("k".into()));
    assert_eq!(events[1].id, format!("{topic}/0/5"));
    assert!(events[1].extensions.len() <= 64 && !events[1].extensions.contains_key("key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_tried_again_and_never_shown() {
    let Some(kafka) = shared() else { return };
    let topic = unique("sasl");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..3).await;
    let login = |password: &str| {
        let sasl = format!("sasl = {{ username = \"eventyard\", password = \"{password}\" }}");
        source(&keys(&kafka.sasl_brokers, &topic, &sasl)).unwrap()
    };
    let disk = Arc::<Disk>::default();
    let wrong = Running::start(login("hunter2-is-wrong"), &disk);
    until("it fails twice", || wrong.control.status().failure_count >= 2).await;
    let error = wrong.control.status().last_error.unwrap();
    assert_eq!(error.code, "auth", "{}", error.message);
    assert!(!error.message.contains("hunter2"), "{}", error.message);
    wrong.stop().await;
    assert_eq!(disk.count(), 0);
    let right = Running::start(login("right"), &disk);
    until("it reads", || disk.count() == 3).await;
    right.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_no_topic_are_told_apart() {
    let Some(kafka) = shared() else { return };
    let topic = unique("not-there-yet");
    let disk = Arc::<Disk>::default();
    let nobody = Running::start(source(&keys("127.0.0.1:9", "nobody", "")).unwrap(), &disk);
    until("it fails", || nobody.control.status().failure_count > 0).await;
    assert_eq!(nobody.control.status().last_error.unwrap().code, "connect");
    nobody.stop().await;
    let missing = Running::start(source(&keys(&kafka.brokers, &topic, "")).unwrap(), &disk);
    until("it fails", || missing.control.status().failure_count > 0).await;
    assert_eq!(missing.control.status().last_error.unwrap().code, "topic_missing");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..2).await;
    until("it reads once the topic is there", || disk.count() == 2).await;
    missing.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_is_read_from_its_start() {
    let Some(kafka) = shared() else { return };
    let topic = unique("again");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..50).await;
    let disk = Arc::<Disk>::default();
    let settings = keys(&kafka.brokers, &topic, "");
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("it reads", || disk.count() == 50).await;
    running.stop().await;
    // The new one has more messages than the old one's place, so that no offset is out of range.
    kafka.delete_topic(&topic).await;
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 100..200).await;
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("all of the new one", || disk.count() >= 150).await;
    running.stop().await;
    let numbers = disk.numbers();
    assert_eq!(numbers[50..], (100..200).collect::<Vec<u64>>());

    // And one with fewer.
    kafka.delete_topic(&topic).await;
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 300..310).await;
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("all of the shorter one", || disk.count() >= 160).await;
    running.stop().await;
    assert_eq!(disk.numbers()[150..], (300..310).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_has_deleted_is_passed_over() {
    let Some(kafka) = shared() else { return };
    let topic = unique("retention");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..20).await;
    let disk = Arc::<Disk>::default();
    let settings = keys(&kafka.brokers, &topic, "");
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("it reads", || disk.count() == 20).await;
    running.stop().await;
    kafka.produce(&topic, 1, 20..40).await;
    kafka.delete_records(&topic, 30).await;
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("what is left", || disk.count() >= 30).await;
    running.stop().await;
    assert_eq!(disk.numbers()[20..], (30..40).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_between_read_and_commit_costs_nothing() {
    let Some(kafka) = own(9292, "kafka-killed") else { return };
    let topic = unique("killed");
    kafka.create_topic(&topic, 2, &[]).await;
    kafka.produce(&topic, 2, 0..2_000).await;
    let disk = Arc::<Disk>::default();
    disk.kept.lock().unwrap().takes = Duration::from_millis(30);
    let running = Running::start(source(&keys(&kafka.brokers, &topic, "batch = { max = 50 }")).unwrap(), &disk);
    until("it reads", || disk.count() > 300).await;
    kafka.kill();
    until("it notices", || running.control.status().state == SourceState::BackingOff).await;
    assert_eq!(running.control.status().last_error.unwrap().code, "connect");
    kafka.start_again();
    kafka.produce(&topic, 2, 2_000..3_000).await;
    until("it goes on", || disk.count() >= 3_000).await;
    running.stop().await;
    assert_exactly(&disk.numbers(), 3_000, 2);
    kafka.wipe();
}
