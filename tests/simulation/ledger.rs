//! What the world outside the broker knows: what was acknowledged, which targets were called, what was told. It
//! survives every crash, and everything that must not be is written down in it as a violation.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use eventyard::fate::{Fate, OfDelivery};
use eventyard_event::{DeliveryId, EventId, Timestamp};
use eventyard_store::AttemptOutcome;

/// Attempts of each target, as the project of the simulation says.
const ATTEMPTS: u32 = 4;
/// Attempts of an alert: what http targets have where nothing is said.
const ATTEMPTS_OF_ALERTS: u32 = 185;

/// Shared by all lives of one seed.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    pub(super) random: fastrand::Rng,
    /// Targets misbehave and machines stop; false once everything has to settle.
    pub(super) faulty: bool,
    /// By the sender's id.
    pub(super) acknowledged: BTreeMap<String, EventId>,
    /// Which attempt of a delivery was called, in which stretch between power cuts.
    called: BTreeMap<(DeliveryId, u32), u64>,
    pub(super) power_cuts: u64,
    /// Told as ended, and not replayed since.
    ended: BTreeSet<DeliveryId>,
    /// Told to come back, and when.
    not_before: BTreeMap<DeliveryId, Timestamp>,
    /// What was answered last of each target's pause, by its name; `None` where there was no answer.
    pub(super) pauses: BTreeMap<&'static str, Option<bool>>,
    /// Targets that are paused, with the attempts that were under way when that was answered.
    paused: BTreeMap<&'static str, BTreeSet<(DeliveryId, u32)>>,
    pub(super) pause_count: u64,
    /// Dead letters that may have been replayed.
    pub(super) once_dead: BTreeSet<DeliveryId>,
    /// Told as cancelled.
    pub(super) cancelled: BTreeSet<DeliveryId>,
    /// Asked to be cancelled, with no answer.
    pub(super) cancelling: BTreeSet<DeliveryId>,
    /// Failures that counted, as told, in the present budget.
    failures: BTreeMap<DeliveryId, u32>,
    /// CloudEvents ids of announcements that the channel was called with.
    pub(super) alerted: BTreeSet<String>,
    /// Calls that run now, by target.
    running: BTreeMap<String, usize>,
    pub(super) calls: u64,
    pub(super) deaths: u64,
    pub(super) violations: Vec<String>,
    pub(super) trace: Vec<String>,
    hash: DefaultHasher,
}

impl Ledger {
    pub(super) fn new(seed: u64) -> Ledger {
        Ledger(Arc::new(Mutex::new(Inner {
            random: fastrand::Rng::with_seed(seed),
            faulty: true,
            acknowledged: BTreeMap::new(),
            called: BTreeMap::new(),
            power_cuts: 0,
            ended: BTreeSet::new(),
            not_before: BTreeMap::new(),
            pauses: BTreeMap::new(),
            paused: BTreeMap::new(),
            pause_count: 0,
            once_dead: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            cancelling: BTreeSet::new(),
            failures: BTreeMap::new(),
            alerted: BTreeSet::new(),
            running: BTreeMap::new(),
            calls: 0,
            deaths: 0,
            violations: Vec::new(),
            trace: Vec::new(),
            hash: DefaultHasher::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn trace(&self, now: Timestamp, line: String) {
        self.lock().trace(now, line);
    }

    pub(super) fn violation(&self, text: String) {
        self.lock().violation(text);
    }
}

impl Inner {
    pub(super) fn trace(&mut self, now: Timestamp, line: String) {
        let line = format!("{:>10} {line}", now.as_millis());
        line.hash(&mut self.hash);
        self.trace.push(line);
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(super) fn violation(&mut self, text: String) {
        self.trace.push(format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    /// A target is called.
    pub(super) fn call_begins(
        &mut self,
        target: &str,
        limit: usize,
        delivery: DeliveryId,
        attempt: u32,
        now: Timestamp,
    ) {
        self.calls += 1;
        self.trace(now, format!("call {target} {delivery} #{attempt}"));
        if self.paused.get(target).is_some_and(|under_way| !under_way.contains(&(delivery, attempt))) {
            self.violation(format!("{delivery} is attempted while {target} is paused"));
        }
        if self.ended.contains(&delivery) {
            self.violation(format!("{delivery} was told as ended and is attempted again"));
        }
        if let Some(at) = self.not_before.remove(&delivery)
            && now < at
        {
            self.violation(format!("{delivery} is attempted {} ms before its time", at.since(now).as_millis()));
        }
        let stretch = self.power_cuts;
        if self.called.insert((delivery, attempt), stretch) == Some(stretch) {
            self.violation(format!(
                "attempt {attempt} of {delivery} is made twice with no power cut between: its begin was hidden"
            ));
        }
        let running = self.running.entry(target.to_owned()).or_default();
        *running += 1;
        if *running > limit {
            let running = *running;
            self.violation(format!("{running} calls of {target} at once, {limit} are allowed"));
        }
    }

    pub(super) fn call_ends(&mut self, target: &str) {
        if let Some(running) = self.running.get_mut(target) {
            *running = running.saturating_sub(1);
        }
    }

    /// The process has ended: no call runs any more.
    pub(super) fn all_calls_are_cut(&mut self) {
        self.running.clear();
        self.paused.clear();
    }

    /// Nothing of a target may begin from now on, but for what was under way.
    pub(super) fn is_paused(&mut self, target: &'static str, under_way: BTreeSet<(DeliveryId, u32)>) {
        self.pause_count += 1;
        self.pauses.insert(target, Some(true));
        self.paused.insert(target, under_way);
    }

    /// A target may be called again.
    pub(super) fn goes_on(&mut self, target: &'static str) {
        self.paused.remove(target);
    }

    /// A person has ended a delivery, and that was answered.
    pub(super) fn is_cancelled(&mut self, delivery: DeliveryId) {
        self.cancelled.insert(delivery);
        self.ended.insert(delivery);
    }

    /// What the broker tells is durable by then.
    pub(super) fn told(&mut self, fate: &Fate, now: Timestamp) {
        match fate {
            Fate::Attempted { of: OfDelivery { delivery, rule, .. }, outcome, number, code, .. } => {
                self.trace(now, format!("attempted {delivery} #{number} {outcome:?} {code}"));
                if matches!(outcome, AttemptOutcome::Retryable | AttemptOutcome::Permanent) {
                    let failures = self.failures.entry(*delivery).or_default();
                    *failures += 1;
                    let failures = *failures;
                    let allowed = if rule.is_some() { ATTEMPTS } else { ATTEMPTS_OF_ALERTS };
                    if failures > allowed {
                        self.violation(format!("{delivery} has failed {failures} times, {allowed} are allowed"));
                    }
                }
            }
            Fate::Delivered { of: OfDelivery { delivery, .. } } => {
                self.trace(now, format!("delivered {delivery}"));
                self.ended.insert(*delivery);
            }
            Fate::Dead { of: OfDelivery { delivery, .. }, reason, .. } => {
                self.deaths += 1;
                self.trace(now, format!("dead {delivery} {}", reason.code));
                self.ended.insert(*delivery);
            }
            Fate::Retry { of: OfDelivery { delivery, .. }, at, .. } => {
                self.trace(now, format!("retry {delivery} at {}", at.as_millis()));
                self.not_before.insert(*delivery, *at);
            }
            Fate::Cancelled { of: OfDelivery { delivery, .. } } => {
                self.trace(now, format!("cancelled {delivery}"));
                self.ended.insert(*delivery);
            }
            Fate::Paused { what } => self.trace(now, format!("paused {what}")),
            Fate::Resumed { what } => self.trace(now, format!("resumed {what}")),
            Fate::Accepted { .. } | Fate::Unmatched { .. } | Fate::Reloaded { .. } | Fate::Refused { .. } => {}
        }
    }

    /// Dead letters may be attempted again. Which of them were dead is the broker's to know.
    pub(super) fn replayed(&mut self, deliveries: impl IntoIterator<Item = DeliveryId>) {
        for delivery in deliveries {
            self.once_dead.insert(delivery);
            self.ended.remove(&delivery);
            self.not_before.remove(&delivery);
            self.failures.remove(&delivery);
        }
    }
}
