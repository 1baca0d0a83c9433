//! squall beside direct connections, HAProxy, nginx and, for datagrams, socat, interleaved in one run: the proxy with one worker on core 0, load
//! and upstream on core 1. `cargo bench --bench side_by_side` prints Markdown; `-- quick` is a short look.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod accuracy;
mod datagrams;
mod http1;
mod http2;
mod load;
mod peers;
mod toxics;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use peers::Peer;

/// How long and how often.
#[derive(Clone, Copy)]
pub struct Effort {
    rounds: usize,
    time: Duration,
    /// Connections for the figures that need many.
    many: usize,
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "quick");
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-') && arg != "quick").collect();
    let wants = |part: &str| only.is_empty() || only.iter().any(|word| word == part);
    pin_to_second_core();
    let files = raise_descriptors();
    let effort = match quick {
        true => Effort { rounds: 3, time: Duration::from_millis(400), many: 2_000.min(files / 4) },
        false => Effort { rounds: 7, time: Duration::from_secs(1), many: ((files - 500) / 2).min(9_000) },
    };
    let dir = std::env::temp_dir().join(format!("squall-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = listener.local_addr().expect("its address");
        tokio::spawn(load::upstream(listener));
        if wants("peers") {
            side_by_side(upstream, &dir, effort).await;
        }
        if wants("udp") {
            datagrams::side_by_side(&dir, effort).await;
        }
        if wants("http") {
            http1::one(&dir, effort).await;
        }
        if wants("http2") {
            http2::two(&dir, effort).await;
        }
        if wants("accuracy") {
            accuracy::delays(upstream, &dir, effort).await;
        }
        if wants("stream") {
            accuracy::one_stream(upstream, &dir, effort).await;
        }
        if wants("bandwidth") {
            accuracy::bandwidth(upstream, &dir, effort).await;
        }
        if wants("toxics") {
            toxics::one_stream(upstream, effort).await;
            toxics::bandwidth(upstream, effort).await;
        }
        if wants("publish") {
            accuracy::publish(upstream, &dir, effort).await;
        }
        if wants("abort") {
            accuracy::abort(upstream, &dir, effort).await;
        }
    });
    let _ = std::fs::remove_dir_all(&dir);
}

async fn side_by_side(upstream: SocketAddr, dir: &Path, effort: Effort) {
    let faulted = Peer::squall("squall + 1,000 faults", upstream, dir);
    faulted.start_scenario(&accuracy::unselected_faults(1_000), dir);
    let peers = [
        Peer::direct(upstream),
        Peer::squall("squall", upstream, dir),
        faulted,
        Peer::haproxy(upstream, dir),
        Peer::nginx(upstream, dir),
    ];
    let works: [Row; 5] = [
        ("bulk, 1 stream (GB/s; CPU s/GB)", 1e9, "GB/s", |to, time| Box::pin(load::bulk(to, 1, time))),
        ("bulk, 8 streams (GB/s; CPU s/GB)", 1e9, "GB/s", |to, time| Box::pin(load::bulk(to, 8, time))),
        ("64-byte round trips, 1 connection (/s; CPU µs)", 1.0, "/s", |to, time| {
            Box::pin(load::round_trips(to, 1, time))
        }),
        ("64-byte round trips, 50 connections (/s; CPU µs)", 1.0, "/s", |to, time| {
            Box::pin(load::round_trips(to, 50, time))
        }),
        ("connections (/s; CPU µs)", 1.0, "/s", |to, time| Box::pin(load::connections(to, time))),
    ];
    rows(&peers, &works, effort).await;
    let mut cells = vec!["–".to_owned()];
    for peer in &peers[1..] {
        let before = peer.memory();
        let held = load::idle(peer.address, effort.many).await.expect("idle connections");
        tokio::time::sleep(Duration::from_millis(500)).await;
        cells.push(format!("{:.0}", (peer.memory().saturating_sub(before)) as f64 / held.len() as f64));
        drop(held);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("| bytes per idle connection, {} of them | {} |", effort.many, cells.join(" | "));
}

/// What is done against each peer: its name, the scale and the unit of its rate, and the work itself, which gives operations
/// per second and how many there were.
type Row = (&'static str, f64, &'static str, Work);
type Work = fn(SocketAddr, Duration) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<(f64, u64)>>>>;

/// Works against all peers in turn, and prints a table of the medians. The first peer is the direct way.
async fn rows(peers: &[Peer], works: &[Row], effort: Effort) {
    let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
    println!("\n| ratio to direct; CPU per operation | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(peers.len()));
    for (name, scale, unit, work) in works {
        let mut rates = vec![Vec::new(); peers.len()];
        let mut cpu = vec![Vec::new(); peers.len()];
        for _ in 0..effort.rounds {
            for (i, peer) in peers.iter().enumerate() {
                let before = peer.cpu();
                let (rate, operations) = work(peer.address, effort.time).await.expect(peer.name);
                let spent = (peer.cpu() - before).as_secs_f64();
                rates[i].push(rate);
                cpu[i].push(spent / operations.max(1) as f64);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        let direct = median(&mut rates[0]);
        let cells = (0..peers.len()).map(|i| match (i, *scale > 1.0) {
            (0, true) => format!("{:.2} {unit}", direct / scale),
            (0, false) => format!("{direct:.0} {unit}"),
            (_, true) => format!("{:.2}; {:.2}", median(&mut rates[i]) / direct, median(&mut cpu[i]) * scale),
            (_, false) => format!("{:.2}; {:.1}", median(&mut rates[i]) / direct, median(&mut cpu[i]) * 1e6),
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which `part` (0 to 1) of the values lie.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

fn pin_to_second_core() {
    let mut set = rustix::thread::CpuSet::new();
    set.set(1);
    if rustix::thread::sched_setaffinity(None, &set).is_err() {
        println!("> one core only: the figures below say little");
    }
}

fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let hard = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard });
    hard.and_then(|n| usize::try_from(n).ok()).unwrap_or(20_000).min(40_000)
}
