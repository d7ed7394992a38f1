//! Events that are copied out of segments that are to go, and what may be copied.

use eventyard_event::EventId;

use super::slab::NONE;
use super::{AdmitDelivery, Applied, DeliverySlot, EventSlot, ItemPlace, Lease, Queued, Slots, Standing, State};
use crate::AfterDead;
use crate::journal::{KeptDelivery, KeptState, Place};

impl State {
    /// What is to be written of an event that is copied, histories apart. `None` where a record of it is on its way
    /// to the journal: what would be written might not be true any more when it is.
    ///
    /// A record that is handed to the owner after this one, under the same lock, stands behind it in the journal.
    pub(crate) fn keepable(&self, id: EventId) -> Option<KeptState> {
        let (_, event) = self.find(id)?;
        let mut order = 0;
        let mut deliveries = Vec::with_capacity(event.deliveries.len());
        for slot in event.deliveries.iter() {
            let delivery = self.deliveries.get(*slot)?;
            let lease = self.leases.get(slot);
            if delivery.moving || lease.is_some_and(|lease| lease.beginning && lease.begun.is_none()) {
                return None;
            }
            order = delivery.order;
            let begun = lease.and_then(|lease| lease.begun);
            let standing = match delivery.standing {
                Standing::Leased if begun.is_none() => Standing::Pending,
                other => other,
            };
            deliveries.push(KeptDelivery {
                standing,
                counts: delivery.counts,
                due: delivery.due,
                budget_began: delivery.budget_began,
                begun,
                newest: None,
                attempts: Vec::new(),
            });
        }
        Some(KeptState { from: event.item.place, order, deliveries })
    }

    /// Notes whether a copy of an event is on its way to the journal.
    pub(crate) fn set_copying(&mut self, id: EventId, copying: bool) {
        if let Some(number) = self.by_id.get(id, &self.events)
            && let Some(event) = self.events.get_mut(number)
        {
            self.copying_count -= usize::from(event.copying);
            self.copying_count += usize::from(copying);
            event.copying = copying;
        }
    }

    /// Whether one is. Mostly nothing is copied at all, and then no event is looked up.
    pub(crate) fn is_copying(&self, id: EventId) -> bool {
        self.copying_count > 0 && self.find(id).is_some_and(|(_, event)| event.copying)
    }

    /// The newest settlement of each delivery of an event.
    pub(crate) fn histories(&self, id: EventId) -> Vec<Place> {
        let Some((_, event)) = self.find(id) else { return Vec::new() };
        event.deliveries.iter().filter_map(|slot| Some(self.deliveries.get(*slot)?.last)).collect()
    }

    /// An event was copied: it stands elsewhere now, its history with it.
    pub(crate) fn keep(&mut self, sequence: u64, id: EventId, from: Place, item: ItemPlace) -> Applied {
        let Some((number, event)) = self.find(id) else { return Applied::Unknown };
        let slots = event.deliveries.clone();
        for slot in slots.iter().copied() {
            let Some(delivery) = self.deliveries.get_mut(slot).filter(|delivery| delivery.applied < sequence) else {
                continue;
            };
            delivery.applied = sequence;
            if !delivery.last.is_none() {
                (delivery.last, delivery.first) = (item.place, item.place);
            }
        }
        self.set_copying(id, false);
        if let Some(event) = self.events.get_mut(number).filter(|event| event.item.place == from) {
            self.open_bytes += u64::from(item.bytes);
            self.open_bytes = self.open_bytes.saturating_sub(u64::from(event.item.bytes));
            event.item = item;
        }
        self.mark(number);
        Applied::Yes
    }

    /// An event comes back from its copy, where the segment that it stood in is gone.
    pub(crate) fn keep_anew(
        &mut self,
        sequence: u64,
        id: EventId,
        item: ItemPlace,
        deliveries: Vec<AdmitDelivery>,
        kept: KeptState,
    ) {
        let live = kept.deliveries.iter().filter(|delivery| !delivery.standing.ended()).count();
        if live == 0 || self.by_id.get(id, &self.events).is_some() {
            return;
        }
        let live = u32::try_from(live).unwrap_or(u32::MAX);
        let event = EventSlot::new(id, item, Slots::with_room(deliveries.len()), live, NONE);
        let Some(number) = self.events.insert(event) else { return };
        self.by_id.insert(id, number, &self.events);
        self.open_bytes += u64::from(item.bytes);
        for ((place, admit), kept_delivery) in (0u32..).zip(deliveries).zip(kept.deliveries) {
            let (lane, after_dead) = match admit.lane {
                None => (NONE, AfterDead::Continue),
                Some(lane) => (self.lane_of(admit.queue, lane.key), lane.after_dead),
            };
            let history = if kept_delivery.newest.is_some() { item.place } else { Place::NONE };
            let standing = kept_delivery.standing;
            let slot = DeliverySlot {
                event: number,
                place,
                queue: admit.queue,
                lane,
                snapshot: admit.snapshot,
                counts: kept_delivery.counts,
                order: kept.order,
                due: kept_delivery.due,
                budget_began: kept_delivery.budget_began,
                last: history,
                first: history,
                applied: sequence,
                standing,
                after_dead,
                queued: Queued::No,
                new: standing == Standing::Pending && history.is_none(),
                moving: false,
            };
            let Some(slot) = self.deliveries.insert(slot) else { continue };
            if let Some(event) = self.events.get_mut(number) {
                event.deliveries.push(slot);
            }
            if kept_delivery.begun.is_some() {
                self.leases.insert(slot, Lease { begun: kept_delivery.begun, beginning: true });
            }
            self.place_delivery(slot);
            if kept_delivery.begun.is_some() {
                self.lane_busy(lane, slot);
            }
        }
        self.mark(number);
    }
}
