//! Senders that wait for an answer: an http source with `reply = "sync"`, and the one target of its rules that has
//! `reply = true`.
//!
//! The event goes the way of every other: it is committed, dispatched, attempted, settled. What is added is a place
//! where the request that brought it waits for the first attempt of that one delivery. Intake makes the place before
//! the commit, so that no attempt can be too early for it; the attempt takes it out and says what it saw, after the
//! target has answered and before the outcome is on disk: the sender does not wait for a second sync. Should the
//! process die between the two, the attempt counts as interrupted and is made again.
//!
//! The place belongs to the request. Where that goes away, because its time is over or its sender is, the place goes
//! with it, and the delivery goes on without anybody waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::DeliveryId;
use prometheus_client::metrics::gauge::Gauge;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What a target answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its HTTP status, where it has one; a function has none.
    pub status: Option<u16>,
    /// Its media type, where it says one.
    pub content_type: Option<String>,
    /// What it said.
    pub body: Bytes,
    /// It said more than is kept.
    pub truncated: bool,
}

/// Why a sender that would wait is told 202 instead. A stable word, `reply` in the body of that answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoReply {
    /// No rule with a target that answers matched the event.
    NoTarget,
    /// The event was taken before; its function is not run again.
    Duplicate,
    /// The request brought several events, of which no one answer could be the answer.
    Batch,
    /// As many senders wait as may.
    Busy,
    /// The first attempt did not end in time. It goes on.
    Timeout,
    /// The first attempt failed. Where another may help it is made.
    Failed,
    /// The target answered more than is kept of an answer.
    TooLarge,
    /// The broker stops; the delivery goes on after its next start.
    Stopping,
}

impl NoReply {
    /// The word, as metrics carry it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            NoReply::NoTarget => "no_target",
            NoReply::Duplicate => "duplicate",
            NoReply::Batch => "batch",
            NoReply::Busy => "busy",
            NoReply::Timeout => "timeout",
            NoReply::Failed => "failed",
            NoReply::TooLarge => "too_large",
            NoReply::Stopping => "stopping",
        }
    }
}

/// The requests that wait.
pub struct Replies {
    // A std Mutex: never held over an await.
    waiting: Mutex<Waiting>,
    /// How many there are, for the metrics.
    count: Gauge,
}

#[derive(Default)]
struct Waiting {
    /// Those whose delivery has not been attempted yet.
    by_delivery: HashMap<DeliveryId, oneshot::Sender<Answer>>,
    /// All of them, also those whose attempt runs.
    count: usize,
}

impl Replies {
    pub(crate) fn new(count: Gauge) -> Replies {
        Replies { waiting: Mutex::default(), count }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place for the first attempt of a delivery that is about to be committed.
    ///
    /// # Errors
    /// [`NoReply::Busy`] where `waiting_max` requests wait already.
    pub(crate) fn expect(self: &Arc<Self>, delivery: DeliveryId, waiting_max: usize) -> Result<Awaited, NoReply> {
        let (send, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        if waiting.count >= waiting_max {
            return Err(NoReply::Busy);
        }
        waiting.count += 1;
        waiting.by_delivery.insert(delivery, send);
        drop(waiting);
        self.count.inc();
        Ok(Awaited { replies: Arc::clone(self), delivery, answer })
    }

    /// Takes the place of a delivery that is attempted now, where somebody waits for it. What is sent reaches that
    /// request; dropping it says that the attempt failed.
    pub(crate) fn claim(&self, delivery: DeliveryId) -> Option<oneshot::Sender<Answer>> {
        self.waiting().by_delivery.remove(&delivery)
    }

    /// [`Replies::claim`] of each; nothing where nobody waits for any, as mostly nobody does.
    pub(crate) fn claim_each(
        &self,
        deliveries: impl Iterator<Item = DeliveryId>,
    ) -> HashMap<DeliveryId, oneshot::Sender<Answer>> {
        let mut waiting = self.waiting();
        if waiting.by_delivery.is_empty() {
            return HashMap::new();
        }
        deliveries.filter_map(|delivery| Some((delivery, waiting.by_delivery.remove(&delivery)?))).collect()
    }
}

/// A place at which one request waits. Dropping it gives the place up; the delivery goes on.
pub struct Awaited {
    replies: Arc<Replies>,
    delivery: DeliveryId,
    answer: oneshot::Receiver<Answer>,
}

impl Awaited {
    /// Waits for the first attempt's answer, at most `timeout`. When `stop` is cancelled an attempt that runs is still
    /// waited for (it has the grace time), and one that has not begun is not: nothing begins it any more.
    ///
    /// # Errors
    /// [`NoReply`] says why there is none.
    pub async fn answer(mut self, timeout: Duration, stop: &CancellationToken) -> Result<Answer, NoReply> {
        let answer = async {
            tokio::select! {
                biased;
                answer = &mut self.answer => answer,
                () = stop.cancelled() => {
                    drop(self.replies.claim(self.delivery));
                    (&mut self.answer).await
                }
            }
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) if answer.truncated => Err(NoReply::TooLarge),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if stop.is_cancelled() => Err(NoReply::Stopping),
            Ok(Err(_)) => Err(NoReply::Failed),
            Err(_) => Err(NoReply::Timeout),
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut waiting = self.replies.waiting();
        waiting.by_delivery.remove(&self.delivery);
        waiting.count = waiting.count.saturating_sub(1);
        drop(waiting);
        self.replies.count.dec();
    }
}

#[cfg(test)]
mod tests {
    use eventyard_event::EventId;

    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    fn replies() -> Arc<Replies> {
        Arc::new(Replies::new(Gauge::default()))
    }

    fn delivery(place: u32) -> DeliveryId {
        EventId::from_bytes([7; 16]).delivery(place)
    }

    fn said(text: &'static str) -> Answer {
        Answer { body: Bytes::from_static(text.as_bytes()), ..Answer::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_the_request_that_waits_for_it_and_no_other() {
        let (replies, never) = (replies(), CancellationToken::new());
        let (first, second) = (replies.expect(delivery(1), 9).unwrap(), replies.expect(delivery(2), 9).unwrap());
        replies.claim(delivery(2)).unwrap().send(said("two")).unwrap();
        replies.claim(delivery(1)).unwrap().send(said("one")).unwrap();
        assert!(replies.claim(delivery(1)).is_none(), "only the first attempt is waited for");
        assert_eq!(first.answer(WAIT, &never).await, Ok(said("one")));
        assert_eq!(second.answer(WAIT, &never).await, Ok(said("two")));
        assert_eq!(replies.count.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_as_long_as_it_may_and_no_longer() {
        let (replies, never) = (replies(), CancellationToken::new());
        let began = tokio::time::Instant::now();
        let waits = replies.expect(delivery(1), 9).unwrap();
        let attempt = replies.claim(delivery(1)).unwrap();
        assert_eq!(waits.answer(WAIT, &never).await, Err(NoReply::Timeout));
        assert_eq!(began.elapsed(), WAIT);
        assert!(attempt.send(said("too late")).is_err());
        assert_eq!(replies.count.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_fails_or_says_too_much_answers_at_once() {
        let (replies, never) = (replies(), CancellationToken::new());
        let began = tokio::time::Instant::now();
        let waits = replies.expect(delivery(1), 9).unwrap();
        drop(replies.claim(delivery(1)));
        assert_eq!(waits.answer(WAIT, &never).await, Err(NoReply::Failed));
        let waits = replies.expect(delivery(1), 9).unwrap();
        replies.claim(delivery(1)).unwrap().send(Answer { truncated: true, ..said("the beginning") }).unwrap();
        assert_eq!(waits.answer(WAIT, &never).await, Err(NoReply::TooLarge));
        assert!(began.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_may_and_places_come_back() {
        let replies = replies();
        let first = replies.expect(delivery(1), 1).unwrap();
        assert_eq!(replies.expect(delivery(2), 1).err(), Some(NoReply::Busy));
        drop(first);
        assert!(replies.expect(delivery(2), 1).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_for_what_has_not_begun_and_not_for_what_runs() {
        let (replies, stop) = (replies(), CancellationToken::new());
        let (runs, pending) = (replies.expect(delivery(1), 9).unwrap(), replies.expect(delivery(2), 9).unwrap());
        let attempt = replies.claim(delivery(1)).unwrap();
        stop.cancel();
        assert_eq!(pending.answer(WAIT, &stop).await, Err(NoReply::Stopping));
        let later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            attempt.send(said("done")).unwrap();
        };
        let (answer, ()) = tokio::join!(runs.answer(WAIT, &stop), later);
        assert_eq!(answer, Ok(said("done")));
    }
}
