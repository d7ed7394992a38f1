//! One pass over JSON text that checks it whole and keeps none of it.
//!
//! RFC 8259 and nothing beyond it. It does not build a tree and does not read numbers, so nothing is rounded
//! and `1e999` or ten thousand digits are as good as any. Depth is a list, not recursion, so that a hundred
//! thousand `[` cannot overflow the stack. serde_json's own skipping reader is not used, because it lets lone
//! surrogates and repeated keys pass unseen.
//!
//! It says what is wrong. What is nothing but right is found so by [`super::quick`], which is tried first ([`super::check`]).

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::bytes::{EACH, HIGHEST, after_space};
use super::outline::{Child, DEPTH_EXPECTED, KEYS_COMPARED_MAX, KEYS_EXPECTED, Outline, Root};
use crate::EventError;

/// The text that some bytes are. Looked at whole, which is many times faster than string by string.
pub(super) fn text_of(bytes: &[u8]) -> Result<&str, EventError> {
    simdutf8::basic::from_utf8(bytes).or_else(|_| {
        std::str::from_utf8(bytes)
            .map_err(|error| broken(bytes, error.valid_up_to(), "there are bytes that are not UTF-8"))
    })
}

/// The text that some bytes are, found out many times faster than by the standard library. `None` where they are not UTF-8.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<&str> {
    simdutf8::basic::from_utf8(bytes).ok()
}

/// As [`super::check::scan`], value by value: says what is wrong. Calls `child` as each one ends.
pub(super) fn scan_each<'a>(
    text: &'a str,
    depth_max: usize,
    layers: usize,
    child: &mut dyn FnMut(Child<'a>) -> Result<(), EventError>,
) -> Result<Outline, EventError> {
    let mut scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
        open: Vec::with_capacity(DEPTH_EXPECTED),
        depth_max,
        layers,
        seen: Vec::with_capacity(KEYS_EXPECTED),
        keys_unique: true,
        child_key: None,
    };
    scanner.skip_space();
    let root = match scanner.peek() {
        Some(b'{') => Root::Object,
        Some(b'[') => Root::Array,
        _ => Root::Scalar,
    };
    let mut child_start = 0;
    loop {
        scanner.skip_space();
        if scanner.open.len() == 1 {
            child_start = scanner.at;
        }
        let mut ended = scanner.begin_value()?;
        while ended {
            match scanner.open.len() {
                0 => {
                    scanner.expect_end()?;
                    return Ok(Outline { root, keys_unique: scanner.keys_unique });
                }
                1 => child(Child { key: scanner.child_key.take(), value: child_start..scanner.at })?,
                _ => {}
            }
            ended = scanner.after_value()?;
        }
    }
}

/// Where the elements of an array of objects stand, found by quotes and brackets alone: that takes a fraction of the
/// time that it takes to check them, which is for the caller to do. Where each element that is named is a JSON object,
/// the whole is a JSON array of them.
///
/// None where it is no such array, and where there are more than `max`; [`scan`](super::check::scan) says what is wrong.
pub(super) fn split_objects(bytes: &[u8], max: usize) -> Option<Vec<Range<usize>>> {
    let mut elements = Vec::new();
    let mut at = after_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return None;
    }
    at = after_space(bytes, at + 1);
    let mut closes = bytes.get(at) == Some(&b']');
    while !closes {
        let end = end_of_object(bytes, at).filter(|_| elements.len() < max)?;
        elements.push(at..end);
        at = after_space(bytes, end);
        closes = match bytes.get(at) {
            Some(b',') => false,
            Some(b']') => true,
            _ => return None,
        };
        if !closes {
            at = after_space(bytes, at + 1);
        }
    }
    (after_space(bytes, at + 1) == bytes.len()).then_some(elements)
}

/// Where an object that begins at `from` ends, if it is one.
fn end_of_object(bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.get(from) != Some(&b'{') {
        return None;
    }
    let (mut at, mut depth) = (from, 0usize);
    loop {
        match bytes.get(at)? {
            b'"' => at = end_of_string(bytes, at)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The closing quote of a string that is opened at `opening`.
fn end_of_string(bytes: &[u8], opening: usize) -> Option<usize> {
    let mut at = opening + 1;
    loop {
        at = after_plain(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Passes over what neither ends nor breaks a string, eight bytes at a time: most of what is sent stands in strings. The
/// last few bytes of a text are left to the caller.
fn after_plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special_bytes(u64::from_le_bytes(*eight));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// A container that has begun and not ended.
enum Open<'a> {
    Array,
    Object {
        /// Where this object's keys begin in [`Scanner::seen`].
        seen_from: usize,
        /// All its keys, once they are more than [`KEYS_COMPARED_MAX`]. Elsewhere, for most objects have none.
        #[expect(clippy::box_collection, reason = "a word in place of six, for each object that is open")]
        many: Option<Box<HashSet<Cow<'a, str>>>>,
    },
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte to look at; always on a character's boundary between values.
    at: usize,
    /// The containers around `at`, outermost first.
    open: Vec<Open<'a>>,
    depth_max: usize,
    layers: usize,
    /// The keys of the open objects, the innermost object's last; cut back when an object ends.
    seen: Vec<Cow<'a, str>>,
    /// Falls to false at the first key that is repeated or has a dot; from then on keys are not kept.
    keys_unique: bool,
    /// The outermost object's key whose value is being read.
    child_key: Option<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        self.at = after_space(self.bytes, self.at);
    }

    /// Reads a whole scalar or an empty container (true), or a container's beginning up to where its first
    /// value must stand (false).
    fn begin_value(&mut self) -> Result<bool, EventError> {
        let (opened, close) = match self.peek() {
            Some(b'{') => (Open::Object { seen_from: self.seen.len(), many: None }, b'}'),
            Some(b'[') => (Open::Array, b']'),
            _ => return self.scalar().map(|()| true),
        };
        if self.open.len() >= self.depth_max.saturating_add(self.layers) {
            let (line, column) = position(self.bytes, self.at);
            let what = format!("the nesting of the JSON at line {line}, column {column}");
            return Err(EventError::Limit { what, limit: "json_depth", max: self.depth_max });
        }
        let is_object = matches!(opened, Open::Object { .. });
        self.open.push(opened);
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(close) {
            self.close();
            return Ok(true);
        }
        if is_object {
            self.key()?;
        }
        Ok(false)
    }

    /// Reads what follows a value inside a container: a comma, and a key in an object (false: a value must
    /// follow), or the container's end (true: a value has ended).
    fn after_value(&mut self) -> Result<bool, EventError> {
        self.skip_space();
        let is_object = matches!(self.open.last(), Some(Open::Object { .. }));
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                if is_object {
                    self.key()?;
                }
                Ok(false)
            }
            Some(b'}') if is_object => {
                self.close();
                Ok(true)
            }
            Some(b']') if !is_object => {
                self.close();
                Ok(true)
            }
            _ => Err(self.unexpected(if is_object { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    fn close(&mut self) {
        self.at += 1;
        if let Some(Open::Object { seen_from, .. }) = self.open.pop() {
            self.seen.truncate(seen_from);
        }
    }

    fn expect_end(&mut self) -> Result<(), EventError> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.unexpected("the end of the text")) }
    }

    /// Reads a key and its colon, and notes the key.
    fn key(&mut self) -> Result<(), EventError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let escaped_from = self.at;
        let has_escapes = self.string()?;
        let quoted = self.text.get(escaped_from..self.at).unwrap_or_default();
        let key: Cow<'a, str> = if has_escapes {
            Cow::Owned(unescape(quoted))
        } else {
            Cow::Borrowed(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default())
        };
        if self.open.len() == 1 {
            self.child_key = Some(key.clone());
        }
        self.note(key);
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Compares a key with those of its object so far.
    fn note(&mut self, key: Cow<'a, str>) {
        if !self.keys_unique {
            return;
        }
        if key.contains('.') {
            // Rules read `{"a.b": 1}` as `{"a": {"b": 1}}`, so that this may be another key's twin.
            self.keys_unique = false;
            return;
        }
        let Some(Open::Object { seen_from, many }) = self.open.last_mut() else { return };
        if let Some(many) = many {
            self.keys_unique = many.insert(key);
            return;
        }
        let own = self.seen.get(*seen_from..).unwrap_or_default();
        self.keys_unique = !own.contains(&key);
        if own.len() < KEYS_COMPARED_MAX {
            self.seen.push(key);
        } else {
            let mut set: HashSet<Cow<'a, str>> = self.seen.drain(*seen_from..).collect();
            set.insert(key);
            *many = Some(Box::new(set));
        }
    }

    fn scalar(&mut self) -> Result<(), EventError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), EventError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unexpected("a value"))
    }

    fn number(&mut self) -> Result<(), EventError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole_from = self.at;
        self.digits()?;
        if self.at - whole_from > 1 && self.bytes.get(whole_from) == Some(&b'0') {
            return Err(broken(self.bytes, whole_from, "a number begins with 0 and goes on with digits"));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), EventError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    /// Reads a string from its opening quote past its closing one. True where it has escapes.
    fn string(&mut self) -> Result<bool, EventError> {
        let opening = self.at;
        let mut has_escapes = false;
        self.at += 1;
        loop {
            self.at = after_plain(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => {
                    return Err(broken(self.bytes, self.at, "a control character in a string must be escaped"));
                }
                Some(_) => self.at += 1,
                None => return Err(broken(self.bytes, opening, "a string begins here and does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), EventError> {
        let from = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.unicode_escape() {
                Some(0xd800..=0xdbff) => {
                    let low_follows = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
                    self.at += 1;
                    match low_follows.then(|| self.unicode_escape()).flatten() {
                        Some(0xdc00..=0xdfff) => Ok(()),
                        _ => Err(broken(self.bytes, from, "half a surrogate pair, which is no character")),
                    }
                }
                Some(0xdc00..=0xdfff) => Err(broken(self.bytes, from, "half a surrogate pair, which is no character")),
                Some(_) => Ok(()),
                None => Err(broken(self.bytes, from, "`\\u` must be followed by four hexadecimal digits")),
            },
            _ => Err(broken(self.bytes, from, "no such escape sequence")),
        }
    }

    /// Reads `uXXXX`, from the `u`.
    fn unicode_escape(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at + 1..self.at + 5)?;
        let mut code = 0;
        for &digit in digits {
            code = code * 16 + char::from(digit).to_digit(16)?;
        }
        self.at += 5;
        Some(code)
    }

    /// Something else stands where `wanted` belongs. The commonest mistakes are called by their names.
    fn unexpected(&self, wanted: &str) -> EventError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let problem = match rest.chars().next() {
            None => format!("the text ends where {wanted} belongs"),
            Some('\u{feff}') => "a byte order mark, which JSON between programs does not have".to_owned(),
            Some('\'') => "strings and keys stand in double quotes, not single ones".to_owned(),
            Some('/' | '#') if rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#') => {
                "JSON has no comments".to_owned()
            }
            Some('}' | ']') if wanted == "a value" || wanted.starts_with("a key") => {
                format!("{wanted} belongs here; there is no comma before an end")
            }
            Some(_) if ["NaN", "Infinity", "nan", "inf"].iter().any(|word| rest.starts_with(word)) => {
                "JSON has no NaN and no Infinity".to_owned()
            }
            Some('I') if wanted == "a digit" => "JSON has no NaN and no Infinity".to_owned(),
            Some(found) => format!("`{}` stands where {wanted} belongs", found.escape_debug()),
        };
        broken(self.bytes, self.at, problem)
    }
}

/// Of eight bytes, those that are a quote, a backslash or a control character: the highest bit of each is set in the
/// answer, and no bit of a byte before the first of them. (A borrow may set bits of later ones.)
fn special_bytes(eight: u64) -> u64 {
    (below(eight, 0x20) & HIGHEST) | equal_bytes(eight, b'"') | equal_bytes(eight, b'\\')
}

fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(EACH * limit) & !word
}

/// Of eight bytes, those that are `byte`, as with [`special_bytes`]; 0 where none is.
pub(super) fn equal_bytes(eight: u64, byte: u8) -> u64 {
    below(eight ^ (EACH * u64::from(byte)), 1) & HIGHEST
}

/// The text of a string in quotes, for one that [`scan_each`] has found to be well-formed.
pub(super) fn unescape(quoted: &str) -> String {
    let read = serde_json::from_str::<String>(quoted);
    debug_assert!(read.is_ok(), "the scanner let a string pass that serde_json does not read");
    read.unwrap_or_default()
}

fn broken(bytes: &[u8], at: usize, problem: impl Into<String>) -> EventError {
    let (line, column) = position(bytes, at);
    EventError::Json { line, column, problem: problem.into() }
}

/// Line and column of a byte, both from 1, the column in bytes.
fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    (line, at - line_start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_of_eight_is_found_whatever_stands_around_it() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for around in [b'a', 0x20, 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']', 0xa2, 0xdc] {
                    let mut eight = [around; 8];
                    eight[place] = byte;
                    let found = special_bytes(u64::from_le_bytes(eight)).trailing_zeros() as usize / 8;
                    let wanted = if matches!(byte, b'"' | b'\\' | 0..=0x1f) { place } else { 8 };
                    assert_eq!(found, wanted, "{byte:#x} at {place} among {around:#x}");
                }
            }
        }
    }
}
