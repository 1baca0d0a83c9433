//! Kinds that change, double or pace datagrams, in virtual time.

use super::support::{DOWN, Lab, payload, real};
use crate::fault::{Carrier, Injection, What};
use crate::time::{MILLI, SECOND};

/// So many datagrams, 100 bytes each, one per millisecond.
fn sent(kind: &str, fields: &str, count: u64) -> Lab {
    let mut lab = Lab::new(vec![real(kind, fields)]);
    (0..count).for_each(|n| lab.at(n * MILLI).send(DOWN));
    lab.run(100 * SECOND);
    lab
}

fn injected(lab: &Lab, what: What) -> Vec<Injection> {
    let all = lab.records.iter().map(|record| record.injection);
    all.filter(|injection| injection.what == what).collect()
}

#[test]
fn one_bit_in_each_stretch_of_each_datagram_is_flipped_and_on_record() {
    let lab = sent("corrupt", "one_per = '10B'", 200);
    let mut flips = Vec::new();
    for (number, got) in (0..).zip(&lab.bytes[DOWN as usize]) {
        let pairs = got.iter().zip(payload(number)).enumerate();
        let changed: Vec<(usize, u32)> = pairs
            .filter(|(_, (got, sent))| *got != sent)
            .map(|(i, (got, sent))| (i, (got ^ sent).count_ones()))
            .collect();
        assert_eq!(
            changed.iter().map(|(i, bits)| (i / 10, *bits)).collect::<Vec<_>>(),
            (0..10).map(|i| (i, 1)).collect::<Vec<_>>()
        );
        flips.extend(changed.iter().map(|(i, _)| *i as u64));
    }
    assert_eq!(flips.len(), 2_000);
    let recorded: Vec<u64> = injected(&lab, What::Corrupted).iter().map(|flip| flip.achieved).collect();
    assert_eq!(recorded, flips);
    let steps = injected(&lab, What::Corrupted).iter().map(|flip| flip.step).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(steps.len(), 2_000, "each has a draw of its own");
    assert_eq!(sent("corrupt", "one_per = '10B'", 200).bytes, lab.bytes, "the same seed flips the same");
}

#[test]
fn a_stretch_longer_than_datagrams_hits_as_many_as_it_is_long() {
    let lab = sent("corrupt", "one_per = '1kB'", 5_000);
    let hit = injected(&lab, What::Corrupted).len();
    assert!((400..600).contains(&hit), "one in ten: {hit}");
}

#[test]
fn what_is_longer_is_cut_and_on_record() {
    for (fields, cut) in
        [("to = '40B'", 1_000..=1_000), ("to = '100B'", 0..=0), ("to = '8B'\nshare = '30%'", 240..=360)]
    {
        let lab = sent("truncate", fields, 1_000);
        let records = injected(&lab, What::Truncated);
        assert!(cut.contains(&records.len()), "{fields}: {}", records.len());
        let got = &lab.bytes[DOWN as usize];
        assert_eq!(got.len(), 1_000, "{fields}");
        assert_eq!(got.iter().filter(|bytes| bytes.len() < 100).count(), records.len(), "{fields}");
        assert!((0..).zip(got).all(|(number, bytes)| payload(number).starts_with(bytes)), "{fields}");
        let left = |number: u64| got[usize::try_from(number).unwrap()].len() as u64;
        assert!(records.iter().all(|record| record.achieved == left(record.step >> 1)), "{fields}");
    }
}

#[test]
fn copies_come_after_their_original_at_the_gap() {
    let lab = sent("duplicate", "share = '30%'\ncopies = 2\ngap = '2500us'", 1_000);
    let records = injected(&lab, What::Duplicated);
    assert!((240..360).contains(&records.len()), "{}", records.len());
    assert!(records.iter().all(|record| record.achieved == 200));
    let doubled: Vec<u64> = records.iter().map(|record| record.step >> 1).collect();
    for number in 0..1_000 {
        let out = lab.out(DOWN).into_iter().filter(|(_, other)| *other == number).map(|(at, _)| at);
        let at = number * MILLI;
        let twice = doubled.contains(&number);
        let due = [at, at + 2_500_000, at + 5 * MILLI];
        assert_eq!(out.collect::<Vec<_>>(), if twice { due.to_vec() } else { due[..1].to_vec() }, "{number}");
    }
    let at_once = sent("duplicate", "share = '100%'", 10);
    assert_eq!(at_once.bytes[DOWN as usize].len(), 20);
}

#[test]
fn copies_that_wait_do_not_outlive_the_fault() {
    let mut lab = Lab::new(vec![real("duplicate", "share = '100%'\ngap = '1h'")]);
    lab.at(0).send(DOWN);
    lab.run(SECOND);
    assert_eq!(lab.out(DOWN).len(), 1);
    lab.faults[0].switch.end();
    lab.poll();
    assert!(!lab.packets.is_holding());
    lab.at(2 * SECOND).send(DOWN);
    lab.run(3 * SECOND);
    assert_eq!(lab.out(DOWN).last(), Some(&(2 * SECOND, 1)));
}

#[test]
fn datagrams_are_paced_in_order_and_each_wait_is_on_record() {
    let mut lab = Lab::new(vec![real("bandwidth", "rate = '10kB/s'")]);
    (0..5).for_each(|_| lab.at(0).send(DOWN));
    lab.at(SECOND).send(DOWN);
    lab.run(2 * SECOND);
    let due = [10, 20, 30, 40, 50, 1_010].map(|ms| ms * MILLI);
    assert_eq!(lab.out(DOWN), due.into_iter().zip(0..).collect::<Vec<_>>());
    let waits = injected(&lab, What::Paced);
    let waited = [10, 20, 30, 40, 50, 10].map(|ms| (ms * MILLI, ms * MILLI));
    assert_eq!(waits.iter().map(|wait| (wait.scheduled, wait.achieved)).collect::<Vec<_>>(), waited);
}

#[test]
fn a_burst_goes_at_once_and_is_no_injection() {
    let mut lab = Lab::new(vec![real("bandwidth", "rate = '10kB/s'\nburst = '300B'")]);
    (0..4).for_each(|_| lab.at(0).send(DOWN));
    lab.run(SECOND);
    assert_eq!(lab.out(DOWN), [(0, 0), (0, 1), (0, 2), (10 * MILLI, 3)]);
    assert_eq!(lab.records.len(), 1);
}

#[test]
fn what_finds_the_queue_full_is_dropped_and_on_record() {
    let mut lab = Lab::new(vec![real("bandwidth", "rate = '10kB/s'\nlimit = '250B'")]);
    (0..10).for_each(|_| lab.at(0).send(DOWN));
    lab.at(15 * MILLI).send(DOWN);
    lab.run(SECOND);
    assert_eq!(lab.out(DOWN), [(10 * MILLI, 0), (20 * MILLI, 1), (30 * MILLI, 10)]);
    let dropped: Vec<u64> = injected(&lab, What::Dropped).iter().map(|record| record.step >> 1).collect();
    assert_eq!((dropped, lab.dropped), ((2..10).collect(), 0), "the fault's own doing");
    let limited = real("bandwidth", "rate = '10kB/s'\nlimit = '250B'").fault;
    assert_eq!(limited.misfit(Carrier::Stream).map(|(field, _)| field), Some("limit"));
    assert_eq!(limited.misfit(Carrier::Datagrams), None);
}

#[test]
fn a_new_rate_counts_for_what_waits_and_an_abort_lets_it_go_in_order() {
    let mut lab = Lab::new(vec![real("bandwidth", "rate = '100B/s'")]);
    (0..6).for_each(|_| lab.at(0).send(DOWN));
    lab.run(500 * MILLI);
    assert!(lab.out(DOWN).is_empty());
    lab.change(0, real("bandwidth", "rate = '1kB/s'"));
    lab.run(600 * MILLI);
    assert_eq!(lab.out(DOWN), [(550 * MILLI, 0)]);
    lab.faults[0].switch.end();
    lab.poll();
    assert_eq!(lab.out(DOWN)[1..], (1..6).map(|number| (600 * MILLI, number)).collect::<Vec<_>>());
}

#[test]
fn a_rate_of_0_holds_until_it_is_lifted_or_rises() {
    let mut lab = Lab::new(vec![real("bandwidth", "rate = '0'")]);
    (0..3).for_each(|n| lab.at(n * MILLI).send(DOWN));
    lab.run(SECOND);
    assert!(lab.out(DOWN).is_empty() && lab.packets.is_holding());
    assert_eq!(lab.records[0].injection.what, What::Held);
    lab.faults[0].switch.end();
    lab.poll();
    assert_eq!(lab.out(DOWN), (0..3).map(|number| (SECOND, number)).collect::<Vec<_>>());

    let mut lab = Lab::new(vec![real("bandwidth", "rate = { steps = ['0', '10kB/s'], hold = '1s' }")]);
    (0..3).for_each(|n| lab.at(n * MILLI).send(DOWN));
    lab.run(5 * SECOND);
    assert_eq!(lab.out(DOWN), [1_010, 1_020, 1_030].map(|ms| ms * MILLI).into_iter().zip(0..).collect::<Vec<_>>());
}
