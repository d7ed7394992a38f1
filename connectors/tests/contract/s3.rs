//! Object stores: versitygw, of which each test has one of its own that it may end, and MinIO, one for all tests.
//!
//! A message is an object here, and its number is the end of its key: a source gives objects by reference and reads none.
//! What could be poison to it is a key. The stores keep no account of who has seen what; the saved position does.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::{Disk, numbered, run};
use crate::free_port::free_port;
use crate::proxy::Proxy;
use crate::services::{program, service};
use crate::sinks::{request, sink};
use crate::sources::fresh;
use crate::system::{System, contract};

const PATIENCE_SECONDS: u64 = 60;
/// How many calls a test makes at once.
const CALLS_AT_ONCE: usize = 16;
const ID: &str = "eventyard";
const SECRET: &str = "eventyard-secret";

mod versitygw {
    use super::own as start;
    crate::system::contract!(super::start);
}

mod minio {
    use super::shared as start;
    crate::system::contract!(super::start);
}

/// A store.
pub(crate) struct S3 {
    address: SocketAddr,
    /// How the sink writes: one of the stores is given lines, the other objects.
    write: &'static str,
    own: Option<Own>,
}

/// A server of a test's own.
struct Own {
    folder: TempDir,
    process: Mutex<Child>,
}

pub(crate) async fn own() -> Option<S3> {
    // The shared server is started for its program, which its script builds.
    service("versitygw")?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let process = Mutex::new(launch(address, &folder));
    let store = S3 { address, write: "lines", own: Some(Own { folder, process }) };
    store.until_it_listens().await;
    Some(store)
}

pub(crate) async fn shared() -> Option<S3> {
    let endpoint = service("minio")?["S3_ENDPOINT"].clone();
    let address = endpoint.trim_start_matches("http://").parse().unwrap();
    Some(S3 { address, write: "object", own: None })
}

/// Those that can be had.
async fn stores() -> Vec<S3> {
    own().await.into_iter().chain(shared().await).collect()
}

fn launch(address: SocketAddr, folder: &TempDir) -> Child {
    let mut command = Command::new(program("versitygw"));
    command.args(["--port", &address.to_string(), "--access", ID, "--secret", SECRET, "posix"]);
    command.arg(folder.path().join("data"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl S3 {
    async fn until_it_listens(&self) {
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody listens at {}", self.address);
    }

    fn client(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new(ID, SECRET, None, None, "test"))
            .endpoint_url(format!("http://{}", self.address))
            .force_path_style(true)
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        Client::from_conf(config.build())
    }

    async fn put(&self, client: &Client, bucket: &str, key: &str, body: Bytes) -> bool {
        client.put_object().bucket(bucket).key(key).body(ByteStream::from(body)).send().await.is_ok()
    }

    async fn keys(&self, client: &Client, bucket: &str) -> Vec<String> {
        let (mut keys, mut token) = (Vec::new(), None);
        loop {
            let call = client.list_objects_v2().bucket(bucket).set_continuation_token(token);
            let page = call.send().await.unwrap();
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                return keys;
            }
        }
    }

    async fn get(&self, client: &Client, bucket: &str, key: &str) -> Bytes {
        let got = client.get_object().bucket(bucket).key(key).send().await.unwrap();
        got.body.collect().await.unwrap().into_bytes()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn reach(address: SocketAddr, place: &str, more: &Value) -> Value {
    let mut settings = json!({
        "endpoint": format!("http://{address}"), "bucket": place, "access_key_id": ID, "secret_access_key": SECRET,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

#[async_trait]
impl System for S3 {
    fn kind(&self) -> &'static str {
        "s3"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn source(&self, address: SocketAddr, place: &str) -> Value {
        reach(address, place, &json!({ "prefix": "in/", "poll_every": "100ms", "backfill": true }))
    }

    fn sink(&self, address: SocketAddr, place: &str) -> Value {
        let more = match self.write {
            "lines" => json!({ "write": "lines", "prefix": "out/", "batch": { "window": "20ms" } }),
            _ => json!({ "write": "object", "prefix": "out/" }),
        };
        reach(address, place, &more)
    }

    async fn prepare(&self, place: &str) {
        self.client().create_bucket().bucket(place).send().await.unwrap();
    }

    async fn produce(&self, place: &str, bodies: Vec<Bytes>) {
        let client = &self.client();
        let puts = bodies.into_iter().map(|body| async move {
            let said: Value = serde_json::from_slice(&body).unwrap();
            let key = format!("in/{:06}", said["n"].as_u64().unwrap());
            assert!(self.put(client, place, &key, body).await);
        });
        stream::iter(puts).buffer_unordered(CALLS_AT_ONCE).collect::<Vec<()>>().await;
    }

    async fn contents(&self, place: &str) -> Vec<Bytes> {
        let client = &self.client();
        let keys = self.keys(client, place).await;
        let bodies = stream::iter(keys).map(|key| async move { self.get(client, place, &key).await });
        let bodies: Vec<Bytes> = bodies.buffered(CALLS_AT_ONCE).collect().await;
        if self.write == "object" {
            return bodies;
        }
        let data = |line: &str| serde_json::from_str::<Value>(line).unwrap()["data"].to_string().into();
        bodies.iter().flat_map(|body| std::str::from_utf8(body).unwrap().lines().map(data)).collect()
    }

    async fn unacknowledged(&self, _place: &str) -> Option<u64> {
        None
    }

    fn many(&self) -> u64 {
        // Each object is two calls, put and asked for its metadata, and three milliseconds of a processor in a debug build:
        // the ten thousand are counted on the lighter store, and on MinIO more than two pages of a listing.
        if self.own.is_some() { 10_000 } else { 2_100 }
    }

    fn decodes(&self) -> bool {
        false
    }

    async fn restart(&self) -> bool {
        let Some(own) = &self.own else { return false };
        {
            let mut process = own.process.lock().unwrap();
            process.kill().unwrap();
            process.wait().unwrap();
            *process = launch(self.address, &own.folder);
        }
        self.until_it_listens().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_stumble_over_stands_in_nobodys_way() {
    for store in stores().await {
        let (place, client) = (fresh("poison"), store.client());
        store.prepare(&place).await;
        let long = format!("in/{}", "segment-of-a-key/".repeat(50));
        let keys = [
            "in/000001",
            "in/a b+c%20d.txt",
            "in/\u{1}control",
            "in/line\nbreak",
            "in/tab\tulator",
            "in/über 🎉",
            "in/e\u{301}",
            "in/\u{202e}txt.exe",
            "in/<&>'\"",
            "in/?#;=",
            "in/back\\slash",
            "in/ends in a space ",
            "in/.hidden",
            "in/%2e%2e/%2e%2e/etc/passwd",
            "in/zero",
            &long,
            "in/zz-000100",
        ];
        let mut taken = Vec::new();
        for key in keys {
            let body = Bytes::from_static(if key == "in/zero" { b"" } else { b"\xff\0 no JSON" });
            if store.put(&client, &place, key, body).await {
                taken.push(key);
            }
        }
        // Each store refuses a few.
        assert!(taken.len() > keys.len() - 4, "{taken:?}");
        // versitygw writes its listings as XML without encoding keys, and XML has no such character.
        let unsaid = if store.own.is_some() { vec!["in/\u{1}control"] } else { Vec::new() };
        taken.retain(|key| !unsaid.contains(key));
        let disk = Disk::new();
        let running = run(&store, &store.source(store.address, &place), &disk);
        disk.until(taken.len(), PATIENCE_SECONDS).await;
        running.stop().await;
        let key = |data: &[u8]| serde_json::from_slice::<Value>(data).unwrap()["key"].as_str().unwrap().to_owned();
        let mut found: Vec<String> = disk.events().iter().map(|one| key(one.event.data.bytes())).collect();
        found.sort_unstable();
        taken.sort_unstable();
        assert_eq!(found, taken);
        let letters = disk.undecodable();
        let listed: Vec<&str> = letters.iter().map(|letter| letter.at["key"].as_str().unwrap()).collect();
        let unsaid: Vec<String> = unsaid.iter().map(|key| key.replace('\u{1}', "\u{fffd}")).collect();
        assert_eq!(listed, unsaid);
        assert!(letters.iter().all(|letter| letter.code == "key_unreadable"), "{letters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_nothing_is_given_up_in_time_by_source_and_sink() {
    let Some(store) = own().await else { return };
    let place = fresh("silence");
    store.prepare(&place).await;
    let proxy = Proxy::start(store.address).await;
    proxy.swallow();
    let disk = Disk::new();
    let running = run(&store, &store.source(proxy.address(), &place), &disk);
    let sink = sink(&store, &store.sink(proxy.address(), &place));
    let error = sink.send(request(1, numbered(1, 100))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("timeout", true), "{error:?}");
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "timeout");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_fails_in_part_the_rest_is_confirmed() {
    for store in stores().await {
        let place = fresh("inpart");
        store.prepare(&place).await;
        let more = json!({ "write": "lines", "prefix": "{subject}/", "batch": { "window": "200ms" } });
        let sink = sink(&store, &reach(store.address, &place, &more));
        let sends = (0..30).map(|n| {
            let mut request = request(n, numbered(n, 100));
            let mut envelope = (*request.event).clone();
            envelope.event.subject = match n % 3 {
                0 => Some("good".into()),
                // No store takes such a key.
                1 => Some("x".repeat(1100).into()),
                _ => None,
            };
            request.event = envelope.into();
            sink.send(request)
        });
        let sent = futures_util::future::join_all(sends).await;
        for (n, sent) in sent.iter().enumerate() {
            let said = sent.as_ref().map(|_| ()).map_err(|error| (error.code.as_str(), error.retryable));
            let wanted = [Ok(()), Err(("key_too_long", false)), Err(("key_incomplete", false))][n % 3];
            assert_eq!(said, wanted, "{n}");
        }
        let client = store.client();
        let keys = store.keys(&client, &place).await;
        assert!(keys.iter().all(|key| key.starts_with("good/")), "{keys:?}");
        let mut lines = 0;
        for key in keys {
            lines += store
                .get(&client, &place, &key)
                .await
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .count();
        }
        assert_eq!(lines, 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_writes_over_what_it_wrote() {
    for store in stores().await {
        for write in ["lines", "object"] {
            let place = fresh("again");
            store.prepare(&place).await;
            let mut more = json!({ "write": write, "prefix": "out/" });
            if write == "lines" {
                more["batch"] = json!({ "window": "100ms" });
            }
            let sink = sink(&store, &reach(store.address, &place, &more));
            let requests: Vec<_> = (0..10).map(|n| request(n, numbered(n, 100))).collect();
            let all = || futures_util::future::join_all(requests.iter().map(|one| sink.send(one.clone())));
            let first = all().await.into_iter().all(|sent| sent.is_ok());
            let client = store.client();
            let keys = store.keys(&client, &place).await;
            assert!(first && all().await.into_iter().all(|sent| sent.is_ok()));
            assert_eq!(store.keys(&client, &place).await, keys, "{write}");
            assert_eq!(keys.len(), if write == "lines" { 1 } else { 10 });
        }
    }
}
