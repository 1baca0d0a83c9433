//! Which upstreams squall may connect to: `[safety] allow_upstreams` and `deny_upstreams`, held against the resolved
//! address at every connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Safety;

/// Compiled from [`Safety`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    what: What,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// An address and how many of its leading bits count, IPv4 as IPv6-mapped.
    Net(u128, u32),
    /// Lower case, `*` for any characters.
    Host(String),
}

/// Denied whatever a configuration says: link-local addresses, and where clouds serve the credentials of their machines;
/// also behind NAT64 (RFC 6052) and 6to4 (RFC 3056).
const ALWAYS_DENIED: [&str; 13] = [
    "169.254.0.0/16", // AWS, Google, Azure, DigitalOcean, and link-local
    "64:ff9b::169.254.0.0/112",
    "2002:a9fe::/32",
    "fe80::/10",
    "fd00:ec2::254/128",  // AWS
    "fd20:ce::254/128",   // Google
    "fd00:c1::a9fe:a9fe", // Oracle
    "fd00:42::42/128",    // Scaleway
    "100.100.100.200/32", // Alibaba
    "64:ff9b::100.100.100.200/128",
    "168.63.129.16/32", // Azure
    "64:ff9b::168.63.129.16/128",
    "192.0.0.192/32", // Oracle
];

impl Limits {
    /// # Errors
    /// The entry that is neither a network nor a host pattern, in words.
    pub fn new(safety: &Safety) -> Result<Limits, String> {
        let parse = |entries: &[String]| entries.iter().map(|entry| Rule::parse(entry)).collect::<Result<Vec<_>, _>>();
        let mut deny = parse(&safety.deny_upstreams)?;
        for network in ALWAYS_DENIED {
            deny.push(Rule::parse(network)?);
        }
        Ok(Limits { allow: parse(&safety.allow_upstreams)?, deny })
    }

    /// Whether `to`, which `host` was resolved to, stands in no list of what is denied: for squall's own questions to others.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check_denied(&self, host: &str, to: SocketAddr) -> Result<(), String> {
        if self.deny.iter().any(|rule| rule.matches(host, to)) {
            return Err(format!("{} is denied (deny_upstreams, or a link-local or metadata address)", shown(host, to)));
        }
        Ok(())
    }

    /// Whether a connection to `to`, which `host` was resolved to (empty: no name was), may be made.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self, host: &str, to: SocketAddr) -> Result<(), String> {
        self.check_denied(host, to)?;
        if self.allow.iter().any(|rule| rule.matches(host, to)) {
            return Ok(());
        }
        let shown = shown(host, to);
        Err(format!("{shown} is not in allow_upstreams of [safety]; without a configuration only loopback is"))
    }
}

fn shown(host: &str, to: SocketAddr) -> String {
    let is_name = !host.is_empty() && host.parse::<IpAddr>().is_err();
    if is_name { format!("{host} ({to})") } else { to.to_string() }
}

impl Rule {
    /// `10.0.0.0/8`, `127.0.0.1:6379`, `[::1]`, `[fd00::/8]:443`, `::1`, `*.internal:443`, `db`.
    fn parse(entry: &str) -> Result<Rule, String> {
        let wrong =
            |why: &str| format!("`{entry}` {why}; expected a network (`10.0.0.0/8`) or a host (`*.internal:443`)");
        let (name, port) = split_port(entry).ok_or_else(|| wrong("has no valid port"))?;
        if name.is_empty() {
            return Err(wrong("names nothing"));
        }
        let (address, bits) = name.split_once('/').map_or((name, None), |(address, bits)| (address, Some(bits)));
        let Ok(ip) = address.parse::<IpAddr>() else {
            let plain = |c: char| c.is_ascii_alphanumeric() || "*.-_".contains(c);
            if bits.is_some() || !name.chars().all(plain) {
                return Err(wrong("is not a network"));
            }
            return Ok(Rule { what: What::Host(name.to_ascii_lowercase()), port });
        };
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse::<u32>).map_err(|_| wrong("has no valid prefix length"))?;
        if bits > width {
            return Err(wrong("has too long a prefix"));
        }
        // "any address" stands for loopback where it is one address, not where it begins a network
        let network = if bits == width { number(ip) } else { mapped(ip) };
        Ok(Rule { what: What::Net(network, bits + (128 - width)), port })
    }

    fn matches(&self, host: &str, to: SocketAddr) -> bool {
        if self.port.is_some_and(|port| port != to.port()) {
            return false;
        }
        match &self.what {
            What::Net(_, 0) => true,
            What::Net(network, bits) => (network ^ number(to.ip())) >> (128 - bits) == 0,
            What::Host(pattern) => glob(pattern.as_bytes(), host.trim_end_matches('.').to_ascii_lowercase().as_bytes()),
        }
    }
}

/// Name and port; none: the port is not one. Brackets hold an IPv6 address or network.
fn split_port(entry: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = entry.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((inside, Some(port.parse().ok()?))),
            None => after.is_empty().then_some((inside, None)),
        };
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => Some((name, Some(port.parse().ok()?))),
        _ => Some((entry, None)), // no port, or a bare IPv6 address
    }
}

/// An address as 128 bits: IPv4 mapped, and "any address" as the loopback that a connect to it reaches.
fn number(ip: IpAddr) -> u128 {
    let v6 = match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.to_ipv6_mapped(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST,
        other => return mapped(other),
    };
    u128::from(v6)
}

/// An address as 128 bits, as it is.
fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// `*` stands for any characters.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        Some((first, rest)) => text.first() == Some(first) && glob(rest, &text[1..]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn limits(allow: &[&str], deny: &[&str]) -> Limits {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let safety = Safety { allow_upstreams: own(allow), deny_upstreams: own(deny), ..Safety::default() };
        Limits::new(&safety).unwrap()
    }

    fn allowed(limits: &Limits, host: &str, to: &str) -> bool {
        limits.check(host, to.parse().unwrap()).is_ok()
    }

    #[test]
    fn without_a_configuration_only_loopback() {
        let limits = Limits::new(&Safety::default()).unwrap();
        for to in ["127.0.0.1:1", "127.200.1.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80"] {
            assert!(allowed(&limits, "localhost", to), "{to}");
        }
        for to in ["10.0.0.1:80", "192.168.1.1:80", "[2001:db8::1]:80", "[::ffff:10.0.0.1]:80"] {
            assert!(!allowed(&limits, "localhost", to), "{to}");
        }
    }

    #[test]
    fn a_name_is_allowed_by_pattern_and_port() {
        let limits = limits(&["*.staging.internal:443"], &[]);
        assert!(allowed(&limits, "db.staging.internal", "10.1.2.3:443"));
        assert!(allowed(&limits, "DB.Staging.internal.", "10.1.2.3:443"));
        assert!(!allowed(&limits, "db.staging.internal", "10.1.2.3:80"));
        assert!(!allowed(&limits, "db.prod.internal", "10.1.2.3:443"));
    }

    #[test]
    fn denied_wins_over_allowed_on_the_resolved_address() {
        let limits = limits(&["*.internal", "0.0.0.0/0"], &["10.99.0.0/16"]);
        assert!(allowed(&limits, "a.internal", "10.98.0.1:80"));
        assert!(!allowed(&limits, "a.internal", "10.99.0.1:80"));
        assert!(!allowed(&limits, "a.internal", "[::ffff:10.99.0.1]:80"));
    }

    #[test]
    fn a_network_that_begins_with_zeros_is_itself() {
        let limits = limits(&["0.0.0.0/0"], &["0.0.0.0/8"]);
        assert!(!allowed(&limits, "x", "0.1.2.3:80"));
        assert!(allowed(&limits, "x", "127.0.0.1:80"));
    }

    #[test]
    fn link_local_and_metadata_addresses_are_always_denied() {
        let limits = limits(&["0.0.0.0/0", "::/0", "*"], &[]);
        for to in [
            "169.254.169.254:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "100.100.100.200:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::169.254.169.254]:80",
            "[2002:a9fe:a9fe::1]:80",
            "[fd20:ce::254]:80",
            "168.63.129.16:80",
        ] {
            assert!(!allowed(&limits, "metadata", to), "{to}");
        }
        assert!(allowed(&limits, "x", "[2001:db8::1]:80"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for entry in ["10.0.0.0/33", "10.0.0.0/x", "", "host:port", "[::1", "a b", "::1/129", "http://x/y"] {
            let safety = Safety { allow_upstreams: vec![entry.into()], ..Safety::default() };
            assert!(Limits::new(&safety).is_err(), "{entry}");
        }
    }
}
