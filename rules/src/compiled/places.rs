//! Where the branches begin that a hash leads to.
//!
//! The branches of a table stand in the set's list in the order of their tags, and a tag is in them. So all that is kept
//! here is one bit for each stretch of tags, set where there is one, and for each few bits the place in the list where
//! their branches begin. That is a tenth of a table of tags and places: it stays in the processor's cache where that
//! would not. Nearly all hashes of an event lead nowhere and are told by their bit; the others lead straight to the
//! branch, or to one a few places before it.

use super::filed::Filed;

/// Places by tag.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// In the lower half of each one bit for each of [`BITS`] stretches of tags, in the upper half the place of the first
    /// branch in any of them. One more at the end, for the place behind the last branch.
    words: Vec<u64>,
    /// What is left of a tag where its bit stands.
    shift: u32,
}

/// How many bits one word has beside the place.
const BITS: u32 = 32;

/// How many bits there are for each different tag, at least.
const BITS_FOR_A_TAG: usize = 8;

/// Where to look for a tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) from: u32,
    pub(super) end: u32,
}

impl Places {
    /// For branches that stand in the list from `first` on, in the order of their tags.
    pub(super) fn new(branches: &[Filed], first: u32) -> Places {
        if branches.is_empty() {
            return Places::default();
        }
        let tags = branches.chunk_by(|a, b| a.tag == b.tag).count();
        let count = (tags * BITS_FOR_A_TAG).next_power_of_two().clamp(BITS as usize, 1 << 31);
        let shift = u32::BITS - count.trailing_zeros();
        let mut words = Vec::with_capacity(count / BITS as usize + 1);
        let mut rest = branches;
        let mut place = first;
        for number in (0..).take(count / BITS as usize) {
            let mut word = u64::from(place) << BITS;
            let inside = rest.partition_point(|branch| branch.tag >> shift < (number + 1) * BITS);
            let (here, behind) = rest.split_at(inside);
            here.iter().for_each(|branch| word |= 1 << (branch.tag >> shift & (BITS - 1)));
            words.push(word);
            place = place.saturating_add(u32::try_from(inside).unwrap_or(u32::MAX));
            rest = behind;
        }
        words.push(u64::from(place) << BITS);
        Places { words, shift }
    }

    /// As much of a hash as is looked at.
    #[inline]
    pub(super) fn tag(hash: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let tag = hash as u32;
        tag
    }

    /// Where in the list a tag may be; `None` where it leads nowhere for sure.
    #[inline]
    pub(super) fn stretch(&self, tag: u32) -> Option<Stretch> {
        let bit = tag >> self.shift;
        let at = (bit / BITS) as usize;
        let word = *self.words.get(at)?;
        let wanted = 1 << (bit % BITS);
        if word & wanted == 0 {
            return None;
        }
        // For each bit before it there is a branch at least.
        let before = (word & (wanted - 1)).count_ones();
        let place = |word: u64| Places::tag(word >> BITS);
        Some(Stretch { from: place(word) + before, end: self.words.get(at + 1).copied().map_or(0, place) })
    }
}

/// How many branches are looked at one by one.
const LOOKED_AT_MAX: usize = 4;

/// The first place in a stretch whose branch has this tag.
#[inline]
pub(super) fn find(tag: u32, Stretch { from, end }: Stretch, list: &[Filed]) -> Option<u32> {
    let stretch = list.get(from as usize..end as usize)?;
    let mut before = stretch.iter().take(LOOKED_AT_MAX).take_while(|branch| branch.tag < tag).count();
    if before == LOOKED_AT_MAX {
        before = stretch.partition_point(|branch| branch.tag < tag);
    }
    let found = stretch.get(before).is_some_and(|branch| branch.tag == tag);
    found.then(|| from.saturating_add(u32::try_from(before).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_tag_leads_to_its_first_place(
            mut tags in prop::collection::vec(prop_oneof![0u32..20, u32::MAX - 5..=u32::MAX, any::<u32>()], 0..200),
            first in 0usize..3,
            other: u32,
        ) {
            tags.sort_unstable();
            let filed = |tag: &u32| {
                let mut filed = Filed::new(0, 0, None);
                filed.tag = *tag;
                filed
            };
            let mut list = vec![filed(&0); first];
            list.extend(tags.iter().map(filed));
            let made = Places::new(list.get(first..).unwrap_or_default(), u32::try_from(first).unwrap());
            // What another table has filed behind it.
            list.extend(tags.first().map(filed));
            let get = |tag| made.stretch(tag).and_then(|stretch| find(tag, stretch, &list));
            for tag in tags.iter().chain([&other]) {
                let place = tags.iter().position(|known| known == tag).map(|place| u32::try_from(first + place).unwrap());
                prop_assert_eq!(get(*tag), place);
            }
        }
    }
}
