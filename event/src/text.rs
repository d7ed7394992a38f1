//! The text of attributes.
//!
//! Attributes are many and short, and an event is made on one thread and let go of on another, where each piece of memory
//! costs twice. So they are of a type that keeps up to 24 bytes in place: most ids, types and subjects, `/sources/NAME`,
//! a time to the millisecond. It is named here alone; everyone else says [`Text`] and [`format_text!`](crate::format_text).

use compact_str::ToCompactString;

/// A string that keeps up to 24 bytes in place and is otherwise what `String` is.
pub use compact_str::CompactString as Text;
/// `format!` for a [`Text`], without a `String` in between.
pub use compact_str::format_compact as format_text;

/// A whole number in digits, past what formatting does for all kinds of things.
#[must_use]
pub fn digits(number: impl Into<i64>) -> Text {
    number.into().to_compact_string()
}

/// Whether a text is made of ASCII without control characters. It looks at all of them, for then the compiler looks at many
/// at a time.
pub(crate) fn is_printable_ascii(text: &str) -> bool {
    text.bytes().fold(true, |good, byte| good & matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn what_most_events_say_needs_no_memory_of_its_own() {
        let time = format_text!("{}", Timestamp::from_millis(1_795_260_645_007));
        for text in [time, "/sources/orders".into(), format_text!("{}/{}/{}", "orders", 11, 5_000_000_000_i64)] {
            assert!(!text.is_heap_allocated(), "{text}");
        }
        assert_eq!(size_of::<Option<Text>>(), size_of::<Option<String>>());
    }
}
