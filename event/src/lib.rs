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
//! # The forms of an event
//!
//! Outside, an event has one of the two forms of CloudEvents 1.0 (the modules list the choices made where the
//! specification leaves some):
//!
//! - *Structured* ([`json`]): one JSON object, attributes and `data` side by side. Several of them in a JSON
//!   array are a *batch*. This is what `POST /events`, files and functions speak.
//!
//!   ```json
//!   {"specversion":"1.0","id":"7","source":"/shop","type":"order.created","data":{"amount":1200}}
//!   ```
//!
//! - *Binary* ([`http`]): the data alone is the body, as it is, and the attributes are `ce-` headers.
//!
//!   ```text
//!   ce-specversion: 1.0
//!   ce-id: 7
//!   ce-source: /shop
//!   ce-type: order.created
//!   content-type: application/json
//!
//!   {"amount":1200}
//!   ```
//!
//! Both give the same [`Event`], and both keep the data's bytes: `Data::Json` is a slice of the message. The
//! one pass that checks JSON ([`json::validate`]) also says whether all keys are unique ([`json::Shape`]), which
//! is what [`Envelope::keys_unique`] keeps. Every reader takes [`Limits`] and gives an [`EventError`] with a
//! stable code; none panics, whatever the bytes.
//!
//! What is not here: no clock, no file, no network, no tokio, no configuration. Time is a parameter.

mod attributes;
mod data;
mod envelope;
mod error;
mod event;
mod extensions;
mod id;
mod limits;
mod name;
mod schema;
mod text;
mod time;

pub mod address;
pub mod decode;
pub mod hops;
pub mod http;
pub mod json;
pub mod media_type;

pub use attributes::{fits_attribute, is_forbidden};
pub use data::Data;
pub use envelope::Envelope;
pub use error::{EventError, with_causes};
pub use event::{Event, ExtensionValue};
pub use extensions::Extensions;
pub use id::{DeliveryId, EventId, IdError};
pub use limits::Limits;
pub use name::{NAME_BYTES_MAX, Name, NameError};
pub use schema::NAME_PATTERN;
pub use text::{Text, digits, format_text};
pub use time::{Clock, Timestamp, TimestampError};
