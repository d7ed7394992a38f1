//! What an event is.
//!
//! An [`Event`] is a CloudEvents 1.0 event, kept exactly as its sender wrote it: attributes as text,
//! [`Data`] as the bytes that came, so that no number is rounded and no key reordered on the way through.
//! An [`Envelope`] is an event that the broker has taken: it adds what only the broker knows, namely our own
//! id, the source it came by, its namespace and tags, when it came, and how many rules it has passed through.
//!
//! The words: *event* (what a sender sends), *envelope* (the event plus our facts), *source attribute*
//! (CloudEvents' `source`, a URI-reference) as against *source name* (`[source.NAME]` in the project).
//!
//! What is not here: no clock, no file, no network, no tokio, no configuration. Time is a parameter.

mod data;
mod envelope;
mod error;
mod event;
mod id;
mod limits;
mod name;
mod time;

pub mod http;
pub mod json;

pub use data::Data;
pub use envelope::Envelope;
pub use error::EventError;
pub use event::{Event, ExtensionValue};
pub use id::{DeliveryId, EventId, IdError};
pub use limits::Limits;
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use time::{Clock, Timestamp, TimestampError};
