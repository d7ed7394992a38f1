//! Bodies and heads without measure, against the running program: refused at their limit, the connection
//! closed, and the memory of the process bounded.

use std::time::{Duration, Instant};

use crate::wire::Wire;
use crate::wire_broker::WireBroker;

/// How much the process may grow by in a test that keeps to the limits: far below the gibibyte that is sent.
const GROWTH_BYTES_MAX: usize = 32 << 20;

const EVENT: &str = r#"{"specversion":"1.0","id":"ID","source":"/s","type":"t"}"#;

/// An event before and, by its id, after whatever a test does.
async fn an_event(broker: &WireBroker, id: &str) {
    let answer = broker.structured(EVENT.replace("ID", id)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Sends 64 KiB chunks until the server hangs up or a gibibyte is sent; returns how many bytes went.
async fn flood(wire: &mut Wire) -> usize {
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend_from_slice(&[b'a'; 0x1_0000]);
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while sent < 1 << 30 && wire.try_send(&chunk).await {
        sent += 0x1_0000;
    }
    sent
}

#[tokio::test]
async fn a_gibibyte_with_a_length_is_refused_unread_wherever_it_is_sent() {
    let broker = WireBroker::start().await;
    an_event(&broker, "before").await;
    let before = broker.memory_peak_bytes();
    for (head, status, code) in [
        ("POST /events HTTP/1.1\ncontent-type: application/cloudevents+json", 413, "body_too_large"),
        ("POST /events HTTP/1.1\ncontent-type: application/cloudevents-batch+json", 413, "body_too_large"),
        ("POST /in/x HTTP/1.1", 413, "body_too_large"),
        ("POST /api/v1/explain HTTP/1.1\ncontent-type: application/json", 413, "body_too_large"),
        ("POST /events HTTP/1.1\ncontent-type: text/plain", 415, "content_type"),
        ("PUT /events HTTP/1.1", 405, "method_not_allowed"),
        ("DELETE /in/x HTTP/1.1", 405, "method_not_allowed"),
        ("POST /nothing HTTP/1.1", 404, "not_found"),
    ] {
        let mut wire = broker.connect().await;
        let lines = head.replace('\n', "\r\n");
        wire.send(format!("{lines}\r\nhost: test\r\ncontent-length: 1073741824\r\n\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{head}");
        assert_eq!(answer.header("connection"), Some("close"), "{head}");
        wire.closed().await;
    }
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    an_event(&broker, "after").await;
    broker.is_well().await;
}

#[tokio::test]
async fn a_gibibyte_in_chunks_is_given_up_at_the_limit() {
    let broker = WireBroker::start().await;
    an_event(&broker, "before").await;
    let before = broker.memory_peak_bytes();
    let heads = ["POST /events HTTP/1.1\r\ncontent-type: application/cloudevents+json", "POST /in/x HTTP/1.1"];
    // Eight at a time, as a flood would come.
    let floods = (0..8).map(|number| {
        let (broker, head) = (&broker, heads[number % heads.len()]);
        async move {
            let mut wire = broker.connect().await;
            wire.send(format!("{head}\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")).await;
            flood(&mut wire).await
        }
    });
    for sent in futures_util::future::join_all(floods).await {
        assert!(sent < 64 << 20, "the server read {sent} bytes of a body that it does not want");
    }
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    an_event(&broker, "after").await;
    broker.is_well().await;
}

#[tokio::test]
async fn a_batch_without_end_is_given_up_at_the_limit_of_batches() {
    let broker = WireBroker::start().await;
    let before = broker.memory_peak_bytes();
    let mut wire = broker.connect().await;
    let head = "POST /events HTTP/1.1\r\ncontent-type: application/cloudevents-batch+json";
    wire.send(format!("{head}\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    let sent = flood(&mut wire).await;
    assert!(sent < 128 << 20, "the server read {sent} bytes of a batch that may have 64 MiB");
    let growth = broker.memory_peak_bytes() - before;
    // The limit, once more while the buffer grows, and what everything else needs.
    assert!(growth < 3 * (64 << 20) + GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    broker.is_well().await;
}

#[tokio::test]
async fn a_body_that_stops_half_way_is_given_up_after_ten_seconds_and_nothing_of_it_taken() {
    let broker = WireBroker::start().await;
    let event = EVENT.replace("ID", "half");
    let (half, rest) = event.split_at(20);
    let framings = [
        format!("content-length: {}\r\n\r\n{half}", event.len()),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n{:x}\r\n", half.len(), rest.len()),
    ];
    let began = Instant::now();
    let stalled = framings.iter().map(|framing| {
        let broker = &broker;
        async move {
            let mut wire = broker.connect().await;
            let head = "POST /events HTTP/1.1\r\nhost: test\r\ncontent-type: application/cloudevents+json";
            wire.send(format!("{head}\r\n{framing}")).await;
            let answer = wire.answer().await;
            assert_eq!((answer.status, answer.code().as_str()), (408, "body_timeout"));
            assert_eq!(answer.header("connection"), Some("close"));
            wire.closed().await;
        }
    });
    futures_util::future::join_all(stalled).await;
    assert!((9..60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // The same event, sent again, is not known.
    let answer = broker.structured(&event).await;
    assert_eq!(answer.json()["accepted"][0]["duplicate"], false);
    broker.is_well().await;
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_body_leaves_nothing() {
    let broker = WireBroker::start().await;
    for _ in 0..20 {
        let mut wire = broker.connect().await;
        let head = "POST /events HTTP/1.1\r\nhost: test\r\ncontent-type: application/cloudevents+json";
        let event = EVENT.replace("ID", "broken");
        wire.send(format!("{head}\r\ncontent-length: {}\r\n\r\n{}", event.len(), &event[..event.len() - 1])).await;
        drop(wire);
    }
    broker.is_well().await;
}

#[tokio::test]
async fn too_many_headers_or_too_large_a_head_are_431_and_the_connection_closed() {
    let broker = WireBroker::start().await;
    an_event(&broker, "before").await;
    let before = broker.memory_peak_bytes();
    let many: String = (0..1000).map(|number| format!("x-{number}: 1\r\n")).collect();
    let large = format!("x-large: {}\r\n", "a".repeat(1 << 20));
    let long_name = format!("{}: 1\r\n", "n".repeat(1 << 20));
    for headers in [many, large, long_name] {
        let mut wire = broker.connect().await;
        wire.try_send(format!("POST /events HTTP/1.1\r\nhost: test\r\n{headers}content-length: 0\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status, 431);
        wire.closed().await;
    }
    let growth = broker.memory_peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    an_event(&broker, "after").await;
    broker.is_well().await;
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_says_that_the_connection_ends() {
    let broker = WireBroker::start().await;
    // What comes after a body that nobody reads must not be taken for a request.
    let hidden = "GET /healthz HTTP/1.1\r\nhost: smuggled\r\n\r\n";
    for head in ["POST /events HTTP/1.1\r\ncontent-type: text/plain", "POST /nothing HTTP/1.1", "GET /healthz HTTP/1.1"]
    {
        let mut wire = broker.connect().await;
        wire.send(format!("{head}\r\nhost: test\r\ncontent-length: {}\r\n\r\n", hidden.len())).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        wire.try_send(hidden).await;
        let answer = wire.answer().await;
        assert_eq!(answer.header("connection"), Some("close"), "{head}: {answer:?}");
        wire.closed().await;
    }
    broker.is_well().await;
}
