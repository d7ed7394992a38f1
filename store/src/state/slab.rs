//! A vector with holes: small stable numbers instead of pointers, so that an entry costs its own bytes and the
//! queues that hold it four more.

/// No entry.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries by number. Numbers of removed entries are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps an entry. `None` where four billion are kept already.
    pub(crate) fn insert(&mut self, entry: T) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            if let Some(hole) = self.entries.get_mut(number as usize) {
                *hole = Some(entry);
            }
            return Some(number);
        }
        let number = u32::try_from(self.entries.len()).ok().filter(|number| *number != NONE)?;
        self.entries.push(Some(entry));
        Some(number)
    }

    /// Puts an entry back under the number that it had before. `false` where that is taken. Numbers that are left
    /// out are used again after [`Slab::reuse_holes`].
    pub(crate) fn restore(&mut self, number: u32, entry: T) -> bool {
        let at = number as usize;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        match self.entries.get_mut(at) {
            Some(hole @ None) => {
                *hole = Some(entry);
                true
            }
            _ => false,
        }
    }

    /// Finds the numbers that are free, the lowest to be used first.
    pub(crate) fn reuse_holes(&mut self) {
        let holes = (0u32..).zip(&self.entries).filter(|(_, entry)| entry.is_none()).map(|(number, _)| number);
        self.free = holes.collect();
        self.free.reverse();
    }

    /// The entries of some numbers that follow each other.
    pub(crate) fn range(&self, first: u32, count: usize) -> impl Iterator<Item = (u32, &T)> {
        let from = self.entries.len().min(first as usize);
        let entries = self.entries.get(from..self.entries.len().min(from + count)).unwrap_or_default();
        (first..).zip(entries).filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let entry = self.entries.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(entry)
    }

    /// All entries with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(&self.entries).filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }
}
