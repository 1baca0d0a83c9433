//! Who is hit: percentage, key, first, nth, each, and curves of the percentage.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{End, Line, Stage, scenario};

/// Opens so many connections one after the other under a fault that answers every byte with a reset; which of them it
/// selected, by order.
fn selected(stage: &Stage, connections: usize) -> Vec<usize> {
    (0..connections).filter(|_| is_hit(&mut stage.line())).collect()
}

/// Whether the answer is cut off.
fn is_hit(line: &mut Line) -> bool {
    line.server.say(b"x");
    let (heard, end) = {
        line.server.finish();
        line.client.rest()
    };
    match (heard.as_slice(), end) {
        (b"x", End::Fin) => false,
        (b"", End::Reset) => true,
        other => panic!("{other:?}"),
    }
}

const CUT: &str = "kind = 'reset'\ndirection = 'downstream'";

fn planned(plan: &Value) -> Vec<usize> {
    let units = plan["faults"][0]["units"].as_array().unwrap();
    units.iter().enumerate().filter(|(_, unit)| unit["selected"] == true).map(|(n, _)| n).collect()
}

#[test]
fn a_percentage_selects_exactly_whom_the_plan_names() {
    const CONNECTIONS: usize = 60;
    let text = scenario("share", &[&format!("{CUT}\npercentage = 30")]);
    let stage = Stage::new();
    let trial = stage.run(&text);
    let hit = selected(&stage, CONNECTIONS);
    assert_eq!(hit, planned(&stage.plan(&text, CONNECTIONS)));
    assert!((8..30).contains(&hit.len()), "{hit:?}");
    let tally = trial.tally("reset");
    assert_eq!((tally.eligible, tally.selected), (CONNECTIONS as u64, hit.len() as u64));
    trial.stop();
    // another seed selects others, and so does another name
    let other = text.replace("seed = 42", "seed = 43");
    assert_ne!(planned(&stage.plan(&other, CONNECTIONS)), hit);
    assert_ne!(planned(&stage.plan(&text.replace("\"share\"", "\"other\""), CONNECTIONS)), hit);
}

#[test]
fn first_nth_and_each_count_connections_from_when_it_acts() {
    let stage = Stage::new();
    let _ = selected(&stage, 3); // not counted: no fault looks at them
    let cases = [("first = 3", vec![0, 1, 2]), ("nth = 5", vec![4]), ("each = 4", vec![3, 7, 11])];
    for (count, expected) in cases {
        let trial = stage.start(&format!("{CUT}\n{count}"));
        assert_eq!(selected(&stage, 12), expected, "{count}");
        trial.stop();
        // each worker hands in its own part, so the lines of several are not in order
        let hits: std::collections::BTreeSet<u64> =
            trial.ledger("reset").iter().map(|record| record["ordinal"].as_u64().unwrap()).collect();
        let first = hits.first().unwrap() - expected[0] as u64;
        assert_eq!(hits, expected.iter().map(|n| first + *n as u64).collect(), "{count}");
    }
}

#[test]
fn first_goes_on_counting_over_all_openings() {
    let stage = Stage::new();
    let began = Instant::now();
    let trial = stage.start(&format!("{CUT}\nfirst = 2\nfor = '400ms'\nevery = '800ms'\ntimes = 3"));
    let mut hits = 0;
    while began.elapsed() < Duration::from_millis(2_100) {
        hits += u32::from(is_hit(&mut stage.line()));
        std::thread::sleep(Duration::from_millis(10));
    }
    trial.stop();
    assert_eq!(hits, 2, "two over the whole experiment, not two at each opening");
}

#[test]
fn by_client_all_connections_of_one_share_its_fate() {
    let stage = Stage::new();
    let mut fates = std::collections::BTreeSet::new();
    for round in 0..12 {
        let text = scenario(&format!("client-{round}"), &[&format!("{CUT}\npercentage = 50\nkey = 'client'")]);
        let trial = stage.run(&text);
        let hit = selected(&stage, 4).len();
        assert!(hit == 0 || hit == 4, "round {round}: {hit} of 4");
        fates.insert(hit);
        trial.stop();
        let ledger = trial.ledger("reset");
        assert!(ledger.iter().all(|record| record["unit"] == ledger[0]["unit"]), "{ledger:#?}");
    }
    assert_eq!(fates.len(), 2, "another experiment draws another fate for the client");
}

#[test]
fn a_rising_percentage_only_ever_adds() {
    const LINES: usize = 30;
    let stage = Stage::new();
    let mut lines: Vec<Line> = (0..LINES).map(|_| stage.live_line()).collect();
    let trial =
        stage.start("kind = 'cut'\nhow = 'stall'\nafter = '0B'\ndirection = 'downstream'\npercentage = { from = 0, to = 100, over = '2s' }");
    let mut before = 0;
    loop {
        let tally = trial.tally("cut");
        assert!(tally.selected >= before, "{} after {before}", tally.selected);
        before = tally.selected;
        if before == LINES as u64 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(trial.tally("cut").eligible, LINES as u64);
    for line in &mut lines {
        line.server.say(b"held");
    }
    trial.until("cut", |tally| tally.held == LINES as u64);
    assert_eq!(trial.stop().released, LINES as u64);
    for line in &mut lines {
        assert_eq!(line.client.hear(4), b"held");
    }
}

#[test]
fn a_percentage_in_steps_takes_in_at_each_step_whom_the_draws_say() {
    const LINES: usize = 20;
    let fault = "kind = 'cut'\nhow = 'stall'\nafter = '0B'\ndirection = 'downstream'\npercentage = { steps = [20, 60], hold = '4s', min_events = 0 }";
    let stage = Stage::new();
    let text = scenario("ladder", &[fault]);
    let draws: Vec<f64> = {
        let plan = stage.plan(&text, LINES);
        plan["faults"][0]["units"].as_array().unwrap().iter().map(|unit| unit["draw"].as_f64().unwrap()).collect()
    };
    let below = |share: f64| draws.iter().filter(|draw| **draw < share).count() as u64;
    assert!(below(20.0) > 0 && below(60.0) > below(20.0));
    let mut lines: Vec<Line> = (0..LINES).map(|_| stage.live_line()).collect();
    let trial = stage.run(&text).has_met(LINES as u64);
    // while the worker goes from one step to the next, any count between can be read: what counts is where it comes to
    // rest, and then everybody's fate
    for (share, word) in [(20.0, b"x"), (60.0, b"y")] {
        trial.until("cut", |tally| tally.selected == below(share));
        for (line, draw) in lines.iter_mut().zip(&draws) {
            line.server.say(word);
            if *draw >= share {
                assert_eq!(line.client.hear(1), word, "draw {draw} at {share} %");
            }
        }
        trial.until("cut", |tally| (tally.selected, tally.held) == (below(share), below(share)));
    }
    assert_eq!(trial.stop().released, below(60.0));
    for (line, draw) in lines.iter_mut().zip(&draws).filter(|(_, draw)| **draw < 60.0) {
        let held: &[u8] = if *draw < 20.0 { b"xy" } else { b"y" };
        assert_eq!(line.client.hear(held.len()), held, "draw {draw}");
    }
}
