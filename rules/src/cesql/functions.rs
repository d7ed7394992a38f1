//! The built-in functions (section 3.5). Names are read whatever their case.

use std::borrow::Cow;

use super::evaluate::{Failed, Outcome, Type, cast, failed};
use super::{EvaluationError, ParseError, Value};
use crate::units::nearest;

/// A function with its number of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Bool,
    Concat,
    ConcatWs,
    Int,
    IsBool,
    IsInt,
    Left,
    Length,
    Lower,
    Right,
    String,
    /// With a length, or without.
    Substring,
    Trim,
    Upper,
}

/// Each function with the fewest and the most arguments that it takes.
const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("ABS", Function::Abs, 1, 1),
    ("BOOL", Function::Bool, 1, 1),
    ("CONCAT", Function::Concat, 0, usize::MAX),
    ("CONCAT_WS", Function::ConcatWs, 1, usize::MAX),
    ("INT", Function::Int, 1, 1),
    ("IS_BOOL", Function::IsBool, 1, 1),
    ("IS_INT", Function::IsInt, 1, 1),
    ("LEFT", Function::Left, 2, 2),
    ("LENGTH", Function::Length, 1, 1),
    ("LOWER", Function::Lower, 1, 1),
    ("RIGHT", Function::Right, 2, 2),
    ("STRING", Function::String, 1, 1),
    ("SUBSTRING", Function::Substring, 2, 3),
    ("TRIM", Function::Trim, 1, 1),
    ("UPPER", Function::Upper, 1, 1),
];

impl Function {
    /// The function of this name that takes so many arguments.
    pub(super) fn find(name: &str, count: usize) -> Option<Function> {
        let found = FUNCTIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
        (found.2..=found.3).contains(&count).then_some(found.1)
    }

    /// What it gives.
    pub(super) fn gives(self) -> Type {
        match self {
            Function::Abs | Function::Int | Function::Length => Type::Integer,
            Function::Bool | Function::IsBool | Function::IsInt => Type::Boolean,
            _ => Type::String,
        }
    }

    /// Calls it with arguments that are values.
    pub(super) fn call<'v>(self, arguments: Vec<Value<'v>>) -> Outcome<'v> {
        let mut arguments = arguments.into_iter();
        let mut next = |ty: Type| -> Result<Value<'v>, Failed<'v>> {
            let value = arguments.next().unwrap_or(Value::String(Cow::Borrowed("")));
            cast(value, ty).map_err(|_| failed(self.gives().zero(), EvaluationError::Cast))
        };
        Ok(match self {
            Function::Abs => {
                let number = integer(next(Type::Integer)?);
                let Some(abs) = number.checked_abs() else {
                    return Err(failed(Value::Integer(i32::MAX), EvaluationError::Math));
                };
                Value::Integer(abs)
            }
            Function::Bool => next(Type::Boolean)?,
            Function::Int => next(Type::Integer)?,
            Function::String => next(Type::String)?,
            Function::IsBool => Value::Boolean(next(Type::Boolean).is_ok()),
            Function::IsInt => Value::Boolean(next(Type::Integer).is_ok()),
            Function::Length => {
                let count = text(next(Type::String)?).chars().count();
                Value::Integer(i32::try_from(count).unwrap_or(i32::MAX))
            }
            Function::Lower => owned(text(next(Type::String)?).to_lowercase()),
            Function::Upper => owned(text(next(Type::String)?).to_uppercase()),
            Function::Trim => {
                let text = text(next(Type::String)?);
                let (start, end) = {
                    let after = text.trim_start();
                    let start = text.len() - after.len();
                    (start, start + after.trim_end().len())
                };
                part(text, start, end)
            }
            Function::Left | Function::Right => {
                let text = text(next(Type::String)?);
                let count = integer(next(Type::Integer)?);
                let Ok(count) = usize::try_from(count) else {
                    return Err(failed(Value::String(text), EvaluationError::FunctionEvaluation));
                };
                let all = text.chars().count();
                let (from, to) = match self {
                    Function::Left => (0, count),
                    _ => (all.saturating_sub(count), all),
                };
                let (from, to) = (byte_of(&text, from), byte_of(&text, to));
                part(text, from, to)
            }
            Function::Substring => {
                let text = text(next(Type::String)?);
                let position = integer(next(Type::Integer)?);
                let count = match arguments.next() {
                    Some(count) => match cast(count, Type::Integer) {
                        Ok(count) => Some(integer(count)),
                        Err(_) => return Err(failed(Type::String.zero(), EvaluationError::Cast)),
                    },
                    None => None,
                };
                return substring(text, position, count);
            }
            Function::Concat | Function::ConcatWs => {
                let between = if self == Function::ConcatWs { text(next(Type::String)?) } else { Cow::Borrowed("") };
                let mut all = String::new();
                for (place, argument) in arguments.enumerate() {
                    let Ok(argument) = cast(argument, Type::String) else {
                        return Err(failed(Type::String.zero(), EvaluationError::Cast));
                    };
                    if place > 0 {
                        all.push_str(&between);
                    }
                    all.push_str(&text(argument));
                }
                owned(all)
            }
        })
    }
}

/// Characters are counted from 1; from the end where `position` is negative.
fn substring(text: Cow<'_, str>, position: i32, count: Option<i32>) -> Outcome<'_> {
    let all = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let position = i64::from(position);
    let refused = || failed(Type::String.zero(), EvaluationError::FunctionEvaluation);
    if position > all || position < -all || count.is_some_and(|count| count < 0) {
        return Err(refused());
    }
    let from = match position {
        0 => return Ok(Type::String.zero()),
        1.. => position - 1,
        _ => all + position,
    };
    let to = count.map_or(all, |count| from.saturating_add(i64::from(count)));
    let place = |number: i64| byte_of(&text, usize::try_from(number).unwrap_or(usize::MAX));
    let (from, to) = (place(from), place(to));
    Ok(part(text, from, to))
}

/// Where a character begins; the end of the text where it has fewer.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

/// A part of a text, without a copy where the text is none.
fn part(text: Cow<'_, str>, start: usize, end: usize) -> Value<'_> {
    Value::String(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(start..end).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(start..end).unwrap_or_default().to_owned()),
    })
}

fn owned(text: String) -> Value<'static> {
    Value::String(Cow::Owned(text))
}

fn text(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::String(text) => text,
        _ => Cow::Borrowed(""),
    }
}

fn integer(value: Value<'_>) -> i32 {
    match value {
        Value::Integer(number) => number,
        _ => 0,
    }
}

/// Says that there is no such function.
pub(super) fn missing(name: &str, at: usize, count: usize) -> ParseError {
    let known = FUNCTIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let (message, help) = match known {
        Some((known, _, fewest, most)) => {
            let takes = match (*fewest, *most) {
                (fewest, most) if fewest == most => format!("{fewest}"),
                (fewest, usize::MAX) => format!("{fewest} or more"),
                (fewest, most) => format!("{fewest} to {most}"),
            };
            (format!("{known} takes {takes} arguments, not {count}"), None)
        }
        None => {
            let names = FUNCTIONS.iter().map(|(known, ..)| *known);
            let near = nearest(&name.to_ascii_uppercase(), names.clone());
            let all = format!("the functions are {}", names.collect::<Vec<_>>().join(", "));
            let help = near.map_or(all.clone(), |near| format!("did you mean {near}? {all}"));
            (format!("there is no function `{name}`"), Some(help))
        }
    };
    ParseError { at, length: name.len(), message, help }
}
