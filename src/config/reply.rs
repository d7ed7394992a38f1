//! Who answers a sender that waits.
//!
//! A source with `reply = "sync"` gives its senders the answer of one target: the first, in the order of the files,
//! of the rules that match the event and have a target with `reply = true`. So a rule for everything may stand behind
//! rules for something and answers what they leave. What is refused is a target that could never answer, because one
//! before it answers everything; what is warned of is a sender that never gets an answer, and an answer that nobody
//! waits for.

use std::collections::BTreeMap;

use eventyard_event::Name;
use eventyard_rules::{Diagnostic, Place, Report, Rule, Target};

use super::codes;
use super::load::Known;
use super::sources::ReadSource;

/// Reports targets that cannot answer, and sources that nobody answers.
pub(super) fn check(known: &Known<'_>, report: &mut Report) {
    let waiting: Vec<&ReadSource> = known.sources.iter().filter(|source| waits(source)).collect();
    // By source: who answers everything that comes from it.
    let mut answers_all: BTreeMap<&Name, &Place> = BTreeMap::new();
    let mut answered: Vec<&Name> = Vec::new();
    let rules_are_whole = known.rules.iter().all(|read| read.is_whole);
    for read in known.rules.iter().filter(|read| read.rule.enabled) {
        let answering: Vec<&Target> = read.rule.targets.iter().filter(|target| target.reply).collect();
        let Some(first) = answering.first() else { continue };
        if let Some(second) = answering.get(1) {
            report.push(second_in_rule(first, second));
        }
        let heard: Vec<&ReadSource> = waiting.iter().copied().filter(|source| may_match(&read.rule, source)).collect();
        if heard.is_empty() {
            if known.main_is_whole && read.is_whole {
                report.push(nobody_waits(first, &waiting));
            }
            continue;
        }
        let before: Vec<&Place> =
            heard.iter().filter_map(|source| answers_all.get(&source.def.name).copied()).collect();
        if let Some(earlier) = before.first().filter(|_| before.len() == heard.len() && read.is_whole) {
            report.push(shadowed(read.rule.name.as_str(), first, earlier));
        }
        for source in heard {
            answered.push(&source.def.name);
            if read.rule.pattern.is_none() && read.is_whole {
                answers_all.entry(&source.def.name).or_insert(&first.place);
            }
        }
    }
    for source in waiting.iter().filter(|source| rules_are_whole && !answered.contains(&&source.def.name)) {
        report.push(nobody_answers(source));
    }
}

fn waits(source: &ReadSource) -> bool {
    source.def.enabled && source.http.as_ref().is_some_and(|http| http.reply_timeout().is_some())
}

/// Whether a rule can match anything that comes from a source.
fn may_match(rule: &Rule, source: &ReadSource) -> bool {
    let tags = &source.def.tags;
    rule.namespace == source.def.namespace
        && (rule.from.is_empty() || rule.from.contains(&source.def.name))
        && rule.tags.iter().all(|tag| tags.contains(tag))
        && !rule.not_tags.iter().any(|tag| tags.contains(tag))
}

fn second_in_rule(first: &Target, second: &Target) -> Diagnostic {
    let message = format!("the targets `{}` and `{}` of one rule would both answer", first.name, second.name);
    Diagnostic::error_at(codes::REPLY_SHADOWED, &second.place, message)
        .with_label("the second one")
        .with_related(&first.place, "the first one")
        .with_help("a sender gets one answer: leave reply = true at one of them")
}

fn shadowed(rule: &str, target: &Target, earlier: &Place) -> Diagnostic {
    let message = format!("the target `{}` of the rule `{rule}` can never answer", target.name);
    Diagnostic::error_at(codes::REPLY_SHADOWED, &target.place, message)
        .with_label("this one comes later")
        .with_related(earlier, "answers everything that comes from there")
        .with_help("put the rule for everything behind this one, or take reply = true from one of them")
}

fn nobody_waits(target: &Target, waiting: &[&ReadSource]) -> Diagnostic {
    let message = format!("nobody waits for the answer of the target `{}`", target.name);
    let help = match waiting.first() {
        None => "set reply = \"sync\" on an http source whose events this rule matches".to_owned(),
        Some(source) => format!(
            "the rule matches nothing that comes from a source with reply = \"sync\", such as `{}`",
            source.def.name
        ),
    };
    Diagnostic::error_at(codes::REPLY_UNUSED, &target.place, message).with_help(help).as_warning()
}

fn nobody_answers(source: &ReadSource) -> Diagnostic {
    let message = format!("senders to the source `{}` wait for an answer, and no target gives one", source.def.name);
    Diagnostic::error_at(codes::REPLY_UNUSED, &source.place, message)
        .with_help("set reply = true on a target of a rule that matches its events, or remove reply = \"sync\"")
        .as_warning()
}
