//! Patterns compiled into one set that says of an event which of them match, however many there are.
//!
//! 1. One pass over the event's bytes, driven by the paths that patterns ask for (`walk`, `paths`, `scan`): values that
//!    nobody asks for are passed over, not read, and where all keys are known to be unique the pass ends as soon as
//!    every path was met. No tree is built.
//! 2. Each pattern is filed at one path, under the values that it accepts there: the path where the fewest events will
//!    lead to it (`table`). The values of the event lead to the few patterns that could match.
//! 3. These are held against the event field by field, by the matchers that the simple evaluator uses. A field that
//!    many patterns share is looked at once.
//! 4. Where values stand in elements of lists, `together` decides whether they go together.
//!
//! A set is immutable. In the steady state an event costs no allocation: what is needed is kept in [`Memory`].
//! The evaluator in [`crate::reference`] says what is right; property tests hold the two together.

mod hash;
mod paths;
mod places;
mod ranges;
pub(crate) mod scan;
mod scratch;
mod table;
mod together;
mod walk;

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use eventyard_event::Envelope;

use crate::fields::{Context, Fields, Leaf};
use crate::pattern::matcher::{Except, Matcher, Scalar};
use crate::pattern::{Branch, Field, Pattern, number};
use crate::reference;
use crate::syntax::json;
use hash::Fast;
use paths::{NONE, Paths, ROOT};
use places::find;
use scratch::{LeafKind, NumberValue, Scratch, Sizes, Spread};
use table::{AffixLengths, Filed, Key, Lookup, NO, Table, ToFile, known_hash};
use together::{FIELDS_MAX, Together};

/// Marks a field of a branch that no other branch has.
const ALONE: u32 = 1 << 31;

/// The slot of the name of the source that an event came by, which is at no path.
const SOURCE_SLOT: u32 = 0;

/// Patterns, compiled.
#[derive(Clone, Debug, Default)]
pub struct PatternSet {
    paths: Paths,
    /// By slot.
    tables: Vec<Table>,
    /// The branches as the tables file them.
    filed: Vec<Filed>,
    /// The slots where a branch is filed under the absence of a value.
    absent_slots: Vec<u32>,
    fields: Vec<SetField>,
    branches: Vec<SetBranch>,
    /// The fields of all branches, one branch after the other.
    branch_fields: Vec<u32>,
    /// The hashes of the strings that fields leave out.
    left_out: Vec<u64>,
    /// What quick fields ask for.
    texts: Vec<u8>,
    sizes: Sizes,
    has_source: bool,
    /// Branches that ask for nothing.
    always: Vec<u32>,
}

/// A field that one or more branches have.
#[derive(Clone, Debug)]
struct SetField {
    slot: u32,
    accepts_absence: bool,
    quick: Quick,
    field: Arc<Field>,
}

/// A field whose list has one entry of the commonest sorts, so that it need not be looked up: what it asks for stands here
/// and in the set's own texts.
#[derive(Clone, Copy, Debug)]
enum Quick {
    Nothing,
    /// The entry is a string, with this hash: a text with another is refused.
    Only {
        hash: u64,
        start: u32,
        length: u32,
    },
    /// The entry leaves out strings, whose hashes stand here in the set's list, sorted: a text with another is accepted.
    AllBut {
        first: u32,
        count: u32,
    },
    /// The entry is what a text begins with, what it ends with, or both (a wildcard with one star). They stand one behind
    /// the other.
    Ends {
        start: u32,
        head: u32,
        tail: u32,
    },
    /// The entry is a range of numbers; the bounds belong to it.
    Between {
        low: f64,
        high: f64,
    },
}

#[derive(Clone, Copy, Debug)]
struct SetBranch {
    /// Which of the patterns it belongs to.
    owner: u32,
    /// Where its fields begin in the list of all. Those that most branches share come first: what they say of an event
    /// is known already, so that most candidates are refused at no cost.
    first: u32,
    count: u16,
    /// Whether its pattern has no other branch.
    is_alone: bool,
}

/// What matching needs to remember from event to event. One for each thread; it serves any set.
#[derive(Clone, Debug, Default)]
pub struct Memory(Scratch);

/// A pattern that is to be compiled.
pub(crate) struct Entry<'p> {
    pub(crate) owner: u32,
    pub(crate) pattern: Option<&'p Pattern>,
    /// The names of the sources whose events it is about; empty for all.
    pub(crate) from: Vec<&'p str>,
}

impl PatternSet {
    /// Compiles patterns. What matches is told by their places. Of the patterns nothing is kept but fields, equal ones
    /// once: where the iterator gives patterns and not references, no more than one of them is ever in memory.
    #[must_use]
    pub fn new<P: Borrow<Pattern>>(patterns: impl IntoIterator<Item = P>) -> PatternSet {
        let mut builder = Builder::new();
        for (owner, pattern) in (0..).zip(patterns) {
            builder.add(&Entry { owner, pattern: Some(pattern.borrow()), from: Vec::new() });
        }
        builder.finish()
    }

    pub(crate) fn of<'p>(entries: impl Iterator<Item = Entry<'p>>) -> PatternSet {
        let mut builder = Builder::new();
        entries.for_each(|entry| builder.add(&entry));
        builder.finish()
    }

    /// The places of the patterns that a JSON object matches, in ascending order. `keys_unique` says that no object in
    /// it has a key twice or a key with a dot; false is always right. Of text that is no JSON object the answer means
    /// nothing.
    pub fn matches_json<'m>(&self, json: &str, keys_unique: bool, memory: &'m mut Memory) -> &'m [u32] {
        let scratch = &mut memory.0;
        scratch.begin(self.sizes);
        walk::walk_json(json.as_bytes(), ROOT, keys_unique, &self.paths, scratch);
        self.decide(json.as_bytes(), scratch);
        &scratch.matched
    }

    /// The same for an event.
    pub fn matches<'m>(&self, envelope: &Envelope, memory: &'m mut Memory) -> &'m [u32] {
        let scratch = &mut memory.0;
        scratch.begin(self.sizes);
        if self.has_source {
            walk::keep_at(scratch, SOURCE_SLOT, LeafKind::String, envelope.source_name.as_str().as_bytes());
        }
        let text = walk::walk_envelope(envelope, &self.paths, scratch);
        self.decide(&text, scratch);
        &scratch.matched
    }

    /// From the values that were collected to the patterns that match.
    fn decide(&self, text: &[u8], scratch: &mut Scratch) {
        for place in 0..scratch.touched.len() {
            if let Some(slot) = scratch.touched.get(place).copied() {
                self.find_candidates(slot, text, scratch);
            }
        }
        self.follow_probes(scratch);
        for slot in &self.absent_slots {
            if scratch.found(*slot).is_none()
                && let Some(table) = self.tables.get(*slot as usize)
            {
                scratch.places.extend(table.absent);
            }
        }
        // To look twice at a few branches is cheaper than to remember them.
        let many = scratch.places.len() > LOOKED_AT_TWICE_MAX;
        for at in 0..scratch.places.len() {
            let start = scratch.places.get(at).map_or(usize::MAX, |place| *place as usize);
            // Those with one guard stand together.
            let (mut guard, mut agrees) = (NO, true);
            for filed in self.filed.get(start..).unwrap_or_default() {
                if filed.guard != guard {
                    guard = filed.guard;
                    agrees = guard == NO || self.may_agree(u32::from(guard), text, scratch);
                }
                if agrees
                    && (filed.slot == NO || number_between(*filed, text, scratch))
                    && (!many || scratch.is_new_branch(filed.branch()))
                {
                    self.look_at(filed.branch(), text, scratch);
                }
                if filed.is_last() {
                    break;
                }
            }
        }
        self.always.iter().for_each(|branch| self.look_at(*branch, text, scratch));
        scratch.matched.sort_unstable();
    }

    /// Looks up all hashes of the event. Where sets are large their branches are in no cache: so all of them are asked
    /// for before the first is looked at, and they come together.
    fn follow_probes(&self, scratch: &mut Scratch) {
        let Scratch { probes, places, .. } = scratch;
        let begin = probes.iter().filter_map(|probe| self.filed.get(probe.stretch.from as usize));
        scratch.begun = begin.fold(0, |all, filed| all ^ filed.tag);
        places.extend(probes.iter().filter_map(|probe| find(probe.tag, probe.stretch, &self.filed)));
    }

    /// Whether a field that many branches share may agree with the event. If it does, it is looked at once more.
    #[inline]
    fn may_agree(&self, at: u32, text: &[u8], scratch: &mut Scratch) -> bool {
        let Some(SetField { slot, quick: Quick::Only { hash, .. }, accepts_absence: false, .. }) =
            self.fields.get(at as usize)
        else {
            return self.agrees(at, text, scratch);
        };
        let mut next = scratch.found(*slot).map_or(NONE, |found| found.first);
        while (next as usize) < scratch.leaves.len() {
            if leaf_hash(next, text, scratch) == Some(*hash) {
                return true;
            }
            next = scratch.leaves.get(next as usize).map_or(NONE, |leaf| leaf.next);
        }
        false
    }

    /// Whether a field agrees with the event; found out once, where more than one branch could ask.
    #[inline]
    fn agrees(&self, at: u32, text: &[u8], scratch: &mut Scratch) -> bool {
        if at & ALONE != 0 {
            return self
                .fields
                .get((at & !ALONE) as usize)
                .is_some_and(|field| self.field_agrees(field, text, scratch));
        }
        if let Some(known) = scratch.field(at) {
            return known;
        }
        let agrees = self.fields.get(at as usize).is_some_and(|field| self.field_agrees(field, text, scratch));
        scratch.set_field(at, agrees);
        agrees
    }

    /// Adds the owner of a branch that matches.
    fn look_at(&self, at: u32, text: &[u8], scratch: &mut Scratch) {
        let Some(branch) = self.branches.get(at as usize) else { return };
        // Of one that has no other branch nothing can be known yet, mostly.
        if (branch.is_alone || !scratch.has_owner(branch.owner))
            && self.branch_matches(branch, text, scratch)
            && !scratch.has_owner(branch.owner)
        {
            scratch.add_owner(branch.owner);
        }
    }

    /// Finds what the values at one path lead to.
    fn find_candidates(&self, slot: u32, text: &[u8], scratch: &mut Scratch) {
        let Some(table) = self.tables.get(slot as usize) else { return };
        if !self.find_guards(table, text, scratch) {
            return table.find_all(&self.filed, &mut scratch.places);
        }
        let mut next = scratch.found(slot).map_or(NONE, |found| found.first);
        // What any value leads to, the first one leads to.
        let (mut any, mut any_string) = (true, true);
        while let Some(leaf) = scratch.leaves.get(next as usize).copied() {
            let at = next;
            next = leaf.next;
            if !table.asks_for(leaf.kind) {
                continue;
            }
            let is_string = leaf.kind == LeafKind::String;
            if any || is_string && any_string {
                table.find_any(is_string, scratch);
                any = false;
                any_string &= !is_string;
            }
            match leaf.kind {
                LeafKind::Null => table.find_word(b"null", scratch),
                LeafKind::True => table.find_word(b"true", scratch),
                LeafKind::False => table.find_word(b"false", scratch),
                LeafKind::String | LeafKind::Number => {
                    let (start, end) = (leaf.start as usize, leaf.end as usize);
                    // A text that is kept is taken out for the while, and put back.
                    let kept = if leaf.kept { std::mem::take(&mut scratch.kept) } else { Vec::new() };
                    let leaf_text = if leaf.kept { kept.get(start..end) } else { text.get(start..end) };
                    let leaf_text = leaf_text.unwrap_or_default();
                    let (mut value, mut hash) = (leaf.number, leaf.hash);
                    if is_string {
                        table.find_string(leaf_text, &mut hash, scratch);
                    } else {
                        table.find_number(leaf_text, || number_value(&mut value, leaf_text), scratch);
                    }
                    if let Some(leaf) = scratch.leaves.get_mut(at as usize) {
                        (leaf.number, leaf.hash) = (value, hash);
                    }
                    if leaf.kept {
                        scratch.kept = kept;
                    }
                }
            }
        }
    }

    /// Finds out which guards a table's values are to be looked up with. False where there are too many.
    #[inline]
    fn find_guards(&self, table: &Table, text: &[u8], scratch: &mut Scratch) -> bool {
        scratch.guards.clear();
        if !table.is_guarded_alone() {
            scratch.guards.push(table::NO_GUARD);
        }
        let Some(path) = table.guarded_by else { return true };
        let mut next = scratch.found(path).map_or(NONE, |found| found.first);
        while let Some(leaf) = scratch.leaves.get(next as usize) {
            let following = leaf.next;
            if let Some(hash) = leaf_hash(next, text, scratch)
                && !table::add_guard(hash, &mut scratch.guards)
            {
                return false;
            }
            next = following;
        }
        true
    }

    #[inline]
    fn fields_of(&self, branch: &SetBranch) -> &[u32] {
        let first = branch.first as usize;
        self.branch_fields.get(first..first + branch.count as usize).unwrap_or_default()
    }

    fn branch_matches(&self, branch: &SetBranch, text: &[u8], scratch: &mut Scratch) -> bool {
        let mut in_lists = 0;
        for &at in self.fields_of(branch) {
            if !self.agrees(at, text, scratch) {
                return false;
            }
            let Some(field) = self.fields.get((at & !ALONE) as usize) else { return false };
            in_lists += usize::from(scratch.found(field.slot).is_some_and(|found| found.in_list));
        }
        // One value in a list goes together with everything outside of it.
        in_lists < 2 || self.goes_together(branch, text, scratch)
    }

    fn field_agrees(&self, field: &SetField, text: &[u8], scratch: &mut Scratch) -> bool {
        let Some(found) = scratch.found(field.slot) else { return field.accepts_absence };
        let mut next = found.first;
        while (next as usize) < scratch.leaves.len() {
            if self.accepts(field, next, text, scratch) {
                return true;
            }
            next = scratch.leaves.get(next as usize).map_or(NONE, |leaf| leaf.next);
        }
        false
    }

    /// Whether a field accepts a leaf.
    #[inline]
    fn accepts(&self, field: &SetField, at: u32, text: &[u8], scratch: &mut Scratch) -> bool {
        let wanted = |start: u32, length: u32| {
            self.texts.get(start as usize..).and_then(|rest| rest.get(..length as usize)).unwrap_or_default()
        };
        match field.quick {
            Quick::Nothing => accepts_text(field, at, text, scratch),
            Quick::Only { hash, start, length } => {
                leaf_hash(at, text, scratch) == Some(hash)
                    && leaf_string(at, text, scratch) == Some(wanted(start, length))
            }
            Quick::AllBut { first, count } => {
                let left_out = self.left_out.get(first as usize..).and_then(|rest| rest.get(..count as usize));
                match leaf_hash(at, text, scratch) {
                    Some(hash) if left_out.is_none_or(|hashes| hashes.binary_search(&hash).is_ok()) => {
                        accepts_text(field, at, text, scratch)
                    }
                    Some(_) | None => true,
                }
            }
            Quick::Ends { start, head, tail } => leaf_string(at, text, scratch).is_some_and(|found| {
                let (head, tail) = wanted(start, head + tail).split_at(head as usize);
                found.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail))
            }),
            Quick::Between { low, high } => {
                leaf_number(at, text, scratch).is_some_and(|value| low <= value && value <= high)
            }
        }
    }

    #[cold]
    fn goes_together(&self, branch: &SetBranch, text: &[u8], scratch: &mut Scratch) -> bool {
        scratch.spread.clear();
        scratch.own.clear();
        let contexts = scratch.contexts.len();
        scratch.own.resize(contexts, 0);
        for &at in self.fields_of(branch) {
            let Some(field) = self.fields.get((at & !ALONE) as usize) else { return false };
            let Some(found) = scratch.found(field.slot).filter(|found| found.in_list) else { continue };
            let place = scratch.spread.len();
            if place >= FIELDS_MAX {
                return self.reference_says(branch, text, scratch);
            }
            let (mut first, mut last) = (u32::MAX, 0);
            let mut next = found.first;
            while let Some(context) = scratch.leaves.get(next as usize).map(|leaf| leaf.context) {
                if self.accepts(field, next, text, scratch) {
                    (first, last) = (first.min(context), last.max(context));
                    if context == 0 {
                        break;
                    }
                    if let Some(own) = scratch.own.get_mut(context as usize) {
                        *own |= 1 << place;
                    }
                }
                next = scratch.leaves.get(next as usize).map_or(NONE, |leaf| leaf.next);
            }
            if first == 0 {
                // It can be had outside of all lists: nothing stands against it.
                scratch.own.iter_mut().for_each(|own| *own &= !(1 << place));
            } else {
                scratch.spread.push(Spread { first, last });
            }
        }
        match together::together(scratch) {
            Together::Yes => true,
            Together::No => false,
            Together::Unclear => self.reference_says(branch, text, scratch),
        }
    }

    /// Asks the simple evaluator, which allocates.
    fn reference_says(&self, branch: &SetBranch, text: &[u8], scratch: &Scratch) -> bool {
        let contexts = scratch.contexts.iter().map(|context| Context {
            parent: context.parent as usize,
            list: usize::try_from(context.list).unwrap_or(usize::MAX),
        });
        let mut leaves: HashMap<Box<str>, Vec<Leaf<'_>>> = HashMap::new();
        let mut fields = Vec::with_capacity(branch.count as usize);
        for field in self.fields_of(branch).iter().filter_map(|at| self.fields.get((*at & !ALONE) as usize)) {
            fields.push(Arc::clone(&field.field));
            let mut next = scratch.found(field.slot).map_or(NONE, |found| found.first);
            let mut at_path = Vec::new();
            while let Some(leaf) = scratch.leaves.get(next as usize) {
                let mut value = leaf.number;
                if let Some(scalar) = scalar(leaf, text, &scratch.kept, &mut value) {
                    at_path.push(Leaf { scalar, context: leaf.context as usize });
                }
                next = leaf.next;
            }
            if !at_path.is_empty() {
                leaves.insert((&*field.field.path).into(), at_path);
            }
        }
        reference::branch_matches(&Branch { fields }, &Fields::of(contexts.collect(), leaves))
    }
}

/// Whether a number that a branch asks for may be the event's.
fn number_between(filed: Filed, text: &[u8], scratch: &mut Scratch) -> bool {
    let mut next = scratch.found(u32::from(filed.slot)).map_or(NONE, |found| found.first);
    while let Some(leaf) = scratch.leaves.get(next as usize) {
        let following = leaf.next;
        if leaf_number(next, text, scratch).is_some_and(|value| filed.may_hold(value)) {
            return true;
        }
        next = following;
    }
    false
}

/// The value of a leaf that is a number, where that is exact.
#[inline]
fn leaf_number(at: u32, text: &[u8], scratch: &mut Scratch) -> Option<f64> {
    let Scratch { leaves, kept, .. } = scratch;
    let leaf = leaves.get_mut(at as usize).filter(|leaf| leaf.kind == LeafKind::Number)?;
    let text = if leaf.kept { kept } else { text };
    number_value(&mut leaf.number, text.get(leaf.start as usize..leaf.end as usize).unwrap_or_default())
}

/// The text of a leaf that is a string.
#[inline]
fn leaf_string<'t>(at: u32, text: &'t [u8], scratch: &'t Scratch) -> Option<&'t [u8]> {
    let leaf = scratch.leaves.get(at as usize).filter(|leaf| leaf.kind == LeafKind::String)?;
    let text = if leaf.kept { &scratch.kept } else { text };
    text.get(leaf.start as usize..leaf.end as usize)
}

/// The hash of a leaf's text; `None` where it is no string.
#[inline]
fn leaf_hash(at: u32, text: &[u8], scratch: &mut Scratch) -> Option<u64> {
    let Scratch { leaves, kept, .. } = scratch;
    let leaf = leaves.get_mut(at as usize).filter(|leaf| leaf.kind == LeafKind::String)?;
    if leaf.hash == 0 {
        let text = if leaf.kept { kept } else { text };
        leaf.hash = known_hash(&mut 0, text.get(leaf.start as usize..leaf.end as usize).unwrap_or_default());
    }
    Some(leaf.hash)
}

/// Whether a field accepts a leaf, by its matchers.
fn accepts_text(field: &SetField, at: u32, text: &[u8], scratch: &mut Scratch) -> bool {
    let Some(leaf) = scratch.leaves.get(at as usize) else { return false };
    let mut value = leaf.number;
    let accepts = scalar(leaf, text, &scratch.kept, &mut value).is_some_and(|scalar| field.field.accepts(scalar));
    if let Some(leaf) = scratch.leaves.get_mut(at as usize) {
        leaf.number = value;
    }
    accepts
}

/// The value that a leaf stands for; `None` where its text is no text, which checked JSON does not have.
fn scalar<'t>(leaf: &scratch::Leaf, text: &'t [u8], kept: &'t [u8], value: &mut NumberValue) -> Option<Scalar<'t>> {
    let text = if leaf.kept { kept } else { text };
    let text = || text.get(leaf.start as usize..leaf.end as usize).and_then(|text| std::str::from_utf8(text).ok());
    Some(match leaf.kind {
        LeafKind::Null => Scalar::Null,
        LeafKind::True => Scalar::Bool(true),
        LeafKind::False => Scalar::Bool(false),
        LeafKind::String => Scalar::String(text()?),
        LeafKind::Number => {
            let text = text()?;
            Scalar::Number { text, value: number_value(value, text.as_bytes()) }
        }
    })
}

/// A number's value where it is exact, found out once.
fn number_value(known: &mut NumberValue, text: &[u8]) -> Option<f64> {
    if *known == NumberValue::Unknown {
        let value = number::short(text).or_else(|| std::str::from_utf8(text).ok().and_then(number::exact));
        *known = value.map_or(NumberValue::Inexact, NumberValue::Exact);
    }
    match *known {
        NumberValue::Exact(value) => Some(value),
        NumberValue::Inexact | NumberValue::Unknown => None,
    }
}

/// Up to how many places that values have led to, a branch may be looked at more than once.
const LOOKED_AT_TWICE_MAX: usize = 256;

/// How many wildcards may share one end before they are filed under both.
const SHARED_MAX: usize = 8;

/// How many pairs of lengths there are at one path, each of which costs every value there a look: those of most
/// wildcards.
const PAIRS_MAX: usize = 8;

/// What is known while a set is put together.
#[derive(Default)]
struct Builder {
    set: PatternSet,
    /// By path.
    slots: HashMap<Arc<str>, u32>,
    /// By the hash of path and list, so that equal fields are one.
    known: HashMap<u64, u32, Fast>,
    /// A field as text.
    written: String,
}

impl Builder {
    fn new() -> Builder {
        let mut builder = Builder::default();
        // That of the source's name.
        builder.set.tables.push(Table::default());
        builder
    }

    fn add(&mut self, entry: &Entry<'_>) {
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
    fn finish(mut self) -> PatternSet {
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

/// Whether one JSON object matches a pattern, by the simple evaluator; `None` where the text is no JSON object. For
/// tests and tools that hold the two together.
#[must_use]
pub fn reference_matches_json(pattern: &Pattern, text: &str) -> Option<bool> {
    let node = json::parse(text).ok()?;
    reference::matches_node(pattern, &node)
}
