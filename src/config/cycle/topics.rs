//! Rules that send one event round by topics of Kafka: what a sink writes there as it is comes in as it was by a source
//! that reads the topic, and matches again what asks for the same. A circle of several such rules is refused; a rule that
//! feeds itself alone is warned of (`doubtful`). What depends on more than stands in the files ends by its hops.
//!
//! AMQP and NATS are not looked at: their sources take an event of the same `source` and `id` once.

use std::collections::{BTreeMap, VecDeque};

use eventyard_event::Name;
use eventyard_rules::{Diagnostic, Pattern, Place, Report, Rule, TargetTo};
use serde_json::Value;

use super::{OwnIngest, sends_itself, takes_back, text};
use crate::config::codes;
use crate::config::doubtful::{is_data, reads_what_is_written};
use crate::config::load::Known;
use crate::config::sources::ReadSource;

/// How many ways from source to source are held against each other. What a project has beyond them ends by its hops.
const STEPS_MAX: usize = 1_000;

/// A rule takes what one source brings in to where another one reads it.
struct Step<'k> {
    rule: &'k Rule,
    place: &'k Place,
    from: &'k Name,
    to: &'k Name,
}

/// Reports the first certain circle of several rules of each pattern.
pub(super) fn check(known: &Known<'_>, report: &mut Report) {
    // An event that comes back matches for certain what asks for nothing, and what asks for what it matched before.
    let mut by_pattern: BTreeMap<String, Vec<Step<'_>>> = BTreeMap::new();
    for step in steps(known) {
        let pattern = step.rule.pattern.as_ref().map(Pattern::to_json).unwrap_or_default();
        by_pattern.entry(pattern).or_default().push(step);
    }
    let plain = by_pattern.remove("").unwrap_or_default();
    for steps in by_pattern.values() {
        report_first(steps, &plain, report);
    }
    report_first(&plain, &[], report);
}

/// The ways that rules take events as they are.
fn steps<'k>(known: &Known<'k>) -> Vec<Step<'k>> {
    let sources = || known.sources.iter().filter(|source| source.def.enabled && source.def.kind == "kafka");
    // Who reads what each sink writes, found once: there may be very many rules.
    let sinks = known.project.sinks.iter().filter(|sink| sink.enabled && sink.kind == "kafka");
    let readers: BTreeMap<&Name, Vec<&ReadSource>> = sinks
        .map(|sink| {
            let reads =
                |source: &&ReadSource| takes_whole(source) && reads_what_is_written(source, sink.settings.reveal());
            (&sink.name, sources().filter(reads).collect::<Vec<_>>())
        })
        .filter(|(_, readers)| !readers.is_empty())
        .collect();
    let mut steps = Vec::new();
    if readers.is_empty() {
        return steps;
    }
    let rules = known.rules.iter().filter(|read| read.is_whole && read.rule.enabled && read.rule.split.is_none());
    for rule in rules.map(|read| &read.rule) {
        for target in rule.targets.iter().filter(|target| sends_itself(target)) {
            let TargetTo::Sink(name) = &target.to else { continue };
            let Some(readers) = readers.get(name).filter(|_| asks_for_what_comes_back(rule)) else { continue };
            for &to in readers {
                let hears =
                    |from: &&ReadSource| from.def.name != to.def.name && takes_back(rule, &OwnIngest::Source(from));
                let step =
                    |from: &'k ReadSource| Step { rule, place: &target.place, from: &from.def.name, to: &to.def.name };
                steps.extend(sources().filter(hears).map(step));
                if steps.len() >= STEPS_MAX {
                    steps.truncate(STEPS_MAX);
                    return steps;
                }
            }
        }
    }
    steps
}

/// Whether a source takes each event that comes as one, and as it is.
fn takes_whole(source: &ReadSource) -> bool {
    let settings = source.def.settings.shown();
    let codec = text(settings, "codec");
    settings.get("filter").is_none_or(Value::is_null) && matches!(codec, "" | "auto" | "cloudevents")
}

/// Whether a rule looks only at what an event has again when it comes back. Its extensions are texts then.
fn asks_for_what_comes_back(rule: &Rule) -> bool {
    let known = |path: &str| matches!(path, "type" | "source" | "subject" | "id") || is_data(path);
    rule.pattern.as_ref().is_none_or(|pattern| pattern.paths().iter().all(|path| known(path)))
}

/// Reports the first circle that goes by one of `steps`, and else by these and `plain`.
fn report_first(steps: &[Step<'_>], plain: &[Step<'_>], report: &mut Report) {
    let Some(circle) = steps.iter().find_map(|first| circle(first, steps, plain)) else { return };
    let Some(last) = circle.last() else { return };
    let way = circle.iter().map(|step| format!("`{}` by `{}`", step.from, step.rule.name));
    let way: Vec<String> = way.chain([format!("`{}`", last.to)]).collect();
    let message = format!("each event goes round for ever: {}", way.join(" → "));
    let found = Diagnostic::error_at(codes::EVENT_CYCLE, last.place, message);
    report.push(found.with_label("this target closes the circle").with_help(
        "let one of the rules ask for something that no event has that went round, or make a new event of another type",
    ));
}

/// The shortest way from where a step leads to where it begins, that step included.
fn circle<'s>(first: &'s Step<'s>, steps: &'s [Step<'s>], plain: &'s [Step<'s>]) -> Option<Vec<&'s Step<'s>>> {
    let mut came_by: BTreeMap<&Name, &Step<'_>> = BTreeMap::from([(first.to, first)]);
    let mut reached = VecDeque::from([first.to]);
    while let Some(at) = reached.pop_front() {
        if at == first.from {
            let mut way = Vec::new();
            let mut step = *came_by.get(at)?;
            while !std::ptr::eq(step, first) {
                way.push(step);
                step = came_by.get(step.from)?;
            }
            way.push(first);
            way.reverse();
            return Some(way);
        }
        for step in steps.iter().chain(plain).filter(|step| step.from == at) {
            if !came_by.contains_key(step.to) {
                came_by.insert(step.to, step);
                reached.push_back(step.to);
            }
        }
    }
    None
}
