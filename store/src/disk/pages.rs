//! Memory that begins at a page: what passes by the page cache is taken from there by the disk itself.

use std::ops::Deref;

/// What a write past the page cache begins and ends at, in the file and in memory: the page of most machines and the
/// block of most disks. Where more is asked for, it goes by way of the page cache.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Bytes, the first of which stands at the beginning of a page.
#[derive(Default)]
pub(crate) struct Pages {
    memory: Vec<u8>,
    /// Where in the memory the bytes begin: it is given out at any place.
    from: usize,
}

impl Pages {
    /// The bytes to append to, with room for so many: with more of them they would move to any place.
    pub(crate) fn with_room(&mut self, bytes: usize) -> &mut Vec<u8> {
        if self.memory.capacity() - self.memory.len() < bytes {
            let most = (self.len() + bytes).max(2 * self.len());
            let mut memory: Vec<u8> = Vec::with_capacity(PAGE_BYTES + most);
            let from = memory.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
            memory.resize(from, 0);
            memory.extend_from_slice(self);
            *self = Pages { memory, from };
        }
        &mut self.memory
    }

    /// Appends zeros until there are so many bytes.
    pub(crate) fn fill_up(&mut self, bytes: usize) {
        let zeros = bytes.saturating_sub(self.len());
        let memory = self.with_room(zeros);
        memory.resize(memory.len() + zeros, 0);
    }

    /// Takes all bytes out and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.memory.truncate(self.from);
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.from..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_begin_at_a_page_however_they_grow() {
        let mut random = fastrand::Rng::with_seed(9);
        let (mut pages, mut wanted) = (Pages::default(), Vec::new());
        for _ in 0..2000 {
            let mut fresh = vec![0; random.usize(..3 * PAGE_BYTES)];
            match random.u8(..20) {
                0 => {
                    pages.clear();
                    wanted.clear();
                    continue;
                }
                1 => pages.fill_up(wanted.len() + fresh.len()),
                _ => {
                    random.fill(&mut fresh);
                    pages.with_room(fresh.len()).extend_from_slice(&fresh);
                }
            }
            wanted.extend_from_slice(&fresh);
            assert!(*pages == *wanted);
            assert!(wanted.is_empty() || pages.as_ptr().addr().is_multiple_of(PAGE_BYTES));
        }
    }
}
