//! Leases: which deliveries are out of the store's hands, and which of those have begun. They belong to this
//! process; of all this only that an attempt began is ever written.

use eventyard_event::{DeliveryId, Timestamp};

use super::slab::NONE;
use super::{Standing, State};
use crate::SettleError;
use crate::journal::Place;

/// A delivery that was handed out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lease {
    /// When its attempt began and how long to wait should it be cut off, once that is synced.
    pub(crate) begun: Option<(Timestamp, u64)>,
    /// A begin record was asked for.
    pub(crate) beginning: bool,
}

impl State {
    /// Leases the oldest eligible ones of a queue.
    pub(crate) fn take(&mut self, queue: u32, count: usize, now: Timestamp) -> Vec<u32> {
        self.now = self.now.max(now.as_millis());
        let mut taken = Vec::new();
        if let Some(entry) = self.queues.get_mut(queue as usize) {
            entry.promote(&mut self.deliveries, now.as_millis());
            while taken.len() < count
                && let Some(slot) = entry.pop(&mut self.deliveries, now.as_millis())
            {
                taken.push(slot);
            }
        }
        for slot in &taken {
            self.lease(*slot, Lease::default());
        }
        self.relist(queue);
        taken
    }

    pub(super) fn lease(&mut self, slot: u32, lease: Lease) {
        self.withdraw(slot);
        self.stand(slot, Standing::Leased);
        if let Some(lane) = self.deliveries.get(slot).map(|entry| entry.lane) {
            self.lane_busy(lane, slot);
        }
        self.leases.insert(slot, lease);
    }

    /// Ends a lease without saying what becomes of the delivery.
    pub(super) fn unlease(&mut self, slot: u32) {
        self.leases.remove(&slot);
        // At recovery a settlement may come without its lease: the begin that made it was never written.
        self.withdraw(slot);
        if let Some(lane) = self.deliveries.get(slot).map(|entry| entry.lane).filter(|lane| *lane != NONE) {
            self.lane_idle(lane, slot);
        }
    }

    /// Gives a lease back that was not begun.
    pub(crate) fn release(&mut self, delivery: DeliveryId) -> bool {
        let Some((slot, entry)) = self.find_delivery(delivery) else { return false };
        let begun = self.leases.get(&slot).is_none_or(|lease| lease.beginning || lease.begun.is_some());
        if entry.moving || begun {
            return false;
        }
        self.unlease(slot);
        self.stand(slot, Standing::Pending);
        self.offer_in_lane(slot);
        true
    }

    /// Ends a begun lease in memory alone: nothing can be written, and the delivery is to come back.
    pub(crate) fn set_aside(&mut self, delivery: DeliveryId, due_at: Timestamp) {
        let Some((slot, _)) = self.find_delivery(delivery) else { return };
        self.unlease(slot);
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.due = due_at.as_millis();
        }
        self.stand(slot, Standing::Waiting);
        self.offer_in_lane(slot);
    }

    /// Whether an attempt may begin, and notes that it does. The delivery's slot.
    pub(crate) fn may_begin(&mut self, delivery: DeliveryId) -> Result<u32, SettleError> {
        let (slot, entry) = self.find_delivery(delivery).ok_or(SettleError::Unknown(delivery))?;
        let moving = entry.moving;
        match self.leases.get_mut(&slot) {
            Some(lease) if !lease.beginning && lease.begun.is_none() && !moving => {
                lease.beginning = true;
                Ok(slot)
            }
            _ => Err(SettleError::NotInFlight(delivery)),
        }
    }

    /// Whether a lease may be settled, and notes that it is. The delivery's slot.
    pub(crate) fn may_settle(&mut self, delivery: DeliveryId) -> Result<u32, SettleError> {
        let (slot, entry) = self.find_delivery(delivery).ok_or(SettleError::Unknown(delivery))?;
        if entry.moving || !self.leases.contains_key(&slot) {
            return Err(SettleError::NotInFlight(delivery));
        }
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.moving = true;
        }
        Ok(slot)
    }

    /// Whether a dead letter may be replayed or purged, and notes that it is.
    pub(crate) fn may_raise(&mut self, delivery: DeliveryId) -> bool {
        let Some((slot, entry)) = self.find_delivery(delivery) else { return false };
        if entry.moving || entry.standing != Standing::Dead {
            return false;
        }
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.moving = true;
        }
        true
    }

    /// Whether a delivery that nobody has leased may be cancelled or hastened; then it cannot be taken until that
    /// is decided. Its newest settlement.
    pub(crate) fn may_withdraw(&mut self, delivery: DeliveryId) -> Option<Place> {
        let (slot, entry) = self.find_delivery(delivery)?;
        if entry.moving || !matches!(entry.standing, Standing::Pending | Standing::Waiting) {
            return None;
        }
        let last = entry.last;
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.moving = true;
        }
        self.withdraw(slot);
        Some(last)
    }

    /// What was noted by one of the calls above did not come to pass.
    pub(crate) fn may_not(&mut self, delivery: DeliveryId) {
        let Some((slot, _)) = self.find_delivery(delivery) else { return };
        if let Some(entry) = self.deliveries.get_mut(slot) {
            entry.moving = false;
        }
        if let Some(lease) = self.leases.get_mut(&slot) {
            lease.beginning = false;
        } else {
            // It may have been withdrawn; a dead one is not offered.
            self.offer_in_lane(slot);
        }
    }
}
