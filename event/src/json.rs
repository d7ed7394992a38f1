//! Structured mode: events as JSON (the CloudEvents JSON event format), one by one or in a batch.
//!
//! Reading is strict and keeps everything: the text is checked whole ([`validate`]), `data` stays the very
//! slice of the incoming bytes, so that no number is rounded, no key reordered and no space lost.
//!
//! The choices, where the format leaves some:
//! - A member that stands twice in an event is refused, whatever its name; inside `data` repeated keys are
//!   allowed and noted in [`Shape::keys_unique`].
//! - `null` for an attribute means that it is not there, also for a required one and for `data_base64`;
//!   `"data": null` is data, namely JSON's null.
//! - An extension is a string, a boolean or a whole number of 32 bits. An object, an array or another number is
//!   refused.
//! - Where `datacontenttype` is given and declares no JSON, `data` must be a string, and its text is the data.
//! - `data_base64` whose `datacontenttype` declares JSON is taken as JSON if it is, else kept as bytes.

mod attributes;
mod bytes;
mod check;
mod gaps;
mod known;
mod outline;
mod quick;
mod read;
mod scan;
mod skim;
mod write;

pub use attributes::SkimmedValue;
pub use known::Found;
pub(crate) use read::check_size;
pub use read::{read_batch, read_structured, read_structured_into};
pub use scan::text;
pub use skim::{Skimmed, Skimmer};
pub use write::{write_batch, write_structured};

use crate::EventError;

/// The media type of one event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// The media type of a batch.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// What one pass over an event's JSON data has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// No object in the data has the same key twice, or a key with a dot (which rules read as a step downwards), so
    /// that a search for a path may end at the first value. True where there is no JSON data.
    pub keys_unique: bool,
}

impl Shape {
    /// The shape of data that is no JSON.
    pub(crate) const OPAQUE: Shape = Shape { keys_unique: true };
}

/// Checks that `bytes` are one JSON text (RFC 8259) nested at most `depth_max` deep. Numbers of any size pass:
/// they are not read.
///
/// # Errors
/// [`EventError::Json`] with line and column, or [`EventError::Limit`] (`json_depth`).
pub fn validate(bytes: &[u8], depth_max: usize) -> Result<Shape, EventError> {
    let outline = check::check(scan::text_of(bytes)?, depth_max)?;
    Ok(Shape { keys_unique: outline.keys_unique })
}
