//! Which number an event has, by its id: four bytes an event, in a table of its own, because a million pending are
//! to fit beside everything else.
//!
//! The ids themselves stand in the table of events, which every call is given. There are many small tables and not
//! one, so that none is ever large when it has to grow, which happens under the state's lock.

use eventyard_event::EventId;

use super::slab::{NONE, Slab};
use super::slots::EventSlot;

/// Tables; with a million events each holds four thousand, which grow in some tens of microseconds.
const TABLES: usize = 256;
/// The smallest table that holds anything.
const PLACES_MIN: usize = 16;

/// Numbers by id.
#[derive(Debug, Default)]
pub(super) struct ById {
    /// None of them where nothing was ever put in.
    tables: Vec<Table>,
    count: usize,
}

/// Open addressing with linear probing. A number stands at the place that its id's hash says, or behind it with
/// nothing empty in between.
#[derive(Clone, Debug, Default)]
struct Table {
    /// [`NONE`] where a place is empty. As many as a power of two.
    places: Vec<u32>,
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

fn table_of(hash: u64) -> usize {
    usize::try_from(hash >> 56).unwrap_or(0) % TABLES
}

impl ById {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, id: EventId, events: &Slab<EventSlot>) -> Option<u32> {
        let hash = hash(id);
        let table = self.tables.get(table_of(hash))?;
        let at = table.find(hash, id, events)?;
        table.places.get(at).copied()
    }

    /// Notes the number of an event that has none yet, and that stands in the table of events already.
    pub(super) fn insert(&mut self, id: EventId, number: u32, events: &Slab<EventSlot>) {
        if self.tables.is_empty() {
            self.tables.resize(TABLES, Table::default());
        }
        let hash = hash(id);
        if let Some(table) = self.tables.get_mut(table_of(hash)) {
            table.insert(hash, number, events);
            self.count += 1;
        }
    }

    /// Forgets an event; its neighbours, not itself, still have to stand in the table of events.
    pub(super) fn remove(&mut self, id: EventId, number: u32, events: &Slab<EventSlot>) {
        let hash = hash(id);
        if let Some(table) = self.tables.get_mut(table_of(hash))
            && table.remove(hash, number, events)
        {
            self.count -= 1;
        }
    }
}

/// Where a hash belongs in so many places.
fn home(hash: u64, places: usize) -> usize {
    usize::try_from(hash).unwrap_or(0) & places.wrapping_sub(1)
}

impl Table {
    fn place(&self, at: usize) -> u32 {
        self.places.get(at).copied().unwrap_or(NONE)
    }

    fn put(&mut self, at: usize, number: u32) {
        if let Some(place) = self.places.get_mut(at) {
            *place = number;
        }
    }

    /// The places from a hash's own on, up to the first empty one.
    fn probe(&self, hash: u64) -> impl Iterator<Item = (usize, u32)> {
        let (first, count) = (home(hash, self.places.len()), self.places.len());
        let all = (0..count).map(move |step| (first + step) & (count - 1));
        all.map(|at| (at, self.place(at))).take_while(|(_, number)| *number != NONE)
    }

    fn find(&self, hash: u64, id: EventId, events: &Slab<EventSlot>) -> Option<usize> {
        let is_it = |number: u32| events.get(number).is_some_and(|event| event.id == id);
        self.probe(hash).find(|(_, number)| is_it(*number)).map(|(at, _)| at)
    }

    fn insert(&mut self, hash: u64, number: u32, events: &Slab<EventSlot>) {
        // At three quarters full: beyond that the ways to a place get long.
        if (self.count + 1) * 4 > self.places.len() * 3 {
            let places = (self.places.len() * 2).max(PLACES_MIN);
            for number in std::mem::replace(&mut self.places, vec![NONE; places]) {
                if let Some(event) = events.get(number) {
                    self.put_in(self::hash(event.id), number);
                }
            }
        }
        self.put_in(hash, number);
        self.count += 1;
    }

    fn put_in(&mut self, hash: u64, number: u32) {
        let first = home(hash, self.places.len());
        let used = self.probe(hash).count();
        self.put((first + used) & (self.places.len() - 1), number);
    }

    fn remove(&mut self, hash: u64, number: u32, events: &Slab<EventSlot>) -> bool {
        let Some((mut hole, _)) = self.probe(hash).find(|(_, found)| *found == number) else { return false };
        let mask = self.places.len() - 1;
        let mut at = (hole + 1) & mask;
        // What stands behind and belongs at the hole or before it moves up, so that no way has an empty place on it.
        while self.place(at) != NONE {
            let moved = self.place(at);
            let belongs = events.get(moved).map_or(at, |event| home(self::hash(event.id), self.places.len()));
            if at.wrapping_sub(belongs) & mask >= at.wrapping_sub(hole) & mask {
                self.put(hole, moved);
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.put(hole, NONE);
        self.count -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eventyard_event::Timestamp;

    use super::*;
    use crate::state::{ItemPlace, Slots};

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
                    by_id.remove(id, number, &events);
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
