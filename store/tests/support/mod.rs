//! What the store's tests share: short ways to write events, commits and settlements.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a module of tests, of which each test file uses a part"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{Clock, Data, DeliveryId, Envelope, Event, EventId, Name, Timestamp, format_text};
use eventyard_store::{
    Admission, AfterDead, AttemptOutcome, AttemptRecord, Begin, Commit, Dedupe, Lane, LocalStore, NewDelivery, Options,
    QueueKey, Reason, Settlement, Split, Store, Taken, Verdict, VerifyReport, verify,
};

/// Long enough for every test; the local store ignores it.
pub const LEASE: Duration = Duration::from_secs(60);

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

/// A clock that stands still.
pub fn clock(millis: i64) -> Clock {
    Arc::new(move || at(millis))
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn queue(target: &str) -> QueueKey {
    QueueKey { namespace: name("default"), rule: Some(name("rule")), target: name(target) }
}

pub fn event_id(number: u64) -> EventId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    EventId::new(at(0), random)
}

pub fn envelope(number: u64, received_at: Timestamp) -> Envelope {
    Envelope {
        id: event_id(number),
        namespace: name("default"),
        source_name: name("shop"),
        tags: vec!["finance".to_owned()],
        received_at,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: format_text!("id-{number}"),
            source: "/sources/shop".into(),
            ty: "order.created".into(),
            data: Data::Json(Bytes::from(format!("{{\"number\":{number}}}"))),
            ..Event::default()
        },
    }
}

pub fn delivery(target: &str, due_at: Timestamp) -> NewDelivery {
    NewDelivery { queue: queue(target).into(), lane: None, due_at, snapshot: [7; 16], split: None }
}

/// One delivery for each of `count` elements.
pub fn split_in(count: u32, target: &str, due_at: Timestamp) -> NewDelivery {
    NewDelivery { split: Some(Split { path: "data.items".into(), count }), ..delivery(target, due_at) }
}

pub fn in_lane(target: &str, key: &str, after_dead: AfterDead, due_at: Timestamp) -> NewDelivery {
    let lane = Lane { key: key.as_bytes().to_vec(), after_dead };
    NewDelivery { lane: Some(lane), ..delivery(target, due_at) }
}

pub fn admission(number: u64, deliveries: Vec<NewDelivery>) -> Admission {
    Admission { envelope: envelope(number, at(0)).into(), deliveries, dedupe: None, dead: None }
}

/// An event whose one delivery is a dead letter from the start.
pub fn stillborn(number: u64) -> Admission {
    let reason = Reason { code: "decode".to_owned(), message: "it is no JSON".to_owned() };
    Admission { dead: Some(reason), ..admission(number, vec![delivery("a", at(0))]) }
}

pub fn deduped(number: u64, id: &str, received_at: Timestamp, window: Duration) -> Admission {
    let mut envelope = envelope(number, received_at);
    envelope.event.id = id.into();
    Admission {
        envelope: envelope.into(),
        deliveries: vec![delivery("a", received_at)],
        dedupe: Some(Dedupe { window }),
        dead: None,
    }
}

pub fn commit(admissions: Vec<Admission>) -> Commit {
    Commit { admissions, position: None }
}

/// Commits one event with one delivery to the target `a`.
pub async fn put(store: &LocalStore, number: u64) -> DeliveryId {
    store.commit(commit(vec![admission(number, vec![delivery("a", at(0))])])).await.unwrap();
    event_id(number).delivery(0)
}

pub async fn take(store: &LocalStore, target: &str, count: usize, now: Timestamp) -> Vec<Taken> {
    store.take(&queue(target), count, now, LEASE).await.unwrap()
}

pub fn begin(delivery: DeliveryId, at: Timestamp) -> Begin {
    Begin { delivery, at, backoff_if_interrupted: Duration::from_secs(5) }
}

pub fn attempt(number: u32, outcome: AttemptOutcome) -> AttemptRecord {
    AttemptRecord {
        number,
        began_at: at(1),
        ended_at: at(2),
        outcome,
        code: if outcome == AttemptOutcome::Succeeded { String::new() } else { "http_503".to_owned() },
        message: "what happened".to_owned(),
        response: "the answer".to_owned(),
    }
}

pub fn delivered(delivery: DeliveryId, number: u32) -> Settlement {
    Settlement {
        delivery,
        attempt: Some(attempt(number, AttemptOutcome::Succeeded)),
        verdict: Verdict::Delivered,
        at: at(3),
        emits: Vec::new(),
    }
}

pub fn retried(delivery: DeliveryId, number: u32, retry_at: Timestamp) -> Settlement {
    Settlement {
        attempt: Some(attempt(number, AttemptOutcome::Retryable)),
        verdict: Verdict::Retry { at: retry_at, counted: true },
        ..delivered(delivery, number)
    }
}

pub fn died(delivery: DeliveryId, number: u32, dead_at: Timestamp) -> Settlement {
    let reason = Reason { code: "attempts_exhausted".to_owned(), message: "it failed too often".to_owned() };
    Settlement {
        attempt: Some(attempt(number, AttemptOutcome::Retryable)),
        verdict: Verdict::Dead { reason },
        at: dead_at,
        ..delivered(delivery, number)
    }
}

/// Settles one that must be settled.
pub async fn settle(store: &LocalStore, settlement: Settlement) {
    for result in store.settle(vec![settlement]).await {
        result.unwrap();
    }
}

/// Small files, so that tests cross their borders.
pub fn small() -> Options {
    Options { segment_bytes: 64 * 1024, first_segment_bytes: 64 * 1024, ..Options::default() }
}

pub fn open(dir: &std::path::Path) -> (LocalStore, eventyard_store::OpenReport) {
    LocalStore::open(dir, small(), clock(0)).unwrap()
}

/// What `verify` says of a folder.
pub fn look(dir: &Path) -> VerifyReport {
    verify(dir, at(0), &mut |_| {}).unwrap()
}

/// The file of a segment.
pub fn segment(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("journal/{number:010}.seg"))
}

/// Changes the bytes of a file.
pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Every file below a folder, with its bytes.
pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Commits 60 events of three kilobytes, which takes several segments; each has an id of its sender.
pub async fn put_sixty(store: &LocalStore) {
    for number in 0..60 {
        let mut admission = deduped(number, &format!("sender-{number}"), at(0), Duration::from_secs(3600));
        std::sync::Arc::make_mut(&mut admission.envelope).event.data = Data::Bytes(vec![0x5a; 3000].into());
        store.commit(commit(vec![admission])).await.unwrap();
    }
}

/// Settles the delivery: of four in turn one is to be retried, one dead, two delivered.
pub async fn settle_in_turn(store: &LocalStore, index: usize, id: DeliveryId) {
    match index % 4 {
        0 => settle(store, retried(id, 1, at(500))).await,
        1 => settle(store, died(id, 1, at(9))).await,
        _ => settle(store, delivered(id, 1)).await,
    }
}
