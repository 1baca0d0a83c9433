//! UDP: a listening socket per worker, and associations by client address.
//!
//! The sockets of a proxy share its port by `SO_REUSEPORT`: the kernel gives a client, by a hash of both addresses, always
//! to the same one, so that a worker owns its clients whole and nothing is looked up or handed over between threads.
//! Elsewhere than on Linux, where sockets that share a port do not share its traffic, one worker has them all.

mod association;
mod port;
mod reach;
#[cfg(target_os = "linux")]
mod spoken;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

pub(crate) use self::association::Association;
pub(crate) use self::port::Port;

/// The largest payload that a datagram can have.
pub(crate) const LARGEST: usize = 65_535;

/// A client of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    client: SocketAddr,
    /// Which of the machine's addresses it speaks to; none: the port has but one.
    own: Option<IpAddr>,
}

/// Listens on an address with as many sockets as there are workers; port 0 becomes the same for all. An address that
/// somebody listens on already is an error.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    let first = socket(address)?;
    first.bind(&address.into())?; // not shared: this is where a port in use shows
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    if workers == 1 || !cfg!(target_os = "linux") {
        return Ok((vec![first.into()], bound));
    }
    drop(first);
    let share = || {
        let socket = socket(address)?;
        #[cfg(target_os = "linux")]
        socket.set_reuse_port(true)?;
        socket.bind(&bound.into())?;
        Ok(socket.into())
    };
    Ok(((0..workers).map(|_| share()).collect::<io::Result<_>>()?, bound))
}

/// A datagram socket that does not block, with room for bursts.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)?;
    Ok(socket)
}

/// Receive buffers of listeners, bytes: what comes while the worker is busy. The system may give less.
const BURST: usize = 4 << 20;

/// Asks for a larger receive buffer.
fn widen(socket: &impl std::os::fd::AsFd) {
    let _as_far_as_allowed = socket2::SockRef::from(socket).set_recv_buffer_size(BURST);
}
