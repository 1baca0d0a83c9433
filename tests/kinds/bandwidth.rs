//! bandwidth: no faster than the rate, and not much slower. How exact it is, a bench says.

use std::time::{Duration, Instant};

use crate::support::{Peer, Stage, pattern};

/// Has `from` send so much to `to`; how long it took.
fn transfer(from: &Peer, to: &mut Peer, n: usize) -> Duration {
    let sent = pattern(n);
    let began = Instant::now();
    let sender = from.say_aside(sent.clone());
    assert!(to.hear(n) == sent);
    sender.join().unwrap();
    began.elapsed()
}

/// The time at the rate, in ms: not less than nine tenths, and on a busy machine not twice as much and half a second.
#[track_caller]
fn takes_about(took: Duration, ms: u64) {
    let (least, most) = (Duration::from_millis(ms * 9 / 10), Duration::from_millis(ms * 2 + 500));
    assert!((least..most).contains(&took), "{took:?} where {ms} ms were due");
}

#[test]
fn bytes_pass_at_the_rate() {
    let stage = Stage::new();
    for (rate, n) in [("50kB/s", 40_000), ("8mbit", 800_000), ("20MB/s", 16_000_000)] {
        let trial = stage.start(&format!("kind = 'bandwidth'\nrate = '{rate}'"));
        let mut line = stage.line();
        takes_about(transfer(&line.server, &mut line.client, n), 800);
        // upstream is not its direction
        let upstream = (0..3).map(|_| transfer(&line.client, &mut line.server, n));
        assert!(upstream.min().unwrap() < Duration::from_millis(700));
        trial.stop();
        let ledger = trial.ledger("bandwidth");
        assert!(!ledger.is_empty(), "{rate}");
        for record in ledger {
            assert_eq!(record["what"], "paced");
            assert!(record["achieved"].as_u64() >= record["scheduled"].as_u64(), "early: {record}");
        }
    }
}

#[test]
fn a_burst_goes_at_once() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'bandwidth'\nrate = '100kB/s'\nburst = '300kB'");
    let mut line = stage.line();
    let sent = pattern(360_000);
    let began = Instant::now();
    let sender = line.server.say_aside(sent.clone());
    assert!(line.client.hear(290_000) == sent[..290_000]);
    assert!(
        began.elapsed() < Duration::from_millis(2_500),
        "the burst took {:?}; paced it takes 2.9 s",
        began.elapsed()
    );
    assert!(line.client.hear(70_000) == sent[290_000..]);
    assert!(began.elapsed() >= Duration::from_millis(540), "what is behind the burst is paced: {:?}", began.elapsed());
    sender.join().unwrap();
}

#[test]
fn the_rate_is_each_connections_or_shared_by_the_proxy() {
    let stage = Stage::new();
    for (per, ms) in [("connection", 400), ("proxy", 800)] {
        let trial = stage.start(&format!("kind = 'bandwidth'\nrate = '500kB/s'\nper = '{per}'"));
        let mut lines = [stage.line(), stage.line()];
        let began = Instant::now();
        std::thread::scope(|scope| {
            for line in &mut lines {
                scope.spawn(|| transfer(&line.server, &mut line.client, 200_000));
            }
        });
        takes_about(began.elapsed(), ms);
        trial.stop();
    }
}

#[test]
fn at_rate_0_everything_waits_and_removed_it_is_delivered() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'bandwidth'\nrate = '0B/s'").has_met(1);
    let sent = pattern(2_000_000);
    let sender = line.server.say_aside(sent.clone());
    trial.until("bandwidth", |tally| tally.held == 1);
    line.client.hears_nothing_for(150);
    assert_eq!(trial.stop().released, 1);
    assert!(line.client.hear(sent.len()) == sent);
    sender.join().unwrap();
    line.works();
    assert_eq!(trial.ledger("bandwidth")[0]["what"], "held");
}

#[test]
fn removed_in_mid_transfer_the_rest_comes_at_full_speed() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'bandwidth'\nrate = '100kB/s'").has_met(1);
    let sent = pattern(4_000_000);
    let began = Instant::now();
    let sender = line.server.say_aside(sent.clone());
    assert!(line.client.hear(30_000) == sent[..30_000]);
    assert!(began.elapsed() >= Duration::from_millis(270));
    trial.stop();
    assert!(line.client.hear(sent.len() - 30_000) == sent[30_000..]);
    assert!(began.elapsed() < Duration::from_secs(10), "paced to the end it takes 40 s: {:?}", began.elapsed());
    sender.join().unwrap();
    line.works();
}

#[test]
fn with_latency_bytes_are_late_and_slow() {
    let stage = Stage::new();
    let _trial = stage.start_all(&["kind = 'bandwidth'\nrate = '200kB/s'", "kind = 'latency'\ndelay = '300ms'"]);
    let mut line = stage.line();
    let sent = pattern(100_000);
    let began = Instant::now();
    let sender = line.server.say_aside(sent.clone());
    assert!(line.client.hear(1) == sent[..1]);
    assert!(began.elapsed() >= Duration::from_millis(300), "the first byte was early: {:?}", began.elapsed());
    assert!(line.client.hear(sent.len() - 1) == sent[1..]);
    takes_about(began.elapsed(), 800);
    sender.join().unwrap();
}
