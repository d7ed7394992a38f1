//! Lists, a page at a time and newest first.
//!
//! Events are listed in the reverse of commit order, which nothing changes later, so a cursor is simply the
//! place of the last one that was shown. It carries a keyed sum, so that one that we did not make is refused.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hasher;

use eventyard_event::{DeliveryId, EventId, Name, Timestamp};
use siphasher::sip::SipHasher13;

use super::LocalStore;
use crate::codec::{Fields, Put};
use crate::journal::Place;
use crate::state::State;
use crate::{
    DeadLetter, DeadLetterFilter, DeliveryFilter, DeliveryState, DeliveryView, EventFilter, EventView, Page,
    PageRequest, QueueKey, StoreError,
};

/// Items of a page.
const LIMIT_MAX: usize = 1000;
/// Events or dead letters that one call looks at: a filter that fits few of them gives a short page and a cursor, instead of
/// reading the whole journal while the caller waits.
const SCAN_MAX: usize = 20_000;
/// Looked up under the lock at a time.
const CHUNK: usize = 256;

/// Which list a cursor belongs to.
#[derive(Clone, Copy)]
enum List {
    Events = 1,
    Deliveries = 2,
    DeadLetters = 3,
}

impl LocalStore {
    fn seal(&self, list: List, fields: &[u8]) -> [u8; 8] {
        let mut hasher = SipHasher13::new_with_key(&self.shared.journal);
        hasher.write_u8(list as u8);
        hasher.write(fields);
        hasher.finish().to_le_bytes()
    }

    fn cursor(&self, list: List, fields: &[u8]) -> String {
        let seal = self.seal(list, fields);
        fields.iter().chain(&seal).map(|byte| format!("{byte:02x}")).collect()
    }

    fn open_cursor(&self, list: List, cursor: Option<&str>) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(cursor) = cursor else { return Ok(None) };
        if cursor.len() > 128 || !cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(StoreError::BadCursor);
        }
        let digit = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
        let mut bytes: Vec<u8> = cursor
            .as_bytes()
            .chunks_exact(2)
            .filter_map(|pair| Some(digit(*pair.first()?) << 4 | digit(*pair.last()?)))
            .collect();
        let fields = bytes.len().checked_sub(8).ok_or(StoreError::BadCursor)?;
        let seal = bytes.split_off(fields);
        if cursor.len() != (fields + 8) * 2 || seal != self.seal(list, &bytes) {
            return Err(StoreError::BadCursor);
        }
        Ok(Some(bytes))
    }

    fn place_cursor(&self, list: List, page: &PageRequest) -> Result<(Place, Option<u32>), StoreError> {
        let Some(bytes) = self.open_cursor(list, page.cursor.as_deref())? else {
            return Ok((Place { segment: u32::MAX, offset: u32::MAX }, None));
        };
        let mut fields = Fields::new(&bytes);
        let mut read = || {
            let place = Place { segment: fields.u32("segment").ok()?, offset: fields.u32("offset").ok()? };
            Some((place, if fields.left() > 0 { Some(fields.u32("place").ok()?) } else { None }))
        };
        read().ok_or(StoreError::BadCursor)
    }

    pub(super) fn list_events(&self, filter: &EventFilter, page: &PageRequest) -> Result<Page<EventView>, StoreError> {
        let limit = page.limit.clamp(1, LIMIT_MAX);
        let (mut at, _) = self.place_cursor(List::Events, page)?;
        let open = self.open_ones(filter.state, filter.rule.as_ref(), None, &filter.held);
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let chunk = self.shared.catalog().before(at, CHUNK);
            if chunk.is_empty() {
                return Ok(Page { items, next: None });
            }
            for (id, item) in chunk {
                if items.len() == limit || looked_at == SCAN_MAX {
                    return Ok(Page { items, next: Some(self.event_cursor(List::Events, at, None)) });
                }
                at = item.place;
                looked_at += 1;
                if open.as_ref().is_some_and(|open| !open.may_hold(self, id)) {
                    continue;
                }
                let view = match self.view_at(id, item) {
                    Ok(view) => view,
                    // One event that cannot be read must not hide the others.
                    Err(error) => {
                        tracing::warn!(event = %id, %error, "an event is left out of a list because it cannot be read");
                        continue;
                    }
                };
                if fits_event(filter, &view) {
                    items.push(view);
                }
            }
        }
    }

    fn event_cursor(&self, list: List, at: Place, place: Option<u32>) -> String {
        let mut fields = Vec::new();
        fields.put_u32(at.segment);
        fields.put_u32(at.offset);
        if let Some(place) = place {
            fields.put_u32(place);
        }
        self.cursor(list, &fields)
    }

    pub(super) fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError> {
        let limit = page.limit.clamp(1, LIMIT_MAX);
        // The cursor names the event and the place of the last delivery that was shown.
        let (mut at, mut shown) = self.place_cursor(List::Deliveries, page)?;
        let open = self.open_ones(filter.state, filter.rule.as_ref(), filter.target.as_ref(), &filter.held);
        let mut items: Vec<DeliveryView> = Vec::new();
        let mut looked_at = 0;
        loop {
            let behind = match shown {
                // The event of the cursor itself may have more.
                Some(_) => Place { segment: at.segment, offset: at.offset.saturating_add(1) },
                None => at,
            };
            let chunk = self.shared.catalog().before(behind, CHUNK);
            if chunk.is_empty() {
                return Ok(Page { items, next: None });
            }
            for (id, item) in chunk {
                if looked_at >= SCAN_MAX {
                    return Ok(Page { items, next: Some(self.event_cursor(List::Deliveries, at, Some(u32::MAX))) });
                }
                let after = if item.place == at { shown.take() } else { None };
                at = item.place;
                shown = None;
                looked_at += 1;
                if filter.event.is_some_and(|wanted| wanted != id) {
                    continue;
                }
                if open.as_ref().is_some_and(|open| !open.may_hold(self, id)) {
                    continue;
                }
                let view = match self.view_at(id, item) {
                    Ok(view) => view,
                    Err(error) => {
                        tracing::warn!(event = %id, %error, "an event is left out of a list because it cannot be read");
                        continue;
                    }
                };
                for delivery in view.deliveries {
                    let place = delivery.id.place;
                    if after.is_some_and(|after| place <= after) || !fits_delivery(filter, &delivery) {
                        continue;
                    }
                    if items.len() == limit {
                        let last = items.last().map(|last| last.id);
                        // Of this very event some are shown, or the cursor stands before all of it.
                        let place = last.filter(|last| last.event == id).map(|last| last.place);
                        let next = match place {
                            Some(place) => self.event_cursor(List::Deliveries, at, Some(place)),
                            None => {
                                let before = Place { segment: at.segment, offset: at.offset.saturating_add(1) };
                                self.event_cursor(List::Deliveries, before, None)
                            }
                        };
                        return Ok(Page { items, next: Some(next) });
                    }
                    items.push(delivery);
                }
            }
        }
    }

    pub(super) fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: &PageRequest,
    ) -> Result<Page<DeadLetter>, StoreError> {
        let limit = page.limit.clamp(1, LIMIT_MAX);
        let mut at = match self.open_cursor(List::DeadLetters, page.cursor.as_deref())? {
            None => (i64::MAX, u64::MAX, u32::MAX, u32::MAX),
            Some(bytes) => {
                let mut fields = Fields::new(&bytes);
                let mut read = || {
                    let key = (fields.i64("at").ok()?, fields.u64("order").ok()?, fields.u32("place").ok()?);
                    Some((key.0, key.1, key.2, 0))
                };
                read().ok_or(StoreError::BadCursor)?
            }
        };
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let chunk = self.dead_before(at);
            if chunk.is_empty() {
                return Ok(Page { items, next: None });
            }
            for (key, id, queue) in chunk {
                if items.len() == limit || looked_at == SCAN_MAX {
                    let mut fields = Vec::new();
                    fields.put_i64(at.0);
                    fields.put_u64(at.1);
                    fields.put_u32(at.2);
                    return Ok(Page { items, next: Some(self.cursor(List::DeadLetters, &fields)) });
                }
                at = (key.0, key.1, key.2, 0);
                looked_at += 1;
                if filter.since.is_some_and(|since| Timestamp::from_millis(key.0) < since) {
                    return Ok(Page { items, next: None });
                }
                let fits = queue.is_some_and(|queue| {
                    fits(filter.rule.as_ref(), queue.rule.as_ref()) && fits(filter.target.as_ref(), Some(&queue.target))
                });
                if !fits {
                    continue;
                }
                match self.view_dead_letter(id) {
                    Ok(letter) => items.extend(letter),
                    Err(error) => {
                        tracing::warn!(delivery = %id, %error, "a dead letter is left out of a list because it cannot be read");
                    }
                }
            }
        }
    }

    /// Some dead letters before a key, newest first.
    #[expect(clippy::type_complexity, reason = "a row of three that is taken apart at once")]
    fn dead_before(&self, at: (i64, u64, u32, u32)) -> Vec<((i64, u64, u32), DeliveryId, Option<QueueKey>)> {
        let state = self.shared.state();
        let names = self.shared.names();
        state
            .dead
            .range(..at)
            .rev()
            .take(CHUNK)
            .filter_map(|(dead_at, order, place, slot)| {
                let delivery = state.deliveries.get(*slot)?;
                let queue = names.queue(delivery.queue).map(|queue| QueueKey::clone(queue));
                Some(((*dead_at, *order, *place), state.delivery_id(delivery)?, queue))
            })
            .collect()
    }
}

/// What is wanted of deliveries that have not ended. They are all in memory, so an event that has none such need not
/// be read for a list.
struct OpenOnes<'f> {
    state: DeliveryState,
    /// By number.
    queues: HashSet<u32>,
    held: &'f BTreeSet<QueueKey>,
}

impl LocalStore {
    /// `None` where deliveries that have ended are wanted too.
    fn open_ones<'f>(
        &self,
        state: Option<DeliveryState>,
        rule: Option<&Name>,
        target: Option<&Name>,
        held: &'f BTreeSet<QueueKey>,
    ) -> Option<OpenOnes<'f>> {
        let state = state.filter(|state| !matches!(state, DeliveryState::Delivered | DeliveryState::Cancelled))?;
        let names = self.shared.names();
        let wanted = |number: &u32| {
            names
                .queue(*number)
                .is_some_and(|queue| fits(rule, queue.rule.as_ref()) && fits(target, Some(&queue.target)))
        };
        let count = u32::try_from(names.queue_count()).unwrap_or(u32::MAX);
        Some(OpenOnes { state, queues: (0..count).filter(wanted).collect(), held })
    }
}

impl OpenOnes<'_> {
    /// Whether an event may have a delivery that is wanted. May say yes where the answer is no.
    fn may_hold(&self, store: &LocalStore, event: EventId) -> bool {
        let rests = |state| matches!(state, DeliveryState::Pending | DeliveryState::Waiting);
        let now = (store.shared.clock)();
        let state = store.shared.state();
        let Some((_, event)) = state.find(event) else { return false };
        event.deliveries.iter().filter_map(|slot| state.deliveries.get(*slot)).any(|delivery| {
            let stands = State::state_of(delivery, now);
            // Which queues are held is looked at when the view is there.
            let fits = stands == self.state || !self.held.is_empty() && rests(stands) && rests(self.state);
            fits && self.queues.contains(&delivery.queue)
        })
    }
}

/// A delivery's state, where what is pending in a queue that is held counts as waiting.
fn state_of(held: &BTreeSet<QueueKey>, view: &DeliveryView) -> DeliveryState {
    if view.state == DeliveryState::Pending && held.contains(&view.queue) { DeliveryState::Waiting } else { view.state }
}

/// Whether a value is the wanted one, where one is wanted.
fn fits<W: PartialEq<F>, F>(wanted: Option<&W>, found: Option<&F>) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| wanted == found))
}

fn fits_event(filter: &EventFilter, view: &EventView) -> bool {
    let envelope = &view.envelope;
    filter.since.is_none_or(|since| envelope.received_at >= since)
        && filter.until.is_none_or(|until| envelope.received_at < until)
        && fits(filter.source_name.as_ref(), Some(&envelope.source_name))
        && fits(filter.ty.as_ref(), Some(&envelope.event.ty))
        && fits(filter.cloudevent_id.as_ref(), Some(&envelope.event.id))
        && (!filter.unmatched || view.deliveries.is_empty())
        && (filter.rule.is_none() || view.deliveries.iter().any(|each| each.queue.rule == filter.rule))
        && (filter.state.is_none()
            || view.deliveries.iter().any(|each| Some(state_of(&filter.held, each)) == filter.state))
}

fn fits_delivery(filter: &DeliveryFilter, view: &DeliveryView) -> bool {
    fits(filter.state.as_ref(), Some(&state_of(&filter.held, view)))
        && fits(filter.rule.as_ref(), view.queue.rule.as_ref())
        && fits(filter.target.as_ref(), Some(&view.queue.target))
        && filter.event.is_none_or(|event| event == view.id.event)
}
