//! latency: late, never early, in order, and never a limit on throughput.

use std::time::{Duration, Instant};

use crate::support::{End, Line, Stage, pattern, scenario};

const MS: u64 = 1_000_000;

/// One round trip; how long the client waited.
fn round_trip(line: &mut Line) -> Duration {
    let began = Instant::now();
    line.works();
    began.elapsed()
}

fn ns(value: &serde_json::Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Ten answers under each of these; drawn delays must lie within the bounds, and what the client felt, the ledger and the
/// plan must agree.
#[test]
fn every_distribution_delays_each_turn_by_what_was_drawn_for_it() {
    const TURNS: usize = 10;
    let cases: [(&str, u64, u64); 8] = [
        ("delay = '10ms'", 10 * MS, 10 * MS),
        ("delay = '10ms'\njitter = '5ms'", 5 * MS, 15 * MS),
        ("delay = '10ms'\njitter = '3ms'\ndistribution = 'normal'", 0, 40 * MS),
        ("delay = '5ms'\np99 = '20ms'\ndistribution = 'lognormal'", 1, 1_000 * MS),
        ("delay = '5ms'\ndistribution = 'exponential'", 0, 1_000 * MS),
        ("delay = '5ms'\ndistribution = 'pareto'\nshape = 3", 5 * MS, 1_000 * MS),
        ("quantiles = { p0 = '2ms', p50 = '5ms', p100 = '20ms' }", 2 * MS, 20 * MS),
        ("histogram = [['4ms', 0], ['6ms', 3], ['12ms', 1]]", 4 * MS, 12 * MS),
    ];
    let stage = Stage::new();
    for (delay, least, most) in cases {
        let text = scenario("distribution", &[&format!("kind = 'latency'\n{delay}")]);
        let trial = stage.run(&text);
        let mut line = stage.line();
        let felt: Vec<Duration> = (0..TURNS).map(|_| round_trip(&mut line)).collect();
        trial.stop();
        let ledger = trial.ledger("latency");
        // a delay of 0 is no injection
        assert!((TURNS - 1..=TURNS).contains(&ledger.len()), "{delay}: {ledger:#?}");
        for record in &ledger {
            let (drawn, scheduled, achieved) = (ns(record, "drawn"), ns(record, "scheduled"), ns(record, "achieved"));
            assert!((least..=most).contains(&drawn), "{delay}: {record}");
            assert!(scheduled == drawn && achieved >= scheduled, "{delay}: {record}");
            assert_eq!((&record["what"], &record["flow"]), (&"delayed".into(), &"downstream".into()));
        }
        if ledger.len() == TURNS {
            for (felt, record) in felt.iter().zip(&ledger) {
                assert!(felt.as_nanos() >= u128::from(ns(record, "drawn")), "{delay}: early, {felt:?} of {record}");
            }
        }
        // the plan knew the first of them, for this very connection
        let unit = ledger[0]["unit"].as_u64().unwrap();
        let plan = stage.plan(&text, usize::try_from(unit).unwrap() + 1);
        let planned = plan["faults"][0]["units"][usize::try_from(unit).unwrap()]["delays"].as_array().unwrap().clone();
        let drawn: Vec<_> = ledger.iter().map(|record| record["drawn"].clone()).collect();
        assert!(!planned.is_empty());
        assert_eq!(planned[..], drawn[..planned.len()], "{delay}");
    }
}

#[test]
fn chunks_wait_side_by_side() {
    const CHUNKS: usize = 40;
    let stage = Stage::new();
    let _trial = stage.start("kind = 'latency'\ndirection = 'upstream'\ndelay = '200ms'");
    let mut line = stage.line();
    let began = Instant::now();
    for n in 0..CHUNKS {
        line.client.say(&pattern(64)[n..=n]);
        std::thread::sleep(Duration::from_millis(2)); // so that they are read apart
    }
    assert_eq!(line.server.hear(CHUNKS), pattern(CHUNKS));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200), "early: {took:?}");
    assert!(took < Duration::from_secs(4), "one after the other they would take 8 s; it took {took:?}");
}

#[test]
fn a_stream_keeps_its_throughput() {
    const SIZE: usize = 32 << 20;
    let stage = Stage::new();
    let trial = stage.start("kind = 'latency'\ndelay = '100ms'");
    let mut line = stage.line();
    let sent = pattern(SIZE);
    let began = Instant::now();
    let sender = line.server.say_aside(sent.clone());
    assert!(line.client.hear(SIZE) == sent);
    let took = began.elapsed();
    sender.join().unwrap();
    // with a window of 256 KiB per delay it would take 12.8 s
    assert!(took < Duration::from_secs(6), "{took:?} for 32 MiB under 100 ms");
    trial.stop();
    let ledger = trial.ledger("latency");
    let steps = ledger.iter().map(|record| record["step"].as_u64().unwrap()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(steps.len(), ledger.len(), "one record for each step");
    assert!(ledger.len() >= SIZE >> 20, "{} records", ledger.len());
}

#[test]
fn a_fin_is_late_too() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'latency'\ndirection = 'upstream'\ndelay = '150ms'");
    let mut line = stage.line();
    let began = Instant::now();
    line.client.finish();
    assert_eq!(line.server.end(), End::Fin);
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[test]
fn removed_it_lets_go_what_it_held_in_order() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'latency'\ndelay = '50s'").has_met(1);
    let sent = pattern(100_000);
    for part in sent.chunks(9_000) {
        line.server.say(part);
    }
    trial.until("latency", |tally| tally.held == 1);
    line.client.hears_nothing_for(100);
    let report = trial.stop();
    assert_eq!(report.released, 1, "{report:?}");
    assert!(line.client.hear(sent.len()) == sent);
    line.works();
    let view = trial.over();
    assert_eq!((view.faults[0].tally.held, view.faults[0].tally.released), (0, 1), "{view:#?}");
    // what was cut short is on record, and says so
    let ledger = trial.ledger("latency");
    assert!(!ledger.is_empty() && ledger.iter().all(|record| record["released"] == true), "{ledger:#?}");
}

#[test]
fn two_latencies_add_up_and_go_one_by_one() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let far = stage.start("name = 'far'\nkind = 'latency'\ndelay = '80ms'").has_met(1);
    let slow = stage.start("name = 'slow'\nkind = 'latency'\ndelay = '60ms'").has_met(1);
    assert!(round_trip(&mut line) >= Duration::from_millis(140));
    far.stop();
    let least = (0..3).map(|_| round_trip(&mut line)).min().unwrap();
    assert!((Duration::from_millis(60)..Duration::from_millis(140)).contains(&least), "{least:?}");
    slow.stop();
    let least = (0..5).map(|_| round_trip(&mut line)).min().unwrap();
    assert!(least < Duration::from_millis(60), "{least:?}");
}

#[test]
fn a_delay_may_follow_a_curve() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'latency'\ndelay = { steps = ['10ms', '60ms', '120ms'], hold = '700ms' }");
    let mut line = stage.line();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_800) {
        line.works();
    }
    trial.stop();
    let mut drawn: Vec<u64> = trial.ledger("latency").iter().map(|record| ns(record, "drawn")).collect();
    assert!(drawn.is_sorted(), "{drawn:?}");
    drawn.dedup();
    assert_eq!(drawn, [10 * MS, 60 * MS, 120 * MS]);
}
