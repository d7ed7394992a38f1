//! The one HTTP client that all sinks and targets share.

use std::net::SocketAddr;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use eventyard_event::with_causes;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::egress;
use crate::sink::SendError;

/// How long a connection may take to stand. A target's own time-out is usually longer, and a host that does not
/// answer should not use all of it up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept: shorter than the 60 s after which most servers drop it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Unused connections kept for one host.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// Makes rustls use ring, once for the process. Whoever calls TLS first calls this before; calling it again does
/// nothing.
pub fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that one is installed already, which is all that is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// An HTTP client that follows no redirect, uses no proxy, retries nothing and resolves names itself, so that every
/// address is checked before it is called. Cheap to clone; connections are shared between clones.
#[derive(Clone)]
pub struct HttpClient {
    allow: Arc<[IpNet]>,
    /// For `http://`; needs no certificates, so it works where the machine has none.
    plain: Arc<OnceLock<reqwest::Client>>,
    /// For `https://`; trusts what the machine trusts.
    tls: Arc<OnceLock<reqwest::Client>>,
}

impl HttpClient {
    /// A client that may also reach the networks of `[server] egress_allow`. Opens nothing yet.
    #[must_use]
    pub fn new(egress_allow: Vec<IpNet>) -> HttpClient {
        install_crypto();
        HttpClient { allow: egress_allow.into(), plain: Arc::default(), tls: Arc::default() }
    }

    /// The networks that may be reached beside the ordinary ones.
    pub(super) fn allowed(&self) -> &[IpNet] {
        &self.allow
    }

    /// The client for a scheme, made when it is first needed.
    pub(super) fn for_scheme(&self, scheme: &str) -> Result<&reqwest::Client, SendError> {
        let tls = scheme == "https";
        let cell = if tls { &self.tls } else { &self.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let built = self.build(tls).map_err(|error| {
            let message = format!("no TLS client can be made on this machine: {}", with_causes(&error));
            SendError::retryable("tls_setup", message)
        })?;
        Ok(cell.get_or_init(|| built))
    }

    fn build(&self, tls: bool) -> Result<reqwest::Client, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .user_agent(concat!("eventyard/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(CheckedResolver { allow: Arc::clone(&self.allow) }));
        if tls { builder.https_only(true).build() } else { builder.tls_certs_only([]).build() }
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("allow", &self.allow).finish_non_exhaustive()
    }
}

/// Resolves a name once and gives only addresses that may be called; where one of them may not, none is given.
struct CheckedResolver {
    allow: Arc<[IpNet]>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow = Arc::clone(&self.allow);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                egress::check(address.ip(), &allow)?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_of_a_name_is_checked() {
        let resolve = |name: &str, allow: Vec<IpNet>| {
            let resolver = CheckedResolver { allow: allow.into() };
            // An address is a name that resolves to itself.
            resolver.resolve(name.parse().unwrap())
        };
        assert!(resolve("127.0.0.1", Vec::new()).await.is_ok());
        let blocked = resolve("169.254.169.254", Vec::new()).await.err().unwrap();
        assert!(blocked.is::<egress::EgressBlocked>());
        assert!(resolve("169.254.169.254", vec!["169.254.169.254/32".parse().unwrap()]).await.is_ok());
    }
}
