//! Each event on its way to each target.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use eventyard_event::DeliveryId;
use eventyard_store::DeliveryFilter;

use super::problem::Problem;
use super::query::{Query, bad};
use super::views::{DeliveryItem, List};
use super::{Api, Segment, json};

/// `GET /api/v1/deliveries`.
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["state", "rule", "target", "event", "limit", "cursor"])?;
    let event = query.text("event").map(|text| text.parse().map_err(|error| bad("event", text, &error)));
    let filter = DeliveryFilter {
        state: query.word("state")?,
        rule: query.name("rule")?,
        target: query.name("target")?,
        event: event.transpose()?,
        ..DeliveryFilter::default()
    };
    let page = api.broker.store().deliveries(filter, query.page()?).await?;
    let brief = |view| DeliveryItem { history: Vec::new(), ..DeliveryItem::from(view) };
    Ok(json(&List { items: page.items.into_iter().map(brief).collect(), next: page.next }))
}

/// `GET /api/v1/deliveries/{id}`, with each attempt.
pub(super) async fn show(State(api): State<Api>, id: Segment, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let id: DeliveryId = id.parse("id")?;
    let view = api.broker.store().delivery(id).await?;
    let view = view.ok_or_else(|| Problem::nothing_named("delivery", &id.to_string(), "eventyard deliveries list"))?;
    Ok(json(&DeliveryItem::from(view)))
}
