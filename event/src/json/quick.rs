//! The same check as [`super::scan`], for text with which nothing is wrong: that is nearly all of it, and takes half of the
//! time.
//!
//! What ends a string is looked for in 16 bytes at once, digits are passed over eight at a time, and of keys only places
//! are kept. What is not plain (a mistake, a key with escapes, very many children) is left to the other, which says what is
//! wrong. So all that this one has to be right about is what it lets pass.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use wide::u8x16;

use super::scan::{
    Child, DEPTH_EXPECTED, EACH, HIGHEST, KEYS_COMPARED_MAX, KEYS_EXPECTED, Outline, Root,
    after_space as after_more_space, equal_bytes,
};

/// See [`KEYS_EXPECTED`].
const CHILDREN_EXPECTED: usize = 12;

/// More children of the outermost value than an event has members are left to the other check, which need not keep them.
const CHILDREN_MAX: usize = 128;

/// The outline of a text and the children of its outermost value, if `keeps_children`. `None` where something is wrong, or
/// where this cannot tell.
pub(super) fn outline(bytes: &[u8], depth_max: usize, keeps_children: bool) -> Option<(Outline, Vec<Child<'_>>)> {
    let mut met = u8x16::splat(0);
    let mut keys = Keys { seen: Vec::with_capacity(KEYS_EXPECTED), many: Vec::new(), unique: true };
    let mut outer: Vec<Open> = Vec::with_capacity(DEPTH_EXPECTED);
    // The container that is being read; around the whole there is none.
    let mut here = Open { close: 0, keys_from: 0, heads: 0 };
    let mut children = Vec::with_capacity(if keeps_children { CHILDREN_EXPECTED } else { 0 });
    // The key and the value of the outermost object, or the value of the outermost array, that is being read.
    let (mut child_key, mut child_start) = (0..0, 0);
    let mut at = after_space(bytes, 0);
    let root = match byte(bytes, at) {
        b'{' => Root::Object,
        b'[' => Root::Array,
        _ => Root::Scalar,
    };
    'value: loop {
        if outer.len() == 1 {
            child_start = at;
        }
        let first = byte(bytes, at);
        let mut is_over = true;
        if first == b'"' {
            (at, _) = after_string(bytes, at, &mut met)?;
        } else if first.is_ascii_digit() || first == b'-' {
            at = after_number(bytes, at)?;
        } else if first == b'{' || first == b'[' {
            if outer.len() >= depth_max {
                return None;
            }
            outer.push(here);
            // The brackets of a kind are two apart.
            here = Open { close: first + 2, keys_from: keys.seen.len(), heads: 0 };
            at = after_space(bytes, at + 1);
            is_over = byte(bytes, at) == here.close;
            if is_over {
                here = keys.close(here, &mut outer)?;
                at += 1;
            } else if here.close == b'}' {
                let place = key(bytes, &mut at, &mut met, &mut keys, &mut here, outer.len())?;
                if outer.len() == 1 {
                    child_key = place;
                }
            }
        } else {
            at = after_word(bytes, at)?;
        }
        while is_over {
            if keeps_children && outer.len() == 1 {
                if children.len() >= CHILDREN_MAX {
                    return None;
                }
                let is_member = here.close == b'}';
                let key = if is_member { Some(std::str::from_utf8(bytes.get(child_key.clone())?).ok()?) } else { None };
                children.push(Child { key: key.map(Cow::Borrowed), value: child_start..at });
            }
            at = after_space(bytes, at);
            let next = byte(bytes, at);
            if next == b',' && !outer.is_empty() {
                at = after_space(bytes, at + 1);
                if here.close == b'}' {
                    let place = key(bytes, &mut at, &mut met, &mut keys, &mut here, outer.len())?;
                    if outer.len() == 1 {
                        child_key = place;
                    }
                }
                continue 'value;
            }
            if outer.is_empty() {
                let is_whole = at == bytes.len() && (met.to_bitmask() == 0 || std::str::from_utf8(bytes).is_ok());
                return is_whole.then_some((Outline { root, keys_unique: keys.unique }, children));
            }
            is_over = next == here.close;
            if !is_over {
                return None;
            }
            here = keys.close(here, &mut outer)?;
            at += 1;
        }
    }
}

/// The byte at a place; 0 behind the end, which stands nowhere in JSON.
#[inline]
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline]
fn after_space(bytes: &[u8], at: usize) -> usize {
    // What is sent is mostly written without.
    if byte(bytes, at) <= b' ' { after_more_space(bytes, at) } else { at }
}

/// How many bytes of a string are looked at together. Most strings are shorter.
const WINDOW: usize = 16;

/// Which of the next bytes end or break a string: quotes, backslashes and control characters. Adds what is met to `met`.
/// `None` where the text has no so many more bytes.
#[inline(always)]
fn special(bytes: &[u8], at: usize, met: &mut u8x16) -> Option<u32> {
    let window = u8x16::new(*bytes.get(at..)?.first_chunk::<WINDOW>()?);
    *met |= window;
    let special = window.simd_eq(u8x16::splat(b'"'))
        | window.simd_eq(u8x16::splat(b'\\'))
        | window.min(u8x16::splat(0x1f)).simd_eq(window);
    Some(special.to_bitmask())
}

/// Reads a string, whose first quote is at the cursor. Gives the place behind its last, and whether there are escapes. Adds
/// to `met` what it has met: the highest bits of all bytes that are not ASCII.
#[inline(always)]
fn after_string(bytes: &[u8], at: usize, met: &mut u8x16) -> Option<(usize, bool)> {
    if let Some(special) = special(bytes, at + 1, met)
        && special != 0
    {
        let end = at + 1 + special.trailing_zeros() as usize;
        if byte(bytes, end) == b'"' {
            return Some((end + 1, false));
        }
    }
    let (after, has_escapes, now) = after_long_string(bytes, at, *met)?;
    *met = now;
    Some((after, has_escapes))
}

/// The same for one that is long or at the end of the text, or has escapes.
#[inline(never)]
fn after_long_string(bytes: &[u8], at: usize, mut met: u8x16) -> Option<(usize, bool, u8x16)> {
    let mut at = at + 1;
    let mut has_escapes = false;
    loop {
        match special(bytes, at, &mut met) {
            Some(0) => {
                at += WINDOW;
                continue;
            }
            Some(special) => at += special.trailing_zeros() as usize,
            None => {}
        }
        match *bytes.get(at)? {
            b'"' => return Some((at + 1, has_escapes, met)),
            b'\\' => {
                has_escapes = true;
                at = after_escape(bytes, at)?;
            }
            0..=0x1f => return None,
            other => {
                met |= u8x16::splat(other);
                at += 1;
            }
        }
    }
}

/// Passes over an escape, whose backslash is at the cursor.
fn after_escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => match four_hex(bytes, at + 2)? {
            0xd800..=0xdbff if bytes.get(at + 6..at + 8)? == b"\\u" => {
                (0xdc00..=0xdfff).contains(&four_hex(bytes, at + 8)?).then_some(at + 12)
            }
            0xd800..=0xdfff => None,
            _ => Some(at + 6),
        },
        _ => None,
    }
}

fn four_hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}

/// Reads a key and its colon, up to where its value must stand, and notes the key. Gives where it stands, without its
/// quotes.
#[inline(always)]
fn key<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    met: &mut u8x16,
    keys: &mut Keys<'a>,
    here: &mut Open,
    depth: usize,
) -> Option<Range<usize>> {
    if byte(bytes, *at) != b'"' {
        return None;
    }
    let start = *at + 1;
    let (after, has_escapes) = after_string(bytes, *at, met)?;
    if has_escapes {
        return None;
    }
    let place = start..after - 1;
    if keys.unique {
        keys.note(bytes, place.clone(), here, depth);
    }
    *at = after_space(bytes, after);
    if byte(bytes, *at) != b':' {
        return None;
    }
    *at = after_space(bytes, *at + 1);
    Some(place)
}

/// A container that has begun and not ended.
#[derive(Clone, Copy)]
struct Open {
    /// The bracket that closes it.
    close: u8,
    /// Where this object's keys begin in [`Keys::seen`].
    keys_from: usize,
    /// One of 64 bits for each key: one whose bit is not set has no equal.
    heads: u64,
}

/// A key of an object that is open.
struct Key<'a> {
    /// Its first eight bytes, or all of it.
    head: u64,
    key: &'a [u8],
}

/// The keys of the open objects.
struct Keys<'a> {
    /// The innermost object's last; of each no more than [`KEYS_COMPARED_MAX`].
    seen: Vec<Key<'a>>,
    /// All keys of the objects that have more, with how deep these lie.
    many: Vec<(usize, HashSet<&'a [u8]>)>,
    /// Falls to false at the first key that is repeated or has a dot; from then on keys are not kept.
    unique: bool,
}

impl<'a> Keys<'a> {
    /// Compares a key with those of its object so far.
    #[inline(always)]
    fn note(&mut self, bytes: &'a [u8], place: Range<usize>, here: &mut Open, depth: usize) {
        let (length, start) = (place.len(), place.start);
        let Some(key) = bytes.get(place) else { return };
        let head = head(bytes, start, length);
        let has_dot = if length <= 8 { equal_bytes(head, b'.') != 0 } else { key.contains(&b'.') };
        if has_dot {
            // Rules read `{"a.b": 1}` as `{"a": {"b": 1}}`, so that this may be another key's twin.
            self.unique = false;
            return;
        }
        let bit = 1 << ((head ^ length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
        let own = self.seen.get(here.keys_from..).unwrap_or_default();
        if own.len() >= KEYS_COMPARED_MAX {
            self.note_many(key, here.keys_from, depth);
            return;
        }
        if here.heads & bit != 0 && own.iter().any(|known| known.head == head && known.key == key) {
            self.unique = false;
        }
        here.heads |= bit;
        self.seen.push(Key { head, key });
    }

    #[cold]
    fn note_many(&mut self, key: &'a [u8], keys_from: usize, depth: usize) {
        if self.many.last().is_none_or(|(of, _)| *of != depth) {
            let own = self.seen.get(keys_from..).unwrap_or_default();
            self.many.push((depth, own.iter().map(|known| known.key).collect()));
        }
        self.unique = self.many.last_mut().is_some_and(|(_, many)| many.insert(key));
    }

    /// Forgets the keys of an object that ends; gives the container around it.
    #[inline]
    fn close(&mut self, here: Open, outer: &mut Vec<Open>) -> Option<Open> {
        if self.many.last().is_some_and(|(of, _)| *of == outer.len()) {
            self.many.pop();
        }
        self.seen.truncate(here.keys_from);
        outer.pop()
    }
}

#[inline(never)]
fn after_word(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let words: [&[u8]; 3] = [b"true", b"false", b"null"];
    words.iter().find(|word| rest.starts_with(word)).map(|word| at + word.len())
}

#[inline]
fn after_number(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(byte(bytes, at) == b'-');
    let whole = at;
    at = after_digits(bytes, at)?;
    if byte(bytes, whole) == b'0' && at - whole > 1 {
        return None;
    }
    let mut next = byte(bytes, at);
    if next == b'.' {
        at = after_digits(bytes, at + 1)?;
        next = byte(bytes, at);
    }
    if next | 0x20 == b'e' {
        at += 1;
        at += usize::from(matches!(byte(bytes, at), b'+' | b'-'));
        at = after_digits(bytes, at)?;
    }
    Some(at)
}

/// Passes over digits, of which there is one at least.
#[inline]
fn after_digits(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let others = not_digits(u64::from_le_bytes(*eight));
        if others != 0 {
            at += others.trailing_zeros() as usize / 8;
            return (at > from).then_some(at);
        }
        at += 8;
    }
    while byte(bytes, at).is_ascii_digit() {
        at += 1;
    }
    (at > from).then_some(at)
}

/// Of eight bytes, those that are no digits: the highest bit of each is set in the answer, and no bit of a byte before the
/// first of them.
#[inline]
fn not_digits(eight: u64) -> u64 {
    // A digit and no other byte has 3 in its upper half, and has it still when 6 is added.
    let upper = |word: u64| (word & (EACH * 0xf0)) ^ (EACH * 0x30);
    let others = upper(eight) | upper(eight.wrapping_add(EACH * 6));
    // Moves each byte's upper half, where it is not 0, to its highest bit.
    (others | others << 1 | others << 2 | others << 3) & HIGHEST
}

/// The first eight bytes of what stands at a place, fewer with zeros behind them.
#[inline(always)]
fn head(bytes: &[u8], start: usize, length: usize) -> u64 {
    if let Some(word) = bytes.get(start..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        return if length >= 8 { word } else { word & ((1 << (8 * length)) - 1) };
    }
    let mut word = [0; 8];
    word.iter_mut().zip(bytes.get(start..start + length).unwrap_or_default()).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::scan::scan_each;
    use super::*;

    const DEPTH_MAX: usize = 6;

    /// Any JSON text, and sometimes what only looks like one.
    fn write_value(random: &mut Rng, depth: usize, out: &mut Vec<u8>) {
        let kinds = if depth > DEPTH_MAX { 5 } else { 9 };
        match random.u8(..kinds) {
            0 | 1 => write_string(random, out),
            2 => out.extend_from_slice(
                random.choice(["true", "false", "false", "null", "null", "tru"]).unwrap().as_bytes(),
            ),
            3 | 4 => {
                const NUMBERS: [&str; 16] = [
                    "0",
                    "-0",
                    "7",
                    "12345678",
                    "123456789",
                    "-1.5e3",
                    "1E+10",
                    "0.000000001",
                    "1e-9999999999",
                    "01",
                    "-",
                    "1.",
                    ".5",
                    "1e",
                    "+1",
                    "99999999999999999999999.99999999999999999",
                ];
                let kinds = if random.u8(..4) == 0 { NUMBERS.len() } else { 9 };
                out.extend_from_slice(NUMBERS[random.usize(..kinds)].as_bytes());
            }
            5 | 6 => {
                out.push(b'[');
                for place in 0..random.usize(..4) {
                    out.extend_from_slice(if place > 0 { b"," } else { b"" });
                    write_space(random, out);
                    write_value(random, depth + 1, out);
                }
                write_space(random, out);
                out.push(b']');
            }
            _ => {
                out.push(b'{');
                let count = if random.u8(..20) == 0 { random.usize(10..40) } else { random.usize(..5) };
                for place in 0..count {
                    out.extend_from_slice(if place > 0 { b"," } else { b"" });
                    write_space(random, out);
                    if random.u8(..3) == 0 {
                        write_string(random, out)
                    } else {
                        write_key(random, out)
                    }
                    write_space(random, out);
                    out.push(b':');
                    write_space(random, out);
                    write_value(random, depth + 1, out);
                }
                out.push(b'}');
            }
        }
        write_space(random, out);
    }

    /// Of few letters and many lengths, so that there are some twice.
    fn write_key(random: &mut Rng, out: &mut Vec<u8>) {
        let length = random.usize(..20);
        let long = "abcdefghijklmnopqrs.";
        let end = if random.u8(..30) == 0 {
            "."
        } else if random.bool() {
            "x"
        } else {
            ""
        };
        out.extend_from_slice(format!("\"{}{end}\"", &long[..length]).as_bytes());
    }

    fn write_string(random: &mut Rng, out: &mut Vec<u8>) {
        const PIECES: [&str; 20] = [
            "a",
            "bc",
            "123456789012345",
            "\\\"",
            "\\\\",
            "\\n",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud83d",
            "\\udc00",
            "\\u12g4",
            "é",
            "😀",
            "{",
            "}",
            "[],:",
            ".",
            " ",
            "\\x",
            "\t",
        ];
        out.push(b'"');
        let kinds = if random.bool() { 3 } else { PIECES.len() };
        for _ in 0..random.usize(..6) {
            out.extend_from_slice(PIECES[random.usize(..kinds)].as_bytes());
        }
        out.push(b'"');
    }

    fn write_space(random: &mut Rng, out: &mut Vec<u8>) {
        if random.u8(..8) == 0 {
            out.extend_from_slice(random.choice([" ", "\n", "\t \r\n", "\u{b}", "\u{a0}"]).unwrap().as_bytes());
        }
    }

    /// What may be wrong with a text, by bytes that mean something.
    fn spoil(random: &mut Rng, text: &mut Vec<u8>) {
        let piece = *random.choice(b"{}[]\",: \\a1.e-\n\x00\x1f\x7f\xff\xc3\xa9").unwrap();
        let at = random.usize(..=text.len());
        match random.u8(..4) {
            0 => text.insert(at, piece),
            1 => text.truncate(at),
            2 if at < text.len() => {
                text.remove(at);
            }
            _ => text.iter_mut().skip(at).take(1).for_each(|byte| *byte = piece),
        }
    }

    fn each(bytes: &[u8], depth_max: usize) -> Option<(Outline, Vec<Child<'_>>)> {
        let mut children = Vec::new();
        let outline = scan_each(bytes, depth_max, 0, &mut |child| {
            children.push(child);
            Ok(())
        });
        Some((outline.ok()?, children))
    }

    #[test]
    fn what_it_lets_pass_is_what_the_other_check_lets_pass() {
        let cases = std::env::var("EVENTYARD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40_000);
        let mut random = Rng::with_seed(6);
        let (mut passed, mut left) = (0, 0);
        for _ in 0..cases {
            let mut text = Vec::new();
            write_value(&mut random, 0, &mut text);
            for _ in 0..random.usize(..4).saturating_sub(1) {
                spoil(&mut random, &mut text);
            }
            let depth_max = random.usize(1..DEPTH_MAX + 3);
            let shown = String::from_utf8_lossy(&text);
            let wanted = each(&text, depth_max);
            let found = outline(&text, depth_max, true);
            // A key with escapes, and there are some in the generated ones, is left.
            match (&found, &wanted) {
                (Some(_), _) => {
                    assert_eq!(found, wanted, "{shown}");
                    passed += 1;
                }
                (None, Some((_, children))) => {
                    assert!(text.contains(&b'\\') || children.len() > CHILDREN_MAX, "{shown} is left for no reason");
                    left += 1;
                }
                (None, None) => {}
            }
            let without_children = outline(&text, depth_max, false).map(|(outline, _)| outline);
            assert_eq!(without_children, found.map(|(outline, _)| outline), "{shown}");
        }
        println!("{cases} cases, {passed} passed, {left} left to the other");
        assert!(passed > cases / 4, "{passed}");
    }

    #[test]
    fn a_string_ends_where_it_ends_however_long_it_is() {
        for length in 0..70 {
            for piece in ["", "\\\"", "\\\\", "é", "\t", "\\u000a", "\\ud800", "\""] {
                for place in 0..=length {
                    let (before, behind) = ("x".repeat(place), "y".repeat(length - place));
                    for end in ["", " ,", "]", ",1]", ",\"0123456789abcdefghijk\"]"] {
                        let text = format!("[\"{before}{piece}{behind}\"{end}");
                        assert_eq!(outline(text.as_bytes(), 2, true), each(text.as_bytes(), 2), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn digits_end_at_the_first_other_byte() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for around in [b'0', b'9'] {
                    let mut eight = [around; 8];
                    eight[place] = byte;
                    let found = not_digits(u64::from_le_bytes(eight)).trailing_zeros() as usize / 8;
                    assert_eq!(found, if byte.is_ascii_digit() { 8 } else { place }, "{byte:#x} at {place}");
                }
            }
        }
    }

    #[test]
    fn very_many_children_are_left_to_the_other() {
        let text = format!("[{}1]", "1,".repeat(CHILDREN_MAX));
        assert_eq!(outline(text.as_bytes(), 1, true), None);
        assert!(outline(text.as_bytes(), 1, false).is_some());
        assert!(each(text.as_bytes(), 1).is_some());
    }
}
