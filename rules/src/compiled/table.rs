//! What the rules are filed under at one path: a value of an event leads to the few rules that could ask for it.
//!
//! Each entry is a necessary condition: a rule that is not found does not match, and one that is found is held against
//! the event by the very matchers of its pattern. So a wildcard is filed by what it begins with, and a prefix by its
//! first bytes.

use std::collections::HashMap;
use std::net::IpAddr;

use super::hash::{Fast, Identity, Kind, hash, hash_network, hash_number};
use super::ranges::Ranges;
use super::scratch::{LeafKind, Scratch};
use crate::pattern::case_fold;
use crate::pattern::matcher::Matcher;
use crate::pattern::parse_address;

/// The lengths by which prefixes and suffixes are filed: a longer one by the next shorter of these, so that a text is
/// looked up for a few lengths, however many rules there are.
const AFFIX_LENGTHS: [usize; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64];

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
    Number,
    NumberText,
    Address,
    Network(bool, u8),
    Word,
}

impl Key {
    /// Where an entry of a list may be filed: a wildcard by what it begins with, by what it ends with, and by a piece
    /// of its midst. Never empty.
    pub(super) fn all_of(matcher: &Matcher) -> Vec<Key> {
        let Matcher::Wildcard(glob) = matcher else { return vec![Key::of(matcher)] };
        let [pieces @ .., last] = glob.tail() else { return vec![Key::of(matcher)] };
        let mut keys =
            vec![prefix(glob.head(), Kind::Prefix, Lookup::Prefix), suffix(last, Kind::Suffix, Lookup::Suffix)];
        let longest = pieces.iter().map(|piece| piece.as_bytes()).max_by_key(|piece| piece.len()).unwrap_or_default();
        keys.extend(longest.first_chunk().map(|gram| Key::Gram(*gram)));
        keys.retain(|key| *key != Key::AnyString);
        if keys.is_empty() {
            keys.push(Key::AnyString);
        }
        keys
    }

    /// Where an entry of a list that is no wildcard with stars belongs.
    fn of(matcher: &Matcher) -> Key {
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
            Matcher::Prefix(text) => prefix(text, Kind::Prefix, Lookup::Prefix),
            Matcher::PrefixIgnoreCase(text) => prefix(&text.in_lower_case(), Kind::FoldedPrefix, Lookup::FoldedPrefix),
            Matcher::Suffix(text) => suffix(text, Kind::Suffix, Lookup::Suffix),
            Matcher::SuffixIgnoreCase(text) => suffix(&text.in_lower_case(), Kind::FoldedSuffix, Lookup::FoldedSuffix),
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
            Key::Hash(_, Lookup::Text | Lookup::Number | Lookup::NumberText | Lookup::Address) => share,
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

fn prefix(text: &str, kind: Kind, lookup: impl Fn(usize) -> Lookup) -> Key {
    match affix_length(text.len()) {
        0 => Key::AnyString,
        length => Key::Hash(hash(kind, text.as_bytes().get(..length).unwrap_or_default()), lookup(length)),
    }
}

fn suffix(text: &str, kind: Kind, lookup: impl Fn(usize) -> Lookup) -> Key {
    match affix_length(text.len()) {
        0 => Key::AnyString,
        length => {
            let start = text.len() - length;
            Key::Hash(hash(kind, text.as_bytes().get(start..).unwrap_or_default()), lookup(length))
        }
    }
}

fn affix_length(length: usize) -> usize {
    AFFIX_LENGTHS.into_iter().take_while(|&known| known <= length).last().unwrap_or(0)
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

/// Some of a table's branches.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

/// Everything that is filed at one path.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    hashes: HashMap<u64, Span, Identity>,
    /// The ways of looking that are needed, one for each way and length.
    lookups: Vec<Lookup>,
    /// Whether strings, numbers and words are asked for at all, and whether strings in lower case.
    strings: bool,
    folded: bool,
    numbers: bool,
    words: bool,
    addresses: bool,
    /// Four bytes, and the number that they have in this set.
    grams: HashMap<u64, (u32, Span), Fast>,
    ranges: Ranges,
    any_string: Vec<u32>,
    any: Vec<u32>,
    pub(super) absent: Vec<u32>,
    branches: Vec<u32>,
}

impl Table {
    /// Files branches. `grams` counts the grams of the whole set.
    pub(super) fn new(filed: Vec<(Key, u32)>, grams: &mut usize) -> Table {
        let mut table = Table::default();
        let mut by_hash: Vec<(u64, u32)> = Vec::new();
        let mut by_gram: Vec<(u64, u32)> = Vec::new();
        let mut ranges = Vec::new();
        for (key, branch) in filed {
            match key {
                Key::Hash(hash, lookup) => {
                    by_hash.push((hash, branch));
                    table.ask(lookup);
                }
                Key::Gram(gram) => by_gram.push((u64::from(u32::from_le_bytes(gram)), branch)),
                Key::Range(low, high) => ranges.push((low, high, branch)),
                Key::AnyString => table.any_string.push(branch),
                Key::Any => table.any.push(branch),
                Key::Absent => table.absent.push(branch),
            }
        }
        table.lookups.sort_unstable();
        by_hash.sort_unstable();
        by_hash.dedup();
        by_gram.sort_unstable();
        by_gram.dedup();
        let spans: Vec<(u64, Span)> = by_hash.chunk_by(|a, b| a.0 == b.0).map(|group| table.span(group)).collect();
        table.hashes.reserve(spans.len());
        table.hashes.extend(spans);
        for group in by_gram.chunk_by(|a, b| a.0 == b.0) {
            let (gram, span) = table.span(group);
            table.grams.insert(gram, (u32::try_from(*grams).unwrap_or(u32::MAX), span));
            *grams += 1;
        }
        table.ranges = Ranges::new(ranges);
        table
    }

    fn ask(&mut self, lookup: Lookup) {
        if self.lookups.contains(&lookup) {
            return;
        }
        self.lookups.push(lookup);
        match lookup {
            Lookup::Text | Lookup::Prefix(_) | Lookup::Suffix(_) => self.strings = true,
            Lookup::Folded | Lookup::FoldedPrefix(_) | Lookup::FoldedSuffix(_) => {
                (self.strings, self.folded) = (true, true);
            }
            Lookup::Address | Lookup::Network(..) => (self.strings, self.addresses) = (true, true),
            Lookup::Number | Lookup::NumberText => self.numbers = true,
            Lookup::Word => self.words = true,
        }
    }

    fn span(&mut self, group: &[(u64, u32)]) -> (u64, Span) {
        let start = u32::try_from(self.branches.len()).unwrap_or(u32::MAX);
        self.branches.extend(group.iter().map(|(_, branch)| *branch));
        let end = u32::try_from(self.branches.len()).unwrap_or(u32::MAX);
        (group.first().map_or(0, |(hash, _)| *hash), Span { start, end })
    }

    /// Whether values of this kind lead anywhere.
    pub(super) fn asks_for(&self, kind: LeafKind) -> bool {
        !self.any.is_empty()
            || match kind {
                LeafKind::String => self.strings || !self.any_string.is_empty() || !self.grams.is_empty(),
                LeafKind::Number => self.numbers || !self.ranges.is_empty(),
                LeafKind::Null | LeafKind::True | LeafKind::False => self.words,
            }
    }

    /// Makes candidates of the branches that any value of this kind could be for.
    pub(super) fn find_any(&self, is_string: bool, scratch: &mut Scratch) {
        self.any.iter().for_each(|branch| scratch.add_candidate(*branch));
        if is_string {
            self.any_string.iter().for_each(|branch| scratch.add_candidate(*branch));
        }
    }

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
            self.ranges.around(value, |branch| scratch.add_candidate(branch));
        }
    }

    /// The same for a string.
    pub(super) fn find_string(&self, text: &[u8], scratch: &mut Scratch) {
        let mut folded = std::mem::take(&mut scratch.folded);
        let address = if self.addresses { std::str::from_utf8(text).ok().and_then(parse_address) } else { None };
        if self.folded {
            folded.clear();
            if let Ok(text) = std::str::from_utf8(text) {
                folded.extend(text.chars().map(case_fold));
            }
        }
        for lookup in &self.lookups {
            let hash = match *lookup {
                Lookup::Text => Some(hash(Kind::Text, text)),
                Lookup::Prefix(length) => text.get(..length).map(|text| hash(Kind::Prefix, text)),
                Lookup::Suffix(length) => last(text, length).map(|text| hash(Kind::Suffix, text)),
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
        scratch.folded = folded;
    }

    fn find_grams(&self, text: &[u8], scratch: &mut Scratch) {
        for gram in text.windows(GRAM).filter_map(|window| window.first_chunk()) {
            let gram = u64::from(u32::from_le_bytes(*gram));
            if let Some((number, span)) = self.grams.get(&gram)
                && scratch.is_new_gram(*number)
            {
                self.add(*span, scratch);
            }
        }
    }

    #[inline]
    fn find_hash(&self, hash: u64, scratch: &mut Scratch) {
        if let Some(span) = self.hashes.get(&hash) {
            self.add(*span, scratch);
        }
    }

    fn add(&self, span: Span, scratch: &mut Scratch) {
        let branches = self.branches.get(span.start as usize..span.end as usize).unwrap_or_default();
        branches.iter().for_each(|branch| scratch.add_candidate(*branch));
    }
}

fn last(text: &[u8], length: usize) -> Option<&[u8]> {
    text.get(text.len().checked_sub(length)?..)
}
