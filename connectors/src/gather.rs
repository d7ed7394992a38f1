//! Sends that are made at once, gathered into batches: for sinks to which one write of a thousand events costs little
//! more than one of a single event.
//!
//! The broker calls [`Sink::send`](crate::sink::Sink::send) for each delivery, many at a time. A sink that gathers lets
//! each of these calls wait in a [`Gatherer`], which writes them together by [`SendBatch::send_batch`] and gives each
//! its own answer. A batch is written when it has as many events or bytes as it may have, or when its first event has
//! waited for `window`. So there are as many events in it at most as sends are made at once: such a sink asks for many
//! ([`Sink::concurrency`](crate::sink::Sink::concurrency)).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::sink::{SendError, SendRequest, Sent};
use crate::spec::{Field, FieldKind};

/// The key of a sink that gathers.
pub const BATCH: Field = Field::with_default(
    "batch",
    FieldKind::Table(&[
        Field::with_default(
            "max",
            FieldKind::Integer { min: 1, max: 10_000 },
            "1000",
            "As many events at most. No more than the target's `concurrency` ever wait together.",
        ),
        Field::with_default("size", FieldKind::Size, "8MiB", "As many bytes at most; one event may have more."),
        Field::with_default(
            "window",
            FieldKind::Duration,
            "100ms",
            "How long the first event of a batch waits for others; half of the target's `timeout` at most.",
        ),
    ]),
    "{}",
    "How many events are written together.",
);

/// `batch`, to be read from a sink's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct GatherConfig {
    max: usize,
    #[serde(rename = "size")]
    size_bytes: u64,
    #[serde(rename = "window")]
    window_ms: u64,
}

/// What writes a batch.
#[async_trait]
pub trait SendBatch: Send + Sync + 'static {
    /// Writes deliveries together, and returns when the other side has confirmed them or said why not: one result for
    /// each, in order. A result that is missing counts as a failure that may be tried again.
    ///
    /// Cancellation: never dropped before it ends, but with the program.
    async fn send_batch(&self, requests: &[SendRequest]) -> Vec<Result<Sent, SendError>>;
}

/// Gathers.
pub struct Gatherer<S> {
    writer: Arc<S>,
    config: GatherConfig,
    /// A std Mutex: never held over an await.
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<SendRequest>,
    replies: Vec<oneshot::Sender<Result<Sent, SendError>>>,
    bytes: usize,
    /// Counts batches, so that a window that is over ends no later batch than its own.
    batch: u64,
}

impl<S: SendBatch> Gatherer<S> {
    /// In front of `writer`.
    #[must_use]
    pub fn new(writer: Arc<S>, config: GatherConfig) -> Gatherer<S> {
        Gatherer { writer, config, waiting: Arc::default() }
    }

    /// Sends one delivery, with others.
    ///
    /// Cancellation: the delivery is sent all the same.
    ///
    /// # Errors
    /// What the writer said of this one.
    pub async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        let window = Duration::from_millis(self.config.window_ms).min(request.timeout / 2);
        let (reply, answer) = oneshot::channel();
        let full = {
            let mut waiting = lock(&self.waiting);
            waiting.bytes += request.payload.body.len();
            waiting.requests.push(request);
            waiting.replies.push(reply);
            let full = waiting.requests.len() >= self.config.max
                || waiting.bytes as u64 >= self.config.size_bytes
                || window.is_zero();
            if !full && waiting.requests.len() == 1 {
                self.end_after(window, waiting.batch);
            }
            full
        };
        if full {
            self.flush();
        }
        let gone = || SendError::retryable("interrupted", "the batch was not written to its end");
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Writes what waits now.
    pub fn flush(&self) {
        let waiting = take(&mut lock(&self.waiting));
        let writer = Arc::clone(&self.writer);
        tokio::spawn(async move { write(writer.as_ref(), waiting).await });
    }

    fn end_after(&self, window: Duration, batch: u64) {
        let (writer, waiting) = (Arc::clone(&self.writer), Arc::clone(&self.waiting));
        tokio::spawn(async move {
            tokio::time::sleep(window).await;
            let ended = {
                let mut waiting = lock(&waiting);
                if waiting.batch != batch {
                    return;
                }
                take(&mut waiting)
            };
            write(writer.as_ref(), ended).await;
        });
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(waiting: &mut Waiting) -> Waiting {
    let batch = waiting.batch.wrapping_add(1);
    std::mem::replace(waiting, Waiting { batch, ..Waiting::default() })
}

async fn write<S: SendBatch>(writer: &S, waiting: Waiting) {
    let Waiting { requests, replies, .. } = waiting;
    if requests.is_empty() {
        return;
    }
    let mut results = writer.send_batch(&requests).await.into_iter();
    for reply in replies {
        let missing = || Err(SendError::retryable("no_answer", "nothing was said of this event of the batch"));
        // Whoever went away needs no answer.
        drop(reply.send(results.next().unwrap_or_else(missing)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use eventyard_event::{Envelope, Event, EventId, Name, Timestamp};
    use tokio::time::Instant;

    use super::*;
    use crate::sink::{Payload, PayloadForm};

    /// Notes the sizes of its batches; refuses what says `no`.
    #[derive(Default)]
    struct Noted(Mutex<Vec<usize>>);

    #[async_trait]
    impl SendBatch for Noted {
        async fn send_batch(&self, requests: &[SendRequest]) -> Vec<Result<Sent, SendError>> {
            self.0.lock().unwrap().push(requests.len());
            let answer = |request: &SendRequest| match request.payload.body.as_ref() {
                b"no" => Err(SendError::permanent("refused", "it says no")),
                _ => Ok(Sent { code: request.delivery.clone().into(), ..Sent::default() }),
            };
            requests.iter().filter(|request| request.payload.body != "silent").map(answer).collect()
        }
    }

    fn request(number: usize, body: &'static str) -> SendRequest {
        let envelope = Envelope {
            id: EventId::new(Timestamp::EPOCH, [0; 10]),
            namespace: Name::default_namespace(),
            source_name: Name::default_namespace(),
            tags: Vec::new(),
            received_at: Timestamp::EPOCH,
            hop_count: 0,
            keys_unique: true,
            event: Event::default(),
        };
        SendRequest {
            delivery: number.to_string(),
            attempt: 1,
            at: Timestamp::EPOCH,
            event: Arc::new(envelope),
            payload: Payload { content_type: None, body: Bytes::from_static(body.as_bytes()), form: PayloadForm::Raw },
            timeout: Duration::from_secs(30),
            traceparent: None,
        }
    }

    fn gatherer(max: usize, size_bytes: u64, window_ms: u64) -> (Arc<Noted>, Gatherer<Noted>) {
        let noted = Arc::new(Noted::default());
        (Arc::clone(&noted), Gatherer::new(noted, GatherConfig { max, size_bytes, window_ms }))
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_own_answer_and_a_batch_ends_by_number() {
        let (noted, gatherer) = gatherer(3, 1000, 1000);
        let began = Instant::now();
        let sends = (0..7).map(|number| gatherer.send(request(number, if number == 4 { "no" } else { "yes" })));
        let answers = futures_util::future::join_all(sends).await;
        assert_eq!(*noted.0.lock().unwrap(), [3, 3, 1]);
        assert_eq!(began.elapsed(), Duration::from_millis(1000), "the last one waited for its window");
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(sent) => assert_eq!(sent.code, number.to_string()),
                Err(error) => assert_eq!((number, error.code.as_str(), error.retryable), (4, "refused", false)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_ends_by_its_bytes_and_by_half_of_the_time_out() {
        let (noted, gatherer) = gatherer(100, 6, 3_600_000);
        let began = Instant::now();
        let sends = (0..3).map(|number| gatherer.send(request(number, "yes")));
        futures_util::future::join_all(sends).await;
        assert_eq!(*noted.0.lock().unwrap(), [2, 1]);
        assert_eq!(began.elapsed(), Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nothing_is_said_of_is_tried_again() {
        let (_, gatherer) = gatherer(1, 1000, 1000);
        let error = gatherer.send(request(0, "silent")).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("no_answer", true));
    }
}
