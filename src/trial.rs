//! One call of a target, by hand and kept nowhere: no event is committed, no attempt is counted, nobody is alerted.

use std::sync::Arc;
use std::time::Duration;

use eventyard_event::{Envelope, Event, Name, format_text};
use eventyard_rules::Rule;
use eventyard_store::{AttemptOutcome, QueueKey, Reason, Taken};
use serde_json::json;

use crate::alert::{OWN_SOURCE, OWN_TYPES};
use crate::attempt::{call_with, given};
use crate::broker::Broker;
use crate::in_force::InForce;
use crate::retry::Outcome;
use crate::settle::Tried;
use crate::split::element;

/// What a target said when it was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// `succeeded`, `retryable`, `permanent` or `interrupted`, as an attempt's outcome would be.
    pub outcome: AttemptOutcome,
    /// Why it failed; `None` for a success.
    pub reason: Option<Reason>,
    /// The head of what the target was given, where the rule shapes it and it is text; empty where nothing could be made.
    pub given: Option<String>,
    /// The head of the answer.
    pub response: String,
    /// How long it took.
    pub took: Duration,
    /// The types of events that the target would have made, which were not.
    pub would_make: Vec<String>,
}

impl Broker {
    /// Calls a target once with an event that nobody sent, paused or not. `None` where the project in force has no
    /// such target. Cancellation: a call that is dropped may or may not have reached its target.
    pub async fn try_target(&self, queue: &QueueKey, envelope: Envelope) -> Option<Trial> {
        let in_force = self.in_force();
        let target = in_force.target(queue)?;
        let taken = Taken {
            delivery: envelope.id.delivery(0),
            queue: Arc::new(queue.clone()),
            attempts: 0,
            tries: 0,
            deaths: 0,
            budget_began_at: self.clocks().steady_now(),
            element: rule_of(&in_force, queue).and_then(|rule| element(rule, &envelope, 1)),
            envelope: Arc::new(envelope),
            unreadable: None,
        };
        let mut given = given(self, target, &taken);
        if let Some(given) = &mut given {
            in_force.secrets.hide(given);
        }
        let began = tokio::time::Instant::now();
        let mut tried = tokio::select! {
            biased;
            tried = call_with(self, target, &taken) => tried,
            () = self.cut_off_token().cancelled() => Tried::begun(Outcome::Interrupted),
        };
        let took = began.elapsed();
        in_force.secrets.hide_in(&mut tried);
        let would_make = tried.emits.iter().map(|admission| admission.envelope.event.ty.to_string()).collect();
        let (outcome, reason) = tried.outcome.kept();
        let reason = reason.cloned();
        Some(Trial { outcome, reason, given, response: tried.response, took, would_make })
    }

    /// An event to try a target with, where nobody brings one.
    #[must_use]
    pub fn trial_event(&self, queue: &QueueKey) -> Event {
        let path = format!("{}/{}", queue.rule.as_ref().map_or("", Name::as_str), queue.target);
        let mut data = json!({ "text": format!("A test of the target {path}. Nothing has happened.") });
        // A rule that splits is given a list with this as its one element.
        if let Some(list) = rule_of(&self.in_force(), queue).and_then(|rule| rule.split.as_ref()) {
            data = json!([data]);
            for name in list.as_str().split('.').skip(1).collect::<Vec<_>>().into_iter().rev() {
                data = json!({ name: data });
            }
        }
        Event {
            id: format_text!("{}", self.new_event_id()),
            source: "/eventyard".into(),
            ty: format_text!("{OWN_TYPES}test"),
            subject: Some(path.into()),
            time: Some(format_text!("{}", self.clocks().now())),
            datacontenttype: Some("application/json".into()),
            data: eventyard_event::Data::Json(data.to_string().into()),
            ..Event::default()
        }
    }

    /// An event as the broker would keep it, made by hand.
    #[must_use]
    pub fn trial_envelope(&self, event: Event, namespace: &Name, keys_unique: bool) -> Envelope {
        Envelope {
            id: self.new_event_id(),
            namespace: namespace.clone(),
            source_name: OWN_SOURCE.clone(),
            tags: Vec::new(),
            received_at: self.clocks().now(),
            hop_count: 0,
            keys_unique,
            event,
        }
    }
}

/// The rule whose target a queue is of; `None` for a channel's.
fn rule_of<'r>(in_force: &'r InForce, queue: &QueueKey) -> Option<&'r Rule> {
    in_force.rules.rule(queue.namespace.as_str(), queue.rule.as_ref()?.as_str())
}
