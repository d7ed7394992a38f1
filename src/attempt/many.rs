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

use super::{Called, broke_off, may_go_out, no_answer, over_beside, over_each, payload, request, seen, tried};
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
        match catch_unwind(AssertUnwindSafe(|| make(broker, began_at, (target, sink), &taken))) {
            Ok(Ok(request)) => {
                requests.push(request);
                sent.push(Some((waits, taken)));
            }
            Ok(Err(reason)) => ended.push(Some(end(in_force, began_at, (waits, taken), Err(reason)))),
            Err(_) => ended.push(broke_off(taken.delivery)),
        }
    }
    let ends = Ends::of(sent.len());
    let mut panic = std::pin::pin!(until_panic(send_each(sink, requests, &ends, target)));
    let (mut open, mut panicked) = (sent.len(), false);
    while open > 0 {
        let some = tokio::select! {
            biased;
            () = &mut panic => {
                panicked = true;
                break;
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
        if open > 0 {
            over_beside(broker, std::mem::take(&mut ended), target, &told, attempts);
        }
    }
    // Of these it is not known what became of them.
    for (_, taken) in sent.into_iter().flatten() {
        let tried = Tried { began_at, ..Tried::begun(Outcome::Interrupted) };
        ended.push(if panicked { broke_off(taken.delivery) } else { Some(Ended { taken, tried }) });
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

/// Runs something whose end is told otherwise; returns where it panics, and never else.
async fn until_panic(running: impl Future<Output = ()>) {
    if AssertUnwindSafe(running).catch_unwind().await.is_ok() {
        std::future::pending().await
    }
}

fn make(
    broker: &Broker,
    at: Timestamp,
    (target, sink): (&Target, &dyn SendEach),
    taken: &Taken,
) -> Result<SendRequest, Reason> {
    may_go_out(sink, &taken.envelope)?;
    let handed = broker.splits().hand(taken)?;
    let payload = payload(&handed, &target.input)?;
    Ok(request(at, target, &handed.taken, payload))
}

fn end(
    in_force: &InForce,
    began_at: Timestamp,
    (waits, taken): Begun,
    sent: Result<Result<Sent, SendError>, Reason>,
) -> Ended {
    let tried = match sent {
        Ok(sent) => tried(sent, waits.is_some()),
        Err(reason) => Tried::begun(Outcome::Permanent { reason }),
    };
    Ended { taken, tried: Tried { began_at, ..seen(in_force, tried, waits) } }
}
