//! Paths of a transformer: `data.customer.id`, `$.detail.items[0].sku`, `$.resources[*]`.

use std::fmt;

use super::Subject;
use super::find::{self, Step, Value};
use crate::path::PATH_BYTES_MAX;

/// The most steps of a path: an event is nested no deeper.
const STEPS_MAX: usize = 128;

/// A path into an event. A dot leads downwards, `[0]` to an element of a list counted from 0, `*` and `[*]` to all that
/// stands there, as a list. As for patterns, a key with a dot in it and two levels of keys are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPath {
    text: Box<str>,
    pub(super) steps: Vec<Step>,
}

impl InputPath {
    /// Reads a path; an error is what is wrong, and what helps.
    pub(super) fn new(text: &str) -> Result<InputPath, (String, Option<String>)> {
        let shown = crate::syntax::shorten(text.escape_debug().to_string());
        let error = |problem: &str| {
            let help = "write a path like data.customer.id, $.data.lines[0].sku or data.lines[*].sku";
            (format!("`{shown}` is no path into an event: {problem}"), Some(help.to_owned()))
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(error(&format!("it has more than {PATH_BYTES_MAX} bytes (limit PATH_BYTES_MAX)")));
        }
        let mut rest = match text {
            "$" => "",
            _ => text
                .strip_prefix("$.")
                .or_else(|| text.strip_prefix('$').filter(|rest| rest.starts_with('[')))
                .unwrap_or(text),
        };
        if rest.is_empty() && text != "$" {
            return Err(error("it is empty"));
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut name_wanted = !rest.starts_with('[');
        while !rest.is_empty() {
            if steps.len() >= STEPS_MAX {
                return Err(error(&format!("it has more than {STEPS_MAX} steps (limit STEPS_MAX)")));
            }
            if let Some(inside) = rest.strip_prefix('[').filter(|_| !name_wanted) {
                let (index, after) = inside.split_once(']').ok_or_else(|| error("a bracket is not closed"))?;
                steps.push(match index {
                    "*" => Step::All,
                    _ if index.starts_with(['\'', '"']) => {
                        return Err(error("names stand behind dots, not in brackets"));
                    }
                    _ => Step::Index(number(index).ok_or_else(|| error("between brackets stands a number or `*`"))?),
                });
                rest = after;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                if name.is_empty() {
                    return Err(error("a name is missing between two dots, or at an end"));
                }
                if let Some(c) = name.chars().find(|c| matches!(c, ']' | '\'' | '"' | '?' | '(') || c.is_control()) {
                    return Err(error(&format!("`{}` has no meaning in it", c.escape_debug())));
                }
                match (name, steps.last_mut()) {
                    ("*", _) => steps.push(Step::All),
                    (_, Some(Step::Names(names))) => *names = format!("{names}.{name}").into(),
                    _ => steps.push(Step::Names(name.into())),
                }
                rest = after;
            }
            name_wanted = false;
            if let Some(after) = rest.strip_prefix('.') {
                rest = after;
                name_wanted = true;
                if rest.is_empty() {
                    return Err(error("a name is missing between two dots, or at an end"));
                }
            }
        }
        Ok(InputPath { text: text.into(), steps })
    }

    /// What stands there; `None` where there is nothing. JSON's `null` is something.
    pub(super) fn find<'e>(&self, subject: Subject<'e>) -> Option<Value<'e>> {
        find::find(subject, &self.steps)
    }
}

/// A number without a sign.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for InputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
