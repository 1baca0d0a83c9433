#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::cell::Cell;
use crate::time::{MILLI, SECOND};

const BAD: Event = Event::Request { failed: true };
const GOOD: Event = Event::Request { failed: false };

struct Wire {
    wire: Tripwire,
    switch: Arc<Switch>,
    rung: Arc<AtomicU64>,
}

/// On, with a timeline that began at 1 s; faults open at 0 on it.
fn wire(limit: Limit, change: impl FnOnce(&mut Guarding)) -> Wire {
    let (switch, rung) = (Cell::default().switch(), Arc::new(AtomicU64::new(0)));
    switch.start(SECOND);
    let bell = rung.clone();
    let mut guarding = Guarding {
        source: Source::Requests,
        limit,
        over: 60 * SECOND,
        hold: 0,
        flip: Flip::End,
        switch: switch.clone(),
        from: 0,
        bell: Arc::new(move || {
            bell.fetch_add(1, Ordering::SeqCst);
        }),
    };
    change(&mut guarding);
    Wire { wire: Tripwire::new(guarding, 2), switch, rung }
}

fn at(mono: Time) -> Now {
    Now { mono, boot: mono }
}

impl Wire {
    fn count(&self, n: u64, event: Event, time: Time) -> &Wire {
        (0..n).for_each(|n| self.wire.count(usize::from(n % 2 == 0), event, at(time)));
        self
    }

    fn is_on(&self) -> bool {
        self.switch.is_on(at(2 * SECOND))
    }
}

#[test]
fn the_very_event_that_spends_the_allowance_switches_it_off() {
    let harm = wire(Limit::Harm(50), |_| {});
    harm.count(49, BAD, 2 * SECOND).count(1_000, GOOD, 2 * SECOND).count(9, Event::Broken, 2 * SECOND);
    assert!(harm.is_on() && harm.wire.tripped().is_none());
    harm.count(1, BAD, 3 * SECOND);
    assert!(!harm.is_on() && harm.switch.is_over(at(3 * SECOND)));
    assert_eq!((harm.wire.tripped(), harm.wire.harmed(), harm.rung.load(Ordering::SeqCst)), (Some(3 * SECOND), 50, 1));
}

#[test]
fn harm_is_counted_from_the_opening_of_the_first_fault_and_not_in_pauses() {
    let harm = wire(Limit::Harm(2), |guarding| guarding.from = 10 * SECOND);
    harm.count(9, BAD, 11 * SECOND - 1).count(1, BAD, 11 * SECOND);
    harm.switch.pause();
    harm.count(9, BAD, 12 * SECOND);
    harm.switch.start(SECOND);
    assert_eq!(harm.wire.harmed(), 1);
    harm.wire.forget(at(12 * SECOND)); // a pause gives nothing back
    harm.count(1, BAD, 12 * SECOND);
    assert!(!harm.is_on());
}

#[test]
fn an_allowance_that_ends_nothing_is_spent_again_and_again() {
    let harm = wire(Limit::Harm(3), |guarding| guarding.flip = Flip::Nothing);
    for round in 1..4 {
        harm.count(3, BAD, 2 * SECOND);
        assert!(harm.is_on() && harm.wire.tripped().is_some());
        assert_eq!(harm.rung.load(Ordering::SeqCst), round);
        harm.wire.rest();
    }
}

#[test]
fn every_worker_may_spend_the_last_of_it_but_only_one_does() {
    for _ in 0..200 {
        let harm = wire(Limit::Harm(40), |_| {});
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let wire = &harm.wire;
                scope.spawn(move || (0..10).for_each(|_| wire.count(lane, BAD, at(2 * SECOND))));
            }
        });
        assert!(!harm.is_on());
        assert_eq!(harm.rung.load(Ordering::SeqCst), 1);
    }
}

/// 216 times a budget of 0.1 % is 21.6 %: 0.5 % of the month's budget in a minute.
const FAST: Limit = Limit::Burn { rate: 216.0, budget: 0.001 };

#[test]
fn a_budget_burns_when_both_windows_do_with_ten_bad_in_the_short_one() {
    let burn = wire(FAST, |_| {});
    burn.count(784, GOOD, 100 * SECOND).count(215, BAD, 100 * SECOND);
    assert!(burn.is_on(), "215 of 999 are 21.52 %");
    burn.count(1, BAD, 100 * SECOND);
    assert!(!burn.is_on(), "216 of 1000 are 21.6 %");

    let few = wire(FAST, |_| {});
    few.count(9, BAD, 100 * SECOND);
    assert!(few.is_on(), "nine are no opinion, however large their share");
    few.count(1, BAD, 100 * SECOND);
    assert!(!few.is_on());
}

#[test]
fn a_burn_that_is_over_or_has_only_begun_does_not_fire() {
    let past = wire(FAST, |guarding| guarding.flip = Flip::Nothing);
    past.count(500, BAD, 100 * SECOND).wire.rest();
    past.count(100, GOOD, 110 * SECOND).count(10, BAD, 110 * SECOND);
    assert!(past.wire.tripped().is_none(), "the short window has forgotten: 10 of 110");

    let begun = wire(FAST, |_| {});
    begun.count(10_000, GOOD, 100 * SECOND).count(50, BAD, 150 * SECOND);
    assert!(begun.is_on(), "all of the short window is bad, the long one is not");
    assert!(begun.wire.read(at(150 * SECOND)).is_some_and(|rate| rate < 5.0));
}

#[test]
fn rows_of_the_workbook_fire_at_their_rate_and_not_below() {
    for (rate, over) in [(14.4, 3600), (216.0, 60), (43.2, 300), (14.4, 900)] {
        let row = |share: f64| {
            let over = over * SECOND;
            let burn = wire(Limit::Burn { rate, budget: 0.001 }, |guarding| guarding.over = over);
            let mut owed = 0.0;
            for n in 0..40_000 {
                let now = SECOND + over / 40_000 * n;
                owed += share;
                let bad = owed >= 1.0;
                owed -= f64::from(u8::from(bad));
                burn.wire.count(0, if bad { BAD } else { GOOD }, at(now));
            }
            burn.switch.is_over(at(SECOND))
        };
        assert!(row(rate * 0.00102), "{rate} over {over}");
        assert!(!row(rate * 0.00095), "{rate} over {over}");
    }
}

const TWO_PERCENT: Limit = Limit::Share { above: 0.02, min_events: 20 };

#[test]
fn a_share_fires_on_the_event_that_makes_it_too_large() {
    let share = wire(TWO_PERCENT, |guarding| guarding.over = 10 * SECOND);
    share.count(98, GOOD, 2 * SECOND).count(2, BAD, 2 * SECOND);
    assert!(share.is_on(), "2 of 100 are not more than 2 %");
    share.count(1, BAD, 2 * SECOND);
    assert!(!share.is_on());
    assert!(share.wire.worst().is_some_and(|worst| (0.029..0.03).contains(&worst)));

    let few = wire(TWO_PERCENT, |_| {});
    assert!(few.count(19, BAD, 2 * SECOND).is_on());
    assert!(!few.count(1, BAD, 2 * SECOND).is_on());
}

#[test]
fn a_quantile_is_a_share_of_slow_answers() {
    let slow = |ms| Event::Took(ms * MILLI);
    let p99 =
        wire(Limit::Share { above: 0.01, min_events: 20 }, |guarding| guarding.source = Source::Answers(800 * MILLI));
    p99.count(990, slow(800), 2 * SECOND).count(10, slow(900), 2 * SECOND);
    assert!(p99.is_on(), "99 % were not slower");
    p99.count(1, slow(801), 2 * SECOND);
    assert!(!p99.is_on());
}

#[test]
fn connections_fail_out_of_those_accepted() {
    let share = wire(TWO_PERCENT, |guarding| guarding.source = Source::Connections);
    share.count(100, Event::Accepted, 2 * SECOND).count(50, BAD, 2 * SECOND).count(2, Event::Broken, 2 * SECOND);
    assert!(share.is_on());
    assert!(!share.count(1, Event::Broken, 2 * SECOND).is_on());
}

#[test]
fn what_has_to_last_is_marked_by_the_event_and_fires_by_the_next_or_by_a_look() {
    let by_event = wire(TWO_PERCENT, |guarding| guarding.hold = 5 * SECOND);
    by_event.count(30, BAD, 2 * SECOND);
    assert!(by_event.is_on());
    assert_eq!(by_event.wire.since(), Some(2 * SECOND));
    assert!(by_event.count(1, BAD, 7 * SECOND - 1).switch.is_on(at(2 * SECOND)));
    assert!(!by_event.count(1, BAD, 7 * SECOND).is_on());

    let by_look = wire(TWO_PERCENT, |guarding| guarding.hold = 5 * SECOND);
    by_look.count(30, BAD, 2 * SECOND).wire.look(at(7 * SECOND));
    assert_eq!((by_look.is_on(), by_look.wire.tripped()), (false, Some(7 * SECOND)));

    by_look.wire.look(at(100 * SECOND));
    by_look.wire.forget(at(100 * SECOND));
    assert_eq!(by_look.wire.tripped(), Some(7 * SECOND), "until somebody was told");

    let over = wire(TWO_PERCENT, |guarding| (guarding.hold, guarding.over) = (5 * SECOND, SECOND));
    over.count(30, BAD, 2 * SECOND).wire.look(at(4 * SECOND));
    assert_eq!(over.wire.since(), None, "it went away");
    assert!(over.count(30, BAD, 8 * SECOND).is_on());
}

#[test]
fn a_window_forgets_what_is_older_and_everything_when_told_to() {
    let counts = Counts::new(60 * SECOND, 3);
    for second in 0..600 {
        counts.add(second as usize % 3, Sums { total: 10, bad: 1 }, second * SECOND);
        let seconds = (second + 1).min(61);
        assert_eq!(counts.sum(second * SECOND, STEPS), Sums { total: 10 * seconds, bad: seconds }, "{second}");
        assert_eq!(counts.sum(second * SECOND, 5).bad, (second + 1).min(6));
    }
    assert_eq!(counts.sum(10_000 * SECOND, STEPS), Sums::default());
    counts.forget(599 * SECOND);
    assert_eq!(counts.sum(599 * SECOND, STEPS), Sums::default(), "of the step under way too");
    counts.add(1, Sums { total: 3, bad: 2 }, 599 * SECOND);
    counts.add(2, Sums { total: 4, bad: 1 }, 600 * SECOND);
    assert_eq!(counts.sum(600 * SECOND, STEPS), Sums { total: 7, bad: 3 });
    assert_eq!(counts.sum(660 * SECOND, STEPS), Sums { total: 4, bad: 1 }, "what was forgotten has gone with its step");
}

#[test]
fn what_is_paused_or_only_observed_is_switched_as_its_action_says() {
    let pausing = wire(TWO_PERCENT, |guarding| guarding.flip = Flip::Pause);
    pausing.count(30, BAD, 2 * SECOND);
    assert!(!pausing.is_on() && !pausing.switch.is_over(at(2 * SECOND)));
    let telling = wire(TWO_PERCENT, |guarding| guarding.flip = Flip::Nothing);
    telling.count(30, BAD, 2 * SECOND);
    assert!(telling.is_on() && telling.wire.tripped().is_some());
    assert_eq!(telling.rung.load(Ordering::SeqCst), 1, "the engine is woken once");
}
