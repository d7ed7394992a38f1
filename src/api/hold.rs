//! Holding sources and targets, letting them go on, and trying a target.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use eventyard_event::Name;
use eventyard_event::json::read_structured;
use eventyard_store::QueueKey;

use super::ingest::event_limits;
use super::problem::Problem;
use super::query::{Query, bad};
use super::requests::{self, TargetTestRequest};
use super::views::{SourceItem, TargetItem, TargetTested};
use super::{Api, Segment, codes, json, project, seen_through};
use crate::in_force::InForce;
use crate::pauses::Pausable;

/// How many targets are tried at a time. A trial is outside the limits of its target, so that a target whose places
/// are all taken can be tried; a few people at a time are enough.
pub(super) const TRIALS_MAX: usize = 8;

/// `POST /api/v1/sources/{name}/pause`.
pub(super) async fn pause_source(State(api): State<Api>, name: Segment, request: Request) -> Result<Response, Problem> {
    source(&api, &name, request, true).await
}

/// `POST /api/v1/sources/{name}/resume`.
pub(super) async fn resume_source(
    State(api): State<Api>,
    name: Segment,
    request: Request,
) -> Result<Response, Problem> {
    source(&api, &name, request, false).await
}

async fn source(api: &Api, name: &Segment, request: Request, pause: bool) -> Result<Response, Problem> {
    project::nothing(api, request).await?;
    let name: Name = name.parse("source")?;
    let what = Pausable::Source(name.clone());
    let is_there = || project::source_items(api).into_iter().find(|source| source.name == name);
    // A source that left the project while it was paused can be resumed, and is not there to be shown.
    let is_paused = api.broker.pauses().now().since(&what).is_some();
    if is_there().is_none() && (pause || !is_paused) {
        return Err(project::no_source(api, &name));
    }
    hold(api, what, pause).await?;
    match is_there() {
        Some(item) => Ok(json(&item)),
        None => Ok(json(&SourceItem {
            name,
            namespace: Name::default_namespace(),
            kind: "gone".to_owned(),
            description: String::new(),
            state: "gone".to_owned(),
            paused_since: None,
            instances: None,
            lag: None,
            last_error: None,
            last_event_at: None,
            path: None,
        })),
    }
}

async fn hold(api: &Api, what: Pausable, pause: bool) -> Result<bool, Problem> {
    let broker = Arc::clone(&api.broker);
    let held = async move { if pause { broker.pause(&what).await } else { broker.resume(&what).await } };
    Ok(seen_through("a pause", held).await??)
}

/// `{rule}/{target}` of a path.
pub(super) struct TargetPath {
    rule: Name,
    target: Name,
}

impl<S: Send + Sync> FromRequestParts<S> for TargetPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TargetPath, Problem> {
        let read = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((rule, target)) =
            read.map_err(|error| Problem::new(&codes::BAD_PARAMETER, error.to_string()).at(parts.uri.path()))?;
        let name = |what: &str, text: &str| text.parse::<Name>().map_err(|error| bad(what, text, &error));
        Ok(TargetPath { rule: name("rule", &rule)?, target: name("target", &target)? })
    }
}

impl TargetPath {
    /// The target as it is listed. Those of the project come before those that are gone.
    fn item(&self, api: &Api) -> Option<TargetItem> {
        project::target_items(api)
            .into_iter()
            .find(|item| item.rule.as_ref() == Some(&self.rule) && item.target == self.target)
    }

    fn unknown(&self, api: &Api) -> Problem {
        let in_force = api.broker.in_force();
        let known = in_force.project.rules.iter().flat_map(|rule| {
            rule.targets.iter().map(move |target| format!("{}/{}", rule.name, InForce::queue(rule, target).target))
        });
        let name = format!("{}/{}", self.rule, self.target);
        Problem::nothing_among("target", &name, "eventyard targets list", known)
    }
}

fn queue_of(item: &TargetItem) -> QueueKey {
    QueueKey { namespace: item.namespace.clone(), rule: item.rule.clone(), target: item.target.clone() }
}

/// `POST /api/v1/targets/{rule}/{target}/pause`.
pub(super) async fn pause_target(
    State(api): State<Api>,
    path: TargetPath,
    request: Request,
) -> Result<Response, Problem> {
    target(&api, &path, request, true).await
}

/// `POST /api/v1/targets/{rule}/{target}/resume`.
pub(super) async fn resume_target(
    State(api): State<Api>,
    path: TargetPath,
    request: Request,
) -> Result<Response, Problem> {
    target(&api, &path, request, false).await
}

async fn target(api: &Api, path: &TargetPath, request: Request, pause: bool) -> Result<Response, Problem> {
    project::nothing(api, request).await?;
    let before = path.item(api).ok_or_else(|| path.unknown(api))?;
    hold(api, Pausable::Target(queue_of(&before)), pause).await?;
    // One that is gone and has nothing left is listed no more.
    Ok(json(&path.item(api).unwrap_or(TargetItem { paused_since: None, ..before })))
}

/// `POST /api/v1/targets/{rule}/{target}/test`: calls it once, now, and says what came of it. Nothing is kept.
pub(super) async fn test_target(
    State(api): State<Api>,
    path: TargetPath,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    Query::read(&head.uri, &[])?;
    let asked: TargetTestRequest = requests::read(&api.bodies, &head.headers, body).await?;
    let item = path.item(&api).ok_or_else(|| path.unknown(&api))?;
    let _place = api.trials.try_acquire().map_err(|_| {
        let detail = format!("{TRIALS_MAX} targets are being tried at this moment");
        Problem::new(&codes::BUSY, detail).retry_after(std::time::Duration::from_secs(1))
    })?;
    let queue = queue_of(&item);
    let (event, keys_unique) = match &asked.cloudevent {
        Some(given) => {
            let limits = event_limits(&api.broker.in_force());
            let bytes = Bytes::copy_from_slice(given.get().as_bytes());
            let (event, shape) = read_structured(&bytes, &limits).map_err(|error| {
                let problem = Problem::from(error);
                let place = problem.body().location.as_ref().map(|place| format!("cloudevent: {place}"));
                problem.at(place.unwrap_or_else(|| "cloudevent".to_owned()))
            })?;
            (event, shape.keys_unique)
        }
        None => (api.broker.trial_event(&queue), true),
    };
    let envelope = api.broker.trial_envelope(event, &item.namespace, keys_unique);
    let trial = api.broker.try_target(&queue, envelope).await.ok_or_else(|| path.unknown(&api))?;
    Ok(json(&TargetTested {
        rule: path.rule,
        target: path.target,
        outcome: trial.outcome,
        reason: trial.reason,
        given: trial.given,
        response: trial.response,
        took_ms: u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
        would_make: trial.would_make,
    }))
}
