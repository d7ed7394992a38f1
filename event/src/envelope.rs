//! An event that the broker has taken.

use crate::{Event, EventId, Name, Timestamp};

/// An event and what only the broker knows of it. This is what rules look at, what the store keeps and what
/// a target is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Our id.
    pub id: EventId,
    /// The namespace it belongs to; rules of other namespaces never see it.
    pub namespace: Name,
    /// The name of the source it came by: `[source.NAME]`, or `events` for `POST /events`, or `eventyard` for
    /// the broker's own.
    pub source_name: Name,
    /// The source's tags; rules may ask for them and patterns see them as `tags`.
    pub tags: Vec<String>,
    /// When it was taken.
    pub received_at: Timestamp,
    /// How often it has been passed on: by `event` targets, and by sinks whose messages came in again ([`crate::hops`]).
    pub hop_count: u8,
    /// Whether no object in its JSON data has the same key twice or a key with a dot, so that a matcher may stop
    /// early.
    pub keys_unique: bool,
    /// The event as it came.
    pub event: Event,
}
