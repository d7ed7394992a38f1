//! The rules in force, and which of them an event matches.
//!
//! A [`RuleSet`] is immutable: a reload compiles a new one beside it and swaps. Everything it answers is a pure
//! function of the rules and the event.

use std::cell::RefCell;
use std::collections::HashMap;

use eventyard_event::json::{Skimmed, Skimmer};
use eventyard_event::{Envelope, Limits, Name};

use crate::cesql::{Attributes, EvaluationError};
use crate::compiled::{Entry, Memory, PatternSet};

use crate::definition;
use crate::explain::{self, Explanation, RuleExplanation};
use crate::rule::{Rule, RuleTest, TestPayload};
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
    /// The patterns of those that are enabled. Their owners are places in the set.
    patterns: PatternSet,
}

/// From how many rules on their hash is made beside compiling them, on a thread of its own.
const BESIDE_FROM: usize = 5_000;

thread_local! {
    /// What matching remembers from event to event, so that it allocates nothing for each.
    static MEMORY: RefCell<Memory> = RefCell::default();
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
    /// What is wrong.
    pub wrong: Wrong,
}

/// What a test expected and did not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The rule matches and should not, or the other way round.
    Match,
    /// It makes another number of deliveries.
    Deliveries {
        /// As the test says.
        wanted: u64,
        /// As it is, or why there are none.
        made: Result<u64, String>,
    },
    /// A target would receive something else.
    Payload {
        /// Which one.
        target: Name,
        /// As the test says.
        wanted: String,
        /// As it is, or why there is nothing.
        made: Result<String, String>,
    },
}

impl TestFailure<'_> {
    /// What is wrong, as a sentence.
    #[must_use]
    pub fn verdict(&self) -> String {
        match &self.wrong {
            Wrong::Match if self.explanation.matched => "the event matches and should not".to_owned(),
            Wrong::Match => "the event should match and does not".to_owned(),
            Wrong::Deliveries { wanted, made: Ok(made) } => {
                format!("the event should make {wanted} deliveries and makes {made}")
            }
            Wrong::Deliveries { wanted, made: Err(problem) } => {
                format!("the event should make {wanted} deliveries and cannot be split: {problem}")
            }
            Wrong::Payload { target, wanted, made: Ok(made) } => {
                format!("`{target}` should receive {wanted} and would receive {made}")
            }
            Wrong::Payload { target, wanted, made: Err(problem) } => {
                format!("`{target}` should receive {wanted} and would receive nothing: {problem}")
            }
        }
    }
}

impl RuleSet {
    /// Compiles rules. They keep their order, and matches are given in it.
    #[must_use]
    pub fn compile(rules: Vec<Rule>) -> RuleSet {
        let (hash, namespaces) = if rules.len() < BESIDE_FROM {
            (definition::hash(&rules), RuleSet::compiled(&rules))
        } else {
            std::thread::scope(|scope| {
                let hash = scope.spawn(|| definition::hash(&rules));
                let namespaces = RuleSet::compiled(&rules);
                (hash.join().unwrap_or_else(|_| definition::hash(&rules)), namespaces)
            })
        };
        RuleSet { rules, hash, namespaces }
    }

    fn compiled(rules: &[Rule]) -> HashMap<Name, Namespace> {
        let mut by_namespace: HashMap<Name, Vec<Entry<'_>>> = HashMap::new();
        for (owner, rule) in (0..).zip(rules).filter(|(_, rule)| rule.enabled) {
            let from = rule.from.iter().map(Name::as_str).collect();
            let entry = Entry { owner, pattern: rule.pattern.as_ref(), from };
            by_namespace.entry(rule.namespace.clone()).or_default().push(entry);
        }
        let compile = |entries: Vec<Entry<'_>>| Namespace { patterns: PatternSet::of(entries.into_iter()) };
        by_namespace.into_iter().map(|(name, entries)| (name, compile(entries))).collect()
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

    /// The enabled rules of the event's namespace that match it, in the order of the set. Allocates for the answer
    /// alone.
    #[must_use]
    pub fn matches(&self, envelope: &Envelope) -> Vec<&Rule> {
        self.matches_telling(envelope, |_, _| ())
    }

    /// The same; tells of each rule whose pattern matches and whose `when` could not be evaluated, so that it does not
    /// match.
    #[must_use]
    pub fn matches_telling(&self, envelope: &Envelope, mut failed: impl FnMut(&Rule, EvaluationError)) -> Vec<&Rule> {
        let Some(namespace) = self.namespaces.get(&envelope.namespace) else { return Vec::new() };
        MEMORY.with_borrow_mut(|memory| {
            let rules = self.at(namespace.patterns.matches(envelope, memory));
            rules.filter(|rule| others_pass(rule, &envelope.tags, &envelope.event, &mut failed)).collect()
        })
    }

    /// The rules at some places.
    fn at<'r>(&'r self, places: &[u32]) -> impl Iterator<Item = &'r Rule> {
        places.iter().filter_map(|place| self.rules.get(*place as usize))
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
}

/// Matches many events of one source where they stand, as JSON: nothing of them is copied. What it learns from one it uses
/// for the next.
pub struct InPlace<'r> {
    of: OfSource<'r>,
    skimmer: Skimmer,
    memory: Memory,
}

/// What events of one source are matched against.
struct OfSource<'r> {
    rules: &'r RuleSet,
    patterns: &'r PatternSet,
    source_name: Name,
    tags: Vec<String>,
}

impl<'r> InPlace<'r> {
    /// For events that come by the source that an envelope names; its event is not looked at. None where the envelope's
    /// namespace has no rules.
    #[must_use]
    pub fn new(rules: &'r RuleSet, envelope: &Envelope, limits: Limits) -> Option<InPlace<'r>> {
        let of = OfSource {
            rules,
            patterns: &rules.namespaces.get(&envelope.namespace)?.patterns,
            source_name: envelope.source_name.clone(),
            tags: envelope.tags.clone(),
        };
        Some(InPlace { of, skimmer: Skimmer::new(limits), memory: Memory::default() })
    }

    /// The id of an event, as JSON, and the rules that match it, in the order of the set. `None` says nothing: it is no
    /// event, or an unusual one, of which [`RuleSet::matches`] knows.
    pub fn matches<'s>(&'s mut self, event: &'s [u8]) -> Option<(&'s str, impl Iterator<Item = &'r Rule>)> {
        let InPlace { of, skimmer, memory } = self;
        let event = skimmer.read(event, &|from, key| of.patterns.asks(from, key))?;
        Some((event.id(), of.matches(event, memory)))
    }

    /// The same for the event in the first line of a text, and where the line ends: at its line feed, or at the text's end.
    /// `None`, which says nothing, where the event is not like those that [`InPlace::matches`] was asked about.
    pub fn matches_line<'s>(&'s mut self, text: &'s str) -> Option<(&'s str, impl Iterator<Item = &'r Rule>, usize)> {
        let InPlace { of, skimmer, memory } = self;
        let (event, end) = skimmer.read_line(text)?;
        Some((event.id(), of.matches(event, memory), end))
    }
}

impl<'r> OfSource<'r> {
    fn matches<'s>(
        &'s self,
        event: Skimmed<'s>,
        memory: &'s mut Memory,
    ) -> impl Iterator<Item = &'r Rule> + use<'r, 's> {
        let OfSource { rules, patterns, source_name, tags } = self;
        let matched = rules.at(patterns.matches_skimmed(&event, source_name, tags, memory));
        matched.filter(move |rule| others_pass(rule, tags, &event, &mut |_, _| ()))
    }
}

/// Runs every `[[rule.test]]`, those of rules that are not enabled too: a test asks what the rule says, not whether it
/// is in force. A test that does not name its event's tags gets those of the source it comes from, which `tags_of`
/// knows. What a target would receive is the caller's to say: `payload` is asked about each test that names one and holds
/// otherwise.
#[must_use]
pub fn run_tests<'r>(
    rules: &'r [Rule],
    tags_of: impl Fn(&Name) -> Vec<String>,
    payload: impl Fn(&Rule, &TestPayload, Envelope) -> Option<Wrong>,
) -> Vec<TestFailure<'r>> {
    let mut failures = Vec::new();
    for rule in rules {
        for test in &rule.tests {
            let event = test.envelope(&tags_of);
            let explanation = explain::explain_conditions(rule, &View::new(&event));
            let wrong = wrong(rule, test, &explanation)
                .or_else(|| test.payload.as_ref().and_then(|wanted| payload(rule, wanted, event)));
            if let Some(wrong) = wrong {
                failures.push(TestFailure { rule, test, explanation, wrong });
            }
        }
    }
    failures
}

fn wrong(rule: &Rule, test: &RuleTest, explanation: &RuleExplanation) -> Option<Wrong> {
    if explanation.matched != test.matches {
        return Some(Wrong::Match);
    }
    let wanted = test.deliveries?;
    let made = match &explanation.split {
        _ if !explanation.matched => Ok(0),
        None => Ok(rule.targets.len() as u64),
        Some(found) => found.deliveries(rule.targets.len()),
    };
    (made != Ok(wanted)).then_some(Wrong::Deliveries { wanted, made })
}

/// Whether a rule's conditions beside its pattern let an event through. Tells where `when` could not be evaluated.
fn others_pass(
    rule: &Rule,
    tags: &[String],
    event: &dyn Attributes,
    failed: &mut dyn FnMut(&Rule, EvaluationError),
) -> bool {
    rule.tags.iter().all(|tag| tags.contains(tag))
        && !rule.not_tags.iter().any(|tag| tags.contains(tag))
        && rule.when.as_ref().is_none_or(|when| {
            when.passes(event).unwrap_or_else(|error| {
                failed(rule, error);
                false
            })
        })
}
