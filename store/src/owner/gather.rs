//! From what comes in to one buffer that is to be written.
//!
//! Which events are repeats is decided here and nowhere else, for this is where the commit order is made. Whoever
//! brings something gathers it, at once and with bytes that its processor has at hand, while the disk is at work on
//! the batch before. What would pass others by, or finds no room, stands in line and is gathered by the owner.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::apply::{Batch, Effect, Gathered};
use super::{CommitWork, Inbox, Outcome, OutcomeWork, Part, Work};
use crate::disk::Pages;
use crate::journal::{Journal, NoSegment, Place, body_checksum, frame_bytes};
use crate::shared::Shared;
use crate::{Admitted, PlantedFaults, StoreError};

/// Works in one batch; a bound on how long the first of them waits for its answer.
const BATCH_WORKS_MAX: usize = 4096;
/// Bytes in one batch, for the same reason; or one frame, however large.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is gathered, and the journal's writing side. The owner and whoever brings something lock it in turn; the
/// latter for less than a microsecond an event, and never while the owner is at the line, where it may wait for a
/// file.
pub(super) struct Gatherer {
    journal: Journal,
    shared: Arc<Shared>,
    faults: PlantedFaults,
    /// What was taken out of the line; it counts as standing there until it is gathered.
    todo: VecDeque<Work>,
    batch: Batch,
    /// The disk failed while a segment was to be had.
    failed: Option<String>,
}

/// A lock whose holder panicked is used all the same: what is gathered is written or refused as a whole.
pub(super) fn lock(gatherer: &Mutex<Gatherer>) -> MutexGuard<'_, Gatherer> {
    gatherer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gatherer {
    pub(super) fn new(journal: Journal, shared: Arc<Shared>, faults: PlantedFaults) -> Gatherer {
        Gatherer { journal, shared, faults, todo: VecDeque::new(), batch: Batch::default(), failed: None }
    }

    /// Puts a work at the end of the line by hand; only while opening, when nobody else does.
    pub(super) fn push(&mut self, work: Work) {
        self.shared.inbox.enter();
        self.todo.push_back(work);
    }

    /// Whether something is gathered, or was left over when the segment was full.
    pub(super) fn has_more(&self) -> bool {
        !self.todo.is_empty() || !self.batch.is_empty()
    }

    /// Where nothing stands in line, nor was left over from it, and there is room for so many works with so many bytes
    /// of frames. Lines that are closed are not free, so that nothing is gathered for an owner that has ended or failed.
    fn has_room(&self, works: usize, bytes: usize) -> bool {
        let next = self.todo.is_empty() && self.shared.inbox.is_free();
        let batch = self.batch.gathered.len() + works <= BATCH_WORKS_MAX
            && self.journal.gathered_bytes() + bytes <= BATCH_BYTES_MAX;
        next && batch && self.journal.room() >= bytes
    }

    /// Gathers a commit at once. Gives it back where it has to stand in line, as one does that may repeat what came
    /// before; otherwise says whether it is the first of its batch, of which the owner does not know yet.
    fn gather_commit_at_once(&mut self, mut work: Box<CommitWork>) -> Result<bool, Box<CommitWork>> {
        if !self.has_room(1, frame_bytes(work.body.len())) || self.journal.ahead.reserve_is_gone() {
            return Err(work);
        }
        let Some(generation) = work.looked_up else { return Err(work) };
        let ids = work.parts.iter().filter_map(|part| Some((part.mark?, part.admit.id)));
        if !self.shared.dedupe().add_new(generation, ids, self.journal.next_sequence()) {
            return Err(work);
        }
        let CommitWork { parts, admitted, .. } = &mut *work;
        admitted.extend(parts.iter().map(|part| Admitted { event: part.admit.id, duplicate: false }));
        let first = self.batch.is_empty();
        self.put_commit(work);
        Ok(first)
    }

    /// The same with outcomes, all of them or none.
    fn gather_outcomes_at_once(&mut self, works: Vec<OutcomeWork>) -> Result<bool, Vec<OutcomeWork>> {
        if !self.has_room(works.len(), works.iter().map(|work| frame_bytes(work.body.len())).sum()) {
            return Err(works);
        }
        let first = self.batch.is_empty();
        works.into_iter().for_each(|work| self.gather_outcome(work));
        Ok(first)
    }

    /// Adds what stands in line to what is gathered already.
    ///
    /// # Errors
    /// A text where the disk failed while a segment was to be had; the same one from then on, for a disk that has
    /// failed is not asked again. The journal is then to be poisoned.
    pub(super) fn gather(&mut self) -> Result<(), String> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.call();
        let called = self.todo.len();
        let done = self.gather_called();
        self.shared.inbox.leave(called - self.todo.len());
        done
    }

    /// Takes some out of the line, where all that were called before are gathered.
    fn call(&mut self) {
        if self.todo.is_empty() {
            let works = BATCH_WORKS_MAX.saturating_sub(self.batch.gathered.len());
            let bytes = BATCH_BYTES_MAX.saturating_sub(self.journal.gathered_bytes());
            self.shared.inbox.drain(&mut self.todo, works, bytes);
        }
    }

    fn gather_called(&mut self) -> Result<(), String> {
        // Looked at once each time: a batch never spans segments.
        let reserved = self.journal.ahead.reserve_is_gone();
        while let Some(work) = self.todo.pop_front() {
            if reserved && matches!(work, Work::Commit(_)) {
                self.shared.set_full(true);
                work.refuse(StoreError::Full);
                continue;
            }
            let max = self.shared.body_bytes_max();
            if work.body_bytes() > max {
                // Whoever pushes has looked; were it not so, one segment after another would be made for it.
                work.refuse(StoreError::TooLarge { what: "a record", max });
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
        self.put_commit(work);
    }

    fn put_commit(&mut self, work: Box<CommitWork>) {
        let any = !work.parts.is_empty() || work.position.is_some();
        let frame = any.then(|| self.gather_frame(&work.body, work.checksum));
        self.batch.gathered.push(Gathered { frame, effect: Effect::Commit(work) });
    }

    /// Says of each event whether it repeats one that came before, and remembers those that do not.
    fn find_repeats(&self, parts: &[Part], admitted: &mut Vec<Admitted>) {
        let sequence = self.journal.next_sequence();
        for part in parts {
            let (id, received_at) = (part.admit.id, part.admit.received_at);
            let first = part.mark.and_then(|mark| self.shared.find_repeated_or_add(mark, id, received_at, sequence));
            admitted.push(Admitted { event: first.unwrap_or(id), duplicate: first.is_some() });
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

    /// Takes what is gathered: it goes to the disk now, and the one before has come back. `spare` is memory for the next.
    pub(super) fn seal(&mut self, spare: Pages) -> Batch {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.frame_count > 0 {
            let sealed = self.journal.seal(spare);
            batch.end = Some(sealed.end);
            batch.sealed = Some(sealed);
        }
        self.shared.inbox.note_taken();
        batch
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

/// Where works come in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Entry {
    gatherer: Arc<Mutex<Gatherer>>,
    shared: Arc<Shared>,
}

impl Entry {
    pub(super) fn new(gatherer: Arc<Mutex<Gatherer>>, shared: Arc<Shared>) -> Entry {
        Entry { gatherer, shared }
    }

    /// # Errors
    /// Where too many stand in line, and where the lines are closed.
    pub(crate) fn commit(&self, work: Box<CommitWork>) -> Result<(), StoreError> {
        self.at_once(work, Gatherer::gather_commit_at_once, Inbox::push_commit)
    }

    /// All of them or none.
    ///
    /// # Errors
    /// As [`Entry::commit`].
    pub(crate) fn outcomes(&self, works: Vec<OutcomeWork>) -> Result<(), StoreError> {
        if works.is_empty() {
            return Ok(());
        }
        self.at_once(works, Gatherer::gather_outcomes_at_once, Inbox::push_outcomes)
    }

    /// Gathers a work at once, or pushes it into the line.
    fn at_once<W>(
        &self,
        work: W,
        gather: fn(&mut Gatherer, W) -> Result<bool, W>,
        push: fn(&Inbox, W) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let inbox = &self.shared.inbox;
        let gathered = if inbox.is_free() { gather(&mut lock(&self.gatherer), work) } else { Err(work) };
        match gathered {
            Ok(first) => {
                // The owner is told of the first of a batch only: with that it finds the others.
                if first {
                    inbox.note_gathered();
                }
                Ok(())
            }
            Err(work) => push(inbox, work),
        }
    }
}
