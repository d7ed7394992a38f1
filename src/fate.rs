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
        /// The source it came by.
        source_name: Name,
        /// CloudEvents `type`.
        #[serde(rename = "type")]
        ty: String,
        /// The rule that came closest.
        nearest: Option<Name>,
    },
    /// A target was called.
    Attempted {
        /// Which delivery.
        delivery: DeliveryId,
        /// The source its event came by.
        source_name: Name,
        /// CloudEvents `type` of its event.
        #[serde(rename = "type")]
        ty: String,
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
        /// The source its event came by.
        source_name: Name,
        /// CloudEvents `type` of its event.
        #[serde(rename = "type")]
        ty: String,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
    },
    /// A delivery comes back.
    Retry {
        /// Which one.
        delivery: DeliveryId,
        /// The source its event came by.
        source_name: Name,
        /// CloudEvents `type` of its event.
        #[serde(rename = "type")]
        ty: String,
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
        /// The source its event came by.
        source_name: Name,
        /// CloudEvents `type` of its event.
        #[serde(rename = "type")]
        ty: String,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
        /// Why.
        reason: Reason,
    },
    /// A person has ended a delivery.
    Cancelled {
        /// Which one.
        delivery: DeliveryId,
        /// The source its event came by.
        source_name: Name,
        /// CloudEvents `type` of its event.
        #[serde(rename = "type")]
        ty: String,
        /// The rule; `None` for an alert.
        rule: Option<Name>,
        /// The target.
        target: Name,
    },
    /// A person holds a source or a target.
    Paused {
        /// `source NAME` or `target RULE/TARGET`.
        what: String,
    },
    /// A source or a target goes on.
    Resumed {
        /// `source NAME` or `target RULE/TARGET`.
        what: String,
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

impl Fate {
    /// Whether it has to do with events of this source. What has to do with no event at all passes.
    #[must_use]
    pub fn is_of_source(&self, wanted: &Name) -> bool {
        self.told_source().is_none_or(|source| source == wanted)
    }

    fn told_source(&self) -> Option<&Name> {
        match self {
            Fate::Accepted { source_name, .. }
            | Fate::Unmatched { source_name, .. }
            | Fate::Attempted { source_name, .. }
            | Fate::Delivered { source_name, .. }
            | Fate::Retry { source_name, .. }
            | Fate::Dead { source_name, .. }
            | Fate::Cancelled { source_name, .. } => Some(source_name),
            Fate::Paused { .. } | Fate::Resumed { .. } | Fate::Reloaded { .. } | Fate::Refused { .. } => None,
        }
    }

    /// Whether it has to do with events of this type. What has to do with no event at all passes.
    #[must_use]
    pub fn is_of_type(&self, wanted: &str) -> bool {
        match self {
            Fate::Accepted { ty, .. }
            | Fate::Unmatched { ty, .. }
            | Fate::Attempted { ty, .. }
            | Fate::Delivered { ty, .. }
            | Fate::Retry { ty, .. }
            | Fate::Dead { ty, .. }
            | Fate::Cancelled { ty, .. } => ty == wanted,
            Fate::Paused { .. } | Fate::Resumed { .. } | Fate::Reloaded { .. } | Fate::Refused { .. } => true,
        }
    }

    /// Whether it has to do with this rule. What has to do with no event at all passes.
    #[must_use]
    pub fn is_of_rule(&self, wanted: &Name) -> bool {
        match self {
            Fate::Accepted { rules, .. } => rules.contains(wanted),
            Fate::Unmatched { .. } => false,
            Fate::Attempted { rule, .. }
            | Fate::Delivered { rule, .. }
            | Fate::Retry { rule, .. }
            | Fate::Dead { rule, .. }
            | Fate::Cancelled { rule, .. } => rule.as_ref() == Some(wanted),
            Fate::Paused { .. } | Fate::Resumed { .. } | Fate::Reloaded { .. } | Fate::Refused { .. } => true,
        }
    }

    /// The word by which it goes.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Fate::Accepted { .. } => "accepted",
            Fate::Unmatched { .. } => "unmatched",
            Fate::Attempted { .. } => "attempted",
            Fate::Delivered { .. } => "delivered",
            Fate::Retry { .. } => "retry",
            Fate::Dead { .. } => "dead",
            Fate::Cancelled { .. } => "cancelled",
            Fate::Paused { .. } => "paused",
            Fate::Resumed { .. } => "resumed",
            Fate::Reloaded { .. } => "reloaded",
            Fate::Refused { .. } => "refused",
        }
    }
}
