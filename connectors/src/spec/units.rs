//! Durations and sizes as people write them.

use std::time::Duration;

/// Reads `"250ms"`, `"30s"`, `"5m"`, `"6h"`, `"7d"`: one whole number and one unit.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (count, unit) = split(text).ok_or_else(|| expected_duration(text))?;
    let unit_millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected_duration(text)),
    };
    count.checked_mul(unit_millis).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
}

/// Reads `"512B"`, `"64KiB"`, `"10MiB"`, `"1GiB"`: one whole number and one unit. The answer is in bytes.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (count, unit) = split(text).ok_or_else(|| expected_size(text))?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(expected_size(text)),
    };
    count.checked_mul(unit_bytes).ok_or_else(|| format!("`{text}` is too large"))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    Some((count.parse().ok()?, unit))
}

fn expected_duration(text: &str) -> String {
    format!("`{text}` is no duration; write a whole number and a unit, such as 250ms, 30s, 5m, 6h or 7d")
}

fn expected_size(text: &str) -> String {
    format!("`{text}` is no size; write a whole number and a unit, such as 512B, 64KiB, 10MiB or 1GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_of_the_manual_are_read() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("6h", 21_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("10MiB"), Ok(10_485_760));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for bad in ["", "5", "m", "-5s", "1.5h", "5 m", "5M", "5min", "99999999999999999999s", "9999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "64", "64kb", "64K", "-1B", "99999999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
