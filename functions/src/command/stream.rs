//! The three pipes of a process. None of them can fail a call: the exit status is the outcome.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::output::{Answer, Tail};

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

/// Reads all of an answer, so that the writer is never blocked; what there is room for is kept.
pub(super) async fn read_answer(pipe: impl AsyncRead + Unpin, answer: &mut Answer) {
    read_all(pipe, |piece| answer.push(piece)).await;
}

/// Reads all, so that the writer is never blocked; the newest is kept.
pub(super) async fn read_tail(pipe: impl AsyncRead + Unpin, tail: &mut Tail) {
    read_all(pipe, |piece| tail.push(piece)).await;
}
