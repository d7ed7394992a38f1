//! Values, written where a template has their names.

use std::borrow::Cow;

use super::find::Value;
use super::template::Place;

/// Writes a value. An error says what cannot stand there: `an object` or `a list`.
pub(super) fn write(out: &mut String, place: Place, value: &Value<'_>) -> Result<(), &'static str> {
    match (value, place) {
        (Value::Json(json), Place::Alone) => out.push_str(json),
        (Value::Text(text), Place::Alone) => {
            out.push('"');
            escape(text, out);
            out.push('"');
        }
        (Value::Text(text), Place::InJsonText | Place::InLine) => escape(text, out),
        (Value::Json(json), Place::InJsonText) if json.starts_with('{') => return Err("an object"),
        (Value::Json(json), Place::InJsonText) if json.starts_with('[') => return Err("a list"),
        (Value::Json(json), Place::InJsonText | Place::InLine) => unquote(json, out),
    }
    Ok(())
}

/// Writes JSON without the quotes of its texts and without the spaces between its parts, such as
/// `{id:7,tags:[a,b]}`; what stood in quotes is escaped, so that it can stand in a text.
fn unquote(json: &str, out: &mut String) {
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let (before, quoted) = rest.split_at(start);
        out.extend(before.split_ascii_whitespace());
        let end = end_of_text(quoted);
        let (quoted, after) = quoted.split_at(end);
        escape(&decoded(quoted), out);
        rest = after;
    }
    out.extend(rest.split_ascii_whitespace());
}

/// Where a text in quotes ends, behind its last quote.
fn end_of_text(quoted: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    quoted.len()
}

/// What a text in quotes says.
fn decoded(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or_default();
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(quoted).map_or(Cow::Borrowed(""), Cow::Owned)
}

/// Writes a text as it stands between quotes in JSON.
fn escape(text: &str, out: &mut String) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let special = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(text.get(plain_from..at).unwrap_or_default());
        if special.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(special);
        }
        plain_from = at + 1;
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
}
