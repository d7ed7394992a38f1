//! What hyper cannot read as a request is told why, like every other mistake.
//!
//! hyper answers such bytes by itself, before a request exists that anybody could be asked about: a bare status, 400,
//! 414 or 431, and the end of the connection. The stream under the connection recognises that answer, keeps it back,
//! and the connection's end writes the same status as a problem with code, reason and advice.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::api::codes;
use crate::api::problem::Problem;

/// A stream that keeps hyper's own answers back.
pub(super) struct Tactful<S> {
    stream: S,
    kept_back: Option<u16>,
}

impl<S> Tactful<S> {
    pub(super) fn new(stream: S) -> Tactful<S> {
        Tactful { stream, kept_back: None }
    }

    /// The stream, and the status of the answer that was kept back.
    pub(super) fn into_parts(self) -> (S, Option<u16>) {
        (self.stream, self.kept_back)
    }

    /// Whether these bytes are hyper's own answer, and are kept back.
    fn keeps_back(&mut self, bytes: &[u8]) -> bool {
        let status = bare_status(bytes);
        self.kept_back = self.kept_back.or(status);
        status.is_some()
    }
}

/// The status of an answer that hyper made by itself: no body, and no header but the three that it sets. Answers of
/// ours always have others.
fn bare_status(bytes: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(bytes).ok()?.strip_prefix("HTTP/1.")?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok().filter(|status| matches!(status, 400 | 414 | 431))?;
    let names: Option<Vec<&str>> = lines.map(|line| line.split_once(':').map(|(name, _)| name)).collect();
    names?.iter().all(|name| matches!(*name, "connection" | "content-length" | "date")).then_some(status)
}

/// The answer to bytes that are no request: `status` as hyper gave it, and what it says of them.
pub(super) fn said_of(status: u16, reason: &str) -> Vec<u8> {
    let code = match status {
        431 => &codes::HEAD_TOO_LARGE,
        414 => &codes::URI_TOO_LONG,
        _ => &codes::NOT_HTTP,
    };
    let problem = Problem::new(code, reason);
    let body = serde_json::to_vec(problem.body()).unwrap_or_default();
    let (status, title, length) = (code.status, &problem.body().title, body.len());
    let head = format!(
        "HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\nx-content-type-options: nosniff\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.into_bytes(), body].concat()
}

impl<S: AsyncRead + Unpin> AsyncRead for Tactful<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tactful<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.keeps_back(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.keeps_back(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypers_own_answers_are_known_and_ours_are_not() {
        let bare = |status: &str, more: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n{more}date: now\r\n\r\n")
        };
        assert_eq!(bare_status(bare("431 Request Header Fields Too Large", "").as_bytes()), Some(431));
        assert_eq!(bare_status(bare("400 Bad Request", "").replace("1.1", "1.0").as_bytes()), Some(400));
        for ours in [
            bare("400 Bad Request", "x-content-type-options: nosniff\r\n"),
            bare("200 OK", ""),
            bare("400 Bad Request", "") + "more",
            "HTTP/1.1 400".to_owned(),
        ] {
            assert_eq!(bare_status(ours.as_bytes()), None, "{ours}");
        }
    }

    #[test]
    fn what_is_said_instead_is_a_whole_answer() {
        for (status, code) in [(400, "not_http"), (414, "uri_too_long"), (431, "head_too_large")] {
            let answer = String::from_utf8(said_of(status, "why")).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((json["code"].as_str(), json["detail"].as_str()), (Some(code), Some("why")));
        }
    }
}
