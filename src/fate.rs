//! What happens to events, as it happens: what `eventyard dev` prints and `/api/v1/live` streams.
//!
//! A [`Fate`] is news, not a record: it goes to whoever listens at the moment and is lost to those who listen too
//! slowly. The record is in the store.

use eventyard_event::{DeliveryId, EventId, Name, Timestamp};
use eventyard_store::{AttemptOutcome, Reason};
use serde::{Deserialize, Serialize};

/// How many fates may wait for a slow listener before the oldest are dropped for it.
pub const FATES_WAITING_MAX: usize = 4096;

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// An event is on disk.
    Accepted {
        /// Our id.
        event: EventId,
        /// The sender's id.
        cloudevent_id: String,
        /// CloudEvents `type`.
        #[serde(rename = "type")]
        ty: String,
        /// The source it came by.
        source_name: Name,
        /// The rules that matched.
        rules: Vec<Name>,
        /// It was there already; nothing more will happen to it.
        duplicate: bool,
    },
    /// An event matched no rule. It is kept and can be explained.
    Unmatched {
        /// Our id.
        event: EventId,
        /// The rule that came closest.
        nearest: Option<Name>,
    },
    /// A target was called.
    Attempted {
        /// Which delivery.
        delivery: DeliveryId,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
        /// Counts from 1.
        number: u32,
        /// How it ended.
        outcome: AttemptOutcome,
        /// A stable code; empty for a success.
        code: String,
        /// What happened, in words.
        message: String,
        /// The head of the answer.
        response: String,
    },
    /// A delivery has ended well.
    Delivered {
        /// Which one.
        delivery: DeliveryId,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
    },
    /// A delivery comes back.
    Retry {
        /// Which one.
        delivery: DeliveryId,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
        /// When.
        at: Timestamp,
    },
    /// A delivery was given up.
    Dead {
        /// Which one.
        delivery: DeliveryId,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
        /// Why.
        reason: Reason,
    },
    /// Another project is in force.
    Reloaded {
        /// The hash of its rules.
        hash: String,
        /// How many rules it has.
        rules: usize,
    },
    /// The project's files were refused; the one before stays in force.
    Refused {
        /// The whole report, as text.
        report: String,
    },
}
