//! What happens to events, as it happens: what `eventyard dev` prints and `/api/v1/live` streams.
//!
//! A [`Fate`] is news, not a record: it goes to whoever listens at the moment and is lost to those who listen too
//! slowly. The record is in the store.

use eventyard_event::{DeliveryId, EventId, Name, Text, Timestamp};
use eventyard_store::{AttemptOutcome, Reason};
use serde::{Deserialize, Serialize};

use crate::split::ElementOf;

/// How many fates may wait for a slow listener before the oldest are dropped for it.
pub const FATES_WAITING_MAX: usize = 4096;

/// Which delivery something happened to, and what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfDelivery {
    /// Its id.
    pub delivery: DeliveryId,
    /// The source its event came by.
    pub source_name: Name,
    /// CloudEvents `type` of its event.
    #[serde(rename = "type")]
    pub ty: Text,
    /// The rule; `None` for an alert.
    pub rule: Option<Name>,
    /// The target.
    pub target: Name,
    /// The element that it is of, where its rule splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementOf>,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// An event is on disk.
    Accepted {
        /// Our id.
        event: EventId,
        /// The sender's id.
        cloudevent_id: Text,
        /// CloudEvents `type`.
        #[serde(rename = "type")]
        ty: Text,
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
        ty: Text,
        /// The rule that came closest.
        nearest: Option<Name>,
    },
    /// A target was called.
    Attempted {
        /// Which delivery.
        #[serde(flatten)]
        of: OfDelivery,
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
        /// Which delivery.
        #[serde(flatten)]
        of: OfDelivery,
    },
    /// A delivery comes back.
    Retry {
        /// Which delivery.
        #[serde(flatten)]
        of: OfDelivery,
        /// When.
        at: Timestamp,
    },
    /// A delivery was given up.
    Dead {
        /// Which delivery.
        #[serde(flatten)]
        of: OfDelivery,
        /// Why.
        reason: Reason,
    },
    /// A person has ended a delivery.
    Cancelled {
        /// Which delivery.
        #[serde(flatten)]
        of: OfDelivery,
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
    /// The delivery it happened to, if it did to one.
    #[must_use]
    pub fn of_delivery(&self) -> Option<&OfDelivery> {
        match self {
            Fate::Attempted { of, .. }
            | Fate::Delivered { of }
            | Fate::Retry { of, .. }
            | Fate::Dead { of, .. }
            | Fate::Cancelled { of } => Some(of),
            Fate::Accepted { .. }
            | Fate::Unmatched { .. }
            | Fate::Paused { .. }
            | Fate::Resumed { .. }
            | Fate::Reloaded { .. }
            | Fate::Refused { .. } => None,
        }
    }

    /// The source and the type of the event it has to do with, if it has with one.
    fn of_event(&self) -> Option<(&Name, &str)> {
        match self {
            Fate::Accepted { source_name, ty, .. } | Fate::Unmatched { source_name, ty, .. } => Some((source_name, ty)),
            _ => self.of_delivery().map(|of| (&of.source_name, of.ty.as_str())),
        }
    }

    /// Whether it has to do with events of this source. What has to do with no event at all passes.
    #[must_use]
    pub fn is_of_source(&self, wanted: &Name) -> bool {
        self.of_event().is_none_or(|(source, _)| source == wanted)
    }

    /// Whether it has to do with events of this type. What has to do with no event at all passes.
    #[must_use]
    pub fn is_of_type(&self, wanted: &str) -> bool {
        self.of_event().is_none_or(|(_, ty)| ty == wanted)
    }

    /// Whether it has to do with this rule. What has to do with no event at all passes.
    #[must_use]
    pub fn is_of_rule(&self, wanted: &Name) -> bool {
        match self {
            Fate::Accepted { rules, .. } => rules.contains(wanted),
            Fate::Unmatched { .. } => false,
            _ => self.of_delivery().is_none_or(|of| of.rule.as_ref() == Some(wanted)),
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
