//! What happened to an event: its deliveries and their attempts, put into lines.

use std::io;

use serde_json::Value;

use super::screen::{items, rule, shown, shown_lines, text};
use super::{Context, times};

/// The states of a delivery, as filters take them.
pub(crate) const STATES: [&str; 6] = ["pending", "in_flight", "waiting", "delivered", "dead", "cancelled"];

/// The CloudEvent within an answer about an event.
pub(crate) fn cloudevent(event: &Value) -> &Value {
    event.get("cloudevent").unwrap_or(event)
}

/// How many deliveries of an event have not ended.
pub(crate) fn unfinished(event: &Value) -> usize {
    let ended = |delivery: &&Value| {
        matches!(delivery.get("state").and_then(Value::as_str), Some("delivered" | "dead" | "cancelled"))
    };
    items(event, "deliveries").iter().filter(|delivery| !ended(delivery)).count()
}

/// How many deliveries of an event are dead.
pub(crate) fn dead(event: &Value) -> usize {
    let is_dead = |delivery: &&Value| delivery.get("state").and_then(Value::as_str) == Some("dead");
    items(event, "deliveries").iter().filter(is_dead).count()
}

/// Each delivery of an event with its attempts, and for a dead one the commands that go on.
pub(crate) fn deliveries(context: &Context, event: &Value, indent: &str) -> io::Result<()> {
    let screen = context.screen;
    let now = context.clocks.now();
    let found = items(event, "deliveries");
    if found.is_empty() {
        return screen.line(format!("{indent}no deliveries"));
    }
    for delivery in found {
        let state = text(delivery, "state");
        let mut line = format!("{indent}{} → {}: {}", rule(delivery), text(delivery, "target"), screen.state(&state));
        if state == "waiting" {
            line.push_str(&format!(", again at {}", times::field(delivery, "next_attempt_at", now)));
        }
        screen.line(line)?;
        attempts(context, delivery, &format!("{indent}  "))?;
        if state == "dead" {
            let id = text(delivery, "id");
            screen.line(screen.dim(format!("{indent}  eventyard dead-letters show {id}")))?;
            screen.line(screen.dim(format!("{indent}  eventyard dead-letters replay {id}")))?;
        }
    }
    Ok(())
}

/// The attempts of a delivery, one line each, and the head of what the target answered.
pub(crate) fn attempts(context: &Context, delivery: &Value, indent: &str) -> io::Result<()> {
    let now = context.clocks.now();
    for attempt in items(delivery, "history") {
        let painted = match attempt.get("outcome").and_then(Value::as_str).unwrap_or_default() {
            "succeeded" => context.screen.good("succeeded"),
            "retryable" => context.screen.bad("failed"),
            "permanent" => context.screen.bad("failed for good"),
            "interrupted" => context.screen.warm("interrupted"),
            other => shown(other),
        };
        let mut line = format!("{indent}attempt {} {painted}", text(attempt, "number"));
        let message = text(attempt, "message");
        if message != "-" {
            line.push_str(&format!(": {message}"));
        }
        if let Some(code) = attempt.get("code").and_then(Value::as_str).filter(|code| !code.is_empty()) {
            line.push_str(&format!(" [{}]", shown(code)));
        }
        line.push_str(&format!(", {}", times::field(attempt, "began_at", now)));
        context.screen.line(line)?;
        let answer = attempt.get("response").and_then(Value::as_str).unwrap_or_default();
        for said in answer.lines().take(ANSWER_LINES_MAX) {
            context.screen.line(context.screen.dim(format!("{indent}  │ {}", shown(said))))?;
        }
    }
    Ok(())
}

/// How many lines of a target's answer are shown; `--json` has all that was kept.
const ANSWER_LINES_MAX: usize = 8;

/// The longest list or object that is shown on one line.
const NESTED_CHARS_MAX: usize = 100;

/// All fields of an object, one line each, with long lists and objects indented.
pub(crate) fn fields(context: &Context, value: &Value) -> io::Result<()> {
    let Some(object) = value.as_object() else {
        return context.screen.line(shown(&value.to_string()));
    };
    let width = object.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    for (key, field) in object {
        let nested = match field {
            Value::Null => continue,
            Value::Object(_) => true,
            Value::Array(list) => list.iter().any(Value::is_object),
            _ => false,
        };
        let said = match nested {
            false => text(value, key),
            true if field.to_string().chars().count() <= NESTED_CHARS_MAX => shown(&field.to_string()),
            true => shown_lines(&format!("{field:#}")),
        };
        context.screen.line(format!("{key:width$}  {said}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_has_ended_when_each_delivery_has() {
        let event = json!({ "deliveries": [
            { "state": "delivered" }, { "state": "waiting" }, { "state": "dead" }, { "state": "cancelled" }, {},
        ] });
        assert_eq!(unfinished(&event), 2);
        assert_eq!(dead(&event), 1);
        assert_eq!(unfinished(&json!({})), 0);
    }
}
