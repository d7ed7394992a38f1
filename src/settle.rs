//! The one place that turns an outcome into delivered, retry or dead letter.
//!
//! The decision is [`retry::decide`](crate::retry::decide); here it is written, counted and told. A dead letter
//! and its announcement are one frame: neither is ever on disk without the other.

use std::sync::Arc;
use std::time::Duration;

use eventyard_event::Timestamp;
use eventyard_store::{Admission, AttemptOutcome, AttemptRecord, QueueKey, Settlement, Taken, Verdict};

use crate::alert;
use crate::broker::Broker;
use crate::fate::{Fate, OfDelivery};
use crate::in_force::Target;
use crate::reply::Answer;
use crate::retry::{Budget, Decision, Outcome, RetryPolicy, decide};
use crate::split::ElementOf;
use crate::telemetry::metrics::TargetLabel;

/// What an attempt saw.
#[derive(Clone)]
pub struct Tried {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the target was called, or was about to be.
    pub begun: bool,
    /// Wall clock.
    pub began_at: Timestamp,
    /// The head of the answer.
    pub response: String,
    /// The whole answer of a success, for a sender that waits; nothing of it is kept.
    // Apart, for mostly there is none, and what was tried is moved about.
    pub answer: Option<Box<Answer>>,
    /// Events to be committed with the outcome.
    pub emits: Vec<Admission>,
}

impl Tried {
    /// The target was called.
    #[must_use]
    pub fn begun(outcome: Outcome) -> Tried {
        Tried {
            outcome,
            begun: true,
            began_at: Timestamp::EPOCH,
            response: String::new(),
            answer: None,
            emits: Vec::new(),
        }
    }

    /// There was nobody to call.
    #[must_use]
    pub fn without_attempt(outcome: Outcome) -> Tried {
        Tried { begun: false, ..Tried::begun(outcome) }
    }
}

/// A delivery whose attempt is over.
pub struct Ended {
    /// Which one.
    pub taken: Taken,
    /// What was seen of it.
    pub tried: Tried,
}

/// What is known of a settlement while it is on its way to the disk.
struct Draft {
    taken: Taken,
    attempt: Option<Attempted>,
    decision: Decision,
}

/// What is counted and told of an attempt.
struct Attempted {
    outcome: AttemptOutcome,
    took: Duration,
    /// Code and message, where the target failed.
    said: Option<String>,
    /// All of it, where somebody listens.
    record: Option<Box<AttemptRecord>>,
}

impl Attempted {
    fn new(record: &AttemptRecord, is_told: bool) -> Attempted {
        let failed = matches!(record.outcome, AttemptOutcome::Retryable | AttemptOutcome::Permanent);
        Attempted {
            outcome: record.outcome,
            took: record.ended_at.since(record.began_at),
            said: failed.then(|| format!("{}: {}", record.code, record.message)),
            record: is_told.then(|| Box::new(record.clone())),
        }
    }
}

/// Settles deliveries of one queue; returns when that is durable. `target` is `None` where it is gone; `chance` draws
/// a random number in `0.0..1.0`, the same one each time for deliveries that should come back together.
pub async fn settle(
    broker: &Broker,
    ended: impl IntoIterator<Item = Ended>,
    target: Option<&Target>,
    chance: impl Fn(&Broker) -> f64,
) {
    let at = broker.clocks().now();
    let steady = broker.clocks().steady_now();
    let policy = target.map_or(RetryPolicy::HTTP, |target| target.policy);
    let is_told = broker.has_listeners();
    let ended = ended.into_iter();
    let at_most = ended.size_hint().1.unwrap_or_default();
    let mut drafts = Vec::with_capacity(at_most);
    let mut settlements = Vec::with_capacity(at_most);
    for Ended { taken, mut tried } in ended {
        let record = tried.begun.then(|| record(&taken, &mut tried, at));
        let attempt = record.as_ref().map(|record| Attempted::new(record, is_told));
        let budget = Budget { attempts: taken.attempts, began_at: taken.budget_began_at };
        // What has ended well does not come back.
        let drawn = if tried.outcome == Outcome::Succeeded { 0.0 } else { chance(broker) };
        let decision = decide(&policy, budget, tried.outcome, steady, drawn);
        let mut emits = tried.emits;
        let verdict = match &decision {
            Decision::Delivered => Verdict::Delivered,
            Decision::Retry { at, counted } => Verdict::Retry { at: *at, counted: *counted },
            Decision::GiveUp { reason } => {
                let attempts = taken.attempts + u32::from(record.is_some());
                emits = alert::dead_letter(broker, &taken, reason, attempts, at).into_iter().collect();
                Verdict::Dead { reason: reason.clone() }
            }
        };
        settlements.push(Settlement { delivery: taken.delivery, attempt: record, verdict, at, emits });
        drafts.push(Draft { taken, attempt, decision });
    }
    let results = broker.store().settle(settlements).await;
    let mut counts = Counts::default();
    for (draft, result) in drafts.into_iter().zip(results) {
        match result {
            Ok(()) => report(broker, draft, is_told, &mut counts),
            // Nothing is lost: the lease ends with the process, and the next start finds the attempt interrupted.
            Err(error) => tracing::error!(
                %error, delivery = %draft.taken.delivery, "how an attempt ended could not be written"
            ),
        }
    }
    counts.tell(broker);
}

/// What is kept of an attempt; the head of the answer goes into it.
fn record(taken: &Taken, tried: &mut Tried, at: Timestamp) -> AttemptRecord {
    let (outcome, reason) = tried.outcome.kept();
    let (code, message) = match (outcome, reason) {
        (AttemptOutcome::Interrupted, _) => ("interrupted", "the broker stopped before the target had answered"),
        (_, Some(reason)) => (reason.code.as_str(), reason.message.as_str()),
        (_, None) => ("", ""),
    };
    AttemptRecord {
        number: taken.tries.saturating_add(1),
        began_at: tried.began_at,
        ended_at: at,
        outcome,
        code: code.to_owned(),
        message: message.to_owned(),
        response: std::mem::take(&mut tried.response),
    }
}

/// What is counted and noted of deliveries that were settled together: label and queue are looked up once for all of them.
#[derive(Default)]
struct Counts {
    of: Option<Arc<QueueKey>>,
    attempts: Vec<(&'static str, u64)>,
    settled: Vec<(&'static str, u64)>,
    /// What the newest attempt of them said that has an outcome: nothing where it succeeded.
    newest: Option<Option<String>>,
}

impl Counts {
    fn tell(self, broker: &Broker) {
        let Some(queue) = self.of else { return };
        if let Some(said) = self.newest {
            broker.note_error(&queue, said);
        }
        let metrics = broker.metrics();
        let label = |outcome| TargetLabel::of(&queue, outcome);
        for (outcome, count) in self.attempts {
            metrics.attempts.get_or_create(&label(outcome)).inc_by(count);
        }
        for (verdict, count) in self.settled {
            metrics.deliveries_settled.get_or_create(&label(verdict)).inc_by(count);
        }
    }
}

/// Counts and tells what is durable now.
fn report(broker: &Broker, draft: Draft, is_told: bool, counts: &mut Counts) {
    let Draft { taken, attempt, decision } = draft;
    let queue = &taken.queue;
    counts.of.get_or_insert_with(|| Arc::clone(queue));
    // Put together only where somebody listens.
    let of = is_told.then(|| OfDelivery {
        delivery: taken.delivery,
        source_name: taken.envelope.source_name.clone(),
        ty: taken.envelope.event.ty.clone(),
        rule: queue.rule.clone(),
        target: queue.target.clone(),
        element: ElementOf::new(taken.element.as_ref()),
    });
    if let Some(Attempted { outcome, took, said, record }) = attempt {
        if outcome != AttemptOutcome::Interrupted {
            counts.newest = Some(said);
        }
        let outcome = match outcome {
            AttemptOutcome::Succeeded => "succeeded",
            AttemptOutcome::Retryable => "retryable",
            AttemptOutcome::Permanent => "permanent",
            AttemptOutcome::Interrupted => "interrupted",
        };
        add_one(&mut counts.attempts, outcome);
        broker.metrics().attempt_duration.observe(took.as_secs_f64());
        if let Some((of, record)) = of.clone().zip(record) {
            let AttemptRecord { number, outcome, code, message, response, .. } = *record;
            broker.tell(Fate::Attempted { of, number, outcome, code, message, response });
        }
    }
    let (verdict, fate) = match decision {
        Decision::Delivered => ("delivered", of.map(|of| Fate::Delivered { of })),
        Decision::Retry { at, .. } => ("retry", of.map(|of| Fate::Retry { of, at })),
        Decision::GiveUp { reason } => {
            let delivery = taken.delivery;
            tracing::warn!(
                delivery = %delivery, target_name = %queue.target, code = %reason.code, reason = %reason.message,
                "a delivery was given up; go on with `eventyard dead-letters show {delivery}`"
            );
            if !alert::is_announced(&taken) {
                broker.metrics().alerts_dead.inc();
                broker.warn(alert::unannounced(&taken, &reason));
            }
            ("dead_letter", of.map(|of| Fate::Dead { of, reason }))
        }
    };
    if let Some(fate) = fate {
        broker.tell(fate);
    }
    add_one(&mut counts.settled, verdict);
}

/// Counts one of a kind, of which there are few.
fn add_one(counts: &mut Vec<(&'static str, u64)>, kind: &'static str) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += 1,
        None => counts.push((kind, 1)),
    }
}
