//! `wildcard`: text with `*` for any run of bytes, the empty one included.

use super::limits::STARS_MAX;

/// A checked wildcard, cut at its stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    /// As it was written.
    pub(crate) text: Box<str>,
    /// What the text must start with; the whole text where there is no star.
    head: Box<str>,
    /// What must follow, in this order, each after one star; the last one at the end of the text.
    tail: Vec<Box<str>>,
}

/// Why a text is no wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GlobError {
    /// `**`
    DoubleStar,
    /// A backslash before something other than `*` and `\`.
    Escape,
    /// More than [`STARS_MAX`].
    TooManyStars,
}

impl Glob {
    pub(crate) fn new(text: &str) -> Result<Glob, GlobError> {
        let mut pieces = vec![String::new()];
        let mut after_star = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' if after_star => return Err(GlobError::DoubleStar),
                '*' => None,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => Some(escaped),
                    _ => return Err(GlobError::Escape),
                },
                c => Some(c),
            };
            after_star = literal.is_none();
            match (literal, pieces.last_mut()) {
                (Some(c), Some(piece)) => piece.push(c),
                _ => pieces.push(String::new()),
            }
        }
        if pieces.len() > STARS_MAX + 1 {
            return Err(GlobError::TooManyStars);
        }
        let mut pieces = pieces.into_iter().map(String::into_boxed_str);
        let head = pieces.next().unwrap_or_default();
        Ok(Glob { text: text.into(), head, tail: pieces.collect() })
    }

    /// What a text that fits begins with.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// What follows, each piece after a star; none where there is no star.
    pub(crate) fn tail(&self) -> &[Box<str>] {
        &self.tail
    }

    /// Whether the whole of `text` fits. Each piece is looked for once, to the right of the one before it: taking
    /// the leftmost place never spoils a later piece, so nothing is ever tried again, and the time is that of one
    /// search through the text for each piece, without any going back.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((last, middle)) = self.tail.split_last() else {
            return *text == *self.head;
        };
        let Some(mut rest) = text.strip_prefix(&*self.head).and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        for piece in middle {
            let Some((_, after)) = rest.split_once(&**piece) else { return false };
            rest = after;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without any cleverness.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|cut| naive(rest, &text[cut..])),
            ['\\', c, rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
            [c, rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            pattern in "([ab\u{e9}]|\\*|\\\\\\*|\\\\\\\\){0,8}",
            text in "[ab\u{e9}*\\\\]{0,10}",
        ) {
            let pattern = pattern.replace("**", "*");
            if let Ok(glob) = Glob::new(&pattern) {
                let (pattern, text_chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
                prop_assert_eq!(glob.matches(&text), naive(&pattern, &text_chars));
            }
        }
    }

    #[test]
    fn only_stars_and_backslashes_are_escaped() {
        assert_eq!(Glob::new("a**b"), Err(GlobError::DoubleStar));
        assert_eq!(Glob::new("\\a"), Err(GlobError::Escape));
        assert_eq!(Glob::new("a\\"), Err(GlobError::Escape));
        assert_eq!(Glob::new(&"*a".repeat(STARS_MAX + 1)), Err(GlobError::TooManyStars));
        assert!(Glob::new("*\\**").unwrap().matches("a*b"));
        assert!(!Glob::new("*\\\\*").unwrap().matches("\\A".trim_start_matches('\\')));
        assert!(Glob::new("").unwrap().matches(""));
        assert!(!Glob::new("").unwrap().matches("a"));
        assert!(Glob::new("*").unwrap().matches(""));
        assert!(!Glob::new("a*a").unwrap().matches("a"), "one letter is not both ends");
    }

    #[test]
    fn a_hostile_wildcard_takes_time_in_proportion() {
        // A matcher that goes back would need more than the age of the universe for these.
        let text = "a".repeat(1 << 20);
        let glob = Glob::new(&format!("{}b", "*a".repeat(STARS_MAX))).unwrap();
        assert!(!glob.matches(&text));
        let glob = Glob::new(&format!("{}*b*", "*aaaaaaaa".repeat(STARS_MAX - 2))).unwrap();
        assert!(!glob.matches(&text));
    }
}
