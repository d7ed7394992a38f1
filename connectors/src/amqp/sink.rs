//! Publishes deliveries to an exchange, through one channel with confirms.
//!
//! | what the server says | outcome |
//! |---|---|
//! | confirmed | sent |
//! | confirmed and returned: no queue takes it | permanent, `unroutable` |
//! | no such exchange; not allowed | permanent |
//! | not confirmed, no connection, no answer in time | retryable |

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eventyard_event::{Event, ExtensionValue, format_text, hops, json};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::{self, Failure, short};
use super::settings::SinkConfig;
use crate::sink::{PayloadForm, SendError, SendRequest, Sent, Sink};
use crate::spec::{ConfigError, read_checked};
use crate::template::Template;

/// Sends at once where the rule does not say: confirms come for many together.
const CONCURRENCY: usize = 500;
/// How long after a connection has failed none is tried: hundreds of sends would each try their own.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// A message that outlives a restart of the server.
const PERSISTENT: u8 = 2;
/// How much of a routing key an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// `[sink.NAME] kind = "amqp"`.
pub struct AmqpSink {
    uri: AMQPUri,
    exchange: ShortString,
    routing_key: Template,
    structured: bool,
    // tokio's Mutex: held while the one connection is made, for which all sends wait.
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    open: Option<Arc<Open>>,
    /// What the last try came to, and when.
    failed: Option<(Instant, Failure)>,
}

struct Open {
    connection: Connection,
    channel: Channel,
}

impl AmqpSink {
    /// Makes a sink from its table (held against [`SINK_SPEC`](super::SINK_SPEC)); connects to nothing.
    ///
    /// # Errors
    /// Everything that will not do.
    pub fn build(table: &Value) -> Result<AmqpSink, Vec<ConfigError>> {
        let config: SinkConfig = read_checked(table)?;
        let mut errors = Vec::new();
        let uri = client::address(&config.server).map_err(|error| errors.push(error)).ok();
        let exchange = short(&config.exchange);
        if exchange.is_none() {
            errors.push(ConfigError::at("exchange", "bad_value", "an exchange's name has 255 bytes at most"));
        }
        // Without braces it is meant as it stands: `order.created` is a routing key, and no path.
        let literal = || Template::literal(&config.routing_key);
        let routing_key = if config.routing_key.contains(['{', '}']) {
            Template::read("routing_key", &config.routing_key).map_err(|error| errors.push(error)).ok()
        } else {
            Some(literal())
        };
        match (uri, exchange, routing_key, errors.is_empty()) {
            (Some(uri), Some(exchange), Some(routing_key), true) => Ok(AmqpSink {
                uri,
                exchange,
                routing_key,
                structured: config.format == "structured",
                link: Mutex::default(),
            }),
            _ => Err(errors),
        }
    }

    /// The connection, made where there is none.
    async fn open(&self) -> Result<Arc<Open>, Failure> {
        let mut link = self.link.lock().await;
        if let Some(open) = link.open.as_ref().filter(|open| open.channel.status().connected()) {
            return Ok(Arc::clone(open));
        }
        link.open = None;
        if let Some((at, failure)) = &link.failed
            && at.elapsed() < CONNECT_PAUSE
        {
            return Err(failure.clone());
        }
        match self.connect_anew().await {
            Ok(open) => {
                let open = Arc::new(open);
                *link = Link { open: Some(Arc::clone(&open)), failed: None };
                Ok(open)
            }
            Err(failure) => {
                link.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn connect_anew(&self) -> Result<Open, Failure> {
        let connection = client::connect(&self.uri, "sink").await?;
        let channel = connection.create_channel().await.map_err(|error| Failure::of(&error))?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| Failure::of(&error))?;
        Ok(Open { connection, channel })
    }

    async fn publish(&self, request: &SendRequest) -> Result<Sent, SendError> {
        let key = self.routing_key.of(&request.event.event).unwrap_or_default();
        let routing_key = routing_key(&key)?;
        let open = self.open().await.map_err(|failure| judge(&failure))?;
        let (properties, body) = message(request, self.structured);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let failed = |error: lapin::Error| judge(&Failure::of(&error));
        let confirm = open.channel.basic_publish(self.exchange.clone(), routing_key, options, &body, properties);
        match confirm.await.map_err(failed)?.await.map_err(failed)? {
            Confirmation::Ack(None) => Ok(Sent { code: "confirmed".into(), ..Sent::default() }),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                let why = returned.reply_text.as_str();
                let message = format!("no queue takes a message with the routing key `{}` ({why})", shown(&key));
                Err(SendError::permanent("unroutable", message))
            }
            Confirmation::Nack(None) => {
                Err(SendError::retryable("not_confirmed", "the server could not take care of the message"))
            }
            Confirmation::NotRequested => {
                Err(SendError::retryable("amqp", "the server confirms nothing on this channel"))
            }
        }
    }
}

#[async_trait]
impl Sink for AmqpSink {
    async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        match tokio::time::timeout(request.timeout, self.publish(&request)).await {
            Ok(result) => result,
            Err(_) => {
                let millis = request.timeout.as_millis();
                Err(SendError::retryable("timeout", format!("the server confirmed nothing within {millis} ms")))
            }
        }
    }

    fn carries_hops(&self) -> bool {
        true
    }

    fn concurrency(&self) -> Option<usize> {
        Some(CONCURRENCY)
    }

    async fn close(&self) {
        if let Some(open) = self.link.lock().await.open.take() {
            client::close(&open.connection).await;
        }
    }
}

fn judge(failure: &Failure) -> SendError {
    match failure.code {
        "not_there" => SendError::permanent("exchange_missing", failure.message.clone()),
        "denied" => SendError::permanent("denied", failure.message.clone()),
        // One message that is refused ends the channel under all others: which of them it was, nobody knows.
        code => SendError::retryable(code, failure.message.clone()),
    }
}

/// A routing key as AMQP has it: what an event brings into it goes as it is, for its length is told before it, but for
/// what a short text of AMQP cannot hold.
fn routing_key(key: &str) -> Result<ShortString, SendError> {
    if key.contains('\0') {
        let message = format!("the routing key `{}` holds the character U+0000, which AMQP does not have", shown(key));
        return Err(SendError::permanent("refused", message));
    }
    short(key).ok_or_else(|| SendError::permanent("refused", "the routing key has more than 255 bytes"))
}

/// A key as it may stand in a message: on one line, and not too long.
fn shown(key: &str) -> String {
    key.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

/// Properties and body of one delivery's message.
fn message(request: &SendRequest, structured: bool) -> (BasicProperties, Bytes) {
    let payload = &request.payload;
    let event = &request.event.event;
    let mut headers = FieldTable::default();
    let mut content_type = payload.content_type.clone();
    let mut body = payload.body.clone();
    match payload.form {
        PayloadForm::Raw if structured => {
            content_type = Some(json::STRUCTURED.into());
            body = Bytes::from(request.event.structured_json());
        }
        PayloadForm::Raw => attributes(event, &mut headers),
        PayloadForm::Structured => {
            content_type.get_or_insert_with(|| json::STRUCTURED.into());
        }
        PayloadForm::Shaped => {}
    }
    let text = |text: &str| AMQPValue::LongString(text.into());
    headers.insert("eventyard-delivery".into(), text(&request.delivery));
    headers.insert(hops::HEADER.into(), text(&request.hops().to_string()));
    if let Some(traceparent) = &request.traceparent {
        headers.insert("traceparent".into(), text(traceparent));
    }
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    // Longer ids than AMQP has room for stand in the header alone.
    if let Some(id) = short(&event.id) {
        properties = properties.with_message_id(id);
    }
    if let Some(content_type) = content_type.as_deref().and_then(short) {
        properties = properties.with_content_type(content_type);
    }
    (properties, body)
}

/// The attributes in binary mode: `cloudEvents:` before the name, values as they are.
fn attributes(event: &Event, headers: &mut FieldTable) {
    let mut add = |name: &str, value: &str| {
        if let Some(name) = short(&format_text!("cloudEvents:{name}")) {
            headers.insert(name, AMQPValue::LongString(value.into()));
        }
    };
    add("specversion", "1.0");
    add("id", &event.id);
    add("source", &event.source);
    add("type", &event.ty);
    let optional = [("subject", &event.subject), ("time", &event.time), ("dataschema", &event.dataschema)];
    for (name, value) in optional {
        if let Some(value) = value {
            add(name, value);
        }
    }
    for (name, value) in &event.extensions {
        match value {
            ExtensionValue::String(text) => add(name, text),
            ExtensionValue::Integer(number) => add(name, &format_text!("{number}")),
            ExtensionValue::Boolean(truth) => add(name, if *truth { "true" } else { "false" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

    fn sent(template: &str, customer: &str) -> Result<String, SendError> {
        let data = serde_json::json!({ "customer": customer }).to_string();
        let event = Event { data: eventyard_event::Data::Json(data.into()), ..Event::default() };
        let key = Template::read("routing_key", template).unwrap().of(&event).unwrap_or_default();
        routing_key(&key).map(|key| key.as_str().to_owned())
    }

    /// Row T2.
    #[test]
    fn what_an_event_brings_into_a_routing_key_stays_in_it() {
        for text in ["a\"b", "a\r\nX-Injected: 1", "a\nb", "*.#", "{type}", "é"] {
            assert_eq!(sent("orders.{data.customer}.new", text).unwrap(), format!("orders.{text}.new"));
        }
        let refused = sent("orders.{data.customer}", "a\0b\n").unwrap_err();
        assert_eq!((refused.code.as_str(), refused.retryable), ("refused", false));
        assert!(refused.message.contains("U+0000") && refused.message.contains("a\\0b\\n"), "{}", refused.message);
        let refused = sent("{data.customer}", &"x".repeat(256)).unwrap_err();
        assert_eq!((refused.code.as_str(), refused.retryable), ("refused", false));
    }
}
