//! The way to the upstream: a connected socket per association, so that answers and errors are told apart.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::socket;
use crate::dial::{Upstream, permit};
use crate::plane::{Common, Proxy};

/// The upstream's socket, if nothing has to be looked up.
pub(super) fn at_once(proxy: &Proxy, common: &Common) -> Option<io::Result<OwnedFd>> {
    match &proxy.target.load().upstream {
        Upstream::Address(address) => Some(permit("", address, proxy, common).and_then(|()| connect(*address))),
        Upstream::Unix(_) | Upstream::Original => Some(Err(io::ErrorKind::Unsupported.into())),
        Upstream::Host(..) => None,
    }
}

/// Looks the upstream's name up; the first of its addresses that may be reached and to which there is a way. Whether
/// anybody is there a datagram socket does not tell: those of the client's own family come first.
pub(super) async fn look_up(proxy: &Proxy, common: &Common, client: SocketAddr) -> io::Result<OwnedFd> {
    let target = proxy.target.load_full();
    let Upstream::Host(host, port) = &target.upstream else {
        return at_once(proxy, common).unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()));
    };
    let looking = tokio::net::lookup_host((host.as_str(), *port));
    let timeout = Duration::from_nanos(target.spec.connect_timeout);
    let found =
        tokio::time::timeout(timeout, looking).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(|address| address.is_ipv4() != client.is_ipv4()); // stable: the resolver's order within each
    for address in found {
        match permit(host, &address, proxy, common).and_then(|()| connect(address)) {
            Ok(socket) => {
                if proxy.reached.load().as_deref() != Some(&address) {
                    proxy.reached.store(Some(Arc::new(address)));
                }
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = socket(address)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}
