//! `Retry-After`: when a target says to come back.

use std::time::Duration;

use eventyard_event::Timestamp;

use crate::sink::RETRY_AFTER_MAX;

/// Reads seconds, or a date (RFC 9110's IMF-fixdate, which all senders must write). What lies in the past is now,
/// what lies too far is [`RETRY_AFTER_MAX`], what cannot be read is nothing.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.starts_with('-') {
            return Some(Duration::ZERO);
        }
        // So many digits that they do not fit mean "very late", too.
        let seconds = digits.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from(at).since(now).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_clamped() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let seconds = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("999999999"), Some(3600));
        assert_eq!(seconds("99999999999999999999999999"), Some(3600));
        assert_eq!(seconds("-1"), Some(0));
        assert_eq!(seconds("Sat, 21 Nov 2026 12:02:00 GMT"), Some(120));
        assert_eq!(seconds("Sat, 21 Nov 2020 12:02:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 21 Nov 2027 12:02:00 GMT"), Some(3600));
        for unreadable in ["", "-", "soon", "1.5", "12 s", "2026-11-21T12:02:00Z"] {
            assert_eq!(seconds(unreadable), None, "{unreadable}");
        }
    }
}
