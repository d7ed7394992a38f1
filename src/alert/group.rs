//! `[channel.NAME] group = "5m"`: alerts that come close together reach people as one, which names each.
//!
//! Grouping changes when alerts are sent and in how many requests, and nothing else: every alert is still a delivery
//! of its own, made in the frame of what it tells of, retried, and in the end a dead letter of its own. Its due time
//! is the end of the window that it falls into, so that those of one window become due together; dispatch takes
//! what is due on the channel, and one attempt sends all of it.
//!
//! Windows lie at whole multiples of their length since 1970. So nothing about them has to be remembered, a restart
//! does not move them, and an alert waits for at most one length.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventyard_event::{Data, Envelope, Event, Timestamp, format_text};
use eventyard_store::Taken;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{OWN_TYPES, Value, json};

/// The most alerts that are sent as one; more are sent as several. Each is a kilobyte or two, so that this keeps a
/// message to what people's systems take.
pub(crate) const GROUP_ALERTS_MAX: usize = 100;

/// The type of the event that stands for several alerts.
const GROUP_TYPE: &str = "alerts";

/// When an alert that is made now is sent: at the end of its window.
pub(crate) fn window_end(now: Timestamp, window: Duration) -> Timestamp {
    let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
    let into = now.as_millis().rem_euclid(length);
    Timestamp::from_millis(now.as_millis().saturating_add(length - into))
}

/// What stands for several alerts while they are sent: the event that people receive, and an id that is the same
/// each time the same ones are sent together.
pub(crate) struct Joined {
    pub(crate) id: String,
    pub(crate) envelope: Arc<Envelope>,
}

/// Joins alerts of one channel; `None` where there are none.
pub(crate) fn join(alerts: &[Taken]) -> Option<Joined> {
    let first = alerts.first()?;
    let newest = alerts.iter().map(|alert| alert.envelope.received_at).max()?;
    let id = id(alerts);
    let texts: Vec<String> = alerts.iter().map(text).collect();
    let data = json!({
        "alert": "group",
        "text": format!("{} alerts:\n- {}", alerts.len(), texts.join("\n- ")),
        "channel": first.queue.target,
        "alerts": alerts.iter().map(named).collect::<Vec<Value>>(),
    });
    let event = Event {
        id: id.as_str().into(),
        source: "/eventyard".into(),
        ty: format_text!("{OWN_TYPES}{GROUP_TYPE}"),
        subject: Some(first.queue.target.as_str().into()),
        time: Some(format_text!("{newest}")),
        datacontenttype: Some("application/json".into()),
        data: Data::Json(Bytes::from(data.to_string())),
        ..Event::default()
    };
    let envelope = Envelope { received_at: newest, keys_unique: true, event, ..Envelope::clone(&first.envelope) };
    Some(Joined { id, envelope: Arc::new(envelope) })
}

/// The same for the same alerts, in whatever order they were taken.
fn id(alerts: &[Taken]) -> String {
    let mut deliveries: Vec<String> = alerts.iter().map(|alert| alert.delivery.to_string()).collect();
    deliveries.sort_unstable();
    let digest = Sha256::digest(deliveries.join("\n").as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("group-{hex}")
}

/// One of the alerts: what it says when it is sent alone, with its own id and type.
fn named(alert: &Taken) -> Value {
    let event = &alert.envelope.event;
    let data = event.data.json().and_then(|bytes| serde_json::from_slice::<Box<RawValue>>(bytes).ok());
    json!({ "id": event.id, "type": event.ty, "time": event.time, "data": data })
}

/// The sentence that an alert says of itself.
fn text(alert: &Taken) -> String {
    let event = &alert.envelope.event;
    let data = event.data.json().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let text = data.as_ref().and_then(|data| data.get("text")).and_then(Value::as_str);
    text.unwrap_or(&event.ty).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_ends_at_a_whole_multiple_of_its_length() {
        let end = |now, seconds| window_end(Timestamp::from_millis(now), Duration::from_secs(seconds)).as_millis();
        assert_eq!(end(1, 300), 300_000);
        assert_eq!(end(299_999, 300), 300_000);
        assert_eq!(end(300_000, 300), 600_000, "what falls on an end belongs to the next window");
        assert_eq!(end(-1, 300), 0);
    }

    proptest! {
        #[test]
        fn an_alert_waits_for_at_most_one_length(now in -1_i64 << 50..1_i64 << 50, seconds in 1_u64..21_600) {
            let window = Duration::from_secs(seconds);
            let now = Timestamp::from_millis(now);
            let end = window_end(now, window);
            prop_assert!(end > now && end.since(now) <= window);
            prop_assert_eq!(window_end(Timestamp::from_millis(end.as_millis() - 1), window), end);
        }
    }
}
