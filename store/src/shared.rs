//! What the owner and the callers share.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use eventyard_event::{Clock, EventId, Timestamp};

use crate::catalog::{self, Catalog};
use crate::dedupe::{self, Dedupe, Repeated};
use crate::disk::AnyDisk;
use crate::journal::{Ahead, DedupeMark, End, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentFiles};
use crate::owner::Inbox;
use crate::retention::born;
use crate::state::{Names, State};
use crate::{Health, Options};

/// All that a [`LocalStore`](crate::LocalStore) and its owner hold together. Where two locks are needed, the
/// state's is taken before the catalogue's, and what is gathered is locked before either; a line, the ids, the end and
/// the poison come after all of them. None is held while a disk is waited for, but by the owner while it gathers what
/// stands in line: then others stand in line too.
pub(crate) struct Shared {
    pub(crate) inbox: Inbox,
    /// Queue names and snapshots. Read by every commit, written when a new name turns up.
    names: RwLock<Names>,
    state: Mutex<State>,
    catalog: Mutex<Catalog>,
    dedupe: Mutex<Dedupe>,
    /// The files of ids that were seen.
    pub(crate) seen_files: Arc<dedupe::Shown>,
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) ahead: Arc<Ahead>,
    /// Wakes who waits for eligible deliveries.
    pub(crate) changed: tokio::sync::Notify,
    /// Wakes all who wait for a copy of an event to be written.
    pub(crate) copied: tokio::sync::Notify,
    pub(crate) journal: [u8; 16],
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    /// The end of what is synced and applied.
    end: Mutex<End>,
    /// Wakes who waits for that end to move, or for the poison.
    end_moved: Condvar,
    syncs: AtomicU64,
    /// Intake was refused for want of space.
    full: AtomicBool,
    poisoned: Mutex<Option<String>>,
    /// The segments that are there and in use, with their lengths.
    segments: Mutex<BTreeMap<u32, u64>>,
    /// The segment that the last durable checkpoint stands in; 0 where there is none.
    saved_segment: AtomicU32,
    pub(crate) disk: AnyDisk,
    pub(crate) folders: Folders,
    /// Bytes written since the last checkpoint.
    pub(crate) unsaved_bytes: AtomicU64,
    pub(crate) read_back: ReadBack,
    /// The store is being closed, and a last checkpoint is wanted.
    pub(crate) closing: AtomicBool,
}

/// Batches that are written by way of the page cache after events were read back: a blink of a busy broker.
const CACHED_BATCHES: u32 = 64;

/// Whether events that had left memory are being read back. Then so will those be that are written now, and the page cache
/// is the place for them.
#[derive(Debug, Default)]
pub(crate) struct ReadBack {
    /// How many batches are still written that way.
    batches: AtomicU32,
}

impl ReadBack {
    /// Some are read back.
    pub(crate) fn note(&self) {
        self.batches.store(CACHED_BATCHES, Ordering::Relaxed);
    }

    /// Whether the next batch is to be written by way of the page cache; asked once for each.
    pub(crate) fn holds_for_next_batch(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// Where the files stand.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) journal: PathBuf,
    pub(crate) dedupe: PathBuf,
    pub(crate) index: PathBuf,
}

pub(crate) struct Parts {
    pub(crate) names: Names,
    pub(crate) state: State,
    pub(crate) catalog: Catalog,
    pub(crate) dedupe: Dedupe,
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) journal: [u8; 16],
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) end: End,
    pub(crate) segments: BTreeMap<u32, u64>,
    pub(crate) saved_segment: u32,
    pub(crate) disk: AnyDisk,
    pub(crate) folders: Folders,
}

/// A lock whose holder panicked is used all the same: the journal is the truth, and what memory holds is
/// checked against nothing by refusing to look at it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Shared {
        Shared {
            inbox: Inbox::default(),
            names: RwLock::new(parts.names),
            state: Mutex::new(parts.state),
            catalog: Mutex::new(parts.catalog),
            seen_files: parts.dedupe.shown(),
            dedupe: Mutex::new(parts.dedupe),
            files: parts.files,
            ahead: parts.ahead,
            changed: tokio::sync::Notify::new(),
            copied: tokio::sync::Notify::new(),
            journal: parts.journal,
            options: parts.options,
            clock: parts.clock,
            end: Mutex::new(parts.end),
            end_moved: Condvar::new(),
            syncs: AtomicU64::new(0),
            full: AtomicBool::new(false),
            poisoned: Mutex::new(None),
            segments: Mutex::new(parts.segments),
            saved_segment: AtomicU32::new(parts.saved_segment),
            disk: parts.disk,
            folders: parts.folders,
            unsaved_bytes: AtomicU64::new(0),
            read_back: ReadBack::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        lock(&self.catalog)
    }

    pub(crate) fn dedupe(&self) -> MutexGuard<'_, Dedupe> {
        lock(&self.dedupe)
    }

    pub(crate) fn end(&self) -> End {
        *lock(&self.end)
    }

    pub(crate) fn set_end(&self, end: End) {
        *lock(&self.end) = end;
        self.end_moved.notify_all();
    }

    pub(crate) fn names(&self) -> std::sync::RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn names_mut(&self) -> std::sync::RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_segment(&self, number: u32, bytes: u64) {
        lock(&self.segments).insert(number, bytes);
    }

    pub(crate) fn remove_segment(&self, number: u32) {
        lock(&self.segments).remove(&number);
    }

    /// The first segment that is there, at or behind a number.
    pub(crate) fn segment_from(&self, number: u32) -> Option<(u32, u64)> {
        lock(&self.segments).range(number..).next().map(|(number, bytes)| (*number, *bytes))
    }

    /// Bytes of the segments that are in use.
    pub(crate) fn used_bytes(&self) -> u64 {
        lock(&self.segments).values().sum()
    }

    /// The longest body that a segment can hold.
    pub(crate) fn body_bytes_max(&self) -> usize {
        self.options.segment_bytes - SEGMENT_HEADER_BYTES - FRAME_HEADER_BYTES
    }

    /// The segment that the last durable checkpoint stands in.
    pub(crate) fn saved_segment(&self) -> u32 {
        self.saved_segment.load(Ordering::Acquire)
    }

    pub(crate) fn set_saved_segment(&self, segment: u32) {
        self.saved_segment.store(segment, Ordering::Release);
    }

    /// Bytes of all segments, those made ahead included.
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.used_bytes() + self.ahead.bytes()
    }

    /// Writes the catalogue's parts of the segments that are full.
    pub(crate) fn write_catalogs(&self, live: u32) -> Result<(), String> {
        loop {
            let next = self.catalog().next_to_write(self.journal, live);
            let Some((segment, bytes)) = next else { return Ok(()) };
            catalog::write_part(&self.disk, &self.folders.journal, segment, &bytes)
                .map_err(|error| format!("writing the catalogue of segment {segment}: {error}"))?;
        }
    }

    /// Writes the ids that were seen since the last checkpoint, and drops those that have expired.
    pub(crate) fn write_dedupe(&self) -> Result<(), String> {
        let place = dedupe::Place { disk: &self.disk, folder: &self.folders.dedupe, journal: self.journal };
        dedupe::checkpoint(
            &place,
            || self.dedupe(),
            |frame| self.wait_until_applied(frame),
            (self.clock)(),
            self.options.dedupe_max,
        )
        .map_err(|error| format!("writing the seen ids: {error}"))
    }

    /// Waits until a frame that was gathered is durable and applied: some syncs at most, or until the journal is
    /// poisoned. For a thread; the simulation has no second one, and writes no checkpoint while something is gathered.
    fn wait_until_applied(&self, frame: u64) -> io::Result<()> {
        if self.options.faults.checkpoint_ahead_of_sync {
            return Ok(());
        }
        let mut end = lock(&self.end);
        while end.sequence < frame {
            if let Some(error) = lock(&self.poisoned).clone() {
                return Err(io::Error::other(error));
            }
            end = self.end_moved.wait(end).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// The event that came first, where one with this id repeats it and the store still answers for the first. Where
    /// none does, this one came first, from now on: it stands in the frame of that number, which is not written yet.
    pub(crate) fn find_repeated_or_add(
        &self,
        mark: DedupeMark,
        event: EventId,
        received_at: Timestamp,
        frame: u64,
    ) -> Option<EventId> {
        let found = self.dedupe().find_or_add(&self.disk, mark, event, received_at, frame);
        let Repeated { event: first, from_before } = found?;
        if self.answers_for(first, from_before) {
            return Some(first);
        }
        tracing::warn!(event = %first, "an event is sent again that was seen and that the journal has lost; it is taken anew");
        self.dedupe().add(mark, event, frame);
        None
    }

    /// Whether what was promised of an event is kept: it is open and can be read, or it has ended, or it has gone by
    /// the retention. What the journal has lost is in none of these cases; that is asked of events from before this
    /// start alone, for those that came since may be on their way into the state.
    fn answers_for(&self, event: EventId, from_before: bool) -> bool {
        let item = {
            let state = self.state();
            match state.find(event) {
                Some((slot, _)) if state.recent(slot, event).is_some() => return true,
                Some((_, open)) => open.item,
                None if !from_before => return true,
                None => {
                    // With the state held, so that no segment goes between the two looks.
                    let mut catalog = self.catalog();
                    catalog.table_events();
                    let gone = state.forgotten.before > 0 && born(event) <= state.forgotten.newest;
                    return gone || catalog.find_event(event).is_some();
                }
            }
        };
        self.read_event_payload(item).is_ok()
    }

    pub(crate) fn count_sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn poison(&self, error: String) {
        {
            // With the end held, so that nobody is about to wait for it who has not seen this.
            let _end = lock(&self.end);
            lock(&self.poisoned).get_or_insert(error);
        }
        self.end_moved.notify_all();
        // Whoever waits for work is to find out.
        self.changed.notify_one();
    }

    pub(crate) fn health(&self) -> Health {
        if let Some(error) = lock(&self.poisoned).clone() {
            return Health::Poisoned(error);
        }
        if self.full.load(Ordering::Relaxed) && self.ahead.is_full() { Health::Full } else { Health::Good }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_concerns_the_batches_that_are_written_next_and_no_later_ones() {
        let read_back = ReadBack::default();
        let count = |read_back: &ReadBack| (0..1000).filter(|_| read_back.holds_for_next_batch()).count();
        assert_eq!(count(&read_back), 0);
        read_back.note();
        assert!(read_back.holds_for_next_batch());
        read_back.note();
        assert_eq!(count(&read_back), CACHED_BATCHES as usize);
        assert_eq!(count(&read_back), 0);
    }
}
