//! Deliveries of one queue whose sink is handed many at once: one call for all of them instead of a future for each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use eventyard_connectors::sink::{Ends, SendEach, SendError, SendRequest, Sent};
use eventyard_event::Timestamp;
use eventyard_rules::Input;
use eventyard_store::{Reason, Taken};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{Called, no_answer, over_each, payload, request, seen, tried};
use crate::broker::Broker;
use crate::in_force::{Callee, InForce, Target};
use crate::reply::Answer;
use crate::retry::Outcome;
use crate::settle::{Ended, Tried};

/// A delivery that has begun, and who waits for its answer.
type Begun = (Option<oneshot::Sender<Answer>>, Taken);

/// The target's sink, where it is handed many at once and nothing has to be fetched for any of them.
pub(super) fn sink_of(target: &Target) -> Option<&dyn SendEach> {
    match (&target.callee, &target.input) {
        (_, Input::Object) => None,
        (Callee::Sink(sink), _) => sink.many(),
        _ => None,
    }
}

/// Sends each of what has begun, and settles those that end together, while the others go on.
///
/// Where a payload cannot be made for a fault of ours, or the sink panics, those that had not ended keep their leases.
pub(super) async fn attempt(
    broker: &Arc<Broker>,
    in_force: &Arc<InForce>,
    (target, sink): (&Arc<Target>, &dyn SendEach),
    (began_at, begun): (Timestamp, Vec<Begun>),
    attempts: &TaskTracker,
    told: impl Called,
) {
    let mut requests = Vec::with_capacity(begun.len());
    let mut sent = Vec::with_capacity(begun.len());
    let mut ended = Vec::new();
    for (waits, taken) in begun {
        match catch_unwind(AssertUnwindSafe(|| make(broker, target, &taken))) {
            Ok(Ok(request)) => {
                requests.push(request);
                sent.push(Some((waits, taken)));
            }
            Ok(Err(reason)) => ended.push(Some(end(in_force, began_at, (waits, taken), Err(reason)))),
            Err(_) => ended.push(broke_off(&taken)),
        }
    }
    let ends = Ends::of(sent.len());
    let mut sending = std::pin::pin!(AssertUnwindSafe(send_each(sink, requests, &ends, target)).catch_unwind());
    let (mut open, mut is_sending, mut panicked) = (sent.len(), true, false);
    while open > 0 {
        let some = tokio::select! {
            biased;
            sent = &mut sending, if is_sending => {
                is_sending = false;
                if sent.is_err() {
                    panicked = true;
                    break;
                }
                continue;
            }
            some = ends.next() => some,
            () = broker.cut_off_token().cancelled() => break,
        };
        open -= some.len();
        let of_place = |(place, result): (usize, Result<Sent, SendError>)| {
            let begun = sent.get_mut(place).and_then(Option::take)?;
            Some(end(in_force, began_at, begun, Ok(result)))
        };
        ended.extend(some.into_iter().filter_map(of_place).map(Some));
        if open > 0 && !ended.is_empty() {
            let (broker, target, told, some) =
                (Arc::clone(broker), Arc::clone(target), told.clone(), std::mem::take(&mut ended));
            attempts.spawn(async move { over_each(&broker, some, &target, told).await });
        }
    }
    // Of these it is not known what became of them.
    for (_, taken) in sent.into_iter().flatten() {
        let tried = Tried { began_at, ..Tried::begun(Outcome::Interrupted) };
        ended.push(if panicked { broke_off(&taken) } else { Some(Ended { taken, tried }) });
    }
    over_each(broker, ended, target, told).await;
}

/// Has the sink send them, and sees to it that all have ended then.
async fn send_each(sink: &dyn SendEach, requests: Vec<SendRequest>, ends: &Arc<Ends>, target: &Target) {
    // The sink keeps to the time-out itself and says what took too long; this is for one that does not.
    if tokio::time::timeout(target.timeout, sink.send_each(requests, ends)).await.is_err() {
        ends.end_rest(|| no_answer(target));
    }
    // It promised to have told all.
    ends.end_rest(|| SendError::retryable("sink", "the sink did not say what became of it"));
}

/// What is left of an attempt that panicked: the delivery keeps its lease.
fn broke_off(taken: &Taken) -> Option<Ended> {
    tracing::error!(delivery = %taken.delivery, "an attempt panicked; this is a fault of eventyard");
    None
}

fn make(broker: &Broker, target: &Target, taken: &Taken) -> Result<SendRequest, Reason> {
    let handed = broker.splits().hand(taken)?;
    let payload = payload(&handed, &target.input)?;
    Ok(request(broker, target, &handed.taken, payload))
}

fn end(
    in_force: &InForce,
    began_at: Timestamp,
    (waits, taken): Begun,
    sent: Result<Result<Sent, SendError>, Reason>,
) -> Ended {
    let tried = match sent {
        Ok(sent) => tried(sent),
        Err(reason) => Tried::begun(Outcome::Permanent { reason }),
    };
    Ended { taken, tried: Tried { began_at, ..seen(in_force, tried, waits) } }
}
