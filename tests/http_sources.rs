//! What the paths of http sources take: any body, once the sender has proved itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventyard_event::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::http_broker::{BILLING_KEY, EVENT_BYTES_MAX, HttpBroker, OLD_SECRET, SECRET, start, start_with_token};
use crate::wire::{Answer, request};

fn sign(secret: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(payload);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn github(server: &HttpBroker, signature: &str, delivery: &str, body: &[u8]) -> Answer {
    let head = format!(
        "POST /hooks/github HTTP/1.1\ncontent-type: application/json\nx-github-event: push\nx-github-delivery: {delivery}\n{signature}"
    );
    request(server.address, &head, body).await
}

fn github_signature(secret: &str, body: &[u8]) -> String {
    format!("x-hub-signature-256: sha256={}", hex(&sign(secret.as_bytes(), body)))
}

#[tokio::test]
async fn a_signed_webhook_becomes_an_event_and_its_redelivery_a_duplicate() {
    let server = start().await;
    let body = br#"{"ref": "refs/heads/main"}"#;
    let answer = github(&server, &github_signature(SECRET, body), "d-1", body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let receipt = answer.json()["accepted"][0].clone();
    assert_eq!((receipt["id"].as_str(), receipt["source"].as_str()), (Some("d-1"), Some("/sources/github")));

    let event = receipt["event"].as_str().unwrap();
    let shown = server.get(&format!("/api/v1/events/{event}")).await.json();
    assert_eq!(shown["cloudevent"]["type"], "github.push");
    assert_eq!(shown["source_name"], "github");
    assert_eq!(shown["tags"], json!(["ci"]));

    let again = github(&server, &github_signature(SECRET, body), "d-1", body).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["accepted"][0]["duplicate"], true);
    assert_eq!(again.json()["accepted"][0]["event"], event);
}

#[tokio::test]
async fn without_the_right_signature_everybody_is_told_the_same() {
    let server = start().await;
    let body = b"{}";
    let right = github_signature(SECRET, body);
    let mut answers = Vec::new();
    for signature in [
        String::new(),
        "x-hub-signature-256: ".to_owned(),
        "x-hub-signature-256: sha256=00".to_owned(),
        "x-hub-signature-256: hello".to_owned(),
        format!("x-hub-signature: sha1={}", "0".repeat(40)),
        github_signature("another secret", body),
        github_signature(SECRET, b"another body"),
        right.replace("sha256=", "sha512="),
        "authorization: Bearer x".to_owned(),
    ] {
        let answer = github(&server, signature.trim(), "d", body).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{signature}");
        answers.push(answer.body);
    }
    assert!(answers.iter().all(|body| *body == answers[0]), "{answers:?}");
    assert_eq!(server.store.event_count(), 0);
}

#[tokio::test]
async fn either_secret_is_good_while_rotating() {
    let server = start().await;
    for (delivery, secret) in [("new", SECRET), ("old", OLD_SECRET)] {
        let answer = github(&server, &github_signature(secret, b"{}"), delivery, b"{}").await;
        assert_eq!(answer.status, 202, "{delivery}");
    }
}

/// A request signed as standardwebhooks.com describes, `seconds` off our clock.
async fn billing(server: &HttpBroker, id: &str, seconds: i64, signatures: impl Fn(&str) -> String) -> Answer {
    let key = STANDARD.decode(BILLING_KEY).unwrap();
    let at = server.broker.clocks().now();
    let at = Timestamp::from_millis(at.as_millis() + seconds * 1000).as_millis() / 1000;
    let body = r#"{"paid": true}"#;
    let right = STANDARD.encode(sign(&key, format!("{id}.{at}.{body}").as_bytes()));
    let head = format!(
        "POST /hooks/billing HTTP/1.1\nwebhook-id: {id}\nwebhook-timestamp: {at}\nwebhook-signature: {}",
        signatures(&right)
    );
    request(server.address, &head, body).await
}

#[tokio::test]
async fn a_signature_is_good_for_five_minutes_and_an_id_once() {
    let server = start().await;
    let signed = |right: &str| format!("v1,{right}");
    for seconds in [-360, 360] {
        let answer = billing(&server, "msg", seconds, signed).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "stale"), "{seconds}");
    }
    let first = billing(&server, "msg", -240, signed).await;
    assert_eq!((first.status, first.json()["accepted"][0]["duplicate"].as_bool()), (202, Some(false)));
    let again = billing(&server, "msg", 0, signed).await;
    assert_eq!((again.status, again.json()["accepted"][0]["duplicate"].as_bool()), (202, Some(true)));
}

#[tokio::test]
async fn one_good_signature_among_a_few_will_do_and_thousands_are_not_tried() {
    let server = start().await;
    let few = billing(&server, "few", 0, |right| format!("v1,AAAA v1a,BBBB v1,{right}")).await;
    assert_eq!(few.status, 202, "{few:?}");
    // As many as fit into a header; the good one is the last.
    let many = billing(&server, "many", 0, |right| format!("{} v1,{right}", "v1,AAAA ".repeat(5_000).trim_end())).await;
    assert_eq!((many.status, many.code().as_str()), (401, "unauthorized"));
}

#[tokio::test]
async fn any_body_is_taken_and_kept_byte_for_byte() {
    let server = start().await;
    for body in
        [&b"{"[..], b"{} x", b"{\"a\":\"\xff\"}", b"plain", b"\x00\x01", b"", br#"{"a":1,"a":2}"#, br#"{"n":1e999}"#]
    {
        let head = "POST /in/orders HTTP/1.1\ncontent-type: application/json";
        let answer = request(server.address, head, body).await;
        assert_eq!(answer.status, 202, "{body:?}: {answer:?}");
        assert_eq!(server.store.newest_data(), body);
    }
}

#[tokio::test]
async fn a_path_parameter_becomes_an_attribute() {
    let server = start().await;
    let answer = request(server.address, "PUT /in/caf%C3%A9?x=1 HTTP/1.1", "hello").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let event = answer.json()["accepted"][0]["event"].as_str().unwrap().to_owned();
    let shown = server.get(&format!("/api/v1/events/{event}")).await.json();
    assert_eq!(shown["cloudevent"]["type"], "http.received");
    assert_eq!(shown["cloudevent"]["paramkind"], "café");
    assert_eq!(shown["cloudevent"]["httpmethod"], "PUT");
    assert_eq!(shown["cloudevent"]["id"], event.as_str(), "the sender gave no id, so it is ours");
}

#[tokio::test]
async fn another_method_is_405_and_says_which_would_do() {
    let server = start().await;
    let answer = server.get("/in/orders").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.header("allow"), Some("POST, PUT"));
    for path in ["/in", "/in/a/b", "/in/", "/hooks", "/..%2f..%2fetc/passwd", "//in/x", "/in/%zz%00"] {
        let answer = request(server.address, &format!("POST {path} HTTP/1.1"), "x").await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    assert_eq!(server.store.event_count(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_before_its_signature_is_looked_at() {
    let server = start().await;
    let answer = github(&server, "", "d", &vec![b'a'; EVENT_BYTES_MAX + 1]).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn a_source_stands_on_its_own_proof_and_needs_no_token() {
    let server = start_with_token("open sesame").await;
    assert_eq!(github(&server, &github_signature(SECRET, b"{}"), "d", b"{}").await.status, 202);
    assert_eq!(request(server.address, "POST /in/orders HTTP/1.1", "x").await.status, 202);
    assert_eq!(request(server.address, "POST /in2/orders HTTP/1.1", "x").await.status, 401);
}
