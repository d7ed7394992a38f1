//! What may be forgotten, and when.
//!
//! The journal goes from its oldest segment on. A segment goes when it is past the retention, by age or because the
//! journal is longer than it may be, and when nothing that is open stands in it. What is open is copied forward, as
//! long as that gains something: an open event is written again with all that is known of it, and with its history.
//! Then one record says that the segment is not needed any more; and when a checkpoint stands behind it, so that no
//! start will ever ask for it, its file is removed.
//!
//! All of it is small steps, woken by a period: each hands at most one frame to the owner and waits until it is
//! durable. A crash between any two of them leaves what the next start goes on from: a copy that nothing points away
//! from yet, or a segment that is still there and is known to be needed no more.

use std::collections::VecDeque;

use eventyard_event::EventId;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::catalog::part_path;
use crate::disk::{Disk, OpenHow, unless_gone};
use crate::history::HISTORY_MAX;
use crate::journal::{
    Forgotten, KeptState, Place, body_checksum, put_forget, put_kept, put_kept_position, put_purge, segment_name,
};
use crate::owner::{Kept, KeptPosition, Outcome, OutcomeWork};
use crate::shared::Shared;
use crate::state::ItemPlace;
use crate::{Health, NewPosition, StoreError};

/// Bytes of one frame of copies, or one event, however large: what the owner writes between two batches of commits.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// Events of one frame of copies; they are looked up under the state's lock.
const COPY_EVENTS_MAX: usize = 64;
/// Events of a segment that are looked up under the lock at a time.
const SCAN_EVENTS: usize = 256;
/// Dead letters that are given up in one frame.
const LETTERS_MAX: usize = 500;
/// How long a segment is left alone that could not go: what keeps it is open, and there would be nothing to gain.
const LEFT_ALONE_MS: i64 = 30_000;
/// How long where all that keeps it is a record on its way.
const SHORTLY_MS: i64 = 1000;

type Answer = oneshot::Receiver<Result<(), StoreError>>;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// There is nothing to do for now.
    Nothing,
    /// Something was done, or is being done; there may be more.
    Something,
}

/// How the segment that is to go next stands.
struct Candidate {
    segment: u32,
    /// Events that were looked at so far.
    scanned: usize,
    /// Of those, what is open.
    open: VecDeque<EventId>,
    open_bytes: u64,
    /// The youngest of all its events.
    newest: i64,
    /// All of it was looked at, and it is to be emptied.
    emptying: bool,
    /// Something of it was copied, so it is looked at again.
    copied: bool,
    /// Something of it could not be read.
    unreadable: bool,
}

/// The work under way. One at a time, away from the journal's owner.
#[derive(Default)]
pub(crate) struct Retention {
    under_way: Option<Answer>,
    /// The events that it copies.
    copying: Vec<EventId>,
    candidate: Option<Candidate>,
    /// A segment that could not go, and until when it is left alone.
    left_alone: Option<(u32, i64)>,
}

/// When the youngest of an event's id was made: its first 48 bits.
pub(crate) fn born(id: EventId) -> i64 {
    let bytes = id.to_bytes();
    bytes.iter().take(6).fold(0, |sum, byte| sum << 8 | i64::from(*byte))
}

/// Whether a segment's open events are worth copying: at least half of what it holds, or of the whole journal, has
/// ended. So however often it is done, no more is copied than is gained.
fn worth_copying(open_bytes: u64, segment_bytes: u64, all_open_bytes: u64, journal_bytes: u64) -> bool {
    open_bytes.saturating_mul(2) <= segment_bytes || all_open_bytes.saturating_mul(2) <= journal_bytes
}

impl Retention {
    /// Does the next small thing.
    pub(crate) fn step(&mut self, shared: &Shared) -> Did {
        if let Some(answer) = &mut self.under_way {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => return Did::Something,
                Ok(Ok(())) => self.let_go(shared),
                // It is begun again from what is there.
                _ => {
                    self.let_go(shared);
                    self.candidate = None;
                    return Did::Nothing;
                }
            }
        }
        if shared.health() != Health::Good || shared.ahead.is_full() {
            // What room there is belongs to outcomes. What needs no room can still go.
            return remove_one(shared);
        }
        if remove_one(shared) == Did::Something || self.give_up_letters(shared) == Did::Something {
            return Did::Something;
        }
        self.empty_next(shared)
    }

    /// Nothing is waited for any more, and nobody waits for a copy; also what is called in the end.
    pub(crate) fn let_go(&mut self, shared: &Shared) {
        self.under_way = None;
        if !self.copying.is_empty() {
            let mut state = shared.state();
            self.copying.drain(..).for_each(|id| state.set_copying(id, false));
            drop(state);
            shared.copied.notify_waiters();
        }
    }

    fn push(&mut self, shared: &Shared, body: Vec<u8>, outcome: Outcome) -> Did {
        let checksum = body_checksum(&body);
        let (reply, answer) = oneshot::channel();
        let work = OutcomeWork { body, checksum, outcome: Box::new(outcome), reply };
        match shared.inbox.push_outcomes(vec![work]) {
            Ok(()) => {
                self.under_way = Some(answer);
                Did::Something
            }
            Err(_) => Did::Nothing,
        }
    }

    /// Gives up dead letters that nobody has replayed in time.
    fn give_up_letters(&mut self, shared: &Shared) -> Did {
        let now = (shared.clock)();
        let until = now.as_millis().saturating_sub(millis(shared.options.dead_letter_retention));
        let mut state = shared.state();
        let old: Vec<_> = state.dead.range(..(until, 0, 0, 0)).take(LETTERS_MAX).map(|(.., slot)| *slot).collect();
        let mut letters = Vec::with_capacity(old.len());
        for slot in old {
            let Some(delivery) = state.deliveries.get(slot) else { continue };
            let (last, id) = (delivery.last, state.delivery_id(delivery));
            if let Some(id) = id.filter(|id| state.may_raise(*id)) {
                letters.push((id, last));
            }
        }
        drop(state);
        if letters.is_empty() {
            return Did::Nothing;
        }
        tracing::info!(count = letters.len(), "dead letters are given up: nobody has replayed them in time");
        let mut body = Vec::new();
        put_purge(&mut body, &letters, now);
        let ids: Vec<_> = letters.iter().map(|(id, _)| *id).collect();
        let did = self.push(shared, body, Outcome::Purge { letters });
        if did == Did::Nothing {
            let mut state = shared.state();
            ids.into_iter().for_each(|id| state.may_not(id));
        }
        did
    }

    /// Goes on with the oldest segment, where it is to go.
    fn empty_next(&mut self, shared: &Shared) -> Did {
        let first = shared.state().forgotten.before;
        let Some((segment, bytes)) =
            shared.segment_from(first).filter(|(number, _)| *number < shared.end().place.segment)
        else {
            return Did::Nothing;
        };
        let now = (shared.clock)();
        if self.left_alone.is_some_and(|(left, until)| left == segment && now.as_millis() < until) {
            return Did::Nothing;
        }
        let mut candidate = match self.candidate.take().filter(|candidate| candidate.segment == segment) {
            Some(candidate) => candidate,
            None => {
                let newest = i64::MIN;
                let open = VecDeque::new();
                Candidate {
                    segment,
                    scanned: 0,
                    open,
                    open_bytes: 0,
                    newest,
                    emptying: false,
                    copied: false,
                    unreadable: false,
                }
            }
        };
        if !candidate.emptying {
            if scan(shared, &mut candidate) {
                self.candidate = Some(candidate);
                return Did::Something;
            }
            let used_bytes = shared.used_bytes();
            let old = candidate.newest.saturating_add(millis(shared.options.retention)) <= now.as_millis();
            let all_open_bytes = shared.state().open_bytes;
            if !(old || used_bytes > shared.options.retention_bytes)
                || !worth_copying(candidate.open_bytes, bytes, all_open_bytes, used_bytes)
            {
                self.left_alone = Some((segment, now.as_millis().saturating_add(LEFT_ALONE_MS)));
                return Did::Nothing;
            }
            candidate.emptying = true;
        }
        let did = self.copy_some(shared, &mut candidate);
        if did == Did::Something {
            candidate.copied = true;
            self.candidate = Some(candidate);
            return did;
        }
        if candidate.copied {
            // What could not be copied before may have ended since.
            self.candidate = Some(Candidate {
                scanned: 0,
                open: VecDeque::new(),
                open_bytes: 0,
                emptying: false,
                copied: false,
                ..candidate
            });
            return Did::Something;
        }
        if candidate.open_bytes > 0 || self.position_stands_in(shared, segment) {
            // Something is on its way to the journal at this very moment, or cannot be read.
            let pause = if candidate.unreadable { LEFT_ALONE_MS } else { SHORTLY_MS };
            self.left_alone = Some((segment, now.as_millis().saturating_add(pause)));
            return Did::Nothing;
        }
        let newest = candidate.newest.max(shared.state().forgotten.newest);
        let forgotten = Forgotten { before: segment.saturating_add(1), newest };
        let mut body = Vec::new();
        put_forget(&mut body, forgotten);
        tracing::info!(segment, "a segment of the journal is past the retention and goes");
        self.push(shared, body, Outcome::Forget(forgotten))
    }

    fn position_stands_in(&self, shared: &Shared, segment: u32) -> bool {
        shared.state().positions.values().any(|(_, stands_in)| *stands_in == segment)
    }

    /// Copies some of what is open, positions first.
    fn copy_some(&mut self, shared: &Shared, candidate: &mut Candidate) -> Did {
        let positions: Vec<_> = {
            let state = shared.state();
            let here = state.positions.iter().filter(|(_, (_, segment))| *segment == candidate.segment);
            let copied = here.take(1).map(|((namespace, source), (saved, _))| {
                let (namespace, source, bytes) = (namespace.clone(), source.clone(), saved.bytes.clone());
                let position = NewPosition { namespace, source, bytes };
                KeptPosition { position, last_event: saved.last_event, from: candidate.segment }
            });
            copied.collect()
        };
        let mut read = Vec::new();
        let mut read_bytes = 0;
        while read.len() < COPY_EVENTS_MAX && (read.is_empty() || read_bytes < COPY_BYTES_MAX) {
            let Some(id) = candidate.open.pop_front() else { break };
            match ToCopy::read(shared, id, candidate.segment) {
                Ok(Some(found)) => {
                    read_bytes += found.payload.len();
                    read.push(found);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(event = %id, %error, "an open event cannot be read, so its segment of the journal stays");
                    candidate.unreadable = true;
                }
            }
        }
        let mut body = Vec::with_capacity(read_bytes + 1024);
        let mut events = Vec::with_capacity(read.len());
        for KeptPosition { position, last_event, from } in &positions {
            put_kept_position(&mut body, position, *last_event, *from);
        }
        let mut state = shared.state();
        for found in read {
            let Some(mut kept) = state.keepable(found.id).filter(|_| state.histories(found.id) == found.histories)
            else {
                continue;
            };
            if kept.from != found.item.place || kept.deliveries.len() != found.told.len() {
                continue;
            }
            for (delivery, (newest, attempts)) in kept.deliveries.iter_mut().zip(found.told) {
                (delivery.newest, delivery.attempts) = (newest, attempts);
            }
            let start = body.len();
            let mut fits = put_kept(&mut body, &kept, &found.payload) && body.len() <= shared.body_bytes_max();
            if !fits && start == 0 {
                tracing::warn!(event = %found.id, "an open event is carried on without the attempts before its newest: with them it is longer than a segment of the journal");
                body.clear();
                kept.deliveries.iter_mut().for_each(|delivery| delivery.attempts.clear());
                fits = put_kept(&mut body, &kept, &found.payload) && body.len() <= shared.body_bytes_max();
            }
            if fits {
                let KeptState { from, .. } = kept;
                events.push(Kept { id: found.id, from, item: start..body.len(), whole: None });
                continue;
            }
            body.truncate(start);
            if start > 0 {
                // In a frame of its own.
                candidate.open.push_back(found.id);
            } else {
                tracing::error!(event = %found.id, "an open event is longer than a segment of the journal, so the one that it is in stays");
                candidate.unreadable = true;
            }
        }
        if events.is_empty() && positions.is_empty() {
            return Did::Nothing;
        }
        // Under the lock, so that whatever changes these events from now on stands behind their copies.
        self.copying = events.iter().map(|kept| kept.id).collect();
        self.copying.iter().for_each(|id| state.set_copying(*id, true));
        let did = self.push(shared, body, Outcome::Keep { events, positions });
        drop(state);
        if did == Did::Nothing {
            self.let_go(shared);
        }
        did
    }
}

/// An event with what has to be read to copy it.
struct ToCopy {
    id: EventId,
    item: ItemPlace,
    payload: bytes::Bytes,
    /// The newest settlement of each delivery when its history was read.
    histories: Vec<Place>,
    told: Vec<(Option<crate::journal::SettlementRecord>, Vec<crate::AttemptRecord>)>,
}

impl ToCopy {
    /// `None` where it has ended or stands elsewhere by now.
    fn read(shared: &Shared, id: EventId, segment: u32) -> Result<Option<ToCopy>, StoreError> {
        let (item, histories) = {
            let state = shared.state();
            let Some((_, event)) = state.find(id).filter(|(_, event)| event.item.place.segment == segment) else {
                return Ok(None);
            };
            (event.item, state.histories(id))
        };
        let payload = shared.read_event_payload(item)?;
        let mut told = Vec::with_capacity(histories.len());
        for (place, last) in (0u32..).zip(&histories) {
            let (mut attempts, newest) = shared.history(id.delivery(place), *last)?;
            debug_assert!(attempts.len() <= HISTORY_MAX, "a history has its limit");
            if newest.as_ref().is_some_and(|newest| newest.attempt.is_some()) {
                attempts.pop();
            }
            told.push((newest, attempts));
        }
        Ok(Some(ToCopy { id, item, payload, histories, told }))
    }
}

/// Looks at some more events of a segment. `false` when all were looked at.
fn scan(shared: &Shared, candidate: &mut Candidate) -> bool {
    let ids = shared.catalog().part(candidate.segment, candidate.scanned, SCAN_EVENTS);
    if ids.is_empty() {
        return false;
    }
    candidate.scanned += ids.len();
    let state = shared.state();
    for id in ids {
        candidate.newest = candidate.newest.max(born(id));
        if let Some((_, event)) = state.find(id)
            && event.item.place.segment == candidate.segment
        {
            candidate.open_bytes += u64::from(event.item.bytes);
            candidate.open.push_back(id);
        }
    }
    true
}

/// Removes the file of a segment that is needed no more, the oldest first.
fn remove_one(shared: &Shared) -> Did {
    let forgotten = shared.state().forgotten.before;
    let Some((segment, _)) = shared.segment_from(0) else { return Did::Nothing };
    if segment >= forgotten.min(shared.saved_segment()) {
        return Did::Nothing;
    }
    let folder = &shared.folders.journal;
    shared.files.close(segment);
    // The list goes first: without its segment it would be taken for one's that is lost. The names are made durable
    // before the next segment goes, so that what is left never has a gap.
    let removed = unless_gone(shared.disk.remove(&part_path(folder, segment)))
        .and_then(|()| unless_gone(shared.disk.remove(&folder.join(segment_name(segment)))))
        .and_then(|()| shared.disk.open(folder, OpenHow::Folder))
        .and_then(|names| shared.disk.sync(&names));
    match removed {
        Ok(()) => {
            shared.remove_segment(segment);
            Did::Something
        }
        Err(error) => {
            tracing::warn!(%error, segment, "a file of the journal that is needed no more could not be removed; it is tried again");
            Did::Nothing
        }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use eventyard_event::Timestamp;

    use super::*;

    #[test]
    fn no_more_is_copied_than_is_gained() {
        // Half of the segment has ended, however full the journal is of what is open.
        assert!(worth_copying(32, 64, 1000, 1000));
        // Little of the segment has ended, but most of the journal has.
        assert!(worth_copying(64, 64, 100, 1000));
        // A backlog that fills the journal stays where it is.
        assert!(!worth_copying(60, 64, 900, 1000));
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        let id = EventId::new(Timestamp::from_millis(1_800_000_000_123), [0xff; 10]);
        assert_eq!(born(id), 1_800_000_000_123);
    }
}
