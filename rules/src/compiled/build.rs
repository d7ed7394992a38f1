//! Puts a set together: equal fields are made one, and each pattern is filed at the path where the fewest events will lead
//! to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::filed::Filed;
use super::hash::Fast;
use super::paths::NONE;
use super::scratch::Sizes;
use super::table::{AffixLengths, Key, Lookup, Table, ToFile, known_hash};
use super::{ALONE, Entry, PatternSet, Quick, SOURCE_SLOT, SetBranch, SetField};
use crate::pattern::matcher::{Except, Matcher};
use crate::pattern::{Branch, Field};

/// How many wildcards may share one end before they are filed under both.
const SHARED_MAX: usize = 8;

/// How many pairs of lengths there are at one path, each of which costs every value there a look: those of most
/// wildcards.
const PAIRS_MAX: usize = 8;

/// What is known while a set is put together.
#[derive(Default)]
pub(super) struct Builder {
    set: PatternSet,
    /// By path.
    slots: HashMap<Arc<str>, u32>,
    /// By the hash of path and list, so that equal fields are one.
    known: HashMap<u64, u32, Fast>,
    /// A field as text.
    written: String,
}

impl Builder {
    pub(super) fn new() -> Builder {
        let mut builder = Builder::default();
        // That of the source's name.
        builder.set.tables.push(Table::default());
        builder
    }

    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        let from = (!entry.from.is_empty()).then(|| {
            let accepts = entry.from.iter().map(|name| Matcher::String { text: (*name).into(), exactly: true });
            let field = Arc::new(Field::new(Arc::from("\0source"), accepts.collect()));
            self.set.has_source = true;
            self.field(&field, Some(SOURCE_SLOT))
        });
        self.set.sizes.owners = self.set.sizes.owners.max(entry.owner as usize + 1);
        let none: &[Branch] = &[];
        let branches = entry.pattern.map_or(none, |pattern| &pattern.branches);
        for branch in branches {
            let fields = branch.fields.iter().map(|field| self.field(field, None)).chain(from).collect();
            self.branch(entry.owner, fields, branches.len() == 1);
        }
        if entry.pattern.is_none() {
            self.branch(entry.owner, from.into_iter().collect(), true);
        }
    }

    fn branch(&mut self, owner: u32, fields: Vec<u32>, is_alone: bool) {
        let first = u32::try_from(self.set.branch_fields.len()).unwrap_or(u32::MAX);
        let count = u16::try_from(fields.len()).unwrap_or(0);
        self.set.branches.push(SetBranch { owner, first, count, is_alone });
        self.set.branch_fields.extend(fields);
    }

    fn field(&mut self, field: &Arc<Field>, slot: Option<u32>) -> u32 {
        self.written.clear();
        // What is at no path must not pass for what is at one.
        self.written.push(if slot.is_some() { 's' } else { 'p' });
        json_key(field, &mut self.written);
        let hash = known_hash(&mut 0, self.written.as_bytes());
        let known = self.known.get(&hash).copied();
        let is_equal = |known: &u32| self.set.fields.get(*known as usize).is_some_and(|known| known.field == *field);
        if let Some(known) = known.filter(is_equal) {
            return known;
        }
        let slot = slot.unwrap_or_else(|| self.slot(&field.path));
        let number = u32::try_from(self.set.fields.len()).unwrap_or(u32::MAX);
        let accepts_absence = field.accepts_absence();
        let quick = match field.accepts.as_slice() {
            [only] => self.quick(only),
            _ => None,
        };
        let quick = quick.unwrap_or(Quick::Nothing);
        self.set.fields.push(SetField { slot, accepts_absence, quick, field: Arc::clone(field) });
        self.known.insert(hash, number);
        number
    }

    /// What stands for the only entry of a list, where it is one of the commonest sorts.
    fn quick(&mut self, only: &Matcher) -> Option<Quick> {
        match only {
            Matcher::String { text, .. } => {
                let (start, length, _) = self.keep(text, "")?;
                Some(Quick::Only { hash: known_hash(&mut 0, text.as_bytes()), start, length })
            }
            Matcher::Prefix(text) => self.ends(text, ""),
            Matcher::Suffix(text) => self.ends("", text),
            Matcher::Wildcard(glob) => match glob.tail() {
                [last] => self.ends(glob.head(), last),
                _ => None,
            },
            Matcher::Numeric(range) => {
                let low = range.lower.as_ref().map_or(f64::NEG_INFINITY, |bound| {
                    if bound.included { bound.value } else { bound.value.next_up() }
                });
                let high = range
                    .upper
                    .as_ref()
                    .map_or(f64::INFINITY, |bound| if bound.included { bound.value } else { bound.value.next_down() });
                Some(Quick::Between { low, high })
            }
            Matcher::AnythingBut(Except::Strings(strings)) => Some(self.leave_out(strings)),
            _ => None,
        }
    }

    fn ends(&mut self, head: &str, tail: &str) -> Option<Quick> {
        let (start, head, tail) = self.keep(head, tail)?;
        Some(Quick::Ends { start, head, tail })
    }

    /// Keeps texts one behind the other: where they begin, and their lengths.
    fn keep(&mut self, head: &str, tail: &str) -> Option<(u32, u32, u32)> {
        let start = u32::try_from(self.set.texts.len()).ok()?;
        let (first, second) = (u32::try_from(head.len()).ok()?, u32::try_from(tail.len()).ok()?);
        first.checked_add(second)?.checked_add(start)?;
        self.set.texts.extend_from_slice(head.as_bytes());
        self.set.texts.extend_from_slice(tail.as_bytes());
        Some((start, first, second))
    }

    fn leave_out(&mut self, strings: &[Box<str>]) -> Quick {
        let mut hashes: Vec<u64> = strings.iter().map(|text| known_hash(&mut 0, text.as_bytes())).collect();
        hashes.sort_unstable();
        let (first, count) = (u32::try_from(self.set.left_out.len()), u32::try_from(hashes.len()));
        let (Ok(first), Ok(count)) = (first, count) else { return Quick::Nothing };
        self.set.left_out.extend(hashes);
        Quick::AllBut { first, count }
    }

    fn slot(&mut self, path: &Arc<str>) -> u32 {
        if let Some(slot) = self.slots.get(path) {
            return *slot;
        }
        let slot = u32::try_from(self.set.tables.len()).unwrap_or(u32::MAX);
        self.set.tables.push(Table::default());
        self.set.paths.add(path, slot);
        self.slots.insert(Arc::clone(path), slot);
        slot
    }

    /// For each entry of each field's list the key that the fewest others share.
    fn chosen_keys(&self) -> Vec<Vec<Key>> {
        let mut lengths = vec![AffixLengths::default(); self.set.tables.len()];
        for field in &self.set.fields {
            if let Some(lengths) = lengths.get_mut(field.slot as usize) {
                field.field.accepts.iter().for_each(|matcher| lengths.ask(matcher));
            }
        }
        let none = AffixLengths::default();
        let keys_of = |slot: u32, matcher: &Matcher| Key::all_of(matcher, lengths.get(slot as usize).unwrap_or(&none));
        // Only wildcards have a choice.
        let mut shared: HashMap<(u32, u64), usize, Fast> = HashMap::default();
        let wildcards = || {
            let entries = self
                .set
                .fields
                .iter()
                .flat_map(|field| field.field.accepts.iter().map(move |entry| (field.slot, entry)));
            entries.map(|(slot, entry)| (slot, keys_of(slot, entry))).filter(|(_, keys)| keys.len() > 1)
        };
        for (slot, keys) in wildcards() {
            for key in &keys {
                if let Some(identity) = key.identity() {
                    *shared.entry((slot, identity)).or_default() += 1;
                }
            }
        }
        let count = |slot: u32, key: &Key| {
            key.identity().and_then(|identity| shared.get(&(slot, identity))).copied().unwrap_or(0)
        };
        // The keys of a wildcard: the best of those of one piece, and that of both its ends.
        let best_two = |slot: u32, mut keys: Vec<Key>| {
            let pair = keys.pop_if(|key| key.is_pair());
            let one = keys.into_iter().min_by_key(|key| count(slot, key)).unwrap_or(Key::Any);
            (one, pair)
        };
        // A pair of lengths that is looked up for some serves the others with the same ones at no more cost.
        let mut used: HashMap<(u32, Option<Lookup>), usize> = HashMap::new();
        for (slot, keys) in wildcards() {
            if let (one, Some(pair)) = best_two(slot, keys)
                && count(slot, &one) >= SHARED_MAX
                && count(slot, &pair) <= count(slot, &one) / 2
            {
                *used.entry((slot, pair.lookup())).or_default() += 1;
            }
        }
        let used = most_used(used);
        let choose = |slot: u32, keys: Vec<Key>| {
            let (one, pair) = best_two(slot, keys);
            let is_better =
                |pair: &Key| count(slot, pair) <= count(slot, &one) && used.contains(&(slot, pair.lookup()));
            pair.filter(is_better).unwrap_or(one)
        };
        let chosen = |field: &SetField| {
            field.field.accepts.iter().map(|matcher| choose(field.slot, keys_of(field.slot, matcher))).collect()
        };
        self.set.fields.iter().map(chosen).collect()
    }

    /// Files each branch at the path where the fewest events will lead to it.
    pub(super) fn finish(mut self) -> PatternSet {
        self.known = HashMap::default();
        let keys = self.chosen_keys();
        // How many different keys of the same sort are asked for at each path.
        let mut seen: HashSet<(u32, u64), Fast> = HashSet::default();
        let mut kinds: HashMap<(u32, u8), usize> = HashMap::new();
        for (field, keys) in self.set.fields.iter().zip(&keys) {
            for key in keys {
                if key.identity().is_some_and(|identity| seen.insert((field.slot, identity))) {
                    *kinds.entry((field.slot, sort(key))).or_default() += 1;
                }
            }
        }
        drop(seen);
        let cost = |(field, keys): (&SetField, &Vec<Key>)| -> f64 {
            let likelihood = |key: &Key| key.likelihood(kinds.get(&(field.slot, sort(key))).copied().unwrap_or(0));
            keys.iter().map(likelihood).sum()
        };
        let costs: Vec<f64> = self.set.fields.iter().zip(&keys).map(cost).collect();
        let cost_of = |at: &u32| costs.get(*at as usize).copied().unwrap_or(f64::MAX);
        let mut to_file: Vec<Vec<ToFile>> = vec![Vec::new(); self.set.tables.len()];
        let mut shares = vec![0_u32; self.set.fields.len()];
        for at in &self.set.branch_fields {
            if let Some(share) = shares.get_mut(*at as usize) {
                *share += 1;
            }
        }
        for (number, branch) in (0..).zip(&self.set.branches) {
            let (first, count) = (branch.first as usize, branch.count as usize);
            let fields = self.set.branch_fields.get_mut(first..first + count).unwrap_or_default();
            let Some(at) = fields.iter().copied().min_by(|a, b| cost_of(a).total_cmp(&cost_of(b))) else {
                self.set.always.push(number);
                continue;
            };
            let share = |at: u32| shares.get(at as usize).copied().unwrap_or(0);
            fields.sort_by_key(|at| std::cmp::Reverse(share(*at)));
            let guard = fields.first().copied().filter(|guard| share(*guard) > 1).unwrap_or(NONE);
            let (Some(field), Some(keys)) = (self.set.fields.get(at as usize), keys.get(at as usize)) else {
                continue;
            };
            let others = fields.iter().filter(|other| **other != at && **other != guard);
            let range = others.filter_map(|other| self.set.fields.get(*other as usize)).find_map(range);
            let asked = self.set.fields.get(guard as usize).filter(|guard| guard.slot != field.slot);
            let asked = asked.and_then(|guard| match guard.quick {
                Quick::Only { hash, .. } => Some((guard.slot, hash)),
                _ => None,
            });
            if let Some(to_file) = to_file.get_mut(field.slot as usize) {
                let filed = Filed::new(number, guard, range);
                to_file.extend(keys.iter().map(|key| ToFile { key: key.clone(), filed, guard: asked }));
            }
        }
        for at in &mut self.set.branch_fields {
            if shares.get(*at as usize) == Some(&1) {
                *at |= ALONE;
            }
        }
        let mut grams = 0;
        let list = &mut self.set.filed;
        self.set.tables = to_file.into_iter().map(|to_file| Table::new(to_file, list, &mut grams)).collect();
        let tables = (0..).zip(&self.set.tables);
        self.set.absent_slots = tables.filter(|(_, table)| table.absent.is_some()).map(|(slot, _)| slot).collect();
        self.set.sizes = Sizes {
            slots: self.set.tables.len(),
            branches: self.set.branches.len(),
            fields: self.set.fields.len(),
            owners: self.set.sizes.owners,
            grams,
        };
        self.set
    }
}

/// The path and the bounds of a field whose list is one range.
fn range(field: &SetField) -> Option<(u32, f64, f64)> {
    let [Matcher::Numeric(range)] = field.field.accepts.as_slice() else { return None };
    let low = range.lower.as_ref().map_or(f64::NEG_INFINITY, |bound| bound.value);
    let high = range.upper.as_ref().map_or(f64::INFINITY, |bound| bound.value);
    Some((field.slot, low, high))
}

/// At each path the pairs of lengths that most wildcards have.
fn most_used(pairs: HashMap<(u32, Option<Lookup>), usize>) -> HashSet<(u32, Option<Lookup>)> {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_unstable_by_key(|((slot, lookup), count)| (*slot, std::cmp::Reverse(*count), *lookup));
    let at_each_path = pairs.chunk_by(|a, b| a.0.0 == b.0.0);
    at_each_path.flat_map(|pairs| pairs.iter().take(PAIRS_MAX)).map(|(pair, _)| *pair).collect()
}

/// A field as text: equal for equal fields alone.
fn json_key(field: &Field, out: &mut String) {
    out.push_str(&field.path);
    out.push('\0');
    field.wanted_json(out);
}

/// Which sort of key it is; keys of one sort share the values of events among them.
fn sort(key: &Key) -> u8 {
    match key {
        Key::Hash(_, Lookup::Text | Lookup::Folded | Lookup::Address) => 0,
        Key::Hash(_, Lookup::Prefix(_) | Lookup::FoldedPrefix(_)) => 1,
        Key::Hash(_, Lookup::Suffix(_) | Lookup::FoldedSuffix(_)) => 2,
        Key::Hash(_, Lookup::Number | Lookup::NumberText) => 3,
        Key::Hash(_, Lookup::Network(..)) => 4,
        Key::Hash(_, Lookup::Word) => 5,
        Key::Gram(_) => 6,
        Key::Hash(_, Lookup::Both(..)) => 9,
        Key::Range(..) => 7,
        Key::AnyString | Key::Any | Key::Absent => 8,
    }
}
