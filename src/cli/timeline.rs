//! What happened to an event: its deliveries and their attempts, put into lines.

use std::io;

use eventyard_event::Timestamp;
use serde_json::Value;

use super::screen::{items, rule, shown, shown_lines, target, text};
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

/// Each delivery of an event with its attempts, and what comes next.
pub(crate) fn deliveries(context: &Context, event: &Value, indent: &str) -> io::Result<()> {
    let found = items(event, "deliveries");
    if found.is_empty() {
        return context.screen.line(format!("{indent}no deliveries"));
    }
    found.iter().try_for_each(|delivery| whole(context, delivery, indent))
}

/// One delivery: where it stands, each attempt, and what comes next with the command that goes on.
pub(crate) fn whole(context: &Context, delivery: &Value, indent: &str) -> io::Result<()> {
    let screen = context.screen;
    let (id, state) = (text(delivery, "id"), text(delivery, "state"));
    let told = screen.state(&state);
    screen.line(format!("{indent}{} → {}: {told}", rule(delivery), target(delivery)))?;
    let inner = format!("{indent}  ");
    attempts(context, delivery, &inner)?;
    next(context, delivery, &state, &inner)?;
    let go_on = match state.as_str() {
        "dead" => vec![format!("eventyard dead-letters show {id}"), format!("eventyard dead-letters replay {id}")],
        "waiting" if waits_for(delivery) == Some("time") => {
            vec![format!("eventyard deliveries retry {id}"), format!("eventyard deliveries cancel {id}")]
        }
        "waiting" | "pending" => vec![format!("eventyard deliveries cancel {id}")],
        _ => Vec::new(),
    };
    go_on.into_iter().try_for_each(|command| screen.line(screen.dim(format!("{inner}{command}"))))
}

fn waits_for(delivery: &Value) -> Option<&str> {
    delivery.get("waits_for")?.get("what")?.as_str()
}

/// What comes next for a delivery.
fn next(context: &Context, delivery: &Value, state: &str, indent: &str) -> io::Result<()> {
    let now = context.clocks.now();
    let screen = context.screen;
    if let Some(note) = delivery.get("dead_letter").filter(|note| note.is_object()) {
        let reason = note.get("reason").unwrap_or(&Value::Null);
        let (when, message, code) = (times::field(note, "dead_at", now), text(reason, "message"), text(reason, "code"));
        return screen.line(format!("{indent}given up {when}: {message} [{code}]"));
    }
    let number = delivery.get("history").and_then(Value::as_array).map_or(0, Vec::len) + 1;
    let waits = delivery.get("waits_for").filter(|waits| waits.is_object());
    let when = times::field(delivery, "next_attempt_at", now);
    match (state, waits_for(delivery)) {
        ("in_flight", _) => screen.line(format!("{indent}attempt {number} is being made")),
        (_, Some("time")) => screen.line(format!("{indent}next: attempt {number} at {when}")),
        (_, Some(_)) => {
            let message = waits.map(|waits| text(waits, "message")).unwrap_or_default();
            screen.line(format!("{indent}next: attempt {number}; {message}"))
        }
        _ => Ok(()),
    }
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
        if let Some(took) = took_ms(attempt) {
            line.push_str(&format!(", took {took} ms"));
        }
        context.screen.line(line)?;
        let answer = attempt.get("response").and_then(Value::as_str).unwrap_or_default();
        for said in answer.lines().take(ANSWER_LINES_MAX) {
            context.screen.line(context.screen.dim(format!("{indent}  │ {}", shown(said))))?;
        }
    }
    Ok(())
}

/// How long an attempt took, where both its times are known.
fn took_ms(attempt: &Value) -> Option<u128> {
    let time = |key: &str| Timestamp::parse(attempt.get(key)?.as_str()?).ok();
    Some(time("ended_at")?.since(time("began_at")?).as_millis())
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
