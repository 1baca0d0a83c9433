//! `NO_PROXY`: which hosts go past a proxy. There is no standard; this is what curl, Python and Go agree on.

use std::net::IpAddr;

/// A list of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bypass(Vec<String>);

impl Bypass {
    /// The list of `no_proxy`, else of `NO_PROXY`.
    pub fn of_environment() -> Bypass {
        let read = |name| std::env::var(name).ok();
        Bypass::parse(&read("no_proxy").or_else(|| read("NO_PROXY")).unwrap_or_default())
    }

    /// Names separated by commas.
    pub fn parse(text: &str) -> Bypass {
        let entries = text.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Bypass(entries.filter(|entry| !entry.is_empty()).collect())
    }

    /// Whether this host goes past: it is on the list, below a name that is, or in a network that is.
    pub fn names(&self, host: &str) -> bool {
        self.0.iter().any(|entry| covers(entry, host))
    }

    /// The list as a child gets it: with this machine on it, and without what would keep opened hosts from being seen.
    pub fn for_child(&self, opened: &[&str]) -> String {
        let local = ["localhost", "127.0.0.1", "::1"];
        let kept = self.0.iter().map(String::as_str).filter(|entry| !local.contains(entry));
        let all = local.into_iter().chain(kept).filter(|entry| !opened.iter().any(|host| covers(entry, host)));
        all.collect::<Vec<_>>().join(",")
    }
}

fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" || entry == host {
        return true;
    }
    if let (Some((network, bits)), Ok(address)) = (entry.split_once('/'), host.parse::<IpAddr>()) {
        return within(network, bits, address);
    }
    let name = entry.trim_start_matches('*').trim_start_matches('.');
    !name.is_empty() && host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn within(network: &str, bits: &str, address: IpAddr) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let shared =
        |one: u128, other: u128, width: u32| bits <= width && (one ^ other).checked_shr(width - bits).unwrap_or(0) == 0;
    match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => shared(u32::from(one).into(), u32::from(other).into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => shared(one.into(), other.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_suffixes_and_networks() {
        let list = Bypass::parse("internal.test, .corp.test,*.wild.test,10.0.0.0/8,fd00::/8,192.0.2.7");
        for host in
            ["internal.test", "a.internal.test", "x.corp.test", "b.wild.test", "10.1.2.3", "fd00::1", "192.0.2.7"]
        {
            assert!(list.names(host), "{host}");
        }
        for host in ["notinternal.test", "test", "11.0.0.1", "192.0.2.8", "fe00::1"] {
            assert!(!list.names(host), "{host}");
        }
        assert!(Bypass::parse("*").names("anything"));
        assert!(Bypass::parse("0.0.0.0/0").names("192.0.2.1") && !Bypass::parse("").names("a"));
    }

    #[test]
    fn a_child_s_list_has_this_machine_and_no_opened_host() {
        let list = Bypass::parse("stripe.com,corp.test,localhost");
        assert_eq!(list.for_child(&["api.stripe.com"]), "localhost,127.0.0.1,::1,corp.test");
        assert_eq!(Bypass::parse("*").for_child(&["api.stripe.com"]), "localhost,127.0.0.1,::1");
    }
}
