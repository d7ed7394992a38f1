//! The eligible deliveries of one target, and those that will be.
//!
//! What has just been committed goes to `fresh`, at four bytes each: commit order is due order there, so what is
//! due is a front part of it. What comes back (released, replayed, become due) goes to `returned`, and what waits for
//! its time to `later`. Each has its own order and removal costs the logarithm of its length.

use std::collections::{BTreeSet, VecDeque};

use super::slab::Slab;
use super::{DeliverySlot, Queued};

/// How many waiting deliveries of a queue become eligible in one call at most: a million that are due at once
/// are moved by many short calls, and nobody waits for all of them.
pub(crate) const PROMOTED_MAX: usize = 10_000;

/// One target's deliveries that wait for nothing but their turn or their time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    fresh: VecDeque<u32>,
    returned: BTreeSet<(u64, u32, u32)>,
    later: BTreeSet<(i64, u32)>,
    /// Under which time the queue stands in the table of queues, where it stands there.
    pub(crate) listed: Option<i64>,
    /// Deliveries of this queue that have not ended, whatever they wait for.
    pub(crate) unsettled: u64,
}

impl Queue {
    /// Puts a delivery in. `now` is the latest time that was seen.
    pub(crate) fn push(&mut self, deliveries: &mut Slab<DeliverySlot>, slot: u32, now: i64) {
        let back = self.fresh.back().and_then(|back| deliveries.get(*back)).map(|back| (back.due, back.order));
        let Some(delivery) = deliveries.get_mut(slot) else { return };
        debug_assert!(delivery.queued == Queued::No, "a delivery stands in a queue once");
        let in_order = back.is_none_or(|(due, order)| due <= delivery.due && order < delivery.order);
        delivery.queued = if delivery.new && in_order {
            self.fresh.push_back(slot);
            Queued::Fresh
        } else if delivery.due <= now {
            self.returned.insert((delivery.order, delivery.place, slot));
            Queued::Returned
        } else {
            self.later.insert((delivery.due, slot));
            Queued::Later
        };
        delivery.new = false;
    }

    /// Takes a delivery out, wherever in the queue it stands.
    pub(crate) fn remove(&mut self, deliveries: &mut Slab<DeliverySlot>, slot: u32) {
        let Some(delivery) = deliveries.get(slot) else { return };
        match delivery.queued {
            Queued::No => {}
            Queued::Fresh => {
                let key = (delivery.order, delivery.place);
                let found = self.fresh.partition_point(|other| {
                    deliveries.get(*other).is_some_and(|other| (other.order, other.place) < key)
                });
                if self.fresh.get(found) == Some(&slot) {
                    self.fresh.remove(found);
                }
            }
            Queued::Returned => {
                self.returned.remove(&(delivery.order, delivery.place, slot));
            }
            Queued::Later => {
                self.later.remove(&(delivery.due, slot));
            }
        }
        if let Some(delivery) = deliveries.get_mut(slot) {
            delivery.queued = Queued::No;
        }
    }

    /// Moves what has become due; at most [`PROMOTED_MAX`] at a time.
    pub(crate) fn promote(&mut self, deliveries: &mut Slab<DeliverySlot>, now: i64) {
        for _ in 0..PROMOTED_MAX {
            let Some(&(due, slot)) = self.later.first().filter(|(due, _)| *due <= now) else { return };
            self.later.remove(&(due, slot));
            if let Some(delivery) = deliveries.get_mut(slot) {
                delivery.queued = Queued::Returned;
                self.returned.insert((delivery.order, delivery.place, slot));
            }
        }
    }

    /// How many can be taken now.
    pub(crate) fn eligible_count(&self, deliveries: &Slab<DeliverySlot>, now: i64) -> usize {
        let fresh = self.fresh.partition_point(|slot| deliveries.get(*slot).is_some_and(|other| other.due <= now));
        self.returned.len() + fresh
    }

    /// The oldest one that can be taken now, taken out.
    pub(crate) fn pop(&mut self, deliveries: &mut Slab<DeliverySlot>, now: i64) -> Option<u32> {
        let fresh = self.fresh.front().copied().and_then(|slot| {
            let delivery = deliveries.get(slot).filter(|delivery| delivery.due <= now)?;
            Some((delivery.order, delivery.place, slot))
        });
        let slot = match (fresh, self.returned.first().copied()) {
            (Some(fresh), Some(returned)) if returned < fresh => self.returned.pop_first()?.2,
            (Some(_), _) => self.fresh.pop_front()?,
            (None, Some(_)) => self.returned.pop_first()?.2,
            (None, None) => return None,
        };
        if let Some(delivery) = deliveries.get_mut(slot) {
            delivery.queued = Queued::No;
        }
        Some(slot)
    }

    /// When something of it can be taken next: `i64::MIN` where something can be taken at any time.
    pub(crate) fn next_time(&self, deliveries: &Slab<DeliverySlot>) -> Option<i64> {
        if !self.returned.is_empty() {
            return Some(i64::MIN);
        }
        let fresh = self.fresh.front().and_then(|slot| deliveries.get(*slot)).map(|delivery| delivery.due);
        let later = self.later.first().map(|(due, _)| *due);
        match (fresh, later) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The first time after `now` at which something becomes due.
    pub(crate) fn next_due_after(&self, deliveries: &Slab<DeliverySlot>, now: i64) -> Option<i64> {
        let later = self.later.range((now, u32::MAX)..).next().map(|(due, _)| *due);
        let at = self.fresh.partition_point(|slot| deliveries.get(*slot).is_some_and(|other| other.due <= now));
        let fresh = self.fresh.get(at).and_then(|slot| deliveries.get(*slot)).map(|delivery| delivery.due);
        match (fresh, later) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// How many wait for their time.
    pub(crate) fn later_count(&self) -> usize {
        self.later.len()
    }
}
