//! From JSON text to events.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::check::scan;
use super::outline::Root;
use super::scan::{split_objects, text_of, unescape};
use super::{Shape, validate};
use crate::attributes::{attribute, check_spec_version, quoted};
use crate::{Data, Event, EventError, ExtensionValue, Limits, Text, media_type};

/// More members than this are no event whatever they are: 9 attributes and data in two spellings.
const DEFINED_MEMBERS_MAX: usize = 10;

/// Reads one event in structured mode. Its `data` is a slice of `bytes`, not a copy, unless it was a string
/// with another content type than JSON, or base64.
///
/// # Errors
/// Whatever [`EventError`] says; of the JSON text itself with line and column.
pub fn read_structured(bytes: &Bytes, limits: &Limits) -> Result<(Event, Shape), EventError> {
    let mut event = Event::default();
    let shape = read_structured_into(bytes, limits, &mut event)?;
    Ok((event, shape))
}

/// The same in the place of another event, whose room is used again: for those who read many and keep none. After an error
/// `event` is none.
///
/// # Errors
/// As [`read_structured`].
pub fn read_structured_into(bytes: &Bytes, limits: &Limits, event: &mut Event) -> Result<Shape, EventError> {
    check_size(bytes.len(), limits)?;
    let text = text_of(bytes)?;
    let mut members = Members::of(bytes, text);
    let mut count = 0;
    let outline = scan(text, limits.json_depth_max, 1, |child| {
        let Some(key) = child.key else { return Ok(()) };
        if count >= limits.extensions_max.saturating_add(DEFINED_MEMBERS_MAX) {
            return Err(EventError::Limit {
                what: "the number of members of the event".to_owned(),
                limit: "extensions",
                max: limits.extensions_max,
            });
        }
        count += 1;
        members.add(key, child.value)
    })?;
    if outline.root != Root::Object {
        let what = if outline.root == Root::Array { "an array" } else { "a single value" };
        return Err(EventError::Shape(format!(
            "the JSON is {what} where one event, an object, belongs (a batch is sent as `{}`)",
            super::BATCH
        )));
    }
    // The event's own members are unique by now, so what is not is in the data.
    let shape = assemble(&members, Shape { keys_unique: outline.keys_unique }, limits, event)?;
    event.check(limits)?;
    Ok(shape)
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
    let outline = scan(text_of(bytes)?, limits.json_depth_max, 2, |child| {
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

/// Where the values of an event's members stand in its text.
struct Members<'a> {
    bytes: &'a Bytes,
    /// The same bytes.
    text: &'a str,
    specversion: Option<Range<usize>>,
    id: Option<Range<usize>>,
    source: Option<Range<usize>>,
    ty: Option<Range<usize>>,
    subject: Option<Range<usize>>,
    time: Option<Range<usize>>,
    datacontenttype: Option<Range<usize>>,
    dataschema: Option<Range<usize>>,
    data: Option<Range<usize>>,
    data_base64: Option<Range<usize>>,
    extensions: Vec<(Cow<'a, str>, Range<usize>)>,
}

impl<'a> Members<'a> {
    fn of(bytes: &'a Bytes, text: &'a str) -> Members<'a> {
        Members {
            bytes,
            text,
            specversion: None,
            id: None,
            source: None,
            ty: None,
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            data: None,
            data_base64: None,
            extensions: Vec::new(),
        }
    }

    /// Notes a member, unless there is one of that name already.
    fn add(&mut self, name: Cow<'a, str>, value: Range<usize>) -> Result<(), EventError> {
        let place = match &*name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.ty,
            "subject" => &mut self.subject,
            "time" => &mut self.time,
            "datacontenttype" => &mut self.datacontenttype,
            "dataschema" => &mut self.dataschema,
            "data" => &mut self.data,
            "data_base64" => &mut self.data_base64,
            other => {
                // They are few, so looking through them beats any table.
                if self.extensions.iter().any(|(known, _)| known == other) {
                    return Err(attribute(other, "stands twice"));
                }
                self.extensions.push((name, value));
                return Ok(());
            }
        };
        match place {
            Some(_) => Err(attribute(&name, "stands twice")),
            None => {
                *place = Some(value);
                Ok(())
            }
        }
    }

    /// The JSON text at a place.
    fn text(&self, place: &Range<usize>) -> &'a str {
        let text = self.text.get(place.clone());
        debug_assert!(text.is_some(), "the scanner gave a place that is no text");
        text.unwrap_or_default()
    }

    /// The text of a member, unless it is not there or null.
    fn given(&self, place: Option<&Range<usize>>) -> Option<&'a str> {
        place.map(|place| self.text(place)).filter(|text| *text != "null")
    }

    /// Puts a member that must be a string, and be there, into `to`.
    fn required(&self, name: &'static str, place: Option<&Range<usize>>, to: &mut Text) -> Result<(), EventError> {
        let text = self.given(place).ok_or(EventError::MissingAttribute(name))?;
        to.clear();
        put_string(name, text, to)
    }

    /// The same for one that may be missing.
    fn optional(
        &self,
        name: &'static str,
        place: Option<&Range<usize>>,
        to: &mut Option<Text>,
    ) -> Result<(), EventError> {
        let Some(text) = self.given(place) else {
            *to = None;
            return Ok(());
        };
        let to = to.get_or_insert_default();
        to.clear();
        put_string(name, text, to)
    }
}

/// Adds the text of a JSON string to `to`.
fn put_string(name: &'static str, text: &str, to: &mut Text) -> Result<(), EventError> {
    if !text.starts_with('"') {
        return Err(attribute(name, format!("must be a string, not `{}`", quoted(text))));
    }
    match plain(text) {
        Some(plain) => to.push_str(plain),
        None => to.push_str(&unescape(text)),
    }
    Ok(())
}

fn assemble(members: &Members<'_>, shape: Shape, limits: &Limits, event: &mut Event) -> Result<Shape, EventError> {
    // Nobody keeps the version; its text is read in a place that is filled next.
    members.required("specversion", members.specversion.as_ref(), &mut event.id)?;
    check_spec_version(&event.id)?;
    members.required("id", members.id.as_ref(), &mut event.id)?;
    members.required("source", members.source.as_ref(), &mut event.source)?;
    members.required("type", members.ty.as_ref(), &mut event.ty)?;
    members.optional("subject", members.subject.as_ref(), &mut event.subject)?;
    members.optional("time", members.time.as_ref(), &mut event.time)?;
    members.optional("datacontenttype", members.datacontenttype.as_ref(), &mut event.datacontenttype)?;
    members.optional("dataschema", members.dataschema.as_ref(), &mut event.dataschema)?;
    let content_type = event.datacontenttype.as_deref();
    let shape = match (&members.data, members.given(members.data_base64.as_ref())) {
        (Some(_), Some(_)) => {
            return Err(EventError::Data("`data` and `data_base64` may not stand in one event".to_owned()));
        }
        (Some(place), None) => {
            let is_json = content_type.is_none_or(media_type::is_json);
            event.data = read_data(members, place.clone(), is_json, content_type)?;
            if is_json { shape } else { Shape::OPAQUE }
        }
        (None, Some(text)) => {
            let (data, shape) = read_base64(text, content_type, limits)?;
            event.data = data;
            shape
        }
        (None, None) => {
            event.data = Data::None;
            Shape::OPAQUE
        }
    };
    event.extensions.clear();
    event.extensions.reserve(members.extensions.len());
    for (name, value) in &members.extensions {
        if let Some(value) = read_extension(name, members.text(value))? {
            event.extensions.insert(Text::from(&**name), value);
        }
    }
    Ok(shape)
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
    Ok(Data::Bytes(Bytes::from(string::<String>(text))))
}

fn read_base64(text: &str, content_type: Option<&str>, limits: &Limits) -> Result<(Data, Shape), EventError> {
    if !text.starts_with('"') {
        return Err(EventError::Data("`data_base64` must be a string".to_owned()));
    }
    let bytes = STANDARD
        .decode(string::<String>(text))
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
fn string<'q, T: From<String> + From<&'q str>>(quoted: &'q str) -> T {
    plain(quoted).map_or_else(|| unescape(quoted).into(), T::from)
}

/// The same where there are no escapes in it.
fn plain(quoted: &str) -> Option<&str> {
    let plain = quoted.strip_prefix('"')?.strip_suffix('"')?;
    (!plain.bytes().any(|byte| byte == b'\\')).then_some(plain)
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
    fn nothing_is_left_of_an_event_in_whose_place_another_is_read() {
        let texts = [
            r#"{"specversion":"1.0","id":"a-long-id","source":"/a","type":"t","subject":"s\u00e9","time":"2026-11-23T00:00:00Z",
                "datacontenttype":"text/plain","dataschema":"https://a.example/s","b":true,"c":7,"d":"x","data":"text"}"#,
            r#"{"id":"1","specversion":"1.0","source":"/b","type":"u","data_base64":"AAEC"}"#,
            r#"{"specversion":"1.0","id":"2","source":"/c","type":"v"}"#,
            r#"{"specversion":"1.0","id":"3","source":"/d","type":"w","subject":null,"b":null,"data":{"a":1,"a":2}}"#,
            r#"{"specversion":"1.0","id":"4","source":"/e","type":"x","d":"y","data":null,"data_base64":null}"#,
            r#"{"specversion":"1.0","id":"5","source":"/f","type":""}"#,
            r#"{"specversion":"1.0","id":"6","source":7,"type":"x"}"#,
            r#"{"specversion":"0.3","id":"7","source":"/f","type":"x"}"#,
            r#"{"specversion":"1.0","id":"8","source":"/f","type":"x","id":"8"}"#,
            r#"{"specversion":"1.0","id":"9","source":"/f","type":"x","d":"y","d":"y"}"#,
            "{",
        ];
        let limits = Limits::default();
        for first in texts {
            for second in texts {
                let mut event = Event::default();
                let _ = read_structured_into(&Bytes::from(first), &limits, &mut event);
                let again = read_structured_into(&Bytes::from(second), &limits, &mut event);
                let fresh = read_structured(&Bytes::from(second), &limits);
                assert_eq!(again.map(|shape| (event, shape)), fresh, "{first}\n{second}");
            }
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
