//! What guards in the data path cost an event: `cargo bench -p squall-core --bench guards`. Nanoseconds per event, the best
//! of several rounds, without the reading of the clock that goes with it.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods)] // a stopwatch: nothing decides by this time

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use squall_core::cell::Cell;
use squall_core::time::{MICRO, Now, SECOND};
use squall_core::tripwire::{Event, Flip, Guarding, Limit, Source, Tripwire};

/// Workers whose counts are summed where one of them counts a bad event.
const WORKERS: usize = 4;

fn main() {
    let share = Limit::Share { above: 0.02, min_events: 20 };
    let burn = Limit::Burn { rate: 216.0, budget: 0.001 };
    let harm = Limit::Harm(u64::MAX);
    let (good, bad) = (Event::Request { failed: false }, Event::Request { failed: true });
    for (name, limits) in [
        ("a threshold", vec![share]),
        ("a burn rate", vec![burn]),
        ("a harm allowance", vec![harm]),
        ("all three", vec![share, burn, harm]),
    ] {
        println!("{name}: {:.1} ns per good event, {:.0} ns per bad one", per(&limits, good), per(&limits, bad));
    }
}

fn per(limits: &[Limit], event: Event) -> f64 {
    const EVENTS: u32 = 200_000;
    let switch = Cell::default().switch();
    switch.start(0);
    let guarding = |limit: &Limit| Guarding {
        source: Source::Requests,
        limit: *limit,
        over: 60 * SECOND,
        hold: u64::MAX,
        flip: Flip::Nothing,
        switch: switch.clone(),
        from: 0,
        bell: Arc::new(|| ()),
    };
    let guards: Vec<Tripwire> = limits.iter().map(|limit| Tripwire::new(guarding(limit), WORKERS)).collect();
    let mut mono = SECOND;
    let rounds = (0..10).map(|_| {
        let start = Instant::now();
        for _ in 0..EVENTS {
            mono += 20 * MICRO;
            for guard in &guards {
                guard.count(0, black_box(event), Now { mono, boot: mono });
            }
        }
        start.elapsed().as_nanos() as f64 / f64::from(EVENTS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}
