//! What a client is told when something is wrong: RFC 9457 `application/problem+json`.
//!
//! ```json
//! {"title":"Bad Request","status":400,"code":"ce_missing_attribute",
//!  "detail":"event 1 of the batch: the attribute `id` is missing","where":"events[1]",
//!  "fix":"add the attribute: …"}
//! ```
//! `code` is what to script against, `detail` says what was wrong, `where` names the place in the request, and
//! `fix` is one sentence that says what to do. Every error of every crate becomes a [`Problem`] in this file
//! and nowhere else.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventyard_connectors::http::Refusal;
use eventyard_connectors::reader::NotRead;
use eventyard_event::EventError;
use eventyard_rules::nearest;
use eventyard_store::StoreError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codes::{self, Code};
use crate::by_hand::ByHandError;
use crate::intake::IntakeError;
use crate::pauses::PauseError;
use crate::server::body::BodyError;

/// How soon a client should try again when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The same for a source that is paused: people pause for minutes rather than seconds.
const RETRY_AFTER_PAUSED: Duration = Duration::from_secs(60);
/// The same for what a person has to mend first, such as a full disk.
const RETRY_AFTER_MENDING: Duration = Duration::from_secs(10);

/// Names that a misspelt one is compared with, at most: some milliseconds, however many rules a project has.
const NAMES_COMPARED_MAX: usize = 10_000;

/// An error as the body of an answer; also what the commands read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemBody {
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable word; `eventyard errors` lists them all.
    pub code: String,
    /// What was wrong.
    pub detail: String,
    /// The place in the request: a header, a parameter, a path into the body.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// What to do.
    pub fix: String,
    /// For a project that does not load: what `check` would say, rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<String>,
}

/// An error on its way to a client.
#[derive(Clone, Debug)]
pub struct Problem {
    body: Box<ProblemBody>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The request was not read to its end, so nothing that follows on the connection can be understood.
    close: bool,
}

impl Problem {
    /// A problem of this code; `detail` is a sentence without a full stop.
    #[must_use]
    pub fn new(code: &Code, detail: impl Into<String>) -> Problem {
        let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Problem::foreign(status, code.word, detail, code.fix)
    }

    /// A problem whose code another crate names and this one does not list.
    #[must_use]
    pub fn foreign(status: StatusCode, code: &str, detail: impl Into<String>, fix: impl Into<String>) -> Problem {
        let body = ProblemBody {
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            location: None,
            fix: fix.into(),
            diagnostics: None,
        };
        Problem { body: Box::new(body), headers: Vec::new(), close: false }
    }

    /// The place in the request.
    #[must_use]
    pub fn at(mut self, location: impl Into<String>) -> Problem {
        self.body.location = Some(location.into());
        self
    }

    /// A better `fix` than the code's own.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Problem {
        self.body.fix = fix.into();
        self
    }

    /// What `check` would say.
    #[must_use]
    pub fn diagnostics(mut self, text: impl Into<String>) -> Problem {
        self.body.diagnostics = Some(text.into());
        self
    }

    /// Adds `Retry-After`, in whole seconds and never 0, which would mean "at once".
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Problem {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers.push((header::RETRY_AFTER, seconds.max(1).into()));
        self
    }

    fn header(mut self, name: HeaderName, value: &str) -> Problem {
        self.headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        self
    }

    /// Closes the connection after the answer.
    #[must_use]
    pub fn closing(mut self) -> Problem {
        self.close = true;
        self
    }

    /// There is no such thing; `what` and `name` say which, `list` is the command that shows what there is.
    #[must_use]
    pub fn nothing_named(what: &str, name: &str, list: &str) -> Problem {
        Problem::new(&codes::NOT_FOUND, format!("there is no {what} `{name}`"))
            .at(name)
            .fix(format!("`{list}` shows what there is"))
    }

    /// The same, with the name that was probably meant, of those that there are.
    #[must_use]
    pub fn nothing_among<N: AsRef<str>>(
        what: &str,
        name: &str,
        list: &str,
        known: impl IntoIterator<Item = N>,
    ) -> Problem {
        let known: Vec<N> = known.into_iter().take(NAMES_COMPARED_MAX).collect();
        let problem = Problem::nothing_named(what, name, list);
        match nearest(name, known.iter().map(AsRef::as_ref)) {
            Some(meant) => problem.fix(format!("did you mean `{meant}`? `{list}` shows what there is")),
            None => problem,
        }
    }

    /// 503 for an http source that a person holds. Its body is not read.
    #[must_use]
    pub fn source_paused(name: &eventyard_event::Name) -> Problem {
        Problem::new(&codes::SOURCE_PAUSED, format!("the source `{name}` is paused"))
            .at(name.as_str())
            .retry_after(RETRY_AFTER_PAUSED)
            .closing()
    }

    /// 405 with the methods that would do.
    #[must_use]
    pub fn method_not_allowed(method: &axum::http::Method, path: &str, allow: &str) -> Problem {
        let detail = format!("{path} does not take {method}, but {allow}");
        Problem::new(&codes::METHOD_NOT_ALLOWED, detail).header(header::ALLOW, allow)
    }

    /// 401: the call needs the token.
    #[must_use]
    pub fn unauthorized() -> Problem {
        Problem::new(&codes::UNAUTHORIZED, "the token is missing or is not the right one")
            .at("authorization")
            .header(header::WWW_AUTHENTICATE, "Bearer realm=\"eventyard\"")
    }

    /// 404 for what is promised to a later version.
    #[must_use]
    pub fn not_in_this_version(path: &str) -> Problem {
        Problem::new(&codes::NOT_IN_THIS_VERSION, "this path is reserved, and nothing stands there yet").at(path)
    }

    /// Our own fault; the log says more than a client may know.
    #[must_use]
    pub fn internal() -> Problem {
        Problem::new(&codes::INTERNAL, "the request could not be answered; the log says why")
    }

    /// What the client will read.
    #[must_use]
    pub fn body(&self) -> &ProblemBody {
        &self.body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self.body).unwrap_or_default();
        let mut response = (status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Problem {
        let code = codes::find(error.code()).unwrap_or(&codes::CE_SHAPE);
        let problem = Problem::new(code, error.to_string());
        match place_of(&error) {
            Some(place) => problem.at(place),
            None => problem,
        }
    }
}

/// Where in the request an event is wrong.
fn place_of(error: &EventError) -> Option<String> {
    match error {
        EventError::MissingAttribute(name) => Some((*name).to_owned()),
        EventError::SpecVersion(_) => Some("specversion".to_owned()),
        EventError::Attribute { name, .. } => Some(name.clone()),
        EventError::Json { line, column, .. } => Some(format!("line {line}, column {column}")),
        EventError::ContentType(_) => Some("content-type".to_owned()),
        EventError::InBatch { index, error } => Some(match place_of(error) {
            Some(place) => format!("[{index}] {place}"),
            None => format!("[{index}]"),
        }),
        _ => None,
    }
}

impl From<Refusal> for Problem {
    /// What an http source says of a request.
    fn from(refusal: Refusal) -> Problem {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
        let problem = Problem::foreign(status, refusal.code, refusal.message, refusal.fix);
        match refusal.header {
            Some((name, value)) => problem.header(HeaderName::from_static(name), &value),
            None => problem,
        }
    }
}

impl From<NotRead> for Problem {
    /// What a reader says of what a request brought.
    fn from(problem: NotRead) -> Problem {
        match problem {
            NotRead::Now { code, message, retry_after } => {
                let fix = "nothing was taken; send it again, and see what the source has to ask";
                Problem::foreign(StatusCode::SERVICE_UNAVAILABLE, code, message, fix)
                    .retry_after(retry_after.unwrap_or(RETRY_AFTER))
            }
            NotRead::Never { code, message } => {
                let fix = "send what the store sends, and leave the path to it alone";
                Problem::foreign(StatusCode::BAD_REQUEST, code, message, fix)
            }
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Problem {
        let code = match &error {
            IntakeError::BacklogFull(_) => &codes::BACKLOG_FULL,
            IntakeError::NoSpace => &codes::NO_SPACE,
            IntakeError::Poisoned => &codes::STORE_POISONED,
            IntakeError::Stopping => &codes::STOPPING,
            IntakeError::Busy => &codes::BUSY,
            IntakeError::TooLarge { .. } => &codes::BATCH_TOO_LARGE,
        };
        let problem = Problem::new(code, error.to_string());
        match error.retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }
}

impl From<PauseError> for Problem {
    fn from(error: PauseError) -> Problem {
        match error {
            PauseError::TooMany => Problem::new(&codes::TOO_MANY_PAUSES, error.to_string()),
            PauseError::Store(error) => error.into(),
            PauseError::Unreadable(_) => {
                tracing::error!(%error, "what is paused could not be kept; this is a fault of eventyard");
                Problem::internal()
            }
        }
    }
}

impl From<ByHandError> for Problem {
    fn from(error: ByHandError) -> Problem {
        let text = error.to_string();
        match error {
            ByHandError::Unknown(id) => {
                Problem::nothing_named("delivery", &id.to_string(), "eventyard deliveries list")
            }
            ByHandError::InFlight(id) => Problem::new(&codes::DELIVERY_IN_FLIGHT, text).at(id.to_string()),
            ByHandError::Dead(id) => Problem::new(&codes::DELIVERY_DEAD, text)
                .at(id.to_string())
                .fix(format!("`eventyard dead-letters replay {id}` tries it again, `purge` gives it up")),
            ByHandError::Ended { delivery, .. } => Problem::new(&codes::DELIVERY_ENDED, text).at(delivery.to_string()),
            ByHandError::Store(error) => error.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let detail = error.to_string();
        let problem = match &error {
            BodyError::TooLarge { limit, .. } => Problem::new(&codes::BODY_TOO_LARGE, detail).at(*limit),
            BodyError::TooSlow { .. } => Problem::new(&codes::BODY_TIMEOUT, detail),
            BodyError::Encoding(_) => Problem::new(&codes::CONTENT_ENCODING, detail).at("content-encoding"),
            BodyError::Broken { .. } => Problem::new(&codes::BODY_INCOMPLETE, detail),
            BodyError::Busy => Problem::new(&codes::BUSY, detail).retry_after(RETRY_AFTER),
        };
        problem.closing()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let detail = error.to_string();
        match error {
            StoreError::Full => Problem::new(&codes::NO_SPACE, detail).retry_after(RETRY_AFTER_MENDING),
            StoreError::Poisoned(_) => Problem::new(&codes::STORE_POISONED, detail).retry_after(RETRY_AFTER_MENDING),
            StoreError::Closed => Problem::new(&codes::STOPPING, detail).retry_after(RETRY_AFTER),
            StoreError::Busy => Problem::new(&codes::BUSY, detail).retry_after(RETRY_AFTER),
            StoreError::TooLarge { what, .. } => Problem::new(&codes::BODY_TOO_LARGE, detail).at(what),
            StoreError::BadCursor => Problem::new(&codes::BAD_CURSOR, detail).at("cursor"),
            // The text may name files, which a client need not know.
            _ => {
                tracing::error!(error = detail, "the store could not be read");
                Problem::new(&codes::STORE_READ_FAILED, "the data folder could not be read; the log says why")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_event_of_a_batch_is_named() {
        let inner = EventError::MissingAttribute("id");
        let problem = Problem::from(EventError::InBatch { index: 1, error: Box::new(inner) });
        assert_eq!(problem.body().code, "ce_missing_attribute");
        assert_eq!(problem.body().location.as_deref(), Some("[1] id"));
    }

    #[test]
    fn a_wait_is_said_in_whole_seconds_and_never_zero() {
        let wait = |millis| {
            let problem = Problem::new(&codes::BUSY, "busy").retry_after(Duration::from_millis(millis));
            problem.into_response().headers()[header::RETRY_AFTER].to_str().unwrap().to_owned()
        };
        assert_eq!((wait(0), wait(1000), wait(1001)), ("1".into(), "1".into(), "2".into()));
    }

    #[test]
    fn a_misspelt_name_is_told_the_nearest_and_any_other_where_to_look() {
        let fix = |name| {
            Problem::nothing_among("rule", name, "eventyard rules list", ["big-orders", "small"]).body().fix.clone()
        };
        let near = "did you mean `big-orders`? `eventyard rules list` shows what there is";
        assert_eq!(fix("big-order"), near);
        assert_eq!(fix("parcels"), "`eventyard rules list` shows what there is");
    }

    #[test]
    fn what_is_read_back_is_what_was_sent() {
        let problem = Problem::nothing_named("rule", "big-orders", "eventyard rules list");
        let text = serde_json::to_string(problem.body()).unwrap();
        assert_eq!(&serde_json::from_str::<ProblemBody>(&text).unwrap(), problem.body());
        assert!(text.contains("\"where\":\"big-orders\""), "{text}");
    }
}
