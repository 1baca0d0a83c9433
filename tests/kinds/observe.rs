//! Faults that only observe: on real sockets nothing is held, changed or ended.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{End, Stage, pattern, scenario};

#[test]
fn bytes_pass_untouched_and_in_time_whatever_is_observed() {
    let faults = [
        "kind = 'latency'\ndelay = '60s'\ndirection = 'both'",
        "kind = 'corrupt'\none_per = '1KiB'",
        "kind = 'cut'\nafter = '300KiB'",
    ];
    let stage = Stage::new();
    let mut open = stage.live_line();
    let began = Instant::now();
    let trial = stage.observe(&scenario("observed", &faults)).has_met(1);
    let words = pattern(2 << 20);
    for n in [1_000, words.len()] {
        let sent = words[..n].to_vec();
        let saying = open.server.say_aside(sent.clone());
        assert_eq!(open.client.hear(n), sent, "towards the client");
        saying.join().unwrap();
        let saying = open.client.say_aside(sent.clone());
        assert_eq!(open.server.hear(n), sent, "towards the server");
        saying.join().unwrap();
    }
    let mut fresh = stage.line();
    fresh.works();
    open.works();
    assert!(began.elapsed() < Duration::from_secs(50), "it was delayed");
    assert!(trial.view().observed);
    assert!(stage.squall(&["status"]).contains("running (only observed)"));
    let released = trial.stop().released;
    assert_eq!(released, 0);
    open.works();
    let lines = trial.ledger("latency");
    assert!(!lines.is_empty());
    for line in &lines {
        let is_seen = line["observed"] == true && line["achieved"] == 0 && line["scheduled"] == 60_000_000_000_u64;
        assert!(is_seen, "{line}");
    }
    assert_eq!(trial.ledger("cut").len(), 1, "an end is on record once");
    assert!(trial.ledger("corrupt").len() > 100);
}

#[test]
fn what_would_end_or_swallow_a_connection_lets_it_live() {
    for fault in ["kind = 'partition'\nhow = 'reject'", "kind = 'blackhole'", "kind = 'reset'"] {
        let stage = Stage::new();
        let mut open = stage.live_line();
        let trial = stage.observe(&scenario("observed", &[fault])).has_met(1);
        open.works();
        let mut fresh = stage.line();
        fresh.works();
        fresh.client.finish();
        assert_eq!(fresh.server.end(), End::Fin, "{fault}");
        let name = fault.split('\'').nth(1).unwrap();
        trial.until(name, |tally| tally.injected >= 2);
        assert_eq!(trial.stop().released, 0, "{fault}");
        open.works();
    }
}

/// The same conversations under the same seed, acted on and observed.
#[test]
fn what_would_be_injected_is_what_is_injected() {
    let text = scenario("same", &["kind = 'latency'\ndelay = '5ms'\njitter = '4ms'\npercentage = 50"]);
    let converse = |observe: bool| -> Vec<String> {
        let stage = Stage::new(); // its own: the ordinals of a proxy go on, and draws with them
        let trial = if observe { stage.observe(&text) } else { stage.run(&text) };
        let mut lines: Vec<_> = (0..20).map(|_| stage.line()).collect();
        for line in &mut lines {
            line.works();
            line.works();
        }
        trial.stop();
        let figure = |line: &Value| format!("{} {} {} {}", line["ordinal"], line["step"], line["drawn"], line["what"]);
        let mut figures: Vec<String> = trial.ledger("latency").iter().map(figure).collect();
        figures.sort();
        figures
    };
    let (done, seen) = (converse(false), converse(true));
    assert!(!done.is_empty());
    assert_eq!(seen, done);
}
