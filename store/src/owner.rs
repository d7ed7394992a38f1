//! The journal's one owner: group commit.
//!
//! Callers encode their records and sum them up before they come here, many at a time; the owner gathers what
//! waits into one buffer, decides which events are repeats (in commit order, so here and nowhere else), writes
//! once, answers the begins, syncs once, applies all of it to the state, and answers the rest. [`Owner`] only has
//! the steps; a thread takes them on a real disk, a task on the simulated one, which waits in between.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::Arc;

use eventyard_event::{DeliveryId, Envelope, EventId, Timestamp};
use tokio::sync::oneshot;

use crate::journal::{Counts, DedupeMark, Journal, NoSegment, Place, body_checksum};
use crate::shared::Shared;
use crate::state::{Admit, IdHasher, Turn};
use crate::{Admitted, Begin, NewPosition, PlantedFaults, StoreError};

mod apply;
mod beside;
mod inbox;
mod interrupt;

use apply::{Batch, Effect, Gathered};
pub(crate) use apply::{apply_outcome, order_of, within};
use beside::Beside;
pub(crate) use inbox::Inbox;

/// Works in one batch; a bound on how long the first of them waits for its answer.
const BATCH_WORKS_MAX: usize = 4096;
/// Bytes in one batch, for the same reason; or one frame, however large.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A smaller batch is applied sooner than another thread is woken.
const BESIDE_WORKS_MIN: usize = 8;

/// An event within a body.
pub(crate) struct Part {
    /// Where its item stands in the body.
    pub(crate) item: Range<usize>,
    pub(crate) admit: Admit,
    pub(crate) mark: Option<DedupeMark>,
    pub(crate) envelope: Arc<Envelope>,
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
    Begin(Vec<Begin>),
    Settle { delivery: DeliveryId, at_in_body: usize, counts: Counts, turn: Turn, emits: Vec<Part> },
    Replay { letters: Vec<(DeliveryId, Timestamp)> },
    Purge { letters: Vec<(DeliveryId, Place)> },
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

/// The owner. Its steps, in order, for each batch: `gather`, `write`, `written`, `sync`, `finish`.
pub(crate) struct Owner {
    pub(crate) journal: Journal,
    pub(crate) shared: Arc<Shared>,
    faults: PlantedFaults,
    todo: VecDeque<Work>,
    batch: Batch,
    /// Begins; they are answered after the write.
    begun: Vec<oneshot::Sender<Result<(), StoreError>>>,
    /// Ids that are first seen in this batch.
    seen: HashMap<[u8; 16], (EventId, Timestamp), BuildHasherDefault<IdHasher>>,
    /// Applies and answers while the next batch is on its way; none on a simulated disk and while opening.
    beside: Option<Beside>,
}

impl Owner {
    pub(crate) fn new(journal: Journal, shared: Arc<Shared>, faults: PlantedFaults) -> Owner {
        Owner {
            journal,
            shared,
            faults,
            todo: VecDeque::new(),
            batch: Batch::default(),
            begun: Vec::new(),
            seen: HashMap::default(),
            beside: None,
        }
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

    /// Whether something was left over when the segment was full.
    pub(crate) fn has_more(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Gathers a batch from what waits. `false` where there is nothing to write or to answer.
    ///
    /// # Errors
    /// A text where the disk failed while a segment was to be had; the journal is then poisoned.
    pub(crate) fn gather(&mut self) -> Result<bool, String> {
        if self.todo.is_empty() {
            self.shared.inbox.drain(&mut self.todo, BATCH_WORKS_MAX, BATCH_BYTES_MAX);
        }
        // Looked at once for each batch: a batch never spans segments.
        let reserved = self.journal.ahead.reserve_is_gone();
        while let Some(work) = self.todo.pop_front() {
            if reserved && matches!(work, Work::Commit(_)) {
                self.shared.set_full(true);
                work.refuse(StoreError::Full);
                continue;
            }
            if !self.journal.fits(work.body_bytes()) {
                if self.journal.gathered_bytes() > 0 {
                    self.todo.push_front(work);
                    break;
                }
                match self.roll(work.body_bytes(), matches!(work, Work::Outcome(_))) {
                    Ok(()) => {}
                    Err(NoSegment::Full) => {
                        self.shared.set_full(true);
                        work.refuse(StoreError::Full);
                        continue;
                    }
                    Err(NoSegment::Closed) => {
                        work.refuse(StoreError::Closed);
                        continue;
                    }
                    Err(NoSegment::Failed(error)) => {
                        self.todo.push_front(work);
                        return Err(error);
                    }
                }
            }
            match work {
                Work::Commit(work) => self.gather_commit(work),
                Work::Outcome(work) => self.gather_outcome(work),
            }
        }
        Ok(!self.batch.gathered.is_empty() || !self.begun.is_empty())
    }

    fn roll(&mut self, body_bytes: usize, outcomes: bool) -> Result<(), NoSegment> {
        while !self.journal.fits(body_bytes) {
            self.journal.roll(outcomes)?;
            self.shared.add_used_bytes(self.journal.live_bytes());
            if !outcomes {
                self.shared.set_full(false);
            }
        }
        Ok(())
    }

    fn gather_commit(&mut self, mut work: Box<CommitWork>) {
        let CommitWork { body, checksum, parts, position, admitted, .. } = &mut *work;
        self.find_repeats(parts, admitted);
        if admitted.iter().any(|each| each.duplicate) {
            // Some of it is here already: the frame holds the rest.
            let mut found = admitted.iter();
            parts.retain(|_| found.next().is_some_and(|each| !each.duplicate));
            *body = body_of_rest(body, parts, position.as_ref().map(|(item, _)| item.clone()));
            *checksum = body_checksum(body);
        }
        let any = !parts.is_empty() || position.is_some();
        let frame = any.then(|| self.gather_frame(&work.body, work.checksum));
        self.batch.gathered.push(Gathered { frame, effect: Effect::Commit(work) });
    }

    /// Says of each event whether it repeats one that came before, here or in an earlier batch.
    fn find_repeats(&mut self, parts: &[Part], admitted: &mut Vec<Admitted>) {
        let dedupe = self.shared.dedupe();
        for part in parts {
            let received_at = part.admit.received_at;
            let first = part.mark.and_then(|mark| {
                let here = self.seen.get(&mark.hash).filter(|(_, expires_at)| received_at < *expires_at);
                here.map(|(event, _)| *event).or_else(|| dedupe.find(&self.shared.disk, &mark.hash, received_at))
            });
            if let (None, Some(mark)) = (first, part.mark) {
                self.seen.insert(mark.hash, (part.admit.id, mark.expires_at));
            }
            admitted.push(Admitted { event: first.unwrap_or(part.admit.id), duplicate: first.is_some() });
        }
    }

    fn gather_outcome(&mut self, work: OutcomeWork) {
        let OutcomeWork { body, checksum, outcome, reply } = work;
        let reply = if matches!(*outcome, Outcome::Begin(_)) {
            self.begun.push(reply);
            if self.faults.settle_without_begin {
                return;
            }
            None
        } else {
            Some(reply)
        };
        let frame = Some(self.gather_frame(&body, checksum));
        self.batch.gathered.push(Gathered { frame, effect: Effect::Outcome(Some(outcome), reply) });
    }

    fn gather_frame(&mut self, body: &[u8], checksum: u32) -> (u64, Place) {
        self.batch.frame_count += 1;
        self.journal.gather(body, checksum)
    }

    /// Writes the batch. `false` where it has no frame: then there is nothing to sync either.
    pub(crate) fn write(&mut self) -> Result<bool, String> {
        if self.batch.frame_count == 0 {
            return Ok(false);
        }
        let bytes = self.journal.gathered_bytes() as u64;
        self.shared.unsaved_bytes.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        self.journal.write().map_err(|error| format!("writing {}: {error}", self.live_name()))?;
        Ok(true)
    }

    /// Answers what needs no sync: the death of this process can no longer hide that an attempt began.
    pub(crate) fn after_write(&mut self) {
        for reply in self.begun.drain(..) {
            drop(reply.send(Ok(())));
        }
        if self.faults.answer_before_sync {
            self.apply_early();
            self.batch.answer();
        }
    }

    /// Makes the batch durable.
    pub(crate) fn sync(&mut self) -> Result<(), String> {
        self.journal.sync().map_err(|error| format!("syncing {}: {error}", self.live_name()))?;
        self.shared.count_sync();
        Ok(())
    }

    fn live_name(&self) -> String {
        crate::journal::segment_file(self.journal.live_number())
    }

    /// What the planted fault "checkpoint ahead of sync" does: applies what is only written.
    pub(crate) fn apply_early(&mut self) {
        self.add_seen();
        self.batch.apply(&self.shared, self.journal.end());
    }

    fn add_seen(&mut self) {
        if !self.seen.is_empty() {
            let mut dedupe = self.shared.dedupe();
            for (hash, (event, expires_at)) in self.seen.drain() {
                dedupe.add(DedupeMark { hash, expires_at }, event);
            }
        }
    }

    /// Whether a checkpoint is due.
    pub(crate) fn checkpoint_due(&self) -> bool {
        let unsaved = self.shared.unsaved_bytes.load(std::sync::atomic::Ordering::Relaxed);
        unsaved >= self.shared.options.checkpoint_bytes
    }

    /// Applies what is durable, and answers: here, or beside, where others wait for the next batch already.
    ///
    /// # Errors
    /// A text where the thread beside is gone, which it never is.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        // Here in any case: the next batch is compared with it.
        self.add_seen();
        let end = self.journal.end();
        let small = self.batch.gathered.len() < BESIDE_WORKS_MIN || self.shared.inbox.is_empty();
        match &self.beside {
            Some(beside) if !(small && beside.is_idle()) => beside.hand_over(std::mem::take(&mut self.batch), end),
            _ => {
                self.batch.apply(&self.shared, end);
                self.batch.answer();
                Ok(())
            }
        }
    }

    /// The journal can no longer be trusted: everybody who waits is told, and all who come.
    pub(crate) fn poison(&mut self, error: String) {
        tracing::error!(%error, "the journal cannot be written any more; nothing is accepted until a restart");
        let poisoned = StoreError::Poisoned(error.clone());
        self.shared.poison(error);
        self.shared.inbox.close(poisoned.clone());
        self.batch.refuse(&poisoned);
        for reply in self.begun.drain(..) {
            drop(reply.send(Err(poisoned.clone())));
        }
        loop {
            for work in self.todo.drain(..) {
                work.refuse(poisoned.clone());
            }
            self.shared.inbox.drain(&mut self.todo, BATCH_WORKS_MAX, usize::MAX);
            if self.todo.is_empty() {
                return;
            }
        }
    }
}

/// The body of a commit without the events that are not among `parts` any more.
fn body_of_rest(body: &[u8], parts: &mut [Part], position: Option<Range<usize>>) -> Vec<u8> {
    let mut rest = Vec::with_capacity(body.len());
    for part in parts {
        let start = rest.len();
        rest.extend_from_slice(body.get(part.item.clone()).unwrap_or_default());
        part.item = start..rest.len();
    }
    rest.extend_from_slice(position.and_then(|item| body.get(item)).unwrap_or_default());
    rest
}
