//! The one place that turns an outcome into delivered, retry or dead letter.
//!
//! The decision is [`retry::decide`](crate::retry::decide); here it is written, counted and told. A dead letter
//! and its announcement are one frame: neither is ever on disk without the other.

use std::collections::BTreeMap;

use eventyard_event::{DeliveryId, Name, Timestamp};
use eventyard_store::{Admission, AttemptOutcome, AttemptRecord, Reason, Settlement, Taken, Verdict};

use crate::alert;
use crate::broker::Broker;
use crate::fate::Fate;
use crate::in_force::Target;
use crate::reply::Answer;
use crate::retry::{Budget, Decision, Outcome, RetryPolicy, decide};
use crate::telemetry::metrics::{Metrics, TargetLabel};

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
    record: Option<AttemptRecord>,
    decision: Decision,
}

/// Settles deliveries of one queue; returns when that is durable. `target` is `None` where it is gone; `chance` draws
/// a random number in `0.0..1.0`, the same one each time for deliveries that should come back together.
pub async fn settle(broker: &Broker, ended: Vec<Ended>, target: Option<&Target>, chance: impl Fn(&Broker) -> f64) {
    let at = broker.clocks().now();
    let steady = broker.clocks().steady_now();
    let policy = target.map_or(RetryPolicy::HTTP, |target| target.policy);
    let mut drafts = Vec::with_capacity(ended.len());
    let mut settlements = Vec::with_capacity(ended.len());
    for Ended { taken, tried } in ended {
        let record = tried.begun.then(|| record(&taken, &tried, at));
        let budget = Budget { attempts: taken.attempts, began_at: taken.budget_began_at };
        let decision = decide(&policy, budget, tried.outcome, steady, chance(broker));
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
        settlements.push(Settlement { delivery: taken.delivery, attempt: record.clone(), verdict, at, emits });
        drafts.push(Draft { taken, record, decision });
    }
    let results = broker.store().settle(settlements).await;
    let mut counts = Counts::default();
    for (draft, result) in drafts.into_iter().zip(results) {
        match result {
            Ok(()) => report(broker, draft, &mut counts),
            // Nothing is lost: the lease ends with the process, and the next start finds the attempt interrupted.
            Err(error) => tracing::error!(
                %error, delivery = %draft.taken.delivery, "how an attempt ended could not be written"
            ),
        }
    }
    counts.add_to(broker.metrics());
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

/// What is counted of deliveries that were settled together: a label is looked up once for all of them.
#[derive(Default)]
struct Counts {
    /// Rule and target.
    of: Option<(String, String)>,
    attempts: BTreeMap<&'static str, u64>,
    settled: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn add_to(self, metrics: &Metrics) {
        let Some((rule, target)) = self.of else { return };
        let label = |outcome| TargetLabel { rule: rule.clone(), target: target.clone(), outcome };
        for (outcome, count) in self.attempts {
            metrics.attempts.get_or_create(&label(outcome)).inc_by(count);
        }
        for (verdict, count) in self.settled {
            metrics.deliveries_settled.get_or_create(&label(verdict)).inc_by(count);
        }
    }
}

/// Counts and tells what is durable now.
fn report(broker: &Broker, draft: Draft, counts: &mut Counts) {
    let Draft { taken, record, decision } = draft;
    let queue = &taken.queue;
    counts.of.get_or_insert_with(|| {
        (queue.rule.as_ref().map(ToString::to_string).unwrap_or_default(), queue.target.to_string())
    });
    let listened_to = broker.has_listeners();
    let tell = |fate: &dyn Fn(DeliveryId, Name, String, Option<Name>, Name) -> Fate| {
        if listened_to {
            let (source_name, ty) = (taken.envelope.source_name.clone(), taken.envelope.event.ty.clone());
            broker.tell(fate(taken.delivery, source_name, ty, queue.rule.clone(), queue.target.clone()));
        }
    };
    if let Some(record) = record {
        match record.outcome {
            AttemptOutcome::Succeeded => broker.note_error(&taken.queue, None),
            AttemptOutcome::Retryable | AttemptOutcome::Permanent => {
                broker.note_error(&taken.queue, Some(format!("{}: {}", record.code, record.message)));
            }
            AttemptOutcome::Interrupted => {}
        }
        let outcome = match record.outcome {
            AttemptOutcome::Succeeded => "succeeded",
            AttemptOutcome::Retryable => "retryable",
            AttemptOutcome::Permanent => "permanent",
            AttemptOutcome::Interrupted => "interrupted",
        };
        *counts.attempts.entry(outcome).or_default() += 1;
        broker.metrics().attempt_duration.observe(record.ended_at.since(record.began_at).as_secs_f64());
        tell(&|delivery, source_name, ty, rule, target| Fate::Attempted {
            delivery,
            source_name,
            ty,
            rule,
            target,
            number: record.number,
            outcome: record.outcome,
            code: record.code.clone(),
            message: record.message.clone(),
            response: record.response.clone(),
        });
    }
    let verdict = match decision {
        Decision::Delivered => {
            tell(&|delivery, source_name, ty, rule, target| Fate::Delivered {
                delivery,
                source_name,
                ty,
                rule,
                target,
            });
            "delivered"
        }
        Decision::Retry { at, .. } => {
            tell(&|delivery, source_name, ty, rule, target| Fate::Retry {
                delivery,
                source_name,
                ty,
                rule,
                target,
                at,
            });
            "retry"
        }
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
            tell(&|delivery, source_name, ty, rule, target| Fate::Dead {
                delivery,
                source_name,
                ty,
                rule,
                target,
                reason: reason.clone(),
            });
            "dead_letter"
        }
    };
    *counts.settled.entry(verdict).or_default() += 1;
}
