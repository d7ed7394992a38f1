//! The contract of a source, and the one handle by which a source reaches the broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::{Clock, Event, Limits, Timestamp};
use serde_json::{Map, Value};

/// The most of what could not be decoded that is kept, in bytes: enough to see what it was meant to be, and all of
/// what most systems call a message.
pub const UNDECODABLE_RAW_MAX: usize = 64 * 1024;

/// The most that the coordinates of one message may take as JSON, in bytes.
pub const COORDINATES_BYTES_MAX: usize = 4096;

/// The most instances that one source can have.
pub const INSTANCES_MAX: u32 = 16;

/// Something that events are fetched from: a timer, a queue, a topic, a file. (An http source is not one of
/// these: it is mounted on the broker's own server and asked about each request, see
/// [`HttpSource`](crate::http::HttpSource).)
///
/// Implementations are driven by [`supervise`](crate::supervise::supervise), which makes these calls one at a
/// time, in this order:
///
/// ```text
/// connect ─→ ( read ─→ the broker commits ─→ ack )* ─→ close ─→ connect …
/// ```
///
/// A batch that was read is offered to the broker until it has been taken; [`Source::ack`] follows only then.
/// Where the process dies before the ack, the same events are read again after [`Source::connect`]: from the
/// saved position, or because the system on the other side was never told.
#[async_trait]
pub trait Source: Send {
    /// Opens what is to be read. Called before the first read, and again after an error of any other call.
    ///
    /// An error makes the supervisor call [`Source::close`], wait with growing pauses and call this again, for
    /// as long as it takes. Cancellation: may be dropped at any await when the program stops; `close`
    /// follows.
    ///
    /// # Errors
    /// [`SourceError::Failed`] where it does not work now.
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError>;

    /// Waits for the next events. Called again and again once `connect` has succeeded. A batch of nothing at all
    /// ([`Batch::is_empty`]) is neither offered nor acknowledged: it has the supervisor ask [`Source::has_begun`] again.
    ///
    /// Cancellation: safe. The future is dropped when the source is paused or the program stops, and the next
    /// call must then give what this one would have given.
    ///
    /// # Errors
    /// [`SourceError::Failed`]: close, wait, connect again. [`SourceError::Ended`]: close, and never call again.
    async fn read(&mut self) -> Result<Batch, SourceError>;

    /// The batch of the last `read` is on disk; the system on the other side may forget it. Called once after
    /// each batch that the broker took, before the next read, and never for one that it did not take.
    ///
    /// # Errors
    /// As for `read`. The events are safe already, and those that come again are recognised by their ids.
    async fn ack(&mut self) -> Result<(), SourceError>;

    /// Gives back what `connect` opened. Called after every error and when the program stops; may be called
    /// twice. What was read and not acknowledged stays unacknowledged.
    async fn close(&mut self);

    /// Goes on from another place: earlier to see events again, later to leave some out. Called between two reads,
    /// while connected; the next `read` gives what stands there. Of several instances each is asked.
    ///
    /// Returns the position that is to be saved for it, where this source has one; that is on disk before the next
    /// read. A source whose system keeps its place returns `None` when that system knows.
    ///
    /// # Errors
    /// [`SeekError`]; the source then goes on from where it was.
    async fn seek(&mut self, _to: &Seek) -> Result<Option<Vec<u8>>, SeekError> {
        Err(SeekError::Unsupported)
    }

    /// Whether what comes from now on is told from what was there before. Until then the source shows as starting. Asked
    /// between two reads.
    fn has_begun(&self) -> bool {
        true
    }

    /// How many events wait on the other side, where the source can tell. Called after each batch; cheap. Those of
    /// several instances are added up: where all read from one queue, only the first tells.
    fn lag(&self) -> Option<u64> {
        None
    }

    /// A pause is over, at `now`: what passed meanwhile is what a stop would have missed. Called between two reads,
    /// or before a connect.
    fn resumed(&mut self, _now: Timestamp) {}

    /// How to make this source's event by hand, where that means something (a timer). Asked once, before the
    /// supervisor takes the source.
    fn manual(&self) -> Option<ManualFiring> {
        None
    }
}

/// Makes an event outside a source's own rhythm, from the time and 10 random bytes. It has an id of its own and
/// leaves the source's position alone.
pub type ManualFiring = Arc<dyn Fn(Timestamp, [u8; 10]) -> Incoming + Send + Sync>;

/// What a source is given when it connects.
#[derive(Clone)]
pub struct SourceContext {
    /// How far it came, as it said in [`Batch::position`] of the last batch that was taken; `None` at first.
    pub position: Option<Vec<u8>>,
    /// The broker, narrowed to this source.
    pub intake: Arc<dyn Intake>,
    /// The wall clock. A source never reads the machine's own.
    pub clock: Clock,
    /// Which of the source's `instances` this is, from 0. Each has a position of its own; those of the others are
    /// had from [`Intake::positions`].
    pub instance: u32,
    /// What an event may have; for those who decode.
    pub limits: Limits,
}

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seek {
    /// With the oldest that the other side still has.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// With what came at this time or later.
    Time(Timestamp),
    /// With a place in the system's own words: an offset, a sequence.
    Position(String),
}

impl Seek {
    /// Reads `earliest`, `latest`, a time as RFC 3339; anything else is a position.
    #[must_use]
    pub fn read(text: &str) -> Seek {
        match text {
            "earliest" => Seek::Earliest,
            "latest" => Seek::Latest,
            other => Timestamp::parse(other).map_or_else(|_| Seek::Position(other.to_owned()), Seek::Time),
        }
    }
}

/// Why a source goes on from where it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeekError {
    /// Its kind has no place to go to.
    #[error("a source of this kind cannot go on from another place")]
    Unsupported,
    /// There is no such place.
    #[error("{message}")]
    BadPosition {
        /// What would have been one.
        message: String,
    },
    /// The other side did not do it, or nobody is connected to it.
    #[error("{message}")]
    Failed {
        /// A stable word.
        code: &'static str,
        /// What happened, in words, without secrets.
        message: String,
    },
}

/// Events that are committed together, in one frame: all of them, or none.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In the order in which they happened. May be empty where only the position moves.
    pub events: Vec<Incoming>,
    /// How far the source has come with these; saved in the same frame, so that neither is ever there without
    /// the other. At most 64 KiB, opaque to the broker. `None` leaves the saved one as it is.
    pub position: Option<Vec<u8>>,
    /// What came and could not be decoded: a dead letter each, in the same frame, so that the source can move on.
    pub undecodable: Vec<Undecodable>,
}

impl Batch {
    /// Whether there is nothing to commit: no event, nothing undecodable, and no position either.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.undecodable.is_empty() && self.position.is_none()
    }
}

/// What came and is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Where it stands on the other side: topic, partition and offset; queue and delivery tag; bucket and key. At most
    /// [`COORDINATES_BYTES_MAX`] as JSON.
    pub at: Map<String, Value>,
    /// The head of its bytes, at most [`UNDECODABLE_RAW_MAX`].
    pub raw: Bytes,
    /// How many bytes it has in all.
    pub size: u64,
    /// A stable word, such as `decode` or `too_large`.
    pub code: String,
    /// What is wrong with it.
    pub message: String,
    /// How long a repeat of the same coordinates is recognised; as [`Incoming::dedupe`].
    pub dedupe: Option<Duration>,
}

impl Undecodable {
    /// Of a message whose bytes are all here; keeps their head.
    #[must_use]
    pub fn new(
        at: Map<String, Value>,
        body: &Bytes,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Undecodable {
        Undecodable {
            at,
            // A copy: a slice would keep all of it in memory.
            raw: Bytes::copy_from_slice(body.get(..UNDECODABLE_RAW_MAX).unwrap_or(body)),
            size: body.len() as u64,
            code: code.into(),
            message: message.into(),
            dedupe: None,
        }
    }
}

/// An event on its way in. Tags and namespace are the source's and come from the project: intake adds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The event. An empty `id` means that the sender gave none: intake fills in ours.
    pub event: Event,
    /// Whether no object in its JSON data has the same key twice; `false` where nobody looked.
    pub keys_unique: bool,
    /// How long a repeat of the same `(source, id)` is recognised. `None` where the id is ours, where a position
    /// guards against repeats, or where the project says `dedupe = "off"`.
    pub dedupe: Option<Duration>,
}

/// The broker as one source sees it.
///
/// Connectors know neither rules nor the store: the arrow between the crates points from the broker to them.
/// So the broker hands each source this, bound to the source's name, namespace and tags, and the source can do
/// no more than what stands here.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Takes a batch whole or not at all, and returns when it is on disk. Then `batch` is empty.
    ///
    /// Cancellation: a caller that goes away does not undo it; whether it was taken is then unknown.
    ///
    /// # Errors
    /// [`IntakeError`]; nothing of the batch was taken, and what is in `batch` may be offered again.
    async fn offer(&self, batch: &mut Batch) -> Result<(), IntakeError>;

    /// The position that this source last saved.
    ///
    /// # Errors
    /// [`IntakeError::Unavailable`] where the store cannot be read.
    async fn position(&self) -> Result<Option<Vec<u8>>, IntakeError>;

    /// The positions that all instances of this source last saved, by instance, this one's included. Read anew at
    /// each call: what moves from one instance to another (a partition) is found here by the one that gets it.
    ///
    /// # Errors
    /// [`IntakeError::Unavailable`] where the store cannot be read.
    async fn positions(&self) -> Result<Vec<(u32, Vec<u8>)>, IntakeError> {
        Ok(self.position().await?.map(|position| (0, position)).into_iter().collect())
    }

    /// Whether every delivery of the last event of the frame that saved this source's position has ended
    /// (delivered, dead or cancelled). True where there was no such event.
    ///
    /// # Errors
    /// [`IntakeError::Unavailable`] where the store cannot be read.
    async fn last_settled(&self) -> Result<bool, IntakeError>;
}

/// Why the broker did not take a batch. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// Too much is being committed at this moment, or the store cannot be written to (503).
    #[error("the broker cannot take events now: {message}")]
    Unavailable {
        /// What is the matter.
        message: String,
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
    },
    /// The disk is full (507). Ends by itself when there is room again.
    #[error("the broker's disk is full")]
    Full {
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// More deliveries are pending than `[limits] pending` allows (503).
    #[error("more deliveries are pending than `[limits] pending` allows")]
    BacklogFull {
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// The broker is stopping and takes no more.
    #[error("the broker is stopping")]
    Closed,
    /// This batch will never be taken as it is: an event over the limit, an attribute that is not allowed.
    #[error("{message}")]
    Refused {
        /// A stable word, such as `body_too_large`.
        code: String,
        /// What is wrong with it.
        message: String,
    },
}

impl IntakeError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            IntakeError::Unavailable { .. } => "unavailable",
            IntakeError::Full { .. } => "disk_full",
            IntakeError::BacklogFull { .. } => "backlog_full",
            IntakeError::Closed => "stopping",
            IntakeError::Refused { code, .. } => code,
        }
    }

    /// When the broker says to try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            IntakeError::Unavailable { retry_after, .. }
            | IntakeError::Full { retry_after }
            | IntakeError::BacklogFull { retry_after } => *retry_after,
            IntakeError::Closed | IntakeError::Refused { .. } => None,
        }
    }
}

/// Why a source gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It does not work now. The supervisor closes, waits and connects again.
    #[error("{message}")]
    Failed {
        /// A stable word, such as `connect` or `auth`; metrics and alerts carry it.
        code: &'static str,
        /// What happened, in words, without secrets.
        message: String,
    },
    /// Nothing will ever come again (a timer whose last instant has passed).
    #[error("nothing will come from this source any more")]
    Ended,
}

impl SourceError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::Failed { code, .. } => code,
            SourceError::Ended => "ended",
        }
    }
}
