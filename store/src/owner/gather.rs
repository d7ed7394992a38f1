//! From what waits to one buffer that is to be written.
//!
//! Which events are repeats is decided here and nowhere else, for this is where the commit order is made. The
//! owner gathers before each write; while it waits for the disk, the thread beside it may have gathered most of
//! it already.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventyard_event::{EventId, Timestamp};

use super::apply::{Batch, Effect, Gathered};
use super::{CommitWork, Outcome, OutcomeWork, Part, Work};
use crate::journal::{DedupeMark, Journal, NoSegment, Place, Sealed, body_checksum};
use crate::shared::Shared;
use crate::state::IdHasher;
use crate::{Admitted, PlantedFaults, StoreError};

/// Works in one batch; a bound on how long the first of them waits for its answer.
const BATCH_WORKS_MAX: usize = 4096;
/// Bytes in one batch, for the same reason; or one frame, however large.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Ids that are first seen in a batch, by a hash that is keyed already.
type Seen = HashMap<[u8; 16], (EventId, Timestamp), BuildHasherDefault<IdHasher>>;

/// What is gathered, and the journal's writing side. The owner and the thread beside it lock it in turn.
pub(super) struct Gatherer {
    journal: Journal,
    shared: Arc<Shared>,
    faults: PlantedFaults,
    todo: VecDeque<Work>,
    batch: Batch,
    /// Ids that are first seen in the batch that is gathered.
    seen: Seen,
    /// Those of the batch that is on its way to the disk.
    on_its_way: Seen,
    /// A batch was sealed and has not come back: what is gathered meanwhile will be asked for.
    way_taken: bool,
    /// The disk failed while a segment was to be had.
    failed: Option<String>,
}

/// A lock whose holder panicked is used all the same: what is gathered is written or refused as a whole.
pub(super) fn lock(gatherer: &Mutex<Gatherer>) -> MutexGuard<'_, Gatherer> {
    gatherer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gatherer {
    pub(super) fn new(journal: Journal, shared: Arc<Shared>, faults: PlantedFaults) -> Gatherer {
        Gatherer {
            journal,
            shared,
            faults,
            todo: VecDeque::new(),
            batch: Batch::default(),
            seen: HashMap::default(),
            on_its_way: HashMap::default(),
            way_taken: false,
            failed: None,
        }
    }

    /// Puts a work at the end of the line by hand; only while opening, when nobody else does.
    pub(super) fn push(&mut self, work: Work) {
        self.todo.push_back(work);
    }

    /// Whether something is gathered, or was left over when the segment was full.
    pub(super) fn has_more(&self) -> bool {
        !self.todo.is_empty() || !self.batch.is_empty()
    }

    /// Gathers for the batch after the one on its way; nothing where there is none, for then nobody would come
    /// for it. A failure is found by the owner's own gathering.
    pub(super) fn gather_ahead(&mut self) {
        if self.way_taken {
            drop(self.gather());
        }
    }

    /// Adds what waits to what is gathered already.
    ///
    /// # Errors
    /// A text where the disk failed while a segment was to be had; the same one from then on, for a disk that has
    /// failed is not asked again. The journal is then to be poisoned.
    pub(super) fn gather(&mut self) -> Result<(), String> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        if self.todo.is_empty() {
            let works = BATCH_WORKS_MAX.saturating_sub(self.batch.gathered.len());
            let bytes = BATCH_BYTES_MAX.saturating_sub(self.journal.gathered_bytes());
            self.shared.inbox.drain(&mut self.todo, works, bytes);
        }
        // Looked at once each time: a batch never spans segments.
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
                        self.failed = Some(error.clone());
                        return Err(error);
                    }
                }
            }
            match work {
                Work::Commit(work) => self.gather_commit(work),
                Work::Outcome(work) => self.gather_outcome(work),
            }
        }
        Ok(())
    }

    fn roll(&mut self, body_bytes: usize, outcomes: bool) -> Result<(), NoSegment> {
        while !self.journal.fits(body_bytes) {
            self.journal.roll(outcomes)?;
            self.shared.add_segment(self.journal.live_number(), self.journal.live_bytes());
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
        for part in parts {
            let received_at = part.admit.received_at;
            let first = part.mark.and_then(|mark| {
                let here = [&self.seen, &self.on_its_way].into_iter().find_map(|seen| {
                    let found = seen.get(&mark.hash).filter(|(_, expires_at)| received_at < *expires_at);
                    found.map(|(event, _)| *event)
                });
                here.or_else(|| self.shared.find_repeated(&mark.hash, received_at))
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
            self.batch.begun.push(reply);
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

    /// Takes what is gathered: it goes to the disk now. The one before must have come back, by
    /// [`Gatherer::end_way`].
    pub(super) fn seal(&mut self) -> Batch {
        debug_assert!(!self.way_taken && self.on_its_way.is_empty(), "one batch after the other");
        let mut batch = std::mem::take(&mut self.batch);
        if batch.frame_count > 0 {
            let sealed = self.journal.seal();
            batch.end = Some(sealed.end);
            batch.sealed = Some(sealed);
        }
        std::mem::swap(&mut self.seen, &mut self.on_its_way);
        self.way_taken = !batch.is_empty();
        batch
    }

    /// The batch has come back and is durable. Returns whether more is gathered already.
    pub(super) fn end_way(&mut self, sealed: Option<Sealed>) -> bool {
        self.add_seen();
        self.way_taken = false;
        if let Some(sealed) = sealed {
            self.journal.reuse(sealed.bytes);
        }
        self.has_more()
    }

    /// Adds the ids of the batch on its way to those that came before.
    pub(super) fn add_seen(&mut self) {
        if !self.on_its_way.is_empty() {
            let mut dedupe = self.shared.dedupe();
            for (hash, (event, expires_at)) in self.on_its_way.drain() {
                dedupe.add(DedupeMark { hash, expires_at }, event);
            }
        }
    }

    /// Tells everybody who waits that the journal cannot be written any more. The inbox is closed already.
    pub(super) fn refuse_all(&mut self, error: String, poisoned: &StoreError) {
        self.failed = Some(error);
        self.batch.refuse(poisoned);
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
        for item in std::iter::once(&mut part.item).chain(&mut part.deaths) {
            let start = rest.len();
            rest.extend_from_slice(body.get(item.clone()).unwrap_or_default());
            *item = start..rest.len();
        }
    }
    rest.extend_from_slice(position.and_then(|item| body.get(item)).unwrap_or_default());
    rest
}
