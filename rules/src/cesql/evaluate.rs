//! What an expression is worth for one event (sections 3.4, 3.6 and 3.7).
//!
//! An operand that went wrong ends the operator: its value is that of its type for nothing, and the error goes on with
//! it. So `true AND (missing = "")` is false, with the error.

use std::borrow::Cow;

use super::{Attributes, EvaluationError, Node, Operator, Value};

/// A value, or what went wrong with the value that stands for it.
pub(super) type Outcome<'v> = Result<Value<'v>, Failed<'v>>;

/// What went wrong.
#[derive(Debug)]
pub(super) struct Failed<'v> {
    pub(super) value: Value<'v>,
    pub(super) error: EvaluationError,
}

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Integer,
    Boolean,
}

impl Type {
    /// The value that stands for nothing.
    pub(super) fn zero(self) -> Value<'static> {
        match self {
            Type::String => Value::String(Cow::Borrowed("")),
            Type::Integer => Value::Integer(0),
            Type::Boolean => Value::Boolean(false),
        }
    }
}

impl Value<'_> {
    fn ty(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::Integer(_) => Type::Integer,
            Value::Boolean(_) => Type::Boolean,
        }
    }
}

pub(super) fn failed(value: Value<'_>, error: EvaluationError) -> Failed<'_> {
    Failed { value, error }
}

/// Turns a value into one of another type.
pub(super) fn cast(value: Value<'_>, ty: Type) -> Result<Value<'_>, EvaluationError> {
    Ok(match (value, ty) {
        (value @ Value::String(_), Type::String)
        | (value @ Value::Integer(_), Type::Integer)
        | (value @ Value::Boolean(_), Type::Boolean) => value,
        (Value::String(text), Type::Integer) => Value::Integer(text.parse().map_err(|_| EvaluationError::Cast)?),
        (Value::String(text), Type::Boolean) if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        (Value::String(text), Type::Boolean) if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        (Value::String(_), Type::Boolean) => return Err(EvaluationError::Cast),
        (Value::Boolean(truth), Type::Integer) => Value::Integer(i32::from(truth)),
        (Value::Boolean(true), Type::String) => Value::String(Cow::Borrowed("true")),
        (Value::Boolean(false), Type::String) => Value::String(Cow::Borrowed("false")),
        (Value::Integer(number), Type::Boolean) => Value::Boolean(number != 0),
        (Value::Integer(number), Type::String) => Value::String(Cow::Owned(number.to_string())),
    })
}

pub(super) fn evaluate<'v>(node: &'v Node, event: &'v dyn Attributes) -> Outcome<'v> {
    match node {
        Node::Literal(value) => Ok(borrowed(value)),
        Node::Attribute(name) => {
            event.get(name).ok_or_else(|| failed(Type::Boolean.zero(), EvaluationError::MissingAttribute))
        }
        // The specification's own attributes are always there: an event without them is none.
        Node::Exists(name) => {
            Ok(Value::Boolean(matches!(&**name, "specversion" | "id" | "source" | "type") || event.get(name).is_some()))
        }
        Node::Not(of) => Ok(Value::Boolean(!truth(of, event, Type::Boolean)?)),
        Node::Negate(of) => {
            let number = number(of, event, Type::Integer)?;
            number.checked_neg().map(Value::Integer).ok_or_else(|| failed(Type::Integer.zero(), EvaluationError::Math))
        }
        Node::Binary(operator, left, right) => binary(*operator, left, right, event),
        Node::Like { of, like, negated } => {
            let text = operand(of, event, Type::String, Type::Boolean)?;
            let Value::String(text) = text else { return Ok(Type::Boolean.zero()) };
            Ok(Value::Boolean(like.matches(&text) != *negated))
        }
        Node::In { of, set, negated } => is_in(of, set, event).map(|found| Value::Boolean(found != *negated)),
        Node::Call(function, arguments) => {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                let value = evaluate(argument, event).map_err(|inner| failed(function.gives().zero(), inner.error));
                values.push(value?);
            }
            function.call(values)
        }
        Node::Unknown { .. } => Err(failed(Type::Boolean.zero(), EvaluationError::MissingFunction)),
    }
}

fn borrowed<'v>(value: &'v Value<'static>) -> Value<'v> {
    match value {
        Value::String(text) => Value::String(Cow::Borrowed(text)),
        Value::Integer(number) => Value::Integer(*number),
        Value::Boolean(truth) => Value::Boolean(*truth),
    }
}

/// An operand of the type that its operator, which gives `gives`, needs.
fn operand<'v>(node: &'v Node, event: &'v dyn Attributes, ty: Type, gives: Type) -> Outcome<'v> {
    let value = evaluate(node, event).map_err(|inner| failed(gives.zero(), inner.error))?;
    cast(value, ty).map_err(|error| failed(gives.zero(), error))
}

fn truth<'v>(node: &'v Node, event: &'v dyn Attributes, gives: Type) -> Result<bool, Failed<'v>> {
    Ok(operand(node, event, Type::Boolean, gives)? == Value::Boolean(true))
}

fn number<'v>(node: &'v Node, event: &'v dyn Attributes, gives: Type) -> Result<i32, Failed<'v>> {
    match operand(node, event, Type::Integer, gives)? {
        Value::Integer(number) => Ok(number),
        Value::String(_) | Value::Boolean(_) => Ok(0),
    }
}

fn binary<'v>(operator: Operator, left: &'v Node, right: &'v Node, event: &'v dyn Attributes) -> Outcome<'v> {
    let boolean = Type::Boolean;
    Ok(Value::Boolean(match operator {
        // The right side is not looked at where the left one decides.
        Operator::And => truth(left, event, boolean)? && truth(right, event, boolean)?,
        Operator::Or => truth(left, event, boolean)? || truth(right, event, boolean)?,
        Operator::Xor => truth(left, event, boolean)? != truth(right, event, boolean)?,
        Operator::Equal => equal(left, right, event)?,
        Operator::NotEqual => !equal(left, right, event)?,
        Operator::Less => number(left, event, boolean)? < number(right, event, boolean)?,
        Operator::LessOrEqual => number(left, event, boolean)? <= number(right, event, boolean)?,
        Operator::Greater => number(left, event, boolean)? > number(right, event, boolean)?,
        Operator::GreaterOrEqual => number(left, event, boolean)? >= number(right, event, boolean)?,
        Operator::Plus | Operator::Minus | Operator::Times | Operator::Divide | Operator::Remainder => {
            let (left, right) = (number(left, event, Type::Integer)?, number(right, event, Type::Integer)?);
            let result = match operator {
                Operator::Plus => left.checked_add(right),
                Operator::Minus => left.checked_sub(right),
                Operator::Times => left.checked_mul(right),
                Operator::Divide => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            let overflown = || failed(Type::Integer.zero(), EvaluationError::Math);
            return result.map(Value::Integer).ok_or_else(overflown);
        }
    }))
}

/// `=` is there for each type; which one is meant, the right side says.
fn equal<'v>(left: &'v Node, right: &'v Node, event: &'v dyn Attributes) -> Result<bool, Failed<'v>> {
    let wrong = |inner: Failed<'v>| failed(Type::Boolean.zero(), inner.error);
    let left = evaluate(left, event).map_err(wrong)?;
    let right = evaluate(right, event).map_err(wrong)?;
    let left = cast(left, right.ty()).map_err(|error| failed(Type::Boolean.zero(), error))?;
    Ok(left == right)
}

/// The elements are made of the type of what is looked for.
fn is_in<'v>(of: &'v Node, set: &'v [Node], event: &'v dyn Attributes) -> Result<bool, Failed<'v>> {
    let wrong = |inner: Failed<'v>| failed(Type::Boolean.zero(), inner.error);
    let wanted = evaluate(of, event).map_err(wrong)?;
    for element in set {
        let element = evaluate(element, event).map_err(wrong)?;
        let element = cast(element, wanted.ty()).map_err(|error| failed(Type::Boolean.zero(), error))?;
        if element == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}
