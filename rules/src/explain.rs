//! Why a rule matched an event, or did not: each field with what was wanted and found, and the commonest reasons
//! in words.

use eventyard_event::decode::Format;
use eventyard_event::{Data, Name};
use serde::Serialize;

use crate::cesql::{self, Attributes, EvaluationError, Expression};
use crate::fields::{Fields, Leaf, Wanted};
use crate::pattern::{Branch, Field, Pattern};
use crate::reference::{Set, satisfied};
use crate::rule::Rule;
use crate::split::{self, SplitFound};
use crate::syntax::{Dialect, Value, shorten};
use crate::view::View;

mod names;
mod near_miss;

/// The answer to "why".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// One for each rule that was asked, in the order of the rules.
    pub rules: Vec<RuleExplanation>,
    /// Where no rule matched: the one of which the most holds. `None` also where there is no rule.
    pub nearest: Option<Name>,
}

/// Why one rule matched, or did not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleExplanation {
    /// The rule.
    pub rule: Name,
    /// Whether it matched; exactly where all fields are `ok`.
    pub matched: bool,
    /// `enabled`, `from`, `tags`, `not_tags` and `when` as far as the rule says something of them, then the fields of its
    /// pattern by path. Of alternatives in `$or`, those that come nearest.
    pub fields: Vec<FieldVerdict>,
    /// What its `split` finds, where it has one and matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitFound>,
}

/// What became of one field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldVerdict {
    /// Such as `data.amount`.
    pub path: String,
    /// What the rule accepts, in the form of a pattern.
    pub wanted: String,
    /// What the event has, as JSON; several values as a list. `None` where it has nothing.
    pub found: Option<String>,
    /// Whether they go together.
    pub ok: bool,
    /// The likely reason, in words.
    pub note: Option<String>,
}

impl RuleExplanation {
    /// How much of the rule holds: a field that nearly does, so that there is something to say about it, counts
    /// as a quarter.
    fn nearness(&self) -> f64 {
        let score = |verdict: &FieldVerdict| match (verdict.ok, &verdict.note) {
            (true, _) => 1.0,
            (false, Some(_)) => 0.25,
            (false, None) => 0.0,
        };
        // Without any field there is nothing that fails.
        let count = u32::try_from(self.fields.len()).unwrap_or(u32::MAX).max(1);
        self.fields.iter().map(score).sum::<f64>() / f64::from(count)
    }
}

/// Explains each of `rules`.
pub(crate) fn explain<'r>(rules: impl Iterator<Item = &'r Rule>, view: &View<'_>) -> Explanation {
    let rules: Vec<RuleExplanation> = rules
        .map(|rule| {
            let mut explanation = explain_conditions(rule, view);
            if !rule.enabled {
                explanation.matched = false;
                explanation.split = None;
                explanation.fields.insert(0, switched_off());
            }
            explanation
        })
        .collect();
    let mut nearest: Option<&RuleExplanation> = None;
    if !rules.iter().any(|rule| rule.matched) {
        for rule in &rules {
            if nearest.is_none_or(|best| rule.nearness() > best.nearness()) {
                nearest = Some(rule);
            }
        }
    }
    let nearest = nearest.map(|rule| rule.rule.clone());
    Explanation { rules, nearest }
}

/// Explains a rule as if it were enabled.
pub(crate) fn explain_conditions(rule: &Rule, view: &View<'_>) -> RuleExplanation {
    let mut fields = filters(rule, view);
    fields.extend(rule.when.as_ref().map(|when| explain_when(when, view)));
    if let Some(pattern) = &rule.pattern {
        fields.extend(explain_pattern(pattern, view));
    }
    let matched = fields.iter().all(|field| field.ok);
    let split = rule.split.as_ref().filter(|_| matched).map(|path| split::explain(path, rule.targets.len(), view));
    RuleExplanation { rule: rule.name.clone(), matched, fields, split }
}

/// Explains a pattern alone: the verdicts of its fields, which are all `ok` exactly where it matches.
#[must_use]
pub fn explain_pattern(pattern: &Pattern, view: &View<'_>) -> Vec<FieldVerdict> {
    let mut wanted = Wanted::default();
    wanted.add(pattern);
    let fields = Fields::new(view, &wanted);
    let mut best: Option<(&Branch, Set, Set)> = None;
    for branch in pattern.branches.iter() {
        let (together, alone) = satisfied(branch, &fields);
        // The alternative with the fewest fields missing; by a cross product, for alternatives differ in length.
        let nearer = best.as_ref().is_none_or(|(other, others, _)| {
            u64::from(together.len()) * other.fields.len() as u64 > u64::from(others.len()) * branch.fields.len() as u64
        });
        if nearer {
            best = Some((branch, together, alone));
        }
    }
    let Some((branch, together, alone)) = best else { return Vec::new() };
    let verdicts = branch.fields.iter().enumerate().map(|(place, field)| {
        let leaves = fields.at(&field.path);
        let ok = together.has(place);
        let note = match (ok, alone.has(place)) {
            (true, _) => None,
            (false, true) => Some(elsewhere(branch, place, &together)),
            (false, false) if leaves.is_empty() => Some(missing(field, view)),
            (false, false) => near_miss::note(field, leaves),
        };
        let mut wanted = String::new();
        field.wanted_json(&mut wanted);
        FieldVerdict { path: field.path.to_string(), wanted: shorten(wanted), found: found(leaves), ok, note }
    });
    verdicts.collect()
}

fn switched_off() -> FieldVerdict {
    FieldVerdict {
        path: "enabled".to_owned(),
        wanted: "true".to_owned(),
        found: Some("false".to_owned()),
        ok: false,
        note: Some("the rule is switched off: it says enabled = false".to_owned()),
    }
}

/// `when`: what it asks for, and what the event has of that.
fn explain_when(when: &Expression, view: &View<'_>) -> FieldVerdict {
    let event = &view.envelope().event;
    let given = when.attributes().into_iter().map(|name| {
        let value = match event.get(name) {
            None => serde_json::Value::Null,
            Some(cesql::Value::String(text)) => text.into(),
            Some(cesql::Value::Integer(number)) => number.into(),
            Some(cesql::Value::Boolean(truth)) => truth.into(),
        };
        (name.to_owned(), value)
    });
    let given: serde_json::Map<String, serde_json::Value> = given.collect();
    let passes = when.passes(event);
    let lacks = || given.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| format!("`{name}`"));
    let note = passes.err().map(|error| match error {
        EvaluationError::MissingAttribute => {
            format!("the event has no {}; ask with EXISTS first", lacks().collect::<Vec<_>>().join(" and no "))
        }
        error => format!("it cannot be evaluated: {error}"),
    });
    FieldVerdict {
        path: "when".to_owned(),
        wanted: shorten(when.text().to_owned()),
        found: (!given.is_empty()).then(|| shorten(serde_json::Value::Object(given).to_string())),
        ok: passes == Ok(true),
        note,
    }
}

/// `from`, `tags` and `not_tags`.
fn filters(rule: &Rule, view: &View<'_>) -> Vec<FieldVerdict> {
    let envelope = view.envelope();
    let list = |items: &[String]| shorten(serde_json::Value::from(items).to_string());
    let mut fields = Vec::new();
    if !rule.from.is_empty() {
        let ok = rule.from.contains(&envelope.source_name);
        let names: Vec<String> = rule.from.iter().map(ToString::to_string).collect();
        let near = names::nearest(envelope.source_name.as_str(), names.iter().map(String::as_str));
        fields.push(FieldVerdict {
            path: "from".to_owned(),
            wanted: list(&names),
            found: Some(serde_json::Value::from(envelope.source_name.as_str()).to_string()),
            ok,
            note: (!ok).then(|| match near {
                Some(near) => format!("the event came by `{}`, the rule says `{near}`", envelope.source_name),
                None => format!("the event came by the source `{}`", envelope.source_name),
            }),
        });
    }
    let missing: Vec<&String> = rule.tags.iter().filter(|tag| !envelope.tags.contains(tag)).collect();
    let excluded: Vec<&String> = rule.not_tags.iter().filter(|tag| envelope.tags.contains(tag)).collect();
    if !rule.tags.is_empty() {
        fields.push(FieldVerdict {
            path: "tags".to_owned(),
            wanted: list(&rule.tags),
            found: Some(list(&envelope.tags)),
            ok: missing.is_empty(),
            note: missing.first().map(|tag| match names::nearest(tag, envelope.tags.iter().map(String::as_str)) {
                Some(near) => format!("the tag `{tag}` is missing; the event has `{near}`"),
                None => format!("the tag `{tag}` is missing; tags are given to a source"),
            }),
        });
    }
    if !rule.not_tags.is_empty() {
        fields.push(FieldVerdict {
            path: "not_tags".to_owned(),
            wanted: list(&rule.not_tags),
            found: Some(list(&envelope.tags)),
            ok: excluded.is_empty(),
            note: excluded.first().map(|tag| format!("the event has the tag `{tag}`, which the rule leaves out")),
        });
    }
    fields
}

/// The values at a path as JSON.
fn found(leaves: &[Leaf<'_>]) -> Option<String> {
    // More than these would be cut anyway.
    let shown: Vec<String> = leaves.iter().take(SHOWN_LEAVES_MAX).map(|leaf| leaf.scalar.to_json()).collect();
    match shown.as_slice() {
        [] => None,
        [one] => Some(shorten(one.clone())),
        several => Some(shorten(format!("[{}]", several.join(", ")))),
    }
}

/// The values of one path that are looked at for a reason.
const SHOWN_LEAVES_MAX: usize = 50;

/// A field that matches, but not together with the others.
fn elsewhere(branch: &Branch, place: usize, together: &Set) -> String {
    let path = branch.fields.get(place).map_or("", |field| &*field.path);
    let shared = |other: &str| other.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
    let others = branch.fields.iter().enumerate().filter(|(other, _)| together.has(*other));
    match others.max_by_key(|(_, field)| shared(&field.path)) {
        Some((_, other)) => format!(
            "it matches for itself, but in another element of the list than `{}`; one element must have both",
            other.path
        ),
        None => "it matches for itself, but not together with the other fields".to_owned(),
    }
}

/// A field at whose path the event has no value.
fn missing(field: &Field, view: &View<'_>) -> String {
    let event = &view.envelope().event;
    let path = &*field.path;
    if path == "data" || path.starts_with("data.") {
        match &event.data {
            Data::None => return "the event has no data".to_owned(),
            Data::Bytes(bytes) if event.seen_data().is_none() => {
                let content_type = event.datacontenttype.as_deref().unwrap_or_default();
                if let Some(Err(error)) = Format::of(content_type).map(|format| format.decode(bytes, content_type)) {
                    return format!("the event's data is not what `{content_type}` says: {error}");
                }
                let kind = event.datacontenttype.as_deref().map_or(String::new(), |kind| format!(" (it is `{kind}`)"));
                return format!("the event's data is not JSON{kind}, and patterns see no other");
            }
            Data::Json(_) | Data::Bytes(_) => {}
        }
    }
    match names::reach(view.root(), path).map(|node| &node.value) {
        Some(Value::Object(entries)) => match entries.first() {
            Some(entry) => format!(
                "`{path}` is an object, and patterns look at the values in it: name one, such as `{path}.{}`",
                shorten(entry.key.to_string())
            ),
            None => format!("`{path}` is an empty object, which counts as absent"),
        },
        Some(Value::Array(_)) => format!("`{path}` is a list without values in it, which counts as absent"),
        _ => match names::nearest_path(view.root(), path) {
            Some(near) => format!("the event has no `{path}`; it has `{near}`"),
            None => format!("the event has no `{path}`"),
        },
    }
}

impl crate::pattern::matcher::Scalar<'_> {
    fn to_json(self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number { text, .. } => text.to_owned(),
            Self::String(text) => Value::String(text.into()).show(Dialect::Json),
        }
    }
}
