//! What a pattern sees of an event.
//!
//! The event as CloudEvents structured JSON: attributes and extensions at the top, `data` below, plus `tags`, the
//! tags of the source it came by. XML, CSV and forms are seen as the JSON that [`eventyard_event::decode`] makes of them; other
//! data that is not JSON is not seen at all. Numbers keep their digits, and of a key that is there twice both values are
//! seen.

use std::borrow::Cow;

use eventyard_event::{Envelope, Event, ExtensionValue};

use crate::syntax::json::DEPTH_MAX;
use crate::syntax::{Entry, Node, Value, json};

/// An event, read once, for all that rules ask of it: matching, explaining, looking up a path.
#[derive(Clone, Debug)]
pub struct View<'e> {
    envelope: &'e Envelope,
    /// Always an object.
    root: Node<'e>,
}

impl<'e> View<'e> {
    /// Reads an event. Costs one pass over its data; build it once for an event, not once for a rule.
    #[must_use]
    pub fn new(envelope: &'e Envelope) -> View<'e> {
        let event = &envelope.event;
        let mut entries = Vec::with_capacity(10 + event.extensions.len());
        let mut attribute = |key: &'e str, value: Value<'e>| entries.push(entry(key, Node::made(value)));
        attribute("specversion", text("1.0"));
        attribute("id", text(&event.id));
        attribute("source", text(&event.source));
        attribute("type", text(&event.ty));
        let optional = [
            ("subject", &event.subject),
            ("time", &event.time),
            ("datacontenttype", &event.datacontenttype),
            ("dataschema", &event.dataschema),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                attribute(key, text(value));
            }
        }
        // An extension that a sender calls `tags` or `data` must not pass for what only the broker, or the data
        // itself, can say.
        for (key, value) in event.extensions.iter().filter(|(key, _)| !matches!(key.as_str(), "tags" | "data")) {
            let value = match value {
                ExtensionValue::String(value) => text(value),
                ExtensionValue::Integer(value) => Value::Number(Cow::Owned(value.to_string())),
                ExtensionValue::Boolean(value) => Value::Bool(*value),
            };
            attribute(key, value);
        }
        if let Some(data) = data(event) {
            entries.push(entry("data", data));
        }
        let tags = envelope.tags.iter().map(|tag| Node::made(text(tag))).collect();
        entries.push(entry("tags", Node::made(Value::Array(tags))));
        View { envelope, root: Node::made(Value::Object(entries)) }
    }

    /// The event that is seen.
    #[must_use]
    pub fn envelope(&self) -> &'e Envelope {
        self.envelope
    }

    pub(crate) fn root(&self) -> &Node<'e> {
        &self.root
    }
}

fn text(value: &str) -> Value<'_> {
    Value::String(Cow::Borrowed(value))
}

fn entry<'e>(key: &'e str, node: Node<'e>) -> Entry<'e> {
    Entry { key: Cow::Borrowed(key), key_span: 0..0, node }
}

/// The data, where it is JSON. It was checked when it was taken; what cannot be read all the same is not seen,
/// like data that never was JSON.
fn data(event: &Event) -> Option<Node<'_>> {
    // `data` stands one level below the event.
    const _: () = assert!(DEPTH_MAX > 127, "whatever intake lets through can be seen");
    let parse = |json| json::parse(std::str::from_utf8(json).ok()?).ok();
    match event.seen_data()?.json {
        Cow::Borrowed(json) => parse(json),
        Cow::Owned(json) => json::parse(std::str::from_utf8(&json).ok()?).ok().map(Node::into_owned),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::syntax::Dialect;
    use eventyard_event::{Data, EventId, Name, Timestamp};

    /// An event with this JSON as its data.
    pub(crate) fn envelope(data: &str) -> Envelope {
        Envelope {
            id: EventId::new(Timestamp::EPOCH, [0; 10]),
            namespace: Name::default_namespace(),
            source_name: Name::new("shop").unwrap(),
            tags: vec!["eu".to_owned()],
            received_at: Timestamp::EPOCH,
            hop_count: 0,
            keys_unique: false,
            event: Event {
                id: "1".into(),
                source: "/shop".into(),
                ty: "order.created".into(),
                data: Data::Json(data.to_owned().into()),
                ..Event::default()
            },
        }
    }

    #[test]
    fn an_event_is_seen_as_structured_json_with_its_tags() {
        let mut envelope = envelope(r#"{"amount":10.50,"amount":2}"#);
        envelope.event.subject = Some("eu/7".into());
        envelope.event.extensions.insert("sequence".into(), ExtensionValue::Integer(-7));
        envelope.event.extensions.insert("urgent".into(), ExtensionValue::Boolean(true));
        envelope.event.extensions.insert("tags".into(), ExtensionValue::String("root".into()));
        let view = View::new(&envelope);
        let shown = view.root().value.show(Dialect::Json);
        assert_eq!(
            shown,
            r#"{"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.created", "subject": "eu/7", "#
                .to_owned()
                + r#""sequence": -7, "urgent": true, "data": {"amount": 10.50, "amount": 2}, "tags": ["eu"]}"#
        );
    }

    #[test]
    fn data_that_is_not_json_is_not_seen() {
        for data in [Data::None, Data::Bytes("{}".into()), Data::Json("{".into()), Data::Json(vec![0xff].into())] {
            let mut envelope = envelope("{}");
            envelope.event.data = data;
            assert!(!View::new(&envelope).root().value.show(Dialect::Json).contains("data"));
        }
    }
}
