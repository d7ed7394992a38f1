//! The same check as [`super::scan`], for text with which nothing is wrong: that is nearly all of it, and takes a third of
//! the time.
//!
//! What ends a string or a number is looked for in 16 bytes at once. Keys are told by those of the texts before
//! ([`super::known`]); where that cannot tell, the text is read once more, and the keys of each object are held against each
//! other, of which only places are kept. What is not plain (a mistake, a key with escapes, very many children) is left to the
//! other check, which says what is wrong. So all that this one has to be right about is what it lets pass.

use std::collections::HashSet;
use std::ops::Range;

use wide::u8x16;

use super::bytes::{self, EACH, HIGHEST};
use super::outline::{KEYS_COMPARED_MAX, Outline, Place, Root};

/// More children of the outermost value than an event has members are left to the other check, which need not keep them.
pub(super) const CHILDREN_MAX: usize = 128;

/// The outline of a text by one way of telling keys apart, and the children of its outermost value, if `keeps_children`. `None`
/// where something is wrong, or where this cannot tell.
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
    bytes::after_space(bytes, at)
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
pub(super) struct OwnKeys {
    /// Where they begin in [`ComparedKeys::seen`].
    from: usize,
    /// One of 64 bits for each key: one whose bit is not set has no equal.
    heads: u64,
}

/// A key of an object that is open.
pub(super) struct Key {
    /// Its first eight bytes, the last of them highest; fewer where it is shorter.
    head: u64,
    start: usize,
    length: usize,
}

/// The keys of the open objects, held against each other.
pub(super) struct ComparedKeys<'a, 'r> {
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

impl<'a, 'r> ComparedKeys<'a, 'r> {
    /// With room for the keys of the open objects.
    pub(super) fn new(seen: &'r mut Vec<Key>) -> ComparedKeys<'a, 'r> {
        seen.clear();
        ComparedKeys { seen, many: Vec::new(), unique: true }
    }

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
    use super::*;

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
}
