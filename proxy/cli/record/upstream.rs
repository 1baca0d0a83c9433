//! Whom clients are led to.

use std::fmt;
use std::str::FromStr;

/// A service by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) tls: bool,
    /// With the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Upstream, String> {
        let expected = || "expected https://host, http://host:port or host:port, without a path".to_owned();
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ if text.contains("://") => return Err(expected()),
            _ => (false, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(expected());
        }
        let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| expected())?),
            None => (rest, if tls { 443 } else { 80 }),
        };
        if host.is_empty() || host.contains(':') && !host.starts_with('[') {
            return Err(expected());
        }
        Ok(Upstream { tls, host: host.into(), port })
    }
}

/// As a recording names it: without a port that goes without saying.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Upstream { tls, host, port } = self;
        match (tls, port) {
            (true, 443) => write!(f, "https://{host}"),
            (true, port) => write!(f, "https://{host}:{port}"),
            (false, 80) => write!(f, "http://{host}"),
            (false, port) => write!(f, "http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Upstream;

    #[test]
    fn upstreams_are_read_as_they_are_written() {
        for (text, told, dialled) in [
            ("https://api.example.com", "https://api.example.com", "api.example.com:443"),
            ("https://api.example.com:8443/", "https://api.example.com:8443", "api.example.com:8443"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]", "http://[::1]", "[::1]:80"),
            ("http://[::1]:81", "http://[::1]:81", "[::1]:81"),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(
                (upstream.to_string().as_str(), format!("{}:{}", upstream.host, upstream.port).as_str()),
                (told, dialled)
            );
        }
        for text in
            ["", "https://", "ftp://a", "http://a/b", "http://a?b", "http://u:p@a", "a:b", "::1", "http://a:99999"]
        {
            assert!(text.parse::<Upstream>().is_err(), "{text}");
        }
    }
}
