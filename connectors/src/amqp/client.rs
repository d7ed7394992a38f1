//! What both directions share: the way to the server, and what its errors mean.

use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::ShortString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Error, ErrorKind};

use super::settings::Server;
use crate::spec::ConfigError;
use crate::tls::is_refused;

/// How long connecting may take, from the name to the server's welcome.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long closing may take; the server forgets a connection that ends without it as well.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Seconds between two signs of life, where `url` does not say `heartbeat`: a connection through which nothing comes is
/// let go after two of them.
const HEARTBEAT_SECONDS: u16 = 10;

/// Reads where the server is and who asks; no error repeats what stands in the address.
pub(super) fn address(server: &Server) -> Result<AMQPUri, ConfigError> {
    let mut uri: AMQPUri = server.url.expose().parse().map_err(|problem: String| {
        let problem = problem.replace(server.url.expose(), "…");
        ConfigError::at("url", "bad_url", format!("this is no address of an AMQP server: {problem}"))
            .help("write it like amqp://host:5672/%2f")
    })?;
    if let Some(username) = &server.username {
        uri.authority.userinfo.username.clone_from(username);
    }
    if let Some(password) = &server.password {
        uri.authority.userinfo.password = password.expose().to_owned();
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}

/// Connects; `name` shows in the server's list of connections.
pub(super) async fn connect(uri: &AMQPUri, name: &str) -> Result<Connection, Failure> {
    let properties = ConnectionProperties::default().with_connection_name(format!("eventyard {name}").into());
    match tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect_uri(uri.clone(), properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => {
            let failure = Failure::of(&error);
            // The same number says that a queue may not be used; while connecting it is about the login.
            Err(if failure.code == "denied" && is_login(&error) {
                Failure { code: "auth", ..failure }
            } else {
                failure
            })
        }
        Err(_) => {
            let seconds = CONNECT_TIMEOUT.as_secs();
            Err(Failure { code: "connect", message: format!("no AMQP server answered within {seconds} s") })
        }
    }
}

/// Closes, without waiting long.
pub(super) async fn close(connection: &Connection) {
    // What does not close in time is dropped, and the server sees that.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "goodbye".into())).await;
}

/// A short text of AMQP, where it is short enough: 255 bytes.
pub(super) fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

/// An error of the client or the server, in our words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// `auth`, `denied`, `queue_missing`, `refused`, `tls`, `connect`, `amqp`.
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Failure {
        let code = match error.kind() {
            ErrorKind::ProtocolError(error) => match error.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => "denied",
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => "not_there",
                AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::CONTENTTOOLARGE) => "refused",
                AMQPErrorKind::Soft(_) => "amqp",
                AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => "connect",
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => "denied",
                AMQPErrorKind::Hard(_) => "amqp",
            },
            ErrorKind::IOError(_) if is_refused(error) => "tls",
            ErrorKind::IOError(_)
            | ErrorKind::RuntimeShutdownError(_)
            | ErrorKind::MissingHeartbeatError
            | ErrorKind::InvalidConnectionState(_)
            | ErrorKind::InvalidChannelState(..) => "connect",
            ErrorKind::AuthProviderError(_) => "auth",
            _ => "amqp",
        };
        Failure { code, message: error.to_string() }
    }
}

fn is_login(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if matches!(error.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)))
}
