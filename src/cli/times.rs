//! Times as people write and read them.

use std::time::Duration;

use eventyard_event::Timestamp;
use serde_json::Value;

/// An instant as it stands in tables: to the second, in UTC (so that it can be given to `--since`), and how
/// far it is from `now`.
pub(crate) fn at(instant: Timestamp, now: Timestamp) -> String {
    let absolute = format!("{:.0}", instant.to_jiff());
    format!("{absolute} ({})", relative(instant, now))
}

/// How far an instant is from `now`: `3 s ago`, `in 5 min`.
pub(crate) fn relative(instant: Timestamp, now: Timestamp) -> String {
    if instant <= now {
        match rough(now.since(instant)) {
            Some(distance) => format!("{distance} ago"),
            None => "just now".to_owned(),
        }
    } else {
        match rough(instant.since(now)) {
            Some(distance) => format!("in {distance}"),
            None => "now".to_owned(),
        }
    }
}

/// A duration in its largest unit, rounded down; `None` below a second.
fn rough(duration: Duration) -> Option<String> {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = duration.as_secs();
    Some(match seconds {
        0 => return None,
        _ if seconds < 2 * MINUTE => format!("{seconds} s"),
        _ if seconds < 2 * HOUR => format!("{} min", seconds / MINUTE),
        _ if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        _ => format!("{} d", seconds / DAY),
    })
}

/// A field that holds an RFC 3339 time, as [`at`]; `-` where there is none, the text itself where it is none.
pub(crate) fn field(value: &Value, key: &str, now: Timestamp) -> String {
    match value.get(key).and_then(Value::as_str) {
        None => "-".to_owned(),
        Some(text) => match Timestamp::parse(text) {
            Ok(instant) => at(instant, now),
            Err(_) => super::screen::shown(text),
        },
    }
}

/// Reads a duration: a number and one of `ms s m h d`, as in the project's files.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write a number and a unit: 250ms, 30s, 5m, 6h, 7d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds_per_unit = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds_per_unit).map(Duration::from_secs).ok_or_else(wrong)
}

/// Reads an instant: RFC 3339, or a duration, which means so long ago.
pub(crate) fn instant(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = duration(text) {
        return Ok(now.minus(ago));
    }
    Timestamp::parse(text).map_err(|_| {
        format!("`{text}` is no time; write RFC 3339 (2026-11-21T11:30:00Z) or how long ago (30m, 6h, 2d)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_absolute_and_relative() {
        let now = Timestamp::parse("2026-11-21T12:00:00.500Z").unwrap();
        let before = Timestamp::parse("2026-11-21T11:59:57.100Z").unwrap();
        assert_eq!(at(before, now), "2026-11-21T11:59:57Z (3 s ago)");
        assert_eq!(relative(now.plus(Duration::from_secs(600)), now), "in 10 min");
        assert_eq!(relative(now, now), "just now");
        assert_eq!(relative(now.minus(Duration::from_secs(86_400 * 3)), now), "3 d ago");
    }

    #[test]
    fn an_instant_may_be_so_long_ago() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        assert_eq!(instant("90m", now).unwrap().to_string(), "2026-11-21T10:30:00.000Z");
        assert_eq!(instant("2026-11-21T12:30:00+02:00", now).unwrap().to_string(), "2026-11-21T10:30:00.000Z");
        for bad in ["", "5", "m", "5 m", "5w", "yesterday", "99999999999999999999d", "-5m"] {
            assert!(instant(bad, now).is_err(), "{bad}");
        }
    }
}
