//! What stood between the values of the texts before, by which the next one is read.
//!
//! Between two values (strings, numbers and words; not the containers that are made of them) stand brackets, commas, keys and
//! colons: a *gap*. Whoever sends many events writes the same gaps again and again. So what stood behind the values of a member
//! ([`super::known`]) is kept, and where it stands there again, it need not be taken apart: one comparison of 16 bytes reads
//! all that is between two values, with a key or two.
//!
//! A member says which containers are open, and behind which of its keys each of them is. So a gap that was found to be right
//! behind a value of a member is right behind each of them: it leads to the same member, and since the keys of each object
//! stood in the order of their list, nothing stands there twice. When that order changes, all gaps are forgotten.
//!
//! What is new is learnt from a text that was read in the other way. All values are read in either way.

use std::ops::Range;

use super::attributes::{DATA, bit};
use super::known::{Asked, Found, Literal, Members, NONE, OUTERMOST};
use super::outline::Place;

/// How many gaps are kept. Events of one kind have a few dozen.
const GAPS_MAX: usize = 1024;

/// The longest one, in bytes.
const GAP_BYTES_MAX: usize = 256;

/// How many gaps are looked at behind one value.
const LOOKED_AT_MAX: usize = 16;

/// How many texts more than are read must have been of no use, for all gaps to be forgotten.
const CREDIT_MAX: u8 = 16;

/// For how many texts after that nobody asks.
const RESTING_TEXTS: u8 = 64;

/// A value that is no container.
pub(super) struct Value {
    /// The last key of the object that it stands in; in an array, what stands for its elements.
    pub(super) member: u32,
    pub(super) place: Range<usize>,
}

/// What stands between two values.
pub(super) struct Gap {
    pub(super) text: Literal,
    /// The member whose value stands behind it, or [`NONE`] where the event ends.
    pub(super) to: u32,
    /// What may stand in its place, or [`NONE`].
    other: u32,
    /// By what number somebody asks for the value behind it, or [`NONE`].
    pub(super) asked: u32,
    /// Where in it the name stands, if the value behind it is an attribute's or an extension's.
    pub(super) name: Option<Range<usize>>,
    /// The bit of that attribute.
    pub(super) is: u8,
    /// [`DATA`], if the event's data begin in it or behind it.
    pub(super) has: u8,
    /// Where in it the arrays begin that somebody asks for, each with its number.
    pub(super) arrays: Box<[(Asked, usize)]>,
}

/// The gaps of the texts before.
pub(super) struct Gaps {
    all: Vec<Gap>,
    /// By member: what is looked for first behind its values.
    first: Vec<u32>,
    /// The order of keys in which they are right.
    order: u64,
    /// Rises with each text that was read by them, and falls with each that was not and from which nothing was learnt.
    credit: u8,
    /// For how many texts more nobody asks.
    resting: u8,
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps { all: Vec::new(), first: Vec::new(), order: 0, credit: CREDIT_MAX, resting: 0 }
    }
}

impl Gaps {
    /// Whether the next text is to be read by them.
    pub(super) fn are_asked(&mut self, members: &Members) -> bool {
        if self.resting > 0 {
            self.resting -= 1;
            return false;
        }
        if self.order != members.order() {
            self.forget(members.order());
        }
        true
    }

    fn forget(&mut self, order: u64) {
        self.all.clear();
        self.first.clear();
        self.order = order;
    }

    /// What stands behind a value of a member.
    #[inline(always)]
    pub(super) fn behind(&self, member: u32, bytes: &[u8], at: usize) -> Option<&Gap> {
        let gap = self.all.get(*self.first.get(member as usize)? as usize)?;
        if gap.text.stands_at(bytes, at) { Some(gap) } else { self.in_place_of(gap, bytes, at) }
    }

    #[inline(never)]
    fn in_place_of<'g>(&'g self, mut gap: &'g Gap, bytes: &[u8], at: usize) -> Option<&'g Gap> {
        for _ in 1..LOOKED_AT_MAX {
            gap = self.all.get(gap.other as usize)?;
            if gap.text.stands_at(bytes, at) {
                return Some(gap);
            }
        }
        None
    }

    /// Learns that a text was read by them.
    #[inline]
    pub(super) fn praise(&mut self) {
        self.credit = (self.credit + 1).min(CREDIT_MAX);
    }

    /// Learns that one was of no use.
    pub(super) fn blame(&mut self) {
        if self.resting > 0 {
            return;
        }
        self.credit = self.credit.saturating_sub(1);
        if self.credit == 0 {
            self.forget(self.order);
            (self.credit, self.resting) = (CREDIT_MAX, RESTING_TEXTS);
        }
    }

    /// Learns from a text in which nothing is wrong: its values, its members, and what was found in it. If keys have been put
    /// elsewhere while it was read, nothing is to be learnt from it.
    pub(super) fn learn(&mut self, text: &[u8], values: &[Value], parts: &[Place], found: &[Found], members: &Members) {
        if self.resting > 0 || self.order != members.order() {
            return;
        }
        let known = self.all.len();
        let (mut at, mut member) = (0, OUTERMOST);
        let end = Value { member: NONE, place: text.len()..text.len() };
        for value in values.iter().chain([&end]) {
            let place = at..value.place.start;
            if let Some(bytes) = text.get(place)
                && bytes.len() <= GAP_BYTES_MAX
                && !bytes.contains(&b'\n')
                && self.all.len() < GAPS_MAX
            {
                self.add(member, bytes, || {
                    let inside = |place: &usize| (at..=value.place.start).contains(place);
                    let is_data = |part: &Place| part.key.clone().and_then(|key| text.get(key)) == Some(b"data");
                    let part = parts.iter().find(|part| part.value == value.place && !is_data(part));
                    let name = part.and_then(|part| part.key.clone());
                    let is = name.clone().and_then(|name| text.get(name)).map_or(0, bit);
                    let name = name.map(|name| name.start - at..name.end - at);
                    let has_data = parts.iter().any(|part| is_data(part) && inside(&part.value.start));
                    let arrays = found.iter().filter(|found| found.place.is_empty() && inside(&found.place.start));
                    Gap {
                        text: Literal::new(bytes),
                        to: value.member,
                        other: NONE,
                        asked: members.asked(value.member),
                        name,
                        is,
                        has: if has_data { DATA } else { 0 },
                        arrays: arrays.map(|found| (found.asked, found.place.start - at)).collect(),
                    }
                });
            }
            (at, member) = (value.place.end, value.member);
        }
        if self.all.len() == known {
            self.blame();
        }
    }

    /// Adds what stands behind values of a member, unless it is known, or so many are that nobody would come to it. What
    /// another one begins with comes after it.
    fn add(&mut self, member: u32, text: &[u8], gap: impl FnOnce() -> Gap) {
        let Ok(number) = u32::try_from(self.all.len()) else { return };
        if self.first.len() <= member as usize {
            self.first.resize(member as usize + 1, NONE);
        }
        let (mut before, mut looked_at) = (None, 0);
        let mut next = self.first.get(member as usize).copied().unwrap_or(NONE);
        while let Some(known) = self.all.get(next as usize) {
            looked_at += 1;
            if known.text.stands_at(text, 0) {
                if known.text.length() == text.len() {
                    return;
                }
                break;
            }
            if looked_at == LOOKED_AT_MAX {
                return;
            }
            (before, next) = (Some(next), known.other);
        }
        self.all.push(Gap { other: next, ..gap() });
        let place = match before {
            Some(before) => self.all.get_mut(before as usize).map(|before| &mut before.other),
            None => self.first.get_mut(member as usize),
        };
        if let Some(place) = place {
            *place = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fastrand::Rng;

    use super::super::read_structured;
    use super::super::skim::{Skimmed, Skimmer};
    use crate::Limits;

    /// So low that events are often beyond them.
    const LIMITS: Limits = Limits {
        event_bytes_max: 400,
        batch_events_max: 1,
        attribute_bytes_max: 24,
        extensions_max: 2,
        json_depth_max: 4,
    };

    /// Members of an event and of its data, with arrays, and what is in them.
    fn asks(from: u32, key: &str) -> u32 {
        match (from, key) {
            (0, "type") => 1,
            (0, "subject") => 2,
            (0, "data") => 3,
            (3, "a") => 4,
            (4, "b") => 5,
            (3, "a_key_that_is_longer_than_a_window") => 6,
            (0, "seven") => 7,
            _ => u32::MAX,
        }
    }

    fn one_of(random: &mut Rng, texts: &str, out: &mut String) {
        let texts: Vec<&str> = texts.split('|').collect();
        out.push_str(random.choice(texts).unwrap_or_default());
    }

    fn write_value(random: &mut Rng, depth: usize, turned: bool, out: &mut String) {
        match random.u8(..240) {
            0 => one_of(random, r#"nul|01|1.|-|"\ud800"|"\x"|{|]"#, out),
            1..4 => one_of(random, r#"{}|[]|[[]]|[{}]|{"a":[]}"#, out),
            4..=12 if depth < 3 => write_object(random, depth, turned, out),
            13..=24 if depth < 3 => {
                out.push('[');
                for place in 0..random.usize(..4) {
                    out.push_str(if place > 0 { "," } else { "" });
                    if depth == 2 { write_object(random, depth + 1, turned, out) } else { out.push('7') }
                }
                out.push(']');
            }
            31..=60 => one_of(random, "true|false|null", out),
            61..=140 => one_of(random, "0|-1|12.5|1e9|-0|12345678901234567890", out),
            _ => one_of(random, r#""v"|""|"é"|"\"\n"|"a text that is longer than a window"|"{},:[]""#, out),
        }
    }

    fn write_object(random: &mut Rng, depth: usize, turned: bool, out: &mut String) {
        let mut keys: Vec<&str> = ["a", "b", "a_key_that_is_longer_than_a_window"].into();
        keys.retain(|_| random.u8(..20) > 0);
        if random.u8(..200) == 0 {
            keys.push(random.choice(["a.b", "b", "c"]).unwrap_or_default());
        }
        if turned {
            random.shuffle(&mut keys);
        }
        out.push('{');
        for (place, key) in keys.into_iter().enumerate() {
            out.push_str(&format!("{}\"{key}\":", if place > 0 { "," } else { "" }));
            write_value(random, depth + 1, turned, out);
        }
        out.push('}');
    }

    /// A line: mostly an event. With `turned` the keys of its data stand in any order.
    fn line(random: &mut Rng, turned: bool) -> String {
        let members = [
            ("specversion", r#""1.0""#, r#""1.0"|1|"0.3""#),
            (
                "id",
                r#""1"|"é-1"|"id 1"|"id-7""#,
                r#"""|1|"id \" 1"|"an id that is longer than a window"|null|"a\u0001""#,
            ),
            (
                "source",
                r#""/s"|"https://a.example/_b~"|"/S/Z9""#,
                r#"""|"/a b"|"/a@b"|"/a[b"|"/~a_source_that_is_longer""#,
            ),
            ("type", r#""t"|"order.paid"|"a type""#, r#"""|["t"]|{"a":"b"}|"t""#),
            ("subject", r#""abc"|"s t"|null"#, r#""é"|7|"""#),
            ("seven", r#"7|-7|"7""#, "007|true|null|1.5|2147483648"),
            ("data", "", ""),
            ("yes", "true|false", r#""yes"|null|[]"#),
            ("datacontenttype", r#""application/json""#, r#""text/plain"|"x""#),
        ];
        let mut text = "{".to_owned();
        for (place, (name, usual, odd)) in members.into_iter().enumerate() {
            if random.u8(..200) == 0 || place > 3 && random.u8(..9) == 0 {
                continue;
            }
            text.push_str(&format!("{}\"{name}\":", if text.len() > 1 { "," } else { "" }));
            if name == "data" {
                write_object(random, 1, turned, &mut text);
            } else {
                let texts = if random.u8(..60) == 0 { odd } else { usual };
                one_of(random, texts, &mut text);
            }
        }
        text.push('}');
        if random.u8(..20) == 0 {
            let bytes = b"{}[]\",: \\a1.-\t\x01\x7f";
            let at = (0..=random.usize(..=text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            text.insert(at, char::from(*random.choice(bytes).unwrap_or(&b' ')));
        }
        text
    }

    type Seen = (String, Vec<super::Found>, [Option<String>; 2]);

    fn seen(event: &Skimmed<'_>) -> Seen {
        let attribute = |name| event.attribute(name).map(|value| format!("{value:?}"));
        (event.id().to_owned(), event.found().to_vec(), ["subject", "seven"].map(attribute))
    }

    #[test]
    fn what_is_read_by_gaps_is_an_event_and_says_what_it_says_to_those_who_read_its_keys() {
        let cases = std::env::var("EVENTYARD_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40_000);
        let mut random = Rng::with_seed(11);
        let mut skimmer = Skimmer::new(LIMITS);
        let (mut events, mut by_gaps, mut compared) = (0, 0, 0);
        for number in 0..cases {
            // Now and then many stand in another order, so that keys are put elsewhere.
            let turned = number % 4_000 > 3_950;
            let line = line(&mut random, turned);
            let wanted = read_structured(&Bytes::from(line.clone()), &LIMITS).is_ok_and(|(_, shape)| shape.keys_unique);
            events += usize::from(wanted);
            let rest = random.choice(["", "\n", " \r\n{\"id\":\"1\"}", "\n}", "\t"]).unwrap_or_default();
            let text = format!("{line}{rest}");
            let found = skimmer.read_line(&text).map(|(event, length)| (seen(&event), length));
            let Some((found, length)) = found else {
                let by_keys = skimmer.read(line.as_bytes(), &asks).is_some();
                assert!(wanted || !by_keys, "{line}");
                continue;
            };
            assert!(wanted, "{line}");
            assert_eq!(length, text.find('\n').unwrap_or(text.len()), "{text:?}");
            by_gaps += 1;
            if let Some(event) = Skimmer::new(LIMITS).read(line.as_bytes(), &asks) {
                assert_eq!(found, seen(&event), "{line}");
                compared += 1;
            }
        }
        println!("{cases} cases, {events} events, {by_gaps} read by gaps, {compared} of them by keys as well");
        assert!(by_gaps > events / 2 && compared > by_gaps / 2, "{by_gaps} of {events}, {compared}");
    }

    #[test]
    fn an_event_that_is_followed_by_anything_but_the_end_of_the_line_is_left() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let mut skimmer = Skimmer::new(Limits::default());
        assert!(skimmer.read_line(event).is_none(), "nothing is known yet");
        assert!(skimmer.read(event.as_bytes(), &asks).is_some());
        for (rest, length) in [("", Some(0)), ("\n", Some(0)), (" \t\r\nx", Some(3)), ("x", None), ("\u{b}\n", None)] {
            let found = skimmer.read_line(&format!("{event}{rest}")).map(|(_, length)| length);
            assert_eq!(found, length.map(|length| event.len() + length), "{rest:?}");
        }
        for spoilt in ["", "\n", &event[1..], &event[..event.len() - 1], &event.replace(',', ", ")] {
            assert!(skimmer.read_line(spoilt).is_none(), "{spoilt}");
        }
    }

    /// The most gaps that are kept behind the values of one member.
    fn longest(skimmer: &Skimmer) -> usize {
        let super::Gaps { all, first, .. } = &skimmer.gaps;
        let from =
            |first: &u32| std::iter::successors(all.get(*first as usize), |gap| all.get(gap.other as usize)).count();
        first.iter().map(from).max().unwrap_or_default()
    }

    #[test]
    fn gaps_are_forgotten_where_they_are_of_no_use() {
        let mut skimmer = Skimmer::new(Limits::default());
        let event = |rest: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#);
        let usual = event(r#","data":{"a":1}"#);
        // Ever new ones, until there is no more room behind one value; nor is there for keys.
        let mut most = 0;
        for number in 0..3 * super::GAPS_MAX {
            let text = event(&format!(r#","data":{{"k{number}":1}}"#));
            let _ = skimmer.read(text.as_bytes(), &asks);
            assert!(skimmer.gaps.all.len() <= super::GAPS_MAX);
            most = most.max(longest(&skimmer));
        }
        assert_eq!(most, super::LOOKED_AT_MAX);
        let mut taken = 0;
        for _ in 0..400 {
            if skimmer.read_line(&usual).is_some() {
                taken += 1;
            } else {
                let _ = skimmer.read(usual.as_bytes(), &asks);
            }
        }
        // All but those of two rests, and a few.
        assert!(taken > 250, "{taken}");
    }
}
