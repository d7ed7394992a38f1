//! Is it alive, is it ready, how is it?

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::live::TAPS_MAX;
use super::problem::Problem;
use super::query::Query;
use super::views::{Backlog, Live, NoteItem, ReadinessView, Status};
use super::{Api, json};
use crate::broker::{Note, Readiness};

/// `GET /healthz`: whoever can answer is alive.
pub(super) async fn live() -> Response {
    json(&Live { live: true })
}

/// `GET /readyz`: 200 where events are taken, with warnings; 503 where not, with the reasons.
pub(super) async fn ready(State(api): State<Api>) -> Response {
    let readiness = ReadinessView::from(api.broker.readiness());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json(&readiness)).into_response()
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let lags = api.broker.source_views().into_iter().filter_map(|view| Some((view.name.to_string(), view.status.lag?)));
    api.broker.metrics().note_lags(lags);
    let text = api.broker.metrics().render(api.broker.store().as_ref());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// `GET /api/v1/status`.
pub(super) async fn status(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let in_force = api.broker.in_force();
    let paused = api.broker.pauses().now();
    let mut backlog: Vec<Backlog> = api
        .broker
        .store()
        .backlog()
        .into_iter()
        .filter(|(_, pending)| *pending > 0)
        .map(|(queue, pending)| Backlog { namespace: queue.namespace, rule: queue.rule, target: queue.target, pending })
        .collect();
    // The fullest first; names make the order the same each time.
    backlog.sort_by(|a, b| b.pending.cmp(&a.pending).then_with(|| (&a.rule, &a.target).cmp(&(&b.rule, &b.target))));
    Ok(json(&Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        readiness: api.broker.readiness().into(),
        hash: in_force.hash(),
        rules: in_force.rules.rules().len(),
        stats: api.broker.store().stats(),
        backlog,
        paused_sources: paused.sources.len(),
        paused_targets: paused.targets.len(),
        taps: TAPS_MAX.saturating_sub(api.taps.available_permits()),
    }))
}

impl From<Readiness> for ReadinessView {
    fn from(readiness: Readiness) -> ReadinessView {
        let notes = |notes: Vec<Note>| notes.into_iter().map(NoteItem::from).collect();
        ReadinessView { ready: readiness.ready, reasons: notes(readiness.reasons), warnings: notes(readiness.warnings) }
    }
}

impl From<Note> for NoteItem {
    fn from(note: Note) -> NoteItem {
        NoteItem { code: note.code.to_owned(), message: note.message }
    }
}
