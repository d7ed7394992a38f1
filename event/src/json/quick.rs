//! The same check as [`super::scan`], for text with which nothing is wrong: that is nearly all of it, and takes a third of
//! the time.
//!
//! What ends a string or a number is looked for in 16 bytes at once. Keys are told by those of the texts before
//! ([`super::known`]); where that cannot tell, the text is read once more, and the keys of each object are held against each
//! other, of which only places are kept. What is not plain (a mistake, a key with escapes, very many children) is left to the
//! other check, which says what is wrong. So all that this one has to be right about is what it lets pass.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use wide::u8x16;

use super::known::{KnownKeys, Mark, Members};
use super::scan::{self, Child, DEPTH_EXPECTED, EACH, HIGHEST, KEYS_COMPARED_MAX, KEYS_EXPECTED, Outline, Root};

/// See [`KEYS_EXPECTED`].
const CHILDREN_EXPECTED: usize = 12;

/// More children of the outermost value than an event has members are left to the other check, which need not keep them.
const CHILDREN_MAX: usize = 128;

/// What a check writes down, kept from text to text so that none of them allocates. It never grows large: of each object
/// that is open there are no more keys than [`KEYS_COMPARED_MAX`], and no more children than [`CHILDREN_MAX`].
pub(super) struct Room {
    /// The keys of the open objects, the innermost object's last.
    seen: Vec<Key>,
    /// The containers around the one that is being read.
    outer: Vec<Open<OwnKeys>>,
    /// The keys of the texts before, which have a limit of their own.
    members: Members,
    /// The containers around the one that is being read by them.
    known_outer: Vec<Open<Mark>>,
    /// The children of the outermost value of the text that was checked last.
    pub(super) children: Vec<Place>,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            seen: Vec::with_capacity(KEYS_EXPECTED),
            outer: Vec::with_capacity(DEPTH_EXPECTED),
            members: Members::default(),
            known_outer: Vec::with_capacity(DEPTH_EXPECTED),
            children: Vec::with_capacity(CHILDREN_EXPECTED),
        }
    }
}

/// Where a child of the outermost value stands.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(super) struct Place {
    /// Its key, without the quotes; there are no escapes in it. None in an array.
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Range<usize>,
}

impl Place {
    /// The child that stands there.
    pub(super) fn in_text(self, text: &str) -> Child<'_> {
        let key = self.key.map(|key| text.get(key).unwrap_or_default());
        Child { key: key.map(Cow::Borrowed), value: self.value }
    }
}

/// The outline of a text, and in `room` the children of its outermost value, if `keeps_children`. `None` where something is
/// wrong, or where this cannot tell.
pub(super) fn outline(text: &str, depth_max: usize, keeps_children: bool, room: &mut Room) -> Option<Outline> {
    let bytes = text.as_bytes();
    let Room { seen, outer, members, known_outer, children } = room;
    if members.are_asked() {
        let mut keys = KnownKeys::new(members);
        let outline = outline_by(bytes, depth_max, keeps_children, &mut keys, known_outer, children);
        keys.settle(outline.is_some());
        if outline.is_some() {
            return outline;
        }
    }
    seen.clear();
    let mut keys = ComparedKeys { seen, many: Vec::new(), unique: true };
    outline_by(bytes, depth_max, keeps_children, &mut keys, outer, children)
}

/// The same by one way of telling keys apart.
pub(super) fn outline_by<'a, K: Keys<'a>>(
    bytes: &'a [u8],
    depth_max: usize,
    keeps_children: bool,
    keys: &mut K,
    outer: &mut Vec<Open<K::Own>>,
    children: &mut Vec<Place>,
) -> Option<Outline> {
    outer.clear();
    children.clear();
    let at = after_space(bytes, 0);
    let root = match byte(bytes, at) {
        b'{' => Root::Object,
        b'[' => Root::Array,
        _ => Root::Scalar,
    };
    let around = keys.outermost();
    let at = if keeps_children && root != Root::Scalar && depth_max > 0 {
        // What is around the children counts as deep as any container.
        outermost(bytes, at, depth_max - 1, keys, around, outer, |_, place| {
            (children.len() < CHILDREN_MAX).then(|| children.push(place))
        })?
    } else {
        value(bytes, at, depth_max, keys, around, outer)?
    };
    (after_space(bytes, at) == bytes.len()).then_some(Outline { root, keys_unique: keys.unique() })
}

/// Reads the outermost value, which is a container, and tells of each child, which may end it. Gives the place behind
/// it.
pub(super) fn outermost<'a, K: Keys<'a>>(
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
    keys: &mut K,
    around: K::Own,
    outer: &mut Vec<Open<K::Own>>,
    mut child: impl FnMut(&mut K, Place) -> Option<()>,
) -> Option<usize> {
    let mut here = Open::new(bytes, at, around, keys)?;
    let mut at = after_space(bytes, at + 1);
    if byte(bytes, at) == here.close {
        return Some(at + 1);
    }
    loop {
        let mut key = None;
        if here.close == b'}' {
            let (place, behind) = keys.read(bytes, at, &mut here.own, NO_DEPTH)?;
            (key, at) = (Some(place), behind);
        }
        at = after_space(bytes, at);
        let end = value(bytes, at, depth_max, keys, here.own, outer)?;
        child(keys, Place { key, value: at..end })?;
        at = after_space(bytes, end);
        match byte(bytes, at) {
            b',' => at += 1,
            other => return (other == here.close).then_some(at + 1),
        }
    }
}

/// Of the outermost container whose children are kept, where those inside of it count theirs from 1.
const NO_DEPTH: usize = 0;

/// Reads a value and all that is inside of it. Gives the place behind it.
fn value<'a, K: Keys<'a>>(
    bytes: &'a [u8],
    mut at: usize,
    depth_max: usize,
    keys: &mut K,
    around: K::Own,
    outer: &mut Vec<Open<K::Own>>,
) -> Option<usize> {
    // The container that is being read; around the value there is none.
    let mut here = Open { close: 0, own: around };
    'value: loop {
        let mut first = byte(bytes, at);
        if first <= b' ' {
            at = after_more_space(bytes, at);
            first = byte(bytes, at);
        }
        if first == b'"' {
            let (after, has_escapes) = after_string(bytes, at)?;
            keys.scalar(at..after, has_escapes, here.own);
            at = after;
        } else if first.is_ascii_digit() || first == b'-' {
            let after = after_number(bytes, at, first)?;
            keys.scalar(at..after, false, here.own);
            at = after;
        } else if first == b'{' || first == b'[' {
            if outer.len() >= depth_max {
                return None;
            }
            outer.push(here);
            here = Open::new(bytes, at, here.own, keys)?;
            at = after_space(bytes, at + 1);
            if byte(bytes, at) != here.close {
                if first == b'{' {
                    (_, at) = keys.read(bytes, at, &mut here.own, outer.len())?;
                }
                continue;
            }
            keys.close(here.own, outer.len());
            here = outer.pop()?;
            at += 1;
        } else {
            let after = after_word(bytes, at)?;
            keys.scalar(at..after, false, here.own);
            at = after;
        }
        // A value has ended, and with it any number of containers.
        loop {
            if here.close == 0 {
                return Some(at);
            }
            let mut next = byte(bytes, at);
            if next <= b' ' {
                at = after_more_space(bytes, at);
                next = byte(bytes, at);
            }
            if next == b',' {
                at += 1;
                if here.close == b'}' {
                    (_, at) = keys.read(bytes, at, &mut here.own, outer.len())?;
                }
                continue 'value;
            }
            if next != here.close {
                return None;
            }
            keys.close(here.own, outer.len());
            here = outer.pop()?;
            at += 1;
        }
    }
}

/// Reads a value that is no container, before which there is no space. Gives the place behind it, and whether it has escapes.
#[inline(always)]
pub(super) fn after_scalar(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    match byte(bytes, at) {
        b'"' => after_string(bytes, at),
        first @ (b'0'..=b'9' | b'-') => after_number(bytes, at, first).map(|after| (after, false)),
        _ => after_word(bytes, at).map(|after| (after, false)),
    }
}

/// A way of telling whether the keys of each object differ.
pub(super) trait Keys<'a> {
    /// What is kept of a container while it is open.
    type Own: Copy;

    /// Of what is around the outermost value.
    fn outermost(&mut self) -> Self::Own;

    /// Of a container that begins at a place in another.
    fn open(&mut self, is_object: bool, at: usize, around: Self::Own) -> Option<Self::Own>;

    /// Reads a key and its colon, and notes the key. Gives where it stands, without its quotes, and the place behind
    /// the colon. Before the key there may be space. `depth` is how many containers are open.
    fn read(&mut self, bytes: &'a [u8], at: usize, own: &mut Self::Own, depth: usize) -> Option<(Range<usize>, usize)>;

    /// Sees a value that is no container, in one that `own` is kept of.
    #[inline(always)]
    fn scalar(&mut self, _: Range<usize>, _has_escapes: bool, _own: Self::Own) {}

    /// Forgets what it knows of a container that ends.
    fn close(&mut self, own: Self::Own, depth: usize);

    /// Whether all keys differed, and none had a dot.
    fn unique(&self) -> bool;
}

/// The byte at a place; 0 behind the end, which stands nowhere in JSON.
#[inline(always)]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline(always)]
pub(super) fn after_space(bytes: &[u8], at: usize) -> usize {
    // What is sent is mostly written without.
    if byte(bytes, at) <= b' ' { after_more_space(bytes, at) } else { at }
}

#[inline(never)]
fn after_more_space(bytes: &[u8], at: usize) -> usize {
    scan::after_space(bytes, at)
}

/// How many bytes are looked at together. Most strings and numbers are shorter.
const WINDOW: usize = 16;

/// The byte at a place and as many behind it as are looked at together. `None` near the end of the text.
#[inline(always)]
pub(super) fn window(bytes: &[u8], at: usize) -> Option<(u8, &[u8; WINDOW])> {
    let (first, behind) = bytes.get(at..)?.first_chunk::<{ WINDOW + 1 }>()?.split_first()?;
    Some((*first, behind.first_chunk()?))
}

/// Which of some bytes end or break a string: quotes, backslashes and control characters.
#[inline(always)]
fn special(window: &[u8; WINDOW]) -> u32 {
    let window = u8x16::new(*window);
    let special = window.simd_eq(u8x16::splat(b'"'))
        | window.simd_eq(u8x16::splat(b'\\'))
        | window.min(u8x16::splat(0x1f)).simd_eq(window);
    special.to_bitmask()
}

/// Reads a string, whose first quote is at the cursor. Gives the place behind its last, and whether it has escapes.
#[inline(always)]
fn after_string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    if let Some((_, window)) = window(bytes, at) {
        let special = special(window);
        let end = at + 1 + special.trailing_zeros() as usize;
        if special != 0 && byte(bytes, end) == b'"' {
            return Some((end + 1, false));
        }
    }
    after_long_string(bytes, at)
}

/// The same for one that is long or at the end of the text, or has escapes.
#[inline(never)]
pub(super) fn after_long_string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut at = at + 1;
    let mut has_escapes = false;
    loop {
        while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let special = special(window);
            if special != 0 {
                at += special.trailing_zeros() as usize;
                break;
            }
            at += WINDOW;
        }
        match *bytes.get(at)? {
            b'"' => return Some((at + 1, has_escapes)),
            b'\\' => {
                has_escapes = true;
                at = after_escape(bytes, at)?;
            }
            0..=0x1f => return None,
            _ => at += 1,
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

/// A container that has begun and not ended.
#[derive(Clone, Copy)]
pub(super) struct Open<O> {
    /// The bracket that closes it.
    close: u8,
    own: O,
}

impl<O: Copy> Open<O> {
    #[inline(always)]
    fn new<'a>(bytes: &[u8], at: usize, around: O, keys: &mut impl Keys<'a, Own = O>) -> Option<Open<O>> {
        let bracket = byte(bytes, at);
        // The brackets of a kind are two apart.
        Some(Open { close: bracket + 2, own: keys.open(bracket == b'{', at, around)? })
    }
}

/// The keys of an object that is open.
#[derive(Clone, Copy)]
struct OwnKeys {
    /// Where they begin in [`ComparedKeys::seen`].
    from: usize,
    /// One of 64 bits for each key: one whose bit is not set has no equal.
    heads: u64,
}

/// A key of an object that is open.
struct Key {
    /// Its first eight bytes, the last of them highest; fewer where it is shorter.
    head: u64,
    start: usize,
    length: usize,
}

/// The keys of the open objects, held against each other.
struct ComparedKeys<'a, 'r> {
    /// The innermost object's last; of each no more than [`KEYS_COMPARED_MAX`].
    seen: &'r mut Vec<Key>,
    /// All keys of the objects that have more, with how deep these lie.
    many: Vec<(usize, HashSet<&'a [u8]>)>,
    /// Falls to false at the first key that is repeated or has a dot; from then on keys are not kept.
    unique: bool,
}

impl<'a> Keys<'a> for ComparedKeys<'a, '_> {
    type Own = OwnKeys;

    fn outermost(&mut self) -> OwnKeys {
        OwnKeys { from: 0, heads: 0 }
    }

    #[inline(always)]
    fn open(&mut self, _: bool, _: usize, _: OwnKeys) -> Option<OwnKeys> {
        Some(OwnKeys { from: self.seen.len(), heads: 0 })
    }

    #[inline(always)]
    fn read(&mut self, bytes: &'a [u8], at: usize, here: &mut OwnKeys, depth: usize) -> Option<(Range<usize>, usize)> {
        let at = after_space(bytes, at);
        let place = match window(bytes, at) {
            Some((b'"', window)) => {
                let special = special(window);
                let length = special.trailing_zeros() as usize;
                let end = at + 1 + length;
                if special != 0 && byte(bytes, end) == b'"' {
                    if self.unique {
                        let dots = u8x16::new(*window).simd_eq(u8x16::splat(b'.')).to_bitmask() & ((1 << length) - 1);
                        let head = head(window, length);
                        self.note(bytes, Key { head, start: at + 1, length }, dots != 0, here, depth);
                    }
                    at + 1..end
                } else {
                    self.read_long(bytes, at, here, depth)?
                }
            }
            _ => self.read_long(bytes, at, here, depth)?,
        };
        let at = after_space(bytes, place.end + 1);
        if byte(bytes, at) != b':' {
            return None;
        }
        Some((place, at + 1))
    }

    #[inline(always)]
    fn close(&mut self, own: OwnKeys, depth: usize) {
        if self.many.last().is_some_and(|(of, _)| *of == depth) {
            self.many.pop();
        }
        self.seen.truncate(own.from);
    }

    fn unique(&self) -> bool {
        self.unique
    }
}

impl<'a> ComparedKeys<'a, '_> {
    /// Reads a key, without the colon, for a key that is long or at the end of the text. One with escapes is left.
    #[inline(never)]
    fn read_long(&mut self, bytes: &'a [u8], at: usize, here: &mut OwnKeys, depth: usize) -> Option<Range<usize>> {
        if byte(bytes, at) != b'"' {
            return None;
        }
        let (after, has_escapes) = after_long_string(bytes, at)?;
        if has_escapes {
            return None;
        }
        let place = at + 1..after - 1;
        if self.unique {
            let key = bytes.get(place.clone())?;
            let mut begin = [0; WINDOW];
            begin.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
            let key = Key { head: head(&begin, key.len()), start: place.start, length: key.len() };
            let has_dot = bytes.get(place.clone())?.contains(&b'.');
            self.note(bytes, key, has_dot, here, depth);
        }
        Some(place)
    }

    /// Compares a key with those of its object so far.
    #[inline(always)]
    fn note(&mut self, bytes: &'a [u8], key: Key, has_dot: bool, here: &mut OwnKeys, depth: usize) {
        if has_dot {
            // Rules read `{"a.b": 1}` as `{"a": {"b": 1}}`, so that this may be another key's twin.
            self.unique = false;
            return;
        }
        let bit = 1 << ((key.head ^ key.length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58);
        if self.seen.len() - here.from >= KEYS_COMPARED_MAX {
            self.note_many(bytes, &key, here.from, depth);
            return;
        }
        if here.heads & bit != 0 {
            self.compare(bytes, &key, here.from);
        }
        here.heads |= bit;
        self.seen.push(key);
    }

    #[inline(never)]
    fn compare(&mut self, bytes: &[u8], key: &Key, keys_from: usize) {
        let own = self.seen.get(keys_from..).unwrap_or_default();
        let is_equal = |known: &Key| known.head == key.head && text(bytes, known) == text(bytes, key);
        if own.iter().any(is_equal) {
            self.unique = false;
        }
    }

    #[cold]
    fn note_many(&mut self, bytes: &'a [u8], key: &Key, keys_from: usize, depth: usize) {
        if self.many.last().is_none_or(|(of, _)| *of != depth) {
            let own = self.seen.get(keys_from..).unwrap_or_default();
            self.many.push((depth, own.iter().map(|known| text(bytes, known)).collect()));
        }
        self.unique = self.many.last_mut().is_some_and(|(_, many)| many.insert(text(bytes, key)));
    }
}

fn text<'a>(bytes: &'a [u8], key: &Key) -> &'a [u8] {
    bytes.get(key.start..key.start + key.length).unwrap_or_default()
}

/// See [`Key::head`].
#[inline(always)]
fn head(window: &[u8; WINDOW], length: usize) -> u64 {
    let word = window.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
    // In two steps, for a shift by 64 is none.
    let half = 32 - 4 * length.min(8);
    word << half << half
}

#[inline(never)]
fn after_word(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let words: [&[u8]; 3] = [b"true", b"false", b"null"];
    words.iter().find(|word| rest.starts_with(word)).map(|word| at + word.len())
}

/// Reads a number.
#[inline(always)]
fn after_number(bytes: &[u8], at: usize, first: u8) -> Option<usize> {
    let Some((_, behind)) = window(bytes, at) else { return after_long_number(bytes, at) };
    let others = !digits(behind) & 0xffff;
    // Where the digits begin, counted from behind the first byte, which is one of them or a sign.
    let whole = others.trailing_zeros();
    if others == 0 || first == b'-' {
        return after_long_number(bytes, at);
    }
    if first == b'0' && whole > 0 {
        return None;
    }
    let mut end = whole;
    let mut next = byte(behind, end as usize);
    if next == b'.' {
        let others = others & (others - 1);
        end = others.trailing_zeros();
        if others == 0 {
            return after_long_number(bytes, at);
        }
        if end == whole + 1 {
            return None;
        }
        next = byte(behind, end as usize);
    }
    if next | 0x20 == b'e' { after_long_number(bytes, at) } else { Some(at + 1 + end as usize) }
}

/// Which of some bytes are digits.
#[inline(always)]
fn digits(window: &[u8; WINDOW]) -> u32 {
    let from_zero = u8x16::new(*window) - u8x16::splat(b'0');
    from_zero.min(u8x16::splat(9)).simd_eq(from_zero).to_bitmask()
}

/// The same for one that has a sign or an exponent, is long, or stands at the end of the text.
#[inline(never)]
fn after_long_number(bytes: &[u8], mut at: usize) -> Option<usize> {
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

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::scan::{scan_each, text_of};
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

    /// The outline and the children, as the other check gives them.
    fn quick(bytes: &[u8], depth_max: usize, keeps_children: bool) -> Option<(Outline, Vec<Child<'_>>)> {
        quick_in(bytes, depth_max, keeps_children, &mut Room::default())
    }

    fn quick_in<'b>(
        bytes: &'b [u8],
        depth_max: usize,
        keeps_children: bool,
        room: &mut Room,
    ) -> Option<(Outline, Vec<Child<'b>>)> {
        let text = text_of(bytes).ok()?;
        let outline = outline(text, depth_max, keeps_children, room)?;
        Some((outline, room.children.drain(..).map(|place| place.in_text(text)).collect()))
    }

    fn each(bytes: &[u8], depth_max: usize) -> Option<(Outline, Vec<Child<'_>>)> {
        let mut children = Vec::new();
        let outline = scan_each(text_of(bytes).ok()?, depth_max, 0, &mut |child| {
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
        let mut used_room = Room::default();
        for _ in 0..cases {
            let mut text = Vec::new();
            write_value(&mut random, 0, &mut text);
            for _ in 0..random.usize(..4).saturating_sub(1) {
                spoil(&mut random, &mut text);
            }
            let depth_max = random.usize(1..DEPTH_MAX + 3);
            let shown = String::from_utf8_lossy(&text);
            let wanted = each(&text, depth_max);
            let found = quick(&text, depth_max, true);
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
            assert_eq!(quick_in(&text, depth_max, true, &mut used_room), found, "{shown}");
            let without_children = quick(&text, depth_max, false).map(|(outline, _)| outline);
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
                        assert_eq!(quick(text.as_bytes(), 2, true), each(text.as_bytes(), 2), "{text}");
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
        assert_eq!(quick(text.as_bytes(), 1, true), None);
        assert!(quick(text.as_bytes(), 1, false).is_some());
        assert!(each(text.as_bytes(), 1).is_some());
    }
}
