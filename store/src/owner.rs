//! The journal's one owner: group commit.
//!
//! Callers encode their records, sum them up and gather them into one buffer (`gather`), many at a time; the owner
//! writes it once, answers the begins, syncs once, applies all of it to the state, and answers the rest. While it
//! waits for the disk, callers gather the next batch, and a thread beside it applies and answers the one before.
//! [`Owner`] only has the steps; a thread takes them on a real disk, a task on the simulated one, which waits in
//! between.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use eventyard_event::{DeliveryId, Envelope, EventId, Timestamp};
use tokio::sync::oneshot;

use crate::disk::{Disk, Pages};
use crate::journal::{Counts, DedupeMark, Forgotten, Journal, KeptState, Place, segment_file};
use crate::shared::Shared;
use crate::state::{Admit, AdmitDelivery, Turn};
use crate::{Admitted, Begin, NewPosition, PlantedFaults, StoreError};

mod apply;
mod beside;
mod gather;
mod inbox;
mod interrupt;

use apply::Batch;
pub(crate) use apply::{apply_outcome, order_of, within};
use beside::Beside;
pub(crate) use gather::Entry;
use gather::Gatherer;
pub(crate) use inbox::Inbox;

/// A smaller batch is applied sooner than another thread is woken.
const BESIDE_WORKS_MIN: usize = 8;

/// An event within a body.
pub(crate) struct Part {
    /// Where its item stands in the body.
    pub(crate) item: Range<usize>,
    pub(crate) admit: Admit,
    pub(crate) mark: Option<DedupeMark>,
    pub(crate) envelope: Arc<Envelope>,
    /// Where the settlements stand that make its deliveries dead letters from the start, one for each; mostly none.
    pub(crate) deaths: Vec<Range<usize>>,
}

/// A commit, ready to be written. It goes to the owner and comes back with the answer, all of it: memory is
/// best given back by the thread that asked for it, and can be used for the next commit. Boxed, because it
/// passes from hand to hand.
#[derive(Default)]
pub(crate) struct CommitWork {
    pub(crate) body: Vec<u8>,
    pub(crate) checksum: u32,
    pub(crate) parts: Vec<Part>,
    pub(crate) position: Option<(Range<usize>, NewPosition)>,
    /// The generation of the files of seen ids in which none of its ids was found; none where one was.
    pub(crate) looked_up: Option<u64>,
    /// Empty on the way there, with room for an entry of each part; what became of them on the way back.
    pub(crate) admitted: Vec<Admitted>,
    /// Who waits for it; taken by the answer.
    pub(crate) reply: Option<oneshot::Sender<Result<Box<CommitWork>, StoreError>>>,
    /// On the way back, the envelope of another event that is no longer kept, for no other reason than to be
    /// dropped.
    pub(crate) spent: Option<Arc<Envelope>>,
}

impl CommitWork {
    /// A caller that went away needs no answer.
    fn answer(mut self: Box<CommitWork>) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(Ok(self)));
        }
    }

    fn refuse(&mut self, error: StoreError) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(Err(error)));
        }
    }
}

/// What happens to deliveries.
pub(crate) enum Outcome {
    Begin(Vec<Begun>),
    /// Leases end. Where there are events to be committed with one, it ends alone.
    Settle {
        settled: Vec<Settled>,
        emits: Vec<Part>,
    },
    Replay {
        letters: Vec<(DeliveryId, Timestamp)>,
    },
    Purge {
        letters: Vec<(DeliveryId, Place)>,
    },
    Hasten {
        hastened: Vec<(DeliveryId, Timestamp)>,
    },
    /// Open events and positions are copied out of a segment that is to go.
    Keep {
        events: Vec<Kept>,
        positions: Vec<KeptPosition>,
    },
    /// The oldest segments are not needed any more.
    Forget(Forgotten),
}

/// An attempt that begins.
pub(crate) struct Begun {
    pub(crate) begin: Begin,
    /// Where the delivery was found when it was asked whether it may; `NONE` at recovery.
    pub(crate) slot: u32,
}

/// How one lease ends.
pub(crate) struct Settled {
    pub(crate) delivery: DeliveryId,
    /// Where the delivery was found when it was asked whether it may; `NONE` at recovery.
    pub(crate) slot: u32,
    /// Where its settlement stands in the body.
    pub(crate) at_in_body: usize,
    pub(crate) counts: Counts,
    pub(crate) turn: Turn,
}

/// A position that is copied.
pub(crate) struct KeptPosition {
    pub(crate) position: NewPosition,
    pub(crate) last_event: Option<EventId>,
    /// The segment that it stood in.
    pub(crate) from: u32,
}

/// An event that is copied.
pub(crate) struct Kept {
    pub(crate) id: EventId,
    pub(crate) from: Place,
    /// Where its new item stands in the body.
    pub(crate) item: Range<usize>,
    /// All of it, for the case that nothing else is known of it: its old segment is gone.
    pub(crate) whole: Option<Box<(Vec<AdmitDelivery>, KeptState)>>,
}

/// An outcome, ready to be written.
pub(crate) struct OutcomeWork {
    pub(crate) body: Vec<u8>,
    pub(crate) checksum: u32,
    /// Boxed for the sake of the commits that stand in line with it.
    pub(crate) outcome: Box<Outcome>,
    pub(crate) reply: oneshot::Sender<Result<(), StoreError>>,
}

pub(crate) enum Work {
    Commit(Box<CommitWork>),
    Outcome(OutcomeWork),
}

impl Work {
    fn body_bytes(&self) -> usize {
        match self {
            Work::Commit(work) => work.body.len(),
            Work::Outcome(work) => work.body.len(),
        }
    }

    fn refuse(self, error: StoreError) {
        // A caller that went away needs no answer.
        match self {
            Work::Commit(mut work) => work.refuse(error),
            Work::Outcome(work) => drop(work.reply.send(Err(error))),
        }
    }
}

/// The owner. Its steps, in order, for each batch: `gather`, `write`, `after_write`, `sync`, `finish`.
pub(crate) struct Owner {
    pub(crate) shared: Arc<Shared>,
    faults: PlantedFaults,
    gatherer: Arc<Mutex<Gatherer>>,
    /// The batch that is on its way to the disk.
    batch: Batch,
    /// Memory of the last one's bytes, for the one after the next.
    spare: Pages,
    /// Applies and answers while the next batch is on its way; none on a simulated disk and while opening.
    beside: Option<Beside>,
}

impl Owner {
    pub(crate) fn new(journal: Journal, shared: Arc<Shared>, faults: PlantedFaults) -> Owner {
        let gatherer = Arc::new(Mutex::new(Gatherer::new(journal, Arc::clone(&shared), faults)));
        Owner { shared, faults, gatherer, batch: Batch::default(), spare: Pages::default(), beside: None }
    }

    fn gatherer(&self) -> MutexGuard<'_, Gatherer> {
        gather::lock(&self.gatherer)
    }

    /// From now on, batches may be applied and answered by a thread beside this one.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub(crate) fn begin_beside(&mut self) -> std::io::Result<()> {
        self.beside = Some(Beside::start(Arc::clone(&self.shared))?);
        Ok(())
    }

    /// Waits until everything durable is applied and answered. Nothing is written after it.
    pub(crate) fn end_beside(&mut self) {
        self.beside = None;
    }

    /// Where works come in.
    pub(crate) fn entry(&self) -> Entry {
        Entry::new(Arc::clone(&self.gatherer), Arc::clone(&self.shared))
    }

    /// Whether something is gathered, or was left over when the segment was full.
    pub(crate) fn has_more(&self) -> bool {
        self.gatherer().has_more()
    }

    /// Waits until there is something to do. `false` when nothing is and nothing more will come. For a thread.
    pub(crate) fn wait(&self) -> bool {
        // Once the lines are closed nothing more is gathered, but what was gathered just before is still to be done.
        self.has_more() || self.shared.inbox.wait() || self.has_more()
    }

    /// As [`Owner::wait`], for a task. Cancel safe.
    pub(crate) async fn wait_async(&self) -> bool {
        self.has_more() || self.shared.inbox.wait_async().await || self.has_more()
    }

    /// Gathers what stands in line, and takes all that is gathered for the next way to the disk. `false` where there
    /// is nothing to write or to answer.
    ///
    /// # Errors
    /// A text where the disk failed while a segment was to be had; the journal is then poisoned.
    pub(crate) fn gather(&mut self) -> Result<bool, String> {
        let spare = std::mem::take(&mut self.spare);
        let mut gatherer = self.gatherer();
        gatherer.gather()?;
        let batch = gatherer.seal(spare);
        drop(gatherer);
        self.batch = batch;
        Ok(!self.batch.is_empty())
    }

    /// Writes the batch. `false` where it has no frame: then there is nothing to sync either.
    pub(crate) fn write(&mut self) -> Result<bool, String> {
        let Some(sealed) = &self.batch.sealed else { return Ok(false) };
        self.shared.unsaved_bytes.fetch_add(sealed.frame_bytes as u64, Ordering::Relaxed);
        let disk = &self.shared.disk;
        let written = if self.shared.read_back.holds_for_next_batch() {
            disk.write(&sealed.file, sealed.offset, &sealed.bytes)
        } else {
            disk.write_pages(&sealed.file, sealed.offset, &sealed.bytes)
        };
        written.map_err(|error| format!("writing {}: {error}", segment_file(sealed.end.place.segment)))?;
        Ok(true)
    }

    /// Answers what needs no sync: the death of this process can no longer hide that an attempt began.
    pub(crate) fn after_write(&mut self) {
        for reply in self.batch.begun.drain(..) {
            drop(reply.send(Ok(())));
        }
        if self.faults.answer_before_sync {
            self.apply_early();
            self.batch.answer();
        }
    }

    /// Makes the batch durable.
    pub(crate) fn sync(&mut self) -> Result<(), String> {
        let Some(sealed) = &self.batch.sealed else { return Ok(()) };
        let synced = self.shared.disk.sync(&sealed.file);
        synced.map_err(|error| format!("syncing {}: {error}", segment_file(sealed.end.place.segment)))?;
        self.shared.count_sync();
        Ok(())
    }

    /// What the planted faults do: applies what is only written.
    pub(crate) fn apply_early(&mut self) {
        self.batch.apply(&self.shared);
    }

    /// Whether a checkpoint is due.
    pub(crate) fn checkpoint_due(&self) -> bool {
        self.shared.unsaved_bytes.load(Ordering::Relaxed) >= self.shared.options.checkpoint_bytes
    }

    /// Applies what is durable, and answers: here, or beside, where others wait for the next batch already.
    ///
    /// # Errors
    /// A text where the thread beside is gone, which it never is.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        if let Some(sealed) = self.batch.sealed.take() {
            self.spare = sealed.bytes;
        }
        let small = self.batch.gathered.len() < BESIDE_WORKS_MIN || !self.shared.inbox.is_wanted();
        match &self.beside {
            Some(beside) if !(small && beside.is_idle()) => beside.hand_over(std::mem::take(&mut self.batch)),
            _ => {
                self.batch.apply(&self.shared);
                self.batch.answer();
                Ok(())
            }
        }
    }

    /// One batch without a pause.
    ///
    /// # Errors
    /// A text where the disk failed; the journal is then poisoned.
    pub(crate) fn batch(&mut self) -> Result<(), String> {
        if self.gather()? {
            if self.write()? {
                self.after_write();
                self.sync()?;
            }
            self.after_write();
            self.finish()?;
        }
        Ok(())
    }

    /// The journal can no longer be trusted: everybody who waits is told, and all who come.
    pub(crate) fn poison(&mut self, error: String) {
        tracing::error!(%error, "the journal cannot be written any more; nothing is accepted until a restart");
        let poisoned = StoreError::Poisoned(error.clone());
        self.shared.poison(error.clone());
        self.shared.inbox.close(poisoned.clone());
        self.batch.refuse(&poisoned);
        self.gatherer().refuse_all(error, &poisoned);
    }
}
