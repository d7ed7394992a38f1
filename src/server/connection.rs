//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::accept::Router;
use super::refusal::{Tactful, said_of};
use super::stall::Impatient;
use super::{ServerLimits, ServerSettings};
use crate::api::problem::Problem;

/// How long, and how many bytes, a client is listened to after the last answer. Closing a socket with unread
/// bytes resets the connection, and the reset may overtake the answer: a client that is still sending a body
/// which is too large would never see its 413.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Serves one connection until either side is done with it or, once `stop` is cancelled, until the request
/// in flight is answered.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: impl Router,
    settings: &ServerSettings,
    stop: CancellationToken,
) {
    // Answers are small and written at once; waiting to join them to others only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the connection is already gone");
        return;
    }
    let Some(acceptor) = &settings.tls else {
        return speak_http(stream, peer, router, &settings.limits, stop).await;
    };
    let handshake = tokio::time::timeout(settings.limits.handshake_time_max, acceptor.accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => Box::pin(speak_http(stream, peer, router, &settings.limits, stop)).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn speak_http<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: SocketAddr,
    router: impl Router,
    limits: &ServerLimits,
    stop: CancellationToken,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let ended = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let request = request.map(|body| Body::new(ToldBody { body, ended: Arc::clone(&ended) }));
        let answered = answer(router.clone(), request);
        Box::pin(async move {
            let mut response = answered.await?;
            if !ended.load(Ordering::Relaxed) {
                // hyper reads no further and closes. A client that is not told might send its next request into
                // a connection that is gone, and could not know whether that was taken.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .max_buf_size(limits.head_bytes_max)
        .serve_connection(TokioIo::new(Tactful::new(Impatient::new(stream, limits.answer_stall_max))), service);

    let mut told_to_stop = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = stop.cancelled(), if !told_to_stop => {
                told_to_stop = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let (mut stream, kept_back) = connection.into_parts().io.into_inner().into_parts();
    let error = ended.err();
    if let Some(error) = &error {
        // Whatever it was, the client caused it and knows: a head that is no HTTP, a time-out, a reset.
        tracing::debug!(%peer, %error, "a connection ended early");
    }
    // To those who begin with HTTP/2 hyper says nothing at all.
    let began_with_h2 = error.as_ref().is_some_and(hyper::Error::is_parse_version_h2);
    if let Some(status) = kept_back.or(began_with_h2.then_some(400)) {
        let reason = error.map_or_else(|| "the request cannot be read".to_owned(), |error| error.to_string());
        // A client that does not listen ends this like any other answer.
        let _ = stream.write_all(&said_of(status, &reason)).await;
    }
    linger(stream).await;
}

/// One request. A panic ends this request and nothing else.
async fn answer(mut router: impl Router, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    // Neither is copied: this is done for each request, and used for none that goes well.
    let (method, uri) = (request.method().clone(), request.uri().clone());
    match AssertUnwindSafe(async move { router.call(request).await }).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(%method, path = uri.path(), panic = what, "answering a request panicked; this is a fault of eventyard");
            Ok(Problem::internal().into_response())
        }
    }
}

/// A request's body that tells whether it was read to its end.
struct ToldBody {
    body: Incoming,
    /// Set by whoever reads the body; read once, when the answer is there.
    ended: Arc<AtomicBool>,
}

impl hyper::body::Body for ToldBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.ended.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Says that no more comes, then reads what the client still sends, for a while.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let drain = async {
        stream.shutdown().await?;
        let mut sink = [0; 4096];
        let mut bytes_left = LINGER_BYTES_MAX;
        loop {
            match stream.read(&mut sink).await? {
                0 => return std::io::Result::Ok(()),
                count => bytes_left = bytes_left.saturating_sub(count),
            }
            if bytes_left == 0 {
                return Ok(());
            }
        }
    };
    // Either way the connection is over; there is nobody left to tell.
    let _ = tokio::time::timeout(LINGER, drain).await;
}
