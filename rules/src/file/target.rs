//! `target = { … }` and `[[rule.target]]`.

use std::collections::BTreeMap;
use std::time::Duration;

use eventyard_event::{Name, media_type};

use super::input::read_input;
use super::retry::read_retry;
use super::{Host, TARGETS_MAX};
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::reader::Table;
use crate::target::{AnswerEvent, EventTarget, Input, Target, TargetTo};

/// The longest one attempt may take. A delivery that runs for longer than a day is no delivery.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The most attempts of one target at once; each holds a process or a connection.
pub const CONCURRENCY_MAX: u32 = 10_000;

/// How large an object may be that a target receives, from and to, in bytes: it is held in memory for as long as the
/// attempt takes, once for each that is made at once.
pub const OBJECT_BYTES_RANGE: (u64, u64) = (1, 1024 * 1024 * 1024);

/// The keys of which a target has exactly one.
const KINDS: [&str; 5] = ["function", "sink", "channel", "http", "event"];

pub(super) fn read_targets(rule: &Table<'_>, host: &Host<'_>) -> Vec<Target> {
    if !rule.has("target") {
        // Asked for all the same, so that it counts among the keys that exist.
        let _ = rule.value("target");
        let message = format!("{} has no target, so it has nothing to do", rule.title());
        let found = Diagnostic::error_at(codes::RULE_WITHOUT_TARGET, &rule.place(), message)
            .with_help("add [[rule.target]] with one of function, sink, channel, http and event");
        rule.lacks(&["target"], found);
        return Vec::new();
    }
    let tables = rule.one_or_more_tables("target", "[[rule.target]]");
    if tables.len() > TARGETS_MAX {
        let message = format!("a rule has at most {TARGETS_MAX} targets, this one has {}", tables.len());
        rule.refuse("target", codes::TOO_MANY, message, Some("make several rules of it"));
        return Vec::new();
    }
    let mut named: BTreeMap<Name, Place> = BTreeMap::new();
    let mut targets = Vec::new();
    for table in tables {
        let Some(target) = read_target(table, host) else { continue };
        if let Some(first) = named.get(&target.name) {
            let message = format!("{} has two targets named `{}`", rule.title(), target.name);
            rule.reading().push(
                Diagnostic::error_at(codes::TARGET_DUPLICATE, &target.place, message)
                    .with_label("the second one")
                    .with_related(first, "the first one")
                    .with_help("give one of them a name of its own: name = \"…\""),
            );
            continue;
        }
        named.insert(target.name.clone(), target.place.clone());
        targets.push(target);
    }
    if targets.is_empty() && rule.value("target").is_some_and(|v| v.get_ref().as_array().is_some_and(|a| a.is_empty()))
    {
        let message = format!("{} has an empty list of targets", rule.title());
        rule.refuse("target", codes::RULE_WITHOUT_TARGET, message, None);
    }
    targets
}

fn read_target(table: Table<'_>, host: &Host<'_>) -> Option<Target> {
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    let place = match given.first() {
        Some(kind) => table.place_of(kind),
        None => table.place(),
    };
    let to = read_to(&table, &given, host);
    let name = table.name("name");
    let reply = read_reply(&table, to.as_ref());
    let retry = read_retry(&table);
    let timeout = table.duration("timeout", Duration::from_millis(1)..=TIMEOUT_MAX);
    let concurrency = table.integer_u32("concurrency", 1..=CONCURRENCY_MAX);
    let input = read_input(&table, host);
    let object_bytes_max = table.size("object_max", OBJECT_BYTES_RANGE.0..=OBJECT_BYTES_RANGE.1);
    if object_bytes_max.is_some() && input != Some(Input::Object) {
        let help = Some("set input = \"object\", or leave it out");
        table.refuse("object_max", codes::BAD_VALUE, "`object_max` means nothing without `input = \"object\"`", help);
    }
    let answer = read_answer(&table, to.as_ref());
    let named = table.has("name");
    table.finish();
    let to = to?;
    let name = match (name, named) {
        (Some(name), _) => name,
        (None, true) => return None,
        (None, false) => match &to {
            TargetTo::Function { name, .. } | TargetTo::Sink(name) | TargetTo::Channel(name) => name.clone(),
            TargetTo::Http(_) | TargetTo::Event(_) => Name::new(to.kind()).ok()?,
        },
    };
    Some(Target { name, to, retry, timeout, concurrency, input, object_bytes_max, answer, reply, place })
}

/// `reply = true`: senders that wait are given this target's answer.
fn read_reply(table: &Table<'_>, to: Option<&TargetTo>) -> bool {
    let reply = table.boolean("reply").unwrap_or(false);
    if let Some(to) = to.filter(|to| reply && !to.can_reply()) {
        let message = match to {
            TargetTo::Event(_) => "an `event` target answers nothing: it makes another event",
            _ => "a channel tells people and answers nobody",
        };
        table.refuse(
            "reply",
            codes::BAD_VALUE,
            message,
            Some("set reply = true on a function, an http target or a sink"),
        );
        return false;
    }
    reply
}

/// `answer = { type = "…" }`: the function's answer goes on as a new event.
fn read_answer(table: &Table<'_>, to: Option<&TargetTo>) -> Option<AnswerEvent> {
    let answer = table.table("answer", "answer")?;
    let content_type = answer.filled_string("content_type");
    if let Some(text) = content_type.as_deref().filter(|text| !media_type::is_well_formed(text)) {
        let message = format!("`{}` is no media type", text.escape_default());
        answer.refuse("content_type", codes::BAD_VALUE, message, Some("write one such as \"text/plain\""));
    }
    let event = read_event(answer, "answer")?;
    if to.is_some_and(|to| !matches!(to, TargetTo::Function { .. })) {
        let help = Some("a rule for what a sink answers has nothing to go by; set it on a function");
        table.refuse("answer", codes::BAD_VALUE, "only a function's answer goes on as an event", help);
        return None;
    }
    Some(AnswerEvent { event, content_type })
}

fn read_to(table: &Table<'_>, given: &[&str], host: &Host<'_>) -> Option<TargetTo> {
    // Each is asked for, so that all of them count among the keys that exist.
    for kind in KINDS {
        let _ = table.value(kind);
    }
    let &[kind] = given else {
        let message = if given.is_empty() {
            "a target calls something: one of `function`, `sink`, `channel`, `http` and `event`".to_owned()
        } else {
            format!("a target calls one thing, not {} of them", given.len())
        };
        let mut diagnostic = Diagnostic::error_at(codes::TARGET_AMBIGUOUS, &table.place(), message);
        if given.is_empty() {
            table.lacks(&KINDS, diagnostic.with_help("for instance function = \"NAME\""));
            return None;
        }
        diagnostic = diagnostic.with_help("make a [[rule.target]] of each");
        for kind in given {
            diagnostic = diagnostic.with_related(&table.place_of(kind), format!("`{kind}`"));
        }
        table.reading().push(diagnostic);
        return None;
    };
    match kind {
        "function" => read_function(table),
        "sink" => table.name("sink").map(TargetTo::Sink),
        "channel" => table.name("channel").map(TargetTo::Channel),
        "http" => (host.http_target)(table.table("http", "http")?).map(TargetTo::Http),
        _ => read_event(table.table("event", "event")?, "event").map(TargetTo::Event),
    }
}

fn read_function(table: &Table<'_>) -> Option<TargetTo> {
    let text = table.filled_string("function")?;
    let (name, qualifier) = match text.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (text.as_str(), None),
    };
    if qualifier.is_some() {
        let message = format!("aliases and versions are not in this version: `{text}`");
        let help = format!("write function = \"{name}\"");
        table.refuse("function", codes::NOT_IN_THIS_VERSION, message, Some(&help));
        return None;
    }
    match Name::new(name) {
        Ok(name) => Some(TargetTo::Function { name, qualifier: None }),
        Err(problem) => {
            table.refuse("function", codes::BAD_NAME, format!("`{name}` is no name: {problem}"), None);
            None
        }
    }
}

fn read_event(table: Table<'_>, key: &str) -> Option<EventTarget> {
    table.require("type", &format!("say what the new event is: {key} = {{ type = \"…\" }}"));
    let ty = table.filled_string("type");
    let source = table.filled_string("source");
    let subject = table.filled_string("subject");
    let own = ty.as_ref().is_some_and(|ty| ty.starts_with("eventyard."));
    if own {
        let help = Some("types that begin with `eventyard.` are the broker's own");
        table.refuse("type", codes::BAD_VALUE, "a rule cannot make an event of the broker's own types", help);
    }
    table.finish();
    Some(EventTarget { ty: ty.filter(|_| !own)?, source, subject })
}
