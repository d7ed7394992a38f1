//! The CloudEvents 1.0 event.

use crate::{Data, Extensions, Text};

/// A CloudEvents 1.0 event (specification version 1.0.2, "Context Attributes"), attributes as they were sent.
///
/// Only `id`, `source` and `ty` are required; the checks of the specification are made by whoever reads an
/// event from outside ([`crate::json`], [`crate::http`]), and by [`Event::check`] for events built in code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The sender's id, unique within `source`.
    pub id: Text,
    /// A URI-reference that names the sender.
    pub source: Text,
    /// `type`: what kind of thing happened.
    pub ty: Text,
    /// What it happened to, in the sender's terms.
    pub subject: Option<Text>,
    /// RFC 3339, in the sender's spelling.
    pub time: Option<Text>,
    /// The media type of `data`, in the sender's spelling.
    pub datacontenttype: Option<Text>,
    /// A URI that names the schema of `data`.
    pub dataschema: Option<Text>,
    /// Extension attributes by name (lower-case letters and digits).
    pub extensions: Extensions,
    /// The payload.
    pub data: Data,
}

impl Event {
    /// The media type of the data: as it was declared, else `application/json` for JSON, whose declaration may be left out in the
    /// JSON format alone (CloudEvents JSON format 1.0.2, section 3.1). Whoever passes the data on by itself says it.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.datacontenttype.as_deref().or_else(|| self.data.json().map(|_| "application/json"))
    }
}

/// The value of an extension attribute. The types that JSON has no words for (binary, URI, timestamp) are
/// strings here, as they are in every CloudEvents format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionValue {
    /// A string, or a type that is written as one.
    String(Text),
    /// A whole number of 32 bits with sign.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}
