//! Events that are committed and settled, and what the kernel says that it cost.

use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp, format_text};
use eventyard_store::{
    Admission, AttemptOutcome, AttemptRecord, Begin, Commit, Dedupe, LocalStore, NewDelivery, QueueKey, Settlement,
    Store, StoreError, Verdict,
};

/// Any time will do.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// Events of one commit while a store is filled.
pub(crate) const COMMIT_EVENTS: u64 = 100;
/// Commits that wait at the same time.
const WRITERS: usize = 8;
/// Deliveries that are attempted at the same time.
const ATTEMPTS: usize = 64;
const DATA_BYTES: usize = 1024;
const LEASE: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::new(text).expect("a name of this program is a name")
}

fn queue() -> QueueKey {
    QueueKey { namespace: Name::default_namespace(), rule: Some(name("orders")), target: name("ship") }
}

fn admission(number: u64) -> Admission {
    let mut random = [0; 10];
    // As spread as random numbers are, and never the same twice: multiplication by an odd number is a bijection.
    random[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    let mut data = br#"{"order":""#.to_vec();
    data.resize(DATA_BYTES - 2, b'7');
    data.extend_from_slice(b"\"}");
    let event = Event {
        id: format_text!("order-{number}"),
        source: "/sources/shop".into(),
        ty: "order.created".into(),
        datacontenttype: Some("application/json".into()),
        data: Data::Json(Bytes::from(data)),
        ..Event::default()
    };
    let envelope = Envelope {
        id: EventId::new(NOW, random),
        namespace: Name::default_namespace(),
        source_name: name("shop"),
        tags: Vec::new(),
        received_at: NOW,
        hop_count: 0,
        keys_unique: true,
        event,
    };
    let delivery = NewDelivery { queue: queue().into(), lane: None, due_at: NOW, snapshot: [7; 16], split: None };
    let dedupe = Some(Dedupe { window: Duration::from_secs(24 * 3600) });
    Admission { envelope: envelope.into(), deliveries: vec![delivery], dedupe, dead: None }
}

/// Commits so many events, none of which is ever attempted.
pub(crate) async fn fill(store: &LocalStore, count: u64) -> Result<(), StoreError> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, next) = (store.clone(), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let first = next.fetch_add(COMMIT_EVENTS, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                let admissions = (first..count.min(first + COMMIT_EVENTS)).map(admission).collect();
                store.commit(Commit { admissions, position: None }).await?;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap_or(Err(StoreError::Closed))?;
    }
    Ok(())
}

/// Commits so many events one by one, attempts and settles each, and gives the bytes written for one.
pub(crate) async fn settle(store: &LocalStore, count: u64) -> Result<f64, StoreError> {
    // The segments ahead are being made, and their zeros are no part of it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = written_bytes();
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..ATTEMPTS {
        let (store, next) = (store.clone(), Arc::clone(&next));
        writers.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let number = next.load(Ordering::Relaxed) ^ fastrand::u64(..) << 32;
                store.commit(Commit { admissions: vec![admission(number)], position: None }).await?;
                for taken in store.take(&queue(), 1, NOW, LEASE).await? {
                    attempt(&store, taken.delivery).await?;
                }
            }
            Ok(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap_or(Err(StoreError::Closed))?;
    }
    Ok((written_bytes() - before) as f64 / count as f64)
}

async fn attempt(store: &LocalStore, delivery: eventyard_event::DeliveryId) -> Result<(), StoreError> {
    let refused = |error| StoreError::Corrupt(format!("{error}"));
    let begin = Begin { delivery, at: NOW, backoff_if_interrupted: Duration::from_secs(5) };
    store.begin(vec![begin]).await.into_iter().collect::<Result<(), _>>().map_err(refused)?;
    let attempt = AttemptRecord {
        number: 1,
        began_at: NOW,
        ended_at: NOW,
        outcome: AttemptOutcome::Succeeded,
        code: String::new(),
        message: String::new(),
        response: "204 No Content".to_owned(),
    };
    let verdict = Verdict::Delivered;
    let settlement = Settlement { delivery, attempt: Some(attempt), verdict, at: NOW, emits: Vec::new() };
    store.settle(vec![settlement]).await.into_iter().collect::<Result<(), _>>().map_err(refused)
}

/// Bytes that this process has handed to write calls so far.
fn written_bytes() -> u64 {
    field(&read_to_string("/proc/self/io").unwrap_or_default(), "wchar: ")
}

/// Memory of this process now and at most, in MiB.
pub(crate) fn memory() -> (u64, u64) {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    (field(&status, "VmRSS:") / 1024, field(&status, "VmHWM:") / 1024)
}

fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Processor time of this process so far, in seconds, all threads and the kernel's part included.
pub(crate) fn processor_seconds() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the program's name, which may hold anything, in brackets; in ticks of which Linux has 100 a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
