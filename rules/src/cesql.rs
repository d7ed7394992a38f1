//! CloudEvents SQL, version 1.0: expressions over an event's attributes (`when = "subject LIKE 'eu/%'"`).
//!
//! An expression is read once ([`Expression::parse`]) and evaluated for each event ([`Expression::evaluate`]), without an
//! allocation but for the functions that make new texts. Evaluation always ends and always gives a value; where
//! something went wrong, an error beside it: the first one, and the value that the operator around it has for nothing
//! (`false`, `0`, an empty text).
//!
//! As a filter, an expression lets an event through where its value is `true` and nothing went wrong
//! ([`Expression::passes`]).

mod evaluate;
mod functions;
mod like;
mod read;

use std::borrow::Cow;
use std::fmt;

use eventyard_event::json::{Skimmed, SkimmedValue};
use eventyard_event::{Event, ExtensionValue};

use functions::Function;
use like::Like;

/// The longest expression that is read, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 8 * 1024;

/// How deep parentheses, functions and operators before an operand may go.
const DEPTH_MAX: usize = 64;

/// An expression, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: Box<str>,
    root: Node,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The byte of the text that it is about.
    pub at: usize,
    /// How many bytes from there.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do, where there is something to say.
    pub help: Option<String>,
}

/// A value: of an attribute, of a part of an expression, or of all of it (section 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// Text.
    String(Cow<'v, str>),
    /// A whole number of 32 bits.
    Integer(i32),
    /// True or false.
    Boolean(bool),
}

/// What went wrong while an expression was evaluated (section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvaluationError {
    /// A value is not of the type that an operator needs, and cannot be made so.
    Cast,
    /// A division by zero, or a number of more than 32 bits.
    Math,
    /// The event does not have the attribute.
    MissingAttribute,
    /// There is no such function, or none with so many arguments.
    MissingFunction,
    /// A function does not take this argument.
    FunctionEvaluation,
}

impl EvaluationError {
    /// The kind as the specification's own tests name it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            EvaluationError::Cast => "cast",
            EvaluationError::Math => "math",
            EvaluationError::MissingAttribute => "missingAttribute",
            EvaluationError::MissingFunction => "missingFunction",
            EvaluationError::FunctionEvaluation => "functionEvaluation",
        }
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EvaluationError::Cast => "a value is of another type than the operator needs, and cannot be made so",
            EvaluationError::Math => "a division by zero, or a number of more than 32 bits",
            EvaluationError::MissingAttribute => "the event does not have an attribute that is asked for",
            EvaluationError::MissingFunction => "there is no such function, or none with so many arguments",
            EvaluationError::FunctionEvaluation => "a function does not take this argument",
        })
    }
}

/// Where the attributes come from.
pub trait Attributes {
    /// An attribute or extension by its name.
    fn get(&self, name: &str) -> Option<Value<'_>>;
}

impl Attributes for Event {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        let text = |text: &'_ str| Value::String(Cow::Owned(text.to_owned()));
        let borrowed = |text| Some(Value::String(Cow::Borrowed(text)));
        match name {
            "specversion" => Some(text("1.0")),
            "id" => borrowed(self.id.as_str()),
            "source" => borrowed(self.source.as_str()),
            "type" => borrowed(self.ty.as_str()),
            "subject" => borrowed(self.subject.as_deref()?),
            "time" => borrowed(self.time.as_deref()?),
            "datacontenttype" => borrowed(self.datacontenttype.as_deref()?),
            "dataschema" => borrowed(self.dataschema.as_deref()?),
            _ => Some(match self.extensions.get(name)? {
                ExtensionValue::String(text) => Value::String(Cow::Borrowed(text)),
                ExtensionValue::Integer(number) => Value::Integer(*number),
                ExtensionValue::Boolean(truth) => Value::Boolean(*truth),
            }),
        }
    }
}

impl Attributes for Skimmed<'_> {
    fn get(&self, name: &str) -> Option<Value<'_>> {
        Some(match self.attribute(name)? {
            SkimmedValue::String(text) => Value::String(Cow::Borrowed(text)),
            SkimmedValue::Integer(number) => Value::Integer(number),
            SkimmedValue::Boolean(truth) => Value::Boolean(truth),
        })
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ParseError`], with the place of the mistake. A function that does not exist is none of these: see
    /// [`Expression::missing_function`].
    pub fn parse(text: &str) -> Result<Expression, ParseError> {
        Ok(Expression { text: text.into(), root: read::read(text)? })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its value, and what went wrong first.
    #[must_use]
    pub fn evaluate<'v>(&'v self, event: &'v dyn Attributes) -> (Value<'v>, Option<EvaluationError>) {
        match evaluate::evaluate(&self.root, event) {
            Ok(value) => (value, None),
            Err(failed) => (failed.value, Some(failed.error)),
        }
    }

    /// Whether an event passes: the value is `true`, and nothing went wrong (section 1.2).
    ///
    /// # Errors
    /// What went wrong; the event does not pass. A value that is neither true nor false is [`EvaluationError::Cast`].
    pub fn passes(&self, event: &dyn Attributes) -> Result<bool, EvaluationError> {
        match self.evaluate(event) {
            (Value::Boolean(truth), None) => Ok(truth),
            (_, None) => Err(EvaluationError::Cast),
            (_, Some(error)) => Err(error),
        }
    }

    /// A function that is called and does not exist, or not with so many arguments, and where its name stands.
    #[must_use]
    pub fn missing_function(&self) -> Option<ParseError> {
        let mut missing = None;
        self.root.walk(&mut |node| {
            if let Node::Unknown { name, at, count } = node
                && missing.is_none()
            {
                missing = Some(functions::missing(name, *at, *count));
            }
        });
        missing
    }

    /// The attributes that it asks for, each once, in the order of the text.
    #[must_use]
    pub fn attributes(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.walk(&mut |node| {
            if let Node::Attribute(name) | Node::Exists(name) = node
                && !names.contains(&&**name)
            {
                names.push(&**name);
            }
        });
        names
    }
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Literal(Value<'static>),
    Attribute(Box<str>),
    Exists(Box<str>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Like {
        of: Box<Node>,
        like: Like,
        negated: bool,
    },
    In {
        of: Box<Node>,
        set: Vec<Node>,
        negated: bool,
    },
    Call(Function, Vec<Node>),
    /// A function that does not exist, or not with so many arguments.
    Unknown {
        name: Box<str>,
        at: usize,
        count: usize,
    },
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    And,
    Or,
    Xor,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Remainder,
}

impl Node {
    /// Visits this and all parts, in the order of the text.
    fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Node)) {
        visit(self);
        match self {
            Node::Literal(_) | Node::Attribute(_) | Node::Exists(_) | Node::Unknown { .. } => {}
            Node::Not(of) | Node::Negate(of) | Node::Like { of, .. } => of.walk(visit),
            Node::Binary(_, left, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Node::In { of, set, .. } => {
                of.walk(visit);
                set.iter().for_each(|element| element.walk(visit));
            }
            Node::Call(_, arguments) => arguments.iter().for_each(|argument| argument.walk(visit)),
        }
    }
}
