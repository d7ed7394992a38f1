//! Which number an event has, by its id: five bytes an event, in tables of their own, because a million pending are
//! to fit beside everything else.
//!
//! The ids themselves stand in the table of events, which every call is given; a byte of its hash beside each number
//! says of nearly all others that they are not the one, so that theirs are not looked at. There are many small tables
//! and not one, so that none is ever large when it has to grow, which happens under the state's lock.

use eventyard_event::EventId;
use hashbrown::HashTable;

use super::slab::Slab;
use super::slots::EventSlot;

/// Tables; with a million events each holds four thousand, which grow in some tens of microseconds.
const TABLES: usize = 256;

/// Numbers by id.
#[derive(Debug, Default)]
pub(super) struct ById {
    /// None of them where nothing was ever put in.
    tables: Vec<HashTable<u32>>,
    count: usize,
}

/// Ids are random in their low half; this spreads those that are not.
fn hash(id: EventId) -> u64 {
    let whole = u128::from_be_bytes(id.to_bytes());
    let low = u64::try_from(whole & u128::from(u64::MAX)).unwrap_or(0);
    let high = u64::try_from(whole >> 64).unwrap_or(0);
    let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// By bits that a table itself does not look at: it takes the highest seven, and the lowest.
fn table_of(hash: u64) -> usize {
    usize::try_from(hash >> 49).unwrap_or(0) % TABLES
}

/// The hash of an event that stands in the table of events.
fn hash_of(number: u32, events: &Slab<EventSlot>) -> u64 {
    events.get(number).map_or(0, |event| hash(event.id))
}

impl ById {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, id: EventId, events: &Slab<EventSlot>) -> Option<u32> {
        let hash = hash(id);
        let is_it = |number: &u32| events.get(*number).is_some_and(|event| event.id == id);
        self.tables.get(table_of(hash))?.find(hash, is_it).copied()
    }

    /// Notes the number of an event that has none yet, and that stands in the table of events already.
    pub(super) fn insert(&mut self, id: EventId, number: u32, events: &Slab<EventSlot>) {
        if self.tables.is_empty() {
            self.tables.resize(TABLES, HashTable::new());
        }
        let hash = hash(id);
        if let Some(table) = self.tables.get_mut(table_of(hash)) {
            table.insert_unique(hash, number, |number| hash_of(*number, events));
            self.count += 1;
        }
    }

    /// Forgets an event, which need not stand in the table of events any more.
    pub(super) fn remove(&mut self, id: EventId, number: u32) {
        let hash = hash(id);
        if let Some(table) = self.tables.get_mut(table_of(hash))
            && let Ok(found) = table.find_entry(hash, |found| *found == number)
        {
            found.remove();
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eventyard_event::Timestamp;

    use super::*;
    use crate::state::{ItemPlace, NONE, Slots};

    fn id(number: u8) -> EventId {
        EventId::new(Timestamp::from_millis(0), [number; 10])
    }

    #[test]
    fn it_knows_what_a_map_knows() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut events, mut by_id, mut map) = (Slab::default(), ById::default(), BTreeMap::new());
        for step in 0..20_000 {
            let id = if random.bool() {
                id(random.u8(..40))
            } else {
                EventId::new(Timestamp::from_millis(random.i64(..3000)), [1; 10])
            };
            match map.remove(&id) {
                None => {
                    let event = EventSlot::new(id, ItemPlace::default(), Slots::default(), 1, NONE);
                    let number = events.insert(event).unwrap();
                    by_id.insert(id, number, &events);
                    map.insert(id, number);
                }
                Some(number) => {
                    events.remove(number).unwrap();
                    by_id.remove(id, number);
                }
            }
            assert_eq!(by_id.get(id, &events), map.get(&id).copied(), "step {step}");
            assert_eq!(by_id.len(), map.len());
            if step % 500 == 0 {
                assert!(map.iter().all(|(id, number)| by_id.get(*id, &events) == Some(*number)), "step {step}");
            }
        }
    }
}
