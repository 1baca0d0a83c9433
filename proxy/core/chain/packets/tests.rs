#![allow(clippy::unwrap_used, clippy::panic)]

mod kinds;
mod random;
mod support;

use std::sync::Arc;

use support::{DOWN, Lab, UP, payload, real, slice};

use crate::chain::Talk;
use crate::fault::observed::Observed;
use crate::fault::{Flow, What};
use crate::observe::Record;
use crate::plan::{Active, OnAbort};
use crate::select::Count;
use crate::time::{MILLI, SECOND};

#[test]
fn no_fault_no_engine() {
    let lab = Lab::new(vec![]);
    assert!(lab.packets.is_idle());
}

#[test]
fn a_delay_is_each_datagrams_own_and_on_record() {
    let mut lab = Lab::new(vec![real("latency", "delay = '10ms'")]);
    for ms in [0, 3, 4] {
        lab.at(ms * MILLI).send(DOWN);
    }
    lab.run(SECOND);
    assert_eq!(lab.out(DOWN), [(10 * MILLI, 0), (13 * MILLI, 1), (14 * MILLI, 2)]);
    let figures: Vec<_> =
        lab.records.iter().map(|r| (r.injection.what, r.injection.drawn, r.injection.achieved)).collect();
    assert_eq!(figures, [(What::Delayed, 10 * MILLI, 10 * MILLI); 3]);
    let tally = lab.faults[0].tally.read();
    assert_eq!((tally.eligible, tally.selected, tally.injected, tally.affected, tally.held), (1, 1, 3, 1, 0));
}

#[test]
fn jitter_reorders_only_where_it_may() {
    let arrivals = |order: &str| {
        let mut lab = Lab::new(vec![real("latency", &format!("delay = '50ms'\njitter = '50ms'\norder = '{order}'"))]);
        for n in 0..200 {
            lab.at(n * MILLI).send(DOWN);
        }
        lab.run(10 * SECOND);
        let late = lab.records.iter().filter(|r| r.injection.scheduled > r.injection.drawn).count();
        (lab.out(DOWN).into_iter().map(|(_, number)| number).collect::<Vec<_>>(), late)
    };
    let (kept, late) = arrivals("keep");
    assert!(
        kept.is_sorted() && kept.len() == 200 && late > 50,
        "those behind a slower one waited, and the record says so"
    );
    let (mut free, late) = arrivals("free");
    assert!(!free.is_sorted() && late == 0);
    free.sort_unstable();
    assert_eq!(free, kept);
}

#[test]
fn an_abort_lets_everything_go_at_once_in_order_of_arrival() {
    let faults = vec![real("latency", "delay = '9s'\njitter = '5s'\norder = 'free'"), real("latency", "delay = '2s'")];
    let mut lab = Lab::new(faults);
    for n in 0..50 {
        lab.at(n * 100 * MILLI).send(DOWN);
    }
    lab.run(5 * SECOND);
    assert!(lab.packets.is_holding());
    let before = lab.out(DOWN).len();
    lab.faults.iter().for_each(|fault| fault.switch.end());
    lab.poll();
    let released = lab.out(DOWN).split_off(before);
    assert_eq!(before + released.len(), 50);
    assert!(released.is_sorted_by_key(|(_, number)| *number), "{released:?}");
    assert!(released.iter().all(|(at, _)| *at == 5 * SECOND), "at once");
    assert_eq!((lab.packets.held(), lab.packets.is_holding()), (0, false));
    for fault in &lab.faults {
        assert_eq!(fault.tally.read().held, 0);
    }
    assert!(lab.records.iter().filter(|record| record.released).count() >= released.len());
}

#[test]
fn closed_on_abort_means_dropped_and_on_record() {
    let mut fault = real("latency", "delay = '9s'");
    fault.on_abort = OnAbort::Close;
    let mut lab = Lab::new(vec![fault]);
    lab.at(0).send(DOWN);
    lab.run(SECOND);
    lab.faults[0].switch.end();
    lab.poll();
    assert!(lab.out(DOWN).is_empty());
    let what: Vec<_> = lab.records.iter().map(|record| record.injection.what).collect();
    assert_eq!(what, [What::Delayed, What::Dropped]);
}

#[test]
fn a_new_configuration_moves_what_is_held_and_keeps_its_counts() {
    let mut lab = Lab::new(vec![real("latency", "delay = '9s'")]);
    lab.at(0).send(DOWN);
    lab.run(50 * MILLI);
    lab.change(0, real("latency", "delay = '80ms'"));
    lab.run(SECOND);
    assert_eq!(lab.out(DOWN), [(80 * MILLI, 0)]);
    assert_eq!(lab.faults[0].tally.read().eligible, 1);
}

#[test]
fn a_fault_that_is_taken_away_lets_go_into_those_that_stay() {
    let mut lab = Lab::new(vec![real("latency", "delay = '9s'"), real("latency", "delay = '100ms'")]);
    lab.at(0).send(DOWN);
    lab.run(50 * MILLI);
    lab.remove(0);
    lab.run(SECOND);
    assert_eq!(lab.out(DOWN), [(150 * MILLI, 0)]);
}

/// Faults that act, and the same ones observed: what is put on record, and what comes out.
#[test]
fn what_is_observed_passes_at_once_and_is_on_record_as_if_it_had_been_done() {
    let cases: &[&[(&str, &str)]] = &[
        &[("latency", "delay = '50ms'\njitter = '50ms'\norder = 'keep'")],
        &[("latency", "delay = '50ms'\njitter = '50ms'\norder = 'free'")],
        &[("loss", "share = '20%'\nburst = 3"), ("duplicate", "share = '50%'\ncopies = 2\ngap = '3ms'")],
        &[("bandwidth", "rate = '20KB/s'\nlimit = '1KB'")],
        &[("corrupt", "one_per = '16B'"), ("truncate", "to = '40B'")],
        &[("partition", "how = 'hang'"), ("blackhole", "")],
        &[("blackhole", ""), ("corrupt", "one_per = '16B'")],
    ];
    for faults in cases {
        let run = |observed: bool| {
            let faults = faults.iter().map(|(kind, fields)| {
                let acting = real(kind, fields);
                match observed {
                    true => Active { observed, fault: Arc::new(Observed(acting.fault)), ..acting },
                    false => acting,
                }
            });
            let mut lab = Lab::new(faults.collect());
            for n in 0..300 {
                lab.at(n * MILLI).send(DOWN);
            }
            lab.run(300 * MILLI);
            let is_holding = lab.packets.is_holding();
            lab.run(20 * SECOND);
            let line = |r: &Record| {
                (
                    r.fault.fault.clone(),
                    r.injection.step,
                    format!("{:?}", r.injection.what),
                    r.injection.drawn,
                    r.injection.scheduled,
                )
            };
            let mut lines: Vec<_> = lab.records.iter().map(line).collect();
            lines.sort();
            let achieved: u64 = lab.records.iter().map(|record| record.injection.achieved).sum();
            (lines, is_holding, achieved, lab)
        };
        let (done, ..) = run(false);
        let (seen, is_holding, achieved, lab) = run(true);
        assert!(!done.is_empty());
        assert_eq!(seen, done, "{faults:?}");
        assert!(!is_holding && achieved == 0, "{faults:?}");
        let expected: Vec<_> = (0..300).map(|n| (n * MILLI, n)).collect();
        assert_eq!(lab.out(DOWN), expected, "{faults:?}");
        assert!((0..).zip(&lab.bytes[DOWN as usize]).all(|(n, bytes)| *bytes == payload(n)), "{faults:?}");
    }
}

#[test]
fn directions_do_not_touch_each_other() {
    let mut lab = Lab::new(vec![real("latency", "delay = '10ms'")]);
    lab.at(0).send(UP);
    lab.at(0).send(DOWN);
    lab.run(SECOND);
    assert_eq!((lab.out(UP), lab.out(DOWN)), (vec![(0, 0)], vec![(10 * MILLI, 0)]));
}

#[test]
fn what_does_not_fit_is_dropped_as_squalls_own() {
    let mut lab = Lab::new(vec![real("latency", "delay = '1s'")]);
    lab.room = 3 * (super::OVERHEAD + 100);
    for _ in 0..5 {
        lab.at(0).send(DOWN);
    }
    lab.run(10 * SECOND);
    assert_eq!((lab.out(DOWN).len(), lab.dropped), (3, 2));
    assert!(lab.records.iter().all(|record| record.injection.what == What::Delayed), "no injection");
}

#[test]
fn associations_are_counted_and_selected_as_units() {
    let mut fault = real("loss", "share = '100%'");
    fault.select.count = Count::Each(2);
    let fault = slice(vec![fault.into()]);
    let lost = |ordinal| {
        let mut lab = Lab::on(&fault, Talk::new(ordinal, None, 0));
        (0..3).for_each(|_| lab.at(0).send(DOWN));
        lab.run(SECOND);
        3 - lab.out(DOWN).len()
    };
    assert_eq!((0..6).map(lost).collect::<Vec<_>>(), [0, 3, 0, 3, 0, 3]);
    let tally = fault.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected, tally.affected, tally.injected), (6, 3, 3, 9));
}

#[test]
fn a_hang_keeps_what_fits_and_delivers_it_in_order_when_it_heals() {
    let mut lab = Lab::new(vec![real("partition", "how = 'hang'")]);
    for n in 0..1_000 {
        lab.at(n * MILLI).send(DOWN);
    }
    lab.run(2 * SECOND);
    assert!(lab.out(DOWN).is_empty() && lab.packets.is_holding());
    lab.faults[0].switch.end();
    lab.poll();
    let fit = 64 * 1024 / 100;
    assert_eq!(lab.out(DOWN).iter().map(|(_, number)| *number).collect::<Vec<_>>(), (0..fit).collect::<Vec<u64>>());
    let dropped = lab.records.iter().filter(|record| record.injection.what == What::Dropped).count() as u64;
    assert_eq!(dropped + fit, 1_000);
}

#[test]
fn what_is_dropped_is_on_record_and_the_rest_flows_when_it_is_lifted() {
    for (kind, fields) in [("blackhole", ""), ("partition", "how = 'drop'"), ("partition", "how = 'reject'")] {
        let mut lab = Lab::new(vec![real(kind, fields)]);
        (0..5).for_each(|n| lab.at(n * MILLI).send(DOWN));
        lab.run(SECOND);
        lab.faults[0].switch.end();
        lab.at(2 * SECOND).send(DOWN);
        lab.run(3 * SECOND);
        assert_eq!(lab.out(DOWN), [(2 * SECOND, 5)], "{kind} {fields}");
        assert_eq!(lab.faults[0].tally.read().injected, 5, "{kind} {fields}");
    }
}

/// Shares, and how many are lost in a row, over many datagrams.
#[test]
fn losses_have_the_share_and_the_bursts_that_were_asked_for() {
    const SENT: u64 = 400_000;
    for (share, burst) in [(0.01, 3.0), (0.05, 5.0), (0.2, 3.0)] {
        let mut lab = Lab::new(vec![real("loss", &format!("share = '{}%'\nburst = {burst}", share * 100.0))]);
        (0..SENT).for_each(|n| lab.at(n).send(DOWN));
        lab.run(10 * SECOND);
        let lost: Vec<u64> = lab.records.iter().map(|record| record.injection.step >> 1).collect();
        let bursts = 1 + lost.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        let (found, mean) = (lost.len() as f64 / SENT as f64, lost.len() as f64 / bursts as f64);
        assert!((found / share - 1.0).abs() < 0.1, "{share}: {found}");
        assert!((mean / burst - 1.0).abs() < 0.08, "{burst}: {mean}");
    }
}

/// Same seed, same association, same number: the same decision, whatever the times.
#[test]
fn decisions_depend_on_numbers_only() {
    let lost = |gap: u64, seed: u64| {
        let mut fault = real("loss", "share = '20%'\nburst = 3");
        fault.draws = crate::draw::DrawKey::new(seed, "test", "loss");
        let mut lab = Lab::new(vec![fault]);
        for n in 0..500 {
            lab.at(n * gap).send(DOWN);
            lab.at(n * gap).send(Flow::Upstream);
        }
        lab.run(1000 * SECOND);
        lab.records.iter().map(|record| record.injection.step).collect::<Vec<_>>()
    };
    assert_eq!(lost(0, 1), lost(7 * MILLI, 1));
    assert_ne!(lost(0, 1), lost(0, 2));
}
