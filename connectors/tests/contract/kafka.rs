//! Kafka. One server for all tests, so its proxy stands in for a restart; what is its own alone (several partitions, a
//! group that is shared, a server that is killed) stands in `tests/kafka`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::services::service;
use crate::system::{System, contract};

contract!(super::start);

const TIMEOUT: Duration = Duration::from_secs(30);
/// Listeners that send their clients elsewhere, as the script says.
const PROXIED: u16 = 16;

pub(crate) struct Kafka {
    brokers: SocketAddr,
    /// The listener that sends its clients to this test's proxy.
    proxied: u16,
}

pub(crate) async fn start() -> Option<Kafka> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let brokers: SocketAddr = service("kafka")?["KAFKA_BROKERS"].parse().unwrap();
    let proxied = NEXT.fetch_add(1, Ordering::SeqCst);
    assert!(proxied < PROXIED, "more tests than the script has listeners for");
    Some(Kafka { brokers, proxied })
}

impl Kafka {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers.to_string()).set("group.id", "looking");
        config
    }

    fn end(&self, place: &str) -> i64 {
        let consumer: BaseConsumer = self.config().create().unwrap();
        consumer.fetch_watermarks(place, 0, TIMEOUT).unwrap().1
    }
}

#[async_trait]
impl System for Kafka {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.brokers.ip(), self.brokers.port() + 10 + self.proxied)
    }

    async fn proxy(&self) -> Proxy {
        let at = SocketAddr::new(self.brokers.ip(), self.brokers.port() + 60 + self.proxied);
        Proxy::start_at(at, self.address()).await
    }

    fn source(&self, address: SocketAddr, place: &str) -> Value {
        let options = json!({ "session.timeout.ms": "6000" });
        json!({ "brokers": address.to_string(), "topics": place, "group": place, "options": options })
    }

    fn sink(&self, address: SocketAddr, place: &str) -> Value {
        json!({ "brokers": address.to_string(), "topic": place })
    }

    async fn prepare(&self, place: &str) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let topic = NewTopic::new(place, 1, TopicReplication::Fixed(1));
        admin.create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    }

    async fn produce(&self, place: &str, bodies: Vec<Bytes>) {
        let producer: FutureProducer = self.config().set("linger.ms", "1").create().unwrap();
        let mut reports = Vec::new();
        for body in &bodies {
            let record = FutureRecord::<[u8], [u8]>::to(place).payload(body);
            reports.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
        }
        for report in reports {
            report.await.unwrap().unwrap();
        }
    }

    async fn contents(&self, place: &str) -> Vec<Bytes> {
        let consumer: BaseConsumer = self.config().create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(place, 0, Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        let (end, mut next, mut contents) = (self.end(place), 0, Vec::new());
        while next < end {
            if let Some(message) = consumer.poll(TIMEOUT) {
                let message = message.unwrap();
                next = message.offset() + 1;
                contents.push(Bytes::copy_from_slice(message.payload().unwrap()));
            }
        }
        contents
    }

    async fn unacknowledged(&self, place: &str) -> Option<u64> {
        let consumer: BaseConsumer = self.config().set("group.id", place).create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition(place, 0);
        let told = consumer.committed_offsets(asked, TIMEOUT).unwrap();
        let committed = match told.elements()[0].offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        Some((self.end(place) - committed).unsigned_abs())
    }
}
