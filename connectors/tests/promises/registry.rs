//! Kinds that exist, kinds that do not yet, and kinds that never will.

use std::sync::Arc;

use eventyard_connectors::http::HttpClient;
use eventyard_connectors::registry::{build_channel, build_sink, build_source, reserved_kinds, spec, specs};
use eventyard_connectors::sink::{Payload, PayloadForm, SendRequest};
use eventyard_connectors::spec::{Field, FieldKind, Role, normalise};
use eventyard_event::{Envelope, Event, EventId, Name, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn an_unknown_kind_is_answered_with_the_nearest() {
    let error = spec(Role::Source, "timr").unwrap_err();
    assert_eq!((error.path.join("."), error.code), ("kind".to_owned(), "unknown_kind"));
    let help = error.help.unwrap();
    assert!(help.starts_with("did you mean `timer`? the kinds of source are http, timer, "), "{help}");
    assert_eq!(spec(Role::Channel, "pigeon").unwrap_err().code, "unknown_kind");
}

#[test]
fn a_kind_that_is_promised_says_that_it_is_not_here_yet() {
    for role in [Role::Source, Role::Sink, Role::Channel] {
        for kind in reserved_kinds(role) {
            assert_eq!(spec(role, kind).unwrap_err().code, "not_in_this_version", "{kind}");
            assert!(specs(role).iter().all(|spec| spec.kind != *kind));
        }
    }
    let (name, client) = (Name::new("x").unwrap(), HttpClient::new(Vec::new()));
    assert!(build_source("sqs", &name, &json!({}), Timestamp::EPOCH).is_err());
    assert!(build_sink("sqs", &json!({}), &client).is_err());
    assert!(build_channel("mail", &json!({}), &client).is_err());
}

#[tokio::test]
async fn discard_succeeds_and_forgets() {
    let sink = build_sink("discard", &json!({}), &HttpClient::new(Vec::new())).unwrap();
    let envelope = Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::new("x").unwrap(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event: Event::default(),
    };
    let request = SendRequest {
        delivery: envelope.id.delivery(0).to_string(),
        attempt: 1,
        at: Timestamp::EPOCH,
        event: Arc::new(envelope),
        payload: Payload { content_type: None, body: bytes::Bytes::new(), form: PayloadForm::Raw },
        timeout: std::time::Duration::from_secs(1),
        traceparent: None,
    };
    sink.connect().await.unwrap();
    assert_eq!(sink.send(request).await.unwrap().code, "discarded");
    sink.close().await;
}

const FIELDS: &[Field] = &[
    Field::required("name", FieldKind::String, ""),
    Field::with_default("count", FieldKind::Integer { min: 1, max: 9 }, "3", ""),
    Field::with_default("wait", FieldKind::Duration, "30s", ""),
    Field::with_default("room", FieldKind::Size, "64KiB", ""),
    Field::with_default("on", FieldKind::Boolean, "true", ""),
    Field::with_default("words", FieldKind::StringOrList, "a", ""),
    Field::optional("window", FieldKind::DurationOr(&["off"]), ""),
    Field::optional("map", FieldKind::Map, ""),
    Field::optional("table", FieldKind::Table(&[Field::optional("inner", FieldKind::Boolean, "")]), ""),
];

#[test]
fn what_passes_is_in_one_plain_shape() {
    let given = json!({ "name": "x", "window": "5m", "words": ["p", "q"], "map": { "a": "b" } });
    let plain = normalise(FIELDS, given.as_object().unwrap()).unwrap();
    let expected = json!({
        "name": "x", "window": 300_000, "words": ["p", "q"], "map": { "a": "b" },
        "count": 3, "wait": 30_000, "room": 65_536, "on": true
    });
    assert_eq!(Value::Object(plain), expected);
    let given = json!({ "name": "x", "window": "off", "words": "p" });
    let plain = normalise(FIELDS, given.as_object().unwrap()).unwrap();
    assert_eq!((&plain["window"], &plain["words"]), (&json!("off"), &json!(["p"])));
}

#[test]
fn every_mistake_is_found_at_its_place() {
    let given = json!({
        "nam": "x", "count": 10, "wait": 30, "room": "64kb", "on": "yes", "words": ["a", 1], "window": "of",
        "map": { "a": 1 }, "table": { "iner": true }
    });
    let errors = normalise(FIELDS, given.as_object().unwrap()).unwrap_err();
    let found: Vec<(String, &str)> = errors.iter().map(|error| (error.path.join("."), error.code)).collect();
    let expected = [
        ("nam", "unknown_key"),
        ("count", "bad_value"),
        ("wait", "wrong_type"),
        ("room", "bad_value"),
        ("on", "wrong_type"),
        ("words.1", "wrong_type"),
        ("window", "bad_value"),
        ("map.a", "wrong_type"),
        ("table.iner", "unknown_key"),
    ];
    assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code)));
    assert!(errors[0].help.as_deref().unwrap().starts_with("did you mean `name`?"));
}

#[test]
fn a_key_that_must_be_there_is_missed_unless_it_is_there_misspelt() {
    let codes = |given: Value| -> Vec<&str> {
        normalise(FIELDS, given.as_object().unwrap()).unwrap_err().iter().map(|error| error.code).collect()
    };
    assert_eq!(codes(json!({})), ["missing_key"]);
    assert_eq!(codes(json!({ "nonsense": 1 })), ["unknown_key", "missing_key"]);
    assert_eq!(codes(json!({ "nmae": "x" })), ["unknown_key"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9*/@ :.{}=+-]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Tables with a connector's own keys and anything behind them.
fn any_table(spec: &'static [Field]) -> impl Strategy<Value = Value> {
    let names: Vec<&'static str> = spec.iter().map(|field| field.name).collect();
    prop::collection::btree_map(prop::sample::select(names), any_json(), 0..6)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

proptest! {
    /// No table makes a connector panic, and what is refused is refused with a code and a place.
    #[test]
    fn no_table_makes_a_connector_panic(
        source in any_table(eventyard_connectors::http::SOURCE_SPEC.fields),
        timer in any_table(eventyard_connectors::timer::SPEC.fields),
        target in any_table(eventyard_connectors::http::TARGET_FIELDS),
    ) {
        let (name, client) = (Name::new("x").unwrap(), HttpClient::new(Vec::new()));
        for (kind, table) in [("http", &source), ("timer", &timer)] {
            let plain = normalise(spec(Role::Source, kind).unwrap().fields, table.as_object().unwrap());
            // Also what was never held against its fields.
            let _ = build_source(kind, &name, table, Timestamp::EPOCH);
            if let Ok(plain) = plain {
                let _ = build_source(kind, &name, &Value::Object(plain), Timestamp::EPOCH);
            }
        }
        let _ = build_sink("http", &target, &client);
        if let Ok(plain) = normalise(eventyard_connectors::http::TARGET_FIELDS, target.as_object().unwrap()) {
            let _ = build_sink("http", &Value::Object(plain), &client);
        }
    }

    /// No schedule makes the reader panic, or the search for its instants.
    #[test]
    fn no_schedule_panics(text in "[-0-9*/,?LW#@A-Za-z() :T=+]{0,24}", fields in prop::collection::vec("[-0-9*/,?LW#]{1,5}", 5..8)) {
        for text in [text.clone(), fields.join(" "), format!("cron({text})"), format!("@every {text}"), format!("at({text})")] {
            if let Ok(schedule) = eventyard_connectors::timer::Schedule::parse(&text, "Europe/Berlin") {
                let _ = schedule.describe();
                let from = Timestamp::from_millis(1_795_260_645_007);
                for at in schedule.upcoming(from).take(3) {
                    prop_assert!(at > from);
                }
            }
        }
    }
}
