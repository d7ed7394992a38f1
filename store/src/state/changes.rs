//! What has changed since the last checkpoint, so that the next one writes no more than that.
//!
//! A checkpoint's entry is not one event but a *chunk*: the events of [`CHUNK_EVENTS`] numbers that follow each
//! other in the table of events. Numbers are given out in order and those that become free are used again, so
//! neighbours have come together and mostly go together: a backlog's chunk is written when it is filled and
//! removed when it is drained, and what comes and goes between two checkpoints lives in the same few chunks.
//! With a key for each event, writing the keys cost more processor than everything else that a commit costs.

use std::collections::BTreeSet;

use eventyard_event::Name;

use super::{EventSlot, State};

/// Events of one chunk; some kilobytes, which take some microseconds to encode.
pub(crate) const CHUNK_EVENTS: usize = 64;
/// A chunk's number is an event's without its lowest bits.
const CHUNK_BITS: u32 = CHUNK_EVENTS.trailing_zeros();

/// What has changed since the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Chunks, by number.
    pub(crate) chunks: Vec<u32>,
    pub(crate) positions: BTreeSet<(Name, Name)>,
}

/// Of one chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ChunkMark {
    /// It has changed since the last checkpoint.
    dirty: bool,
    /// A checkpoint holds it.
    saved: bool,
}

/// What is to be done with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Save {
    /// It came and went since the last checkpoint.
    Nothing,
    /// There is nothing in it any more.
    Remove,
    Write,
}

impl State {
    /// Takes what has changed since the last checkpoint.
    pub(crate) fn take_changes(&mut self) -> Changes {
        let mut chunks = std::mem::take(&mut self.changed);
        chunks.sort_unstable();
        Changes { chunks, positions: std::mem::take(&mut self.positions_changed) }
    }

    /// A chunk that a checkpoint is about to write: from now on it counts as unchanged, and as held where it is
    /// written.
    pub(crate) fn save(&mut self, chunk: u32) -> Save {
        let empty = self.chunk(chunk).next().is_none();
        let Some(mark) = self.chunks.get_mut(chunk as usize) else { return Save::Nothing };
        let held = std::mem::replace(mark, ChunkMark { dirty: false, saved: !empty }).saved;
        match (empty, held) {
            (false, _) => Save::Write,
            (true, true) => Save::Remove,
            (true, false) => Save::Nothing,
        }
    }

    /// The events of a chunk, by number.
    pub(crate) fn chunk(&self, chunk: u32) -> impl Iterator<Item = (u32, &EventSlot)> {
        self.events.range(chunk << CHUNK_BITS, CHUNK_EVENTS)
    }

    /// Forgets what checkpoints hold: the next one writes everything.
    pub(crate) fn unsave_all(&mut self) {
        let full: BTreeSet<u32> = self.events.iter().map(|(number, _)| number >> CHUNK_BITS).collect();
        self.chunks.fill(ChunkMark::default());
        self.changed = full.into_iter().collect();
        for chunk in &self.changed {
            if let Some(mark) = self.chunks.get_mut(*chunk as usize) {
                mark.dirty = true;
            }
        }
        self.positions_changed = self.positions.keys().cloned().collect();
    }

    /// Notes that an event has changed since the last checkpoint.
    pub(super) fn mark(&mut self, event: u32) {
        let mark = self.chunk_mark(event);
        if !mark.dirty {
            mark.dirty = true;
            self.changed.push(event >> CHUNK_BITS);
        }
    }

    /// Notes that a checkpoint holds an event.
    pub(super) fn mark_saved(&mut self, event: u32) {
        self.chunk_mark(event).saved = true;
    }

    fn chunk_mark(&mut self, event: u32) -> &mut ChunkMark {
        let at = (event >> CHUNK_BITS) as usize;
        if self.chunks.len() <= at {
            self.chunks.resize(at + 1, ChunkMark::default());
        }
        // The line above has made it.
        #[expect(clippy::indexing_slicing, reason = "the vector has just been made long enough")]
        &mut self.chunks[at]
    }
}
