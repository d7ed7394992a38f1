//! Writes deliveries to a topic, through one producer.
//!
//! A delivery has succeeded when Kafka has reported it, by all in-sync replicas. Many are under way at once and the
//! client joins them to batches; what it holds is bounded, and a delivery that finds no room waits within its time-out.
//! The producer is idempotent: what librdkafka repeats by itself within one attempt is not written twice.
//!
//! | what Kafka says | outcome |
//! |---|---|
//! | written | sent |
//! | the message is too large or is refused by the topic's rules; no such topic; not allowed | permanent |
//! | anything else, no answer in time among it | retryable |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::{Data, Event, ExtensionValue, digits, format_text, hops, json};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::Value;

use super::client::{self, Meaning};
use super::settings::{SinkConfig, check_topic};
use crate::sink::{Ends, PayloadForm, SendEach, SendError, SendRequest, Sent, Sink};
use crate::spec::{ConfigError, read_checked};
use crate::template::Template;

/// Messages that the producer holds at most; deliveries beyond them wait.
const HELD_MESSAGES_MAX: u32 = 20_000;
/// Kilobytes that the producer holds at most.
const HELD_KIB_MAX: u32 = 64 * 1024;
/// How long librdkafka tries by itself to have one message written, in milliseconds. Less than the usual time-out of a
/// delivery, so that it has given up when the delivery is tried again.
const WRITE_WAIT_MS: u32 = 25_000;
/// How long a topic may be unknown until it is taken for missing, in milliseconds: one that was just made is known by
/// then.
const TOPIC_WAIT_MS: u32 = 5_000;
/// Sends at once where the rule does not say: what goes into one request costs little more than one message, and each waits
/// some twenty milliseconds where a hundred thousand go out in a second.
const CONCURRENCY: usize = 4_000;
/// How long messages wait for others to go with, in milliseconds. An idempotent librdkafka has one request of a partition under
/// way at a time, and its thread looks again without a pause as long as messages have waited longer than this for that one's
/// answer. So it is longer than a busy cluster takes to answer.
const LINGER_MS: u32 = 20;
/// How long `close` waits for what is under way.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a delivery that found the producer full looks for room.
const ROOM_AGAIN: Duration = Duration::from_millis(5);

/// `[sink.NAME] kind = "kafka"`.
pub struct KafkaSink {
    settings: ClientConfig,
    topic: Arc<str>,
    key: Option<Template>,
    structured: bool,
    /// Made by the first send, and anew after an error that it does not survive.
    // A std Mutex: held for moments, never over an await.
    made: Mutex<Option<Made>>,
}

type Made = Arc<ThreadedProducer<Context>>;

/// What librdkafka calls back.
struct Context {
    topic: Arc<str>,
    /// The last error: why a message was not written in time.
    // A std Mutex: held for moments.
    last_error: Mutex<Option<(Meaning, String)>>,
}

/// A message that librdkafka has: whom to tell what became of it.
struct Handed {
    ends: Arc<Ends>,
    place: usize,
}

impl Context {
    fn last_error(&self) -> MutexGuard<'_, Option<(Meaning, String)>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, &self.topic, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let meaning = error.rdkafka_error_code().map_or(Meaning::Passing, Meaning::of);
        let words = client::words(&error, reason);
        let mut last = self.last_error();
        // That a connection ended and that no broker is left is what follows from wrong credentials and certificates, and says
        // less.
        let follows = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure)
        );
        if !(follows && matches!(*last, Some((Meaning::Auth | Meaning::Tls, _)))) {
            *last = Some((meaning, words));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Handed>;

    fn delivery(&self, result: &DeliveryResult<'_>, handed: Box<Handed>) {
        let result = match result {
            Ok(written) => {
                // Whatever it was, it is over.
                self.last_error().take();
                Ok(Sent {
                    code: "written".into(),
                    response_head: place(&self.topic, written.partition(), written.offset()),
                    ..Sent::default()
                })
            }
            Err((error, _)) => Err(self.judge(error)),
        };
        handed.ends.end(handed.place, result);
    }
}

/// Where a message stands: `TOPIC/PARTITION/OFFSET`.
fn place(topic: &str, partition: i32, offset: i64) -> String {
    [topic, &digits(partition), &digits(offset)].join("/")
}

impl KafkaSink {
    /// Makes a sink from its table (held against [`SINK_SPEC`](super::SINK_SPEC)); connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do.
    pub fn build(table: &Value) -> Result<KafkaSink, Vec<ConfigError>> {
        let config: SinkConfig = read_checked(table)?;
        let mut errors = Vec::new();
        errors.extend(check_topic("topic", &config.topic));
        let read = config.key.as_deref().map(|key| Template::read("key", key)).transpose();
        let key = read.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let mut settings = client::reach(&config.cluster);
        settings
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", &config.compression)
            .set("linger.ms", LINGER_MS.to_string())
            .set("queue.buffering.max.messages", HELD_MESSAGES_MAX.to_string())
            .set("queue.buffering.max.kbytes", HELD_KIB_MAX.to_string())
            .set("topic.metadata.propagation.max.ms", TOPIC_WAIT_MS.to_string())
            .set("message.timeout.ms", WRITE_WAIT_MS.to_string());
        client::add_options(&mut settings, &config.cluster);
        errors.extend(client::check(&config.cluster, &settings));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(KafkaSink {
            settings,
            topic: config.topic.into(),
            key,
            structured: config.format == "structured",
            made: Mutex::new(None),
        })
    }

    /// The producer. One that has met an error it does not survive is of no use any more, and another is made.
    fn made(&self) -> Result<Made, SendError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sound) = made.as_ref().filter(|made| made.client().fatal_error().is_none()) {
            return Ok(Arc::clone(sound));
        }
        let context = Context { topic: Arc::clone(&self.topic), last_error: Mutex::default() };
        let producer = self
            .settings
            .create_with_context(context)
            .map_err(|error| SendError::retryable("kafka", format!("the Kafka client could not be made: {error}")))?;
        let fresh = Arc::new(producer);
        let dead = made.replace(Arc::clone(&fresh));
        // Its end takes its time, for which nobody else need wait.
        drop(made);
        drop(dead);
        Ok(fresh)
    }

    /// Hands a message to librdkafka, which has room for it sooner or later.
    async fn hand_over(&self, made: &Made, request: &SendRequest, handed: Handed) {
        let (headers, value) = message(request, self.structured);
        let key = self.key.as_ref().and_then(|key| key.of(&request.event.event));
        let mut record = BaseRecord::<str, [u8], Box<Handed>>::with_opaque_to(&self.topic, Box::new(handed));
        record = record.headers(headers);
        record.payload = value.as_deref();
        record.key = key.as_deref();
        while let Err((error, back)) = made.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                let handed = back.delivery_opaque;
                return handed.ends.end(handed.place, Err(made.context().judge(&error)));
            }
            tokio::time::sleep(ROOM_AGAIN).await;
            record = back;
        }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        let ends = Ends::of(1);
        self.send_each(vec![request], &ends).await;
        let ended = ends.next().await.pop();
        ended.map_or_else(|| Err(SendError::retryable("kafka", "Kafka reported nothing")), |(_, result)| result)
    }

    fn many(&self) -> Option<&dyn SendEach> {
        Some(self)
    }

    fn carries_hops(&self) -> bool {
        true
    }

    fn concurrency(&self) -> Option<usize> {
        Some(CONCURRENCY)
    }

    async fn close(&self) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(made) = made else { return };
        // Waits on a thread of its own; what is not written by then was not reported either.
        let _ = tokio::task::spawn_blocking(move || made.flush(FLUSH_TIMEOUT)).await;
    }
}

#[async_trait]
impl SendEach for KafkaSink {
    async fn send_each(&self, requests: Vec<SendRequest>, ends: &Arc<Ends>) {
        let made = match self.made() {
            Ok(made) => made,
            Err(error) => return ends.end_rest(|| error.clone()),
        };
        let timeout = requests.first().map_or(Duration::ZERO, |request| request.timeout);
        let sent = tokio::time::timeout(timeout, async {
            for (place, request) in requests.iter().enumerate() {
                self.hand_over(&made, request, Handed { ends: Arc::clone(ends), place }).await;
            }
            ends.all().await;
        });
        if sent.await.is_err() {
            let message = format!("Kafka reported nothing within {} ms", timeout.as_millis());
            ends.end_rest(|| made.context().not_in_time(message.clone()));
        }
    }
}

impl Context {
    fn judge(&self, error: &KafkaError) -> SendError {
        let code = error.rdkafka_error_code();
        let message = format!("Kafka did not take the message: {error}");
        match code {
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                SendError::permanent("too_large", message)
            }
            Some(
                RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::UnsupportedForMessageFormat
                | RDKafkaErrorCode::InvalidTopic,
            ) => SendError::permanent("refused", message),
            Some(RDKafkaErrorCode::MessageTimedOut) => self.not_in_time(message),
            Some(code) => match Meaning::of(code) {
                Meaning::Denied => SendError::permanent(Meaning::Denied.word(), message),
                Meaning::NoTopic => {
                    SendError::permanent(Meaning::NoTopic.word(), format!("the cluster has no topic {}", self.topic))
                }
                meaning => SendError::retryable(meaning.word(), message),
            },
            None => SendError::retryable("kafka", message),
        }
    }

    /// Nothing came back: says why, where librdkafka has said it.
    fn not_in_time(&self, message: String) -> SendError {
        match &*self.last_error() {
            Some((Meaning::Passing, words)) => SendError::retryable("timeout", format!("{message} ({words})")),
            Some((meaning, words)) => SendError::retryable(meaning.word(), format!("{message} ({words})")),
            None => SendError::retryable("timeout", message),
        }
    }
}

/// Headers that a message mostly has, so that their memory is asked for once.
const HEADERS: usize = 16;

/// Headers and value of one delivery's message.
fn message(request: &SendRequest, structured: bool) -> (OwnedHeaders, Option<Bytes>) {
    let payload = &request.payload;
    let mut headers = OwnedHeaders::new_with_capacity(HEADERS);
    let mut content_type = payload.content_type.clone();
    let mut value = Some(payload.body.clone());
    match payload.form {
        PayloadForm::Raw if structured => {
            content_type = Some(json::STRUCTURED.into());
            value = Some(Bytes::from(request.event.structured_json()));
        }
        PayloadForm::Raw => {
            headers = attributes(&request.event.event, headers);
            if request.event.event.data == Data::None {
                value = None;
            }
        }
        PayloadForm::Structured => {
            content_type.get_or_insert_with(|| json::STRUCTURED.into());
        }
        PayloadForm::Shaped => {}
    }
    let passed_on = digits(request.hops());
    let beside = [
        ("content-type", content_type.as_deref()),
        ("eventyard-delivery", Some(request.delivery.as_str())),
        (hops::HEADER, Some(passed_on.as_str())),
        ("traceparent", request.traceparent.as_deref()),
    ];
    for (key, value) in beside {
        if value.is_some() {
            headers = headers.insert(Header { key, value });
        }
    }
    (headers, value)
}

/// The attributes as CloudEvents' binding for Kafka has them in binary mode: `ce_` before the name, values as they are.
fn attributes(event: &Event, headers: OwnedHeaders) -> OwnedHeaders {
    let with = |headers: OwnedHeaders, key: &str, value: &str| headers.insert(Header { key, value: Some(value) });
    let mut headers = with(headers, "ce_specversion", "1.0");
    let defined = [
        ("ce_id", Some(&event.id)),
        ("ce_source", Some(&event.source)),
        ("ce_type", Some(&event.ty)),
        ("ce_subject", event.subject.as_ref()),
        ("ce_time", event.time.as_ref()),
        ("ce_dataschema", event.dataschema.as_ref()),
    ];
    for (key, value) in defined {
        if let Some(value) = value {
            headers = with(headers, key, value);
        }
    }
    for (name, value) in &event.extensions {
        let key = format_text!("ce_{name}");
        headers = match value {
            ExtensionValue::String(text) => with(headers, &key, text),
            ExtensionValue::Integer(number) => with(headers, &key, &digits(*number)),
            ExtensionValue::Boolean(truth) => with(headers, &key, if *truth { "true" } else { "false" }),
        };
    }
    headers
}

#[cfg(test)]
mod tests {
    use eventyard_event::Limits;
    use rdkafka::message::ToBytes;

    use super::*;

    #[test]
    fn a_wrong_certificate_is_named_whatever_follows_from_it() {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, SSL};
        let said = |codes: &[RDKafkaErrorCode]| {
            let context = Context { topic: "t".into(), last_error: Mutex::default() };
            codes.iter().for_each(|code| context.error(KafkaError::Global(*code), "why"));
            context.not_in_time("nothing came".to_owned()).code
        };
        assert_eq!(said(&[AllBrokersDown]), "connect");
        assert_eq!(said(&[SSL, AllBrokersDown]), "tls");
        assert_eq!(said(&[AllBrokersDown, SSL]), "tls");
        // A connection that the other side ends in the middle of its handshake.
        assert_eq!(said(&[SSL, BrokerTransportFailure, AllBrokersDown]), "tls");
    }

    /// Row T2: a key has its length before it, so that nothing in it ends it or begins anything else.
    #[test]
    fn what_an_event_brings_into_a_key_stays_in_it() {
        let template = Template::read("key", "{data.customer}/{subject}").unwrap();
        for text in ["a\"b", "a\r\nce_type: x", "a\nb", "a\0b", "{type}", "é"] {
            let data = serde_json::json!({ "customer": text }).to_string();
            let event = Event { data: Data::Json(data.into()), subject: Some("s".into()), ..Event::default() };
            let key = template.of(&event).unwrap();
            assert_eq!(key.as_str().to_bytes(), format!("{text}/s").as_bytes());
        }
    }

    /// Row T2: no event has a say in the topic, and no attribute that becomes a header has a line break.
    #[test]
    fn a_topic_holds_nothing_of_an_event_and_a_header_is_one_line() {
        for bad in ["a\"b", "a\r\nb", "a\0b", "{data.customer}", "a/b", "..", ""] {
            assert!(check_topic("topic", bad).is_some(), "{bad:?}");
        }
        for text in ["a\r\nb", "a\nb", "a\0b"] {
            let event = Event {
                id: "1".into(),
                source: "/s".into(),
                ty: "t".into(),
                subject: Some(text.into()),
                ..Event::default()
            };
            assert_eq!(event.check(&Limits::default()).unwrap_err().code(), "ce_attribute");
        }
    }
}
