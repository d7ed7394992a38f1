//! The rules in force, and which of them an event matches.
//!
//! A [`RuleSet`] is immutable: a reload compiles a new one beside it and swaps. Everything it answers is a pure
//! function of the rules and the event.

use std::collections::HashMap;

use eventyard_event::{Envelope, Name};

use crate::definition;
use crate::explain::{self, Explanation, RuleExplanation};
use crate::fields::{Fields, Wanted};
use crate::reference;
use crate::rule::{Rule, RuleTest};
use crate::view::View;

/// Compiled rules.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    hash: [u8; 16],
    namespaces: HashMap<Name, Namespace>,
}

/// What is known of the rules of one namespace.
#[derive(Clone, Debug, Default)]
struct Namespace {
    /// Those that are enabled, by their places in the set.
    enabled: Vec<usize>,
    /// All paths that their patterns look at.
    wanted: Wanted,
}

/// A `[[rule.test]]` that did not come out as it says.
#[derive(Clone, Debug)]
pub struct TestFailure<'r> {
    /// Whose test it is.
    pub rule: &'r Rule,
    /// The test; what it expected is in [`RuleTest::matches`].
    pub test: &'r RuleTest,
    /// Whether the rule matched, and why.
    pub explanation: RuleExplanation,
}

impl RuleSet {
    /// Compiles rules. They keep their order, and matches are given in it.
    #[must_use]
    pub fn compile(rules: Vec<Rule>) -> RuleSet {
        let hash = definition::hash(&rules);
        let mut namespaces: HashMap<Name, Namespace> = HashMap::new();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.enabled) {
            let namespace = namespaces.entry(rule.namespace.clone()).or_default();
            namespace.enabled.push(place);
            if let Some(pattern) = &rule.pattern {
                namespace.wanted.add(pattern);
            }
        }
        RuleSet { rules, hash, namespaces }
    }

    /// Every rule, those that are not enabled included, in the order in which they were given.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of this name in this namespace.
    #[must_use]
    pub fn rule(&self, namespace: &str, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.namespace.as_str() == namespace && rule.name.as_str() == name)
    }

    /// What the rules say, as 16 bytes: the same for the same definitions, in whatever order and words they were
    /// written, in every run and version; another as soon as any of them would match or deliver otherwise.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        self.hash
    }

    /// The enabled rules of the event's namespace that match it, in the order of the set.
    #[must_use]
    pub fn matches(&self, envelope: &Envelope) -> Vec<&Rule> {
        // The event is read only if some rule gets as far as its pattern.
        let mut candidates = self.candidates(envelope).peekable();
        if candidates.peek().is_none() {
            return Vec::new();
        }
        self.matches_view(&View::new(envelope))
    }

    /// The same for an event that is read already, for a caller that goes on to look up paths in it.
    #[must_use]
    pub fn matches_view(&self, view: &View<'_>) -> Vec<&Rule> {
        let envelope = view.envelope();
        let Some(namespace) = self.namespaces.get(&envelope.namespace) else { return Vec::new() };
        // This is the place of the fast matcher: from here on it will find the rules whose patterns match without
        // asking each of them. Until then the event is laid flat once, and each rule that gets past its filters is
        // asked by the reference evaluator.
        let mut fields = None;
        let matching = self.candidates(envelope).filter(|rule| {
            rule.pattern.as_ref().is_none_or(|pattern| {
                let fields = fields.get_or_insert_with(|| Fields::new(view, &namespace.wanted));
                reference::matches_fields(pattern, fields)
            })
        });
        matching.collect()
    }

    /// The enabled rules of the event's namespace whose `from`, `tags` and `not_tags` let it through.
    fn candidates<'s, 'e>(&'s self, envelope: &'e Envelope) -> impl Iterator<Item = &'s Rule> + use<'s, 'e> {
        let enabled = self.namespaces.get(&envelope.namespace).map_or(&[][..], |namespace| &namespace.enabled);
        enabled.iter().filter_map(|&place| self.rules.get(place)).filter(|rule| filters_pass(rule, envelope))
    }

    /// Why each rule of the event's namespace, or the one called `rule`, matches the event or does not. Where none
    /// of them does, the one that is nearest to it is named. No rule of that name: no explanation.
    #[must_use]
    pub fn explain(&self, envelope: &Envelope, rule: Option<&str>) -> Explanation {
        let view = View::new(envelope);
        let asked = self.rules.iter().filter(|candidate| {
            candidate.namespace == envelope.namespace && rule.is_none_or(|name| candidate.name.as_str() == name)
        });
        explain::explain(asked, &view)
    }

    /// Runs every `[[rule.test]]`, those of rules that are not enabled too: a test asks what the rule says, not
    /// whether it is in force. A test that does not name its event's tags gets those of the source it comes from,
    /// which `tags_of` knows.
    #[must_use]
    pub fn run_tests(&self, tags_of: impl Fn(&Name) -> Vec<String>) -> Vec<TestFailure<'_>> {
        let mut failures = Vec::new();
        for rule in &self.rules {
            for test in &rule.tests {
                let mut event = test.event.clone();
                if !test.tags_given {
                    event.tags = tags_of(&event.source_name);
                }
                let explanation = explain::explain_conditions(rule, &View::new(&event));
                if explanation.matched != test.matches {
                    failures.push(TestFailure { rule, test, explanation });
                }
            }
        }
        failures
    }
}

/// Whether `from`, `tags` and `not_tags` let the event through.
pub(crate) fn filters_pass(rule: &Rule, envelope: &Envelope) -> bool {
    (rule.from.is_empty() || rule.from.contains(&envelope.source_name))
        && rule.tags.iter().all(|tag| envelope.tags.contains(tag))
        && !rule.not_tags.iter().any(|tag| envelope.tags.contains(tag))
}
