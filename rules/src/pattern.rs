//! Patterns: what an event must look like.
//!
//! A pattern names fields and lists for each the values it accepts; all fields must agree (AND), and of each list
//! one entry (OR). Operators and edge cases are those of EventBridge, as its library event-ruler 2.0 decides them:
//!
//! ```toml
//! type = ["order.created"]
//! data.amount = [{ numeric = [">", 1000] }]
//! ```
//!
//! A pattern is read from TOML ([`Pattern::from_toml`]) or from JSON ([`Pattern::from_json`]); both give the same
//! [`Pattern`], or all mistakes at once, each with its place. Whether an event matches is decided in
//! `crate::reference`.
//!
//! Where this differs from event-ruler, on purpose: an unknown name is refused where event-ruler would fall back to
//! an older reading; a key that is there twice is refused; `/32` and `/128` are networks; `equals-ignore-case`
//! maps pairs of letters in both directions or not at all; whether a path is absent is asked of the whole event,
//! and does not depend on the alphabetical order of the other fields; `cidr` looks at strings alone, however wide the
//! network.

mod address;
mod build;
mod case;
pub mod codes;
mod error;
mod glob;
pub mod limits;
pub(crate) mod matcher;
pub(crate) mod number;
mod numeric;
mod odd;
pub(crate) mod operators;

use std::collections::HashSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

pub(crate) use address::parse_address;
pub(crate) use case::fold as case_fold;
pub use error::PatternError;
pub use odd::Oddity;

use crate::syntax::{self, Dialect, write_string};
use matcher::{Matcher, Scalar};

/// A checked pattern. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// `$or`, multiplied out: one of these must match. Never empty.
    pub(crate) branches: Arc<[Branch]>,
}

/// Fields that must all agree; in the order of their paths, each path once. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Branch {
    pub(crate) fields: Vec<Arc<Field>>,
}

/// One field: a path, and what its values may be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    /// Keys, joined by dots.
    pub(crate) path: Arc<str>,
    /// One of these must accept a value at the path. Never empty.
    pub(crate) accepts: Vec<Matcher>,
    /// How a long list is searched.
    lookup: Option<Box<Lookup>>,
}

/// A long list, sorted out: most long lists are of plain strings, which are found by hash.
#[derive(Clone, Debug, PartialEq)]
struct Lookup {
    strings: HashSet<Box<str>>,
    /// The places of all other entries.
    others: Vec<usize>,
}

/// From how many entries on a list is sorted out. Below, comparing is as fast.
const SORTED_OUT_FROM: usize = 16;

impl Field {
    pub(crate) fn new(path: Arc<str>, accepts: Vec<Matcher>) -> Field {
        let lookup = (accepts.len() >= SORTED_OUT_FROM).then(|| {
            let mut lookup = Lookup { strings: HashSet::new(), others: Vec::new() };
            for (place, matcher) in accepts.iter().enumerate() {
                match matcher {
                    Matcher::String { text, .. } => {
                        lookup.strings.insert(text.clone());
                    }
                    _ => lookup.others.push(place),
                }
            }
            Box::new(lookup)
        });
        Field { path, accepts, lookup }
    }

    /// Whether one entry of the list accepts `scalar`.
    pub(crate) fn accepts(&self, scalar: Scalar<'_>) -> bool {
        let Some(lookup) = &self.lookup else {
            return self.accepts.iter().any(|matcher| matcher.accepts(scalar));
        };
        matches!(scalar, Scalar::String(found) if lookup.strings.contains(found))
            || lookup.others.iter().filter_map(|&place| self.accepts.get(place)).any(|matcher| matcher.accepts(scalar))
    }

    /// Whether the list says that the field may be missing.
    pub(crate) fn accepts_absence(&self) -> bool {
        self.accepts.contains(&Matcher::Absent)
    }

    /// The list as JSON.
    pub(crate) fn wanted_json(&self, out: &mut String) {
        out.push('[');
        for (place, matcher) in self.accepts.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            matcher.write_json(out);
        }
        out.push(']');
    }
}

impl Pattern {
    /// Reads a pattern from a value of a TOML file: a table, or a string of JSON. `file_text` is the whole text of
    /// that file; it serves to point at the right place inside such a string, and all spans are its bytes.
    ///
    /// # Errors
    /// Every mistake, each with its place.
    pub fn from_toml(value: &Spanned<DeValue<'_>>, file_text: &str) -> Result<Pattern, Vec<PatternError>> {
        let whole = value.span();
        match value.get_ref() {
            DeValue::String(json) => {
                let start = content_start(file_text, whole.clone(), json);
                // In a string with escapes the bytes of the file and of the JSON part ways: then the whole string
                // is pointed at.
                let map = |span: std::ops::Range<usize>| {
                    Some(start.map_or(whole.clone(), |start| start + span.start..start + span.end))
                };
                read_json(json, &map)
            }
            _ => build::build(&syntax::toml::node(value), Dialect::Toml, &Some),
        }
    }

    /// Reads a pattern from JSON, as it is pasted from EventBridge. Spans are bytes of `json`.
    ///
    /// # Errors
    /// Every mistake, each with its place; of broken JSON the first one alone.
    pub fn from_json(json: &str) -> Result<Pattern, Vec<PatternError>> {
        read_json(json, &Some)
    }

    /// The pattern as JSON in one fixed form: paths joined and sorted, `$or` multiplied out. Two patterns that say
    /// the same in different words (TOML or JSON, nested or dotted) give the same text, and reading it gives the
    /// same pattern.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        if let [branch] = &*self.branches {
            branch.write_json(&mut out);
            return out;
        }
        out.push_str("{\"$or\":[");
        for (place, branch) in self.branches.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            branch.write_json(&mut out);
        }
        out.push_str("]}");
        out
    }

    /// The paths that the pattern looks at, sorted, each once.
    #[must_use]
    pub fn paths(&self) -> Vec<Arc<str>> {
        let mut paths: Vec<_> = self.fields().map(|field| Arc::clone(&field.path)).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.branches.iter().flat_map(|branch| branch.fields.iter().map(|field| &**field))
    }
}

impl Branch {
    fn write_json(&self, out: &mut String) {
        out.push('{');
        for (place, field) in self.fields.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            write_string(&field.path, out);
            out.push(':');
            field.wanted_json(out);
        }
        out.push('}');
    }
}

/// The wildcard in lower case, to tell whether case is all that keeps it from matching.
pub(crate) fn lowered(glob: &glob::Glob) -> Option<glob::Glob> {
    glob::Glob::new(&glob.text.to_lowercase()).ok()
}

/// Whether `text` would fit if `wildcard` were one.
pub(crate) fn fits_as_wildcard(wildcard: &str, text: &str) -> bool {
    glob::Glob::new(wildcard).is_ok_and(|glob| glob.matches(text))
}

fn read_json(json: &str, map: build::SpanMap<'_>) -> Result<Pattern, Vec<PatternError>> {
    match syntax::json::parse(json) {
        Ok(node) => build::build(&node, Dialect::Json, map),
        Err(error) => {
            let before = json.get(..error.at).unwrap_or(json);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            let start = json.floor_char_boundary(error.at.min(json.len()));
            let end = json.ceil_char_boundary((start + 1).min(json.len()));
            Err(vec![PatternError {
                code: codes::JSON,
                span: map(start..end),
                path: String::new(),
                message: format!("the pattern is no JSON: {}, at its line {line}, column {column}", error.problem),
                help: Some("mend the JSON, or write the pattern as a TOML table: [rule.pattern]".to_owned()),
            }])
        }
    }
}

/// Where the content of a TOML string starts in the file, if it stands there byte for byte.
fn content_start(file_text: &str, span: std::ops::Range<usize>, content: &str) -> Option<usize> {
    let written = file_text.get(span.clone())?;
    let quotes = if written.starts_with("'''") || written.starts_with("\"\"\"") { 3 } else { 1 };
    let inside = written.get(quotes..)?;
    // A newline right after three quotes does not count.
    let skipped = match quotes {
        3 if inside.starts_with("\r\n") => 2,
        3 if inside.starts_with('\n') => 1,
        _ => 0,
    };
    inside.get(skipped..)?.starts_with(content).then_some(span.start + quotes + skipped)
}
