//! The broker's own happenings: events of types `eventyard.*`, and the alerts that tell people.
//!
//! An alert is a delivery like any other, to a channel instead of a rule's target: durable, retried, and in the
//! end a dead letter itself. The announcement of a dead letter is committed in the frame that makes it one, and
//! never passes through intake, which may be closed for lack of room. What dies of the broker's own events and
//! alerts is not announced again (that could go on for ever): a metric, a log line and `/readyz` say it.

pub(crate) mod group;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use eventyard_event::{Data, Envelope, Event, Name, Timestamp, format_text};
use eventyard_store::{Admission, Commit, NewDelivery, Reason, StoreError, Taken};
use serde_json::{Value, json};

use crate::broker::{Broker, Note};
use crate::config::AlertKind;
use crate::route::route;
use crate::split::ElementOf;

/// The source name of what the broker itself makes. `[source.eventyard]` is refused, so it is nobody else's.
pub static OWN_SOURCE: LazyLock<Name> =
    LazyLock::new(|| Name::new("eventyard").unwrap_or_else(|_| Name::default_namespace()));

/// The prefix of the types of the broker's own events.
pub const OWN_TYPES: &str = "eventyard.";

/// Whether the death of this delivery makes an announcement.
pub(crate) fn is_announced(taken: &Taken) -> bool {
    taken.queue.rule.is_some() && !taken.envelope.event.ty.starts_with(OWN_TYPES)
}

/// What `/readyz` says where there is none.
pub(crate) fn unannounced(taken: &Taken, reason: &Reason) -> Note {
    let message = format!(
        "an alert could not be delivered to `{}` ({}): eventyard dead-letters show {}",
        taken.queue.target, reason.message, taken.delivery
    );
    Note { code: "alert_dead", message }
}

/// The announcement of a dead letter with its alerts, to be committed in the frame that makes it one; `None`
/// for what is not announced. The same death has the same CloudEvents id, however often it is told.
pub(crate) fn dead_letter(
    broker: &Broker,
    taken: &Taken,
    reason: &Reason,
    attempts: u32,
    at: Timestamp,
) -> Option<Admission> {
    if !is_announced(taken) {
        return None;
    }
    let rule = taken.queue.rule.as_ref().map(Name::as_str);
    let data = json!({
        "alert": AlertKind::DeadLetter.word(),
        "text": format!(
            "{} could not be delivered to {} of rule {}: {}",
            taken.envelope.event.ty, taken.queue.target, rule.unwrap_or_default(), reason.message
        ),
        "dead_letter": taken.delivery,
        "rule": rule,
        "target": taken.queue.target,
        "element": ElementOf::new(taken.element.as_ref()),
        "event": taken.envelope.id,
        "cloudevent": {
            "id": taken.envelope.event.id,
            "source": taken.envelope.event.source,
            "type": taken.envelope.event.ty,
            "subject": taken.envelope.event.subject,
        },
        "source": taken.envelope.source_name,
        "reason": reason,
        "attempts": attempts,
        "dead_at": at,
        "commands": {
            "show": format!("eventyard dead-letters show {}", taken.delivery),
            "replay": format!("eventyard dead-letters replay {}", taken.delivery),
        },
    });
    let id = format!("{}.dead.{}", taken.delivery, taken.deaths.saturating_add(1));
    let subject = taken.delivery.to_string();
    Some(announcement(broker, AlertKind::DeadLetter, &taken.queue.namespace, id, subject, &data))
}

/// The announcement of what a source could not decode, to be committed in the frame that brings it. `id` is the same
/// each time the same thing comes.
pub(crate) fn undecodable(
    broker: &Broker,
    letter: &Envelope,
    id: &str,
    reason: &Reason,
    at: &Value,
    size: u64,
) -> Admission {
    let delivery = letter.id.delivery(0);
    let source = &letter.source_name;
    let data = json!({
        "alert": AlertKind::DeadLetter.word(),
        "text": format!("a message of the source {source} could not be decoded: {}", reason.message),
        "dead_letter": delivery,
        "rule": null,
        "target": null,
        "event": letter.id,
        "source": source,
        "at": at,
        "size": size,
        "reason": reason,
        "attempts": 0,
        "dead_at": letter.received_at,
        "commands": {
            "show": format!("eventyard dead-letters show {delivery}"),
            "purge": format!("eventyard dead-letters purge {delivery}"),
        },
    });
    let id = format!("{source}.{id}.undecodable");
    announcement(broker, AlertKind::DeadLetter, &letter.namespace, id, delivery.to_string(), &data)
}

/// One of the broker's own events, with a delivery for each rule that matches it and an alert for each channel
/// that listens.
fn announcement(
    broker: &Broker,
    kind: AlertKind,
    namespace: &Name,
    id: String,
    subject: String,
    data: &Value,
) -> Admission {
    let in_force = broker.in_force();
    let envelope = own_event(broker, kind, namespace, id, subject, data);
    let due_at = broker.clocks().steady_now();
    let mut deliveries = route(&in_force, &envelope, due_at).deliveries;
    for listener in in_force.listeners(kind) {
        let snapshot = in_force.rules.hash();
        let due_at = listener.group.map_or(due_at, |window| group::window_end(due_at, window));
        deliveries.push(NewDelivery { queue: Arc::clone(&listener.queue), lane: None, due_at, snapshot, split: None });
    }
    Admission { envelope: envelope.into(), deliveries, dedupe: None, dead: None }
}

fn own_event(
    broker: &Broker,
    kind: AlertKind,
    namespace: &Name,
    id: String,
    subject: String,
    data: &Value,
) -> Envelope {
    let now = broker.clocks().now();
    Envelope {
        id: broker.new_event_id(),
        namespace: namespace.clone(),
        source_name: OWN_SOURCE.clone(),
        tags: Vec::new(),
        received_at: now,
        hop_count: 0,
        keys_unique: true,
        event: Event {
            id: id.into(),
            source: "/eventyard".into(),
            ty: format_text!("{OWN_TYPES}{}", kind.word()),
            subject: Some(subject.into()),
            time: Some(format_text!("{now}")),
            datacontenttype: Some("application/json".into()),
            data: Data::Json(Bytes::from(data.to_string())),
            ..Event::default()
        },
    }
}

/// Why a channel could not be tried.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChannelTestError {
    /// There is no such channel.
    #[error("the project in force has no channel `{0}`")]
    Unknown(Name),
    /// The test could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Broker {
    /// Tells people and rules of something that happened to the broker itself. Durable on return.
    ///
    /// # Errors
    /// What the store says; nothing was announced.
    pub async fn announce(&self, kind: AlertKind, subject: &str, data: &Value) -> Result<(), StoreError> {
        let event = self.new_event_id();
        let namespace = Name::default_namespace();
        let admission = announcement(self, kind, &namespace, event.to_string(), subject.into(), data);
        self.store().commit(Commit { admissions: vec![admission], position: None }).await?;
        Ok(())
    }

    /// Sends a test alert to one channel; returns our id of its event, whose fate says whether it arrived.
    ///
    /// # Errors
    /// [`ChannelTestError`].
    pub async fn test_channel(&self, channel: &Name) -> Result<eventyard_event::EventId, ChannelTestError> {
        let in_force = self.in_force();
        let unknown = || ChannelTestError::Unknown(channel.clone());
        let queue = Arc::clone(in_force.channel_queue(channel).ok_or_else(unknown)?);
        let text = format!("A test of the channel `{channel}`. Nothing has happened.");
        let data = json!({ "alert": AlertKind::Test.word(), "text": text, "channel": channel });
        let id = self.new_event_id().to_string();
        let envelope = own_event(self, AlertKind::Test, &queue.namespace, id, channel.to_string(), &data);
        let event = envelope.id;
        let due_at = self.clocks().steady_now();
        let deliveries = vec![NewDelivery { queue, lane: None, due_at, snapshot: in_force.rules.hash(), split: None }];
        let admission = Admission { envelope: envelope.into(), deliveries, dedupe: None, dead: None };
        self.store().commit(Commit { admissions: vec![admission], position: None }).await?;
        Ok(event)
    }
}
