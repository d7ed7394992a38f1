//! Connections, and what their errors are called.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::sync::watch;

use super::config::ConnectConfig;
use crate::spec::{ConfigError, read_checked};
use crate::tls::is_refused;

/// How long one server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is there. Three times without an answer, and the connection counts as lost:
/// what is swallowed silently is noticed within this.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Messages of one core subscription that wait to be read. Beyond it the client drops, which is told.
pub(super) const SUBSCRIPTION_MESSAGES_MAX: usize = 65_536;

/// What a connection needs, checked.
#[derive(Clone)]
pub(super) struct Connecting {
    servers: Vec<ServerAddr>,
    config: ConnectConfig,
    tls: Option<rustls::ClientConfig>,
}

/// What happens to a connection, as far as its user must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    /// It was lost since it was made.
    pub(super) lost: bool,
    /// How often the client has dropped messages because nobody read them.
    pub(super) slow: u64,
    /// What the server said last that it did not like.
    pub(super) said: Option<String>,
}

/// A connection that failed: a stable word, and what happened without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Connecting {
    /// # Errors
    /// What the table's shape cannot say.
    pub(super) fn build(value: &Value) -> Result<Connecting, Vec<ConfigError>> {
        let config: ConnectConfig = read_checked(value)?;
        let mut errors = Vec::new();
        let mut servers = Vec::new();
        for server in &config.servers {
            match server.parse::<ServerAddr>() {
                Ok(address) if address.has_user_pass() => {
                    errors.push(
                        ConfigError::at("servers", "bad_value", "a server's address carries a user or a password")
                            .help("write user and password as keys of their own: they are secrets"),
                    );
                }
                Ok(address) => servers.push(address),
                Err(error) => {
                    let message = format!("`{}` is no address of a NATS server: {error}", server.escape_debug());
                    errors.push(ConfigError::at("servers", "bad_value", message).help("write HOST:PORT"));
                }
            }
        }
        if config.servers.is_empty() {
            errors.push(ConfigError::at("servers", "bad_value", "no server is named"));
        }
        if config.user.is_some() != config.password.is_some() {
            let (there, missing) = if config.user.is_some() { ("user", "password") } else { ("password", "user") };
            errors.push(ConfigError::at(there, "conflict", format!("`{there}` needs `{missing}` beside it")));
        }
        let ways = [config.user.is_some(), config.token.is_some(), config.creds.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            let message = "user, token and creds exclude each other";
            errors.push(ConfigError::at(if ways[1] { "token" } else { "creds" }, "conflict", message));
        }
        if let Some(creds) = &config.creds
            && ConnectOptions::with_credentials(creds.expose()).is_err()
        {
            errors.push(
                ConfigError::at("creds", "bad_value", "this is no text of a credentials file")
                    .help("write creds = { file = \"user.creds\" }"),
            );
        }
        let tls = match config.ca.as_deref().map(trusting).transpose() {
            Ok(tls) => tls,
            Err(message) => {
                errors.push(ConfigError::at("ca", "bad_value", message).help("write ca = { file = \"ca.pem\" }"));
                None
            }
        };
        if errors.is_empty() { Ok(Connecting { servers, config, tls }) } else { Err(errors) }
    }

    /// Connects once. What happens to the connection later is told by the receiver.
    pub(super) async fn connect(&self, name: &str) -> Result<(Client, watch::Receiver<Happened>), Refused> {
        let (happened, happenings) = watch::channel(Happened::default());
        let happened = Arc::new(happened);
        let mut options = ConnectOptions::new()
            .name(format!("eventyard {name}"))
            .connection_timeout(CONNECT_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            .request_timeout(Some(CONNECT_TIMEOUT))
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .require_tls(self.config.tls)
            .event_callback(move |event| {
                happened.send_modify(|now| match &event {
                    Event::Disconnected | Event::Closed => now.lost = true,
                    Event::SlowConsumer(_) => now.slow += 1,
                    Event::ServerError(error) => now.said = Some(error.to_string()),
                    Event::ClientError(error) => now.said = Some(error.to_string()),
                    Event::Connected | Event::LameDuckMode | Event::Draining => {}
                });
                async {}
            });
        if let Some(tls) = &self.tls {
            options = options.tls_client_config(tls.clone());
        }
        if let (Some(user), Some(password)) = (&self.config.user, &self.config.password) {
            options = options.user_and_password(user.clone(), password.expose().to_owned());
        } else if let Some(token) = &self.config.token {
            options = options.token(token.expose().to_owned());
        } else if let Some(creds) = &self.config.creds {
            options = options
                .credentials(creds.expose())
                .map_err(|_| Refused { code: "auth", message: "the credentials cannot be read".to_owned() })?;
        }
        let client = options.connect(self.servers.clone()).await.map_err(|error| self.refused(&error))?;
        Ok((client, happenings))
    }

    fn refused(&self, error: &ConnectError) -> Refused {
        let servers = self.config.servers.join(", ");
        let why = eventyard_event::with_causes(error);
        let code = match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => "auth",
            ConnectErrorKind::Tls => "tls",
            // A certificate that is not trusted comes as an error of the handshake's reads and writes.
            _ if is_refused(error) => "tls",
            _ => "connect",
        };
        Refused { code, message: format!("connecting to {servers} failed: {why}") }
    }
}

/// TLS that trusts these certificates and no others.
fn trusting(pem: &str) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("this is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
