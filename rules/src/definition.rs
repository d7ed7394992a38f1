//! What a rule says, as bytes that are the same in every run, for the hash of a rule set.

use std::collections::BTreeMap;
use std::time::Duration;

use eventyard_event::Name;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::path::Path;
use crate::rule::{OrderAfterDead, Rule};
use crate::target::{EventTarget, Input, RetryOverrides, Target, TargetTo};
use crate::text::HIDDEN;

/// The hash of all rules. Their order, descriptions, tests and places in files do not count; neither do secrets,
/// of which nothing may get to the disk, not even a hash.
pub(crate) fn hash(rules: &[Rule]) -> [u8; 16] {
    let text = |rule: &Rule| serde_json::to_string(&Definition::of(rule)).unwrap_or_default();
    let mut definitions: Vec<String> = rules.iter().map(text).collect();
    definitions.sort_unstable();
    let mut sum = Sha256::new();
    // The number changes when the form below does.
    sum.update(b"eventyard rules 1\n");
    for definition in &definitions {
        // JSON text holds no bare newline, so definitions cannot run into each other.
        sum.update(definition.as_bytes());
        sum.update(b"\n");
    }
    let mut short = [0; 16];
    short.iter_mut().zip(sum.finalize()).for_each(|(short, byte)| *short = byte);
    short
}

impl Rule {
    /// Whether another rule asks for the same events and calls the same targets, whatever it is called.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Rule) -> bool {
        Definition { name: "", ..Definition::of(self) } == Definition { name: "", ..Definition::of(other) }
    }
}

/// What counts of a rule, as JSON in this order.
#[derive(PartialEq, Serialize)]
struct Definition<'r> {
    name: &'r str,
    namespace: &'r str,
    enabled: bool,
    from: Vec<&'r str>,
    tags: Vec<&'r str>,
    not_tags: Vec<&'r str>,
    pattern: Option<String>,
    order_by: Option<&'r str>,
    order_after_dead: &'static str,
    retry: Value,
    targets: Vec<Value>,
    // Only where they are there, so that rules without them keep the hash that they had.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'r str>,
}

impl Definition<'_> {
    fn of(rule: &Rule) -> Definition<'_> {
        Definition {
            name: rule.name.as_str(),
            namespace: rule.namespace.as_str(),
            enabled: rule.enabled,
            from: sorted(rule.from.iter().map(Name::as_str)),
            tags: sorted(rule.tags.iter().map(String::as_str)),
            not_tags: sorted(rule.not_tags.iter().map(String::as_str)),
            pattern: rule.pattern.as_ref().map(crate::Pattern::to_json),
            order_by: rule.order_by.as_ref().map(Path::as_str),
            order_after_dead: match rule.order_after_dead {
                OrderAfterDead::Continue => "continue",
                OrderAfterDead::Wait => "wait",
            },
            retry: retry(rule.retry),
            targets: rule.targets.iter().map(target).collect(),
            when: rule.when.as_ref().map(|when| when.text()),
            split: rule.split.as_ref().map(Path::as_str),
        }
    }
}

fn sorted<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut texts: Vec<&str> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn target(target: &Target) -> Value {
    let to = match &target.to {
        TargetTo::Function { name, qualifier } => json!({"function": name.as_str(), "qualifier": qualifier}),
        TargetTo::Sink(name) => json!({"sink": name.as_str()}),
        TargetTo::Channel(name) => json!({"channel": name.as_str()}),
        TargetTo::Http(settings) => json!({"http": settings.shown()}),
        TargetTo::Event(event) => json!({"event": [event.ty, event.source, event.subject]}),
    };
    let mut definition = json!({
        "name": target.name.as_str(),
        "to": to,
        "retry": retry(target.retry),
        "timeout_ms": target.timeout.map(millis),
        "concurrency": target.concurrency,
        "input": target.input.as_ref().map(input),
    });
    // Only where they are there, so that rules without them keep the hash that they had.
    if let Some(bytes) = target.object_bytes_max {
        definition["object_bytes_max"] = bytes.into();
    }
    if let Some(answer) = &target.answer {
        let EventTarget { ty, source, subject } = &answer.event;
        definition["answer"] = json!([ty, source, subject, answer.content_type]);
    }
    definition
}

fn input(input: &Input) -> Value {
    match input {
        Input::Event => "event".into(),
        Input::Data => "data".into(),
        Input::Raw => "raw".into(),
        Input::Object => "object".into(),
        Input::Template(transform) => json!({
            "paths": transform.paths().map(|(name, path)| (name, path.to_string())).collect::<BTreeMap<_, _>>(),
            "template": if transform.is_hidden() { HIDDEN } else { transform.template() },
            "strict": transform.is_strict(),
        }),
    }
}

fn retry(retry: RetryOverrides) -> Value {
    json!([
        retry.attempts,
        retry.max_age.map(millis),
        retry.backoff.map(millis),
        retry.backoff_max.map(millis),
        retry.jitter
    ])
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
