//! What memory holds of an event and of each delivery, and what happens to them.

use eventyard_event::{EventId, Timestamp};

use crate::journal::{Counts, Place};
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
    pub(crate) deliveries: Vec<u32>,
    /// How many of them have not ended; dead ones have not, because they may be replayed.
    pub(super) live: u32,
    /// Which of the recent envelopes is its own, where it is still there.
    pub(super) recent: u32,
    /// A copy of it is on its way to the journal: a settlement that is made now would point to where its history
    /// stands no more when it is written.
    pub(super) copying: bool,
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
    pub(crate) deliveries: Vec<AdmitDelivery>,
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
