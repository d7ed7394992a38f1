//! The one place that turns an outcome into delivered, retry or dead letter.
//!
//! The decision is [`retry::decide`](crate::retry::decide); here it is written, counted and told. A dead letter
//! and its announcement are one frame: neither is ever on disk without the other.

use eventyard_event::Timestamp;
use eventyard_store::{Admission, AttemptOutcome, AttemptRecord, Reason, Settlement, Taken, Verdict};

use crate::alert;
use crate::broker::Broker;
use crate::fate::Fate;
use crate::in_force::Target;
use crate::reply::Answer;
use crate::retry::{Budget, Decision, Outcome, RetryPolicy, decide};
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
    pub answer: Option<Answer>,
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

/// Settles one delivery; returns when that is durable. `target` is `None` where it is gone; `chance` is a random
/// number in `0.0..1.0`, the same for deliveries that should come back together.
pub async fn settle(broker: &Broker, taken: &Taken, target: Option<&Target>, tried: Tried, chance: f64) {
    let at = broker.clocks().now();
    let record = tried.begun.then(|| record(taken, &tried, at));
    let policy = target.map_or(RetryPolicy::HTTP, |target| target.policy);
    let budget = Budget { attempts: taken.attempts, began_at: taken.budget_began_at };
    let decision = decide(&policy, budget, tried.outcome, broker.clocks().steady_now(), chance);

    let mut emits = tried.emits;
    let verdict = match &decision {
        Decision::Delivered => Verdict::Delivered,
        Decision::Retry { at, counted } => Verdict::Retry { at: *at, counted: *counted },
        Decision::GiveUp { reason } => {
            let attempts = taken.attempts + u32::from(record.is_some());
            emits = alert::dead_letter(broker, taken, reason, attempts, at).into_iter().collect();
            Verdict::Dead { reason: reason.clone() }
        }
    };
    let settlement = Settlement { delivery: taken.delivery, attempt: record.clone(), verdict, at, emits };
    match broker.store().settle(vec![settlement]).await.pop() {
        Some(Ok(())) => report(broker, taken, record.as_ref(), &decision),
        Some(Err(error)) => {
            // Nothing is lost: the lease ends with the process, and the next start finds the attempt interrupted.
            tracing::error!(%error, delivery = %taken.delivery, "how an attempt ended could not be written");
        }
        None => {}
    }
}

fn record(taken: &Taken, tried: &Tried, at: Timestamp) -> AttemptRecord {
    let (outcome, reason) = match &tried.outcome {
        Outcome::Succeeded => (AttemptOutcome::Succeeded, None),
        Outcome::Retryable { reason, .. } => (AttemptOutcome::Retryable, Some(reason.clone())),
        Outcome::Permanent { reason } => (AttemptOutcome::Permanent, Some(reason.clone())),
        Outcome::Interrupted => {
            let message = "the broker stopped before the target had answered".to_owned();
            (AttemptOutcome::Interrupted, Some(Reason { code: "interrupted".into(), message }))
        }
    };
    let Reason { code, message } = reason.unwrap_or(Reason { code: String::new(), message: String::new() });
    AttemptRecord {
        number: taken.tries.saturating_add(1),
        began_at: tried.began_at,
        ended_at: at,
        outcome,
        code,
        message,
        response: tried.response.clone(),
    }
}

/// Counts and tells what is durable now.
fn report(broker: &Broker, taken: &Taken, record: Option<&AttemptRecord>, decision: &Decision) {
    let label = |outcome| TargetLabel {
        rule: taken.queue.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
        target: taken.queue.target.to_string(),
        outcome,
    };
    let (delivery, rule, target) = (taken.delivery, taken.queue.rule.clone(), taken.queue.target.clone());
    if let Some(record) = record {
        let outcome = match record.outcome {
            AttemptOutcome::Succeeded => "succeeded",
            AttemptOutcome::Retryable => "retryable",
            AttemptOutcome::Permanent => "permanent",
            AttemptOutcome::Interrupted => "interrupted",
        };
        broker.metrics().attempts.get_or_create(&label(outcome)).inc();
        broker.metrics().attempt_duration.observe(record.ended_at.since(record.began_at).as_secs_f64());
        if broker.has_listeners() {
            broker.tell(Fate::Attempted {
                delivery,
                rule: rule.clone(),
                target: target.clone(),
                number: record.number,
                outcome: record.outcome,
                code: record.code.clone(),
                message: record.message.clone(),
                response: record.response.clone(),
            });
        }
    }
    match decision {
        Decision::Delivered => {
            broker.metrics().deliveries_settled.get_or_create(&label("delivered")).inc();
            broker.tell(Fate::Delivered { delivery, rule, target });
        }
        Decision::Retry { at, .. } => {
            broker.metrics().deliveries_settled.get_or_create(&label("retry")).inc();
            broker.tell(Fate::Retry { delivery, rule, target, at: *at });
        }
        Decision::GiveUp { reason } => {
            broker.metrics().deliveries_settled.get_or_create(&label("dead_letter")).inc();
            let announced = alert::is_announced(taken);
            tracing::warn!(
                delivery = %delivery, target_name = %target, code = %reason.code, reason = %reason.message,
                "a delivery was given up; go on with `eventyard dead-letters show {delivery}`"
            );
            if !announced {
                broker.metrics().alerts_dead.inc();
                broker.warn(alert::unannounced(taken, reason));
            }
            broker.tell(Fate::Dead { delivery, rule, target, reason: reason.clone() });
        }
    }
}
