//! The contract of a reader: it makes the events of one source out of what another part of the broker took.

use std::time::Duration;

use async_trait::async_trait;

use crate::source::Incoming;

/// Makes events of messages that come by somebody else: by a path of the broker's server, or by a source that takes
/// them from a queue. The broker calls it before anything of a message is committed.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// The events of one message, in their order. Empty where it tells of nothing that the source is for; such a
    /// message is done with.
    ///
    /// Cancellation: safe; nothing is kept between calls.
    ///
    /// # Errors
    /// [`NotRead`]: whether the same message may be read later.
    async fn read(&self, body: &[u8]) -> Result<Vec<Incoming>, NotRead>;
}

/// Why a message made no events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// What the reader has to ask does not answer. The message must come again.
    #[error("{message}")]
    Now {
        /// A stable word.
        code: &'static str,
        /// What happened, without secrets.
        message: String,
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
    },
    /// It is not what this reader reads.
    #[error("{message}")]
    Never {
        /// A stable word.
        code: &'static str,
        /// What is wrong with it.
        message: String,
    },
}
