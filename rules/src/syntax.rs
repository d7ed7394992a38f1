//! One small tree for everything that is written down: patterns in TOML, patterns in JSON, events.
//!
//! A [`Node`] keeps what other trees lose and the rules of this crate need: where each piece stands, the digits
//! of a number as they were written, the order of keys, and both values of a key that is there twice.

use std::borrow::Cow;
use std::ops::Range;

pub(crate) mod json;
pub(crate) mod toml;

/// A value and the bytes of the text that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value<'a>,
}

/// What can be written.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// The text of a JSON number.
    Number(Cow<'a, str>),
    /// Without quotes and escapes.
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// In the order of the text; a key may be there twice.
    Object(Vec<Entry<'a>>),
    /// Something that JSON has no word for, by its name: a TOML date-time, `inf`, `nan`.
    Foreign(&'static str),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node<'a>,
}

/// How a piece of a pattern is shown to the person who wrote it: in the language it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Toml,
    Json,
}

impl<'a> Node<'a> {
    /// The same, with texts of its own. As deep as what was read, which is bounded ([`json::DEPTH_MAX`]).
    pub(crate) fn into_owned(self) -> Node<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        let value = match self.value {
            Value::Null => Value::Null,
            Value::Bool(truth) => Value::Bool(truth),
            Value::Number(text) => Value::Number(owned(text)),
            Value::String(text) => Value::String(owned(text)),
            Value::Array(items) => Value::Array(items.into_iter().map(Node::into_owned).collect()),
            Value::Object(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|Entry { key, key_span, node }| Entry { key: owned(key), key_span, node: node.into_owned() })
                    .collect(),
            ),
            Value::Foreign(name) => Value::Foreign(name),
        };
        Node { span: self.span, value }
    }

    /// A value that stands nowhere in a text.
    pub(crate) fn made(value: Value<'a>) -> Node<'a> {
        Node { span: 0..0, value }
    }
}

impl Value<'_> {
    /// What kind of thing this is, with its article, for use in a sentence.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
            Value::Foreign(name) => name,
        }
    }

    /// The value as text of `dialect`, cut where it grows past what a message can hold.
    pub(crate) fn show(&self, dialect: Dialect) -> String {
        let mut out = String::new();
        self.write(dialect, &mut out);
        shorten(out)
    }

    fn write(&self, dialect: Dialect, out: &mut String) {
        if out.len() > SHOWN_BYTES_MAX {
            return;
        }
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(text) => out.push_str(text),
            Value::String(text) => write_string(text, out),
            Value::Foreign(name) => out.push_str(name),
            Value::Array(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push_str(", ");
                    }
                    item.value.write(dialect, out);
                }
                out.push(']');
            }
            Value::Object(entries) => {
                out.push_str(if dialect == Dialect::Toml { "{ " } else { "{" });
                for (place, entry) in entries.iter().enumerate() {
                    if place > 0 {
                        out.push_str(", ");
                    }
                    write_key(&entry.key, dialect, out);
                    entry.node.value.write(dialect, out);
                }
                out.push_str(if dialect == Dialect::Toml { " }" } else { "}" });
            }
        }
    }
}

/// A message shows at most this much of a value; more would bury what the message says.
const SHOWN_BYTES_MAX: usize = 200;

/// Cuts `text` to what a message can hold, and says so by an ellipsis.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > SHOWN_BYTES_MAX {
        let mut end = SHOWN_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A key and the sign that follows it: `amount = ` or `"amount": `.
pub(crate) fn write_key(key: &str, dialect: Dialect, out: &mut String) {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match dialect {
        Dialect::Toml if bare => out.push_str(key),
        Dialect::Toml | Dialect::Json => write_string(key, out),
    }
    out.push_str(if dialect == Dialect::Toml { " = " } else { ": " });
}

/// `text` as a JSON string with its quotes.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
