//! Hashes and the places they lead to: one array, so that a hash that leads nowhere costs one look at memory.

use super::paths::NONE;

/// Places by hash.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// A power of two, at most half of them taken: a search ends soon.
    slots: Vec<Slot>,
    /// What is left of a tag where its search begins.
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    /// [`NONE`] where nothing is.
    place: u32,
}

const FREE: Slot = Slot { tag: 0, place: NONE };

impl Default for Places {
    fn default() -> Places {
        Places::new(&[])
    }
}

impl Places {
    /// From tags, none of them twice, and their places.
    pub(super) fn new(places: &[(u64, u32)]) -> Places {
        let size = (2 * places.len()).next_power_of_two().max(2);
        let shift = 32 - size.trailing_zeros();
        let mut made = Places { slots: vec![FREE; size], shift };
        for &(tag, place) in places {
            let tag = Places::tag(tag);
            let mut at = made.home(tag);
            while let Some(slot) = made.slots.get_mut(at) {
                if slot.place == NONE {
                    *slot = Slot { tag, place };
                    break;
                }
                at = (at + 1) & (size - 1);
            }
        }
        made
    }

    /// As much of a hash as is looked at.
    #[inline]
    pub(super) fn tag(hash: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let tag = hash as u32;
        tag
    }

    /// Where a hash leads.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<u32> {
        let tag = Places::tag(hash);
        let mut at = self.home(tag);
        loop {
            let slot = self.slots.get(at)?;
            if slot.place == NONE {
                return None;
            }
            if slot.tag == tag {
                return Some(slot.place);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        (tag >> self.shift) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_tag_leads_to_its_place(tags in prop::collection::btree_set(prop_oneof![0u32..20, any::<u32>()], 0..200), other: u32) {
            let places: Vec<(u64, u32)> = tags.iter().map(|tag| u64::from(*tag)).zip(0..).collect();
            let made = Places::new(&places);
            for (tag, place) in &places {
                // The upper half of a hash does not count.
                prop_assert_eq!(made.get(*tag | 7 << 40), Some(*place));
            }
            prop_assert_eq!(made.get(u64::from(other)).is_some(), tags.contains(&other));
        }
    }
}
