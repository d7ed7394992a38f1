//! Groups: members that come and go, sources that are paused.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Disk, PATIENCE, Running, assert_exactly, shared, source, unique, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_in_the_middle_loses_and_repeats_nothing() {
    let Some(kafka) = shared() else { return };
    let topic = unique("shared");
    kafka.create_topic(&topic, 4, &[]).await;
    let settings =
        format!("brokers = \"{}\"\ntopics = \"{topic}\"\ngroup = \"{topic}\"\nbatch = {{ max = 100 }}", kafka.brokers);
    let disk = Arc::<Disk>::default();
    disk.kept.lock().unwrap().takes = Duration::from_millis(20);
    let first = Running::start_instance(source(&settings).unwrap(), &disk, 0);
    let mut count = 4_000;
    kafka.produce(&topic, 4, 0..count).await;
    until("the first reads", || disk.count() > 500).await;
    let second = Running::start_instance(source(&settings).unwrap(), &disk, 1);
    let began = std::time::Instant::now();
    // Partitions move while messages come and are read.
    while second.control.status().event_count < 500 {
        assert!(began.elapsed() < PATIENCE, "the second gets nothing");
        kafka.produce(&topic, 4, count..count + 400).await;
        count += 400;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kafka.produce(&topic, 4, count..count + 4_000).await;
    count += 4_000;
    first.stop().await;
    kafka.produce(&topic, 4, count..count + 400).await;
    count += 400;
    until("the second goes on alone", || disk.count() as u64 >= count).await;
    second.stop().await;
    assert_exactly(&disk.numbers(), count, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_its_place_in_the_group_and_bounds_what_is_held() {
    let Some(kafka) = shared() else { return };
    let topic = unique("paused");
    kafka.create_topic(&topic, 1, &[]).await;
    let settings = format!(
        "brokers = \"{}\"\ntopics = \"{topic}\"\ngroup = \"{topic}\"\n\
         options = {{ \"max.poll.interval.ms\" = \"6000\", \"session.timeout.ms\" = \"6000\" }}",
        kafka.brokers
    );
    let disk = Arc::<Disk>::default();
    let running = Running::start(source(&settings).unwrap(), &disk);
    kafka.produce(&topic, 1, 0..10).await;
    until("it reads", || disk.count() == 10).await;
    running.control.pause();
    kafka.produce(&topic, 1, 10..30_000).await;
    // Longer than a member may be silent.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(disk.count(), 10);
    running.control.resume();
    until("the rest is there", || disk.count() >= 30_000).await;
    assert_eq!(running.control.status().last_error, None);
    running.stop().await;
    assert_exactly(&disk.numbers(), 30_000, 1);
}
