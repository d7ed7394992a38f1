//! `equals-ignore-case`: letters that come in pairs of one upper and one lower case.
//!
//! A pair is two characters each of which is the other's only counterpart: `e` and `E`, `é` and `É`. What case
//! mapping turns into several letters (`ß` and `SS`), or does not turn back (`ı` and `I`, the Kelvin sign and
//! `k`), is equal to itself alone. event-ruler agrees, but for such letters in the pattern, which it maps one way.

/// The lower case of a character that has a partner; any other character as it is.
pub(crate) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    match (only(c.to_lowercase()), c) {
        (Some(lower), c) if lower != c && only(lower.to_uppercase()) == Some(c) => lower,
        _ => c,
    }
}

fn only(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// A text to be compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folded {
    /// As it was written.
    pub(crate) text: Box<str>,
    folded: Box<[char]>,
}

impl Folded {
    pub(crate) fn new(text: &str) -> Folded {
        Folded { text: text.into(), folded: text.chars().map(fold).collect() }
    }

    /// The text with each letter in its lower case.
    pub(crate) fn in_lower_case(&self) -> String {
        self.folded.iter().collect()
    }

    pub(crate) fn equals(&self, text: &str) -> bool {
        text.chars().map(fold).eq(self.folded.iter().copied())
    }

    pub(crate) fn starts(&self, text: &str) -> bool {
        let mut chars = text.chars().map(fold);
        self.folded.iter().all(|&c| chars.next() == Some(c))
    }

    pub(crate) fn ends(&self, text: &str) -> bool {
        let mut chars = text.chars().rev().map(fold);
        self.folded.iter().rev().all(|&c| chars.next() == Some(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_are_equal() {
        for (a, b) in
            [("é", "É"), ("Order", "oRDER"), ("Ω", "ω"), ("😀", "😀"), ("𐐀", "𐐨"), ("ǅ", "ǅ"), ("Ⱥ", "ⱥ"), ("", "")]
        {
            assert!(Folded::new(a).equals(b) && Folded::new(b).equals(a), "{a} {b}");
        }
        for (a, b) in [
            ("straße", "STRASSE"),
            ("K", "\u{212a}"),
            ("k", "\u{212a}"),
            ("I", "ı"),
            ("i", "İ"),
            ("a", "aa"),
            ("ς", "Σ"),
        ] {
            assert!(!Folded::new(a).equals(b) && !Folded::new(b).equals(a), "{a} {b}");
        }
        assert!(Folded::new("eU/").starts("Eu/west") && !Folded::new("eu/west").starts("EU/"));
        assert!(Folded::new(".JPG").ends("a.jpg") && !Folded::new("a.jpg").ends(".JPG"));
    }
}
