//! The contract of a sink: something that events are sent to.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
#[cfg(doc)]
use eventyard_event::hops;
use eventyard_event::{Envelope, Text, Timestamp};
use tokio::sync::Notify;

/// The most of an answer's head that is kept with an attempt, in bytes: enough to see what went wrong, small
/// enough to keep with every attempt.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 1024;

/// The most of an answer's body that is read, in bytes. A target that says more is not listened to: but for a sender
/// that waits for it (`reply = true`), what it says has no further use than to be shown.
pub const RESPONSE_BODY_BYTES_MAX: usize = 64 * 1024;

/// The longest wait that a target may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Something that events are sent to: an HTTP address, a topic, a bucket.
///
/// The broker calls [`Sink::connect`] once before the first send and [`Sink::close`] once after the last; sends
/// are made from many tasks at once, at most as many as the target's `concurrency`.
/// A sink never retries by itself: the broker decides that, from what [`SendError`] says.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Opens what can be opened ahead. The broker does not wait for it to succeed: a sink that is not connected
    /// answers the first sends with a retryable error, or connects then.
    ///
    /// # Errors
    /// What hinders it; reported, and otherwise left to the sends.
    async fn connect(&self) -> Result<(), SendError> {
        Ok(())
    }

    /// Sends one delivery, once, and returns when the other side has confirmed it.
    ///
    /// Cancellation: the future is dropped when the program stops and its grace is over; whether the other side
    /// has it is then unknown, and the broker sends it again after the next start under the same delivery id.
    ///
    /// # Errors
    /// [`SendError`]; `retryable` says whether another attempt may help.
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError>;

    /// This sink as one that is handed many deliveries at once, where it is one.
    fn many(&self) -> Option<&dyn SendEach> {
        None
    }

    /// Whether what it sends may come in again by a source, so that it says how often the event has been passed on:
    /// [`SendRequest::hops`] in the header [`hops::HEADER`]. An event that has come too far is not handed to it.
    fn carries_hops(&self) -> bool {
        false
    }

    /// How many sends at once do it good where the rule does not say; `None` for what suits most. One that gathers, or
    /// whose client does, is the faster the more there are.
    fn concurrency(&self) -> Option<usize> {
        None
    }

    /// Gives back what was opened. Sends that are under way may fail.
    async fn close(&self) {}
}

/// A sink that is handed many deliveries at once, each for itself: one whose system confirms what it was sent in its own
/// time and order, so that a future for each would only wait.
#[async_trait]
pub trait SendEach: Sink {
    /// Sends each as [`Sink::send`] would, and tells `ends` what became of it as soon as that is known, by its place
    /// among the requests. Returns when all have ended, which they do within their time-out; all have the same.
    ///
    /// Cancellation: as [`Sink::send`], for each that has not ended.
    async fn send_each(&self, requests: Vec<SendRequest>, ends: &Arc<Ends>);
}

/// What has become of deliveries that were handed over together: told from any thread, taken by one task.
#[derive(Debug)]
pub struct Ends {
    // A std Mutex: held for moments, never over an await.
    told: Mutex<Told>,
    /// Some have ended that were not taken.
    some: Notify,
    /// All have ended.
    all: Notify,
}

#[derive(Debug)]
struct Told {
    ended: Vec<(usize, Result<Sent, SendError>)>,
    /// By place, whether it has not ended.
    open: Vec<bool>,
    open_count: usize,
}

impl Ends {
    /// Of so many deliveries, none of which has ended.
    #[must_use]
    pub fn of(count: usize) -> Arc<Ends> {
        let told = Told { ended: Vec::with_capacity(count), open: vec![true; count], open_count: count };
        Arc::new(Ends { told: Mutex::new(told), some: Notify::new(), all: Notify::new() })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The delivery at `place` has ended so. What is told of one that had ended before, or never was, counts for nothing.
    pub fn end(&self, place: usize, result: Result<Sent, SendError>) {
        let mut told = self.told();
        if !told.open.get_mut(place).is_some_and(std::mem::take) {
            return;
        }
        told.open_count -= 1;
        let (first, last) = (told.ended.is_empty(), told.open_count == 0);
        told.ended.push((place, result));
        drop(told);
        if first {
            self.some.notify_one();
        }
        if last {
            self.all.notify_one();
        }
    }

    /// All that have not ended end so.
    pub fn end_rest(&self, with: impl Fn() -> SendError) {
        let open: Vec<usize> =
            self.told().open.iter().enumerate().filter(|(_, open)| **open).map(|(at, _)| at).collect();
        for place in open {
            self.end(place, Err(with()));
        }
    }

    /// Those that have ended since the last call, at least one; none once all have been taken. Cancel safe.
    pub async fn next(&self) -> Vec<(usize, Result<Sent, SendError>)> {
        loop {
            let changed = self.some.notified();
            {
                let mut told = self.told();
                if !told.ended.is_empty() || told.open_count == 0 {
                    return std::mem::take(&mut told.ended);
                }
            }
            changed.await;
        }
    }

    /// Until all have ended; for one task. Cancel safe.
    pub async fn all(&self) {
        while self.told().open_count > 0 {
            self.all.notified().await;
        }
    }
}

/// One attempt of one delivery.
#[derive(Clone, Debug)]
pub struct SendRequest {
    /// The delivery's id. The same for each attempt, so that a receiver can recognise repeats.
    pub delivery: String,
    /// Counts every try of the delivery from 1.
    pub attempt: u32,
    /// When this attempt begins; wall clock.
    pub at: Timestamp,
    /// The event that is delivered.
    pub event: Arc<Envelope>,
    /// What is sent.
    pub payload: Payload,
    /// How long all of it may take, connecting and reading the answer included.
    pub timeout: Duration,
    /// W3C trace context, passed on where the sink has a place for it.
    pub traceparent: Option<String>,
}

impl SendRequest {
    /// How often the event has been passed on, this time included.
    #[must_use]
    pub fn hops(&self) -> u8 {
        self.event.hop_count.saturating_add(1)
    }
}

/// What is sent, after the rule's `input` has shaped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The media type of `body`, where it has one.
    pub content_type: Option<Text>,
    /// The bytes.
    pub body: Bytes,
    /// What these bytes are, which says what a sink may add to them.
    pub form: PayloadForm,
}

/// What the bytes of a [`Payload`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadForm {
    /// The event's data as it came (`input = "raw"`). The sink may add the event's attributes beside it (`ce-*`
    /// headers), or put the whole event around it where its own `format` says so.
    Raw,
    /// The whole event as CloudEvents JSON (`input = "event"`).
    Structured,
    /// Anything else that a rule made of the event (`data`, a template, another cloud's envelope): sent as it is.
    Shaped,
}

/// A confirmed delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// A stable word for what was answered, such as `http_204`; empty where there is nothing to say.
    pub code: Cow<'static, str>,
    /// The head of the answer as text, at most [`RESPONSE_HEAD_BYTES_MAX`].
    pub response_head: String,
    /// The answer's HTTP status, where it has one.
    pub status: Option<u16>,
    /// The answer's media type.
    pub content_type: Option<String>,
    /// The answer's body, cut at [`RESPONSE_BODY_BYTES_MAX`].
    pub body: Bytes,
    /// Whether the target said more than `body` holds.
    pub truncated: bool,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// A stable word: `http_503`, `timeout`, `connect`, `redirect_refused`, `egress_blocked`.
    pub code: String,
    /// What happened, in words, without secrets.
    pub message: String,
    /// The head of the answer as text, where one came; at most [`RESPONSE_HEAD_BYTES_MAX`].
    pub response_head: String,
    /// Whether another attempt may help.
    pub retryable: bool,
    /// When the target says to come back; at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
}

impl SendError {
    /// A failure that another attempt may mend.
    #[must_use]
    pub fn retryable(code: impl Into<String>, message: impl Into<String>) -> SendError {
        SendError {
            code: code.into(),
            message: message.into(),
            response_head: String::new(),
            retryable: true,
            retry_after: None,
        }
    }

    /// A failure that stays one.
    #[must_use]
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> SendError {
        SendError { retryable: false, ..SendError::retryable(code, message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(ended: &[(usize, Result<Sent, SendError>)]) -> Vec<usize> {
        ended.iter().map(|(place, _)| *place).collect()
    }

    #[tokio::test]
    async fn each_end_is_taken_once_in_the_order_in_which_it_was_told() {
        let ends = Ends::of(4);
        ends.end(2, Ok(Sent::default()));
        ends.end(0, Err(SendError::permanent("a", "b")));
        ends.end(2, Err(SendError::permanent("late", "it had ended")));
        ends.end(9, Ok(Sent::default()));
        let first = ends.next().await;
        assert_eq!(places(&first), [2, 0]);
        assert!(first[0].1.is_ok());
        assert!(tokio::time::timeout(Duration::from_millis(1), ends.next()).await.is_err(), "two are open");
        assert!(tokio::time::timeout(Duration::from_millis(1), ends.all()).await.is_err());
        ends.end(3, Ok(Sent::default()));
        ends.end_rest(|| SendError::retryable("timeout", "none came"));
        ends.all().await;
        let rest = ends.next().await;
        assert_eq!(places(&rest), [3, 1]);
        assert_eq!(rest[1].1.as_ref().unwrap_err().code, "timeout");
        assert!(ends.next().await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_end_is_missed_that_another_thread_tells() {
        const COUNT: usize = 20_000;
        let ends = Ends::of(COUNT);
        let telling = Arc::clone(&ends);
        let teller = std::thread::spawn(move || (0..COUNT).for_each(|place| telling.end(place, Ok(Sent::default()))));
        let waiting = Arc::clone(&ends);
        let all = tokio::spawn(async move { waiting.all().await });
        let mut seen = Vec::new();
        while seen.len() < COUNT {
            seen.extend(places(&ends.next().await));
        }
        assert!(seen.iter().copied().eq(0..COUNT));
        all.await.unwrap();
        teller.join().unwrap();
    }
}
