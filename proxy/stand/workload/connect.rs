//! Connecting, with the local address known even when the connection is reset at once: it tells injected failures apart.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;

/// Connects to the first of the addresses that answers; `local` is the address of the latest try.
pub(crate) async fn connect(addresses: &[SocketAddr], local: &Cell<Option<SocketAddr>>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match connect_to(*address, local).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, local: &Cell<Option<SocketAddr>>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let begun = socket.connect(&address.into());
    local.set(socket.local_addr().ok().and_then(|local| local.as_socket()));
    match begun {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}
