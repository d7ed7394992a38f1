//! What `POST /events` takes and what it refuses: 202 for events that are on disk, and a code for the rest, of
//! which nothing was taken.

use eventyard_store::StoreError;
use serde_json::json;

use crate::http_broker::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX, HttpBroker, start};
use crate::wire::{Answer, Wire, request};

/// What a whole event has.
const WHOLE: &str = r#""specversion":"1.0","id":"1","source":"/shop","type":"order.created""#;

async fn binary(server: &HttpBroker, headers: &str, body: &str) -> Answer {
    request(server.address, &format!("POST /events HTTP/1.1\n{headers}"), body).await
}

async fn batch(server: &HttpBroker, json: &str) -> Answer {
    request(server.address, "POST /events HTTP/1.1\ncontent-type: application/cloudevents-batch+json", json).await
}

/// Refused with this code, and nothing of it is kept.
async fn refused(server: &HttpBroker, answer: Answer, status: u16, code: &str) -> serde_json::Value {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    assert_eq!(server.store.event_count(), 0, "nothing of it was taken");
    answer.json()
}

#[tokio::test]
async fn an_event_is_taken_in_each_of_its_forms() {
    let server = start().await;
    let structured = server.send(&format!(r#"{{{WHOLE},"data":{{"amount":1500}}}}"#)).await;
    assert_eq!(structured.status, 202);
    let receipt = &structured.json()["accepted"][0];
    assert_eq!(receipt["id"], "1");
    assert_eq!(receipt["source"], "/shop");
    assert_eq!(receipt["duplicate"], false);
    assert_eq!(receipt["rules"], json!(["big-orders"]));
    assert_eq!(receipt["hint"], json!(null));

    let headers =
        "ce-specversion: 1.0\nce-id: 2\nce-source: /shop\nce-type: order.created\ncontent-type: application/json";
    let answer = binary(&server, headers, r#"{"amount": 5}"#).await;
    assert_eq!(answer.status, 202);
    let receipt = &answer.json()["accepted"][0];
    assert_eq!(receipt["rules"], json!([]));
    let event = receipt["event"].as_str().unwrap();
    assert_eq!(receipt["hint"], format!("no rule matched; eventyard explain {event}"));

    let both = format!(r#"[{{{WHOLE}}},{{"specversion":"1.0","id":"3","source":"/shop","type":"x"}}]"#);
    let answer = batch(&server, &both).await;
    assert_eq!((answer.status, answer.json()["accepted"].as_array().unwrap().len()), (202, 2));
}

#[tokio::test]
async fn a_missing_attribute_is_named() {
    let server = start().await;
    for attribute in ["specversion", "id", "source", "type"] {
        let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/shop", "type": "t" });
        event.as_object_mut().unwrap().remove(attribute);
        let answer = server.send(&event.to_string()).await;
        let problem = refused(&server, answer, 400, "ce_missing_attribute").await;
        assert_eq!(problem["where"], attribute);
    }
    let answer = binary(&server, "ce-specversion: 1.0\nce-id: 1\nce-source: /s", "").await;
    assert_eq!(refused(&server, answer, 400, "ce_missing_attribute").await["where"], "type");
}

#[tokio::test]
async fn another_specversion_is_refused() {
    let server = start().await;
    for version in ["0.3", "2.0", ""] {
        let event = json!({ "specversion": version, "id": "1", "source": "/shop", "type": "t" });
        let answer = server.send(&event.to_string()).await;
        refused(&server, answer, 400, "ce_specversion").await;
    }
}

#[tokio::test]
async fn attributes_that_the_specification_does_not_allow_are_refused() {
    let server = start().await;
    for (key, value) in [
        ("id", json!("")),
        ("id", json!("a\u{0}b")),
        ("id", json!("x".repeat(5000))),
        ("source", json!("a b:// not a reference")),
        ("time", json!("yesterday")),
        ("time", json!("10000-01-01T00:00:00Z")),
        ("Bad-Name", json!("x")),
        ("nämlich", json!("x")),
        ("extension", json!({ "nested": true })),
    ] {
        let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/shop", "type": "t" });
        event[key] = value;
        let answer = server.send(&event.to_string()).await;
        refused(&server, answer, 400, "ce_attribute").await;
    }
    let twice = "ce-specversion: 1.0\nce-id: 1\nce-id: 2\nce-source: /s\nce-type: t";
    let answer = binary(&server, twice, "").await;
    refused(&server, answer, 400, "ce_attribute").await;
    let broken = "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\nce-subject: %E2%2";
    let answer = binary(&server, broken, "").await;
    refused(&server, answer, 400, "ce_attribute").await;
}

#[tokio::test]
async fn structured_wins_over_headers_beside_it() {
    let server = start().await;
    let head = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json\nce-id: other\nce-type: other";
    let answer = request(server.address, head, format!("{{{WHOLE}}}")).await;
    assert_eq!((answer.status, answer.json()["accepted"][0]["id"].as_str()), (202, Some("1")));
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let server = start().await;
    let answer = batch(&server, "[]").await;
    assert_eq!((answer.status, answer.json()), (202, json!({ "accepted": [] })));

    let bad_in_the_middle = format!(r#"[{{{WHOLE}}},{{"specversion":"1.0","id":"2","type":"t"}},{{{WHOLE}}}]"#);
    let answer = batch(&server, &bad_in_the_middle).await;
    let problem = refused(&server, answer, 400, "ce_missing_attribute").await;
    assert_eq!(problem["where"], "[1] source");

    let many = vec![format!("{{{WHOLE}}}"); BATCH_EVENTS_MAX + 1].join(",");
    let answer = batch(&server, &format!("[{many}]")).await;
    let problem = refused(&server, answer, 413, "body_too_large").await;
    assert!(problem["detail"].as_str().unwrap().contains("`batch`"), "the limit is named: {problem}");

    let answer = batch(&server, &format!("[{}]", " ".repeat(100_000))).await;
    refused(&server, answer, 413, "body_too_large").await;
}

#[tokio::test]
async fn data_that_cannot_be_read_is_refused() {
    let server = start().await;
    for data in [r#""data":1,"data_base64":"AA==""#, r#""data_base64":"!""#] {
        let answer = server.send(&format!("{{{WHOLE},{data}}}")).await;
        refused(&server, answer, 400, "ce_data").await;
    }
}

#[tokio::test]
async fn a_repeated_id_is_the_first_event_again_whatever_its_body() {
    let server = start().await;
    let first = server.send(&format!(r#"{{{WHOLE},"data":1}}"#)).await.json();
    for body in [r#""data":1"#, r#""data":{"amount":9999}"#] {
        let again = server.send(&format!("{{{WHOLE},{body}}}")).await;
        assert_eq!(again.status, 202);
        let receipt = again.json()["accepted"][0].clone();
        assert_eq!(receipt["duplicate"], true);
        assert_eq!(receipt["event"], first["accepted"][0]["event"]);
    }
    assert_eq!(server.store.event_count(), 1);
}

#[tokio::test]
async fn broken_json_is_refused_with_line_and_column() {
    let server = start().await;
    for broken in ["{", "{} x", r#"{"a":NaN}"#, r#"{"a":Infinity}"#, "{'a':1}", "\u{feff}{}", "", "{\n\"a\" 1}"] {
        let answer = server.send(broken).await;
        let problem = refused(&server, answer, 400, "json_invalid").await;
        let place = problem["where"].as_str().unwrap().to_owned();
        assert!(place.starts_with("line ") && place.contains("column "), "{broken:?}: {place}");
    }
    for broken in [&b"{\"a\":\"\xff\"}"[..], br#"{"a":"\ud800"}"#] {
        let head = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json";
        let answer = request(server.address, head, broken).await;
        refused(&server, answer, 400, "json_invalid").await;
    }
    let headers = "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\ncontent-type: application/json";
    let answer = binary(&server, headers, "{").await;
    refused(&server, answer, 400, "json_invalid").await;
}

#[tokio::test]
async fn json_that_is_nested_without_end_is_refused() {
    let server = start().await;
    let deep = "[".repeat(10_000);
    let answer = server.send(&format!("{{{WHOLE},\"data\":{deep}")).await;
    refused(&server, answer, 400, "ce_limit").await;
    let answer = server.send(&deep).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn numbers_and_repeated_keys_are_kept_as_they_were_sent() {
    let server = start().await;
    for (number, data) in [
        r#"{"n":1e999}"#,
        r#"{"n":-0}"#,
        r#"{"n":18446744073709551617}"#,
        r#"{"n":0.1000000000000000000000000001}"#,
        r#"{"a":1,"a":2}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let event = format!(r#"{{"specversion":"1.0","id":"{number}","source":"/s","type":"t","data":{data}}}"#);
        let answer = server.send(&event).await;
        assert_eq!(answer.status, 202, "{data}: {answer:?}");
        assert_eq!(server.store.newest_data(), data.as_bytes());
        let id = answer.json()["accepted"][0]["event"].as_str().unwrap().to_owned();
        let shown = server.get(&format!("/api/v1/events/{id}")).await;
        assert!(shown.body.contains(&format!("\"data\":{data}")), "shown as it was sent: {}", shown.body);
    }
}

#[tokio::test]
async fn an_event_over_the_limit_is_refused_before_it_is_read() {
    let server = start().await;
    let mut wire = Wire::connect(server.address).await;
    let length = EVENT_BYTES_MAX + 1;
    let head = format!("content-type: application/cloudevents+json\r\ncontent-length: {length}");
    wire.send(format!("POST /events HTTP/1.1\r\nhost: test\r\n{head}\r\n\r\n")).await;
    let answer = wire.answer().await;
    assert_eq!(answer.json()["where"], "event");
    refused(&server, answer, 413, "body_too_large").await;
    wire.closed().await;

    let key = "k".repeat(EVENT_BYTES_MAX - 200);
    let answer = server.send(&format!(r#"{{{WHOLE},"data":{{"{key}":1}}}}"#)).await;
    assert_eq!(answer.status, 202, "a key as long as the limit allows");
}

#[tokio::test]
async fn a_body_that_is_no_cloudevent_is_refused_with_what_would_do() {
    let server = start().await;
    for content_type in ["application/json", "text/plain", "application/cloudevents+xml"] {
        let answer = binary(&server, &format!("content-type: {content_type}"), "{}").await;
        let problem = refused(&server, answer, 415, "content_type").await;
        assert!(problem["fix"].as_str().unwrap().contains("application/cloudevents+json"), "{problem}");
    }
    let answer = server.send("[1]").await;
    refused(&server, answer, 400, "ce_shape").await;
    let head = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json\ncontent-encoding: gzip";
    let answer = request(server.address, head, "x").await;
    refused(&server, answer, 415, "content_encoding").await;
}

#[tokio::test]
async fn a_store_that_cannot_take_events_is_a_503_or_507_with_retry_after() {
    let server = start().await;
    for (failure, status, code) in [
        (StoreError::Full, 507, "no_space"),
        (StoreError::Busy, 503, "busy"),
        (StoreError::Poisoned("the disk said no".into()), 503, "store_poisoned"),
        (StoreError::Closed, 503, "stopping"),
    ] {
        server.store.fail(Some(failure));
        let answer = server.send(&format!("{{{WHOLE}}}")).await;
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(!answer.body.contains("the disk said no"), "the log has it, the client does not");
        refused(&server, answer, status, code).await;
    }
    server.store.fail(None);
    assert_eq!(server.send(&format!("{{{WHOLE}}}")).await.status, 202);

    server.broker.set_accepting(false);
    let answer = server.send(&format!("{{{WHOLE}}}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "stopping"));
}

#[tokio::test]
async fn what_is_refused_is_counted_by_its_code() {
    let server = start().await;
    server.send("{").await;
    server.store.fail(Some(StoreError::Full));
    server.send(&format!("{{{WHOLE}}}")).await;
    let metrics = server.get("/metrics").await;
    assert!(metrics.body.contains(r#"eventyard_events_refused_total{code="json_invalid"} 1"#), "{}", metrics.body);
    assert!(metrics.body.contains(r#"eventyard_events_refused_total{code="no_space"} 1"#), "{}", metrics.body);
}
