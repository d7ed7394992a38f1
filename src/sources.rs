//! The sources that the broker keeps going; `intake` is the handle by which each of them reaches it.
//!
//! Http sources are not among them: the server asks those about each request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventyard_connectors::source::{ManualFiring, Seek, SeekError, Source};
use eventyard_connectors::supervise::{
    Backoff, LastError, SourceControl, SourceState, SourceStatus, Supervision, supervise,
};
use eventyard_event::{Name, Timestamp};
use eventyard_rules::PatternSet;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::config::{AlertKind, SourceDef};
use crate::intake::{IntakeError, Receipt};
use crate::origin::Origin;
use crate::telemetry::metrics::SourceLabel;

mod intake;

use intake::SourceIntake;

/// A source that fails this often in a row is down, and people are told: with the supervisor's pauses that is
/// after about fifteen seconds.
const FAILURES_UNTIL_DOWN: u32 = 4;

/// The reason of an alert of a source whose credentials, rights or certificate are refused.
const CONNECTOR_AUTH: &str = "connector_auth";

/// How long a source may take to go on from elsewhere before whoever asked is told that it takes long.
const SEEK_WAIT: Duration = Duration::from_secs(30);

/// A source as it is declared: what decides whether a reload leaves it alone.
pub struct Declared {
    /// Whom its events come from.
    pub origin: Origin,
    /// `[source.NAME] kind`.
    pub kind: String,
    /// What the project says: a source whose definition is the same is left alone by a reload.
    pub definition: SourceDef,
    /// What is kept going: one for each of its instances.
    pub instances: Vec<Box<dyn Source>>,
    /// What of its events is taken; `None` for all.
    pub filter: Option<Arc<PatternSet>>,
}

/// The sources that run.
#[derive(Default)]
pub struct Sources {
    // A std Mutex: never held over an await.
    running: Mutex<BTreeMap<Name, RunningSource>>,
    /// What a reload has told to end and has not ended yet. A source of the same name waits for it: two at once
    /// would read the same position, and a timer would fire twice for one instant.
    ending: Mutex<BTreeMap<Name, JoinHandle<()>>>,
    tasks: TaskTracker,
}

struct RunningSource {
    kind: String,
    origin: Origin,
    definition: SourceDef,
    /// By instance; never empty.
    controls: Vec<SourceControl>,
    manual: Option<ManualFiring>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

/// A source as people see it.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// `[source.NAME]`.
    pub name: Name,
    /// Its kind.
    pub kind: String,
    /// What it is doing; of several instances what is most in need of being seen, and their counts added up.
    pub status: SourceStatus,
    /// How many of it run.
    pub instances: usize,
}

/// Why a source does not go on from elsewhere.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SeekFailed {
    /// There is no such source that runs.
    #[error("no source `{0}` is running that could go on from another place")]
    Unknown(Name),
    /// The source said so.
    #[error(transparent)]
    Source(#[from] SeekError),
}

/// Why a source could not be fired by hand.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FireError {
    /// There is no such source that runs.
    #[error("no source `{0}` is running that could be fired by hand")]
    Unknown(Name),
    /// Its kind makes no event without being told one.
    #[error("the source `{name}` is of the kind `{kind}`, which cannot be fired by hand; timers can")]
    NotManual {
        /// Which one.
        name: Name,
        /// Its kind.
        kind: String,
    },
    /// The event was not taken.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

impl Sources {
    /// Holds a source that runs, or lets it go on; one that does not run is held when it starts.
    pub(crate) fn hold(&self, name: &Name, paused: bool) {
        if let Some(source) = self.running().get(name) {
            for control in &source.controls {
                if paused {
                    control.pause();
                } else {
                    control.resume();
                }
            }
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, RunningSource>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, JoinHandle<()>>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every source to end and waits until all have: what they are offering is seen through.
    pub async fn stop(&self) {
        for source in self.running().values() {
            source.stop.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Broker {
    /// Makes the running sources those that are declared: ends what is gone or changed, starts what is new, and
    /// leaves the rest alone.
    pub fn run_sources(self: &Arc<Self>, declared: Vec<Declared>) {
        let mut running = self.sources().running();
        // Names come and go over many reloads; only those that are still ending are of any use.
        self.sources().ending().retain(|_, ended| !ended.is_finished());
        let stays = |name: &Name, source: &RunningSource| {
            declared.iter().any(|one| one.origin.source_name == *name && one.definition == source.definition)
        };
        let gone: Vec<Name> =
            running.iter().filter(|(name, source)| !stays(name, source)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            if let Some(source) = running.remove(&name) {
                source.stop.cancel();
                self.sources().ending().insert(name, source.ended);
            }
        }
        for one in declared {
            let name = one.origin.source_name.clone();
            running.entry(name).or_insert_with(|| self.start_source(one));
        }
    }

    fn start_source(self: &Arc<Self>, declared: Declared) -> RunningSource {
        let Declared { origin, kind, definition, instances, filter } = declared;
        let stop = CancellationToken::new();
        let manual = instances.first().and_then(|source| source.manual());
        let paused = self.pauses().now().sources.contains_key(&origin.source_name);
        let mut controls = Vec::with_capacity(instances.len());
        let mut runs = Vec::with_capacity(instances.len());
        for (instance, source) in (0u32..).zip(instances) {
            let random = Arc::clone(self);
            let (broker, origin, filter) = (Arc::clone(self), origin.clone(), filter.clone());
            let supervision = Supervision {
                intake: Arc::new(SourceIntake { broker, origin, instance, filter }),
                clock: Arc::clone(&self.clocks().wall),
                random: Box::new(move || random.chance()),
                backoff: Backoff::default(),
                paused,
                instance,
                limits: self.in_force().project.limits.of_events(),
                stop: stop.clone(),
            };
            let (control, run) = supervise(source, supervision);
            controls.push(control);
            runs.push(run);
        }
        let predecessor = self.sources().ending().remove(&origin.source_name);
        let ended = self.sources().tasks.spawn(async move {
            if let Some(predecessor) = predecessor {
                // However it ended, it is over.
                let _ = predecessor.await;
            }
            // Each on a task of its own: they decode side by side.
            let mut tasks: JoinSet<()> = runs.into_iter().collect();
            while tasks.join_next().await.is_some() {}
        });
        for control in &controls {
            let watch = watch(Arc::clone(self), origin.source_name.clone(), control.clone());
            self.sources().tasks.spawn(watch);
        }
        RunningSource { kind, origin, definition, controls, manual, stop, ended }
    }

    /// Makes a source go on from another place; returns when all its instances will. Of those that do not the first
    /// error is told.
    ///
    /// # Errors
    /// [`SeekFailed`].
    pub async fn seek(&self, name: &Name, to: &Seek) -> Result<(), SeekFailed> {
        let controls = {
            let running = self.sources().running();
            running.get(name).ok_or_else(|| SeekFailed::Unknown(name.clone()))?.controls.clone()
        };
        let all = futures_util::future::join_all(controls.iter().map(|control| control.seek(to.clone())));
        let sought = tokio::time::timeout(SEEK_WAIT, all).await;
        let slow = || {
            let message =
                format!("the source has not answered within {} s; it may still go there", SEEK_WAIT.as_secs());
            SeekError::Failed { code: "timeout", message }
        };
        let sought = sought.map_err(|_| slow())?;
        sought.into_iter().collect::<Result<(), SeekError>>()?;
        Ok(())
    }

    /// The sources that run, by name.
    #[must_use]
    pub fn source_views(&self) -> Vec<SourceView> {
        let view = |(name, source): (&Name, &RunningSource)| SourceView {
            name: name.clone(),
            kind: source.kind.clone(),
            status: together(source.controls.iter().map(SourceControl::status)),
            instances: source.controls.len(),
        };
        self.sources().running().iter().map(view).collect()
    }

    /// Makes a source's event by hand, beside its own rhythm. Durable on return.
    ///
    /// # Errors
    /// [`FireError`].
    pub async fn fire(&self, name: &Name) -> Result<Receipt, FireError> {
        let (origin, manual) = {
            let running = self.sources().running();
            let source = running.get(name).ok_or_else(|| FireError::Unknown(name.clone()))?;
            let not_manual = || FireError::NotManual { name: name.clone(), kind: source.kind.clone() };
            (source.origin.clone(), Arc::clone(source.manual.as_ref().ok_or_else(not_manual)?))
        };
        let incoming = manual(self.clocks().now(), self.random_bytes());
        let receipts = self.admit(&origin, vec![incoming]).await?;
        receipts.into_iter().next().ok_or(FireError::Intake(IntakeError::Busy))
    }
}

/// Several instances as one: the state that most needs to be seen, the newest error, and the counts added up.
fn together(statuses: impl Iterator<Item = SourceStatus>) -> SourceStatus {
    let rank = |state: SourceState| match state {
        SourceState::BackingOff => 5,
        SourceState::Starting => 4,
        SourceState::Running => 3,
        SourceState::Paused => 2,
        SourceState::Finished => 1,
        SourceState::Stopped => 0,
    };
    let joined = statuses.reduce(|one, other| {
        let newest = |error: &Option<LastError>| error.as_ref().map(|error| error.at);
        let last_error = if newest(&one.last_error) >= newest(&other.last_error) {
            one.last_error.clone()
        } else {
            other.last_error.clone()
        };
        let lag = one.lag.into_iter().chain(other.lag).reduce(u64::saturating_add);
        let (failure_count, event_count) =
            (one.failure_count.max(other.failure_count), one.event_count.saturating_add(other.event_count));
        let last_event_at = one.last_event_at.max(other.last_event_at);
        let shown = if rank(one.state) >= rank(other.state) { one } else { other };
        SourceStatus { last_error, lag, failure_count, event_count, last_event_at, ..shown }
    });
    joined.unwrap_or(SourceStatus {
        state: SourceState::Stopped,
        since: Timestamp::EPOCH,
        last_error: None,
        failure_count: 0,
        retry_at: None,
        event_count: 0,
        last_event_at: None,
        lag: None,
    })
}

/// Counts a source's errors and tells people when it is down.
async fn watch(broker: Arc<Broker>, name: Name, control: SourceControl) {
    let mut status = control.watch();
    // What people were told since it last worked.
    let mut told: Option<&'static str> = None;
    // The channel closes when the source has stopped.
    while status.changed().await.is_ok() {
        let seen = status.borrow_and_update().clone();
        match seen.state {
            SourceState::BackingOff => {
                let label = SourceLabel { source: name.to_string() };
                broker.metrics().source_errors.get_or_create(&label).inc();
                told = told.filter(|_| seen.failure_count > 1);
                let reason = seen.last_error.as_ref().map_or("source_down", down_code);
                let (code, error) = seen.last_error.map(|last| (last.code, last.message)).unwrap_or_default();
                tracing::warn!(source = %name, code, error, failures = seen.failure_count, "a source has failed and is tried again");
                // That credentials are refused is news of a source that could merely not be reached before.
                let news = told.is_none_or(|told| told != reason && reason == CONNECTOR_AUTH);
                if seen.failure_count >= FAILURES_UNTIL_DOWN && news {
                    told = Some(reason);
                    announce_down(&broker, &name, seen.failure_count, reason, &error).await;
                }
            }
            // A source that connects and fails at once is still down.
            SourceState::Running => told = told.filter(|_| seen.failure_count > 0),
            SourceState::Starting | SourceState::Paused | SourceState::Finished | SourceState::Stopped => {}
        }
    }
}

/// Why a source is down, for people: whether waiting may help, or somebody must see to its credentials.
fn down_code(error: &LastError) -> &'static str {
    match error.code.as_str() {
        "auth" | "tls" | "denied" | "forbidden" => CONNECTOR_AUTH,
        _ => "source_down",
    }
}

async fn announce_down(broker: &Broker, name: &Name, failures: u32, code: &str, error: &str) {
    let data = serde_json::json!({
        "alert": AlertKind::SourceDown.word(),
        "text": format!("the source {name} has failed {failures} times in a row: {error}"),
        "source": name,
        "reason": { "code": code, "message": error },
        "commands": { "show": format!("eventyard sources show {name}") },
    });
    if let Err(error) = broker.announce(AlertKind::SourceDown, name.as_str(), &data).await {
        tracing::error!(%error, source = %name, "that a source is down could not be announced");
    }
}
