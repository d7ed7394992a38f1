//! Why bytes are not an event; and how the whole of any error is said, which all above need.

/// An error with everything that caused it, in one line.
#[must_use]
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Why something from outside is not an event. [`EventError::code`] is the stable word that users script
/// against; the text says what and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A required attribute is not there.
    #[error("the attribute `{0}` is missing")]
    MissingAttribute(&'static str),
    /// `specversion` is something other than `1.0`.
    #[error("specversion `{0}` is not supported, only `1.0` is")]
    SpecVersion(String),
    /// An attribute has a name or a value that the specification does not allow.
    #[error("the attribute `{name}` {problem}")]
    Attribute {
        /// Which one.
        name: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// The JSON text is broken.
    #[error("not valid JSON: {problem} at line {line}, column {column}")]
    Json {
        /// Counts from 1.
        line: usize,
        /// Counts from 1, in bytes.
        column: usize,
        /// What was found.
        problem: String,
    },
    /// The JSON text is well-formed but no event, or no batch of events.
    #[error("not a CloudEvent: {0}")]
    Shape(String),
    /// `data` and `data_base64` at once, or `data_base64` that is no base64.
    #[error("the event's data cannot be read: {0}")]
    Data(String),
    /// A limit was met; see [`crate::Limits`].
    #[error("{what} is over the limit `{limit}` of {max}")]
    Limit {
        /// What is too much.
        what: String,
        /// The limit's name.
        limit: &'static str,
        /// The limit itself.
        max: usize,
    },
    /// A media type that carries no CloudEvent.
    #[error(
        "the content type `{0}` carries no CloudEvent: send the event as `application/cloudevents+json`, several \
         as `application/cloudevents-batch+json`, or any data with the headers ce-specversion, ce-id, ce-source \
         and ce-type"
    )]
    ContentType(String),
    /// One event of a batch is bad; nothing of the batch is taken.
    #[error("event {index} of the batch: {error}")]
    InBatch {
        /// Counts from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<EventError>,
    },
}

impl EventError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            EventError::MissingAttribute(_) => "ce_missing_attribute",
            EventError::SpecVersion(_) => "ce_specversion",
            EventError::Attribute { .. } => "ce_attribute",
            EventError::Json { .. } => "json_invalid",
            EventError::Shape(_) => "ce_shape",
            EventError::Data(_) => "ce_data",
            EventError::Limit { limit: "event" | "batch", .. } => "body_too_large",
            EventError::Limit { .. } => "ce_limit",
            EventError::ContentType(_) => "content_type",
            EventError::InBatch { error, .. } => error.code(),
        }
    }
}
