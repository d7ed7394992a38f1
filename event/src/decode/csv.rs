//! Values with commas between them, as RFC 4180 describes: rows end with a line, a value in quotes may hold commas, new lines
//! and, doubled, quotes.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{DECODED_BYTES_MAX, DecodeError, malformed, push_text, too_large};

/// The most columns.
const COLUMNS_MAX: usize = 4096;

pub(super) fn decode(text: &str, has_header: bool) -> Result<String, DecodeError> {
    let mut rows = Rows::new(text, has_header)?;
    let mut out = String::from("[");
    while rows.push_next(&mut out)? {
        out.push(',');
    }
    if out.ends_with(',') {
        out.pop();
    }
    out.push(']');
    Ok(out)
}

/// Each row as JSON of its own; at most `rows_max`, and no more than [`DECODED_BYTES_MAX`] together.
pub(super) fn rows(text: &str, has_header: bool, rows_max: usize) -> Result<Vec<String>, DecodeError> {
    let mut rows = Rows::new(text, has_header)?;
    let (mut made, mut bytes) = (Vec::new(), 0);
    loop {
        let mut row = String::new();
        if !rows.push_next(&mut row)? {
            return Ok(made);
        }
        bytes += row.len();
        if bytes > DECODED_BYTES_MAX {
            return Err(too_large());
        }
        if made.len() >= rows_max {
            return Err(DecodeError::Limit { what: format!("there are more than {rows_max} rows"), limit: "batch" });
        }
        made.push(row);
    }
}

/// What is read is held against the names of the columns, and nothing of it is guessed at. The `csv` crate makes values of
/// whatever comes: quotes that never end, or text behind them.
struct Rows<'t> {
    reader: Reader<'t>,
    /// Of the columns; none without a row of names.
    names: Option<Vec<Cow<'t, str>>>,
}

impl<'t> Rows<'t> {
    fn new(text: &'t str, has_header: bool) -> Result<Rows<'t>, DecodeError> {
        let mut reader = Reader { text, at: 0 };
        let at = reader.at;
        let names = if has_header { Some(reader.row()?.unwrap_or_default()) } else { None };
        let mut seen: HashSet<&str> = HashSet::new();
        for name in names.iter().flatten() {
            if !seen.insert(name) {
                return Err(malformed(at, format!("two columns have the name `{}`", name.escape_debug())));
            }
        }
        Ok(Rows { reader, names })
    }

    /// Adds the next row as JSON; false at the end.
    fn push_next(&mut self, out: &mut String) -> Result<bool, DecodeError> {
        let at = self.reader.at;
        let Some(row) = self.reader.row()? else { return Ok(false) };
        if let Some(names) = self.names.as_ref().filter(|names| row.len() > names.len()) {
            return Err(malformed(at, format!("a row has {} values for {} columns", row.len(), names.len())));
        }
        out.push(if self.names.is_some() { '{' } else { '[' });
        for (place, value) in row.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            if let Some(name) = self.names.as_ref().and_then(|names| names.get(place)) {
                push_text(out, name)?;
                out.push(':');
            }
            push_text(out, value)?;
        }
        out.push(if self.names.is_some() { '}' } else { ']' });
        Ok(true)
    }
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
