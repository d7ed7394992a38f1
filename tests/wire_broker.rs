//! The real program with its real journal, a target that keeps every byte it is sent, and what must hold
//! whatever was sent to it before: nothing that was acknowledged is lost, nothing that was refused is kept, it is
//! ready within a second, and its memory is bounded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventyard::api::views::{EventItem, List};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Broker;
use crate::wire::{Answer, Wire, request};

/// How long a delivery may take in these tests.
const DEADLINE: Duration = Duration::from_secs(30);

const TABLES: &str = r#"
[source.anything]
kind = "http"
path = "/in/{kind}"

[sink.nowhere]
kind = "discard"
"#;

/// `raw` gets the bytes as they came, `whole` the event as CloudEvents JSON; both get every event but the
/// broker's own. The others only show in the receipt that they matched.
const RULES: &str = r#"
[[rule]]
name = "raw"
pattern = '''{"type": [{"anything-but": {"prefix": "eventyard."}}]}'''
target = { http = { url = "http://TARGET/raw" } }

[[rule]]
name = "whole"
pattern = '''{"type": [{"anything-but": {"prefix": "eventyard."}}]}'''
target = { http = { url = "http://TARGET/whole" }, input = "event" }

[[rule]]
name = "a-is-there"
pattern = '''{"data": {"a": [{"exists": true}]}}'''
target = { sink = "nowhere" }

[[rule]]
name = "a-is-1"
pattern = '''{"data": {"a": [1]}}'''
target = { sink = "nowhere" }

[[rule]]
name = "a-is-2"
pattern = '''{"data": {"a": [2]}}'''
target = { sink = "nowhere" }
"#;

/// One request that the target took.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Delivered {
    /// Our id of the event, out of the delivery's.
    fn event(&self) -> &str {
        self.headers["webhook-id"].rsplit_once('-').unwrap().0
    }
}

pub(crate) struct WireBroker {
    process: Broker,
    pub(crate) address: SocketAddr,
    delivered: Arc<Mutex<Vec<Delivered>>>,
    /// Our ids of the events that were acknowledged as new.
    accepted: Mutex<Vec<String>>,
    token: Option<String>,
    folder: tempfile::TempDir,
}

impl WireBroker {
    pub(crate) async fn start() -> WireBroker {
        WireBroker::start_with("", "").await
    }

    /// With more keys in `[server]`, and more tables in `eventyard.toml`.
    pub(crate) async fn start_with(server: &str, tables: &str) -> WireBroker {
        WireBroker::start_in(server, tables, |folder| Broker::start("run", folder)).await
    }

    /// As a process that may have so many files open.
    pub(crate) async fn start_with_files(files_max: u32) -> WireBroker {
        WireBroker::start_in("", "", |folder| {
            let mut command = Command::new("sh");
            let script = format!("ulimit -n {files_max} && exec \"$0\" run");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_eventyard")]).current_dir(folder);
            Broker::spawn(command.env_remove("EVENTYARD_TOKEN").env("NO_COLOR", "1").stdin(Stdio::null()))
        })
        .await
    }

    async fn start_in(server: &str, tables: &str, start: impl FnOnce(&Path) -> Broker) -> WireBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let delivered = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(take_deliveries(listener, Arc::clone(&delivered)));

        let folder = tempfile::tempdir().unwrap();
        let main = format!("[server]\nlisten = \"127.0.0.1:0\"\n{server}\n{TABLES}\n{tables}");
        std::fs::write(folder.path().join("eventyard.toml"), main).unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules/all.toml"), RULES.replace("TARGET", &target.to_string())).unwrap();

        let process = start(folder.path());
        let address = process.address();
        WireBroker { process, address, delivered, accepted: Mutex::default(), token: None, folder }
    }

    /// With `[server] token`, which the harness's own questions bring.
    pub(crate) async fn start_with_token(token: &str) -> WireBroker {
        let broker = WireBroker::start_with(&format!("token = \"{token}\""), "").await;
        WireBroker { token: Some(token.to_owned()), ..broker }
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// One request over a connection of its own.
    pub(crate) async fn request(&self, head: &str, body: impl AsRef<[u8]>) -> Answer {
        let answer = request(self.address, head, body).await;
        self.note(&answer);
        answer
    }

    /// One CloudEvent in structured mode.
    pub(crate) async fn structured(&self, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST /events HTTP/1.1\ncontent-type: application/cloudevents+json", body).await
    }

    /// Remembers what was acknowledged.
    pub(crate) fn note(&self, answer: &Answer) {
        // A target's answer instead of a receipt.
        if let Some(event) = answer.header("eventyard-event") {
            self.accepted.lock().unwrap().push(event.to_owned());
            return;
        }
        if answer.status != 202 {
            return;
        }
        for receipt in answer.json()["accepted"].as_array().unwrap() {
            if receipt["duplicate"] == false {
                self.accepted.lock().unwrap().push(receipt["event"].as_str().unwrap().to_owned());
            }
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let token = self.token.as_ref().map(|token| format!("\nauthorization: Bearer {token}")).unwrap_or_default();
        request(self.address, &format!("GET {path} HTTP/1.1{token}"), "").await
    }

    /// An event as the API shows it.
    pub(crate) async fn shown(&self, event: &str) -> Answer {
        self.get(&format!("/api/v1/events/{event}")).await
    }

    /// What the target got of an event at a path.
    pub(crate) async fn delivered(&self, event: &str, path: &str) -> Delivered {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let found =
                self.delivered.lock().unwrap().iter().find(|one| one.event() == event && one.path == path).cloned();
            if let Some(found) = found {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{event} was not delivered to {path}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The running program.
    pub(crate) fn process(&self) -> &Broker {
        &self.process
    }

    /// One line of `/metrics`: the value behind this name with its labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await.body;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// The most memory that the process ever held, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// Waits for the process's end; the exit code, where it was no signal.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        // The targets of what is under way are tasks of this thread.
        loop {
            if let Some(code) = self.process.try_ended() {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL, and a start in the same folder.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = Broker::start("run", self.folder.path());
        self.address = self.process.address();
    }

    /// What holds at the end of every test: it is ready within a second, everything acknowledged was delivered
    /// once to each target and is in the store, and nothing else is.
    pub(crate) async fn is_well(&self) {
        let ready = tokio::time::timeout(Duration::from_secs(1), self.get("/readyz")).await;
        assert_eq!(ready.expect("not ready within a second").status, 200);

        let mut accepted = self.accepted.lock().unwrap().clone();
        accepted.sort();
        for event in &accepted {
            self.delivered(event, "/raw").await;
            self.delivered(event, "/whole").await;
        }
        assert_eq!(self.stored().await, accepted, "what is stored is what was acknowledged");
        let mut seen: Vec<(String, String)> =
            self.delivered.lock().unwrap().iter().map(|one| (one.event().to_owned(), one.path.clone())).collect();
        let deliveries = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((seen.len(), deliveries), (2 * accepted.len(), 2 * accepted.len()), "each once to each target");
    }

    /// Our ids of all events that are stored, in order.
    async fn stored(&self) -> Vec<String> {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/api/v1/events?limit=100&cursor={cursor}")).await.body;
            // Not as a tree: some of these events have more than a tree takes.
            let page: List<EventItem> = serde_json::from_str(&page).unwrap();
            ids.extend(page.items.iter().map(|item| item.event.to_string()));
            match page.next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        ids.sort();
        ids
    }
}

/// Takes requests one after another on each connection, keeps them, and answers 200.
async fn take_deliveries(listener: TcpListener, delivered: Arc<Mutex<Vec<Delivered>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(take_on(stream, Arc::clone(&delivered)));
    }
}

async fn take_on(mut stream: TcpStream, delivered: Arc<Mutex<Vec<Delivered>>>) {
    let mut unread = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut unread).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(unread.drain(..head_end).collect()).unwrap();
        let mut lines = head.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while unread.len() < length {
            assert!(stream.read_buf(&mut unread).await.unwrap() > 0, "the broker hung up within a request");
        }
        let body = unread.drain(..length).collect();
        delivered.lock().unwrap().push(Delivered { path, headers, body });
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}
