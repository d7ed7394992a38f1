//! What comes out of topics.

use std::sync::Arc;
use std::time::Duration;

use eventyard_connectors::source::{IntakeError, Seek, SeekError};
use eventyard_connectors::supervise::SourceState;

use super::cluster::{Disk, Running, assert_exactly, now, shared, source, unique, until};

fn keys(brokers: &str, topic: &str, more: &str) -> String {
    format!("brokers = [\"{brokers}\"]\ntopics = [\"{topic}\"]\ngroup = \"{topic}\"\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_are_counted_exactly_and_in_order() {
    let Some(kafka) = shared() else { return };
    let topic = unique("counted");
    kafka.create_topic(&topic, 3, &[]).await;
    kafka.produce(&topic, 3, 0..10_000).await;
    let disk = Arc::<Disk>::default();
    let running = Running::start(source(&keys(&kafka.brokers, &topic, "")).unwrap(), &disk);
    until("all are there", || disk.count() >= 10_000).await;
    running.stop().await;
    assert_exactly(&disk.numbers(), 10_000, 3);
    let told = kafka.committed(&topic, &topic, 3);
    assert_eq!(told.values().sum::<i64>(), 10_000, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_is_told_only_what_is_on_disk() {
    let Some(kafka) = shared() else { return };
    let topic = unique("told");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..10).await;
    let disk = Arc::<Disk>::default();
    let full = IntakeError::BacklogFull { retry_after: Some(Duration::from_millis(200)) };
    disk.kept.lock().unwrap().refuse = Some(full);
    let running = Running::start(source(&keys(&kafka.brokers, &topic, "")).unwrap(), &disk);
    until("it is refused", || running.control.status().state == SourceState::BackingOff).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(kafka.committed(&topic, &topic, 1).is_empty());
    disk.kept.lock().unwrap().refuse = None;
    until("the group is told", || kafka.committed(&topic, &topic, 1).get(&0) == Some(&10)).await;
    running.stop().await;
    assert_exactly(&disk.numbers(), 10, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_moment_repeats_and_loses_nothing() {
    let Some(kafka) = shared() else { return };
    let topic = unique("deaths");
    kafka.create_topic(&topic, 2, &[]).await;
    kafka.produce(&topic, 2, 0..3_000).await;
    let disk = Arc::<Disk>::default();
    disk.kept.lock().unwrap().takes = Duration::from_millis(5);
    let settings = "batch = { max = 50 }\noptions = { \"session.timeout.ms\" = \"6000\" }\n";
    let mut deaths = 0;
    while disk.count() < 3_000 {
        let before = disk.count();
        let running = Running::start(source(&keys(&kafka.brokers, &topic, settings)).unwrap(), &disk);
        until("some more are there", || disk.count() > before + 400 || disk.count() == 3_000).await;
        running.die().await;
        deaths += 1;
    }
    assert!(deaths > 2, "{deaths}");
    // What was taken was taken once, by the position in the frame: the group knew less at each death.
    assert_exactly(&disk.numbers(), 3_000, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn start_says_where_a_new_group_begins() {
    let Some(kafka) = shared() else { return };
    let topic = unique("start");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let time = now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    kafka.produce(&topic, 1, 5..8).await;
    let at_time = Arc::<Disk>::default();
    let more = format!("start = \"{time}\"");
    let running = Running::start(source(&keys(&kafka.brokers, &topic, &more)).unwrap(), &at_time);
    until("those since then", || at_time.count() >= 3).await;
    running.stop().await;
    assert_eq!(at_time.numbers(), [5, 6, 7]);

    let latest = Arc::<Disk>::default();
    let settings = keys(&kafka.brokers, &topic, "start = \"latest\"").replace("group = \"", "group = \"two-");
    let running = Running::start(source(&settings).unwrap(), &latest);
    // The place is saved before anything came, so that a stop now loses nothing.
    until("the place is saved", || kafka.committed(&format!("two-{topic}"), &topic, 1).get(&0) == Some(&8)).await;
    running.stop().await;
    kafka.produce(&topic, 1, 8..10).await;
    let running = Running::start(source(&settings).unwrap(), &latest);
    until("what came during the stop", || latest.count() >= 2).await;
    running.stop().await;
    assert_eq!(latest.numbers(), [8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_once_it_says_running_is_read() {
    let Some(kafka) = shared() else { return };
    let topic = unique("running");
    kafka.create_topic(&topic, 3, &[]).await;
    kafka.produce(&topic, 3, 0..3).await;
    let disk = Arc::<Disk>::default();
    let settings = keys(&kafka.brokers, &topic, "start = \"latest\"");
    let first = Running::start(source(&settings).unwrap(), &disk);
    until("it runs", || first.control.status().state == SourceState::Running).await;
    kafka.produce(&topic, 3, 3..9).await;
    until("what came since then", || disk.count() >= 6).await;
    first.stop().await;
    // Its places are known already, and nothing comes.
    let batches = disk.kept.lock().unwrap().batches;
    let first = Running::start(source(&settings).unwrap(), &disk);
    until("it runs again", || first.control.status().state == SourceState::Running).await;
    assert_eq!(disk.kept.lock().unwrap().batches, batches, "there is nothing to commit");
    // Of four members of a group one has no partition, and is as ready as the others to be given one.
    let more = [1, 2, 3].map(|instance| Running::start_instance(source(&settings).unwrap(), &disk, instance));
    for running in &more {
        until("all run", || running.control.status().state == SourceState::Running).await;
    }
    kafka.produce(&topic, 3, 9..12).await;
    until("what came since then", || disk.count() >= 9).await;
    for running in more.into_iter().chain([first]) {
        running.stop().await;
    }
    let mut numbers = disk.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9, 10, 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_finds_topics_that_are_made_later_and_partitions_that_are_added() {
    let Some(kafka) = shared() else { return };
    let pattern = unique("pattern");
    let (first, second) = (format!("{pattern}-a"), format!("{pattern}-b"));
    kafka.create_topic(&first, 1, &[]).await;
    kafka.produce(&first, 1, 0..3).await;
    let disk = Arc::<Disk>::default();
    let settings = format!(
        "brokers = \"{}\"\ntopics = \"^{pattern}-.*\"\ngroup = \"{pattern}\"\nstart = \"latest\"\n\
         options = {{ \"topic.metadata.refresh.interval.ms\" = \"500\" }}",
        kafka.brokers
    );
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("the first is read", || kafka.committed(&pattern, &first, 1).contains_key(&0)).await;
    kafka.add_partitions(&first, 2).await;
    // Before anybody has seen the new partition: `latest` is for what was there at the start.
    kafka.produce(&first, 2, 10..14).await;
    until("the added partition is read", || disk.count() >= 4).await;
    kafka.create_topic(&second, 1, &[]).await;
    until("the new topic is read", || kafka.committed(&pattern, &second, 1).contains_key(&0)).await;
    kafka.produce(&second, 1, 20..22).await;
    until("the new topic is read", || disk.count() >= 6).await;
    running.stop().await;
    let mut numbers = disk.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 11, 12, 13, 20, 21]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_fits_no_topic_yet_runs_and_finds_the_first() {
    let Some(kafka) = shared() else { return };
    let pattern = unique("nothing-yet");
    let topic = format!("{pattern}-a");
    let disk = Arc::<Disk>::default();
    // The second is no pattern, and not there either: that alone stops nobody.
    let settings = format!(
        "brokers = \"{}\"\ntopics = [\"^{pattern}-.*\", \"{pattern}\"]\ngroup = \"{pattern}\"\n\
         options = {{ \"topic.metadata.refresh.interval.ms\" = \"500\" }}",
        kafka.brokers
    );
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("it runs", || running.control.status().state == SourceState::Running).await;
    assert_eq!(running.control.status().last_error, None);
    kafka.create_topic(&topic, 2, &[]).await;
    kafka.produce(&topic, 2, 0..6).await;
    until("the new topic is read", || disk.count() >= 6).await;
    assert_eq!(running.control.status().state, SourceState::Running);
    running.stop().await;
    assert_exactly(&disk.numbers(), 6, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_what_is_not_on_disk() {
    let Some(kafka) = shared() else { return };
    let topic = unique("lag");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..100).await;
    let disk = Arc::<Disk>::default();
    disk.kept.lock().unwrap().takes = Duration::from_millis(700);
    let running = Running::start(source(&keys(&kafka.brokers, &topic, "batch = { max = 10 }")).unwrap(), &disk);
    until("there is some", || running.control.status().lag.is_some_and(|lag| lag > 0 && lag < 100)).await;
    disk.kept.lock().unwrap().takes = Duration::ZERO;
    until("there is none", || running.control.status().lag == Some(0)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_goes_back_and_on_and_outlives_a_stop() {
    let Some(kafka) = shared() else { return };
    let topic = unique("seek");
    kafka.create_topic(&topic, 1, &[]).await;
    kafka.produce(&topic, 1, 0..10).await;
    let disk = Arc::<Disk>::default();
    let settings = keys(&kafka.brokers, &topic, "");
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("all are there", || disk.count() == 10).await;
    running.control.seek(Seek::Earliest).await.unwrap();
    until("all are there again", || disk.count() == 20).await;
    running.control.seek(Seek::Position(format!("{topic}/0/7"))).await.unwrap();
    until("the last three are there again", || disk.count() == 23).await;
    running.control.pause();
    running.control.seek(Seek::Position(format!("{topic}/0/8"))).await.unwrap();
    running.stop().await;
    let running = Running::start(source(&settings).unwrap(), &disk);
    until("the last two are there again", || disk.count() == 25).await;
    let nowhere = running.control.seek(Seek::Position("somewhere".to_owned())).await;
    assert!(matches!(nowhere, Err(SeekError::BadPosition { .. })));
    running.control.seek(Seek::Latest).await.unwrap();
    kafka.produce(&topic, 1, 10..12).await;
    until("what is new", || disk.count() == 27).await;
    running.stop().await;
    let wanted: Vec<u64> = (0..10).chain(0..10).chain(7..10).chain(8..10).chain(10..12).collect();
    assert_eq!(disk.numbers(), wanted);
}
