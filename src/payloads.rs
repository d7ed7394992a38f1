//! `payload` of a `[[rule.test]]`: what a target would receive of the test's event, held against what the test says.

use std::sync::Arc;

use eventyard_event::{Envelope, Timestamp};
use eventyard_rules::{HIDDEN, Input, Rule, TestPayload, Wrong};
use eventyard_store::Taken;
use serde_json::Value;

use crate::attempt::payload;
use crate::in_force::InForce;
use crate::split::{Splits, element};

/// The most of a payload that is shown of a test that fails.
const SHOWN_CHARS_MAX: usize = 2_000;

/// What is wrong with what the target would receive; `None` where it is as the test says.
pub(crate) fn wrong(rule: &Rule, test: &TestPayload, envelope: Envelope) -> Option<Wrong> {
    let target = rule.targets.iter().find(|target| target.name == test.target)?;
    let taken = Taken {
        delivery: envelope.id.delivery(0),
        queue: Arc::new(InForce::queue(rule, target)),
        attempts: 0,
        tries: 0,
        deaths: 0,
        budget_began_at: Timestamp::EPOCH,
        element: element(rule, &envelope, test.element),
        envelope: Arc::new(envelope),
        unreadable: None,
    };
    let input = target.input.clone().unwrap_or_else(|| target.to.default_input());
    let made = Splits::default().hand(&taken).and_then(|handed| payload(&handed, &input));
    let made = match made {
        Ok(made) if is_wanted(&test.wanted, &made.body) => return None,
        // A template that came from the environment may hold a secret.
        Ok(_) if matches!(&input, Input::Template(transform) if transform.is_hidden()) => Ok(HIDDEN.to_owned()),
        Ok(made) => Ok(shown(&String::from_utf8_lossy(&made.body))),
        Err(reason) => Err(format!("{} [{}]", reason.message, reason.code)),
    };
    let wanted = match &test.wanted {
        Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    };
    Some(Wrong::Payload { target: target.name.clone(), wanted, made })
}

/// A text is held against the bytes, for it says how a number is spelled; anything else against the JSON that they are.
fn is_wanted(wanted: &Value, made: &[u8]) -> bool {
    match wanted {
        Value::String(text) => text.as_bytes() == made,
        other => serde_json::from_slice::<Value>(made).is_ok_and(|made| is_same(other, &made)),
    }
}

/// Whether two values are the same JSON: `1` and `1.0` are one number.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| is_same(one, other)))
        }
        (one, other) => one == other,
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
