//! What memory holds of an event and of each delivery, and what happens to them.

use eventyard_event::{EventId, Timestamp};

use super::slab::NONE;
use crate::journal::{Counts, Elements, Place};
use crate::{AfterDead, Lane};

/// Where an event's item stands in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemPlace {
    pub(crate) place: Place,
    /// Its header included.
    pub(crate) bytes: u32,
}

/// An event in memory.
#[derive(Clone, Debug)]
pub(crate) struct EventSlot {
    pub(crate) id: EventId,
    pub(crate) item: ItemPlace,
    /// Its deliveries, by place.
    pub(crate) deliveries: Slots,
    /// How many of them have not ended; dead ones have not, because they may be replayed.
    pub(super) live: u32,
    /// Which of the recent envelopes is its own, where it is still there.
    pub(super) recent: u32,
    /// A copy of it is on its way to the journal: a settlement that is made now would point to where its history
    /// stands no more when it is written.
    pub(super) copying: bool,
}

impl EventSlot {
    pub(super) fn new(id: EventId, item: ItemPlace, deliveries: Slots, live: u32, recent: u32) -> EventSlot {
        EventSlot { id, item, deliveries, live, recent, copying: false }
    }
}

/// Numbers of deliveries. Most events have one, which then costs no allocation of its own.
#[derive(Clone, Debug)]
pub(crate) enum Slots {
    One([u32; 1]),
    #[expect(clippy::box_collection, reason = "half as long as a vector, in every event")]
    Some(Box<Vec<u32>>),
}

impl Default for Slots {
    fn default() -> Slots {
        Slots::Some(Box::default())
    }
}

impl Slots {
    /// Room for so many.
    pub(super) fn with_room(count: usize) -> Slots {
        if count == 1 { Slots::One([NONE]) } else { Slots::Some(Box::new(Vec::with_capacity(count))) }
    }

    pub(super) fn push(&mut self, slot: u32) {
        match self {
            Slots::One(one) if *one == [NONE] => *one = [slot],
            Slots::One([one]) => *self = Slots::Some(Box::new(vec![*one, slot])),
            Slots::Some(some) => some.push(slot),
        }
    }
}

impl std::ops::Deref for Slots {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Slots::One(one) if *one == [NONE] => &[],
            Slots::One(one) => one,
            Slots::Some(some) => some,
        }
    }
}

/// In which part of its queue a delivery stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Queued {
    #[default]
    No,
    Fresh,
    Returned,
    Later,
}

/// Where a delivery stands. Whether it is due is the queue's matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Pending,
    Waiting,
    Leased,
    Dead,
    Delivered,
    Cancelled,
}

impl Standing {
    /// As it is written.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Standing::Pending => 0,
            Standing::Waiting => 1,
            Standing::Leased => 2,
            Standing::Dead => 3,
            Standing::Delivered => 4,
            Standing::Cancelled => 5,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Standing> {
        Some(match byte {
            0 => Standing::Pending,
            1 => Standing::Waiting,
            2 => Standing::Leased,
            3 => Standing::Dead,
            4 => Standing::Delivered,
            5 => Standing::Cancelled,
            _ => return None,
        })
    }

    pub(crate) fn ended(self) -> bool {
        matches!(self, Standing::Delivered | Standing::Cancelled)
    }

    pub(crate) fn unsettled(self) -> bool {
        matches!(self, Standing::Pending | Standing::Waiting | Standing::Leased)
    }
}

/// A delivery in memory.
#[derive(Clone, Debug)]
pub(crate) struct DeliverySlot {
    pub(crate) event: u32,
    pub(crate) place: u32,
    pub(crate) queue: u32,
    pub(crate) lane: u32,
    pub(crate) snapshot: u32,
    pub(crate) counts: Counts,
    /// The frame's sequence and the event's place within it: commit order.
    pub(crate) order: u64,
    /// Not attempted before; of a dead one, when it died.
    pub(crate) due: i64,
    pub(crate) budget_began: i64,
    /// The newest settlement of its history, and the first.
    pub(crate) last: Place,
    pub(crate) first: Place,
    /// The last frame that changed it.
    pub(crate) applied: u64,
    pub(crate) standing: Standing,
    pub(crate) after_dead: AfterDead,
    pub(crate) queued: Queued,
    /// It has never stood in a queue.
    pub(crate) new: bool,
    /// A settlement, a replay, a purge, a cancellation or another due time of it is on its way to the journal.
    pub(crate) moving: bool,
}

/// A delivery that comes into being.
#[derive(Clone, Debug)]
pub(crate) struct AdmitDelivery {
    pub(crate) queue: u32,
    pub(crate) lane: Option<Lane>,
    pub(crate) due_at: Timestamp,
    pub(crate) snapshot: u32,
}

/// An event that comes into being.
#[derive(Clone, Debug)]
pub(crate) struct Admit {
    pub(crate) id: EventId,
    pub(crate) received_at: Timestamp,
    /// By place.
    pub(crate) deliveries: Vec<AdmitDelivery>,
    /// Which of them are of elements.
    pub(crate) elements: Elements,
}

/// What a settlement does to a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    Delivered,
    Retry { at: Timestamp },
    Dead { at: Timestamp },
}

/// Deliveries by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) unsettled: u64,
    pub(crate) leased: u64,
    pub(crate) dead: u64,
}
