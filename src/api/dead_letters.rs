//! Deliveries that were given up: seen, tried again, or given up for good.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use eventyard_event::DeliveryId;
use eventyard_store::{DeadLetter, DeadLetterFilter};

use super::problem::Problem;
use super::query::Query;
use super::requests::{self, SelectionRequest};
use super::views::{DeadLetterItem, List, Purged, Replayed};
use super::{Api, Segment, codes, json, pages, seen_through};
use crate::dead_letter::Replay;

/// `GET /api/v1/dead-letters`.
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["rule", "target", "since", "limit", "cursor"])?;
    let filter =
        DeadLetterFilter { rule: query.name("rule")?, target: query.name("target")?, since: query.time("since")? };
    let bytes_max = api.bodies.limits().page_bytes_max;
    let read = |page| api.broker.store().dead_letters(filter.clone(), page);
    let page = pages::within(bytes_max, query.page()?, |letter: &DeadLetter| &letter.envelope, read).await?;
    Ok(json(&List { items: page.items.into_iter().map(DeadLetterItem::brief).collect(), next: page.next }))
}

/// `GET /api/v1/dead-letters/{id}`, with each attempt.
pub(super) async fn show(State(api): State<Api>, id: Segment, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let id: DeliveryId = id.parse("id")?;
    let letter = api.broker.store().dead_letter(id).await?;
    let list = "eventyard dead-letters list";
    let letter = letter.ok_or_else(|| Problem::nothing_named("dead letter", &id.to_string(), list))?;
    Ok(json(&DeadLetterItem::from(letter)))
}

/// `POST /api/v1/dead-letters/replay`: pending again, with a fresh budget. A second call finds nothing.
pub(super) async fn replay(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let asked = selection(&api, request).await?;
    if asked.rate == Some(0) {
        let problem = Problem::new(&codes::BAD_REQUEST, "a rate of 0 a second never comes to an end").at("rate");
        return Err(problem.fix("send a rate of at least 1, or none"));
    }
    let which = asked.selection()?;
    let dry_run = asked.dry_run;
    // Carried to its end even where the client goes away: half a replay would be hard to explain.
    let broker = std::sync::Arc::clone(&api.broker);
    let rate = asked.rate;
    let replay = seen_through("a replay", async move { broker.replay(which, rate, dry_run).await }).await??;
    let Replay { replayed, undecodable } = replay;
    Ok((StatusCode::ACCEPTED, json(&Replayed { replayed, undecodable, dry_run })).into_response())
}

/// `DELETE /api/v1/dead-letters`: given up for good.
pub(super) async fn purge(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let asked = selection(&api, request).await?;
    if asked.rate.is_some() {
        return Err(Problem::new(&codes::BAD_REQUEST, "a purge has no rate").at("rate").fix("leave `rate` out"));
    }
    let which = asked.selection()?;
    let dry_run = asked.dry_run;
    let broker = std::sync::Arc::clone(&api.broker);
    let purged = seen_through("a purge", async move { broker.purge(which, dry_run).await }).await??;
    Ok(json(&Purged { purged, dry_run }))
}

async fn selection(api: &Api, request: Request<Body>) -> Result<SelectionRequest, Problem> {
    let (head, body) = request.into_parts();
    Query::read(&head.uri, &[])?;
    requests::read(&api.bodies, &head.headers, body).await
}
