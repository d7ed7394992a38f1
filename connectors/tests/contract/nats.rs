//! NATS with JetStream. A server takes a tenth of a second to start, so each test has one of its own, which it may end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_trait::async_trait;
use bytes::Bytes;
use eventyard_connectors::source::Seek;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::broker::{Disk, numbered, run};
use crate::certificate::make_certificate;
use crate::free_port::free_port;
use crate::services::{program, service};
use crate::sinks::{request, sink};
use crate::system::{System, contract};

contract!(super::start);

/// A server of a test's own.
pub(crate) struct Nats {
    address: SocketAddr,
    folder: TempDir,
    program: PathBuf,
    process: Mutex<Child>,
}

pub(crate) async fn start() -> Option<Nats> {
    start_with("").await
}

/// `more` is added to its configuration.
async fn start_with(more: &str) -> Option<Nats> {
    // The shared server is started for its program, which its script builds.
    service("nats")?;
    let program = program("nats-server");
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let conf = format!("listen: {address}\njetstream {{ store_dir: \"{}\" }}\n{more}\n", data.display());
    std::fs::write(folder.path().join("server.conf"), conf).unwrap();
    let process = Mutex::new(launch(&program, &folder));
    let nats = Nats { address, folder, program, process };
    nats.until_it_listens().await;
    Some(nats)
}

fn launch(program: &PathBuf, folder: &TempDir) -> Child {
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.path().join("server.conf"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Nats {
    async fn until_it_listens(&self) {
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nats-server does not answer at {}", self.address);
    }

    async fn context(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(self.address.to_string()).await.unwrap())
    }

    async fn stream(&self, config: jetstream::stream::Config) {
        // Right after a start JetStream may not be ready although the port is.
        for _ in 0..100 {
            if self.context().await.create_stream(config.clone()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the stream could not be made");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let mut process = self.process.lock().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

#[async_trait]
impl System for Nats {
    fn kind(&self) -> &'static str {
        "nats"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn source(&self, address: SocketAddr, place: &str) -> Value {
        json!({ "servers": address.to_string(), "stream": place, "durable": "eventyard", "ack_wait": "2s" })
    }

    fn sink(&self, address: SocketAddr, place: &str) -> Value {
        json!({ "servers": address.to_string(), "subject": format!("{place}.orders") })
    }

    async fn prepare(&self, place: &str) {
        let config = jetstream::stream::Config {
            name: place.to_owned(),
            subjects: vec![format!("{place}.>")],
            ..Default::default()
        };
        self.stream(config).await;
    }

    async fn produce(&self, place: &str, bodies: Vec<Bytes>) {
        let context = self.context().await;
        // The client lets some thousand acknowledgements be awaited at once, and then blocks.
        for some in bodies.chunks(1000) {
            let mut acks = Vec::new();
            for body in some {
                acks.push(context.publish(format!("{place}.orders"), body.clone()).await.unwrap());
            }
            for ack in acks {
                ack.await.unwrap();
            }
        }
    }

    async fn contents(&self, place: &str) -> Vec<Bytes> {
        let stream = self.context().await.get_stream(place).await.unwrap();
        let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
        let consumer = stream.create_consumer(config).await.unwrap();
        let count = consumer.cached_info().num_pending;
        let mut contents = Vec::new();
        while (contents.len() as u64) < count {
            let mut messages = consumer.fetch().max_messages(1000).messages().await.unwrap();
            while let Some(message) = messages.next().await {
                contents.push(message.unwrap().payload.clone());
            }
        }
        contents
    }

    async fn unacknowledged(&self, place: &str) -> Option<u64> {
        let stream = self.context().await.get_stream(place).await.unwrap();
        let info = stream.consumer_info("eventyard").await.unwrap();
        Some(info.num_pending + info.num_ack_pending as u64)
    }

    async fn restart(&self) -> bool {
        {
            let mut process = self.process.lock().unwrap();
            process.kill().unwrap();
            process.wait().unwrap();
            *process = launch(&self.program, &self.folder);
        }
        self.until_it_listens().await;
        // JetStream is there a moment later than the port.
        while self.context().await.query_account().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }
}

const PATIENCE_SECONDS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_named_and_right_ones_work() {
    let users = "authorization { users: [ { user: eve, password: right-secret } ] }";
    let Some(nats) = start_with(users).await else { return };
    let disk = Disk::new();
    let settings = |password: &str| json!({ "servers": nats.address.to_string(), "subject": "a", "user": "eve", "password": password });
    let running = run(&nats, &settings("wrong-secret"), &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "auth");
    let said = running.control.status().last_error.unwrap().message;
    assert!(!said.contains("wrong-secret"), "{said}");
    running.stop().await;
    let refused = sink(&nats, &settings("wrong-secret")).send(request(1, numbered(1, 10))).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.retryable), ("auth", true));
    let running = run(&nats, &settings("right-secret"), &disk);
    let core = json!({ "jetstream": false });
    let mut right = settings("right-secret");
    right.as_object_mut().unwrap().extend(core.as_object().unwrap().clone());
    let sink = sink(&nats, &right);
    // What nobody listens to yet is gone: that is what core means.
    for n in 0.. {
        sink.send(request(n, numbered(n, 10))).await.unwrap();
        if disk.count() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_a_certificate_that_is_not_trusted_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if !make_certificate(folder.path(), "IP:127.0.0.1") {
        return;
    }
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nauthorization {{ token: \"a-token\" }}",
        path("cert.pem").display(),
        path("key.pem").display()
    );
    let Some(nats) = start_with(&tls).await else { return };
    let settings = |ca: Option<String>| {
        let mut settings = json!({ "servers": nats.address.to_string(), "subject": "a", "token": "a-token" });
        if let Some(ca) = ca {
            settings["ca"] = ca.into();
        }
        settings
    };
    let disk = Disk::new();
    let running = run(&nats, &settings(None), &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "tls");
    running.stop().await;
    let mut trusting = settings(Some(std::fs::read_to_string(path("cert.pem")).unwrap()));
    // It is for the address, not for this name.
    trusting["servers"] = format!("localhost:{}", nats.address.port()).into();
    let running = run(&nats, &trusting, &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "tls");
    let said = running.control.status().last_error.unwrap().message;
    assert!(said.contains("not valid for name \"localhost\""), "{said}");
    running.stop().await;
    trusting["servers"] = nats.address.to_string().into();
    trusting["jetstream"] = false.into();
    sink(&nats, &trusting).send(request(1, numbered(1, 10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_is_named_and_read_when_it_is() {
    let Some(nats) = start().await else { return };
    let disk = Disk::new();
    let running = run(&nats, &nats.source(nats.address, "LATER"), &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "no_stream");
    let sink = sink(&nats, &nats.sink(nats.address, "LATER"));
    let error = sink.send(request(0, numbered(0, 10))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("no_stream", true));
    nats.prepare("LATER").await;
    sink.send(request(0, numbered(0, 10))).await.unwrap();
    disk.until(1, PATIENCE_SECONDS).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_max_payload_is_permanent() {
    let Some(nats) = start_with("max_payload: 4096").await else { return };
    nats.prepare("SMALL").await;
    for jetstream in [true, false] {
        let mut settings = nats.sink(nats.address, "SMALL");
        settings["jetstream"] = jetstream.into();
        let sink = sink(&nats, &settings);
        let error = sink.send(request(0, numbered(0, 4000))).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable), ("too_large", false), "{error:?}");
        sink.send(request(1, numbered(1, 100))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_named_and_may_be_tried_again() {
    let Some(nats) = start().await else { return };
    let config = jetstream::stream::Config {
        name: "FULL".to_owned(),
        subjects: vec!["FULL.>".to_owned()],
        max_messages: 2,
        discard: jetstream::stream::DiscardPolicy::New,
        ..Default::default()
    };
    nats.stream(config).await;
    let sink = sink(&nats, &nats.sink(nats.address, "FULL"));
    for n in 0..2 {
        sink.send(request(n, numbered(n, 10))).await.unwrap();
    }
    let error = sink.send(request(2, numbered(2, 10))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("stream_full", true), "{error:?}");
    nats.context().await.get_stream("FULL").await.unwrap().purge().await.unwrap();
    sink.send(request(2, numbered(2, 10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_comes_twice_is_kept_once() {
    let Some(nats) = start().await else { return };
    nats.prepare("ONCE").await;
    let sink = sink(&nats, &nats.sink(nats.address, "ONCE"));
    let one = request(1, numbered(1, 10));
    assert_eq!(sink.send(one.clone()).await.unwrap().code, "stored");
    assert_eq!(sink.send(one).await.unwrap().code, "duplicate");
    assert_eq!(nats.contents("ONCE").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_sends_comes_back_as_the_same_event() {
    let Some(nats) = start().await else { return };
    nats.prepare("BACK").await;
    let sink = sink(&nats, &nats.sink(nats.address, "BACK"));
    sink.send(request(5, numbered(5, 10))).await.unwrap();
    let disk = Disk::new();
    let running = run(&nats, &nats.source(nats.address, "BACK"), &disk);
    disk.until(1, PATIENCE_SECONDS).await;
    running.stop().await;
    let event = disk.events().remove(0).event;
    assert_eq!((event.id.as_str(), event.source.as_str(), event.ty.as_str()), ("order-5", "/shop", "order.created"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_goes_to_a_sequence_and_to_a_time_and_refuses_what_is_neither() {
    let Some(nats) = start().await else { return };
    nats.prepare("SEEK").await;
    nats.produce("SEEK", (0..10).map(|n| numbered(n, 10)).collect()).await;
    let disk = Disk::new();
    let running = run(&nats, &nats.source(nats.address, "SEEK"), &disk);
    disk.until(10, PATIENCE_SECONDS).await;
    running.control.seek(Seek::Position("8".to_owned())).await.unwrap();
    disk.until(13, PATIENCE_SECONDS).await;
    assert_eq!(disk.numbers()[10..], [7, 8, 9]);
    let between = crate::broker::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    nats.produce("SEEK", vec![numbered(10, 10)]).await;
    disk.until(14, PATIENCE_SECONDS).await;
    running.control.seek(Seek::Time(between)).await.unwrap();
    disk.until(15, PATIENCE_SECONDS).await;
    assert_eq!(disk.numbers()[13..], [10, 10]);
    assert!(running.control.seek(Seek::Position("x".to_owned())).await.is_err());
    running.control.seek(Seek::Latest).await.unwrap();
    nats.produce("SEEK", vec![numbered(11, 10)]).await;
    disk.until(16, PATIENCE_SECONDS).await;
    running.stop().await;
}
