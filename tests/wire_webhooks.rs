//! Forged, stale and repeated webhooks against the running program: every way of proving where a request comes
//! from, and one answer for everybody who cannot.
//!
//! That the comparison takes the same time is by construction and not measured here: `connectors/src/http/verify.rs`
//! computes every key's MAC whatever the header says, and compares it by `subtle`'s `ct_eq`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Sha256, Sha512};

use crate::wire::Answer;
use crate::wire_broker::WireBroker;

const SOURCES: &str = r#"
[source.github]
kind = "http"
path = "/hooks/github"
preset = "github"
secret = ["new secret", "old secret"]

[source.billing]
kind = "http"
path = "/hooks/billing"
verify = { kind = "standard-webhooks", secret = ["whsec_bmV3IGtleQ==", "b2xkIGtleQ=="] }

[source.bank]
kind = "http"
path = "/hooks/bank"
verify = { kind = "hmac", secret = ["new secret", "old secret"], header = "x-signature", algorithm = "sha512", encoding = "base64", prefix = "v0=", payload = "v0:{timestamp}:{body}", timestamp_header = "x-timestamp" }
id_from = "header:X-Request-Id"

[source.basic]
kind = "http"
path = "/hooks/basic"
verify = { kind = "basic", username = "ann", password = ["new secret", "old secret"] }

[source.key]
kind = "http"
path = "/hooks/key"
verify = { kind = "api_key", secret = ["new secret", "old secret"] }
"#;

const BODY: &str = r#"{"ref": "refs/heads/main", "n": 1.0}"#;

async fn start() -> WireBroker {
    WireBroker::start_with("", SOURCES).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(secret: &str, payload: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn sha512(secret: &str, payload: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Seconds since 1970, so far from now.
fn seconds(from_now: i64) -> String {
    (eventyard::clock::Clocks::machine().now().as_millis() / 1000 + from_now).to_string()
}

fn github(secret: &str, body: &str) -> String {
    format!("x-hub-signature-256: sha256={}", hex(&sha256(secret, body)))
}

/// The headers of a standard webhook; the signatures are made of the right one.
fn billing(key: &str, id: &str, at: &str, signatures: impl Fn(&str) -> String) -> String {
    let right = STANDARD.encode(sha256(key, &format!("{id}.{at}.{BODY}")));
    format!("webhook-id: {id}\nwebhook-timestamp: {at}\nwebhook-signature: {}", signatures(&right))
}

fn v1(right: &str) -> String {
    format!("v1,{right}")
}

fn bank(secret: &str, at: &str, body: &str) -> String {
    let signature = STANDARD.encode(sha512(secret, &format!("v0:{at}:{body}")));
    format!("x-timestamp: {at}\nx-signature: v0={signature}")
}

fn basic(user: &str, password: &str) -> String {
    format!("authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn post(broker: &WireBroker, path: &str, headers: &str, body: &str) -> Answer {
    let head = format!("POST /hooks/{path} HTTP/1.1\ncontent-type: application/json\nx-github-event: push\n{headers}");
    broker.request(&head, body).await
}

fn is_new(answer: &Answer) -> bool {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["accepted"][0]["duplicate"] == json!(false)
}

/// All of an answer but its time.
fn looks(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
    (answer.status, headers, answer.body.clone())
}

#[tokio::test]
async fn whoever_cannot_prove_himself_gets_one_and_the_same_answer() {
    let broker = start().await;
    let now = seconds(0);
    let right = github("new secret", BODY);
    let sha1 = format!("x-hub-signature: sha1={}", "0".repeat(40));
    let forged: Vec<(&str, Vec<String>)> = vec![
        (
            "github",
            vec![
                String::new(),
                "x-hub-signature-256: ".to_owned(),
                "x-hub-signature-256: sha256=".to_owned(),
                "x-hub-signature-256: sha256=00".to_owned(),
                "x-hub-signature-256: sha256=zz".to_owned(),
                "x-hub-signature-256: sha256=\u{e9}".to_owned(),
                sha1,
                github("another secret", BODY),
                github("", BODY),
                // Over the body as a proxy would write it again.
                github("new secret", r#"{"ref":"refs/heads/main","n":1}"#),
                right.replace("sha256=", "sha1="),
                right.replace("sha256=", ""),
                format!("{right}00"),
                format!("{right}\n{right}"),
                format!("{}\n{right}", github("another secret", BODY)),
            ],
        ),
        (
            "billing",
            vec![
                String::new(),
                billing("another key", "a", &now, v1),
                billing("new key", "a", &now, |right| format!("v1a,{right}")),
                billing("new key", "a", &now, |right| right.to_owned()),
                billing("new key", "a", &now, |_| String::new()),
                billing("new key", "", &now, v1),
                billing("new key", "a", &now, v1).replace("webhook-id: a", "webhook-id: b"),
                billing("new key", "a", &now, v1).replace(&now, &seconds(1)),
                billing("new key", "a", &now, v1).replace("webhook-id: a", "x: y"),
                billing("new key", "a", "soon", v1),
                billing("new key", "a", "", v1),
                billing("new key", "a", "99999999999999999999", v1),
                billing("new key", "a", "1e9", v1),
            ],
        ),
        (
            "bank",
            vec![
                String::new(),
                bank("another secret", &now, BODY),
                bank("new secret", &now, "another body"),
                bank("new secret", &now, BODY).replace("v0=", "v1="),
                bank("new secret", &now, BODY).replace("x-timestamp", "x-time"),
                // Two times: which of them was signed?
                format!("{}\nx-timestamp: {}", bank("new secret", &now, BODY), seconds(-400)),
            ],
        ),
        (
            "basic",
            vec![
                String::new(),
                basic("ann", ""),
                basic("ann", "another secret"),
                basic("bob", "new secret"),
                basic("", ""),
                basic("ann", "new secret").replace("Basic", "Bearer"),
                "authorization: Basic !".to_owned(),
                format!("{0}\n{0}", basic("ann", "new secret")),
            ],
        ),
        (
            "key",
            vec![
                String::new(),
                "x-api-key: ".to_owned(),
                "x-api-key: another secret".to_owned(),
                "x-api-key: new secret2".to_owned(),
                "authorization: Bearer new secret".to_owned(),
                "x-api-key: new secret\nx-api-key: new secret".to_owned(),
            ],
        ),
    ];
    for (path, all) in &forged {
        let mut answers = Vec::new();
        for headers in all {
            let answer = post(&broker, path, headers.trim_end(), BODY).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path}: {headers}");
            answers.push(looks(&answer));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:?}");
    }
    // A key in the query is none.
    let answer = broker.request("POST /hooks/key?x-api-key=new%20secret&api_key=new%20secret HTTP/1.1", BODY).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"));
    broker.is_well().await;
}

#[tokio::test]
async fn the_new_and_the_old_secret_are_good_while_rotating() {
    let broker = start().await;
    let now = seconds(0);
    for (number, (secret, key)) in [("new secret", "new key"), ("old secret", "old key")].into_iter().enumerate() {
        let id = format!("rotation-{number}");
        let github = format!("{}\nx-github-delivery: {id}", github(secret, BODY));
        let bank = format!("{}\nx-request-id: {id}", bank(secret, &now, BODY));
        for (path, headers) in [
            ("github", github),
            ("billing", billing(key, &id, &now, v1)),
            ("bank", bank),
            ("basic", basic("ann", secret)),
            ("key", format!("x-api-key: {secret}")),
        ] {
            let answer = post(&broker, path, &headers, BODY).await;
            assert!(is_new(&answer), "{path} with the {secret}");
            let event = answer.json()["accepted"][0]["event"].as_str().unwrap().to_owned();
            assert_eq!(broker.delivered(&event, "/raw").await.body, BODY.as_bytes(), "the bytes that were signed");
        }
    }
    broker.is_well().await;
}

#[tokio::test]
async fn a_right_signature_is_stale_after_five_minutes_and_its_id_is_taken_once() {
    let broker = start().await;
    for off in [-360, 360, -86_400] {
        let at = seconds(off);
        for (path, headers) in [
            ("billing", billing("new key", "stale", &at, v1)),
            ("bank", format!("{}\nx-request-id: stale", bank("new secret", &at, BODY))),
        ] {
            let answer = post(&broker, path, &headers, BODY).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "stale"), "{path} {off}");
        }
        // Whether it is stale is told to those alone who hold the key.
        let answer = post(&broker, "billing", &billing("another key", "stale", &at, v1), BODY).await;
        assert_eq!(answer.code(), "unauthorized", "{off}");
    }
    let mut events = Vec::new();
    for off in [-280, 0, 280] {
        let answer = post(&broker, "billing", &billing("new key", "once", &seconds(off), v1), BODY).await;
        assert_eq!(is_new(&answer), off == -280);
        events.push(answer.json()["accepted"][0]["event"].clone());
    }
    assert!(events.iter().all(|event| *event == events[0]), "{events:?}");

    let delivery = |body| format!("{}\nx-github-delivery: d-1", github("new secret", body));
    assert!(is_new(&post(&broker, "github", &delivery(BODY), BODY).await));
    assert!(!is_new(&post(&broker, "github", &delivery(BODY), BODY).await), "a redelivery");
    assert!(!is_new(&post(&broker, "github", &delivery("{}"), "{}").await), "whatever its body");
    broker.is_well().await;
}

#[tokio::test]
async fn sixteen_signatures_are_looked_at_and_no_more() {
    let broker = start().await;
    let now = seconds(0);
    let after = |count: usize| move |right: &str| format!("{}v1,{right}", "v1,AAAA ".repeat(count));
    assert!(is_new(&post(&broker, "billing", &billing("old key", "sixteenth", &now, after(15)), BODY).await));
    for count in [16, 1000, 5000] {
        let answer = post(&broker, "billing", &billing("old key", "many", &now, after(count)), BODY).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{count} before it");
    }
    // Twenty thousand are more than a head may have.
    let answer = post(&broker, "billing", &billing("old key", "many", &now, after(20_000)), BODY).await;
    assert_eq!(answer.status, 431);
    broker.is_well().await;
}
