//! Rules that feed each other without end.
//!
//! An `event` target makes a new event, and rules may match that again. A circle of such rules is refused where it is
//! certain: each rule of it matches what the one before makes, whatever the data. Where a pattern looks at anything
//! that the new event inherits, the circle may end by itself; there the broker counts the hops of an event
//! and gives it up after 16.

use std::collections::BTreeMap;

use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
use eventyard_rules::file::ReadRule;
use eventyard_rules::{Diagnostic, EventTarget, Place, Report, Rule, RuleSet, TargetTo};

use super::codes;
use super::sources::OWN_SOURCE;

/// Reports each certain circle of rules once.
pub(super) fn check(read: &[ReadRule], report: &mut Report) {
    let makers: Vec<(usize, &EventTarget, &Place)> = read
        .iter()
        .enumerate()
        .filter(|(_, read)| read.is_whole && read.rule.enabled)
        .flat_map(|(at, read)| {
            read.rule.targets.iter().filter_map(move |target| match &target.to {
                TargetTo::Event(event) => Some((at, event, &target.place)),
                _ => None,
            })
        })
        .collect();
    if makers.is_empty() {
        return;
    }
    let rules: Vec<&Rule> = read.iter().map(|read| &read.rule).collect();
    // Only rules that make events can be part of a circle, and only certain matches count.
    let sets: BTreeMap<usize, RuleSet> = makers
        .iter()
        .filter_map(|(at, _, _)| rules.get(*at).map(|rule| (*at, RuleSet::compile(vec![(*rule).clone()]))))
        .collect();
    let mut next: BTreeMap<usize, Vec<(usize, &Place)>> = BTreeMap::new();
    for (from, event, place) in &makers {
        let Some(maker) = rules.get(*from) else { continue };
        let Some(made) = made_by(maker, event) else { continue };
        for (to, set) in &sets {
            let certain = rules.get(*to).is_some_and(|rule| is_certain(rule, event));
            if certain && !set.matches(&made).is_empty() {
                next.entry(*from).or_default().push((*to, place));
            }
        }
    }
    report_circles(&rules, &next, report);
}

/// The event that a target makes, as far as it is known without the event that it is made from.
fn made_by(rule: &Rule, target: &EventTarget) -> Option<Envelope> {
    let source = target.source.clone().unwrap_or_else(|| format!("/rules/{}/{}", rule.namespace, rule.name));
    Some(Envelope {
        id: EventId::from_bytes([0; 16]),
        namespace: rule.namespace.clone(),
        source_name: Name::new(OWN_SOURCE).ok()?,
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: "made".to_owned(),
            source,
            ty: target.ty.clone(),
            subject: target.subject.clone(),
            data: Data::None,
            ..Event::default()
        },
    })
}

/// Whether a rule looks at nothing but what the target decides.
fn is_certain(rule: &Rule, target: &EventTarget) -> bool {
    let known = |path: &str| matches!(path, "type" | "source") || path == "subject" && target.subject.is_some();
    rule.tags.is_empty()
        && rule.not_tags.is_empty()
        && rule.pattern.as_ref().is_none_or(|pattern| pattern.paths().iter().all(|path| known(path)))
}

/// Walks from each rule along what it feeds; a rule that is met again on its own way closes a circle.
fn report_circles(rules: &[&Rule], next: &BTreeMap<usize, Vec<(usize, &Place)>>, report: &mut Report) {
    let mut done: Vec<bool> = vec![false; rules.len()];
    for &start in next.keys() {
        // A way is a list of rules, each with the branch to be tried next: a stack of our own, for the longest way
        // is as long as there are rules.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some(&(at, branch)) = way.last() {
            let step = next.get(&at).and_then(|steps| steps.get(branch)).copied();
            let Some((to, place)) = step.filter(|_| !done.get(at).copied().unwrap_or(true)) else {
                if let Some(done) = done.get_mut(at) {
                    *done = true;
                }
                way.pop();
                continue;
            };
            if let Some(last) = way.last_mut() {
                last.1 += 1;
            }
            if let Some(first) = way.iter().position(|(seen, _)| *seen == to) {
                let circle: Vec<usize> = way.iter().skip(first).map(|(rule, _)| *rule).collect();
                report.push(circle_found(rules, &circle, place));
            } else {
                way.push((to, 0));
            }
        }
    }
}

fn circle_found(rules: &[&Rule], circle: &[usize], place: &Place) -> Diagnostic {
    let names: Vec<String> = circle
        .iter()
        .chain(circle.first())
        .filter_map(|at| rules.get(*at))
        .map(|rule| format!("`{}`", rule.name))
        .collect();
    let message = format!("each event goes round for ever: {}", names.join(" → "));
    Diagnostic::error_at(codes::EVENT_CYCLE, place, message)
        .with_label("this event target closes the circle")
        .with_help("give the new event a type that no rule of the circle matches")
}
