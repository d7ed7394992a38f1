//! Patterns compiled into one set that says of an event which of them match, however many there are.
//!
//! A set is put together once (`build`). Of an event:
//!
//! 1. One pass over the event's bytes, driven by the paths that patterns ask for (`walk`, `paths`, `scan`): values that
//!    nobody asks for are passed over, not read, and where all keys are known to be unique the pass ends as soon as
//!    every path was met. No tree is built.
//! 2. Each pattern is filed at one path, under the values that it accepts there: the path where the fewest events will
//!    lead to it (`table`). The values of the event lead to the few patterns that could match (`decide`).
//! 3. These are held against the event field by field, by the matchers that the simple evaluator uses. A field that
//!    many patterns share is looked at once.
//! 4. Where values stand in elements of lists, `together` decides whether they go together.
//!
//! A set is immutable. In the steady state an event costs no allocation: what is needed is kept in [`Memory`].
//! The evaluator in [`crate::reference`] says what is right; property tests hold the two together.

mod build;
mod decide;
mod filed;
mod hash;
mod leaf;
mod paths;
mod places;
mod ranges;
pub(crate) mod scan;
mod scratch;
mod table;
mod together;
mod walk;

use std::borrow::Borrow;
use std::sync::Arc;

use eventyard_event::json::Skimmed;
use eventyard_event::{Envelope, Name};

use crate::pattern::{Field, Pattern};
use crate::reference;
use crate::syntax::json;
use build::Builder;
use filed::Filed;
use paths::{Paths, ROOT};
use scratch::{LeafKind, Scratch, Sizes};
use table::Table;

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

    /// The same for an event that is looked at where it stands, and came by a source with tags. Where its keys lead,
    /// [`PatternSet::asks`] of this set has said.
    pub(crate) fn matches_skimmed<'m>(
        &self,
        event: &Skimmed<'_>,
        source_name: &Name,
        tags: &[String],
        memory: &'m mut Memory,
    ) -> &'m [u32] {
        let scratch = &mut memory.0;
        scratch.begin(self.sizes);
        if self.has_source {
            walk::keep_at(scratch, SOURCE_SLOT, LeafKind::String, source_name.as_str().as_bytes());
        }
        walk::gather(event, tags, &self.paths, scratch);
        self.decide(event.text().as_bytes(), scratch);
        &scratch.matched
    }

    /// Where a key of an event leads, for [`eventyard_event::json::Skimmer`].
    pub(crate) fn asks(&self, from: u32, key: &str) -> u32 {
        walk::asks(&self.paths, from, key)
    }
}

/// Whether one JSON object matches a pattern, by the simple evaluator; `None` where the text is no JSON object. For
/// tests and tools that hold the two together.
#[must_use]
pub fn reference_matches_json(pattern: &Pattern, text: &str) -> Option<bool> {
    let node = json::parse(text).ok()?;
    reference::matches_node(pattern, &node)
}
