//! What goes into topics.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::kafka::{KafkaSink, SINK_SPEC};
use eventyard_connectors::sink::{Payload, PayloadForm, SendRequest, Sink};
use eventyard_event::{Data, Envelope, Event, EventId, ExtensionValue, Name, Timestamp};
use futures_util::future::join_all;
use rdkafka::Message;
use rdkafka::message::{Headers, OwnedMessage};

use super::cluster::{assert_exactly, shared, table, unique};

pub(crate) fn sink(brokers: &str, topic: &str, more: &str) -> KafkaSink {
    let toml = format!("brokers = \"{brokers}\"\ntopic = \"{topic}\"\n{more}");
    KafkaSink::build(&table(&SINK_SPEC, &toml)).unwrap()
}

pub(crate) fn request(data: Data) -> SendRequest {
    let event = Event {
        id: "7".into(),
        source: "/shop".into(),
        ty: "order".into(),
        subject: Some("größe 5".into()),
        extensions: [("attempts".into(), ExtensionValue::Integer(3))].into(),
        data,
        ..Event::default()
    };
    let (content_type, body) = (event.data.json().map(|_| "application/json".to_owned()), event.data.bytes().to_vec());
    let envelope = Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("s").unwrap(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event,
    };
    SendRequest {
        delivery: "d-1".into(),
        attempt: 1,
        at: Timestamp::EPOCH,
        event: Arc::new(envelope),
        payload: Payload {
            content_type: content_type.map(Into::into),
            body: Bytes::from(body),
            form: PayloadForm::Raw,
        },
        timeout: Duration::from_secs(30),
        traceparent: None,
    }
}

pub(crate) fn json(text: String) -> Data {
    Data::Json(Bytes::from(text))
}

fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let headers = message.headers().unwrap();
    let found = headers.iter().find(|header| header.key == name)?;
    Some(String::from_utf8(found.value.unwrap().to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_say_the_whole_event() {
    let Some(kafka) = shared() else { return };
    let topic = unique("forms");
    kafka.create_topic(&topic, 1, &[]).await;
    let binary = sink(&kafka.brokers, &topic, "key = \"data.customer.id\"");
    let sent = binary.send(request(json("{\"customer\":{\"id\":\"c7\"}}".into()))).await.unwrap();
    assert_eq!(sent.response_head, format!("{topic}/0/0"));
    binary.send(request(Data::None)).await.unwrap();
    let structured = sink(&kafka.brokers, &topic, "format = \"structured\"\nkey = \"{type}/{data.x}\"");
    structured.send(request(json("{\"x\":1.5}".into()))).await.unwrap();
    let all = kafka.all(&topic);
    assert_eq!(all[0].key(), Some(&b"c7"[..]));
    assert_eq!(all[0].payload(), Some(&b"{\"customer\":{\"id\":\"c7\"}}"[..]));
    for (name, value) in [
        ("ce_specversion", "1.0"),
        ("ce_id", "7"),
        ("ce_source", "/shop"),
        ("ce_type", "order"),
        ("ce_subject", "größe 5"),
        ("ce_attempts", "3"),
        ("content-type", "application/json"),
        ("eventyard-delivery", "d-1"),
        ("eventyard-hops", "1"),
    ] {
        assert_eq!(header(&all[0], name).as_deref(), Some(value), "{name}");
    }
    assert_eq!((all[1].payload(), all[1].key()), (None, None));
    assert_eq!(header(&all[2], "content-type").as_deref(), Some("application/cloudevents+json"));
    assert_eq!(header(&all[2], "ce_id"), None);
    assert_eq!(all[2].key(), Some(&b"order/1.5"[..]));
    let whole: serde_json::Value = serde_json::from_slice(all[2].payload().unwrap()).unwrap();
    assert_eq!((&whole["id"], &whole["data"]["x"]), (&serde_json::json!("7"), &serde_json::json!(1.5)));
    binary.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_at_once_are_all_there_once_and_in_order() {
    let Some(kafka) = shared() else { return };
    let topic = unique("many");
    kafka.create_topic(&topic, 1, &[]).await;
    let sink = sink(&kafka.brokers, &topic, "");
    let sends = (0..10_000).map(|number| sink.send(request(json(format!("{{\"n\":{number}}}")))));
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    let number = |message: &OwnedMessage| {
        let data: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        data["n"].as_u64().unwrap()
    };
    let numbers: Vec<u64> = kafka.all(&topic).iter().map(number).collect();
    assert_exactly(&numbers, 10_000, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_mend_and_what_never_will_are_told_apart() {
    let Some(kafka) = shared() else { return };
    let topic = unique("judged");
    kafka.create_topic(&topic, 1, &[("max.message.bytes", "2000")]).await;
    let compacted = unique("compacted");
    kafka.create_topic(&compacted, 1, &[("cleanup.policy", "compact")]).await;
    let small = || request(json("1".into()));
    let cases = [
        (sink(&kafka.brokers, &topic, ""), request(json(format!("\"{}\"", "x".repeat(5_000)))), "too_large", false),
        (
            sink(&kafka.brokers, &unique("nowhere"), "options = { \"topic.metadata.refresh.interval.ms\" = \"1000\" }"),
            small(),
            "topic_missing",
            false,
        ),
        // Compaction takes no message without a key.
        (sink(&kafka.brokers, &compacted, ""), small(), "refused", false),
        (sink("127.0.0.1:9", &topic, "options = { \"message.timeout.ms\" = \"3000\" }"), small(), "connect", true),
        (
            sink(
                &kafka.sasl_brokers,
                &topic,
                "sasl = { username = \"eventyard\", password = \"hunter2\" }\noptions = { \"message.timeout.ms\" = \"3000\" }",
            ),
            small(),
            "auth",
            true,
        ),
    ];
    for (sink, request, code, retryable) in cases {
        let error = sink.send(request).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), (code, retryable), "{}", error.message);
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
    // A large one does not stand in the way of the next.
    sink(&kafka.brokers, &topic, "").send(small()).await.unwrap();
}

#[test]
fn what_will_not_do_is_said_before_anything_runs() {
    let refused = |toml: &str| {
        let toml = format!("topic = \"t\"\n{toml}");
        let errors = KafkaSink::build(&table(&SINK_SPEC, &toml)).err().unwrap_or_default();
        errors.iter().map(|error| (error.path.join("."), error.code)).collect::<Vec<_>>()
    };
    let brokers = "brokers = \"127.0.0.1:9092\"\n";
    assert_eq!(refused(brokers), []);
    assert_eq!(refused("brokers = []"), [("brokers".to_owned(), "bad_value")]);
    assert_eq!(refused("brokers = \"127.0.0.1\""), [("brokers".to_owned(), "bad_value")]);
    assert_eq!(refused(&format!("{brokers}key = \"data..x\"")), [("key".to_owned(), "bad_value")]);
    let option = |text: &str| refused(&format!("{brokers}options = {{ {text} }}"));
    assert_eq!(option("\"acks\" = \"0\""), [("options.acks".to_owned(), "unknown_key")]);
    assert_eq!(option("\"linger.ms\" = \"soon\""), [("options.linger.ms".to_owned(), "bad_value")]);
    assert_eq!(option("\"plugin.library.paths\" = \"x\"").len(), 1);
    let not_built = if cfg!(feature = "kafka-tls") { vec![] } else { vec![("tls".to_owned(), "not_built")] };
    assert_eq!(refused(&format!("{brokers}tls = {{}}")), not_built);
    let scram = "sasl = { mechanism = \"SCRAM-SHA-256\", username = \"u\", password = \"p\" }";
    let not_built = if cfg!(feature = "kafka-tls") { vec![] } else { vec![("sasl.mechanism".to_owned(), "not_built")] };
    assert_eq!(refused(&format!("{brokers}{scram}")), not_built);
}
