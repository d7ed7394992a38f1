//! Data of other formats as JSON, so that rules can look into it: XML, tables of values with commas, forms.
//!
//! The event keeps the bytes that came; what is made here is only looked at. Which format it is, the content type says.
//! The JSON made is the same for the same bytes, whoever asks, and everything in it is text:
//!
//! | format | content type | JSON |
//! |---|---|---|
//! | XML | `*/xml`, `*+xml` | the outermost element by its name; see [`xml`](mod@xml) |
//! | CSV | `text/csv` | a list of rows, each an object by the names of the first row; with `header=absent`, a list of lists |
//! | form | `application/x-www-form-urlencoded` | an object; a name that is there twice has a list |
//!
//! Nothing here grows beyond [`DECODED_BYTES_MAX`], and nothing outside the bytes is looked at.

mod csv;
mod form;
pub mod xml;

use std::borrow::Cow;

use crate::{Data, Event, json, media_type};

/// The most JSON that is made of an event's data, in bytes. A table with long names of columns can be many times as long as
/// JSON as it came.
pub const DECODED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How deep the JSON may be nested, as in what comes as JSON.
const DEPTH_MAX: usize = 127;

/// A format that JSON can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Extensible Markup Language 1.0, without document type declarations.
    Xml,
    /// Values with commas between them (RFC 4180).
    Csv,
    /// What a browser's form sends.
    Form,
}

/// Data as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'e> {
    /// Checked JSON.
    pub json: Cow<'e, [u8]>,
    /// As [`Envelope::keys_unique`](crate::Envelope::keys_unique), where it was made here.
    pub keys_unique: Option<bool>,
}

/// Why no JSON can be made of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are not what they are said to be.
    #[error("{problem} at byte {at}")]
    Malformed {
        /// Where that was noticed.
        at: usize,
        /// What is wrong.
        problem: String,
    },
    /// A limit is met.
    #[error("{what} (limit {limit})")]
    Limit {
        /// What is too much.
        what: String,
        /// The limit's name.
        limit: &'static str,
    },
}

fn malformed(at: usize, problem: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { at, problem: problem.into() }
}

fn too_large() -> DecodeError {
    let what = format!("it makes more than {} MiB of JSON", DECODED_BYTES_MAX / 1024 / 1024);
    DecodeError::Limit { what, limit: "DECODED_BYTES_MAX" }
}

impl Format {
    /// The format that a content type says, where it is one of these and in UTF-8.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Format> {
        let (kind, subtype) = media_type::essence(content_type).split_once('/')?;
        let subtype = subtype.to_ascii_lowercase();
        let format = if subtype == "xml" || subtype.ends_with("+xml") {
            Format::Xml
        } else if subtype == "csv" && kind.eq_ignore_ascii_case("text") {
            Format::Csv
        } else if subtype == "x-www-form-urlencoded" && kind.eq_ignore_ascii_case("application") {
            Format::Form
        } else {
            return None;
        };
        media_type::charset_is_utf8(content_type).then_some(format)
    }

    /// The content type of data that came without one.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Xml => "application/xml",
            Format::Csv => "text/csv",
            Format::Form => "application/x-www-form-urlencoded",
        }
    }

    /// JSON made of bytes of this format. `content_type` is asked for its parameters.
    ///
    /// # Errors
    /// [`DecodeError`]: they are not of this format, or too much is made of them.
    pub fn decode(self, bytes: &[u8], content_type: &str) -> Result<String, DecodeError> {
        let text = text_of(bytes)?;
        let json = match self {
            Format::Xml => xml::decode(text)?,
            Format::Csv => csv::decode(text, !header_is_absent(content_type))?,
            Format::Form => form::decode(text)?,
        };
        if json.len() > DECODED_BYTES_MAX { Err(too_large()) } else { Ok(json) }
    }
}

/// Each row of a table as JSON of its own; `content_type` is asked for its parameters.
///
/// # Errors
/// [`DecodeError`]: it is no table, or it has more than `rows_max` rows, or too much is made of it.
pub fn csv_rows(bytes: &[u8], content_type: &str, rows_max: usize) -> Result<Vec<String>, DecodeError> {
    csv::rows(text_of(bytes)?, !header_is_absent(content_type), rows_max)
}

fn text_of(bytes: &[u8]) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed(error.valid_up_to(), "there are bytes that are not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

impl Event {
    /// The data as rules see it: as it came where that is JSON, made of it where its content type says one of the
    /// [formats](Format) and it is that. `None` where there is nothing to be seen.
    #[must_use]
    pub fn seen_data(&self) -> Option<Seen<'_>> {
        match &self.data {
            Data::Json(json) => Some(Seen { json: Cow::Borrowed(json), keys_unique: None }),
            Data::Bytes(bytes) => {
                let content_type = self.datacontenttype.as_deref()?;
                let json = Format::of(content_type)?.decode(bytes, content_type).ok()?.into_bytes();
                let shape = json::validate(&json, DEPTH_MAX).ok()?;
                Some(Seen { json: Cow::Owned(json), keys_unique: Some(shape.keys_unique) })
            }
            Data::None => None,
        }
    }
}

/// RFC 4180's parameter: the first row holds values, too.
fn header_is_absent(content_type: &str) -> bool {
    content_type.split(';').skip(1).any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("header") && value.trim().trim_matches('"').eq_ignore_ascii_case("absent")
        })
    })
}

/// Adds a text with its quotes; an error where that would be too much.
fn push_text(out: &mut String, text: &str) -> Result<(), DecodeError> {
    out.push_str(&serde_json::Value::from(text).to_string());
    if out.len() > DECODED_BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
