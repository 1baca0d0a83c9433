//! How exact squall's own promises are kept: delays, the delay line, publishing, aborting.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peers::{Peer, field};
use crate::{Effort, load, median, quantile};

/// What every scenario of the bench has: what a start asks for, with a guard that nothing here sets off.
pub const HEAD: &str = "owner = \"bench\"\nhypothesis = \"none\"\nenvironments = [\"local\"]\nmax_duration = \"10m\"\n\
    [[guard]]\nmetric = \"connection_error_rate\"\nproxy = \"second\"\nabove = \"99%\"\nfor = \"10s\"\n";

/// Faults that are in force on the proxy but select nobody.
pub fn unselected_faults(n: usize) -> String {
    let mut text = format!("name = \"unselected\"\n{HEAD}");
    for i in 0..n {
        let _ = write!(
            text,
            "[[fault]]\nname = \"f{i}\"\nkind = \"latency\"\nproxy = \"bench\"\ndelay = \"1s\"\nnth = 1000000000\n"
        );
    }
    text
}

fn latency(delay: &str, proxy: &str) -> String {
    format!(
        "name = \"late-{proxy}\"\n{HEAD}[[fault]]\nkind = \"latency\"\nproxy = \"{proxy}\"\ndirection = \"downstream\"\ndelay = \"{delay}\"\n"
    )
}

/// Error of injected delays on one connection, alone and while many others are held by a second experiment on another
/// proxy of the same worker: as the client feels it (less the round trip without fault) and as the ledger has it.
pub async fn delays(upstream: SocketAddr, dir: &Path, effort: Effort) {
    let squall = Peer::squall("squall", upstream, dir);
    println!(
        "\n| injected delay | others held | error felt by the client, p50 / p99 (µs) | in the ledger, p50 / p99 (µs) |"
    );
    println!("|---|---|---|---|");
    let mut stream = load::echoes(squall.address, 1).await.expect("a connection").remove(0);
    for many in [0, effort.many] {
        let mut others = load::echoes(squall.second, many).await.expect("connections");
        let holding = squall.start_scenario(&latency("5m", "second"), dir);
        for other in &mut others {
            other.write_all(b"x").await.expect("a byte");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (delay, requested, trips) in
            [("500us", 500.0, 2_000), ("1ms", 1_000.0, 1_000), ("10ms", 10_000.0, 300), ("100ms", 100_000.0, 100)]
        {
            let floor = median(&mut trips_us(&mut stream, 1_000, Duration::from_micros(300)).await);
            let id = squall.start_scenario(&latency(delay, "bench"), dir);
            let mut felt = trips_us(&mut stream, trips, Duration::from_micros(300)).await;
            for value in &mut felt {
                *value -= floor + requested;
            }
            stop(&squall, &id);
            let (p50, p99) = ledger_error(&squall, &id);
            let [felt50, felt99] = [0.5, 0.99].map(|part| quantile(&mut felt, part));
            println!("| {delay} | {many} | {felt50:.0} / {felt99:.0} | {p50:.0} / {p99:.0} |");
        }
        stop(&squall, &holding);
    }
}

async fn trips_us(stream: &mut tokio::net::TcpStream, n: usize, pause: Duration) -> Vec<f64> {
    let mut times = Vec::with_capacity(n);
    let mut byte = [1];
    for _ in 0..n {
        let begin = Instant::now();
        stream.write_all(&byte).await.expect("a byte");
        stream.read_exact(&mut byte).await.expect("its echo");
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        tokio::time::sleep(pause).await;
    }
    times
}

/// p50 and p99 of achieved − scheduled in µs, from the report.
fn ledger_error(squall: &Peer, id: &str) -> (f64, f64) {
    let report = report(squall, id);
    let error = &report["faults"][0]["values"][0]["error"];
    (error["p50"].as_f64().unwrap_or(f64::NAN), error["p99"].as_f64().unwrap_or(f64::NAN))
}

fn report(squall: &Peer, id: &str) -> serde_json::Value {
    let report = squall.request("GET", &format!("/v1/experiments/{id}/report"), "application/json", "");
    serde_json::from_str(&report).expect("a report")
}

fn stop(squall: &Peer, id: &str) {
    squall.request("POST", &format!("/v1/experiments/{id}/abort"), "application/json", "{}");
    over(squall, id);
}

fn over(squall: &Peer, id: &str) {
    let begin = Instant::now();
    loop {
        let state = field(&squall.request("GET", &format!("/v1/experiments/{id}"), "application/json", ""), "state");
        if state == "stopped" || state == "completed" {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{id} is still {state}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One stream under a delay line, against the same proxy without fault.
pub async fn one_stream(upstream: SocketAddr, dir: &Path, effort: Effort) {
    let squall = Peer::squall("squall", upstream, dir);
    let time = effort.time * 2;
    let (mut bare, mut late) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        bare.push(load::bulk(squall.address, 1, time).await.expect("bulk").0);
        let id = squall.start_scenario(&latency("100ms", "bench"), dir);
        late.push(load::bulk(squall.address, 1, time).await.expect("bulk").0);
        stop(&squall, &id);
    }
    println!(
        "\none stream under 100 ms latency: {:.2} of the stream without fault",
        median(&mut late) / median(&mut bare)
    );
}

/// What arrives under a bandwidth fault, against the rate asked for.
pub async fn bandwidth(upstream: SocketAddr, dir: &Path, effort: Effort) {
    let squall = Peer::squall("squall", upstream, dir);
    println!("\n| rate | arrives | off by |");
    println!("|---|---|---|");
    for (rate, asked) in
        [("10kB/s", 1e4), ("100kB/s", 1e5), ("1MB/s", 1e6), ("10MB/s", 1e7), ("100MB/s", 1e8), ("1GB/s", 1e9)]
    {
        let id = squall.start_scenario(
            &format!("name = \"slow\"\n{HEAD}[[fault]]\nkind = \"bandwidth\"\nproxy = \"bench\"\nrate = \"{rate}\"\n"),
            dir,
        );
        let got = load::arriving(squall.address, effort.time, effort.time * 4).await.expect("a stream");
        stop(&squall, &id);
        println!("| {rate} | {:.4} MB/s | {:+.2} % |", got / 1e6, (got / asked - 1.0) * 100.0);
    }
}

/// What a publish of 1,000 faults costs with thousands of connections open: the longest gap that a ping-pong felt.
pub async fn publish(upstream: SocketAddr, dir: &Path, effort: Effort) {
    let squall = Peer::squall("squall", upstream, dir);
    let others = load::echoes(squall.address, effort.many).await.expect("connections");
    let mut stream = load::echoes(squall.address, 1).await.expect("a connection").remove(0);
    let mut quiet = trips_us(&mut stream, 300, Duration::ZERO).await;
    let (control, scenario) = (squall.control.clone(), unselected_faults(1_000));
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let dir = dir.to_owned();
    let publisher = std::thread::spawn(move || {
        let squall = std::mem::ManuallyDrop::new(squall);
        let _ = &control;
        let begin = Instant::now();
        squall.start_scenario(&scenario, &dir);
        let _ = done.send(begin.elapsed());
        std::mem::ManuallyDrop::into_inner(squall)
    });
    let mut gaps = Vec::new();
    let took = loop {
        gaps.extend(trips_us(&mut stream, 20, Duration::ZERO).await);
        if let Ok(took) = is_done.try_recv() {
            gaps.extend(trips_us(&mut stream, 500, Duration::ZERO).await);
            break took;
        }
    };
    println!(
        "\npublishing 1,000 faults to {} connections: submit and start answered in {:.1} ms; longest round trip meanwhile {:.1} ms (before: {:.2} ms)",
        others.len(),
        took.as_secs_f64() * 1e3,
        quantile(&mut gaps, 1.0) / 1e3,
        quantile(&mut quiet, 1.0) / 1e3
    );
    drop(publisher.join());
}

/// Abort with everything held, beside the floor of bare socket writes.
pub async fn abort(upstream: SocketAddr, dir: &Path, effort: Effort) {
    let squall = Peer::squall("squall", upstream, dir);
    let mut rows = Vec::new();
    for _ in 0..effort.rounds.min(5) {
        let mut streams = load::echoes(squall.address, effort.many).await.expect("connections");
        let id = squall.start_scenario(&latency("60s", "bench"), dir);
        for stream in &mut streams {
            stream.write_all(b"x").await.expect("a byte");
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        squall.request("POST", "/v1/abort", "application/json", "{}");
        let mut byte = [0];
        for stream in &mut streams {
            stream.read_exact(&mut byte).await.expect("the held byte");
        }
        drop(streams);
        tokio::time::sleep(Duration::from_secs(2)).await; // until all ends are closed: the floor needs the descriptors
        let floor = bare_writes(effort.many).await;
        over(&squall, &id);
        let release = report(&squall, &id)["release"].to_string(); // the final figures, however long it took
        let us = |name: &str| field(&release, name).parse::<f64>().unwrap_or(f64::NAN);
        rows.push([us("stopped_injecting_us"), us("released"), us("permitted_us"), us("drained_us"), floor]);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let column = |i: usize| median(&mut rows.iter().map(|row| row[i]).collect::<Vec<_>>());
    println!(
        "\nabort of {:.0} held connections: no new injection after {:.0} µs, permitted after {:.1} ms, drained after {:.1} ms; bare writes of as many bytes {:.1} ms",
        column(1),
        column(0),
        column(2) / 1e3,
        column(3) / 1e3,
        column(4) / 1e3
    );
}

/// µs for one byte written to each of `n` sockets in a bare loop on the proxy's core.
async fn bare_writes(n: usize) -> f64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("its address");
    let mut near = Vec::with_capacity(n);
    let mut far = Vec::with_capacity(n);
    for _ in 0..n {
        near.push(std::net::TcpStream::connect(to).expect("a connection"));
        far.push(listener.accept().expect("its other end").0);
    }
    let writer = std::thread::spawn(move || {
        let mut set = rustix::thread::CpuSet::new();
        set.set(0);
        let _ = rustix::thread::sched_setaffinity(None, &set);
        let begin = Instant::now();
        for stream in &mut near {
            std::io::Write::write_all(stream, b"x").expect("a byte");
        }
        (begin.elapsed(), near)
    });
    let (took, _near) = writer.join().expect("the writer");
    took.as_secs_f64() * 1e6
}
