//! What stands at a path: a piece of the event's own text, so that every number keeps its spelling.

use std::borrow::Cow;

use eventyard_event::{Data, Envelope, Event, ExtensionValue, json};

use super::Subject;
use crate::compiled::scan::{Quoted, Scanner};

/// One step of a path, downwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Names that follow each other, with dots between them.
    Names(Box<str>),
    Index(usize),
    All,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'e> {
    /// One JSON value, as text, without space around it.
    Json(Cow<'e, str>),
    /// A text that stands in no JSON: an attribute.
    Text(Cow<'e, str>),
}

pub(super) fn find<'e>(subject: Subject<'e>, steps: &[Step]) -> Option<Value<'e>> {
    match subject {
        Subject::Json(text) => in_json(text.trim_ascii(), steps).map(Value::Json),
        Subject::Element { event, element } => match steps.split_first() {
            Some((Step::Names(names), rest)) if let Some(below) = below(names, "element") => {
                in_data(element.as_bytes(), below, rest).map(Value::Json)
            }
            _ => find(Subject::Event(event), steps),
        },
        Subject::Event(envelope) => match steps.split_first() {
            Some((Step::Names(names), rest)) => in_event(envelope, names, rest),
            // What asks for everything sees the event as CloudEvents JSON.
            _ => {
                let whole = whole(subject);
                in_json(&whole, steps).map(|found| Value::Json(Cow::Owned(found.into_owned())))
            }
        },
    }
}

/// What follows the first of some names, where that is `first`.
fn below<'n>(names: &'n str, first: &str) -> Option<Option<&'n str>> {
    match names.strip_prefix(first)? {
        "" => Some(None),
        rest => rest.strip_prefix('.').map(Some),
    }
}

fn in_event<'e>(envelope: &'e Envelope, names: &str, rest: &[Step]) -> Option<Value<'e>> {
    let (name, below) = names.split_once('.').map_or((names, None), |(name, below)| (name, Some(below)));
    if name == "data" {
        return match envelope.event.seen_data()?.json {
            Cow::Borrowed(data) => in_data(data, below, rest).map(Value::Json),
            Cow::Owned(data) => in_data(&data, below, rest).map(|found| Value::Json(Cow::Owned(found.into_owned()))),
        };
    }
    let found = if name == "tags" {
        let tags = serde_json::to_string(&envelope.tags).ok()?;
        Value::Json(Cow::Owned(in_json(&tags, rest)?.into_owned()))
    } else {
        attribute(&envelope.event, name).filter(|_| rest.is_empty())?
    };
    below.is_none().then_some(found)
}

/// What names with dots between them lead to below a JSON text; all of it without any.
pub(crate) fn at_names<'j>(json: &'j str, names: Option<&str>) -> Option<&'j str> {
    let json = json.trim_ascii();
    let Some(names) = names else { return Some(json) };
    match by_names(json, names, &[])? {
        Cow::Borrowed(found) => Some(found),
        // Only a `*` makes a list that is not in the text.
        Cow::Owned(_) => None,
    }
}

fn in_data<'d>(data: &'d [u8], below: Option<&str>, rest: &[Step]) -> Option<Cow<'d, str>> {
    let data = std::str::from_utf8(data).ok()?.trim_ascii();
    match below {
        Some(names) => by_names(data, names, rest),
        None => in_json(data, rest),
    }
}

fn attribute<'e>(event: &'e Event, name: &str) -> Option<Value<'e>> {
    let text = |text: &'e str| Value::Text(Cow::Borrowed(text));
    Some(match name {
        "specversion" => text("1.0"),
        "id" => text(&event.id),
        "source" => text(&event.source),
        "type" => text(&event.ty),
        "subject" => text(event.subject.as_deref()?),
        "time" => text(event.time.as_deref()?),
        "datacontenttype" => text(event.datacontenttype.as_deref()?),
        "dataschema" => text(event.dataschema.as_deref()?),
        _ => match event.extensions.get(name)? {
            ExtensionValue::String(value) => text(value),
            ExtensionValue::Integer(value) => Value::Json(Cow::Owned(value.to_string())),
            ExtensionValue::Boolean(value) => Value::Json(Cow::Borrowed(if *value { "true" } else { "false" })),
        },
    })
}

/// The whole event as JSON.
pub(super) fn whole(subject: Subject<'_>) -> Cow<'_, str> {
    match subject {
        Subject::Json(text) => Cow::Borrowed(text.trim_ascii()),
        Subject::Event(envelope) | Subject::Element { event: envelope, .. } => {
            Cow::Owned(text_of(envelope.structured_json()))
        }
    }
}

/// The event as JSON without its payload: EventBridge leaves out `detail` and writes `detailType` for `detail-type`.
pub(super) fn without_payload(subject: Subject<'_>) -> String {
    match subject {
        Subject::Event(envelope) | Subject::Element { event: envelope, .. } => {
            let event = Event { data: Data::None, ..envelope.event.clone() };
            text_of(json::write_structured(&event))
        }
        Subject::Json(text) => {
            let mut out = String::with_capacity(text.len().min(1024));
            out.push('{');
            for (key, value) in members(text.trim_ascii()) {
                let key = match &*key {
                    "detail" => continue,
                    "detail-type" => "detailType",
                    key => key,
                };
                if out.len() > 1 {
                    out.push(',');
                }
                crate::syntax::write_string(key, &mut out);
                out.push(':');
                out.push_str(value);
            }
            out.push('}');
            out
        }
    }
}

fn text_of(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_default()
}

/// What `steps` lead to. With a `*` among them it is a list of all that they lead to; nothing where even the first
/// `*` has nothing to go through.
fn in_json<'j>(json: &'j str, steps: &[Step]) -> Option<Cow<'j, str>> {
    match steps.split_first() {
        None => Some(Cow::Borrowed(json)),
        Some((Step::Names(names), rest)) => by_names(json, names, rest),
        Some((Step::Index(index), rest)) => in_json(elements(json).nth(*index)?, rest),
        Some((Step::All, rest)) => {
            let mut list = String::from("[");
            if !json.starts_with(['{', '[']) {
                return None;
            }
            gather(json, rest, &mut list);
            list.push(']');
            Some(Cow::Owned(list))
        }
    }
}

/// Adds all that `rest` leads to from each child of `json`, with commas.
fn gather(json: &str, rest: &[Step], list: &mut String) {
    let mut add = |child: &str| {
        // Lists in lists are laid flat, as JSONPath does with more than one `*`.
        let (before, after) = rest.split_at(rest.iter().position(|step| *step == Step::All).unwrap_or(rest.len()));
        let Some(found) = in_json(child, before) else { return };
        match after.split_first() {
            Some((_, after)) => gather(&found, after, list),
            None => {
                if list.len() > 1 {
                    list.push(',');
                }
                list.push_str(&found);
            }
        }
    };
    if json.starts_with('[') {
        elements(json).for_each(&mut add);
    } else {
        members(json).for_each(|(_, value)| add(value));
    }
}

/// What `names`, then `rest`, lead to: of a key that is there twice, to the last one that leads anywhere. A key may hold
/// several of the names, with dots between them.
fn by_names<'j>(json: &'j str, names: &str, rest: &[Step]) -> Option<Cow<'j, str>> {
    let mut last = None;
    for (key, value) in members(json) {
        let found = match names.strip_prefix(&*key) {
            Some("") => in_json(value, rest),
            Some(below) => below.strip_prefix('.').and_then(|below| by_names(value, below, rest)),
            None => None,
        };
        last = found.or(last);
    }
    last
}

/// The members of an object; none of anything else.
fn members(json: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let mut scanner = Scanner::new(json.as_bytes());
    let is_object = enter(&mut scanner, b'{');
    std::iter::from_fn(move || {
        if !is_object || !next(&mut scanner) {
            return None;
        }
        let key = decoded(json, scanner.string()?)?;
        scanner.skip_space();
        if scanner.peek() != b':' {
            return None;
        }
        scanner.at += 1;
        Some((key, value(json, &mut scanner)?))
    })
}

/// The elements of a list; none of anything else.
pub(crate) fn elements(json: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(json.as_bytes());
    let is_list = enter(&mut scanner, b'[');
    std::iter::from_fn(move || if is_list && next(&mut scanner) { value(json, &mut scanner) } else { None })
}

fn enter(scanner: &mut Scanner<'_>, bracket: u8) -> bool {
    scanner.skip_space();
    let opens = scanner.peek() == bracket;
    scanner.at += usize::from(opens);
    opens
}

/// Goes to the next child; false at the end.
fn next(scanner: &mut Scanner<'_>) -> bool {
    scanner.skip_space();
    if scanner.peek() == b',' {
        scanner.at += 1;
        scanner.skip_space();
    }
    !matches!(scanner.peek(), b']' | b'}' | 0)
}

fn value<'j>(json: &'j str, scanner: &mut Scanner<'j>) -> Option<&'j str> {
    scanner.skip_space();
    let start = scanner.at;
    scanner.skip_value();
    if scanner.at == start {
        return None;
    }
    json.get(start..scanner.at).map(str::trim_ascii_end)
}

/// The text of a key.
fn decoded(json: &str, quoted: Quoted) -> Option<Cow<'_, str>> {
    if quoted.has_escapes {
        return serde_json::from_str(json.get(quoted.start - 1..=quoted.end)?).ok().map(Cow::Owned);
    }
    json.get(quoted.start..quoted.end).map(Cow::Borrowed)
}
