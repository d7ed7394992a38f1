//! The kinds of alerts.

use serde::{Deserialize, Serialize};

/// What a channel may listen to, and the type of the event that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A delivery was given up.
    DeadLetter,
    /// A source has failed several times in a row.
    SourceDown,
    /// Changed files were refused; the project before stays in force.
    RulesRefused,
    /// `eventyard channels test`.
    Test,
}

impl AlertKind {
    /// All that a channel may name.
    pub const ALL: [AlertKind; 3] = [AlertKind::DeadLetter, AlertKind::SourceDown, AlertKind::RulesRefused];

    /// As projects write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AlertKind::DeadLetter => "dead_letter",
            AlertKind::SourceDown => "source_down",
            AlertKind::RulesRefused => "rules_refused",
            AlertKind::Test => "test",
        }
    }

    /// From the word of a project.
    #[must_use]
    pub fn from_word(word: &str) -> Option<AlertKind> {
        AlertKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}
