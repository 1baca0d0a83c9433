//! Bytes both ways between two connections: an end is an end on the other side, and a reset a reset.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What one read takes.
const PIECE: usize = 64 * 1024;

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes from the client.
    pub up: u64,
    /// Bytes to the client.
    pub down: u64,
}

/// Carries until both have ended. `first`: what the client has said already.
pub async fn relay(mut client: TcpStream, mut server: TcpStream, first: &[u8]) -> Moved {
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let carried = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let there = async {
            to_server.write_all(first).await?;
            up.store(first.len() as u64, Ordering::Relaxed);
            carry(&mut from_client, &mut to_server, &up).await
        };
        tokio::try_join!(there, carry(&mut from_server, &mut to_client, &down))
    };
    if carried.is_err() {
        // whoever is still there is to feel it as it was
        for stream in [&client, &server] {
            let _it_has_gone = set_socket_linger(stream, Some(Duration::ZERO));
        }
    }
    Moved { up: up.into_inner(), down: down.into_inner() }
}

async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let n = from.read(&mut piece).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..n]).await?;
        moved.fetch_add(n as u64, Ordering::Relaxed);
    }
}
