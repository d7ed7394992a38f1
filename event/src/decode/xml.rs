//! XML as JSON.
//!
//! An element is a member of the one around it, by its name as it is written, prefix included. What it is:
//!
//! - A text, where it has no attributes and no elements: its text without the space around it; `""` where it is empty.
//! - Else an object: its attributes behind an `@`, its elements, and what text there is as `#text`.
//! - Elements of the same name in one element are a list, in their order.
//!
//! So `<order id="7"><sku>a</sku><sku>b</sku></order>` is `{"order": {"@id": "7", "sku": ["a", "b"]}}`.
//! Comments and processing instructions are not seen. A document type declaration is refused, and with it every entity but the
//! five that XML itself knows: nothing is fetched and nothing is expanded.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use serde_json::{Map, Value};

use super::{DecodeError, malformed, too_large};

/// How deep elements may stand in each other.
pub const XML_DEPTH_MAX: usize = 64;

/// The most attributes of one element: each is compared with those before it.
const ATTRIBUTES_MAX: usize = 256;

/// What an element of the tree costs beside its text, at least: a bound for memory, which JSON's length alone is not.
const ELEMENT_BYTES: usize = 16;

/// An element that has begun and not ended.
struct Open {
    name: String,
    members: Map<String, Value>,
    text: String,
}

pub(super) fn decode(text: &str) -> Result<String, DecodeError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut open: Vec<Open> = Vec::new();
    let mut root: Option<(String, Value)> = None;
    let mut bytes = 0;
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|error| malformed(at, error.to_string()))?;
        let ended = match event {
            Event::Start(start) => {
                open.push(element(&start, at)?);
                false
            }
            Event::Empty(start) => {
                open.push(element(&start, at)?);
                true
            }
            Event::End(_) => true,
            Event::Text(text) => {
                let text = text.xml10_content();
                // A text that holds `&` has been taken apart by the reader.
                add_text(&mut open, &text, at)?;
                false
            }
            Event::CData(text) => {
                add_text(&mut open, &text.xml10_content(), at)?;
                false
            }
            Event::GeneralRef(name) => {
                let unknown = || malformed(at, "an entity is named that XML itself does not know");
                match name.resolve_char_ref().map_err(|error| malformed(at, error.to_string()))? {
                    Some(c) => add_text(&mut open, c.encode_utf8(&mut [0; 4]), at)?,
                    None => {
                        let name = name.into_inner();
                        add_text(&mut open, resolve_predefined_entity(&name).ok_or_else(unknown)?, at)?;
                    }
                }
                false
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose().map_err(|error| malformed(at, error.to_string()))?;
                if encoding
                    .is_some_and(|name| !["utf-8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known)))
                {
                    return Err(malformed(at, "it says that it is written in another encoding than UTF-8"));
                }
                false
            }
            Event::DocType(_) => return Err(malformed(at, "document type declarations are not read")),
            Event::Comment(_) | Event::PI(_) => false,
            Event::Eof => break,
        };
        if open.len() > XML_DEPTH_MAX {
            let what = format!("elements stand in each other more than {XML_DEPTH_MAX} deep");
            return Err(DecodeError::Limit { what, limit: "XML_DEPTH_MAX" });
        }
        if ended && let Some(element) = open.pop() {
            bytes += element.name.len() + ELEMENT_BYTES;
            if bytes > super::DECODED_BYTES_MAX {
                return Err(too_large());
            }
            let (name, value) = close(element);
            match open.last_mut() {
                Some(around) => add(&mut around.members, name, value),
                None if root.is_some() => return Err(malformed(at, "a second outermost element begins")),
                None => root = Some((name, value)),
            }
        }
    }
    if let Some(unclosed) = open.last() {
        return Err(malformed(text.len(), format!("the element `{}` does not end", unclosed.name)));
    }
    let (name, value) = root.ok_or_else(|| malformed(text.len(), "there is no element"))?;
    Ok(Value::Object(Map::from_iter([(name, value)])).to_string())
}

fn element(start: &BytesStart<'_>, at: usize) -> Result<Open, DecodeError> {
    let mut members = Map::new();
    for attribute in start.attributes() {
        if members.len() >= ATTRIBUTES_MAX {
            let what = format!("an element has more than {ATTRIBUTES_MAX} attributes");
            return Err(DecodeError::Limit { what, limit: "ATTRIBUTES_MAX" });
        }
        let attribute = attribute.map_err(|error| malformed(at, error.to_string()))?;
        let value =
            attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| malformed(at, error.to_string()))?;
        members.insert(format!("@{}", attribute.key.0), Value::String(value.into_owned()));
    }
    let name = start.name().0.to_owned();
    if name.is_empty() {
        return Err(malformed(at, "an element has no name"));
    }
    Ok(Open { name, members, text: String::new() })
}

fn add_text(open: &mut [Open], text: &str, at: usize) -> Result<(), DecodeError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if !text.trim().is_empty() => return Err(malformed(at, "text stands outside of the outermost element")),
        None => {}
    }
    Ok(())
}

fn close(element: Open) -> (String, Value) {
    let Open { name, mut members, text } = element;
    let text = text.trim();
    if members.is_empty() {
        return (name, Value::String(text.to_owned()));
    }
    if !text.is_empty() {
        members.insert("#text".to_owned(), Value::String(text.to_owned()));
    }
    (name, Value::Object(members))
}

/// Adds a member; of a name that is there already, a list is made.
pub(super) fn add(members: &mut Map<String, Value>, name: String, value: Value) {
    match members.get_mut(&name) {
        Some(Value::Array(values)) => values.push(value),
        Some(one) => *one = Value::Array(vec![one.take(), value]),
        None => {
            members.insert(name, value);
        }
    }
}
