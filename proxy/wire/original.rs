//! Where the client of a transparent proxy meant to go, and squall's own connections that must not come back as clients.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use squall_core::way::Transparent;

/// Where the connection was made to, before the kernel brought it here.
///
/// # Errors
/// When nothing brought it here: it was made to the listener itself.
pub(crate) fn destination(client: BorrowedFd<'_>, how: Transparent) -> io::Result<SocketAddr> {
    let own = local(client)?;
    match how {
        Transparent::Tproxy => Ok(own), // the listener's own address leads back, and is refused as such
        Transparent::Redirect => match before_nat(client, own) {
            Ok(original) if original != own => Ok(original),
            Ok(_) => Err(direct()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(direct()),
            Err(error) => Err(error),
        },
    }
}

fn direct() -> io::Error {
    io::Error::other("nothing redirected this connection here: it was made to the listener itself")
}

/// The address that a connection has come to.
pub(crate) fn local(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = SocketAddr::try_from(rustix::net::getsockname(socket)?)?;
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// SO_ORIGINAL_DST: the kernel's connection tracking knows. IPv4 on a socket of IPv6 is asked for as IPv4.
#[cfg(target_os = "linux")]
fn before_nat(client: BorrowedFd<'_>, own: SocketAddr) -> io::Result<SocketAddr> {
    let socket = socket2::SockRef::from(&client);
    let address = if own.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    address?.as_socket().ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(not(target_os = "linux"))]
fn before_nat(_: BorrowedFd<'_>, _: SocketAddr) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Local addresses of the connections that transparent proxies have made: one that comes in from such an address has
/// been redirected on its way out, and would go round for ever. As many as there are such connections.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    addresses: Mutex<HashSet<SocketAddr>>,
}

impl Leaving {
    /// Takes note of a connection until the ticket is dropped.
    pub(crate) fn note(self: &Arc<Leaving>, socket: BorrowedFd<'_>) -> io::Result<Ticket> {
        let address = local(socket)?;
        self.lock().insert(address);
        Ok(Ticket { among: self.clone(), address })
    }

    /// Whether a client's address is that of such a connection.
    pub(crate) fn has(&self, client: SocketAddr) -> bool {
        self.lock().contains(&SocketAddr::new(client.ip().to_canonical(), client.port()))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Leaving::note`].
#[derive(Debug)]
pub(crate) struct Ticket {
    among: Arc<Leaving>,
    address: SocketAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.among.lock().remove(&self.address);
    }
}
