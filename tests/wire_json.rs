//! JSON that is none, or that other programs would change on its way: refused with line and column on
//! `/events`, kept byte for byte on an http source, and forwarded exactly as it was sent.

use crate::wire::Answer;
use crate::wire_broker::WireBroker;

const BINARY_JSON: &str =
    "POST /events HTTP/1.1\nce-specversion: 1.0\nce-id: bad\nce-source: /s\nce-type: t\ncontent-type: application/json";
const SOURCE: &str = "POST /in/anything HTTP/1.1\ncontent-type: application/json";

/// Texts that are no JSON, with the line and column where that shows.
const BROKEN: &[(&[u8], usize, usize)] = &[
    (b"{", 1, 2),
    (b"", 1, 1),
    (b"{} x", 1, 4),
    (b"{}{}", 1, 3),
    (br#"{"a":NaN}"#, 1, 6),
    (br#"{"a":Infinity}"#, 1, 6),
    (br#"{"a":-Infinity}"#, 1, 7),
    (b"{'a':1}", 1, 2),
    (b"\xef\xbb\xbf{}", 1, 1),
    (b"{\n  \"a\" 1}", 2, 7),
    (br#"{"a":1,}"#, 1, 8),
    (br#"{"a":01}"#, 1, 6),
    (br#"{"a":.5}"#, 1, 6),
    (b"{\"a\":\"\n\"}", 1, 7),
    (br#"{"a":"\ud800"}"#, 1, 7),
    (br#"{"a":"\udc00\ud800"}"#, 1, 7),
    (br#"{"a":"\x41"}"#, 1, 7),
    (b"{\"a\":\"\xff\"}", 1, 7),
    (b"{\"a\":\"\xed\xa0\x80\"}", 1, 7),
    (b"{\"a\":\"\xc0\xaf\"}", 1, 7),
    (br#"{"a":1} // b"#, 1, 9),
];

fn first(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["accepted"][0]["event"].as_str().unwrap().to_owned()
}

/// A structured event around a text of data.
fn around(id: &str, data: &[u8]) -> Vec<u8> {
    let head = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":"#);
    [head.as_bytes(), data, b"}"].concat()
}

/// The rules that an answer names, without those that match everything.
fn matched(answer: &Answer) -> Vec<String> {
    let rules = answer.json()["accepted"][0]["rules"].clone();
    let names = rules.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("a-is")).collect()
}

#[tokio::test]
async fn broken_json_is_refused_at_the_line_and_column_where_it_breaks() {
    let broker = WireBroker::start().await;
    for (text, line, column) in BROKEN {
        let answer = broker.structured(text).await;
        let shown = String::from_utf8_lossy(text);
        assert_eq!((answer.status, answer.code().as_str()), (400, "json_invalid"), "{shown}");
        assert_eq!(answer.json()["where"], format!("line {line}, column {column}"), "{shown}");
        // As the data of a binary event. No body at all is no data there, and no mistake.
        if !text.is_empty() {
            let answer = broker.request(BINARY_JSON, text).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "json_invalid"), "{shown}");
        }
    }
    broker.is_well().await;
}

#[tokio::test]
async fn a_source_keeps_broken_json_as_bytes_and_patterns_see_no_data() {
    let broker = WireBroker::start().await;
    for (text, ..) in BROKEN {
        let answer = broker.request(SOURCE, text).await;
        let event = first(&answer);
        assert_eq!(matched(&answer), [""; 0], "{}", String::from_utf8_lossy(text));
        let raw = broker.delivered(&event, "/raw").await;
        assert_eq!(raw.body, *text);
        assert_eq!(raw.headers["content-type"], "application/json");
    }
    let answer = broker.request(SOURCE, r#"{"a":1}"#).await;
    assert_eq!(matched(&answer), ["a-is-there", "a-is-1"], "whole JSON is seen");
    broker.is_well().await;
}

#[tokio::test]
async fn nesting_has_a_limit_and_costs_no_stack() {
    let broker = WireBroker::start().await;
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(100_000);
        let answer = broker.structured(around("deep", deep.as_bytes())).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "ce_limit"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("json_depth"), "{answer:?}");
        let answer = broker.structured(&deep).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "ce_limit"));
        let answer = broker.request(BINARY_JSON, &deep).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "ce_limit"));
        let event = first(&broker.request(SOURCE, &deep).await);
        assert_eq!(broker.delivered(&event, "/raw").await.body, deep.as_bytes());
    }
    let fits = format!("{}{}", "[".repeat(127), "]".repeat(127));
    first(&broker.structured(around("fits", fits.as_bytes())).await);
    let one_more = format!("[{fits}]");
    assert_eq!(broker.structured(around("more", one_more.as_bytes())).await.code(), "ce_limit");
    broker.is_well().await;
}

#[tokio::test]
async fn numbers_spaces_and_keys_go_on_exactly_as_they_came() {
    let broker = WireBroker::start().await;
    let digits = format!(r#"{{"n":0.{}}}"#, "1234567890".repeat(1000));
    let texts = [
        r#"{"n":1e999}"#,
        r#"{"n":-0}"#,
        r#"{"n":-0.0}"#,
        r#"{"n":18446744073709551617}"#,
        r#"{"n":9007199254740993}"#,
        r#"{"n":1.0,"m":1.00,"o":1E+2,"p":1e-400}"#,
        digits.as_str(),
        "{ \"b\" : 1 ,\t\"a\":\r\n2 }",
        r#"{"\u0061":1,"a\/b":"\u00e9\ud83d\ude00"}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"__proto__":{"x":1},"constructor":null}"#,
        r#""text""#,
        "null",
        "-1",
        "[1,\n2]",
    ];
    for (number, text) in texts.into_iter().enumerate() {
        let shown = &text[..text.len().min(60)];
        let structured = first(&broker.structured(around(&format!("s{number}"), text.as_bytes())).await);
        let head = BINARY_JSON.replace("bad", &format!("b{number}"));
        let binary = first(&broker.request(&head, text).await);
        let source = first(&broker.request(SOURCE, text).await);
        for event in [structured, binary, source] {
            assert_eq!(broker.delivered(&event, "/raw").await.body, text.as_bytes(), "{shown}");
            let whole = String::from_utf8(broker.delivered(&event, "/whole").await.body).unwrap();
            assert!(whole.contains(&format!("\"data\":{text}")), "{shown}: {whole}");
            assert!(broker.shown(&event).await.body.contains(&format!("\"data\":{text}")), "{shown}");
        }
    }
    broker.is_well().await;
}

#[tokio::test]
async fn both_values_of_a_repeated_key_match() {
    let broker = WireBroker::start().await;
    for (number, text) in [r#"{"a":1,"a":2}"#, r#"{"a":2,"x":0,"\u0061":1}"#].into_iter().enumerate() {
        let answer = broker.structured(around(&number.to_string(), text.as_bytes())).await;
        assert_eq!(matched(&answer), ["a-is-there", "a-is-1", "a-is-2"], "{text}");
        assert_eq!(broker.delivered(&first(&answer), "/raw").await.body, text.as_bytes());
    }
    // Twice in the event itself is another matter: nobody could say which counts.
    let twice = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data":2}"#;
    assert_eq!(broker.structured(twice).await.code(), "ce_attribute");
    broker.is_well().await;
}

#[tokio::test]
async fn a_key_as_long_as_an_event_and_a_million_keys_are_taken_within_the_limit() {
    let long = |bytes: usize| around("long", format!(r#"{{"{}":1}}"#, "k".repeat(bytes)).as_bytes());
    let keys = |count: usize| {
        let members: Vec<String> = (0..count).map(|number| format!("\"{number:x}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    let broker = WireBroker::start().await;
    assert_eq!(broker.structured(long(1 << 20)).await.code(), "body_too_large");
    first(&broker.structured(long((1 << 20) - 200)).await);
    assert_eq!(broker.structured(around("many", keys(150_000).as_bytes())).await.code(), "body_too_large");
    broker.is_well().await;

    let roomy = WireBroker::start_with("", "[limits]\nevent = \"16MiB\"").await;
    let before = roomy.memory_peak_bytes();
    let million = keys(1_000_000);
    let began = std::time::Instant::now();
    let answer = roomy.structured(around("million", million.as_bytes())).await;
    // Comparing each key with each would take five hundred thousand million comparisons: hours.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    assert!(roomy.delivered(&first(&answer), "/raw").await.body == million.as_bytes());
    let growth = roomy.memory_peak_bytes() - before;
    assert!(growth < 512 << 20, "the process grew by {growth} bytes for an event of {}", million.len());
    roomy.is_well().await;
}

#[tokio::test]
async fn markup_in_names_is_text_wherever_it_is_shown() {
    let broker = WireBroker::start().await;
    let markup = "<img src=x onerror=alert(1)>";
    let event = format!(
        r#"{{"specversion":"1.0","id":"{markup}","source":"/s","type":"{markup}","subject":"{markup}","data":{{"__proto__":{{"a":1}},"constructor":"{markup}"}}}}"#
    );
    let answer = broker.structured(event).await;
    let id = first(&answer);
    let refused = broker.request(&format!("GET /{} HTTP/1.1", "%3Cimg%20onerror%3D1%3E"), "").await;
    assert_eq!(refused.code(), "not_found");
    let shown = broker.shown(&id).await;
    assert_eq!(shown.json()["cloudevent"]["id"], markup);
    for answer in [&answer, &shown, &refused] {
        let content_type = answer.header("content-type").unwrap();
        assert!(content_type.starts_with("application/") && content_type.contains("json"), "{content_type}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "no browser may take it for a page");
    }
    let metrics = broker.request("GET /metrics HTTP/1.1", "").await;
    assert!(!metrics.body.contains("onerror"), "what senders write is no label");
    broker.is_well().await;
}
