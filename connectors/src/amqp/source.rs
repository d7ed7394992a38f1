//! Reads a queue.
//!
//! A message is acknowledged when its event is on disk, all of a batch by one ack. What was read and not acknowledged when
//! a connection ends, the server gives out again, marked as redelivered; where the event was on disk already it is
//! recognised by its message id.

use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::Name;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, Consumer, ExchangeKind};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{self, Failure, short};
use super::message::{self, BINDING};
use super::settings::{Declare, SourceConfig};
use crate::codec::{CodecConfig, Decoder};
use crate::polled::{BATCH_BYTES_MAX, BatchConfig};
use crate::source::{Batch, Incoming, Source, SourceContext, SourceError, Undecodable};
use crate::spec::{ConfigError, check_type, read_checked};

/// How often the queue is asked how much waits in it.
const LAG_EVERY: Duration = Duration::from_secs(5);
/// How long declaring and binding may take.
const SETUP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an ack, or the answers to a batch, may take to be handed to the connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(15);

/// `[source.NAME] kind = "amqp"`.
pub struct AmqpSource {
    plan: Plan,
    connection: Option<Connected>,
}

/// What does not change from connection to connection.
struct Plan {
    name: String,
    uri: AMQPUri,
    queue: ShortString,
    exchange: Option<ShortString>,
    routing_keys: Vec<ShortString>,
    declares_queue: bool,
    declares_exchange: bool,
    queue_type: String,
    exchange_type: ExchangeKind,
    prefetch: u16,
    replies: bool,
    dedupe: Option<Duration>,
    batch: BatchConfig,
    codec: CodecConfig,
    ty: String,
}

struct Connected {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    decoder: Decoder,
    /// Read and not handed out.
    waiting: Vec<Pending>,
    waiting_bytes: usize,
    /// When the first of them came.
    waiting_since: Option<Instant>,
    /// What the last batch was made of.
    handed: Option<Handed>,
    /// Only the first instance says how much waits.
    lag: Option<u64>,
    lag_asked: Option<Instant>,
    counts_lag: bool,
}

/// A message that was decoded.
struct Pending {
    tag: u64,
    read: Result<Incoming, Box<Undecodable>>,
    reply: Option<Reply>,
}

/// Who wants to hear of a message.
struct Reply {
    to: ShortString,
    correlation: Option<ShortString>,
    body: Vec<u8>,
}

struct Handed {
    /// The newest of the batch; the server takes it for all before it.
    tag: u64,
    replies: Vec<Reply>,
}

impl AmqpSource {
    /// Makes the source `name` from its table (held against [`SOURCE_SPEC`](super::SOURCE_SPEC)), with warnings;
    /// connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do.
    pub fn build(name: &Name, table: &Value) -> Result<(AmqpSource, Vec<ConfigError>), Vec<ConfigError>> {
        let config: SourceConfig = read_checked(table)?;
        check_type(config.ty.as_deref())?;
        let mut errors = Vec::new();
        let uri = client::address(&config.server).map_err(|error| errors.push(error)).ok();
        let dedupe = config.dedupe();
        if config.queue.is_none() && config.exchange.is_none() {
            errors.push(
                ConfigError {
                    path: Vec::new(),
                    ..ConfigError::at("", "missing_key", "`queue` or `exchange` must be there")
                }
                .help("name the queue to read, or the exchange to bind one to"),
            );
        }
        if config.declare == Declare::All && config.exchange.is_none() {
            let message = "there is no `exchange` that could be declared";
            errors.push(ConfigError::at("declare", "bad_value", message).help("write declare = \"queue\""));
        }
        let mut name_of = |key: &str, text: &str| {
            let found = short(text).filter(|text| !text.as_str().is_empty());
            if found.is_none() {
                let message = "a name of AMQP has 1 to 255 bytes";
                errors.push(ConfigError::at(key, "bad_value", message));
            }
            found
        };
        let own_queue = format!("eventyard.{name}");
        let queue = name_of("queue", config.queue.as_deref().unwrap_or(&own_queue));
        let exchange = config.exchange.as_deref().map(|exchange| name_of("exchange", exchange));
        // A binding's key may be empty.
        let routing_keys: Option<Vec<ShortString>> = config.routing_key.iter().map(|key| short(key)).collect();
        if routing_keys.is_none() {
            errors.push(ConfigError::at("routing_key", "bad_value", "a routing key has 255 bytes at most"));
        }
        let (Some(uri), Some(queue), Some(routing_keys), true) = (uri, queue, routing_keys, errors.is_empty()) else {
            return Err(errors);
        };
        let plan = Plan {
            name: name.to_string(),
            uri,
            queue,
            exchange: exchange.flatten(),
            routing_keys,
            declares_queue: config.declare != Declare::None || config.queue.is_none(),
            declares_exchange: config.declare == Declare::All,
            queue_type: config.queue_type,
            exchange_type: match config.exchange_type.as_str() {
                "direct" => ExchangeKind::Direct,
                "fanout" => ExchangeKind::Fanout,
                "headers" => ExchangeKind::Headers,
                _ => ExchangeKind::Topic,
            },
            prefetch: config.prefetch,
            replies: config.reply,
            dedupe,
            batch: config.batch,
            codec: config.codec,
            ty: config.ty.unwrap_or_else(|| "amqp.message".to_owned()),
        };
        Ok((AmqpSource { plan, connection: None }, Vec::new()))
    }
}

impl Plan {
    /// Declares and binds what the project says, and begins to consume.
    async fn consume(&self, connection: &Connection) -> Result<(Channel, Consumer), lapin::Error> {
        let channel = connection.create_channel().await?;
        if let Some(exchange) = self.exchange.as_ref().filter(|_| self.declares_exchange) {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let kind = self.exchange_type.clone();
            channel.exchange_declare(exchange.clone(), kind, options, FieldTable::default()).await?;
        }
        let mut arguments = FieldTable::default();
        if self.declares_queue {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(self.queue_type.as_str().into()));
        }
        let options =
            QueueDeclareOptions { durable: true, passive: !self.declares_queue, ..QueueDeclareOptions::default() };
        channel.queue_declare(self.queue.clone(), options, arguments).await?;
        for key in self.routing_keys.iter().filter(|_| self.exchange.is_some()) {
            let exchange = self.exchange.clone().unwrap_or_default();
            let options = QueueBindOptions::default();
            channel.queue_bind(self.queue.clone(), exchange, key.clone(), options, FieldTable::default()).await?;
        }
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(self.queue.clone(), "".into(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }

    /// What is missing where a queue is read is the queue, or what it is to be bound to.
    fn failed(failure: Failure) -> SourceError {
        let code = if failure.code == "not_there" { "queue_missing" } else { failure.code };
        SourceError::Failed { code, message: failure.message }
    }

    fn pending(&self, decoder: &Decoder, mut delivery: Delivery) -> Pending {
        let read = message::read(decoder, self.queue.as_str(), self.dedupe, &mut delivery);
        let properties = &delivery.properties;
        let reply = properties.reply_to().clone().filter(|_| self.replies).map(|to| Reply {
            to,
            correlation: properties.correlation_id().clone(),
            body: answer(&read).to_string().into_bytes(),
        });
        Pending { tag: delivery.delivery_tag, read, reply }
    }
}

/// What the sender of a message is told once it is on disk.
fn answer(read: &Result<Incoming, Box<Undecodable>>) -> Value {
    match read {
        Ok(incoming) if incoming.event.id.is_empty() => json!({ "accepted": true }),
        Ok(incoming) => json!({ "accepted": true, "id": incoming.event.id, "source": incoming.event.source }),
        Err(letter) => json!({ "accepted": false, "code": letter.code, "message": letter.message }),
    }
}

impl Connected {
    fn take_in(&mut self, plan: &Plan, delivery: Delivery) {
        self.waiting_bytes += delivery.data.len();
        self.waiting_since.get_or_insert_with(Instant::now);
        self.waiting.push(plan.pending(&self.decoder, delivery));
    }

    fn is_full(&self, plan: &Plan) -> bool {
        let max = plan.batch.max().min(usize::from(plan.prefetch));
        self.waiting.len() >= max || self.waiting_bytes >= BATCH_BYTES_MAX
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut handed = Handed { tag: 0, replies: Vec::new() };
        for pending in std::mem::take(&mut self.waiting) {
            handed.tag = handed.tag.max(pending.tag);
            handed.replies.extend(pending.reply);
            match pending.read {
                Ok(incoming) => batch.events.push(incoming),
                Err(letter) => batch.undecodable.push(*letter),
            }
        }
        self.waiting_bytes = 0;
        self.waiting_since = None;
        self.handed = Some(handed);
        batch
    }

    async fn acknowledge(&mut self, queue: &ShortString) -> Result<(), lapin::Error> {
        let Some(handed) = self.handed.take() else { return Ok(()) };
        for reply in handed.replies {
            let mut properties = BasicProperties::default().with_content_type("application/json".into());
            if let Some(correlation) = reply.correlation {
                properties = properties.with_correlation_id(correlation);
            }
            // Not mandatory: whoever asked may have gone.
            let options = BasicPublishOptions::default();
            self.channel.basic_publish("".into(), reply.to, options, &reply.body, properties).await?;
        }
        self.channel.basic_ack(handed.tag, BasicAckOptions { multiple: true }).await?;
        let now = Instant::now();
        if self.counts_lag && self.lag_asked.is_none_or(|asked| now.duration_since(asked) >= LAG_EVERY) {
            self.lag_asked = Some(now);
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue = self.channel.queue_declare(queue.clone(), options, FieldTable::default()).await?;
            self.lag = Some(u64::from(queue.message_count()));
        }
        Ok(())
    }
}

#[async_trait]
impl Source for AmqpSource {
    async fn connect(&mut self, context: SourceContext) -> Result<(), SourceError> {
        let connection = client::connect(&self.plan.uri, &self.plan.name).await.map_err(Plan::failed)?;
        let consumed = tokio::time::timeout(SETUP_TIMEOUT, self.plan.consume(&connection)).await;
        let consumed = match consumed {
            Ok(consumed) => consumed.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure { code: "connect", message: "the server does not answer".to_owned() }),
        };
        let (channel, consumer) = match consumed {
            Ok(consumed) => consumed,
            Err(failure) => {
                client::close(&connection).await;
                return Err(Plan::failed(failure));
            }
        };
        let plan = &self.plan;
        self.connection = Some(Connected {
            connection,
            channel,
            consumer,
            decoder: Decoder::new(plan.codec, BINDING, &plan.name, plan.ty.clone(), context.limits),
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_since: None,
            handed: None,
            lag: None,
            lag_asked: None,
            counts_lag: context.instance == 0,
        });
        Ok(())
    }

    async fn read(&mut self) -> Result<Batch, SourceError> {
        let plan = &self.plan;
        let Some(connected) = &mut self.connection else {
            return Err(SourceError::Failed { code: "not_connected", message: "read before connect".to_owned() });
        };
        // What came is kept before anything else is awaited: a read that is dropped loses nothing.
        while !connected.is_full(plan) {
            let until = connected.waiting_since.map(|since| since + plan.batch.window());
            let next = match until {
                None => connected.consumer.next().await,
                Some(_) if plan.batch.window().is_zero() => match connected.consumer.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                },
                Some(until) => match tokio::time::timeout_at(until, connected.consumer.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            match next {
                Some(Ok(delivery)) => connected.take_in(plan, delivery),
                Some(Err(error)) => return Err(Plan::failed(Failure::of(&error))),
                None => {
                    let message = format!("the server has ended the reading of `{}`; was it deleted?", plan.queue);
                    return Err(SourceError::Failed { code: "queue_missing", message });
                }
            }
        }
        Ok(connected.batch())
    }

    async fn ack(&mut self) -> Result<(), SourceError> {
        let Some(connected) = &mut self.connection else { return Ok(()) };
        match tokio::time::timeout(ACK_TIMEOUT, connected.acknowledge(&self.plan.queue)).await {
            Ok(done) => done.map_err(|error| Plan::failed(Failure::of(&error))),
            Err(_) => Err(SourceError::Failed { code: "connect", message: "the server does not answer".to_owned() }),
        }
    }

    async fn close(&mut self) {
        if let Some(connected) = self.connection.take() {
            client::close(&connected.connection).await;
        }
    }

    fn lag(&self) -> Option<u64> {
        self.connection.as_ref().and_then(|connected| connected.lag)
    }
}
