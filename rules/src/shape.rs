//! Which keys a table has, and what may stand there: declared once, beside the code that reads them.
//!
//! The JSON Schema of a project is made from these declarations. They cannot fall behind: a [`Table`](crate::reader::Table)
//! that was told its shape holds every question against it, so that a key which is read and not declared, declared and
//! not read, or read as something else than declared, ends every test that reads such a table.

use std::time::Duration;

use crate::pattern::operators::OPERATORS;

/// A table, as people write it.
#[derive(Debug, PartialEq)]
pub struct Shape {
    /// What it is, in one sentence.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Of these exactly one is there; empty where that is not so.
    pub one_of: &'static [&'static str],
    /// Of these at least one is there; empty where that is not so.
    pub any_of: &'static [&'static str],
}

/// One key.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
    /// What holds where it is not there, as TOML writes it without its quotes.
    pub default: Option<&'static str>,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
}

/// What may stand at a key. For every text, `{ env = "…" }` or `{ file = "…" }` may stand.
#[derive(Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name: `[a-z0-9][a-z0-9_-]{0,62}`.
    Name,
    /// `true` or `false`.
    Boolean,
    /// A whole number, from and to.
    Integer(u64, u64),
    /// A number, from and to.
    Number(f64, f64),
    /// A duration such as `"30s"`, from and to.
    Duration(Duration, Duration),
    /// A size such as `"64KiB"`, from and to, in bytes.
    Size(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a table.
    WordOrTable(&'static [&'static str], &'static Shape),
    /// A list of texts.
    Texts,
    /// A list of names.
    Names,
    /// A table.
    Table(&'static Shape),
    /// A list of tables: `[[key]]`.
    List(&'static Shape),
    /// One table or a list of them.
    Tables(&'static Shape),
    /// A table of any keys, with texts.
    Map,
    /// JSON data of any shape.
    Object,
    /// A value of any type.
    Any,
    /// A pattern: a table, or a text of JSON.
    Pattern,
    /// Something that is told elsewhere: what another crate reads.
    Foreign,
}

impl Key {
    /// A key that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { name, kind, required: false, default: None, doc }
    }

    /// A key that must be there.
    #[must_use]
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { name, kind, required: true, default: None, doc }
    }

    /// A key with a default.
    #[must_use]
    pub const fn with_default(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
        Key { name, kind, required: false, default: Some(default), doc }
    }
}

impl Shape {
    /// A table with these keys.
    #[must_use]
    pub const fn of(doc: &'static str, keys: &'static [Key]) -> Shape {
        Shape { doc, keys, one_of: &[], any_of: &[] }
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Every operator that a pattern knows.
#[must_use]
pub fn pattern_operators() -> &'static [&'static str] {
    OPERATORS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::reader::{Document, Reading, Table};

    static SHAPE: Shape = Shape::of(
        "A table.",
        &[Key::required("name", Kind::Name, "A name."), Key::optional("size", Kind::Size(1, 9), "A size.")],
    );

    /// Reads a table of that shape.
    fn with_table(read: impl FnOnce(Table<'_>)) {
        let document = Document::parse("name = \"a\"\nsize = \"2B\"");
        let reading = Reading::new(&Arc::from("x.toml"), &document, &|_| Ok(None));
        let table = reading.root(&document);
        table.declare(&SHAPE);
        read(table);
        assert_eq!(reading.error_count(), 0);
    }

    #[test]
    fn a_table_that_is_read_as_declared_is_read() {
        with_table(|table| {
            assert!(table.name("name").is_some() && table.size("size", 1..=9) == Some(2));
            table.finish();
        });
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "held in debug builds alone")]
    #[should_panic(expected = "read and not declared")]
    fn a_key_that_is_not_declared_cannot_be_read() {
        with_table(|table| drop(table.string("title")));
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "held in debug builds alone")]
    #[should_panic(expected = "read as something else")]
    fn bounds_are_those_that_are_declared() {
        with_table(|table| {
            let _ = table.size("size", 1..=10);
        });
    }

    #[test]
    #[cfg_attr(not(debug_assertions), ignore = "held in debug builds alone")]
    #[should_panic(expected = "nobody reads")]
    fn a_key_that_is_declared_is_read() {
        with_table(|table| {
            let _ = table.name("name");
            table.finish();
        });
    }
}
