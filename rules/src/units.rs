//! Durations and sizes as people write them, and the name that a misspelt one probably meant.

use std::time::Duration;

/// Reads `"250ms"`, `"30s"`, `"5m"`, `"6h"`, `"7d"`: one whole number and one unit, nothing between them.
/// `None` where the text is no such thing, or more than 2^64 milliseconds.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (count, unit) = number_and_unit(text)?;
    let unit_millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit_millis).map(Duration::from_millis)
}

/// Reads `"512B"`, `"64KiB"`, `"10MiB"`, `"1GiB"`, `"2TiB"`; the answer is in bytes. `None` where the text is no
/// such thing, or 2^64 and more.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (count, unit) = number_and_unit(text)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    count.checked_mul(unit_bytes)
}

/// A duration in the largest unit that leaves a whole number, so that it reads back as the same.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
        .map_or_else(|| format!("{millis}ms"), |(unit, word)| format!("{}{word}", millis / unit))
}

/// A size in the largest unit that leaves a whole number, so that it reads back as the same.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(|| format!("{bytes}B"), |(shift, word)| format!("{}{word}", bytes >> shift))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    Some((count.parse().ok()?, unit))
}

/// Of `known`, the one that `word` probably meant: at most a third of its letters differ, swapped neighbours
/// counted as one.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    // The distance is quadratic in the length, and nobody misspells a name of hundreds of letters.
    if word.len() > 100 {
        return None;
    }
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= 100)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_back_as_they_are_shown() {
        for text in ["250ms", "30s", "5m", "6h", "7d", "90s", "0ms"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(show_duration(duration), text);
        }
        for text in ["512B", "64KiB", "10MiB", "1GiB", "2TiB", "0B"] {
            let size = parse_size(text).unwrap();
            assert_eq!(show_size(size), text);
        }
    }

    #[test]
    fn anything_else_is_no_duration_and_no_size() {
        for bad in
            ["", "5", "m", "-5s", "1.5h", "5 m", " 5m", "5M", "5min", "99999999999999999999s", "9999999999999999d"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        for bad in ["", "64", "64kb", "64K", "-1B", "99999999999999TiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("taget", ["name", "target", "tags"]), Some("target"));
        assert_eq!(nearest("Form", ["name", "from"]), Some("from"));
        assert_eq!(nearest("xyz", ["name", "from"]), None);
    }
}
