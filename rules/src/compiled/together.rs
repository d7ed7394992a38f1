//! Whether values can be chosen so that no two of them stand in different elements of one list.
//!
//! Lists are taken from the inside out. A field whose values all lie in one list can be had from that list alone, so
//! the element that is chosen there must have all such fields at once: elements that do not are left out. What
//! remains is mostly one set of fields for each list. Where it is not (lists that share a path, by repeated keys or by
//! dots in keys), the simple evaluator is asked.

use super::scratch::{Scratch, Spread};

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Together {
    Yes,
    No,
    /// There is more than one set for a list.
    Unclear,
}

/// The most fields that are looked at here; more are unclear.
pub(super) const FIELDS_MAX: usize = 64;

/// Decides for the fields in [`Scratch::spread`], of which [`Scratch::own`] has one bit for each in each context that
/// it can be had in.
pub(super) fn together(scratch: &mut Scratch) -> Together {
    let Scratch { contexts, lists, own, best, spread, .. } = scratch;
    if spread.len() > FIELDS_MAX {
        return Together::Unclear;
    }
    let all = if spread.len() == FIELDS_MAX { u64::MAX } else { (1 << spread.len()) - 1 };
    best.clear();
    best.resize(lists.len(), None);
    for at in (1..contexts.len()).rev() {
        let (Some(context), Some(set)) = (contexts.get(at), own.get(at).copied()) else { return Together::Unclear };
        let Some(list) = lists.get(context.list as usize) else { return Together::Unclear };
        let is_first = list.first as usize == at;
        let Some(best) = best.get_mut(context.list as usize) else { return Together::Unclear };
        if set == 0 && best.is_none() && !is_first {
            continue;
        }
        let needed = needed(spread, list.first, list.last);
        if needed & !set == 0 && set != 0 {
            match *best {
                None => *best = Some(set),
                Some(other) if set & !other == 0 => {}
                Some(other) if other & !set == 0 => *best = Some(set),
                Some(_) => return Together::Unclear,
            }
        }
        if is_first {
            let chosen = best.unwrap_or(0);
            if needed & !chosen != 0 {
                return Together::No;
            }
            if let Some(around) = own.get_mut(context.parent as usize) {
                *around |= chosen;
            }
        }
    }
    if own.first() == Some(&all) { Together::Yes } else { Together::No }
}

/// The fields that can be had between two contexts alone.
fn needed(spread: &[Spread], first: u32, last: u32) -> u64 {
    let mut needed = 0;
    for (place, field) in spread.iter().enumerate() {
        if field.first >= first && field.last <= last {
            needed |= 1 << place;
        }
    }
    needed
}
