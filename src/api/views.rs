//! The JSON that the API answers with, and that its clients read: one struct for each shape, used by both sides.
//!
//! Fields are only ever added. A client ignores fields that it does not know, so these structs do too; what a
//! client *sends* is in [`super::requests`] and refuses unknown fields. No secret stands in any of them: what
//! a project calls a secret shows as `(hidden)` where it shows at all.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use eventyard_event::{DeliveryId, EventId, Name, Timestamp};
use eventyard_store::{
    AttemptOutcome, AttemptRecord, DeadLetter, DeliveryState, DeliveryView, EventView, Reason, Stats,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::cloudevent::CloudEvent;
use crate::intake::Receipt;
use crate::pauses::Paused;
use crate::reply::NoReply;
use crate::split::ElementOf;
use crate::undecodable;

/// A page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// What is on this page.
    pub items: Vec<T>,
    /// The `cursor` of the next page; `null` on the last one.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A list that has one page only.
    #[must_use]
    pub fn whole(items: Vec<T>) -> List<T> {
        List { items, next: None }
    }
}

/// The answer to events that were taken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// One for each event, in order.
    pub accepted: Vec<Receipt>,
    /// Where the sender would have waited for an answer: why this is not it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<NoReply>,
}

/// An event in a list, or with its whole story.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventItem {
    /// Our id.
    pub event: EventId,
    /// Its namespace.
    pub namespace: Name,
    /// `[source.NAME]`, or `events`, or `eventyard`.
    pub source_name: Name,
    /// The source's tags.
    pub tags: Vec<String>,
    /// When it was taken.
    pub received_at: Timestamp,
    /// How often it had been passed on when it came: by `event` targets, and by sinks whose messages came in again.
    pub hop_count: u8,
    /// The size of its data.
    #[serde(default)]
    pub data_bytes: usize,
    /// The rules that made deliveries of it.
    pub rules: Vec<Name>,
    /// What to do where no rule matched. Lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether nothing more will happen to it by itself: each delivery is delivered, dead or cancelled.
    pub settled: bool,
    /// One for each target of each of these rules, and one for each alert.
    pub deliveries: Vec<DeliveryItem>,
    /// The event as CloudEvents JSON. Numbers and keys of its data stand as they were sent.
    #[schemars(with = "CloudEvent")]
    pub cloudevent: Box<RawValue>,
}

/// One event on its way to one target.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryItem {
    /// Which one.
    pub id: DeliveryId,
    /// Our id of its event.
    pub event: EventId,
    /// The sender's id of its event.
    pub cloudevent_id: String,
    /// The source its event came by.
    pub source: Name,
    /// The rule; `null` for an alert.
    pub rule: Option<Name>,
    /// The rule's target, or the alert's channel.
    pub target: Name,
    /// The element of a list that it is of, where its rule splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementOf>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts that count towards its limit.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// What it waits for, while it is pending or waiting.
    #[serde(default)]
    pub waits_for: Option<WaitsFor>,
    /// When its event was taken.
    pub created_at: Timestamp,
    /// Why it was given up and how to go on, where it is dead. Lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeathNote>,
    /// Each attempt, the oldest first. Lists leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptRecord>,
}

/// What a delivery waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitsFor {
    /// `time`: its next attempt is not due yet; `turn`: it is due, and others are attempted before it; `order`: one
    /// ahead of it with the same key has not ended; `target_paused`: somebody holds its target.
    pub what: String,
    /// The same as a sentence, with the command that goes on where there is one.
    pub message: String,
    /// The delivery ahead, for `order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
    /// Since when, for `target_paused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Why a delivery was given up, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeathNote {
    /// Why.
    pub reason: Reason,
    /// When.
    pub dead_at: Timestamp,
    /// The command that tries it again.
    pub replay: String,
}

/// A delivery that was given up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetterItem {
    /// The delivery's id, and the dead letter's.
    pub id: DeliveryId,
    /// `delivery`, or `source` for what a source could not decode.
    pub kind: String,
    /// Our id of the event.
    pub event: EventId,
    /// The source it came by.
    pub source: Name,
    /// The rule; `null` for an alert.
    pub rule: Option<Name>,
    /// The rule's target, or the alert's channel; the source, for what it could not decode.
    pub target: Name,
    /// The element of a list that it is of, where its rule splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<ElementOf>,
    /// Where it stands on the other side, for what a source could not decode: topic, partition and offset, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<serde_json::Map<String, serde_json::Value>>,
    /// The head of its bytes in base64, for what a source could not decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// How many bytes it had, for what a source could not decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why it was given up.
    pub reason: Reason,
    /// Attempts that counted.
    pub attempts: u32,
    /// When it was given up.
    pub dead_at: Timestamp,
    /// The command that tries it again; for what a source could not decode, the one that reads it anew.
    pub replay: String,
    /// Each attempt, the oldest first. Lists leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptRecord>,
    /// The event, whole, as CloudEvents JSON.
    #[schemars(with = "CloudEvent")]
    pub cloudevent: Box<RawValue>,
}

/// A rule that is loaded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleItem {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// What its author says of it.
    pub description: String,
    /// `active`, or `disabled` by `enabled = false`.
    pub state: String,
    /// The file it stands in, relative to the project's folder.
    pub file: String,
    /// Only events of these sources; empty for all.
    pub from: Vec<Name>,
    /// Only events with all of these tags.
    pub tags: Vec<String>,
    /// Only events with none of these tags.
    pub not_tags: Vec<String>,
    /// What the event must look like, as EventBridge's JSON; `null` where the rule asks for its sources alone.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub pattern: Option<Box<RawValue>>,
    /// The expression over the event's attributes that must be true.
    pub when: Option<String>,
    /// The path whose value keeps events in order.
    pub order_by: Option<String>,
    /// The path of the list whose elements are each delivered alone.
    #[serde(default)]
    pub split: Option<String>,
    /// Its targets.
    pub targets: Vec<RuleTarget>,
}

/// A target as its rule has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleTarget {
    /// Its name within the rule.
    pub name: Name,
    /// `function`, `sink`, `channel`, `http` or `event`.
    pub kind: String,
    /// The function, sink or channel; the address; the new event's type. Without secrets.
    pub to: String,
}

/// A target that is loaded, and what waits for it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TargetItem {
    /// The rule; `null` for the alerts of a channel.
    pub rule: Option<Name>,
    /// Its name within the rule, or the channel's.
    pub target: Name,
    /// The namespace of both.
    pub namespace: Name,
    /// `function`, `sink`, `channel`, `http` or `event`; `gone` where deliveries wait for a target that the
    /// project no longer has.
    pub kind: String,
    /// Whom it calls. Without secrets.
    pub to: String,
    /// `active`, `paused`, `disabled` with its rule, or `gone`.
    pub state: String,
    /// Since when it is paused. A target that is gone may be paused too: then its deliveries wait.
    #[serde(default)]
    pub paused_since: Option<Timestamp>,
    /// Deliveries that have not ended.
    pub pending: u64,
    /// What its newest attempt since the broker's start said, where that failed.
    pub last_error: Option<String>,
}

/// A source that is loaded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SourceItem {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// Its connector.
    pub kind: String,
    /// What its author says of it.
    pub description: String,
    /// What it is doing: `starting`, `running`, `backing_off`, `paused`, `finished`, `stopped`, `disabled`;
    /// for an http source `listening` or `paused`.
    pub state: String,
    /// Since when it is paused.
    #[serde(default)]
    pub paused_since: Option<Timestamp>,
    /// How many of it run side by side, for one that is kept going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Events that wait on the other side, where the source can tell.
    pub lag: Option<u64>,
    /// The newest failure, kept after it is over.
    pub last_error: Option<String>,
    /// When the broker last took something from it since it started.
    pub last_event_at: Option<Timestamp>,
    /// The path it listens on, for an http source.
    pub path: Option<String>,
}

/// A way to tell people.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChannelItem {
    /// Its name.
    pub name: Name,
    /// Its namespace.
    pub namespace: Name,
    /// Its connector.
    pub kind: String,
    /// What its author says of it.
    pub description: String,
    /// The alerts it listens to.
    pub alerts: Vec<String>,
    /// How many seconds alerts wait for others, to be sent as one; `null` where each is sent at once.
    #[serde(default)]
    pub group_seconds: Option<u64>,
    /// `active` or `disabled`.
    pub state: String,
    /// Alerts that have not ended.
    pub pending: u64,
}

/// The answer of a channel's test.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChannelTested {
    /// The channel.
    pub channel: Name,
    /// Our id of the event that carried the test.
    pub event: EventId,
    /// Always true: a failure is a problem.
    pub delivered: bool,
}

/// What a target said when it was tried.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TargetTested {
    /// The rule.
    pub rule: Name,
    /// The target.
    pub target: Name,
    /// What an attempt's outcome would have been.
    pub outcome: AttemptOutcome,
    /// Why it failed; `null` for a success.
    pub reason: Option<Reason>,
    /// The head of what the target was given, where the rule's `input` is `data` or a template; empty where nothing could
    /// be made.
    pub given: Option<String>,
    /// The head of the answer.
    pub response: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The types of events that an `event` target would have made.
    pub would_make: Vec<String>,
}

/// How many dead letters are pending again, or would be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// How many.
    pub replayed: u64,
    /// How many were passed over because a source could not decode them: there is no delivery to try again. Let the
    /// source read them anew, with `eventyard sources seek`, when what is wrong with them is mended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undecodable: u64,
    /// Nothing was done.
    #[serde(default)]
    pub dry_run: bool,
}

/// How many dead letters were given up for good, or would be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// How many.
    pub purged: u64,
    /// Nothing was done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Why rules match an event or do not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// One for each rule that was asked about.
    pub rules: Vec<RuleExplained>,
    /// The rule that came closest, where none matched.
    pub nearest: Option<Name>,
}

/// Why one rule matches or does not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RuleExplained {
    /// Which rule.
    pub rule: Name,
    /// Whether it matches.
    pub matched: bool,
    /// Each thing that it asks for.
    pub fields: Vec<FieldExplained>,
    /// What its `split` finds, where it has one and matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitExplained>,
}

/// What a rule that splits finds in an event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SplitExplained {
    /// Where it looks for a list.
    pub path: String,
    /// How many elements the list has; `null` where there is none.
    pub elements: Option<usize>,
    /// Why the event cannot be split, where it cannot.
    pub problem: Option<String>,
}

/// One thing that a rule asks for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FieldExplained {
    /// Where it looks.
    pub path: String,
    /// What it wants there.
    pub wanted: String,
    /// What it found; `null` where nothing stands.
    pub found: Option<String>,
    /// Whether that will do.
    pub ok: bool,
    /// A likely reason, in words, where it will not.
    pub note: Option<String>,
}

/// One thing that the broker says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoteItem {
    /// A stable word.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// That anything answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Live {
    /// Always true.
    pub live: bool,
}

/// Whether events are taken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessView {
    /// Whether they are.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<NoteItem>,
    /// What is wrong although they are.
    pub warnings: Vec<NoteItem>,
}

/// How the broker is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// eventyard's version.
    pub version: String,
    /// Whether events are taken, and what a person should know.
    pub readiness: ReadinessView,
    /// The hash of the rules in force.
    pub hash: String,
    /// How many rules there are.
    pub rules: usize,
    /// What the store counts.
    pub stats: Stats,
    /// Deliveries that have not ended, for each target that has some.
    pub backlog: Vec<Backlog>,
    /// How many sources are paused.
    #[serde(default)]
    pub paused_sources: usize,
    /// How many targets are paused.
    #[serde(default)]
    pub paused_targets: usize,
    /// How many clients follow what passes.
    #[serde(default)]
    pub taps: usize,
}

/// What waits for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backlog {
    /// Its namespace.
    pub namespace: Name,
    /// The rule; `null` for alerts.
    pub rule: Option<Name>,
    /// The rule's target, or the channel.
    pub target: Name,
    /// How many.
    pub pending: u64,
}

/// A project that was read again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReloadView {
    /// Whether anything has changed.
    pub changed: bool,
    /// The hash of the rules that are in force now.
    pub hash: String,
    /// Blocks whose change takes effect at the next start.
    pub restart_needed: Vec<String>,
    /// What somebody should look at.
    pub warnings: Vec<NoteItem>,
}

/// Whether nothing more happens to a delivery by itself.
#[must_use]
pub fn has_ended(state: DeliveryState) -> bool {
    match state {
        DeliveryState::Delivered | DeliveryState::Dead | DeliveryState::Cancelled => true,
        DeliveryState::Pending | DeliveryState::InFlight | DeliveryState::Waiting => false,
    }
}

impl EventItem {
    /// With the attempts of each delivery; see [`EventItem::brief`].
    #[must_use]
    pub fn new(view: EventView, paused: &Paused) -> EventItem {
        let EventView { envelope, deliveries } = view;
        let mut rules: Vec<Name> = Vec::new();
        for rule in deliveries.iter().filter_map(|delivery| delivery.queue.rule.as_ref()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
        EventItem {
            event: envelope.id,
            namespace: envelope.namespace.clone(),
            source_name: envelope.source_name.clone(),
            tags: envelope.tags.clone(),
            received_at: envelope.received_at,
            hop_count: envelope.hop_count,
            data_bytes: envelope.event.data.bytes().len(),
            rules,
            hint: None,
            settled: deliveries.iter().all(|delivery| has_ended(delivery.state)),
            deliveries: deliveries.into_iter().map(|view| DeliveryItem::new(view, paused)).collect(),
            cloudevent: raw(envelope.structured_json()),
        }
    }

    /// The same for a list: without attempts.
    #[must_use]
    pub fn brief(view: EventView, paused: &Paused) -> EventItem {
        let mut item = EventItem::new(view, paused);
        item.deliveries.iter_mut().for_each(|delivery| delivery.history.clear());
        item
    }
}

impl DeliveryItem {
    /// As the store sees it and what is paused makes of it: what is pending at a paused target waits.
    #[must_use]
    pub fn new(view: DeliveryView, paused: &Paused) -> DeliveryItem {
        let waits_for = WaitsFor::of(&view, paused);
        let held = view.state == DeliveryState::Pending && paused.targets.contains_key(&view.queue);
        DeliveryItem {
            id: view.id,
            event: view.id.event,
            cloudevent_id: view.cloudevent_id,
            source: view.source_name,
            rule: view.queue.rule,
            target: view.queue.target,
            element: ElementOf::new(view.element.as_ref()),
            state: if held { DeliveryState::Waiting } else { view.state },
            attempts: view.attempts,
            next_attempt_at: view.next_attempt_at.filter(|_| !has_ended(view.state)),
            waits_for,
            created_at: view.created_at,
            dead_letter: None,
            history: view.history,
        }
    }

    /// The same for a list: without attempts.
    #[must_use]
    pub fn brief(view: DeliveryView, paused: &Paused) -> DeliveryItem {
        DeliveryItem { history: Vec::new(), ..DeliveryItem::new(view, paused) }
    }

    /// What the newest attempt said, where it failed.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        let newest = self.history.last().filter(|attempt| attempt.outcome != AttemptOutcome::Succeeded)?;
        Some(format!("{}: {}", newest.code, newest.message))
    }
}

impl WaitsFor {
    fn of(view: &DeliveryView, paused: &Paused) -> Option<WaitsFor> {
        if !matches!(view.state, DeliveryState::Pending | DeliveryState::Waiting) {
            return None;
        }
        let plain =
            |what: &str, message: String| WaitsFor { what: what.to_owned(), message, delivery: None, since: None };
        if let Some(since) = paused.targets.get(&view.queue) {
            let rule = view.queue.rule.as_ref().map(Name::as_str).unwrap_or_default();
            let message = format!("its target is paused: eventyard targets resume {rule}/{}", view.queue.target);
            return Some(WaitsFor { since: Some(*since), ..plain("target_paused", message) });
        }
        if let Some(ahead) = view.behind {
            let message = format!("an earlier event of the same key has not ended: eventyard deliveries show {ahead}");
            return Some(WaitsFor { delivery: Some(ahead), ..plain("order", message) });
        }
        Some(match view.state {
            DeliveryState::Waiting => plain("time", "its next attempt is not due yet".to_owned()),
            _ => plain("turn", "it is due, and others are attempted before it".to_owned()),
        })
    }
}

impl DeathNote {
    /// Of a dead letter.
    #[must_use]
    pub fn of(letter: &DeadLetter) -> DeathNote {
        let replay = replay_command(letter.delivery.id);
        DeathNote { reason: letter.reason.clone(), dead_at: letter.dead_at, replay }
    }
}

fn replay_command(id: DeliveryId) -> String {
    format!("eventyard dead-letters replay {id}")
}

impl From<DeadLetter> for DeadLetterItem {
    fn from(letter: DeadLetter) -> DeadLetterItem {
        let undecodable = undecodable::shown(&letter);
        let DeadLetter { delivery, envelope, reason, dead_at } = letter;
        let source = &envelope.source_name;
        let (kind, replay) = match &undecodable {
            None => ("delivery", replay_command(delivery.id)),
            Some(_) => ("source", format!("eventyard sources seek {source} --to …")),
        };
        DeadLetterItem {
            id: delivery.id,
            kind: kind.to_owned(),
            event: envelope.id,
            source: source.clone(),
            replay,
            size: undecodable.as_ref().map(|shown| shown.size),
            raw: undecodable.as_ref().map(|_| BASE64_STANDARD.encode(envelope.event.data.bytes())),
            at: undecodable.map(|shown| shown.at),
            rule: delivery.queue.rule,
            target: delivery.queue.target,
            element: ElementOf::new(delivery.element.as_ref()),
            reason,
            attempts: delivery.attempts,
            dead_at,
            history: delivery.history,
            cloudevent: raw(envelope.structured_json()),
        }
    }
}

impl DeadLetterItem {
    /// The same for a list: without attempts.
    #[must_use]
    pub fn brief(letter: DeadLetter) -> DeadLetterItem {
        DeadLetterItem { history: Vec::new(), ..DeadLetterItem::from(letter) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// JSON text that is written by us and therefore JSON; should it not be, the reader sees `null`.
fn raw(json: Vec<u8>) -> Box<RawValue> {
    String::from_utf8(json).ok().and_then(|text| RawValue::from_string(text).ok()).unwrap_or_else(|| {
        tracing::error!("an event could not be written as JSON; this is a fault of eventyard");
        RawValue::NULL.to_owned()
    })
}
