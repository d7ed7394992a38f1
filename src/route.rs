//! Which deliveries an event makes: a pure function of the event and one snapshot of the compiled rules.

use std::sync::Arc;

use eventyard_event::{Envelope, Name, Timestamp};
use eventyard_rules::{OrderAfterDead, Path, Rule, SPLIT_DELIVERIES_MAX, View};
use eventyard_store::{AfterDead, Lane, NewDelivery, place_count};
use sha2::{Digest, Sha256};

use crate::in_force::InForce;
use crate::split::split;

/// A lane's key is kept beside each delivery; a longer value of `order_by` is replaced by its hash.
const LANE_KEY_BYTES_MAX: usize = 256;

/// Where an event goes.
#[derive(Clone, Debug, Default)]
pub struct Routed {
    /// The rules that matched, by name.
    pub rules: Vec<Name>,
    /// One for each target of each of them, or one for each element of a list.
    pub deliveries: Vec<NewDelivery>,
    /// The place among these of the first whose target has `reply = true`.
    pub reply: Option<u32>,
    /// How many of the deliveries there are for the sake of elements of lists, each counted.
    pub split: usize,
    /// How many rules did not match because their `when` could not be evaluated.
    pub unevaluated: u32,
}

/// Routes one event. `due_at` is the steady clock's time. Reads nothing but its arguments.
#[must_use]
pub fn route(in_force: &InForce, envelope: &Envelope, due_at: Timestamp) -> Routed {
    let mut routed = Routed::default();
    let snapshot = in_force.rules.hash();
    // Matching needs no tree of the event; looking up what a rule orders by does.
    let mut view = None;
    let mut unevaluated = 0;
    let mut left = SPLIT_DELIVERIES_MAX;
    let matched = in_force.rules.matches_telling(envelope, |_, _| unevaluated += 1);
    routed.rules.reserve_exact(matched.len());
    routed.deliveries.reserve_exact(matched.iter().map(|rule| rule.targets.len()).sum());
    for rule in matched {
        routed.rules.push(rule.name.clone());
        let lane =
            rule.order_by.as_ref().and_then(|path| lane(rule, path, view.get_or_insert_with(|| View::new(envelope))));
        let split = match &rule.split {
            None => None,
            Some(path) => match split(rule, path, envelope, &mut left) {
                // An empty list.
                None => continue,
                some => some,
            },
        };
        for (target, queue) in rule.targets.iter().zip(in_force.queues(rule)) {
            let queue = Arc::clone(queue);
            if target.reply && routed.reply.is_none() {
                routed.reply = u32::try_from(place_count(&routed.deliveries)).ok();
            }
            routed.deliveries.push(NewDelivery { queue, lane: lane.clone(), due_at, snapshot, split: split.clone() });
        }
    }
    routed.split = SPLIT_DELIVERIES_MAX - left;
    routed.unevaluated = unevaluated;
    routed
}

/// The lane of an ordered rule's deliveries; `None` where the event lacks the key.
fn lane(rule: &Rule, order_by: &Path, view: &View<'_>) -> Option<Lane> {
    let value = order_by.lookup(view)?;
    let key = if value.len() <= LANE_KEY_BYTES_MAX {
        value.as_bytes().to_vec()
    } else {
        Sha256::digest(value.as_bytes()).to_vec()
    };
    let after_dead = match rule.order_after_dead {
        OrderAfterDead::Continue => AfterDead::Continue,
        OrderAfterDead::Wait => AfterDead::Wait,
    };
    Some(Lane { key, after_dead })
}
