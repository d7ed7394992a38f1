//! Stores that answer with what real ones seldom do, scripted.

use std::sync::{Arc, Mutex};

use eventyard_connectors::sink::Sink;
use eventyard_connectors::source::{Source, SourceError};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::polling::{build, context};
use crate::writing::{request, sink};
use eventyard_connectors::s3::Way;

/// A store that answers by the first line of a request, and keeps the first lines of all requests.
struct Scripted {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn start(answer: &'static str) -> Scripted {
        Scripted::start_by(move |_| answer).await
    }

    async fn start_by(answer: impl Fn(&str) -> &'static str + Copy + Send + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    let mut had = 0;
                    while let Ok(count @ 1..) = stream.read(&mut bytes[had..]).await {
                        had += count;
                        let text = String::from_utf8_lossy(&bytes[..had]).into_owned();
                        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                        let length = head.lines().find_map(|line| {
                            line.to_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse::<usize>().ok())
                        });
                        if body.len() < length.unwrap_or(0) {
                            continue;
                        }
                        let line = head.lines().next().unwrap_or_default().to_owned();
                        let said = answer(&line);
                        kept.lock().unwrap().push(line);
                        stream.write_all(said.as_bytes()).await.unwrap();
                        break;
                    }
                });
            }
        });
        Scripted { address, asked }
    }

    fn table(&self) -> Map<String, Value> {
        let table = json!({
            "endpoint": self.address, "bucket": "photos", "access_key_id": "a", "secret_access_key": "b",
        });
        table.as_object().unwrap().clone()
    }
}

async fn sent(answer: &'static str) -> (String, bool, Option<u64>, usize) {
    let store = Scripted::start(answer).await;
    let error = sink(&store.table()).send(request(1, "a", None)).await.unwrap_err();
    let asked = store.asked.lock().unwrap().len();
    (error.code, error.retryable, error.retry_after.map(|wait| wait.as_secs()), asked)
}

const SLOW_DOWN: &str = "HTTP/1.1 503 Slow Down\r\nretry-after: 3\r\ncontent-type: application/xml\r\ncontent-length: 96\r\nconnection: close\r\n\r\n<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>    ";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: 93\r\nconnection: close\r\n\r\n<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";

#[tokio::test]
async fn slow_down_is_tried_again_later_and_a_refusal_is_not() {
    // One request each: the client retries nothing by itself.
    assert_eq!(sent(SLOW_DOWN).await, ("slow_down".to_owned(), true, Some(3), 1));
    assert_eq!(sent(FORBIDDEN).await, ("forbidden".to_owned(), false, None, 1));
    let redirect =
        "HTTP/1.1 301 Moved\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(sent(redirect).await, ("wrong_region".to_owned(), false, None, 1));
    let broken = "HTTP/1.1 500 Oops\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n<Error>";
    assert!(sent(broken).await.1);
    assert!(sent("nonsense\r\n\r\n").await.1);
}

/// A batch is as many objects as there are prefixes among its events; each object has its own fate.
#[tokio::test]
async fn of_a_batch_each_object_is_confirmed_or_fails_by_itself() {
    let taken = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let by_prefix = move |line: &str| match line {
        line if line.contains("/busy/") => SLOW_DOWN,
        line if line.contains("/closed/") => FORBIDDEN,
        line if line.contains("/silent/") => "",
        _ => taken,
    };
    let store = Scripted::start_by(by_prefix).await;
    let mut table = store.table();
    table.insert("prefix".to_owned(), "{subject}/".into());
    table.insert("batch".to_owned(), json!({ "window": "200ms" }));
    let sink = sink(&table);
    let subjects = ["open", "busy", "closed", "silent"];
    let sends = (0..20).map(|n| sink.send(request(n, subjects[usize::from(n) % 4], None)));
    let sent = futures_util::future::join_all(sends).await;
    for (n, sent) in sent.iter().enumerate() {
        let said = sent.as_ref().map(|sent| &*sent.code).map_err(|error| (error.code.as_str(), error.retryable));
        let wanted = match subjects[n % 4] {
            "open" => Ok("object_written"),
            "busy" => Err(("slow_down", true)),
            "closed" => Err(("forbidden", false)),
            // The connection ended without an answer: nobody knows, so it is sent again, to the same key.
            _ => Err(("connect", true)),
        };
        assert_eq!(said, wanted, "{n}: {sent:?}");
    }
    assert_eq!(store.asked.lock().unwrap().len(), 4, "one request for each object, and none again");
}

#[tokio::test]
async fn a_listing_that_is_no_listing_is_tried_again() {
    for answer in [
        SLOW_DOWN,
        FORBIDDEN,
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot<>xml&",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\n<Lis",
    ] {
        let store = Scripted::start(answer).await;
        let Way::Polling(mut source) = build("uploads", &store.table()).way else { panic!("it does not list") };
        source.connect(context(None)).await.unwrap();
        assert!(matches!(source.read().await, Err(SourceError::Failed { .. })), "{answer}");
    }
}
