//! Reaching the upstream: resolved anew for each connection, every address in turn, within one time-out.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};

use crate::clock::{SystemClock, pause};
use crate::plane::Common;
use crate::socket::Socket;

/// Where a proxy's connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// An address: nothing to resolve.
    Address(SocketAddr),
    /// A name and a port, resolved at each connect.
    Host(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl Upstream {
    /// `host:port`, `address:port`, `[v6]:port` or `unix:PATH`.
    pub(crate) fn parse(text: &str) -> Result<Upstream, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("`unix:` needs a path".to_owned()),
                path => Ok(Upstream::Unix(path.into())),
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Upstream::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` has no port"))?;
        let port = port.parse().map_err(|_| format!("`{port}` is not a port"))?;
        if host.is_empty() || host.contains([':', '[', ']', '/']) {
            return Err(format!("`{host}` is not a host name"));
        }
        Ok(Upstream::Host(host.to_owned(), port))
    }
}

/// Connects to an upstream of a proxy listening on `own`.
pub(crate) async fn dial(
    upstream: &Upstream,
    own: Option<SocketAddr>,
    timeout: Duration,
    common: &Common,
) -> io::Result<Socket> {
    let all = async {
        match upstream {
            Upstream::Unix(path) => connect_unix(path).await,
            Upstream::Address(address) => try_all("", &[*address], own, timeout, common).await,
            Upstream::Host(host, port) => {
                let began = SystemClock::mono();
                let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
                let left = timeout.saturating_sub(Duration::from_nanos(SystemClock::mono() - began));
                try_all(host, &addresses, own, left, common).await
            }
        }
    };
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    tokio::time::timeout(timeout, all).await.map_err(timed_out)?
}

/// Each address gets its share of the time that is left, so that a silent one does not use up that of the next.
async fn try_all(
    host: &str,
    addresses: &[SocketAddr],
    own: Option<SocketAddr>,
    timeout: Duration,
    common: &Common,
) -> io::Result<Socket> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut left = timeout;
    for (n, address) in addresses.iter().enumerate() {
        if own.is_some_and(|own| leads_to(address, &own)) {
            failed = io::Error::other("the upstream is the proxy itself");
            continue;
        }
        if let Err(why) = (common.allow)(host, address) {
            failed = io::Error::new(io::ErrorKind::PermissionDenied, why);
            continue;
        }
        let remaining = u32::try_from(addresses.len() - n).unwrap_or(u32::MAX);
        if remaining == 1 {
            return connect_tcp(*address).await; // the whole is under the time-out already
        }
        let began = SystemClock::mono();
        match tokio::time::timeout(left / remaining, connect_tcp(*address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
        left = left.saturating_sub(Duration::from_nanos(SystemClock::mono() - began));
    }
    Err(failed)
}

/// Whether a connect to `address` would arrive at a listener on `own`.
pub(crate) fn leads_to(address: &SocketAddr, own: &SocketAddr) -> bool {
    if address.port() != own.port() {
        return false;
    }
    if address.ip().to_canonical() == own.ip().to_canonical() {
        return true;
    }
    if address.ip().is_unspecified() {
        return own.ip().is_unspecified() || own.ip().is_loopback();
    }
    // a wildcard listener hears every address of this machine, and only those can be bound
    own.ip().is_unspecified() && std::net::UdpSocket::bind((address.ip(), 0)).is_ok()
}

async fn connect_tcp(address: SocketAddr) -> io::Result<Socket> {
    let fd = stream(Domain::for_address(address))?;
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = Socket::new(fd, true)?;
    poll_fn(|cx| {
        socket.poll_write_with(cx, |fd| {
            rustix::net::sockopt::socket_error(fd)??;
            match rustix::net::getpeername(fd) {
                Err(Errno::NOTCONN) => Err(Errno::AGAIN),
                Err(error) => Err(error),
                Ok(_) => Ok((0, true)),
            }
        })
    })
    .await?;
    Ok(socket)
}

/// A unix socket whose queue is full answers at once that it is: ask again, soon.
async fn connect_unix(path: &std::path::Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    loop {
        let fd = stream(Domain::UNIX)?;
        match socket2::SockRef::from(&fd).connect(&address) {
            Ok(()) => return Socket::new(fd, false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(Duration::from_millis(5)).await,
            Err(error) => return Err(error),
        }
    }
}

fn stream(domain: Domain) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let socket = socket2::Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    #[cfg(not(target_os = "linux"))]
    let socket = {
        let socket = socket2::Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket
    };
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn upstreams_are_parsed() {
        assert_eq!(Upstream::parse("127.0.0.1:80"), Ok(Upstream::Address("127.0.0.1:80".parse().unwrap())));
        assert_eq!(Upstream::parse("[::1]:80"), Ok(Upstream::Address("[::1]:80".parse().unwrap())));
        assert_eq!(Upstream::parse("db.local:5432"), Ok(Upstream::Host("db.local".into(), 5432)));
        assert_eq!(Upstream::parse("unix:/run/x"), Ok(Upstream::Unix("/run/x".into())));
        for wrong in ["", "host", "host:", "host:70000", ":80", "unix:", "[::1:80", "http://x:80"] {
            assert!(Upstream::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_way_back_to_the_listener_is_seen() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(leads_to(&address("127.0.0.1:80"), &address("127.0.0.1:80")));
        assert!(leads_to(&address("[::ffff:127.0.0.1]:80"), &address("127.0.0.1:80")));
        assert!(leads_to(&address("127.0.0.1:80"), &address("0.0.0.0:80")));
        assert!(leads_to(&address("0.0.0.0:80"), &address("127.0.0.1:80")));
        assert!(!leads_to(&address("127.0.0.1:80"), &address("127.0.0.2:80")));
        assert!(!leads_to(&address("127.0.0.1:80"), &address("127.0.0.1:81")));
        assert!(!leads_to(&address("203.0.113.9:80"), &address("0.0.0.0:80")));
    }
}
