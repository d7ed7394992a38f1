//! The three pipes of a process. None of them can fail a call: the exit status is the outcome.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// As much as a pipe holds on Linux, so that one read empties it.
const READ_BYTES: usize = 64 * 1024;

/// Writes the payload and closes the pipe. A process that closes its input, or ends, without having read it all
/// is in its right.
pub(super) async fn feed(mut stdin: impl AsyncWrite + Unpin, payload: &[u8]) {
    if let Err(error) = stdin.write_all(payload).await {
        tracing::debug!(%error, "a function did not read all of its input");
    }
}

/// Reads until the end, or until reading fails, and gives each piece to `keep`.
async fn read_all(mut pipe: impl AsyncRead + Unpin, mut keep: impl FnMut(&[u8])) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => keep(buffer.get(..count).unwrap_or_default()),
            Err(error) => {
                tracing::debug!(%error, "a function's output could not be read on");
                return;
            }
        }
    }
}

/// The beginning of what a process writes: its answer.
pub(super) struct Answer {
    kept: Vec<u8>,
    bytes_max: usize,
    truncated: bool,
}

impl Answer {
    pub(super) fn new(bytes_max: usize) -> Answer {
        Answer { kept: Vec::new(), bytes_max, truncated: false }
    }

    /// Reads all, so that the writer is never blocked, and keeps what there is room for.
    pub(super) async fn read(&mut self, pipe: impl AsyncRead + Unpin) {
        read_all(pipe, |piece| {
            let room = self.bytes_max - self.kept.len();
            let kept = piece.get(..room).unwrap_or(piece);
            self.kept.extend_from_slice(kept);
            self.truncated |= kept.len() < piece.len();
        })
        .await;
    }

    /// The answer, and whether there was more of it.
    pub(super) fn into_bytes(self) -> (Bytes, bool) {
        (Bytes::from(self.kept), self.truncated)
    }
}

/// The end of what a process writes: where errors say what they are.
pub(super) struct Tail {
    kept: VecDeque<u8>,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Tail {
        Tail { kept: VecDeque::with_capacity(bytes_max), bytes_max }
    }

    /// Reads all, so that the writer is never blocked, and keeps the newest.
    pub(super) async fn read(&mut self, pipe: impl AsyncRead + Unpin) {
        read_all(pipe, |piece| self.push(piece)).await;
    }

    fn push(&mut self, piece: &[u8]) {
        let newest = piece.get(piece.len().saturating_sub(self.bytes_max)..).unwrap_or_default();
        let excess = (self.kept.len() + newest.len()).saturating_sub(self.bytes_max);
        self.kept.drain(..excess);
        self.kept.extend(newest);
    }

    /// The end as text that a terminal and a log can show: no control characters but line ends and tabs, and
    /// no part of a character at the cut.
    pub(super) fn into_text(self) -> String {
        let bytes = Vec::from(self.kept);
        let cut_inside = bytes.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        let text = String::from_utf8_lossy(bytes.get(cut_inside..).unwrap_or_default());
        text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_kept_to_its_limit_and_says_so() {
        for (input, kept, truncated) in [("", "", false), ("abc", "abc", false), ("abcd", "abc", true)] {
            let mut answer = Answer::new(3);
            answer.read(input.as_bytes()).await;
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
