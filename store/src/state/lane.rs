//! Order within a key. A lane holds, in commit order, the deliveries of one queue and key that have not ended.
//! Only the first is offered, and only while none of the lane is leased.

use std::collections::VecDeque;

use eventyard_event::DeliveryId;

use super::slab::NONE;
use super::{DeliverySlot, Queued, Standing, State};

/// One lane.
#[derive(Debug)]
pub(crate) struct LaneSlot {
    queue: u32,
    pub(crate) key: Box<[u8]>,
    /// In commit order.
    members: VecDeque<u32>,
    /// The one that is leased. A replay may put an older one before it; the lane still waits for this one.
    busy: u32,
    /// How many deliveries in memory name this lane, whether or not they stand in it.
    held: u32,
}

impl State {
    /// The lane of a key, made where it is new.
    pub(super) fn lane_of(&mut self, queue: u32, key: Vec<u8>) -> u32 {
        let key = (queue, key.into_boxed_slice());
        if let Some(number) = self.lane_numbers.get(&key) {
            return *number;
        }
        let lane = LaneSlot { queue, key: key.1.clone(), members: VecDeque::new(), busy: NONE, held: 0 };
        let Some(number) = self.lanes.insert(lane) else { return NONE };
        self.lane_numbers.insert(key, number);
        number
    }

    pub(super) fn lane_hold(&mut self, lane: u32) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.held += 1;
        }
    }

    /// One delivery less names the lane; with the last one it is forgotten.
    pub(super) fn lane_release(&mut self, number: u32) {
        let Some(lane) = self.lanes.get_mut(number) else { return };
        lane.held = lane.held.saturating_sub(1);
        if lane.held == 0
            && let Some(lane) = self.lanes.remove(number)
        {
            self.lane_numbers.remove(&(lane.queue, lane.key));
        }
    }

    /// Puts a delivery into its place.
    pub(super) fn lane_insert(&mut self, number: u32, slot: u32) {
        let Some(key) = self.deliveries.get(slot).map(|entry| (entry.order, entry.place)) else { return };
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let at = lane
            .members
            .partition_point(|other| self.deliveries.get(*other).is_some_and(|other| (other.order, other.place) < key));
        lane.members.insert(at, slot);
        let displaced = if at == 0 { lane.members.get(1).copied() } else { None };
        if let Some(displaced) = displaced
            && self.deliveries.get(displaced).is_some_and(|entry| entry.queued != Queued::No)
        {
            self.withdraw(displaced);
        }
        self.lane_moved(number);
    }

    /// Takes a delivery out, and offers the next.
    pub(super) fn lane_remove(&mut self, number: u32, slot: u32) {
        let Some(lane) = self.lanes.get_mut(number) else { return };
        if lane.members.front() == Some(&slot) {
            lane.members.pop_front();
        } else if let Some(at) = lane.members.iter().position(|other| *other == slot) {
            lane.members.remove(at);
        }
        self.lane_moved(number);
    }

    /// The lane waits for this one.
    pub(super) fn lane_busy(&mut self, number: u32, slot: u32) {
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.busy = slot;
        }
    }

    /// The lane no longer waits for this one.
    pub(super) fn lane_idle(&mut self, number: u32, slot: u32) {
        if let Some(lane) = self.lanes.get_mut(number).filter(|lane| lane.busy == slot) {
            lane.busy = NONE;
        }
    }

    /// Offers the first of a lane, where it can be. A dead one that its lane waits for cannot.
    pub(super) fn lane_moved(&mut self, number: u32) {
        let Some(lane) = self.lanes.get(number).filter(|lane| lane.busy == NONE) else { return };
        if let Some(first) = lane.members.front().copied() {
            self.offer(first);
        }
    }

    /// The one of its lane that a delivery waits for, where it rests and is not the first.
    pub(crate) fn behind(&self, slot: u32, delivery: &DeliverySlot) -> Option<DeliveryId> {
        if !matches!(delivery.standing, Standing::Pending | Standing::Waiting) {
            return None;
        }
        let lane = self.lanes.get(delivery.lane)?;
        let ahead = if lane.busy == NONE { *lane.members.front()? } else { lane.busy };
        if ahead == slot { None } else { self.delivery_id(self.deliveries.get(ahead)?) }
    }

    /// The key of a lane, for the checkpoint.
    pub(crate) fn lane_key(&self, number: u32) -> Option<&[u8]> {
        self.lanes.get(number).map(|lane| &*lane.key)
    }
}
