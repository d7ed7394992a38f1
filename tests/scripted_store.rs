//! A store in memory that does as it is told: it keeps what is committed and attempts nothing, and a test may
//! make the next commits fail or put dead letters into it. For what a client sees; the store itself has tests of
//! its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventyard_event::{DeliveryId, EventId, Name, Timestamp};
use eventyard_store::{
    Admitted, Begin, Commit, DeadLetter, DeadLetterFilter, DeliveryFilter, DeliveryState, DeliveryView, Element,
    EventFilter, EventView, Health, NewDelivery, Page, PageRequest, QueueKey, ReadyQueue, Reason, SavedPosition,
    SettleError, Settlement, Stats, Store, StoreError, Taken, each_place,
};

#[derive(Default)]
struct Kept {
    events: Vec<EventView>,
    dead: Vec<DeadLetter>,
    /// What the next commits answer.
    failure: Option<StoreError>,
    positions: Vec<Vec<u8>>,
    /// Until when events have gone by the retention.
    forgotten_until: Option<Timestamp>,
}

#[derive(Default)]
pub(crate) struct ScriptedStore {
    kept: Mutex<Kept>,
}

impl ScriptedStore {
    /// From now on commits fail so; `None` makes them succeed again.
    pub(crate) fn fail(&self, failure: Option<StoreError>) {
        self.kept.lock().unwrap().failure = failure;
    }

    /// As if the retention had removed everything up to then.
    pub(crate) fn forget_until(&self, until: Timestamp) {
        let mut kept = self.kept.lock().unwrap();
        kept.events.retain(|event| event.envelope.id.made_at().is_none_or(|made_at| made_at > until));
        kept.forgotten_until = Some(until);
    }

    /// The positions that were committed, in order.
    pub(crate) fn positions(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().positions.clone()
    }

    pub(crate) fn event_count(&self) -> usize {
        self.kept.lock().unwrap().events.len()
    }

    /// The bytes of the newest event's data.
    pub(crate) fn newest_data(&self) -> Vec<u8> {
        self.kept.lock().unwrap().events.last().unwrap().envelope.event.data.bytes().to_vec()
    }

    /// Puts every delivery into a state; dead ones become dead letters.
    pub(crate) fn all_become(&self, state: DeliveryState) {
        let mut kept = self.kept.lock().unwrap();
        let mut dead = Vec::new();
        for event in &mut kept.events {
            for delivery in &mut event.deliveries {
                delivery.state = state;
                if state == DeliveryState::Dead {
                    dead.push(DeadLetter {
                        delivery: delivery.clone(),
                        envelope: Arc::clone(&event.envelope),
                        reason: Reason { code: "http_404".into(), message: "the target answered 404".into() },
                        dead_at: event.envelope.received_at,
                    });
                }
            }
        }
        kept.dead.extend(dead);
    }
}

/// A cursor is the place of the next item; this store's own, so that a forged one can be told.
fn paged<T>(items: impl Iterator<Item = T>, page: &PageRequest) -> Result<Page<T>, StoreError> {
    let start: usize = match &page.cursor {
        None => 0,
        Some(cursor) => cursor.strip_prefix("at-").and_then(|text| text.parse().ok()).ok_or(StoreError::BadCursor)?,
    };
    let mut items: Vec<T> = items.skip(start).take(page.limit + 1).collect();
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    Ok(Page { items, next: more.then(|| format!("at-{}", start + page.limit)) })
}

fn wanted<W: PartialEq<T>, T>(filter: &Option<W>, value: Option<&T>) -> bool {
    filter.as_ref().is_none_or(|filter| value.is_some_and(|value| filter == value))
}

#[async_trait]
impl Store for ScriptedStore {
    async fn commit(&self, commit: Commit) -> Result<Vec<Admitted>, StoreError> {
        let mut kept = self.kept.lock().unwrap();
        if let Some(failure) = &kept.failure {
            return Err(failure.clone());
        }
        kept.positions.extend(commit.position.map(|position| position.bytes));
        let mut admitted = Vec::new();
        for admission in commit.admissions {
            let envelope = admission.envelope;
            let first = kept.events.iter().find(|seen| {
                (&seen.envelope.event.source, &seen.envelope.event.id) == (&envelope.event.source, &envelope.event.id)
            });
            if let (Some(first), Some(_)) = (first, admission.dedupe) {
                admitted.push(Admitted { event: first.envelope.id, duplicate: true });
                continue;
            }
            admitted.push(Admitted { event: envelope.id, duplicate: false });
            let view = |(place, (new, element)): (u32, (&NewDelivery, Option<Element>))| DeliveryView {
                id: envelope.id.delivery(place),
                queue: QueueKey::clone(&new.queue),
                element,
                cloudevent_id: envelope.event.id.to_string(),
                source_name: envelope.source_name.clone(),
                state: if admission.dead.is_some() { DeliveryState::Dead } else { DeliveryState::Pending },
                attempts: 0,
                next_attempt_at: Some(new.due_at),
                behind: None,
                created_at: envelope.received_at,
                snapshot: new.snapshot,
                history: Vec::new(),
            };
            let deliveries: Vec<DeliveryView> = (0..).zip(each_place(&admission.deliveries)).map(view).collect();
            if let Some(reason) = admission.dead {
                kept.dead.extend(deliveries.iter().map(|delivery| DeadLetter {
                    delivery: delivery.clone(),
                    envelope: Arc::clone(&envelope),
                    reason: reason.clone(),
                    dead_at: envelope.received_at,
                }));
            }
            kept.events.push(EventView { envelope, deliveries });
        }
        Ok(admitted)
    }

    fn ready(&self, _now: Timestamp) -> Vec<ReadyQueue> {
        Vec::new()
    }

    async fn changed(&self) {
        std::future::pending().await
    }

    fn next_due(&self) -> Option<Timestamp> {
        None
    }

    async fn take(&self, _: &QueueKey, _: usize, _: Timestamp, _: Duration) -> Result<Vec<Taken>, StoreError> {
        Ok(Vec::new())
    }

    async fn extend(&self, _: &[DeliveryId], _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn begin(&self, begins: Vec<Begin>) -> Vec<Result<(), SettleError>> {
        begins.into_iter().map(|begin| Err(SettleError::NotInFlight(begin.delivery))).collect()
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Vec<Result<(), SettleError>> {
        settlements.into_iter().map(|settlement| Err(SettleError::NotInFlight(settlement.delivery))).collect()
    }

    async fn release(&self, _: Vec<DeliveryId>) {}

    async fn replay(
        &self,
        letters: Vec<(DeliveryId, Timestamp)>,
        at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        self.purge(letters.into_iter().map(|(id, _)| id).collect(), at).await
    }

    async fn purge(&self, letters: Vec<DeliveryId>, _at: Timestamp) -> Result<Vec<DeliveryId>, StoreError> {
        let mut kept = self.kept.lock().unwrap();
        let (moved, stay) = std::mem::take(&mut kept.dead)
            .into_iter()
            .partition::<Vec<_>, _>(|letter| letters.contains(&letter.delivery.id));
        kept.dead = stay;
        Ok(moved.into_iter().map(|letter| letter.delivery.id).collect())
    }

    async fn cancel(&self, deliveries: Vec<DeliveryId>, _at: Timestamp) -> Result<Vec<DeliveryId>, StoreError> {
        let mut kept = self.kept.lock().unwrap();
        let mut done = Vec::new();
        for delivery in kept.events.iter_mut().flat_map(|event| &mut event.deliveries) {
            let rests = matches!(delivery.state, DeliveryState::Pending | DeliveryState::Waiting);
            if rests && deliveries.contains(&delivery.id) {
                delivery.state = DeliveryState::Cancelled;
                done.push(delivery.id);
            }
        }
        Ok(done)
    }

    async fn hasten(
        &self,
        deliveries: Vec<DeliveryId>,
        due_at: Timestamp,
        _at: Timestamp,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut kept = self.kept.lock().unwrap();
        let mut done = Vec::new();
        for delivery in kept.events.iter_mut().flat_map(|event| &mut event.deliveries) {
            let rests = matches!(delivery.state, DeliveryState::Pending | DeliveryState::Waiting);
            if rests && deliveries.contains(&delivery.id) {
                (delivery.state, delivery.next_attempt_at) = (DeliveryState::Pending, Some(due_at));
                done.push(delivery.id);
            }
        }
        Ok(done)
    }

    async fn event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        Ok(self.kept.lock().unwrap().events.iter().find(|event| event.envelope.id == id).cloned())
    }

    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<EventView>, StoreError> {
        let kept = self.kept.lock().unwrap();
        let found = kept.events.iter().rev().filter(|event| {
            wanted(&filter.ty, Some(&event.envelope.event.ty))
                && wanted(&filter.source_name, Some(&event.envelope.source_name))
                && (!filter.unmatched || event.deliveries.is_empty())
                && filter.since.is_none_or(|since| event.envelope.received_at >= since)
        });
        paged(found.cloned(), &page)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.events.iter().flat_map(|event| &event.deliveries).find(|delivery| delivery.id == id).cloned())
    }

    async fn deliveries(&self, filter: DeliveryFilter, page: PageRequest) -> Result<Page<DeliveryView>, StoreError> {
        let kept = self.kept.lock().unwrap();
        let found = kept.events.iter().rev().flat_map(|event| &event.deliveries).filter(|delivery| {
            wanted(&filter.state, Some(&delivery.state)) && wanted(&filter.rule, delivery.queue.rule.as_ref())
        });
        paged(found.cloned(), &page)
    }

    async fn dead_letter(&self, id: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        Ok(self.kept.lock().unwrap().dead.iter().find(|letter| letter.delivery.id == id).cloned())
    }

    async fn dead_letters(&self, filter: DeadLetterFilter, page: PageRequest) -> Result<Page<DeadLetter>, StoreError> {
        let kept = self.kept.lock().unwrap();
        let found = kept.dead.iter().rev().filter(|letter| wanted(&filter.rule, letter.delivery.queue.rule.as_ref()));
        paged(found.cloned(), &page)
    }

    async fn position(&self, _: &Name, _: &Name) -> Result<Option<SavedPosition>, StoreError> {
        Ok(None)
    }

    fn stats(&self) -> Stats {
        let kept = self.kept.lock().unwrap();
        let count = |n: usize| u64::try_from(n).unwrap();
        let open = |delivery: &&DeliveryView| delivery.state == DeliveryState::Pending;
        Stats {
            events: count(kept.events.len()),
            unsettled: count(kept.events.iter().flat_map(|event| &event.deliveries).filter(open).count()),
            dead: count(kept.dead.len()),
            forgotten_until: kept.forgotten_until,
            ..Stats::default()
        }
    }

    fn backlog(&self) -> Vec<(QueueKey, u64)> {
        let kept = self.kept.lock().unwrap();
        let mut backlog: Vec<(QueueKey, u64)> = Vec::new();
        for delivery in kept.events.iter().flat_map(|event| &event.deliveries) {
            match backlog.iter_mut().find(|(queue, _)| *queue == delivery.queue) {
                Some((_, count)) => *count += 1,
                None => backlog.push((delivery.queue.clone(), 1)),
            }
        }
        backlog
    }

    fn health(&self) -> Health {
        match &self.kept.lock().unwrap().failure {
            Some(StoreError::Full) => Health::Full,
            Some(StoreError::Poisoned(why)) => Health::Poisoned(why.clone()),
            _ => Health::Good,
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
