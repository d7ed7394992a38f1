//! Hashes and the places they lead to. Before the array of places stands one of bits, small enough for the processor's
//! cache where the places are not: nearly all hashes of an event lead nowhere, and are told by it.

use super::paths::NONE;

/// Places by hash.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// A power of two, at most half of them taken: a search ends soon.
    slots: Vec<Slot>,
    /// What is left of a tag where its search begins.
    shift: u32,
    /// One bit for each of the stretches of tags, set where one of them is here; at most one in eight is.
    bits: Vec<u64>,
    /// What is left of a tag where its bit stands.
    bit_shift: u32,
}

/// How many times as many bits as slots there are, as a power of two.
const BITS_FOR_A_SLOT: u32 = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    tag: u32,
    /// [`NONE`] where nothing is.
    place: u32,
}

pub(super) const FREE: Slot = Slot { tag: 0, place: NONE };

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
        let bit_count = (size << BITS_FOR_A_SLOT).max(64);
        let bit_shift = 32_u32.saturating_sub(bit_count.trailing_zeros());
        let mut made = Places { slots: vec![FREE; size], shift, bits: vec![0; bit_count / 64], bit_shift };
        for &(tag, place) in places {
            let tag = Places::tag(tag);
            let bit = tag >> bit_shift;
            if let Some(bits) = made.bits.get_mut(bit as usize / 64) {
                *bits |= 1 << (bit % 64);
            }
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

    /// False where a tag leads nowhere for sure.
    #[inline]
    pub(super) fn may_hold(&self, tag: u32) -> bool {
        let bit = tag >> self.bit_shift;
        self.bits.get(bit as usize / 64).is_some_and(|bits| bits >> (bit % 64) & 1 == 1)
    }

    /// What stands where a tag belongs: mostly what it leads to. To ask for all that an event needs before any of it is
    /// looked at lets memory answer to all of them at once.
    #[inline]
    pub(super) fn at_home(&self, tag: u32) -> Slot {
        self.slots.get(self.home(tag)).copied().unwrap_or(FREE)
    }

    /// Where a tag leads, of which is known what stands where it belongs.
    #[inline]
    pub(super) fn get(&self, tag: u32, at_home: Slot) -> Option<u32> {
        if at_home.place == NONE {
            None
        } else if at_home.tag == tag {
            Some(at_home.place)
        } else {
            self.behind(tag)
        }
    }

    fn behind(&self, tag: u32) -> Option<u32> {
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
            let get = |hash: u64| {
                let tag = Places::tag(hash);
                made.get(tag, made.at_home(tag))
            };
            for (tag, place) in &places {
                // The upper half of a hash does not count.
                prop_assert_eq!(get(*tag | 7 << 40), Some(*place));
                prop_assert!(made.may_hold(Places::tag(*tag)));
            }
            prop_assert_eq!(get(u64::from(other)).is_some(), tags.contains(&other));
        }
    }
}
