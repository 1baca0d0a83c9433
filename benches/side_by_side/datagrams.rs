//! UDP: what comes back per second through each of the proxies.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::peers::Peer;
use crate::{Effort, Row, rows};

/// After this long what is missing of a window is taken for lost and sent anew.
const LOST: Duration = Duration::from_millis(20);

/// Sends back what comes until the runtime ends.
async fn echo(socket: UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..64 {
            let Ok((n, from)) = socket.try_recv_from(&mut buffer) else { break };
            let _lost = socket.try_send_to(&buffer[..n], from);
        }
        tokio::task::yield_now().await;
    }
}

/// squall beside direct, socat and nginx.
pub async fn side_by_side(dir: &Path, effort: Effort) {
    let upstream = socket("127.0.0.1:0".parse().unwrap());
    let address = upstream.local_addr().unwrap();
    tokio::spawn(echo(upstream));
    let faulted = Peer::squall_udp("squall, in a fault", address, dir).await;
    faulted.start_scenario(
        "name = \"rare\"\nseed = 1\nmax_duration = \"1h\"\n[[fault]]\nkind = \"loss\"\nproxy = \"bench\"\nshare = \"0.001%\"\n",
        dir,
    );
    let peers = [
        Peer::direct(address),
        Peer::squall_udp("squall", address, dir).await,
        faulted,
        Peer::socat_udp(address).await,
        Peer::nginx_udp(address, dir).await,
    ];
    let works: [Row; 4] = [
        ("64 bytes, 1 client, one at a time (/s; CPU µs)", 1.0, "/s", |to, time| {
            Box::pin(windows(to, 1, 1, 64, time))
        }),
        ("64 bytes, 50 clients, one at a time each (/s; CPU µs)", 1.0, "/s", |to, time| {
            Box::pin(windows(to, 50, 1, 64, time))
        }),
        ("64 bytes, 8 clients, 32 under way each (/s; CPU µs)", 1.0, "/s", |to, time| {
            Box::pin(windows(to, 8, 32, 64, time))
        }),
        ("1,200 bytes, 8 clients, 32 under way each (/s; CPU µs)", 1.0, "/s", |to, time| {
            Box::pin(windows(to, 8, 32, 1_200, time))
        }),
    ];
    rows(&peers, &works, effort).await;
}

/// A socket with room for a window.
fn socket(address: SocketAddr) -> UdpSocket {
    let socket = std::net::UdpSocket::bind(address).expect("a port");
    let _as_far_as_allowed = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
    socket.set_nonblocking(true).expect("a socket that does not block");
    UdpSocket::from_std(socket).expect("a socket of the runtime")
}

/// Datagrams per second that come back, and how many there were. Each client has `window` of them under way.
async fn windows(
    to: SocketAddr,
    clients: usize,
    window: usize,
    size: usize,
    time: Duration,
) -> std::io::Result<(f64, u64)> {
    let mut running = JoinSet::new();
    let sockets: Vec<UdpSocket> = (0..clients).map(|_| socket("127.0.0.1:0".parse().unwrap())).collect();
    for socket in &sockets {
        // the association is there before the clock runs
        socket.connect(to).await?;
        assert!(answers(socket, Duration::from_secs(10)).await, "nobody answers at {to}");
    }
    let begin = Instant::now();
    for socket in sockets {
        running.spawn(async move {
            let (datagram, mut buffer) = (vec![7; size], vec![0; size]);
            let (mut back, mut under_way) = (0_u64, 0);
            while begin.elapsed() < time {
                while under_way < window && socket.try_send(&datagram).is_ok() {
                    under_way += 1;
                }
                if tokio::time::timeout(LOST, socket.readable()).await.is_err() {
                    under_way = 0;
                    continue;
                }
                while let Ok(n) = socket.try_recv(&mut buffer) {
                    assert_eq!(n, size);
                    back += 1;
                    under_way = under_way.saturating_sub(1);
                }
                tokio::task::yield_now().await;
            }
            back
        });
    }
    let back: u64 = running.join_all().await.iter().sum();
    Ok((back as f64 / begin.elapsed().as_secs_f64(), back))
}

/// Whether a datagram comes back within `patience`; late answers to earlier tries are taken in.
pub async fn answers(socket: &UdpSocket, patience: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < patience {
        let _not_there_yet = socket.send(b"ready?").await;
        let mut buffer = [0; 16];
        if let Ok(Ok(6)) = tokio::time::timeout(LOST, socket.recv(&mut buffer)).await {
            while let Ok(Ok(_)) = tokio::time::timeout(LOST, socket.recv(&mut buffer)).await {}
            return true;
        }
    }
    false
}
