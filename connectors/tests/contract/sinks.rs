//! What every sink promises.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::http::HttpClient;
use eventyard_connectors::registry::build_sink;
use eventyard_connectors::sink::{Payload, PayloadForm, SendError, SendRequest, Sent, Sink};
use eventyard_connectors::spec::Role;
use eventyard_event::{Data, Envelope, Event, EventId, Name, format_text};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::broker::{now, numbered, plain};
use crate::proxy::Proxy;
use crate::sources::fresh;
use crate::system::System;

const TIMEOUT: Duration = Duration::from_secs(5);

async fn prepared(system: &dyn System, promise: &str) -> (String, Proxy, Arc<dyn Sink>) {
    let place = fresh(promise);
    system.prepare(&place).await;
    let proxy = system.proxy().await;
    let sink = sink(system, &system.sink(proxy.address(), &place));
    (place, proxy, sink)
}

pub(crate) fn sink(system: &dyn System, settings: &Value) -> Arc<dyn Sink> {
    let client = HttpClient::new(Vec::new());
    build_sink(system.kind(), &plain(Role::Sink, system.kind(), settings), &client).unwrap()
}

/// A delivery of an event whose data has this number.
pub(crate) fn request(n: u64, body: Bytes) -> SendRequest {
    let id = EventId::new(now(), n.to_be_bytes().into_iter().chain([0, 0]).collect::<Vec<u8>>().try_into().unwrap());
    let event = Event {
        id: format_text!("order-{n}"),
        source: "/shop".into(),
        ty: "order.created".into(),
        datacontenttype: Some("application/json".into()),
        data: Data::Json(body.clone()),
        ..Event::default()
    };
    let envelope = Envelope {
        id,
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").unwrap(),
        tags: Vec::new(),
        received_at: now(),
        hop_count: 0,
        keys_unique: true,
        event,
    };
    SendRequest {
        delivery: id.delivery(0).to_string(),
        attempt: 1,
        at: now(),
        event: Arc::new(envelope),
        payload: Payload { content_type: Some("application/json".into()), body, form: PayloadForm::Raw },
        timeout: TIMEOUT,
        traceparent: None,
    }
}

async fn send_all(sink: &dyn Sink, requests: Vec<SendRequest>) -> Vec<Result<Sent, SendError>> {
    let at_once = sink.concurrency().unwrap_or(64);
    stream::iter(requests).map(|request| sink.send(request)).buffered(at_once).collect().await
}

fn numbers(contents: Vec<Bytes>) -> Vec<u64> {
    let number = |body: Bytes| serde_json::from_slice::<Value>(&body).unwrap()["n"].as_u64().unwrap();
    let mut numbers: Vec<u64> = contents.into_iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

pub(crate) async fn a_thousand_are_there_when_they_are_confirmed(system: &dyn System, promise: &str) {
    let (place, _proxy, sink) = prepared(system, promise).await;
    let requests = (0..1000).map(|n| request(n, numbered(n, 500))).collect();
    for sent in send_all(sink.as_ref(), requests).await {
        sent.unwrap();
    }
    assert!(numbers(system.contents(&place).await).into_iter().eq(0..1000));
    sink.close().await;
}

/// At least once is promised; who has ids of its own keeps it to once.
pub(crate) async fn a_repeat_is_told_by_its_delivery(system: &dyn System, promise: &str) {
    let (place, _proxy, sink) = prepared(system, promise).await;
    let one = request(7, numbered(7, 100));
    sink.send(one.clone()).await.unwrap();
    sink.send(SendRequest { attempt: 2, ..one }).await.unwrap();
    let found = numbers(system.contents(&place).await);
    assert!(found == [7] || found == [7, 7], "{found:?}");
    sink.close().await;
}

pub(crate) async fn without_a_connection_a_send_may_be_tried_again(system: &dyn System, promise: &str) {
    let (_place, proxy, sink) = prepared(system, promise).await;
    proxy.shut();
    let began = tokio::time::Instant::now();
    let error = sink.send(request(1, numbered(1, 100))).await.unwrap_err();
    assert!(error.retryable, "{error:?}");
    proxy.open();
    proxy.swallow();
    let error = sink.send(request(1, numbered(1, 100))).await.unwrap_err();
    assert!(error.retryable, "{error:?}");
    assert!(began.elapsed() < 3 * TIMEOUT, "{:?}", began.elapsed());
    sink.close().await;
}

pub(crate) async fn after_a_cut_connection_sends_succeed_again(system: &dyn System, promise: &str) {
    let (place, proxy, sink) = prepared(system, promise).await;
    sink.send(request(0, numbered(0, 100))).await.unwrap();
    proxy.cut();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match sink.send(request(1, numbered(1, 100))).await {
            Ok(_) => break,
            Err(error) => assert!(error.retryable && tokio::time::Instant::now() < deadline, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut found = numbers(system.contents(&place).await);
    found.dedup();
    assert_eq!(found, [0, 1]);
    sink.close().await;
}
