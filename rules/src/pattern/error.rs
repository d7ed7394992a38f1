//! What is wrong with a pattern.

use std::ops::Range;

/// One mistake in a pattern. A pattern reports all of its mistakes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// A stable word, one of [`super::codes::CODES`].
    pub code: &'static str,
    /// The bytes of the text that was read, or of the file that it stands in.
    pub span: Option<Range<usize>>,
    /// The field it concerns, such as `data.amount`; empty for the pattern as a whole.
    pub path: String,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}
