//! Presets: a link by name, on real sockets.

use std::time::{Duration, Instant};

use crate::support::{Stage, pattern};

/// The time of the link alone is the least; what a busy machine adds has a generous limit.
#[test]
fn a_round_trip_takes_the_links_time_and_a_transfer_its_rate() {
    let stage = Stage::new();
    let trial = stage.start("preset = 'wpt-dsl'"); // 1.5 Mbit/s down, 384 kbit/s up, 50 ms round trip
    let mut line = stage.line();
    for _ in 0..3 {
        let began = Instant::now();
        line.works();
        let took = began.elapsed();
        assert!((Duration::from_millis(50)..Duration::from_secs(3)).contains(&took), "{took:?} there and back");
    }
    // 93 750 bytes down take 500 ms at 1.5 Mbit/s, 24 000 bytes up take 500 ms at 384 kbit/s, and each waits 25 ms
    let (down, up) = (pattern(93_750), pattern(24_000));
    let began = Instant::now();
    let sender = line.server.say_aside(down.clone());
    assert!(line.client.hear(down.len()) == down);
    let took = began.elapsed();
    assert!((Duration::from_millis(515)..Duration::from_secs(4)).contains(&took), "{took:?} down");
    sender.join().unwrap();
    let began = Instant::now();
    let sender = line.client.say_aside(up.clone());
    assert!(line.server.hear(up.len()) == up);
    let took = began.elapsed();
    assert!((Duration::from_millis(515)..Duration::from_secs(4)).contains(&took), "{took:?} up");
    sender.join().unwrap();
    let parts = ["wpt-dsl-latency-up", "wpt-dsl-latency-down", "wpt-dsl-bandwidth-up", "wpt-dsl-bandwidth-down"];
    for part in parts {
        assert!(trial.tally(part).injected > 0, "{part}");
    }
    trial.stop();
    for part in parts {
        let flow = if part.ends_with("-up") { "upstream" } else { "downstream" };
        let ledger = trial.ledger(part);
        assert!(!ledger.is_empty(), "{part}");
        for record in ledger {
            assert_eq!(record["flow"], flow, "{record}");
            assert!(record["achieved"].as_u64() >= record["scheduled"].as_u64(), "early: {record}");
        }
    }
}

#[test]
fn all_parts_are_on_the_same_connections() {
    let stage = Stage::new();
    let trial = stage.start("preset = 'wpt-fios'\npercentage = 50");
    for _ in 0..30 {
        stage.line().works();
    }
    let trial = trial.has_met(30);
    let selected = |part: &str| trial.tally(&format!("wpt-fios-{part}")).selected;
    assert!((1..30).contains(&selected("latency-up")), "{}", selected("latency-up"));
    for part in ["latency-down", "bandwidth-up", "bandwidth-down"] {
        assert_eq!(selected(part), selected("latency-up"), "{part}");
    }
    trial.stop();
    let touched = |part: &str| {
        let ledger = trial.ledger(&format!("wpt-fios-{part}"));
        ledger.iter().map(|record| record["unit"].as_u64().unwrap()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(touched("latency-up"), touched("latency-down"));
}

#[test]
fn lifted_it_leaves_a_live_connection_as_fast_as_it_was() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("name = 'far'\npreset = 'edge'").has_met(1); // 840 ms round trip
    let began = Instant::now();
    line.works();
    assert!(began.elapsed() >= Duration::from_millis(840));
    line.client.say(b"held");
    trial.until("far-latency-up", |tally| tally.held == 1);
    trial.stop();
    assert_eq!(line.server.hear(4), b"held");
    let least = (0..5).map(|_| {
        let began = Instant::now();
        line.works();
        began.elapsed()
    });
    let least = least.min().unwrap();
    assert!(least < Duration::from_millis(420), "{least:?}");
}
