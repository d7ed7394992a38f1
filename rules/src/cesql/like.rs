//! `LIKE`: `%` for any characters, `_` for one, either as itself behind a backslash (section 3.4.3).

/// A pattern, read. Equal to what it was written as.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Like {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Char(char),
    One,
    Any,
}

impl Like {
    pub(super) fn read(pattern: &str) -> Like {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match (c, chars.peek()) {
                ('\\', Some(&escaped @ ('%' | '_'))) => {
                    chars.next();
                    Piece::Char(escaped)
                }
                ('%', _) => Piece::Any,
                ('_', _) => Piece::One,
                (c, _) => Piece::Char(c),
            });
        }
        // Two of them in a row say no more than one.
        pieces.dedup_by(|a, b| *a == Piece::Any && *b == Piece::Any);
        Like { pieces }
    }

    /// Whether a text is like the pattern: in time proportional to one times the other at the worst.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        // Where to go on when what follows the last `%` does not fit: one character later.
        let mut again: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let next = rest.next();
            match (self.pieces.get(at), next) {
                (None, None) => return true,
                (Some(Piece::Any), _) => {
                    at += 1;
                    rest = here.clone();
                    again = Some((at, here));
                }
                (Some(Piece::One), Some(_)) => at += 1,
                (Some(Piece::Char(wanted)), Some(found)) if *wanted == found => at += 1,
                _ => {
                    let Some((piece, from)) = &mut again else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    at = *piece;
                    rest = from.clone();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is meant, tried in every way.
    fn slow(pieces: &[Piece], text: &[char]) -> bool {
        match (pieces.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((Piece::Any, rest)), _) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            (Some((Piece::One, rest)), Some((_, after))) => slow(rest, after),
            (Some((Piece::Char(wanted), rest)), Some((found, after))) => wanted == found && slow(rest, after),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_trying_in_every_way_matches(pattern in "[ab%_é\\\\]{0,8}", text in "[ab%_é\\\\]{0,10}") {
            let like = Like::read(&pattern);
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(like.matches(&text), slow(&like.pieces, &chars));
        }
    }

    #[test]
    fn many_signs_do_not_make_it_slow() {
        let like = Like::read(&format!("{}b", "a%".repeat(500)));
        assert!(!like.matches(&"a".repeat(4000)));
    }
}
