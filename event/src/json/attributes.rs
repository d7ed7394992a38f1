//! The attributes of an event that is read where it stands: which ones it has, and whether they are good.

use std::ops::Range;

use wide::u8x16;

use super::known::Found;
use super::outline::Place;
use super::quick::window;
use crate::attributes::{check_content_type, check_extension, check_schema, check_source, check_text, check_time};
use crate::{Limits, media_type};

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkimmedValue<'s> {
    /// A string.
    String(&'s str),
    /// A whole number.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

/// One bit for each member that an event must have.
const SPECVERSION: u8 = 1;
const ID: u8 = 2;
const SOURCE: u8 = 4;
const TYPE: u8 = 8;
const REQUIRED: u8 = SPECVERSION | ID | SOURCE | TYPE;
/// Those that it may have.
const OPTIONAL: u8 = 16;
pub(super) const DATA: u8 = 32;
/// A content type that declares no JSON.
const OTHER_CONTENT: u8 = 64;
const EXTENSION: u8 = 128;

/// The bit of an attribute whose value is mostly short and plain; 0 for any other.
pub(super) fn bit(name: &[u8]) -> u8 {
    match name {
        b"id" => ID,
        b"source" => SOURCE,
        b"type" => TYPE,
        _ => 0,
    }
}

/// What is known of an event by its members so far.
#[derive(Default)]
pub(super) struct Attributes<'a> {
    /// The bits of the members that it has.
    pub(super) has: u8,
    /// Its id, as JSON.
    pub(super) id: &'a str,
    /// Extensions, and what is as if it were not there.
    other_count: usize,
}

impl<'a> Attributes<'a> {
    /// Checks a member, unless it is known which one it is and that nothing is wrong with it, and notes it.
    #[inline]
    pub(super) fn add(
        &mut self,
        text: &'a str,
        part: Place,
        known: Option<u8>,
        limits: &Limits,
        parts: &mut Vec<Place>,
        found: &mut Vec<Found>,
    ) -> Option<()> {
        let value = text.get(part.value.clone())?;
        let is = match known {
            Some(is) => is,
            None => match text.get(part.key.clone()?)? {
                "data" => DATA,
                _ if value == "null" => {
                    found.pop_if(|found| found.place == part.value);
                    0
                }
                name => attribute(name, value, limits)?,
            },
        };
        self.has |= is;
        match is {
            0 | EXTENSION => self.other_count += 1,
            ID => self.id = value,
            _ => {}
        }
        parts.push(part);
        (self.other_count <= limits.extensions_max).then_some(())
    }

    /// Whether it has all that an event must have, and nothing that does not go together.
    pub(super) fn is_whole(&self) -> bool {
        self.has & REQUIRED == REQUIRED && self.has & (DATA | OTHER_CONTENT) != (DATA | OTHER_CONTENT)
    }
}

/// Checks an attribute or extension as [`Event::check`](crate::Event::check) does, and gives its bit, where it has one.
fn attribute(name: &str, value: &str, limits: &Limits) -> Option<u8> {
    let text = |name| plain(value).filter(|text| check_text(name, text, limits).is_ok());
    match name {
        "specversion" => (value == "\"1.0\"").then_some(SPECVERSION),
        "id" => text("id").map(|_| ID),
        "source" => text("source").filter(|source| check_source(source).is_ok()).map(|_| SOURCE),
        "type" => text("type").map(|_| TYPE),
        "subject" => text("subject").map(|_| OPTIONAL),
        "time" => text("time").filter(|time| check_time(time).is_ok()).map(|_| OPTIONAL),
        "dataschema" => text("dataschema").filter(|schema| check_schema(schema).is_ok()).map(|_| OPTIONAL),
        "datacontenttype" => {
            let declared = text("datacontenttype").filter(|declared| check_content_type(declared).is_ok())?;
            Some(if media_type::is_json(declared) { OPTIONAL } else { OTHER_CONTENT })
        }
        // `data_base64` is no name of an extension.
        name => {
            let text = if let SkimmedValue::String(text) = self::value(value)? { Some(text) } else { None };
            check_extension(name, text, limits).is_ok().then_some(EXTENSION)
        }
    }
}

/// Whether a value without escapes is for sure a good one of the attribute with this bit: most are a few letters of ASCII.
#[inline(always)]
pub(super) fn is_plain(is: u8, bytes: &[u8], place: Range<usize>, limits: &Limits) -> bool {
    // Without the quotes; of a value that is no string this is said of what stands behind its first byte.
    let length = place.len().wrapping_sub(2);
    let Some((b'"', window)) = window(bytes, place.start) else { return false };
    if length == 0 || length > window.len().min(limits.attribute_bytes_max) {
        return false;
    }
    let window = u8x16::new(*window);
    let between = |low: u8, high: u8| {
        let from_low = window - u8x16::splat(low);
        from_low.min(u8x16::splat(high - low)).simd_eq(from_low)
    };
    let good = match is {
        ID | TYPE => between(b' ', b'~'),
        // As in `check_source`: from `-` to `9` are `-`, `.`, `/` and the digits.
        SOURCE => {
            let lower = window | u8x16::splat(0x20);
            let from_a = lower - u8x16::splat(b'a');
            let letters = from_a.min(u8x16::splat(25)).simd_eq(from_a);
            let [low_line, tilde] = [b'_', b'~'].map(|one| window.simd_eq(u8x16::splat(one)));
            letters | between(b'-', b'9') | low_line | tilde
        }
        _ => return false,
    };
    !good.to_bitmask() & ((1 << length) - 1) == 0
}

/// The text of a JSON string without escapes.
fn plain(value: &str) -> Option<&str> {
    let plain = value.strip_prefix('"')?.strip_suffix('"')?;
    (!plain.as_bytes().contains(&b'\\')).then_some(plain)
}

/// What an extension may be, of JSON that is written as everybody writes it.
pub(super) fn value(text: &str) -> Option<SkimmedValue<'_>> {
    match text.as_bytes().first()? {
        b'"' => plain(text).map(SkimmedValue::String),
        b't' => Some(SkimmedValue::Boolean(true)),
        b'f' => Some(SkimmedValue::Boolean(false)),
        // An integer has no other zero.
        _ => text.parse().ok().filter(|_| text != "-0").map(SkimmedValue::Integer),
    }
}
