//! A real Kafka, what a test does to it from outside, and a broker of events that only takes notes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use eventyard_connectors::kafka::{KafkaSource, SOURCE_SPEC};
use eventyard_connectors::source::{Batch, Incoming, Intake, IntakeError, Undecodable};
use eventyard_connectors::spec::{ConfigError, ConnectorSpec, normalise};
use eventyard_connectors::supervise::{Backoff, SourceControl, Supervision, supervise};
use eventyard_event::{Limits, Name, Timestamp};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

/// How long a test waits for anything, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running Kafka.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) brokers: String,
    pub(crate) sasl_brokers: String,
    /// Where TLS and SCRAM are wanted, and the file of the certificate there.
    #[cfg(feature = "kafka-tls")]
    pub(crate) secured: Option<(String, String)>,
    variables: Vec<(&'static str, String)>,
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/services/kafka.sh")
}

fn service(word: &str, variables: &[(&'static str, String)]) -> Option<String> {
    let mut command = Command::new(script());
    let out = command.arg(word).envs(variables.iter().map(|(key, value)| (key, value))).stderr(Stdio::inherit());
    let out = out.output().unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

/// The Kafka that all tests share; `None`, and a word about it, where there can be none.
pub(crate) fn shared() -> Option<Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    SHARED.get_or_init(|| start(Vec::new())).clone()
}

/// A name that no earlier run has used: the server is kept between runs.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{:x}", now().as_nanosecond())
}

#[expect(clippy::disallowed_methods, reason = "Kafka's messages carry the machine's time")]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// One of a test's own, which it may kill.
pub(crate) fn own(port: u16, name: &str) -> Option<Cluster> {
    start(vec![("KAFKA_PORT", port.to_string()), ("EVENTYARD_SERVICE_NAME", name.to_owned())])
}

/// One of a test's own that wants TLS and SCRAM.
#[cfg(feature = "kafka-tls")]
pub(crate) fn own_secured(port: u16, name: &str) -> Option<Cluster> {
    start(vec![
        ("KAFKA_PORT", port.to_string()),
        ("EVENTYARD_SERVICE_NAME", name.to_owned()),
        ("KAFKA_SECURED", "yes".to_owned()),
    ])
}

#[expect(clippy::print_stderr, reason = "who runs the tests is to see what they leave out")]
fn start(variables: Vec<(&'static str, String)>) -> Option<Cluster> {
    let Some(said) = service("start", &variables) else {
        assert!(std::env::var_os("EVENTYARD_SERVICES_REQUIRED").is_none(), "Kafka does not start");
        eprintln!("skipped: Kafka does not start here");
        return None;
    };
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    Some(Cluster {
        brokers: value("KAFKA_BROKERS="),
        sasl_brokers: value("KAFKA_SASL_BROKERS="),
        #[cfg(feature = "kafka-tls")]
        secured: said
            .contains("KAFKA_SECURED_BROKERS=")
            .then(|| (value("KAFKA_SECURED_BROKERS="), value("KAFKA_CERTIFICATE="))),
        variables,
    })
}

impl Cluster {
    /// Ends it without warning.
    pub(crate) fn kill(&self) {
        let pid = service("pid", &self.variables).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }

    pub(crate) fn start_again(&self) {
        service("start", &self.variables).unwrap();
    }

    pub(crate) fn wipe(&self) {
        service("wipe", &self.variables);
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        // Of a name that was just deleted, for a while.
        let began = Instant::now();
        loop {
            let made = self.admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
            match made.into_iter().next().unwrap() {
                Ok(_) => return,
                Err((_, error)) if began.elapsed() > PATIENCE => panic!("{topic}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    pub(crate) async fn delete_topic(&self, topic: &str) {
        let gone = self.admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        gone.into_iter().next().unwrap().unwrap();
    }

    pub(crate) async fn add_partitions(&self, topic: &str, count: usize) {
        let more = NewPartitions::new(topic, count);
        self.admin().create_partitions([&more], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    }

    pub(crate) fn producer(&self) -> FutureProducer {
        let mut config = self.config();
        config.set("linger.ms", "1").set("message.max.bytes", "20000000").create().unwrap()
    }

    /// Writes `count` messages to partitions in turn, each its number within all: `{"n":7}`.
    pub(crate) async fn produce(&self, topic: &str, partitions: i32, numbers: std::ops::Range<u64>) {
        let producer = self.producer();
        let mut reports = Vec::new();
        for number in numbers {
            let value = format!("{{\"n\":{number}}}");
            let partition = i32::try_from(number % u64::try_from(partitions).unwrap()).unwrap();
            let record = FutureRecord::<str, str>::to(topic).payload(&value).partition(partition);
            reports.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
        }
        for report in reports {
            report.await.unwrap().unwrap();
        }
    }

    pub(crate) async fn produce_one(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            owned = owned.insert(Header { key, value: Some(*value) });
        }
        let record = FutureRecord::<[u8], [u8]> {
            topic,
            partition: Some(0),
            payload: value,
            key,
            timestamp: None,
            headers: Some(owned),
        };
        self.producer().send(record, PATIENCE).await.unwrap();
    }

    /// What a group was told, by partition.
    pub(crate) fn committed(&self, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let told = consumer.committed_offsets(asked, PATIENCE).unwrap();
        let of = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        };
        told.elements().iter().filter_map(of).collect()
    }

    /// Everything that a topic holds, by partition and in order.
    pub(crate) fn all(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self.config().set("group.id", "looking").create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let mut all = Vec::new();
        for partition in metadata.topics().first().unwrap().partitions() {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition.id(), Offset::Offset(low)).unwrap();
            consumer.assign(&list).unwrap();
            let mut next = low;
            while next < high {
                if let Some(message) = consumer.poll(PATIENCE) {
                    let message = message.unwrap().detach();
                    next = message.offset() + 1;
                    all.push(message);
                }
            }
        }
        all
    }

    /// Has Kafka forget what stands before an offset of partition 0.
    pub(crate) async fn delete_records(&self, topic: &str, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, 0, Offset::Offset(before)).unwrap();
        self.admin().delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    }
}

/// A table as a project's reader would hand it over.
pub(crate) fn table(spec: &ConnectorSpec, toml: &str) -> serde_json::Value {
    let table: toml::Table = toml.parse().unwrap();
    let serde_json::Value::Object(table) = serde_json::to_value(table).unwrap() else { unreachable!() };
    serde_json::Value::Object(normalise(spec.fields, &table).unwrap())
}

pub(crate) fn source(toml: &str) -> Result<KafkaSource, Vec<ConfigError>> {
    let name = Name::new("s").unwrap();
    KafkaSource::build(&name, &table(&SOURCE_SPEC, toml)).map(|(source, _)| source)
}

/// A broker's journal, as far as sources see it: what it took is on its disk.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) kept: Mutex<Kept>,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) events: Vec<Incoming>,
    pub(crate) dead: Vec<Undecodable>,
    pub(crate) positions: BTreeMap<u32, Vec<u8>>,
    /// What is answered instead, as long as it is there.
    pub(crate) refuse: Option<IntakeError>,
    /// How long a commit takes.
    pub(crate) takes: Duration,
    pub(crate) batches: usize,
}

/// The disk as one instance sees it.
pub(crate) struct Seen {
    pub(crate) disk: Arc<Disk>,
    pub(crate) instance: u32,
}

#[async_trait]
impl Intake for Seen {
    async fn offer(&self, batch: &mut Batch) -> Result<(), IntakeError> {
        let takes = self.disk.kept.lock().unwrap().takes;
        tokio::time::sleep(takes).await;
        let mut kept = self.disk.kept.lock().unwrap();
        if let Some(refusal) = &kept.refuse {
            return Err(refusal.clone());
        }
        let Batch { events, undecodable, position } = std::mem::take(batch);
        kept.batches += 1;
        kept.events.extend(events);
        kept.dead.extend(undecodable);
        if let Some(position) = position {
            kept.positions.insert(self.instance, position);
        }
        Ok(())
    }

    async fn position(&self) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(self.disk.kept.lock().unwrap().positions.get(&self.instance).cloned())
    }

    async fn positions(&self) -> Result<Vec<(u32, Vec<u8>)>, IntakeError> {
        Ok(self.disk.kept.lock().unwrap().positions.clone().into_iter().collect())
    }

    async fn last_settled(&self) -> Result<bool, IntakeError> {
        Ok(true)
    }
}

impl Disk {
    pub(crate) fn count(&self) -> usize {
        self.kept.lock().unwrap().events.len()
    }

    /// The numbers that [`Cluster::produce`] wrote, in the order in which they were taken.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let number = |incoming: &Incoming| {
            let data: serde_json::Value = serde_json::from_slice(incoming.event.data.bytes()).unwrap();
            data["n"].as_u64().unwrap()
        };
        self.kept.lock().unwrap().events.iter().map(number).collect()
    }
}

/// A source that is being read.
pub(crate) struct Running {
    pub(crate) control: SourceControl,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(source: KafkaSource, disk: &Arc<Disk>) -> Running {
        Running::start_instance(source, disk, 0)
    }

    pub(crate) fn start_instance(source: KafkaSource, disk: &Arc<Disk>, instance: u32) -> Running {
        let stop = CancellationToken::new();
        let supervision = Supervision {
            intake: Arc::new(Seen { disk: Arc::clone(disk), instance }),
            clock: Arc::new(|| Timestamp::EPOCH),
            random: Box::new(|| 0.5),
            backoff: Backoff { first: Duration::from_millis(200), max: Duration::from_secs(2), jitter: 0.2 },
            paused: false,
            instance,
            limits: Limits::default(),
            stop: stop.clone(),
        };
        let (control, run) = supervise(Box::new(source), supervision);
        Running { control, stop, run: tokio::spawn(run) }
    }

    /// As the program stops: what is offered is seen through, the group is left.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.run.await.unwrap();
    }

    /// As the program dies: between a commit and its ack, with luck.
    pub(crate) async fn die(self) {
        self.run.abort();
        let _ = self.run.await;
    }
}

/// Waits for something to become true.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > PATIENCE {
            tracing::error!(what, "waited too long");
            panic!("waited too long: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each partition's numbers, whoever took them, in order and once.
pub(crate) fn assert_exactly(numbers: &[u64], count: u64, partitions: u64) {
    for partition in 0..partitions {
        let seen: Vec<u64> = numbers.iter().copied().filter(|number| number % partitions == partition).collect();
        let wanted: Vec<u64> = (0..count).filter(|number| number % partitions == partition).collect();
        assert!(
            seen == wanted,
            "partition {partition}: {} of {}, {:?}",
            seen.len(),
            wanted.len(),
            first_wrong(&seen, &wanted)
        );
    }
}

fn first_wrong(seen: &[u64], wanted: &[u64]) -> Option<(usize, u64, u64)> {
    let at = seen.iter().zip(wanted).position(|(seen, wanted)| seen != wanted)?;
    Some((at, seen[at], wanted[at]))
}
