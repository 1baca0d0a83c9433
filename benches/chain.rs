//! What the chain engine costs, without I/O: `cargo bench -p squall-core --bench chain`. Nanoseconds per operation, the
//! best of several rounds.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods)] // a stopwatch: nothing decides by this time

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use squall_core::cell::Cell;
use squall_core::chain::{Chain, Ready, Talk};
use squall_core::curve::Curve;
use squall_core::draw::DrawKey;
use squall_core::fault::{AnyFault, Flow, registry};
use squall_core::plan::{Active, FaultRef, Layer, OnAbort, Slice, Tally};
use squall_core::select::{Count, Key, Select};
use squall_core::time::{Now, SECOND, Time};
use squall_core::window::Window;
use toml::de::DeTable;

fn main() {
    for stages in [1, 3] {
        println!("64 B through {stages} of latency: {:.0} ns", through(stages));
    }
    println!("retune against 1,000 open and not selected: {:.0} ns", retune(&Window::default()));
    let later = Window { at: 3600 * SECOND, ..Window::default() };
    println!("retune against 1,000 not yet open: {:.0} ns", retune(&later));
}

fn at(mono: Time) -> Now {
    Now { mono, boot: mono }
}

fn slice(n: u64, count: Count, window: &Window) -> Slice {
    let switch = Cell::default().switch();
    switch.start(0);
    let fault: Arc<dyn AnyFault> = {
        let latency = registry::kind("latency").unwrap();
        (latency.make)(DeTable::parse("delay = '1us'").unwrap()).unwrap().fault
    };
    let active = |serial: u64| {
        let name = FaultRef {
            experiment: "run".into(),
            experiment_name: "bench".into(),
            fault: serial.to_string().into(),
            kind: fault.kind(),
            proxy: "p".into(),
        };
        Arc::new(Active {
            serial,
            draws: DrawKey::new(1, &name.experiment_name, &name.fault),
            name: Arc::new(name),
            flow: Some(Flow::Downstream),
            select: Select { percentage: Curve::Constant(100.0), ladder: None, key: Key::Ordinal, count, cap: None },
            window: *window,
            switch: switch.clone(),
            observed: false,
            layer: Layer::Connection,
            bodies: None,
            rule: None,
            stealth: false,
            shared: Arc::from(fault.new_shared()),
            fault: fault.clone(),
            tally: Arc::new(Tally::default()),
            on_abort: OnAbort::Release,
            release_over: 0,
        })
    };
    Slice::new((1..=n).map(active).collect(), false)
}

/// The best of some rounds, per operation.
fn best(operations: u32, mut round: impl FnMut()) -> f64 {
    let rounds = (0..10).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64 / f64::from(operations)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// Push, poll until it is through, write.
fn through(stages: u64) -> f64 {
    const MESSAGES: u32 = 50_000;
    let slice = slice(stages, Count::All, &Window::default());
    let mut talk = Talk::new(0, None, 0);
    talk.admit();
    let (mut chain, mut now, mut last, mut records) = (Chain::new(), 1, 0, Vec::new());
    chain.retune(Some(&slice), &talk, &mut last, at(now));
    best(MESSAGES, || {
        for _ in 0..MESSAGES {
            talk.moved(Flow::Downstream, 64);
            chain.push(Flow::Downstream, Bytes::from_static(&[7; 64]), &talk, at(now));
            while chain.ready(Flow::Downstream) != Ready::Bytes {
                now = chain.poll(&talk, at(now), &mut records).next.unwrap_or(now);
            }
            chain.wrote(Flow::Downstream, 64);
            records.clear();
        }
    })
}

/// A connection that has been held against the slice before.
fn retune(window: &Window) -> f64 {
    const RETUNES: u32 = 1_000;
    let slice = slice(1_000, Count::Nth(1_000_000_000), window);
    let talk = Talk::new(0, None, 0);
    let (mut now, mut last) = (1, 0);
    Chain::new().retune(Some(&slice), &talk, &mut last, at(now));
    best(RETUNES, || {
        for _ in 0..RETUNES {
            now += 1;
            let mut chain = Chain::new();
            chain.retune(Some(&slice), &talk, &mut last, at(now));
            black_box(&chain);
        }
    })
}
