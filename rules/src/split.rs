//! `split`: a list in an event's data, taken apart, so that each element is delivered alone.
//!
//! The elements are pieces of the data's own text, so that no number is rounded and no key is lost. Data of another
//! format is split as the JSON that patterns see.

use std::borrow::Cow;
use std::ops::Range;

use eventyard_event::Envelope;
use serde::Serialize;

use crate::path::Path;
use crate::transform::find;
use crate::view::View;

/// The deliveries that splitting may make of one event, over all rules that split it and all their targets: one event
/// must not fill the store. A rule that would make more than what is left makes a dead letter for each target instead.
pub const SPLIT_DELIVERIES_MAX: usize = 10_000;

/// The elements of a list within an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements<'e> {
    /// The data as JSON.
    json: Cow<'e, [u8]>,
    /// Where each element stands in it.
    spans: Vec<Range<usize>>,
    keys_unique: bool,
}

/// Why an event cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Its data is none, or of a format that nothing can be looked up in.
    #[error("the event has no data that `{path}` could be looked up in")]
    NoData {
        /// What was looked for.
        path: String,
    },
    /// Nothing stands there.
    #[error("the event has nothing at `{path}`, where the rule splits a list")]
    Absent {
        /// What was looked for.
        path: String,
    },
    /// Something else stands there.
    #[error("`{path}` is {found}, and only a list can be split")]
    NoList {
        /// What was looked for.
        path: String,
        /// Such as `an object`.
        found: &'static str,
    },
}

impl SplitError {
    /// The stable word of a dead letter's reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "split_no_list"
    }
}

impl<'e> Elements<'e> {
    /// Looks a list up.
    ///
    /// # Errors
    /// [`SplitError`]: no list stands there.
    pub fn find(path: &Path, envelope: &'e Envelope) -> Result<Elements<'e>, SplitError> {
        let at = || path.as_str().to_owned();
        let seen = envelope.event.seen_data().ok_or_else(|| SplitError::NoData { path: at() })?;
        let text = std::str::from_utf8(&seen.json).map_err(|_| SplitError::NoData { path: at() })?;
        let list = find::at_names(text, path.as_str().strip_prefix("data."))
            .ok_or_else(|| SplitError::Absent { path: at() })?;
        if !list.starts_with('[') {
            return Err(SplitError::NoList { path: at(), found: kind_of(list) });
        }
        let start_of = |piece: &str| piece.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let span = |piece: &str| start_of(piece)..start_of(piece) + piece.len();
        let spans = find::elements(list).map(span).collect();
        let keys_unique = seen.keys_unique.unwrap_or(envelope.keys_unique);
        Ok(Elements { json: seen.json, spans, keys_unique })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// The data's JSON, and where in it each element stands.
    #[must_use]
    pub fn into_parts(self) -> (Cow<'e, [u8]>, Vec<Range<usize>>) {
        (self.json, self.spans)
    }

    /// Whether no object in the data has a key twice.
    #[must_use]
    pub fn keys_unique(&self) -> bool {
        self.keys_unique
    }
}

/// What a rule's `split` finds in an event that the rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitFound {
    /// Where the list is looked for.
    pub path: String,
    /// How many elements it has, each of which is delivered alone to each target; `None` where there is no list.
    pub elements: Option<usize>,
    /// Why there is none.
    pub problem: Option<String>,
}

impl SplitFound {
    /// How many deliveries a rule with so many targets makes.
    ///
    /// # Errors
    /// Why it makes none.
    pub(crate) fn deliveries(&self, targets: usize) -> Result<u64, String> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None => Ok(self.elements.unwrap_or(0) as u64 * targets as u64),
        }
    }
}

pub(crate) fn explain(path: &Path, targets: usize, view: &View<'_>) -> SplitFound {
    let found = Elements::find(path, view.envelope()).map(|elements| elements.count());
    let problem = match &found {
        Ok(count) => over_limit(*count, targets, 0),
        Err(error) => Some(error.to_string()),
    };
    SplitFound { path: path.to_string(), elements: found.ok(), problem }
}

/// That a rule with so many targets would make too many deliveries of so many elements, where it would; `before` are
/// those that other rules make.
#[must_use]
pub fn over_limit(elements: usize, targets: usize, before: usize) -> Option<String> {
    let made = elements.saturating_mul(targets);
    (made.saturating_add(before) > SPLIT_DELIVERIES_MAX).then(|| {
        format!(
            "{elements} elements and {targets} targets would be {made} deliveries, and splitting makes at most \
             {SPLIT_DELIVERIES_MAX} of one event, all its rules together (limit SPLIT_DELIVERIES_MAX)"
        )
    })
}

fn kind_of(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'"') => "a text",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::envelope;
    use eventyard_event::Data;

    fn elements(data: &str, path: &str) -> Result<Vec<String>, String> {
        let envelope = envelope(data);
        let found = Elements::find(&Path::new(path).unwrap(), &envelope).map_err(|error| error.to_string())?;
        let (json, spans) = found.into_parts();
        Ok(spans.into_iter().map(|span| String::from_utf8(json[span].to_vec()).unwrap()).collect())
    }

    #[test]
    fn elements_are_pieces_of_the_data_as_it_came() {
        let data = r#" {"o":{"items":[ 1.50 , {"a" : 1e2,"a":"]"} ,"x,\"y",[ ], null ]},"items":[],"n":7,"t":"[1]","z":null} "#;
        let list = ["1.50", r#"{"a" : 1e2,"a":"]"}"#, r#""x,\"y""#, "[ ]", "null"].map(str::to_owned);
        let data = data.replace(r#"\\""#, r#"\""#);
        let list = list.map(|piece| piece.replace(r#"\\""#, r#"\""#));
        assert_eq!(elements(&data, "data.o.items").unwrap(), list);
        assert_eq!(elements(&data, "data.items").unwrap(), [""; 0]);
        assert_eq!(elements("[1, [2]]", "data").unwrap(), ["1", "[2]"]);
        for (path, found) in [("data.n", "a number"), ("data.t", "a text"), ("data.o", "an object"), ("data.z", "null")]
        {
            assert_eq!(
                elements(&data, path).unwrap_err(),
                format!("`{path}` is {found}, and only a list can be split")
            );
        }
        assert!(elements(&data, "data.absent.items").unwrap_err().contains("nothing at `data.absent.items`"));
    }

    #[test]
    fn rows_of_a_table_are_elements_and_data_of_no_format_has_none() {
        let mut table = envelope("");
        table.event.datacontenttype = Some("text/csv".into());
        table.event.data = Data::Bytes("sku,n\na,1\nb,2\n".into());
        let path = Path::new("data").unwrap();
        let found = Elements::find(&path, &table).unwrap();
        assert_eq!(found.count(), 2);
        let (json, spans) = found.into_parts();
        assert_eq!(&json[spans[1].clone()], br#"{"sku":"b","n":"2"}"#);
        table.event.datacontenttype = Some("image/png".into());
        assert!(matches!(Elements::find(&path, &table), Err(SplitError::NoData { .. })));
    }
}
