//! Calls that a component makes over HTTP, through the list of what it may reach.
//!
//! No redirect is followed, no proxy used, and nothing is tried again: the component sees what the other side says.
//! Each name is looked up once, and the addresses that were checked are the ones that are called.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use eventyard_event::with_causes;
use futures_util::TryStreamExt;
use http::{Request, Response};
use http_body_util::{BodyDataStream, BodyExt};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::call::Record;
use super::egress::{EgressRule, Verdict, address_allowed, judge};

/// How long a connection may take to stand, unless the component allows less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Unused connections kept for one host.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// The clients of one function, made when they are first needed. Connections are shared between its calls.
pub(super) struct Outbound {
    rules: Arc<[EgressRule]>,
    /// For `http://`; needs no certificates, so it works where the machine has none.
    plain: OnceLock<reqwest::Client>,
    /// For `https://`; trusts what the machine trusts.
    tls: OnceLock<reqwest::Client>,
}

impl Outbound {
    pub(super) fn new(rules: Vec<EgressRule>) -> Outbound {
        Outbound { rules: rules.into(), plain: OnceLock::new(), tls: OnceLock::new() }
    }

    fn client(&self, tls: bool) -> Result<&reqwest::Client, Error> {
        let cell = if tls { &self.tls } else { &self.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Whoever is first sets the process's provider of cryptography; an error says that one is set.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .dns_resolver(Arc::new(CheckedResolver {
                rules: Arc::clone(&self.rules),
                port: if tls { 443 } else { 80 },
            }));
        let built = if tls { builder.https_only(true).build() } else { builder.tls_certs_only([]).build() };
        let built = built.map_err(|error| Error::InternalError(Some(with_causes(&error))))?;
        Ok(cell.get_or_init(|| built))
    }

    /// The verdict about a request's address, before anything is looked up.
    fn verdict(&self, uri: &http::Uri) -> Option<(Verdict, String)> {
        let host = uri.host()?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        Some((judge(&self.rules, host, port), format!("{host}:{port}")))
    }

    async fn send(&self, request: Request<WasiBody>, options: RequestOptions) -> Result<Response<WasiBody>, Error> {
        let tls = request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
        let client = self.client(tls)?;
        let (head, body) = request.into_parts();
        let url = reqwest::Url::parse(&head.uri.to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
        let body = BodyDataStream::new(body).map_err(|error| std::io::Error::other(error.to_string()));
        let call = client.request(head.method, url).headers(head.headers).body(reqwest::Body::wrap_stream(body));
        // A component may ask for less time than its call has.
        let first_byte = options.first_byte_timeout.unwrap_or(Duration::MAX);
        let response = match tokio::time::timeout(first_byte, call.send()).await {
            Ok(response) => response.map_err(|error| translate(&error))?,
            Err(_) => return Err(Error::HttpResponseTimeout),
        };
        Ok(Response::from(response).map(|body: reqwest::Body| body.map_err(|error| translate(&error)).boxed_unsync()))
    }
}

/// What the component is told.
fn translate(error: &reqwest::Error) -> Error {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<Blocked>() {
            return Error::DestinationIpProhibited;
        }
        cause = inner.source();
    }
    match () {
        () if error.is_timeout() => Error::ConnectionTimeout,
        () if error.is_connect() => Error::ConnectionRefused,
        () if error.is_body() => Error::HttpResponseIncomplete,
        () => Error::InternalError(Some(with_causes(error))),
    }
}

/// An address that no rule opens.
#[derive(Debug, thiserror::Error)]
#[error("{0} is in no network of `egress_allow`")]
struct Blocked(std::net::IpAddr);

/// Looks a name up and gives only addresses that may be called; where one of them may not, none is given.
struct CheckedResolver {
    rules: Arc<[EgressRule]>,
    /// The scheme's own port: a resolver is not told which one is meant. A rule for an address with another port
    /// does not open a name that stands for it.
    port: u16,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, port) = (Arc::clone(&self.rules), self.port);
        Box::pin(async move {
            // The port of a named host was checked before; here a rule that names the host at all counts.
            let asked = name.as_str().trim_end_matches('.').to_ascii_lowercase();
            let named = rules.iter().any(|rule| rule.names(&asked));
            let verdict = if named { Verdict::ByName } else { Verdict::ByAddress };
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &found {
                if !address_allowed(&rules, verdict, address.ip(), port) {
                    return Err(Blocked(address.ip()).into());
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The hook through which a component's calls go out.
pub(super) struct OutboundHooks {
    outbound: Arc<Outbound>,
    record: Arc<Record>,
}

impl OutboundHooks {
    pub(super) fn new(outbound: Arc<Outbound>, record: Arc<Record>) -> OutboundHooks {
        OutboundHooks { outbound, record }
    }
}

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for OutboundHooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let (outbound, record) = (Arc::clone(&self.outbound), Arc::clone(&self.record));
        Box::new(async move {
            match outbound.verdict(request.uri()) {
                Some((Verdict::ByName | Verdict::ByAddress, _)) => {}
                Some((Verdict::Refused, address)) => {
                    record.note(&format!("a call to {address} was refused: no rule of `egress_allow` names it"));
                    return Err(Error::HttpRequestDenied);
                }
                None => return Err(Error::HttpRequestUriInvalid),
            }
            let address = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let sent = outbound.send(request, options.unwrap_or_default()).await;
            if let Err(error) = &sent {
                record.note(&format!("a call to {address} failed: {error}"));
            }
            let done: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((sent?, done))
        })
    }
}
