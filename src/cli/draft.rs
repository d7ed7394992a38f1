//! An event as somebody types it: made from flags, or read from a file and completed.
//!
//! What stands in a file is sent byte for byte where nothing is added; where something is, each value keeps its
//! own spelling, so that no number is rounded on the way to the broker.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::Context as _;
use serde_json::value::RawValue;

use super::exit::{Failure, Outcome};

/// The largest file or standard input that is read, so that a wrong path cannot eat the memory. The broker's own
/// limits are far below it by default.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The `source` of events that are typed.
pub(crate) const SOURCE_DEFAULT: &str = "/cli";

/// An event's attributes as they stand in its JSON.
pub(crate) type Attributes = BTreeMap<String, Box<RawValue>>;

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Draft {
    /// One event, perhaps without attributes that can be filled in.
    Event(Attributes),
    /// A batch, sent as it is.
    Batch(String),
}

/// What was given by flags, and beats what stands in a file.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) ty: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) id: Option<String>,
    /// JSON text.
    pub(crate) data: Option<String>,
}

impl Overrides {
    fn is_empty(&self) -> bool {
        self.ty.is_none() && self.source.is_none() && self.subject.is_none() && self.id.is_none() && self.data.is_none()
    }
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read(path: &str) -> Outcome<String> {
    let what = if path == "-" { "standard input".to_owned() } else { path.to_owned() };
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text))
    };
    let length = read.with_context(|| format!("{what} cannot be read")).map_err(Failure::Usage)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!("{what} is larger than {} MiB", INPUT_BYTES_MAX / 1024 / 1024)));
    }
    Ok(text)
}

/// What `--data` means: JSON as it stands, or `@FILE`, or `@-` for standard input.
pub(crate) fn read_data(argument: &str) -> Outcome<String> {
    let text = match argument.strip_prefix('@') {
        Some(path) => read(path)?,
        None => argument.to_owned(),
    };
    match serde_json::from_str::<&RawValue>(text.trim()) {
        Ok(json) => Ok(json.get().to_owned()),
        Err(error) => Err(Failure::usage(format!(
            "--data is not JSON: {error}\n  help: a text needs its quotes: --data '\"hello\"'; a file an @: --data @order.json"
        ))),
    }
}

/// Reads an event or a batch of them from JSON text.
pub(crate) fn parse(text: &str, what: &str) -> Outcome<Draft> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') {
        if let Err(error) = serde_json::from_str::<Vec<&RawValue>>(text) {
            return Err(Failure::usage(format!("{what} is not JSON: {error}")));
        }
        return Ok(Draft::Batch(text.to_owned()));
    }
    match serde_json::from_str::<Attributes>(text) {
        Ok(attributes) => Ok(Draft::Event(attributes)),
        Err(error) => Err(Failure::usage(format!("{what} holds no event: {error}"))),
    }
}

/// Completes an event: flags first, then what stands in the file, then `id`, `source` and `specversion` of our
/// own making. `suffix` tells the events of `--count` apart.
pub(crate) fn complete(
    file: &Attributes,
    overrides: &Overrides,
    suffix: Option<u32>,
    fresh_id: &mut dyn FnMut() -> String,
) -> Outcome<String> {
    let mut attributes = file.clone();
    let mut put = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            attributes.insert(name.to_owned(), raw_string(value));
        }
    };
    put("type", &overrides.ty);
    put("source", &overrides.source);
    put("subject", &overrides.subject);
    put("id", &overrides.id);
    if let Some(data) = &overrides.data {
        let data = RawValue::from_string(data.clone()).context("--data is not JSON").map_err(Failure::Usage)?;
        attributes.remove("data_base64");
        attributes.insert("data".to_owned(), data);
        attributes.entry("datacontenttype".to_owned()).or_insert_with(|| raw_string("application/json"));
    }
    match (attributes.get("id").map(|id| serde_json::from_str::<String>(id.get())), suffix) {
        (None, _) => {
            attributes.insert("id".to_owned(), raw_string(&fresh_id()));
        }
        (Some(Ok(id)), Some(suffix)) => {
            attributes.insert("id".to_owned(), raw_string(&format!("{id}-{suffix}")));
        }
        // An id that is no string is the broker's to refuse, with its own words.
        (Some(_), _) => {}
    }
    attributes.entry("source".to_owned()).or_insert_with(|| raw_string(SOURCE_DEFAULT));
    attributes.entry("specversion".to_owned()).or_insert_with(|| raw_string("1.0"));
    if !attributes.contains_key("type") {
        return Err(Failure::usage("the event has no `type`\n  help: add --type, such as --type order.created"));
    }
    serde_json::to_string(&attributes).context("the event cannot be written as JSON").map_err(Failure::Failed)
}

/// Refuses flags that cannot be applied to a batch.
pub(crate) fn refuse_for_batch(overrides: &Overrides, count: u32) -> Outcome {
    if overrides.is_empty() && count == 1 {
        return Ok(());
    }
    Err(Failure::usage(
        "the file holds a batch, which is sent as it is: leave --type, --data and their like and --count out",
    ))
}

fn raw_string(text: &str) -> Box<RawValue> {
    let quoted = serde_json::Value::String(text.to_owned()).to_string();
    RawValue::from_string(quoted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Attributes {
        match parse(text, "the file").unwrap() {
            Draft::Event(attributes) => attributes,
            Draft::Batch(_) => panic!("not a batch"),
        }
    }

    #[test]
    fn what_is_missing_is_filled_in_and_numbers_keep_their_spelling() {
        let file = event(r#"{ "type": "a", "data": { "n": 0.10000000000000000000001, "big": 18446744073709551617 } }"#);
        let text = complete(&file, &Overrides::default(), None, &mut || "fresh".to_owned()).unwrap();
        assert_eq!(
            text,
            r#"{"data":{ "n": 0.10000000000000000000001, "big": 18446744073709551617 },"id":"fresh","source":"/cli","specversion":"1.0","type":"a"}"#
        );
    }

    #[test]
    fn flags_beat_the_file() {
        let file = event(r#"{ "type": "a", "id": "1", "source": "/x", "data_base64": "AA==" }"#);
        let overrides = Overrides {
            ty: Some("b".to_owned()),
            data: Some("[1]".to_owned()),
            subject: Some("s \"quoted\"".to_owned()),
            ..Overrides::default()
        };
        let text = complete(&file, &overrides, Some(7), &mut || "fresh".to_owned()).unwrap();
        assert_eq!(
            text,
            r#"{"data":[1],"datacontenttype":"application/json","id":"1-7","source":"/x","specversion":"1.0","subject":"s \"quoted\"","type":"b"}"#
        );
    }

    #[test]
    fn an_event_without_a_type_is_refused_before_it_is_sent() {
        let failure = complete(&event("{}"), &Overrides::default(), None, &mut String::new).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.text().unwrap().contains("--type"));
    }

    #[test]
    fn text_that_is_no_json_is_named_with_its_place() {
        assert!(read_data("{").unwrap_err().text().unwrap().contains("line 1 column 1"));
        assert!(parse("nonsense", "order.json").unwrap_err().text().unwrap().contains("order.json holds no event"));
        assert_eq!(read_data(" 1e999 ").unwrap(), "1e999");
    }

    #[test]
    fn a_batch_is_sent_as_it_is_or_not_at_all() {
        assert!(matches!(parse("[{}]", "x").unwrap(), Draft::Batch(_)));
        assert!(refuse_for_batch(&Overrides::default(), 1).is_ok());
        assert!(refuse_for_batch(&Overrides::default(), 2).is_err());
        assert!(refuse_for_batch(&Overrides { id: Some("a".to_owned()), ..Overrides::default() }, 1).is_err());
    }
}
