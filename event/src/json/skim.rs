//! Events that are looked at where they stand, by those who ask for a few values of each of very many events.
//!
//! One pass checks an event in structured mode as [`super::read_structured`] does, and notes by the way where those values
//! stand that somebody asks for. Nothing is copied and no [`Event`](crate::Event) is made. The keys of an event are told by
//! those of the events before ([`super::known`]), and with each key stands whether anybody asks for what it leads to: so
//! that is found out once for a key, not once for an event.
//!
//! Where an event differs from those before in its values alone, not even its keys are looked at one by one: what stands between
//! two values is told by what stood there before ([`super::gaps`]).
//!
//! What is unusual (escapes or mistakes in attributes, data that is not JSON, keys with dots or in another order) is left to
//! the other reader, which says what it is. So all that this one has to be right about is what it lets pass.

use std::ops::Range;

use super::attributes::{Attributes, SkimmedValue, is_plain, value};
use super::gaps::{Gaps, Value};
use super::known::{Found, KnownKeys, Mark, Members, NONE, OUTERMOST};
use super::outline::Place;
use super::quick::{self, Keys, Open, after_scalar, after_space, byte};
use super::scan::text_of;
use crate::Limits;

/// Reads events where they stand, of whoever asks for the same values of each.
pub struct Skimmer {
    limits: Limits,
    members: Members,
    pub(super) gaps: Gaps,
    /// The containers around the one that is being read.
    outer: Vec<Open<Mark>>,
    /// The values of the event that are no containers, in case that something is to be learnt from it.
    values: Vec<Value>,
    /// The members of the event.
    parts: Vec<Place>,
    found: Vec<Found>,
}

/// An event that was checked, in the place where it stands.
#[derive(Clone, Copy)]
pub struct Skimmed<'s> {
    text: &'s str,
    id: &'s str,
    parts: &'s [Place],
    found: &'s [Found],
}

impl Skimmer {
    /// For events within these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Skimmer {
        Skimmer {
            limits,
            members: Members::default(),
            gaps: Gaps::default(),
            outer: Vec::new(),
            values: Vec::new(),
            parts: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Reads an event. `asks` says by what number anybody asks for what a key leads to, from what is asked for by another
    /// number; `u32::MAX` where nobody does. The event itself is asked for as 0, and arrays are no steps. It says the same
    /// each time: it is asked once for a key.
    ///
    /// `None` says nothing: the event is unusual, or it is none.
    pub fn read<'s>(&'s mut self, bytes: &'s [u8], asks: &dyn Fn(u32, &str) -> u32) -> Option<Skimmed<'s>> {
        if bytes.len() > self.limits.event_bytes_max {
            return None;
        }
        let text = text_of(bytes).ok()?;
        let id = self.read_by_keys(text, asks)?;
        Some(Skimmed { text, id, parts: &self.parts, found: &self.found })
    }

    /// Reads the event in the first line of a text, if all in it is as it was in those that were read before, but for the
    /// values. Nobody needs to look for the line's end: that is given as well, the place of its line feed or the text's end.
    ///
    /// `None` says nothing.
    pub fn read_line<'s>(&'s mut self, text: &'s str) -> Option<(Skimmed<'s>, usize)> {
        let (end, id) = self.read_by_gaps(text)?;
        let mut line_end = end;
        while matches!(byte(text.as_bytes(), line_end), b' ' | b'\t' | b'\r') {
            line_end += 1;
        }
        let is_whole_line = line_end == text.len() || byte(text.as_bytes(), line_end) == b'\n';
        if !is_whole_line || end > self.limits.event_bytes_max {
            return None;
        }
        Some((Skimmed { text: text.get(..end)?, id, parts: &self.parts, found: &self.found }, line_end))
    }

    /// Gives where the event ends, and its id.
    fn read_by_gaps<'a>(&mut self, text: &'a str) -> Option<(usize, &'a str)> {
        let Skimmer { limits, members, gaps, parts, found, .. } = self;
        if !gaps.are_asked(members) {
            return None;
        }
        let bytes = text.as_bytes();
        parts.clear();
        found.clear();
        let mut event = Attributes::default();
        let (mut at, mut member) = (0, OUTERMOST);
        loop {
            let gap = gaps.behind(member, bytes, at)?;
            event.has |= gap.has;
            for (asked, place) in &gap.arrays {
                found.push(Found { asked: *asked, place: at + place..at + place, is_folded: true });
            }
            let start = at + gap.text.length();
            if gap.to == NONE {
                at = start;
                break;
            }
            let (end, has_escapes) = after_scalar(bytes, start)?;
            if gap.asked != NONE {
                found.push(Found { asked: gap.asked, place: start..end, is_folded: has_escapes });
            }
            if let Some(name) = &gap.name {
                let part = Place { key: Some(at + name.start..at + name.end), value: start..end };
                let is_plain = !has_escapes && is_plain(gap.is, bytes, start..end, limits);
                event.add(text, part, is_plain.then_some(gap.is), limits, parts, found)?;
            }
            (at, member) = (end, gap.to);
        }
        if !event.is_whole() {
            return None;
        }
        gaps.praise();
        // It would have been read by them, too.
        members.praise();
        Some((at, event.id))
    }

    /// Reads any other.
    fn read_by_keys<'a>(&mut self, text: &'a str, asks: &dyn Fn(u32, &str) -> u32) -> Option<&'a str> {
        let Skimmer { limits, members, gaps, outer, values, parts, found } = self;
        if !members.are_asked() {
            return None;
        }
        outer.clear();
        values.clear();
        parts.clear();
        found.clear();
        let mut keys = AskedKeys { known: KnownKeys::asking(members, asks), values, found, asked: NONE };
        match skim(text, limits, &mut keys, outer, parts) {
            Some(id) => {
                keys.known.settle(true);
                gaps.learn(text.as_bytes(), values, parts, found, members);
                Some(id)
            }
            None => {
                keys.known.give_up();
                gaps.blame();
                None
            }
        }
    }
}

impl<'s> Skimmed<'s> {
    /// The event's text.
    #[must_use]
    pub fn text(&self) -> &'s str {
        self.text
    }

    /// Its id, as JSON.
    #[must_use]
    pub fn id(&self) -> &'s str {
        self.id
    }

    /// The values that are asked for, in the order of the text.
    #[must_use]
    pub fn found(&self) -> &'s [Found] {
        self.found
    }

    /// An attribute or extension by its name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<SkimmedValue<'s>> {
        let has_name = |part: &&Place| part.key.clone().and_then(|key| self.text.get(key)) == Some(name);
        let part = self.parts.iter().find(has_name).filter(|_| name != "data")?;
        value(self.text.get(part.value.clone())?)
    }
}

/// Reads an event, notes its members, and gives its id as JSON.
fn skim<'a>(
    text: &'a str,
    limits: &Limits,
    keys: &mut AskedKeys<'_>,
    outer: &mut Vec<Open<Mark>>,
    parts: &mut Vec<Place>,
) -> Option<&'a str> {
    let bytes = text.as_bytes();
    let at = after_space(bytes, 0);
    if byte(bytes, at) != b'{' {
        return None;
    }
    let around = keys.outermost();
    let mut event = Attributes::default();
    let end = quick::outermost(bytes, at, limits.json_depth_max, keys, around, outer, |keys, part| {
        event.add(text, part, None, limits, parts, keys.found)
    })?;
    (event.is_whole() && keys.unique() && after_space(bytes, end) == bytes.len()).then_some(event.id)
}

/// The keys of the open objects, and whether somebody asks for what they lead to.
struct AskedKeys<'r> {
    known: KnownKeys<'r>,
    values: &'r mut Vec<Value>,
    found: &'r mut Vec<Found>,
    /// By what number somebody asks for the value that comes next, or [`NONE`].
    asked: u32,
}

impl AskedKeys<'_> {
    #[inline(always)]
    fn note(&mut self, place: Range<usize>, is_folded: bool) {
        if self.asked != NONE {
            self.found.push(Found { asked: self.asked, place, is_folded });
            self.asked = NONE;
        }
    }
}

impl<'a> Keys<'a> for AskedKeys<'_> {
    type Own = Mark;

    fn outermost(&mut self) -> Mark {
        self.known.outermost()
    }

    #[inline(always)]
    fn open(&mut self, is_object: bool, at: usize, around: Mark) -> Option<Mark> {
        if is_object {
            self.asked = NONE;
        } else {
            self.note(at..at, true);
        }
        self.known.open(is_object, at, around)
    }

    #[inline(always)]
    fn read(&mut self, bytes: &'a [u8], at: usize, mark: &mut Mark, depth: usize) -> Option<(Range<usize>, usize)> {
        let read = self.known.read(bytes, at, mark, depth)?;
        self.asked = self.known.asked(*mark);
        Some(read)
    }

    #[inline(always)]
    fn scalar(&mut self, place: Range<usize>, has_escapes: bool, own: Mark) {
        self.values.push(Value { member: own.last, place: place.clone() });
        self.note(place, has_escapes);
    }

    #[inline(always)]
    fn close(&mut self, _: Mark, _: usize) {}

    fn unique(&self) -> bool {
        self.known.unique()
    }
}
