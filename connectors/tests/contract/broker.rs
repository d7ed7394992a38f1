//! The broker as a source sees it, in memory: what it has taken outlives the source, as the disk outlives the process.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventyard_connectors::registry::{BuiltSource, build_source};
use eventyard_connectors::source::{Batch, Incoming, Intake, IntakeError, Source, Undecodable};
use eventyard_connectors::spec::{Role, common_fields, normalise};
use eventyard_connectors::supervise::{Backoff, SourceControl, Supervision, supervise};
use eventyard_event::{Limits, Name, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::system::System;

/// What is on disk.
#[derive(Default)]
pub(crate) struct Disk {
    kept: Mutex<Kept>,
    /// Offers are refused while this is set.
    refuses: AtomicBool,
    offers: AtomicU64,
}

#[derive(Default)]
struct Kept {
    events: Vec<Incoming>,
    undecodable: Vec<Undecodable>,
    position: Option<Vec<u8>>,
    seen: HashSet<(String, String)>,
}

impl Disk {
    pub(crate) fn new() -> Arc<Disk> {
        Arc::default()
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn offers(&self) -> u64 {
        self.offers.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self) -> usize {
        self.kept.lock().unwrap().events.len()
    }

    /// The number of each event, in the order in which they were committed: `n` of its data, or where that only names an
    /// object, the end of the object's key.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let number = |incoming: &Incoming| {
            let data: Value = serde_json::from_slice(incoming.event.data.bytes()).unwrap();
            let named = || data["key"].as_str()?.rsplit('/').next()?.parse().ok();
            data["n"].as_u64().or_else(named).unwrap()
        };
        self.kept.lock().unwrap().events.iter().map(number).collect()
    }

    /// How far the source has come, as it is saved.
    pub(crate) fn saved(&self) -> Option<Vec<u8>> {
        self.kept.lock().unwrap().position.clone()
    }

    pub(crate) fn events(&self) -> Vec<Incoming> {
        self.kept.lock().unwrap().events.clone()
    }

    pub(crate) fn undecodable(&self) -> Vec<Undecodable> {
        self.kept.lock().unwrap().undecodable.clone()
    }

    /// Waits until so many events are there; fails after so long with what is missing.
    pub(crate) async fn until(&self, count: usize, seconds: u64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        while self.count() < count {
            assert!(tokio::time::Instant::now() < deadline, "{} of {count} after {seconds} s", self.count());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[async_trait]
impl Intake for Disk {
    async fn offer(&self, batch: &mut Batch) -> Result<(), IntakeError> {
        self.offers.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(IntakeError::Unavailable { message: "told to refuse".to_owned(), retry_after: None });
        }
        let mut kept = self.kept.lock().unwrap();
        let Batch { events, undecodable, position } = std::mem::take(batch);
        for incoming in events {
            let id = (incoming.event.source.to_string(), incoming.event.id.to_string());
            let duplicate = incoming.dedupe.is_some() && !kept.seen.insert(id);
            if !duplicate {
                kept.events.push(incoming);
            }
        }
        for undecodable in undecodable {
            let id = ("undecodable".to_owned(), Value::Object(undecodable.at.clone()).to_string());
            if undecodable.dedupe.is_none() || kept.seen.insert(id) {
                kept.undecodable.push(undecodable);
            }
        }
        kept.position = position.or(kept.position.take());
        Ok(())
    }

    async fn position(&self) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(self.kept.lock().unwrap().position.clone())
    }

    async fn last_settled(&self) -> Result<bool, IntakeError> {
        Ok(true)
    }
}

/// A source that runs.
pub(crate) struct Running {
    pub(crate) control: SourceControl,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Ends it as a program ends that is told to.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends it as a program ends that is killed: nothing is closed or said, its connections break.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Waits until its last error has this code.
    pub(crate) async fn until_failed(&self, seconds: u64) -> String {
        let mut watch = self.control.watch();
        let failed = watch.wait_for(|status| status.failure_count > 0);
        let failed = tokio::time::timeout(Duration::from_secs(seconds), failed).await;
        let status = failed.unwrap_or_else(|_| panic!("no failure within {seconds} s: {:?}", self.control.status()));
        status.unwrap().last_error.clone().unwrap().code
    }
}

/// Runs a source of a system on a disk. `change` may add keys.
pub(crate) fn run(system: &dyn System, settings: &Value, disk: &Arc<Disk>) -> Running {
    let stop = CancellationToken::new();
    let supervision = Supervision {
        intake: Arc::clone(disk) as Arc<dyn Intake>,
        clock: Arc::new(now),
        random: Box::new(|| 0.5),
        // Shorter than a broker's: tests wait for it.
        backoff: Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1), jitter: 0.2 },
        paused: false,
        instance: 0,
        limits: Limits::default(),
        stop: stop.clone(),
    };
    let (control, run) = supervise(source(system.kind(), settings), supervision);
    Running { control, stop, task: tokio::spawn(run) }
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn source(kind: &str, settings: &Value) -> Box<dyn Source> {
    let plain = plain(Role::Source, kind, settings);
    let name = Name::new("contract").unwrap();
    match build_source(kind, &name, &plain, now()) {
        Ok((BuiltSource::Polled(source), _)) => source,
        Ok(_) => panic!("{kind} is not polled"),
        Err(errors) => panic!("{errors:?}"),
    }
}

/// The settings as a connector reads them.
pub(crate) fn plain(role: Role, kind: &str, settings: &Value) -> Value {
    let spec = eventyard_connectors::registry::spec(role, kind).unwrap();
    let known = |key: &str| common_fields(role).iter().any(|field| field.name == key);
    let own = settings.as_object().unwrap().clone().into_iter().filter(|(key, _)| !known(key)).collect();
    Value::Object(normalise(spec.fields, &own).unwrap_or_else(|errors| panic!("{errors:?}")))
}

/// A message of JSON with this number, of about this many bytes.
pub(crate) fn numbered(n: u64, bytes: usize) -> bytes::Bytes {
    let mut text = json!({ "n": n, "pad": "" }).to_string();
    let pad = bytes.saturating_sub(text.len());
    text.insert_str(text.len() - 2, &"x".repeat(pad));
    text.into()
}
