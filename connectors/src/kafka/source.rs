//! Reads topics as a member of a group.
//!
//! ```text
//! librdkafka ─→ reading thread ─→ gathered ─→ read() ─→ the broker commits ─→ ack() ─→ the group is told
//! ```
//!
//! One thread polls librdkafka, decodes and gathers ([`reading`]); it goes on polling while nothing is taken, so that a
//! source that is paused or that waits for room stays a member of its group. It also answers the group's rebalances
//! ([`rebalance`]): a partition is given up only when what was handed out of it is on disk and the group told, so that
//! its next owner repeats nothing. What was gathered of it and not handed out is dropped.
//!
//! Between that thread and the supervisor's calls stands [`gathered::Shared`].

mod commit;
mod gathered;
mod reading;
mod rebalance;
mod starting;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::Name;
use rdkafka::ClientConfig;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client;
use super::message::{BINDING, Reader};
use super::settings::{SourceConfig, Start, Tombstones, check_topic};
use crate::codec::{CodecConfig, Decoder};
use crate::polled::BatchConfig;
use crate::source::{Batch, Seek, SeekError, Source, SourceContext, SourceError};
use crate::spec::{ConfigError, check_type, read_checked};
use gathered::{Shared, Taken};
use reading::Reading;

/// How long a connection may take until the cluster has said who it is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long `close` waits for the thread to leave the group. It goes on by itself where that takes longer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a seek may take.
const SEEK_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages that librdkafka reads ahead; a partition that is given up has read so many for nothing.
const AHEAD_MESSAGES: u32 = 10_000;
/// Kilobytes that librdkafka reads ahead, over all partitions.
const AHEAD_KIB_MAX: u32 = 16 * 1024;
/// How long librdkafka waits until it looks whether there is room for more; its own second would leave it idle most of
/// the time.
const AHEAD_PAUSE_MS: u32 = 5;
/// Bytes that one fetch brings of all partitions; a single larger message still comes.
const FETCH_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// Bytes that one answer of a broker may have. A message over it would stop its partition, so it is what Kafka's own
/// clients take.
const ANSWER_BYTES_MAX: u32 = 100_000_000;
/// How often new partitions, and topics that fit a pattern, are looked for.
const REFRESH_MS: u32 = 10_000;
/// How often librdkafka says how much waits.
const LAG_EVERY_MS: u32 = 2_000;

/// `[source.NAME] kind = "kafka"`.
pub struct KafkaSource {
    plan: Arc<Plan>,
    connection: Option<Connection>,
}

/// What does not change from connection to connection.
struct Plan {
    name: String,
    client: ClientConfig,
    topics: Vec<String>,
    group: String,
    start: Start,
    batch: BatchConfig,
    ty: String,
    codec: CodecConfig,
    tombstones: Tombstones,
}

struct Connection {
    shared: Arc<Shared>,
    /// Closes when the reading thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl KafkaSource {
    /// Makes the source `name` from its table (held against [`SOURCE_SPEC`](super::SOURCE_SPEC)), with warnings;
    /// connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do.
    pub fn build(name: &Name, table: &Value) -> Result<(KafkaSource, Vec<ConfigError>), Vec<ConfigError>> {
        let config: SourceConfig = read_checked(table)?;
        check_type(config.ty.as_deref())?;
        let mut errors = Vec::new();
        if config.topics.is_empty() {
            errors.push(ConfigError::at("topics", "bad_value", "there must be one topic at least"));
        }
        errors.extend(
            config
                .topics
                .iter()
                .filter(|topic| !topic.starts_with('^'))
                .filter_map(|topic| check_topic("topics", topic)),
        );
        let start = Start::read(&config.start).map_err(|error| errors.push(error)).ok();
        let group = config.group.unwrap_or_else(|| format!("eventyard-{name}"));
        if group.is_empty() {
            errors.push(ConfigError::at("group", "bad_value", "a group has a name"));
        }
        let mut settings = client::reach(&config.cluster);
        settings
            .set("group.id", &group)
            // Where a partition begins is decided here, but for places that Kafka no longer keeps.
            .set("auto.offset.reset", if start == Some(Start::Latest) { "latest" } else { "earliest" })
            // The group is told by us, of what is on disk and of nothing else.
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("allow.auto.create.topics", "false")
            .set("queued.min.messages", AHEAD_MESSAGES.to_string())
            .set("queued.max.messages.kbytes", AHEAD_KIB_MAX.to_string())
            .set("fetch.queue.backoff.ms", AHEAD_PAUSE_MS.to_string())
            .set("fetch.max.bytes", FETCH_BYTES_MAX.to_string())
            .set("receive.message.max.bytes", ANSWER_BYTES_MAX.to_string())
            .set("topic.metadata.refresh.interval.ms", REFRESH_MS.to_string())
            .set("statistics.interval.ms", LAG_EVERY_MS.to_string());
        client::add_options(&mut settings, &config.cluster);
        errors.extend(client::check(&config.cluster, &settings));
        let (Some(start), true) = (start, errors.is_empty()) else { return Err(errors) };
        let warnings = client::warnings(&config.cluster);
        let ty = config.ty.unwrap_or_else(|| "kafka.message".to_owned());
        let plan = Plan {
            name: name.to_string(),
            client: settings,
            topics: config.topics,
            group,
            start,
            batch: config.batch,
            ty,
            codec: config.codec,
            tombstones: config.tombstones,
        };
        Ok((KafkaSource { plan: Arc::new(plan), connection: None }, warnings))
    }

    fn connected(&self) -> Result<&Arc<Shared>, SourceError> {
        self.connection
            .as_ref()
            .map(|connection| &connection.shared)
            .ok_or_else(|| SourceError::Failed { code: "not_connected", message: "read before connect".to_owned() })
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let shared = Arc::new(Shared::new(&self.plan.name, self.plan.batch));
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let decoder = Decoder::new(self.plan.codec, BINDING, &self.plan.name, self.plan.ty.clone(), context.limits);
        let reading = Reading {
            reader: Reader::new(decoder, self.plan.tombstones),
            plan: Arc::clone(&self.plan),
            shared: Arc::clone(&shared),
            intake: context.intake,
            runtime: tokio::runtime::Handle::current(),
            instance: context.instance,
        };
        // Kept before the first await: `close` ends the thread where this is cancelled.
        self.connection = Some(Connection { shared, ended });
        let name = format!("kafka-{}", self.plan.name);
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            reading.run(ready);
            // Nobody may be waiting any more.
            let _ = end.send(());
        });
        spawned.map_err(|error| SourceError::Failed {
            code: "thread",
            message: format!("the thread that reads could not be started: {error}"),
        })?;
        let gone = || SourceError::Failed { code: "kafka", message: "the reading thread ended".to_owned() };
        is_ready.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        let shared = self.connected()?;
        loop {
            // What becomes ready between the look and the wait is remembered by `ready`; and a batch is taken without
            // an await behind it, so that nobody can cancel between the two.
            match shared.take()? {
                Taken::Batch(batch) => return Ok(batch),
                Taken::Nothing => shared.wait().await,
                // More may come and end the wait, or the connection may fail.
                Taken::NotBefore(at) => {
                    let _ = tokio::time::timeout_at(at.into(), shared.wait()).await;
                }
            }
        }
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        self.connected()?.acknowledge();
        Ok(())
    }

    async fn seek(&mut self, to: &Seek) -> Result<Option<Vec<u8>>, SeekError> {
        let failed = |message: &str| SeekError::Failed { code: "seek", message: message.to_owned() };
        let shared = self.connected().map_err(|_| failed("it is not connected"))?;
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + SEEK_TIMEOUT;
        shared.ask_to_seek(to.clone(), answer);
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result.map(Some),
            Ok(Err(_)) => Err(failed("the source was closed meanwhile")),
            Err(_) => Err(failed("the cluster did not say in time where that is")),
        }
    }

    async fn close(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.shared.stop();
        if tokio::time::timeout(CLOSE_TIMEOUT, &mut connection.ended).await.is_err() {
            tracing::info!(source = %self.plan.name, "leaving the Kafka group takes long and goes on behind");
        }
    }

    fn has_begun(&self) -> bool {
        // With `start = "latest"`, what is sent before a partition is ours is passed over.
        self.connection.as_ref().is_some_and(|connection| connection.shared.has_begun())
    }

    fn lag(&self) -> Option<u64> {
        self.connection.as_ref().and_then(|connection| connection.shared.lag())
    }
}
