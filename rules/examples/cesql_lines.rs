//! What CloudEvents SQL expressions are worth, line by line: something to hold against any other engine.
//!
//! Reads lines `{"id":…,"expression":…,"event":{…}}` from standard input and writes for each a line
//! `{"id":…,"result":…,"error":kind or null}`. The event is any JSON object: its texts, whole numbers of 32 bits and
//! truths are the attributes. An expression that cannot be read has the error `parse` and no result.
//!
//! ```text
//! cargo run --release -p eventyard-rules --example cesql_lines < cases.jsonl
//! ```

use std::borrow::Cow;
use std::io::{self, BufRead, BufWriter, Write};

use eventyard_rules::cesql::{Attributes, Expression, Value};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    id: serde_json::Value,
    expression: String,
    #[serde(default)]
    event: serde_json::Map<String, serde_json::Value>,
}

/// An event that need not be a whole one.
struct Given<'l>(&'l serde_json::Map<String, serde_json::Value>);

impl Attributes for Given<'_> {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        match self.0.get(name)? {
            serde_json::Value::String(text) => Some(Value::String(Cow::Borrowed(text))),
            serde_json::Value::Bool(truth) => Some(Value::Boolean(*truth)),
            serde_json::Value::Number(number) => {
                let whole = number.as_i64().and_then(|number| i32::try_from(number).ok());
                Some(whole.map_or_else(|| Value::String(Cow::Owned(number.to_string())), Value::Integer))
            }
            _ => None,
        }
    }
}

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match serde_json::from_str::<Line>(&line) {
            Ok(line) => answer(&line),
            Err(error) => json!({ "id": null, "result": null, "error": format!("the line cannot be read: {error}") }),
        };
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn answer(line: &Line) -> serde_json::Value {
    let Ok(expression) = Expression::parse(&line.expression) else {
        return json!({ "id": line.id, "result": null, "error": "parse" });
    };
    let event = Given(&line.event);
    let (value, error) = expression.evaluate(&event);
    let result = match value {
        Value::String(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Boolean(truth) => json!(truth),
    };
    json!({ "id": line.id, "result": result, "error": error.map(eventyard_rules::cesql::EvaluationError::kind) })
}
