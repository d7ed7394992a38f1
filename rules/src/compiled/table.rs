//! What the rules are filed under at one path: a value of an event leads to the few rules that could ask for it.
//!
//! Each entry is a necessary condition: a rule that is not found does not match, and one that is found is held against
//! the event by the very matchers of its pattern. So a wildcard is filed by what it begins with, and a prefix by its
//! first bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use super::filed::Filed;
use super::hash::{Fast, Kind, hash, hash_both, hash_network, hash_number};
use super::paths::NONE;
use super::places::Places;
use super::ranges::Ranges;
use super::scratch::{LeafKind, Probe, Scratch};
use crate::pattern::case_fold;
use crate::pattern::matcher::Matcher;
use crate::pattern::parse_address;

/// How many lengths of prefixes, and as many of suffixes, are looked up at one path.
const AFFIX_LENGTHS_MAX: usize = 16;

/// The longest one.
const AFFIX_LENGTH_MAX: usize = 64;

/// The lengths by which prefixes are filed at one path, or suffixes: those that the rules there have, so that mostly what
/// is found is what was asked for. Where they have more than are looked up, a longer one is filed by the next shorter.
#[derive(Clone, Debug, Default)]
pub(super) struct Lengths {
    /// One bit for each that is asked for; the lowest one stands for 1.
    asked: u64,
}

impl Lengths {
    /// The lengths that are kept where there are too many, one for each bit.
    const COARSE: u64 = {
        let lengths = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64];
        let (mut bits, mut at) = (0, 0);
        while at < AFFIX_LENGTHS_MAX {
            bits |= 1 << (lengths[at] - 1);
            at += 1;
        }
        bits
    };

    pub(super) fn ask(&mut self, length: usize) {
        if length > 0 {
            self.asked |= 1 << (length.min(AFFIX_LENGTH_MAX) - 1);
        }
    }

    /// The length by which an affix is filed; 0 where there is none.
    fn of(&self, length: usize) -> usize {
        let kept = if self.asked.count_ones() as usize > AFFIX_LENGTHS_MAX { Lengths::COARSE } else { self.asked };
        let shorter = kept & (u64::MAX >> (AFFIX_LENGTH_MAX - length.clamp(1, AFFIX_LENGTH_MAX)));
        if length == 0 { 0 } else { AFFIX_LENGTH_MAX - shorter.leading_zeros() as usize }
    }
}

/// The lengths at one path.
#[derive(Clone, Debug, Default)]
pub(super) struct AffixLengths {
    heads: Lengths,
    tails: Lengths,
}

impl AffixLengths {
    /// Takes account of what an entry of a list at the path begins or ends with.
    pub(super) fn ask(&mut self, matcher: &Matcher) {
        match matcher {
            Matcher::Prefix(text) => self.heads.ask(text.len()),
            Matcher::PrefixIgnoreCase(text) => self.heads.ask(text.in_lower_case().len()),
            Matcher::Suffix(text) => self.tails.ask(text.len()),
            Matcher::SuffixIgnoreCase(text) => self.tails.ask(text.in_lower_case().len()),
            Matcher::Wildcard(glob) => {
                if let [.., last] = glob.tail() {
                    self.heads.ask(glob.head().len());
                    self.tails.ask(last.len());
                }
            }
            _ => {}
        }
    }
}

/// How much of each end counts where both are filed together.
const END_BYTES_MAX: usize = 64;

/// The bytes of a piece from the midst of a wildcard by which it is filed.
const GRAM: usize = 4;

/// Where an entry of a list is filed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key {
    /// By the hash of what stands there, and how it is looked for.
    Hash(u64, Lookup),
    /// By four bytes that stand somewhere in the text.
    Gram([u8; GRAM]),
    /// By the numbers between two bounds.
    Range(f64, f64),
    /// Under every string.
    AnyString,
    /// Under every value.
    Any,
    /// Where there is no value.
    Absent,
}

/// How a value is turned into what a hash was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lookup {
    Text,
    Folded,
    Prefix(usize),
    FoldedPrefix(usize),
    Suffix(usize),
    FoldedSuffix(usize),
    /// What it begins with and what it ends with.
    Both(usize, usize),
    Number,
    NumberText,
    Address,
    Network(bool, u8),
    Word,
}

impl Key {
    /// Where an entry of a list may be filed: a wildcard by what it begins with, by what it ends with, by a piece of
    /// its midst, and last by both its ends. Never empty.
    pub(super) fn all_of(matcher: &Matcher, lengths: &AffixLengths) -> Vec<Key> {
        let Matcher::Wildcard(glob) = matcher else { return vec![Key::of(matcher, lengths)] };
        let [pieces @ .., last] = glob.tail() else { return vec![Key::of(matcher, lengths)] };
        let mut keys = vec![
            prefix(glob.head(), &lengths.heads, Kind::Prefix, Lookup::Prefix),
            suffix(last, &lengths.tails, Kind::Suffix, Lookup::Suffix),
        ];
        let longest = pieces.iter().map(|piece| piece.as_bytes()).max_by_key(|piece| piece.len()).unwrap_or_default();
        keys.extend(longest.first_chunk().map(|gram| Key::Gram(*gram)));
        keys.retain(|key| *key != Key::AnyString);
        if let (Some(head), Some(tail)) = (first(glob.head().as_bytes()), end(last.as_bytes())) {
            keys.push(Key::Hash(hash_both(head, tail), Lookup::Both(head.len(), tail.len())));
        }
        if keys.is_empty() {
            keys.push(Key::AnyString);
        }
        keys
    }

    /// Where an entry of a list that is no wildcard with stars belongs.
    fn of(matcher: &Matcher, lengths: &AffixLengths) -> Key {
        let AffixLengths { heads, tails } = lengths;
        match matcher {
            Matcher::Null => Key::Hash(hash(Kind::Word, b"null"), Lookup::Word),
            Matcher::Bool(true) => Key::Hash(hash(Kind::Word, b"true"), Lookup::Word),
            Matcher::Bool(false) => Key::Hash(hash(Kind::Word, b"false"), Lookup::Word),
            Matcher::Number(number) if number.value.is_some() => {
                Key::Hash(hash_number(number.text.as_bytes()), Lookup::Number)
            }
            Matcher::Number(number) => Key::Hash(hash(Kind::NumberText, number.text.as_bytes()), Lookup::NumberText),
            Matcher::String { text, .. } => Key::Hash(hash(Kind::Text, text.as_bytes()), Lookup::Text),
            Matcher::Address { address, .. } => Key::Hash(hash_address(*address), Lookup::Address),
            Matcher::Prefix(text) => prefix(text, heads, Kind::Prefix, Lookup::Prefix),
            Matcher::PrefixIgnoreCase(text) => {
                prefix(&text.in_lower_case(), heads, Kind::FoldedPrefix, Lookup::FoldedPrefix)
            }
            Matcher::Suffix(text) => suffix(text, tails, Kind::Suffix, Lookup::Suffix),
            Matcher::SuffixIgnoreCase(text) => {
                suffix(&text.in_lower_case(), tails, Kind::FoldedSuffix, Lookup::FoldedSuffix)
            }
            Matcher::EqualsIgnoreCase(text) => {
                Key::Hash(hash(Kind::Folded, text.in_lower_case().as_bytes()), Lookup::Folded)
            }
            Matcher::Wildcard(glob) => Key::Hash(hash(Kind::Text, glob.head().as_bytes()), Lookup::Text),
            Matcher::Numeric(range) if range.equal => match &range.lower {
                Some(bound) => Key::Hash(hash_number(bound.text.as_bytes()), Lookup::Number),
                None => Key::Any,
            },
            Matcher::Numeric(range) => Key::Range(
                range.lower.as_ref().map_or(f64::NEG_INFINITY, |bound| bound.value),
                range.upper.as_ref().map_or(f64::INFINITY, |bound| bound.value),
            ),
            Matcher::Cidr { network, .. } => {
                let (bits, is_v4) = (network.prefix_len(), network.addr().is_ipv4());
                let masked = masked(network.addr(), bits);
                Key::Hash(hash_network(bits, masked, is_v4), Lookup::Network(is_v4, bits))
            }
            Matcher::AnythingBut(_) | Matcher::Present => Key::Any,
            Matcher::Absent => Key::Absent,
        }
    }

    /// How it is looked for, where it is by hash.
    pub(super) fn lookup(&self) -> Option<Lookup> {
        match self {
            Key::Hash(_, lookup) => Some(*lookup),
            _ => None,
        }
    }

    /// Whether it is both ends of a wildcard.
    pub(super) fn is_pair(&self) -> bool {
        matches!(self, Key::Hash(_, Lookup::Both(..)))
    }

    /// What tells it from other keys at the same path; `None` for those that any number of rules share.
    pub(super) fn identity(&self) -> Option<u64> {
        match self {
            Key::Hash(hash, _) => Some(*hash),
            Key::Gram(gram) => Some(hash(Kind::Gram, gram)),
            Key::Range(low, high) => Some(hash(Kind::Word, &[low.to_le_bytes(), high.to_le_bytes()].concat())),
            Key::AnyString | Key::Any | Key::Absent => None,
        }
    }

    /// How likely an event's value leads here, where `kinds` different keys of the same sort are asked for.
    pub(super) fn likelihood(&self, kinds: usize) -> f64 {
        // Rules of this many kinds; precision does not matter.
        let share = 1.0 / (u32::try_from(kinds).map_or(f64::MAX, f64::from) + 1.0);
        match self {
            Key::Hash(_, Lookup::Word) => 0.5,
            Key::Hash(_, Lookup::Text | Lookup::Both(..) | Lookup::Number | Lookup::NumberText | Lookup::Address) => {
                share
            }
            Key::Hash(_, Lookup::Folded) => 1.1 * share,
            Key::Hash(_, Lookup::Network(..)) => 1.5 * share,
            Key::Hash(_, Lookup::Prefix(length) | Lookup::FoldedPrefix(length)) if *length < 3 => 3.0 * share,
            Key::Hash(..) => 1.5 * share,
            Key::Gram(_) => 2.0 * share,
            Key::Range(..) => 0.6,
            Key::AnyString => 0.8,
            Key::Any => 0.95,
            Key::Absent => 1.0,
        }
    }
}

fn prefix(text: &str, lengths: &Lengths, kind: Kind, lookup: impl Fn(usize) -> Lookup) -> Key {
    match lengths.of(text.len()) {
        0 => Key::AnyString,
        length => Key::Hash(hash(kind, text.as_bytes().get(..length).unwrap_or_default()), lookup(length)),
    }
}

fn suffix(text: &str, lengths: &Lengths, kind: Kind, lookup: impl Fn(usize) -> Lookup) -> Key {
    match lengths.of(text.len()) {
        0 => Key::AnyString,
        length => {
            let start = text.len() - length;
            Key::Hash(hash(kind, text.as_bytes().get(start..).unwrap_or_default()), lookup(length))
        }
    }
}

/// The beginning by which both ends are filed; `None` where there is none.
fn first(head: &[u8]) -> Option<&[u8]> {
    head.get(..head.len().min(END_BYTES_MAX)).filter(|head| !head.is_empty())
}

/// The end by which both ends are filed; `None` where there is none.
fn end(tail: &[u8]) -> Option<&[u8]> {
    last(tail, tail.len().min(END_BYTES_MAX)).filter(|tail| !tail.is_empty())
}

fn hash_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(Kind::Address, &address.octets()),
        IpAddr::V6(address) => hash(Kind::Address, &address.octets()),
    }
}

fn masked(address: IpAddr, bits: u8) -> u128 {
    let (address, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let free = u32::from(width - bits.min(width));
    address.checked_shr(free).and_then(|kept| kept.checked_shl(free)).unwrap_or(0)
}

/// A branch that is to be filed.
#[derive(Clone, Debug)]
pub(super) struct ToFile {
    pub(super) key: Key,
    pub(super) filed: Filed,
    /// The path and the hash of the text that its guard asks for, where it is at another path and asks for one text.
    pub(super) guard: Option<(u32, u64)>,
}

/// Everything that is filed at one path: for each key the place in the set's list where its branches begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    hashes: Places,
    /// The path of the guards that are part of the keys: of what shares a key with many others mostly nothing is found
    /// but what shares the guard too.
    pub(super) guarded_by: Option<u32>,
    /// Whether there are keys without a guard.
    has_plain: bool,
    /// Where in the set's list the branches of this table stand.
    branches: Range<u32>,
    /// One bit for each kind of value that leads anywhere.
    asked: u8,
    /// The ways of looking that are needed, one for each way and length.
    lookups: Vec<Lookup>,
    /// Whether strings, numbers and words are asked for at all, and whether strings in lower case.
    strings: bool,
    folded: bool,
    numbers: bool,
    words: bool,
    addresses: bool,
    /// Four bytes, and the number that they have in this set.
    grams: HashMap<u64, (u32, u32), Fast>,
    ranges: Ranges,
    any_string: Option<u32>,
    any: Option<u32>,
    pub(super) absent: Option<u32>,
}

impl Table {
    /// Files the branches of a slot, which go to the end of `list`. `grams` counts the grams of the whole set.
    pub(super) fn new(to_file: Vec<ToFile>, list: &mut Vec<Filed>, grams: &mut usize) -> Table {
        let mut table = Table { guarded_by: guarding_path(&to_file), ..Table::default() };
        let first = place(list);
        let mut by_hash: Vec<Filed> = Vec::new();
        let mut by_gram: Vec<(u64, Filed)> = Vec::new();
        let (mut any_string, mut any, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        let mut ranges = Vec::new();
        for ToFile { key, filed: branch, guard } in to_file {
            match key {
                Key::Hash(hash, lookup) => {
                    let guard = guard.filter(|(path, _)| table.guarded_by == Some(*path));
                    table.has_plain |= guard.is_none();
                    // As much of the hash as is looked at: what shares that is filed together.
                    let tag = Places::tag(hash) ^ guard.map_or(NO_GUARD, |(_, text)| guard_tag(text));
                    by_hash.push(branch.with_tag(tag));
                    table.ask(lookup);
                }
                Key::Gram(gram) => by_gram.push((u64::from(u32::from_le_bytes(gram)), branch)),
                Key::Range(low, high) => {
                    ranges.push((low, high, side_by_side(&mut vec![branch], list).unwrap_or(NONE)))
                }
                Key::AnyString => any_string.push(branch),
                Key::Any => any.push(branch),
                Key::Absent => absent.push(branch),
            }
        }
        table.lookups.sort_unstable();
        by_hash.sort_unstable_by_key(|branch| branch.tag);
        by_gram.sort_unstable_by_key(|(gram, _)| *gram);
        let mut group = Vec::new();
        let hashed = place(list);
        for same in by_hash.chunk_by(|a, b| a.tag == b.tag) {
            group.clear();
            group.extend_from_slice(same);
            side_by_side(&mut group, list);
        }
        table.hashes = Places::new(list.get(hashed as usize..).unwrap_or_default(), hashed);
        let mut groups = |filed: &[(u64, Filed)], list: &mut Vec<Filed>| -> Vec<(u64, u32)> {
            let groups = filed.chunk_by(|a, b| a.0 == b.0).filter_map(|same| {
                group.clear();
                group.extend(same.iter().map(|(_, branch)| *branch));
                Some((same.first()?.0, side_by_side(&mut group, list)?))
            });
            groups.collect()
        };
        for (gram, start) in groups(&by_gram, list) {
            table.grams.insert(gram, (u32::try_from(*grams).unwrap_or(u32::MAX), start));
            *grams += 1;
        }
        table.ranges = Ranges::new(ranges);
        table.any_string = side_by_side(&mut any_string, list);
        table.any = side_by_side(&mut any, list);
        table.absent = side_by_side(&mut absent, list);
        table.branches = first..place(list);
        for kind in LeafKind::ALL {
            table.asked |= u8::from(table.leads_anywhere(kind)) << kind as u8;
        }
        table
    }

    fn ask(&mut self, lookup: Lookup) {
        if self.lookups.contains(&lookup) {
            return;
        }
        self.lookups.push(lookup);
        match lookup {
            Lookup::Text | Lookup::Prefix(_) | Lookup::Suffix(_) | Lookup::Both(..) => self.strings = true,
            Lookup::Folded | Lookup::FoldedPrefix(_) | Lookup::FoldedSuffix(_) => {
                (self.strings, self.folded) = (true, true);
            }
            Lookup::Address | Lookup::Network(..) => (self.strings, self.addresses) = (true, true),
            Lookup::Number | Lookup::NumberText => self.numbers = true,
            Lookup::Word => self.words = true,
        }
    }

    /// Whether values of this kind lead anywhere.
    #[inline]
    pub(super) fn asks_for(&self, kind: LeafKind) -> bool {
        self.asked >> kind as u8 & 1 == 1
    }

    fn leads_anywhere(&self, kind: LeafKind) -> bool {
        self.any.is_some()
            || match kind {
                LeafKind::String => self.strings || self.any_string.is_some() || !self.grams.is_empty(),
                LeafKind::Number => self.numbers || !self.ranges.is_empty(),
                LeafKind::Null | LeafKind::True | LeafKind::False => self.words,
            }
    }

    /// Whether each key has a guard.
    #[inline]
    pub(super) fn is_guarded_alone(&self) -> bool {
        !self.has_plain && self.guarded_by.is_some()
    }

    /// Finds every branch of this table.
    pub(super) fn find_all(&self, list: &[Filed], places: &mut Vec<u32>) {
        let mut is_first = true;
        for place in self.branches.clone() {
            if is_first {
                places.push(place);
            }
            is_first = list.get(place as usize).is_none_or(|filed| filed.is_last());
        }
    }

    /// Finds the branches that any value of this kind could be for.
    pub(super) fn find_any(&self, is_string: bool, scratch: &mut Scratch) {
        scratch.places.extend(self.any);
        if is_string {
            scratch.places.extend(self.any_string);
        }
    }

    /// Finds the branches that this word could be for.
    pub(super) fn find_word(&self, word: &[u8], scratch: &mut Scratch) {
        self.find_hash(hash(Kind::Word, word), scratch);
    }

    /// The same for a number. `value` gives its value where that is exact.
    pub(super) fn find_number(&self, text: &[u8], value: impl FnOnce() -> Option<f64>, scratch: &mut Scratch) {
        for lookup in &self.lookups {
            match lookup {
                Lookup::Number => self.find_hash(hash_number(text), scratch),
                Lookup::NumberText => self.find_hash(hash(Kind::NumberText, text), scratch),
                _ => {}
            }
        }
        if !self.ranges.is_empty()
            && let Some(value) = value()
        {
            self.ranges.around(value, |place| scratch.places.push(place));
        }
    }

    /// The same for a string, whose hash as a text is kept in `known`.
    pub(super) fn find_string(&self, text: &[u8], known: &mut u64, scratch: &mut Scratch) {
        let address = if self.addresses { std::str::from_utf8(text).ok().and_then(parse_address) } else { None };
        let mut folded = String::new();
        if self.folded {
            folded = std::mem::take(&mut scratch.folded);
            fold(text, &mut folded);
        }
        for lookup in &self.lookups {
            let hash = match *lookup {
                Lookup::Text => Some(known_hash(known, text)),
                Lookup::Prefix(length) => text.get(..length).map(|text| hash(Kind::Prefix, text)),
                Lookup::Suffix(length) => last(text, length).map(|text| hash(Kind::Suffix, text)),
                Lookup::Both(head, tail) => {
                    text.get(..head).zip(last(text, tail)).map(|(head, tail)| hash_both(head, tail))
                }
                Lookup::Folded => Some(hash(Kind::Folded, folded.as_bytes())),
                Lookup::FoldedPrefix(length) => {
                    folded.as_bytes().get(..length).map(|text| hash(Kind::FoldedPrefix, text))
                }
                Lookup::FoldedSuffix(length) => {
                    last(folded.as_bytes(), length).map(|text| hash(Kind::FoldedSuffix, text))
                }
                Lookup::Address => address.map(hash_address),
                Lookup::Network(is_v4, bits) => address
                    .filter(|address| address.is_ipv4() == is_v4)
                    .map(|address| hash_network(bits, masked(address, bits), is_v4)),
                Lookup::Number | Lookup::NumberText | Lookup::Word => None,
            };
            if let Some(hash) = hash {
                self.find_hash(hash, scratch);
            }
        }
        if !self.grams.is_empty() {
            self.find_grams(text, scratch);
        }
        if self.folded {
            scratch.folded = folded;
        }
    }

    fn find_grams(&self, text: &[u8], scratch: &mut Scratch) {
        for gram in text.windows(GRAM).filter_map(|window| window.first_chunk()) {
            let gram = u64::from(u32::from_le_bytes(*gram));
            if let Some((number, place)) = self.grams.get(&gram)
                && scratch.is_new_gram(*number)
            {
                scratch.places.push(*place);
            }
        }
    }

    #[inline]
    fn find_hash(&self, hash: u64, scratch: &mut Scratch) {
        let Scratch { probes, guards, .. } = scratch;
        for guard in guards.iter() {
            let tag = Places::tag(hash) ^ guard;
            if let Some(stretch) = self.hashes.stretch(tag) {
                probes.push(Probe { tag, stretch });
            }
        }
    }
}

/// How many texts at the path of the guards are looked up with each value of another path. An event with more costs a
/// look at everything that is filed there.
const GUARDS_MAX: usize = 8;

/// What stands for a guard where there is none.
pub(super) const NO_GUARD: u32 = 0;

/// What a guard adds to the tag of a key: the half of its text's hash that is no tag, so that equal texts at both paths
/// do not take each other away.
#[inline]
fn guard_tag(text: u64) -> u32 {
    Places::tag(text >> 32)
}

/// Adds the guard with this text to those that values are looked up with. False where there are too many.
#[inline]
pub(super) fn add_guard(text: u64, guards: &mut Vec<u32>) -> bool {
    let guard = guard_tag(text);
    if !guards.contains(&guard) {
        guards.push(guard);
    }
    guards.len() <= GUARDS_MAX
}

/// The path whose texts become part of the keys: that of the guards of nearly all branches that are filed by hash, for
/// the others cost each value a look of their own.
fn guarding_path(to_file: &[ToFile]) -> Option<u32> {
    let guards = || to_file.iter().filter(|branch| branch.key.lookup().is_some()).map(|branch| branch.guard);
    let (path, _) = guards().flatten().next()?;
    let share = guards().filter(|guard| guard.is_some_and(|guard| guard.0 == path)).count();
    (10 * share >= 9 * guards().count()).then_some(path)
}

/// The next place of a list.
fn place(list: &[Filed]) -> u32 {
    u32::try_from(list.len()).unwrap_or(NONE)
}

/// A text in lower case.
fn fold(text: &[u8], folded: &mut String) {
    folded.clear();
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.is_ascii() {
        folded.push_str(text);
        folded.make_ascii_lowercase();
    } else {
        folded.extend(text.chars().map(case_fold));
    }
}

/// The hash of a text, found out once.
#[inline]
pub(super) fn known_hash(known: &mut u64, text: &[u8]) -> u64 {
    if *known == 0 {
        *known = hash(Kind::Text, text);
    }
    *known
}

/// Puts branches side by side at the end of the list, each once; gives where they begin.
fn side_by_side(branches: &mut Vec<Filed>, list: &mut Vec<Filed>) -> Option<u32> {
    branches.sort_unstable_by_key(|filed| (filed.guard, filed.branch()));
    branches.dedup_by_key(|filed| filed.branch());
    branches.last_mut()?.mark_last();
    let start = u32::try_from(list.len()).ok()?;
    list.extend_from_slice(branches);
    Some(start)
}

fn last(text: &[u8], length: usize) -> Option<&[u8]> {
    text.get(text.len().checked_sub(length)?..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_affix_is_filed_by_its_length_or_by_the_next_shorter_one() {
        let mut few = Lengths::default();
        [0, 3, 19, 21, 200].into_iter().for_each(|length| few.ask(length));
        let filed: Vec<usize> = [0, 2, 3, 19, 20, 21, 63, 64, 200].into_iter().map(|length| few.of(length)).collect();
        assert_eq!(filed, [0, 0, 3, 19, 19, 21, 21, 64, 64]);
        let mut many = Lengths::default();
        (1..100).for_each(|length| many.ask(length));
        assert_eq!([1, 9, 23, 64, 99].map(|length| many.of(length)), [1, 8, 20, 64, 64]);
    }

    proptest! {
        #[test]
        fn bounds_of_half_the_size_leave_nothing_out(low: f64, width in 0.0..1e300f64, part in 0.0..=1.0f64) {
            let low = if low.is_nan() { 0.0 } else { low };
            let high = low + width;
            let filed = Filed::new(3, NONE, Some((1, low, high)));
            prop_assert!(filed.may_hold(low) && filed.may_hold(high));
            let inside = low + part * width;
            prop_assert!(!(low <= inside && inside <= high) || filed.may_hold(inside));
        }
    }
}
