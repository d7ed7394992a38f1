//! The calls that write: records are encoded, summed up and gathered here, by the caller.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use eventyard_event::{DeliveryId, Timestamp};
use tokio::sync::oneshot;

use super::views::unreadable_envelope;
use super::{LocalStore, blanks};
use crate::delivery::DELIVERIES_MAX;
use crate::journal::{
    Counts, DedupeMark, Elements, Place, SettlementRecord, body_checksum, put_begins, put_event, put_hasten,
    put_position, put_purge, put_replay, put_settlement,
};
use crate::owner::{Begun, Outcome, OutcomeWork, Part, Settled};
use crate::shared::Shared;
use crate::state::{Admit, AdmitDelivery, FRAME_EVENTS_MAX, ItemPlace, State, Stored, Turn};
use crate::{
    Admission, Admitted, Begin, Commit, NewDelivery, QueueKey, SettleError, Settlement, SnapshotHash, StoreError,
    Taken, Verdict, dedupe, place_count,
};

/// A source's position, at most.
const POSITION_BYTES_MAX: usize = 64 * 1024;
/// A lane's key, at most; longer ones are hashed by the caller.
const LANE_KEY_BYTES_MAX: usize = 1024;
/// Deliveries that one frame replays, purges, cancels or hastens; a call with more makes several frames.
const LETTERS_MAX: usize = 1000;

/// Bytes that an admission takes beside its data, roughly: enough that most buffers are allocated once.
const ADMISSION_BYTES: usize = 512;
/// Numbers that are kept at hand while a commit is encoded: a look through more of them is slower than their table.
const KNOWN_MAX: usize = 8;

/// What a settlement that delivered takes, so that its memory is asked for once.
const SETTLEMENT_BYTES: usize = 256;
/// What a begin takes, and no less than the head of their item.
const BEGIN_BYTES: usize = 36;

/// Bytes of settlements that share a frame: enough that the frame costs each of them next to nothing.
const TOGETHER_BYTES_MAX: usize = 64 * 1024;

/// A delivery as it stands when its lease is settled.
#[derive(Clone, Copy)]
struct Claimed {
    slot: u32,
    counts: Counts,
    /// Its newest settlement and its first.
    last: Place,
    first: Place,
}

type Answer = oneshot::Receiver<Result<(), StoreError>>;

/// A frame of settlements while it is put together.
struct Ending {
    body: Vec<u8>,
    settled: Vec<Settled>,
    /// What is committed with them; then there is only one.
    emits: Vec<Admission>,
    /// Which of the call's settlements these are.
    of: Vec<(usize, DeliveryId)>,
}

impl Ending {
    fn of_at_most(count: usize) -> Ending {
        let count = count.min(TOGETHER_BYTES_MAX / SETTLEMENT_BYTES);
        Ending {
            body: Vec::with_capacity(count * SETTLEMENT_BYTES),
            settled: Vec::with_capacity(count),
            emits: Vec::new(),
            of: Vec::with_capacity(count),
        }
    }

    fn takes_more(&self) -> bool {
        self.emits.is_empty() && self.body.len() + SETTLEMENT_BYTES <= TOGETHER_BYTES_MAX
    }

    fn add(&mut self, place: usize, settlement: Settlement, claimed: Claimed) {
        let Settlement { delivery, attempt, verdict, at, emits } = settlement;
        let Claimed { slot, mut counts, last: previous, first } = claimed;
        counts.tries = counts.tries.saturating_add(u32::from(attempt.is_some()));
        let (counted, turn) = match &verdict {
            Verdict::Delivered => (attempt.is_some(), Turn::Delivered),
            Verdict::Retry { at, counted } => (*counted, Turn::Retry { at: *at }),
            Verdict::Dead { .. } => (attempt.is_some(), Turn::Dead { at }),
        };
        counts.attempts = counts.attempts.saturating_add(u32::from(counted));
        counts.deaths = counts.deaths.saturating_add(u32::from(matches!(turn, Turn::Dead { .. })));
        let at_in_body = self.body.len();
        let record = SettlementRecord { delivery, at, counts, previous, first, verdict, attempt };
        put_settlement(&mut self.body, &record);
        self.settled.push(Settled { delivery, slot, at_in_body, counts, turn });
        self.emits = emits;
        self.of.push((place, delivery));
    }
}

/// Looks up the numbers of queues and snapshots for one commit, whose events mostly go to the same few targets.
struct Numbers<'a> {
    shared: &'a Shared,
    /// What was looked up first, so many at most.
    known: Vec<(Arc<QueueKey>, SnapshotHash, (u32, u32))>,
    known_max: usize,
}

impl Numbers<'_> {
    fn number(&mut self, deliveries: Vec<NewDelivery>) -> Vec<AdmitDelivery> {
        let mut numbered = Vec::with_capacity(place_count(&deliveries));
        for delivery in deliveries {
            let count = delivery.place_count();
            let (queue, snapshot) = self.look_up(delivery.queue, delivery.snapshot);
            let one = AdmitDelivery { queue, lane: delivery.lane, due_at: delivery.due_at, snapshot };
            numbered.extend(std::iter::repeat_n(one, count));
        }
        numbered
    }

    fn look_up(&mut self, queue: Arc<QueueKey>, snapshot: SnapshotHash) -> (u32, u32) {
        let known = self.known.iter().find(|(one, made_by, _)| *made_by == snapshot && *one == queue);
        if let Some((.., numbers)) = known {
            return *numbers;
        }
        let found = {
            let names = self.shared.names();
            names.find_queue(&queue).zip(names.find_snapshot(&snapshot))
        };
        let numbers = found.unwrap_or_else(|| {
            let mut names = self.shared.names_mut();
            (names.queue_number(&queue), names.snapshot_number(snapshot))
        });
        if self.known.len() < self.known_max {
            self.known.push((queue, snapshot, numbers));
        }
        numbers
    }
}

impl LocalStore {
    /// Encodes admissions one after another into `body`.
    fn encode(
        &self,
        admissions: Vec<Admission>,
        body: &mut Vec<u8>,
        parts: &mut Vec<Part>,
        marks: bool,
    ) -> Result<(), StoreError> {
        if admissions.len() > FRAME_EVENTS_MAX {
            return Err(StoreError::TooLarge { what: "the number of events in a commit", max: FRAME_EVENTS_MAX });
        }
        parts.reserve(admissions.len());
        // One event of its own asks once for each, and is spared the list.
        let known_max = if admissions.len() > 1 { KNOWN_MAX } else { 0 };
        let mut numbers = Numbers { shared: &self.shared, known: Vec::new(), known_max };
        for admission in admissions {
            check(&admission)?;
            let mark = admission.dedupe.filter(|_| marks).map(|dedupe| DedupeMark {
                hash: dedupe::hash(&self.shared.journal, &admission.envelope),
                expires_at: admission.envelope.received_at.plus(dedupe.window),
            });
            let start = body.len();
            if !put_event(body, &admission, mark) {
                return Err(StoreError::TooLarge { what: "an event", max: u32::MAX as usize });
            }
            let item = start..body.len();
            let deaths = put_deaths(body, &admission);
            let admit = Admit {
                id: admission.envelope.id,
                received_at: admission.envelope.received_at,
                elements: Elements::of(&admission.deliveries),
                deliveries: numbers.number(admission.deliveries),
            };
            parts.push(Part { item, admit, mark, envelope: admission.envelope, deaths });
        }
        Ok(())
    }

    pub(super) async fn write_commit(&self, commit: Commit) -> Result<Vec<Admitted>, StoreError> {
        if commit.admissions.is_empty() && commit.position.is_none() {
            return Ok(Vec::new());
        }
        let data: usize = commit.admissions.iter().map(|each| each.envelope.event.data.bytes().len()).sum();
        let mut work = blanks::take();
        work.body.reserve(data + commit.admissions.len() * ADMISSION_BYTES);
        work.admitted.reserve_exact(commit.admissions.len());
        self.encode(commit.admissions, &mut work.body, &mut work.parts, true)?;
        if let Some(position) = commit.position {
            if position.bytes.len() > POSITION_BYTES_MAX {
                return Err(StoreError::TooLarge { what: "a source's position", max: POSITION_BYTES_MAX });
            }
            let start = work.body.len();
            put_position(&mut work.body, &position);
            work.position = Some((start..work.body.len(), position));
        }
        if work.body.len() > self.shared.body_bytes_max() {
            return Err(StoreError::TooLarge { what: "a commit", max: self.shared.body_bytes_max() });
        }
        work.checksum = body_checksum(&work.body);
        let ids = work.parts.iter().filter_map(|part| Some((part.mark?.hash, part.admit.received_at)));
        work.looked_up = self.shared.seen_files.find_none(&self.shared.disk, ids);
        let (reply, answer) = oneshot::channel();
        work.reply = Some(reply);
        self.entry.commit(work)?;
        let mut done = answer.await.unwrap_or(Err(StoreError::Closed))?;
        let admitted = std::mem::take(&mut done.admitted);
        blanks::keep(done);
        Ok(admitted)
    }

    fn push(&self, body: Vec<u8>, outcome: Outcome) -> Result<Answer, StoreError> {
        let (work, answer) = self.work(body, outcome)?;
        self.entry.outcomes(vec![work])?;
        Ok(answer)
    }

    fn work(&self, body: Vec<u8>, outcome: Outcome) -> Result<(OutcomeWork, Answer), StoreError> {
        if body.len() > self.shared.body_bytes_max() {
            return Err(StoreError::TooLarge { what: "an outcome", max: self.shared.body_bytes_max() });
        }
        let checksum = body_checksum(&body);
        let (reply, answer) = oneshot::channel();
        Ok((OutcomeWork { body, checksum, outcome: Box::new(outcome), reply }, answer))
    }

    /// Leases deliveries and finds their envelopes. What cannot be read is handed out all the same, and says so.
    pub(super) fn lease(&self, queue: &QueueKey, count: usize, now: Timestamp) -> Result<Vec<Taken>, StoreError> {
        if let crate::Health::Poisoned(error) = self.shared.health() {
            return Err(StoreError::Poisoned(error));
        }
        let names = self.shared.names();
        let Some(number) = names.find_queue(queue) else { return Ok(Vec::new()) };
        let queue = names.queue(number).map_or_else(|| Arc::new(queue.clone()), Arc::clone);
        drop(names);
        let mut found = Vec::new();
        {
            let mut state = self.shared.state();
            for slot in state.take(number, count, now) {
                let Some(delivery) = state.deliveries.get(slot) else { continue };
                let Some(event) = state.events.get(delivery.event) else { continue };
                let recent = state.recent(delivery.event, event.id).cloned();
                let budget_began_at = Timestamp::from_millis(delivery.budget_began);
                found.push((event.id.delivery(delivery.place), delivery.counts, budget_began_at, event.item, recent));
            }
        }
        // The elements of one event follow each other: it is read once for them.
        let items = found.chunk_by(|(.., one, _), (.., next, _)| one == next).filter_map(<[_]>::first);
        let missing: Vec<ItemPlace> =
            items.filter(|(.., recent)| recent.is_none()).map(|(.., item, _)| *item).collect();
        if !missing.is_empty() {
            self.shared.read_back.note();
        }
        let mut read = self.read_stored_each(&missing).into_iter();
        let mut taken: Vec<Taken> = Vec::with_capacity(found.len());
        let mut last: Option<(ItemPlace, Stored, Option<String>)> = None;
        for (delivery, counts, budget_began_at, item, recent) in found {
            let (stored, unreadable) = match (recent, &last) {
                (Some(stored), _) => (stored, None),
                (None, Some((before, stored, unreadable))) if *before == item => (stored.clone(), unreadable.clone()),
                (None, _) => {
                    let read = match read.next().unwrap_or_else(|| self.read_stored(item)) {
                        Ok(stored) => (stored, None),
                        Err(error) => {
                            tracing::error!(%delivery, %error, "an event cannot be read; see `eventyard store verify`");
                            (Stored::plain(unreadable_envelope(delivery.event, &queue)), Some(error.to_string()))
                        }
                    };
                    last = Some((item, read.0.clone(), read.1.clone()));
                    read
                }
            };
            let element = stored.elements.at(delivery.place);
            let Counts { attempts, tries, deaths } = counts;
            taken.push(Taken {
                delivery,
                queue: Arc::clone(&queue),
                attempts,
                tries,
                deaths,
                budget_began_at,
                envelope: stored.envelope,
                element,
                unreadable,
            });
        }
        Ok(taken)
    }

    pub(super) async fn write_begins(&self, begins: Vec<Begin>) -> Vec<Result<(), SettleError>> {
        let mut results = Vec::with_capacity(begins.len());
        let mut allowed = Vec::with_capacity(begins.len());
        {
            let mut state = self.shared.state();
            for begin in begins {
                let may = state.may_begin(begin.delivery);
                results.push(may.map(|slot| allowed.push(Begun { begin, slot })));
            }
        }
        if allowed.is_empty() {
            return results;
        }
        let mut body = Vec::with_capacity((1 + allowed.len()) * BEGIN_BYTES);
        put_begins(&mut body, allowed.iter().map(|begun| &begun.begin));
        let deliveries: Vec<DeliveryId> = allowed.iter().map(|begun| begun.begin.delivery).collect();
        let written = match self.push(body, Outcome::Begin(allowed)) {
            Ok(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            let mut state = self.shared.state();
            deliveries.into_iter().for_each(|delivery| state.may_not(delivery));
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(SettleError::Store(error.clone()));
            }
        }
        results
    }

    pub(super) async fn write_settlements(&self, settlements: Vec<Settlement>) -> Vec<Result<(), SettleError>> {
        let befores: Vec<_> = {
            let deliveries = settlements.iter().map(|settlement| settlement.delivery);
            let mut state = self.uncopied(deliveries.clone()).await;
            deliveries.map(|delivery| claim(&mut state, delivery)).collect()
        };
        let mut results = Vec::with_capacity(settlements.len());
        let mut frames: Vec<Ending> = Vec::new();
        let count = settlements.len();
        for (settlement, before) in settlements.into_iter().zip(befores) {
            let alone = !settlement.emits.is_empty();
            let most = if alone { 1 } else { count - results.len() };
            results.push(before.as_ref().map(|_| ()).map_err(Clone::clone));
            let Ok(before) = before else { continue };
            let frame = match frames.last_mut() {
                Some(frame) if !alone && frame.takes_more() => frame,
                _ => frames.push_mut(Ending::of_at_most(most)),
            };
            frame.add(results.len() - 1, settlement, before);
        }
        let mut works = Vec::with_capacity(frames.len());
        let mut pending = Vec::with_capacity(frames.len());
        for frame in frames {
            let answer = self.settlement_work(frame.body, frame.settled, frame.emits).map(|(work, answer)| {
                works.push(work);
                answer
            });
            pending.push((frame.of, answer));
        }
        // Together: they are of one batch then, and whoever settles them is woken once.
        let pushed = self.entry.outcomes(works);
        for (of, answer) in pending {
            let written = match (answer, &pushed) {
                (Err(error), _) => Err(error),
                (Ok(_), Err(error)) => Err(error.clone()),
                (Ok(answer), Ok(())) => answer.await.unwrap_or(Err(StoreError::Closed)),
            };
            let Err(error) = written else { continue };
            let mut state = self.shared.state();
            for (place, delivery) in of {
                state.may_not(delivery);
                if let Some(result) = results.get_mut(place) {
                    *result = Err(SettleError::Store(error.clone()));
                }
            }
        }
        results
    }

    /// The state, at a moment when none of some deliveries' events is being copied: what is written of them now
    /// points to where their history stands when it is written. A copy takes as long as a sync.
    async fn uncopied(&self, deliveries: impl Iterator<Item = DeliveryId> + Clone) -> MutexGuard<'_, State> {
        loop {
            let copied = self.shared.copied.notified();
            {
                let state = self.shared.state();
                if !deliveries.clone().any(|delivery| state.is_copying(delivery.event)) {
                    return state;
                }
            }
            copied.await;
        }
    }

    fn settlement_work(
        &self,
        mut body: Vec<u8>,
        settled: Vec<Settled>,
        admissions: Vec<Admission>,
    ) -> Result<(OutcomeWork, Answer), StoreError> {
        let mut emits = Vec::new();
        self.encode(admissions, &mut body, &mut emits, false)?;
        self.work(body, Outcome::Settle { settled, emits })
    }

    pub(super) async fn write_replay(
        &self,
        letters: Vec<(DeliveryId, Timestamp)>,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut done = Vec::new();
        for some in letters.chunks(LETTERS_MAX) {
            let letters: Vec<(DeliveryId, Timestamp)> = {
                let mut state = self.shared.state();
                some.iter().copied().filter(|(delivery, _)| state.may_raise(*delivery)).collect()
            };
            let deliveries: Vec<DeliveryId> = letters.iter().map(|(delivery, _)| *delivery).collect();
            let mut body = Vec::new();
            put_replay(&mut body, &letters, at);
            self.raise(deliveries, body, Outcome::Replay { letters }, &mut done).await?;
        }
        Ok(done)
    }

    pub(super) async fn write_purge(
        &self,
        letters: Vec<DeliveryId>,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut done = Vec::new();
        for some in letters.chunks(LETTERS_MAX) {
            let letters: Vec<(DeliveryId, Place)> = {
                let mut state = self.uncopied(some.iter().copied()).await;
                let may: Vec<_> = some.iter().copied().filter(|delivery| state.may_raise(*delivery)).collect();
                let last = |delivery: &DeliveryId| Some((*delivery, state.find_delivery(*delivery)?.1.last));
                may.iter().filter_map(last).collect()
            };
            let deliveries: Vec<DeliveryId> = letters.iter().map(|(delivery, _)| *delivery).collect();
            let mut body = Vec::new();
            put_purge(&mut body, &letters, at);
            self.raise(deliveries, body, Outcome::Purge { letters }, &mut done).await?;
        }
        Ok(done)
    }

    /// Written as a purge is: either way a person has ended a delivery.
    pub(super) async fn write_cancel(
        &self,
        deliveries: Vec<DeliveryId>,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut done = Vec::new();
        for some in deliveries.chunks(LETTERS_MAX) {
            let letters: Vec<(DeliveryId, Place)> = {
                let mut state = self.uncopied(some.iter().copied()).await;
                some.iter().filter_map(|delivery| Some((*delivery, state.may_withdraw(*delivery)?))).collect()
            };
            let deliveries: Vec<DeliveryId> = letters.iter().map(|(delivery, _)| *delivery).collect();
            let mut body = Vec::new();
            put_purge(&mut body, &letters, at);
            self.raise(deliveries, body, Outcome::Purge { letters }, &mut done).await?;
        }
        Ok(done)
    }

    pub(super) async fn write_hasten(
        &self,
        deliveries: Vec<DeliveryId>,
        due_at: Timestamp,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut done = Vec::new();
        for some in deliveries.chunks(LETTERS_MAX) {
            let hastened: Vec<(DeliveryId, Timestamp)> = {
                let mut state = self.shared.state();
                let may = some.iter().filter(|delivery| state.may_withdraw(**delivery).is_some());
                may.map(|delivery| (*delivery, due_at)).collect()
            };
            let deliveries: Vec<DeliveryId> = hastened.iter().map(|(delivery, _)| *delivery).collect();
            let mut body = Vec::new();
            put_hasten(&mut body, &hastened, at);
            self.raise(deliveries, body, Outcome::Hasten { hastened }, &mut done).await?;
        }
        Ok(done)
    }

    async fn raise(
        &self,
        deliveries: Vec<DeliveryId>,
        body: Vec<u8>,
        outcome: Outcome,
        done: &mut Vec<DeliveryId>,
    ) -> Result<(), StoreError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let written = match self.push(body, outcome) {
            Ok(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            let mut state = self.shared.state();
            deliveries.into_iter().for_each(|delivery| state.may_not(delivery));
            return Err(error);
        }
        done.extend(deliveries);
        Ok(())
    }
}

/// Writes the settlements of an event whose deliveries are dead letters from the start.
fn put_deaths(body: &mut Vec<u8>, admission: &Admission) -> Vec<Range<usize>> {
    let Some(reason) = &admission.dead else { return Vec::new() };
    let (id, at) = (admission.envelope.id, admission.envelope.received_at);
    let places = (0u32..).take(place_count(&admission.deliveries));
    let settlements = places.map(|place| {
        let start = body.len();
        let record = SettlementRecord {
            delivery: id.delivery(place),
            at,
            counts: Counts::DEAD_FROM_THE_START,
            previous: Place::NONE,
            first: Place::NONE,
            verdict: Verdict::Dead { reason: reason.clone() },
            attempt: None,
        };
        put_settlement(body, &record);
        start..body.len()
    });
    settlements.collect()
}

/// Notes that a lease is being settled.
fn claim(state: &mut State, delivery: DeliveryId) -> Result<Claimed, SettleError> {
    let slot = state.may_settle(delivery)?;
    let entry = state.deliveries.get(slot).ok_or(SettleError::Unknown(delivery))?;
    Ok(Claimed { slot, counts: entry.counts, last: entry.last, first: entry.first })
}

fn check(admission: &Admission) -> Result<(), StoreError> {
    if place_count(&admission.deliveries) > DELIVERIES_MAX {
        return Err(StoreError::TooLarge { what: "the number of deliveries of an event", max: DELIVERIES_MAX });
    }
    let long = |delivery: &NewDelivery| delivery.lane.as_ref().is_some_and(|lane| lane.key.len() > LANE_KEY_BYTES_MAX);
    if admission.deliveries.iter().any(long) {
        return Err(StoreError::TooLarge { what: "the key of a lane", max: LANE_KEY_BYTES_MAX });
    }
    Ok(())
}
