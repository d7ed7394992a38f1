//! Numbers as patterns compare them.
//!
//! A number is compared by value only where that is exact: where its text says the very number that the nearest
//! 64-bit float is printed as. `10`, `10.0` and `1e1` are one number; `9007199254740993` is not the float
//! `9007199254740992` that a hasty reader makes of it, so it equals nothing but its own spelling and lies in no
//! range. This is event-ruler's rule.

use std::fmt::Write as _;

/// A number of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    /// As it was written.
    pub(crate) text: Box<str>,
    /// `None` where it has more digits than a float has.
    pub(crate) value: Option<f64>,
}

impl Number {
    pub(crate) fn new(text: &str) -> Number {
        Number { text: text.into(), value: exact(text) }
    }

    /// Whether an event's number, with what [`exact`] made of it, is this one.
    pub(crate) fn equals(&self, text: &str, value: Option<f64>) -> bool {
        *self.text == *text || self.value.is_some() && self.value == value
    }
}

/// The value of a JSON number, where the text says exactly it. Allocates nothing.
pub(crate) fn exact(text: &str) -> Option<f64> {
    if let Some(value) = short(text.as_bytes()) {
        return Some(value);
    }
    let value: f64 = text.parse().ok()?;
    let written = Decimal::read(text)?;
    if !value.is_finite() {
        return None;
    }
    let mut shortest = Line::default();
    write!(shortest, "{value:e}").ok()?;
    // Where one digit would do to tell this float from its neighbours, the second digit is still printed: only
    // the very smallest numbers show the difference (4.9e-324, not 5e-324).
    if !shortest.text().contains('.') {
        shortest = Line::default();
        write!(shortest, "{value:.1e}").ok()?;
    }
    (written == Decimal::read(shortest.text())?).then_some(value)
}

/// The most digits of a number that is certainly its own float's shortest form.
const SHORT_MAX: usize = 15;

/// The value of a number of up to 15 digits without an exponent, as most are; [`exact`] says the same of it.
///
/// No two of these are the same float, so each is the shortest way to write its own. (Not so far from 1 that floats are
/// spaced more widely; that takes an exponent, or more digits.) Its digits and the power of ten are floats themselves, so
/// that their quotient is rounded once.
pub(crate) fn short(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; SHORT_MAX] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    if text.len() > SHORT_MAX + 1 {
        return None;
    }
    let (mut digits, mut point) = (0_u64, None);
    for (place, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits = digits * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(place),
            _ => return None,
        }
    }
    let whole = point.unwrap_or(text.len());
    let fraction = point.map_or(0, |point| text.len() - point - 1);
    if whole == 0 || whole + fraction > SHORT_MAX || point.is_some() && fraction == 0 {
        return None;
    }
    let value = digits as f64 / POWERS.get(fraction)?;
    Some(if negative { -value } else { value })
}

/// The most digits that a float takes to be told from its neighbours.
const DIGITS_MAX: usize = 17;

/// 0.DIGITS × 10^exponent, without zeros at either end of the digits.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    /// The first `count` of these; zeros behind them.
    digits: [u8; DIGITS_MAX],
    count: usize,
    exponent: i64,
}

impl Decimal {
    /// `None` where it has more digits than any float needs.
    fn read(text: &str) -> Option<Decimal> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
            None => (text, Some(0)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        let leading_zeros = all().take_while(|&b| b == b'0').count();
        let trailing_zeros = all().rev().take_while(|&b| b == b'0').count();
        let count = all().count().saturating_sub(leading_zeros + trailing_zeros);
        let mut digits = [0; DIGITS_MAX];
        if all().count() == leading_zeros {
            // Zero is zero, whatever its sign and its exponent.
            return Some(Decimal { negative: false, digits, count: 0, exponent: 0 });
        }
        digits.get_mut(..count)?.iter_mut().zip(all().skip(leading_zeros)).for_each(|(to, digit)| *to = digit);
        let point = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(leading_zeros).ok()?)?;
        Some(Decimal { negative, digits, count, exponent: exponent?.checked_add(point)? })
    }
}

/// A float as it is printed, on the stack.
#[derive(Default)]
struct Line {
    bytes: [u8; 32],
    length: usize,
}

impl Line {
    fn text(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_number_is_the_nearest_float(text in "-?[0-9]{0,16}(\\.[0-9]{0,16})?[e.x]?") {
            let value = short(text.as_bytes());
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let is_short = digits <= 15 && serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert!(value.is_some() || !is_short, "{}", text);
            if let Some(value) = value {
                prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
                prop_assert!(digits <= 15);
            }
        }
    }

    #[test]
    fn exact_numbers_are_those_that_are_printed_as_they_are_written() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "0e5",
            "0.0e-999999999",
            "0e99999999999999999999999",
            "1",
            "10",
            "10.0",
            "1e1",
            "1E+1",
            "0.1",
            "0.10",
            "1e-1",
            "-2.5",
            "6e11",
            "1e22",
            "1e23",
            "9007199254740991",
            "9007199254740992",
            "123456789012345680",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "4.9e-324",
            "2.2250738585072014E-308",
            "100000e-5",
        ] {
            assert!(exact(text).is_some(), "{text}");
        }
        for text in [
            "9007199254740993",
            "123456789012345678",
            "5e-324",
            "1e400",
            "-1e400",
            "1e-400",
            "0.1000000000000000055511151231257827",
            "0.300000000000000044408920985",
            "1.23456789012345678",
            "1e99999999999999999999",
            "9.9e-324x",
        ] {
            assert_eq!(exact(text), None, "{text}");
        }
        assert_eq!(exact("-0"), exact("0"));
        assert_eq!(exact("1e1"), exact("10.000"));
    }

    #[test]
    fn a_number_of_a_million_digits_is_read_in_passing() {
        let long = format!("0.{}", "1".repeat(1_000_000));
        assert_eq!(exact(&long), None);
        assert!(Number::new(&long).equals(&long, None));
    }
}
