//! Reads a stream by a durable consumer, or listens.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::{Client, HeaderMap, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::{ExtensionValue, Extensions, Name, Timestamp, format_text};
use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Connecting, Happened, Refused};
use super::config::{Decoding, SourceConfig};
use crate::codec::{Binding, Decoder, Message, Wrap, header};
use crate::polled::Gathered;
use crate::source::{Batch, Seek, SeekError, Source, SourceContext, SourceError, Undecodable};
use crate::spec::{ConfigError, check_type, parse_duration, read_checked};

/// How a NATS message carries a CloudEvent: as HTTP does.
const BINDING: Binding = Binding { prefixes: &["ce-"], percent_encoded: true };

/// What the client fetches ahead, in bytes: it is in memory beside the batch.
const AHEAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often the server says that it is still there while nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long one request for messages holds.
const REQUEST_EXPIRES: Duration = Duration::from_secs(30);
/// How many times a batch's messages may be unacknowledged at the server, in a consumer that is made: those that are
/// committed, those that are read and those that are fetched ahead.
const ACK_PENDING_BATCHES: usize = 4;

/// Reads from NATS.
pub struct NatsSource {
    name: Name,
    connecting: Connecting,
    config: SourceConfig,
    decoding: Decoding,
    ty: String,
    dedupe: Option<Duration>,
    connection: Option<Connection>,
}

struct Connection {
    client: Client,
    happenings: watch::Receiver<Happened>,
    decoder: Decoder,
    instance: u32,
    from: From,
    /// Messages that were read and not given away yet; outlives a read that is dropped.
    waiting: Vec<Came>,
    /// When the batch that is gathered ends.
    deadline: Option<Instant>,
    /// What acknowledges the batch that was given away.
    given: Vec<jetstream::message::Acker>,
    /// How many drops have been told of.
    slow_told: u64,
    position: Position,
    lag: Option<u64>,
}

enum From {
    Stream { messages: Box<pull::Stream>, stream: String },
    Core(Subscriber),
}

/// A message, and what acknowledges it.
enum Came {
    Stream(Box<jetstream::Message>),
    Core(async_nats::Message),
}

/// How far a seek back reaches: what comes up to there is taken anew, though its ids were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    #[serde(default)]
    anew_until: u64,
}

impl NatsSource {
    /// # Errors
    /// What the table's shape cannot say.
    pub fn build(name: &Name, value: &Value) -> Result<NatsSource, Vec<ConfigError>> {
        let config: SourceConfig = read_checked(value)?;
        check_type(config.ty.as_deref())?;
        let mut errors = Vec::new();
        if config.stream.is_none() && config.subject.is_none() {
            errors.push(ConfigError {
                path: Vec::new(),
                code: "missing_key",
                message: "there is neither `stream` nor `subject`".to_owned(),
                help: Some("name the JetStream stream to read, or the core subject to listen to".to_owned()),
            });
        }
        let misplaced = [
            ("queue_group", config.queue_group.is_some() && config.stream.is_some(), "core subjects"),
            ("durable", config.durable.is_some() && config.stream.is_none(), "a stream"),
        ];
        for (key, _, whose) in misplaced.into_iter().filter(|(_, wrong, _)| *wrong) {
            errors.push(ConfigError::at(key, "conflict", format!("`{key}` belongs to {whose}")));
        }
        for (key, text) in [("stream", &config.stream), ("durable", &config.durable)] {
            if text.as_deref().is_some_and(|text| !is_consumer_name(text)) {
                errors.push(ConfigError::at(key, "bad_value", "a name has no dots, spaces, `*`, `>` or slashes"));
            }
        }
        let connecting = Connecting::build(value).map_err(|more| errors.extend(more)).ok();
        let dedupe = match (config.dedupe.as_u64(), config.dedupe.as_str()) {
            (Some(millis), _) => Some(Duration::from_millis(millis)),
            (None, Some("off")) => None,
            (None, text) => parse_duration(text.unwrap_or("24h")).ok(),
        };
        let decoding: Decoding = read_checked(value)?;
        match connecting {
            Some(connecting) if errors.is_empty() => {
                let ty = config.ty.clone().unwrap_or_else(|| "nats.message".to_owned());
                Ok(NatsSource { name: name.clone(), connecting, config, decoding, ty, dedupe, connection: None })
            }
            _ => Err(errors),
        }
    }

    async fn open(&self, client: &Client) -> Result<(From, Option<u64>), SourceError> {
        let Some(stream) = &self.config.stream else {
            let subject = self.config.subject.clone().unwrap_or_default();
            let subscribed = match &self.config.queue_group {
                Some(group) => client.queue_subscribe(subject, group.clone()).await,
                None => client.subscribe(subject).await,
            };
            let subscriber = subscribed.map_err(|error| failed("connect", &error))?;
            return Ok((From::Core(subscriber), None));
        };
        let context = jetstream::new(client.clone());
        let opened = context.get_stream(stream).await.map_err(|error| no_stream(stream, &error))?;
        let durable = self.durable();
        let consumer = match opened.get_consumer::<pull::Config>(durable).await {
            Ok(consumer) => consumer,
            Err(_) => opened
                .create_consumer(self.consumer_config(self.start()))
                .await
                .map_err(|error| failed("consumer", &error))?,
        };
        let info = consumer.cached_info();
        if info.config.ack_policy != AckPolicy::Explicit {
            let message =
                format!("the consumer `{durable}` does not acknowledge explicitly; delete it or name another");
            return Err(SourceError::Failed { code: "consumer", message });
        }
        let lag = info.num_pending;
        let messages = self.messages(&consumer).await?;
        Ok((From::Stream { messages: Box::new(messages), stream: stream.clone() }, Some(lag)))
    }

    async fn messages(&self, consumer: &PullConsumer) -> Result<pull::Stream, SourceError> {
        consumer
            .stream()
            .max_messages_per_batch(self.config.batch.max())
            .max_bytes_per_batch(AHEAD_BYTES_MAX)
            .heartbeat(HEARTBEAT)
            .expires(REQUEST_EXPIRES)
            .messages()
            .await
            .map_err(|error| failed("consumer", &error))
    }

    fn durable(&self) -> &str {
        self.config.durable.as_deref().unwrap_or(self.name.as_str())
    }

    fn start(&self) -> DeliverPolicy {
        if self.config.start == "latest" { DeliverPolicy::New } else { DeliverPolicy::All }
    }

    fn consumer_config(&self, deliver_policy: DeliverPolicy) -> pull::Config {
        let pending = self.config.batch.max().saturating_mul(ACK_PENDING_BATCHES).max(1000);
        pull::Config {
            durable_name: Some(self.durable().to_owned()),
            description: Some("made by eventyard".to_owned()),
            deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(self.config.ack_wait_ms),
            filter_subject: self.config.subject.clone().unwrap_or_default(),
            max_ack_pending: i64::try_from(pending).unwrap_or(i64::MAX),
            ..pull::Config::default()
        }
    }

    /// Makes the consumer anew, to begin elsewhere; returns the stream's last sequence as it was before.
    async fn move_consumer(&self, client: &Client, to: &Seek, instance: u32) -> Result<u64, SeekError> {
        let Some(name) = &self.config.stream else { return Err(SeekError::Unsupported) };
        let policy = deliver_policy(to)?;
        let failed = |error: &dyn std::error::Error| SeekError::Failed {
            code: "consumer",
            message: format!("the consumer could not be made anew: {error}"),
        };
        let stream = jetstream::new(client.clone()).get_stream(name).await.map_err(|error| failed(&error))?;
        let last = stream.cached_info().state.last_sequence;
        if instance == 0 {
            // One that is not there need not go; what else stands in the way stands in the way of making it, too.
            drop(stream.delete_consumer(self.durable()).await);
            stream.create_consumer(self.consumer_config(policy)).await.map_err(|error| failed(&error))?;
        }
        Ok(last)
    }
}

#[async_trait]
impl Source for NatsSource {
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let connected = self.connecting.connect(self.name.as_str()).await;
        let (client, happenings) =
            connected.map_err(|Refused { code, message }| SourceError::Failed { code, message })?;
        let (from, lag) = self.open(&client).await?;
        let decoder = Decoder::new(self.decoding, BINDING, self.name.as_str(), self.ty.clone(), context.limits);
        let position = context.position.as_deref().and_then(|saved| serde_json::from_slice(saved).ok());
        self.connection = Some(Connection {
            client,
            happenings,
            decoder,
            instance: context.instance,
            from,
            waiting: Vec::new(),
            deadline: None,
            given: Vec::new(),
            slow_told: 0,
            position: position.unwrap_or_default(),
            lag,
        });
        Ok(())
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        let Some(connection) = &mut self.connection else {
            return Err(SourceError::Failed { code: "not_connected", message: "read before connect".to_owned() });
        };
        connection.gather(self.config.batch.max(), self.config.batch.window()).await?;
        let waiting = std::mem::take(&mut connection.waiting);
        connection.deadline = None;
        connection.given.clear();
        let mut gathered = Gathered::new(self.config.batch);
        let slow = connection.happenings.borrow().slow;
        if slow > connection.slow_told {
            connection.slow_told = slow;
            gathered.undecodable(dropped(self.config.subject.as_deref().unwrap_or_default()));
        }
        for came in waiting {
            match came {
                Came::Stream(message) => {
                    let acker = connection.read_stored(*message, self.dedupe, &mut gathered);
                    connection.given.push(acker);
                }
                Came::Core(message) => connection.read_core(&message, self.dedupe, &mut gathered),
            }
        }
        Ok(gathered.finish(None))
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let mut given = std::mem::take(&mut connection.given);
        let last = given.pop();
        for acker in given {
            acker.ack().await.map_err(|error| lost(&error.to_string()))?;
        }
        // The server reads in order: what confirms the last one has read the others.
        if let Some(last) = last {
            last.double_ack().await.map_err(|error| lost(&error.to_string()))?;
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.connection = None;
    }

    async fn seek(&mut self, to: &Seek) -> Result<Option<Vec<u8>>, SeekError> {
        let Some(connection) = self.connection.take() else { return Err(not_connected()) };
        let moved = self.move_consumer(&connection.client, to, connection.instance).await;
        let connection = self.connection.insert(connection);
        connection.position = Position { anew_until: moved? };
        // What was read before the move comes again where it should, and must not go on as it is.
        connection.waiting.clear();
        connection.deadline = None;
        let client = connection.client.clone();
        let (from, lag) = self
            .open(&client)
            .await
            .map_err(|error| SeekError::Failed { code: error.code(), message: error.to_string() })?;
        let Some(connection) = &mut self.connection else { return Err(not_connected()) };
        (connection.from, connection.lag) = (from, lag);
        serde_json::to_vec(&connection.position)
            .map(Some)
            .map_err(|error| SeekError::Failed { code: "internal", message: error.to_string() })
    }

    fn lag(&self) -> Option<u64> {
        self.connection.as_ref().filter(|connection| connection.instance == 0)?.lag
    }
}

impl Connection {
    /// Waits until a batch is there. What has come stays in `waiting` where this is dropped.
    async fn gather(&mut self, max: usize, window: Duration) -> Result<(), SourceError> {
        loop {
            if self.waiting.len() >= max {
                return Ok(());
            }
            let come = if self.waiting.is_empty() {
                let Connection { from, happenings, slow_told, .. } = self;
                tokio::select! {
                    biased;
                    come = from.next() => Some(come?),
                    happened = happenings.wait_for(|now| now.lost || now.slow > *slow_told) => {
                        match happened.map(|now| now.clone()) {
                            Ok(now) if !now.lost => return Ok(()),
                            Ok(now) => return Err(lost(now.said.as_deref().unwrap_or("the server went away"))),
                            Err(_) => return Err(lost("the connection is closed")),
                        }
                    }
                }
            } else if window.is_zero() {
                self.from.next().now_or_never().transpose()?
            } else {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + window);
                tokio::time::timeout_at(deadline, self.from.next()).await.ok().transpose()?
            };
            match come {
                Some(came) => self.waiting.push(came),
                None => return Ok(()),
            }
        }
    }

    fn read_stored(
        &mut self,
        message: jetstream::Message,
        dedupe: Option<Duration>,
        gathered: &mut Gathered,
    ) -> jetstream::message::Acker {
        let mut at = Map::new();
        let mut wrap = Wrap { subject: Some(message.subject.as_str().into()), dedupe, ..Wrap::default() };
        if let Ok(info) = message.info() {
            self.lag = Some(info.pending);
            let sequence = info.stream_sequence;
            at.insert("stream".to_owned(), json!(info.stream));
            at.insert("sequence".to_owned(), json!(sequence));
            wrap.id = format_text!("{}/{sequence}", info.stream);
            let millis = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
            wrap.time = Some(format_text!("{}", Timestamp::from_millis(millis)));
            wrap.extensions = Extensions::from([
                ("stream".into(), ExtensionValue::String(info.stream.into())),
                ("sequence".into(), ExtensionValue::String(format_text!("{sequence}"))),
            ]);
            wrap.dedupe = dedupe.filter(|_| sequence > self.position.anew_until);
        }
        at.insert("subject".to_owned(), json!(message.subject.as_str()));
        let (message, acker) = message.split();
        self.decode(&message, wrap, at, gathered);
        acker
    }

    fn read_core(&self, message: &async_nats::Message, dedupe: Option<Duration>, gathered: &mut Gathered) {
        let wrap = Wrap { subject: Some(message.subject.as_str().into()), dedupe, ..Wrap::default() };
        let at = [("subject".to_owned(), json!(message.subject.as_str()))].into_iter().collect();
        self.decode(message, wrap, at, gathered);
    }

    fn decode(&self, message: &async_nats::Message, mut wrap: Wrap, at: Map<String, Value>, gathered: &mut Gathered) {
        let empty = HeaderMap::new();
        let all = message.headers.as_ref().unwrap_or(&empty);
        let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(all.len());
        for (name, values) in all.iter() {
            headers.extend(values.iter().map(|value| (name.as_ref(), value.as_str().as_bytes())));
        }
        // The client keeps them in no order; which of two alike is left out must not be left to chance.
        headers.sort_unstable();
        if let Some(id) = header(&headers, "Nats-Msg-Id").filter(|id| !id.is_empty()) {
            wrap.id = id.into();
        }
        let (dedupe, body): (Option<Duration>, &Bytes) = (wrap.dedupe, &message.payload);
        let message = Message {
            content_type: header(&headers, "content-type"),
            content_encoding: header(&headers, "content-encoding"),
            headers: &headers,
            body: body.clone(),
        };
        match self.decoder.decode(message, wrap) {
            Ok(incoming) => gathered.event(incoming),
            Err(error) => gathered.undecodable(Undecodable {
                // Without a sequence, two that look alike are two.
                dedupe: dedupe.filter(|_| at.contains_key("sequence")),
                ..error.undecodable(at, body)
            }),
        }
    }
}

impl From {
    async fn next(&mut self) -> Result<Came, SourceError> {
        match self {
            From::Stream { messages, stream } => match messages.next().await {
                Some(Ok(message)) => Ok(Came::Stream(Box::new(message))),
                Some(Err(error)) => Err(match error.kind() {
                    pull::MessagesErrorKind::ConsumerDeleted => failed("consumer", &error),
                    pull::MessagesErrorKind::NoResponders => no_stream(stream, &error),
                    _ => lost(&eventyard_event::with_causes(&error)),
                }),
                None => Err(lost("the consumer gives no more messages")),
            },
            From::Core(subscriber) => match subscriber.next().await {
                Some(message) => Ok(Came::Core(message)),
                None => Err(lost("the subscription has ended")),
            },
        }
    }
}

/// Where a consumer begins.
fn deliver_policy(to: &Seek) -> Result<DeliverPolicy, SeekError> {
    let bad = |message: &str| SeekError::BadPosition { message: message.to_owned() };
    match to {
        Seek::Earliest => Ok(DeliverPolicy::All),
        Seek::Latest => Ok(DeliverPolicy::New),
        Seek::Time(at) => {
            let time = async_nats::datetime::from_nanos(i128::from(at.as_millis()) * 1_000_000);
            Ok(DeliverPolicy::ByStartTime { start_time: time.map_err(|_| bad("the time is out of range"))? })
        }
        Seek::Position(text) => match text.parse() {
            Ok(start_sequence @ 1..) => Ok(DeliverPolicy::ByStartSequence { start_sequence }),
            _ => Err(bad("a place in a stream is a sequence from 1 on, or earliest, latest or a time")),
        },
    }
}

/// That the client has dropped messages: nobody can say which.
fn dropped(subject: &str) -> Undecodable {
    let at = [("subject".to_owned(), json!(subject))].into_iter().collect();
    let message = "messages came faster than they could be committed, and the client has dropped some; a JetStream stream \
                   would have kept them";
    Undecodable::new(at, &Bytes::new(), "slow_consumer", message)
}

fn no_stream(stream: &str, error: &(dyn std::error::Error + 'static)) -> SourceError {
    let why = eventyard_event::with_causes(error);
    SourceError::Failed { code: "no_stream", message: format!("the stream `{stream}` cannot be read: {why}") }
}

fn failed(code: &'static str, error: &(dyn std::error::Error + 'static)) -> SourceError {
    SourceError::Failed { code, message: eventyard_event::with_causes(error) }
}

fn lost(why: &str) -> SourceError {
    let code = if why.to_ascii_lowercase().contains("authorization") { "auth" } else { "connection_lost" };
    SourceError::Failed { code, message: format!("the connection is lost: {why}") }
}

fn not_connected() -> SeekError {
    SeekError::Failed { code: "not_connected", message: "the source is not connected".to_owned() }
}

fn is_consumer_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c))
}
