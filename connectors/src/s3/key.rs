//! The keys of objects that are written, from templates: safe for stores that keep objects as files, too.

use std::fmt::Write as _;

use eventyard_event::{Timestamp, json};

use super::text::percent;
use crate::sink::{SendError, SendRequest};
use crate::spec::ConfigError;

/// The longest key that S3 has, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 1024;

/// What may stand between braces.
const VARIABLES: &[(&str, Variable)] = &[
    ("type", Variable::Type),
    ("source", Variable::Source),
    ("subject", Variable::Subject),
    ("id", Variable::Id),
    ("namespace", Variable::Namespace),
    ("name", Variable::Name),
    ("stem", Variable::Stem),
    ("yyyy", Variable::Year),
    ("mm", Variable::Month),
    ("dd", Variable::Day),
    ("hh", Variable::Hour),
    ("event", Variable::Event),
    ("delivery", Variable::Delivery),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Type,
    Source,
    Subject,
    Id,
    Namespace,
    /// What follows the last slash of the subject.
    Name,
    /// The same without its last extension.
    Stem,
    Year,
    Month,
    Day,
    Hour,
    Event,
    Delivery,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(&'static str, Variable),
}

/// A template of a key, or of its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads `events/{type}/{yyyy}/`, which stands at `key`.
    pub(super) fn parse(key: &str, text: &str) -> Result<Template, ConfigError> {
        let wrong = |message: String| {
            let names: Vec<String> = VARIABLES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
            ConfigError::at(key, "bad_value", message).help(format!("there are {}", names.join(", ")))
        };
        if text.starts_with('/') || text.contains("//") || text.split('/').any(|segment| matches!(segment, "." | ".."))
        {
            let message = "a key does not begin with `/`, and has no empty segment, `.` or `..` in it";
            return Err(ConfigError::at(key, "bad_value", message));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (name, after) = after.split_once('}').ok_or_else(|| wrong("a `{` is not closed".to_owned()))?;
            let found = VARIABLES.iter().find(|(known, _)| *known == name);
            let (name, variable) =
                found.ok_or_else(|| wrong(format!("`{{{}}}` stands for nothing", name.escape_default())))?;
            parts.push(Part::Variable(name, *variable));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let bytes: usize = parts.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 0 }).sum();
        if bytes > KEY_BYTES_MAX {
            return Err(ConfigError::at(key, "out_of_range", format!("a key has {KEY_BYTES_MAX} bytes at most")));
        }
        Ok(Template(parts))
    }

    /// What comes out for an event: text of the event never makes a segment `.` or `..`, and only `{subject}` and
    /// `{source}` keep their slashes.
    pub(super) fn fill(&self, request: &SendRequest) -> Result<String, SendError> {
        let mut key = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Variable(name, variable) => {
                    let with_slashes = matches!(variable, Variable::Subject | Variable::Source);
                    // Of slashes alone nothing is left: empty segments are dropped.
                    let empty = |value: &str| value.chars().all(|c| with_slashes && c == '/');
                    let value = value(*variable, request).filter(|value| !empty(value));
                    let value = value.ok_or_else(|| {
                        let message = format!("the event has nothing for `{{{name}}}`, which its object's key needs");
                        SendError::permanent("key_incomplete", message)
                    })?;
                    add(&mut key, &value, with_slashes);
                }
            }
        }
        Ok(key)
    }
}

/// A whole key, fit for any store.
///
/// # Errors
/// `key_too_long`.
pub(super) fn finish(key: &str) -> Result<String, SendError> {
    // Empty segments are dropped: some stores do that themselves, and two keys would be one.
    let segments = key.split('/').filter(|segment| !segment.is_empty()).map(|segment| match segment {
        "." => "%2E",
        ".." => "%2E%2E",
        plain => plain,
    });
    let key = segments.collect::<Vec<_>>().join("/");
    if key.len() > KEY_BYTES_MAX {
        let message = format!("the object's key would have {} bytes, and S3's have {KEY_BYTES_MAX} at most", key.len());
        return Err(SendError::permanent("key_too_long", message));
    }
    Ok(key)
}

fn value(variable: Variable, request: &SendRequest) -> Option<String> {
    let event = &request.event.event;
    let name = || event.subject.as_deref().and_then(|subject| subject.rsplit('/').find(|part| !part.is_empty()));
    Some(match variable {
        Variable::Type => event.ty.to_string(),
        Variable::Source => event.source.to_string(),
        Variable::Subject => event.subject.as_ref()?.to_string(),
        Variable::Id => event.id.to_string(),
        Variable::Namespace => request.event.namespace.to_string(),
        Variable::Name => name()?.to_owned(),
        Variable::Stem => {
            let name = name()?;
            name.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty()).unwrap_or(name).to_owned()
        }
        Variable::Year => format!("{:04}", time(request).year()),
        Variable::Month => format!("{:02}", time(request).month()),
        Variable::Day => format!("{:02}", time(request).day()),
        Variable::Hour => format!("{:02}", time(request).hour()),
        Variable::Event => request.event.id.to_string(),
        Variable::Delivery => request.delivery.clone(),
    })
}

/// The event's own time, and where it has none, when it came: the same for every attempt.
fn time(request: &SendRequest) -> jiff::Zoned {
    let own = request.event.event.time.as_deref().and_then(|text| Timestamp::parse(text).ok());
    own.unwrap_or(request.event.received_at).to_jiff().to_zoned(jiff::tz::TimeZone::UTC)
}

/// Adds text of an event. What stores, shells and people stumble over is written as `%0A`.
fn add(key: &mut String, value: &str, with_slashes: bool) {
    for c in value.chars() {
        let plain = match c {
            '/' => with_slashes,
            '\\' | '%' | '{' | '}' | '^' | '`' | '"' | '<' | '>' | '|' | '~' | '#' | '*' | '?' => false,
            c => !c.is_control() && !c.is_whitespace() || c == ' ',
        };
        if plain {
            key.push(c);
        } else {
            percent(c, key);
        }
    }
}

/// An event as one line of JSON, with its line break.
///
/// # Errors
/// `line_not_json` where what a rule made of it is no JSON.
pub(super) fn line(request: &SendRequest) -> Result<Vec<u8>, SendError> {
    use crate::sink::PayloadForm::{Raw, Shaped, Structured};
    let mut line = match request.payload.form {
        // The whole event: a line that says neither what it is nor where it came from would be of little use.
        Raw => request.event.structured_json(),
        Structured => request.payload.body.to_vec(),
        Shaped => {
            let body = &request.payload.body;
            json::validate(body, eventyard_event::Limits::default().json_depth_max).map_err(|problem| {
                SendError::permanent("line_not_json", format!("what the rule made of the event is no JSON: {problem}"))
            })?;
            body.to_vec()
        }
    };
    // Within a text JSON has no line break; between texts a space is as good.
    line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    line.push(b'\n');
    Ok(line)
}

/// What a person is told of a key.
pub(super) fn shown(bucket: &str, key: &str, etag: Option<&str>) -> String {
    let mut text = format!("{bucket}/{key}");
    if let Some(etag) = etag {
        // Writing to a String cannot fail.
        let _ = write!(text, " {etag}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sink::tests::request;
    use super::*;

    fn filled(template: &str, subject: &str) -> Result<String, String> {
        let template = Template::parse("key", template).unwrap();
        let filled = template.fill(&request(1, subject, b"{}")).and_then(|key| finish(&key));
        filled.map_err(|error| error.code)
    }

    #[test]
    fn a_template_is_filled_from_the_event() {
        assert_eq!(filled("{type}/{yyyy}/{mm}/{dd}/{hh}/", "a").unwrap(), "order.created/2026/11/22/01");
        assert_eq!(filled("out/{name}", "photos/in/über a.txt").unwrap(), "out/über a.txt");
        assert_eq!(filled("out/{stem}.txt", "photos/in/a.tar.gz").unwrap(), "out/a.tar.txt");
        assert_eq!(filled("out/{stem}.txt", "in/.profile").unwrap(), "out/.profile.txt");
        assert_eq!(filled("{subject}", "photos/in/a.txt").unwrap(), "photos/in/a.txt");
        assert_eq!(filled("{id}{namespace}", "a").unwrap(), "1default");
    }

    #[test]
    fn no_event_leads_a_key_out_of_its_prefix() {
        assert_eq!(filled("out/{subject}", "../../etc/passwd").unwrap(), "out/%2E%2E/%2E%2E/etc/passwd");
        assert_eq!(filled("out/{name}", "a/..").unwrap(), "out/%2E%2E");
        assert_eq!(filled("out/.{name}", "a/.").unwrap(), "out/%2E%2E");
        assert_eq!(filled("out/{subject}", "/abs//x/").unwrap(), "out/abs/x");
        assert_eq!(filled("out/{id}/{subject}", "a\\b\n\u{0}%2e*").unwrap(), "out/1/a%5Cb%0A%00%252e%2A");
        assert_eq!(filled("{subject}", &"ü".repeat(600)).unwrap_err(), "key_too_long");
        assert_eq!(filled("out/{name}", "").unwrap_err(), "key_incomplete");
        assert_eq!(filled("out/{name}", "//").unwrap_err(), "key_incomplete");
        assert_eq!(filled("{subject}", "/").unwrap_err(), "key_incomplete");
        assert_eq!(filled("out/{subject}", "//").unwrap_err(), "key_incomplete");
    }

    /// Row T2.
    #[test]
    fn what_an_event_brings_into_a_key_is_escaped() {
        for (text, escaped) in [
            ("a\"b", "a%22b"),
            ("a\r\nX: 1", "a%0D%0AX: 1"),
            ("a\nb", "a%0Ab"),
            ("a\0b", "a%00b"),
            ("{type}", "%7Btype%7D"),
            ("a\u{2028}b", "a%E2%80%A8b"),
        ] {
            assert_eq!(filled("out/{subject}.json", text).unwrap(), format!("out/{escaped}.json"));
        }
    }

    #[test]
    fn a_template_that_does_not_read_says_why() {
        for bad in ["{nope}", "{type", "/a", "a//b", "../a", "a/./b", &"x".repeat(1025)] {
            assert!(Template::parse("prefix", bad).is_err(), "{bad}");
        }
        let error = Template::parse("prefix", "{tpye}/").unwrap_err();
        assert!(error.help.unwrap().contains("{type}"));
    }

    proptest! {
        #[test]
        fn every_key_is_safe(subject in "\\PC*|[./\\\\%~ ]{0,20}", template in "(out/)?(\\.)?\\{(subject|name|stem)\\}") {
            if let Ok(key) = filled(&template, &subject) {
                prop_assert!(key.len() <= KEY_BYTES_MAX && !key.starts_with('/'));
                prop_assert!(key.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{key}");
                prop_assert!(!key.contains(|c: char| c.is_control() || c == '\\'));
            }
        }
    }
}
