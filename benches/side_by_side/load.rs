//! The load and the upstream, both on one thread that is pinned beside the proxy's core.
//!
//! The first byte of a connection says what the upstream is to do: `E` echo, `S` send without end, `C` answer one byte
//! and close, `I` nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CHUNK: usize = 256 * 1024;

/// Serves until the runtime ends.
pub async fn upstream(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut role = [0];
    if stream.read_exact(&mut role).await.is_err() {
        return;
    }
    match role[0] {
        b'E' => {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        }
        b'S' => {
            let chunk = vec![0x5a; CHUNK];
            while stream.write_all(&chunk).await.is_ok() {}
        }
        b'C' => drop(stream.write_all(b"c").await),
        _ => {
            let _ = stream.read(&mut role).await;
        }
    }
}

async fn open(to: SocketAddr, role: u8) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&[role]).await?;
    Ok(stream)
}

/// Bytes per second over `streams` connections.
pub async fn bulk(to: SocketAddr, streams: usize, time: Duration) -> std::io::Result<(f64, u64)> {
    let mut readers = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..streams {
        let mut stream = open(to, b'S').await?;
        readers.spawn(async move {
            let mut buffer = vec![0; CHUNK];
            let mut read = 0_u64;
            while begin.elapsed() < time {
                match stream.read(&mut buffer).await {
                    Ok(n @ 1..) => read += n as u64,
                    _ => break,
                }
            }
            read
        });
    }
    let read: u64 = readers.join_all().await.iter().sum();
    Ok((read as f64 / begin.elapsed().as_secs_f64(), read))
}

/// Bytes per second that arrive on one stream, from the first read after `settle` to the last one `time` later.
pub async fn arriving(to: SocketAddr, settle: Duration, time: Duration) -> std::io::Result<f64> {
    let mut stream = open(to, b'S').await?;
    let mut buffer = vec![0; CHUNK];
    let begin = Instant::now();
    let (mut first, mut last, mut read) = (None, begin, 0_u64);
    while last < begin + settle + time {
        let n = stream.read(&mut buffer).await?;
        // or who always finds bytes keeps the one who sends them from its turn
        tokio::task::yield_now().await;
        last = Instant::now();
        match first {
            Some(_) => read += n as u64,
            None if last >= begin + settle => first = Some(last),
            None => {}
        }
    }
    Ok(read as f64 / (last - first.unwrap_or(begin)).as_secs_f64())
}

/// Round trips of 64 bytes per second over `connections`.
pub async fn round_trips(to: SocketAddr, connections: usize, time: Duration) -> std::io::Result<(f64, u64)> {
    let mut clients = JoinSet::new();
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(open(to, b'E').await?);
    }
    let begin = Instant::now();
    for mut stream in streams {
        clients.spawn(async move {
            let mut buffer = [7; 64];
            let mut trips = 0_u64;
            while begin.elapsed() < time {
                if stream.write_all(&buffer).await.is_err() || stream.read_exact(&mut buffer).await.is_err() {
                    break;
                }
                trips += 1;
            }
            trips
        });
    }
    let trips: u64 = clients.join_all().await.iter().sum();
    Ok((trips as f64 / begin.elapsed().as_secs_f64(), trips))
}

/// Connections per second, each with one byte there and back, eight at a time.
pub async fn connections(to: SocketAddr, time: Duration) -> std::io::Result<(f64, u64)> {
    let mut clients = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..8 {
        clients.spawn(async move {
            let mut done = 0_u64;
            while begin.elapsed() < time {
                let Ok(mut stream) = open(to, b'C').await else { break };
                let mut answer = [0];
                if stream.read_exact(&mut answer).await.is_err() {
                    break;
                }
                // the client resets, so that its ports are not spent in TIME_WAIT
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                done += 1;
            }
            done
        });
    }
    let done: u64 = clients.join_all().await.iter().sum();
    Ok((done as f64 / begin.elapsed().as_secs_f64(), done))
}

/// Opens `n` connections that do nothing.
pub async fn idle(to: SocketAddr, n: usize) -> std::io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(n);
    for _ in 0..n {
        streams.push(open(to, b'I').await?);
    }
    Ok(streams)
}

/// Opens `n` connections to the echo, each with one round trip done.
pub async fn echoes(to: SocketAddr, n: usize) -> std::io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(n);
    for _ in 0..n {
        let mut stream = open(to, b'E').await?;
        let mut byte = [1];
        stream.write_all(&byte).await?;
        stream.read_exact(&mut byte).await?;
        streams.push(stream);
    }
    Ok(streams)
}
