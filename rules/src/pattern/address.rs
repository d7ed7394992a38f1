//! IP addresses and networks, as event-ruler reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Reads an address. Zeros may lead the parts of an IPv4 address (`10.0.0.001`, at most 15 characters), and an
/// IPv6 address that wraps an IPv4 one in hexadecimal is that one; `::ffff:10.0.0.1` is no address.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        if !text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
            return None;
        }
        let address: Ipv6Addr = text.parse().ok()?;
        return Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4));
    }
    if text.len() > 15 {
        return None;
    }
    let mut parts = text.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.trim_start_matches('0')).map(|part| if part.is_empty() { "0" } else { part })?.parse().ok()
    });
    let octets: [Option<u8>; 4] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    if parts.next().is_some() {
        return None;
    }
    let [Some(a), Some(b), Some(c), Some(d)] = octets else { return None };
    Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
}

/// Reads a network such as `10.0.0.0/8`; the error is what is wrong with it, as the end of a sentence.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, String> {
    let (address, bits) = text
        .split_once('/')
        .filter(|(_, bits)| !bits.contains('/'))
        .ok_or("needs one `/` and a number of bits after it")?;
    let address = parse_address(address).ok_or_else(|| format!("`{address}` is no IPv4 or IPv6 address"))?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let bits: u8 = bits.parse().map_err(|_| format!("`{bits}` is no number of bits from 0 to {bits_max}"))?;
    IpNet::new(address, bits).map_err(|_| format!("an address of this kind has only {bits_max} bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_event_ruler_reads_them() {
        let same = [
            ("10.0.0.1", "10.0.0.001"),
            ("2001:db8::1", "2001:DB8:0:0:0:0:0:1"),
            ("10.0.0.1", "::ffff:0a00:1"),
            ("::", "0:0:0:0:0:0:0:0"),
        ];
        for (a, b) in same {
            assert!(parse_address(a).is_some(), "{a}");
            assert_eq!(parse_address(a), parse_address(b), "{a} {b}");
        }
        for bad in [
            "",
            ":",
            ":::",
            "1.2.3",
            "1.2.3.4.5",
            "10.0.0.256",
            "1.2.3.0000000004",
            "10.0.0.1 ",
            "a.b.c.d",
            "1..2.3",
            "::ffff:10.0.0.1",
            "12345::",
            "1::2::3",
            "fe80::1%eth0",
            "+1.2.3.4",
        ] {
            assert_eq!(parse_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks() {
        let network = parse_network("10.0.0.5/24").unwrap();
        assert!(network.contains(&parse_address("10.0.0.1").unwrap()));
        assert!(!network.contains(&parse_address("10.0.1.1").unwrap()));
        assert!(parse_network("10.0.0.0/32").unwrap().contains(&parse_address("10.0.0.0").unwrap()));
        assert!(parse_network("::/0").unwrap().contains(&parse_address("2001:db8::1").unwrap()));
        assert!(!parse_network("::/0").unwrap().contains(&parse_address("10.0.0.1").unwrap()));
        for bad in [
            "10.0.0.1",
            "10/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "::/129",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.1/128",
            "/8",
            "10.0.0.0/",
        ] {
            assert!(parse_network(bad).is_err(), "{bad}");
        }
    }
}
