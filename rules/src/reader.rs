//! Reads a TOML file table by table, and goes on after a mistake: all of them end in one report.
//!
//! [`Document::parse`] takes the text apart, [`Reading`] holds what all tables of one file share, and a
//! [`Table`] is asked for its keys one by one. A getter answers `None` where the key is absent *or* wrong (then
//! it has been reported); [`Table::require`] reports an absent one. Which keys exist is nothing but which were
//! asked for: [`Table::finish`] reports every other one, with the nearest that exists.
//!
//! `{ env = "NAME", default = "…" }` and `{ file = "path" }` may stand for any string. This crate reads neither:
//! a closure of the caller's resolves them ([`Reference`]).

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::codes;
use crate::diagnostic::{Diagnostic, Place, Report, Severity};
use crate::text::HIDDEN;

mod table;

mod value;

pub use table::Table;

/// How many diagnostics one file may add. A file of garbage has a mistake on every line; nobody reads them all.
pub const FILE_DIAGNOSTICS_MAX: usize = 100;

/// How many syntax errors of one file are shown.
pub const SYNTAX_ERRORS_MAX: usize = 10;

/// A secret of so many bytes is hidden wherever it stands in a message; a shorter one, which would take half of
/// all words with it, where it is quoted.
const SCRUBBED_BYTES_MIN: usize = 4;

/// A TOML value with its place.
pub type TomlValue<'t> = Spanned<DeValue<'t>>;

/// What may stand for a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'r> {
    /// `{ env = "NAME" }`
    Env(&'r str),
    /// `{ file = "path" }`, relative to the project folder.
    File(&'r str),
}

/// Resolves a [`Reference`]: `Ok(None)` where the variable is not set; an error says why the file cannot be
/// read. It never holds the value.
pub type Resolve<'a> = dyn Fn(Reference<'_>) -> Result<Option<String>, String> + 'a;

/// What to do about a syntax error, by a part of what the parser says of it.
const SYNTAX_HELP: &[(&str, &str)] = &[
    ("must be quoted", "put the text into straight quotes: name = \"…\""),
    ("invalid basic string", "close the text with a straight quote on the same line: name = \"…\""),
    ("duplicate key", "it is in this file already; make one of the two, or give one another name"),
    ("array elements", "a list has commas between its entries and ends with `]`; is one missing here, or above?"),
    ("unclosed array", "a list ends with `]`"),
    ("unclosed table", "the head of a table ends with `]`, and that of one of several with `]]`"),
    ("unclosed inline table", "a table in braces ends with `}`"),
    ("key with no value", "write key = value, with an equals sign"),
    ("invalid unquoted key", "write key = value, with an equals sign, and a table's head as [[rule]]"),
];

fn syntax_help(said: &str) -> Option<&'static str> {
    SYNTAX_HELP.iter().find(|(part, _)| said.contains(part)).map(|(_, help)| *help)
}

/// A TOML text taken apart.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    syntax_errors: Vec<toml::de::Error>,
}

impl<'t> Document<'t> {
    /// Takes a text apart, as far as its syntax allows.
    #[must_use]
    pub fn parse(text: &'t str) -> Document<'t> {
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        Document { root, syntax_errors, text }
    }

    /// The first syntax error of each line, for the others mostly follow from it, and of a file at most
    /// [`SYNTAX_ERRORS_MAX`]: one bracket that is not closed makes an error of each line behind it.
    fn shown_syntax_errors(&self) -> impl Iterator<Item = &toml::de::Error> {
        let mut errors: Vec<&toml::de::Error> = self.syntax_errors.iter().collect();
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        errors.sort_by_key(|error| start(error));
        let mut line_end = None;
        errors.retain(|error| {
            let start = start(error);
            let new_line = line_end.is_none_or(|end| start > end);
            if new_line {
                let rest = self.text.get(start..).unwrap_or("");
                line_end = Some(rest.find('\n').map_or(self.text.len(), |newline| start + newline));
            }
            new_line
        });
        errors.into_iter().take(SYNTAX_ERRORS_MAX)
    }
}

/// What all tables of one file share: where they are, what was found wrong, and who resolves references.
pub struct Reading<'a> {
    file: Arc<str>,
    resolve: &'a Resolve<'a>,
    /// Taken by [`Reading::finish`].
    found: RefCell<Vec<Diagnostic>>,
    not_shown: Cell<usize>,
    /// Where the first syntax error is. What is read from there on may be something that the parser made up
    /// while recovering, so that mistakes found there are not reported.
    broken_from: usize,
    /// Where a reference stands that could not be resolved. That has been said; what follows from it is not.
    unresolved: RefCell<Vec<Range<usize>>>,
    /// Every secret that was resolved; none may stand in a message, whoever wrote it.
    secrets: RefCell<Vec<String>>,
}

impl<'a> Reading<'a> {
    /// Begins with a document's syntax errors.
    #[must_use]
    pub fn new(file: &Arc<str>, document: &Document<'_>, resolve: &'a Resolve<'a>) -> Reading<'a> {
        let reading = Reading {
            file: Arc::clone(file),
            resolve,
            found: RefCell::default(),
            not_shown: Cell::new(0),
            broken_from: usize::MAX,
            unresolved: RefCell::default(),
            secrets: RefCell::default(),
        };
        for error in document.shown_syntax_errors() {
            let mut found = Diagnostic::error(codes::TOML_SYNTAX, file, format!("not valid TOML: {}", error.message()));
            found.span = error.span();
            found.help = syntax_help(error.message()).map(str::to_owned);
            reading.push(found);
        }
        let first = document.syntax_errors.iter().map(|error| error.span().map_or(0, |span| span.start)).min();
        Reading { broken_from: first.unwrap_or(usize::MAX), ..reading }
    }

    /// How many mistakes were found until now.
    #[must_use]
    pub fn error_count(&self) -> usize {
        let found = self.found.borrow();
        found.iter().filter(|found| found.severity == Severity::Error).count() + self.not_shown.get()
    }

    /// Whether the file's syntax is broken, so that what it defines is known in part only.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken_from != usize::MAX
    }

    /// The document's outermost table.
    #[must_use]
    pub fn root<'t>(&'t self, document: &'t Document<'t>) -> Table<'t> {
        Table::new(self, document.root.get_ref(), 0..0, format!("`{}`", self.file))
    }

    /// The file that is read.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// A place in this file.
    #[must_use]
    pub fn place(&self, span: Range<usize>) -> Place {
        Place { file: Arc::clone(&self.file), span }
    }

    /// Reports something. Left out: what lies behind a syntax error, and what goes beyond
    /// [`FILE_DIAGNOSTICS_MAX`].
    pub fn push(&self, mut diagnostic: Diagnostic) {
        let behind_broken = diagnostic.span.as_ref().is_some_and(|span| span.end >= self.broken_from);
        // A table may go on behind the syntax error, so that nothing can be said about what it lacks.
        let lacks = self.is_broken()
            && matches!(
                diagnostic.code,
                codes::MISSING_KEY
                    | codes::RULE_WITHOUT_CONDITION
                    | codes::RULE_WITHOUT_TARGET
                    | codes::TARGET_AMBIGUOUS
            );
        let follows = diagnostic.span.as_ref().is_some_and(|span| self.unresolved.borrow().contains(span));
        if behind_broken || lacks || follows {
            return;
        }
        let mut found = self.found.borrow_mut();
        if found.len() >= FILE_DIAGNOSTICS_MAX {
            self.not_shown.set(self.not_shown.get() + 1);
            return;
        }
        self.scrub(&mut diagnostic);
        found.push(diagnostic);
    }

    /// Hides every secret that was resolved in this file, should a message quote it.
    fn scrub(&self, diagnostic: &mut Diagnostic) {
        for secret in self.secrets.borrow().iter() {
            let texts = [Some(&mut diagnostic.message), diagnostic.label.as_mut(), diagnostic.help.as_mut()];
            for text in texts.into_iter().flatten() {
                if secret.len() >= SCRUBBED_BYTES_MIN {
                    *text = text.replace(secret.as_str(), HIDDEN);
                } else {
                    *text = text.replace(&format!("`{secret}`"), &format!("`{HIDDEN}`"));
                }
            }
        }
    }

    /// How many references could not be resolved until now.
    #[must_use]
    pub fn unresolved_count(&self) -> usize {
        self.unresolved.borrow().len()
    }

    /// Whether a text is one of the secrets that were resolved in this file.
    #[must_use]
    pub fn is_secret(&self, text: &str) -> bool {
        self.secrets.borrow().iter().any(|secret| secret == text)
    }

    fn remember_secret(&self, secret: &str) {
        if !secret.is_empty() && !self.secrets.borrow().iter().any(|known| known == secret) {
            self.secrets.borrow_mut().push(secret.to_owned());
        }
    }

    /// Hands everything that was found to the report.
    pub fn finish(self, report: &mut Report) {
        for diagnostic in self.found.into_inner() {
            report.push(diagnostic);
        }
        if self.not_shown.get() > 0 {
            let message = format!("{} more mistakes in this file are not listed", self.not_shown.get());
            report.push(Diagnostic::error(codes::TOO_MANY, &self.file, message));
        }
    }
}
