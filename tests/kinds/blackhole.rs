//! blackhole: nobody hears of anybody.

use std::time::{Duration, Instant};

use crate::support::{End, Stage, pattern};

#[test]
fn bytes_and_fin_vanish_both_ways() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'blackhole'");
    let mut line = stage.line();
    line.client.say(&pattern(5_000));
    line.server.say(&pattern(300));
    line.client.finish();
    trial.until("blackhole", |tally| tally.injected >= 2);
    line.server.hears_nothing_for(150);
    line.client.hears_nothing_for(150);
    trial.stop();
    let ledger = trial.ledger("blackhole");
    let swallowed = |flow: &str| -> u64 {
        let of = ledger.iter().filter(|record| record["flow"] == flow && record["what"] == "swallowed");
        of.map(|record| record["achieved"].as_u64().unwrap()).sum()
    };
    assert_eq!((swallowed("upstream"), swallowed("downstream")), (5_000, 300));
}

#[test]
fn after_a_time_it_closes_whatever_is_said() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'blackhole'\nafter = '400ms'");
    let began = Instant::now();
    let mut line = stage.line();
    while began.elapsed() < Duration::from_millis(250) {
        line.client.say(b"anybody there?");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(line.client.end(), End::Fin);
    let took = began.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_eq!(line.server.end(), End::Fin);
}

#[test]
fn idle_it_closes_only_when_the_client_falls_silent() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'blackhole'\nidle = '600ms'");
    let mut line = stage.line();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(900) {
        line.client.say(b"anybody there?");
        std::thread::sleep(Duration::from_millis(20));
    }
    let fell_silent = Instant::now();
    line.server.hears_nothing_for(50); // it is not closed although 600 ms have passed
    assert_eq!(line.client.end(), End::Fin);
    let took = fell_silent.elapsed();
    assert!((Duration::from_millis(550)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[test]
fn removed_it_resets_who_lost_bytes_and_nobody_else() {
    let stage = Stage::new();
    let (mut hit, mut quiet) = (stage.live_line(), stage.live_line());
    let trial = stage.start("kind = 'blackhole'").has_met(2);
    hit.client.say(b"lost");
    trial.until("blackhole", |tally| tally.injected >= 1);
    hit.server.hears_nothing_for(100);
    trial.stop();
    assert_eq!((hit.client.end(), hit.server.end()), (End::Reset, End::Reset));
    quiet.works();
    assert_eq!(trial.over().faults[0].tally.reset_on_abort, 1);
}

#[test]
fn in_one_direction_the_other_is_free() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'blackhole'\ndirection = 'downstream'");
    let mut line = stage.line();
    line.client.say(b"question");
    assert_eq!(line.server.hear(8), b"question");
    line.server.say(b"answer");
    line.client.hears_nothing_for(150);
}

#[test]
fn with_latency_it_swallows_one_way_and_the_other_is_late() {
    let stage = Stage::new();
    let trial = stage.start_all(&[
        "kind = 'blackhole'\ndirection = 'upstream'",
        "kind = 'latency'\ndirection = 'both'\ndelay = '150ms'",
    ]);
    let mut line = stage.line();
    let began = Instant::now();
    line.client.say(b"lost");
    line.server.say(b"late");
    assert_eq!(line.client.hear(4), b"late");
    assert!(began.elapsed() >= Duration::from_millis(150));
    line.server.hears_nothing_for(250);
    trial.stop();
    assert_eq!(line.client.end(), End::Reset);
    let delayed = trial.ledger("latency");
    assert!(
        delayed.iter().all(|record| record["flow"] == "downstream"),
        "no delay for what was swallowed: {delayed:#?}"
    );
}
