//! The checkpoint: the index as it was at some frame, so that opening need not read the whole journal.
//!
//! It is a copy and never the truth. It holds the *net difference*: what was born and settled between two
//! checkpoints never reaches it. It is taken while the state moves on, a few hundred entries at a time; so an
//! entry may be younger than the position that is written behind all of them, and applying the journal from that
//! position on changes such an entry no more, since each delivery knows the last frame that changed it.
//!
//! | key | value |
//! |---|---|
//! | `m` | version, journal, position: written last, after everything else is durable |
//! | `q` number | a queue's name |
//! | `s` number | a snapshot's hash |
//! | `c` number | a chunk: some events that came together, where their items stand, and their deliveries |
//! | `p` namespace 0 source | a source's position |

use std::time::{Duration, Instant};

use crate::disk::SimulatedDisk;
use crate::journal::{End, Forgotten};
use crate::shared::Shared;
use crate::state::{Changes, NONE, Save};

mod entries;
#[cfg(test)]
pub(crate) mod formats;
mod load;
mod sled;

pub(crate) use load::{Found, Loaded, load};

pub(crate) use self::sled::SledPairs;

/// Keys of one batch. A batch is applied in one go; some hundred kilobytes take some milliseconds.
const BATCH_KEYS_MAX: usize = 128;
/// Chunks that are encoded while the state's lock is held; some tens of microseconds.
const LOCKED_CHUNKS_MAX: usize = 4;

/// What is written to the disk in one go: the disk's cache is emptied whole, so that a sync of the journal waits for this, too.
const UNSYNCED_BYTES_MAX: usize = 512 * 1024;

/// Puts and removals that are applied together.
pub(crate) type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Takes a key and its value; its error ends the walk.
pub(crate) type EachPair<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 'a;

/// Where the pairs are kept.
pub(crate) enum Pairs {
    Sled(SledPairs),
    Simulated(SimulatedDisk),
}

impl Pairs {
    fn apply(&self, batch: Batch) -> Result<(), String> {
        match self {
            Pairs::Sled(sled) => sled.apply(batch),
            Pairs::Simulated(disk) => disk.put_pairs(batch).map_err(|error| error.to_string()),
        }
    }

    /// Makes durable all that was applied.
    fn sync(&self) -> Result<(), String> {
        match self {
            Pairs::Sled(sled) => sled.sync(),
            Pairs::Simulated(disk) => disk.sync_pairs().map_err(|error| error.to_string()),
        }
    }

    /// Hands every pair to `each`, in the order of the keys.
    fn each(&self, each: &mut EachPair<'_>) -> Result<(), String> {
        match self {
            Pairs::Sled(sled) => sled.each(each),
            Pairs::Simulated(disk) => {
                let pairs = disk.pairs().map_err(|error| error.to_string())?;
                pairs.iter().try_for_each(|(key, value)| each(key, value))
            }
        }
    }

    /// Moves all of it aside, durably. Nothing can be kept here until [`Pairs::reopen`].
    pub(crate) fn set_aside(&mut self) -> Result<(), String> {
        match self {
            Pairs::Sled(sled) => sled.set_aside(),
            Pairs::Simulated(disk) => disk.clear_pairs().map_err(|error| error.to_string()),
        }
    }

    /// Opens an empty place for pairs.
    pub(crate) fn reopen(&mut self) -> Result<(), String> {
        match self {
            Pairs::Sled(sled) => sled.reopen(),
            Pairs::Simulated(_) => Ok(()),
        }
    }
}

/// Work in pieces, with a rest after each.
struct Paced<'r> {
    rest: &'r mut dyn FnMut(Duration),
    began: Instant,
    /// Bytes that were applied and not synced.
    unsynced: usize,
}

impl Paced<'_> {
    fn rest(&mut self) {
        (self.rest)(self.began.elapsed());
        self.began = Instant::now();
    }
}

/// Writes checkpoints. One at a time, away from the journal's owner.
pub(crate) struct Checkpointer {
    pairs: Pairs,
    /// How many names are written already.
    queues: usize,
    snapshots: usize,
    /// The last one failed half-way: what is there is not to be trusted.
    broken: bool,
}

impl Checkpointer {
    /// Goes on from a checkpoint that was loaded, or begins anew.
    pub(crate) fn new(pairs: Pairs, loaded: Option<(usize, usize)>) -> Checkpointer {
        let (queues, snapshots) = loaded.unwrap_or((0, 0));
        Checkpointer { pairs, queues, snapshots, broken: loaded.is_none() }
    }

    /// Writes what has changed. A failure is no outage: the journal has everything, and the next checkpoint is
    /// written from scratch.
    ///
    /// After each piece of work `rest` is told how long it took, and may wait: events that come in meanwhile share the
    /// processors and the disk with this.
    pub(crate) fn run(&mut self, shared: &Shared, rest: &mut dyn FnMut(Duration)) -> Result<(), String> {
        let done = self.write(shared, rest);
        self.broken = done.is_err();
        if self.broken {
            // The next one writes all there is, so what has changed until then need not be kept in mind: it would
            // grow for as long as the index cannot be written.
            drop(shared.state().take_changes());
        }
        done
    }

    fn write(&mut self, shared: &Shared, rest: &mut dyn FnMut(Duration)) -> Result<(), String> {
        let mut paced = Paced { rest, began: Instant::now(), unsynced: 0 };
        // In this order: what was applied up to this end is in the changes that are taken after it.
        let end = shared.end();
        shared.write_catalogs(end.place.segment)?;
        shared.write_dedupe()?;
        if self.broken {
            self.pairs.set_aside()?;
            self.pairs.reopen()?;
            (self.queues, self.snapshots) = (0, 0);
            shared.state().unsave_all();
        }
        let Changes { chunks, positions } = shared.state().take_changes();
        let mut batch = Batch::new();
        self.put_names(shared, &mut batch);
        for some in chunks.chunks(LOCKED_CHUNKS_MAX) {
            let mut state = shared.state();
            for chunk in some {
                match state.save(*chunk) {
                    Save::Nothing => {}
                    Save::Remove => batch.push((entries::chunk_key(*chunk), None)),
                    Save::Write => batch.push((entries::chunk_key(*chunk), Some(entries::put_chunk(&state, *chunk)))),
                }
            }
            drop(state);
            self.apply_full(&mut batch, BATCH_KEYS_MAX - LOCKED_CHUNKS_MAX, &mut paced)?;
        }
        for (namespace, source) in positions {
            let saved = shared.state().position(&namespace, &source).cloned();
            if let Some((saved, segment)) = saved {
                batch.push((entries::position_key(&namespace, &source), Some(entries::put_saved(&saved, segment))));
                self.apply_full(&mut batch, BATCH_KEYS_MAX, &mut paced)?;
            }
        }
        self.apply_full(&mut batch, 0, &mut paced)?;
        self.pairs.sync()?;
        let forgotten = shared.state().forgotten;
        self.pairs.apply(vec![(b"m".to_vec(), Some(entries::put_meta(shared.journal, end, forgotten)))])?;
        self.pairs.sync()?;
        shared.set_saved_segment(end.place.segment);
        Ok(())
    }

    fn apply_full(&self, batch: &mut Batch, limit: usize, paced: &mut Paced<'_>) -> Result<(), String> {
        if batch.len() <= limit {
            return Ok(());
        }
        let sizes = batch.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        paced.unsynced += sizes.sum::<usize>();
        self.pairs.apply(std::mem::take(batch))?;
        if paced.unsynced >= UNSYNCED_BYTES_MAX {
            paced.unsynced = 0;
            self.pairs.sync()?;
        }
        paced.rest();
        Ok(())
    }

    fn put_names(&mut self, shared: &Shared, batch: &mut Batch) {
        let names = shared.names();
        for number in self.queues..names.queue_count() {
            let number = u32::try_from(number).unwrap_or(NONE);
            if let Some(queue) = names.queue(number) {
                batch.push((entries::number_key(b'q', number), Some(entries::put_queue_name(queue))));
            }
        }
        for number in self.snapshots..names.snapshot_count() {
            let number = u32::try_from(number).unwrap_or(NONE);
            if let Some(snapshot) = names.snapshot(number) {
                batch.push((entries::number_key(b's', number), Some(snapshot.to_vec())));
            }
        }
        (self.queues, self.snapshots) = (names.queue_count(), names.snapshot_count());
    }
}

/// Where the checkpoint stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) journal: [u8; 16],
    pub(crate) end: End,
    pub(crate) forgotten: Forgotten,
}
