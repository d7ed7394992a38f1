//! A value that is there and is not accepted: the commonest reasons, in words.

use super::SHOWN_LEAVES_MAX;
use crate::fields::Leaf;
use crate::pattern::Field;
use crate::pattern::matcher::{Matcher, Scalar};
use crate::pattern::number::exact;
use crate::syntax::shorten;

/// The entries of a list that are looked at for a reason.
const ENTRIES_MAX: usize = 200;

/// The likeliest reason why none of `leaves` is accepted; `None` where they are plainly other values.
pub(super) fn note(field: &Field, leaves: &[Leaf<'_>]) -> Option<String> {
    if field.accepts.iter().all(|matcher| matches!(matcher, Matcher::Absent)) {
        return Some("the field is there, and the rule wants it absent".to_owned());
    }
    // From the reason that leaves no doubt to the one that is a guess.
    let reasons = [other_type, other_case, spaces, too_exact, left_out, part_of, typing_error];
    let found = reasons.iter().find_map(|reason| {
        let entries = field.accepts.iter().take(ENTRIES_MAX);
        entries
            .flat_map(|entry| leaves.iter().take(SHOWN_LEAVES_MAX).map(move |leaf| (entry, leaf.scalar)))
            .find_map(|(entry, scalar)| reason(entry, scalar))
    });
    found.or_else(|| another_kind(field, leaves))
}

/// All that is wanted is of one kind, and all that is there of another.
fn another_kind(field: &Field, leaves: &[Leaf<'_>]) -> Option<String> {
    let mut wanted = field.accepts.iter().map(kind_wanted);
    let first = wanted.next()??;
    let found = leaves.first()?.scalar.kind();
    let different = wanted.all(|kind| kind == Some(first)) && leaves.iter().all(|leaf| leaf.scalar.kind() == found);
    (different && found != first).then(|| format!("the event has {found}, the rule wants {first}"))
}

fn kind_wanted(entry: &Matcher) -> Option<&'static str> {
    match entry {
        Matcher::Null => Some("null"),
        Matcher::Bool(_) => Some("a boolean"),
        Matcher::Number(_) | Matcher::Numeric(_) => Some("a number"),
        Matcher::AnythingBut(_) | Matcher::Present | Matcher::Absent => None,
        _ => Some("a string"),
    }
}

fn json(entry: &Matcher) -> String {
    let mut out = String::new();
    entry.write_json(&mut out);
    shorten(out)
}

/// `"5"` where 5 is wanted, and the like.
fn other_type(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    match (entry, scalar) {
        (Matcher::Number(_) | Matcher::Numeric(_), Scalar::String(found)) => {
            let number = found.trim();
            let value = exact(number)?;
            let otherwise = entry.accepts(Scalar::Number { text: number, value: Some(value) });
            let tail = if otherwise { "" } else { " (and this one would not match either)" };
            Some(format!(
                "the event has the string \"{}\", the rule wants a number; a number has no quotes{tail}",
                shorten(found.to_owned())
            ))
        }
        (_, Scalar::Number { text, .. }) if entry.accepts(Scalar::String(text)) => {
            Some(format!("the event has the number {text}, the rule wants a string; a string has quotes"))
        }
        (_, Scalar::Bool(value)) if entry.accepts(Scalar::String(if value { "true" } else { "false" })) => {
            Some(format!("the event has the boolean {value}, the rule wants the string \"{value}\""))
        }
        (_, Scalar::Null) if entry.accepts(Scalar::String("null")) => {
            Some("the event has null, which is no string".to_owned())
        }
        (Matcher::Bool(wanted), Scalar::String(found)) if found.parse() == Ok(*wanted) => {
            Some(format!("the event has the string \"{found}\", the rule wants the boolean {wanted}"))
        }
        (Matcher::Null, Scalar::String(found @ ("null" | ""))) => {
            Some(format!("the event has the string \"{found}\", the rule wants null"))
        }
        _ => None,
    }
}

fn other_case(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    let Scalar::String(found) = scalar else { return None };
    let lower = found.to_lowercase();
    let (same, instead) = match entry {
        Matcher::String { text, .. } => (text.to_lowercase() == lower, "{ equals-ignore-case = … }"),
        Matcher::Prefix(text) => (lower.starts_with(&text.to_lowercase()), "{ prefix = { equals-ignore-case = … } }"),
        Matcher::Suffix(text) => (lower.ends_with(&text.to_lowercase()), "{ suffix = { equals-ignore-case = … } }"),
        Matcher::Wildcard(glob) => {
            let lowered = crate::pattern::lowered(glob)?;
            (lowered.matches(&lower), "the case of the event")
        }
        _ => return None,
    };
    same.then(|| format!("upper and lower case differ from {}; write {instead} if they should not count", json(entry)))
}

fn spaces(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    match (entry, scalar) {
        (_, Scalar::String(found)) if found.trim() != found && entry.accepts(Scalar::String(found.trim())) => {
            Some("the event's string has spaces around it, and they count".to_owned())
        }
        (Matcher::String { text, .. }, Scalar::String(found)) if text.trim() == found => {
            Some(format!("the rule's {} has spaces around it, and they count", json(entry)))
        }
        _ => None,
    }
}

/// Numbers that are nearly equal because no float can tell them apart.
fn too_exact(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    match (entry, scalar) {
        (Matcher::Number(_) | Matcher::Numeric(_), Scalar::Number { text, value: None }) => Some(format!(
            "{} has more digits than can be compared exactly, so only the same spelling would match",
            shorten(text.to_owned())
        )),
        (Matcher::Number(wanted), Scalar::Number { .. }) if wanted.value.is_none() => Some(format!(
            "the rule's {} has more digits than can be compared exactly, so only the same spelling would match",
            json(entry)
        )),
        _ => None,
    }
}

fn left_out(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    match entry {
        Matcher::AnythingBut(except) if except.names(scalar) => {
            Some("this is what `anything-but` leaves out".to_owned())
        }
        _ => None,
    }
}

/// The whole is wanted and a part would fit.
fn part_of(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    let (Matcher::String { text, exactly: false }, Scalar::String(found)) = (entry, scalar) else { return None };
    if text.is_empty() || found.is_empty() {
        return None;
    }
    let text = shorten(text.to_string());
    if found.starts_with(&*text) {
        Some(format!("the event's string goes on after \"{text}\"; {{ prefix = \"{text}\" }} would match it"))
    } else if found.ends_with(&*text) {
        Some(format!("the event's string ends with \"{text}\"; {{ suffix = \"{text}\" }} would match it"))
    } else if text.contains('*') && crate::pattern::fits_as_wildcard(&text, found) {
        Some(format!("`*` stands for itself in a plain string; {{ wildcard = \"{text}\" }} would match it"))
    } else {
        None
    }
}

fn typing_error(entry: &Matcher, scalar: Scalar<'_>) -> Option<String> {
    let (Matcher::String { text, .. }, Scalar::String(found)) = (entry, scalar) else { return None };
    super::names::nearest(found, std::iter::once(&**text))
        .map(|near| format!("nearly \"{near}\"; is one of the two misspelled?"))
}
