//! What a sender is told that waits: the answer of the one target that has `reply = true`, or 202 and where to ask.
//!
//! The event is on disk before anything here begins, so whatever happens meanwhile (the time is over, the sender goes
//! away, we stop) costs the sender its answer and never the event its deliveries.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventyard_event::{EventId, Limits, Name, json};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::views::Accepted;
use super::{Api, json as json_answer};
use crate::intake::Receipt;
use crate::reply::{Answer, Awaited, NoReply};
use crate::telemetry::metrics::ReplyLabel;

/// Our id of the event, beside an answer that is the target's.
const EVENT: HeaderName = HeaderName::from_static("eventyard-event");

/// What is said of a function's answer, which has no content type of its own.
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// Waits for the answer to a request whose events are on disk.
pub(super) async fn answer(
    api: &Api,
    source: &Name,
    receipts: Vec<Receipt>,
    awaited: Result<Awaited, NoReply>,
    timeout: Duration,
) -> Response {
    let mut counted = Counted { replies: &api.broker.metrics().replies, source, outcome: "gone" };
    let answered = match awaited {
        Ok(awaited) => awaited.answer(timeout, &api.stop).await,
        Err(none) => Err(none),
    };
    counted.outcome = answered.as_ref().map_or_else(|none| none.word(), |_| "answered");
    let event = receipts.first().filter(|_| receipts.len() == 1).map(|receipt| receipt.event);
    match answered {
        Ok(answer) => passed_on(answer, event),
        Err(none) => accepted(receipts, none, event),
    }
}

/// Counts a request once, also one whose sender goes away: this is then dropped while it waits.
struct Counted<'a> {
    replies: &'a Family<ReplyLabel, Counter>,
    source: &'a Name,
    outcome: &'static str,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let label = ReplyLabel { source: self.source.to_string(), outcome: self.outcome };
        self.replies.get_or_create(&label).inc();
    }
}

/// The target's answer as the answer to the request.
fn passed_on(answer: Answer, event: Option<EventId>) -> Response {
    let without_a_word = if answer.body.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
    let status = answer.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(without_a_word);
    let said = answer.content_type.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
    let content_type = match said {
        Some(said) => Some(said),
        None if answer.body.is_empty() => None,
        None => Some(HeaderValue::from_static(content_type_of(&answer.body))),
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(content_type.map(|content_type| (header::CONTENT_TYPE, content_type)));
    headers.extend(event.and_then(|event| Some((EVENT, HeaderValue::from_str(&event.to_string()).ok()?))));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A target's answer may repeat what the sender wrote. Should a browser show it as a page, that page is not one of
    // the broker's own and runs no script.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}

/// 202 with the place where the event's fate can be seen.
fn accepted(receipts: Vec<Receipt>, none: NoReply, event: Option<EventId>) -> Response {
    let body = Accepted { accepted: receipts, reply: Some(none) };
    let mut response = (StatusCode::ACCEPTED, json_answer(&body)).into_response();
    let location = event.and_then(|event| HeaderValue::try_from(format!("/api/v1/events/{event}")).ok());
    response.headers_mut().extend(location.map(|location| (header::LOCATION, location)));
    response
}

/// What a function that says nothing of its answer has probably answered with.
fn content_type_of(body: &[u8]) -> &'static str {
    if json::validate(body, Limits::default().json_depth_max).is_ok() {
        "application/json"
    } else if std::str::from_utf8(body).is_ok() {
        TEXT
    } else {
        BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_prints_is_json_where_it_parses_else_text_else_bytes() {
        let cases: [(&[u8], &str); 6] = [
            (b"{\"a\": [1, null]}\n", "application/json"),
            (b" 42", "application/json"),
            (b"done\n", TEXT),
            (b"{\"a\":", TEXT),
            ("fertig, prüfe".as_bytes(), TEXT),
            (b"\xff\xfe{}", BYTES),
        ];
        for (body, content_type) in cases {
            assert_eq!(content_type_of(body), content_type, "{body:?}");
        }
    }

    #[test]
    fn an_empty_answer_is_204_and_what_a_target_says_of_its_answer_is_passed_on() {
        let empty = passed_on(Answer::default(), None);
        assert_eq!((empty.status(), empty.headers().get(header::CONTENT_TYPE)), (StatusCode::NO_CONTENT, None));
        let said = Answer {
            status: Some(201),
            content_type: Some("application/vnd.shop+json".to_owned()),
            body: "{}".into(),
            truncated: false,
        };
        let said = passed_on(said, None);
        assert_eq!(said.status(), StatusCode::CREATED);
        assert_eq!(said.headers()[header::CONTENT_TYPE], "application/vnd.shop+json");
        let broken = Answer { content_type: Some("a\r\nb: c".to_owned()), body: "x".into(), ..Answer::default() };
        assert_eq!(passed_on(broken, None).headers()[header::CONTENT_TYPE], TEXT);
    }
}
