//! Events that are looked at where they stand, by those who ask for a few values of each of very many events.
//!
//! One pass checks an event in structured mode as [`super::read_structured`] does, and notes by the way where those values
//! stand that somebody asks for. Nothing is copied and no [`Event`](crate::Event) is made. The keys of an event are told by
//! those of the events before ([`super::known`]), and with each key stands whether anybody asks for what it leads to: so
//! that is found out once for a key, not once for an event.
//!
//! What is unusual (escapes or mistakes in attributes, data that is not JSON, keys with dots or in another order) is left to
//! the other reader, which says what it is. So all that this one has to be right about is what it lets pass.

use std::ops::Range;

use super::known::{KnownKeys, Mark, Members, NONE};
use super::quick::{self, Keys, Open, Place, after_space, byte};
use super::scan::text_of;
use crate::attributes::{check_content_type, check_extension, check_schema, check_source, check_text, check_time};
use crate::{Limits, media_type};

/// Reads events where they stand, of whoever asks for the same values of each.
#[derive(Default)]
pub struct Skimmer {
    members: Members,
    /// The containers around the one that is being read.
    outer: Vec<Open<Mark>>,
    /// The members of the event.
    parts: Vec<Place>,
    found: Vec<Found>,
}

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

/// An event that was checked, in the place where it stands.
#[derive(Clone, Copy)]
pub struct Skimmed<'s> {
    text: &'s str,
    id: &'s str,
    parts: &'s [Place],
    found: &'s [Found],
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkimmedValue<'s> {
    /// A string.
    String(&'s str),
    /// A whole number.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

impl Skimmer {
    /// Reads an event. `asks` says by what number anybody asks for what a key leads to, from what is asked for by another
    /// number; `u32::MAX` where nobody does. The event itself is asked for as 0, and arrays are no steps. It says the same
    /// each time: it is asked once for a key.
    ///
    /// `None` says nothing: the event is unusual, or it is none.
    pub fn read<'s>(
        &'s mut self,
        bytes: &'s [u8],
        limits: &Limits,
        asks: &dyn Fn(u32, &str) -> u32,
    ) -> Option<Skimmed<'s>> {
        if bytes.len() > limits.event_bytes_max || !self.members.are_asked() {
            return None;
        }
        let text = text_of(bytes).ok()?;
        let Skimmer { members, outer, parts, found } = self;
        outer.clear();
        parts.clear();
        found.clear();
        let mut keys = AskedKeys { known: KnownKeys::asking(members, asks), found, asked: NONE };
        match skim(text, limits, &mut keys, outer, parts) {
            Some(id) => {
                keys.known.settle(true);
                Some(Skimmed { text, id, parts, found })
            }
            None => {
                keys.known.give_up();
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

/// One bit for each member that an event must have.
const SPECVERSION: u8 = 1;
const ID: u8 = 2;
const SOURCE: u8 = 4;
const TYPE: u8 = 8;
const REQUIRED: u8 = SPECVERSION | ID | SOURCE | TYPE;
/// Those that it may have.
const OPTIONAL: u8 = 16;
const DATA: u8 = 32;
/// A content type that declares no JSON.
const OTHER_CONTENT: u8 = 64;
const EXTENSION: u8 = 128;

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
    // Extensions, and what is as if it were not there.
    let mut other_count = 0;
    let (mut has, mut id) = (0, "");
    let end = quick::outermost(bytes, at, limits.json_depth_max, keys, around, outer, |keys, place| {
        let (name, value) = (text.get(place.key.clone()?)?, text.get(place.value.clone())?);
        let is = match name {
            "data" => DATA,
            _ if value == "null" => {
                keys.found.pop_if(|found| found.place == place.value);
                0
            }
            name => attribute(name, value, limits)?,
        };
        has |= is;
        match is {
            0 | EXTENSION => other_count += 1,
            ID => id = value,
            _ => {}
        }
        parts.push(place);
        (other_count <= limits.extensions_max).then_some(())
    })?;
    let is_event = has & REQUIRED == REQUIRED && has & (DATA | OTHER_CONTENT) != (DATA | OTHER_CONTENT);
    (is_event && keys.unique() && after_space(bytes, end) == bytes.len()).then_some(id)
}

/// Checks an attribute or extension as [`Event::check`](crate::Event::check) does, and gives its bit, where it has one.
fn attribute(name: &str, value: &str, limits: &Limits) -> Option<u8> {
    let text = |name| plain(value).filter(|text| check_text(name, text, limits).is_ok());
    match name {
        "specversion" => (value == "\"1.0\"").then_some(SPECVERSION),
        "id" => text("id").map(|_| ID),
        "source" => text("source").filter(|source| check_source(source).is_ok()).map(|_| SOURCE),
        "type" => text("type").map(|_| TYPE),
        "subject" => text("subject").map(|_| OPTIONAL),
        "time" => text("time").filter(|time| check_time(time).is_ok()).map(|_| OPTIONAL),
        "dataschema" => text("dataschema").filter(|schema| check_schema(schema).is_ok()).map(|_| OPTIONAL),
        "datacontenttype" => {
            let declared = text("datacontenttype").filter(|declared| check_content_type(declared).is_ok())?;
            Some(if media_type::is_json(declared) { OPTIONAL } else { OTHER_CONTENT })
        }
        // `data_base64` is no name of an extension.
        name => {
            let text = if let SkimmedValue::String(text) = self::value(value)? { Some(text) } else { None };
            check_extension(name, text, limits).is_ok().then_some(EXTENSION)
        }
    }
}

/// The text of a JSON string without escapes.
fn plain(value: &str) -> Option<&str> {
    let plain = value.strip_prefix('"')?.strip_suffix('"')?;
    (!plain.as_bytes().contains(&b'\\')).then_some(plain)
}

/// What an extension may be, of JSON that is written as everybody writes it.
fn value(text: &str) -> Option<SkimmedValue<'_>> {
    match text.as_bytes().first()? {
        b'"' => plain(text).map(SkimmedValue::String),
        b't' => Some(SkimmedValue::Boolean(true)),
        b'f' => Some(SkimmedValue::Boolean(false)),
        // An integer has no other zero.
        _ => text.parse().ok().filter(|_| text != "-0").map(SkimmedValue::Integer),
    }
}

/// The keys of the open objects, and whether somebody asks for what they lead to.
struct AskedKeys<'r> {
    known: KnownKeys<'r>,
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
    fn scalar(&mut self, place: Range<usize>, has_escapes: bool) {
        self.note(place, has_escapes);
    }

    #[inline(always)]
    fn close(&mut self, _: Mark, _: usize) {}

    fn unique(&self) -> bool {
        self.known.unique()
    }
}
