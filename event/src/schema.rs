//! What ids, names and times look like in JSON, for documents that describe our interfaces.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{DeliveryId, EventId, Name, Timestamp};

/// The names of projects, as a regular expression.
pub const NAME_PATTERN: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";

const EVENT_ID_PATTERN: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

const DELIVERY_ID_PATTERN: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-(0|[1-9][0-9]{0,8})$";

macro_rules! text_schemas {
    ($($type:ident $key:literal $value:tt $doc:literal)+) => {
        $(
            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "string", "description": $doc, $key: $value })
                }
            }
        )+
    };
}

text_schemas! {
    Name "pattern" NAME_PATTERN "A name out of a project."
    EventId "pattern" EVENT_ID_PATTERN "Our id of an event: a UUID, version 7."
    DeliveryId "pattern" DELIVERY_ID_PATTERN
        "The id of a delivery: our id of its event, and its place among the event's deliveries."
    Timestamp "format" "date-time" "A time, as RFC 3339 has it."
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    fn texts(pattern: &str) -> impl Strategy<Value = String> {
        string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
    }

    proptest! {
        #[test]
        fn what_fits_a_pattern_is_read(
            name in texts(NAME_PATTERN), event in texts(EVENT_ID_PATTERN), delivery in texts(DELIVERY_ID_PATTERN)
        ) {
            prop_assert!(Name::new(&name).is_ok(), "{name}");
            prop_assert!(event.parse::<EventId>().is_ok(), "{event}");
            prop_assert!(delivery.parse::<DeliveryId>().is_ok(), "{delivery}");
        }
    }
}
