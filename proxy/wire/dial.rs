//! Reaching the upstream: resolved anew for each connection, every address in turn, within one time-out.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Type};
use squall_core::time::Time;
use squall_core::way::{ORIGINAL, Source, Transparent, Way};

use crate::clock::{SystemClock, pause};
use crate::plane::{Common, Proxy, Target};
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
    /// Where the client meant to go.
    Original,
}

impl Upstream {
    /// `host:port`, `address:port`, `[v6]:port`, `unix:PATH` or `original`.
    pub(crate) fn parse(text: &str) -> Result<Upstream, String> {
        if text == ORIGINAL {
            return Ok(Upstream::Original);
        }
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

/// An upstream being reached.
pub(crate) enum Dialling {
    /// One address: the socket that connects, and until when it may.
    One(Option<Socket>, Time),
    /// Names and unix sockets may take several attempts; the time-out is theirs.
    Several(Pin<Box<dyn Future<Output = io::Result<Socket>>>>),
}

impl Dialling {
    /// The socket that connects to the only address.
    pub(crate) fn one(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Dialling::One(socket, _) => socket.as_ref().map(Socket::fd),
            Dialling::Several(_) => None,
        }
    }

    /// When to give up, if nothing here does.
    pub(crate) fn until(&self) -> Option<Time> {
        match self {
            Dialling::One(_, until) => Some(*until),
            Dialling::Several(_) => None,
        }
    }

    /// The connected socket. Not to be asked again after that.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        match self {
            Dialling::Several(attempts) => attempts.as_mut().poll(cx),
            Dialling::One(socket, _) => {
                if let Some(connecting) = socket
                    && poll_connected(connecting, cx)?.is_pending()
                {
                    return Poll::Pending;
                }
                Poll::Ready(socket.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

/// What a socket towards an upstream carries besides bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Dress {
    mark: Option<u32>,
    /// The address that it comes from.
    source: Option<IpAddr>,
}

/// Begins to connect to a proxy's upstream, for `client`, who meant to go to `original`.
pub(crate) fn dial(
    proxy: &Arc<Proxy>,
    target: &Arc<Target>,
    common: &Arc<Common>,
    client: Option<SocketAddr>,
    original: Option<SocketAddr>,
) -> io::Result<Dialling> {
    let way = &target.spec.way;
    let source = way.source.and_then(|Source::Client| Some(client?.ip().to_canonical()));
    let dress = Dress { mark: way.mark, source };
    let address = match &target.upstream {
        Upstream::Address(address) => Some(*address),
        Upstream::Original => Some(original.ok_or(io::ErrorKind::AddrNotAvailable)?),
        Upstream::Host(..) | Upstream::Unix(_) => None,
    };
    if let Some(address) = address {
        permit("", &address, proxy, common)?;
        let until = SystemClock::mono().saturating_add(target.spec.connect_timeout);
        return Ok(Dialling::One(Some(start(address, dress)?), until));
    }
    let (proxy, target, common) = (proxy.clone(), target.clone(), common.clone());
    let timeout = Duration::from_nanos(target.spec.connect_timeout);
    let attempts = async move {
        match &target.upstream {
            Upstream::Unix(path) => {
                common.ways.load().check(&proxy, &target.upstream)?;
                connect_unix(path).await
            }
            Upstream::Address(_) | Upstream::Original => Err(io::ErrorKind::AddrNotAvailable.into()), // see above
            Upstream::Host(host, port) => {
                let began = SystemClock::mono();
                let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
                let left = timeout.saturating_sub(Duration::from_nanos(SystemClock::mono() - began));
                try_all(host, &addresses, &proxy, left, &common, dress).await
            }
        }
    };
    Ok(Dialling::Several(Box::pin(async move {
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(timeout, attempts).await.map_err(timed_out)?
    })))
}

impl Dress {
    #[cfg(target_os = "linux")]
    fn put_on(self, fd: &OwnedFd) -> io::Result<()> {
        let socket = SockRef::from(fd);
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        if let Some(source) = self.source {
            socket.set_ip_transparent_v4(true)?; // of IPv6 too: it is one flag of the socket
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn put_on(self, _: &OwnedFd) -> io::Result<()> {
        Ok(()) // no proxy that asks for it was opened
    }
}

/// Whether this process may make the sockets that a proxy's way needs.
///
/// # Errors
/// The field that asks for more, and what would be needed.
pub(crate) fn may_dress(way: &Way) -> Result<(), String> {
    let mark = way.mark.map(|mark| ("mark", Dress { mark: Some(mark), ..Dress::default() }));
    let nowhere = || Dress { source: Some(Ipv4Addr::UNSPECIFIED.into()), ..Dress::default() };
    let source = way.source.map(|_| ("source", nowhere()));
    let transparent = (way.transparent == Some(Transparent::Tproxy)).then(|| ("transparent = \"tproxy\"", nowhere()));
    for (what, dress) in [transparent, source, mark].into_iter().flatten() {
        if cfg!(not(target_os = "linux")) {
            return Err(format!("`{what}` needs Linux"));
        }
        if let Err(error) = stream(Domain::IPV4).and_then(|fd| dress.put_on(&fd)) {
            return Err(format!(
                "`{what}` needs the capability CAP_NET_RAW or CAP_NET_ADMIN: start squall as root, with \
                 AmbientCapabilities=CAP_NET_RAW of systemd, or after `setcap cap_net_raw+ep` on it ({error})"
            ));
        }
    }
    Ok(())
}

/// Whether an address may be connected to: none that leads back or to the control port, and none that the rules refuse.
pub(crate) fn permit(host: &str, address: &SocketAddr, proxy: &Proxy, common: &Common) -> io::Result<()> {
    common.ways.load().check(proxy, &Upstream::Address(*address))?;
    (common.allow)(host, address).map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Each address gets its share of the time that is left, so that a silent one does not use up that of the next.
async fn try_all(
    host: &str,
    addresses: &[SocketAddr],
    proxy: &Proxy,
    timeout: Duration,
    common: &Common,
    dress: Dress,
) -> io::Result<Socket> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut left = timeout;
    for (n, address) in addresses.iter().enumerate() {
        if let Err(error) = permit(host, address, proxy, common) {
            failed = error;
            continue;
        }
        if proxy.reached.load().as_deref() != Some(address) {
            proxy.reached.store(Some(Arc::new(*address)));
        }
        let remaining = u32::try_from(addresses.len() - n).unwrap_or(u32::MAX);
        if remaining == 1 {
            return connect_tcp(*address, dress).await; // the whole is under the time-out already
        }
        let began = SystemClock::mono();
        match tokio::time::timeout(left / remaining, connect_tcp(*address, dress)).await {
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

async fn connect_tcp(address: SocketAddr, dress: Dress) -> io::Result<Socket> {
    let socket = start(address, dress)?;
    poll_fn(|cx| poll_connected(&socket, cx)).await?;
    Ok(socket)
}

/// A socket that connects. TCP sends without delay from here on.
fn start(address: SocketAddr, dress: Dress) -> io::Result<Socket> {
    let fd = stream(Domain::for_address(address))?;
    dress.put_on(&fd)?;
    let _gone_already = rustix::net::sockopt::set_tcp_nodelay(&fd, true);
    match rustix::net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Socket::new(fd, true),
        Err(error) => Err(error.into()),
    }
}

/// On one machine a connection is often there before the runtime can tell: so look first, then wait.
fn poll_connected(socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match is_connected(socket.fd()) {
        Ok(()) => return Poll::Ready(Ok(())),
        Err(Errno::AGAIN) => {}
        Err(error) => return Poll::Ready(Err(error.into())),
    }
    socket.poll_write_with(cx, |fd| is_connected(fd).map(|()| (0, true))).map_ok(drop)
}

fn is_connected(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    match rustix::net::getpeername(fd) {
        Ok(_) => Ok(()),
        Err(Errno::NOTCONN) => match rustix::net::sockopt::socket_error(fd)? {
            Ok(()) => Err(Errno::AGAIN),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// A unix socket whose queue is full answers at once that it is: ask again, soon.
async fn connect_unix(path: &std::path::Path) -> io::Result<Socket> {
    let address = SockAddr::unix(path)?;
    loop {
        let fd = stream(Domain::UNIX)?;
        match SockRef::from(&fd).connect(&address) {
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
