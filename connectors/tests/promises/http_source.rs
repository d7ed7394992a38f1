//! An http source: what it believes, what it makes of a request, what it refuses.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use eventyard_connectors::http::{HttpSource, Refusal, RequestHead, SOURCE_SPEC, Taken};
use eventyard_connectors::source::Incoming;
use eventyard_connectors::spec::{ConfigError, normalise};
use eventyard_event::{Data, ExtensionValue, Limits, Name, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

const NOW: &str = "2026-11-21T12:00:00Z";

fn try_build(table: Value) -> Result<HttpSource, Vec<ConfigError>> {
    let plain = normalise(SOURCE_SPEC.fields, table.as_object().unwrap())?;
    HttpSource::build(&Name::new("hook").unwrap(), &Value::Object(plain)).map(|(source, _)| source)
}

fn build(table: Value) -> HttpSource {
    try_build(table).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn post(source: &HttpSource, path: &str, pairs: &[(&str, &str)], body: &[u8]) -> Result<Vec<Incoming>, Refusal> {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let headers = headers(pairs);
    let head = RequestHead { method: &Method::POST, path, query, headers: &headers };
    let now = Timestamp::parse(NOW).unwrap();
    events(source.accept(head, Bytes::copy_from_slice(body), now, &Limits::default()))
}

fn events(result: Result<Taken, Refusal>) -> Result<Vec<Incoming>, Refusal> {
    match result? {
        Taken::Events(events) => Ok(events),
        Taken::Greeting(greeting) => panic!("{greeting:?}"),
    }
}

fn one(result: Result<Vec<Incoming>, Refusal>) -> Incoming {
    let mut events = result.unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn hmac_sha256(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn extension<'a>(incoming: &'a Incoming, name: &str) -> Option<&'a str> {
    match incoming.event.extensions.get(name) {
        Some(ExtensionValue::String(text)) => Some(text),
        _ => None,
    }
}

fn github() -> HttpSource {
    build(json!({ "path": "/hooks/github", "preset": "github", "secret": "It's a Secret to Everybody" }))
}

/// The example of GitHub's own documentation ("Validating webhook deliveries", Testing the webhook payload).
const GITHUB_BODY: &[u8] = b"Hello, World!";
const GITHUB_SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn githubs_own_example_is_believed() {
    let delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let incoming = one(post(
        &github(),
        "/hooks/github",
        &[
            ("x-hub-signature-256", GITHUB_SIGNATURE),
            ("x-github-event", "push"),
            ("x-github-delivery", delivery),
            ("x-github-hook-id", "292430182"),
            ("content-type", "application/json"),
        ],
        GITHUB_BODY,
    ));
    assert_eq!(incoming.event.ty, "github.push");
    assert_eq!(incoming.event.id, delivery);
    assert_eq!(incoming.event.source, "/sources/hook");
    assert_eq!(incoming.event.subject.as_deref(), Some("/hooks/github"));
    assert_eq!(extension(&incoming, "githubhookid"), Some("292430182"));
    assert_eq!(incoming.dedupe, Some(Duration::from_secs(86_400)));
    // Said to be JSON and is none: kept as it came.
    assert_eq!(incoming.event.data, Data::Bytes(Bytes::from_static(GITHUB_BODY)));
}

#[test]
fn githubs_ping_is_an_event_too() {
    let signature = format!("sha256={}", hex(&hmac_sha256(b"It's a Secret to Everybody", &[b"{\"zen\":\"x\"}"])));
    let head = [("x-hub-signature-256", signature.as_str()), ("x-github-event", "ping")];
    let incoming = one(post(&github(), "/hooks/github", &head, b"{\"zen\":\"x\"}"));
    assert_eq!(incoming.event.ty, "github.ping");
    assert_eq!(incoming.event.data, Data::Json(Bytes::from_static(b"{\"zen\":\"x\"}")));
    // Without a delivery's id, the id is ours, and nothing guards against repeats.
    assert_eq!((incoming.event.id.as_str(), incoming.dedupe), ("", None));
}

#[test]
fn every_false_proof_gets_the_same_answer() {
    let sha1_only = [("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"), ("x-github-event", "push")];
    let cases: Vec<Vec<(&str, &str)>> = vec![
        vec![("x-github-event", "push")],
        vec![("x-hub-signature-256", ""), ("x-github-event", "push")],
        vec![("x-hub-signature-256", "sha256="), ("x-github-event", "push")],
        vec![("x-hub-signature-256", "sha256=zz"), ("x-github-event", "push")],
        vec![("x-hub-signature-256", GITHUB_SIGNATURE.trim_start_matches("sha256=")), ("x-github-event", "push")],
        vec![("x-hub-signature-256", &GITHUB_SIGNATURE[..69]), ("x-github-event", "push")],
        vec![
            ("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18"),
            ("x-github-event", "push"),
        ],
        vec![("x-hub-signature-256", GITHUB_SIGNATURE), ("x-hub-signature-256", GITHUB_SIGNATURE)],
        vec![("authorization", "Basic Zm9vOmJhcg=="), ("x-github-event", "push")],
        sha1_only.to_vec(),
    ];
    let first = post(&github(), "/hooks/github", &[], GITHUB_BODY).unwrap_err();
    assert_eq!((first.status, first.code), (401, "unauthorized"));
    for case in cases {
        assert_eq!(post(&github(), "/hooks/github", &case, GITHUB_BODY).unwrap_err(), first, "{case:?}");
    }
    // The right signature of another body.
    let other = [("x-hub-signature-256", GITHUB_SIGNATURE), ("x-github-event", "push")];
    assert_eq!(post(&github(), "/hooks/github", &other, b"Hello, World?").unwrap_err(), first);
}

#[test]
fn the_bytes_are_verified_not_the_json() {
    let body = br#"{"a": 1,  "b":2}"#;
    let signature = format!("sha256={}", hex(&hmac_sha256(b"It's a Secret to Everybody", &[body])));
    let head = [("x-hub-signature-256", signature.as_str()), ("x-github-event", "push")];
    assert!(post(&github(), "/hooks/github", &head, body).is_ok());
    let reencoded = br#"{"a":1,"b":2}"#;
    assert_eq!(post(&github(), "/hooks/github", &head, reencoded).unwrap_err().status, 401);
}

#[test]
fn while_rotating_either_secret_is_good() {
    let source = build(json!({ "path": "/h", "preset": "github", "secret": ["new", "old"] }));
    for (secret, believed) in [("new", true), ("old", true), ("older", false)] {
        let signature = format!("sha256={}", hex(&hmac_sha256(secret.as_bytes(), &[b"x"])));
        let head = [("x-hub-signature-256", signature.as_str()), ("x-github-event", "push")];
        assert_eq!(post(&source, "/h", &head, b"x").is_ok(), believed, "{secret}");
    }
}

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn standard_webhooks(secrets: Value) -> HttpSource {
    build(json!({ "path": "/h", "verify": { "kind": "standard-webhooks", "secret": secrets } }))
}

fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mac = hmac_sha256(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(mac))
}

fn unix(offset_seconds: i64) -> String {
    (Timestamp::parse(NOW).unwrap().as_millis() / 1000 + offset_seconds).to_string()
}

#[test]
fn the_example_of_standard_webhooks_is_believed() {
    // The vector of the specification's reference libraries.
    let (id, timestamp, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
    let known = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(signature(WHSEC, id, timestamp, body), known);
    let source = standard_webhooks(json!(WHSEC));
    let pairs = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", known)];
    let headers = headers(&pairs);
    let head = RequestHead { method: &Method::POST, path: "/h", query: None, headers: &headers };
    let then = Timestamp::from_millis(1_614_265_330_000);
    let incoming = one(events(source.accept(head, Bytes::from_static(body), then, &Limits::default())));
    assert_eq!(incoming.event.id, id);
    assert!(incoming.dedupe.is_some());
    // The same in another year.
    let refusal = post(&source, "/h", &pairs, body).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (401, "stale"));
}

#[test]
fn a_right_signature_with_a_time_that_is_off_is_stale() {
    let source = standard_webhooks(json!(WHSEC));
    for (offset, expected) in [(0, None), (-299, None), (299, None), (-360, Some("stale")), (360, Some("stale"))] {
        let timestamp = unix(offset);
        let signed = signature(WHSEC, "m1", &timestamp, b"{}");
        let head = [("webhook-id", "m1"), ("webhook-timestamp", &timestamp), ("webhook-signature", &signed)];
        assert_eq!(post(&source, "/h", &head, b"{}").err().map(|refusal| refusal.code), expected, "{offset}");
        // Somebody without the key learns nothing of the time.
        let head = [("webhook-id", "m1"), ("webhook-timestamp", &timestamp), ("webhook-signature", "v1,AAAA")];
        assert_eq!(post(&source, "/h", &head, b"{}").unwrap_err().code, "unauthorized");
    }
    for timestamp in ["", "soon", "99999999999999999999", "-9223372036854775808", "1.5"] {
        let signed = signature(WHSEC, "m1", timestamp, b"{}");
        let head = [("webhook-id", "m1"), ("webhook-timestamp", timestamp), ("webhook-signature", &signed)];
        assert_eq!(post(&source, "/h", &head, b"{}").unwrap_err().status, 401, "{timestamp}");
    }
}

#[test]
fn of_many_signatures_sixteen_are_looked_at() {
    let source = standard_webhooks(json!([WHSEC, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]));
    let timestamp = unix(0);
    let right = signature("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "m1", &timestamp, b"{}");
    let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let nth = |place: usize, count: usize| {
        let all: Vec<&str> = (0..count).map(|at| if at == place { right.as_str() } else { wrong }).collect();
        let all = all.join(" ");
        let head = [("webhook-id", "m1"), ("webhook-timestamp", &timestamp), ("webhook-signature", &all)];
        post(&source, "/h", &head, b"{}").is_ok()
    };
    assert!(nth(0, 1) && nth(15, 16) && nth(15, 10_000));
    assert!(!nth(16, 17) && !nth(9_999, 10_000));
    let symmetric_only = right.replacen("v1,", "v1a,", 1);
    let head = [("webhook-id", "m1"), ("webhook-timestamp", &timestamp), ("webhook-signature", &symmetric_only)];
    assert!(post(&source, "/h", &head, b"{}").is_err());
}

#[test]
fn an_hmac_may_sign_its_time() {
    let source = build(json!({ "path": "/h", "verify": {
        "kind": "hmac", "secret": "s", "header": "X-Sig", "encoding": "base64", "prefix": "v0=",
        "payload": "v0:{timestamp}:{body}", "timestamp_header": "X-Time"
    } }));
    let sign = |time: &str| format!("v0={}", STANDARD.encode(hmac_sha256(b"s", &[b"v0:", time.as_bytes(), b":hi"])));
    let (now, old) = (unix(0), unix(-360));
    let ask = |time: &str, signed_time: &str| {
        post(&source, "/h", &[("x-sig", &sign(signed_time)), ("x-time", time)], b"hi").err().map(|refusal| refusal.code)
    };
    assert_eq!(ask(&now, &now), None);
    assert_eq!(ask(&old, &old), Some("stale"));
    assert_eq!(ask(&now, &old), Some("unauthorized"));
}

#[test]
fn basic_and_api_key_are_believed_when_right() {
    let basic =
        build(json!({ "path": "/h", "verify": { "kind": "basic", "username": "u", "password": ["p:1", "p2"] } }));
    let ask = |value: &str| post(&basic, "/h", &[("authorization", value)], b"").map(|_| ());
    let encoded = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert!(ask(&encoded("u:p:1")).is_ok() && ask(&encoded("u:p2")).is_ok());
    assert!(ask(&encoded("u:p2").replace("Basic", "basic")).is_ok());
    for wrong in [encoded("u:"), encoded("u:p"), encoded("x:p2"), encoded(""), "Basic !!!".into(), "Bearer p2".into()] {
        let refusal = ask(&wrong).unwrap_err();
        assert_eq!((refusal.status, refusal.header.as_ref().unwrap().0), (401, "www-authenticate"), "{wrong}");
    }
    let key = build(json!({ "path": "/h", "verify": { "kind": "api_key", "secret": "k" } }));
    assert!(post(&key, "/h", &[("x-api-key", "k")], b"").is_ok());
    for wrong in
        [vec![], vec![("x-api-key", "")], vec![("x-api-key", "kk")], vec![("x-api-key", "k"), ("x-api-key", "k")]]
    {
        assert_eq!(post(&key, "/h", &wrong, b"").unwrap_err().status, 401, "{wrong:?}");
    }
    assert_eq!(post(&key, "/h?x-api-key=k", &[], b"").unwrap_err().status, 401);
}

#[test]
fn a_request_becomes_an_event() {
    let source = build(json!({ "path": "/in/{team}/{repo}" }));
    assert!(!source.states_proof() && !source.demands_proof());
    let incoming = one(post(
        &source,
        "/in/a%20b/x?q=1",
        &[("content-type", "application/json; charset=utf-8")],
        b" {\"a\":1,\"a\":2} ",
    ));
    let event = &incoming.event;
    assert_eq!((event.ty.as_str(), event.id.as_str()), ("http.received", ""));
    assert_eq!(event.subject.as_deref(), Some("/in/a%20b/x"));
    assert_eq!(event.datacontenttype.as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(event.data, Data::Json(Bytes::from_static(b" {\"a\":1,\"a\":2} ")));
    assert!(!incoming.keys_unique);
    for (name, value) in [("httpmethod", "POST"), ("httpquery", "q=1"), ("paramteam", "a b"), ("paramrepo", "x")] {
        assert_eq!(extension(&incoming, name), Some(value), "{name}");
    }
    // Whatever stands in it, an event that intake may refuse for its attributes would be lost: it passes.
    let mut event = incoming.event.clone();
    event.id = "ours".into();
    event.check(&Limits::default()).unwrap();
}

#[test]
fn a_broken_body_is_kept_as_bytes() {
    let source = build(json!({ "path": "/in" }));
    for body in [&b"{"[..], b"{\"a\":NaN}", b"\xff\xfe", b"{} trailing", b"[1,]"] {
        let incoming = one(post(&source, "/in", &[("content-type", "application/json")], body));
        assert_eq!(incoming.event.data, Data::Bytes(Bytes::copy_from_slice(body)), "{body:?}");
    }
    let deep = "[".repeat(100_000);
    let incoming = one(post(&source, "/in", &[("content-type", "application/json")], deep.as_bytes()));
    assert!(matches!(incoming.event.data, Data::Bytes(_)));
    let text = one(post(&source, "/in", &[("content-type", "text/plain")], b"{}"));
    assert!(matches!(text.event.data, Data::Bytes(_)));
    let untyped = one(post(&source, "/in", &[], b"{}"));
    assert!(matches!(untyped.event.data, Data::Json(_)));
    let nonsense = one(post(&source, "/in", &[("content-type", "???")], b"x"));
    assert_eq!(nonsense.event.datacontenttype, None);
    assert_eq!(one(post(&source, "/in", &[], b"")).event.data, Data::None);
}

#[test]
fn the_senders_id_comes_from_where_the_project_says() {
    let header = build(json!({ "path": "/in", "id_from": "header:X-Request-Id", "dedupe": "1h" }));
    let incoming = one(post(&header, "/in", &[("x-request-id", "r-1")], b"{}"));
    assert_eq!((incoming.event.id.as_str(), incoming.dedupe), ("r-1", Some(Duration::from_secs(3600))));
    assert_eq!(one(post(&header, "/in", &[], b"{}")).dedupe, None);

    let data = build(json!({ "path": "/in", "id_from": "$.data.order.id" }));
    let id = |body: &str| one(post(&data, "/in", &[("content-type", "application/json")], body.as_bytes())).event.id;
    assert_eq!(id(r#"{"order":{"id":"a\u0062c"}}"#), "abc");
    assert_eq!(id(r#"{"order":{"id":12345678901234567890123}}"#), "12345678901234567890123");
    for none in [r#"{"order":{}}"#, r#"{"order":{"id":null}}"#, r#"{"order":{"id":{}}}"#, r#"{"order":1}"#, "[]", "{"] {
        assert_eq!(id(none), "", "{none}");
    }
    // No id rather than no event.
    assert_eq!(id(&format!(r#"{{"order":{{"id":"{}"}}}}"#, "x".repeat(5000))), "");
    assert_eq!(id(r#"{"order":{"id":"a\u0000b"}}"#), "");

    let off = build(json!({ "path": "/in", "id_from": "data.id", "dedupe": "off" }));
    let incoming = one(post(&off, "/in", &[("content-type", "application/json")], br#"{"id":"1"}"#));
    assert_eq!((incoming.event.id.as_str(), incoming.dedupe), ("1", None));
}

#[test]
fn a_cloudevent_that_comes_whole_keeps_its_attributes() {
    let source = build(json!({ "path": "/in", "id_from": "header:x" }));
    let binary = [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/shop"), ("ce-type", "order.created")];
    let incoming = one(post(&source, "/in", &binary, b"x"));
    assert_eq!((incoming.event.source.as_str(), incoming.event.ty.as_str()), ("/shop", "order.created"));
    assert_eq!((incoming.event.id.as_str(), incoming.dedupe), ("7", Some(Duration::from_secs(86_400))));

    let event = r#"{"specversion":"1.0","id":"8","source":"/shop","type":"t","data":{"a":1.0}}"#;
    let incoming = one(post(&source, "/in", &[("content-type", "application/cloudevents+json")], event.as_bytes()));
    assert_eq!(incoming.event.data, Data::Json(Bytes::from_static(b"{\"a\":1.0}")));

    let batch = format!("[{event},{}]", event.replace("\"8\"", "\"9\""));
    let head = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(post(&source, "/in", &head, batch.as_bytes()).unwrap().len(), 2);

    let refusal = post(&source, "/in", &[("ce-specversion", "1.0"), ("ce-id", "7")], b"x").unwrap_err();
    assert_eq!((refusal.status, refusal.code), (400, "ce_missing_attribute"));
}

#[test]
fn a_preset_makes_its_own_event_whatever_other_headers_say() {
    let head = [
        ("x-hub-signature-256", GITHUB_SIGNATURE),
        ("x-github-event", "push"),
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/forged"),
        ("ce-type", "forged"),
    ];
    let incoming = one(post(&github(), "/hooks/github", &head, GITHUB_BODY));
    assert_eq!((incoming.event.ty.as_str(), incoming.event.source.as_str()), ("github.push", "/sources/hook"));
    for word in ["", "a b", "a/b", "é"] {
        let headers = [("x-hub-signature-256", GITHUB_SIGNATURE), ("x-github-event", word)];
        assert_eq!(post(&github(), "/hooks/github", &headers, GITHUB_BODY).unwrap_err().code, "preset_header");
    }
}

#[test]
fn the_project_may_name_the_type() {
    let plain = normalise(SOURCE_SPEC.fields, json!({ "path": "/in" }).as_object().unwrap()).unwrap();
    let mut table = Value::Object(plain);
    table["type"] = json!("build.requested");
    let (source, _) = HttpSource::build(&Name::new("ci").unwrap(), &table).unwrap();
    assert_eq!(one(post(&source, "/in", &[], b"")).event.ty, "build.requested");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let source = build(json!({ "path": "/in", "methods": ["POST", "PUT"] }));
    assert_eq!(post(&source, "/in/", &[], b"").unwrap_err().status, 404);
    let none = HeaderMap::new();
    let head = RequestHead { method: &Method::GET, path: "/in", query: None, headers: &none };
    let refusal = source.accept(head, Bytes::new(), Timestamp::EPOCH, &Limits::default()).unwrap_err();
    assert_eq!((refusal.status, refusal.header), (405, Some(("allow", "POST, PUT".to_owned()))));
    assert_eq!(post(&source, &format!("/in?{}", "q".repeat(5000)), &[], b"").unwrap_err().status, 414);
}

#[test]
fn what_the_project_gets_wrong_is_said_at_its_key() {
    for (table, path, code) in [
        (json!({ "path": "/events" }), "path", "bad_path"),
        (json!({ "path": "/in", "methods": ["FETCH"] }), "methods", "bad_value"),
        (json!({ "path": "/in", "methods": [] }), "methods", "bad_value"),
        (json!({ "path": "/in", "preset": "github" }), "", "missing_key"),
        (json!({ "path": "/in", "preset": "github", "secret": "" }), "secret", "secret_empty"),
        (json!({ "path": "/in", "preset": "github", "secret": [] }), "secret", "secret_empty"),
        (
            json!({ "path": "/in", "preset": "github", "secret": "s", "verify": { "kind": "none" } }),
            "verify",
            "conflict",
        ),
        (json!({ "path": "/in", "secret": "s" }), "secret", "conflict"),
        (json!({ "path": "/in", "preset": "gitub", "secret": "s" }), "preset", "bad_value"),
        (json!({ "path": "/in", "verify": { "kind": "hmac", "secret": "s" } }), "verify", "missing_key"),
        (json!({ "path": "/in", "verify": { "kind": "hmca" } }), "verify.kind", "bad_value"),
        (
            json!({ "path": "/in", "verify": { "kind": "standard-webhooks", "secret": "not base64!" } }),
            "verify.secret",
            "bad_value",
        ),
        (
            json!({ "path": "/in", "verify": { "kind": "hmac", "secret": "s", "header": "x y" } }),
            "verify.header",
            "bad_value",
        ),
        (
            json!({ "path": "/in", "verify": { "kind": "hmac", "secret": "s", "header": "x", "payload": "{timestamp}" } }),
            "verify.payload",
            "bad_value",
        ),
        (
            json!({ "path": "/in", "verify": { "kind": "hmac", "secret": "s", "header": "x", "payload": "{timestamp}{body}" } }),
            "verify.payload",
            "bad_value",
        ),
        (
            json!({ "path": "/in", "verify": { "kind": "hmac", "secret": "s", "header": "x", "timestamp_header": "t" } }),
            "verify.timestamp_header",
            "bad_value",
        ),
        (json!({ "path": "/in", "id_from": "body" }), "id_from", "bad_value"),
        (json!({ "path": "/in", "dedupe": "never" }), "dedupe", "bad_value"),
        (json!({ "path": "/in", "dedupe": "0s" }), "dedupe", "bad_value"),
        (json!({ "path": "/in", "reply_timeout": "3s" }), "reply_timeout", "conflict"),
        (json!({ "path": "/in", "reply": "sync", "reply_timeout": "2h" }), "reply_timeout", "out_of_range"),
        (json!({ "path": "/in", "presett": "github" }), "presett", "unknown_key"),
        (json!({ "path": 5 }), "path", "wrong_type"),
        (json!({}), "", "missing_key"),
    ] {
        let errors = try_build(table.clone()).unwrap_err();
        let found: Vec<(String, &str)> = errors.iter().map(|error| (error.path.join("."), error.code)).collect();
        assert_eq!(found, [(path.to_owned(), code)], "{table}: {errors:?}");
    }
}

#[test]
fn all_mistakes_come_in_one_report() {
    let table = json!({ "path": "in", "methods": ["x"], "dedupe": "0s", "preset": "github", "secret": "s", "verify": { "kind": "none" } });
    assert_eq!(try_build(table).unwrap_err().len(), 4);
}

#[test]
fn a_source_shows_no_secret() {
    let source = build(json!({ "path": "/h", "verify": { "kind": "api_key", "secret": "hunter2" } }));
    assert!(!format!("{source:?}").contains("hunter2"));
    let source = build(json!({ "path": "/h", "preset": "github", "secret": "hunter2" }));
    let shown = format!("{source:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117, 110"), "{shown}");
}

fn any_header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let names = vec![
        "content-type",
        "x-id",
        "x-github-event",
        "x-github-delivery",
        "x-github-hook-id",
        "x-gitlab-event",
        "idempotency-key",
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-time",
        "authorization",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    ];
    let values = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        prop::collection::vec(b'a'..=b'z', 4000..5000),
        prop::sample::select(vec![
            "application/json",
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
            "1.0",
            "/x",
            "a.b",
            "text/plain; a=b",
            "Basic eDp5",
            "v1,aaaa",
            "push",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(b'a'..=b'z', 4000..5000).prop_map(|long| [b"text/plain; a=", &long[..]].concat()),
        any::<String>().prop_map(String::into_bytes),
    ];
    (prop::sample::select(names), values)
}

proptest! {
    /// Whatever is sent, nothing panics, and what is accepted is an event that intake takes: one that it refused for
    /// an attribute would be lost, for most senders of webhooks never send again.
    #[test]
    fn what_is_accepted_is_an_event_that_intake_takes(
        given in prop::collection::vec(any_header(), 0..8),
        parameter in prop_oneof![any::<String>(), Just("%EF%BF%BE".to_owned()), Just("\u{fffe}".to_owned())],
        query in prop::option::of(any::<String>()),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            any::<String>().prop_map(|id| json!({ "id": id }).to_string().into_bytes()),
            ("[a-z_.]{0,9}|url_verification|event_callback", any::<String>(), "[a-z]{0,3}")
                .prop_map(|(ty, id, inner)| {
                    let event = json!({ "type": inner });
                    json!({ "type": ty, "id": id, "event_id": id, "challenge": id, "event": event }).to_string().into_bytes()
                }),
            Just(json!({ "id": "\u{fdd0}" }).to_string().into_bytes()),
        ],
        kind in 0..7,
    ) {
        let source = match kind {
            0 => build(json!({ "path": "/in/{x}", "id_from": "data.id" })),
            1 => build(json!({ "path": "/in/{x}", "id_from": "header:x-id" })),
            2 => build(json!({ "path": "/in/{x}", "preset": "github", "secret": "s" })),
            3 => build(json!({ "path": "/in/{x}", "preset": "gitlab", "secret": "s" })),
            4 => build(json!({ "path": "/in/{x}", "preset": "slack", "secret": "s" })),
            5 => build(json!({ "path": "/in/{x}", "preset": "stripe", "secret": "s" })),
            _ => build(json!({ "path": "/in/{x}", "verify": { "kind": "standard-webhooks", "secret": WHSEC } })),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        let signed = format!("sha256={}", hex(&hmac_sha256(b"s", &[&body])));
        headers.append("x-hub-signature-256", HeaderValue::from_str(&signed).unwrap());
        headers.append("x-gitlab-token", HeaderValue::from_static("s"));
        let at = unix(0);
        let slack = format!("v0={}", hex(&hmac_sha256(b"s", &[b"v0:", at.as_bytes(), b":", &body])));
        headers.append("x-slack-signature", HeaderValue::from_str(&slack).unwrap());
        headers.append("x-slack-request-timestamp", HeaderValue::from_str(&at).unwrap());
        let stripe = format!("t={at},v1={}", hex(&hmac_sha256(b"s", &[at.as_bytes(), b".", &body])));
        headers.append("stripe-signature", HeaderValue::from_str(&stripe).unwrap());
        let path = format!("/in/{parameter}");
        let head = RequestHead { method: &Method::POST, path: &path, query: query.as_deref(), headers: &headers };
        let now = Timestamp::parse(NOW).unwrap();
        match source.accept(head, Bytes::from(body), now, &Limits::default()) {
            Ok(Taken::Greeting(greeting)) => prop_assert!(greeting.body.len() <= 1024),
            Ok(Taken::Events(events)) => for incoming in events {
                let mut event = incoming.event;
                if event.id.is_empty() {
                    prop_assert_eq!(incoming.dedupe, None);
                    event.id = "ours".into();
                }
                let checked = event.check(&Limits::default());
                prop_assert!(checked.is_ok(), "{:?}", checked);
            },
            Err(refusal) => prop_assert!((400..500).contains(&refusal.status) && !refusal.fix.is_empty()),
        }
    }
}

/// What the source says of its bodies goes before what the content type says, and what is not so is refused.
#[test]
fn a_source_that_says_what_its_bodies_are_is_believed() {
    let told = |codec: &str| build(json!({ "path": "/in", "codec": codec }));
    let event = one(post(&told("json"), "/in", &[("content-type", "text/plain")], b"{\"a\":1.50}")).event;
    assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
    assert_eq!(event.data, Data::Json("{\"a\":1.50}".into()));
    for (codec, body, seen) in [
        ("xml", "<a b=\"1\"/>", r#"{"a":{"@b":"1"}}"#),
        ("csv", "sku,n\na,1\n", r#"[{"sku":"a","n":"1"}]"#),
        ("form", "a=1&b=2", r#"{"a":"1","b":"2"}"#),
    ] {
        let event =
            one(post(&told(codec), "/in", &[("content-type", "application/octet-stream")], body.as_bytes())).event;
        assert_eq!(event.data.bytes(), body.as_bytes(), "the bytes stay those that came");
        assert_eq!(event.seen_data().unwrap().json, seen.as_bytes(), "{codec}");
    }
    let event = one(post(&told("bytes"), "/in", &[("content-type", "application/json")], b"{}")).event;
    assert_eq!(event.data, Data::Bytes("{}".into()));
    let cloud = &[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/x"), ("ce-type", "t")];
    assert_eq!(one(post(&told("text"), "/in", cloud, b"x")).event.ty, "http.received", "all that comes is a body");
    for (codec, body) in [("json", "{"), ("json", ""), ("xml", "<a>"), ("csv", "a\n\"1"), ("csv-rows", "a,a\n1,2")] {
        let refusal = post(&told(codec), "/in", &[], body.as_bytes()).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (400, "decode"), "{codec}");
    }
    let conflict = |table: Value| try_build(table).unwrap_err().remove(0).code;
    assert_eq!(conflict(json!({ "path": "/in", "codec": "json", "preset": "github", "secret": "s" })), "conflict");
    assert_eq!(conflict(json!({ "path": "/in", "codec": "csv-rows", "reply": "sync" })), "conflict");
}

#[test]
fn each_row_of_a_table_is_an_event_with_an_id_that_stays() {
    let source = build(json!({ "path": "/in", "codec": "csv-rows", "id_from": "header:x-request-id" }));
    let table = b"sku,note\r\na,\"one, \"\"two\"\"\"\r\n\r\nb,\r\n";
    let events = post(&source, "/in", &[("x-request-id", "r-7"), ("content-type", "application/json")], table).unwrap();
    let rows: Vec<_> = events.iter().map(|one| (one.event.id.as_str(), one.event.data.bytes())).collect();
    assert_eq!(
        rows,
        [
            ("r-7#1", br#"{"sku":"a","note":"one, \"two\""}"#.as_slice()),
            ("r-7#2", br#"{"sku":"b","note":""}"#.as_slice())
        ]
    );
    for (number, one) in (1..).zip(&events) {
        assert_eq!(one.event.extensions["row"], ExtensionValue::Integer(number));
        assert_eq!(one.event.extensions["rows"], ExtensionValue::Integer(2));
        assert_eq!(one.event.datacontenttype.as_deref(), Some("application/json"));
        assert!(one.dedupe.is_some() && one.keys_unique);
    }
    assert_eq!(
        events,
        post(&source, "/in", &[("x-request-id", "r-7")], table).unwrap(),
        "the same table is the same events"
    );

    // A column `a.b` is what rules read as `b` within `a`, and the fast way of matching must know.
    let dotted = post(&source, "/in", &[], b"a.b,a\n1,2\n").unwrap();
    assert!(dotted.iter().all(|one| !one.keys_unique));

    let nameless = post(&source, "/in", &[], table).unwrap();
    assert!(nameless.iter().all(|one| one.event.id.is_empty() && one.dedupe.is_none()), "ids are ours then");
    let long = "x".repeat(Limits::default().attribute_bytes_max);
    assert!(post(&source, "/in", &[("x-request-id", &long)], table).unwrap()[0].event.id.is_empty());
    assert!(post(&source, "/in", &[], b"sku,note\n").unwrap().is_empty(), "a table without rows is no event");
    let lists = post(&source, "/in", &[("content-type", "text/csv; header=absent")], b"1,2\n").unwrap();
    assert_eq!(lists[0].event.data.bytes(), br#"["1","2"]"#);

    let many = "a\n".repeat(Limits::default().batch_events_max + 2);
    let refusal = post(&source, "/in", &[], many.as_bytes()).unwrap_err();
    assert_eq!((refusal.status, refusal.code), (413, "batch_too_large"));
}
