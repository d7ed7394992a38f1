//! What a function writes, kept within limits whatever it writes.

use std::collections::VecDeque;

use bytes::Bytes;

/// The beginning of what a function writes: its answer.
pub(crate) struct Answer {
    kept: Vec<u8>,
    bytes_max: usize,
    truncated: bool,
}

impl Answer {
    pub(crate) fn new(bytes_max: usize) -> Answer {
        Answer { kept: Vec::new(), bytes_max, truncated: false }
    }

    /// Keeps what there is room for.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let room = self.bytes_max - self.kept.len();
        let kept = piece.get(..room).unwrap_or(piece);
        self.kept.extend_from_slice(kept);
        self.truncated |= kept.len() < piece.len();
    }

    /// The answer, and whether there was more of it.
    pub(crate) fn into_bytes(self) -> (Bytes, bool) {
        (Bytes::from(self.kept), self.truncated)
    }
}

/// The end of what a function writes: where errors say what they are.
pub(crate) struct Tail {
    kept: VecDeque<u8>,
    bytes_max: usize,
}

impl Tail {
    /// Keeps at most `bytes_max`, and holds no memory before something is written.
    pub(crate) fn new(bytes_max: usize) -> Tail {
        Tail { kept: VecDeque::new(), bytes_max }
    }

    /// Keeps the newest.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let newest = piece.get(piece.len().saturating_sub(self.bytes_max)..).unwrap_or_default();
        let excess = (self.kept.len() + newest.len()).saturating_sub(self.bytes_max);
        self.kept.drain(..excess);
        self.kept.extend(newest);
    }

    /// The end as text that a terminal and a log can show: no control characters but line ends and tabs, and
    /// no part of a character at the cut.
    pub(crate) fn into_text(self) -> String {
        let bytes = Vec::from(self.kept);
        let cut_inside = bytes.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        let text = String::from_utf8_lossy(bytes.get(cut_inside..).unwrap_or_default());
        text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_to_its_limit_and_says_so() {
        for (input, kept, truncated) in [("", "", false), ("abc", "abc", false), ("abcd", "abc", true)] {
            let mut answer = Answer::new(3);
            input.as_bytes().chunks(2).for_each(|piece| answer.push(piece));
            assert_eq!(answer.into_bytes(), (Bytes::from(kept), truncated), "{input}");
        }
    }

    #[test]
    fn a_tail_keeps_the_newest_whatever_the_pieces() {
        for size in 1..12 {
            let mut tail = Tail::new(4);
            for piece in b"0123456789".chunks(size) {
                tail.push(piece);
            }
            assert_eq!(tail.into_text(), "6789", "{size}");
        }
        let mut tail = Tail::new(4);
        tail.push("xé€".as_bytes());
        assert_eq!(tail.into_text(), "€", "a character that is cut is left out");
        let mut tail = Tail::new(8);
        tail.push(b"a\0\x1b[\n\xff");
        assert_eq!(tail.into_text(), "a\u{fffd}\u{fffd}[\n\u{fffd}");
    }
}
