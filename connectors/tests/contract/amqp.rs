//! RabbitMQ. One server for all tests; one that is killed is a test's own.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::ExtensionValue;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::broker::{Disk, numbered, run};
use crate::services::service;
use crate::sinks::{request, sink};
use crate::sources::fresh;
use crate::system::{System, contract};

contract!(super::start);

const PATIENCE_SECONDS: u64 = 60;

pub(crate) struct Rabbit {
    address: SocketAddr,
    /// What its script is to know of a server of a test's own.
    variables: Vec<(&'static str, String)>,
}

pub(crate) async fn start() -> Option<Rabbit> {
    let url = service("rabbitmq")?["AMQP_URL"].clone();
    Some(Rabbit { address: address(&url), variables: Vec::new() })
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.rsplit_once('@').unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

fn script(word: &[&str], variables: &[(&'static str, String)]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/services/rabbitmq.sh");
    let out = Command::new(script).args(word).envs(variables.iter().map(|(key, value)| (key, value))).output().unwrap();
    assert!(out.status.success(), "{word:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn url(address: SocketAddr) -> String {
    format!("amqp://guest:guest@{address}/%2f")
}

impl Rabbit {
    async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&url(self.address), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        let (_connection, channel) = self.channel().await;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap();
        assert!(confirm.await.unwrap().take_message().is_none(), "nobody takes it");
    }
}

#[async_trait]
impl System for Rabbit {
    fn kind(&self) -> &'static str {
        "amqp"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn source(&self, address: SocketAddr, place: &str) -> Value {
        json!({ "url": url(address), "queue": place })
    }

    fn sink(&self, address: SocketAddr, place: &str) -> Value {
        json!({ "url": url(address), "routing_key": place })
    }

    async fn prepare(&self, place: &str) {
        let (_connection, channel) = self.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(place.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    }

    async fn produce(&self, place: &str, bodies: Vec<Bytes>) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (_connection, channel) = self.channel().await;
        let mut confirms = Vec::new();
        for body in bodies {
            let id = format!("m{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
            let options = BasicPublishOptions::default();
            confirms.push(channel.basic_publish("".into(), place.into(), options, &body, properties).await.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    async fn contents(&self, place: &str) -> Vec<Bytes> {
        let (_connection, channel) = self.channel().await;
        let mut contents = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(place.into(), options).await.unwrap() {
            contents.push(Bytes::from(message.delivery.data));
        }
        contents
    }

    async fn unacknowledged(&self, place: &str) -> Option<u64> {
        // The protocol tells of those that wait alone.
        let (place, variables) = (place.to_owned(), self.variables.clone());
        let listed = tokio::task::spawn_blocking(move || {
            let listed = script(&["ctl", "-q", "list_queues", "name", "messages"], &variables);
            listed.lines().find_map(|line| line.strip_prefix(&format!("{place}\t"))?.trim().parse().ok())
        });
        Some(listed.await.unwrap().expect("the queue is there"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_message_says_of_itself_is_in_the_event() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("said");
    rabbit.prepare(&place).await;
    let mut headers = FieldTable::default();
    headers.insert("X-Shop".into(), AMQPValue::LongString("eu".into()));
    headers.insert("count".into(), AMQPValue::LongInt(7));
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_correlation_id("c-1".into())
        .with_timestamp(1_700_000_000)
        .with_content_type("application/json".into())
        .with_headers(headers);
    rabbit.publish("", &place, properties, b"{\"n\":1}").await;
    let mut headers = FieldTable::default();
    for (name, value) in [("specversion", "1.0"), ("id", "7"), ("source", "/shop"), ("type", "order")] {
        headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
    }
    rabbit.publish("", &place, BasicProperties::default().with_headers(headers), b"{\"n\":2}").await;
    let disk = Disk::new();
    let running = run(&rabbit, &rabbit.source(rabbit.address, &place), &disk);
    disk.until(2, PATIENCE_SECONDS).await;
    running.stop().await;
    let events = disk.events();
    let event = &events[0].event;
    assert_eq!(
        (event.id.as_str(), event.ty.as_str(), event.source.as_str()),
        ("m-1", "amqp.message", "/sources/contract")
    );
    assert_eq!(
        (event.subject.as_deref(), event.time.as_deref()),
        (Some(place.as_str()), Some("2023-11-14T22:13:20.000Z"))
    );
    let text = |text: &str| ExtensionValue::String(text.into());
    for (name, value) in
        [("queue", &*place), ("routingkey", &place), ("xshop", "eu"), ("count", "7"), ("correlationid", "c-1")]
    {
        assert_eq!(event.extensions.get(name), Some(&text(value)), "{name}");
    }
    assert_eq!(event.extensions["redelivered"], ExtensionValue::Boolean(false));
    let whole = &events[1].event;
    assert_eq!((whole.id.as_str(), whole.source.as_str(), whole.extensions.len()), ("7", "/shop", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_bound_and_what_is_missing_declared() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("bound");
    let settings = json!({
        "url": url(rabbit.address), "queue": place, "exchange": format!("{place}-x"),
        "routing_key": ["order.*", "return.#"], "declare": "all"
    });
    let disk = Disk::new();
    let running = run(&rabbit, &settings, &disk);
    let mut watch = running.control.watch();
    watch.wait_for(|status| status.state == eventyard_connectors::supervise::SourceState::Running).await.unwrap();
    for key in ["order.new", "return.a.b"] {
        rabbit.publish(&format!("{place}-x"), key, BasicProperties::default(), b"{\"n\":0}").await;
    }
    disk.until(2, PATIENCE_SECONDS).await;
    assert_eq!(disk.events()[1].event.extensions["routingkey"], ExtensionValue::String("return.a.b".into()));
    running.stop().await;
    // The same names in another form.
    let mut other = settings.clone();
    other["queue_type"] = "classic".into();
    let running = run(&rabbit, &other, &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "refused");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_missing_or_goes_is_named_and_read_when_it_is_back() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("gone");
    let disk = Disk::new();
    let running = run(&rabbit, &rabbit.source(rabbit.address, &place), &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "queue_missing");
    rabbit.prepare(&place).await;
    rabbit.produce(&place, vec![numbered(0, 20)]).await;
    disk.until(1, PATIENCE_SECONDS).await;
    let (_connection, channel) = rabbit.channel().await;
    channel.queue_delete(place.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "queue_missing");
    rabbit.prepare(&place).await;
    rabbit.produce(&place, vec![numbered(1, 20)]).await;
    disk.until(2, PATIENCE_SECONDS).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_never_shown() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("password");
    rabbit.prepare(&place).await;
    let disk = Disk::new();
    let settings = json!({
        "url": format!("amqp://{}/%2f", rabbit.address), "username": "guest", "password": "hunter2",
        "queue": place, "routing_key": place
    });
    let source = |settings: &Value| {
        let mut settings = settings.clone();
        settings.as_object_mut().unwrap().remove("routing_key");
        settings
    };
    let running = run(&rabbit, &source(&settings), &disk);
    assert_eq!(running.until_failed(PATIENCE_SECONDS).await, "auth");
    let said = running.control.status().last_error.unwrap().message;
    assert!(!said.contains("hunter2"), "{said}");
    running.stop().await;
    let mut writing = settings.clone();
    writing.as_object_mut().unwrap().remove("queue");
    let error = sink(&rabbit, &writing).send(request(1, numbered(1, 10))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("auth", true), "{error:?}");
    assert!(!error.message.contains("hunter2"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_reply_is_told_once_it_is_on_disk() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("reply");
    rabbit.prepare(&place).await;
    let (_connection, channel) = rabbit.channel().await;
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let answers = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    let asked = |id: &str| {
        BasicProperties::default()
            .with_message_id(id.into())
            .with_reply_to(answers.name().clone())
            .with_correlation_id(format!("c-{id}").into())
    };
    rabbit.publish("", &place, asked("good"), b"{\"n\":1}").await;
    rabbit.publish("", &place, asked("bad"), b"no json").await;
    let mut settings = rabbit.source(rabbit.address, &place);
    settings["reply"] = true.into();
    settings["codec"] = "json".into();
    let disk = Disk::new();
    let running = run(&rabbit, &settings, &disk);
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies =
        channel.basic_consume(answers.name().clone(), "".into(), options, FieldTable::default()).await.unwrap();
    for (id, accepted) in [("good", true), ("bad", false)] {
        let reply = tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), replies.next()).await.unwrap();
        let reply = reply.unwrap().unwrap();
        assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), format!("c-{id}"));
        let body: Value = serde_json::from_slice(&reply.data).unwrap();
        assert_eq!(body["accepted"], accepted, "{body}");
    }
    running.stop().await;
    assert_eq!((disk.count(), disk.undecodable().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_permanent() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("nobody");
    let nowhere = sink(&rabbit, &rabbit.sink(rabbit.address, &place));
    let error = nowhere.send(request(1, numbered(1, 10))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("unroutable", false), "{error:?}");
    let settings = json!({ "url": url(rabbit.address), "exchange": format!("{place}-x"), "routing_key": "a" });
    let error = sink(&rabbit, &settings).send(request(1, numbered(1, 10))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.retryable), ("exchange_missing", false), "{error:?}");
    // A queue that comes later is found by the same sink.
    rabbit.prepare(&place).await;
    nowhere.send(request(1, numbered(1, 10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_sends_comes_back_as_the_same_event() {
    let Some(rabbit) = start().await else { return };
    let place = fresh("back");
    rabbit.prepare(&place).await;
    let (_connection, channel) = rabbit.channel().await;
    let bind = channel.queue_bind(
        place.as_str().into(),
        "amq.topic".into(),
        format!("{place}.5").into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    let settings =
        json!({ "url": url(rabbit.address), "exchange": "amq.topic", "routing_key": format!("{place}.{{data.n}}") });
    sink(&rabbit, &settings).send(request(5, numbered(5, 10))).await.unwrap();
    let disk = Disk::new();
    let running = run(&rabbit, &rabbit.source(rabbit.address, &place), &disk);
    disk.until(1, PATIENCE_SECONDS).await;
    running.stop().await;
    let event = disk.events().remove(0).event;
    assert_eq!((event.id.as_str(), event.source.as_str(), event.ty.as_str()), ("order-5", "/shop", "order.created"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_between_read_and_ack_costs_nothing() {
    const COUNT: u64 = 20_000;
    if service("rabbitmq").is_none() {
        return;
    }
    let variables =
        vec![("RABBITMQ_PORT", "5822".to_owned()), ("EVENTYARD_SERVICE_NAME", "rabbitmq-killed".to_owned())];
    let said = script(&["start"], &variables);
    let rabbit = Rabbit { address: address(said.trim()), variables };
    let place = fresh("killed");
    rabbit.prepare(&place).await;
    rabbit.produce(&place, (0..COUNT).map(|n| numbered(n, 100)).collect()).await;
    // RabbitMQ notes some time later which quorum queues it has. Killed before that, it finds no leader for the queue after
    // its start, and never serves it again; when it is stopped in order it has noted it.
    script(&["stop"], &rabbit.variables);
    script(&["start"], &rabbit.variables);
    let disk = Disk::new();
    let mut settings = rabbit.source(rabbit.address, &place);
    settings["batch"] = json!({ "max": 20 });
    let running = run(&rabbit, &settings, &disk);
    disk.until(100, PATIENCE_SECONDS).await;
    let pid = script(&["pid"], &rabbit.variables);
    // The script's process leads a group, in which Erlang is.
    assert!(Command::new("kill").args(["-9", "--", &format!("-{}", pid.trim())]).status().unwrap().success());
    let is_gone = || !Command::new("kill").args(["-0", pid.trim()]).output().unwrap().status.success();
    while !is_gone() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let code = running.until_failed(PATIENCE_SECONDS).await;
    assert!(["connect", "amqp"].contains(&code.as_str()), "{code}");
    script(&["start"], &rabbit.variables);
    disk.until(usize::try_from(COUNT).unwrap(), 2 * PATIENCE_SECONDS).await;
    running.stop().await;
    let mut numbers = disk.numbers();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..COUNT));
    script(&["wipe"], &rabbit.variables);
}
