//! What the sink and the fetching of objects promise.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::objects::Objects;
use eventyard_connectors::s3::{S3Sink, SINK_SPEC, VIA};
use eventyard_connectors::sink::{Payload, PayloadForm, SendRequest, Sink};
use eventyard_connectors::spec::normalise;
use eventyard_event::{Data, Envelope, Event, EventId, ExtensionValue, Name, Timestamp};
use serde_json::{Map, Value, json};

use crate::polling::{Polled, build};
use crate::server::buckets;

pub(crate) fn sink(table: &Map<String, Value>) -> S3Sink {
    let table = Value::Object(normalise(SINK_SPEC.fields, table).unwrap());
    match S3Sink::build(&table) {
        Ok(sink) => sink,
        Err(errors) => panic!("{errors:?}"),
    }
}

pub(crate) fn request(number: u8, subject: &str, via: Option<&str>) -> SendRequest {
    let data = Bytes::from(json!({ "number": number }).to_string());
    let extensions = via.iter().map(|via| (VIA.into(), ExtensionValue::String((*via).into())));
    let event = Event {
        id: number.to_string().into(),
        source: "/shop".into(),
        ty: "order.created".into(),
        subject: Some(subject.into()),
        time: Some("2026-11-22T01:02:03Z".into()),
        datacontenttype: Some("application/json".into()),
        extensions: extensions.collect(),
        data: Data::Json(data.clone()),
        ..Event::default()
    };
    let envelope = Envelope {
        id: EventId::from_bytes([number; 16]),
        namespace: Name::default_namespace(),
        source_name: Name::new("shop").unwrap(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event,
    };
    SendRequest {
        delivery: format!("delivery-{number}"),
        attempt: 1,
        at: Timestamp::EPOCH,
        payload: Payload { content_type: Some("text/plain".into()), body: data, form: PayloadForm::Raw },
        event: Arc::new(envelope),
        timeout: Duration::from_secs(10),
        traceparent: None,
    }
}

#[tokio::test]
async fn an_object_of_lines_is_there_when_the_sink_says_so_and_a_repeat_writes_over_it() {
    for bucket in buckets("lines").await {
        let sink = sink(&bucket.table(&json!({ "compression": "gzip" })));
        let sent = sink.send(request(1, "a", None)).await.unwrap();
        assert_eq!(sent.code, "object_written");
        sink.send(request(1, "a", None)).await.unwrap();
        assert_eq!(bucket.keys().await, ["order.created/2026/11/22/delivery-1.jsonl.gz"]);
        let (packed, _) = bucket.get("order.created/2026/11/22/delivery-1.jsonl.gz").await;
        let mut lines = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut lines).unwrap();
        let line: Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!((&line["type"], &line["data"]["number"]), (&json!("order.created"), &json!(1)));
    }
}

#[tokio::test]
async fn the_data_of_an_event_is_an_object_whatever_its_key_says() {
    for bucket in buckets("object").await {
        let table = bucket.table(&json!({ "write": "object", "prefix": "out/", "key": "{subject}" }));
        let sink = sink(&table);
        for subject in ["photos/in/über a+b%20.txt", "../../etc/passwd", "日本語/🎉", "a\\b", "100%"] {
            sink.send(request(1, subject, None)).await.unwrap();
        }
        let mut keys = bucket.keys().await;
        keys.sort();
        let mut expected = [
            "out/photos/in/über a+b%2520.txt",
            "out/%2E%2E/%2E%2E/etc/passwd",
            "out/日本語/🎉",
            "out/a%5Cb",
            "out/100%25",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected, "{:?}", bucket.kind);
        assert_eq!(bucket.get("out/日本語/🎉").await.0, br#"{"number":1}"#);
        let long = sink.send(request(1, &"x".repeat(1100), None)).await.unwrap_err();
        assert_eq!((long.code.as_str(), long.retryable), ("key_too_long", false));
    }
}

#[tokio::test]
async fn what_a_source_brought_in_does_not_come_in_by_it_again() {
    for bucket in buckets("loop").await {
        let mut polled = Polled::connect(&bucket, &json!({}), None).await;
        polled.settled().await;
        bucket.put("in/a.txt", b"a").await;
        let [incoming] = polled.next().await.try_into().unwrap();
        let Some(ExtensionValue::String(via)) = incoming.event.extensions.get(VIA) else { panic!("{incoming:?}") };
        // Written back to where the source looks, by a rule that answers its event.
        let sink = sink(&bucket.table(&json!({ "write": "object", "prefix": "", "key": "{subject}" })));
        sink.send(request(1, "in/a.txt.out", Some(via))).await.unwrap();
        let (_, metadata) = bucket.get("in/a.txt.out").await;
        assert_eq!(metadata["eventyard-via"], *via);
        polled.silence().await;
        // By another source's mark it does come in, with both.
        sink.send(request(2, "in/b.txt", Some("elsewhere-00000000"))).await.unwrap();
        let [incoming] = polled.next().await.try_into().unwrap();
        let both = format!("elsewhere-00000000,{via}");
        assert_eq!(incoming.event.extensions.get(VIA), Some(&ExtensionValue::String(both.into())));
    }
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart() {
    for bucket in buckets("refused").await {
        let code = async |more: Value| {
            let error = sink(&bucket.table(&more)).send(request(1, "a", None)).await.unwrap_err();
            assert!(!error.message.contains("hunter22"), "{}", error.message);
            (error.code, error.retryable)
        };
        assert_eq!(code(json!({ "secret_access_key": "hunter22" })).await, ("auth".to_owned(), true));
        assert_eq!(code(json!({ "bucket": "not-there-at-all" })).await, ("no_such_bucket".to_owned(), false));
        assert_eq!(code(json!({ "endpoint": "http://127.0.0.1:1" })).await, ("connect".to_owned(), true));
    }
}

#[tokio::test]
async fn bytes_are_fetched_for_whom_they_are_for_within_a_limit() {
    for bucket in buckets("fetch").await {
        let objects = build("uploads", &bucket.table(&json!({}))).objects;
        let named = |data: Value| Event { data: Data::Json(Bytes::from(data.to_string())), ..Event::default() };
        let key = "in/über a.txt";
        bucket.put(key, b"twelve bytes").await;
        let event = named(json!({ "bucket": bucket.name, "key": key, "size": 12, "version_id": null }));
        assert_eq!(objects.fetch(&event, 12).await.unwrap().body.as_ref(), b"twelve bytes");
        let code = async |data: Value, max: u64| {
            let error = objects.fetch(&named(data), max).await.unwrap_err();
            (error.code, error.retryable)
        };
        let too_large = ("object_too_large".to_owned(), false);
        assert_eq!(code(json!({ "bucket": bucket.name, "key": key }), 11).await, too_large);
        // Five tebibytes: nothing is asked for at all.
        let huge = json!({ "bucket": bucket.name, "key": "not/there", "size": 5_u64 << 40 });
        assert_eq!(code(huge, 10 << 20).await, too_large);
        bucket.delete(key).await;
        assert_eq!(code(json!({ "bucket": bucket.name, "key": key }), 12).await, ("object_gone".to_owned(), false));
        for none in [json!({ "bucket": "another", "key": key }), json!({ "key": key }), json!([])] {
            assert_eq!(code(none, 12).await, ("no_object".to_owned(), false));
        }
    }
}
