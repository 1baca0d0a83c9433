//! HTTP/2 from clients, with `h2load`: to an upstream of HTTP/1.1, and unary calls of gRPC to one of HTTP/2.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};

use crate::Effort;
use crate::http1::{BARE, rounds, table, upstream, within_rounds};
use crate::peers::{Peer, Version};

/// Connections of the load, and requests under way on each.
const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
/// The message of a call and that of its answer, each behind its prefix of five bytes.
const ASKED: usize = 64;
const ANSWERED: usize = 1019;
const PATH: &str = "/shop.Items/Get";

/// Prints a table of each.
pub async fn two(dir: &Path, effort: Effort) {
    let direct = serving().await;
    let to_one = upstream().await;
    compare("HTTP/2 to HTTP/1.1, 4 × 16 streams, 1 KiB", Kind::Get, direct, to_one, Version::One, dir, effort).await;
    compare("gRPC unary, 4 × 16 streams, 1 KiB", Kind::Call, direct, direct, Version::Two, dir, effort).await;
}

/// What the load sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Get,
    Call,
}

async fn compare(
    title: &str,
    kind: Kind,
    direct: SocketAddr,
    upstream: SocketAddr,
    version: Version,
    dir: &Path,
    effort: Effort,
) {
    let mut peers = vec![
        Peer::direct(direct),
        Peer::squall_http(BARE, upstream, version, dir),
        Peer::haproxy_http(upstream, version, dir),
        Peer::nginx_http(upstream, version, dir),
        Peer::envoy_http(upstream, version, dir),
    ];
    peers.extend(Peer::other_squall_http(upstream, version, dir));
    if kind == Kind::Call {
        for peer in &peers {
            call(peer.two).await.expect(peer.name);
        }
    }
    let message = dir.join("message");
    std::fs::write(&message, framed(ASKED)).expect("a file in the bench's own directory");
    let all =
        rounds(&peers, effort, async |peer: &Peer| h2load(peer.two, kind, message.clone(), effort.time).await).await;
    table(title, &peers, &all);
    within_rounds(&peers, &all, BARE, "nginx");
}

/// A message of gRPC: not compressed, its length, and so many bytes.
fn framed(length: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&(length as u32).to_be_bytes());
    message.resize(message.len() + length, b'x');
    message
}

/// Requests per second, and how long each took in seconds. Every answer must be a 200.
async fn h2load(to: SocketAddr, kind: Kind, message: PathBuf, time: Duration) -> std::io::Result<(f64, Vec<f64>)> {
    let log = message.with_extension("log");
    let mut load = Command::new("h2load");
    load.args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", &STREAMS.to_string()]);
    load.args(["-D", &format!("{}ms", time.as_millis())]).arg("--log-file").arg(&log);
    if kind == Kind::Call {
        load.arg("-d").arg(&message).args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    }
    load.arg(format!("http://{to}{PATH}"));
    let _from_before = std::fs::remove_file(&log);
    let said = tokio::task::spawn_blocking(move || load.output()).await??;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let wrong = |what: &str| std::io::Error::other(format!("h2load: {what}: {said}"));
    // start (µs), status, time (µs)
    let log = std::fs::read_to_string(&log)?;
    let mut took = Vec::new();
    for line in log.lines() {
        let mut columns = line.split('\t').skip(1);
        if columns.next() != Some("200") {
            return Err(wrong("not every answer was a 200"));
        }
        let us: f64 = columns.next().and_then(|us| us.parse().ok()).ok_or_else(|| wrong("its log has changed"))?;
        took.push(us / 1e6);
    }
    let rate = said.split(" req/s").next().and_then(|before| before.rsplit(' ').next()?.parse().ok());
    let rate = rate.filter(|_| !took.is_empty() && said.contains(" 0 failed, 0 errored, 0 timeout"));
    rate.map(|rate| (rate, took)).ok_or_else(|| wrong("it failed"))
}

/// One call that must end well.
async fn call(to: SocketAddr) -> std::io::Result<()> {
    let (mut sender, connection) = h2::client::handshake(TcpStream::connect(to).await?).await.map_err(other)?;
    let driven = tokio::spawn(connection);
    sender = sender.ready().await.map_err(other)?;
    let request = http::Request::post(format!("http://{to}{PATH}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let (answer, mut body) = sender.send_request(request.body(()).map_err(other)?, false).map_err(other)?;
    body.send_data(framed(ASKED).into(), true).map_err(other)?;
    let mut answer = answer.await.map_err(other)?.into_body();
    let mut length = 0;
    while let Some(data) = answer.data().await {
        let data = data.map_err(other)?;
        length += data.len();
        answer.flow_control().release_capacity(data.len()).map_err(other)?;
    }
    let trailers = answer.trailers().await.map_err(other)?.unwrap_or_default();
    driven.abort();
    if length != 5 + ANSWERED || trailers.get("grpc-status").is_none_or(|status| status != "0") {
        return Err(std::io::Error::other(format!("{length} bytes, and {trailers:?} behind them")));
    }
    Ok(())
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::other(error)
}

/// The upstream of HTTP/2, listening: it answers each call, and each GET, with the same message.
async fn serving() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let message = Bytes::from(framed(ANSWERED));
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(arrived) = connection.accept().await {
        let (request, respond) = arrived?;
        tokio::spawn(answer(request.into_body(), respond, message.clone()));
    }
    Ok(())
}

async fn answer(
    mut asked: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    message: Bytes,
) -> Result<(), h2::Error> {
    while let Some(data) = asked.data().await {
        asked.flow_control().release_capacity(data?.len())?;
    }
    let mut head = http::Response::new(());
    head.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    let mut body = respond.send_response(head, false)?;
    body.send_data(message, false)?;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    body.send_trailers(trailers)
}
