//! slow_close: only the end is late.

use std::time::{Duration, Instant};

use crate::support::{End, Stage, pattern};

#[test]
fn the_fin_is_late_and_bytes_are_not() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'slow_close'\ndelay = '300ms'");
    let mut line = stage.line();
    let began = Instant::now();
    line.server.say(&pattern(3_000));
    line.server.finish();
    assert_eq!(line.client.hear(3_000), pattern(3_000));
    line.client.hears_nothing_for(50);
    assert_eq!(line.client.end(), End::Fin);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    line.client.say(b"the other way is open");
    assert_eq!(line.server.hear(21), b"the other way is open");
    trial.stop();
    let ledger = trial.ledger("slow_close");
    assert_eq!(ledger.len(), 1, "{ledger:#?}");
    let ns = |field: &str| ledger[0][field].as_u64().unwrap();
    assert_eq!((ns("drawn"), ns("scheduled")), (300_000_000, 300_000_000));
    assert!(ns("achieved") >= 300_000_000 && ledger[0]["what"] == "delayed" && ledger[0]["flow"] == "downstream");
}

#[test]
fn removed_it_passes_the_end_on_at_once() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'slow_close'\ndelay = '50s'\ndirection = 'both'").has_met(1);
    line.server.finish();
    trial.until("slow_close", |tally| tally.held == 1);
    line.client.hears_nothing_for(50);
    assert_eq!(trial.stop().released, 1);
    assert_eq!(line.client.end(), End::Fin);
    line.client.finish();
    assert_eq!(line.server.end(), End::Fin);
}

#[test]
fn a_reset_is_not_delayed() {
    let stage = Stage::new();
    let line = stage.live_line();
    let mut server = line.server;
    let _trial = stage.start("kind = 'slow_close'\ndelay = '50s'\ndirection = 'both'").has_met(1);
    server.say(b"unread");
    line.client.abort();
    assert_eq!(server.end(), End::Reset);
}

#[test]
fn with_latency_bytes_wait_first_and_the_end_longer() {
    let stage = Stage::new();
    let _trial = stage.start_all(&["kind = 'slow_close'\ndelay = '200ms'", "kind = 'latency'\ndelay = '150ms'"]);
    let mut line = stage.line();
    let began = Instant::now();
    line.server.say(b"late");
    line.server.finish();
    assert_eq!(line.client.hear(4), b"late");
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    assert_eq!(line.client.end(), End::Fin);
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
}
