//! From a message of Kafka to an event, or to a dead letter.

use std::cell::RefCell;

use bytes::Bytes;
use eventyard_event::{ExtensionValue, Extensions, Limits, Text, Timestamp, digits, fits_attribute, format_text};
use rdkafka::message::Headers;
use serde_json::{Map, Value};

use super::settings::Tombstones;
use crate::codec::{Binding, Decoder, Message, Wrap, header};
use crate::source::{Incoming, UNDECODABLE_RAW_MAX, Undecodable};

/// How Kafka carries CloudEvents in binary mode.
pub(super) const BINDING: Binding = Binding { prefixes: &["ce_"], percent_encoded: false };

/// Headers that are read of one message; what comes after them is counted and left out.
const HEADERS_MAX: usize = crate::codec::names::HEADERS_MAX + 1;

/// What a message turned out to be.
pub(super) enum Read {
    Event(Box<Incoming>),
    Undecodable(Box<Undecodable>),
    /// Nothing, as the project says of tombstones.
    Skipped,
}

/// Makes events of messages.
pub(super) struct Reader {
    decoder: Decoder,
    tombstones: Tombstones,
    /// The last time that was written out, in milliseconds and as text: many messages are of the same moment.
    time: RefCell<Option<(i64, Text)>>,
}

impl Reader {
    pub(super) fn new(decoder: Decoder, tombstones: Tombstones) -> Reader {
        Reader { decoder, tombstones, time: RefCell::default() }
    }

    pub(super) fn read(&self, message: &impl rdkafka::Message) -> Read {
        let value = message.payload();
        if let Some(value) = value
            && value.len() > self.decoder.bytes_max()
        {
            // Not copied whole to be refused then.
            let problem = format!("the message has {} bytes; the limit is {}", value.len(), self.decoder.bytes_max());
            let head = Bytes::copy_from_slice(value.get(..UNDECODABLE_RAW_MAX).unwrap_or(value));
            let mut letter = Undecodable::new(coordinates(message), &head, "too_large", problem);
            letter.size = value.len() as u64;
            return Read::Undecodable(Box::new(letter));
        }
        let headers = headers(message);
        let is_cloudevent = || headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("ce_specversion"));
        if value.is_none() && !is_cloudevent() {
            match self.tombstones {
                Tombstones::Skip => return Read::Skipped,
                Tombstones::Event => {}
                Tombstones::DeadLetter => {
                    let problem = "the message has no value; `tombstones` says what else could become of it";
                    let letter = Undecodable::new(coordinates(message), &Bytes::new(), "tombstone", problem);
                    return Read::Undecodable(Box::new(letter));
                }
            }
        }
        let body = || value.map(Bytes::copy_from_slice).unwrap_or_default();
        let decoded = self.decoder.decode(
            Message {
                content_type: header(&headers, "content-type"),
                content_encoding: header(&headers, "content-encoding"),
                headers: &headers,
                body: body(),
            },
            self.wrap(message, headers.len()),
        );
        match decoded {
            Ok(incoming) => Read::Event(Box::new(incoming)),
            Err(error) => Read::Undecodable(Box::new(error.undecodable(coordinates(message), &body()))),
        }
    }

    fn wrap(&self, message: &impl rdkafka::Message, headers: usize) -> Wrap {
        let limits = Limits::default();
        // With room for the headers, which come in behind these.
        let mut extensions = Extensions::with_capacity(4 + headers.min(limits.extensions_max));
        // An integer of CloudEvents has 32 bits.
        let offset = digits(message.offset());
        extensions.insert("offset".into(), ExtensionValue::String(offset.clone()));
        extensions.insert("partition".into(), ExtensionValue::Integer(message.partition()));
        extensions.insert("topic".into(), ExtensionValue::String(message.topic().into()));
        // A key that no attribute may hold is left out, and no reason to refuse the message.
        if let Some(key) = key(message).filter(|key| fits_attribute(key, &limits)) {
            extensions.insert("key".into(), ExtensionValue::String(key.into()));
        }
        let mut id = Text::from(message.topic());
        for number in [&digits(message.partition()), &offset] {
            id.push('/');
            id.push_str(number);
        }
        Wrap {
            id,
            subject: Some(message.topic().into()),
            time: time_ms(message).map(|millis| self.time_text(millis)),
            extensions,
            // The position in the same frame guards against repeats.
            dedupe: None,
        }
    }

    fn time_text(&self, millis: i64) -> Text {
        let mut time = self.time.borrow_mut();
        match &*time {
            Some((last, text)) if *last == millis => text.clone(),
            _ => time.insert((millis, format_text!("{}", Timestamp::from_millis(millis)))).1.clone(),
        }
    }
}

fn headers<M: rdkafka::Message>(message: &M) -> Vec<(&str, &[u8])> {
    let Some(headers) = message.headers() else { return Vec::new() };
    headers.iter().take(HEADERS_MAX).map(|header| (header.key, header.value.unwrap_or_default())).collect()
}

/// Where a message stands, and by which key.
fn coordinates(message: &impl rdkafka::Message) -> Map<String, Value> {
    let mut at = Map::new();
    at.insert("topic".into(), message.topic().into());
    at.insert("partition".into(), message.partition().into());
    at.insert("offset".into(), message.offset().into());
    if let Some(key) = key(message) {
        // Keys may have any length; what is shown of one need not.
        let end = key.floor_char_boundary(256);
        at.insert("key".into(), key.get(..end).unwrap_or_default().into());
    }
    at
}

/// When a message was made, as its producer or the broker says.
pub(super) fn time_ms(message: &impl rdkafka::Message) -> Option<i64> {
    message.timestamp().to_millis().filter(|millis| *millis >= 0)
}

/// A key that is text; keys may be any bytes.
fn key<M: rdkafka::Message>(message: &M) -> Option<&str> {
    message.key().and_then(|key| std::str::from_utf8(key).ok()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn reader(tombstones: &str) -> Reader {
        let config = serde_json::json!({ "codec": "auto", "compression": "auto", "max_size": 1000 });
        let config = serde_json::from_value(config).unwrap();
        let ty = "kafka.message".to_owned();
        let decoder = Decoder::new(config, BINDING, "orders", ty, eventyard_event::Limits::default());
        Reader::new(decoder, serde_json::from_value(tombstones.into()).unwrap())
    }

    fn message(value: Option<&[u8]>, key: Option<&[u8]>, headers: &[(&str, &str)]) -> OwnedMessage {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            owned = owned.insert(Header { key, value: Some(*value) });
        }
        let (value, key) = (value.map(<[u8]>::to_vec), key.map(<[u8]>::to_vec));
        let time = rdkafka::Timestamp::CreateTime(1_700_000_000_000);
        OwnedMessage::new(value, key, "orders".into(), time, 3, 5_000_000_000, Some(owned))
    }

    fn event(message: &OwnedMessage) -> eventyard_event::Event {
        match reader("dead_letter").read(message) {
            Read::Event(incoming) => incoming.event,
            Read::Undecodable(letter) => panic!("{letter:?}"),
            Read::Skipped => panic!("skipped"),
        }
    }

    fn letter(message: &OwnedMessage) -> Undecodable {
        match reader("dead_letter").read(message) {
            Read::Undecodable(letter) => *letter,
            _ => panic!("it was decoded"),
        }
    }

    fn text(text: &str) -> ExtensionValue {
        ExtensionValue::String(text.into())
    }

    #[test]
    fn a_message_is_wrapped_with_its_coordinates() {
        let event = event(&message(Some(b"{\"a\":1}"), Some(b"k7"), &[("X-Shop", "eu")]));
        assert_eq!(event.id, "orders/3/5000000000");
        assert_eq!((event.ty.as_str(), event.source.as_str()), ("kafka.message", "/sources/orders"));
        assert_eq!(event.subject.as_deref(), Some("orders"));
        assert_eq!(event.time.as_deref(), Some("2023-11-14T22:13:20.000Z"));
        assert_eq!(event.extensions["topic"], text("orders"));
        assert_eq!(event.extensions["partition"], ExtensionValue::Integer(3));
        assert_eq!(event.extensions["offset"], text("5000000000"));
        assert_eq!(event.extensions["key"], text("k7"));
        assert_eq!(event.extensions["xshop"], text("eu"));
        assert_eq!(event.data.json(), Some(&b"{\"a\":1}"[..]));
    }

    #[test]
    fn cloudevents_are_taken_whole_in_both_forms() {
        let binary = [("ce_specversion", "1.0"), ("ce_id", "7"), ("ce_source", "/shop"), ("ce_type", "order")];
        let mut headers = binary.to_vec();
        headers.push(("content-type", "application/json"));
        let taken = event(&message(Some(b"[1]"), None, &headers));
        assert_eq!((taken.id.as_str(), taken.source.as_str(), taken.ty.as_str()), ("7", "/shop", "order"));
        assert!(taken.extensions.is_empty());
        // Without a value it is an event without data, and no tombstone.
        assert_eq!(event(&message(None, None, &binary)).data, eventyard_event::Data::None);
        let whole = br#"{"specversion":"1.0","id":"8","source":"/s","type":"t","data":5}"#;
        let taken =
            event(&message(Some(whole), None, &[("content-type", "application/cloudevents+json; charset=utf-8")]));
        assert_eq!(taken.id, "8");
    }

    #[test]
    fn a_tombstone_is_what_the_project_says() {
        let tombstone = message(None, Some(b"k"), &[]);
        let dead = letter(&tombstone);
        assert_eq!((dead.code.as_str(), dead.size), ("tombstone", 0));
        let at = serde_json::json!({ "topic": "orders", "partition": 3, "offset": 5_000_000_000_i64, "key": "k" });
        assert_eq!(Value::Object(dead.at), at);
        assert!(matches!(reader("skip").read(&tombstone), Read::Skipped));
        assert!(matches!(reader("event").read(&tombstone), Read::Event(_)));
    }

    #[test]
    fn one_that_is_too_large_keeps_its_head() {
        let dead = letter(&message(Some(&[b'x'; 100_000]), None, &[]));
        assert_eq!((dead.code.as_str(), dead.size, dead.raw.len()), ("too_large", 100_000, UNDECODABLE_RAW_MAX));
    }

    #[test]
    fn keys_and_headers_of_any_kind_do_no_harm() {
        let none = event(&message(Some(b"1"), None, &[]));
        assert!(!none.extensions.contains_key("key"));
        for key in [&b"\xff\xfe"[..], b"a\0b", &[b'k'; 100_000]] {
            assert!(!event(&message(Some(b"1"), Some(key), &[])).extensions.contains_key("key"));
        }
        let names: Vec<String> = (0..1000).map(|number| format!("h{number}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        let many = event(&message(Some(b"1"), None, &headers));
        assert!(many.extensions.len() <= 64);
        let dead = letter(&message(None, Some(&[b'k'; 100_000]), &[]));
        assert!(serde_json::to_vec(&dead.at).unwrap().len() < 4096);
    }
}
