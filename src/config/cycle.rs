//! Rules that feed each other without end.
//!
//! An `event` target makes a new event, and rules may match that again; an `http` target, or a sink of kind `http`, may
//! post to this very broker. A function's answer may go on as an event (`answer`), and a sink of kind `s3` may write to
//! where a source of this project looks for objects. A circle of such rules is refused where it is certain: each rule of it matches what the
//! one before makes, whatever the data. Where a pattern looks at anything that is not known here, the circle may end
//! by itself; there the broker counts the hops of an event and gives it up after 16.

mod topics;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use eventyard_event::{Data, Envelope, Event, EventId, Name, Text, Timestamp, format_text};
use eventyard_rules::{Diagnostic, EventTarget, Input, Place, Report, Rule, RuleSet, Target, TargetTo};
use serde_json::Value;
use url::{Host, Url};

use super::codes;
use super::load::Known;
use super::sources::{OWN_SOURCE, ReadSource};

/// The source of what is posted to `/events`.
const POSTED_SOURCE: &str = "events";

/// What a target makes, as far as it is known without the event that it is made from.
struct Maker<'k> {
    /// The rule of the target, by its place.
    rule: usize,
    place: &'k Place,
    made: Envelope,
    /// What to do where it closes a circle.
    help: &'static str,
    /// Whether `made` has the tags and the subject that the new event will have.
    tags_known: bool,
    subject_known: bool,
}

/// Where in this broker an address leads.
enum OwnIngest<'k> {
    Events,
    Source(&'k ReadSource),
}

/// Reports each certain circle of rules once.
pub(super) fn check(known: &Known<'_>, report: &mut Report) {
    topics::check(known, report);
    let read = known.rules;
    let mut makers: Vec<Maker<'_>> = Vec::new();
    for (at, read) in read.iter().enumerate().filter(|(_, read)| read.is_whole && read.rule.enabled) {
        for target in &read.rule.targets {
            let answer = target.answer.iter();
            makers.extend(answer.filter_map(|answer| made_by(at, &read.rule, &answer.event, &target.place)));
            makers.extend(written(known, at, target));
            match (&target.to, http_settings(known, target)) {
                (TargetTo::Event(event), _) => makers.extend(made_by(at, &read.rule, event, &target.place)),
                (_, Some(settings)) => match own_ingest(known, settings) {
                    Some(ingest) if sends_itself(target) => {
                        let circle = takes_back(&read.rule, &ingest).then(|| returned(&read.rule, &target.place));
                        circle.into_iter().for_each(|found| report.push(found));
                    }
                    Some(OwnIngest::Source(source)) => makers.extend(posted(at, source, &target.place)),
                    _ => {}
                },
                _ => {}
            }
        }
    }
    if makers.is_empty() {
        return;
    }
    // Only rules that make events can be part of a circle, and only certain matches count. They are one compiled set,
    // so that many rules with `event` targets are not each held against each.
    let rules: Vec<&Rule> = read.iter().map(|read| &read.rule).collect();
    let mut making: Vec<usize> = makers.iter().map(|maker| maker.rule).collect();
    making.dedup();
    let certain = making.into_iter().filter_map(|at| rules.get(at)).filter(|rule| looks_only_at(rule, true));
    let set = RuleSet::compile(certain.map(|rule| (*rule).clone()).collect());
    let places: HashMap<(&Name, &Name), usize> =
        rules.iter().enumerate().map(|(at, rule)| ((&rule.namespace, &rule.name), at)).collect();
    let mut next: BTreeMap<usize, Vec<(usize, &Maker<'_>)>> = BTreeMap::new();
    for maker in &makers {
        let fed = set.matches(&maker.made).into_iter().filter(|rule| {
            looks_only_at(rule, maker.subject_known)
                && (maker.tags_known || rule.tags.is_empty() && rule.not_tags.is_empty())
        });
        let fed = fed.filter_map(|rule| places.get(&(&rule.namespace, &rule.name)));
        next.entry(maker.rule).or_default().extend(fed.map(|to| (*to, maker)));
    }
    report_circles(&rules, &next, report);
}

/// The event that an `event` target makes.
fn made_by<'k>(at: usize, rule: &Rule, target: &EventTarget, place: &'k Place) -> Option<Maker<'k>> {
    let source = || format_text!("/rules/{}/{}", rule.namespace, rule.name);
    let event = Event {
        source: target.source.as_deref().map_or_else(source, Text::from),
        ty: target.ty.as_str().into(),
        subject: target.subject.as_deref().map(Text::from),
        ..Event::default()
    };
    let made = envelope(&rule.namespace, &Name::new(OWN_SOURCE).ok()?, event);
    Some(Maker { rule: at, place, made, help: NEW_TYPE, tags_known: false, subject_known: target.subject.is_some() })
}

/// The event that an http source of this broker makes of data that is posted to it.
fn posted<'k>(at: usize, source: &ReadSource, place: &'k Place) -> Option<Maker<'k>> {
    let endpoint = source.http.as_ref()?;
    let path = endpoint.path().as_str();
    let ty = source.def.settings.shown().get("type").and_then(Value::as_str).unwrap_or("http.received");
    let event = Event {
        source: format_text!("/sources/{}", source.def.name),
        ty: ty.into(),
        subject: Some(path.into()),
        ..Event::default()
    };
    let made = Envelope { tags: source.def.tags.clone(), ..envelope(&source.def.namespace, &source.def.name, event) };
    Some(Maker { rule: at, place, made, help: NEW_TYPE, tags_known: true, subject_known: !path.contains('{') })
}

/// The events that sources of this project make of the objects that a target writes.
fn written<'k>(known: &Known<'k>, at: usize, target: &'k Target) -> Vec<Maker<'k>> {
    let TargetTo::Sink(name) = &target.to else { return Vec::new() };
    let Some(sink) = known.project.sinks.iter().find(|sink| sink.name == *name && sink.kind == "s3") else {
        return Vec::new();
    };
    let sink = sink.settings.reveal();
    // What every key begins with, up to the first thing that depends on the event.
    let beginning = text(sink, "prefix").split('{').next().unwrap_or_default();
    let watches = |source: &&ReadSource| {
        let settings = source.def.settings.reveal();
        let same = |key| text(settings, key).trim_end_matches('/') == text(sink, key).trim_end_matches('/');
        source.def.enabled
            && source.def.kind == "s3"
            && same("endpoint")
            && same("bucket")
            && beginning.starts_with(text(settings, "prefix"))
    };
    let made = known.sources.iter().filter(watches).map(|source| {
        let ty = source.def.settings.shown().get("type").and_then(Value::as_str).unwrap_or("s3.object_created");
        let event = Event { source: format_text!("/sources/{}", source.def.name), ty: ty.into(), ..Event::default() };
        let made =
            Envelope { tags: source.def.tags.clone(), ..envelope(&source.def.namespace, &source.def.name, event) };
        Maker { rule: at, place: &target.place, made, help: OTHER_PREFIX, tags_known: true, subject_known: false }
    });
    made.collect()
}

/// A text of a block's settings; empty where there is none.
fn text<'v>(settings: &'v Value, key: &str) -> &'v str {
    settings.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What to do where events make each other.
const NEW_TYPE: &str = "give the new event a type that no rule of the circle matches";

/// What to do where an object brings in the next.
const OTHER_PREFIX: &str = "let the sink write below another prefix than the source looks at";

fn envelope(namespace: &Name, source_name: &Name, event: Event) -> Envelope {
    Envelope {
        id: EventId::from_bytes([0; 16]),
        namespace: namespace.clone(),
        source_name: source_name.clone(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event: Event { id: "made".into(), data: Data::None, ..event },
    }
}

/// Whether a rule looks at nothing but what is known of a new event.
fn looks_only_at(rule: &Rule, subject_known: bool) -> bool {
    let known = |path: &str| matches!(path, "type" | "source") || path == "subject" && subject_known;
    rule.pattern.as_ref().is_none_or(|pattern| pattern.paths().iter().all(|path| known(path)))
}

/// The settings of the address that a target sends to by HTTP.
fn http_settings<'k>(known: &Known<'k>, target: &'k Target) -> Option<&'k Value> {
    match &target.to {
        TargetTo::Http(settings) => Some(settings.reveal()),
        TargetTo::Sink(name) => {
            let sink = known.project.sinks.iter().find(|sink| sink.name == *name && sink.kind == "http")?;
            Some(sink.settings.reveal())
        }
        _ => None,
    }
}

/// Whether a target sends the event with its own id and type, which the broker takes as they are.
fn sends_itself(target: &Target) -> bool {
    let default = target.to.default_input();
    matches!(target.input.as_ref().unwrap_or(&default), Input::Raw | Input::Event)
}

/// Where an address leads in this broker, as far as it takes what is posted there without proof.
fn own_ingest<'k>(known: &Known<'k>, settings: &Value) -> Option<OwnIngest<'k>> {
    let server = &known.project.server;
    let url = Url::parse(settings.get("url")?.as_str()?).ok()?;
    let host = match url.host()? {
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
        Host::Domain(name) => match (name.trim_end_matches('.'), server.listen.ip()) {
            ("localhost", IpAddr::V4(_)) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ("localhost", IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => return None,
        },
    };
    let listen = server.listen;
    let is_ours = host == listen.ip() || listen.ip().is_unspecified() && host.is_loopback();
    if !is_ours || url.port_or_known_default() != Some(listen.port()) {
        return None;
    }
    let method = settings.get("method").and_then(Value::as_str).unwrap_or("POST");
    if url.path() == "/events" {
        return (server.token.is_none() && method == "POST").then_some(OwnIngest::Events);
    }
    let source = known.sources.iter().find(|source| {
        source.def.enabled
            && source.http.as_ref().is_some_and(|endpoint| {
                !endpoint.demands_proof()
                    && endpoint.methods().iter().any(|known| known.as_str() == method)
                    && endpoint.path().parameters(url.path()).is_some()
            })
    });
    source.map(OwnIngest::Source)
}

/// Whether a rule matches an event again that comes back to the broker as it was.
fn takes_back(rule: &Rule, ingest: &OwnIngest<'_>) -> bool {
    let (name, tags, namespace) = match ingest {
        OwnIngest::Events => (POSTED_SOURCE, &[][..], Name::default_namespace()),
        OwnIngest::Source(source) => {
            (source.def.name.as_str(), source.def.tags.as_slice(), source.def.namespace.clone())
        }
    };
    rule.namespace == namespace
        && (rule.from.is_empty() || rule.from.iter().any(|from| from.as_str() == name))
        && rule.tags.iter().all(|tag| tags.contains(tag))
        && !rule.not_tags.iter().any(|tag| tags.contains(tag))
        // What an expression makes of the event when it comes back is not known.
        && rule.when.is_none()
        && rule.pattern.as_ref().is_none_or(|pattern| !pattern.paths().iter().any(|path| &**path == "tags"))
}

fn returned(rule: &Rule, place: &Place) -> Diagnostic {
    let message =
        format!("the rule `{}` posts each event that it matches to this broker, where it matches again", rule.name);
    Diagnostic::error_at(codes::EVENT_CYCLE, place, message).with_label("this address is the broker's own").with_help(
        "to make a new event of one, write event = { type = \"…\" } with a type that the rule does not match",
    )
}

/// Walks from each rule along what it feeds; a rule that is met again on its own way closes a circle.
fn report_circles(rules: &[&Rule], next: &BTreeMap<usize, Vec<(usize, &Maker<'_>)>>, report: &mut Report) {
    let mut done: Vec<bool> = vec![false; rules.len()];
    for &start in next.keys() {
        // A way is a list of rules, each with the branch to be tried next: a stack of our own, for the longest way
        // is as long as there are rules.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some(&(at, branch)) = way.last() {
            let step = next.get(&at).and_then(|steps| steps.get(branch)).copied();
            let Some((to, maker)) = step.filter(|_| !done.get(at).copied().unwrap_or(true)) else {
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
                report.push(circle_found(rules, &circle, maker));
            } else {
                way.push((to, 0));
            }
        }
    }
}

fn circle_found(rules: &[&Rule], circle: &[usize], maker: &Maker<'_>) -> Diagnostic {
    let names: Vec<String> = circle
        .iter()
        .chain(circle.first())
        .filter_map(|at| rules.get(*at))
        .map(|rule| format!("`{}`", rule.name))
        .collect();
    let message = format!("each event goes round for ever: {}", names.join(" → "));
    Diagnostic::error_at(codes::EVENT_CYCLE, maker.place, message)
        .with_label("this target closes the circle")
        .with_help(maker.help)
}
