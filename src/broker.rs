//! The broker: what the parts of the journey share.
//!
//! A [`Broker`] holds the store, the clocks, the project in force and the metrics. The journey itself is in the
//! modules beside this one, in the order of `lib.rs`; each of them is written as functions over a `&Broker`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use eventyard_event::EventId;
use eventyard_store::{Health, QueueKey, Store};
use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::clock::Clocks;
use crate::fate::{FATES_WAITING_MAX, Fate};
use crate::home::ProjectHome;
use crate::in_force::InForce;
use crate::pauses::Pauses;
use crate::reply::Replies;
use crate::sources::Sources;
use crate::split::Splits;
use crate::telemetry::metrics::Metrics;

/// One broker. Shared as `Arc<Broker>`; every method may be called from many tasks at once.
pub struct Broker {
    store: Arc<dyn Store>,
    clocks: Clocks,
    in_force: ArcSwap<InForce>,
    metrics: Metrics,
    fates: broadcast::Sender<Fate>,
    /// Ids and jitter. A `std::sync::Mutex`: held for a few nanoseconds and never over an await.
    random: Mutex<fastrand::Rng>,
    /// False before the sources are started and after stop has begun: intake refuses.
    accepting: AtomicBool,
    /// Rung when targets were paused, resumed or replaced, so that dispatch looks again.
    targets_changed: Notify,
    /// Cancelled when the grace time of a stop is over: attempts in flight give up as interrupted.
    cut_off: CancellationToken,
    sources: Sources,
    /// Sources and targets that a person holds.
    pauses: Pauses,
    /// What the newest failed attempt of each queue said, until one succeeds. Since the start; no larger than the
    /// project has targets. A `std::sync::Mutex`: never held over an await.
    last_errors: Mutex<HashMap<QueueKey, String>>,
    /// Requests that wait for a target's answer.
    replies: Arc<Replies>,
    /// Events whose elements are being delivered.
    splits: Splits,
    /// Where the project came from; set once, by [`run`](crate::run), and never in a simulation.
    home: OnceLock<Arc<ProjectHome>>,
    /// What `/readyz` warns of, by code.
    warnings: Mutex<Vec<Note>>,
}

/// One thing that `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// A stable word.
    pub code: &'static str,
    /// A sentence, with the command that goes on where there is one.
    pub message: String,
}

/// Whether events are taken, and what a person should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether events are taken.
    pub ready: bool,
    /// Why not; empty when ready.
    pub reasons: Vec<Note>,
    /// What is wrong although events are taken.
    pub warnings: Vec<Note>,
}

impl Broker {
    /// A broker that does not accept yet: see [`Broker::set_accepting`]. `seed` decides every random number.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clocks: Clocks, in_force: InForce, seed: u64) -> Broker {
        let (fates, _) = broadcast::channel(FATES_WAITING_MAX);
        let metrics = Metrics::new();
        let replies = Arc::new(Replies::new(metrics.replies_waiting.clone()));
        let broker = Broker {
            store,
            clocks,
            in_force: ArcSwap::from_pointee(in_force),
            metrics,
            fates,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            accepting: AtomicBool::new(false),
            targets_changed: Notify::new(),
            cut_off: CancellationToken::new(),
            sources: Sources::default(),
            pauses: Pauses::default(),
            last_errors: Mutex::default(),
            replies,
            splits: Splits::default(),
            home: OnceLock::new(),
            warnings: Mutex::new(Vec::new()),
        };
        broker.metrics.rules.set(count(broker.in_force().rules.rules().len()));
        broker
    }

    /// The project in force: one immutable snapshot. Whoever decides something for one event reads it once.
    #[must_use]
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Puts another project in force, whole. Events that are being routed keep the snapshot they began with.
    pub fn put_in_force(&self, next: InForce) {
        self.metrics.rules.set(count(next.rules.rules().len()));
        let fate = Fate::Reloaded { hash: next.hash(), rules: next.rules.rules().len() };
        // A target that is gone calls nobody who could fail.
        self.last_errors().retain(|queue, _| next.target(queue).is_some());
        self.in_force.store(Arc::new(next));
        self.look_at_targets_again();
        self.tell(fate);
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What targets see of deliveries.
    pub(crate) fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The clocks.
    #[must_use]
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What happens from now on. A listener that falls behind by [`FATES_WAITING_MAX`] loses the oldest.
    #[must_use]
    pub fn fates(&self) -> broadcast::Receiver<Fate> {
        self.fates.subscribe()
    }

    /// Whether anybody listens to fates; where nobody does, they need not be made.
    pub(crate) fn has_listeners(&self) -> bool {
        self.fates.receiver_count() > 0
    }

    pub(crate) fn tell(&self, fate: Fate) {
        // An error means that nobody listens.
        let _ = self.fates.send(fate);
    }

    /// Opens or closes intake.
    pub fn set_accepting(&self, accepting: bool) {
        self.accepting.store(accepting, Ordering::SeqCst);
    }

    pub(crate) fn accepting(&self) -> bool {
        self.accepting.load(Ordering::SeqCst)
    }

    /// Whether the store cannot be written to any more. Ends with the process.
    #[must_use]
    pub fn poisoned(&self) -> bool {
        matches!(self.store.health(), Health::Poisoned(_))
    }

    /// Returns when dispatch should look again although the store has not changed.
    pub(crate) async fn targets_changed(&self) {
        self.targets_changed.notified().await;
    }

    /// Makes dispatch look again although the store has not changed.
    pub(crate) fn look_at_targets_again(&self) {
        self.targets_changed.notify_one();
    }

    /// What is paused.
    #[must_use]
    pub fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    fn last_errors(&self) -> std::sync::MutexGuard<'_, HashMap<QueueKey, String>> {
        self.last_errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the newest attempt of a queue said, where it failed and was made since the start.
    #[must_use]
    pub fn last_error(&self, queue: &QueueKey) -> Option<String> {
        self.last_errors().get(queue).cloned()
    }

    /// Notes how an attempt ended.
    pub(crate) fn note_error(&self, queue: &QueueKey, error: Option<String>) {
        let mut errors = self.last_errors();
        match error {
            Some(error) => errors.insert(queue.clone(), error),
            None => errors.remove(queue),
        };
    }

    /// Ends the attempts in flight as interrupted.
    pub fn cut_off(&self) {
        self.cut_off.cancel();
    }

    pub(crate) fn cut_off_token(&self) -> &CancellationToken {
        &self.cut_off
    }

    /// The sources that are kept going.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Requests that wait for a target's answer.
    pub(crate) fn replies(&self) -> &Arc<Replies> {
        &self.replies
    }

    /// Where the project came from; `None` for one that was made in code.
    #[must_use]
    pub fn home(&self) -> Option<&Arc<ProjectHome>> {
        self.home.get()
    }

    /// Says where the project came from, so that it can be read again. Only the first call counts.
    pub fn set_home(&self, home: ProjectHome) {
        let _ = self.home.set(Arc::new(home));
    }

    /// A new id for an event that is taken now.
    pub(crate) fn new_event_id(&self) -> EventId {
        EventId::new(self.clocks.now(), self.random_bytes())
    }

    pub(crate) fn random_bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
        bytes
    }

    /// A random number in `0.0..1.0`.
    pub(crate) fn chance(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    /// Says something in `/readyz` until [`Broker::clear_warning`]; one note for each code. False where the very same
    /// was said already.
    pub fn warn(&self, note: Note) -> bool {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = !warnings.contains(&note);
        warnings.retain(|old| old.code != note.code);
        warnings.push(note);
        is_news
    }

    /// Takes a warning back.
    pub fn clear_warning(&self, code: &str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).retain(|note| note.code != code);
    }

    /// Whether events are taken, and what a person should know.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        match self.store.health() {
            Health::Good => {}
            Health::Full => reasons.push(Note {
                code: "no_space",
                message: "no space is left in the data folder; free some and events are taken again".into(),
            }),
            Health::Poisoned(why) => reasons.push(Note {
                code: "store_poisoned",
                message: format!("the journal cannot be written any more ({why}); the program ends in 5 s"),
            }),
        }
        if !self.accepting() {
            reasons.push(Note { code: "stopping", message: "the broker is starting or stopping".into() });
        }
        let limit = self.in_force().project.limits.pending;
        if self.store.stats().unsettled >= limit {
            reasons.push(Note {
                code: "backlog_full",
                message: format!("{limit} deliveries are pending; see `eventyard deliveries list --state pending`"),
            });
        }
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Readiness { ready: reasons.is_empty(), reasons, warnings }
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
