//! What EventBridge's input transformer makes of events, line by line: something to hold against any other engine.
//!
//! Reads lines `{"id":…,"paths":{NAME:PATH},"template":"…","event":{…}}` from standard input and writes for each a line
//! `{"id":…,"output":"…"}`, or `{"id":…,"error":code,"message":"…"}` where nothing can be delivered: what EventBridge
//! refuses when the rule is made, and what it silently drops. Paths lead into the event as it stands in the line
//! (`$.detail.x`), whose numbers keep their spelling. `paths` may be left out, and `"strict":true` gives up where a path
//! is missing. What the predefined names stand for may be said with `rule_name`, `rule_arn` and `ingestion_time`;
//! without the last, it is the event's `time`.
//!
//! ```text
//! cargo run --release -p eventyard-rules --example transform_lines < cases.jsonl
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufWriter, Write};

use eventyard_rules::transform::{Seen, Subject, Transform};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// How deep an event may be nested, as the broker has it.
const DEPTH_MAX: usize = 127;

#[derive(Deserialize)]
struct Line<'t> {
    #[serde(default)]
    id: serde_json::Value,
    #[serde(default)]
    paths: Option<BTreeMap<String, String>>,
    template: String,
    #[serde(borrow)]
    event: &'t RawValue,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    rule_name: Option<String>,
    #[serde(default)]
    rule_arn: Option<String>,
    #[serde(default)]
    ingestion_time: Option<String>,
}

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match serde_json::from_str::<Line<'_>>(&line) {
            Ok(line) => match output(&line) {
                Ok(output) => json!({ "id": line.id, "output": output }),
                Err((code, message)) => json!({ "id": line.id, "error": code, "message": message }),
            },
            Err(error) => {
                json!({ "id": null, "error": "line", "message": format!("the line cannot be read: {error}") })
            }
        };
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn output(line: &Line<'_>) -> Result<String, (&'static str, String)> {
    let event = line.event.get();
    if !event.starts_with('{') {
        return Err(("event", "the event is no JSON object".to_owned()));
    }
    if let Err(error) = eventyard_event::json::validate(event.as_bytes(), DEPTH_MAX) {
        return Err(("event", error.to_string()));
    }
    let paths = line.paths.iter().flatten().map(|(name, path)| (name.as_str(), path.as_str()));
    let transform = Transform::new(paths, &line.template, line.strict).map_err(|errors| {
        let code = errors.first().map_or("bad_template", |error| error.code);
        (code, errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let rule_name = line.rule_name.as_deref().unwrap_or("transform_lines");
    let arn = format!("arn:aws:events:us-east-1:123456789012:rule/{rule_name}");
    let time = match &line.ingestion_time {
        Some(time) => time.clone(),
        None => time(event),
    };
    let rule_arn = line.rule_arn.as_deref().unwrap_or(&arn);
    let seen = Seen { subject: Subject::Json(event), rule_name, rule_arn, ingestion_time: &time };
    transform.apply(&seen).map(|output| output.text).map_err(|error| (error.code(), error.to_string()))
}

/// The event's own time.
fn time(event: &str) -> String {
    #[derive(Deserialize)]
    struct Timed {
        #[serde(default)]
        time: serde_json::Value,
    }
    let timed = serde_json::from_str::<Timed>(event).ok();
    timed.and_then(|timed| timed.time.as_str().map(str::to_owned)).unwrap_or_default()
}
