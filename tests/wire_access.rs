//! The token, against the running program: without it there is one answer, whatever was tried.

use crate::wire_broker::WireBroker;

const TOKEN: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn whoever_lacks_the_token_gets_one_and_the_same_answer() {
    let broker = WireBroker::start_with_token(TOKEN).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let mut answers = Vec::new();
    for credentials in [
        String::new(),
        "\nauthorization: ".to_owned(),
        "\nauthorization: Bearer".to_owned(),
        "\nauthorization: Bearer ".to_owned(),
        "\nauthorization: Bearer wrong".to_owned(),
        format!("\nauthorization: Bearer {TOKEN}x"),
        format!("\nauthorization: Bearer {}", &TOKEN[1..]),
        format!("\nauthorization: Bearer {}", TOKEN.to_uppercase()),
        format!("\nauthorization: Basic {TOKEN}"),
        format!("\nauthorization: {TOKEN}"),
        format!("\nauthorization: Bearer {TOKEN}\nauthorization: Bearer {TOKEN}"),
        format!("\nauthorization: Bearer {}", "a".repeat(60_000)),
        format!("\nx-api-key: {TOKEN}\ncookie: token={TOKEN}"),
    ] {
        let head = format!("POST /events HTTP/1.1\ncontent-type: application/cloudevents+json{credentials}");
        let answer = broker.request(&head, event).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{credentials:.80}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"eventyard\""));
        assert!(!answer.body.contains(TOKEN));
        answers.push(answer.body);
    }
    assert!(answers.iter().all(|body| *body == answers[0]), "{answers:?}");

    // With it, the event is new: nothing of the refused ones was taken.
    let head =
        format!("POST /events HTTP/1.1\ncontent-type: application/cloudevents+json\nauthorization: Bearer {TOKEN}");
    let answer = broker.request(&head, event).await;
    assert_eq!((answer.status, &answer.json()["accepted"][0]["duplicate"]), (202, &false.into()));
    broker.is_well().await;
}

#[tokio::test]
async fn a_token_in_the_query_opens_nothing() {
    let broker = WireBroker::start_with_token(TOKEN).await;
    for name in ["token", "access_token", "api_key", "key", "authorization"] {
        for path in ["/api/v1/events", "/metrics", "/api/v1/status"] {
            let answer = broker.request(&format!("GET {path}?{name}={TOKEN} HTTP/1.1"), "").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path}?{name}");
        }
    }
    broker.is_well().await;
}

#[tokio::test]
async fn a_mebibyte_of_token_is_431_and_the_connection_closed() {
    let broker = WireBroker::start_with_token(TOKEN).await;
    let before = broker.memory_peak_bytes();
    for path in ["/events", "/api/v1/status", "/readyz"] {
        let mut wire = broker.connect().await;
        let token = "a".repeat(1 << 20);
        wire.try_send(format!("GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status, 431);
        wire.closed().await;
    }
    assert!(broker.memory_peak_bytes() - before < 32 << 20);
    broker.is_well().await;
}

#[tokio::test]
async fn without_the_token_no_body_is_read() {
    let broker = WireBroker::start_with_token(TOKEN).await;
    let mut wire = broker.connect().await;
    wire.send("POST /events HTTP/1.1\r\nhost: test\r\ncontent-length: 1073741824\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"));
    assert_eq!(answer.header("connection"), Some("close"));
    wire.closed().await;
    broker.is_well().await;
}

#[tokio::test]
async fn what_does_not_exist_looks_the_same_without_the_token_as_what_does() {
    let broker = WireBroker::start_with_token(TOKEN).await;
    let known = broker.request("GET /api/v1/rules/raw HTTP/1.1", "").await;
    for path in ["/api/v1/rules/none", "/api/v1/nothing", "/nothing", "/ui/", "/healthz/x", "//healthz", "/READYZ"] {
        let answer = broker.request(&format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!((answer.status, &answer.body), (401, &known.body), "{path}");
    }
    for open in ["/healthz", "/readyz"] {
        assert_eq!(broker.request(&format!("GET {open} HTTP/1.1"), "").await.status, 200, "{open}");
    }
    // An http source stands on its own proof (here: none is asked).
    assert_eq!(broker.request("POST /in/x HTTP/1.1", "hello").await.status, 202);
    broker.is_well().await;
}
