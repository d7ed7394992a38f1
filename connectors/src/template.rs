//! Text made of the event that a sink sends: a message's key, a routing key.
//!
//! Either one path into the event (`subject`, `data.customer.id`), or text with such paths in braces
//! (`{data.tenant}/{subject}`).

use eventyard_event::{Event, ExtensionValue, Text, format_text};
use serde_json::Value;

use crate::spec::ConfigError;

/// Parts of a template at most: none of any use has more.
const PARTS_MAX: usize = 32;

/// A template, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// A path and nothing else. Where the event lacks it, there is no text.
    Path(Path),
    /// Text and paths; a path that the event lacks is empty.
    Text(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Path(Path),
}

/// A way into an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// An attribute or an extension.
    Attribute(String),
    /// Steps below `data`; none for all of it.
    Data(Vec<String>),
}

impl Template {
    /// Reads what stands at `key`.
    pub(crate) fn read(key: &str, text: &str) -> Result<Template, ConfigError> {
        let error = |message: String| {
            ConfigError::at(key, "bad_value", message)
                .help("write a path such as data.customer.id, or a text with paths in braces")
        };
        if !text.contains(['{', '}']) {
            return Path::read(text).map(Template::Path).map_err(error);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, after) = rest.split_once('{').unwrap_or((rest, ""));
            if before.contains('}') {
                return Err(error("a brace is closed that was not opened".to_owned()));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            if before.len() == rest.len() {
                break;
            }
            let Some((path, after)) = after.split_once('}') else {
                return Err(error("a brace is not closed".to_owned()));
            };
            parts.push(Part::Path(Path::read(path).map_err(error)?));
            rest = after;
        }
        if parts.len() > PARTS_MAX {
            return Err(error(format!("it has more than {PARTS_MAX} parts")));
        }
        Ok(Template::Text(parts))
    }

    /// A text without paths.
    #[cfg(feature = "amqp")]
    pub(crate) fn literal(text: &str) -> Template {
        Template::Text(vec![Part::Text(text.to_owned())])
    }

    /// The text for one event.
    pub(crate) fn of(&self, event: &Event) -> Option<Text> {
        let mut seen = Seen { event, data: None };
        match self {
            Template::Path(path) => seen.find(path),
            Template::Text(parts) => {
                let mut made = Text::default();
                for part in parts {
                    match part {
                        Part::Text(text) => made.push_str(text),
                        Part::Path(path) => made.push_str(&seen.find(path).unwrap_or_default()),
                    }
                }
                Some(made)
            }
        }
    }
}

impl Path {
    fn read(text: &str) -> Result<Path, String> {
        let text = text.strip_prefix("$.").unwrap_or(text);
        let mut steps = text.split('.').map(str::to_owned);
        let first = steps.next().unwrap_or_default();
        let rest: Vec<String> = steps.collect();
        let named = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        match first.as_str() {
            "data" if rest.iter().all(|step| !step.is_empty()) => Ok(Path::Data(rest)),
            name if rest.is_empty() && named(name) => Ok(Path::Attribute(first)),
            _ => Err(format!("`{}` is no path into an event", text.escape_debug())),
        }
    }
}

/// An event whose data is parsed once, and only when a path asks for it.
struct Seen<'a> {
    event: &'a Event,
    data: Option<Option<Value>>,
}

impl Seen<'_> {
    fn find(&mut self, path: &Path) -> Option<Text> {
        match path {
            Path::Attribute(name) => attribute(self.event, name),
            Path::Data(steps) => {
                let event = self.event;
                let data = self
                    .data
                    .get_or_insert_with(|| event.seen_data().and_then(|seen| serde_json::from_slice(&seen.json).ok()));
                let mut value = data.as_ref()?;
                for step in steps {
                    value = match value {
                        Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
                        other => other.get(step)?,
                    };
                }
                match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.into()),
                    other => Some(format_text!("{other}")),
                }
            }
        }
    }
}

fn attribute(event: &Event, name: &str) -> Option<Text> {
    match name {
        "id" => Some(event.id.clone()),
        "source" => Some(event.source.clone()),
        "type" => Some(event.ty.clone()),
        "subject" => event.subject.clone(),
        "time" => event.time.clone(),
        "datacontenttype" => event.datacontenttype.clone(),
        "dataschema" => event.dataschema.clone(),
        name => event.extensions.get(name).map(|value| match value {
            ExtensionValue::String(text) => text.clone(),
            ExtensionValue::Integer(number) => format_text!("{number}"),
            ExtensionValue::Boolean(truth) => format_text!("{truth}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use eventyard_event::Data;

    fn made(text: &str) -> Option<Text> {
        let data = br#"{"customer":{"id":"c7","vip":true},"amount":12.50,"lines":[{"sku":"a"}],"none":null}"#;
        let event = Event {
            id: "1".into(),
            subject: Some("eu/7".into()),
            extensions: [("partition".into(), ExtensionValue::Integer(3))].into(),
            data: Data::Json(Bytes::from_static(data)),
            ..Event::default()
        };
        Template::read("key", text).unwrap().of(&event)
    }

    #[test]
    fn a_path_finds_what_stands_there() {
        assert_eq!(made("subject").as_deref(), Some("eu/7"));
        assert_eq!(made("$.data.customer.id").as_deref(), Some("c7"));
        assert_eq!(made("data.customer.vip").as_deref(), Some("true"));
        assert_eq!(made("data.lines.0.sku").as_deref(), Some("a"));
        assert_eq!(made("partition").as_deref(), Some("3"));
        assert_eq!(made("data.customer.name"), None);
        assert_eq!(made("data.none"), None);
        assert_eq!(made("time"), None);
    }

    #[test]
    fn a_template_joins_text_and_paths() {
        assert_eq!(made("{data.customer.id}/{subject}!").as_deref(), Some("c7/eu/7!"));
        assert_eq!(made("k-{time}-").as_deref(), Some("k--"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in ["", "Data.x", "data..x", "a.b", "{subject", "subject}", "{}", "a{subject}}"] {
            assert_eq!(Template::read("key", bad).unwrap_err().code, "bad_value", "{bad}");
        }
    }
}
