//! The keys that texts had before, by which those of the next one are told.
//!
//! Whoever sends many events writes the same keys in the same order, and leaves some out now and then. So the keys that
//! objects had at a place (inside the outermost value, inside `data`, …) are kept as a list, in their order. A key of an
//! object is looked for behind the object's last one: there it mostly stands next, and one comparison of 16 bytes reads it
//! with its quotes and its colon. And since nothing stands in a list twice, keys that are found one behind the other are
//! unique.
//!
//! A key that is new is put into the list. One that stands there before its object's last one is in the object twice, or the
//! order is another: this cannot tell, and the text is left to a check that holds the keys of each object against each
//! other. Where that happens often, the key is put where it stood this time, so that in the end the list has the order that
//! most agree on.

use std::ops::Range;

use wide::u8x16;

use super::quick::{Keys, after_long_string, after_space, byte};

/// How many keys are kept, with one more for each place that objects or arrays stand at. Events of one kind have a few dozen.
const MEMBERS_MAX: usize = 512;

/// The longest key that is kept, in bytes, with its quotes and its colon.
const KEY_BYTES_MAX: usize = 67;

/// How many keys of a list are passed over in search of one: what an object leaves out.
const LEFT_OUT_MAX: usize = 32;

/// How many texts more than could be read by their keys must have been left, for all keys to be forgotten.
const CREDIT_MAX: u8 = 16;

/// Below what credit keys are put elsewhere. A single text in another order changes nothing.
const CREDIT_MOVING: u8 = 12;

/// For how many texts after that nobody asks: to read a text in vain takes a third of the time that it takes after all.
const RESTING_TEXTS: u8 = 64;

/// Stands for no member.
pub(super) const NONE: u32 = u32::MAX;

/// By what number the outermost value is asked for.
pub(super) const OUTERMOST: u32 = 0;

/// How many bytes of a key are compared at once.
const WINDOW: usize = 16;

/// A text that is looked for at places of another, most of which are no longer than one window.
pub(super) struct Literal {
    /// As much of it as is compared at once.
    head: [u8; WINDOW],
    /// One bit for each byte of `head` that is none of the text's.
    beyond: u32,
    length: usize,
    /// The rest of the text; mostly there is none.
    rest: Box<[u8]>,
}

/// A key that some text has had.
struct Member {
    /// From the first quote to behind the colon.
    text: Literal,
    /// Rules read `{"a.b": 1}` as `{"a": {"b": 1}}`, so that it may be another key's twin.
    has_dot: bool,
    /// What stands behind it in its list.
    next: u32,
    /// Where the list begins of what stands in the objects of its value.
    inside: u32,
    /// What stands for the elements of its value, where that is an array. It has no text.
    elements: u32,
    /// By what number somebody asks for its value ([`Asks`]), or [`NONE`]. What is in arrays nobody asks for.
    asked: u32,
}

/// By what number a value is asked for.
pub(super) type Asked = u32;

/// A value that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By what number it is asked for.
    pub asked: u32,
    /// Where it stands in the event's text: a string with its quotes, a number or a word. An array begins there, and
    /// nothing in it was noted.
    pub place: Range<usize>,
    /// Whether it must be read first: a string with escapes, or an array.
    pub is_folded: bool,
}

/// Where a key leads from what is asked for by a number: by what number that is asked for, or [`NONE`].
pub(super) type Asks<'r> = &'r dyn Fn(u32, &str) -> u32;

/// Nobody asks for anything.
const NOTHING: Asks<'static> = &|_, _| NONE;

impl Literal {
    pub(super) fn new(text: &[u8]) -> Literal {
        let mut head = [0; WINDOW];
        head.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        let beyond = 0xffff & !((1_u32 << text.len().min(WINDOW)) - 1);
        Literal { head, beyond, length: text.len(), rest: text.get(WINDOW..).unwrap_or_default().into() }
    }

    #[inline(always)]
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Whether it stands there.
    #[inline(always)]
    pub(super) fn stands_at(&self, bytes: &[u8], at: usize) -> bool {
        let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk) else { return self.stands_at_end(bytes, at) };
        let same = u8x16::new(*window).simd_eq(u8x16::new(self.head)).to_bitmask();
        same | self.beyond == 0xffff && (self.rest.is_empty() || self.goes_on_at(bytes, at + WINDOW))
    }

    #[inline(never)]
    fn goes_on_at(&self, bytes: &[u8], at: usize) -> bool {
        bytes.get(at..).is_some_and(|behind| behind.starts_with(&self.rest))
    }

    /// The same where the text ends soon.
    #[cold]
    fn stands_at_end(&self, bytes: &[u8], at: usize) -> bool {
        let head = self.head.get(..self.length).unwrap_or_default();
        self.rest.is_empty() && bytes.get(at..).is_some_and(|behind| behind.starts_with(head))
    }
}

impl Member {
    fn new(text: &[u8], next: u32, asked: u32) -> Member {
        let has_dot = text.contains(&b'.');
        Member { text: Literal::new(text), has_dot, next, inside: NONE, elements: NONE, asked }
    }
}

/// The keys that texts had before.
pub(super) struct Members {
    /// The first stands for what is around the outermost value. What begins a list is no key.
    all: Vec<Member>,
    /// Rises with each text that was read by them, and falls with each that was left.
    credit: u8,
    /// For how many texts more nobody asks.
    resting: u8,
    /// Rises whenever a key is put elsewhere or all are forgotten.
    order: u64,
}

impl Default for Members {
    fn default() -> Members {
        let mut all = Vec::with_capacity(MEMBERS_MAX);
        all.push(Member::new(b"", NONE, OUTERMOST));
        Members { all, credit: CREDIT_MAX, resting: 0, order: 0 }
    }
}

impl Members {
    /// Whether the next text is to be read by them.
    pub(super) fn are_asked(&mut self) -> bool {
        let rests = self.resting > 0;
        self.resting = self.resting.saturating_sub(1);
        !rests
    }

    /// While it is the same number, the order of keys is the same, and each number means the same place.
    pub(super) fn order(&self) -> u64 {
        self.order
    }

    /// Learns that a text was read by them.
    #[inline(always)]
    pub(super) fn praise(&mut self) {
        self.credit = (self.credit + 1).min(CREDIT_MAX);
    }

    /// Adds a member behind another; `None` where there are too many.
    fn add(&mut self, text: &[u8], next: u32, asked: u32) -> Option<u32> {
        let place = u32::try_from(self.all.len()).ok().filter(|_| self.all.len() < MEMBERS_MAX)?;
        self.all.push(Member::new(text, next, asked));
        Some(place)
    }

    /// By what number somebody asks for the value of a member, or [`NONE`].
    #[inline(always)]
    pub(super) fn asked(&self, member: u32) -> u32 {
        self.all.get(member as usize).map_or(NONE, |member| member.asked)
    }
}

/// The keys of the open objects, held against those of the texts before.
pub(super) struct KnownKeys<'r> {
    members: &'r mut Members,
    /// Falls to false at the first key that has a dot.
    unique: bool,
    /// Whether it is for a key that the text is left.
    is_lost: bool,
    /// Asked once for each key that is new.
    asks: Asks<'r>,
}

/// Where an open container is in its list.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// What begins the list.
    first: u32,
    /// The object's last key; in an array, what stands for its elements.
    pub(super) last: u32,
}

impl<'r> KnownKeys<'r> {
    pub(super) fn new(members: &'r mut Members) -> KnownKeys<'r> {
        KnownKeys::asking(members, NOTHING)
    }

    /// The same where somebody asks for what keys lead to: of the same members always the same.
    pub(super) fn asking(members: &'r mut Members, asks: Asks<'r>) -> KnownKeys<'r> {
        KnownKeys { members, unique: true, is_lost: false, asks }
    }

    /// By what number somebody asks for what the last key of an object leads to.
    #[inline(always)]
    pub(super) fn asked(&self, mark: Mark) -> u32 {
        self.members.asked(mark.last)
    }

    /// Learns that a text is left, for whatever reason.
    pub(super) fn give_up(mut self) {
        self.is_lost = true;
        self.settle(false);
    }

    /// Learns from what came of a text whether to go on.
    pub(super) fn settle(self, was_read: bool) {
        let members = self.members;
        if was_read {
            members.praise();
        } else if self.is_lost {
            members.credit = members.credit.saturating_sub(1);
            if members.credit == 0 {
                let order = members.order + 1;
                *members = Members { resting: RESTING_TEXTS, credit: CREDIT_MAX / 4, order, ..Members::default() };
            }
        }
    }

    /// Begins the list of what stands inside of a member.
    #[cold]
    fn begin(&mut self, around: u32) -> Option<u32> {
        let first = self.members.add(b"", NONE, self.members.asked(around));
        self.is_lost |= first.is_none();
        self.members.all.get_mut(around as usize)?.inside = first?;
        first
    }

    /// The same of the elements of its value.
    #[cold]
    fn begin_elements(&mut self, around: u32) -> Option<u32> {
        let elements = self.members.add(b"", NONE, NONE);
        self.is_lost |= elements.is_none();
        self.members.all.get_mut(around as usize)?.elements = elements?;
        elements
    }

    /// Finds a key that does not stand next, or adds it.
    #[inline(never)]
    fn find(&mut self, bytes: &[u8], at: usize, mark: Mark) -> Option<u32> {
        let mut place = mark.last;
        for _ in 0..LEFT_OUT_MAX {
            place = self.members.all.get(place as usize)?.next;
            let Some(member) = self.members.all.get(place as usize) else { break };
            if member.text.stands_at(bytes, at) {
                return Some(place);
            }
        }
        let found = self.learn(bytes, at, mark);
        self.is_lost |= found.is_none();
        found
    }

    #[cold]
    fn learn(&mut self, bytes: &[u8], at: usize, mark: Mark) -> Option<u32> {
        if byte(bytes, at) != b'"' {
            return None;
        }
        let (after, has_escapes) = after_long_string(bytes, at)?;
        let text = bytes.get(at..=after)?;
        if has_escapes || text.len() > KEY_BYTES_MAX || !text.ends_with(b":") {
            return None;
        }
        let Members { all, credit, order, .. } = &mut *self.members;
        let (mut before, mut is_ahead) = (mark.first, mark.first == mark.last);
        loop {
            let place = all.get(before as usize)?.next;
            let Some(member) = all.get(place as usize) else { break };
            if member.text.length == text.len() && member.text.stands_at(bytes, at) {
                // From now on here, if texts are left often. Whether it stood in this object before, nobody knows unless it
                // was still to come.
                let behind = member.next;
                if place != mark.last && *credit < CREDIT_MOVING {
                    *order += 1;
                    all.get_mut(before as usize)?.next = behind;
                    let last = all.get_mut(mark.last as usize)?;
                    let next = std::mem::replace(&mut last.next, place);
                    all.get_mut(place as usize)?.next = next;
                }
                return is_ahead.then_some(place);
            }
            before = place;
            is_ahead |= place == mark.last;
        }
        let next = all.get(mark.last as usize)?.next;
        let from = all.get(mark.first as usize)?.asked;
        let key = text.get(1..text.len() - 2).and_then(|key| std::str::from_utf8(key).ok())?;
        let asked = if from == NONE { NONE } else { (self.asks)(from, key) };
        let found = self.members.add(text, next, asked)?;
        self.members.all.get_mut(mark.last as usize)?.next = found;
        Some(found)
    }
}

impl<'a> Keys<'a> for KnownKeys<'_> {
    type Own = Mark;

    fn outermost(&mut self) -> Mark {
        Mark { first: 0, last: 0 }
    }

    #[inline(always)]
    fn open(&mut self, is_object: bool, _: usize, around: Mark) -> Option<Mark> {
        if !is_object {
            let mut elements = self.members.all.get(around.last as usize)?.elements;
            if elements == NONE {
                elements = self.begin_elements(around.last)?;
            }
            return Some(Mark { last: elements, ..around });
        }
        let mut first = self.members.all.get(around.last as usize)?.inside;
        if first == NONE {
            first = self.begin(around.last)?;
        }
        Some(Mark { first, last: first })
    }

    #[inline(always)]
    fn read(&mut self, bytes: &'a [u8], at: usize, mark: &mut Mark, _: usize) -> Option<(Range<usize>, usize)> {
        let all = &self.members.all;
        let (mut at, mut place) = (at, all.get(mark.last as usize)?.next);
        let mut found = all.get(place as usize).filter(|member| member.text.stands_at(bytes, at));
        if found.is_none() {
            at = after_space(bytes, at);
            place = self.find(bytes, at, *mark)?;
            found = self.members.all.get(place as usize);
        }
        let member = found?;
        mark.last = place;
        self.unique &= !member.has_dot;
        let end = at + member.text.length;
        // Without the quotes and the colon.
        Some((at + 1..end - 2, end))
    }

    #[inline(always)]
    fn close(&mut self, _: Mark, _: usize) {}

    fn unique(&self) -> bool {
        self.unique
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::super::outline::Outline;
    use super::super::quick::outline_by;
    use super::super::scan::scan_each;
    use super::*;

    fn read(text: &str, members: &mut Members) -> Option<Outline> {
        let mut keys = KnownKeys::new(members);
        let outline = outline_by(text.as_bytes(), 99, true, &mut keys, &mut Vec::new(), &mut Vec::new());
        keys.settle(outline.is_some());
        outline
    }

    fn wanted(text: &str) -> Option<Outline> {
        scan_each(text, 99, 0, &mut |_| Ok(())).ok()
    }

    /// Short and long ones, of which one begins like the next, and two with dots.
    fn key(number: usize) -> String {
        match number {
            7 => "a.b".to_owned(),
            9 => "the_key_that_is_longer_than_one_window.or_two".to_owned(),
            number => "é_key_that_grows_beyond_the_window"[..3 * number + 2].to_owned(),
        }
    }

    /// An object with some of the keys, in their order unless `spoilt`.
    fn write_object(random: &mut Rng, depth: usize, spoilt: bool, out: &mut String) {
        let mut numbers: Vec<usize> = (0..11).filter(|_| random.u8(..3) == 0).collect();
        if random.u8(..3) > 0 {
            numbers.retain(|number| ![7, 9].contains(number));
        }
        if spoilt && random.bool() {
            numbers.extend(numbers.first().copied());
        } else if spoilt {
            random.shuffle(&mut numbers);
        }
        let space = |random: &mut Rng| if random.u8(..9) == 0 { " " } else { "" };
        out.push('{');
        for (place, number) in numbers.into_iter().enumerate() {
            out.push_str(if place > 0 { "," } else { "" });
            let colon = if spoilt { space(random) } else { "" };
            out.push_str(&format!("{}\"{}\"{colon}:{}", space(random), key(number), space(random)));
            match random.u8(..4) {
                0 if depth > 0 => write_object(random, depth - 1, spoilt, out),
                1 if depth > 0 => {
                    out.push('[');
                    write_object(random, depth - 1, spoilt, out);
                    out.push_str(",[");
                    write_object(random, depth - 1, spoilt, out);
                    out.push_str("],7]");
                }
                2 => out.push_str("\"v\""),
                _ => out.push('1'),
            }
        }
        out.push('}');
        out.push_str(space(random));
    }

    #[test]
    fn objects_that_have_their_keys_in_one_order_are_told_by_those_before() {
        let mut random = Rng::with_seed(3);
        let mut members = Members::default();
        let (mut in_order, mut read_in_order, mut read_spoilt) = (0, 0, 0);
        for number in 0..20_000 {
            // Now and then the text is one that this cannot tell, or that says a key twice.
            let spoilt = number % 12 == 0;
            let mut text = String::new();
            write_object(&mut random, 1, spoilt, &mut text);
            let found = read(&text, &mut members);
            if found.is_some() {
                assert_eq!(found, wanted(&text), "{text}");
            }
            in_order += usize::from(!spoilt);
            read_in_order += usize::from(!spoilt && found.is_some());
            read_spoilt += usize::from(spoilt && found.is_some());
        }
        println!("{read_in_order} of {in_order} in order, {read_spoilt} of the others");
        assert!(read_in_order > in_order / 3 * 2, "{read_in_order} of {in_order}");
    }

    #[test]
    fn a_key_that_stands_twice_or_in_another_order_or_is_written_otherwise_is_left() {
        let mut members = Members::default();
        for text in
            [r#"{"a":1,"b":{"a":2},"c":3}"#, r#"{"b":{},"c":3}"#, r#"{"a":{"a":{"a":1}}}"#, "[{\"a\":1},{\"a\":1}]"]
        {
            assert_eq!(read(text, &mut members), wanted(text), "{text}");
        }
        let long = format!("{{\"{}\":1}}", "k".repeat(KEY_BYTES_MAX));
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"a": 2}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"b":{"a":1,"a":1}}"#,
            r#"{"a" :1}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":1,"#,
            r#"{"a":"#,
            r#"{"a""#,
            r#"{"a"#,
            "{",
            &long,
        ] {
            assert_eq!(read(text, &mut members), None, "{text}");
        }
    }

    #[test]
    fn keys_are_forgotten_where_they_are_of_no_use() {
        let mut members = Members::default();
        let many =
            |from: usize| (0..40).map(|place| format!("{{\"k{}\":1}}", from + place)).collect::<Vec<_>>().join(",");
        // Ever new ones, until there is no more room.
        let mut texts = 0;
        while members.are_asked() {
            let _ = read(&format!("[{}]", many(40 * texts)), &mut members);
            texts += 1;
            assert!(members.all.len() <= MEMBERS_MAX && texts < 100);
        }
        assert!(texts > MEMBERS_MAX / 40, "{texts}");
        // Then there is a rest, and it begins anew.
        let rested = 1 + (0..).take_while(|_| !members.are_asked()).count();
        assert_eq!(rested, usize::from(RESTING_TEXTS));
        assert!(read(r#"{"new":1}"#, &mut members).is_some());
    }
}
