//! Single events and deliveries as they stand: from memory while something of the event is open, from the
//! catalogue and the journal afterwards.

use std::sync::Arc;

use bytes::Bytes;
use eventyard_event::{DeliveryId, Envelope, Event, EventId, Timestamp, format_text};

use super::LocalStore;
use crate::catalog::Ended;
use crate::codec::DecodeError;
use crate::journal::{EventHead, Item, KeptState, Place, read_elements, read_envelope, read_item, split_item};
use crate::retention::born;
use crate::state::{ItemPlace, Standing, State, Stored};
use crate::{
    DeadLetter, DeliveryState, DeliveryView, Element, EventView, NewDelivery, QueueKey, Reason, StoreError, Verdict,
    each_place, place_count,
};

/// What memory knows of a delivery, taken out of the lock.
pub(super) struct Live {
    pub(super) queue: u32,
    pub(super) snapshot: u32,
    pub(super) state: DeliveryState,
    pub(super) standing: Standing,
    pub(super) attempts: u32,
    pub(super) due: i64,
    pub(super) last: Place,
    pub(super) behind: Option<DeliveryId>,
}

impl Live {
    fn of(state: &State, slot: u32, now: Timestamp) -> Option<Live> {
        let delivery = state.deliveries.get(slot)?;
        Some(Live {
            queue: delivery.queue,
            snapshot: delivery.snapshot,
            state: State::state_of(delivery, now),
            standing: delivery.standing,
            attempts: delivery.counts.attempts,
            due: delivery.due,
            last: delivery.last,
            behind: state.behind(slot, delivery),
        })
    }
}

/// What memory knows of an event.
pub(super) struct LiveEvent {
    pub(super) item: ItemPlace,
    pub(super) stored: Option<Stored>,
    pub(super) deliveries: Vec<Live>,
}

impl LocalStore {
    /// An event in memory.
    pub(super) fn live(&self, state: &State, id: EventId, now: Timestamp) -> Option<LiveEvent> {
        let (number, event) = state.find(id)?;
        let deliveries = event.deliveries.iter().filter_map(|slot| Live::of(state, *slot, now)).collect();
        let stored = state.recent(number, id).cloned();
        Some(LiveEvent { item: event.item, stored, deliveries })
    }

    /// One delivery of an event in memory: the event may have ten thousand of them.
    fn live_one(&self, id: DeliveryId) -> Option<(ItemPlace, Option<Stored>, Live)> {
        let now = (self.shared.clock)();
        let state = self.shared.state();
        let (number, event) = state.find(id.event)?;
        let live = Live::of(&state, *event.deliveries.get(id.place as usize)?, now)?;
        Some((event.item, state.recent(number, id.event).cloned(), live))
    }

    pub(super) fn view_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        if let Some((item, stored, live)) = self.live_one(id) {
            let stored = stored.map_or_else(|| self.read_stored(item), Ok)?;
            return self.view_live(id, &stored, &live).map(Some);
        }
        let event = self.view_event(id.event)?;
        Ok(event.and_then(|event| event.deliveries.into_iter().nth(id.place as usize)))
    }

    /// What an event was written with at first.
    pub(super) fn read_stored(&self, item: ItemPlace) -> Result<Stored, StoreError> {
        stored(item, self.shared.read_event_payload(item))
    }

    /// [`LocalStore::read_stored`] of each, in that order.
    pub(super) fn read_stored_each(&self, items: &[ItemPlace]) -> Vec<Result<Stored, StoreError>> {
        let payloads = self.shared.read_event_payloads(items);
        items.iter().zip(payloads).map(|(item, payload)| stored(*item, payload)).collect()
    }

    /// An event's head, and what was known of it when it was copied, where it was.
    fn read_head(&self, item: ItemPlace) -> Result<(EventHead, Option<KeptState>), StoreError> {
        match self.shared.files.read_item(item.place)? {
            Item::Event(head) => Ok((head, None)),
            Item::Kept(kept) => Ok((kept.0, Some(kept.1))),
            _ => Err(StoreError::Corrupt(format!("no event stands at {:?}", item.place))),
        }
    }

    /// A delivery whose event is in memory.
    fn view_live(&self, id: DeliveryId, stored: &Stored, live: &Live) -> Result<DeliveryView, StoreError> {
        let (queue, snapshot) = {
            let names = self.shared.names();
            (names.queue(live.queue).map(|queue| QueueKey::clone(queue)), names.snapshot(live.snapshot))
        };
        let unnamed = || StoreError::Corrupt(format!("the delivery {id} is in a queue without a name"));
        let (history, _) = self.shared.history(id, live.last)?;
        let waits = matches!(live.state, DeliveryState::Pending | DeliveryState::Waiting);
        let envelope = &stored.envelope;
        Ok(DeliveryView {
            id,
            queue: queue.ok_or_else(unnamed)?,
            element: stored.elements.at(id.place),
            cloudevent_id: envelope.event.id.to_string(),
            source_name: envelope.source_name.clone(),
            state: live.state,
            attempts: live.attempts,
            next_attempt_at: waits.then_some(Timestamp::from_millis(live.due)),
            behind: live.behind,
            created_at: envelope.received_at,
            snapshot: snapshot.ok_or_else(unnamed)?,
            history,
        })
    }

    /// A delivery that has ended and is in memory no more.
    fn view_ended(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
        (made, element): (&NewDelivery, Option<Element>),
        ended: Option<Ended>,
    ) -> Result<DeliveryView, StoreError> {
        let ended =
            ended.ok_or_else(|| StoreError::Corrupt(format!("the end of the delivery {id} cannot be found")))?;
        let (history, newest) = self.shared.history(id, ended.last)?;
        Ok(DeliveryView {
            id,
            queue: QueueKey::clone(&made.queue),
            element,
            cloudevent_id: envelope.event.id.to_string(),
            source_name: envelope.source_name.clone(),
            state: if ended.cancelled { DeliveryState::Cancelled } else { DeliveryState::Delivered },
            attempts: newest.map_or(0, |newest| newest.counts.attempts),
            next_attempt_at: None,
            behind: None,
            created_at: envelope.received_at,
            snapshot: made.snapshot,
            history,
        })
    }

    pub(super) fn view_event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        let now = (self.shared.clock)();
        let live = self.live(&self.shared.state(), id, now);
        if let Some(live) = live {
            return self.view_live_event(id, &live).map(Some);
        }
        let item = {
            let mut catalog = self.shared.catalog();
            catalog.table_events();
            catalog.find_event(id)
        };
        // Between the two looks the event may have come, or ended.
        match item {
            Some(item) => self.view_at(id, item).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn view_live_event(&self, id: EventId, live: &LiveEvent) -> Result<EventView, StoreError> {
        let stored = match &live.stored {
            Some(stored) => stored.clone(),
            None => self.read_stored(live.item)?,
        };
        let mut deliveries = Vec::with_capacity(live.deliveries.len());
        for (place, live) in (0u32..).zip(&live.deliveries) {
            deliveries.push(self.view_live(id.delivery(place), &stored, live)?);
        }
        Ok(EventView { envelope: stored.envelope, deliveries })
    }

    /// An event of which the catalogue knows where it stands: from memory where it is there.
    pub(super) fn view_at(&self, id: EventId, item: ItemPlace) -> Result<EventView, StoreError> {
        let now = (self.shared.clock)();
        let live = self.live(&self.shared.state(), id, now);
        if let Some(live) = live {
            return self.view_live_event(id, &live);
        }
        let Stored { envelope, .. } = self.read_stored(item)?;
        let (head, kept) = self.read_head(item)?;
        let mut deliveries = Vec::with_capacity(place_count(&head.deliveries));
        for (place, made) in (0u32..).zip(each_place(&head.deliveries)) {
            let id = id.delivery(place);
            // What had ended before its event was copied, for the sake of another delivery, has its history there.
            let before = kept.as_ref().and_then(|kept| kept.deliveries.get(id.place as usize));
            let before = before.filter(|before| before.standing.ended()).map(|before| Ended {
                cancelled: before.standing == Standing::Cancelled,
                last: if before.newest.is_some() { item.place } else { Place::NONE },
            });
            let ended = before.or_else(|| self.shared.catalog().find_end(id));
            deliveries.push(self.view_ended(id, &envelope, made, ended)?);
        }
        Ok(EventView { envelope, deliveries })
    }

    pub(super) fn view_dead_letter(&self, id: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        let Some((item, stored, live)) = self.live_one(id) else { return Ok(None) };
        if live.standing != Standing::Dead {
            return Ok(None);
        }
        let stored = match stored {
            Some(stored) => stored,
            None => match (self.read_stored(item), self.shared.names().queue(live.queue)) {
                (Ok(stored), _) => stored,
                // That it cannot be read is why it is dead.
                (Err(StoreError::Corrupt(_)), Some(queue)) => Stored::plain(unreadable_envelope(id.event, queue)),
                (Err(error), _) => return Err(error),
            },
        };
        let delivery = self.view_live(id, &stored, &live)?;
        let envelope = stored.envelope;
        let (_, newest) = self.shared.history(id, live.last)?;
        let reason = match newest.map(|newest| newest.verdict) {
            Some(Verdict::Dead { reason }) => reason,
            _ => Reason { code: "unknown".to_owned(), message: "the reason was lost".to_owned() },
        };
        Ok(Some(DeadLetter { delivery, envelope, reason, dead_at: Timestamp::from_millis(live.due) }))
    }
}

/// What stands in the place of an event that cannot be read: its id, and that it cannot.
pub(super) fn unreadable_envelope(id: EventId, queue: &QueueKey) -> Arc<Envelope> {
    let event =
        Event { id: format_text!("{id}"), source: "/unreadable".into(), ty: "unreadable".into(), ..Event::default() };
    Arc::new(Envelope {
        id,
        namespace: queue.namespace.clone(),
        source_name: queue.namespace.clone(),
        tags: Vec::new(),
        received_at: Timestamp::from_millis(born(id)),
        hop_count: 0,
        keys_unique: false,
        event,
    })
}

/// Checks and reads an item's payload; for whoever walks a body.
pub(crate) fn items_of(body: &[u8]) -> impl Iterator<Item = Result<(usize, usize, Item), crate::journal::ItemError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = body.get(at..).filter(|rest| !rest.is_empty())?;
        let found = split_item(rest).and_then(|raw| Ok((at, raw.bytes(), read_item(raw)?)));
        // Behind an item that cannot be read nothing can be found.
        at = found.as_ref().map_or(body.len(), |(start, bytes, _)| start + bytes);
        Some(found)
    })
}

fn stored(item: ItemPlace, payload: Result<Bytes, StoreError>) -> Result<Stored, StoreError> {
    let damaged = |error: DecodeError| StoreError::Corrupt(format!("the event at {:?}: {error}", item.place));
    let payload = payload?;
    let envelope = read_envelope(&payload).map(Arc::new).map_err(damaged)?;
    Ok(Stored { envelope, elements: read_elements(&payload).map_err(damaged)? })
}
