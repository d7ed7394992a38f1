//! A vector with holes: small stable numbers instead of pointers, so that an entry costs its own bytes and the
//! queues that hold it four more.
//!
//! It stands in blocks. One vector would be copied whole whenever it outgrows its memory, which with some hundred
//! thousand entries takes tens of milliseconds, under the state's lock, and twice the memory meanwhile. And a block
//! whose entries are all gone is given back, so that a backlog leaves nothing behind.

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

/// Bytes of one block, which takes some tens of microseconds to make. Large enough that what the allocator adds to each (a
/// page, in jemalloc) is nothing: in blocks of 32 KiB a million pending took 25 MB more.
const BLOCK_BYTES: usize = 256 * 1024;

/// Entries by number. Numbers of removed entries are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    blocks: Vec<Block<T>>,
    /// One more than the largest number that was ever given out.
    end: usize,
    free: Vec<u32>,
    /// The memory of the block that was emptied last: few entries that come and go are to allocate nothing.
    spare: Vec<Option<T>>,
}

#[derive(Debug)]
struct Block<T> {
    /// [`Slab::BLOCK_ENTRIES`], or none where all of them are holes.
    entries: Vec<Option<T>>,
    /// How many of them are no holes.
    live: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { blocks: Vec::new(), end: 0, free: Vec::new(), spare: Vec::new() }
    }
}

impl<T> Slab<T> {
    const BLOCK_ENTRIES: usize = BLOCK_BYTES / size_of::<Option<T>>();

    /// The block that a number stands in, and where in there.
    fn place(number: u32) -> (usize, usize) {
        (number as usize / Self::BLOCK_ENTRIES, number as usize % Self::BLOCK_ENTRIES)
    }

    /// Keeps an entry. `None` where four billion are kept already.
    pub(crate) fn insert(&mut self, entry: T) -> Option<u32> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => u32::try_from(self.end).ok().filter(|number| *number != NONE)?,
        };
        self.restore(number, entry).then_some(number)
    }

    /// Puts an entry back under the number that it had before. `false` where that is taken. Numbers that are left
    /// out are used again after [`Slab::reuse_holes`].
    pub(crate) fn restore(&mut self, number: u32, entry: T) -> bool {
        let (block, at) = Self::place(number);
        while self.blocks.len() <= block {
            self.blocks.push(Block { entries: Vec::new(), live: 0 });
        }
        let Some(block) = self.blocks.get_mut(block) else { return false };
        if block.entries.is_empty() {
            block.entries = std::mem::take(&mut self.spare);
            block.entries.resize_with(Self::BLOCK_ENTRIES, || None);
        }
        match block.entries.get_mut(at) {
            Some(hole @ None) => {
                *hole = Some(entry);
                block.live += 1;
                self.end = self.end.max(number as usize + 1);
                true
            }
            _ => false,
        }
    }

    /// Finds the numbers that are free, the lowest to be used first.
    pub(crate) fn reuse_holes(&mut self) {
        self.free = (0u32..).take(self.end).filter(|number| self.get(*number).is_none()).collect();
        self.free.reverse();
    }

    /// The entries of some numbers that follow each other.
    pub(crate) fn range(&self, first: u32, count: usize) -> impl Iterator<Item = (u32, &T)> {
        (first..NONE).take(count).filter_map(|number| Some((number, self.get(number)?)))
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (block, at) = Self::place(number);
        self.blocks.get(block)?.entries.get(at)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (block, at) = Self::place(number);
        self.blocks.get_mut(block)?.entries.get_mut(at)?.as_mut()
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let (block, at) = Self::place(number);
        let block = self.blocks.get_mut(block)?;
        let entry = block.entries.get_mut(at)?.take()?;
        block.live -= 1;
        if block.live == 0 {
            self.spare = std::mem::take(&mut block.entries);
        }
        self.free.push(number);
        Some(entry)
    }

    /// All entries with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.range(0, self.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// So large that a hundred fill a block.
    #[derive(Clone, Debug, PartialEq)]
    struct Large(u64, [u8; 2500]);

    fn large(number: u64) -> Large {
        Large(number, [7; 2500])
    }

    #[test]
    fn it_keeps_what_a_map_keeps() {
        let mut random = fastrand::Rng::with_seed(11);
        let (mut slab, mut map) = (Slab::default(), BTreeMap::new());
        for step in 0..12_000u64 {
            // By turns it grows to some blocks and is drained.
            if random.u64(..10) < if step / 2_000 % 2 == 0 { 8 } else { 2 } {
                let number = slab.insert(large(step)).unwrap();
                assert_eq!(map.insert(number, large(step)), None, "a number that is taken was given out");
            } else if let Some(number) = random.choice(map.keys().copied().collect::<Vec<u32>>()) {
                assert_eq!(slab.remove(number), map.remove(&number), "step {step}");
                assert_eq!(slab.get(number), None);
            }
        }
        assert!(slab.iter().map(|(number, entry)| (number, entry.clone())).eq(map.clone()));
        assert!(slab.blocks.len() > 5, "{} blocks", slab.blocks.len());
        assert!(slab.range(300, 100).map(|(number, _)| number).eq(map.range(300..400).map(|(number, _)| *number)));
    }

    #[test]
    fn what_is_restored_stands_where_it_stood_and_the_holes_are_used() {
        let mut slab = Slab::default();
        assert!(slab.restore(1_000, 'b') && slab.restore(3, 'a') && !slab.restore(3, 'c'));
        slab.reuse_holes();
        assert_eq!((slab.insert('d'), slab.get(3), slab.get(1_000)), (Some(0), Some(&'a'), Some(&'b')));
        assert_eq!(slab.iter().count(), 3);
    }

    #[test]
    fn a_drained_slab_gives_its_memory_back() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..1_000).map(|entry| slab.insert(large(entry)).unwrap()).collect();
        for number in &numbers {
            slab.remove(*number).unwrap();
        }
        assert!(slab.blocks.iter().all(|block| block.entries.capacity() == 0));
        // All the numbers are used again, and no others.
        assert!((0..1_000).all(|entry| slab.insert(large(entry)).unwrap() < 1_000));
    }
}
