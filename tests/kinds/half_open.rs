//! half_open: the other end is gone without a word.

use crate::support::{End, Stage};

#[test]
fn bytes_vanish_and_neither_fin_nor_reset_is_passed_on() {
    let stage = Stage::new();
    let mut lines: Vec<_> = (0..3).map(|_| stage.live_line()).collect();
    let trial = stage.start("kind = 'half_open'").has_met(3);
    let mut fin = lines.pop().unwrap();
    let mut reset = lines.pop().unwrap();
    let mut quiet = lines.pop().unwrap();
    fin.client.say(b"last words");
    fin.client.finish();
    reset.server.say(b"lost");
    trial.until("half_open", |tally| tally.injected >= 2);
    reset.client.abort();
    fin.server.hears_nothing_for(150);
    reset.server.hears_nothing_for(50);
    reset.server.say(b"is anybody there?");
    reset.server.hears_nothing_for(100);
    quiet.client.hears_nothing_for(20);
    trial.stop();
    // those that lost anything end, the other goes on
    assert_eq!((fin.client.end(), fin.server.end()), (End::Reset, End::Reset));
    assert_eq!(reset.server.end(), End::Reset);
    quiet.works();
    let ledger = trial.ledger("half_open");
    assert!(ledger.iter().all(|line| line["kind"] == "half_open"));
    let swallowed = ledger.iter().filter(|line| line["what"] == "swallowed" && line["flow"] == "upstream");
    assert_eq!(swallowed.map(|line| line["achieved"].as_u64().unwrap()).sum::<u64>(), 10);
}

/// A reset that came while it was silent is told once it no longer is; so is a FIN, as if nothing had been.
#[test]
fn what_was_kept_is_told_when_it_is_lifted() {
    let stage = Stage::new();
    let (fin, mut reset) = (stage.live_line(), stage.live_line());
    let trial = stage.start("kind = 'half_open'").has_met(2);
    let (mut fin_server, client) = (fin.server, fin.client);
    client.finish();
    reset.client.abort();
    trial.until("half_open", |tally| tally.held == 1);
    fin_server.hears_nothing_for(100);
    reset.server.hears_nothing_for(20);
    trial.stop();
    assert_eq!((fin_server.end(), reset.server.end()), (End::Fin, End::Reset));
    assert_eq!(trial.over().faults[0].tally.reset_on_abort, 0, "no byte was lost");
}

#[test]
fn in_one_direction_only_the_other_side_is_heard() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'half_open'\ndirection = 'upstream'").has_met(1);
    line.server.say(b"heard");
    assert_eq!(line.client.hear(5), b"heard");
    line.client.abort();
    line.server.hears_nothing_for(100);
    // what is said to one that is gone goes nowhere
    line.server.say(&vec![7; 3 << 20]);
    line.server.hears_nothing_for(50);
    trial.stop();
    assert_eq!(line.server.end(), End::Reset);
}

#[test]
fn only_those_selected_fall_silent() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'half_open'\nfirst = 1");
    let mut hit = stage.line();
    let trial = trial.has_met(1);
    let mut spared = stage.live_line();
    hit.client.say(b"lost");
    trial.until("half_open", |tally| tally.injected >= 1);
    hit.server.hears_nothing_for(50);
    spared.works();
    trial.stop();
    assert_eq!(hit.client.end(), End::Reset);
}

#[test]
fn with_latency_the_other_way_is_late() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let _trial = stage
        .start_all(&["kind = 'half_open'\ndirection = 'upstream'", "kind = 'latency'\ndelay = '150ms'"])
        .has_met(1);
    let began = std::time::Instant::now();
    line.client.say(b"lost");
    line.server.say(b"late");
    assert_eq!(line.client.hear(4), b"late");
    assert!(began.elapsed() >= std::time::Duration::from_millis(150));
    line.server.hears_nothing_for(100);
}
