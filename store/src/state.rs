//! What the store knows, in memory: every event that has a delivery which has not ended, and where its bytes
//! stand in the journal. Bodies stay on disk.
//!
//! The state is only ever changed by records that are synced, in the journal's order, by the same calls while
//! running and at recovery. The exceptions are leases, which belong to this process and are never written.
//! Applying a record a second time changes nothing, which is what lets a checkpoint be taken while the state
//! moves on: each delivery keeps the sequence of the last frame that it was changed by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use eventyard_event::{DeliveryId, Envelope, EventId, Name, Timestamp};

use crate::journal::{Counts, Forgotten, Place};
use crate::{AfterDead, DeliveryState, SavedPosition};

mod by_id;
mod changes;
mod due;
mod keep;
mod lane;
mod lease;
mod names;
mod queue;
mod recent;
mod slab;
mod slots;

use by_id::ById;
pub(crate) use changes::{CHUNK_EVENTS, Changes, Save};
pub(crate) use lease::Lease;
pub(crate) use names::Names;
pub(crate) use queue::Queue;
use recent::Recent;
pub(crate) use recent::Stored;
pub(crate) use slab::{NONE, Slab};
pub(crate) use slots::{
    Admit, AdmitDelivery, DeliverySlot, EventSlot, ItemPlace, Queued, Slots, Standing, Tally, Turn,
};

/// Events of one frame; an event's order within the journal is its frame's sequence and its place in there.
pub(crate) const FRAME_EVENTS_MAX: usize = 1 << 16;

/// Ids are random in their low half already, and slots are small numbers that follow each other.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

pub(crate) type IdMap<V> = HashMap<u128, V, BuildHasherDefault<IdHasher>>;

pub(crate) fn id_key(id: EventId) -> u128 {
    u128::from_be_bytes(id.to_bytes())
}

/// Everything in memory. Guarded by one lock that is held for short, bounded steps and never over a disk call.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) events: Slab<EventSlot>,
    pub(crate) deliveries: Slab<DeliverySlot>,
    by_id: ById,
    pub(crate) queues: Vec<Queue>,
    /// Queues by when something of them can be taken.
    times: BTreeSet<(i64, u32)>,
    lanes: Slab<lane::LaneSlot>,
    lane_numbers: HashMap<(u32, Box<[u8]>), u32>,
    /// By slot. Some thousands at most, each of which comes and goes with every attempt.
    pub(crate) leases: HashMap<u32, Lease, BuildHasherDefault<IdHasher>>,
    /// How many events have a copy on its way to the journal.
    copying_count: usize,
    /// Dead letters by when they died, for the newest come first.
    pub(crate) dead: BTreeSet<(i64, u64, u32, u32)>,
    /// With the segment that each stands in.
    pub(crate) positions: BTreeMap<(Name, Name), (SavedPosition, u32)>,
    /// Bytes of the items of all that is in memory.
    pub(crate) open_bytes: u64,
    pub(crate) forgotten: Forgotten,
    pub(crate) tally: Tally,
    /// The latest time that a caller has shown.
    pub(crate) now: i64,
    recent: Recent,
    /// Chunks of events that changed since the last checkpoint, and what is known of each chunk.
    changed: Vec<u32>,
    chunks: Vec<changes::ChunkMark>,
    positions_changed: BTreeSet<(Name, Name)>,
}

/// What ended for good, for the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It changed the delivery.
    Yes,
    /// The delivery holds this frame's effect, or a later one's, already.
    Already,
    /// There is no such delivery in memory: it has ended, or its event was lost to damage.
    Unknown,
}

impl State {
    pub(crate) fn find(&self, id: EventId) -> Option<(u32, &EventSlot)> {
        let number = self.by_id.get(id, &self.events)?;
        Some((number, self.events.get(number)?))
    }

    pub(crate) fn find_delivery(&self, id: DeliveryId) -> Option<(u32, &DeliverySlot)> {
        let (_, event) = self.find(id.event)?;
        let slot = *event.deliveries.get(id.place as usize)?;
        Some((slot, self.deliveries.get(slot)?))
    }

    /// The same of a delivery that was found in a slot before: where that is another one's by now, or [`NONE`], it is
    /// looked up by its id. With a million events in memory the lookup costs more than all else that a record does.
    pub(crate) fn find_delivery_in(&self, slot: u32, id: DeliveryId) -> Option<(u32, &DeliverySlot)> {
        match self.deliveries.get(slot) {
            Some(found) if self.delivery_id(found) == Some(id) => Some((slot, found)),
            _ => self.find_delivery(id),
        }
    }

    /// How many events are in memory.
    pub(crate) fn open_count(&self) -> u64 {
        self.by_id.len() as u64
    }

    pub(crate) fn delivery_id(&self, delivery: &DeliverySlot) -> Option<DeliveryId> {
        Some(self.events.get(delivery.event)?.id.delivery(delivery.place))
    }

    /// An event with its deliveries, all pending. `order` is its place in commit order. An event without
    /// deliveries is not kept in memory: nothing can happen to it any more. The keys of lanes are taken out of
    /// `admit`; what is left of it is for the caller to drop, where the memory came from.
    pub(crate) fn admit(&mut self, order: u64, item: ItemPlace, admit: &mut Admit, envelope: Option<&Arc<Envelope>>) {
        if admit.deliveries.is_empty() {
            return;
        }
        if self.by_id.get(admit.id, &self.events).is_some() {
            return;
        }
        let live = u32::try_from(admit.deliveries.len()).unwrap_or(u32::MAX);
        let recent = envelope.map_or(NONE, |envelope| self.recent.keep(envelope, &admit.elements));
        let event = EventSlot::new(admit.id, item, Slots::with_room(admit.deliveries.len()), live, recent);
        let Some(number) = self.events.insert(event) else { return };
        self.by_id.insert(admit.id, number, &self.events);
        self.open_bytes += u64::from(item.bytes);
        for (place, delivery) in (0u32..).zip(&mut admit.deliveries) {
            let (lane, after_dead) = match delivery.lane.take() {
                None => (NONE, AfterDead::Continue),
                Some(lane) => (self.lane_of(delivery.queue, lane.key), lane.after_dead),
            };
            let slot = DeliverySlot {
                event: number,
                place,
                queue: delivery.queue,
                lane,
                snapshot: delivery.snapshot,
                counts: Counts::default(),
                order,
                due: delivery.due_at.as_millis(),
                // By the clock of due times: what an event was received at is the wall clock's, which may jump.
                budget_began: delivery.due_at.as_millis(),
                last: Place::NONE,
                first: Place::NONE,
                applied: order >> 16,
                standing: Standing::Pending,
                after_dead,
                queued: Queued::No,
                new: true,
                moving: false,
            };
            self.insert_delivery(number, slot);
        }
        self.mark(number);
    }

    /// Puts a delivery where its standing says.
    fn insert_delivery(&mut self, event: u32, delivery: DeliverySlot) {
        let Some(slot) = self.deliveries.insert(delivery) else { return };
        if let Some(event) = self.events.get_mut(event) {
            event.deliveries.push(slot);
        }
        self.place_delivery(slot);
    }

    /// Makes a delivery stand in its lane and its queue, and counts it. Those of one lane or queue come in commit
    /// order.
    fn place_delivery(&mut self, slot: u32) {
        let Some(delivery) = self.deliveries.get(slot) else { return };
        let (queue, lane, standing) = (delivery.queue, delivery.lane, delivery.standing);
        let (due, order, place) = (delivery.due, delivery.order, delivery.place);
        let in_lane = lane != NONE
            && !standing.ended()
            && !(standing == Standing::Dead && delivery.after_dead == AfterDead::Continue);
        self.tally_in(queue, standing);
        if standing == Standing::Dead {
            self.dead.insert((due, order, place, slot));
        }
        if lane != NONE {
            self.lane_hold(lane);
        }
        if in_lane {
            self.lane_insert(lane, slot);
        } else {
            self.offer(slot);
        }
    }

    /// Reads an event back as a checkpoint holds it, under the number that it had. The deliveries' `event` and
    /// `lane` are filled in here. They stand nowhere until [`State::place_restored`] is called, because a
    /// checkpoint has them in no order. `false` where there is no place for it or it is there already.
    pub(crate) fn restore(
        &mut self,
        number: u32,
        id: EventId,
        item: ItemPlace,
        deliveries: Vec<(DeliverySlot, Option<Vec<u8>>, Option<Lease>)>,
    ) -> bool {
        let live = deliveries.iter().filter(|(delivery, ..)| !delivery.standing.ended()).count();
        if live == 0 || self.by_id.get(id, &self.events).is_some() {
            return false;
        }
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        let event = EventSlot::new(id, item, Slots::with_room(deliveries.len()), live, NONE);
        if !self.events.restore(number, event) {
            return false;
        }
        self.by_id.insert(id, number, &self.events);
        self.open_bytes += u64::from(item.bytes);
        self.mark_saved(number);
        for (mut delivery, key, lease) in deliveries {
            delivery.event = number;
            delivery.lane = key.map_or(NONE, |key| self.lane_of(delivery.queue, key));
            let Some(slot) = self.deliveries.insert(delivery) else { continue };
            if let Some(event) = self.events.get_mut(number) {
                event.deliveries.push(slot);
            }
            if let Some(lease) = lease {
                self.leases.insert(slot, lease);
            }
        }
        true
    }

    /// Makes all that was restored stand where it belongs, in commit order.
    pub(crate) fn place_restored(&mut self) {
        self.events.reuse_holes();
        let mut all: Vec<(u64, u32, u32)> =
            self.deliveries.iter().map(|(slot, delivery)| (delivery.order, delivery.place, slot)).collect();
        all.sort_unstable();
        for (_, _, slot) in all {
            self.place_delivery(slot);
            if self.leases.contains_key(&slot)
                && let Some(lane) = self.deliveries.get(slot).map(|delivery| delivery.lane)
            {
                self.lane_busy(lane, slot);
            }
        }
    }

    /// Attempts begin. Only at recovery can the delivery be without a lease: the lease died with its process,
    /// and what is made here is ended as interrupted when all is read. `slot` is where it was found before, as in
    /// [`State::find_delivery_in`].
    pub(crate) fn begin(
        &mut self,
        sequence: u64,
        slot: u32,
        delivery: DeliveryId,
        at: Timestamp,
        backoff_ms: u64,
    ) -> Applied {
        let Some((slot, _)) = self.find_delivery_in(slot, delivery) else { return Applied::Unknown };
        if let Err(why) = self.touch_slot(sequence, slot) {
            return why;
        }
        let begun = Some((at, backoff_ms));
        if let Some(lease) = self.leases.get_mut(&slot) {
            lease.begun = begun;
        } else {
            self.lease(slot, Lease { begun, beginning: false });
        }
        Applied::Yes
    }

    /// A lease ends; or a delivery is a dead letter by the frame that brought it. `slot` is where it was found before,
    /// as in [`State::find_delivery_in`].
    pub(crate) fn settle(
        &mut self,
        sequence: u64,
        slot: u32,
        delivery: DeliveryId,
        at: Place,
        counts: Counts,
        turn: Turn,
    ) -> Applied {
        let Some((slot, found)) = self.find_delivery_in(slot, delivery) else { return Applied::Unknown };
        // A settlement by the frame that brought its delivery is no repeat.
        let born_dead = found.applied == sequence && found.standing == Standing::Pending && found.last.is_none();
        if !born_dead && let Err(why) = self.touch_slot(sequence, slot) {
            return why;
        }
        self.unlease(slot);
        let Some(entry) = self.deliveries.get_mut(slot) else { return Applied::Unknown };
        entry.moving = false;
        entry.counts = counts;
        entry.last = at;
        if entry.first.is_none() {
            entry.first = at;
        }
        let (lane, after_dead) = (entry.lane, entry.after_dead);
        match turn {
            Turn::Delivered => self.end(slot, Standing::Delivered),
            Turn::Retry { at } => {
                entry.due = at.as_millis();
                self.stand(slot, Standing::Waiting);
                self.offer_in_lane(slot);
            }
            Turn::Dead { at } => {
                entry.due = at.as_millis();
                let key = (entry.due, entry.order, entry.place, slot);
                self.stand(slot, Standing::Dead);
                self.dead.insert(key);
                if after_dead == AfterDead::Continue {
                    self.lane_remove(lane, slot);
                }
            }
        }
        Applied::Yes
    }

    /// A dead letter is pending again.
    pub(crate) fn replay(&mut self, sequence: u64, delivery: DeliveryId, due_at: Timestamp) -> Applied {
        let slot = match self.touch(sequence, delivery) {
            Ok(slot) => slot,
            Err(why) => return why,
        };
        self.undead(slot);
        let Some(entry) = self.deliveries.get_mut(slot) else { return Applied::Unknown };
        entry.moving = false;
        entry.counts.attempts = 0;
        entry.due = due_at.as_millis();
        entry.budget_began = entry.due;
        let (lane, after_dead) = (entry.lane, entry.after_dead);
        self.stand(slot, Standing::Pending);
        if lane != NONE && after_dead == AfterDead::Continue {
            self.lane_insert(lane, slot);
        } else {
            self.offer_in_lane(slot);
        }
        Applied::Yes
    }

    /// A delivery that waits comes back at another time.
    pub(crate) fn hasten(&mut self, sequence: u64, delivery: DeliveryId, due_at: Timestamp) -> Applied {
        let slot = match self.touch(sequence, delivery) {
            Ok(slot) => slot,
            Err(why) => return why,
        };
        self.withdraw(slot);
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.moving = false;
            entry.due = due_at.as_millis();
        }
        self.offer_in_lane(slot);
        Applied::Yes
    }

    /// A person ends a delivery: a dead letter is given up for good, or one that waits is not to be attempted.
    pub(crate) fn purge(&mut self, sequence: u64, delivery: DeliveryId) -> Applied {
        let slot = match self.touch(sequence, delivery) {
            Ok(slot) => slot,
            Err(why) => return why,
        };
        self.undead(slot);
        self.unlease(slot);
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.moving = false;
        }
        self.end(slot, Standing::Cancelled);
        Applied::Yes
    }

    /// How far a source has come.
    pub(crate) fn set_position(&mut self, namespace: &Name, source: &Name, position: SavedPosition, segment: u32) {
        let key = (namespace.clone(), source.clone());
        self.positions_changed.insert(key.clone());
        self.positions.insert(key, (position, segment));
    }

    /// How far a source has come, and the segment that says so.
    pub(crate) fn position(&self, namespace: &Name, source: &Name) -> Option<&(SavedPosition, u32)> {
        self.positions.get(&(namespace.clone(), source.clone()))
    }

    /// Finds a delivery that a frame is about to change, and notes that it does.
    fn touch(&mut self, sequence: u64, delivery: DeliveryId) -> Result<u32, Applied> {
        let (slot, _) = self.find_delivery(delivery).ok_or(Applied::Unknown)?;
        self.touch_slot(sequence, slot).map(|()| slot)
    }

    /// The same of one that was found.
    fn touch_slot(&mut self, sequence: u64, slot: u32) -> Result<(), Applied> {
        let found = self.deliveries.get_mut(slot).ok_or(Applied::Unknown)?;
        if found.applied >= sequence || found.standing.ended() {
            return Err(Applied::Already);
        }
        found.applied = sequence;
        let event = found.event;
        self.mark(event);
        Ok(())
    }

    fn undead(&mut self, slot: u32) {
        if let Some(entry) = self.deliveries.get(slot).filter(|entry| entry.standing == Standing::Dead) {
            self.dead.remove(&(entry.due, entry.order, entry.place, slot));
        }
    }

    /// Ends a delivery for good, and forgets its event when it was the last.
    fn end(&mut self, slot: u32, standing: Standing) {
        self.stand(slot, standing);
        let Some((lane, event)) = self.deliveries.get(slot).map(|entry| (entry.lane, entry.event)) else { return };
        self.lane_remove(lane, slot);
        let Some(entry) = self.events.get_mut(event) else { return };
        entry.live = entry.live.saturating_sub(1);
        if entry.live == 0 {
            self.forget(event);
        }
    }

    fn forget(&mut self, event: u32) {
        let Some(entry) = self.events.remove(event) else { return };
        self.by_id.remove(entry.id, event);
        self.copying_count -= usize::from(entry.copying);
        self.open_bytes = self.open_bytes.saturating_sub(u64::from(entry.item.bytes));
        self.recent.forget(entry.recent);
        self.mark(event);
        for slot in entry.deliveries.iter().copied() {
            if let Some(delivery) = self.deliveries.remove(slot) {
                self.lane_release(delivery.lane);
            }
        }
    }

    fn tally_in(&mut self, queue: u32, standing: Standing) {
        self.tally.unsettled += u64::from(standing.unsettled());
        self.tally.leased += u64::from(standing == Standing::Leased);
        self.tally.dead += u64::from(standing == Standing::Dead);
        if standing.unsettled() {
            self.queue_mut(queue).unsettled += 1;
        }
    }

    /// Moves a delivery to another standing, and the counts with it.
    fn stand(&mut self, slot: u32, standing: Standing) {
        let Some(entry) = self.deliveries.get_mut(slot) else { return };
        let (before, queue) = (entry.standing, entry.queue);
        entry.standing = standing;
        self.tally.unsettled -= u64::from(before.unsettled());
        self.tally.leased -= u64::from(before == Standing::Leased);
        self.tally.dead -= u64::from(before == Standing::Dead);
        if before.unsettled() {
            self.queue_mut(queue).unsettled -= 1;
        }
        self.tally_in(queue, standing);
    }

    /// The queue of a number, made where it is new.
    fn queue_mut(&mut self, queue: u32) -> &mut Queue {
        let at = queue as usize;
        if self.queues.len() <= at {
            self.queues.resize_with(at + 1, Queue::default);
        }
        // The line above has made it.
        #[expect(clippy::indexing_slicing, reason = "the vector has just been made long enough")]
        &mut self.queues[at]
    }

    /// Envelopes that are not kept any more. Taken and dropped by whoever changed the state, when the lock is
    /// given back.
    pub(crate) fn take_spent(&mut self) -> Vec<Arc<Envelope>> {
        std::mem::take(&mut self.recent.spent)
    }

    /// What an event was written with, where it is still in memory.
    pub(crate) fn recent(&self, event: u32, id: EventId) -> Option<&Stored> {
        self.recent.get(self.events.get(event)?.recent).filter(|stored| stored.envelope.id == id)
    }

    /// A delivery's standing in the words of the contract.
    pub(crate) fn state_of(delivery: &DeliverySlot, now: Timestamp) -> DeliveryState {
        match delivery.standing {
            Standing::Pending if delivery.queued == Queued::Later && delivery.due > now.as_millis() => {
                DeliveryState::Waiting
            }
            Standing::Waiting if delivery.due > now.as_millis() => DeliveryState::Waiting,
            Standing::Pending | Standing::Waiting => DeliveryState::Pending,
            Standing::Leased => DeliveryState::InFlight,
            Standing::Dead => DeliveryState::Dead,
            Standing::Delivered => DeliveryState::Delivered,
            Standing::Cancelled => DeliveryState::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Elements;

    fn id(number: u8) -> EventId {
        EventId::new(Timestamp::from_millis(0), [number; 10])
    }

    fn admit(state: &mut State, number: u8) {
        let to = AdmitDelivery { queue: 0, lane: None, due_at: Timestamp::from_millis(0), snapshot: 0 };
        let deliveries = vec![to.clone(), to];
        let received_at = Timestamp::from_millis(0);
        let mut admit = Admit { id: id(number), received_at, deliveries, elements: Elements::default() };
        state.admit(u64::from(number) << 16, ItemPlace::default(), &mut admit, None);
    }

    #[test]
    fn a_slot_that_is_another_deliverys_by_now_is_not_believed() {
        let mut state = State::default();
        (1..=2).for_each(|number| admit(&mut state, number));
        let slot_of = |state: &State, id: DeliveryId| state.find_delivery(id).map(|(slot, _)| slot);
        let found_in =
            |state: &State, slot: u32, id: DeliveryId| state.find_delivery_in(slot, id).map(|(slot, _)| slot);
        let slots: Vec<u32> = (0..2).map(|place| slot_of(&state, id(1).delivery(place)).unwrap()).collect();
        for slot in [slots[0], slots[1], slot_of(&state, id(2).delivery(0)).unwrap(), NONE] {
            assert_eq!(found_in(&state, slot, id(1).delivery(1)), Some(slots[1]));
        }
        for place in 0..2 {
            assert_eq!(state.purge(3, id(1).delivery(place)), Applied::Yes);
        }
        assert_eq!(found_in(&state, slots[0], id(1).delivery(0)), None);
        admit(&mut state, 4);
        let again: Vec<u32> = (0..2).map(|place| slot_of(&state, id(4).delivery(place)).unwrap()).collect();
        assert!(again.iter().all(|slot| slots.contains(slot)), "the slots are used again");
        assert_eq!(found_in(&state, slots[0], id(1).delivery(0)), None);
        assert_eq!(
            state.settle(5, slots[0], id(1).delivery(0), Place::NONE, Counts::default(), Turn::Delivered),
            Applied::Unknown
        );
        assert_eq!(state.tally.unsettled, 4);
    }
}
