//! partition: the other side is out of reach, for connections that are open and for new ones, until it heals.

mod deaf;
mod nodes;
mod silence;

use std::time::{Duration, Instant};

use crate::support::{End, Line, Peer, Stage, pattern};

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
    // not quite everybody: new connections are made, and hear nothing
    let trial = stage.start("kind = 'partition'\nhow = 'drop'\npercentage = 99.9").has_met(2);
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
    let ledger = trial.ledger("partition");
    assert!(ledger.iter().all(|record| record["approximated"].as_str().is_some_and(|why| why.contains("handshake"))));
    let what: Vec<String> = ledger.iter().map(|record| record["what"].as_str().unwrap().to_owned()).collect();
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

/// `how` in one direction only, on a connection that is open: the side that is cut off, and the other.
fn one_way<'a>(line: &'a mut Line, direction: &str) -> (&'a mut Peer, &'a mut Peer) {
    match direction {
        "upstream" => (&mut line.client, &mut line.server),
        _ => (&mut line.server, &mut line.client),
    }
}

#[test]
fn hang_in_one_direction_lets_the_other_speak() {
    for direction in ["upstream", "downstream"] {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let trial = stage.start(&format!("kind = 'partition'\ndirection = '{direction}'")).has_met(1);
        let (cut_off, other) = one_way(&mut line, direction);
        cut_off.say(b"into the dark");
        trial.until("partition", |tally| tally.held == 1);
        other.say(b"heard");
        assert_eq!(cut_off.hear(5), b"heard", "{direction}");
        other.hears_nothing_for(50);
        let mut fresh = stage.dial();
        fresh.say(b"hello?");
        trial.until("partition", |tally| tally.held == 2);
        stage.nobody_comes_for(50); // a handshake needs both directions
        trial.stop();
        assert_eq!(other.hear(13), b"into the dark", "{direction}");
        assert_eq!(stage.accept().hear(6), b"hello?");
        line.works();
    }
}

#[test]
fn drop_in_one_direction_loses_what_is_said_that_way_alone() {
    for direction in ["upstream", "downstream"] {
        let stage = Stage::new();
        let (mut line, mut quiet) = (stage.live_line(), stage.live_line());
        let fault = format!("kind = 'partition'\nhow = 'drop'\ndirection = '{direction}'\nconnections = 'established'");
        let trial = stage.start(&fault).has_met(2);
        for line in [&mut line, &mut quiet] {
            let (cut_off, other) = one_way(line, direction);
            other.say(b"heard");
            assert_eq!(cut_off.hear(5), b"heard", "{direction}");
        }
        let (cut_off, other) = one_way(&mut line, direction);
        cut_off.say(b"into the dark");
        trial.until("partition", |tally| tally.injected >= 1);
        other.hears_nothing_for(50);
        stage.live_line();
        trial.stop();
        assert_eq!((line.client.end(), line.server.end()), (End::Reset, End::Reset), "{direction}: with a gap");
        quiet.works();
        let ledger = trial.ledger("partition");
        assert!(ledger.iter().all(|record| record["flow"] == direction), "{ledger:#?}");
    }
}

#[test]
fn reject_in_one_direction_resets_as_soon_as_something_is_said_that_way() {
    for direction in ["upstream", "downstream"] {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let fault = format!("kind = 'partition'\nhow = 'reject'\ndirection = '{direction}'");
        let trial = stage.start(&fault).has_met(1);
        let (cut_off, other) = one_way(&mut line, direction);
        other.say(b"heard");
        assert_eq!(cut_off.hear(5), b"heard", "{direction}");
        cut_off.say(b"?");
        assert_eq!((line.client.end(), line.server.end()), (End::Reset, End::Reset), "{direction}");
        assert_eq!(stage.refused(), End::Reset);
        stage.nobody_comes_for(50);
        trial.stop();
        stage.live_line();
    }
}

#[test]
fn new_connections_alone_are_cut_while_those_open_go_on() {
    for how in ["hang", "drop", "reject"] {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let trial = stage.start(&format!("kind = 'partition'\nhow = '{how}'\nconnections = 'new'\npercentage = 99.9"));
        let mut fresh = stage.dial();
        match how {
            "hang" => {
                trial.until("partition", |tally| tally.held == 1);
            }
            "drop" => {
                fresh.say(b"hello?");
                trial.until("partition", |tally| tally.injected == 1);
                fresh.hears_nothing_for(50);
            }
            _ => assert_eq!(fresh.end(), End::Reset),
        }
        line.works();
        assert_eq!(trial.tally("partition").eligible, 1, "{how}: who was there before is not counted");
        trial.stop();
        line.works();
    }
}

#[test]
fn established_connections_alone_are_cut_while_new_ones_pass() {
    for how in ["hang", "drop", "reject"] {
        let stage = Stage::new();
        let mut line = stage.live_line();
        let trial = stage.start(&format!("kind = 'partition'\nhow = '{how}'\nconnections = 'established'"));
        let mut fresh = stage.live_line();
        match how {
            "reject" => assert_eq!((line.client.end(), line.server.end()), (End::Reset, End::Reset)),
            _ => {
                line.client.say(b"still there?");
                trial.until("partition", |tally| tally.injected == 1);
                line.server.hears_nothing_for(50);
            }
        }
        fresh.works();
        assert_eq!(trial.tally("partition").eligible, 1, "{how}");
        trial.stop();
        match how {
            "hang" => assert_eq!(line.server.hear(12), b"still there?"),
            "drop" => assert_eq!((line.client.end(), line.server.end()), (End::Reset, End::Reset)),
            _ => {}
        }
        fresh.works();
    }
}
