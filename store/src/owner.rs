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

use crate::catalog::Ended;
use crate::journal::{Counts, DedupeMark, End, Journal, NoSegment, Place, body_checksum};
use crate::shared::Shared;
use crate::state::{Admit, Applied, FRAME_EVENTS_MAX, IdHasher, ItemPlace, State, Turn};
use crate::{Admitted, Begin, NewPosition, PlantedFaults, SavedPosition, StoreError};

mod inbox;
mod interrupt;

pub(crate) use inbox::Inbox;

/// Works in one batch; a bound on how long the first of them waits for its answer.
const BATCH_WORKS_MAX: usize = 4096;
/// Bytes in one batch, for the same reason; or one frame, however large.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event within a body.
pub(crate) struct Part {
    /// Where its item stands in the body.
    pub(crate) item: Range<usize>,
    pub(crate) admit: Admit,
    pub(crate) mark: Option<DedupeMark>,
    pub(crate) envelope: Arc<Envelope>,
}

/// A commit, ready to be written.
pub(crate) struct CommitWork {
    pub(crate) body: Vec<u8>,
    pub(crate) checksum: u32,
    pub(crate) parts: Vec<Part>,
    pub(crate) position: Option<(Range<usize>, NewPosition)>,
    /// Empty, with room for an entry of each part.
    pub(crate) admitted: Vec<Admitted>,
    pub(crate) reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// A commit that is durable. All that it was handed over in goes back to the caller, because memory is best
/// given back by the thread that asked for it: freeing the bodies of everybody was most of what the owner did.
pub(crate) struct Committed {
    pub(crate) admitted: Vec<Admitted>,
    pub(crate) body: Vec<u8>,
    /// For no other reason than to be dropped, as is the envelope of another event that is no longer kept.
    pub(crate) _parts: Vec<Part>,
    pub(crate) _spent: Option<Arc<Envelope>>,
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
    pub(crate) outcome: Outcome,
    pub(crate) reply: oneshot::Sender<Result<(), StoreError>>,
}

pub(crate) enum Work {
    Commit(CommitWork),
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
            Work::Commit(work) => drop(work.reply.send(Err(error))),
            Work::Outcome(work) => drop(work.reply.send(Err(error))),
        }
    }
}

/// A work of the batch: what follows from it when the batch is durable, and who is told.
struct Gathered {
    /// The frame's sequence, and where its body stands; none where all of a commit was here already.
    frame: Option<(u64, Place)>,
    effect: Effect,
}

enum Effect {
    Commit {
        parts: Vec<Part>,
        position: Option<NewPosition>,
        body: Vec<u8>,
        admitted: Vec<Admitted>,
        reply: oneshot::Sender<Result<Committed, StoreError>>,
    },
    /// Begins have no reply here: they were answered before.
    Outcome(Option<Outcome>, Option<oneshot::Sender<Result<(), StoreError>>>),
}

/// The owner. Its steps, in order, for each batch: `gather`, `write`, `written`, `sync`, `finish`.
pub(crate) struct Owner {
    pub(crate) journal: Journal,
    pub(crate) shared: Arc<Shared>,
    faults: PlantedFaults,
    todo: VecDeque<Work>,
    gathered: Vec<Gathered>,
    /// How many of them have a frame that is not applied yet.
    frame_count: usize,
    /// Begins; they are answered after the write.
    begun: Vec<oneshot::Sender<Result<(), StoreError>>>,
    /// Envelopes that the state keeps no longer; they go away with the answers.
    spent: Vec<Arc<Envelope>>,
    /// Ids that are first seen in this batch.
    seen: HashMap<[u8; 16], (EventId, Timestamp), BuildHasherDefault<IdHasher>>,
}

impl Owner {
    pub(crate) fn new(journal: Journal, shared: Arc<Shared>, faults: PlantedFaults) -> Owner {
        Owner {
            journal,
            shared,
            faults,
            todo: VecDeque::new(),
            gathered: Vec::new(),
            frame_count: 0,
            begun: Vec::new(),
            spent: Vec::new(),
            seen: HashMap::default(),
        }
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
        Ok(!self.gathered.is_empty() || !self.begun.is_empty())
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

    fn gather_commit(&mut self, work: CommitWork) {
        let CommitWork { mut body, mut checksum, mut parts, position, mut admitted, reply } = work;
        self.find_repeats(&parts, &mut admitted);
        if admitted.iter().any(|each| each.duplicate) {
            // Some of it is here already: the frame holds the rest.
            let mut found = admitted.iter();
            parts.retain(|_| found.next().is_some_and(|each| !each.duplicate));
            body = body_of_rest(&body, &mut parts, position.as_ref().map(|(item, _)| item.clone()));
            checksum = body_checksum(&body);
        }
        let position = position.map(|(_, position)| position);
        let frame = (!parts.is_empty() || position.is_some()).then(|| self.gather_frame(&body, checksum));
        self.gathered.push(Gathered { frame, effect: Effect::Commit { parts, position, body, admitted, reply } });
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
        let reply = if matches!(outcome, Outcome::Begin(_)) {
            self.begun.push(reply);
            if self.faults.settle_without_begin {
                return;
            }
            None
        } else {
            Some(reply)
        };
        let frame = Some(self.gather_frame(&body, checksum));
        self.gathered.push(Gathered { frame, effect: Effect::Outcome(Some(outcome), reply) });
    }

    fn gather_frame(&mut self, body: &[u8], checksum: u32) -> (u64, Place) {
        self.frame_count += 1;
        self.journal.gather(body, checksum)
    }

    /// Writes the batch. `false` where it has no frame: then there is nothing to sync either.
    pub(crate) fn write(&mut self) -> Result<bool, String> {
        if self.frame_count == 0 {
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
            self.answer();
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
        let end = self.journal.end();
        self.apply(end);
    }

    /// Whether a checkpoint is due.
    pub(crate) fn checkpoint_due(&self) -> bool {
        let unsaved = self.shared.unsaved_bytes.load(std::sync::atomic::Ordering::Relaxed);
        unsaved >= self.shared.options.checkpoint_bytes
    }

    /// Applies what is durable, and answers.
    pub(crate) fn finish(&mut self) {
        let end = self.journal.end();
        self.apply(end);
        self.answer();
    }

    fn answer(&mut self) {
        for gathered in self.gathered.drain(..) {
            gathered.answer(&mut self.spent);
        }
        self.spent.clear();
    }

    fn apply(&mut self, end: End) {
        if self.frame_count == 0 {
            return;
        }
        self.frame_count = 0;
        if !self.seen.is_empty() {
            let mut dedupe = self.shared.dedupe();
            for (hash, (event, expires_at)) in self.seen.drain() {
                dedupe.add(DedupeMark { hash, expires_at }, event);
            }
        }
        let mut state = self.shared.state();
        let mut catalog = self.shared.catalog();
        for gathered in &mut self.gathered {
            let Some((sequence, place)) = gathered.frame else { continue };
            match &mut gathered.effect {
                Effect::Commit { parts, position, .. } => {
                    apply_parts(&mut state, &mut catalog, sequence, place, parts);
                    if let Some(position) = position.take() {
                        let last_event = parts.last().map(|part| part.admit.id);
                        let saved = SavedPosition { bytes: position.bytes, last_event };
                        state.set_position(&position.namespace, &position.source, saved);
                    }
                }
                Effect::Outcome(outcome, _) => {
                    if let Some(outcome) = outcome.take() {
                        apply_outcome(&mut state, &mut catalog, sequence, place, outcome);
                    }
                }
            }
        }
        drop(catalog);
        self.spent = state.take_spent();
        drop(state);
        self.shared.set_end(end);
        self.shared.changed.notify_one();
    }

    /// The journal can no longer be trusted: everybody who waits is told, and all who come.
    pub(crate) fn poison(&mut self, error: String) {
        tracing::error!(%error, "the journal cannot be written any more; nothing is accepted until a restart");
        let poisoned = StoreError::Poisoned(error.clone());
        self.shared.poison(error);
        self.shared.inbox.close(poisoned.clone());
        for gathered in self.gathered.drain(..) {
            gathered.refuse(&poisoned);
        }
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

impl Gathered {
    /// A caller that went away needs no answer.
    fn answer(self, spent: &mut Vec<Arc<Envelope>>) {
        match self.effect {
            Effect::Commit { parts, body, admitted, reply, .. } => {
                drop(reply.send(Ok(Committed { admitted, body, _parts: parts, _spent: spent.pop() })));
            }
            Effect::Outcome(_, Some(reply)) => drop(reply.send(Ok(()))),
            Effect::Outcome(_, None) => {}
        }
    }

    fn refuse(self, error: &StoreError) {
        match self.effect {
            Effect::Commit { reply, .. } => drop(reply.send(Err(error.clone()))),
            Effect::Outcome(_, Some(reply)) => drop(reply.send(Err(error.clone()))),
            Effect::Outcome(_, None) => {}
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

/// Where something within a frame's body stands in the segment.
pub(crate) fn within(body: Place, offset: usize) -> Place {
    Place { segment: body.segment, offset: body.offset.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)) }
}

/// The commit order of the events of a frame.
pub(crate) fn order_of(sequence: u64, index: usize) -> u64 {
    debug_assert!(index < FRAME_EVENTS_MAX, "the limit is checked before a frame is made");
    sequence << 16 | index as u64
}

fn apply_parts(
    state: &mut State,
    catalog: &mut crate::catalog::Catalog,
    sequence: u64,
    body: Place,
    parts: &mut [Part],
) {
    for (index, part) in parts.iter_mut().enumerate() {
        let bytes = u32::try_from(part.item.len()).unwrap_or(u32::MAX);
        let item = ItemPlace { place: within(body, part.item.start), bytes };
        catalog.add_event(part.admit.id, item);
        state.admit(order_of(sequence, index), item, &mut part.admit, Some(&part.envelope));
    }
}

/// Applies an outcome. The same call while running and at recovery.
pub(crate) fn apply_outcome(
    state: &mut State,
    catalog: &mut crate::catalog::Catalog,
    sequence: u64,
    body: Place,
    outcome: Outcome,
) {
    let unknown = |applied: Applied, delivery: DeliveryId| {
        if applied == Applied::Unknown {
            tracing::debug!(%delivery, sequence, "a record is of a delivery that has ended, or whose event is damaged");
        }
    };
    match outcome {
        Outcome::Begin(begins) => {
            for begin in begins {
                let backoff = u64::try_from(begin.backoff_if_interrupted.as_millis()).unwrap_or(u64::MAX);
                unknown(state.begin(sequence, begin.delivery, begin.at, backoff), begin.delivery);
            }
        }
        Outcome::Settle { delivery, at_in_body, counts, turn, mut emits } => {
            let at = within(body, at_in_body);
            unknown(state.settle(sequence, delivery, at, counts, turn), delivery);
            if matches!(turn, Turn::Delivered) {
                catalog.add_end(body.segment, delivery, Ended { cancelled: false, last: at });
            }
            apply_parts(state, catalog, sequence, body, &mut emits);
        }
        Outcome::Replay { letters } => {
            for (delivery, due_at) in letters {
                unknown(state.replay(sequence, delivery, due_at), delivery);
            }
        }
        Outcome::Purge { letters } => {
            for (delivery, last) in letters {
                unknown(state.purge(sequence, delivery), delivery);
                catalog.add_end(body.segment, delivery, Ended { cancelled: true, last });
            }
        }
    }
}
