//! Paths into an event: `data.customer.id`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::pattern::matcher::Scalar;
use crate::syntax::{Node, Value};
use crate::view::View;

/// The longest path, in bytes. A path is compared with every key of an event on its way down.
pub const PATH_BYTES_MAX: usize = 1024;

/// A path into an event, such as `data.customer.id`; `$.data.customer.id` is read too. Cheap to clone.
///
/// A dot leads downwards, and it does not matter whether the event nests its keys or has the dot in a key:
/// `{"customer": {"id": 1}}` and `{"customer.id": 1}` are both found. Lists have no place in a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing stands there, or nothing behind `$.`.
    #[error("a path may not be empty")]
    Empty,
    /// Two dots follow each other, or one stands at an end.
    #[error("a path has one name between two dots, and none at its ends")]
    EmptyStep,
    /// `[0]`, `*` and the like.
    #[error("a path is made of names and dots; `{0}` has no meaning in it")]
    Character(char),
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("a path has at most {PATH_BYTES_MAX} bytes (limit PATH_BYTES_MAX)")]
    TooLong,
}

impl Path {
    /// Checks and keeps a path.
    ///
    /// # Errors
    /// [`PathError`] says which condition does not hold.
    pub fn new(text: &str) -> Result<Path, PathError> {
        let text = if text == "$" { "" } else { text.strip_prefix("$.").unwrap_or(text) };
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if let Some(c) = text.chars().find(|c| matches!(c, '[' | ']' | '*' | '\'' | '"') || c.is_control()) {
            return Err(PathError::Character(c));
        }
        if text.split('.').any(str::is_empty) {
            return Err(PathError::EmptyStep);
        }
        Ok(Path(Arc::from(text)))
    }

    /// The path without `$.`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at the path as text, for keys of `order_by`: a string's content, a number's digits as they were
    /// sent, `true` or `false`. `None` where there is nothing, `null`, a list or an object. Of a key that is there
    /// twice the last one counts, as for most readers of JSON.
    #[must_use]
    pub fn lookup<'v>(&self, view: &'v View<'_>) -> Option<&'v str> {
        match Scalar::of(&find(view.root(), &self.0)?.value)? {
            Scalar::Null => None,
            Scalar::Bool(true) => Some("true"),
            Scalar::Bool(false) => Some("false"),
            Scalar::Number { text, .. } | Scalar::String(text) => Some(text),
        }
    }
}

/// The last node at `path`, joined keys counting as nested ones. Each step consumes some of the path, so the
/// recursion is no deeper than the path has dots or the event has levels.
pub(crate) fn find<'v, 'e>(node: &'v Node<'e>, path: &str) -> Option<&'v Node<'e>> {
    let Value::Object(entries) = &node.value else { return None };
    entries.iter().rev().find_map(|entry| {
        let rest = path.strip_prefix(&*entry.key)?;
        if rest.is_empty() { Some(&entry.node) } else { find(&entry.node, rest.strip_prefix('.')?) }
    })
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        Path::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::envelope;

    #[test]
    fn values_become_keys_as_they_were_sent() {
        let envelope = envelope(
            r#"{"id":"a b","n":1.50,"t":true,"null":null,"list":[1],"o":{"x":{"y":7}},"o.p":8,"twice":1,"twice":2}"#,
        );
        let view = View::new(&envelope);
        let found = |path: &str| Path::new(path).unwrap().lookup(&view);
        assert_eq!(found("type"), Some("order.created"));
        assert_eq!(found("$.data.id"), Some("a b"));
        assert_eq!(found("data.n"), Some("1.50"));
        assert_eq!(found("data.t"), Some("true"));
        assert_eq!(found("data.o.x.y"), Some("7"));
        assert_eq!(found("data.o.p"), Some("8"));
        assert_eq!(found("data.twice"), Some("2"));
        for nothing in ["data", "data.null", "data.list", "data.o", "data.o.x", "data.absent", "data.id.x", "tags"] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, error) in [
            ("", PathError::Empty),
            ("$", PathError::Empty),
            ("$.", PathError::Empty),
            (".a", PathError::EmptyStep),
            ("a..b", PathError::EmptyStep),
            ("a.", PathError::EmptyStep),
            ("a[0]", PathError::Character('[')),
            ("data.*", PathError::Character('*')),
            ("a\nb", PathError::Character('\n')),
        ] {
            assert_eq!(Path::new(text), Err(error), "{text}");
        }
        assert_eq!(Path::new(&"a".repeat(PATH_BYTES_MAX + 1)), Err(PathError::TooLong));
        assert_eq!(Path::new("$.data.id").unwrap().to_string(), "data.id");
    }
}
