//! What every source promises.

use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::source::Seek;
use eventyard_connectors::supervise::SourceState;
use serde_json::Value;

use crate::broker::{Disk, numbered, run};
use crate::proxy::Proxy;
use crate::system::System;

/// How long a source may take to notice that nothing comes through any more, and to connect again.
const PATIENCE_SECONDS: u64 = 60;

/// A name that no other run of a test has.
pub(crate) fn fresh(promise: &str) -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    // Short: some systems allow few characters.
    let short: String = promise.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("{short}{:x}", nanos & 0xff_ffff_ffff)
}

async fn prepared(system: &dyn System, promise: &str) -> (String, Proxy, Value) {
    let place = fresh(promise);
    system.prepare(&place).await;
    let proxy = system.proxy().await;
    let settings = system.source(proxy.address(), &place);
    (place, proxy, settings)
}

fn bodies(numbers: std::ops::Range<u64>) -> Vec<Bytes> {
    numbers.map(|n| numbered(n, 200)).collect()
}

/// Waits until the system has nothing left to give or to have acknowledged.
async fn until_acknowledged(system: &dyn System, place: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(PATIENCE_SECONDS);
    loop {
        let left = system.unacknowledged(place).await.unwrap_or(0);
        if left == 0 {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{left} are not acknowledged");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_each_once(disk: &Disk, count: u64) {
    let mut numbers = disk.numbers();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "{} events, wanted 0..{count} once each", numbers.len());
}

pub(crate) async fn ten_thousand_are_counted_exactly_and_in_order(system: &dyn System, promise: &str) {
    let (place, _proxy, settings) = prepared(system, promise).await;
    let many = system.many();
    system.produce(&place, bodies(0..many)).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    disk.until(usize::try_from(many).unwrap(), 240).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    assert!(disk.numbers().into_iter().eq(0..many), "each once, in order");
    assert!(disk.undecodable().is_empty());
}

pub(crate) async fn nothing_is_acknowledged_before_it_is_taken(system: &dyn System, promise: &str) {
    let (place, _proxy, settings) = prepared(system, promise).await;
    system.produce(&place, bodies(0..50)).await;
    let disk = Disk::new();
    disk.refuse(true);
    let running = run(system, &settings, &disk);
    while disk.offers() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A server's count may lag behind; what is acknowledged never comes back to it.
    let patience = tokio::time::Instant::now() + Duration::from_secs(PATIENCE_SECONDS);
    while system.unacknowledged(&place).await.is_some_and(|left| left != 50) {
        assert!(tokio::time::Instant::now() < patience, "fewer than 50 are unacknowledged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(disk.saved(), None, "and no position is ahead of the events");
    disk.refuse(false);
    disk.until(50, PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    assert_each_once(&disk, 50);
}

pub(crate) async fn what_was_read_and_not_committed_comes_again(system: &dyn System, promise: &str) {
    let (place, _proxy, settings) = prepared(system, promise).await;
    system.produce(&place, bodies(0..200)).await;
    let disk = Disk::new();
    disk.refuse(true);
    let running = run(system, &settings, &disk);
    while disk.offers() < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.kill().await;
    assert_eq!(disk.count(), 0);
    disk.refuse(false);
    let running = run(system, &settings, &disk);
    // And killed again, somewhere in the middle.
    tokio::time::sleep(Duration::from_millis(150)).await;
    running.kill().await;
    let running = run(system, &settings, &disk);
    disk.until(200, 2 * PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    assert_each_once(&disk, 200);
}

pub(crate) async fn a_server_that_restarts_is_gone_on_with(system: &dyn System, promise: &str) {
    let (place, proxy, settings) = prepared(system, promise).await;
    system.produce(&place, bodies(0..500)).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    disk.until(500, PATIENCE_SECONDS).await;
    if !system.restart().await {
        proxy.shut();
        running.until_failed(PATIENCE_SECONDS).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.open();
    }
    system.produce(&place, bodies(500..1000)).await;
    disk.until(1000, 2 * PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    assert_each_once(&disk, 1000);
}

pub(crate) async fn a_cut_connection_is_made_again(system: &dyn System, promise: &str) {
    let (place, proxy, settings) = prepared(system, promise).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    for round in 0..5u64 {
        system.produce(&place, bodies(round * 100..(round + 1) * 100)).await;
        disk.until(usize::try_from(round * 100 + 20).unwrap(), 2 * PATIENCE_SECONDS).await;
        proxy.cut();
    }
    disk.until(500, 2 * PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    assert_each_once(&disk, 500);
}

pub(crate) async fn a_swallowed_connection_is_noticed(system: &dyn System, promise: &str) {
    let (place, proxy, settings) = prepared(system, promise).await;
    system.produce(&place, bodies(0..100)).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    disk.until(100, PATIENCE_SECONDS).await;
    proxy.swallow();
    system.produce(&place, bodies(100..200)).await;
    running.until_failed(PATIENCE_SECONDS).await;
    proxy.open();
    proxy.cut();
    disk.until(200, 2 * PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    assert_each_once(&disk, 200);
}

pub(crate) async fn poison_in_the_middle_is_a_dead_letter(system: &dyn System, promise: &str) {
    if !system.decodes() {
        return;
    }
    let (place, _proxy, mut settings) = prepared(system, promise).await;
    settings["codec"] = "json".into();
    settings["max_size"] = "64KiB".into();
    let mut bodies = bodies(0..100);
    bodies[30] = Bytes::from_static(b"no JSON\xff");
    bodies[60] = Bytes::from(vec![b'x'; 128 * 1024]);
    system.produce(&place, bodies).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    disk.until(98, PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    let shown = running.control.status();
    assert_eq!(
        (shown.last_error.unwrap().code.as_str(), shown.failure_count),
        ("too_large", 0),
        "shown, and no failure"
    );
    running.stop().await;
    let dead = disk.undecodable();
    let seen: Vec<(&str, u64)> = dead.iter().map(|dead| (dead.code.as_str(), dead.size)).collect();
    assert_eq!(seen, [("decode", 8), ("too_large", 128 * 1024)]);
    assert!(dead.iter().all(|dead| !dead.at.is_empty()), "{dead:?}");
    assert_ne!(dead[0].at, dead[1].at);
    assert_eq!(dead[0].raw, b"no JSON\xff".as_slice());
}

pub(crate) async fn a_paused_source_reads_nothing(system: &dyn System, promise: &str) {
    let (place, _proxy, settings) = prepared(system, promise).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    system.produce(&place, bodies(0..10)).await;
    disk.until(10, PATIENCE_SECONDS).await;
    running.control.pause();
    let mut watch = running.control.watch();
    watch.wait_for(|status| status.state == SourceState::Paused).await.unwrap();
    system.produce(&place, bodies(10..20)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(disk.count(), 10);
    running.control.resume();
    disk.until(20, PATIENCE_SECONDS).await;
    running.stop().await;
    assert_each_once(&disk, 20);
}

pub(crate) async fn a_seek_to_the_beginning_reads_all_again(system: &dyn System, promise: &str) {
    let (place, _proxy, settings) = prepared(system, promise).await;
    system.produce(&place, bodies(0..100)).await;
    let disk = Disk::new();
    let running = run(system, &settings, &disk);
    disk.until(100, PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    match running.control.seek(Seek::Earliest).await {
        Err(eventyard_connectors::source::SeekError::Unsupported) => return running.stop().await,
        sought => sought.unwrap(),
    }
    disk.until(200, PATIENCE_SECONDS).await;
    until_acknowledged(system, &place).await;
    running.stop().await;
    let mut numbers = disk.numbers();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq((0..100).flat_map(|n| [n, n])));
}
