//! What a source could not decode: a dead letter without a rule, in the frame of the batch that it came with.
//!
//! It is kept as an event of the broker's own type whose data are the bytes that came, with one delivery that is dead
//! from the start. No rule sees it, and it cannot be replayed: what would have to change stands on the other side, or in
//! the source's settings, and either is read anew by `eventyard sources seek`.

use eventyard_connectors::source::{COORDINATES_BYTES_MAX, Undecodable};
use eventyard_event::{Data, Envelope, Event, ExtensionValue, format_text};
use eventyard_store::{Admission, DeadLetter, Dedupe, NewDelivery, QueueKey, Reason};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::alert;
use crate::broker::Broker;
use crate::fate::{Fate, OfDelivery};
use crate::origin::Origin;

/// The `type` of the event that keeps what came.
pub(crate) const TYPE: &str = "eventyard.undecodable";

/// The extension that holds the coordinates, as JSON.
const AT: &str = "at";
/// The extension that holds the number of bytes.
const SIZE: &str = "size";

/// What is committed for one of them: the letter itself, and the alert that tells of it.
pub(crate) fn admissions(broker: &Broker, origin: &Origin, undecodable: Undecodable) -> [Admission; 2] {
    let Undecodable { at, raw, size, code, message, dedupe } = undecodable;
    let id = broker.new_event_id();
    let received_at = broker.clocks().now();
    let coordinates = coordinates(&at);
    // A repeat is known by its coordinates; where nothing repeats, any id will do.
    let cloudevent_id = match dedupe {
        Some(_) => hex(&Sha256::digest(coordinates.as_bytes())),
        None => id.to_string(),
    };
    let dedupe = dedupe.map(|window| Dedupe { window });
    let text = |text: String| ExtensionValue::String(text.into());
    let envelope = Envelope {
        id,
        namespace: origin.namespace.clone(),
        source_name: origin.source_name.clone(),
        tags: origin.tags.clone(),
        received_at,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: cloudevent_id.as_str().into(),
            source: format_text!("/sources/{}", origin.source_name),
            ty: TYPE.into(),
            time: Some(format_text!("{received_at}")),
            datacontenttype: Some("application/octet-stream".into()),
            extensions: [(AT.into(), text(coordinates)), (SIZE.into(), text(size.to_string()))].into(),
            data: if raw.is_empty() { Data::None } else { Data::Bytes(raw) },
            ..Event::default()
        },
    };
    let reason = Reason { code, message };
    let alert = alert::undecodable(broker, &envelope, &cloudevent_id, &reason, &Value::Object(at), size);
    let queue = QueueKey { namespace: origin.namespace.clone(), rule: None, target: origin.source_name.clone() };
    let snapshot = broker.in_force().rules.hash();
    let deliveries = vec![NewDelivery {
        queue: queue.into(),
        lane: None,
        due_at: broker.clocks().steady_now(),
        snapshot,
        split: None,
    }];
    [Admission { envelope: envelope.into(), deliveries, dedupe, dead: Some(reason) }, Admission { dedupe, ..alert }]
}

/// Tells who follows what passes.
pub(crate) fn tell(broker: &Broker, letter: &Envelope, reason: &Reason) {
    let of = OfDelivery {
        delivery: letter.id.delivery(0),
        source_name: letter.source_name.clone(),
        ty: letter.event.ty.clone(),
        rule: None,
        target: letter.source_name.clone(),
        element: None,
    };
    broker.tell(Fate::Dead { of, reason: reason.clone() });
}

/// What is shown of such a letter beside what every letter has.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Where it stood on the other side.
    pub(crate) at: Map<String, Value>,
    /// How many bytes it had.
    pub(crate) size: u64,
}

/// `None` for the dead letter of a delivery.
pub(crate) fn shown(letter: &DeadLetter) -> Option<Shown> {
    if letter.delivery.queue.rule.is_some() || letter.envelope.event.ty != TYPE {
        return None;
    }
    let text = |name: &str| match letter.envelope.event.extensions.get(name) {
        Some(ExtensionValue::String(text)) => text.as_str(),
        _ => "",
    };
    Some(Shown { at: serde_json::from_str(text(AT)).unwrap_or_default(), size: text(SIZE).parse().unwrap_or_default() })
}

/// As JSON, within what an attribute may have.
fn coordinates(at: &Map<String, Value>) -> String {
    let text = Value::Object(at.clone()).to_string();
    if text.len() <= COORDINATES_BYTES_MAX {
        return text;
    }
    json!({ "too_long": true, "sha256": hex(&Sha256::digest(text.as_bytes())) }).to_string()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
