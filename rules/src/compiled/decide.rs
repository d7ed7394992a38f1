//! From the values that were collected to the patterns that match: what they lead to, and whether that agrees.

use std::collections::HashMap;
use std::sync::Arc;

use super::filed::{Filed, NO};
use super::leaf::{accepts_text, leaf_hash, leaf_number, leaf_string, number_value, scalar};
use super::paths::NONE;
use super::places::find;
use super::scratch::{LeafKind, Scratch, Spread};
use super::table::{self, Table};
use super::together::{self, FIELDS_MAX, Together};
use super::{ALONE, PatternSet, Quick, SetBranch, SetField};
use crate::fields::{Context, Fields, Leaf};
use crate::pattern::Branch;
use crate::reference;

/// Up to how many places that values have led to, a branch may be looked at more than once.
const LOOKED_AT_TWICE_MAX: usize = 256;

impl PatternSet {
    /// From the values that were collected to the patterns that match.
    pub(super) fn decide(&self, text: &[u8], scratch: &mut Scratch) {
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
