//! Values with commas between them, as RFC 4180 describes: rows end with a line, a value in quotes may hold commas, new lines
//! and, doubled, quotes.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{DecodeError, malformed, push_text};

/// The most columns.
const COLUMNS_MAX: usize = 4096;

pub(super) fn decode(text: &str, has_header: bool) -> Result<String, DecodeError> {
    let mut reader = Reader { text, at: 0 };
    let mut names = Vec::new();
    if has_header {
        let at = reader.at;
        names = reader.row()?.unwrap_or_default();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut twice = None;
        for name in &names {
            if !seen.insert(name) {
                twice = Some(name);
            }
        }
        if let Some(twice) = twice {
            return Err(malformed(at, format!("two columns have the name `{}`", twice.escape_debug())));
        }
    }
    let mut out = String::from("[");
    loop {
        let at = reader.at;
        let Some(row) = reader.row()? else { break };
        if out.len() > 1 {
            out.push(',');
        }
        out.push(if has_header { '{' } else { '[' });
        if has_header && row.len() > names.len() {
            return Err(malformed(at, format!("a row has {} values for {} columns", row.len(), names.len())));
        }
        for (place, value) in row.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            if let Some(name) = names.get(place) {
                push_text(&mut out, name)?;
                out.push(':');
            }
            push_text(&mut out, value)?;
        }
        out.push(if has_header { '}' } else { ']' });
    }
    out.push(']');
    Ok(out)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The next row; `None` at the end. Empty lines are none.
    fn row(&mut self) -> Result<Option<Vec<Cow<'t, str>>>, DecodeError> {
        while self.rest().starts_with(['\r', '\n']) {
            self.at += 1;
        }
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut row = Vec::new();
        loop {
            if row.len() >= COLUMNS_MAX {
                let what = format!("a row has more than {COLUMNS_MAX} values");
                return Err(DecodeError::Limit { what, limit: "COLUMNS_MAX" });
            }
            row.push(self.value()?);
            if !self.rest().starts_with(',') {
                return Ok(Some(row));
            }
            self.at += 1;
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn value(&mut self) -> Result<Cow<'t, str>, DecodeError> {
        let rest = self.rest();
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find([',', '\n', '\r']).unwrap_or(rest.len());
            self.at += end;
            return Ok(Cow::Borrowed(&rest[..end]));
        };
        let mut value = Cow::Borrowed("");
        let mut from = 0;
        loop {
            let Some(quote) = quoted[from..].find('"') else {
                return Err(malformed(self.at, "a value in quotes does not end"));
            };
            value += &quoted[from..from + quote];
            from += quote + 1;
            if !quoted[from..].starts_with('"') {
                break;
            }
            value += "\"";
            from += 1;
        }
        self.at += 1 + from;
        if !self.rest().is_empty() && !self.rest().starts_with([',', '\n', '\r']) {
            return Err(malformed(self.at, "something follows a value in quotes"));
        }
        Ok(value)
    }
}
