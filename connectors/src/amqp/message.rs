//! From a message of a queue to an event, or to a dead letter.

use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{ExtensionValue, Extensions, Timestamp, format_text};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value};

use crate::codec::{Binding, Decoder, Message, Wrap};
use crate::source::{Incoming, Undecodable};

/// How AMQP carries CloudEvents in binary mode: the binding's own prefix, and the one for clients whose headers may not
/// have a colon.
pub(super) const BINDING: Binding = Binding { prefixes: &["cloudEvents:", "cloudEvents_"], percent_encoded: false };

/// Bytes of a text that stands among a dead letter's coordinates, at most.
const SHOWN_BYTES_MAX: usize = 256;

/// Reads one message of `queue`.
pub(super) fn read(
    decoder: &Decoder,
    queue: &str,
    dedupe: Option<Duration>,
    delivery: &mut Delivery,
) -> Result<Incoming, Box<Undecodable>> {
    let body = Bytes::from(std::mem::take(&mut delivery.data));
    let headers = delivery.properties.headers().as_ref().map(texts).unwrap_or_default();
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let message = Message {
        content_type: text(delivery.properties.content_type()),
        content_encoding: text(delivery.properties.content_encoding()),
        headers: &headers,
        body: body.clone(),
    };
    decoder
        .decode(message, wrap(queue, dedupe, delivery))
        .map_err(|error| Box::new(error.undecodable(coordinates(queue, delivery), &body)))
}

fn text(property: &Option<ShortString>) -> Option<&str> {
    property.as_ref().map(ShortString::as_str).filter(|text| !text.is_empty())
}

/// Headers whose values are a text, a number or a truth; tables and lists are none of an extension's values.
fn texts(table: &FieldTable) -> Vec<(&str, Vec<u8>)> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(text.as_bytes().to_vec()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes().to_vec()),
        AMQPValue::Boolean(truth) => Some(truth.to_string().into_bytes()),
        AMQPValue::ShortShortInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::ShortShortUInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::ShortInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::ShortUInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::LongInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::LongUInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::LongLongInt(number) => Some(number.to_string().into_bytes()),
        AMQPValue::Float(number) => Some(number.to_string().into_bytes()),
        AMQPValue::Double(number) => Some(number.to_string().into_bytes()),
        AMQPValue::Timestamp(seconds) => Some(seconds.to_string().into_bytes()),
        _ => None,
    };
    table.inner().iter().filter_map(|(name, value)| Some((name.as_str(), text(value)?))).collect()
}

fn wrap(queue: &str, dedupe: Option<Duration>, delivery: &Delivery) -> Wrap {
    let properties = &delivery.properties;
    let string = |text: &str| ExtensionValue::String(text.into());
    let said = [
        ("exchange", Some(delivery.exchange.as_str())),
        ("routingkey", Some(delivery.routing_key.as_str())),
        ("correlationid", text(properties.correlation_id())),
        ("replyto", text(properties.reply_to())),
        ("messagetype", text(properties.kind())),
        ("appid", text(properties.app_id())),
        ("userid", text(properties.user_id())),
    ];
    let mut extensions = Extensions::with_capacity(2 + said.len());
    extensions.insert("queue".into(), string(queue));
    extensions.insert("redelivered".into(), ExtensionValue::Boolean(delivery.redelivered));
    for (name, value) in said {
        // What an attribute may not hold is no reason to refuse the message.
        let fits = |text: &&str| !text.is_empty() && !text.chars().any(char::is_control);
        extensions.extend(value.filter(fits).map(|value| (name.into(), string(value))));
    }
    let millis = properties.timestamp().and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000));
    // Later than a date can be written: some clients mean milliseconds.
    let millis = millis.filter(|millis| *millis < 253_402_300_800_000);
    Wrap {
        id: text(properties.message_id()).unwrap_or_default().into(),
        subject: Some(queue.into()),
        time: millis.map(|millis| format_text!("{}", Timestamp::from_millis(millis))),
        extensions,
        dedupe,
    }
}

/// Where a message came from. A queue has no places: what it had is what its sender said.
fn coordinates(queue: &str, delivery: &Delivery) -> Map<String, Value> {
    let cut = |text: &str| Value::from(text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or_default());
    let mut at = Map::new();
    at.insert("queue".into(), queue.into());
    at.insert("exchange".into(), cut(delivery.exchange.as_str()));
    at.insert("routing_key".into(), cut(delivery.routing_key.as_str()));
    at.insert("delivery_tag".into(), delivery.delivery_tag.into());
    at.insert("redelivered".into(), delivery.redelivered.into());
    if let Some(id) = text(delivery.properties.message_id()) {
        at.insert("message_id".into(), cut(id));
    }
    at
}
