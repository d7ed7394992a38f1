//! The trace that an attempt belongs to.

use eventyard_event::ExtensionValue;
use eventyard_store::Taken;

/// `00-`, 32 digits, `-`, 16 digits, `-01`.
const TRACEPARENT_BYTES: usize = 55;

/// W3C trace context, version 00: the sender's trace where the event names one, else one of our own, named by
/// the event. Each attempt is a span of its own.
pub(super) fn traceparent(taken: &Taken) -> String {
    let extension = taken.envelope.event.extensions.get("traceparent");
    let theirs = match extension {
        Some(ExtensionValue::String(text)) => trace_id(text),
        _ => None,
    };
    let span = u64::from(taken.delivery.place) << 32 | u64::from(taken.tries.saturating_add(1));
    let mut text = String::with_capacity(TRACEPARENT_BYTES);
    text.push_str("00-");
    match theirs {
        Some(trace) => text.push_str(trace),
        None => put_hex(&mut text, taken.envelope.id.to_bytes()),
    }
    text.push('-');
    put_hex(&mut text, span.to_be_bytes());
    text.push_str("-01");
    text
}

/// Adds bytes as hexadecimal digits. By hand and all at once: each delivery of each attempt has some.
fn put_hex<const BYTES: usize>(text: &mut String, bytes: [u8; BYTES]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + (value - 10) };
    let digits = bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    // Digits are always text.
    text.push_str(std::str::from_utf8(digits.as_flattened()).unwrap_or_default());
}

/// The trace id of a well-formed `traceparent`.
fn trace_id(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let good = version.len() == 2 && hex(version) && trace.len() == 32 && hex(trace);
    (good && trace.bytes().any(|b| b != b'0')).then_some(trace)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventyard_event::{Envelope, Event, EventId, Name, Timestamp};
    use eventyard_store::QueueKey;

    use super::*;

    fn taken(traceparent: Option<&str>) -> Taken {
        let id = EventId::new(Timestamp::from_millis(1_000_000), [0xa5; 10]);
        let mut event = Event::default();
        let value = traceparent.map(|text| ExtensionValue::String(text.into()));
        event.extensions.extend(value.map(|value| ("traceparent".into(), value)));
        let name = Name::new("n").unwrap();
        let envelope = Envelope {
            id,
            namespace: name.clone(),
            source_name: name.clone(),
            tags: Vec::new(),
            received_at: Timestamp::EPOCH,
            hop_count: 0,
            keys_unique: true,
            event,
        };
        Taken {
            delivery: id.delivery(0x1f),
            queue: Arc::new(QueueKey { namespace: name.clone(), rule: None, target: name }),
            attempts: 0,
            tries: 2,
            deaths: 0,
            budget_began_at: Timestamp::EPOCH,
            envelope: Arc::new(envelope),
            element: None,
            unreadable: None,
        }
    }

    #[test]
    fn a_trace_id_is_taken_only_from_a_well_formed_header() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(good), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in ["", "00", "00-4BF92F3577B34DA6A3CE929D0E0E4736-x-01", "00-00000000000000000000000000000000-x-01"] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_senders_trace_goes_on_and_what_is_none_is_replaced() {
        let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(&taken(Some(theirs))), "00-0af7651916cd43dd8448eb211c80319c-0000001f00000003-01");
        let one = taken(None);
        let ours = format!("00-{:032x}-0000001f00000003-01", u128::from_be_bytes(one.envelope.id.to_bytes()));
        assert_eq!(ours.len(), TRACEPARENT_BYTES);
        for bad in [None, Some("00-0af7"), Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"), Some("é")]
        {
            assert_eq!(traceparent(&taken(bad)), ours, "{bad:?}");
        }
    }
}
