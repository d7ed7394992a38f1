//! Events as HTTP messages: the CloudEvents HTTP protocol binding.
//!
//! Three forms, told apart by the content type alone ([`form`]):
//! - `application/cloudevents+json` is *structured*: the body is the event ([`crate::json`]). `ce-` headers
//!   beside it are not looked at: the body always wins.
//! - `application/cloudevents-batch+json` is a *batch* of such events.
//! - Anything else with `ce-` headers is *binary*: the headers are the attributes, the body is the data, and
//!   the content type is `datacontenttype`.
//!
//! The choices, where the binding leaves some:
//! - A `ce-` header that stands twice is refused, also with the same value.
//! - A broken percent sequence, or one that gives no UTF-8, is refused. Characters that should have been
//!   encoded and are not (a space, raw UTF-8) are taken as they are.
//! - A header value has no type: extensions come in as strings, `5` and `true` too.
//! - Where the content type declares JSON, the body must be JSON. An empty body is no data. A body without a
//!   content type is bytes.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::attributes::{attribute, check_spec_version, quoted};
use crate::json::{self, Shape};
use crate::{Data, Event, EventError, ExtensionValue, Limits, Text, hops, media_type};

/// What comes before an attribute's name in the name of its header.
const PREFIX: &str = "ce-";

/// What the binding demands to be encoded in a header's value, beside everything that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// How a message carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Attributes in `ce-` headers, the data as the body.
    Binary,
    /// The event as a JSON object.
    Structured,
    /// Events as a JSON array.
    Batch,
}

/// Which form a message has.
///
/// # Errors
/// [`EventError::ContentType`] where it has none: another CloudEvents format than JSON, a charset other than
/// UTF-8, or no `ce-` headers.
pub fn form(headers: &HeaderMap) -> Result<Form, EventError> {
    let content_type = content_type(headers)?.unwrap_or_default();
    let essence = media_type::essence(content_type);
    let refused =
        || EventError::ContentType(if content_type.is_empty() { "none".into() } else { quoted(content_type) });
    let found = if essence.eq_ignore_ascii_case(json::STRUCTURED) {
        Form::Structured
    } else if essence.eq_ignore_ascii_case(json::BATCH) {
        Form::Batch
    } else if essence.get(..23).is_some_and(|start| start.eq_ignore_ascii_case("application/cloudevents")) {
        return Err(refused());
    } else if headers.keys().any(|name| name.as_str().starts_with(PREFIX)) {
        return Ok(Form::Binary);
    } else {
        return Err(refused());
    };
    if media_type::charset_is_utf8(content_type) { Ok(found) } else { Err(refused()) }
}

/// Reads a message in whichever form it has; what `POST /events` takes.
///
/// # Errors
/// Whatever [`EventError`] says. Of a batch either all events are good, or none is given.
pub fn read_request(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Vec<(Event, Shape)>, EventError> {
    read_form(form(headers)?, headers, body, limits)
}

/// [`read_request`] for a caller that has asked for the [`form`] already. Notes in each event how often it has been passed
/// on ([`hops`]), which stands beside the attributes in every form.
///
/// # Errors
/// As [`read_request`].
pub fn read_form(
    form: Form,
    headers: &HeaderMap,
    body: Bytes,
    limits: &Limits,
) -> Result<Vec<(Event, Shape)>, EventError> {
    let mut events = match form {
        Form::Binary => vec![read_binary(headers, body, limits)?],
        Form::Structured => vec![json::read_structured(&body, limits)?],
        Form::Batch => json::read_batch(&body, limits)?,
    };
    let passed_on = headers.get(hops::HEADER).and_then(|value| value.to_str().ok());
    events.iter_mut().for_each(|(event, _)| hops::note(event, passed_on));
    Ok(events)
}

/// Reads a message in binary mode. The data is `body` itself, not a copy.
///
/// # Errors
/// Whatever [`EventError`] says; of a body that declares JSON and is none with line and column.
pub fn read_binary(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<(Event, Shape), EventError> {
    let attributes = || headers.iter().filter(|(name, _)| name.as_str().starts_with(PREFIX));
    let attribute_bytes: usize = attributes().map(|(name, value)| name.as_str().len() + value.len()).sum();
    json::check_size(attribute_bytes.saturating_add(body.len()), limits)?;

    let mut event = Event { datacontenttype: content_type(headers)?.map(Text::from), ..Event::default() };
    let mut found = Required::default();
    for (header, value) in attributes() {
        read_attribute(&mut event, &mut found, headers, header, value)?;
    }
    found.check()?;
    let is_json = event.datacontenttype.as_deref().is_some_and(media_type::is_json);
    event.check(limits)?;
    let mut shape = Shape::OPAQUE;
    event.data = match body {
        body if body.is_empty() => Data::None,
        body if is_json => {
            shape = json::validate(&body, limits.json_depth_max)?;
            Data::Json(body)
        }
        body => Data::Bytes(body),
    };
    Ok((event, shape))
}

/// Writes an event in binary mode: the headers, with names in lower case and values encoded, and the body.
/// JSON data without a declared type is declared `application/json`, as the JSON format implies.
#[must_use]
pub fn write_binary(event: &Event) -> (Vec<(String, String)>, Bytes) {
    let mut headers = vec![("ce-specversion".to_owned(), "1.0".to_owned())];
    let mut push = |name: &str, value: &str| {
        headers.push((format!("{PREFIX}{name}"), utf8_percent_encode(value, ENCODED).to_string()));
    };
    push("id", &event.id);
    push("source", &event.source);
    push("type", &event.ty);
    let optional = [("subject", &event.subject), ("time", &event.time), ("dataschema", &event.dataschema)];
    for (name, value) in optional {
        if let Some(value) = value {
            push(name, value);
        }
    }
    for (name, value) in &event.extensions {
        match value {
            ExtensionValue::String(text) => push(name, text),
            ExtensionValue::Integer(number) => push(name, &number.to_string()),
            ExtensionValue::Boolean(truth) => push(name, if *truth { "true" } else { "false" }),
        }
    }
    let body = match &event.data {
        Data::None => Bytes::new(),
        Data::Json(bytes) | Data::Bytes(bytes) => bytes.clone(),
    };
    if let Some(content_type) = event.content_type() {
        headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    (headers, body)
}

/// The content type, where there is one and it is not empty.
fn content_type(headers: &HeaderMap) -> Result<Option<&str>, EventError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(attribute("datacontenttype", "comes in two Content-Type headers"));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Err(_) => Err(attribute("datacontenttype", "comes in a Content-Type header that is not ASCII")),
    }
}

/// Which required attributes were there. An empty value is there, and refused by [`Event::check`].
#[derive(Default)]
struct Required {
    specversion: bool,
    id: bool,
    source: bool,
    ty: bool,
}

impl Required {
    fn check(&self) -> Result<(), EventError> {
        let all = [("specversion", self.specversion), ("id", self.id), ("source", self.source), ("type", self.ty)];
        match all.into_iter().find(|(_, found)| !found) {
            Some((name, _)) => Err(EventError::MissingAttribute(name)),
            None => Ok(()),
        }
    }
}

fn read_attribute(
    event: &mut Event,
    found: &mut Required,
    headers: &HeaderMap,
    header: &HeaderName,
    value: &HeaderValue,
) -> Result<(), EventError> {
    let name = header.as_str().strip_prefix(PREFIX).unwrap_or_default();
    if headers.get_all(header).iter().nth(1).is_some() {
        return Err(attribute(name, format!("stands twice, in two headers `{}`", quoted(header.as_str()))));
    }
    let value = decode(name, value)?;
    match name {
        "specversion" => {
            check_spec_version(&value)?;
            found.specversion = true;
        }
        "id" => {
            event.id = value;
            found.id = true;
        }
        "source" => {
            event.source = value;
            found.source = true;
        }
        "type" => {
            event.ty = value;
            found.ty = true;
        }
        "subject" => event.subject = Some(value),
        "time" => event.time = Some(value),
        "dataschema" => event.dataschema = Some(value),
        "datacontenttype" => {
            return Err(attribute(name, "may not be a `ce-` header: in binary mode the Content-Type header says it"));
        }
        _ => {
            event.extensions.insert(name.into(), ExtensionValue::String(value));
        }
    }
    Ok(())
}

/// The text of a header's value: a quoted string unquoted, then one round of percent-decoding.
fn decode(name: &str, value: &HeaderValue) -> Result<Text, EventError> {
    let bytes = value.as_bytes();
    let text = |bytes: &[u8]| Text::from_utf8(bytes).map_err(|_| attribute(name, "is not UTF-8 once decoded"));
    // Nearly every value stands for itself.
    if bytes.first() != Some(&b'"') && !bytes.contains(&b'%') {
        return text(bytes);
    }
    let unquoted = if bytes.first() == Some(&b'"') {
        unquote(bytes).ok_or_else(|| attribute(name, "begins with a quote that is not closed at its end"))?
    } else {
        bytes.to_vec()
    };
    let mut decoded = Vec::with_capacity(unquoted.len());
    let mut rest = unquoted.as_slice();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), after)
            }
            (b'%', _) => {
                let problem = "has a `%` that two hexadecimal digits do not follow; a percent sign itself is `%25`";
                return Err(attribute(name, problem));
            }
            (other, after) => (other, after),
        };
        decoded.push(byte);
        rest = after;
    }
    text(&decoded)
}

/// RFC 9110's quoted-string, from quote to quote.
fn unquote(bytes: &[u8]) -> Option<Vec<u8>> {
    let inner = bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut unquoted = Vec::with_capacity(inner.len());
    let mut inner = inner.iter();
    while let Some(&byte) = inner.next() {
        match byte {
            b'\\' => unquoted.push(*inner.next()?),
            b'"' => return None,
            other => unquoted.push(other),
        }
    }
    Some(unquoted)
}

/// The value of one hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.saturating_sub(b'A') + 10,
    }
}
