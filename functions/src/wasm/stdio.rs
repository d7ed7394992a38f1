//! Standard input and output of a call: memory, nothing of the broker's own.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::call::Record;

/// How much may be written at once.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// The payload. All handles on it read on where the others stopped.
#[derive(Clone)]
pub(super) struct Stdin(Arc<Mutex<Bytes>>);

impl Stdin {
    pub(super) fn new(payload: Bytes) -> Stdin {
        Stdin(Arc::new(Mutex::new(payload)))
    }

    /// The next bytes, at most `size`; empty at the end.
    fn next(&self, size: usize) -> Bytes {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = size.min(left.len());
        left.split_to(size)
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let piece = self.next(size);
        if piece.is_empty() && size > 0 { Err(StreamError::Closed) } else { Ok(piece) }
    }
}

#[async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {}
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(&self.next(buffer.remaining()));
        Poll::Ready(Ok(()))
    }
}

/// Standard output or standard error: what there is room for is kept, the rest dropped, and the writer never waits.
#[derive(Clone)]
pub(super) struct Kept {
    record: Arc<Record>,
    stderr: bool,
}

impl Kept {
    pub(super) fn answer(record: Arc<Record>) -> Kept {
        Kept { record, stderr: false }
    }

    pub(super) fn stderr(record: Arc<Record>) -> Kept {
        Kept { record, stderr: true }
    }

    fn push(&self, piece: &[u8]) {
        if self.stderr { self.record.stderr().push(piece) } else { self.record.answer().push(piece) }
    }
}

impl IsTerminal for Kept {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Kept {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Kept {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Kept {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Kept {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.push(buffer);
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
