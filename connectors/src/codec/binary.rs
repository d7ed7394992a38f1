//! CloudEvents in binary mode: the attributes are headers, the body is the data.

use std::borrow::Cow;

use bytes::Bytes;
use eventyard_event::{Data, Event, ExtensionValue, Limits, Text, json, media_type};
use percent_encoding::percent_decode;

use super::{Binding, DecodeError};

/// Reads an event; `headers` hold a `specversion` behind one of the prefixes. Returns whether the data's keys are
/// unique as well.
pub(super) fn read(
    binding: Binding,
    headers: &[(&str, &[u8])],
    content_type: Option<&str>,
    body: Bytes,
    limits: &Limits,
) -> Result<(Event, bool), DecodeError> {
    let mut event = Event { datacontenttype: content_type.map(Text::from), ..Event::default() };
    let mut version = None;
    for (header, value) in headers {
        let Some(name) = binding.attribute(header) else { continue };
        let mut name = Text::from(name);
        name.make_ascii_lowercase();
        let value = text(binding, &name, value)?;
        let place = match name.as_str() {
            "specversion" => &mut version,
            "id" if event.id.is_empty() => {
                event.id = value;
                continue;
            }
            "source" if event.source.is_empty() => {
                event.source = value;
                continue;
            }
            "type" if event.ty.is_empty() => {
                event.ty = value;
                continue;
            }
            "id" | "source" | "type" => return Err(twice(&name)),
            "subject" => &mut event.subject,
            "time" => &mut event.time,
            "dataschema" => &mut event.dataschema,
            // The system has a place of its own for it, which counts.
            "datacontenttype" if event.datacontenttype.is_some() => continue,
            "datacontenttype" => &mut event.datacontenttype,
            _ => {
                if event.extensions.insert(name.clone(), ExtensionValue::String(value)).is_some() {
                    return Err(twice(&name));
                }
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err(twice(&name));
        }
    }
    if version.as_deref() != Some("1.0") {
        return Err(DecodeError::new("ce_specversion", "a CloudEvent of another version than 1.0 came"));
    }
    for (name, value) in [("id", &event.id), ("source", &event.source), ("type", &event.ty)] {
        if value.is_empty() {
            return Err(DecodeError::new("ce_missing_attribute", format!("the attribute `{name}` is missing")));
        }
    }
    event.check(limits)?;
    let is_json = event.datacontenttype.as_deref().is_some_and(media_type::is_json);
    let mut keys_unique = true;
    event.data = match body {
        body if body.is_empty() => Data::None,
        body if is_json => {
            keys_unique = json::validate(&body, limits.json_depth_max)?.keys_unique;
            Data::Json(body)
        }
        body => Data::Bytes(body),
    };
    Ok((event, keys_unique))
}

fn text(binding: Binding, name: &str, value: &[u8]) -> Result<Text, DecodeError> {
    let decoded = if binding.percent_encoded { percent_decode(value).into() } else { Cow::Borrowed(value) };
    Text::from_utf8(decoded)
        .map_err(|_| DecodeError::new("ce_attribute", format!("the attribute `{}` is no UTF-8", name.escape_debug())))
}

fn twice(name: &str) -> DecodeError {
    DecodeError::new("ce_attribute", format!("the attribute `{}` stands twice", name.escape_debug()))
}
