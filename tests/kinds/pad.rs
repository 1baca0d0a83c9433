//! pad: no answer before its time.

use std::time::{Duration, Instant};

use crate::support::{Line, Stage};

/// A question, and an answer that takes the server so long; how long the client waited.
fn ask(line: &mut Line, thinks: Duration) -> Duration {
    let began = Instant::now();
    line.client.say(b"question");
    line.server.hear(8);
    std::thread::sleep(thinks);
    line.server.say(b"answer");
    line.client.hear(6);
    began.elapsed()
}

#[test]
fn fast_answers_wait_for_the_minimum_and_slow_ones_do_not() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'pad'\nmin = '200ms'");
    let mut line = stage.line();
    let fast: Vec<_> = (0..3).map(|_| ask(&mut line, Duration::ZERO)).collect();
    assert!(fast.iter().all(|took| *took >= Duration::from_millis(200)), "{fast:?}");
    // what it took by itself counts
    let (think, slow) = (Duration::from_millis(150), ask(&mut line, Duration::from_millis(150)));
    assert!(slow >= Duration::from_millis(200) && slow < think + Duration::from_millis(190), "{slow:?}");
    let slow = ask(&mut line, Duration::from_millis(260));
    trial.stop();
    let ledger = trial.ledger("pad");
    let ns = |line: &serde_json::Value, field: &str| line[field].as_u64().unwrap();
    assert_eq!(ledger.len(), 4, "the answer that took {slow:?} by itself was let by: {ledger:#?}");
    for line in &ledger {
        assert_eq!(ns(line, "drawn"), 200_000_000);
        assert!(ns(line, "scheduled") <= 200_000_000 && ns(line, "achieved") >= ns(line, "scheduled"), "{line:#?}");
    }
    assert!(ns(&ledger[3], "scheduled") <= 50_000_000, "{:#?}", ledger[3]);
}

#[test]
fn removed_it_lets_the_answer_go() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'pad'\nmin = '50s'").has_met(1);
    line.client.say(b"question");
    line.server.hear(8);
    line.server.say(b"answer");
    trial.until("pad", |tally| tally.held == 1);
    line.client.hears_nothing_for(50);
    assert_eq!(trial.stop().released, 1);
    assert_eq!(line.client.hear(6), b"answer");
    line.works();
}

#[test]
fn with_latency_the_delay_comes_on_top() {
    let stage = Stage::new();
    let _trial = stage.start_all(&["kind = 'pad'\nmin = '150ms'", "kind = 'latency'\ndelay = '100ms'"]);
    let mut line = stage.line();
    let took = ask(&mut line, Duration::ZERO);
    assert!(took >= Duration::from_millis(150), "{took:?}");
    let took = ask(&mut line, Duration::from_millis(170));
    assert!(took >= Duration::from_millis(270), "{took:?}");
}
