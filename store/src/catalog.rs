//! Which events a segment holds and which deliveries ended in it: what lists are made from, and how an event
//! that has nothing more to come is found again. It follows from the segment alone.

use std::collections::BTreeMap;

use eventyard_event::{DeliveryId, EventId};

use crate::journal::Place;
use crate::state::{IdMap, ItemPlace, id_key};

/// An event's item in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: EventId,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cancelled: bool,
    /// Its newest settlement, from which its history hangs.
    pub(crate) last: Place,
}

/// One segment's part.
#[derive(Debug, Default)]
pub(crate) struct SegmentCatalog {
    /// In commit order.
    pub(crate) events: Vec<Listed>,
    by_id: IdMap<u32>,
    ends: BTreeMap<DeliveryId, Ended>,
}

/// All segments.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    segments: BTreeMap<u32, SegmentCatalog>,
    pub(crate) event_count: u64,
}

impl Catalog {
    pub(crate) fn add_event(&mut self, id: EventId, item: ItemPlace) {
        let segment = self.segments.entry(item.place.segment).or_default();
        let number = u32::try_from(segment.events.len()).unwrap_or(u32::MAX);
        segment.events.push(Listed { id, offset: item.place.offset, bytes: item.bytes });
        segment.by_id.insert(id_key(id), number);
        self.event_count += 1;
    }

    /// `segment` is where the record stands that ended it.
    pub(crate) fn add_end(&mut self, segment: u32, delivery: DeliveryId, ended: Ended) {
        self.segments.entry(segment).or_default().ends.insert(delivery, ended);
    }

    pub(crate) fn find_event(&self, id: EventId) -> Option<ItemPlace> {
        self.segments.iter().rev().find_map(|(number, segment)| {
            let listed = segment.events.get(*segment.by_id.get(&id_key(id))? as usize)?;
            Some(ItemPlace { place: Place { segment: *number, offset: listed.offset }, bytes: listed.bytes })
        })
    }

    pub(crate) fn find_end(&self, delivery: DeliveryId) -> Option<Ended> {
        self.segments.values().rev().find_map(|segment| segment.ends.get(&delivery).copied())
    }

    /// Up to `count` events that stand before `before`, newest first.
    pub(crate) fn before(&self, before: Place, count: usize) -> Vec<(EventId, ItemPlace)> {
        let mut found = Vec::with_capacity(count);
        for (number, segment) in self.segments.range(..=before.segment).rev() {
            let end = if *number == before.segment {
                segment.events.partition_point(|listed| listed.offset < before.offset)
            } else {
                segment.events.len()
            };
            for listed in segment.events.get(..end).unwrap_or_default().iter().rev() {
                if found.len() == count {
                    return found;
                }
                let place = Place { segment: *number, offset: listed.offset };
                found.push((listed.id, ItemPlace { place, bytes: listed.bytes }));
            }
        }
        found
    }
}
