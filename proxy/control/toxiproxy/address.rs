//! Addresses as the original's clients write them, and as it reports them.

use std::net::{SocketAddr, ToSocketAddrs};

use http::StatusCode;

use super::failure::Failure;

/// Where to listen: `host:port`, where no host and `0.0.0.0` stand for every address of both families. Names are looked up.
///
/// # Errors
/// In the words of the original.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: String| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    let text = if text.is_empty() { ":0" } else { text };
    let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'))
    else {
        return Err(wrong(format!("listen tcp: address {text}: missing port in address")));
    };
    let port: u16 = port.parse().map_err(|_| wrong(format!("listen tcp: address {port}: invalid port")))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = match bare {
        "" | "0.0.0.0" | "::" => Some((std::net::Ipv6Addr::UNSPECIFIED, port).into()),
        "localhost" => Some((std::net::Ipv4Addr::LOCALHOST, port).into()),
        name => (name, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next()),
    };
    address.ok_or_else(|| wrong(format!("listen tcp: lookup {bare}: no such host")))
}

/// The same place, whatever it is called.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    a == b || matches!((listen(a), listen(b)), (Ok(a), Ok(b)) if a == b)
}

/// The same upstream, whatever it is called; nothing is looked up.
pub(super) fn is_same_upstream(a: &str, b: &str) -> bool {
    let plain = |text: &str| match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_place() {
        for (text, meant) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("localhost:80", Some("127.0.0.1:80")),
            ("0.0.0.0:80", Some("[::]:80")),
            (":80", Some("[::]:80")),
            ("", Some("[::]:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("127.0.0.1", None),
            ("::1:80", None),
            ("127.0.0.1:http", None),
        ] {
            assert_eq!(listen(text).ok().map(|address| address.to_string()).as_deref(), meant, "{text}");
        }
        assert!(is_same("0.0.0.0:80", "[::]:80") && !is_same("127.0.0.1:80", "127.0.0.1:81"));
        assert!(is_same_upstream("localhost:80", "127.0.0.1:80") && !is_same_upstream("a:80", "b:80"));
    }
}
