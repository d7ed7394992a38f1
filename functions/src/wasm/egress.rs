//! Where a component may call.
//!
//! A rule is a host (`api.example.com`, `api.example.com:8443`, `*.example.com`), an address (`127.0.0.1:9000`) or a
//! network (`10.1.0.0/16`). Nothing is allowed that no rule names. A name is looked up once and the addresses that
//! were checked are the ones that are called, so no second answer of a name server can lead elsewhere. Link-local
//! addresses, at which clouds hand out a machine's credentials, are reached through a name only where a network or
//! an address of the list holds them too.

#[cfg(feature = "wasm")]
mod verdict;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

#[cfg(feature = "wasm")]
pub(super) use self::verdict::{Verdict, address_allowed, judge};

/// One place that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressRule {
    what: What,
    /// None: any port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Lower case, without the point at its end.
    Host(String),
    /// Everything below this name: `*.example.com`, kept as `.example.com`.
    Below(String),
    Network(IpNet),
}

/// A text that is no [`EgressRule`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is no host, address or network")]
pub struct BadEgressRule {
    text: String,
}

impl FromStr for EgressRule {
    type Err = BadEgressRule;

    fn from_str(text: &str) -> Result<EgressRule, BadEgressRule> {
        let bad = || BadEgressRule { text: text.to_owned() };
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(EgressRule { what: What::Network(network.trunc()), port: None });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(EgressRule { what: What::Network(address.into()), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|&port| port != 0).ok_or_else(bad)?)),
            None => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(EgressRule { what: What::Network(address.into()), port });
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let (below, checked) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // A last label of digits alone would be a mistyped address.
        let last_is_number = checked.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if checked.len() > 253 || !checked.split('.').all(label) || last_is_number {
            return Err(bad());
        }
        let what = if below { What::Below(format!(".{checked}")) } else { What::Host(checked.to_owned()) };
        Ok(EgressRule { what, port })
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Host(host) => f.write_str(host)?,
            What::Below(below) => write!(f, "*{below}")?,
            What::Network(network) => write!(f, "{network}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
