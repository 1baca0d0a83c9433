//! How soon guards catch harm, on the very code that workers run, with seeded traffic: the figures of docs/metrics.md.

use std::sync::Arc;

use squall_core::cell::Cell;
use squall_core::draw::DrawKey;
use squall_core::time::{MILLI, Now, SECOND};
use squall_core::tripwire::{Event, Flip, Guarding, Limit, Source, Tripwire};

/// Requests that fail although nothing is done to them, in percent.
const BASELINE: f64 = 0.5;
const RUNS: u64 = 1_000;
const HARM: Limit = Limit::Harm(50);
const SHARE: Limit = Limit::Share { above: 0.02, min_events: 1_000 };

/// The request that fired it, counted from 1; none: none of so many did. 500 requests a second on two workers.
fn caught(limit: Limit, failing: f64, seed: u64, most: u64) -> Option<u64> {
    let switch = Cell::default().switch();
    switch.start(0);
    let guarding = Guarding {
        source: Source::Requests,
        limit,
        over: 10 * SECOND,
        hold: 0,
        flip: Flip::End,
        switch: switch.clone(),
        from: 0,
        bell: Arc::new(|| ()),
    };
    let (guard, draws) = (Tripwire::new(guarding, 2), DrawKey::new(seed, "guards", "harm"));
    (1..=most).find(|n| {
        let mono = SECOND + n * 2 * MILLI;
        let failed = draws.unit(*n).percentage() < failing;
        guard.count(n.is_multiple_of(2).into(), Event::Request { failed }, Now { mono, boot: mono });
        guard.tripped().is_some()
    })
}

/// The median and the worst of many runs.
fn many(limit: Limit, times: f64) -> (u64, u64) {
    let mut caught: Vec<u64> =
        (0..RUNS).map(|seed| caught(limit, BASELINE * times, seed, 100_000).expect("it is never caught")).collect();
    caught.sort_unstable();
    (caught[caught.len() / 2], caught[caught.len() - 1])
}

/// Runs of so many requests without harm that were stopped all the same.
fn stopped(limit: Limit, requests: u64) -> usize {
    (0..RUNS / 4).filter(|seed| caught(limit, BASELINE, *seed, requests).is_some()).count()
}

#[test]
fn harm_is_caught_within_the_stated_number_of_requests() {
    let docs = include_str!("../docs/metrics.md");
    let stated = |row: &str, (median, worst): (u64, u64), (usually, at_most): (u64, u64)| {
        let line = format!("| {row} | {} | {} |", grouped(usually), grouped(at_most));
        assert!(docs.contains(&line), "{line} is not in docs/metrics.md");
        assert!(median.abs_diff(usually) <= usually / 20, "{row}: {median}, stated {usually}");
        assert!(worst <= at_most, "{row}: {worst}, stated {at_most}");
    };
    stated("`harm = 50`, twice the baseline", many(HARM, 2.0), (5_000, 8_000));
    stated("`harm = 50`, five times", many(HARM, 5.0), (2_000, 3_500));
    stated("`error_rate` above 2 %, five times", many(SHARE, 5.0), (1_000, 6_000));
    assert_eq!((stopped(HARM, 5_000), stopped(SHARE, 20_000)), (0, 0), "without harm");
}

fn grouped(n: u64) -> String {
    format!("{},{:03}", n / 1_000, n % 1_000)
}
