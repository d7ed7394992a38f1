//! How fast sets of rules are matched, on one thread.
//!
//! ```text
//! cargo run --release -p eventyard-rules --example match_bench -- EVENTS.jsonl RULES.jsonl WARMUPS PASSES
//! ```
//!
//! `EVENTS.jsonl` has an event a line; `RULES.jsonl` has lines `{"set":…,"name":…,"pattern":…}`, and each set is
//! measured by itself. What is timed is matching alone: the events were checked as intake checks them, which also
//! finds out whether their keys are unique; each match begins with the event's bytes. Writes for each set a line
//! `{"engine","set","rules","build_s","build_cpu_s","heap_mib","events_per_s","events_per_cpu_s","mb_per_cpu_s","matches"}`:
//! `build_*` is reading the patterns and compiling them, `heap_mib` what the process grew by meanwhile, `matches` the
//! matches of one pass over all events.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use eventyard_rules::{Memory, Pattern, PatternSet};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Line<'t> {
    set: String,
    name: String,
    #[serde(borrow)]
    pattern: &'t RawValue,
}

/// An event and whether its keys are unique.
struct Event<'t> {
    text: &'t str,
    keys_unique: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [events, rules, warmups, passes] = arguments.as_slice() else {
        return Err("usage: match_bench EVENTS.jsonl RULES.jsonl WARMUPS PASSES".into());
    };
    let (warmups, passes): (usize, usize) = (warmups.parse()?, passes.parse()?);
    let events = std::fs::read_to_string(events)?;
    let events: Vec<Event<'_>> = events
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|text| match eventyard_event::json::validate(text.as_bytes(), 127) {
            Ok(shape) => Ok(Event { text, keys_unique: shape.keys_unique }),
            Err(error) => Err(format!("an event is no JSON: {error}")),
        })
        .collect::<Result<_, _>>()?;
    let text = std::fs::read_to_string(rules)?;
    let mut sets: Vec<(String, Vec<Line<'_>>)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line: Line<'_> = serde_json::from_str(line)?;
        let place = *places.entry(line.set.clone()).or_insert_with(|| {
            sets.push((line.set.clone(), Vec::new()));
            sets.len() - 1
        });
        if let Some((_, lines)) = sets.get_mut(place) {
            lines.push(line);
        }
    }
    for (set, lines) in sets {
        println!("{}", measure(&set, &lines, &events, warmups, passes));
    }
    Ok(())
}

fn measure(set: &str, lines: &[Line<'_>], events: &[Event<'_>], warmups: usize, passes: usize) -> serde_json::Value {
    let (heap_before, began, cpu_began) = (resident_bytes(), Instant::now(), cpu_seconds());
    let mut count = 0;
    let compiled = PatternSet::new(lines.iter().filter_map(|line| match Pattern::from_json(line.pattern.get()) {
        Ok(pattern) => {
            count += 1;
            Some(pattern)
        }
        Err(errors) => {
            eprintln!("{set}: the rule {} is refused: {errors:?}", line.name);
            None
        }
    }));
    let (build, build_cpu, heap) = (began.elapsed(), cpu_seconds() - cpu_began, resident_bytes() - heap_before);

    let mut memory = Memory::default();
    let mut pass = || -> usize {
        events.iter().map(|event| compiled.matches_json(event.text, event.keys_unique, &mut memory).len()).sum()
    };
    (0..warmups).for_each(|_| {
        pass();
    });
    let (began, cpu_began) = (Instant::now(), cpu_seconds());
    let matches: usize = (0..passes).map(|_| pass()).sum();
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu_began);
    let event_count = as_f64(events.len() * passes);
    let bytes = as_f64(events.iter().map(|event| event.text.len()).sum::<usize>() * passes);
    json!({
        "engine": "eventyard",
        "set": set,
        "rules": count,
        "build_s": round(build.as_secs_f64(), 6),
        "build_cpu_s": round(build_cpu, 6),
        "heap_mib": round(heap / 1024.0 / 1024.0, 2),
        "events_per_s": round(event_count / seconds, 0),
        "events_per_cpu_s": round(event_count / cpu, 0),
        "mb_per_cpu_s": round(bytes / cpu / 1e6, 1),
        "matches": matches / passes.max(1),
    })
}

fn as_f64(count: usize) -> f64 {
    count as f64
}

fn round(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}

/// The processor time of this thread, as Linux counts it: in nanoseconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

/// The memory that this process has.
fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(f64::NAN) * 4096.0
}
