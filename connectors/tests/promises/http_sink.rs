//! The http sink against servers on loopback: what it sends, how it judges answers, and what it survives.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use eventyard_connectors::http::{HttpClient, HttpSink, TARGET_FIELDS};
use eventyard_connectors::sink::{Payload, PayloadForm, SendError, SendRequest, Sent, Sink};
use eventyard_connectors::spec::{ConfigError, normalise};
use eventyard_event::{Data, Envelope, Event, EventId, ExtensionValue, Name, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) fn try_build(table: Value) -> Result<HttpSink, Vec<ConfigError>> {
    let plain = normalise(TARGET_FIELDS, table.as_object().unwrap())?;
    HttpSink::build(&Value::Object(plain), &HttpClient::new(Vec::new()))
}

fn event() -> Event {
    Event {
        id: "7".into(),
        source: "/shop".into(),
        ty: "order.created".into(),
        subject: Some("é \r\nx: y".into()),
        datacontenttype: Some("application/json".into()),
        extensions: [("hop".into(), ExtensionValue::Integer(3))].into(),
        data: Data::Json(Bytes::from_static(b"{\"amount\": 1.0}")),
        ..Event::default()
    }
}

pub(super) fn request() -> SendRequest {
    let at = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
    let envelope = Envelope {
        id: EventId::new(at, [7; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").unwrap(),
        tags: Vec::new(),
        received_at: at,
        hop_count: 0,
        keys_unique: true,
        event: event(),
    };
    SendRequest {
        delivery: envelope.id.delivery(0).to_string(),
        attempt: 3,
        at,
        payload: Payload {
            content_type: Some("application/json".into()),
            body: Bytes::from_static(b"{\"amount\": 1.0}"),
            form: PayloadForm::Raw,
        },
        event: Arc::new(envelope),
        timeout: Duration::from_secs(10),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

/// A server that answers every request the same way and remembers what it was sent.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) seen: Arc<Mutex<Vec<(Method, HeaderMap, Bytes)>>>,
}

pub(super) async fn serve(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in?key=1", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<(Method, HeaderMap, Bytes)>>> = Arc::default();
    let remembers = Arc::clone(&seen);
    let router = Router::new().fallback(move |method: Method, headers: HeaderMap, body: Bytes| {
        remembers.lock().unwrap().push((method, headers, body));
        std::future::ready(answer())
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { url, seen }
}

/// A server that does with each connection what it is told.
async fn raw<F: Future<Output = ()> + Send + 'static>(act: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    url
}

async fn read_head(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
}

async fn send(url: &str, request: SendRequest) -> Result<Sent, SendError> {
    try_build(json!({ "url": url })).unwrap().send(request).await
}

async fn answered(status: u16, headers: &[(&'static str, &'static str)]) -> Result<Sent, SendError> {
    let headers: Vec<(&'static str, &'static str)> = headers.to_vec();
    let server = serve(move || {
        let mut response = (StatusCode::from_u16(status).unwrap(), "said").into_response();
        for (name, value) in &headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        response
    })
    .await;
    send(&server.url, request()).await
}

#[tokio::test]
async fn binary_form_carries_the_attributes_in_headers() {
    let server = serve(|| "ok".into_response()).await;
    let sink = try_build(json!({
        "url": server.url, "headers": { "X-Team": "a" }, "auth": { "kind": "bearer", "token": "t0ken" }
    }))
    .unwrap();
    let sent = sink.send(request()).await.unwrap();
    assert_eq!((&*sent.code, &sent.body[..]), ("http_200", &b"ok"[..]));
    let (method, headers, body) = server.seen.lock().unwrap().remove(0);
    assert_eq!((method, &body[..]), (Method::POST, &b"{\"amount\": 1.0}"[..]));
    let delivery = request().delivery;
    for (name, value) in [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/shop"),
        ("ce-type", "order.created"),
        ("ce-subject", "%C3%A9%20%0D%0Ax:%20y"),
        ("ce-hop", "3"),
        ("webhook-id", delivery.as_str()),
        ("webhook-timestamp", "1795262400"),
        ("eventyard-attempt", "3"),
        ("eventyard-hops", "1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-team", "a"),
        ("authorization", "Bearer t0ken"),
    ] {
        assert_eq!(headers.get(name).map(|value| value.to_str().unwrap()), Some(value), "{name}");
    }
    assert!(headers["user-agent"].to_str().unwrap().starts_with("eventyard/"));
    assert_eq!(headers.get_all("content-type").iter().count(), 1);
}

#[tokio::test]
async fn structured_form_carries_the_event_whole() {
    let server = serve(|| StatusCode::NO_CONTENT.into_response()).await;
    let sink = try_build(json!({ "url": server.url, "format": "structured", "method": "PUT" })).unwrap();
    assert_eq!(sink.send(request()).await.unwrap().code, "http_204");
    let (method, headers, body) = server.seen.lock().unwrap().remove(0);
    assert_eq!((method, headers["content-type"].to_str().unwrap()), (Method::PUT, "application/cloudevents+json"));
    assert!(!headers.keys().any(|name| name.as_str().starts_with("ce-")));
    // The data stands there as it came.
    assert!(String::from_utf8(body.to_vec()).unwrap().contains("\"data\":{\"amount\": 1.0}"));
}

#[tokio::test]
async fn what_a_rule_has_shaped_is_sent_as_it_is() {
    let server = serve(|| "".into_response()).await;
    for format in ["binary", "structured"] {
        let sink = try_build(json!({ "url": server.url, "format": format })).unwrap();
        let payload = Payload {
            content_type: Some("text/plain".into()),
            body: Bytes::from_static(b"hello"),
            form: PayloadForm::Shaped,
        };
        sink.send(SendRequest { payload, ..request() }).await.unwrap();
        let (_, headers, body) = server.seen.lock().unwrap().remove(0);
        assert_eq!((headers["content-type"].to_str().unwrap(), &body[..]), ("text/plain", &b"hello"[..]));
        assert!(!headers.contains_key("ce-id"));
    }
}

#[tokio::test]
async fn a_get_has_no_body() {
    let server = serve(|| "".into_response()).await;
    try_build(json!({ "url": server.url, "method": "GET" })).unwrap().send(request()).await.unwrap();
    let (method, headers, body) = server.seen.lock().unwrap().remove(0);
    assert_eq!((method, body.len(), headers.contains_key("content-type")), (Method::GET, 0, false));
    assert_eq!(headers["ce-id"], "7");
}

#[tokio::test]
async fn the_status_says_whether_another_attempt_may_help() {
    for status in [200, 201, 202, 204, 206] {
        assert_eq!(answered(status, &[]).await.unwrap().code, format!("http_{status}"));
    }
    for (status, retryable) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (405, false),
        (408, true),
        (409, false),
        (410, false),
        (413, false),
        (422, false),
        (425, true),
        (429, true),
        (500, true),
        (501, true),
        (502, true),
        (503, true),
        (504, true),
        (599, true),
    ] {
        let error = answered(status, &[]).await.unwrap_err();
        assert_eq!((error.code.clone(), error.retryable), (format!("http_{status}"), retryable));
        assert!(error.response_head.starts_with(&format!("HTTP {status}")), "{}", error.response_head);
        assert!(error.response_head.ends_with("\n\nsaid"), "{}", error.response_head);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let goal = serve(|| "reached".into_response()).await;
    for status in [300_u16, 301, 302, 303, 307, 308] {
        let location = goal.url.clone();
        let server =
            serve(move || (StatusCode::from_u16(status).unwrap(), [("location", location.clone())]).into_response())
                .await;
        let error = send(&server.url, request()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("redirect_refused", false), "{status}");
    }
    assert!(goal.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn retry_after_is_passed_on_where_a_retry_may_help() {
    for (status, value, expected) in [
        (503, "120", Some(120)),
        (429, "999999999", Some(3600)),
        (503, "-1", Some(0)),
        (503, "Sat, 21 Nov 2026 12:02:00 GMT", Some(120)),
        (503, "Sat, 21 Nov 2020 12:02:00 GMT", Some(0)),
        (503, "soon", None),
        (404, "120", None),
    ] {
        let error = answered(status, &[("retry-after", value)]).await.unwrap_err();
        assert_eq!(error.retry_after.map(|wait| wait.as_secs()), expected, "{status} {value}");
    }
}

#[tokio::test]
async fn nobody_listening_is_retryable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret?key=hunter2", listener.local_addr().unwrap());
    drop(listener);
    let error = send(&url, request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("connect", true));
    assert!(!error.message.contains("hunter2"), "{}", error.message);
    let error = send("http://no-such-host.invalid/", request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("connect", true));
}

#[tokio::test]
async fn https_to_what_speaks_no_tls_is_retryable() {
    let server = serve(|| "".into_response()).await;
    let error = send(&server.url.replace("http:", "https:"), request()).await.unwrap_err();
    // `tls_setup` on a machine that trusts nobody.
    assert!(error.retryable && ["connect", "tls_setup"].contains(&error.code.as_str()), "{error:?}");
}

#[tokio::test]
async fn a_silent_target_times_out() {
    let url = raw(|mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let error = send(&url, SendRequest { timeout: Duration::from_millis(200), ..request() }).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("timeout", true));
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_by_the_same_deadline() {
    let url = raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let error = send(&url, SendRequest { timeout: Duration::from_millis(300), ..request() }).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("timeout", true));
}

#[tokio::test]
async fn informational_answers_without_end_are_cut_off_too() {
    let url = raw(|mut stream| async move {
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let error = send(&url, SendRequest { timeout: Duration::from_millis(300), ..request() }).await.unwrap_err();
    assert!(error.retryable, "{error:?}");
}

#[tokio::test]
async fn of_an_endless_body_64_kib_are_read() {
    let url = raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
    })
    .await;
    let sent = send(&url, request()).await.unwrap();
    assert_eq!((&*sent.code, sent.body.len()), ("http_200", 64 * 1024));
    assert!(sent.response_head.len() <= 1024);
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let url = raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(format!("x: {}\r\n", "y".repeat(60_000)).as_bytes()).await.is_ok() {}
    })
    .await;
    let error = send(&url, request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("connection_lost", true));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_retryable() {
    let url = raw(|stream| async move {
        let mut stream = stream;
        read_head(&mut stream).await;
        // Unread bytes on both sides and no farewell: a reset.
        stream.set_zero_linger().unwrap();
    })
    .await;
    let error = send(&url, request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("connection_lost", true));

    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\nbad",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nbad",
    ] {
        let url = raw(move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let error = send(&url, request()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("response_broken", true), "{answer}");
        assert!(error.response_head.starts_with("HTTP 200"));
    }
    let url = raw(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"no HTTP at all\r\n\r\n").await.unwrap();
    })
    .await;
    assert!(send(&url, request()).await.unwrap_err().retryable);
}

#[tokio::test]
async fn no_line_break_reaches_a_header() {
    let server = serve(|| "".into_response()).await;
    for bad in [
        SendRequest { delivery: "a\r\nx: y".to_owned(), ..request() },
        SendRequest { traceparent: Some("a\nb".to_owned()), ..request() },
        SendRequest { payload: Payload { content_type: Some("a/b\r\nx: y".into()), ..request().payload }, ..request() },
    ] {
        let error = send(&server.url, bad).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("header_invalid", false));
    }
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_answers_cannot_be_text_is_shown_as_far_as_it_can() {
    let server =
        serve(|| (StatusCode::BAD_REQUEST, [("set-cookie", "session=s3cret")], vec![0xff_u8; 5000]).into_response())
            .await;
    let error = send(&server.url, request()).await.unwrap_err();
    assert!(error.response_head.len() <= 1024 && !error.response_head.contains("s3cret"));
}

#[tokio::test]
async fn a_link_local_address_is_refused_at_load_however_it_is_written() {
    for url in [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
    ] {
        let errors = try_build(json!({ "url": url })).unwrap_err();
        assert_eq!(errors[0].code, "egress_blocked", "{url}");
    }
    let allowed = HttpClient::new(vec!["169.254.0.0/16".parse().unwrap()]);
    let plain = normalise(TARGET_FIELDS, json!({ "url": "http://169.254.169.254/" }).as_object().unwrap()).unwrap();
    assert!(HttpSink::build(&Value::Object(plain), &allowed).is_ok());
}

#[test]
fn what_the_project_gets_wrong_is_said_at_its_key() {
    for (table, path, code) in [
        (json!({}), "", "missing_key"),
        (json!({ "url": "" }), "url", "bad_url"),
        (json!({ "url": "example.com" }), "url", "bad_url"),
        (json!({ "url": "file:///etc/passwd" }), "url", "bad_url"),
        (json!({ "url": "gopher://a/" }), "url", "bad_url"),
        (json!({ "url": "http://user:hunter2@a/" }), "url", "bad_url"),
        (json!({ "url": "http://a/\r\nx: y" }), "url", "bad_url"),
        (json!({ "url": "http://a/ b" }), "url", "bad_url"),
        (json!({ "url": "http://a/", "method": "TRACE" }), "method", "bad_value"),
        (json!({ "url": "http://a/", "headers": { "a b": "c" } }), "headers.a b", "bad_value"),
        (json!({ "url": "http://a/", "headers": { "a": "c\r\nd: hunter2" } }), "headers.a", "bad_value"),
        (json!({ "url": "http://a/", "headers": { "Content-Length": "1" } }), "headers.Content-Length", "bad_value"),
        (json!({ "url": "http://a/", "headers": { "ce-id": "1" } }), "headers.ce-id", "bad_value"),
        (json!({ "url": "http://a/", "auth": { "kind": "bearer", "token": "" } }), "auth.token", "secret_empty"),
        (json!({ "url": "http://a/", "auth": { "kind": "bearer", "token": "hunter2\n" } }), "auth.token", "bad_value"),
        (json!({ "url": "http://a/", "auth": { "kind": "bearer" } }), "auth", "missing_key"),
        (json!({ "url": "http://a/", "auth": { "kind": "berer", "token": "t" } }), "auth.kind", "bad_value"),
        (
            json!({ "url": "http://a/", "headers": { "Authorization": "x" }, "auth": { "kind": "bearer", "token": "t" } }),
            "auth",
            "conflict",
        ),
        (json!({ "url": "http://a/", "format": "batch" }), "format", "bad_value"),
    ] {
        let errors = try_build(table.clone()).unwrap_err();
        let found: Vec<(String, &str)> = errors.iter().map(|error| (error.path.join("."), error.code)).collect();
        assert_eq!(found, [(path.to_owned(), code)], "{table}: {errors:?}");
        assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
    }
}

#[test]
fn a_sink_shows_no_secret() {
    let sink = try_build(json!({
        "url": "https://example.com/in?key=1", "auth": { "kind": "basic", "username": "u", "password": "hunter2" }
    }))
    .unwrap();
    assert!(!format!("{sink:?}").contains("hunter2"));
    assert_eq!(sink.address(), "https://example.com/in");
}
