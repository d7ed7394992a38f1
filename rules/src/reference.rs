//! Whether an event matches a pattern: the simple, slow, obviously right way.
//!
//! For each field of a pattern, collect the leaves at its path that the field accepts. The pattern matches if one
//! leaf can be chosen for each field such that no two of them stand in different elements of the same list (and a
//! field that may be absent is content where the whole event has no leaf at its path).
//!
//! Choosing is done without trying combinations: `Fields` makes a tree of contexts, a choice takes from each list
//! at most one element, and so it is enough to know for each element which sets of fields it can provide, from the
//! innermost outwards. Only sets that everything around the element could complete are kept. In an event whose
//! paths are told apart by their keys that is one set; where lists share a path (a key that is there twice, dots in
//! keys) there may be more. They are compared at most [`COMPARISONS_MAX`] times: an event that its sender built to
//! need more does not match. It never matches where it should not.
//!
//! The compiled set ([`crate::PatternSet`]) is held against this one by property tests, and [`crate::RuleSet::explain`]
//! is built on it.

use std::collections::{BTreeMap, HashMap};

use crate::fields::{Fields, OUTERMOST, Wanted};
use crate::pattern::limits::FIELDS_MAX;
use crate::pattern::{Branch, Pattern};
use crate::syntax::{Node, Value};
use crate::view::View;

/// How often sets of fields are compared for one pattern and one event. An event with unique keys needs one
/// comparison for each element of its lists, and one of a mebibyte has room for about 100,000.
pub const COMPARISONS_MAX: usize = 1_000_000;

/// Whether the event matches the pattern.
#[must_use]
pub fn matches(pattern: &Pattern, view: &View<'_>) -> bool {
    let mut wanted = Wanted::default();
    wanted.add(pattern);
    matches_fields(pattern, &Fields::new(view, &wanted))
}

/// The same for any JSON object; `None` where it is none.
pub(crate) fn matches_node(pattern: &Pattern, node: &Node<'_>) -> Option<bool> {
    let mut wanted = Wanted::default();
    wanted.add(pattern);
    matches!(node.value, Value::Object(_)).then(|| matches_fields(pattern, &Fields::of_node(node, &wanted)))
}

/// The same for an event that is laid flat already; the pattern's paths must be among the wanted ones.
pub(crate) fn matches_fields(pattern: &Pattern, fields: &Fields<'_>) -> bool {
    pattern.branches.iter().any(|branch| branch_matches(branch, fields))
}

pub(crate) fn branch_matches(branch: &Branch, fields: &Fields<'_>) -> bool {
    match Candidates::collect(branch, fields, true) {
        Some(candidates) => candidates.together(fields, true).contains(&candidates.all),
        None => false,
    }
}

/// As many fields of `branch` as can be had at once, and those that can be had each for itself.
pub(crate) fn satisfied(branch: &Branch, fields: &Fields<'_>) -> (Set, Set) {
    let Some(candidates) = Candidates::collect(branch, fields, false) else {
        return (Set::default(), Set::default());
    };
    let together = candidates.together(fields, false).into_iter().max_by_key(Set::len).unwrap_or_default();
    (together, candidates.all)
}

/// A set of fields of one branch, by their places in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set([u64; FIELDS_MAX / 64]);

impl Set {
    fn one(place: usize) -> Set {
        let mut set = Set::default();
        // A branch has at most FIELDS_MAX fields.
        if let Some(word) = set.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
        set
    }

    pub(crate) fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    fn or(mut self, other: Set) -> Set {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        self
    }

    fn and(mut self, other: Set) -> Set {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        self
    }

    fn without(mut self, other: Set) -> Set {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        self
    }

    fn within(&self, other: &Set) -> bool {
        self.without(*other) == Set::default()
    }

    pub(crate) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// Which fields have a leaf that they accept, and in which contexts.
struct Candidates {
    /// The fields that have one anywhere, or may be absent and are.
    all: Set,
    /// By context, the fields that have one right there. Holds each context that has any, and the outermost.
    own: HashMap<usize, Set>,
}

impl Candidates {
    /// `None` where some field has none and all are `required`.
    fn collect(branch: &Branch, fields: &Fields<'_>, required: bool) -> Option<Candidates> {
        let mut all = Set::default();
        let mut own = HashMap::from([(OUTERMOST, Set::default())]);
        for (place, field) in branch.fields.iter().enumerate() {
            let leaves = fields.at(&field.path);
            let one = Set::one(place);
            let mut found = false;
            if leaves.is_empty() && field.accepts_absence() {
                own.entry(OUTERMOST).and_modify(|set| *set = set.or(one));
                found = true;
            }
            for leaf in leaves {
                let set = own.get(&leaf.context).copied().unwrap_or_default();
                // One leaf that is accepted stands for all others in the same context.
                if !set.has(place) && field.accepts(leaf.scalar) {
                    own.insert(leaf.context, set.or(one));
                    found = true;
                }
            }
            if found {
                all = all.or(one);
            } else if required {
                return None;
            }
        }
        Some(Candidates { all, own })
    }

    /// The largest sets of fields that can be had at once, none inside another. With `whole`, sets that cannot
    /// grow to all fields are left out on the way.
    fn together(&self, fields: &Fields<'_>, whole: bool) -> Vec<Set> {
        let outermost = self.own.get(&OUTERMOST).copied().unwrap_or_default();
        if outermost == self.all {
            return vec![outermost];
        }
        let around = if whole { self.around(fields) } else { Vec::new() };
        // Contexts are numbered from the outside in: taken from the last to the first, whatever stands inside an
        // element is known when its turn comes.
        let mut inside: BTreeMap<usize, BTreeMap<usize, Largest>> = BTreeMap::new();
        let mut comparisons = 0;
        for (context, place) in fields.contexts.iter().enumerate().rev() {
            let own = self.own.get(&context).copied().unwrap_or_default();
            let mut sets = Largest(vec![own]);
            for offered in inside.remove(&context).unwrap_or_default().into_values() {
                sets = sets.joined_with(&offered, &mut comparisons);
            }
            if context == OUTERMOST {
                return sets.0;
            }
            // What cannot be had around an element, should it be the one chosen, must be had in it.
            let needed = around.get(context).map_or(Set::default(), |around| self.all.without(*around));
            for set in sets.0.into_iter().filter(|set| *set != Set::default() && needed.within(set)) {
                inside.entry(place.parent).or_default().entry(place.list).or_default().keep(set, &mut comparisons);
            }
        }
        Vec::new()
    }

    /// For each context the fields that can be had outside of it if it is the one chosen from its list.
    fn around(&self, fields: &Fields<'_>) -> Vec<Set> {
        // What can be had in a context and below, whatever excludes what; the same for the elements of each list.
        let mut under = vec![Set::default(); fields.contexts.len()];
        let mut lists: BTreeMap<(usize, usize), Set> = BTreeMap::new();
        for (context, place) in fields.contexts.iter().enumerate().rev() {
            let own = self.own.get(&context).copied().unwrap_or_default();
            let set = under.get(context).map_or(own, |below| below.or(own));
            if context != OUTERMOST && set != Set::default() {
                add(&mut under, place.parent, set);
                let list = lists.entry((place.parent, place.list)).or_default();
                *list = list.or(set);
            }
        }
        // What the lists of one context offer, and what more than one of them does: from these two follows what
        // is left when one list is put aside, without looking at each other list again.
        let mut offers: BTreeMap<usize, (Set, Set)> = BTreeMap::new();
        for (&(parent, _), &offered) in &lists {
            let (once, twice) = offers.entry(parent).or_default();
            *twice = twice.or(once.and(offered));
            *once = once.or(offered);
        }
        let mut around = vec![Set::default(); fields.contexts.len()];
        for (context, place) in fields.contexts.iter().enumerate().skip(1) {
            let outside = around.get(place.parent).copied().unwrap_or_default();
            let own = self.own.get(&place.parent).copied().unwrap_or_default();
            let (once, twice) = offers.get(&place.parent).copied().unwrap_or_default();
            let offered = lists.get(&(place.parent, place.list)).copied().unwrap_or_default();
            add(&mut around, context, outside.or(own).or(twice).or(once.without(offered)));
        }
        around
    }
}

fn add(sets: &mut [Set], place: usize, more: Set) {
    if let Some(set) = sets.get_mut(place) {
        *set = set.or(more);
    }
}

/// Sets of which none holds another.
#[derive(Default)]
struct Largest(Vec<Set>);

impl Largest {
    /// Adds a set unless another holds it already, and takes out those that it holds. Past [`COMPARISONS_MAX`]
    /// nothing is added any more.
    fn keep(&mut self, set: Set, comparisons: &mut usize) {
        *comparisons += 1 + self.0.len();
        if *comparisons > COMPARISONS_MAX || self.0.iter().any(|other| set.within(other)) {
            return;
        }
        self.0.retain(|other| !other.within(&set));
        self.0.push(set);
    }

    /// Each of these sets joined with each of the others; as they are where there are no others.
    fn joined_with(self, others: &Largest, comparisons: &mut usize) -> Largest {
        if others.0.is_empty() {
            return self;
        }
        let mut joined = Largest::default();
        for set in &self.0 {
            for other in &others.0 {
                if *comparisons <= COMPARISONS_MAX {
                    joined.keep(set.or(*other), comparisons);
                }
            }
        }
        joined
    }
}
