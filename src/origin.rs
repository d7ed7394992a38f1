//! Whom an event comes from, as far as the broker is concerned.

use eventyard_event::Name;

/// Whom events come from, as far as rules and the store are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The namespace that the events get.
    pub namespace: Name,
    /// `[source.NAME]`, or `events` for `POST /events`.
    pub source_name: Name,
    /// The source's tags.
    pub tags: Vec<String>,
}
