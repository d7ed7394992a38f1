//! Objects that cannot be had when their bytes are fetched for a target, by a store that answers as it is told; and
//! notifications that come twice or out of order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{DEADLINE, events, get, start};
use crate::support::{Broker, free_port, project};

const PROJECT: &str = r#"
[server]
listen = "127.0.0.1:PORT"

[source.uploads]
kind = "s3"
endpoint = "ENDPOINT"
bucket = "photos"
access_key_id = "id"
secret_access_key = { env = "SECRET", default = "canary-of-the-store" }
notifications = "webhook"
path = "/hooks/uploads"
auth_token = { env = "TOKEN", default = "token" }
loop_guard = false

[sink.nowhere]
kind = "discard"
"#;

const RULES: &str = r#"
[[rule]]
name = "fetch"
from = ["uploads"]
target = { sink = "nowhere", input = "object", object_max = "1MiB", retry = { attempts = 5, backoff = "50ms" } }
"#;

/// A store that answers by key, and counts how often each was asked for.
struct Store {
    address: String,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Store {
    async fn start() -> Store {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let counts = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&counts)));
            }
        });
        Store { address, asked }
    }

    fn asked(&self, key: &str) -> u32 {
        self.asked.lock().unwrap().get(key).copied().unwrap_or(0)
    }
}

async fn answer(mut stream: TcpStream, counts: Arc<Mutex<BTreeMap<String, u32>>>) {
    let (mut head, mut some) = (String::new(), [0; 4096]);
    while !head.contains("\r\n\r\n") {
        let Ok(count @ 1..) = stream.read(&mut some).await else { return };
        head.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    let key = path.split('?').next().unwrap_or_default().trim_start_matches("/photos/").to_owned();
    let count = {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(key.clone()).or_default();
        *count += 1;
        *count
    };
    let refused = |status: &str, code: &str, more: &str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{more}content-type: application/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    };
    let said = match key.as_str() {
        "gone" => refused("404 Not Found", "NoSuchKey", ""),
        "forbidden" => refused("403 Forbidden", "AccessDenied", ""),
        "expired" => refused("403 Forbidden", "ExpiredToken", ""),
        "slow" if count < 3 => refused("503 Slow Down", "SlowDown", "retry-after: 1\r\n"),
        // The notification said three bytes.
        "lies" => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\nabc", 5_u64 << 40),
        "breaks" if count < 2 => "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nab".to_owned(),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc".to_owned(),
    };
    let _ = stream.write_all(said.as_bytes()).await;
    if key == "lies" {
        // It never sends what it has said; who believes it waits.
        let _ = stream.read(&mut some).await;
    }
}

fn record(key: &str, size: u64, sequencer: &str, name: &str) -> Value {
    json!({
        "eventSource": "aws:s3", "eventTime": "2026-11-22T00:00:00Z", "eventName": name,
        "s3": { "bucket": { "name": "photos" }, "object": { "key": key, "size": size, "eTag": "e", "sequencer": sequencer } },
    })
}

/// Tells the broker what a store would; gives whether each change was known already.
async fn told(broker: &Broker, records: Vec<Value>) -> Vec<bool> {
    let call = reqwest::Client::new().post(format!("{}/hooks/uploads", broker.url()));
    let call = call.header("authorization", "Bearer token").header("content-type", "application/json");
    let answer = call.body(json!({ "Records": records }).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let said: Value = answer.json().await.unwrap();
    said["accepted"].as_array().unwrap().iter().map(|one| one["duplicate"] == true).collect()
}

fn project_of(store: &Store) -> tempfile::TempDir {
    let main = PROJECT.replace("PORT", &free_port().to_string()).replace("ENDPOINT", &store.address);
    project(&[("eventyard.toml", &main), ("rules/fetch.toml", RULES)])
}

/// The delivery of the event with this key, once it has ended.
async fn ended(broker: &Broker, key: &str) -> Value {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        for event in events(broker, "s3.object_created", 1).await {
            let shown = get(broker, &format!("/api/v1/events/{}", event["event"].as_str().unwrap())).await;
            let delivery = &shown["deliveries"][0];
            let state = delivery["state"].as_str().unwrap_or_default();
            if shown["cloudevent"]["data"]["key"] == key && ["delivered", "dead"].contains(&state) {
                return shown["deliveries"][0].clone();
            }
        }
        assert!(tokio::time::Instant::now() < deadline, "{key} has not ended");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_fetched_is_tried_again_or_a_dead_letter_by_why() {
    let store = Store::start().await;
    let folder = project_of(&store);
    let broker = start(folder.path(), &[]);
    let keys = ["gone", "forbidden", "expired", "slow", "lies", "breaks", "good"];
    let records = keys.iter().map(|key| record(key, 3, "01", "ObjectCreated:Put")).collect();
    assert_eq!(told(&broker, records).await, [false; 7]);
    // Five tebibytes by its own word: nobody asks for it.
    told(&broker, vec![record("huge", 5 << 40, "01", "ObjectCreated:Put")]).await;
    let wanted = [
        ("gone", "dead", 1, 1),
        ("forbidden", "dead", 1, 1),
        // A key may be put right meanwhile.
        ("expired", "dead", 5, 5),
        ("slow", "delivered", 3, 3),
        ("lies", "dead", 1, 1),
        ("breaks", "delivered", 2, 2),
        ("good", "delivered", 1, 1),
        ("huge", "dead", 1, 0),
    ];
    for (key, state, attempts, asked) in wanted {
        let delivery = ended(&broker, key).await;
        let made = delivery["attempts"]
            .as_array()
            .map_or_else(|| delivery["attempts"].as_u64().unwrap(), |all| all.len() as u64);
        assert_eq!(
            (delivery["state"].as_str().unwrap(), made, store.asked(key)),
            (state, attempts, asked),
            "{key}: {delivery:#}"
        );
    }
    let letters = get(&broker, "/api/v1/dead-letters?limit=100").await;
    let reasons: BTreeMap<String, String> = letters["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| {
            let (key, code) = (&letter["cloudevent"]["data"]["key"], &letter["reason"]["code"]);
            (key.as_str().unwrap().to_owned(), code.as_str().unwrap().to_owned())
        })
        .collect();
    let wanted = [
        ("expired", "auth"),
        ("forbidden", "forbidden"),
        ("gone", "object_gone"),
        ("huge", "object_too_large"),
        ("lies", "object_too_large"),
    ];
    assert_eq!(reasons, wanted.map(|(key, code)| (key.to_owned(), code.to_owned())).into());
    assert!(!letters.to_string().contains("canary-of-the-store"));
}

#[tokio::test]
async fn a_change_that_is_told_twice_is_one_event_and_the_order_can_be_told() {
    let store = Store::start().await;
    let folder = project_of(&store);
    let broker = start(folder.path(), &[]);
    // The later one comes first, and one of them twice, in one message and in another.
    let (first, second) = ("0055AED6DCD90281E5", "0055AED6DCD90281E6");
    let put = |sequencer: &str| record("../../etc/passwd", 3, sequencer, "ObjectCreated:Put");
    assert_eq!(told(&broker, vec![put(second), put(second)]).await, [false, true]);
    assert_eq!(told(&broker, vec![put(first), put(second)]).await, [false, true]);
    // The shorter one is filled up with zeros: these two are later than both.
    let gone = record("../../etc/passwd", 0, "0055AED6DCD90281E7", "ObjectRemoved:Delete");
    assert_eq!(told(&broker, vec![gone.clone(), gone]).await, [false, true]);
    let mut sequencers = Vec::new();
    for ty in ["s3.object_created", "s3.object_deleted"] {
        for event in events(&broker, ty, 1).await {
            let shown = get(&broker, &format!("/api/v1/events/{}", event["event"].as_str().unwrap())).await;
            let data = shown["cloudevent"]["data"].clone();
            assert_eq!(data["key"], "../../etc/passwd", "as it is, and by reference");
            sequencers.push(data["sequencer"].as_str().unwrap().to_owned());
        }
    }
    sequencers.sort_unstable();
    assert_eq!(sequencers, [first, second, "0055AED6DCD90281E7"]);
}
