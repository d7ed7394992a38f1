//! Patterns (the place for them; the operators come with their evaluator).

/// A checked pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {}
