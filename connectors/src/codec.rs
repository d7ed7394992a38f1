//! From a message of a queue, a topic or a bucket to an event, or to the reason why it is none.
//!
//! What every polled source that carries other people's bytes takes stands in [`FIELDS`]: `codec`, `compression`,
//! `max_size`. A [`Decoder`] is made of them once; each message is decoded with what the system says of it
//! ([`Message`]) and with what it is wrapped in where it is no CloudEvent ([`Wrap`]).
//!
//! How a message is read, in this order:
//! 1. Its size, packed and unpacked, is held against the limit.
//! 2. It is unpacked: gzip or zstd, as `compression` or its content encoding says.
//! 3. A message that says it is a CloudEvent is taken whole. *Structured*: its content type is
//!    `application/cloudevents+json`. *Binary*: it has a header `specversion` behind one of the system's prefixes.
//! 4. Anything else is wrapped: the body is the data, and coordinates and headers are extensions ([`names`]).
//!
//! A message that cannot be decoded is not lost and does not stand in the way: it becomes a dead letter.

mod binary;
pub mod names;
mod unpack;

use std::time::Duration;

use bytes::Bytes;
use eventyard_event::decode::Format;
use eventyard_event::json::{self, STRUCTURED};
use eventyard_event::{Data, Event, EventError, Extensions, Limits, Text, format_text, hops, media_type};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::source::{Incoming, Undecodable};
use crate::spec::{Field, FieldKind};

/// The keys of a source that decodes, beside its own.
pub const FIELDS: [Field; 3] = [
    Field::with_default(
        "codec",
        FieldKind::OneOf(&["auto", "json", "xml", "csv", "form", "cloudevents", "text", "bytes"]),
        "auto",
        "How a message is read. `auto` takes CloudEvents whole and wraps anything else, as JSON where it says that it \
         is JSON or is so without saying anything. The others demand what they name; what is not so becomes a dead \
         letter. Rules look into `xml`, `csv` and `form` as into JSON.",
    ),
    Field::with_default(
        "compression",
        FieldKind::OneOf(&["auto", "none", "gzip", "zstd"]),
        "auto",
        "How messages are packed; `auto` goes by each one's content encoding.",
    ),
    Field::optional(
        "max_size",
        FieldKind::Size,
        "The largest message that is taken, unpacked; a larger one becomes a dead letter with its head. `[limits] \
         event` without it, and never more than that.",
    ),
];

/// What of [`FIELDS`] a source was given; to be read from its settings.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CodecConfig {
    codec: Codec,
    compression: Compression,
    #[serde(default)]
    max_size: Option<u64>,
}

/// How bytes are read. Sources that are told by HTTP requests take some of them, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Codec {
    Auto,
    Json,
    Xml,
    Csv,
    Form,
    Cloudevents,
    Text,
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    Auto,
    None,
    Gzip,
    Zstd,
}

/// What does not change from message to message.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: CodecConfig,
    binding: Binding,
    /// `/sources/NAME`.
    source: Text,
    ty: Text,
    limits: Limits,
}

/// How one system carries CloudEvents in binary mode.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// What may stand before an attribute's name in a header's: `ce_`, `cloudEvents:`, `ce-`. Upper and lower case are
    /// the same.
    pub prefixes: &'static [&'static str],
    /// Values are percent-encoded, as HTTP's and NATS's are.
    pub percent_encoded: bool,
}

/// A message as its system gives it.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    /// Its media type, where it has one.
    pub content_type: Option<&'a str>,
    /// How it is packed, where it says so.
    pub content_encoding: Option<&'a str>,
    /// Its headers, in the order in which they came. Content type and encoding may stand here as well; they are
    /// looked up only in the fields above.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Its bytes.
    pub body: Bytes,
}

/// What a message that is no CloudEvent is wrapped in.
#[derive(Clone, Debug, Default)]
pub struct Wrap {
    /// The event's id; empty where the broker is to make one.
    pub id: Text,
    /// What it is about: topic or queue.
    pub subject: Option<Text>,
    /// When it was sent, as RFC 3339, where that is known.
    pub time: Option<Text>,
    /// Where it stands and what it has beside its body: topic, partition, offset, key. Names of a-z and 0-9.
    pub extensions: Extensions,
    /// As [`Incoming::dedupe`]; holds for what is taken whole, too.
    pub dedupe: Option<Duration>,
}

/// Why a message is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// `too_large`, `decode`, `not_utf8`, `unpack`, or the code of an [`EventError`].
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

/// The first header of this name, where it is text.
pub(crate) fn header<'a>(headers: &[(&str, &'a [u8])], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}

impl DecodeError {
    /// An error with one of the codes above.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> DecodeError {
        DecodeError { code, message: message.into() }
    }

    /// The dead letter of the message that this was said of. `body` is as it came.
    #[must_use]
    pub fn undecodable(self, at: Map<String, Value>, body: &Bytes) -> Undecodable {
        Undecodable::new(at, body, self.code, self.message)
    }
}

impl From<EventError> for DecodeError {
    fn from(error: EventError) -> DecodeError {
        let code = match error.code() {
            "body_too_large" => "too_large",
            "json_invalid" => "decode",
            code => code,
        };
        DecodeError::new(code, error.to_string())
    }
}

impl Decoder {
    /// For the source `name`. `ty` is the `type` of what is wrapped; `limits` are the project's.
    #[must_use]
    pub fn new(config: CodecConfig, binding: Binding, name: &str, ty: String, limits: Limits) -> Decoder {
        let said = config.max_size.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        let limits = Limits { event_bytes_max: limits.event_bytes_max.min(said), ..limits };
        Decoder { config, binding, source: format_text!("/sources/{name}"), ty: ty.into(), limits }
    }

    /// The most bytes that a message may have. A source that can see a message's size beforehand need not fetch more.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.limits.event_bytes_max
    }

    /// Reads one message.
    ///
    /// # Errors
    /// [`DecodeError`]: it is to become a dead letter.
    pub fn decode(&self, mut message: Message<'_>, wrap: Wrap) -> Result<Incoming, DecodeError> {
        self.check_size(message.body.len())?;
        let packing = match self.config.compression {
            Compression::Auto => unpack::Packing::read(message.content_encoding)?,
            Compression::None => None,
            Compression::Gzip => Some(unpack::Packing::Gzip),
            Compression::Zstd => Some(unpack::Packing::Zstd),
        };
        let body = match packing {
            Some(packing) => unpack::unpack(packing, &message.body, self.limits.event_bytes_max)?,
            None => std::mem::take(&mut message.body),
        };
        let mut dedupe = wrap.dedupe;
        let whole = match self.config.codec {
            Codec::Auto | Codec::Cloudevents => self.take_whole(&message, &body)?,
            _ => None,
        };
        let (mut event, keys_unique) = match whole {
            Some(whole) => whole,
            None => {
                let wrapped = self.wrap(&message, body, wrap)?;
                dedupe = dedupe.filter(|_| !wrapped.0.id.is_empty());
                wrapped
            }
        };
        hops::note(&mut event, header(message.headers, hops::HEADER));
        Ok(Incoming { event, keys_unique, dedupe })
    }

    fn check_size(&self, bytes: usize) -> Result<(), DecodeError> {
        let max = self.limits.event_bytes_max;
        if bytes <= max {
            return Ok(());
        }
        Err(DecodeError::new("too_large", format!("the message has {bytes} bytes; the limit is {max}")))
    }

    /// A CloudEvent that comes whole; `None` where the message does not say that it is one and need not be.
    fn take_whole(&self, message: &Message<'_>, body: &Bytes) -> Result<Option<(Event, bool)>, DecodeError> {
        let essence = media_type::essence(message.content_type.unwrap_or_default());
        if essence.eq_ignore_ascii_case(STRUCTURED) {
            let (event, shape) = json::read_structured(body, &self.limits)?;
            return Ok(Some((event, shape.keys_unique)));
        }
        if essence.get(..23).is_some_and(|start| start.eq_ignore_ascii_case("application/cloudevents")) {
            return Err(DecodeError::new("decode", format!("one CloudEvent as JSON is taken, not `{essence}`")));
        }
        if self.binding.is_binary(message.headers) {
            let content_type = message.content_type.filter(|text| !text.is_empty());
            return binary::read(self.binding, message.headers, content_type, body.clone(), &self.limits).map(Some);
        }
        if self.config.codec == Codec::Auto {
            return Ok(None);
        }
        // Systems without headers carry events as plain JSON: what demands CloudEvents reads it as one.
        let (event, shape) = json::read_structured(body, &self.limits)?;
        Ok(Some((event, shape.keys_unique)))
    }

    fn wrap(&self, message: &Message<'_>, body: Bytes, wrap: Wrap) -> Result<(Event, bool), DecodeError> {
        let content_type = message.content_type.filter(|text| media_type::is_well_formed(text));
        let (data, keys_unique, datacontenttype) =
            self.config.codec.data(content_type, body, self.limits.json_depth_max)?;
        let Wrap { id, subject, time, extensions, dedupe: _ } = wrap;
        let mut event = Event {
            id: if id.is_empty() { "-".into() } else { id },
            source: self.source.clone(),
            ty: self.ty.clone(),
            subject: subject.filter(|subject| !subject.is_empty()),
            time,
            datacontenttype,
            dataschema: None,
            extensions,
            data,
        };
        names::add_headers(&mut event.extensions, message.headers, self.binding.prefixes, &self.limits);
        event.check(&self.limits)?;
        if event.id == "-" {
            event.id.clear();
        }
        Ok((event, keys_unique))
    }
}

impl Codec {
    /// The data as patterns will see it, whether its keys are unique, and its media type.
    pub(crate) fn data(
        self,
        content_type: Option<&str>,
        body: Bytes,
        json_depth_max: usize,
    ) -> Result<(Data, bool, Option<Text>), DecodeError> {
        let said = content_type.map(Text::from);
        let declared = content_type.map(media_type::is_json);
        match self {
            Codec::Bytes => Ok((bytes_or_none(body), true, said)),
            Codec::Text => {
                if let Err(error) = std::str::from_utf8(&body) {
                    let at = error.valid_up_to();
                    return Err(DecodeError::new(
                        "not_utf8",
                        format!("the message is no UTF-8 text from byte {at} on"),
                    ));
                }
                let said = said.unwrap_or_else(|| "text/plain; charset=utf-8".into());
                Ok((bytes_or_none(body), true, Some(said)))
            }
            Codec::Json => {
                if body.is_empty() {
                    return Err(DecodeError::new("decode", "the message is empty, and JSON is demanded"));
                }
                let shape = json::validate(&body, json_depth_max)?;
                let said = said.filter(|_| declared == Some(true)).unwrap_or_else(|| "application/json".into());
                Ok((Data::Json(body), shape.keys_unique, Some(said)))
            }
            Codec::Xml => of_format(Format::Xml, said, body),
            Codec::Csv => of_format(Format::Csv, said, body),
            Codec::Form => of_format(Format::Form, said, body),
            Codec::Auto | Codec::Cloudevents if body.is_empty() => Ok((Data::None, true, said)),
            Codec::Auto | Codec::Cloudevents if declared == Some(false) => Ok((Data::Bytes(body), true, said)),
            Codec::Auto | Codec::Cloudevents => match json::validate(&body, json_depth_max) {
                Ok(shape) => {
                    let said = said.unwrap_or_else(|| "application/json".into());
                    Ok((Data::Json(body), shape.keys_unique, Some(said)))
                }
                Err(error) if declared == Some(true) => Err(error.into()),
                Err(_) => Ok((Data::Bytes(body), true, said)),
            },
        }
    }
}

impl Binding {
    /// Whether headers say that the message is a CloudEvent in binary mode.
    fn is_binary(&self, headers: &[(&str, &[u8])]) -> bool {
        headers.iter().any(|(name, _)| {
            self.attribute(name).is_some_and(|attribute| attribute.eq_ignore_ascii_case("specversion"))
        })
    }

    /// The name of the attribute that a header carries, where it carries one.
    fn attribute<'a>(&self, name: &'a str) -> Option<&'a str> {
        self.prefixes.iter().find_map(|prefix| {
            let (start, rest) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(rest)
        })
    }
}

/// Bytes that must be of a format; their content type says so, whatever the message says.
fn of_format(format: Format, said: Option<Text>, body: Bytes) -> Result<(Data, bool, Option<Text>), DecodeError> {
    let said = type_of(format, said);
    match format.decode(&body, &said) {
        Ok(_) => Ok((bytes_or_none(body), true, Some(said))),
        Err(error) => Err(DecodeError::new("decode", format!("the message is no {}: {error}", format.content_type()))),
    }
}

/// The content type of a body of a format: what was said of it where that names the format, for its parameters count.
pub(crate) fn type_of(format: Format, said: Option<Text>) -> Text {
    said.filter(|said| Format::of(said) == Some(format)).unwrap_or_else(|| format.content_type().into())
}

fn bytes_or_none(body: Bytes) -> Data {
    if body.is_empty() { Data::None } else { Data::Bytes(body) }
}

#[cfg(test)]
mod tests;
