//! What the rules say of one call.

use std::net::IpAddr;

use eventyard_event::address::{is_link_local, without_wrapping};

use super::{EgressRule, What};

impl EgressRule {
    /// Whether it is a rule for this name, on any port. `name` is in lower case.
    pub(in crate::wasm) fn names(&self, name: &str) -> bool {
        match &self.what {
            What::Host(host) => host == name,
            What::Below(below) => name.len() > below.len() && name.ends_with(below.as_str()),
            What::Network(_) => false,
        }
    }
}

/// What the rules say of a host and port before any name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wasm) enum Verdict {
    /// A rule names the host: call whatever it stands for, link-local aside.
    ByName,
    /// No rule names the host: call it where all that it stands for lies in the networks.
    ByAddress,
    Refused,
}

pub(in crate::wasm) fn judge(rules: &[EgressRule], host: &str, port: u16) -> Verdict {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let bare = name.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return if in_networks(rules, address, port) { Verdict::ByAddress } else { Verdict::Refused };
    }
    let mut named = rules.iter().filter(|rule| rule.names(&name)).peekable();
    if named.peek().is_some() {
        // A name that is listed with a port is not open on others, whatever network it lies in.
        let open = named.any(|rule| rule.port.is_none_or(|allowed| allowed == port));
        return if open { Verdict::ByName } else { Verdict::Refused };
    }
    let any_network = rules.iter().any(|rule| matches!(rule.what, What::Network(_)));
    if any_network { Verdict::ByAddress } else { Verdict::Refused }
}

/// Whether an address that a name stands for may be called.
pub(in crate::wasm) fn address_allowed(rules: &[EgressRule], verdict: Verdict, address: IpAddr, port: u16) -> bool {
    match verdict {
        Verdict::Refused => false,
        Verdict::ByName => !is_link_local(without_wrapping(address)) || in_networks(rules, address, port),
        Verdict::ByAddress => in_networks(rules, address, port),
    }
}

fn in_networks(rules: &[EgressRule], address: IpAddr, port: u16) -> bool {
    let seen = without_wrapping(address);
    rules.iter().any(|rule| match &rule.what {
        What::Network(network) => {
            (network.contains(&address) || network.contains(&seen)) && rule.port.is_none_or(|allowed| allowed == port)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<EgressRule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_no_host_address_or_network_is_refused() {
        for text in
            ["", "*", "*.", "a..b", "http://a", "a/b", "a:0", "a:99999", "a:x", "10.0.0.0/40", "1.2.3", "a b", "é.com"]
        {
            assert!(text.parse::<EgressRule>().is_err(), "{text}");
        }
        for text in
            ["a", "api.example.com:8443", "*.example.com", "10.0.0.0/8", "127.0.0.1:9000", "[::1]:80", "fd00::/8"]
        {
            assert!(text.parse::<EgressRule>().is_ok(), "{text}");
        }
    }

    #[test]
    fn nothing_is_open_that_no_rule_names() {
        assert_eq!(judge(&[], "example.com", 443), Verdict::Refused);
        assert_eq!(judge(&[], "127.0.0.1", 80), Verdict::Refused);
        let list = rules(&["API.example.com.", "b.example.com:8443", "*.wild.example"]);
        assert_eq!(judge(&list, "api.Example.com", 1), Verdict::ByName);
        assert_eq!(judge(&list, "b.example.com", 8443), Verdict::ByName);
        assert_eq!(judge(&list, "b.example.com", 443), Verdict::Refused);
        assert_eq!(judge(&list, "x.y.wild.example", 443), Verdict::ByName);
        for other in ["wild.example", ".wild.example", "notwild.example", "example.com", "api.example.com.evil.org"] {
            assert_eq!(judge(&list, other, 443), Verdict::Refused, "{other}");
        }
    }

    #[test]
    fn a_network_opens_its_addresses_however_they_are_written() {
        let list = rules(&["10.1.0.0/16", "127.0.0.1:9000"]);
        assert_eq!(judge(&list, "10.1.2.3", 5), Verdict::ByAddress);
        assert_eq!(judge(&list, "[::ffff:10.1.2.3]", 5), Verdict::ByAddress);
        assert_eq!(judge(&list, "10.2.0.1", 5), Verdict::Refused);
        assert_eq!(judge(&list, "127.0.0.1", 9001), Verdict::Refused);
        let verdict = judge(&list, "some.name", 80);
        assert!(address_allowed(&list, verdict, "10.1.9.9".parse().unwrap(), 80));
        assert!(!address_allowed(&list, verdict, "8.8.8.8".parse().unwrap(), 80));
    }

    #[test]
    fn a_name_does_not_lead_to_link_local_addresses() {
        let list = rules(&["meta.example"]);
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1"] {
            assert!(!address_allowed(&list, Verdict::ByName, address.parse().unwrap(), 80), "{address}");
        }
        assert!(address_allowed(&list, Verdict::ByName, "192.168.0.1".parse().unwrap(), 80));
        let list = rules(&["meta.example", "169.254.169.254"]);
        assert!(address_allowed(&list, Verdict::ByName, "169.254.169.254".parse().unwrap(), 80));
    }
}
