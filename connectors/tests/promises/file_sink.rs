//! The file sink: lines that are whole, files that are rotated, failures that are told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_connectors::http::HttpClient;
use eventyard_connectors::registry::{build_sink, spec};
use eventyard_connectors::sink::{Payload, PayloadForm, SendRequest, Sink};
use eventyard_connectors::spec::{Role, normalise};
use eventyard_event::{Data, Envelope, Event, EventId, Name, Timestamp};
use futures_util::future::join_all;
use serde_json::{Value, json};

fn sink(settings: &Value) -> Arc<dyn Sink> {
    let fields = spec(Role::Sink, "file").unwrap().fields;
    let plain = normalise(fields, settings.as_object().unwrap()).unwrap();
    build_sink("file", &Value::Object(plain), &HttpClient::new(Vec::new())).unwrap()
}

fn request(n: u64, at: i64, form: PayloadForm) -> SendRequest {
    let data = Bytes::from(format!("{{\"n\":\n {n}}}"));
    let envelope = Envelope {
        id: EventId::new(Timestamp::EPOCH, [0; 10]),
        namespace: Name::default_namespace(),
        source_name: Name::default_namespace(),
        tags: Vec::new(),
        received_at: Timestamp::EPOCH,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: n.to_string().into(),
            source: "/shop".into(),
            ty: "order".into(),
            data: Data::Json(data.clone()),
            ..Event::default()
        },
    };
    SendRequest {
        delivery: n.to_string(),
        attempt: 1,
        at: Timestamp::from_millis(1_800_000_000_000 + at),
        event: Arc::new(envelope),
        payload: Payload { content_type: None, body: data, form },
        timeout: Duration::from_secs(30),
        traceparent: None,
    }
}

/// The files' names and lines, in the order of the names.
fn written(folder: &Path) -> Vec<(String, Vec<Value>)> {
    let read = |entry: std::fs::DirEntry| {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        assert!(text.ends_with('\n'));
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (entry.file_name().into_string().unwrap(), lines)
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

#[tokio::test]
async fn each_event_is_a_line_in_the_order_of_the_sends() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(&json!({ "folder": dir.path().join("a/b"), "prefix": "orders", "batch": { "window": "20ms" } }));
    let sends = (0..300).map(|n| sink.send(request(n, 0, PayloadForm::Raw)));
    for sent in join_all(sends).await {
        assert_eq!(sent.unwrap().code, "appended");
    }
    sink.send(request(300, 0, PayloadForm::Shaped)).await.unwrap();
    let files = written(&dir.path().join("a/b"));
    let [(name, lines)] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(name, "orders-2027-01-15T080000.000Z-0.jsonl");
    let numbers = lines.iter().take(300).map(|line| line["data"]["n"].as_u64().unwrap());
    assert!(numbers.eq(0..300));
    assert_eq!((&lines[7]["id"], &lines[7]["type"], &lines[300]), (&"7".into(), &"order".into(), &json!({ "n": 300 })));
}

#[tokio::test]
async fn files_are_followed_by_others_by_size_by_age_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = json!({ "folder": dir.path(), "max_size": "200B", "max_age": "1m", "batch": { "window": "0ms" } });
    let first = sink(&settings);
    for n in 0..4 {
        first.send(request(n, 0, PayloadForm::Raw)).await.unwrap();
    }
    first.send(request(4, 60_000, PayloadForm::Raw)).await.unwrap();
    let after = sink(&settings);
    after.send(request(5, 60_000, PayloadForm::Raw)).await.unwrap();
    let counts: Vec<usize> = written(dir.path()).iter().map(|(_, lines)| lines.len()).collect();
    let names: Vec<String> = written(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(counts.iter().sum::<usize>(), 6, "{names:?}");
    assert!(names.len() >= 4 && names.last().unwrap().ends_with("080100.000Z-1.jsonl"), "{names:?} {counts:?}");
}

#[tokio::test]
async fn a_file_that_was_deleted_takes_no_more_lines() {
    let dir = tempfile::tempdir().unwrap();
    let sink = sink(&json!({ "folder": dir.path().join("lines"), "batch": { "window": "0ms" } }));
    sink.send(request(0, 0, PayloadForm::Raw)).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("lines")).unwrap();
    sink.send(request(1, 0, PayloadForm::Raw)).await.unwrap();
    let files = written(&dir.path().join("lines"));
    assert_eq!(files[0].1[0]["data"]["n"], 1, "{files:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_told_and_may_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "a file stands here").unwrap();
    let sink = sink(&json!({ "folder": taken, "batch": { "window": "0ms" } }));
    let error = sink.send(request(0, 0, PayloadForm::Raw)).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("file_io", true));
    std::fs::remove_file(&taken).unwrap();
    sink.send(request(0, 0, PayloadForm::Raw)).await.unwrap();
    assert_eq!(written(&taken)[0].1.len(), 1);
}
