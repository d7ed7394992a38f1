//! What is legal in a pattern and surely not meant: a field that no event can have as it is asked for, and a wildcard
//! that is only `*`.

use super::matcher::{Matcher, Scalar};
use super::{Branch, Field, Pattern};

/// Something that is legal and surely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// In each alternative of the pattern some field can hold nothing that is asked for.
    NeverMatches {
        /// The field; of the first alternative.
        path: String,
        /// Why not, such as "`type` is always a text".
        why: String,
        /// What to do.
        help: String,
    },
    /// A wildcard `*`.
    OnlyStar {
        /// The field that has it.
        path: String,
    },
}

/// The attributes that are texts wherever they are, and whether every event has them.
const TEXTS: [(&str, bool); 9] = [
    ("id", true),
    ("source", true),
    ("specversion", true),
    ("type", true),
    ("subject", false),
    ("time", false),
    ("datacontenttype", false),
    ("dataschema", false),
    ("tags", false),
];

impl Pattern {
    /// What is legal in it and surely not meant.
    #[must_use]
    pub fn oddities(&self) -> Vec<Oddity> {
        let mut found: Vec<Oddity> = Vec::new();
        let mut impossible = self.branches.iter().map(impossible_field);
        if let Some(Some(first)) = impossible.next()
            && impossible.all(|other| other.is_some())
        {
            found.push(first);
        }
        let has_star = |field: &&Field| {
            field.accepts.iter().any(
                |entry| matches!(entry, Matcher::Wildcard(glob) if glob.head().is_empty() && glob.tail() == [Box::from("")]),
            )
        };
        for field in self.fields().filter(has_star) {
            let star = Oddity::OnlyStar { path: field.path.to_string() };
            if !found.contains(&star) {
                found.push(star);
            }
        }
        found
    }

    /// The fields that an event must have in each alternative that asks for them: those that may not be missing. Sorted,
    /// each once.
    #[must_use]
    pub fn required_paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> =
            self.fields().filter(|field| !field.accepts_absence()).map(|field| &*field.path).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Whether an event could match of which these fields are known, all of them texts, whatever else it has.
    #[must_use]
    pub fn may_match(&self, known: &[(&str, &str)]) -> bool {
        let agrees = |field: &Field| {
            known
                .iter()
                .find(|(path, _)| *path == &*field.path)
                .is_none_or(|(_, value)| field.accepts(Scalar::String(value)))
        };
        self.branches.iter().any(|branch| branch.fields.iter().all(|field| agrees(field)))
    }
}

fn impossible_field(branch: &Branch) -> Option<Oddity> {
    branch.fields.iter().find_map(|field| impossible(field))
}

/// Why no event has a field as it is asked for.
fn impossible(field: &Field) -> Option<Oddity> {
    let path = &*field.path;
    let never =
        |why: String, help: &str| Some(Oddity::NeverMatches { path: path.to_owned(), why, help: help.to_owned() });
    if let Some((name, always)) = TEXTS.iter().find(|(name, _)| *name == path) {
        let may_be = |entry: &Matcher| may_be_text(entry) || !always && *entry == Matcher::Absent;
        if field.accepts.iter().any(may_be) {
            return None;
        }
        return if field.accepts_absence() {
            never(format!("every event has `{name}`"), "leave out exists = false, or the rule")
        } else {
            never(format!("`{name}` is always a text"), "ask for a text, in quotes")
        };
    }
    let (first, rest) = path.split_once('.')?;
    if first == "data" || field.accepts_absence() {
        return None;
    }
    let why = format!("`{first}` has nothing below it");
    never(why, &format!("what comes with the event lies below `data`: data.{first}.{rest}"))
}

/// Whether an entry accepts some text.
fn may_be_text(entry: &Matcher) -> bool {
    match entry {
        Matcher::Null | Matcher::Bool(_) | Matcher::Number(_) | Matcher::Numeric(_) | Matcher::Absent => false,
        Matcher::String { .. }
        | Matcher::Address { .. }
        | Matcher::Prefix(_)
        | Matcher::PrefixIgnoreCase(_)
        | Matcher::Suffix(_)
        | Matcher::SuffixIgnoreCase(_)
        | Matcher::EqualsIgnoreCase(_)
        | Matcher::Wildcard(_)
        | Matcher::AnythingBut(_)
        | Matcher::Cidr { .. }
        | Matcher::Present => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oddities(pattern: &str) -> Vec<String> {
        let found = Pattern::from_json(pattern).unwrap().oddities();
        let shown = found.into_iter().map(|found| match found {
            Oddity::NeverMatches { path, why, .. } => format!("{path}: {why}"),
            Oddity::OnlyStar { path } => format!("{path}: *"),
        });
        shown.collect()
    }

    #[test]
    fn what_no_event_can_have_is_found() {
        for (pattern, wanted) in [
            (r#"{"type":[1]}"#, "type: `type` is always a text"),
            (r#"{"subject":[null, true, {"numeric":["=",1]}]}"#, "subject: `subject` is always a text"),
            (r#"{"source":[{"exists":false}]}"#, "source: every event has `source`"),
            (r#"{"customer":{"name":["x"]}}"#, "customer.name: `customer` has nothing below it"),
            (r#"{"type":{"name":["x"]},"data":{"a":[1]}}"#, "type.name: `type` has nothing below it"),
            (r#"{"type":[1],"$or":[{"data":{"a":[1]}},{"data":{"b":[1]}}]}"#, "type: `type` is always a text"),
            (r#"{"data":{"a":["x",{"wildcard":"*"}]}}"#, "data.a: *"),
        ] {
            assert_eq!(oddities(pattern), [wanted], "{pattern}");
        }
    }

    #[test]
    fn what_some_event_may_have_is_left_alone() {
        for pattern in [
            r#"{"type":[1,"x"]}"#,
            r#"{"subject":[{"exists":false}]}"#,
            r#"{"subject":[1,{"exists":false}]}"#,
            r#"{"type":[{"anything-but":[1]}]}"#,
            r#"{"customer":[1]}"#,
            r#"{"customer":{"name":[{"exists":false}]}}"#,
            r#"{"data":{"type":[1],"a.b":[null]}}"#,
            r#"{"$or":[{"type":[1]},{"data":{"b":[1]}}]}"#,
            r#"{"data":{"a":[{"wildcard":"*x"},{"wildcard":"\\*"},{"wildcard":""}]}}"#,
            r#"{"data":{"a":[{"anything-but":{"wildcard":"*"}}]}}"#,
        ] {
            assert_eq!(oddities(pattern), [""; 0], "{pattern}");
        }
    }

    #[test]
    fn an_event_of_which_little_is_known_may_match() {
        let pattern = Pattern::from_json(r#"{"type":["a"],"data":{"n":[1]}}"#).unwrap();
        assert!(pattern.may_match(&[("type", "a")]) && pattern.may_match(&[("source", "/x")]));
        assert!(!pattern.may_match(&[("type", "b")]));
        assert_eq!(pattern.required_paths(), ["data.n", "type"]);
    }
}
