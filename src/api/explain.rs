//! Why rules match an event, or do not.

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use eventyard_event::json::read_structured;
use eventyard_event::{Envelope, EventId, Name};
use serde_json::value::RawValue;

use super::events::no_event;
use super::ingest::event_limits;
use super::problem::Problem;
use super::project::no_rule;
use super::query::Query;
use super::requests::{self, ExplainRequest};
use super::views::{Explained, FieldExplained, RuleExplained, SplitExplained};
use super::{Api, codes, json};
use crate::in_force::InForce;

/// `POST /api/v1/explain`.
pub(super) async fn explain(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    Query::read(&head.uri, &[])?;
    let asked: ExplainRequest = requests::read(&api.bodies, &head.headers, body).await?;
    let in_force = api.broker.in_force();
    let envelope = match (&asked.cloudevent, asked.event) {
        (Some(cloudevent), None) => given(&api, &in_force, cloudevent)?,
        (None, Some(id)) => stored(&api, id).await?,
        (both, _) => {
            let what = if both.is_some() { "`cloudevent` and `event` exclude each other" } else { "no event is there" };
            let fix = "send `cloudevent` with an event, or `event` with our id of one that is stored";
            return Err(Problem::new(&codes::BAD_REQUEST, what).fix(fix));
        }
    };
    if let Some(rule) = &asked.rule
        && in_force.rules.rule(envelope.namespace.as_str(), rule.as_str()).is_none()
    {
        // Another namespace may have one of this very name.
        let around = in_force.project.rules.iter().filter(|other| other.namespace == envelope.namespace);
        return Err(no_rule(rule, around));
    }
    let explanation = in_force.rules.explain(&envelope, asked.rule.as_ref().map(Name::as_str));
    Ok(json(&Explained::from(explanation)))
}

async fn stored(api: &Api, id: EventId) -> Result<Envelope, Problem> {
    let view = api.broker.store().event(id).await?;
    let view = view.ok_or_else(|| no_event(api, id))?;
    Ok(Envelope::clone(&view.envelope))
}

/// An event that was never taken, as if it came now. One whose `source` is `/sources/NAME` is looked at as if it
/// came by that source, with its tags; any other as if it was sent to `/events`.
fn given(api: &Api, in_force: &InForce, cloudevent: &RawValue) -> Result<Envelope, Problem> {
    let limits = event_limits(in_force);
    let bytes = Bytes::copy_from_slice(cloudevent.get().as_bytes());
    let (event, shape) = read_structured(&bytes, &limits).map_err(|error| {
        let problem = Problem::from(error);
        match problem.body().location.clone() {
            Some(place) => problem.at(format!("cloudevent: {place}")),
            None => problem.at("cloudevent"),
        }
    })?;
    let named = event.source.strip_prefix("/sources/");
    let source = named.and_then(|name| in_force.project.sources.iter().find(|source| source.name.as_str() == name));
    let (namespace, source_name, tags) = match source {
        Some(source) => (source.namespace.clone(), source.name.clone(), source.tags.clone()),
        None => {
            let origin = super::ingest::events_origin();
            (origin.namespace.clone(), origin.source_name.clone(), origin.tags.clone())
        }
    };
    let now = api.broker.clocks().now();
    Ok(Envelope {
        id: EventId::new(now, [0; 10]),
        namespace,
        source_name,
        tags,
        received_at: now,
        hop_count: 0,
        keys_unique: shape.keys_unique,
        event,
    })
}

impl From<eventyard_rules::Explanation> for Explained {
    fn from(explanation: eventyard_rules::Explanation) -> Explained {
        let rule = |rule: eventyard_rules::RuleExplanation| RuleExplained {
            rule: rule.rule,
            matched: rule.matched,
            fields: rule
                .fields
                .into_iter()
                .map(|field| FieldExplained {
                    path: field.path,
                    wanted: field.wanted,
                    found: field.found,
                    ok: field.ok,
                    note: field.note,
                })
                .collect(),
            split: rule.split.map(|found| SplitExplained {
                path: found.path,
                elements: found.elements,
                problem: found.problem,
            }),
        };
        Explained { rules: explanation.rules.into_iter().map(rule).collect(), nearest: explanation.nearest }
    }
}
