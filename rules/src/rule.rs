//! What a rule is, as its file says it.

use eventyard_event::{Envelope, Name};
use serde_json::Value;

use crate::cesql::Expression;
use crate::diagnostic::Place;
use crate::path::Path;
use crate::pattern::Pattern;
use crate::target::{RetryOverrides, Target};

/// One `[[rule]]`, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its namespace.
    pub name: Name,
    /// It sees events of this namespace only.
    pub namespace: Name,
    /// For people.
    pub description: String,
    /// A rule that is not enabled is checked all the same, and matches nothing.
    pub enabled: bool,
    /// Only events of one of these sources (`[source.NAME]`); empty for all.
    pub from: Vec<Name>,
    /// Only events with all of these tags.
    pub tags: Vec<String>,
    /// Only events with none of these tags.
    pub not_tags: Vec<String>,
    /// What the event must look like; `None` only where `from` or `when` is given.
    pub pattern: Option<Pattern>,
    /// What its attributes must be worth.
    pub when: Option<Expression>,
    /// Events with the same value there are delivered one after another.
    pub order_by: Option<Path>,
    /// What a dead letter does to those of its key that wait behind it.
    pub order_after_dead: OrderAfterDead,
    /// The list in the data whose elements are each delivered alone.
    pub split: Option<Path>,
    /// What the rule says about the retries of its targets.
    pub retry: RetryOverrides,
    /// At least one; their names differ.
    pub targets: Vec<Target>,
    /// Run whenever the rule is loaded.
    pub tests: Vec<RuleTest>,
    /// Where it stands.
    pub place: Place,
}

/// `order_after_dead`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OrderAfterDead {
    /// The next one of the key is delivered.
    #[default]
    Continue,
    /// The key waits until the dead letter is replayed and ends, or is purged.
    Wait,
}

/// One `[[rule.test]]`: an event, and whether the rule must match it.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// For people; `test 1`, `test 2` … where the file gives none.
    pub name: String,
    /// The event, with what its file left out filled in.
    pub event: Envelope,
    /// Whether the test names the event's tags itself; if not, they are those of the source it comes from.
    pub tags_given: bool,
    /// What is expected.
    pub matches: bool,
    /// How many deliveries the rule makes of the event, where the test says so.
    pub deliveries: Option<u64>,
    /// What a target would receive, where the test says so.
    pub payload: Option<TestPayload>,
    /// Where it stands.
    pub place: Place,
}

/// What a test says that a target would receive.
#[derive(Clone, Debug, PartialEq)]
pub struct TestPayload {
    /// A text is the bytes themselves; anything else is held against them as JSON.
    pub wanted: Value,
    /// One of the rule's.
    pub target: Name,
    /// Counts from 1; of which element it is, where the rule splits.
    pub element: u32,
}

impl RuleTest {
    /// The event as the rule sees it. One whose tags the test does not name has those of the source it comes from.
    pub(crate) fn envelope(&self, tags_of: impl Fn(&Name) -> Vec<String>) -> Envelope {
        let mut event = self.event.clone();
        if !self.tags_given {
            event.tags = tags_of(&event.source_name);
        }
        event
    }
}
