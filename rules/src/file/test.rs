//! `[[rule.test]]`.

use bytes::Bytes;
use eventyard_event::{Envelope, EventId, Limits, Name, Timestamp, json};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Host, read_tags};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::reader::Table;
use crate::rule::{RuleTest, TestPayload};
use crate::target::{Input, Target};

/// The most tests of one rule; they run at every reload.
pub const TESTS_MAX: usize = 1_000;

/// What is known of the rule whose tests are read.
pub(super) struct Tested<'r> {
    pub(super) namespace: &'r Name,
    /// Where a test's event comes from if the test does not say, and with which tags.
    pub(super) from: &'r [Name],
    pub(super) tags: &'r [String],
    pub(super) targets: &'r [Target],
}

pub(super) fn read_tests(rule: &Table<'_>, host: &Host<'_>, tested: &Tested<'_>) -> Vec<RuleTest> {
    let tables = rule.one_or_more_tables("test", "[[rule.test]]");
    if tables.len() > TESTS_MAX {
        let message = format!("a rule has at most {TESTS_MAX} tests, this one has {}", tables.len());
        rule.refuse("test", codes::TOO_MANY, message, None);
        return Vec::new();
    }
    tables.into_iter().enumerate().filter_map(|(at, table)| read_test(table, host, tested, at + 1)).collect()
}

/// `payload`, with the target and the element that it is of.
fn read_payload(table: &Table<'_>, tested: &Tested<'_>, matches: Option<bool>) -> Option<TestPayload> {
    let wanted = table.json("payload");
    let target = table.name("target");
    let element = table.integer_u32("element", 1..=u32::MAX);
    if !table.has("payload") {
        for key in ["target", "element"].into_iter().filter(|key| table.has(key)) {
            let message = format!("`{key}` means nothing without `payload`");
            table.refuse(key, codes::BAD_VALUE, message, Some("say what the target receives: payload = { … }"));
        }
        return None;
    }
    if matches == Some(false) {
        let help = Some("remove one of the two");
        table.refuse("payload", codes::BAD_VALUE, "of an event that does not match nobody receives anything", help);
        return None;
    }
    let found = match &target {
        Some(name) => tested.targets.iter().find(|known| known.name == *name),
        None => tested.targets.first().filter(|_| tested.targets.len() == 1),
    };
    let Some(found) = found else {
        // A rule whose targets could not be read has been told of that.
        if !tested.targets.is_empty() {
            let names: Vec<String> = tested.targets.iter().map(|known| format!("`{}`", known.name)).collect();
            let help = format!("set `target` to one of {}", names.join(", "));
            let key = if target.is_some() { "target" } else { "payload" };
            table.refuse(key, codes::BAD_VALUE, "the test does not say which target receives this", Some(&help));
        }
        return None;
    };
    if found.input == Some(Input::Object) {
        let message =
            format!("what `{}` receives is fetched for each attempt, and cannot be told beforehand", found.name);
        table.refuse("payload", codes::BAD_VALUE, message, Some("remove `payload`"));
        return None;
    }
    Some(TestPayload { wanted: wanted?, target: found.name.clone(), element: element.unwrap_or(1) })
}

fn read_test(table: Table<'_>, host: &Host<'_>, origin: &Tested<'_>, number: usize) -> Option<RuleTest> {
    let name = table.string("name").unwrap_or_else(|| format!("test {number}"));
    table.require("matches", "say what is expected: matches = true, or matches = false");
    let matches = table.boolean("matches");
    let deliveries = table.integer_u32("deliveries", 0..=u32::MAX).map(u64::from);
    if deliveries.is_some_and(|count| count > 0) && matches == Some(false) {
        let help = Some("remove one of the two");
        table.refuse("deliveries", codes::BAD_VALUE, "an event that does not match makes no deliveries", help);
    }
    let payload = read_payload(&table, origin, matches);
    let source_name = table.name("from").or_else(|| origin.from.first().cloned());
    // Where no source is named that could have tags, the event has those that the rule asks for.
    let tags_given = table.has("tags") || source_name.is_none();
    let own_tags = read_tags(&table, "tags");
    let tags = if table.has("tags") { own_tags } else { origin.tags.to_vec() };
    let text = event_text(&table, host, source_name.as_ref());
    let place = table.place();
    let event = text.and_then(|text| {
        let key = if table.has("event") { "event" } else { "file" };
        match json::read_structured(&Bytes::from(text), &Limits::default()) {
            Ok(read) => Some(read),
            Err(error) => {
                table.refuse(key, codes::BAD_EVENT, format!("the event of this test is none: {error}"), None);
                None
            }
        }
    });
    table.finish();
    let (event, shape) = event?;
    let event = Envelope {
        // Nobody looks at the id and the time of a test's event.
        id: EventId::from_bytes([0; 16]),
        namespace: origin.namespace.clone(),
        source_name: match source_name {
            Some(name) => name,
            None => Name::new("events").ok()?,
        },
        tags,
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: shape.keys_unique,
        event,
    };
    Some(RuleTest { name, event, tags_given, matches: matches?, deliveries, payload, place })
}

/// The event as structured JSON, with what the test left out filled in; the rest as it was written, digit for
/// digit.
fn event_text(table: &Table<'_>, host: &Host<'_>, source: Option<&Name>) -> Option<Vec<u8>> {
    let inline = table.json("event");
    let path = table.filled_string("file");
    if table.has("event") == table.has("file") {
        if table.has("event") {
            let message = "a test has an `event` or a `file`, not both".to_owned();
            let help = Some("remove one of them".to_owned());
            table.reading().refuse(codes::BAD_VALUE, table.place().span, message, help);
        } else {
            let found = Diagnostic::error_at(codes::MISSING_KEY, &table.place(), "a test needs an event")
                .with_help("write event = { type = \"…\", data = { … } }, or file = \"…\"");
            table.lacks(&["event", "file"], found);
        }
        return None;
    }
    let (key, text) = match (inline, path) {
        (Some(Value::Object(members)), _) => ("event", serde_json::to_string(&members).ok()?),
        (Some(_), _) => {
            table.refuse("event", codes::WRONG_TYPE, "`event` takes a table: event = { type = \"…\" }", None);
            return None;
        }
        (None, Some(path)) => match (host.event_file)(&path) {
            Ok(text) => ("file", text),
            Err(problem) => {
                table.refuse(
                    "file",
                    codes::BAD_EVENT,
                    format!("the event file `{path}` cannot be read: {problem}"),
                    None,
                );
                return None;
            }
        },
        (None, None) => return None,
    };
    fill_in(&text, source)
        .map_err(|problem| {
            table.refuse(key, codes::BAD_EVENT, format!("the event of this test is no JSON object: {problem}"), None);
        })
        .ok()
}

fn fill_in(text: &str, source: Option<&Name>) -> Result<Vec<u8>, serde_json::Error> {
    let mut members: Map<String, Value> = Map::new();
    members.insert("specversion".to_owned(), "1.0".into());
    members.insert("id".to_owned(), "test".into());
    members.insert("source".to_owned(), source.map_or("/test".to_owned(), |name| format!("/sources/{name}")).into());
    members.insert("type".to_owned(), "test".into());
    let given: Vec<(String, Box<RawValue>)> = serde_json::from_str::<Members>(text)?.0;
    let mut object = String::from("{");
    for (key, value) in members.iter().filter(|(key, _)| !given.iter().any(|(known, _)| known == *key)) {
        object.push_str(&format!("{}:{value},", Value::String(key.clone())));
    }
    for (key, value) in &given {
        object.push_str(&format!("{}:{},", Value::String(key.clone()), value.get()));
    }
    if object.ends_with(',') {
        object.pop();
    }
    object.push('}');
    Ok(object.into_bytes())
}

/// The members of a JSON object as they were written, repeated ones included.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
