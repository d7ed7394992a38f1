//! What is read back of one event or delivery: its payload as it was written at first, and its attempts.
//!
//! A delivery's settlements are a chain that points backwards. It ends with the first one, or with the copy of its
//! event: what came before that stands in the copy itself.

use bytes::Bytes;
use eventyard_event::DeliveryId;

use crate::journal::{Item, ItemKind, KeptDelivery, Place, ReadError, SettlementRecord, event_payload};
use crate::shared::Shared;
use crate::state::ItemPlace;
use crate::{AttemptRecord, StoreError};

/// Attempts of a delivery that are shown, and that go with a copy of its event: the first, and the newest of the rest.
pub(crate) const HISTORY_MAX: usize = 256;

impl Shared {
    /// What an event was written with at first, wherever it stands now.
    pub(crate) fn read_event_payload(&self, item: ItemPlace) -> Result<Bytes, StoreError> {
        payload_of(item, self.files.read(item.place, item.bytes))
    }

    /// [`Shared::read_event_payload`] of each.
    pub(crate) fn read_event_payloads(&self, items: &[ItemPlace]) -> Vec<Result<Bytes, StoreError>> {
        let places: Vec<_> = items.iter().map(|item| (item.place, item.bytes)).collect();
        let read = self.files.read_each(&places);
        items.iter().zip(read).map(|(item, read)| payload_of(*item, read)).collect()
    }

    fn read_settlement(&self, id: DeliveryId, place: Place) -> Result<Link, StoreError> {
        let missing = || StoreError::Corrupt(format!("no settlement stands at {place:?}"));
        match self.files.read_item(place)? {
            Item::Settlement(record) => Ok(Link::Settlement(record)),
            Item::Kept(kept) => {
                let delivery = kept.1.deliveries.into_iter().nth(id.place as usize).ok_or_else(missing)?;
                Ok(Link::Copy(Box::new(delivery)))
            }
            _ => Err(missing()),
        }
    }

    /// The attempts of a delivery, oldest first, and its newest settlement. `last` is where that stands.
    pub(crate) fn history(
        &self,
        id: DeliveryId,
        last: Place,
    ) -> Result<(Vec<AttemptRecord>, Option<SettlementRecord>), StoreError> {
        let mut attempts = Vec::new();
        let mut newest = None;
        let mut at = last;
        while !at.is_none() {
            // A settlement that was on its way while its event was copied points to where the history stood before.
            // When that is gone, what it held is told by the copy alone, which nothing points to.
            if newest.is_some() && at.segment < self.state().forgotten.before {
                break;
            }
            let link = match self.read_settlement(id, at) {
                // What came before damage is gone, and what came after it is told.
                Err(error @ StoreError::Corrupt(_)) if newest.is_some() => {
                    tracing::warn!(%error, "earlier attempts of a delivery cannot be read");
                    break;
                }
                found => found?,
            };
            let record = match link {
                Link::Settlement(record) => record,
                Link::Copy(copy) => {
                    let KeptDelivery { newest: record, attempts: before, .. } = *copy;
                    attempts.extend(record.as_ref().and_then(|record| record.attempt.clone()));
                    attempts.extend(before.into_iter().rev());
                    newest = newest.or(record);
                    break;
                }
            };
            // Settlements point backwards; a chain that does not would never end.
            if !record.previous.is_none() && record.previous >= at {
                return Err(StoreError::Corrupt(format!("the history at {at:?} points forward")));
            }
            let (previous, first) = (record.previous, record.first);
            attempts.extend(record.attempt.clone());
            newest.get_or_insert(record);
            if attempts.len() + 1 >= HISTORY_MAX && !previous.is_none() {
                match self.read_settlement(id, first)? {
                    Link::Settlement(first) => attempts.extend(first.attempt),
                    Link::Copy(copy) => {
                        attempts
                            .extend(copy.attempts.into_iter().next().or(copy.newest.and_then(|record| record.attempt)));
                    }
                }
                break;
            }
            at = previous;
        }
        if attempts.len() > HISTORY_MAX {
            let first = attempts.pop();
            attempts.truncate(HISTORY_MAX - 1);
            attempts.extend(first);
        }
        attempts.reverse();
        Ok((attempts, newest))
    }
}

/// The event's own bytes within an item as it was read.
fn payload_of(item: ItemPlace, read: Result<(ItemKind, Bytes), ReadError>) -> Result<Bytes, StoreError> {
    let (kind, payload) = read?;
    match event_payload(kind, &payload) {
        Ok(Some(payload)) => Ok(payload),
        Ok(None) => Err(StoreError::Corrupt(format!("no event stands at {:?}", item.place))),
        Err(error) => Err(StoreError::Corrupt(format!("the event at {:?}: {error}", item.place))),
    }
}

/// What stands at a place of a chain.
enum Link {
    Settlement(SettlementRecord),
    Copy(Box<KeptDelivery>),
}
