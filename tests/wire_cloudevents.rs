//! CloudEvents that are none, sent to the running program: each is answered with its code on a connection that
//! goes on, nothing of it is kept, and what was acknowledged around it arrives.

use serde_json::{Value, json};

use crate::wire::{Answer, Wire};
use crate::wire_broker::WireBroker;

const STRUCTURED: &str = "POST /events HTTP/1.1\ncontent-type: application/cloudevents+json";
const BATCH: &str = "POST /events HTTP/1.1\ncontent-type: application/cloudevents-batch+json";

/// A whole event, by its id.
fn event(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": "order.created", "data": { "n": 1 } })
}

/// A whole event with one member that is another; null takes it away.
fn event_with(key: &str, value: Value) -> String {
    let mut event = event("bad");
    event[key] = value;
    if event[key].is_null() {
        event.as_object_mut().unwrap().remove(key);
    }
    event.to_string()
}

/// The head of a binary event, with headers that replace or join those of a whole one.
fn binary(headers: &str) -> String {
    let mut head = "POST /events HTTP/1.1".to_owned();
    for (name, value) in [("specversion", "1.0"), ("id", "bad"), ("source", "/shop"), ("type", "order.created")] {
        if !headers.to_lowercase().contains(&format!("ce-{name}:")) {
            head += &format!("\nce-{name}: {value}");
        }
    }
    format!("{head}\n{headers}")
}

/// A connection on which one bad request after another is sent, between good ones.
struct Hostile<'a> {
    broker: &'a WireBroker,
    wire: Wire,
    good_count: usize,
}

impl<'a> Hostile<'a> {
    async fn connect(broker: &'a WireBroker) -> Hostile<'a> {
        Hostile { broker, wire: broker.connect().await, good_count: 0 }
    }

    /// Refused with this status and code; the connection goes on, as a good event on it shows.
    async fn refused(&mut self, head: &str, body: impl AsRef<[u8]>, status: u16, code: &str) -> Value {
        let answer = self.wire.request(head, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{head}: {answer:?}");
        self.good_count += 1;
        let good = event(&format!("good-{}", self.good_count)).to_string();
        self.accepted(STRUCTURED, good).await;
        answer.json()
    }

    async fn accepted(&mut self, head: &str, body: impl AsRef<[u8]>) -> Answer {
        let answer = self.wire.request(head, body).await;
        assert_eq!(answer.status, 202, "{head}: {answer:?}");
        self.broker.note(&answer);
        answer
    }
}

/// Our id of the first event of an answer.
fn first(answer: &Answer) -> String {
    answer.json()["accepted"][0]["event"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_missing_attribute_is_named_in_every_form() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for name in ["specversion", "id", "source", "type"] {
        let without = event_with(name, Value::Null);
        let problem = hostile.refused(STRUCTURED, &without, 400, "ce_missing_attribute").await;
        assert_eq!(problem["where"], name);
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");

        let batch = format!("[{},{without}]", event("first"));
        let problem = hostile.refused(BATCH, &batch, 400, "ce_missing_attribute").await;
        assert_eq!(problem["where"], format!("[1] {name}"));

        let head: String = binary("").lines().filter(|line| !line.starts_with(&format!("ce-{name}:"))).fold(
            String::new(),
            |head, line| if head.is_empty() { line.to_owned() } else { format!("{head}\n{line}") },
        );
        let problem = hostile.refused(&head, "", 400, "ce_missing_attribute").await;
        assert_eq!(problem["where"], name);
    }
    broker.is_well().await;
}

#[tokio::test]
async fn another_specversion_is_refused() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for version in ["0.3", "2.0", "1", "1.00", " 1.0", ""] {
        hostile.refused(STRUCTURED, event_with("specversion", json!(version)), 400, "ce_specversion").await;
    }
    for version in ["0.3", "2.0"] {
        hostile.refused(&binary(&format!("ce-specversion: {version}")), "", 400, "ce_specversion").await;
    }
    hostile.refused(STRUCTURED, event_with("specversion", json!(1.0)), 400, "ce_attribute").await;
    broker.is_well().await;
}

#[tokio::test]
async fn an_id_that_is_empty_or_huge_or_has_a_nul_is_refused() {
    let broker = WireBroker::start_with("", "[limits]\nevent = \"2MiB\"").await;
    let mut hostile = Hostile::connect(&broker).await;
    for id in [json!(""), json!("x".repeat(1 << 20)), json!("a\u{0}b"), json!("a\nb"), json!(7)] {
        let problem = hostile.refused(STRUCTURED, event_with("id", id), 400, "ce_attribute").await;
        assert_eq!(problem["where"], "id");
        assert!(problem.to_string().len() < 1000, "a huge id is not sent back");
    }
    for id in ["ce-id: ", "ce-id: a%00b", &format!("ce-id: {}", "x".repeat(5000))] {
        let problem = hostile.refused(&binary(id), "", 400, "ce_attribute").await;
        assert_eq!(problem["where"], "id", "{}", &id[..10]);
    }
    // Raw, it is no HTTP: answered by the reader of heads, which has no request to say more about.
    let mut wire = broker.connect().await;
    wire.send(b"POST /events HTTP/1.1\r\nhost: test\r\nce-id: a\0b\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 400);
    wire.closed().await;
    broker.is_well().await;
}

#[tokio::test]
async fn an_id_over_the_limit_of_an_event_is_too_large_and_the_connection_ends() {
    let broker = WireBroker::start().await;
    let mut wire = broker.connect().await;
    let answer = wire.request(STRUCTURED, event_with("id", json!("x".repeat(1 << 20)))).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    wire.closed().await;
    broker.is_well().await;
}

#[tokio::test]
async fn a_source_is_a_reference_and_a_time_an_instant() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for source in ["a b", "http://[::1", "%zz", "café", ""] {
        let problem = hostile.refused(STRUCTURED, event_with("source", json!(source)), 400, "ce_attribute").await;
        assert_eq!(problem["where"], "source");
    }
    for time in ["yesterday", "2026-11-21", "10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-21T25:00:00Z", ""]
    {
        let problem = hostile.refused(STRUCTURED, event_with("time", json!(time)), 400, "ce_attribute").await;
        assert_eq!(problem["where"], "time");
    }
    hostile.refused(&binary("ce-time: yesterday"), "", 400, "ce_attribute").await;

    // A leap second is a time, and goes on as it was sent.
    let mut leap = event("leap");
    leap["time"] = json!("2016-12-31T23:59:60Z");
    let answer = hostile.accepted(STRUCTURED, leap.to_string()).await;
    let whole = broker.delivered(&first(&answer), "/whole").await;
    assert_eq!(serde_json::from_slice::<Value>(&whole.body).unwrap()["time"], "2016-12-31T23:59:60Z");
    broker.is_well().await;
}

#[tokio::test]
async fn an_extension_has_a_lower_case_name_of_any_length() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for name in ["Bad-Name", "Upper", "snake_case", "nämlich", ""] {
        hostile.refused(STRUCTURED, event_with(name, json!("x")), 400, "ce_attribute").await;
    }
    hostile.refused(STRUCTURED, event_with("nested", json!({ "a": 1 })), 400, "ce_attribute").await;
    hostile.refused(&binary("ce-bad-name: x"), "", 400, "ce_attribute").await;
    let mut wire = broker.connect().await;
    wire.send("POST /events HTTP/1.1\r\nhost: test\r\nce-n\u{e4}mlich: x\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 400);
    wire.closed().await;

    let long = "anextensionnamethatislongerthantwentycharacters";
    let mut good = event("long");
    good[long] = json!("kept");
    let answer = hostile.accepted(STRUCTURED, good.to_string()).await;
    let raw = broker.delivered(&first(&answer), "/raw").await;
    assert_eq!(raw.headers[&format!("ce-{long}")], "kept");
    broker.is_well().await;
}

#[tokio::test]
async fn an_attribute_that_comes_twice_is_refused() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for second in ["other", "one"] {
        let head = binary(&format!("ce-id: one\nce-id: {second}"));
        let problem = hostile.refused(&head, "", 400, "ce_attribute").await;
        assert_eq!(problem["where"], "id");
    }
    let twice = r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#;
    hostile.refused(STRUCTURED, twice, 400, "ce_attribute").await;
    hostile.refused(&binary("content-type: text/plain\ncontent-type: text/html"), "", 400, "ce_attribute").await;
    broker.is_well().await;
}

#[tokio::test]
async fn percent_encoding_is_decoded_or_refused() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for broken in ["%E2%2", "%", "%zz", "%ff", "%E2%82"] {
        let problem = hostile.refused(&binary(&format!("ce-subject: {broken}")), "", 400, "ce_attribute").await;
        assert_eq!(problem["where"], "subject");
    }
    let head = binary("ce-id: percent\nce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80%25");
    let answer = hostile.accepted(&head, "").await;
    let id = first(&answer);
    let whole: Value = serde_json::from_slice(&broker.delivered(&id, "/whole").await.body).unwrap();
    assert_eq!(whole["subject"], "Euro € 😀%");
    assert_eq!(broker.delivered(&id, "/raw").await.headers["ce-subject"], "Euro%20%E2%82%AC%20%F0%9F%98%80%25");
    broker.is_well().await;
}

#[tokio::test]
async fn the_body_of_a_structured_event_wins_over_headers_beside_it() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    for content_type in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8"] {
        let id = format!("body-{}", content_type.len());
        let head = format!(
            "POST /events HTTP/1.1\nce-specversion: 0.3\nce-id: header\nce-source: /h\nce-type: h\ncontent-type: {content_type}"
        );
        let answer = hostile.accepted(&head, event(&id).to_string()).await;
        assert_eq!(answer.json()["accepted"][0]["id"], id);
        assert_eq!(answer.json()["accepted"][0]["source"], "/shop");
    }
    broker.is_well().await;
}

#[tokio::test]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    assert_eq!(hostile.accepted(BATCH, "[]").await.json(), json!({ "accepted": [] }));

    let three = json!([event("b1"), event("b2"), event("b3")]);
    let answer = hostile.accepted(BATCH, three.to_string()).await;
    let ids: Vec<Value> =
        answer.json()["accepted"].as_array().unwrap().iter().map(|receipt| receipt["id"].clone()).collect();
    assert_eq!(ids, ["b1", "b2", "b3"], "in the order in which they were sent");

    for bad in [event_with("id", json!("")), event_with("data_base64", json!("AA==")), "7".into(), "[]".into()] {
        let batch = format!("[{},{},{bad},{}]", event("c1"), event("c2"), event("c3"));
        let answer = hostile.wire.request(BATCH, &batch).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let place = answer.json()["where"].as_str().unwrap().to_owned();
        assert!(place.starts_with("[2]"), "the index of the bad one: {place}");
    }
    // What was refused may be mended and sent again: none of it is known yet.
    let mended = hostile.accepted(BATCH, json!([event("c1"), event("c2"), event("c3")]).to_string()).await;
    assert!(mended.json()["accepted"].as_array().unwrap().iter().all(|receipt| receipt["duplicate"] == false));

    for not_a_batch in [event("x").to_string(), "7".into(), "null".into()] {
        hostile.refused(BATCH, &not_a_batch, 400, "ce_shape").await;
    }
    broker.is_well().await;
}

#[tokio::test]
async fn a_batch_of_a_million_is_too_large_and_names_the_limit() {
    let broker = WireBroker::start().await;
    let mut wire = broker.connect().await;
    let batch = format!("[{}0]", "0,".repeat(1_000_000));
    let answer = wire.request(BATCH, &batch).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("`batch`"), "{answer:?}");
    // All of it was read, so the connection can go on.
    let mut hostile = Hostile { broker: &broker, wire, good_count: 0 };
    hostile.accepted(STRUCTURED, event("after").to_string()).await;
    broker.is_well().await;
}

#[tokio::test]
async fn data_in_two_forms_or_in_broken_base64_is_refused() {
    let broker = WireBroker::start().await;
    let mut hostile = Hostile::connect(&broker).await;
    hostile.refused(STRUCTURED, event_with("data_base64", json!("AA==")), 400, "ce_data").await;
    for broken in ["!", "AA", "AA=", "A===", "AA==\n", "__--"] {
        let mut event = event("bad");
        event.as_object_mut().unwrap().remove("data");
        event["data_base64"] = json!(broken);
        hostile.refused(STRUCTURED, event.to_string(), 400, "ce_data").await;
    }
    let mut good = event("bytes");
    good.as_object_mut().unwrap().remove("data");
    good["data_base64"] = json!("AAH/");
    good["datacontenttype"] = json!("application/octet-stream");
    let answer = hostile.accepted(STRUCTURED, good.to_string()).await;
    assert_eq!(broker.delivered(&first(&answer), "/raw").await.body, [0, 1, 255]);
    broker.is_well().await;
}

#[tokio::test]
async fn a_repeated_id_is_answered_with_the_first_event_and_delivered_once() {
    let mut broker = WireBroker::start().await;
    let original = broker.structured(event("twice").to_string()).await;
    assert_eq!(original.json()["accepted"][0]["duplicate"], false);
    let original = first(&original);

    let mut other_body = event("twice");
    other_body["data"] = json!({ "a": 1 });
    other_body["type"] = json!("order.cancelled");
    let in_a_batch = json!([event("twice"), other_body]).to_string();
    for (head, body) in
        [(STRUCTURED, event("twice").to_string()), (STRUCTURED, other_body.to_string()), (BATCH, in_a_batch.clone())]
    {
        let answer = broker.request(head, &body).await;
        assert_eq!(answer.status, 202);
        for receipt in answer.json()["accepted"].as_array().unwrap() {
            assert_eq!((&receipt["duplicate"], &receipt["event"]), (&json!(true), &json!(original)), "{receipt}");
            assert_eq!(receipt["hint"], Value::Null);
        }
    }
    // The same id of another source is another event.
    let mut elsewhere = event("twice");
    elsewhere["source"] = json!("/elsewhere");
    let answer = broker.structured(elsewhere.to_string()).await;
    assert_eq!(answer.json()["accepted"][0]["duplicate"], false);
    broker.is_well().await;

    broker.kill_and_restart();
    let answer = broker.structured(event("twice").to_string()).await;
    assert_eq!(answer.json()["accepted"][0]["duplicate"], true, "known after a power cut too");
    assert_eq!(first(&answer), original);
    broker.is_well().await;
}

#[tokio::test]
async fn of_the_same_id_sent_many_times_at_once_one_is_new() {
    let broker = WireBroker::start().await;
    let mut wires = Vec::new();
    for _ in 0..16 {
        wires.push(broker.connect().await);
    }
    let answers = futures_util::future::join_all(
        wires.iter_mut().map(|wire| async { wire.request(STRUCTURED, event("crowd").to_string()).await }),
    )
    .await;
    let receipts: Vec<Value> = answers.iter().map(|answer| answer.json()["accepted"][0].clone()).collect();
    assert_eq!(receipts.iter().filter(|receipt| receipt["duplicate"] == false).count(), 1, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| receipt["event"] == receipts[0]["event"]), "{receipts:?}");
    answers.iter().for_each(|answer| broker.note(answer));
    broker.is_well().await;
}

#[tokio::test]
async fn a_batch_may_hold_the_same_id_twice_and_the_second_is_the_duplicate() {
    let broker = WireBroker::start().await;
    let answer = broker.request(BATCH, json!([event("same"), event("same")]).to_string()).await;
    assert_eq!(answer.status, 202);
    let receipts = answer.json()["accepted"].clone();
    assert_eq!((&receipts[0]["duplicate"], &receipts[1]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(receipts[0]["event"], receipts[1]["event"]);
    broker.is_well().await;
}
