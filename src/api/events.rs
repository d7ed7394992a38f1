//! What came in: lists, and the whole story of one event.

use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use eventyard_event::EventId;
use eventyard_store::{DeliveryState, EventFilter, EventView};
use tokio::sync::broadcast::error::RecvError;

use super::problem::Problem;
use super::query::Query;
use super::views::{DeathNote, DeliveryItem, EventItem, List};
use super::{Api, Segment, codes, json, pages};
use crate::fate::Fate;

/// The longest that `wait` waits; a client asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often an event is looked at while nothing is told of it: fates are news and may be missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `GET /api/v1/events`.
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let known = ["since", "until", "source", "type", "id", "rule", "state", "unmatched", "limit", "cursor"];
    let query = Query::read(&uri, &known)?;
    let paused = api.broker.pauses().now();
    let filter = EventFilter {
        since: query.time("since")?,
        until: query.time("until")?,
        source_name: query.name("source")?,
        ty: query.text("type").map(str::to_owned),
        cloudevent_id: query.text("id").map(str::to_owned),
        rule: query.name("rule")?,
        state: query.word("state")?,
        held: paused.held(),
        unmatched: query.flag("unmatched")?,
    };
    let bytes_max = api.bodies.limits().page_bytes_max;
    let read = |page| api.broker.store().events(filter.clone(), page);
    let page = pages::within(bytes_max, query.page()?, |view: &EventView| &view.envelope, read).await?;
    Ok(json(&List {
        items: page.items.into_iter().map(|view| EventItem::brief(view, &paused)).collect(),
        next: page.next,
    }))
}

/// `GET /api/v1/events/{event}`; with `wait=30s` not before nothing more happens to it, or the time is over.
pub(super) async fn show(State(api): State<Api>, id: Segment, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["wait"])?;
    let wait = query.duration("wait")?.unwrap_or_default().min(WAIT_MAX);
    let id: EventId = id.parse("event")?;
    let mut item = event_once(&api, id, wait, |item| item.settled).await?;
    for delivery in &mut item.deliveries {
        delivery.dead_letter = death_note(&api, delivery).await?;
    }
    if item.deliveries.is_empty() {
        item.hint = Some(hint(&api, id).await?);
    }
    Ok(json(&item))
}

/// Why a delivery was given up, where it is dead.
pub(super) async fn death_note(api: &Api, delivery: &DeliveryItem) -> Result<Option<DeathNote>, Problem> {
    if delivery.state != DeliveryState::Dead {
        return Ok(None);
    }
    Ok(api.broker.store().dead_letter(delivery.id).await?.as_ref().map(DeathNote::of))
}

/// What to do about an event that no rule matched. The nearest rule is one of those in force now.
async fn hint(api: &Api, id: EventId) -> Result<String, Problem> {
    let view = api.broker.store().event(id).await?;
    let in_force = api.broker.in_force();
    let matched = view.as_ref().map(|view| in_force.rules.matches(&view.envelope)).unwrap_or_default();
    if let Some(rule) = matched.iter().find(|rule| rule.split.is_some()) {
        let name = &rule.name;
        return Ok(format!(
            "nothing is delivered: the list that {name} splits is empty; eventyard explain {id} {name}"
        ));
    }
    let nearest = view.and_then(|view| in_force.nearest_rule(&view.envelope));
    Ok(match nearest {
        Some(rule) => format!("no rule matched; the nearest now is {rule}: eventyard explain {id} {rule}"),
        None => format!("no rule matched; eventyard explain {id}"),
    })
}

/// There is no such event. One that came no later than something that has gone by the retention may have been there.
pub(super) fn no_event(api: &Api, id: EventId) -> Problem {
    let gone_until = api.broker.store().stats().forgotten_until;
    match gone_until.filter(|until| id.made_at().is_none_or(|made_at| made_at <= *until)) {
        None => Problem::nothing_named("event", &id.to_string(), "eventyard events list"),
        Some(until) => {
            let detail = format!(
                "there is no event `{id}`; it may be past the retention: of events up to {until} only those with something \
                 still to do are sure to be kept"
            );
            Problem::new(&codes::NOT_FOUND, detail).at(id.to_string()).fix(
                "`eventyard events list` shows what is kept; `[store] retention` and `retention_size` say for how long",
            )
        }
    }
}

/// An event as soon as it is `far_enough`, or `wait` is over, or the server stops.
pub(super) async fn event_once(
    api: &Api,
    id: EventId,
    wait: Duration,
    far_enough: impl Fn(&EventItem) -> bool,
) -> Result<EventItem, Problem> {
    // Listening begins before looking, so that nothing falls in between.
    let mut fates = api.broker.fates();
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let view = api.broker.store().event(id).await?;
        let view = view.ok_or_else(|| no_event(api, id))?;
        let item = EventItem::new(view, &api.broker.pauses().now());
        if far_enough(&item) || api.stop.is_cancelled() || tokio::time::Instant::now() >= deadline {
            return Ok(item);
        }
        let news = async {
            loop {
                match fates.recv().await {
                    Ok(fate) if concerns(&fate, id) => return,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            () = api.stop.cancelled() => {}
            () = news => {}
            () = tokio::time::sleep_until(deadline.min(tokio::time::Instant::now() + LOOK_EVERY)) => {}
        }
    }
}

/// Whether a delivery of this event has got somewhere. An attempt is told with what follows from it.
fn concerns(fate: &Fate, event: EventId) -> bool {
    let moved = !matches!(fate, Fate::Attempted { .. });
    moved && fate.of_delivery().is_some_and(|of| of.delivery.event == event)
}
