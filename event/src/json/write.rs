//! From events to JSON text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Data, Envelope, Event, ExtensionValue, format_text, media_type};

/// Bytes that an event of few and short attributes takes beside its data, so that one allocation is the rule.
const ATTRIBUTES_BYTES_GUESS: usize = 256;

/// Writes one event in structured mode: the attributes that the specification defines in its order, the
/// extensions by name, the data last. JSON data stands there byte for byte as it came; data of a textual
/// content type as a string where it is UTF-8; anything else as `data_base64`.
#[must_use]
pub fn write_structured(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(ATTRIBUTES_BYTES_GUESS + event.data.bytes().len());
    write_event(&mut out, event);
    out
}

/// Writes a batch of events.
#[must_use]
pub fn write_batch(events: &[Event]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_event(&mut out, event);
    }
    out.push(b']');
    out
}

impl Envelope {
    /// The event in structured mode: what a function is given. Nothing of what only the broker knows is in it.
    #[must_use]
    pub fn structured_json(&self) -> Vec<u8> {
        write_structured(&self.event)
    }
}

fn write_event(out: &mut Vec<u8>, event: &Event) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\"");
    let attributes = [
        ("id", Some(&event.id)),
        ("source", Some(&event.source)),
        ("type", Some(&event.ty)),
        ("subject", event.subject.as_ref()),
        ("time", event.time.as_ref()),
        ("datacontenttype", event.datacontenttype.as_ref()),
        ("dataschema", event.dataschema.as_ref()),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            write_name(out, name);
            write_string(out, value);
        }
    }
    for (name, value) in &event.extensions {
        write_name(out, name);
        match value {
            ExtensionValue::String(text) => write_string(out, text),
            ExtensionValue::Integer(number) => out.extend_from_slice(format_text!("{number}").as_bytes()),
            ExtensionValue::Boolean(true) => out.extend_from_slice(b"true"),
            ExtensionValue::Boolean(false) => out.extend_from_slice(b"false"),
        }
    }
    write_data(out, event);
    out.push(b'}');
}

fn write_data(out: &mut Vec<u8>, event: &Event) {
    let content_type = event.datacontenttype.as_deref();
    let bytes = match &event.data {
        Data::None => return,
        // JSON under a content type that declares none is carried as that type's bytes: a reader would
        // otherwise take the text for what it is not.
        Data::Json(json) if content_type.is_none_or(media_type::is_json) => {
            write_name(out, "data");
            out.extend_from_slice(json);
            return;
        }
        Data::Json(bytes) | Data::Bytes(bytes) => bytes,
    };
    let declares_text =
        content_type.is_some_and(|declared| media_type::is_text(declared) && !media_type::is_json(declared));
    match std::str::from_utf8(bytes) {
        Ok(text) if declares_text => {
            write_name(out, "data");
            write_string(out, text);
        }
        _ => {
            write_name(out, "data_base64");
            write_string(out, &STANDARD.encode(bytes));
        }
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    write_string(out, name);
    out.push(b':');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\r' => "\\r".to_owned(),
            b'\t' => "\\t".to_owned(),
            0..=0x1f => format!("\\u{byte:04x}"),
            _ => continue,
        };
        out.extend_from_slice(text.as_bytes().get(plain_from..at).unwrap_or_default());
        out.extend_from_slice(escape.as_bytes());
        plain_from = at + 1;
    }
    out.extend_from_slice(text.as_bytes().get(plain_from..).unwrap_or_default());
    out.push(b'"');
}
