//! What is wrong with a project, each mistake with its place, and all of them in one report.
//!
//! A [`Diagnostic`] is one mistake (or one warning): a stable code, a place in a file, what was wrong and
//! what to do. A [`Report`] collects them over all files, keeps the files' texts, and shows itself in two ways:
//! as text with the line and a caret ([`Report::render`]), and as JSON with line and column
//! ([`Report::to_json`]).
//!
//! Secrets: a text is masked as it is handed to the report ([`Report::add_source`]), so that a caret under a
//! broken line can never show a password that stands in it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use crate::mask::mask_secrets;

/// How many diagnostics [`Report::render`] shows in full. Beyond it the reader is no longer helped: the rest
/// is counted in one line. [`Report::to_json`] has them all.
pub const RENDERED_MAX: usize = 200;

/// The longest line, in bytes, that is shown with a caret; for a longer one only its place is named.
const SHOWN_LINE_BYTES_MAX: usize = 2_000;

/// How many lines one span may show before it is cut to its first one.
const SHOWN_LINES_MAX: usize = 6;

/// Whether a diagnostic keeps a project from loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The project does not load.
    Error,
    /// The project loads; somebody should look.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A place in a file: what a definition remembers so that a later check can point at it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file's path, relative to the project folder.
    pub file: Arc<str>,
    /// Bytes of its text.
    pub span: Range<usize>,
}

/// Another place that a diagnostic speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The file's path, relative to the project folder.
    pub file: Arc<str>,
    /// Bytes of its text.
    pub span: Range<usize>,
    /// What stands there.
    pub label: String,
}

/// One mistake or one warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable word; see [`mod@crate::codes`].
    pub code: &'static str,
    /// Whether the project loads all the same.
    pub severity: Severity,
    /// The file's path, relative to the project folder.
    pub file: Arc<str>,
    /// Bytes of its text; `None` where the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// What stands beside the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places to look at.
    pub related: Vec<Related>,
}

impl Diagnostic {
    /// An error that concerns a whole file.
    #[must_use]
    pub fn error(code: &'static str, file: &Arc<str>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            file: Arc::clone(file),
            span: None,
            message: message.into(),
            label: None,
            help: None,
            related: Vec::new(),
        }
    }

    /// An error at a place.
    #[must_use]
    pub fn error_at(code: &'static str, place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: Some(place.span.clone()), ..Diagnostic::error(code, &place.file, message) }
    }

    /// The same as a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// With a span in its file.
    #[must_use]
    pub fn with_span(mut self, span: Range<usize>) -> Diagnostic {
        self.span = Some(span);
        self
    }

    /// With a few words beside the caret.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// With a sentence that says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// With another place.
    #[must_use]
    pub fn with_related(mut self, place: &Place, label: impl Into<String>) -> Diagnostic {
        self.related.push(Related { file: Arc::clone(&place.file), span: place.span.clone(), label: label.into() });
        self
    }
}

/// Everything that was found in a project, with the texts it points into.
#[derive(Clone, Debug, Default)]
pub struct Report {
    sources: BTreeMap<Arc<str>, Arc<str>>,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// An empty report.
    #[must_use]
    pub fn new() -> Report {
        Report::default()
    }

    /// Gives the text that spans of `file` point into. Values of secret keys are masked here and now, byte for
    /// byte, so that positions stay what they are.
    pub fn add_source(&mut self, file: &Arc<str>, text: &str) {
        self.sources.insert(Arc::clone(file), Arc::from(mask_secrets(text)));
    }

    /// Adds one diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Takes over what another report has found, texts included.
    pub fn merge(&mut self, other: Report) {
        self.sources.extend(other.sources);
        self.diagnostics.extend(other.diagnostics);
    }

    /// Whether anything keeps the project from loading.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// How many errors there are.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|found| found.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    #[must_use]
    pub fn warning_count(&self) -> usize {
        self.diagnostics.len() - self.error_count()
    }

    /// Whether nothing was found at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// What was found, in the order in which it was found.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// What was found, without the texts.
    #[must_use]
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// Puts errors of one file together, in the order of their lines.
    pub fn sort(&mut self) {
        self.diagnostics.sort_by(|a, b| {
            let key = |d: &Diagnostic| (Arc::clone(&d.file), d.span.as_ref().map_or(0, |span| span.start));
            key(a).cmp(&key(b))
        });
    }

    /// The report as text for people, in the manner of rustc: for each diagnostic its code, the file, line and
    /// column, the line with a caret, and what to do; then a count. Escape sequences for colours only when
    /// `coloured`.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for diagnostic in self.diagnostics.iter().take(RENDERED_MAX) {
            text.push_str(&self.render_one(diagnostic, &renderer));
            text.push_str("\n\n");
        }
        if let Some(more) = self.diagnostics.len().checked_sub(RENDERED_MAX).filter(|more| *more > 0) {
            text.push_str(&format!("… and {more} more\n\n"));
        }
        let (errors, warnings) = (self.error_count(), self.warning_count());
        text.push_str(&match (errors, warnings) {
            (0, 0) => "no mistakes".to_owned(),
            (errors, 0) => count(errors, "error"),
            (0, warnings) => count(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
        });
        text.push('\n');
        text
    }

    fn render_one(&self, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut elements = vec![self.shown(
            &diagnostic.file,
            diagnostic.span.as_ref(),
            diagnostic.label.as_deref(),
            AnnotationKind::Primary,
        )];
        elements.extend(diagnostic.related.iter().map(|related| {
            self.shown(&related.file, Some(&related.span), Some(&related.label), AnnotationKind::Context)
        }));
        if let Some(help) = &diagnostic.help {
            elements.push(Level::HELP.message(help.as_str()).into());
        }
        let group = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).elements(elements);
        renderer.render(&[group])
    }

    /// One place as the renderer wants it: the lines of the span where the text is known and they are few and
    /// short enough to be read, else the place alone.
    fn shown<'a>(
        &'a self,
        file: &'a str,
        span: Option<&Range<usize>>,
        label: Option<&'a str>,
        kind: AnnotationKind,
    ) -> Element<'a> {
        let Some((text, span)) = span.and_then(|span| Some((self.sources.get(file)?, span))) else {
            return Origin::path(file).into();
        };
        let span = clamp(text, span);
        let lines = Lines::around(text, &span);
        if lines.text.lines().any(|line| line.len() > SHOWN_LINE_BYTES_MAX) {
            let position = Position::of(text, span.start);
            return Origin::path(file).line(position.line).char_column(position.column).into();
        }
        let inside = span.start - lines.start..(span.end - lines.start).min(lines.text.len());
        Snippet::source(lines.text)
            .line_start(lines.number)
            .path(file)
            .annotation(kind.span(inside).label(label))
            .into()
    }

    /// The report for programs: `{"errors": n, "warnings": n, "diagnostics": [{code, severity, file, line,
    /// column, end_line, end_column, message, label, help, related}]}`; lines and columns count from 1, columns
    /// in characters; they are null where a whole file is meant.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let diagnostics: Vec<_> = self.diagnostics.iter().map(|found| self.diagnostic_json(found)).collect();
        serde_json::json!({
            "errors": self.error_count(),
            "warnings": self.warning_count(),
            "diagnostics": diagnostics,
        })
    }

    fn diagnostic_json(&self, found: &Diagnostic) -> serde_json::Value {
        let (start, end) = self.positions(&found.file, found.span.as_ref());
        let related: Vec<_> = found
            .related
            .iter()
            .map(|related| {
                let (start, _) = self.positions(&related.file, Some(&related.span));
                serde_json::json!({
                    "file": &*related.file,
                    "line": start.map(|at| at.line),
                    "column": start.map(|at| at.column),
                    "label": related.label,
                })
            })
            .collect();
        serde_json::json!({
            "code": found.code,
            "severity": found.severity.as_str(),
            "file": &*found.file,
            "line": start.map(|at| at.line),
            "column": start.map(|at| at.column),
            "end_line": end.map(|at| at.line),
            "end_column": end.map(|at| at.column),
            "message": found.message,
            "label": found.label,
            "help": found.help,
            "related": related,
        })
    }

    /// The first error in one line, for a log or a note: its place, what is wrong, what was meant, and how many more
    /// there are. Empty where there is no error.
    #[must_use]
    pub fn headline(&self) -> String {
        let Some(first) = self.diagnostics.iter().find(|found| found.severity == Severity::Error) else {
            return String::new();
        };
        let mut text = match self.positions(&first.file, first.span.as_ref()).0 {
            Some(at) => format!("{}:{}:{}: {}", first.file, at.line, at.column, first.message),
            None => format!("{}: {}", first.file, first.message),
        };
        if let Some(label) = &first.label {
            text.push_str(&format!(" ({label})"));
        }
        if let Some(more) = self.error_count().checked_sub(1).filter(|more| *more > 0) {
            text.push_str(&format!(", and {}", count(more, "more error")));
        }
        text
    }

    fn positions(&self, file: &str, span: Option<&Range<usize>>) -> (Option<Position>, Option<Position>) {
        let Some((text, span)) = span.and_then(|span| Some((self.sources.get(file)?, span))) else {
            return (None, None);
        };
        let span = clamp(text, span);
        (Some(Position::of(text, span.start)), Some(Position::of(text, span.end)))
    }

    /// Line and column of a place, both counted from 1; `None` where the report does not hold its text.
    #[must_use]
    pub fn line_and_column(&self, place: &Place) -> Option<(usize, usize)> {
        self.positions(&place.file, Some(&place.span)).0.map(|at| (at.line, at.column))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// A span that lies in the text and on character boundaries, whatever it was.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

/// Line and column, both counted from 1, the column in characters.
#[derive(Clone, Copy)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    fn of(text: &str, at: usize) -> Position {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        }
    }
}

/// The whole lines that a span touches.
struct Lines<'t> {
    text: &'t str,
    /// Where they start in the file, in bytes.
    start: usize,
    /// The first one's number, from 1.
    number: usize,
}

impl<'t> Lines<'t> {
    fn around(text: &'t str, span: &Range<usize>) -> Lines<'t> {
        let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line_end = |from: usize| {
            text.get(from..).and_then(|after| after.find('\n')).map_or(text.len(), |newline| from + newline)
        };
        let mut end = line_end(span.end);
        if text.get(start..end).is_some_and(|lines| lines.lines().count() > SHOWN_LINES_MAX) {
            end = line_end(span.start);
        }
        let number = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
        Lines { text: text.get(start..end).unwrap_or(""), start, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report_of(text: &str, span: Range<usize>) -> Report {
        let file: Arc<str> = Arc::from("a.toml");
        let mut report = Report::new();
        report.add_source(&file, text);
        report.push(Diagnostic::error("some_code", &file, "something is wrong").with_span(span).with_label("here"));
        report
    }

    #[test]
    fn a_place_is_shown_with_its_line_and_a_caret() {
        let text = report_of("first = 1\r\nsécond = 2\n", 11..18).render(false);
        assert!(text.starts_with("error[some_code]: something is wrong\n --> a.toml:2:1\n"), "{text}");
        assert!(
            text.contains("2 | sécond = 2") && text.contains("^^^^^^ here") && text.ends_with("1 error\n"),
            "{text}"
        );
    }

    #[test]
    fn spans_that_lie_nowhere_are_clamped() {
        // Behind the end, turned around, and in the middle of a character.
        #[expect(clippy::reversed_empty_ranges, reason = "the very thing that is tried")]
        for span in [0..0, 5..900, 900..901, 3..1, 1..2] {
            let report = report_of("é☃\nx", span);
            assert!(report.render(true).contains("a.toml"));
            assert!(report.to_json()["diagnostics"][0]["line"].is_u64());
        }
        assert!(report_of("", 0..0).render(false).contains("a.toml:1:1"));
    }

    #[test]
    fn a_very_long_line_is_named_and_not_shown() {
        let line = format!("a = \"{}\"", "x".repeat(1_000_000));
        let text = report_of(&line, 4..6).render(false);
        assert!(text.len() < 1_000 && text.contains("a.toml:1:5"), "{}", text.len());
    }

    #[test]
    fn a_span_of_many_lines_shows_its_first() {
        let text = report_of(&"line\n".repeat(1_000), 5..4_000).render(false);
        assert!(text.lines().count() < 20 && text.contains("a.toml:2:1"), "{text}");
    }

    #[test]
    fn beyond_the_limit_diagnostics_are_counted() {
        let mut report = report_of("a = 1", 0..1);
        let one = report.diagnostics()[0].clone();
        (0..RENDERED_MAX).for_each(|_| report.push(one.clone()));
        assert!(report.render(false).contains("… and 1 more"));
        assert_eq!(report.to_json()["errors"], RENDERED_MAX + 1);
    }

    #[test]
    fn a_secret_beside_a_mistake_is_masked() {
        let report = report_of("auth = { token = \"hunter2\", tokn = 1 }", 28..32);
        assert!(!report.render(false).contains("hunter2"), "{report}");
    }

    #[test]
    fn a_headline_is_the_first_error_in_one_line() {
        let file: Arc<str> = Arc::from("a.toml");
        let mut report = Report::new();
        assert_eq!(report.headline(), "");
        report.push(Diagnostic::error("other", &file, "odd").as_warning());
        assert_eq!(report.headline(), "");
        report.push(Diagnostic::error("other", &file, "gone"));
        assert_eq!(report.headline(), "a.toml: gone");
        let mut report = report_of("a = 1\nb = 2", 6..7);
        assert_eq!(report.headline(), "a.toml:2:1: something is wrong (here)");
        report.push(Diagnostic::error("other", &file, "gone"));
        assert_eq!(report.headline(), "a.toml:2:1: something is wrong (here), and 1 more error");
    }

    #[test]
    fn json_has_lines_and_columns_and_none_for_a_whole_file() {
        let mut report = report_of("a = 1\nb = 2", 6..7);
        report.push(Diagnostic::error("other", &Arc::from("b.toml"), "gone").as_warning());
        let json = report.to_json();
        assert_eq!((&json["errors"], &json["warnings"]), (&1.into(), &1.into()));
        let first = &json["diagnostics"][0];
        assert_eq!((&first["line"], &first["column"], &first["end_column"]), (&2.into(), &1.into(), &2.into()));
        assert!(json["diagnostics"][1]["line"].is_null());
    }
}
