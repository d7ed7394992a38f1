//! What matching one event needs to remember, kept from event to event so that nothing is allocated for the next one.
//!
//! Nothing is cleared between events where that would cost time in proportion to the rules: whatever is written
//! carries the number of its event, and what carries an older one counts as empty.

use super::paths::NONE;

/// What is kept of an unusually large event at most, in entries of each list; beyond it the room is given back.
const KEPT_MAX: usize = 1 << 16;

/// After how many events that is looked at.
const GIVEN_BACK_EVERY: u32 = 64;

/// A value that some rule asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) kind: LeafKind,
    /// Whether its text stands in [`Scratch::kept`] rather than in the event.
    pub(super) kept: bool,
    /// A number's value, once somebody has asked for it.
    pub(super) number: NumberValue,
    /// A string's hash as a text, once somebody has asked for it; 0 before.
    pub(super) hash: u64,
    pub(super) start: u32,
    pub(super) end: u32,
    /// The element of a list that it stands in; 0 outside of lists.
    pub(super) context: u32,
    /// The next leaf at the same path, or [`NONE`].
    pub(super) next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeafKind {
    Null,
    True,
    False,
    Number,
    String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NumberValue {
    Unknown,
    /// It has more digits than a float.
    Inexact,
    Exact(f64),
}

impl Leaf {
    /// One that nobody has looked into, and whose text stands in the event.
    #[inline]
    pub(super) fn at(kind: LeafKind, start: u32, end: u32, context: u32) -> Leaf {
        Leaf { kind, kept: false, number: NumberValue::Unknown, hash: 0, start, end, context, next: NONE }
    }
}

impl LeafKind {
    /// Of a number or a word, by how it begins.
    #[inline]
    pub(super) fn of(first: u8) -> LeafKind {
        match first {
            b't' => LeafKind::True,
            b'f' => LeafKind::False,
            b'n' => LeafKind::Null,
            _ => LeafKind::Number,
        }
    }

    pub(super) const ALL: [LeafKind; 5] =
        [LeafKind::Null, LeafKind::True, LeafKind::False, LeafKind::Number, LeafKind::String];
}

/// The leaves of one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    event: u32,
    pub(super) first: u32,
    last: u32,
    /// Whether one of them stands in an element of a list.
    pub(super) in_list: bool,
}

/// An element of a list: the element around it, and its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) parent: u32,
    pub(super) list: u32,
}

/// A list with elements that are lists or objects: its first element, and the last of what is inside of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) first: u32,
    pub(super) last: u32,
}

/// The memory of matching. One for each thread that matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// The number of the event.
    event: u32,
    /// What there is room for.
    sizes: Sizes,
    pub(super) leaves: Vec<Leaf>,
    /// By slot.
    found: Vec<Found>,
    /// The slots that have leaves.
    pub(super) touched: Vec<u32>,
    /// Texts that do not stand in the event as they are: attributes, and strings with escapes.
    pub(super) kept: Vec<u8>,
    pub(super) contexts: Vec<Context>,
    pub(super) lists: Vec<List>,
    /// What the guards of the table that is asked add to what is looked up.
    pub(super) guards: Vec<u32>,
    /// The hashes that values are looked up by.
    pub(super) probes: Vec<Probe>,
    /// Where the branches are filed that a value has led to.
    pub(super) places: Vec<u32>,
    /// Of what stands there something, so that it is read.
    pub(super) begun: u32,
    /// By branch: the last event for which it was looked at.
    branches: Vec<u32>,
    /// By field: the event, and whether the field agrees.
    fields: Vec<(u32, bool)>,
    /// By owner.
    owners: Vec<u32>,
    pub(super) matched: Vec<u32>,
    /// By gram.
    grams: Vec<u32>,
    /// A text in lower case.
    pub(super) folded: String,
    /// By context and by list, while one branch is looked at.
    pub(super) own: Vec<u64>,
    pub(super) best: Vec<Option<u64>>,
    /// The fields of one branch that have values in lists alone: the first and the last context of each.
    pub(super) spread: Vec<Spread>,
}

/// A look into a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) tag: u32,
    /// Where in the set's list the tag may be.
    pub(super) stretch: super::places::Stretch,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) first: u32,
    pub(super) last: u32,
}

/// How much a set needs of each list that goes by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) slots: usize,
    pub(super) branches: usize,
    pub(super) fields: usize,
    pub(super) owners: usize,
    pub(super) grams: usize,
}

impl Scratch {
    /// Begins with the next event.
    pub(super) fn begin(&mut self, sizes: Sizes) {
        if self.event == u32::MAX {
            *self = Scratch::default();
        }
        self.event += 1;
        if self.sizes != sizes {
            self.fit(sizes);
        }
        if self.event.is_multiple_of(GIVEN_BACK_EVERY) {
            self.give_back();
        }
        self.leaves.clear();
        self.kept.clear();
        self.contexts.clear();
        self.lists.clear();
        self.touched.clear();
        self.probes.clear();
        self.places.clear();
        self.matched.clear();
        self.contexts.push(Context { parent: 0, list: NONE });
    }

    /// Makes room for what a set needs.
    #[cold]
    fn fit(&mut self, sizes: Sizes) {
        grow(&mut self.found, sizes.slots);
        grow(&mut self.branches, sizes.branches);
        grow(&mut self.fields, sizes.fields);
        grow(&mut self.owners, sizes.owners);
        grow(&mut self.grams, sizes.grams);
        self.sizes = sizes;
    }

    /// Gives back the room that an unusually large event has taken.
    #[cold]
    fn give_back(&mut self) {
        give_back(&mut self.leaves);
        give_back(&mut self.kept);
        give_back(&mut self.contexts);
        give_back(&mut self.lists);
        give_back(&mut self.own);
        give_back(&mut self.best);
        give_back(&mut self.probes);
        give_back(&mut self.places);
        if self.folded.capacity() > KEPT_MAX {
            self.folded = String::new();
        }
    }

    /// The leaves at a path; none where the event has none.
    #[inline]
    pub(super) fn found(&self, slot: u32) -> Option<Found> {
        self.found.get(slot as usize).copied().filter(|found| found.event == self.event)
    }

    /// Adds a leaf to its path.
    #[inline]
    pub(super) fn add_leaf(&mut self, slot: u32, leaf: Leaf) {
        let Ok(at) = u32::try_from(self.leaves.len()) else { return };
        let Some(found) = self.found.get_mut(slot as usize) else { return };
        if found.event == self.event {
            if let Some(last) = self.leaves.get_mut(found.last as usize) {
                last.next = at;
            }
            found.last = at;
            found.in_list |= leaf.context != 0;
        } else {
            *found = Found { event: self.event, first: at, last: at, in_list: leaf.context != 0 };
            self.touched.push(slot);
        }
        self.leaves.push(leaf);
    }

    /// Whether this branch is looked at for the first time in this event.
    #[inline]
    pub(super) fn is_new_branch(&mut self, branch: u32) -> bool {
        self.branches.get_mut(branch as usize).is_some_and(|seen| std::mem::replace(seen, self.event) != self.event)
    }

    /// Whether this gram is met for the first time in this event.
    #[inline]
    pub(super) fn is_new_gram(&mut self, gram: u32) -> bool {
        self.grams.get_mut(gram as usize).is_some_and(|seen| std::mem::replace(seen, self.event) != self.event)
    }

    #[inline]
    pub(super) fn field(&self, field: u32) -> Option<bool> {
        self.fields.get(field as usize).filter(|(event, _)| *event == self.event).map(|(_, agrees)| *agrees)
    }

    #[inline]
    pub(super) fn set_field(&mut self, field: u32, agrees: bool) {
        if let Some(known) = self.fields.get_mut(field as usize) {
            *known = (self.event, agrees);
        }
    }

    #[inline]
    pub(super) fn has_owner(&self, owner: u32) -> bool {
        self.owners.get(owner as usize).is_some_and(|seen| *seen == self.event)
    }

    #[inline]
    pub(super) fn add_owner(&mut self, owner: u32) {
        if let Some(seen) = self.owners.get_mut(owner as usize) {
            *seen = self.event;
            self.matched.push(owner);
        }
    }
}

fn grow<T: Clone + Default>(list: &mut Vec<T>, length: usize) {
    if list.len() < length {
        list.resize(length, T::default());
    }
}

fn give_back<T>(list: &mut Vec<T>) {
    if list.capacity() > KEPT_MAX {
        *list = Vec::new();
    }
}
