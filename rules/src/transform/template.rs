//! Templates: JSON, or lines of text in quotes, with names in angle brackets.

use std::ops::Range;

use super::{About, PREDEFINED, TEMPLATE_CHARS_MAX, TransformError, Variable};
use crate::codes;
use crate::syntax::json::JsonError;
use crate::syntax::{Value, json};
use crate::units::nearest;

/// A piece of what comes out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(Box<str>),
    Variable { variable: Variable, place: Place },
}

/// Where a name stands, which decides how its value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Where JSON has a value.
    Alone,
    /// In quotes, in JSON.
    InJsonText,
    /// In a line of text.
    InLine,
}

/// A name in its angle brackets.
struct Placeholder<'t> {
    name: &'t str,
    span: Range<usize>,
    in_quotes: bool,
}

/// Takes a template apart; says, too, whether what it makes is one JSON value. `names` are those of the paths.
pub(super) fn read(template: &str, names: &[&str]) -> Result<(Vec<Part>, bool), Vec<TransformError>> {
    let whole = 0..template.len();
    if template.trim_ascii().is_empty() {
        let help = "write one such as '{\"id\": <id>}' or '\"order <id>\"'";
        return Err(vec![refused(whole, "the template is empty", help)]);
    }
    let length = template.chars().count();
    if length > TEMPLATE_CHARS_MAX {
        let message = format!(
            "the template has {length} characters; at most {TEMPLATE_CHARS_MAX} may be there (limit TEMPLATE_CHARS_MAX)"
        );
        let about = About::Template(whole);
        return Err(vec![TransformError { code: codes::TOO_MANY, about, message, help: None }]);
    }
    let mut reading = Reading { template, names, parts: Vec::new(), errors: Vec::new() };
    let is_json = if template.trim_ascii_start().starts_with('"') {
        reading.lines() == 1
    } else {
        reading.json();
        true
    };
    if reading.errors.is_empty() { Ok((reading.parts, is_json)) } else { Err(reading.errors) }
}

struct Reading<'t> {
    template: &'t str,
    names: &'t [&'t str],
    parts: Vec<Part>,
    errors: Vec<TransformError>,
}

impl<'t> Reading<'t> {
    /// Lines of text, each in quotes; says how many.
    fn lines(&mut self) -> usize {
        let mut count = 0;
        let mut start = 0;
        for line in self.template.split_inclusive('\n') {
            let trimmed = line.trim_ascii();
            let at = start + (line.len() - line.trim_ascii_start().len());
            start += line.len();
            if trimmed.is_empty() {
                continue;
            }
            let span = at..at + trimmed.len();
            let placeholders = placeholders(trimmed, at);
            let probe = probe(trimmed, at, &placeholders);
            match json::parse(&probe) {
                Ok(node) if matches!(node.value, Value::String(_)) => {}
                _ if !trimmed.starts_with('"') || !trimmed.ends_with('"') || trimmed.len() < 2 => {
                    let help = "each line of text stands in quotes of its own; in a text, write a new line as \\n";
                    self.errors.push(refused(span.clone(), "this line does not begin and end with a quote", help));
                }
                Ok(_) => {
                    let help = "write the whole line as one text in quotes";
                    self.errors.push(refused(span.clone(), "this line is no text", help));
                }
                Err(error) => self.errors.push(broken(self.template, error, at, "in a text, write \\\" for a quote")),
            }
            if count > 0 {
                self.parts.push(Part::Text("\n".into()));
            }
            count += 1;
            self.take_apart(span, placeholders, Place::InLine);
        }
        count
    }

    /// One JSON value.
    fn json(&mut self) {
        let at = self.template.len() - self.template.trim_ascii_start().len();
        let text = self.template.trim_ascii();
        let placeholders = placeholders(text, at);
        let keys: Vec<Range<usize>> =
            placeholders.iter().filter(|one| self.is_key(one)).map(|one| one.span.clone()).collect();
        let probe = probe(text, at, &placeholders);
        let found = json::parse(&probe).err().filter(|_| keys.is_empty());
        for span in keys {
            let help = "a key is the same for each event; put the name where the value stands";
            self.errors.push(refused(span, "a placeholder cannot be a key, nor a part of one", help));
        }
        if let Some(error) = found {
            if text.starts_with(['{', '[']) {
                let help = "a placeholder stands where JSON has a value, or in a text: {\"id\": <id>, \"note\": \"order <id>\"}";
                self.errors.push(broken(self.template, error, at, help));
            } else {
                let help = format!("put it in quotes: \"{}\"", crate::syntax::shorten(text.replace('"', "\\\"")));
                let message = "the template is text without quotes, of which no payload can be made";
                self.errors.push(refused(at..at + text.len(), message, &help));
            }
        }
        self.take_apart(at..at + text.len(), placeholders, Place::InJsonText);
    }

    /// Whether a placeholder is a key of an object, or stands in one: in sound JSON, a colon follows nothing else.
    fn is_key(&self, placeholder: &Placeholder<'_>) -> bool {
        let mut rest = &self.template[placeholder.span.end..];
        if placeholder.in_quotes {
            let mut escaped = false;
            let end = rest.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &rest[end + 1..]);
        }
        rest.trim_ascii_start().starts_with(':')
    }

    /// Makes parts of what stands at `span`.
    fn take_apart(&mut self, span: Range<usize>, placeholders: Vec<Placeholder<'t>>, in_quotes: Place) {
        let mut from = span.start;
        for placeholder in placeholders {
            let place = if placeholder.in_quotes { in_quotes } else { Place::Alone };
            let Some(variable) = self.variable(&placeholder) else { continue };
            self.push_text(from..placeholder.span.start);
            from = placeholder.span.end;
            self.parts.push(Part::Variable { variable, place });
        }
        self.push_text(from..span.end);
    }

    fn push_text(&mut self, span: Range<usize>) {
        if let Some(text) = self.template.get(span).filter(|text| !text.is_empty()) {
            self.parts.push(Part::Text(text.into()));
        }
    }

    fn variable(&mut self, placeholder: &Placeholder<'_>) -> Option<Variable> {
        let name = placeholder.name;
        if let Some(at) = self.names.iter().position(|known| *known == name) {
            return Some(Variable::Path(at));
        }
        let variable = match name {
            "aws.events.rule-arn" => Variable::RuleArn,
            "aws.events.rule-name" => Variable::RuleName,
            "aws.events.event.ingestion-time" => Variable::IngestionTime,
            "aws.events.event" => Variable::Event,
            "aws.events.event.json" => Variable::EventJson,
            _ => {
                self.errors.push(self.unknown(placeholder));
                return None;
            }
        };
        if placeholder.in_quotes && matches!(variable, Variable::Event | Variable::EventJson) {
            let message = format!("<{name}> is an object and cannot stand in quotes");
            let help = format!("write it as a value: {{\"event\": <{name}>}}");
            self.errors.push(refused(placeholder.span.clone(), message, &help));
            return None;
        }
        Some(variable)
    }

    fn unknown(&self, placeholder: &Placeholder<'_>) -> TransformError {
        let (name, span) = (placeholder.name, placeholder.span.clone());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(fits) {
            let help = "a `<` always begins a placeholder such as <id>; for the sign itself write \\u003c in a text";
            return refused(span, "what stands in these angle brackets is no name", help);
        }
        let message = format!("no path has the name `{name}`");
        let help = match nearest(name, self.names.iter().copied().chain(PREDEFINED)) {
            Some(near) => format!("did you mean <{near}>?"),
            None if self.names.is_empty() => format!("say where it is: paths = {{ {name} = \"data.…\" }}"),
            None => {
                let known: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
                format!("the paths are {}", crate::syntax::shorten(known.join(", ")))
            }
        };
        TransformError { code: codes::UNKNOWN_PLACEHOLDER, about: About::Template(span), message, help: Some(help) }
    }
}

/// The placeholders of a text that begins at `at`. A `<` that is not closed on its line is a sign like any other.
fn placeholders(text: &str, at: usize) -> Vec<Placeholder<'_>> {
    let mut found = Vec::new();
    let (mut in_quotes, mut escaped) = (false, false);
    let mut skip_to = 0;
    for (place, byte) in text.bytes().enumerate() {
        if place < skip_to {
            continue;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            b'<' => {
                let rest = &text[place + 1..];
                let line = rest.split('\n').next().unwrap_or(rest);
                if let Some(end) = line.find('>') {
                    skip_to = place + 1 + end + 1;
                    found.push(Placeholder { name: &line[..end], span: at + place..at + skip_to, in_quotes });
                }
            }
            _ => {}
        }
    }
    found
}

/// The text with something in the place of each placeholder that is as long and can stand where a value can, and
/// nowhere else; so that a mistake is found where it stands.
fn probe(text: &str, at: usize, placeholders: &[Placeholder<'_>]) -> String {
    let mut probe = String::with_capacity(text.len());
    let mut from = 0;
    for Placeholder { span, in_quotes, .. } in placeholders {
        let (start, end) = (span.start - at, span.end - at);
        probe.push_str(text.get(from..start).unwrap_or_default());
        if *in_quotes {
            probe.extend(std::iter::repeat_n('x', end - start));
        } else {
            probe.push_str("[]");
            probe.extend(std::iter::repeat_n(' ', end - start - 2));
        }
        from = end;
    }
    probe.push_str(text.get(from..).unwrap_or_default());
    probe
}

fn refused(span: Range<usize>, message: impl Into<String>, help: &str) -> TransformError {
    let about = About::Template(span);
    TransformError { code: codes::BAD_TEMPLATE, about, message: message.into(), help: Some(help.to_owned()) }
}

/// A text that begins at `at`, and is no JSON.
fn broken(template: &str, error: JsonError, at: usize, help: &str) -> TransformError {
    let place = at + error.at;
    let length = template.get(place..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    refused(place..place + length, format!("the template is no JSON here: {}", error.problem), help)
}
