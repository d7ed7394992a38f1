//! Who may call, where the project has a token.

use crate::http_broker::start_with_token;
use crate::wire::request;

const TOKEN: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn every_call_needs_the_token_but_the_health_checks() {
    let server = start_with_token(TOKEN).await;
    for open in ["/healthz", "/readyz"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
    for (method, path) in [
        ("GET", "/metrics"),
        ("POST", "/events"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/status"),
        ("POST", "/api/v1/reload"),
        ("DELETE", "/api/v1/dead-letters"),
        ("GET", "/api/v1/nothing"),
        ("GET", "/ui/"),
        ("GET", "/"),
        ("GET", "/nothing"),
    ] {
        let answer = request(server.address, &format!("{method} {path} HTTP/1.1"), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{method} {path}");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")), "{answer:?}");
    }
    let with = |value: &str| format!("GET /api/v1/events HTTP/1.1\nauthorization: {value}");
    assert_eq!(request(server.address, &with(&format!("Bearer {TOKEN}")), "").await.status, 200);
    for wrong in ["", "Bearer", "Bearer wrong", &format!("Basic {TOKEN}"), TOKEN, &format!("Bearer {TOKEN}x")] {
        assert_eq!(request(server.address, &with(wrong), "").await.status, 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_token_in_the_query_opens_nothing() {
    let server = start_with_token(TOKEN).await;
    for query in ["token", "access_token", "authorization"] {
        assert_eq!(server.get(&format!("/api/v1/events?{query}={TOKEN}")).await.status, 401);
    }
}

#[tokio::test]
async fn no_answer_shows_a_secret() {
    let server = start_with_token(TOKEN).await;
    for path in
        ["/api/v1/rules", "/api/v1/targets", "/api/v1/sources", "/api/v1/channels", "/api/v1/status", "/metrics"]
    {
        let head = format!("GET {path} HTTP/1.1\nauthorization: Bearer {TOKEN}");
        let answer = request(server.address, &head, "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        for secret in [TOKEN, crate::http_broker::SECRET, "whsec", "confidential"] {
            assert!(!answer.body.contains(secret), "{path} shows {secret}: {}", answer.body);
        }
    }
}
