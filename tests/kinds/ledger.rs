//! The ledger: every injection with all that says where it came from, and the same decisions for the same seed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Stage, pattern, scenario};

const FAULTS: [&str; 3] = [
    "kind = 'latency'\ndelay = '4ms'\njitter = '3ms'\npercentage = 70",
    "kind = 'corrupt'\none_per = '200B'\npercentage = 60",
    "kind = 'slicer'\nsize = '300B'\nvariation = '200B'\ndirection = 'both'",
];

/// Six connections with four turns each, sent in parts of this size; the ledger.
fn ledger(part: usize) -> Vec<Value> {
    let stage = Stage::new();
    let trial = stage.run(&scenario("book", &FAULTS));
    for _ in 0..6 {
        let mut line = stage.line();
        for _ in 0..4 {
            line.client.say(b"ask");
            line.server.hear(3);
            for part in pattern(1_000).chunks(part) {
                line.server.say(part);
            }
            line.client.hear(1_000);
        }
        // the end passes too, so that nothing is held when it is over
        line.server.finish();
        line.client.rest();
    }
    trial.stop();
    let view = trial.over();
    let lines: Vec<Value> = view.faults.iter().flat_map(|fault| trial.ledger(&fault.name)).collect();
    let injected: u64 = view.faults.iter().map(|fault| fault.tally.injected).sum();
    let unrecorded: u64 = view.faults.iter().map(|fault| fault.tally.unrecorded).sum();
    assert_eq!((lines.len() as u64, unrecorded), (injected, 0), "every injection is there, once");
    lines
}

#[test]
fn every_line_says_who_what_and_when() {
    for line in ledger(1_000) {
        for field in ["experiment", "fault", "kind", "proxy", "client", "flow", "what", "time"] {
            assert!(line[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {line}");
        }
        for field in ["ordinal", "unit", "step", "draw", "drawn", "scheduled", "achieved"] {
            assert!(line[field].as_u64().is_some(), "{field} in {line}");
        }
        assert_eq!((&line["experiment"], &line["proxy"]), (&"book-1".into(), &"default".into()));
        assert_eq!(line["unit"], line["ordinal"]);
        let time = line["time"].as_str().unwrap();
        assert!(time.len() >= 20 && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn the_same_seed_decides_the_same_whatever_the_reads() {
    let decisions = |ledger: Vec<Value>| {
        let mut decisions: BTreeMap<String, Vec<(u64, u64, u64, u64)>> = BTreeMap::new();
        for line in ledger.iter().filter(|line| line["fault"] != "slicer") {
            let n = |field: &str| line[field].as_u64().unwrap();
            let of = decisions.entry(line["fault"].as_str().unwrap().to_owned()).or_default();
            of.push((n("unit"), n("step"), n("draw"), n("drawn")));
        }
        decisions.values_mut().for_each(|of| of.sort_unstable());
        decisions
    };
    let (one, other) = (decisions(ledger(1_000)), decisions(ledger(170)));
    assert!(one["latency"].len() >= 8 && one["corrupt"].len() >= 20, "{one:#?}");
    assert_eq!(one, other);
}
