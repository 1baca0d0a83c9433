//! Addresses as they are written: listening addresses, upstreams, references.

use std::net::{IpAddr, SocketAddr};

use crate::way::ORIGINAL;

/// What an upstream or a workload's target may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Service(&'a str),
    Proxy(&'a str),
    Unix(&'a str),
    /// Where the client of a transparent proxy meant to go.
    Original,
    /// Host without brackets, and port.
    Host(&'a str, u16),
}

/// Takes an upstream or target apart.
pub(crate) fn target(text: &str) -> Result<Target<'_>, String> {
    if let Some(name) = text.strip_prefix("service:") {
        return Ok(Target::Service(name));
    }
    if let Some(name) = text.strip_prefix("proxy:") {
        return Ok(Target::Proxy(name));
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() { Err("`unix:` needs a path".into()) } else { Ok(Target::Unix(path)) };
    }
    if text == ORIGINAL {
        return Ok(Target::Original);
    }
    let (host, port) = host_port(text)?;
    if port == 0 {
        return Err(format!("`{text}`: nothing can be reached on port 0"));
    }
    Ok(Target::Host(host, port))
}

/// Host without brackets, and port.
pub(crate) fn host_port(text: &str) -> Result<(&str, u16), String> {
    let wrong = || format!("`{text}` is not an address such as 127.0.0.1:6379, [::1]:6379 or redis.local:6379");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let port = port.parse().map_err(|_| format!("`{text}`: a port is at most 65535"))?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
        inner.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
        return Ok((inner, port));
    }
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    let digits = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if host.is_empty() || !host.bytes().all(fits) || host.len() > 253 || digits && host.parse::<IpAddr>().is_err() {
        return Err(wrong());
    }
    Ok((host, port))
}

/// Checks a listening address.
pub(crate) fn listen(text: &str) -> Result<(), String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() { Err("`unix:` needs a path".into()) } else { Ok(()) };
    }
    let (host, _) = host_port(text)
        .map_err(|_| format!("`{text}` is not a listening address such as 127.0.0.1:6379, [::1]:6379 or unix:PATH"))?;
    match ip(host) {
        Some(_) => Ok(()),
        None => Err(format!("`{text}`: squall listens on an address, not on a host name (localhost excepted)")),
    }
}

/// Whether what is sent to `to` arrives at the listener on `at`.
pub(crate) fn arrives(at: &str, to: &str) -> bool {
    if at.starts_with("unix:") || to.starts_with("unix:") {
        return at == to;
    }
    let (Ok((at, at_port)), Ok((to, to_port))) = (host_port(at), host_port(to)) else {
        return false;
    };
    let (Some(at), Some(to)) = (ip(at), ip(to)) else {
        return false;
    };
    let same = at == to
        || (at.is_unspecified() && (to.is_loopback() || to.is_unspecified()))
        || (to.is_unspecified() && at.is_loopback());
    at_port != 0 && at_port == to_port && same
}

pub(crate) fn ip(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    }
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a listening address may be reached from other machines.
pub(crate) fn is_public(text: &str) -> bool {
    !text.starts_with("unix:")
        && host_port(text).ok().and_then(|(host, _)| ip(host)).is_some_and(|address| !address.is_loopback())
}

/// `address:port` of an IP address, for services.
pub(crate) fn socket(text: &str) -> Result<(), String> {
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = local.as_deref().unwrap_or(text).parse::<SocketAddr>();
    address.map(|_| ()).map_err(|_| format!("`{text}` is not an address such as 127.0.0.1:0 or [::1]:8080"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_arrives_at_itself() {
        for (at, to) in [
            ("127.0.0.1:80", "localhost:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("unix:/a", "unix:/a"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ] {
            assert!(arrives(at, to), "{at} {to}");
        }
        for (at, to) in [("127.0.0.1:80", "127.0.0.1:81"), ("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:80", "a.b:80")] {
            assert!(!arrives(at, to), "{at} {to}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in ["", ":80", "a", "a:", "a:b", "a:99999", "a b:1", "[::1:80", "1.2.3:80", "a:0", "a:+80", "unix:"] {
            assert!(target(text).is_err(), "{text}");
        }
        assert_eq!(target("[::1]:80"), Ok(Target::Host("::1", 80)));
        assert!(listen("example.com:80").is_err() && listen("localhost:0").is_ok() && listen("[::]:0").is_ok());
    }
}
