//! What is written to standard output: lines, tables and JSON.
//!
//! Colours only where a terminal shows them and `NO_COLOR` does not forbid them. Texts that came from outside
//! (types, ids, messages of targets) go through [`shown`], so that nobody can steer the reader's terminal with
//! an event.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Table, presets};
use owo_colors::OwoColorize as _;
use serde_json::Value;

/// The widest text in a table's column on a terminal, in characters; whole texts are in `show` and `--json`.
const CELL_CHARS_MAX: usize = 72;
/// The same for programs that read a table: what `awk` takes out of it (ids, names, most subjects) is whole, and a target that
/// answered with a page of HTML does not make a row of it.
const PIPED_CELL_CHARS_MAX: usize = 200;

/// Standard output, and what it can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    coloured: bool,
    terminal: bool,
}

impl Screen {
    /// Looks at the standard output that the program was given.
    pub(crate) fn detect() -> Screen {
        let terminal = io::stdout().is_terminal();
        Screen { coloured: terminal && colours_wanted(), terminal }
    }

    /// Without colours, whatever there is; for tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Screen {
        Screen { coloured: false, terminal: false }
    }

    /// Whether colours may be used.
    pub(crate) fn coloured(self) -> bool {
        self.coloured
    }

    /// Writes one line and hands it on at once, so that a reader of a pipe sees it.
    pub(crate) fn line(self, text: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Writes JSON for programs: indented on a terminal, else one line.
    pub(crate) fn json(self, value: &Value) -> io::Result<()> {
        let text = if self.terminal { format!("{value:#}") } else { value.to_string() };
        self.line(text)
    }

    /// Writes JSON for programs that read line by line.
    pub(crate) fn json_line(self, value: &Value) -> io::Result<()> {
        self.line(value)
    }

    /// Writes a table without lines between rows; where there are no rows, `none` instead. What is free text stands in the
    /// last column, where its width is nobody else's.
    pub(crate) fn table(self, head: &[&str], rows: Vec<Vec<String>>, none: &str) -> io::Result<()> {
        if rows.is_empty() {
            return self.line(none);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(head.to_vec());
        for row in rows {
            table.add_row(row.into_iter().map(|cell| self.cell(&cell)).collect::<Vec<_>>());
        }
        // The first column loses its padding, so that ids stand at the margin.
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text = table.trim_fmt();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        self.line(self.bold(first))?;
        self.line(rest)
    }

    fn cell(self, text: &str) -> String {
        let max = if self.terminal { CELL_CHARS_MAX } else { PIPED_CELL_CHARS_MAX };
        if text.chars().count() <= max {
            return text.to_owned();
        }
        text.chars().take(max - 1).chain(['…']).collect()
    }

    /// For what went well.
    pub(crate) fn good(self, text: impl Display) -> String {
        if self.coloured { text.green().to_string() } else { text.to_string() }
    }

    /// For what went wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        if self.coloured { text.red().to_string() } else { text.to_string() }
    }

    /// For what is on its way.
    pub(crate) fn warm(self, text: impl Display) -> String {
        if self.coloured { text.yellow().to_string() } else { text.to_string() }
    }

    /// For what most readers pass over.
    pub(crate) fn dim(self, text: impl Display) -> String {
        if self.coloured { text.dimmed().to_string() } else { text.to_string() }
    }

    /// For headings.
    pub(crate) fn bold(self, text: impl Display) -> String {
        if self.coloured { text.bold().to_string() } else { text.to_string() }
    }

    /// A delivery's state in the colour it deserves.
    pub(crate) fn state(self, state: &str) -> String {
        match state {
            "delivered" => self.good(state),
            "dead" => self.bad(state),
            "pending" | "in_flight" | "waiting" => self.warm(state),
            _ => state.to_owned(),
        }
    }
}

/// Whether standard error shows colours.
pub(crate) fn errors_coloured() -> bool {
    io::stderr().is_terminal() && colours_wanted()
}

fn colours_wanted() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !forbidden && !dumb
}

/// Writes one line to standard error: messages about the command itself, as against its result.
pub(crate) fn complain(text: impl Display) {
    // Where standard error is gone too, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A text from outside, safe to show: control characters (and the marks that reverse the reading direction)
/// are written as escapes, line breaks too; see [`shown_lines`].
pub(crate) fn shown(text: &str) -> String {
    escaped(text, false)
}

/// As [`shown`], for texts that may have several lines.
pub(crate) fn shown_lines(text: &str) -> String {
    escaped(text, true)
}

fn escaped(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let steers =
            c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if !steers || lines && matches!(c, '\n' | '\t') {
            out.push(c);
        } else {
            let _ = write!(out, "{}", c.escape_unicode());
        }
    }
    out
}

/// The text of a field, safe to show; `-` where there is none.
pub(crate) fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => shown(text),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| shown(&item.to_string()), shown))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => shown(&other.to_string()),
    }
}

/// The rule of a delivery; alerts belong to none.
pub(crate) fn rule(delivery: &Value) -> String {
    match delivery.get("rule") {
        None | Some(Value::Null) => "(alert)".to_owned(),
        Some(_) => text(delivery, "rule"),
    }
}

/// The target of a delivery, with the element that it is of where its rule splits: `warehouse (3 of 7)`.
pub(crate) fn target(delivery: &Value) -> String {
    let target = text(delivery, "target");
    match delivery.get("element").filter(|element| element.is_object()) {
        Some(element) => format!("{target} ({} of {})", text(element, "number"), text(element, "count")),
        None => target,
    }
}

/// The elements of a field that is a list; none where it is not.
pub(crate) fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_cannot_steer_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shown("a\nb"), "a\\u{a}b");
        assert_eq!(shown_lines("a\nb\r"), "a\nb\\u{d}");
        assert_eq!(shown("\u{202e}abc"), "\\u{202e}abc");
        assert_eq!(shown("grün – 好"), "grün – 好");
    }

    #[test]
    fn a_cell_has_a_width_and_a_wider_one_for_programs() {
        let long = "é".repeat(1024);
        let piped = Screen::plain();
        let terminal = Screen { terminal: true, ..piped };
        for (screen, max) in [(terminal, CELL_CHARS_MAX), (piped, PIPED_CELL_CHARS_MAX)] {
            let cut = screen.cell(&long);
            assert!(cut.chars().count() == max && cut.ends_with("é…"), "{cut}");
            let fits = "x".repeat(max);
            assert_eq!(screen.cell(&fits), fits);
        }
    }

    #[test]
    fn a_field_that_is_missing_is_a_dash() {
        let value = serde_json::json!({ "a": "x", "b": null, "c": ["p", "q"], "d": [], "e": 4 });
        assert_eq!(text(&value, "a"), "x");
        assert_eq!(text(&value, "b"), "-");
        assert_eq!(text(&value, "c"), "p, q");
        assert_eq!(text(&value, "d"), "-");
        assert_eq!(text(&value, "e"), "4");
        assert_eq!(text(&value, "f"), "-");
    }
}
