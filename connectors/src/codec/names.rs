//! Headers as extensions. CloudEvents allows a-z and 0-9 in their names and nothing else.
//!
//! The rule: upper case becomes lower case, and everything but letters and digits goes: `X-Request-Id` is
//! `xrequestid`. A name that begins with nothing then, or that CloudEvents gives a meaning of its own (`id`, `type`,
//! `data`), has `header` before it: `headerid`. Where two headers come out alike, or one comes out like a coordinate, the
//! first to come stays and the others are left out; so is one whose value is no text or is too long, and whatever is
//! beyond the number of extensions that an event may have. `headersleftout` says how many that were.

use eventyard_event::{ExtensionValue, Extensions, Limits, Text, fits_attribute, format_text, hops};

/// Headers that are looked at; the rest of a message that has more are counted and left out.
pub const HEADERS_MAX: usize = 1000;

/// The extension that counts headers that are none.
pub const LEFT_OUT: &str = "headersleftout";

/// Names that an extension may not have.
const DEFINED: [&str; 10] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "tags"];

/// A header's name as an extension's; `None` where nothing of it is left.
#[must_use]
pub fn extension(header: &str) -> Option<Text> {
    let name: Text =
        header.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    match name.as_str() {
        "" => None,
        taken if DEFINED.contains(&taken) => Some(format_text!("header{taken}")),
        _ => Some(name),
    }
}

/// Headers that say how a message is to be read, or how far it has come, and nothing of their own.
const READ_ELSEWHERE: [&str; 3] = ["content-type", "content-encoding", hops::HEADER];

/// Adds headers to the extensions of an event, but for those that begin with one of `prefixes` and those that are read
/// elsewhere.
pub(super) fn add_headers(extensions: &mut Extensions, headers: &[(&str, &[u8])], prefixes: &[&str], limits: &Limits) {
    let is_none = |header: &str| {
        let carries_attribute = prefixes
            .iter()
            .any(|prefix| header.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)));
        carries_attribute || READ_ELSEWHERE.iter().any(|known| header.eq_ignore_ascii_case(known))
    };
    extensions.reserve(headers.len().min(limits.extensions_max));
    let mut left_out = headers.len().saturating_sub(HEADERS_MAX);
    for (header, value) in headers.iter().take(HEADERS_MAX).filter(|(header, _)| !is_none(header)) {
        let named = extension(header).filter(|name| name.len() <= limits.attribute_bytes_max);
        let text = std::str::from_utf8(value).ok().filter(|text| fits_attribute(text, limits));
        match (named, text) {
            // One place is left for the number of those that are left out.
            (Some(name), Some(text))
                if extensions.len() + 1 < limits.extensions_max && !extensions.contains_key(&name) =>
            {
                extensions.insert(name, ExtensionValue::String(text.into()));
            }
            _ => left_out += 1,
        }
    }
    if left_out > 0 {
        let count = i32::try_from(left_out).unwrap_or(i32::MAX);
        extensions.insert(LEFT_OUT.into(), ExtensionValue::Integer(count));
    }
}
