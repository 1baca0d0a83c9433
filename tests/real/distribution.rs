//! 1,000 PINGs on one connection follow the distribution declared.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::redis::{Redis, ping};
use crate::support::{Room, Serve};

const PINGS: usize = 1000;

struct Seen {
    /// As drawn, ms, in the order of the PINGs.
    drawn: Vec<f64>,
    /// As felt by the client, ms.
    felt: Vec<f64>,
}

/// Sends the PINGs under one latency fault.
fn pings(delay: &str) -> Seen {
    let room = Room::new();
    let redis = Redis::start(&room);
    let squall = Serve::before(&room, redis.address);
    let id = squall.start(&format!("[[fault]]\nkind = \"latency\"\nproxy = \"default\"\n{delay}\n"));
    let mut connection = TcpStream::connect(squall.address).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut felt = Vec::new();
    for _ in 0..PINGS {
        let began = Instant::now();
        ping(&mut connection).unwrap();
        felt.push(began.elapsed().as_secs_f64() * 1e3);
    }
    squall.stop(&id);
    squall.over(&id);
    let records = squall.ledger(&id, "latency");
    let value = |record: &serde_json::Value, name: &str| record[name].as_f64().unwrap() / 1e6;
    for record in &records {
        assert_eq!(record["unit"], records[0]["unit"], "one connection");
        assert!(record["achieved"].as_u64() >= record["scheduled"].as_u64(), "never early: {record}");
    }
    Seen { drawn: records.iter().map(|record| value(record, "scheduled")).collect(), felt }
}

/// Checks the draws against a distribution (its cumulative probability) and the round trips against the draws.
fn follows(delay: &str, cumulative: impl Fn(f64) -> f64) {
    let (seen, again) = std::thread::scope(|scope| {
        let again = scope.spawn(|| pings(delay));
        (pings(delay), again.join().unwrap())
    });
    assert_eq!(seen.drawn.len(), PINGS);
    assert_eq!(seen.drawn, again.drawn, "the same seed draws the same, whatever the timing");
    for (n, (felt, drawn)) in seen.felt.iter().zip(&seen.drawn).enumerate() {
        assert!(felt >= drawn, "PING {n} came after {felt} ms of {drawn} ms");
    }
    let mut over: Vec<f64> = seen.felt.iter().zip(&seen.drawn).map(|(felt, drawn)| felt - drawn).collect();
    over.sort_by(f64::total_cmp);
    assert!(over[PINGS / 2] < 5.0, "half of the PINGs come more than {} ms after their delay", over[PINGS / 2]);

    // Kolmogorov and Smirnov: the seed is fixed, so this passes always or never
    let mut sorted = seen.drawn;
    sorted.sort_by(f64::total_cmp);
    let n = PINGS as f64;
    let distance = sorted.iter().enumerate().map(|(i, value)| {
        let expected = cumulative(*value);
        (expected - i as f64 / n).abs().max((expected - (i + 1) as f64 / n).abs())
    });
    let distance = distance.fold(0.0, f64::max);
    assert!(distance < 1.36 / n.sqrt(), "{distance} from what was declared (5 % level: {})", 1.36 / n.sqrt());
}

/// The standard normal distribution's cumulative probability, off by at most 1e-7 (Abramowitz and Stegun 26.2.17).
fn normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let above = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * poly;
    if z < 0.0 { above } else { 1.0 - above }
}

#[test]
fn normal_delays() {
    follows("delay = \"4ms\"\njitter = \"1ms\"\ndistribution = \"normal\"", |ms| normal(ms - 4.0));
}

#[test]
fn lognormal_delays() {
    let sigma = 4.0_f64.ln() / 2.326_348;
    follows("delay = \"3ms\"\np99 = \"12ms\"\ndistribution = \"lognormal\"", |ms| normal((ms / 3.0).ln() / sigma));
}

#[test]
fn delays_by_quantiles() {
    // log-linear between the points
    let points = [(0.0, 1.0_f64), (0.5, 2.0), (0.9, 8.0), (1.0, 16.0)];
    let text = "quantiles = { p0 = \"1ms\", p50 = \"2ms\", p90 = \"8ms\", p100 = \"16ms\" }";
    follows(text, |ms| {
        let (from, to) = points.iter().zip(&points[1..]).find(|(_, to)| ms <= to.1).unwrap();
        from.0 + (to.0 - from.0) * (ms / from.1).ln() / (to.1 / from.1).ln()
    });
}
