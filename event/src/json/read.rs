//! From JSON text to events.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::scan::{Root, scan, split_objects, unescape};
use super::{Shape, validate};
use crate::attributes::{attribute, check_spec_version, quoted};
use crate::{Data, Event, EventError, ExtensionValue, Limits, media_type};

/// More members than this are no event whatever they are: 9 attributes and data in two spellings.
const DEFINED_MEMBERS_MAX: usize = 10;

/// Reads one event in structured mode. Its `data` is a slice of `bytes`, not a copy, unless it was a string
/// with another content type than JSON, or base64.
///
/// # Errors
/// Whatever [`EventError`] says; of the JSON text itself with line and column.
pub fn read_structured(bytes: &Bytes, limits: &Limits) -> Result<(Event, Shape), EventError> {
    check_size(bytes.len(), limits)?;
    let mut members: Vec<Member<'_>> = Vec::with_capacity(DEFINED_MEMBERS_MAX);
    let outline = scan(bytes, limits.json_depth_max, 1, |child| {
        let Some(key) = child.key else { return Ok(()) };
        if members.len() >= limits.extensions_max.saturating_add(DEFINED_MEMBERS_MAX) {
            return Err(EventError::Limit {
                what: "the number of members of the event".to_owned(),
                limit: "extensions",
                max: limits.extensions_max,
            });
        }
        if members.iter().any(|member| member.name == key) {
            return Err(attribute(&key, "stands twice"));
        }
        members.push(Member { name: key, value: child.value });
        Ok(())
    })?;
    if outline.root != Root::Object {
        let what = if outline.root == Root::Array { "an array" } else { "a single value" };
        return Err(EventError::Shape(format!(
            "the JSON is {what} where one event, an object, belongs (a batch is sent as `{}`)",
            super::BATCH
        )));
    }
    // The event's own members are unique by now, so what is not is in the data.
    let shape = Shape { keys_unique: outline.keys_unique };
    let (event, shape) = assemble(Members { bytes, members }, shape, limits)?;
    event.check(limits)?;
    Ok((event, shape))
}

/// Reads a batch: a JSON array of events, which may be empty. All of it is good, or nothing of it is taken.
///
/// # Errors
/// [`EventError::Limit`] (`batch`) for too many, [`EventError::InBatch`] with the index of the first bad one.
pub fn read_batch(bytes: &Bytes, limits: &Limits) -> Result<Vec<(Event, Shape)>, EventError> {
    match read_split(bytes, limits) {
        Some(read) => Ok(read),
        // Something is wrong with it. What it is, and where, is said of the text as a whole.
        None => read_whole(bytes, limits),
    }
}

/// A batch with which nothing is wrong: each event is looked through once.
fn read_split(bytes: &Bytes, limits: &Limits) -> Option<Vec<(Event, Shape)>> {
    let elements = split_objects(bytes, limits.batch_events_max)?;
    elements.into_iter().map(|element| read_structured(&bytes.slice(element), limits).ok()).collect()
}

fn read_whole(bytes: &Bytes, limits: &Limits) -> Result<Vec<(Event, Shape)>, EventError> {
    let mut elements: Vec<Range<usize>> = Vec::new();
    let outline = scan(bytes, limits.json_depth_max, 2, |child| {
        if elements.len() >= limits.batch_events_max {
            let what = "the number of events in the batch".to_owned();
            return Err(EventError::Limit { what, limit: "batch", max: limits.batch_events_max });
        }
        elements.push(child.value);
        Ok(())
    })?;
    if outline.root != Root::Array {
        return Err(EventError::Shape(format!(
            "the JSON is no array where a batch, an array of events, belongs (one event is sent as `{}`)",
            super::STRUCTURED
        )));
    }
    let read = |(index, element)| {
        read_structured(&bytes.slice(element), limits)
            .map_err(|error| EventError::InBatch { index, error: Box::new(error) })
    };
    elements.into_iter().enumerate().map(read).collect()
}

pub(crate) fn check_size(event_bytes: usize, limits: &Limits) -> Result<(), EventError> {
    if event_bytes > limits.event_bytes_max {
        let what = format!("the event, of {event_bytes} bytes,");
        return Err(EventError::Limit { what, limit: "event", max: limits.event_bytes_max });
    }
    Ok(())
}

/// The members of an event that nobody has asked for yet. What is left when all attributes and the data are taken
/// are the extensions. They are few, so looking through them beats any table.
struct Members<'a> {
    bytes: &'a Bytes,
    members: Vec<Member<'a>>,
}

/// A member, and where its value stands in the text.
struct Member<'a> {
    name: Cow<'a, str>,
    value: Range<usize>,
}

impl Members<'_> {
    /// The JSON text at a place. It was checked to be UTF-8.
    fn text(&self, place: &Range<usize>) -> &str {
        let text = self.bytes.get(place.clone()).map(std::str::from_utf8);
        debug_assert!(matches!(text, Some(Ok(_))), "the scanner gave a place that is no text");
        text.and_then(Result::ok).unwrap_or_default()
    }

    fn remove(&mut self, name: &str) -> Option<Range<usize>> {
        let at = self.members.iter().position(|member| member.name == name)?;
        Some(self.members.swap_remove(at).value)
    }

    /// Takes a member, unless it is not there or null.
    fn take(&mut self, name: &str) -> Option<Range<usize>> {
        let place = self.remove(name)?;
        (self.text(&place) != "null").then_some(place)
    }

    /// Takes a member that must be a string.
    fn take_string(&mut self, name: &str) -> Result<Option<String>, EventError> {
        let Some(place) = self.take(name) else { return Ok(None) };
        let text = self.text(&place);
        if !text.starts_with('"') {
            return Err(attribute(name, format!("must be a string, not `{}`", quoted(text))));
        }
        Ok(Some(string(text)))
    }

    fn take_required(&mut self, name: &'static str) -> Result<String, EventError> {
        self.take_string(name)?.ok_or(EventError::MissingAttribute(name))
    }
}

fn assemble(mut members: Members<'_>, shape: Shape, limits: &Limits) -> Result<(Event, Shape), EventError> {
    check_spec_version(&members.take_required("specversion")?)?;
    let mut event = Event {
        id: members.take_required("id")?,
        source: members.take_required("source")?,
        ty: members.take_required("type")?,
        subject: members.take_string("subject")?,
        time: members.take_string("time")?,
        datacontenttype: members.take_string("datacontenttype")?,
        dataschema: members.take_string("dataschema")?,
        ..Event::default()
    };
    let content_type = event.datacontenttype.as_deref();
    let plain = members.remove("data");
    let base64 = members.take("data_base64");
    let shape = match (plain, base64) {
        (Some(_), Some(_)) => {
            return Err(EventError::Data("`data` and `data_base64` may not stand in one event".to_owned()));
        }
        (Some(place), None) => {
            let is_json = content_type.is_none_or(media_type::is_json);
            event.data = read_data(&members, place, is_json, content_type)?;
            if is_json { shape } else { Shape::OPAQUE }
        }
        (None, Some(place)) => {
            let (data, shape) = read_base64(members.text(&place), content_type, limits)?;
            event.data = data;
            shape
        }
        (None, None) => Shape::OPAQUE,
    };
    for Member { name, value } in &members.members {
        if let Some(value) = read_extension(name, members.text(value))? {
            event.extensions.insert(name.clone().into_owned(), value);
        }
    }
    Ok((event, shape))
}

fn read_data(
    members: &Members<'_>,
    place: Range<usize>,
    is_json: bool,
    content_type: Option<&str>,
) -> Result<Data, EventError> {
    if is_json {
        return Ok(Data::Json(members.bytes.slice(place)));
    }
    let text = members.text(&place);
    if !text.starts_with('"') {
        return Err(EventError::Data(format!(
            "with the content type `{}` the member `data` must be a string; JSON needs a JSON content type",
            quoted(content_type.unwrap_or_default())
        )));
    }
    Ok(Data::Bytes(Bytes::from(string(text))))
}

fn read_base64(text: &str, content_type: Option<&str>, limits: &Limits) -> Result<(Data, Shape), EventError> {
    if !text.starts_with('"') {
        return Err(EventError::Data("`data_base64` must be a string".to_owned()));
    }
    let bytes = STANDARD
        .decode(string(text))
        .map_err(|error| EventError::Data(format!("`data_base64` is no base64: {error}")))?;
    if content_type.is_some_and(media_type::is_json)
        && let Ok(shape) = validate(&bytes, limits.json_depth_max)
    {
        return Ok((Data::Json(Bytes::from(bytes)), shape));
    }
    Ok((Data::Bytes(Bytes::from(bytes)), Shape::OPAQUE))
}

/// The value of an extension attribute, from its JSON text; none for null.
fn read_extension(name: &str, text: &str) -> Result<Option<ExtensionValue>, EventError> {
    let value = match text.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b't') => ExtensionValue::Boolean(true),
        Some(b'f') => ExtensionValue::Boolean(false),
        Some(b'"') => ExtensionValue::String(string(text)),
        Some(b'{' | b'[') => {
            return Err(attribute(name, "must be a string, a whole number or a boolean, not an object or an array"));
        }
        _ => match text.parse::<i32>() {
            Ok(number) => ExtensionValue::Integer(number),
            Err(_) => {
                return Err(attribute(name, format!("must be a whole number of 32 bits, not `{}`", quoted(text))));
            }
        },
    };
    Ok(Some(value))
}

/// The text of a JSON string, from its quotes.
fn string(quoted: &str) -> String {
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => plain.to_owned(),
        _ => unescape(quoted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may be wrong with a batch, by bytes that mean something.
    fn spoil(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
        let piece = *random.choice(b"{}[]\",: \\a1\n\x00\xff\xc3").unwrap_or(&b' ');
        let at = random.usize(..=text.len());
        match random.u8(..3) {
            0 => text.insert(at, piece),
            1 if at < text.len() => {
                text.remove(at);
            }
            _ => text.iter_mut().skip(at).take(1).for_each(|byte| *byte = piece),
        }
    }

    #[test]
    fn a_batch_is_the_same_however_it_is_read() {
        let mut random = fastrand::Rng::with_seed(3);
        let limits = Limits { batch_events_max: 4, json_depth_max: 3, ..Limits::default() };
        let datas =
            [r#"{"a":[1,{"b":"}]"}]}"#, r#""\"{[\\""#, "[]", "{}", "null", "[[[1]]]", "[[[[1]]]]", "\"\\u00e9é\""];
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let events: Vec<String> = (0..random.usize(..6))
                .map(|number| {
                    let data = datas[random.usize(..datas.len())];
                    format!(r#"{{"specversion":"1.0","id":"{number}","source":"/s","type":"t","data":{data}}}"#)
                })
                .collect();
            let mut text = format!("[{}] ", events.join(" ,\n")).into_bytes();
            for _ in 0..random.usize(..3) {
                spoil(&mut random, &mut text);
            }
            let bytes = Bytes::from(text);
            match (read_split(&bytes, &limits), read_whole(&bytes, &limits)) {
                (Some(split), Ok(whole)) => {
                    assert_eq!(split, whole, "{bytes:?}");
                    good += 1;
                }
                (None, Err(_)) => bad += 1,
                (split, whole) => panic!("{bytes:?}: {split:?}, {whole:?}"),
            }
        }
        assert!(good > 4_000 && bad > 4_000, "{good} good, {bad} bad");
    }
}
