//! `kind = "udp-echo"`: sends each datagram back to where it came from.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio::task::yield_now;

use super::{Counts, count};

/// Asked for as a receive buffer, bytes: what comes while the thread is busy. The system may give less.
const BURST: usize = 4 << 20;
/// The largest payload that a datagram can have, bytes.
const LARGEST: usize = 65_535;
/// Datagrams in a row before others get a turn.
const ROUNDS: usize = 64;

pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let _as_far_as_allowed = socket.set_recv_buffer_size(BURST);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers until it is dropped. What can not be sent at once is lost, as datagrams are.
pub(super) async fn serve(socket: std::net::UdpSocket, counts: &Counts) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let own = socket.local_addr()?;
    let mut buffer = vec![0; LARGEST];
    loop {
        socket.readable().await?;
        for _ in 0..ROUNDS {
            match socket.try_recv_from(&mut buffer) {
                Ok((_, from)) if from == own => {} // a forged sender: it would go round for ever
                Ok((size, from)) => {
                    count(&counts.requests);
                    let _lost = socket.try_send_to(&buffer[..size], from);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => tracing::debug!(%error, "receiving datagrams"),
            }
        }
        yield_now().await;
    }
}
