//! What is loaded: rules, their targets, sources, channels; and reading it all again.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use eventyard_connectors::source::{Seek, SeekError};
use eventyard_connectors::supervise::SourceState;
use eventyard_event::Name;
use eventyard_rules::{Rule, Target, TargetTo};
use eventyard_store::QueueKey;

use super::events::event_once;
use super::problem::Problem;
use super::query::Query;
use super::requests::{self, Nothing, SeekRequest};
use super::views::{
    ChannelItem, ChannelTested, DeliveryItem, EventItem, List, NoteItem, ReloadView, RuleItem, RuleTarget, SourceItem,
    TargetItem,
};
use super::{Api, Segment, codes, json, seen_through};
use crate::alert::ChannelTestError;
use crate::in_force::{Feed, InForce};
use crate::reload::ReloadRefused;
use crate::sources::{FireError, SeekFailed, SourceView};

/// How long a channel's test is followed: as long as its first attempt may take, and a little.
const TEST_WAIT: Duration = Duration::from_secs(35);

/// `GET /api/v1/rules`.
pub(super) async fn rules(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(json(&List::whole(api.broker.in_force().project.rules.iter().map(rule_item).collect())))
}

/// `GET /api/v1/rules/{name}`.
pub(super) async fn rule(State(api): State<Api>, name: Segment, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let name: Name = name.parse("rule")?;
    let in_force = api.broker.in_force();
    let rule = in_force.project.rules.iter().find(|rule| rule.name == name);
    Ok(json(&rule_item(rule.ok_or_else(|| no_rule(&name, &in_force.project.rules))?)))
}

pub(super) fn no_rule<'r>(name: &Name, among: impl IntoIterator<Item = &'r Rule>) -> Problem {
    let known = among.into_iter().map(|rule| &rule.name);
    Problem::nothing_among("rule", name.as_str(), "eventyard rules list", known)
}

fn rule_item(rule: &Rule) -> RuleItem {
    RuleItem {
        name: rule.name.clone(),
        namespace: rule.namespace.clone(),
        description: rule.description.clone(),
        state: active(rule.enabled),
        file: rule.place.file.to_string(),
        from: rule.from.clone(),
        tags: rule.tags.clone(),
        not_tags: rule.not_tags.clone(),
        pattern: rule
            .pattern
            .as_ref()
            .and_then(|pattern| serde_json::value::RawValue::from_string(pattern.to_json()).ok()),
        when: rule.when.as_ref().map(|when| when.text().to_owned()),
        order_by: rule.order_by.as_ref().map(ToString::to_string),
        split: rule.split.as_ref().map(ToString::to_string),
        targets: rule.targets.iter().map(rule_target).collect(),
    }
}

fn rule_target(target: &Target) -> RuleTarget {
    RuleTarget { name: target.name.clone(), kind: target.to.kind().to_owned(), to: calls(&target.to) }
}

/// Whom a target calls, without secrets.
fn calls(to: &TargetTo) -> String {
    match to {
        TargetTo::Function { name, qualifier: None } => name.to_string(),
        TargetTo::Function { name, qualifier: Some(qualifier) } => format!("{name}:{qualifier}"),
        TargetTo::Sink(name) | TargetTo::Channel(name) => name.to_string(),
        TargetTo::Http(settings) => {
            let url = settings.shown().get("url").and_then(serde_json::Value::as_str).unwrap_or_default();
            // Queries carry keys more often than one would like.
            url.split(['?', '#']).next().unwrap_or_default().to_owned()
        }
        TargetTo::Event(event) => event.ty.clone(),
    }
}

fn active(enabled: bool) -> String {
    if enabled { "active".to_owned() } else { "disabled".to_owned() }
}

/// `GET /api/v1/targets`: those of all rules, and those that are gone while deliveries still wait for them or somebody
/// holds them.
pub(super) async fn targets(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(json(&List::whole(target_items(&api))))
}

/// All targets. Costs as many steps as there are targets, however many deliveries wait for them.
pub(super) fn target_items(api: &Api) -> Vec<TargetItem> {
    let in_force = api.broker.in_force();
    let paused = api.broker.pauses().now();
    let mut pending: HashMap<QueueKey, u64> = api.broker.store().backlog().into_iter().collect();
    let mut items = Vec::new();
    for rule in &in_force.project.rules {
        for target in &rule.targets {
            let queue = InForce::queue(rule, target);
            let paused_since = paused.targets.get(&queue).copied();
            items.push(TargetItem {
                kind: target.to.kind().to_owned(),
                to: calls(&target.to),
                state: if rule.enabled && paused_since.is_some() { "paused".to_owned() } else { active(rule.enabled) },
                paused_since,
                pending: pending.remove(&queue).unwrap_or(0),
                last_error: api.broker.last_error(&queue),
                rule: queue.rule,
                target: queue.target,
                namespace: queue.namespace,
            });
        }
    }
    pending.retain(|queue, count| *count > 0 && queue.rule.is_some());
    for queue in paused.targets.keys() {
        let is_listed = items.iter().any(|item| is_target(item, queue));
        if !is_listed {
            pending.entry(queue.clone()).or_default();
        }
    }
    let mut gone: Vec<(QueueKey, u64)> = pending.into_iter().collect();
    gone.sort();
    items.extend(gone.into_iter().map(|(queue, pending)| TargetItem {
        kind: "gone".to_owned(),
        to: String::new(),
        state: "gone".to_owned(),
        paused_since: paused.targets.get(&queue).copied(),
        pending,
        last_error: None,
        rule: queue.rule,
        target: queue.target,
        namespace: queue.namespace,
    }));
    items
}

fn is_target(item: &TargetItem, queue: &QueueKey) -> bool {
    (&item.namespace, &item.rule, &item.target) == (&queue.namespace, &queue.rule, &queue.target)
}

/// `GET /api/v1/sources`.
pub(super) async fn sources(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(json(&List::whole(source_items(&api))))
}

/// `GET /api/v1/sources/{name}`.
pub(super) async fn source(State(api): State<Api>, name: Segment, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let name: Name = name.parse("source")?;
    let source = source_items(&api).into_iter().find(|source| source.name == name);
    Ok(json(&source.ok_or_else(|| no_source(&api, &name))?))
}

pub(super) fn no_source(api: &Api, name: &Name) -> Problem {
    let in_force = api.broker.in_force();
    let known = in_force.project.sources.iter().map(|source| &source.name);
    Problem::nothing_among("source", name.as_str(), "eventyard sources list", known)
}

pub(super) fn source_items(api: &Api) -> Vec<SourceItem> {
    let in_force = api.broker.in_force();
    let paused = api.broker.pauses().now();
    let running: HashMap<Name, SourceView> =
        api.broker.source_views().into_iter().map(|view| (view.name.clone(), view)).collect();
    let item = |source: &crate::config::SourceDef| {
        let path = in_force
            .http_sources
            .iter()
            .find(|mount| mount.origin.source_name == source.name)
            .map(|mount| mount.source.path().as_str().to_owned());
        // One that takes from another is as well as that.
        let fed = |feeds: &Vec<Feed>| feeds.iter().any(|feed| feed.maker.origin.source_name == source.name);
        let feeder = in_force.feeds.iter().find(|(_, feeds)| fed(feeds)).map(|(name, _)| name);
        let view = running.get(&source.name).or_else(|| running.get(feeder?));
        let status = view.map(|view| &view.status);
        let paused_since = paused.sources.get(&source.name).copied();
        let state = match (source.enabled, status, &path) {
            (false, _, _) => "disabled",
            (true, None, Some(_)) if paused_since.is_some() => "paused",
            (true, Some(status), _) => state_word(status.state),
            (true, None, Some(_)) => "listening",
            // Declared and not yet, or no longer, kept going.
            (true, None, None) => "stopped",
        };
        SourceItem {
            name: source.name.clone(),
            namespace: source.namespace.clone(),
            kind: source.kind.clone(),
            description: source.description.clone(),
            state: state.to_owned(),
            paused_since,
            instances: view.map(|view| view.instances),
            lag: status.and_then(|status| status.lag),
            last_error: status
                .and_then(|status| status.last_error.as_ref())
                .map(|error| format!("{}: {}", error.code, error.message)),
            last_event_at: status.and_then(|status| status.last_event_at),
            path,
        }
    };
    in_force.project.sources.iter().map(item).collect()
}

fn state_word(state: SourceState) -> &'static str {
    match state {
        SourceState::Starting => "starting",
        SourceState::Running => "running",
        SourceState::Paused => "paused",
        SourceState::BackingOff => "backing_off",
        SourceState::Finished => "finished",
        SourceState::Stopped => "stopped",
    }
}

/// `POST /api/v1/sources/{name}/fire`: the receipt of the event that was made.
pub(super) async fn fire(State(api): State<Api>, name: Segment, request: Request) -> Result<Response, Problem> {
    nothing(&api, request).await?;
    let name: Name = name.parse("source")?;
    let known = api.broker.in_force().project.sources.iter().any(|source| source.name == name);
    match api.broker.fire(&name).await {
        Ok(receipt) => Ok(json(&receipt)),
        Err(FireError::Intake(error)) => Err(error.into()),
        Err(FireError::Unknown(_)) if !known => Err(no_source(&api, &name)),
        Err(error) => Err(Problem::new(&codes::CANNOT_FIRE, error.to_string()).at(name.as_str())),
    }
}

/// `POST /api/v1/sources/{name}/seek`: goes on from another place.
pub(super) async fn seek(State(api): State<Api>, name: Segment, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    Query::read(&head.uri, &[])?;
    let asked: SeekRequest = requests::read(&api.bodies, &head.headers, body).await?;
    let name: Name = name.parse("source")?;
    let find = || source_items(&api).into_iter().find(|source| source.name == name);
    if find().is_none() {
        return Err(no_source(&api, &name));
    }
    let (broker, source, to) = (std::sync::Arc::clone(&api.broker), name.clone(), Seek::read(&asked.to));
    seen_through("a seek", async move { broker.seek(&source, &to).await }).await?.map_err(|error| {
        let code = match error {
            SeekFailed::Source(SeekError::Failed { .. }) => &codes::SEEK_FAILED,
            // An http source is none that runs.
            SeekFailed::Unknown(_) | SeekFailed::Source(_) => &codes::CANNOT_SEEK,
        };
        Problem::new(code, error.to_string()).at(name.as_str())
    })?;
    find().map(|item| json(&item)).ok_or_else(|| no_source(&api, &name))
}

/// `GET /api/v1/channels`.
pub(super) async fn channels(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(json(&List::whole(channel_items(&api))))
}

/// `GET /api/v1/channels/{name}`.
pub(super) async fn channel(State(api): State<Api>, name: Segment, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let name: Name = name.parse("channel")?;
    let channel = channel_items(&api).into_iter().find(|channel| channel.name == name);
    Ok(json(&channel.ok_or_else(|| no_channel(&api, &name))?))
}

fn no_channel(api: &Api, name: &Name) -> Problem {
    let in_force = api.broker.in_force();
    let known = in_force.project.channels.iter().map(|channel| &channel.name);
    Problem::nothing_among("channel", name.as_str(), "eventyard channels list", known)
}

fn channel_items(api: &Api) -> Vec<ChannelItem> {
    let pending: HashMap<QueueKey, u64> = api.broker.store().backlog().into_iter().collect();
    let item = |channel: &crate::config::ChannelDef| {
        let queue = QueueKey { namespace: channel.namespace.clone(), rule: None, target: channel.name.clone() };
        ChannelItem {
            name: channel.name.clone(),
            namespace: channel.namespace.clone(),
            kind: channel.kind.clone(),
            description: channel.description.clone(),
            alerts: channel.alerts.iter().map(|alert| alert.word().to_owned()).collect(),
            group_seconds: channel.group.map(|window| window.as_secs()),
            state: active(channel.enabled),
            pending: pending.get(&queue).copied().unwrap_or(0),
        }
    };
    api.broker.in_force().project.channels.iter().map(item).collect()
}

/// `POST /api/v1/channels/{name}/test`: sends a trial message and waits for how that went.
pub(super) async fn test_channel(State(api): State<Api>, name: Segment, request: Request) -> Result<Response, Problem> {
    nothing(&api, request).await?;
    let name: Name = name.parse("channel")?;
    let event = api.broker.test_channel(&name).await.map_err(|error| match error {
        ChannelTestError::Unknown(_) => no_channel(&api, &name),
        ChannelTestError::Store(error) => error.into(),
    })?;
    // The first attempt says enough; what it says is in the history, whatever becomes of the delivery.
    let tried = |item: &EventItem| item.deliveries.iter().all(|delivery| !delivery.history.is_empty());
    let item = event_once(&api, event, TEST_WAIT, tried).await?;
    if item.deliveries.iter().any(|delivery| delivery.state == eventyard_store::DeliveryState::Delivered) {
        return Ok(json(&ChannelTested { channel: name, event, delivered: true }));
    }
    let said = item.deliveries.iter().find_map(DeliveryItem::last_error);
    let detail = match said {
        Some(said) => format!("the channel `{name}` did not take the trial message: {said}"),
        None => format!("the channel `{name}` has not answered within {} s", TEST_WAIT.as_secs()),
    };
    Err(Problem::new(&codes::CHANNEL_FAILED, detail).at(name.as_str()))
}

/// `POST /api/v1/reload`: all or nothing.
pub(super) async fn reload(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    nothing(&api, request).await?;
    // Carried to its end even where the client goes away.
    let broker = std::sync::Arc::clone(&api.broker);
    let reloaded = seen_through("a reload", async move { broker.reload().await }).await?;
    match reloaded {
        Ok(report) => {
            let note = |warning: &eventyard_rules::Diagnostic| NoteItem {
                code: warning.code.to_owned(),
                message: format!("{}: {}", warning.file, warning.message),
            };
            Ok(json(&ReloadView {
                changed: report.changed,
                hash: report.hash,
                restart_needed: report.restart_needed,
                warnings: report.warnings.diagnostics().iter().map(note).collect(),
            }))
        }
        Err(error) => {
            let problem = Problem::new(&codes::RULES_REFUSED, error.to_string());
            Err(match error {
                ReloadRefused::Mistakes(report) => problem.diagnostics(report.render(false)),
                _ => problem,
            })
        }
    }
}

/// A call that says nothing but its path.
pub(super) async fn nothing(api: &Api, request: Request) -> Result<(), Problem> {
    let (head, body) = request.into_parts();
    Query::read(&head.uri, &[])?;
    requests::read::<Nothing>(&api.bodies, &head.headers, body).await.map(|Nothing {}| ())
}
