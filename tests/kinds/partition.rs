//! partition: the other side is out of reach, for connections that are open and for new ones, until it heals.

use std::time::{Duration, Instant};

use crate::support::{End, Stage, pattern};

#[test]
fn hang_holds_everything_and_delivers_it_when_it_heals() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'partition'").has_met(1);
    // more than all buffers on the way hold, so that the sender feels it
    let sent = pattern(48 << 20);
    let sender = line.client.say_aside(sent.clone());
    line.server.say(b"an answer");
    let mut fresh = stage.dial();
    fresh.say(b"hello?");
    trial.until("partition", |tally| tally.held == 2);
    line.server.hears_nothing_for(150);
    line.client.hears_nothing_for(50);
    stage.nobody_comes_for(50);
    assert!(!sender.is_finished(), "no back-pressure: 48 MiB were taken");
    assert_eq!(trial.stop().released, 2);
    let mut accepted = stage.accept();
    assert_eq!(accepted.hear(6), b"hello?");
    accepted.say(b"!");
    assert_eq!(fresh.hear(1), b"!");
    assert!(line.server.hear(sent.len()) == sent);
    assert_eq!(line.client.hear(9), b"an answer");
    sender.join().unwrap();
    line.works();
}

#[test]
fn drop_swallows_and_resets_when_it_heals() {
    let stage = Stage::new();
    let (mut line, mut quiet) = (stage.live_line(), stage.live_line());
    let trial = stage.start("kind = 'partition'\nhow = 'drop'").has_met(2);
    line.client.say(&pattern(2_000));
    let mut fresh = stage.dial();
    fresh.say(b"hello?");
    trial.until("partition", |tally| tally.injected >= 2);
    line.server.hears_nothing_for(100);
    line.client.hears_nothing_for(50);
    fresh.hears_nothing_for(50);
    trial.stop();
    assert_eq!((line.client.end(), line.server.end()), (End::Reset, End::Reset));
    assert_eq!(fresh.end(), End::Reset);
    quiet.works();
    assert_eq!(trial.over().faults[0].tally.reset_on_abort, 2);
}

#[test]
fn reject_resets_what_is_open_and_refuses_what_is_new() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'partition'\nhow = 'reject'");
    assert_eq!((line.client.end(), line.server.end()), (End::Reset, End::Reset));
    assert_eq!(stage.dial().end(), End::Reset);
    stage.nobody_comes_for(50);
    trial.stop();
    stage.live_line();
    let what: Vec<String> =
        trial.ledger("partition").iter().map(|record| record["what"].as_str().unwrap().to_owned()).collect();
    assert!(what.contains(&"reset".into()) && what.contains(&"refused".into()), "{what:?}");
}

#[test]
fn a_flapping_link_heals_by_itself_each_time() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let began = Instant::now();
    let trial = stage.start("kind = 'partition'\nat = '300ms'\nfor = '300ms'\nevery = '700ms'\ntimes = 3");
    let mut worst = Vec::new();
    let mut last = Instant::now();
    while began.elapsed() < Duration::from_millis(2_800) {
        line.works();
        if last.elapsed() >= Duration::from_millis(200) {
            worst.push(last.elapsed());
        }
        last = Instant::now();
    }
    trial.stop();
    assert!(worst.len() >= 3, "three times out of reach: {worst:?}");
    assert_eq!(trial.over().faults[0].tally.eligible, 1, "one unit, however often it opens");
    let ledger = trial.ledger("partition");
    let of = |released: bool| {
        ledger.iter().filter(|record| record["what"] == "held" && record["released"] == released).count()
    };
    assert_eq!((of(false), of(true)), (3, 3), "each hold when it begins and when it is let go: {ledger:#?}");
}

#[test]
fn with_latency_what_it_held_is_not_late_twice() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial =
        stage.start_all(&["kind = 'partition'\nfor = '500ms'", "kind = 'latency'\ndelay = '200ms'\nfor = '20s'"]);
    let trial = trial.has_met(1);
    let began = Instant::now();
    line.server.say(b"answer");
    assert_eq!(line.client.hear(6), b"answer");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let began = Instant::now();
    line.works();
    assert!(began.elapsed() >= Duration::from_millis(200), "the partition has healed, the latency goes on");
    trial.stop();
}
