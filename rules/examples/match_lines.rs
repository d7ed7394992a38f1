//! Which rules match which events, line by line: something to hold against any other engine.
//!
//! Reads lines `{"id":…,"rules":{NAME:PATTERN},"event":{…}}` from standard input and writes for each a line
//! `{"id":…,"matched":[sorted names],"errors":{NAME:message}}`. Patterns and events are taken as the very text of the
//! line, so that the spelling of numbers, repeated keys and escapes survive. A pattern that is refused stands in
//! `errors`, and the others are asked all the same. A line that cannot be read is answered by an error without a name.
//!
//! ```text
//! cargo run --release -p eventyard-rules --example match_lines < cases.jsonl
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufWriter, Write};

use eventyard_rules::{Memory, Pattern, PatternSet, reference_matches_json};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Line<'t> {
    #[serde(borrow)]
    id: &'t RawValue,
    #[serde(borrow)]
    rules: BTreeMap<String, &'t RawValue>,
    #[serde(borrow)]
    event: &'t RawValue,
}

#[derive(serde::Serialize)]
struct Answer<'t> {
    id: Option<&'t RawValue>,
    matched: BTreeSet<&'t str>,
    errors: BTreeMap<&'t str, String>,
}

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut memory = Memory::default();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Line<'_>>(&line) {
            Ok(line) => write(&mut out, &answer(&line, &mut memory))?,
            Err(error) => {
                let errors = BTreeMap::from([("", format!("the line cannot be read: {error}"))]);
                write(&mut out, &Answer { id: None, matched: BTreeSet::new(), errors })?;
            }
        }
    }
    out.flush()
}

fn write(out: &mut impl Write, answer: &Answer<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")
}

fn answer<'t>(line: &'t Line<'t>, memory: &mut Memory) -> Answer<'t> {
    let mut errors = BTreeMap::new();
    let mut named: Vec<(&str, Pattern)> = Vec::new();
    for (name, pattern) in &line.rules {
        match Pattern::from_json(pattern.get()) {
            Ok(pattern) => named.push((name, pattern)),
            Err(found) => {
                let found: Vec<String> =
                    found.iter().map(|error| format!("{}: {}", error.code, error.message)).collect();
                errors.insert(name.as_str(), found.join("; "));
            }
        }
    }
    let event = line.event.get();
    let mut matched = BTreeSet::new();
    if event.starts_with('{') {
        let keys_unique = eventyard_event::json::validate(event.as_bytes(), 127).is_ok_and(|shape| shape.keys_unique);
        let set = PatternSet::new(named.iter().map(|(_, pattern)| pattern));
        let places = set.matches_json(event, keys_unique, memory);
        matched.extend(places.iter().filter_map(|place| named.get(*place as usize)).map(|(name, _)| *name));
        // In a debug build each answer is held against the simple evaluator's.
        debug_assert!(named.iter().all(|(name, pattern)| {
            reference_matches_json(pattern, event).is_none_or(|matches| matches == matched.contains(name))
        }));
    } else {
        errors.insert("", "the event is no JSON object".to_owned());
    }
    Answer { id: Some(line.id), matched, errors }
}
