//! Events come in: `POST /events`, and the paths of http sources.
//!
//! A 2xx is given only after the event and its deliveries are on disk; anything else means that nothing of the
//! request was taken, and that it may be sent again with the same ids.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use eventyard_connectors::http::{Greeting, RequestHead, Taken};
use eventyard_connectors::reader::Reader;
use eventyard_connectors::source::Incoming;
use eventyard_event::http::{Form, form, read_form};
use eventyard_event::{Limits, Name};

use super::problem::Problem;
use super::views::Accepted;
use super::{Api, json, reply};
use crate::in_force::{HttpMount, InForce};
use crate::intake::Read;
use crate::origin::Origin;
use crate::server::body::ReadBody;
use crate::telemetry::metrics::CodeLabel;

/// How long a repeated `(source, id)` is recognised on `POST /events`.
const EVENTS_DEDUPE: Duration = Duration::from_hours(24);

/// The name of `POST /events` as a source.
const EVENTS: &str = "events";

/// Where events are sent to that belong to no source of the project.
pub(super) const EVENTS_PATH: &str = "/events";

/// [`take`], as the router knows it.
pub(super) async fn post_events(State(api): State<Api>, request: Request) -> Response {
    take(&api, request).await
}

/// `POST /events`: CloudEvents, binary, structured or batched.
pub(super) async fn take(api: &Api, request: Request) -> Response {
    let taken = take_events(api, request).await;
    answer(api, taken.map(|accepted| (StatusCode::ACCEPTED, json(&accepted)).into_response()))
}

async fn take_events(api: &Api, request: Request) -> Result<Accepted, Refused> {
    let in_force = api.broker.in_force();
    let limits = event_limits(&in_force);
    let (head, body) = request.into_parts();
    // What has no form is refused before its body is read.
    let form = form(&head.headers).map_err(Refused::at_the_door)?;
    let body = read_body(api, &head.headers, form, body, &limits).await?;
    let events = read_form(form, &head.headers, body.bytes.clone(), &limits).map_err(Refused::at_the_door)?;
    let incoming = events.into_iter().map(|(event, shape)| Incoming {
        event,
        keys_unique: shape.keys_unique,
        dedupe: Some(EVENTS_DEDUPE),
    });
    let accepted = api.broker.admit(events_origin(), incoming.collect()).await.map_err(Refused::by_intake)?;
    Ok(Accepted { accepted, reply: None })
}

/// What is too much of an event.
pub(super) fn event_limits(in_force: &InForce) -> Limits {
    in_force.project.limits.of_events()
}

/// Whom events come from that are sent to `POST /events`.
pub(super) fn events_origin() -> &'static Origin {
    static ORIGIN: LazyLock<Origin> = LazyLock::new(|| {
        let source_name = Name::new(EVENTS).unwrap_or_else(|_| Name::default_namespace());
        Origin { namespace: Name::default_namespace(), source_name, tags: Vec::new() }
    });
    &ORIGIN
}

/// The http sources whose path this is.
pub(super) struct Mounted {
    in_force: Arc<InForce>,
    /// Places in `in_force.http_sources`; never empty.
    places: Vec<usize>,
}

/// The http sources at a path, if there are any. Several may share one, each with methods of its own.
pub(super) fn http_source(api: &Api, path: &str) -> Option<Mounted> {
    let in_force = api.broker.in_force();
    let at_path = |mount: &HttpMount| mount.source.path().parameters(path).is_some();
    let places: Vec<usize> =
        in_force.http_sources.iter().enumerate().filter(|(_, mount)| at_path(mount)).map(|(place, _)| place).collect();
    (!places.is_empty()).then_some(Mounted { in_force, places })
}

impl Mounted {
    /// Takes the request as the event that it is.
    pub(super) async fn take(self, api: &Api, request: Request) -> Response {
        answer(api, self.try_take(api, request).await)
    }

    async fn try_take(self, api: &Api, request: Request) -> Result<Response, Refused> {
        let (head, body) = request.into_parts();
        let mounts = || self.places.iter().filter_map(|&place| self.in_force.http_sources.get(place));
        let Some(mount) = mounts().find(|mount| mount.source.methods().contains(&head.method)) else {
            let mut allow: Vec<&str> =
                mounts().flat_map(|mount| mount.source.methods()).map(axum::http::Method::as_str).collect();
            allow.sort_unstable();
            let problem = Problem::method_not_allowed(&head.method, head.uri.path(), &allow.join(", "));
            return Err(Refused::at_the_door(problem));
        };
        let paused = api.broker.pauses().now();
        if paused.sources.contains_key(&mount.origin.source_name) {
            return Err(Refused::at_the_door(Problem::source_paused(&mount.origin.source_name)));
        }
        let limits = event_limits(&self.in_force);
        let form = form(&head.headers).unwrap_or(Form::Binary);
        let body = read_body(api, &head.headers, form, body, &limits).await?;
        let request = RequestHead {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query(),
            headers: &head.headers,
        };
        let now = api.broker.clocks().now();
        let taken = mount.source.accept(request, body.bytes.clone(), now, &limits).map_err(Refused::at_the_door)?;
        let incoming = match taken {
            Taken::Events(incoming) => incoming,
            Taken::Greeting(greeting) => return Ok(greet(&mount.origin.source_name, greeting)),
        };
        let incoming = match &mount.reader {
            Some(reader) => read_by(reader.as_ref(), &incoming).await.map_err(Refused::at_the_door)?,
            None => incoming,
        };
        let Some(timeout) = mount.source.reply_timeout() else {
            let read = Read { events: incoming, filter: mount.filter.clone(), ..Read::default() };
            let accepted = api.broker.admit_read(&mount.origin, read).await.map_err(Refused::by_intake)?;
            return Ok((StatusCode::ACCEPTED, json(&Accepted { accepted, reply: None })).into_response());
        };
        let taken = api.broker.admit_for_reply(&mount.origin, incoming, api.replies_waiting_max).await;
        let (receipts, awaited) = taken.map_err(Refused::by_intake)?;
        // The event is on disk; its bytes need not be held for as long as the target takes.
        drop(body);
        Ok(reply::answer(api, &mount.origin.source_name, receipts, awaited, timeout).await)
    }
}

/// A known sender has asked whether somebody is here.
fn greet(source: &Name, greeting: Greeting) -> Response {
    tracing::info!(%source, "the sender asked whether this address is ours, and was told so");
    ([(axum::http::header::CONTENT_TYPE, greeting.content_type)], greeting.body).into_response()
}

/// The events that a reader makes of what a request brought.
async fn read_by(reader: &dyn Reader, came: &[Incoming]) -> Result<Vec<Incoming>, Problem> {
    let mut made = Vec::new();
    for one in came {
        made.extend(reader.read(one.event.data.bytes()).await?);
    }
    Ok(made)
}

/// The body, by the limit of what the headers say it is: one event, or a batch of them.
async fn read_body(
    api: &Api,
    headers: &HeaderMap,
    form: Form,
    body: axum::body::Body,
    limits: &Limits,
) -> Result<ReadBody, Refused> {
    let (limit, max) = match form {
        Form::Batch => ("batch_bytes_max", api.bodies.limits().batch_bytes_max.max(limits.event_bytes_max)),
        Form::Binary | Form::Structured => ("event", limits.event_bytes_max),
    };
    api.bodies.read(headers, body, limit, max).await.map_err(Refused::at_the_door)
}

/// A request that was not taken, and whether that is counted already.
struct Refused {
    problem: Problem,
    counted: bool,
}

impl Refused {
    fn at_the_door(error: impl Into<Problem>) -> Refused {
        Refused { problem: error.into(), counted: false }
    }

    /// Intake counts what it refuses itself, for it is not asked by us alone.
    fn by_intake(error: crate::intake::IntakeError) -> Refused {
        Refused { problem: error.into(), counted: true }
    }
}

fn answer(api: &Api, result: Result<Response, Refused>) -> Response {
    match result {
        Ok(response) => response,
        Err(Refused { problem, counted }) => {
            if !counted {
                let label = CodeLabel { code: problem.body().code.clone() };
                api.broker.metrics().events_refused.get_or_create(&label).inc();
            }
            problem.into_response()
        }
    }
}
