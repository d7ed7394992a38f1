//! Where calls may go.
//!
//! An address in the project's files is the operator's word and is allowed, private networks included. Link-local
//! is the exception: clouds answer there with a machine's credentials, and nobody's webhook lives there; it takes
//! `[server] egress_allow`.

use std::net::IpAddr;

use eventyard_event::address::{is_link_local, without_wrapping};
use ipnet::IpNet;

/// A call to this address was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a link-local address, which may be called only where `[server] egress_allow` names its network")]
pub(super) struct EgressBlocked(pub(super) IpAddr);

/// Refuses an address that may not be called.
pub(super) fn check(address: IpAddr, allow: &[IpNet]) -> Result<(), EgressBlocked> {
    let seen = without_wrapping(address);
    let allowed = |network: &IpNet| network.contains(&address) || network.contains(&seen);
    if is_link_local(seen) && !allow.iter().any(allowed) { Err(EgressBlocked(address)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(address: &str, allow: &[&str]) -> bool {
        let allow: Vec<IpNet> = allow.iter().map(|network| network.parse().unwrap()).collect();
        check(address.parse().unwrap(), &allow).is_ok()
    }

    #[test]
    fn link_local_is_blocked_however_it_is_written() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
        ] {
            assert!(!check_text(address, &[]), "{address}");
        }
    }

    #[test]
    fn what_the_operator_wrote_is_allowed() {
        for address in
            ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0"]
        {
            assert!(check_text(address, &[]), "{address}");
        }
    }

    #[test]
    fn an_allowed_network_opens_it() {
        assert!(check_text("169.254.169.254", &["169.254.169.254/32"]));
        assert!(check_text("::ffff:169.254.169.254", &["169.254.0.0/16"]));
        assert!(!check_text("169.254.169.253", &["169.254.169.254/32"]));
    }
}
