//! What a form sends: `name=value` with `&` between them, percent-encoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{DecodeError, malformed};

/// The most pairs.
const PAIRS_MAX: usize = 10_000;

pub(super) fn decode(text: &str) -> Result<String, DecodeError> {
    let mut members: Map<String, Value> = Map::new();
    let mut at = 0;
    for (place, pair) in text.split('&').enumerate() {
        if place >= PAIRS_MAX {
            let what = format!("the form has more than {PAIRS_MAX} values");
            return Err(DecodeError::Limit { what, limit: "PAIRS_MAX" });
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !pair.trim_ascii().is_empty() {
            super::xml::add(&mut members, decoded(name, at)?, Value::String(decoded(value.trim_ascii_end(), at)?));
        }
        at += pair.len() + 1;
    }
    Ok(Value::Object(members).to_string())
}

fn decoded(text: &str, at: usize) -> Result<String, DecodeError> {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| malformed(at, "what is percent-encoded is not UTF-8"))
}
