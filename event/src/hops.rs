//! How often an event has been passed on, which ends a circle of rules that nobody could see in the files.
//!
//! The broker counts the `event` targets that an event has come through ([`Envelope::hop_count`](crate::Envelope)).
//! Where a sink sends it to a queue or an address, from which it may come in again, the count goes with it: as the
//! header [`HEADER`], beside the attributes, whatever was made of the data. A source that finds the header [notes](note)
//! it in the event, and intake [takes](take) it out again, as it takes the attribute of that name that a sender sets
//! itself.

use crate::{Event, ExtensionValue};

/// The header of a message that was sent by a broker: how often its event has been passed on.
pub const HEADER: &str = "eventyard-hops";

/// How often an event may be passed on. One that has come this far goes in a circle.
pub const MAX: u8 = 16;

/// The attribute that says it between source and intake.
const ATTRIBUTE: &str = "eventyardhops";

/// Notes what the header beside an event says. What is no number counts for nothing.
pub fn note(event: &mut Event, header: Option<&str>) {
    if let Some(count) = header.and_then(read) {
        event.extensions.insert(ATTRIBUTE.into(), ExtensionValue::Integer(count.into()));
    }
}

/// Takes out of an event how often it has been passed on; 0 where it does not say, and never more than [`MAX`].
#[must_use]
pub fn take(event: &mut Event) -> u8 {
    let count = match event.extensions.get(ATTRIBUTE) {
        Some(ExtensionValue::String(text)) => read(text),
        Some(ExtensionValue::Integer(number)) => read(&number.to_string()),
        Some(ExtensionValue::Boolean(_)) | None => None,
    };
    if count.is_some() {
        event.extensions.remove(ATTRIBUTE);
    }
    count.unwrap_or_default()
}

fn read(text: &str) -> Option<u8> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(MAX).min(MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> u8 {
        let mut event = Event::default();
        note(&mut event, Some(text));
        let count = take(&mut event);
        assert!(event.extensions.is_empty(), "{event:?}");
        count
    }

    #[test]
    fn a_count_is_noted_and_taken_out_and_is_never_beyond_the_most() {
        assert_eq!(["0", "1", "15", "16", "17", "256", "99999999999999999999"].map(said), [0, 1, 15, 16, 16, 16, 16]);
        assert_eq!(["", "-1", "+1", " 1", "1.0", "x", "٣"].map(said), [0; 7]);
        assert_eq!(take(&mut Event::default()), 0);
    }

    #[test]
    fn the_header_is_newer_than_the_attribute_and_what_is_no_count_stays_the_senders() {
        let with = |value: ExtensionValue| Event {
            extensions: [(ATTRIBUTE.into(), value)].into_iter().collect(),
            ..Event::default()
        };
        let mut event = with(ExtensionValue::String("3".into()));
        assert_eq!(take(&mut event.clone()), 3);
        note(&mut event, Some("4"));
        assert_eq!(take(&mut event), 4);
        assert_eq!(take(&mut with(ExtensionValue::Integer(5))), 5);
        for other in [ExtensionValue::Boolean(true), ExtensionValue::Integer(-1), ExtensionValue::String("a".into())] {
            let mut event = with(other);
            assert_eq!((take(&mut event), event.extensions.len()), (0, 1));
        }
    }
}
