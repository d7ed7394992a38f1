//! What a client sees over HTTP.
//!
//! - [`ingest`] takes events: `POST /events` and the paths of http sources.
//! - The API below `/api/v1` shows and steers: one file for each noun. What it answers with is in [`views`],
//!   what it reads in [`requests`] and [`query`]; the command line uses the same types. The calls stand in one table
//!   (`calls`), from which the router is built and the document that describes them ([`openapi`]).
//! - [`health`] answers monitors.
//!
//! Errors are `application/problem+json` ([`problem`]) with a stable code out of one list ([`codes`]).
//!
//! One door ([`FrontDoor`]) stands before all of it: it sends what belongs to an http source there, and lets
//! nobody else in without the token, so that no call can forget to ask. A place is left in it for the check of
//! `Host` and `Origin` that pages in browsers will need.

mod call;
mod calls;
mod cloudevent;
mod dead_letters;
mod deliveries;
mod events;
mod explain;
mod health;
mod hold;
mod ingest;
mod live;
mod pages;
mod project;
mod reply;

pub mod codes;
pub mod openapi;
pub mod problem;
pub mod query;
pub mod requests;
pub mod views;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::broker::Broker;
use crate::server::ServerSettings;
use crate::server::access::Token;
use crate::server::body::BodyReader;
use problem::Problem;

/// The first segments of the paths that are the broker's own; no source can be mounted below them.
pub const RESERVED: &[&str] = &["", "ui", "api", "events", "healthz", "readyz", "metrics", "2015-03-31"];

/// What every call can reach. Cheap to clone, for axum does so several times a request.
#[derive(Clone)]
struct Api(Arc<Reach>);

impl std::ops::Deref for Api {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.0
    }
}

/// See [`Api`].
struct Reach {
    broker: Arc<Broker>,
    bodies: BodyReader,
    token: Option<Token>,
    /// How many requests may wait for a target's answer.
    replies_waiting_max: usize,
    /// A place for each target that may be tried at a time.
    trials: Semaphore,
    /// A place for each client that may follow what passes.
    taps: Arc<Semaphore>,
    /// Cancelled when the server is told to stop: calls that wait for something end early.
    stop: CancellationToken,
}

/// Whether a path is the broker's own.
#[must_use]
pub fn is_reserved(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    RESERVED.contains(&first)
}

/// All that is served.
pub fn router(broker: Arc<Broker>, settings: &ServerSettings, stop: CancellationToken) -> FrontDoor {
    let bodies = BodyReader::new(settings.limits);
    let replies_waiting_max = settings.limits.replies_waiting_max;
    let trials = Semaphore::new(hold::TRIALS_MAX);
    let taps = Arc::new(Semaphore::new(live::TAPS_MAX));
    let api =
        Api(Arc::new(Reach { broker, bodies, token: settings.token.clone(), replies_waiting_max, trials, taps, stop }));
    let mut calls = Router::new();
    for call in calls::CALLS {
        calls = calls.route(call.path, (call.serve)(call.verb.filter()));
    }
    let calls =
        calls.fallback(nothing_here).method_not_allowed_fallback(method_not_allowed).with_state(Api::clone(&api));
    FrontDoor { api, calls }
}

/// Who comes in: everybody to the health checks and the http sources (which verify for themselves), and
/// whoever brings the token to the rest. What does not exist is hidden behind the token too.
///
/// It stands before the router and not among its layers: events are most of what comes, and its
/// search and its layers would cost them half of what reading them does.
#[derive(Clone)]
pub struct FrontDoor {
    api: Api,
    calls: Router,
}

impl Service<Request> for FrontDoor {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let door = self.clone();
        Box::pin(async move {
            let mut response = door.let_in(request).await;
            // What senders write stands in answers as text. No browser may guess that it is a page.
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            Ok(response)
        })
    }
}

impl FrontDoor {
    async fn let_in(mut self, request: Request) -> Response {
        let path = request.uri().path();
        if !is_reserved(path)
            && let Some(answer) = ingest::http_source(&self.api, path)
        {
            return answer.take(&self.api, request).await;
        }
        let open = || calls::CALLS.iter().any(|call| call.open && call.path == path);
        match &self.api.token {
            Some(token) if !token.opens(request.headers()) && !open() => Problem::unauthorized().into_response(),
            // The router has it too, and would find it; see above.
            _ if path == ingest::EVENTS_PATH && request.method() == Method::POST => {
                ingest::take(&self.api, request).await
            }
            _ => self.calls.call(request).await.into_response(),
        }
    }
}

async fn nothing_here(request: Request) -> Problem {
    let path = request.uri().path();
    let first = path.split('/').nth(1).unwrap_or_default();
    if matches!(first, "" | "ui" | "2015-03-31") {
        return Problem::not_in_this_version(path);
    }
    let fix = if is_reserved(path) {
        "the documentation's page on the HTTP API lists every call"
    } else {
        "events go to /events, or to the path of an http source: `eventyard sources list` shows those"
    };
    Problem::new(&codes::NOT_FOUND, "nothing is served at this path").at(path).fix(fix)
}

/// axum has found a path and not the method; it adds the `Allow` header itself.
async fn method_not_allowed(method: Method, request: Request) -> Problem {
    let path = request.uri().path().to_owned();
    Problem::new(&codes::METHOD_NOT_ALLOWED, format!("this path does not take {method}")).at(path)
}

/// One segment of a call's path, percent-decoded.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Segment(text)),
            Err(error) => Err(Problem::new(&codes::BAD_PARAMETER, error.to_string()).at(parts.uri.path())),
        }
    }
}

impl Segment {
    /// What it says, as an id or a name.
    fn parse<T: std::str::FromStr>(&self, what: &str) -> Result<T, Problem>
    where
        T::Err: std::fmt::Display,
    {
        self.0.parse().map_err(|error| query::bad(what, &self.0, &error))
    }
}

/// Carries work to its end even where the client goes away: what is half done would be hard to explain.
async fn seen_through<T: Send + 'static>(
    what: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(|error| {
        tracing::error!(%error, "{what} broke off; this is a fault of eventyard");
        Problem::internal()
    })
}

/// JSON, and the header that keeps anybody between from remembering it.
fn json<T: serde::Serialize>(value: &T) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(value)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_paths_are_those_of_the_contract_and_what_lies_below() {
        for path in ["/", "/ui", "/ui/x", "/api/v1/rules", "/events", "/events/", "/2015-03-31/functions", "//x"] {
            assert!(is_reserved(path), "{path}");
        }
        for path in ["/hooks/github", "/event", "/apis", "/uix"] {
            assert!(!is_reserved(path), "{path}");
        }
    }
}
