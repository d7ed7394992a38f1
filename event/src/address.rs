//! Network addresses, seen for what they stand for.
//!
//! Whoever calls out on behalf of an event, sinks and functions alike, has to see through the spellings of an address
//! before it judges it. That is said once, here, below both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address that an IPv6 one stands for: mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), NAT64
/// (`64:ff9b::a.b.c.d`) and 6to4 (`2002:abcd::`). Any other address is itself.
#[must_use]
pub fn without_wrapping(address: IpAddr) -> IpAddr {
    let IpAddr::V6(wrapped) = address else { return address };
    match wrapped.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..]
            if wrapped != Ipv6Addr::LOCALHOST =>
        {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => address,
    }
}

/// Whether an address is link-local, where clouds hand out a machine's credentials. Of a wrapped one, ask
/// [`without_wrapping`] first.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_seen_through_its_wrapping() {
        for (written, seen) in [
            ("::ffff:169.254.169.254", "169.254.169.254"),
            ("::169.254.169.254", "169.254.169.254"),
            ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
            ("2002:a9fe:a9fe::1", "169.254.169.254"),
            ("::1", "::1"),
            ("fd00::1", "fd00::1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(without_wrapping(written.parse().unwrap()), seen.parse::<IpAddr>().unwrap(), "{written}");
        }
    }

    #[test]
    fn link_local_is_told_from_private() {
        for (address, link_local) in
            [("169.254.0.1", true), ("fe80::1", true), ("febf::1", true), ("10.0.0.1", false), ("fd00::1", false)]
        {
            assert_eq!(is_link_local(address.parse().unwrap()), link_local, "{address}");
        }
    }
}
