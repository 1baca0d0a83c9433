//! cut, reset, limit_data: everything before the exact byte or time, and nothing after it.

use std::time::{Duration, Instant};

use crate::support::{End, Stage, pattern};

#[test]
fn exactly_so_many_bytes_arrive_and_then_the_end_on_both_sides() {
    let stage = Stage::new();
    let cases = [
        ("kind = 'cut'\nafter = '4KiB'\nhow = 'fin'", "cut", End::Fin, "closed"),
        ("kind = 'cut'\nafter = '4KiB'\nhow = 'reset'", "cut", End::Reset, "reset"),
        ("kind = 'reset'\nafter = '4KiB'", "reset", End::Reset, "reset"),
        ("kind = 'limit_data'\nbytes = '4KiB'", "limit_data", End::Fin, "closed"),
    ];
    for (fault, name, end, what) in cases {
        let trial = stage.start(fault);
        let mut line = stage.line();
        let sent = pattern(10_000);
        line.server.say(&sent);
        assert_eq!(line.client.rest(), (sent[..4096].to_vec(), end), "{fault}");
        assert_eq!(line.server.end(), end, "{fault}");
        trial.stop();
        let ledger = trial.ledger(name);
        assert_eq!(ledger.len(), 1, "{ledger:#?}");
        assert_eq!((&ledger[0]["what"], &ledger[0]["achieved"]), (&what.into(), &4096.into()), "{fault}");
    }
}

#[test]
fn no_byte_before_a_reset_is_lost() {
    const SIZE: usize = 3_000_000;
    let stage = Stage::new();
    let _trial = stage.start("kind = 'reset'\nafter = '3MB'\ndirection = 'downstream'");
    let sent = pattern(SIZE + 500_000);
    for round in 0..15 {
        let mut line = stage.line();
        let sender = line.server.say_aside(sent.clone());
        if round % 3 == 2 {
            std::thread::sleep(Duration::from_millis(100)); // a client that comes late finds it all in its buffers
        }
        let (heard, end) = line.client.rest();
        assert_eq!((heard.len(), end), (SIZE, End::Reset), "round {round}");
        assert!(heard == sent[..SIZE], "round {round}");
        sender.join().unwrap();
    }
}

#[test]
fn each_direction_counts_on_its_own() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'limit_data'\nbytes = '1000B'");
    let mut line = stage.line();
    line.client.say(&pattern(900));
    line.server.say(&pattern(900));
    assert_eq!(line.server.hear(900), pattern(900));
    assert_eq!(line.client.hear(900), pattern(900));
    line.client.say(&pattern(200));
    assert_eq!(line.server.rest(), (pattern(200)[..100].to_vec(), End::Fin));
    assert_eq!(line.client.end(), End::Fin);
}

#[test]
fn a_stall_lets_so_many_bytes_by_and_removed_the_rest() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'cut'\nafter = '5000B'\nhow = 'stall'\ndirection = 'downstream'");
    let mut line = stage.line();
    let sent = pattern(12_000);
    line.server.say(&sent);
    assert_eq!(line.client.hear(5_000), sent[..5_000]);
    line.client.hears_nothing_for(150);
    line.client.say(b"the other direction is free");
    line.server.hear(27);
    assert_eq!(trial.stop().released, 1);
    assert_eq!(line.client.hear(7_000), sent[5_000..]);
    line.works();
    assert_eq!(trial.ledger("cut")[0]["what"], "stalled");
}

#[test]
fn a_time_ends_the_connection_without_a_byte() {
    let stage = Stage::new();
    for (how, end) in [("fin", End::Fin), ("reset", End::Reset)] {
        let trial = stage.start(&format!("kind = 'cut'\nafter = '300ms'\nhow = '{how}'"));
        let began = Instant::now();
        let mut line = stage.line();
        assert_eq!(line.client.end(), end);
        let took = began.elapsed();
        assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&took), "{how} after {took:?}");
        assert_eq!(line.server.end(), end);
        trial.stop();
    }
}

#[test]
fn if_it_has_passed_the_next_byte_ends_it() {
    let stage = Stage::new();
    for after in ["1KiB", "100ms"] {
        let mut line = stage.live_line();
        line.server.say(&pattern(10_000));
        line.client.hear(10_000);
        std::thread::sleep(Duration::from_millis(110)); // the time has passed before the fault comes on
        let trial = stage.start(&format!("kind = 'reset'\nafter = '{after}'\ndirection = 'downstream'")).has_met(1);
        line.client.hears_nothing_for(150);
        line.client.say(b"up");
        assert_eq!(line.server.hear(2), b"up");
        line.server.say(b"x");
        assert_eq!(line.client.end(), End::Reset, "{after}");
        trial.stop();
    }
}

#[test]
fn after_0_bytes_the_upstream_never_hears_of_a_connection() {
    let stage = Stage::new();
    for (fault, end) in [("kind = 'reset'", End::Reset), ("kind = 'limit_data'\nbytes = '0B'", End::Fin)] {
        let trial = stage.start(fault);
        assert_eq!(stage.dial().end(), end, "{fault}");
        stage.nobody_comes_for(100);
        trial.stop();
        stage.live_line();
    }
}

#[test]
fn removed_in_time_it_cuts_nothing() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    for fault in ["kind = 'reset'\nafter = '100KiB'", "kind = 'cut'\nhow = 'fin'\nafter = '100s'"] {
        let trial = stage.start(fault).has_met(1);
        line.server.say(&pattern(30_000));
        assert_eq!(line.client.hear(30_000), pattern(30_000));
        trial.stop();
        let sender = line.server.say_aside(pattern(300_000));
        assert!(line.client.hear(300_000) == pattern(300_000));
        sender.join().unwrap();
        line.works();
        assert_eq!(trial.over().faults[0].tally.injected, 0);
        line = stage.live_line();
    }
}

#[test]
fn with_latency_what_came_before_the_cut_is_late_and_complete() {
    let stage = Stage::new();
    for (how, end) in [("fin", End::Fin), ("reset", End::Reset)] {
        let cut = format!("kind = 'cut'\nhow = '{how}'\nafter = '3000B'\ndirection = 'downstream'");
        let trial = stage.start_all(&[&cut, "kind = 'latency'\ndelay = '200ms'"]);
        let mut line = stage.line();
        let sent = pattern(8_000);
        let began = Instant::now();
        line.server.say(&sent);
        assert_eq!(line.client.rest(), (sent[..3_000].to_vec(), end), "{how}");
        assert!(began.elapsed() >= Duration::from_millis(200), "early: {:?}", began.elapsed());
        trial.stop();
    }
}
