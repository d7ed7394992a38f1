//! Each event on its way to each target.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::Response;
use eventyard_event::DeliveryId;
use eventyard_store::{DeliveryFilter, DeliveryView};

use super::events::death_note;
use super::problem::Problem;
use super::query::{Query, bad};
use super::views::{DeliveryItem, List};
use super::{Api, Segment, json, seen_through};
use crate::by_hand::ByHandError;

/// `GET /api/v1/deliveries`.
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["state", "rule", "target", "event", "limit", "cursor"])?;
    let event = query.text("event").map(|text| text.parse().map_err(|error| bad("event", text, &error)));
    let paused = api.broker.pauses().now();
    let filter = DeliveryFilter {
        state: query.word("state")?,
        rule: query.name("rule")?,
        target: query.name("target")?,
        event: event.transpose()?,
        held: paused.held(),
    };
    let page = api.broker.store().deliveries(filter, query.page()?).await?;
    let items = page.items.into_iter().map(|view| DeliveryItem::brief(view, &paused)).collect();
    Ok(json(&List { items, next: page.next }))
}

/// `GET /api/v1/deliveries/{id}`, with each attempt.
pub(super) async fn show(State(api): State<Api>, id: Segment, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let id: DeliveryId = id.parse("id")?;
    let view = api.broker.store().delivery(id).await?;
    answer(&api, view.ok_or(ByHandError::Unknown(id))?).await
}

/// `POST /api/v1/deliveries/{id}/retry`: due at once, where it is not in flight, dead or ended.
pub(super) async fn retry(State(api): State<Api>, id: Segment, request: Request) -> Result<Response, Problem> {
    super::project::nothing(&api, request).await?;
    let (id, broker) = (id.parse("id")?, Arc::clone(&api.broker));
    let view = seen_through("a retry", async move { broker.retry_now(id).await }).await??;
    answer(&api, view).await
}

/// `POST /api/v1/deliveries/{id}/cancel`: ended, where it is not in flight, dead or ended.
pub(super) async fn cancel(State(api): State<Api>, id: Segment, request: Request) -> Result<Response, Problem> {
    super::project::nothing(&api, request).await?;
    let (id, broker) = (id.parse("id")?, Arc::clone(&api.broker));
    let view = seen_through("a cancellation", async move { broker.cancel(id).await }).await??;
    answer(&api, view).await
}

async fn answer(api: &Api, view: DeliveryView) -> Result<Response, Problem> {
    let mut item = DeliveryItem::new(view, &api.broker.pauses().now());
    item.dead_letter = death_note(api, &item).await?;
    Ok(json(&item))
}
