//! Hashes for what rules are filed under.
//!
//! What is hashed into a table comes from rules, that is from whoever runs the broker; what comes with events is only
//! looked up, so that no sender can fill a table with collisions. A table keeps the hash alone: what is found by it is
//! held against the rule itself, so that a collision costs a comparison and changes nothing.

use std::hash::{BuildHasher, Hasher};

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a value is filed as. Part of the hash, so that all kinds fit into one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Text = 1,
    Folded,
    Prefix,
    FoldedPrefix,
    Suffix,
    FoldedSuffix,
    Number,
    NumberText,
    Address,
    Network,
    Word,
    Gram,
    Head,
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * u128::from(MULTIPLIER);
    // Both halves, so that each bit of the product counts.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high.rotate_left(23)
}

/// The hash of some bytes.
#[inline]
pub(super) fn hash(kind: Kind, bytes: &[u8]) -> u64 {
    let state = mix(MULTIPLIER.rotate_left(kind as u32), bytes.len() as u64);
    mix(words_but_last(state, bytes), last_word(bytes))
}

#[inline]
fn words_but_last(mut state: u64, bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    state
}

/// The last eight bytes; of fewer than eight all of them, none shifted by a loop. Lengths are told apart by whoever asks.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    if let Some(word) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*word);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(a) | u64::from(b) << 8,
        [a, b, c, ..] => u64::from(a) | u64::from(b) << 8 | u64::from(c) << 16,
    }
}

/// The hash of two ends of a text.
#[inline]
pub(super) fn hash_both(head: &[u8], tail: &[u8]) -> u64 {
    mix(hash(Kind::Head, head), hash(Kind::Suffix, tail))
}

/// The hash of a network: so many bits of an address.
pub(super) fn hash_network(bits: u8, address: u128, is_v4: bool) -> u64 {
    let [low, high] = [address & u128::from(u64::MAX), address >> 64];
    #[expect(clippy::cast_possible_truncation, reason = "halved above")]
    let [low, high] = [low as u64, high as u64];
    let kind = MULTIPLIER.rotate_left(Kind::Network as u32);
    mix(mix(mix(kind, u64::from(bits) << 1 | u64::from(is_v4)), low), high)
}

/// The hash of a number's decimal value: equal for `10`, `10.0` and `1e1`.
#[inline]
pub(super) fn hash_number(text: &[u8]) -> u64 {
    // A plain number without needless zeros is its own shortest form. Digits, signs and the point have bit 6 clear,
    // the letters of an exponent have it set.
    let has_letter = text.iter().fold(0, |all, byte| all | byte) & 0x40 != 0;
    let plain = !has_letter && (text.last() != Some(&b'0') || !text.contains(&b'.') && text != b"-0");
    if plain { hash(Kind::Number, text) } else { hash_shortest_form(text) }
}

/// The most digits whose shortest form is looked for; a number of more is no float that a rule could name exactly.
const DIGITS_MAX: usize = 400;

#[cold]
fn hash_shortest_form(text: &[u8]) -> u64 {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let at_exponent = text.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(at_exponent);
    let exponent: i64 = match exponent.get(1..).map(std::str::from_utf8) {
        None => 0,
        Some(digits) => digits.ok().and_then(|digits| digits.parse().ok()).unwrap_or(i64::MAX / 2),
    };
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(mantissa.len());
    let digits = || mantissa.iter().copied().filter(u8::is_ascii_digit);
    let leading = digits().take_while(|&digit| digit == b'0').count();
    let trailing = digits().rev().take_while(|&digit| digit == b'0').count();
    let count = digits().count().saturating_sub(leading + trailing);
    let mut form = Form::new();
    if count == 0 || digits().count() == leading {
        form.push(b'0');
        return hash(Kind::Number, form.bytes());
    }
    // The number is 0.DIGITS × 10^shift.
    let (point, leading) = (i64::try_from(point).unwrap_or(0), i64::try_from(leading).unwrap_or(0));
    let shift = exponent.saturating_add(point - leading);
    if count > DIGITS_MAX || shift.unsigned_abs() > DIGITS_MAX as u64 {
        return hash(Kind::NumberText, text);
    }
    if negative {
        form.push(b'-');
    }
    let mut significant = digits().skip(usize::try_from(leading).unwrap_or(0)).take(count);
    if shift <= 0 {
        form.push(b'0');
        form.push(b'.');
        (shift..0).for_each(|_| form.push(b'0'));
    } else {
        (0..shift).for_each(|_| form.push(significant.next().unwrap_or(b'0')));
        if count as u64 > shift.unsigned_abs() {
            form.push(b'.');
        }
    }
    significant.for_each(|digit| form.push(digit));
    hash(Kind::Number, form.bytes())
}

/// A number's shortest form, on the stack.
struct Form {
    bytes: [u8; 2 * DIGITS_MAX + 8],
    length: usize,
}

impl Form {
    fn new() -> Form {
        Form { bytes: [0; 2 * DIGITS_MAX + 8], length: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.length) {
            *to = byte;
            self.length += 1;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The first eight bytes from `start` to `end` as one number, fewer with zeros behind them.
#[inline]
pub(super) fn first_bytes(bytes: &[u8], start: usize, end: usize) -> u64 {
    let length = end.saturating_sub(start);
    if let Some(word) = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        return if length >= 8 { word } else { word & ((1 << (8 * length)) - 1) };
    }
    let mut word = [0; 8];
    word.iter_mut().zip(bytes.get(start..end).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(word)
}

/// Hashes keys that are rules' own words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fast;

impl BuildHasher for Fast {
    type Hasher = FastHasher;

    fn build_hasher(&self) -> FastHasher {
        FastHasher(MULTIPLIER)
    }
}

pub(super) struct FastHasher(u64);

impl Hasher for FastHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, hash(Kind::Text, bytes));
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.0 = mix(self.0, number as u64);
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0, number);
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = mix(self.0, u64::from(number));
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::number::exact;
    use proptest::prelude::*;

    #[test]
    fn one_number_has_one_hash_however_it_is_written() {
        let same = [
            vec!["10", "10.0", "1e1", "1E+1", "100e-1", "0.1e2", "10.00e0"],
            vec!["0", "-0", "0.0", "-0.0e5", "0e99999999999999999999"],
            vec!["0.1", "1e-1", "0.10", "0.01e1"],
            vec!["-122.5", "-122.50", "-1.225e2"],
            vec!["1e21", "1000000000000000000000"],
        ];
        for numbers in &same {
            for number in numbers {
                assert_eq!(hash_number(number.as_bytes()), hash_number(numbers[0].as_bytes()), "{number}");
            }
        }
        for (at, numbers) in same.iter().enumerate() {
            for other in &same[at + 1..] {
                assert_ne!(hash_number(numbers[0].as_bytes()), hash_number(other[0].as_bytes()));
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_one_exact_number_has_one_hash(
            one in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2})?",
            other in "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        ) {
            if let (Some(a), Some(b)) = (exact(&one), exact(&other)) {
                prop_assert_eq!(a == b, hash_number(one.as_bytes()) == hash_number(other.as_bytes()));
            }
            let value = exact(&one);
            if let Some(value) = value {
                let printed = format!("{value:e}");
                prop_assert_eq!(hash_number(printed.as_bytes()), hash_number(one.as_bytes()));
            }
        }
    }
}
