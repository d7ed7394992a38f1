//! How the http sink proves who sends: signatures, and access tokens that end, are refused and are asked for anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use eventyard_connectors::sink::{SendError, Sink};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use super::http_sink::{request, serve, try_build};

const KEY: &str = "eWFyZC15YXJkLXlhcmQteWFyZA==";
const OTHER_KEY: &str = "b3RoZXItb3RoZXItb3RoZXItb3Q=";

fn signature(key: &str, signed: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
    signed.iter().for_each(|piece| mac.update(piece));
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_call_is_signed_by_each_key_as_standard_webhooks_says() {
    let server = serve(|| "ok".into_response()).await;
    let secrets = json!([format!("whsec_{KEY}"), OTHER_KEY]);
    let sink = try_build(json!({
        "url": server.url, "sign": { "kind": "standard-webhooks", "secret": secrets },
        "auth": { "kind": "basic", "username": "u", "password": "p" }
    }))
    .unwrap();
    sink.send(request()).await.unwrap();
    let (_, headers, body) = server.seen.lock().unwrap().remove(0);
    let delivery = request().delivery;
    let at = request().at.as_millis() / 1000;
    let signed: [&[u8]; 4] = [delivery.as_bytes(), b".", &[at.to_string().as_bytes(), b"."].concat(), &body];
    let wanted = format!("{} {}", signature(KEY, &signed), signature(OTHER_KEY, &signed));
    assert_eq!(headers["webhook-signature"], wanted.as_str());
    assert_eq!(headers["webhook-id"], delivery.as_str());
    assert_eq!(headers["authorization"], "Basic dTpw");
}

#[test]
fn what_is_wrong_with_a_proof_is_said_at_its_key() {
    let oauth2 = |url: &str, secret: &str| json!({ "kind": "oauth2", "token_url": url, "client_id": "c", "client_secret": secret });
    for (key, value, path, code) in [
        ("sign", json!({ "kind": "standard-webhooks", "secret": "no base64!" }), "sign.secret", "bad_value"),
        ("sign", json!({ "kind": "standard-webhooks", "secret": "" }), "sign.secret", "secret_empty"),
        ("sign", json!({ "kind": "standard-webhook", "secret": KEY }), "sign.kind", "bad_value"),
        ("auth", oauth2("ftp://x", "s"), "auth.token_url", "bad_url"),
        ("auth", oauth2("http://u:p@x/", "s"), "auth.token_url", "bad_url"),
        ("auth", oauth2("http://169.254.169.254/token", "s"), "auth.token_url", "egress_blocked"),
        ("auth", oauth2("http://x/", ""), "auth.client_secret", "secret_empty"),
    ] {
        let errors = try_build(json!({ "url": "http://x/", key: value })).unwrap_err();
        let found: Vec<(String, &str)> = errors.iter().map(|error| (error.path.join("."), error.code)).collect();
        assert_eq!(found, [(path.to_owned(), code)], "{errors:?}");
    }
    let both = json!({ "url": "http://x/", "auth": oauth2("http://x/", "s"), "headers": { "Authorization": "x" } });
    assert_eq!(try_build(both).unwrap_err()[0].code, "conflict");
    let shown =
        format!("{:?}", try_build(json!({ "url": "http://x/", "auth": oauth2("http://x/", "hunter2") })).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A token endpoint that numbers its tokens, and a target that believes those from a number on.
struct Provider {
    url: String,
    granted: Arc<AtomicUsize>,
    believed_from: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

async fn provider(expires_in: Value) -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let granted = Arc::new(AtomicUsize::new(0));
    let believed_from = Arc::new(AtomicUsize::new(1));
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&granted);
    let token = move |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["authorization"], format!("Basic {}", STANDARD.encode("yard%3A1:s+%25")).as_str());
        assert_eq!(&body[..], b"grant_type=client_credentials&scope=a+b&audience=shop");
        // Slow enough that everybody asks before the first is answered.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let answer =
            json!({ "access_token": format!("token-{number}"), "token_type": "bearer", "expires_in": expires_in });
        answer.to_string()
    };
    let (from, called) = (Arc::clone(&believed_from), Arc::clone(&calls));
    let target = move |headers: HeaderMap| async move {
        called.fetch_add(1, Ordering::SeqCst);
        let number = headers["authorization"].to_str().unwrap().strip_prefix("Bearer token-").unwrap().parse::<usize>();
        if number.unwrap() >= from.load(Ordering::SeqCst) { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
    };
    let router = Router::new().route("/token", post(token)).route("/in", post(target));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Provider { url, granted, believed_from, calls }
}

impl Provider {
    fn sink(&self) -> impl Sink {
        try_build(json!({
            "url": format!("{}/in", self.url),
            "auth": {
                "kind": "oauth2", "token_url": format!("{}/token", self.url), "client_id": "yard:1",
                "client_secret": "s %", "scope": "a b", "audience": "shop",
            },
        }))
        .unwrap()
    }

    fn counts(&self) -> (usize, usize) {
        (self.granted.load(Ordering::SeqCst), self.calls.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn one_token_serves_all_sends_until_it_ends() {
    let provider = provider(json!(3600)).await;
    let sink = provider.sink();
    let sends = (0..20).map(|_| sink.send(request()));
    for sent in futures_util::future::join_all(sends).await {
        assert_eq!(sent.unwrap().code, "http_204");
    }
    assert_eq!(provider.counts(), (1, 20));
}

#[tokio::test]
async fn a_token_that_is_as_good_as_over_is_not_sent() {
    let provider = provider(json!(0)).await;
    let sink = provider.sink();
    for _ in 0..3 {
        sink.send(request()).await.unwrap();
    }
    assert_eq!(provider.counts(), (3, 3));
}

#[tokio::test]
async fn a_kept_token_that_is_refused_is_replaced_within_the_attempt_and_a_new_one_is_not() {
    let provider = provider(json!(3600)).await;
    let sink = provider.sink();
    sink.send(request()).await.unwrap();
    // Taken back before its end.
    provider.believed_from.store(2, Ordering::SeqCst);
    assert_eq!(sink.send(request()).await.unwrap().code, "http_204");
    assert_eq!(provider.counts(), (2, 3));
    // Whatever token: this target does not want us.
    provider.believed_from.store(usize::MAX, Ordering::SeqCst);
    let error = sink.send(request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("http_401", false));
    assert_eq!(provider.counts(), (3, 5));
    // The refused one was not kept; the next is new, and asked for once.
    let error = sink.send(request()).await.unwrap_err();
    assert_eq!(error.code, "http_401");
    assert_eq!(provider.counts(), (4, 6));
}

async fn without_token(status: u16, answer: &'static str) -> SendError {
    let server = serve(move || (StatusCode::from_u16(status).unwrap(), answer).into_response()).await;
    let auth = json!({ "kind": "oauth2", "token_url": server.url, "client_id": "c", "client_secret": "s", "credentials": "body" });
    let error = try_build(json!({ "url": server.url, "auth": auth })).unwrap().send(request()).await.unwrap_err();
    let seen = server.seen.lock().unwrap();
    // The target was not called, and the secret stood where it was asked for.
    assert_eq!(seen.len(), 1);
    assert_eq!(&seen[0].2[..], b"grant_type=client_credentials&client_id=c&client_secret=s");
    assert!(!seen[0].1.contains_key("authorization"));
    assert!(!error.message.contains("leak"), "{}", error.message);
    error
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_nothing_leaks() {
    for (status, answer, code, retryable) in [
        (401, r#"{"error": "invalid_client", "hint": "leak"}"#, "oauth2_refused", false),
        (400, r#"{"error": "leak leak"}"#, "oauth2_refused", false),
        (503, "leak", "oauth2_unavailable", true),
        (429, "leak", "oauth2_unavailable", true),
        (200, "leak", "oauth2_refused", false),
        (200, r#"{"access_token": ""}"#, "oauth2_refused", false),
        (200, r#"{"access_token": "leak\n", "token_type": "Bearer"}"#, "oauth2_refused", false),
        (200, r#"{"access_token": "leak", "token_type": "mac"}"#, "oauth2_refused", false),
    ] {
        let error = without_token(status, answer).await;
        assert_eq!((error.code.as_str(), error.retryable), (code, retryable), "{answer}: {}", error.message);
    }
    assert!(without_token(401, r#"{"error": "invalid_client"}"#).await.message.contains("invalid_client"));
    // Nobody there at all.
    let auth = json!({ "kind": "oauth2", "token_url": "http://127.0.0.1:1/", "client_id": "c", "client_secret": "s" });
    let error =
        try_build(json!({ "url": "http://127.0.0.1:1/", "auth": auth })).unwrap().send(request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("oauth2_unavailable", true));
}
