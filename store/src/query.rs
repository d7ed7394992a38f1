//! What can be asked of a store. Lists come in pages, newest first, and a cursor stays valid while things change.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventyard_event::{DeliveryId, Envelope, EventId, Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptRecord, DeliveryState, Element, QueueKey, Reason, SnapshotHash};

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// At most [`PageRequest::limit`].
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Which page is wanted.
#[derive(Clone, Debug, Default)]
pub struct PageRequest {
    /// Clamped to 1..=1000 by the store.
    pub limit: usize,
    /// From [`Page::next`]; a forged one is [`StoreError::BadCursor`](crate::StoreError::BadCursor).
    pub cursor: Option<String>,
}

/// Which events. Fields that are `None` do not filter.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// The source's name.
    pub source_name: Option<Name>,
    /// CloudEvents `type`.
    pub ty: Option<String>,
    /// CloudEvents `id`.
    pub cloudevent_id: Option<String>,
    /// A rule that made a delivery of it.
    pub rule: Option<Name>,
    /// A state that one of its deliveries is in.
    pub state: Option<DeliveryState>,
    /// As [`DeliveryFilter::held`].
    pub held: Arc<BTreeSet<QueueKey>>,
    /// Only events without deliveries.
    pub unmatched: bool,
}

/// Which deliveries.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this rule.
    pub rule: Option<Name>,
    /// To this target.
    pub target: Option<Name>,
    /// Of this event.
    pub event: Option<EventId>,
    /// Queues that the caller takes nothing from: what is pending in them counts as waiting for [`Self::state`].
    pub held: Arc<BTreeSet<QueueKey>>,
}

/// Which dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Of this rule.
    pub rule: Option<Name>,
    /// Of this target.
    pub target: Option<Name>,
    /// Dead at or after.
    pub since: Option<Timestamp>,
}

/// An event with its deliveries.
#[derive(Clone, Debug)]
pub struct EventView {
    /// The event.
    pub envelope: Arc<Envelope>,
    /// By place.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery as it stands.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// Which one.
    pub id: DeliveryId,
    /// Where it queues.
    pub queue: QueueKey,
    /// The element that it is of, where its rule splits.
    pub element: Option<Element>,
    /// CloudEvents `id` of its event.
    pub cloudevent_id: String,
    /// The name of the source its event came by.
    pub source_name: Name,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts that counted in the present budget.
    pub attempts: u32,
    /// When the next attempt is due, where one is.
    pub next_attempt_at: Option<Timestamp>,
    /// The one of its lane that it waits for, where it stands behind another.
    pub behind: Option<DeliveryId>,
    /// When its event was committed.
    pub created_at: Timestamp,
    /// The rules that made it.
    pub snapshot: SnapshotHash,
    /// What happened so far, oldest first; of more than 256 the first and the newest 255 are kept.
    pub history: Vec<AttemptRecord>,
}

/// A delivery that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The delivery; its id is the dead letter's too.
    pub delivery: DeliveryView,
    /// The event.
    pub envelope: Arc<Envelope>,
    /// Why.
    pub reason: Reason,
    /// When.
    pub dead_at: Timestamp,
}

/// A queue that has something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyQueue {
    /// Which one.
    pub queue: QueueKey,
    /// How many of its deliveries can be taken now.
    pub eligible_count: usize,
}

/// Counts, exact at the moment they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Events that are kept.
    pub events: u64,
    /// Deliveries that have not ended: pending, in flight and waiting.
    pub unsettled: u64,
    /// Of those, how many are leased or being attempted.
    pub in_flight: u64,
    /// Of those, how many wait for their time.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of journal on disk.
    pub journal_bytes: u64,
    /// Frames ever written; the newest frame's sequence number.
    pub frames: u64,
    /// Syncs since the store was opened.
    pub syncs: u64,
    /// The newest moment of which events have gone by the retention: what came later is all there. `None` where nothing has.
    pub forgotten_until: Option<Timestamp>,
}

/// Whether the store can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Good,
    /// No space for events; outcomes can still be written. Ends by itself.
    Full,
    /// A live segment could not be written. Ends with the process.
    Poisoned(String),
}
