//! What rules say that is legal and surely not meant. All of it is warned of, and nothing that could be meant: a
//! warning that is wrong once is read no more.

use std::collections::HashMap;

use eventyard_event::{Envelope, Name};
use eventyard_rules::cesql::Expression;
use eventyard_rules::file::ReadRule;
use eventyard_rules::{Diagnostic, Input, Oddity, Pattern, Report, Rule, TargetTo, View, nearest, reference};
use serde_json::{Value, json};

use super::codes;
use super::load::Known;
use super::sources::{OWN_SOURCE, ReadSource};

/// Reports what is doubtful about the rules that are enabled.
pub(super) fn check(known: &Known<'_>, report: &mut Report) {
    let rules: Vec<&ReadRule> = known.rules.iter().filter(|read| read.is_whole && read.rule.enabled).collect();
    for read in &rules {
        check_matching(read, report);
        check_feeding(known, read, report);
    }
    check_repeated(&rules, report);
    // Of the last good project the files of test events are not kept.
    if known.has_test_events {
        check_fields(&rules, report);
    }
}

/// Rules that match nothing, and wildcards that match everything.
fn check_matching(read: &ReadRule, report: &mut Report) {
    let rule = &read.rule;
    if let Some(tag) = rule.tags.iter().find(|tag| rule.not_tags.contains(tag)) {
        let message =
            format!("the rule `{}` never matches: it asks for the tag `{tag}` and for its absence", rule.name);
        let found = Diagnostic::error_at(codes::RULE_NEVER_MATCHES, &read.name_place, message);
        report.push(found.with_help("take the tag out of tags or out of not_tags").as_warning());
    }
    for oddity in rule.pattern.iter().flat_map(Pattern::oddities) {
        let found = match oddity {
            Oddity::NeverMatches { path, why, help } => {
                let message = format!("the rule `{}` never matches, because of its field `{path}`: {why}", rule.name);
                Diagnostic::error_at(codes::RULE_NEVER_MATCHES, &read.name_place, message).with_help(help)
            }
            Oddity::OnlyStar { path } => {
                let message = format!("the rule `{}` asks for any text at `{path}` by the wildcard `*`", rule.name);
                Diagnostic::error_at(codes::WILDCARD_ONLY_STAR, &read.name_place, message).with_help(
                    "write { exists = true } for a field that is there, or { prefix = \"\" } for any text; a star \
                     itself is \\*",
                )
            }
        };
        report.push(found.as_warning());
    }
}

/// Two rules that say the same: their targets hear of each event twice.
fn check_repeated(rules: &[&ReadRule], report: &mut Report) {
    // Most rules differ in their patterns, so that only few are compared whole.
    let mut alike: HashMap<String, Vec<&ReadRule>> = HashMap::with_capacity(rules.len());
    // Of two that give senders their answer, and of two of one name, more is said elsewhere.
    let answers = |read: &&&ReadRule| read.rule.targets.iter().any(|target| target.reply);
    for read in rules.iter().filter(|read| !answers(read)) {
        let others = alike.entry(summary(&read.rule)).or_default();
        let first = others
            .iter()
            .take(COMPARED_MAX)
            .find(|other| other.rule.name != read.rule.name && other.rule.says_the_same_as(&read.rule));
        if let Some(first) = first {
            let message = format!(
                "the rule `{}` says the same as `{}`: their targets hear of each event twice",
                read.rule.name, first.rule.name
            );
            let found = Diagnostic::error_at(codes::RULE_REPEATED, &read.name_place, message);
            let found = found.with_label("the second one").with_related(&first.name_place, "the first one");
            report.push(found.with_help("leave out one of them").as_warning());
        } else {
            others.push(read);
        }
    }
}

/// What two rules that say the same have in common.
fn summary(rule: &Rule) -> String {
    let mut summary = rule.pattern.as_ref().map(Pattern::to_json).unwrap_or_default();
    let names = rule.from.iter().map(Name::as_str).chain([rule.namespace.as_str()]);
    let names = names.chain(rule.targets.iter().map(|target| target.name.as_str()));
    for part in names.chain(rule.when.as_ref().map(Expression::text)) {
        summary.push('\n');
        summary.push_str(part);
    }
    summary
}

/// With how many rules of one summary a rule is compared: to compare each with each would take the longer the more there
/// are.
const COMPARED_MAX: usize = 8;

/// Fields that no test event has, of rules that have tests.
fn check_fields(rules: &[&ReadRule], report: &mut Report) {
    for read in rules.iter().filter(|read| !read.rule.tests.is_empty()) {
        for path in read.rule.pattern.iter().flat_map(Pattern::required_paths) {
            let Some(is_there) = exists(path) else { continue };
            let has = |read: &ReadRule| {
                let mut events = read.rule.tests.iter().map(|test| &test.event);
                events.any(|event| reference::matches(&is_there, &View::new(event)))
            };
            // What another rule's tests show to exist is no mistake either.
            let mut others = rules.iter().filter(|other| other.rule.namespace == read.rule.namespace);
            if has(read) || others.any(|other| has(other)) {
                continue;
            }
            let message = format!("the rule `{}` asks for `{path}`, which no test event has", read.rule.name);
            let found = Diagnostic::error_at(codes::FIELD_UNKNOWN, &read.name_place, message);
            let paths: Vec<String> = read.rule.tests.iter().flat_map(|test| data_paths(&test.event)).collect();
            let found = match nearest(path, paths.iter().map(String::as_str)) {
                Some(near) => found.with_label(format!("did you mean `{near}`?")),
                None => found,
            };
            report.push(found.with_help("mend its name, or add a [[rule.test]] whose event has it").as_warning());
        }
    }
}

fn exists(path: &str) -> Option<Pattern> {
    Pattern::from_json(&json!({ path: [{ "exists": true }] }).to_string()).ok()
}

/// The paths of an event's data, down to the leaves; enough of them to suggest one.
fn data_paths(event: &Envelope) -> Vec<String> {
    const PATHS_MAX: usize = 200;
    let data: Option<Value> = event.event.data.json().and_then(|json| serde_json::from_slice(json).ok());
    let mut paths = Vec::new();
    let mut left: Vec<(String, Value)> = data.map(|data| ("data".to_owned(), data)).into_iter().collect();
    while let Some((path, value)) = left.pop() {
        match value {
            _ if paths.len() >= PATHS_MAX => break,
            Value::Object(members) => {
                left.extend(members.into_iter().map(|(key, value)| (format!("{path}.{key}"), value)));
            }
            Value::Array(items) => left.extend(items.into_iter().map(|item| (path.clone(), item))),
            _ => paths.push(path),
        }
    }
    paths
}

/// Rules that bring in again what they match. Where that is certain from the type alone, the circle is refused
/// (`cycle`); here the data decides, which comes back as it was.
fn check_feeding(known: &Known<'_>, read: &ReadRule, report: &mut Report) {
    let rule = &read.rule;
    // What an expression or a tag makes of the event that comes back is not known.
    if rule.when.is_some() || !rule.tags.is_empty() || !rule.not_tags.is_empty() {
        return;
    }
    for target in &rule.targets {
        let (what, help) = match &target.to {
            TargetTo::Event(event) => {
                let own = format!("/rules/{}/{}", rule.namespace, rule.name);
                let source = event.source.as_deref().unwrap_or(&own);
                let made = [("type", event.ty.as_str()), ("source", source)];
                let hears = rule.from.is_empty() || rule.from.iter().any(|from| from.as_str() == OWN_SOURCE);
                if !hears || !looks_at_data(rule) || !matches_again(rule, &made) {
                    continue;
                }
                (
                    "makes an event with the same data, which it matches again".to_owned(),
                    "give the new event a type, and ask for another one in the pattern",
                )
            }
            TargetTo::Sink(name) => {
                let Some(sink) = known.project.sinks.iter().find(|sink| sink.name == *name && sink.enabled) else {
                    continue;
                };
                let fed = known.sources.iter().find(|source| {
                    source.def.enabled
                        && source.def.kind == sink.kind
                        && source.def.namespace == rule.namespace
                        && (rule.from.is_empty() || rule.from.contains(&source.def.name))
                        && reads_what_is_written(source, sink.settings.reveal())
                });
                let raw = matches!(target.input.clone().unwrap_or_else(|| target.to.default_input()), Input::Raw);
                let Some(fed) = fed.filter(|source| raw && matches_again(rule, &made_by_source(source))) else {
                    continue;
                };
                (
                    format!(
                        "writes to what the source `{}` reads, and matches again what comes from there",
                        fed.def.name
                    ),
                    "let the sink write elsewhere, or the rule ask for events of other sources",
                )
            }
            _ => continue,
        };
        let message = format!("the rule `{}` feeds itself: it {what}", rule.name);
        let found = Diagnostic::error_at(codes::RULE_FEEDS_ITSELF, &target.place, message);
        report.push(found.with_label("this target").with_help(help).as_warning());
    }
}

fn looks_at_data(rule: &Rule) -> bool {
    rule.pattern.as_ref().is_some_and(|pattern| pattern.paths().iter().any(|path| is_data(path)))
}

pub(super) fn is_data(path: &str) -> bool {
    path == "data" || path.starts_with("data.")
}

/// Whether a rule matches its event again when it comes back with these attributes and the same data.
fn matches_again(rule: &Rule, made: &[(&str, &str)]) -> bool {
    let known = |path: &str| is_data(path) || made.iter().any(|(name, _)| *name == path);
    rule.pattern
        .as_ref()
        .is_none_or(|pattern| pattern.paths().iter().all(|path| known(path)) && pattern.may_match(made))
}

/// What is known of the events of a source; nothing where its messages may be events themselves.
fn made_by_source(source: &ReadSource) -> Vec<(&str, &str)> {
    let ty = source.def.settings.reveal().get("type").and_then(Value::as_str);
    ty.map(|ty| ("type", ty)).into_iter().collect()
}

/// Whether a source reads where a sink of its kind writes.
pub(super) fn reads_what_is_written(source: &ReadSource, sink: &Value) -> bool {
    let reads = source.def.settings.reveal();
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let all = |settings: &Value, key: &str| settings.get(key).map(texts).unwrap_or_default();
    let shares = |read: &str, written: &str| {
        let written = all(sink, written);
        all(reads, read).iter().any(|place| written.contains(place))
    };
    match source.def.kind.as_str() {
        "kafka" => shares("brokers", "brokers") && shares("topics", "topic"),
        "nats" => shares("servers", "servers") && shares("subject", "subject"),
        // The default exchange leads to the queue that the key names; any other where the queue is bound to it.
        "amqp" if all(sink, "exchange").iter().all(String::is_empty) => {
            shares("url", "url") && shares("queue", "routing_key")
        }
        "amqp" => {
            let bound = all(reads, "routing_key");
            let hears_all = bound.is_empty() || bound.iter().any(|key| key == "#");
            shares("url", "url")
                && shares("exchange", "exchange")
                && (hears_all || shares("routing_key", "routing_key"))
        }
        _ => false,
    }
}
