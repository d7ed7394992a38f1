//! The file sink, which has no server and no connection: what it promises is kept by a folder on disk.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::numbered;
use crate::sinks::{request, sink};
use crate::system::{System, contract};

contract!(super::start, sinks:
    a_thousand_are_there_when_they_are_confirmed,
    a_repeat_is_told_by_its_delivery,
);

/// A folder of a test's own.
pub(crate) struct Folder(TempDir);

pub(crate) async fn start() -> Option<Folder> {
    Some(Folder(tempfile::tempdir().unwrap()))
}

#[async_trait]
impl System for Folder {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn address(&self) -> SocketAddr {
        // Nobody: nothing is sent to it.
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    fn source(&self, _address: SocketAddr, _place: &str) -> Value {
        unreachable!("there is no source of this kind")
    }

    fn sink(&self, _address: SocketAddr, place: &str) -> Value {
        json!({ "folder": self.0.path().join(place), "batch": { "window": "5ms" } })
    }

    async fn prepare(&self, _place: &str) {}

    async fn produce(&self, _place: &str, _bodies: Vec<Bytes>) {
        unreachable!("there is no source of this kind")
    }

    async fn contents(&self, place: &str) -> Vec<Bytes> {
        let mut contents = Vec::new();
        for file in std::fs::read_dir(self.0.path().join(place)).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(text.ends_with('\n'), "the last line is whole");
            for line in text.lines() {
                let event: Value = serde_json::from_str(line).unwrap();
                contents.push(event["data"].to_string().into());
            }
        }
        contents
    }

    async fn unacknowledged(&self, _place: &str) -> Option<u64> {
        None
    }
}

/// Its connection is the folder: without it a send may be tried again, and after it is back sends succeed again.
#[tokio::test]
async fn a_folder_that_goes_and_comes_back_loses_nothing_that_was_not_told() {
    let folder = start().await.unwrap();
    let place = folder.0.path().join("gone");
    let sink = sink(&folder, &folder.sink(folder.address(), "gone"));
    std::fs::write(&place, "no folder").unwrap();
    let error = sink.send(request(0, numbered(0, 100))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("file_io", true), "{error:?}");
    std::fs::remove_file(&place).unwrap();
    sink.send(request(1, numbered(1, 100))).await.unwrap();
    sink.close().await;
    assert_eq!(folder.contents("gone").await.len(), 1);
}
