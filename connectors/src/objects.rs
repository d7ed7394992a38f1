//! Bytes that an event only names, fetched for whom the event is delivered to.

use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::Event;

use crate::sink::SendError;

/// Where the bytes are that the events of a source name.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// The bytes that an event of the source names, as they are now. The broker calls this for each attempt of a
    /// target that has `input = "object"`, within the attempt's time.
    ///
    /// Cancellation: safe.
    ///
    /// # Errors
    /// As of a sink: [`SendError::retryable`] says whether another attempt may help. `no_object` where the event names
    /// none, `object_gone` where there is none any more, `object_too_large` where it has more than `bytes_max` bytes.
    async fn fetch(&self, event: &Event, bytes_max: u64) -> Result<Object, SendError>;
}

/// The bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What the store says they are.
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Bytes,
}
