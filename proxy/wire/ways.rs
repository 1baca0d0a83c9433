//! Ways that must not be taken: back to the listener that a connection came through, and to the control port.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use squall_core::fault::Carrier;

use crate::dial::{Upstream, leads_to};
use crate::plane::Proxy;

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
}

impl Door {
    /// Whether a connect to `upstream`, or a datagram, arrives here. What a name stands for is known at the connect only.
    pub(crate) fn hears(&self, upstream: &Upstream, carrier: Carrier) -> bool {
        match (self, upstream) {
            (Door::Tcp(own), Upstream::Address(address)) => carrier == Carrier::Stream && leads_to(address, own),
            (Door::Udp(own), Upstream::Address(address)) => carrier == Carrier::Datagrams && leads_to(address, own),
            (Door::Unix(own), Upstream::Unix(path)) => own == path || is_same_file(own, path),
            _ => false,
        }
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// The doors of this program.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Of proxies.
    pub(crate) proxies: Vec<(Door, Arc<Proxy>)>,
    /// Those that no proxy may lead to.
    pub(crate) barred: Vec<Door>,
}

impl Ways {
    /// Whether a connection may go from `proxy` to `upstream`, which is no name any more.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, proxy: &Proxy, upstream: &Upstream) -> io::Result<()> {
        let carrier = proxy.target.load().spec.protocol.carrier();
        if self.barred.iter().any(|door| door.hears(upstream, carrier)) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, BARRED));
        }
        let mut upstream = upstream.clone();
        for _ in 0..=self.proxies.len() {
            let Some((_, next)) = self.proxies.iter().find(|(door, _)| door.hears(&upstream, carrier)) else {
                return Ok(());
            };
            if next.id == proxy.id {
                return Err(io::Error::other("the upstream leads back to the proxy itself"));
            }
            // what a name stood for the last time; the first time round, the next proxy stops it
            upstream = match (&next.target.load().upstream, &*next.reached.load()) {
                (Upstream::Host(..), Some(reached)) => Upstream::Address(**reached),
                (Upstream::Host(..), None) => return Ok(()),
                (known, _) => known.clone(),
            };
        }
        Ok(())
    }
}

/// Why the control port is no upstream.
pub(crate) const BARRED: &str = "this is squall's own control port";
