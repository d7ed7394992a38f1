//! The ids that are ours. A sender's `(source, id)` belongs to the sender; these belong to the broker.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::text::digits;

/// One accepted event. A UUIDv7, so ids sort by the time of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

/// One delivery: an event, and its place among the deliveries of that event. Shown as `EVENT-PLACE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The event that is delivered.
    pub event: EventId,
    /// Counts from 0 in the order in which routing found them; never reused within an event.
    pub place: u32,
}

impl DeliveryId {
    /// What [`fmt::Display`] shows, in memory that is asked for once: each attempt of each delivery names it.
    #[must_use]
    pub fn to_text(self) -> String {
        let mut text = String::with_capacity(DELIVERY_BYTES_MAX);
        text.push_str(self.event.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        text.push('-');
        text.push_str(&digits(self.place));
        text
    }
}

/// A UUID, a dash and the digits of a `u32`.
const DELIVERY_BYTES_MAX: usize = 36 + 1 + 10;

/// The text is no id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of ours: an event's is a UUID, a delivery's a UUID, a dash and a number")]
pub struct IdError;

impl EventId {
    /// Makes an id from a time and 10 random bytes (74 bits of them are used): both are the caller's, so that
    /// a simulation can repeat itself.
    #[must_use]
    pub fn new(at: Timestamp, random: [u8; 10]) -> EventId {
        let millis = u64::try_from(at.as_millis()).unwrap_or(0);
        EventId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// An id that follows from what it is made for, so that making it twice makes it once: the version 5 UUID
    /// of `name` in the namespace of `self`.
    #[must_use]
    pub fn derive(self, name: &str) -> EventId {
        EventId(Uuid::new_v5(&self.0, name.as_bytes()))
    }

    /// The 16 bytes, in the order in which ids sort.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// From the 16 bytes of [`EventId::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> EventId {
        EventId(Uuid::from_bytes(bytes))
    }

    /// When it was made, where it was made with a time ([`EventId::new`]) and not from a name.
    #[must_use]
    pub fn made_at(self) -> Option<Timestamp> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let millis = i64::try_from(seconds).ok()?.checked_mul(1000)?.checked_add(i64::from(nanos / 1_000_000))?;
        (self.0.get_version_num() == 7).then(|| Timestamp::from_millis(millis))
    }

    /// The delivery of this event at `place`.
    #[must_use]
    pub fn delivery(self, place: u32) -> DeliveryId {
        DeliveryId { event: self, place }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<EventId, IdError> {
        // Only the spelling that we write: one thing has one name.
        if text.len() != 36 {
            return Err(IdError);
        }
        Uuid::parse_str(text).map(EventId).map_err(|_| IdError)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl FromStr for DeliveryId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<DeliveryId, IdError> {
        let (event, place) = text.rsplit_once('-').ok_or(IdError)?;
        let number = place.parse::<u32>().map_err(|_| IdError)?;
        if number.to_string() != place {
            return Err(IdError);
        }
        Ok(DeliveryId { event: event.parse()?, place: number })
    }
}

macro_rules! as_text {
    ($id:ty) => {
        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$id, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(EventId);
as_text!(DeliveryId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let early = EventId::new(Timestamp::from_millis(1_000), [0xff; 10]);
        let late = EventId::new(Timestamp::from_millis(1_001), [0; 10]);
        assert!(early < late);
        assert!(early.to_bytes() < late.to_bytes());
        assert_eq!(early.to_string().parse::<EventId>().unwrap(), early);

        let delivery = late.delivery(7);
        assert_eq!(delivery.to_string().parse::<DeliveryId>().unwrap(), delivery);
        for place in [0, 7, u32::MAX] {
            let delivery = late.delivery(place);
            assert_eq!(delivery.to_text(), delivery.to_string());
            assert_eq!(delivery.to_text(), format!("{late}-{place}"));
        }
        for bad in ["", "7", "x-1", &format!("{late}-"), &format!("{late}-07"), &format!("{late}-4294967296")] {
            assert_eq!(bad.parse::<DeliveryId>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn a_derived_id_is_the_same_each_time() {
        let event = EventId::new(Timestamp::EPOCH, [1; 10]);
        assert_eq!(event.derive("dead-0-1"), event.derive("dead-0-1"));
        assert_ne!(event.derive("dead-0-1"), event.derive("dead-0-2"));
    }
}
