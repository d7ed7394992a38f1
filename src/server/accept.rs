//! Taking connections, up to a limit, until told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ServerSettings, connection};

/// How long to wait when no connection can be taken for lack of file descriptors or memory: long enough not
/// to spin, short enough that nobody notices once some are free again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection over the limit is told. The whole answer, because no request is read.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 179\r\n\r\n\
    {\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"too_many_connections\",\
    \"detail\":\"too many connections are open\",\"fix\":\"close connections that idle, then try again in a second\"}";

/// What answers requests; each gets a clone.
pub trait Router:
    tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Unpin
    + 'static
{
}

impl<T> Router for T where
    T: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Unpin
        + 'static
{
}

/// Serves `router` on `listener` until `stop` is cancelled; then takes no more connections, lets requests in
/// flight end for at most `stop_time_max`, and returns.
///
/// A connection that fails, a handler that panics and a process out of file descriptors end nothing here.
/// Cancellation: dropping the future closes all connections at once.
pub async fn serve_router(
    listener: TcpListener,
    router: impl Router,
    settings: ServerSettings,
    stop: CancellationToken,
) {
    let limits = settings.limits;
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let settings = Arc::new(settings);
    let mut connections = JoinSet::new();
    let mut crowded = false;
    let mut short_of_files = false;

    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    short_of_files = false;
                    let place = Arc::clone(&places).try_acquire_owned().ok();
                    note_crowd(&mut crowded, place.is_none(), limits.connections_max);
                    let Some(place) = place else {
                        turn_away(&stream, peer);
                        continue;
                    };
                    let (router, settings, stop) = (router.clone(), Arc::clone(&settings), stop.clone());
                    connections.spawn(async move {
                        connection::serve(stream, peer, router, &settings, stop).await;
                        drop(place);
                    });
                }
                // The peer went away between its SYN and us.
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    if !short_of_files {
                        tracing::warn!(%error, "no connection can be taken at present; trying on");
                    }
                    short_of_files = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.stop_time_max, all_ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests did not end in time and are cut off");
        connections.shutdown().await;
    }
}

/// Logs that the limit was met, and once that it no longer is; not each of ten thousand connections.
fn note_crowd(crowded: &mut bool, now: bool, connections_max: usize) {
    if now && !*crowded {
        tracing::warn!(connections_max, "the limit of connections is met; more are turned away");
    } else if !now && *crowded {
        tracing::info!("connections are below their limit again");
    }
    *crowded = now;
}

/// Says why, where the peer can hear it at once, and closes. Nothing is awaited: that would give the crowd
/// the very place that it may not have. (A TLS peer hears nothing that it understands.)
fn turn_away(stream: &TcpStream, peer: SocketAddr) {
    let said = stream.try_write(TOO_MANY_CONNECTIONS);
    tracing::debug!(%peer, ?said, "turned a connection away");
}

fn is_the_peers(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_the_crowd_is_well_formed() {
        let text = std::str::from_utf8(TOO_MANY_CONNECTIONS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["code"], "too_many_connections");
    }
}
