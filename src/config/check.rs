//! Holds what the files say about each other: names that must exist, names that must differ, paths that must not
//! overlap, and what may not be reached from other machines.

use std::collections::BTreeMap;

use eventyard_event::Name;
use eventyard_rules::file::ReadRule;
use eventyard_rules::{Diagnostic, FieldVerdict, Place, Report, TargetTo, Wrong, nearest};

use super::codes;
use super::load::{Known, failing_tests};
use super::project::Project;
use super::server::check_listen;
use super::sources::{RESERVED_NAMES, ReadSource};
use super::{cycle, doubtful, reply};

/// Paths of the broker's own, and everything below those that end with a slash.
const RESERVED_PATHS: [&str; 8] = ["/", "/ui/", "/api/", "/events", "/healthz", "/readyz", "/metrics", "/2015-03-31/"];

/// Rules that a project may have, over all files.
pub(super) const RULES_MAX: usize = 250_000;

/// Reports everything that is wrong between files and blocks.
pub(super) fn check(known: &Known<'_>, report: &mut Report) {
    if let Some(found) = check_listen(&known.project.server, known.listen_place) {
        report.push(found);
    }
    check_sources(known, report);
    check_feeds(known, report);
    if let Some(beyond) = known.rules.get(RULES_MAX) {
        let message = format!("the project has {} rules, over the limit RULES_MAX of {RULES_MAX}", known.rules.len());
        let found = Diagnostic::error_at(eventyard_rules::codes::TOO_MANY, &beyond.name_place, message);
        report.push(found.with_help("say the same with fewer: a list of values instead of a rule for each"));
    }
    check_rule_names(known.rules, report);
    let callees = Callees::of(known.project);
    for read in known.rules {
        check_from(known, read, report);
        check_targets(known, &callees, read, report);
    }
    cycle::check(known, report);
    reply::check(known, report);
    doubtful::check(known, report);
}

fn check_sources(known: &Known<'_>, report: &mut Report) {
    let exposed = !known.project.server.listen.ip().is_loopback();
    let http: Vec<&ReadSource> = known.sources.iter().filter(|source| source.http.is_some()).collect();
    for (at, source) in http.iter().enumerate() {
        let Some(endpoint) = &source.http else { continue };
        if let Some(reserved) = reserved_path(endpoint.path().as_str()) {
            let message = format!("`{reserved}` belongs to the broker");
            report.push(
                Diagnostic::error_at(codes::RESERVED_PATH, &source.path_place, message)
                    .with_help("choose another path, such as \"/hooks/NAME\""),
            );
        }
        if exposed && source.def.enabled && !endpoint.states_proof() {
            let message =
                format!("the source `{}` takes requests from other machines and proves none", source.def.name);
            report.push(Diagnostic::error_at(codes::VERIFY_REQUIRED, &source.place, message).with_help(
                "set a preset, or verify = { kind = \"hmac\", … }; verify = { kind = \"none\" } says that it is meant",
            ));
        }
        let before = http.iter().take(at).filter(|first| first.def.enabled && source.def.enabled);
        for first in before {
            let overlap = first.http.as_ref().is_some_and(|other| {
                other.path().overlaps(endpoint.path())
                    && other.methods().iter().any(|method| endpoint.methods().contains(method))
            });
            if overlap {
                let message =
                    format!("the sources `{}` and `{}` would answer the same path", first.def.name, source.def.name);
                report.push(
                    Diagnostic::error_at(codes::PATH_TAKEN, &source.path_place, message)
                        .with_label("the second one")
                        .with_related(&first.path_place, "the first one")
                        .with_help("give one of them another path, or other methods"),
                );
            }
        }
    }
}

/// A source that is made of another one needs that one, and it has to take messages.
fn check_feeds(known: &Known<'_>, report: &mut Report) {
    for source in known.sources {
        let Some((from, place)) = &source.from else { continue };
        let Some(feeding) = known.sources.iter().find(|other| other.def.name == *from) else {
            let names: Vec<&str> = known.sources.iter().map(|source| source.def.name.as_str()).collect();
            report.push(unknown(codes::UNKNOWN_SOURCE, place, "source", from, &names));
            continue;
        };
        let kind = feeding.def.kind.as_str();
        if matches!(kind, "http" | "timer" | "s3") {
            let message = format!("the source `{from}` is of the kind `{kind}`, which takes no messages from a queue");
            report
                .push(Diagnostic::error_at(eventyard_rules::codes::BAD_VALUE, place, message).with_help(
                    "name a source that does; a store that calls by HTTP needs notifications = \"webhook\"",
                ));
        } else if source.def.enabled && !feeding.def.enabled {
            let message = format!("the source `{from}` is not enabled, so `{}` hears nothing", source.def.name);
            let found = Diagnostic::error_at(codes::NOT_ENABLED, place, message);
            report.push(found.with_help(format!("set enabled = true in [source.{from}]")).as_warning());
        }
    }
}

fn reserved_path(path: &str) -> Option<&'static str> {
    RESERVED_PATHS.into_iter().find(|reserved| {
        // The first segment is the broker's, whether a slash follows or not; a parameter there would catch it.
        let own = reserved.trim_matches('/').split('/').next().unwrap_or("");
        let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
        if own.is_empty() { path == "/" } else { first == own || first.starts_with('{') }
    })
}

fn check_rule_names(rules: &[ReadRule], report: &mut Report) {
    let mut named: BTreeMap<(&Name, &Name), &Place> = BTreeMap::new();
    for read in rules {
        let key = (&read.rule.namespace, &read.rule.name);
        if let Some(first) = named.get(&key) {
            let message = format!("there are two rules named `{}` in the namespace `{}`", key.1, key.0);
            report.push(
                Diagnostic::error_at(codes::RULE_DUPLICATE, &read.name_place, message)
                    .with_label("the second one")
                    .with_related(first, "the first one")
                    .with_help("rename one of them; pending deliveries follow a rule's name"),
            );
        } else {
            named.insert(key, &read.name_place);
        }
    }
}

fn check_from(known: &Known<'_>, read: &ReadRule, report: &mut Report) {
    let project = known.project;
    for (name, place) in read.rule.from.iter().zip(&read.from_places) {
        let source = project.sources.iter().find(|source| source.name == *name);
        let namespace = source.map(|source| &source.namespace);
        match namespace {
            // What comes by `POST /events`, and the broker's own events.
            None if RESERVED_NAMES.contains(&name.as_str()) => {}
            None if known.main_is_whole => {
                let names: Vec<&str> = project.sources.iter().map(|source| source.name.as_str()).collect();
                report.push(unknown(codes::UNKNOWN_SOURCE, place, "source", name, &names));
            }
            None => {}
            Some(namespace) if *namespace != read.rule.namespace => {
                report.push(elsewhere(place, "source", name, namespace, &read.rule.namespace));
            }
            Some(_) => {}
        }
    }
}

/// What a target's name may stand for.
#[derive(Clone, Copy)]
struct Named<'p> {
    namespace: &'p Name,
    enabled: bool,
}

/// All functions, sinks and channels by name.
struct Callees<'p> {
    functions: BTreeMap<&'p Name, Named<'p>>,
    sinks: BTreeMap<&'p Name, Named<'p>>,
    channels: BTreeMap<&'p Name, Named<'p>>,
}

impl<'p> Callees<'p> {
    fn of(project: &'p Project) -> Callees<'p> {
        let named = |namespace, enabled| Named { namespace, enabled };
        Callees {
            functions: project.functions.iter().map(|one| (&one.name, named(&one.namespace, one.enabled))).collect(),
            sinks: project.sinks.iter().map(|one| (&one.name, named(&one.namespace, one.enabled))).collect(),
            channels: project.channels.iter().map(|one| (&one.name, named(&one.namespace, one.enabled))).collect(),
        }
    }
}

fn check_targets(known: &Known<'_>, callees: &Callees<'_>, read: &ReadRule, report: &mut Report) {
    for target in &read.rule.targets {
        let (what, name, all) = match &target.to {
            TargetTo::Function { name, .. } => ("function", name, &callees.functions),
            TargetTo::Sink(name) => ("sink", name, &callees.sinks),
            TargetTo::Channel(name) => ("channel", name, &callees.channels),
            TargetTo::Http(_) | TargetTo::Event(_) => continue,
        };
        match all.get(name) {
            None if known.main_is_whole => {
                let names: Vec<&str> = all.keys().map(|name| name.as_str()).collect();
                report.push(unknown(codes::UNKNOWN_TARGET, &target.place, what, name, &names));
            }
            None => {}
            Some(found) if *found.namespace != read.rule.namespace => {
                report.push(elsewhere(&target.place, what, name, found.namespace, &read.rule.namespace));
            }
            Some(found) if !found.enabled && read.rule.enabled => {
                let message =
                    format!("the {what} `{name}` is not enabled, so what is sent to it ends in the dead letters");
                let warning = Diagnostic::error_at(codes::NOT_ENABLED, &target.place, message)
                    .with_help(format!("set enabled = true in [{what}.{name}], or enabled = false in the rule"));
                report.push(warning.as_warning());
            }
            Some(_) => {}
        }
    }
}

fn unknown(code: &'static str, place: &Place, what: &str, name: &Name, names: &[&str]) -> Diagnostic {
    let found = Diagnostic::error_at(code, place, format!("there is no {what} `{name}`"));
    let found = match nearest(name.as_str(), names.iter().copied()) {
        Some(near) => found.with_label(format!("did you mean `{near}`?")),
        None => found,
    };
    if names.is_empty() {
        found.with_help(format!("add [{what}.{name}] to eventyard.toml"))
    } else {
        // More names than that help nobody.
        let shown: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > shown.len() { " and others" } else { "" };
        let verb = if shown.len() == 1 { "is" } else { "are" };
        found.with_help(format!("there {verb} {}{more}", shown.join(", ")))
    }
}

fn elsewhere(place: &Place, what: &str, name: &Name, there: &Name, here: &Name) -> Diagnostic {
    let message = format!("the {what} `{name}` is in the namespace `{there}`, and the rule in `{here}`");
    Diagnostic::error_at(codes::OTHER_NAMESPACE, place, message)
        .with_help("a rule sees and calls only what is in its own namespace")
}

/// Runs the rules' own tests, and reports those that do not come out as they say.
pub(super) fn run_tests(project: &Project, report: &mut Report) {
    if project.rules.iter().all(|rule| rule.tests.is_empty()) {
        return;
    }
    for failure in failing_tests(project) {
        let (rule, test) = (&failure.rule.name, &failure.test.name);
        let help = match (&failure.wrong, failure.explanation.matched) {
            (Wrong::Deliveries { .. }, _) => "mend `split`, or the test's `deliveries`".to_owned(),
            (Wrong::Payload { .. }, _) => "mend the target's `input`, or the test's `payload`".to_owned(),
            (Wrong::Match, true) => "tighten the pattern, or set matches = true".to_owned(),
            (Wrong::Match, false) => {
                let wrong = failure.explanation.fields.iter().filter(|field| !field.ok).map(why);
                wrong.collect::<Vec<_>>().join("; ")
            }
        };
        let verdict = failure.verdict();
        let message = format!("the test `{test}` of the rule `{rule}` fails: {verdict}");
        report.push(
            Diagnostic::error_at(codes::RULE_TEST_FAILED, &failure.test.place, message)
                .with_related(&failure.rule.place, "the rule")
                .with_help(help),
        );
    }
}

/// Why a field does not fit, in one line.
fn why(field: &FieldVerdict) -> String {
    let found = field.found.as_deref().unwrap_or("nothing");
    let note = field.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{} is {found}, wanted is {}{note}", field.path, field.wanted)
}
