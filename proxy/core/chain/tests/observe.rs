//! Faults that only observe: bytes pass untouched and at once, and what is on record is what would have been done.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::real::real;
use super::support::*;
use crate::fault::registry::KINDS;
use crate::fault::{Carrier, Gate, Opening, What};
use crate::plan::{Active, Slice};
use crate::time::{MILLI, SECOND, Time};
use crate::window::Window;

fn slice_of(stand: &Stand, modes: &[Mode], observed: bool) -> Arc<Slice> {
    let active = |(serial, mode): (u64, &Mode)| Active { observed, ..stand.active(serial, None, mode.clone()) };
    slice((1..).zip(modes).map(active))
}

fn kind(kind: &'static str, fields: &str) -> Mode {
    Mode::Real(kind, fields.to_owned())
}

/// What is on record, without what was achieved.
type Line = (String, What, u64, Option<u64>, u64, u64);

/// A conversation of some turns on some connections; what came of it, by fault and in order.
fn converse(modes: &[Mode], observed: bool, seed: u64) -> (Vec<Vec<Line>>, Vec<[u64; 4]>) {
    let stand = Stand::new();
    let slice = slice_of(&stand, modes, observed);
    let mut lines = Vec::new();
    for ordinal in 0..20 {
        let dice = &mut Dice::new(seed + ordinal);
        let mut pump = Pump::new(ordinal);
        pump.now = 1;
        pump.retune(Some(&slice));
        for turn in 0..6 {
            let flow = if turn % 2 == 0 { UP } else { DOWN };
            let mut left = dice.size();
            while left > 0 && pump.ended.is_none() {
                left -= pump.read(flow, left, false).min(left);
                drain(&mut pump);
            }
            let later = pump.now + 10 * SECOND;
            if pump.ended.is_none() {
                pump.set(later);
            }
        }
        let of = |record: &crate::observe::Record| {
            let (i, fault) = (&record.injection, record.fault.fault.to_string());
            (fault, i.what, i.step, i.draw, i.drawn, i.scheduled)
        };
        let mut own: Vec<Line> = pump.records.iter().map(of).collect();
        own.sort_by(|a, b| a.0.cmp(&b.0)); // by fault; in its own order
        lines.push(own);
        if observed {
            assert!(pump.records.iter().all(|record| record.injection.achieved == 0));
        }
    }
    let tally = |active: &Arc<Active>| {
        let tally = active.tally.read();
        [tally.eligible, tally.selected, tally.injected, tally.affected]
    };
    (lines, slice.actives.iter().map(tally).collect())
}

/// Until nothing waits.
fn drain(pump: &mut Pump) {
    loop {
        pump.write_all();
        match pump.next.filter(|_| pump.queued() > 0 && pump.ended.is_none()) {
            Some(next) => pump.set(next.max(pump.now)),
            None => return,
        }
    }
}

#[test]
fn what_would_be_done_is_what_is_done() {
    let jitter = "delay = '40ms'\njitter = '30ms'";
    let plans: &[&[Mode]] = &[
        &[kind("latency", "delay = '25ms'")],
        &[kind("latency", jitter)],
        &[kind("corrupt", "one_per = '100B'")],
        &[kind("cut", "after = '900B'")],
        &[kind("limit_data", "bytes = '4000B'")],
        &[kind("corrupt", "one_per = '200B'"), kind("latency", jitter)],
        &[kind("cut", "after = '700B'\nhow = 'fin'"), kind("latency", jitter)],
        &[kind("slicer", "size = '100B'\nvariation = '20B'\ngap = '1ms'")],
    ];
    for modes in plans {
        for seed in 0..3 {
            let (done, counted) = converse(modes, false, seed);
            let (seen, would) = converse(modes, true, seed);
            assert!(counted.iter().any(|tally| tally[2] > 0), "{modes:?} did nothing");
            assert_eq!(would, counted, "{modes:?} with seed {seed}");
            assert_eq!(seen, done, "{modes:?} with seed {seed}");
        }
    }
}

/// A random plan on random traffic, with pauses, windows and credit.
fn watch(seed: u64) {
    let dice = &mut Dice::new(seed);
    let stand = Stand::new();
    let kinds: Vec<_> =
        KINDS.iter().filter(|entry| entry.hooks.serve(Carrier::Stream)).map(|entry| entry.name).collect();
    let actives = (1..=1 + dice.below(4)).map(|serial| {
        let flow = dice.pick(&[None, Some(UP), Some(DOWN)]);
        let mut active = stand.active(serial, flow, real(dice, &kinds));
        active.observed = true;
        if dice.chance(40) {
            let length = 1 + dice.time();
            active.window = Window { at: dice.time() / 4, length: Some(length), every: Some(length * 2), times: None };
        }
        active
    });
    let slice = slice(actives.collect::<Vec<_>>());
    let mut pump = Pump::at_the_gate(0);
    let mut chain = crate::chain::Chain::new();
    chain.retune(Some(&slice), &pump.talk, &mut 0, at(0));
    assert_eq!(chain.gate(&Opening::Accepted(None), &pump.talk, at(0), &mut pump.records), Gate::Pass, "seed {seed}");
    pump.talk.admit();
    pump.chain = Some(Box::new(chain));
    pump.poll();
    let mut sent = [0; 2];
    for _ in 0..dice.below(300) {
        let flow = dice.pick(&[UP, DOWN]);
        match dice.below(10) {
            0..6 => {
                let n = dice.size();
                let read = pump.read(flow, n, dice.chance(50));
                assert!(read > 0, "seed {seed}: no room");
                sent[flow as usize] += read;
            }
            6..8 => pump.set(pump.now + dice.time()),
            8 => stand.switch.pause(),
            _ => stand.switch.start(0),
        }
        pump.poll();
        pump.write_all();
        assert!(!pump.is_holding() && pump.queued() == 0, "seed {seed}: something waits");
        assert_eq!(pump.ended, None, "seed {seed}");
        for flow in [UP, DOWN] {
            let out = &pump.out[flow as usize].bytes;
            assert_eq!(out.len(), sent[flow as usize], "seed {seed}: late or lost");
        }
    }
    pump.fin(UP);
    pump.fin(DOWN);
    for flow in [UP, DOWN] {
        let out = &pump.out[flow as usize];
        let same = (0..).zip(&out.bytes).all(|(offset, found)| *found == byte(flow, offset));
        assert!(out.fin && same, "seed {seed}: the bytes are others, or the FIN is missing");
    }
    for active in &slice.actives {
        let tally = active.tally.read();
        assert_eq!((tally.held, tally.released, tally.reset_on_abort, tally.stuck), (0, 0, 0, 0), "seed {seed}");
    }
    stand.switch.end();
    pump.poll();
    assert_eq!(pump.released, 0);
}

#[test]
fn bytes_pass_untouched_and_at_once_whatever_is_observed() {
    (0..300).for_each(watch);
}

#[test]
fn an_end_is_on_record_once_and_the_connection_goes_on_unobserved() {
    let stand = Stand::new();
    let slice = slice_of(&stand, &[kind("cut", "after = '10B'"), kind("latency", "delay = '5ms'")], true);
    let mut pump = Pump::new(0);
    pump.now = 1;
    pump.retune(Some(&slice));
    for n in [8, 8, 8] {
        pump.read(DOWN, n, false);
        pump.write_all();
    }
    let whats: Vec<What> = pump.records.iter().map(|record| record.injection.what).collect();
    assert_eq!(whats, [What::Delayed, What::Reset], "the byte behind the cut would never have been late");
    assert_eq!(pump.down(), Pump::sent(24));
    assert!(pump.chain.is_none(), "nothing is left to observe: it is spliced again");
}

#[test]
fn what_would_be_held_for_good_is_on_record_once_per_opening() {
    let stand = Stand::new();
    let mut active = stand.active(1, None, kind("partition", "how = 'hang'"));
    active.observed = true;
    active.window = Window { at: 0, length: Some(10 * MILLI), every: Some(20 * MILLI), times: Some(2) };
    let slice = slice([active]);
    let mut pump = Pump::new(0);
    pump.now = 1;
    pump.retune(Some(&slice));
    let mut go = |until: Time| {
        while pump.now < until {
            pump.read(DOWN, 50, true);
            pump.write_all();
            pump.set(pump.now + MILLI);
        }
        let held = pump.records.iter().filter(|record| record.injection.what == What::Held && !record.released).count();
        (held, pump.queued())
    };
    assert_eq!(go(15 * MILLI), (1, 0));
    assert_eq!(go(35 * MILLI), (2, 0));
    assert_eq!(slice.actives[0].tally.affected.load(Ordering::Relaxed), 1);
}

#[test]
fn a_gate_that_would_refuse_lets_by() {
    for (fields, what) in [("how = 'reject'", What::Refused), ("how = 'hang'", What::Held)] {
        let stand = Stand::new();
        let slice = slice_of(&stand, &[kind("partition", fields)], true);
        let pump = Pump::at_the_gate(0);
        let (mut chain, mut records) = (crate::chain::Chain::new(), Vec::new());
        chain.retune(Some(&slice), &pump.talk, &mut 0, at(1));
        assert_eq!(chain.gate(&Opening::Accepted(None), &pump.talk, at(1), &mut records), Gate::Pass);
        let seen: Vec<What> = records.iter().map(|record| record.injection.what).collect();
        assert_eq!(seen, [what]);
        assert!(!chain.is_holding());
    }
}

#[test]
fn an_acting_fault_beside_it_acts_as_ever() {
    let stand = Stand::new();
    let acting = stand.active(1, Some(DOWN), kind("latency", "delay = '5ms'"));
    let observed = Active { observed: true, ..stand.active(2, Some(DOWN), kind("cut", "after = '3B'")) };
    let slice = slice([acting, observed]);
    let mut pump = Pump::new(0);
    pump.now = 1;
    pump.retune(Some(&slice));
    pump.read(DOWN, 10, false);
    pump.write_all();
    assert!(pump.down().is_empty() && pump.is_holding());
    pump.set(1 + 5 * MILLI);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.ended), (10, None));
}
