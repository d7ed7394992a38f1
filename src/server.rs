//! The listener: from a TCP connection to a request that is small enough, came in time, and is HTTP.
//!
//! axum routes requests, hyper reads HTTP; what stands here is all that neither of them does: how many
//! connections there may be, how long a head and a body may take, how large they may get, what happens when
//! the process runs out of file descriptors, and how the whole ends without cutting a request off.
//!
//! Every limit has a name in [`ServerLimits`], and a client that meets one is told which, also where hyper answers
//! before a request exists ([`refusal`]): 400 for what is not HTTP, and 431 for a head that is too large or has more
//! than [`HEADERS_MAX`] fields. Only HTTP/1.1 is spoken: who begins with HTTP/2 is told so, and TLS offers nothing else.
//!
//! What is not here: who may call ([`access`]), what a call means ([`crate::api`]).

mod accept;
pub mod access;
pub mod body;
mod connection;
mod refusal;
mod stall;
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::{api, config};

pub use accept::{Router, serve_router};

/// Why a server cannot be set up: its TLS files are the only thing that can be wrong.
pub type ServerError = tls::TlsError;

/// The most header fields of one request; one more is 431. hyper's own limit, which it keeps on the stack.
pub const HEADERS_MAX: usize = 100;

/// How much one client, and all of them together, may ask for. Not in the project file: these protect the
/// process, and no rule becomes better by changing them.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; one more is answered 503 and closed. Each costs a file descriptor and about
    /// 20 KiB.
    pub connections_max: usize,
    /// The bytes of a request's head; more is 431. Far above what proxies add, far below what hurts.
    pub head_bytes_max: usize,
    /// How long a head may take, TLS handshake apart; also how long an idle connection is kept.
    pub head_time_max: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time_max: Duration,
    /// How long a body may take before its first byte; see [`ServerLimits::body_rate_min`].
    pub body_time_max: Duration,
    /// Bytes a second below which a body is given up: each that came moves the deadline on by its share, so
    /// that a large batch over a slow line passes and one byte every nine seconds does not.
    pub body_rate_min: u32,
    /// How long a client may take none of an answer before the connection is cut. One that asks and never
    /// listens would otherwise keep its place, and the answers that wait for it, for ever.
    pub answer_stall_max: Duration,
    /// The bytes of a batch; one event of it, and a body that holds one event, are bounded by `[limits] event`.
    /// A batch is held in memory until it is committed.
    pub batch_bytes_max: usize,
    /// The bytes of the JSON that a call of the API takes: a list of ids, an event to explain.
    pub call_bytes_max: usize,
    /// The bytes of all bodies that are being read or answered; beyond it 503 `busy`.
    pub bodies_bytes_max: usize,
    /// The bytes of events on one page of a list: a page that comes to more ends early, and `next` goes on from
    /// there. A thousand events of a mebibyte would otherwise be one answer.
    pub page_bytes_max: usize,
    /// Requests that may wait for a target's answer at once; one more is answered 202 without waiting. Each keeps a
    /// connection for as long as it waits, and the others must not find all of them taken.
    pub replies_waiting_max: usize,
    /// How long requests in flight may still take when told to stop; then they are cut off.
    pub stop_time_max: Duration,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            connections_max: 4096,
            head_bytes_max: 64 * 1024,
            head_time_max: Duration::from_secs(10),
            handshake_time_max: Duration::from_secs(10),
            body_time_max: Duration::from_secs(10),
            body_rate_min: 16 * 1024,
            answer_stall_max: Duration::from_secs(30),
            batch_bytes_max: 64 * 1024 * 1024,
            call_bytes_max: 4 * 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            page_bytes_max: 16 * 1024 * 1024,
            replies_waiting_max: 1024,
            stop_time_max: Duration::from_secs(8),
        }
    }
}

impl ServerLimits {
    /// The limits for a process that may hold `open_files_max` file descriptors: at most half of them go to
    /// connections, the rest stays for the journal, for targets and for functions.
    #[must_use]
    pub fn for_open_files(open_files_max: u64) -> ServerLimits {
        let limits = ServerLimits::default();
        let half = usize::try_from(open_files_max / 2).unwrap_or(usize::MAX);
        let connections_max = limits.connections_max.min(half.max(1));
        let replies_waiting_max = limits.replies_waiting_max.min(connections_max / 2);
        ServerLimits { connections_max, replies_waiting_max, ..limits }
    }

    /// The limits for this process, by its own `RLIMIT_NOFILE`.
    #[must_use]
    pub fn for_this_process() -> ServerLimits {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        ServerLimits::for_open_files(open_files.current.unwrap_or(u64::MAX))
    }
}

/// What `[server]` says about the listener.
#[derive(Clone, Default)]
pub struct ServerSettings {
    /// `[server] token`; where set, calls need it.
    pub token: Option<access::Token>,
    /// `[server] tls = { cert, key }`, loaded; `None` for plain HTTP.
    pub tls: Option<tokio_rustls::TlsAcceptor>,
    /// How much is too much.
    pub limits: ServerLimits,
}

impl ServerSettings {
    /// What a project's `[server]` asks for, with the limits of this process. Reads the TLS files.
    ///
    /// # Errors
    /// [`ServerError`] where those cannot be used.
    pub fn of(server: &config::Server) -> Result<ServerSettings, ServerError> {
        let tls = match &server.tls {
            Some(config::Tls::Files { cert, key }) => Some(tls::acceptor(cert, key)?),
            Some(config::Tls::Proxy) | None => None,
        };
        let token = server.token.as_ref().map(|token| access::Token::new(token.reveal()));
        let limits = ServerLimits { stop_time_max: server.grace, ..ServerLimits::for_this_process() };
        Ok(ServerSettings { token, tls, limits })
    }
}

impl std::fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSettings")
            .field("token", &self.token)
            .field("tls", &self.tls.is_some())
            .field("limits", &self.limits)
            .finish()
    }
}

/// Serves a broker until `stop` is cancelled and the requests in flight are answered or cut off; see
/// [`serve_router`].
pub async fn serve(listener: TcpListener, broker: Arc<Broker>, settings: ServerSettings, stop: CancellationToken) {
    let router = api::router(broker, &settings, stop.clone());
    serve_router(listener, router, settings, stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_file_descriptors_to_the_rest() {
        assert_eq!(ServerLimits::for_open_files(1024).connections_max, 512);
        assert_eq!(ServerLimits::for_open_files(1_000_000).connections_max, 4096);
        assert_eq!(ServerLimits::for_open_files(0).connections_max, 1);
    }
}
