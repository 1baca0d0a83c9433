//! HTTP/1.1 with connections kept, beside HAProxy, nginx and Envoy: 64 clients, each with one request under way, and answers
//! of 1 KiB.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::accuracy::HEAD;
use crate::peers::{Peer, Version};
use crate::{Effort, median, quantile};

const CLIENTS: usize = 64;
const BODY: usize = 1024;
const RULES: usize = 1_000;
const REQUEST: &[u8] = b"GET /v1/items/42?expand=owner HTTP/1.1\r\nhost: shop.test\r\nuser-agent: bench\r\n\
    accept: application/json\r\nx-request-id: 7f9c24e8-3b12-4f2a-9e0d-1f2d3c4b5a69\r\n\r\n";

/// Prints a table of HTTP/1.1, and what the rules cost.
pub async fn one(dir: &Path, effort: Effort) {
    let upstream = upstream().await;
    let ruled = Peer::squall_http(RULED, upstream, Version::One, dir);
    ruled.start_scenario(&unmatched_rules(RULES), dir);
    let one = Peer::squall_http(ONE, upstream, Version::One, dir);
    one.start_scenario(&unmatched_rules(1), dir);
    let guarded = Peer::squall_http(GUARDED, upstream, Version::One, dir);
    guarded.start_scenario(&format!("{}{GUARDS}", unmatched_rules(1)), dir);
    let mut peers = vec![
        Peer::direct(upstream),
        Peer::squall_http(BARE, upstream, Version::One, dir),
        ruled,
        one,
        guarded,
        Peer::haproxy_http(upstream, Version::One, dir),
        Peer::nginx_http(upstream, Version::One, dir),
        Peer::envoy_http(upstream, Version::One, dir),
    ];
    peers.extend(Peer::other_squall_http(upstream, Version::One, dir));
    let all = rounds(&peers, effort, async |peer: &Peer| load(peer.address, effort.time).await).await;
    table("HTTP/1.1, 64 connections, 1 KiB", &peers, &all);
    within_rounds(&peers, &all, BARE, "nginx");
    within_rounds(&peers, &all, BARE, "Envoy");
    within_rounds(&peers, &all, RULED, BARE);
    within_rounds(&peers, &all, GUARDED, ONE);
}

/// The names of squall in what it has to do besides.
pub const BARE: &str = "squall";
const RULED: &str = "squall, 1,000 rules";
const ONE: &str = "squall, 1 rule";
const GUARDED: &str = "squall, 1 rule, guards";

/// Guards that look at every exchange, and that nothing here sets off.
const GUARDS: &str = "[[guard]]\nharm = 1000000\nproxy = \"bench\"\n\
    [[guard]]\nburn = \"900x\"\nover = \"1m\"\nproxy = \"bench\"\n";

/// The upstream of HTTP/1.1, listening.
pub async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = listener.local_addr().expect("its address");
    tokio::spawn(serve(listener));
    upstream
}

/// What was measured against one peer, a value per round.
#[derive(Default)]
pub struct Rounds {
    rate: Vec<f64>,
    middle: Vec<f64>,
    late: Vec<f64>,
    cpu: Vec<f64>,
}

/// Works against all peers in turn. `work` gives requests per second, and how long each took in seconds.
pub async fn rounds(
    peers: &[Peer],
    effort: Effort,
    work: impl AsyncFn(&Peer) -> std::io::Result<(f64, Vec<f64>)>,
) -> Vec<Rounds> {
    let mut all: Vec<Rounds> = peers.iter().map(|_| Rounds::default()).collect();
    for _ in 0..effort.rounds {
        for (peer, rounds) in peers.iter().zip(&mut all) {
            let before = peer.cpu();
            let (rate, mut took) = work(peer).await.expect(peer.name);
            let spent = (peer.cpu() - before).as_secs_f64();
            rounds.rate.push(rate);
            rounds.middle.push(quantile(&mut took, 0.5));
            rounds.late.push(quantile(&mut took, 0.99));
            rounds.cpu.push(spent / took.len().max(1) as f64);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    all
}

/// Prints the medians. The first peer is the direct way.
pub fn table(title: &str, peers: &[Peer], all: &[Rounds]) {
    println!("\n| {title} | requests/s | of direct | p50 / p99 (ms) | CPU µs per request |");
    println!("|---|---|---|---|---|");
    let middle_of = |values: &[f64]| median(&mut values.to_vec());
    let direct = middle_of(&all[0].rate);
    for (peer, rounds) in peers.iter().zip(all) {
        let rate = middle_of(&rounds.rate);
        let (middle, late) = (middle_of(&rounds.middle) * 1e3, middle_of(&rounds.late) * 1e3);
        let cpu = middle_of(&rounds.cpu) * 1e6;
        println!("| {} | {rate:.0} | {:.2} | {middle:.2} / {late:.2} | {cpu:.1} |", peer.name, rate / direct);
    }
}

/// Prints what of one peer's rate another has, by the ratio within each round.
pub fn within_rounds(peers: &[Peer], all: &[Rounds], name: &str, beside: &str) {
    let of = |name: &str| peers.iter().zip(all).find(|(peer, _)| peer.name == name).map(|(_, rounds)| &rounds.rate);
    let (Some(these), Some(those)) = (of(name), of(beside)) else { return };
    let mut ratios: Vec<f64> = these.iter().zip(those).map(|(this, that)| this / that).collect();
    let middle = median(&mut ratios);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!("\n{name}, of {beside}: {middle:.3} ({least:.3} to {most:.3} over the rounds)");
}

/// Rules of several shapes on the proxy, in force and for other requests than the bench's.
fn unmatched_rules(n: usize) -> String {
    let mut text = format!("name = \"unmatched\"\n{HEAD}");
    for i in 0..n {
        let rule = match i % 4 {
            0 => format!("path = \"/v1/orders/{i}\""),
            1 => format!("path = \"/v2/shop-{i}/**\", method = [\"POST\"]"),
            2 => format!("headers = {{ x-tenant = \"{i}\" }}"),
            _ => format!("host = \"shop-{i}.test\""),
        };
        let _ = write!(
            text,
            "[[fault]]\nname = \"f{i}\"\nkind = \"error\"\nproxy = \"bench\"\nhttp_status = 503\nmatch = {{ {rule} }}\n"
        );
    }
    text
}

/// The upstream: answers each request with the same 1 KiB, until the runtime ends. Requests have no body.
async fn serve(listener: TcpListener) {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n")
            .into_bytes();
    answer.resize(answer.len() + BODY, b'x');
    let answer: &'static [u8] = answer.leak();
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let (mut buffer, mut have) = ([0; 8192], 0);
            while let Ok(n @ 1..) = stream.read(&mut buffer[have..]).await {
                have += n;
                while let Some(end) = head_end(&buffer[..have]) {
                    buffer.copy_within(end..have, 0);
                    have -= end;
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Requests per second, and how long each took in seconds. Every answer must be a whole 200.
async fn load(to: SocketAddr, time: Duration) -> std::io::Result<(f64, Vec<f64>)> {
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        request(&mut stream).await?; // connections to the upstream are made before the clock runs
        streams.push(stream);
    }
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for mut stream in streams {
        clients.spawn(async move {
            let mut took = Vec::new();
            while begin.elapsed() < time {
                let sent = Instant::now();
                request(&mut stream).await?;
                took.push(sent.elapsed().as_secs_f64());
            }
            std::io::Result::Ok(took)
        });
    }
    let took: std::io::Result<Vec<_>> = clients.join_all().await.into_iter().collect();
    let took = took?.concat();
    Ok((took.len() as f64 / begin.elapsed().as_secs_f64(), took))
}

async fn request(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(REQUEST).await?;
    let (mut buffer, mut have) = ([0; 4096], 0);
    loop {
        let n = stream.read(&mut buffer[have..]).await?;
        have += n;
        let whole = head_end(&buffer[..have]).is_some_and(|end| have == end + BODY);
        if whole && buffer.starts_with(b"HTTP/1.1 200 ") {
            return Ok(());
        }
        if n == 0 || have == buffer.len() {
            let why = format!("not the answer: {}", String::from_utf8_lossy(&buffer[..have.min(200)]));
            return Err(std::io::Error::other(why));
        }
    }
}

/// Where a head ends.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}
