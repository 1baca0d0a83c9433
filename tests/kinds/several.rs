//! Several experiments at once: the end of one leaves the others alone.

use std::time::{Duration, Instant};

use crate::support::{End, Stage, pattern, scenario};

#[test]
fn the_end_of_one_leaves_the_other_on_the_same_connection() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let late = stage.run(&scenario("late", &["kind = 'latency'\ndelay = '120ms'"])).has_met(1);
    let stuck = stage.run(&scenario("stuck", &["kind = 'partition'\ndirection = 'downstream'"])).has_met(1);
    line.server.say(b"both");
    stuck.until("partition", |tally| tally.held == 1);
    line.client.hears_nothing_for(250);
    let report = stuck.stop();
    assert_eq!((report.experiments, report.released), (vec![stuck.id.clone()], 1));
    assert_eq!(line.client.hear(4), b"both");
    let began = Instant::now();
    line.works();
    assert!(began.elapsed() >= Duration::from_millis(120), "the latency goes on");
    assert!(late.view().faults[0].active && !stuck.view().faults[0].active);
    late.stop();
    let least = (0..5).map(|_| {
        let began = Instant::now();
        line.works();
        began.elapsed()
    });
    assert!(least.min().unwrap() < Duration::from_millis(100));
}

#[test]
fn a_second_run_counts_anew() {
    let stage = Stage::new();
    for _ in 0..3 {
        let trial = stage.start("kind = 'limit_data'\nbytes = '2KiB'\nfirst = 1");
        let (mut hit, mut spared) = (stage.line(), stage.line());
        hit.server.say(&pattern(4_000));
        assert_eq!(hit.client.rest(), (pattern(4_000)[..2048].to_vec(), End::Fin));
        spared.server.say(&pattern(4_000));
        assert_eq!(spared.client.hear(4_000), pattern(4_000));
        trial.stop();
        assert_eq!(trial.over().faults[0].tally.injected, 1);
    }
}

#[test]
fn an_abort_of_everything_lets_everybody_go() {
    let stage = Stage::new();
    let mut lines: Vec<_> = (0..8).map(|_| stage.live_line()).collect();
    let trials = [
        stage.run(&scenario("one", &["kind = 'bandwidth'\nrate = '0B/s'\npercentage = 50"])).has_met(8),
        stage.run(&scenario("two", &["kind = 'partition'\ndirection = 'downstream'"])).has_met(8),
        stage.run(&scenario("three", &["kind = 'latency'\ndelay = '40s'\ndirection = 'upstream'"])).has_met(8),
    ];
    for line in &mut lines {
        line.server.say(&pattern(9_000));
        line.client.say(b"late");
    }
    // the first in the chain that selects a connection holds it
    let first = trials[0].until("bandwidth", |tally| tally.held > 0 && tally.held == tally.selected).held;
    trials[1].until("partition", |tally| tally.held == 8 - first);
    trials[2].until("latency", |tally| tally.held == 8);
    assert!(!stage.squall(&["abort"]).is_empty());
    for line in &mut lines {
        assert_eq!(line.client.hear(9_000), pattern(9_000));
        assert_eq!(line.server.hear(4), b"late");
        line.works();
    }
    for trial in &trials {
        assert!(trial.over().state.is_over());
    }
}
