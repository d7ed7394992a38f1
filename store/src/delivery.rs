//! Deliveries: what is committed, how one moves, what is recorded of each attempt.
//!
//! ```text
//! pending ──take, begin──→ in_flight ──settle──→ delivered
//!    ↑                         ├───────────────→ waiting ──due, hasten──→ pending
//!    └──────── replay ─────────┴───────────────→ dead
//! pending, waiting ──cancel──→ cancelled ←──purge── dead
//! ```

use std::sync::Arc;
use std::time::Duration;

use eventyard_event::{DeliveryId, Envelope, EventId, Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The hash of the compiled rules that made a delivery.
pub type SnapshotHash = [u8; 16];

/// Which queue a delivery stands in: the deliveries of one target of one rule, or of one alert channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueKey {
    /// The namespace of rule and target.
    pub namespace: Name,
    /// The rule; `None` for an alert, whose `target` is a channel.
    pub rule: Option<Name>,
    /// The target's name within the rule, or the channel's.
    pub target: Name,
}

/// Order within a key: deliveries of one queue with the same lane key are attempted one after another, in
/// commit order. The next one becomes eligible when the outcome of the one ahead is synced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The value of `order_by` in the event, as bytes; at most 1 KiB (longer keys are hashed by the caller).
    pub key: Vec<u8>,
    /// What a dead letter does to those behind it.
    pub after_dead: AfterDead,
}

/// `order_after_dead`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AfterDead {
    /// The lane goes on with the next delivery.
    #[default]
    Continue,
    /// The lane waits until the dead letter is replayed and ends, or is purged.
    Wait,
}

/// A list within an event that is taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// Where it stands; opaque to the store, and kept with the deliveries, so that an element stays the one it was
    /// whatever the rule says later.
    pub path: Arc<str>,
    /// How many elements it has, each of which is a delivery. 0 where the event cannot be taken apart: then there is one
    /// delivery, whose attempt says why.
    pub count: u32,
}

/// Which element of a list a delivery is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Element {
    /// Where the list stands.
    pub path: Arc<str>,
    /// Counts from 1; 0 where the event could not be taken apart.
    pub number: u32,
    /// How many there are.
    pub count: u32,
}

/// A delivery to be, or one for each element of a list. Its id is the event's with its place among all of
/// [`Admission::deliveries`], elements counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Where it queues. Shared, for many deliveries queue there.
    pub queue: Arc<QueueKey>,
    /// Its lane, where the rule orders by a key that the event has.
    pub lane: Option<Lane>,
    /// Not attempted before this; the steady clock's time (see [`Store::take`](crate::Store::take)).
    pub due_at: Timestamp,
    /// The rules that made it.
    pub snapshot: SnapshotHash,
    /// The list whose elements are each delivered alone, where its rule splits; `None` for one delivery of all of it.
    pub split: Option<Split>,
}

impl NewDelivery {
    /// How many deliveries it is.
    #[must_use]
    pub fn place_count(&self) -> usize {
        self.split.as_ref().map_or(1, |split| (split.count as usize).max(1))
    }

    fn element(&self, index: usize) -> Option<Element> {
        let split = self.split.as_ref()?;
        let number = if split.count == 0 { 0 } else { u32::try_from(index).ok()?.checked_add(1)? };
        Some(Element { path: Arc::clone(&split.path), number, count: split.count })
    }
}

/// Each delivery that is made, in the order of their places, with the element that it is of.
pub fn each_place(deliveries: &[NewDelivery]) -> impl Iterator<Item = (&NewDelivery, Option<Element>)> {
    deliveries
        .iter()
        .flat_map(|delivery| (0..delivery.place_count()).map(move |index| (delivery, delivery.element(index))))
}

/// Deliveries of one event, elements counted; far more than the rules of a project.
pub(crate) const DELIVERIES_MAX: usize = 65_536;

/// How many deliveries these are, elements counted.
#[must_use]
pub fn place_count(deliveries: &[NewDelivery]) -> usize {
    deliveries.iter().map(NewDelivery::place_count).fold(0, usize::saturating_add)
}

/// How long a repeated `(source, id)` is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// From this event's `received_at`.
    pub window: Duration,
}

/// One event with all its deliveries.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The event. Shared, so that whoever offers it has it still where it is refused.
    pub envelope: Arc<Envelope>,
    /// In the order in which routing found them; empty where no rule matched (the event is kept all the same).
    pub deliveries: Vec<NewDelivery>,
    /// `None` where the id is ours or a position guards against repeats.
    pub dedupe: Option<Dedupe>,
    /// Why its deliveries are dead letters from the start, where they are: nobody can be called with it, and somebody
    /// has to look at it (what a source could not decode). They are dead in the frame that brings the event, as of
    /// when it was received.
    pub dead: Option<Reason>,
}

/// How far a source has come, written in the frame of the events that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPosition {
    /// The source's namespace.
    pub namespace: Name,
    /// The source's name.
    pub source: Name,
    /// Opaque to the store; at most 64 KiB.
    pub bytes: Vec<u8>,
}

/// A position as it was last committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPosition {
    /// What the source gave.
    pub bytes: Vec<u8>,
    /// The last event of the frame that wrote it, where it held one.
    pub last_event: Option<EventId>,
}

/// One frame: all of it becomes durable, or none of it.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The events, in order. A batch that was sent as one request is one frame.
    pub admissions: Vec<Admission>,
    /// The source's new position.
    pub position: Option<NewPosition>,
}

/// What became of one [`Admission`], in the order of the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The event's id; the first one's where this is a duplicate.
    pub event: EventId,
    /// The same `(namespace, source attribute, id)` was committed within its window, or stands earlier in the
    /// same commit. Nothing was written for it; the first one is durable by the time this is returned.
    pub duplicate: bool,
}

/// A delivery that was leased to be attempted.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Which one.
    pub delivery: DeliveryId,
    /// Where it stood. Shared, for what is taken together stood in one queue.
    pub queue: Arc<QueueKey>,
    /// The attempts that counted so far in this budget; a replay starts again at 0.
    pub attempts: u32,
    /// All tries so far, interrupted ones and those before a replay included; the coming one's number less 1.
    pub tries: u32,
    /// How many times it has been dead already.
    pub deaths: u32,
    /// When the present budget began: when it was first due, after its commit or its replay. `max_age` counts from
    /// here, by the clock of due times.
    pub budget_began_at: Timestamp,
    /// The event.
    pub envelope: Arc<Envelope>,
    /// The element that it is of, where its rule splits.
    pub element: Option<Element>,
    /// Why the event cannot be read, where it cannot: what it was written to is damaged. `envelope` then holds its id
    /// and nothing else of it, and there is nothing that a target could be called with.
    pub unreadable: Option<String>,
}

/// An attempt is about to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// A delivery that is leased to the caller.
    pub delivery: DeliveryId,
    /// Wall clock.
    pub at: Timestamp,
    /// How long to wait before the next attempt should this one be cut off by our own death.
    pub backoff_if_interrupted: Duration,
}

/// What was seen of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptRecord {
    /// Counts every try of the delivery from 1.
    pub number: u32,
    /// Wall clock.
    pub began_at: Timestamp,
    /// Wall clock; for an attempt that our death cut off, when it was found.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// A stable code such as `http_503`, `timeout`, `exit_3`; empty for a success.
    pub code: String,
    /// What happened, in words; capped by the caller at 1 KiB.
    pub message: String,
    /// The head of the answer, as text; capped by the caller at 1 KiB.
    pub response: String,
}

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The target has confirmed.
    Succeeded,
    /// It failed, and trying again may help.
    Retryable,
    /// It failed, and trying again cannot help.
    Permanent,
    /// Our own stop or death cut it off; it does not count.
    Interrupted,
}

/// Why a delivery was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// A stable code, such as `attempts_exhausted`, `http_404`, `target_gone`.
    pub code: String,
    /// What happened, in words.
    pub message: String,
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has ended well.
    Delivered,
    /// It comes back.
    Retry {
        /// The steady clock's time.
        at: Timestamp,
        /// Whether the attempt used up one of the budget; false for an interrupted one.
        counted: bool,
    },
    /// It is given up.
    Dead {
        /// Why.
        reason: Reason,
    },
}

/// The end of one lease.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// A delivery that is leased to the caller.
    pub delivery: DeliveryId,
    /// The attempt; `None` where there was none (a target that is gone).
    pub attempt: Option<AttemptRecord>,
    /// What becomes of the delivery.
    pub verdict: Verdict,
    /// Wall clock.
    pub at: Timestamp,
    /// Events that are committed in the very same frame: the dead letter's announcement with its alert
    /// deliveries; what an `event` target passes on. Never refused for lack of room or by a limit.
    pub emits: Vec<Admission>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Due, or behind another one of its lane.
    Pending,
    /// Leased, or being attempted.
    InFlight,
    /// Comes back at its time.
    Waiting,
    /// Ended well.
    Delivered,
    /// Given up; in the dead letters.
    Dead,
    /// Ended by a person.
    Cancelled,
}
