//! HTTP by hand: what a client library would never send, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer takes longer in these tests; a hang fails instead of hanging.
const DEADLINE: Duration = Duration::from_secs(20);

/// An answer as it stood on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The stable code of a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status, "{self:?}");
        assert!(json["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "every error says what to do: {self:?}");
        json["code"].as_str().unwrap().to_owned()
    }
}

/// A connection to write anything to.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Wire {
        Wire { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends as much as the server takes; true if it took all.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        tokio::time::timeout(DEADLINE, self.read_answer()).await.expect("no answer in time")
    }

    async fn read_answer(&mut self) -> Answer {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read_more().await, "closed before an answer: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        if answer.status == 100 {
            return answer;
        }
        let length: usize = match answer.status {
            204 => 0,
            _ => answer.header("content-length").expect("answers have a length").parse().unwrap(),
        };
        while self.unread.len() < length {
            assert!(self.read_more().await, "closed within an answer");
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        answer
    }

    async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// Sends one request on this connection, which goes on, and reads its answer.
    pub(crate) async fn request(&mut self, head: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = head.trim_end().replace('\n', "\r\n");
        self.send(format!("{head}\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len())).await;
        self.send(body).await;
        self.answer().await
    }

    /// Waits until the server has closed; fails if it says anything more.
    pub(crate) async fn closed(&mut self) {
        let more = tokio::time::timeout(DEADLINE, self.read_more()).await.expect("not closed in time");
        assert!(!more && self.unread.is_empty(), "expected the end, got {:?}", String::from_utf8_lossy(&self.unread));
    }
}

/// One request over a connection of its own.
pub(crate) async fn request(address: SocketAddr, head: &str, body: impl AsRef<[u8]>) -> Answer {
    Wire::connect(address).await.request(head, body).await
}
