//! An event's payload, as the bytes that came.

use bytes::Bytes;

/// What an event carries. The bytes are never re-encoded on the way through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Data {
    /// No payload at all (not even JSON's `null`).
    #[default]
    None,
    /// Checked JSON text; what patterns see below `data`.
    Json(Bytes),
    /// Anything else, or what claimed to be JSON and was not. Patterns see no `data`.
    Bytes(Bytes),
}

impl Data {
    /// The raw bytes; empty where there are none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Data::None => &[],
            Data::Json(bytes) | Data::Bytes(bytes) => bytes,
        }
    }

    /// The JSON text, where that is what it is.
    #[must_use]
    pub fn json(&self) -> Option<&[u8]> {
        match self {
            Data::Json(bytes) => Some(bytes),
            Data::None | Data::Bytes(_) => None,
        }
    }
}
