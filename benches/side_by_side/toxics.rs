//! What toxics cost one stream, through the Toxiproxy-compatible port: all proxies in one process, measured in turns.

use std::net::SocketAddr;
use std::time::Duration;

use crate::peers::{Peer, field, free_port};
use crate::{Effort, load, median};

/// A proxy of its own with at most one toxic, so that all can be measured in turns.
struct Line {
    name: &'static str,
    at: SocketAddr,
    /// How long its bytes are under way.
    delay: Duration,
    rates: Vec<f64>,
}

impl Line {
    fn new(squall: &Peer, upstream: SocketAddr, name: &'static str, toxic: &str, delay_ms: u64) -> Line {
        let proxy = format!(r#"{{"name":"{name}","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        let made = squall.request("POST", "/proxies", "application/json", &proxy);
        if !toxic.is_empty() {
            squall.request("POST", &format!("/proxies/{name}/toxics"), "application/json", toxic);
        }
        let at = field(&made, "listen").parse().expect("where it listens");
        Line { name, at, delay: Duration::from_millis(delay_ms), rates: Vec::new() }
    }
}

/// One stream with noop and under latency, beside the same without toxic: what arrives once the delay has passed twice, over
/// several delays more, because what a delay line lets go comes in waves where sender and receiver share a core.
pub async fn one_stream(upstream: SocketAddr, effort: Effort) {
    let squall = Peer::toxiproxy(free_port());
    let latency = |ms: u64| format!(r#"{{"type":"latency","attributes":{{"latency":{ms}}}}}"#);
    let mut lines = [
        Line::new(&squall, upstream, "none", "", 0),
        Line::new(&squall, upstream, "noop", r#"{"type":"noop"}"#, 0),
        Line::new(&squall, upstream, "latency-100ms", &latency(100), 100),
        Line::new(&squall, upstream, "latency-1s", &latency(1_000), 1_000),
    ];
    for _ in 0..effort.rounds {
        for line in &mut lines {
            let settle = line.delay * 2 + Duration::from_millis(200);
            line.rates.push(load::arriving(line.at, settle, effort.time + line.delay * 6).await.expect("a stream"));
            tokio::time::sleep(Duration::from_millis(100)).await; // both ends let go of what was under way
        }
    }
    println!("\n| one stream, toxic | of the stream without toxic | lowest and highest round |");
    println!("|---|---|---|");
    let bare = lines[0].rates.clone();
    for line in &mut lines {
        let mut ratios: Vec<f64> = line.rates.iter().zip(&bare).map(|(rate, bare)| rate / bare).collect();
        let middle = median(&mut ratios);
        println!("| {} | {middle:.2} | {:.2} to {:.2} |", line.name, ratios[0], ratios[ratios.len() - 1]);
    }
    println!("\nwithout toxic: {:.2} GB/s", median(&mut bare.clone()) / 1e9);
}

/// What arrives under a bandwidth toxic, against its rate in the original's KB (1000 bytes).
pub async fn bandwidth(upstream: SocketAddr, effort: Effort) {
    let squall = Peer::toxiproxy(free_port());
    println!("\n| bandwidth, KB/s | arrives | off by |");
    println!("|---|---|---|");
    for (name, rate) in
        [("10", 10_u32), ("100", 100), ("1000", 1_000), ("10000", 10_000), ("100000", 100_000), ("1000000", 1_000_000)]
    {
        let toxic = format!(r#"{{"type":"bandwidth","attributes":{{"rate":{rate}}}}}"#);
        let line = Line::new(&squall, upstream, name, &toxic, 0);
        let got = load::arriving(line.at, effort.time, effort.time * 4).await.expect("a stream");
        let asked = f64::from(rate) * 1e3;
        println!("| {rate} | {:.4} MB/s | {:+.2} % |", got / 1e6, (got / asked - 1.0) * 100.0);
    }
}
