//! The switch over loom's atomics: every order in which threads can meet is tried.
#![allow(unreachable_pub, dead_code, missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use self::switch::Switch;
use super::Course;
use crate::time::Now;

#[path = "switch.rs"]
mod switch;

const NOW: Now = Now { mono: 1, boot: 1 };

/// Runs `off` against all of `others`, each on a thread of its own; from the return of `off` on nobody sees it on.
fn off_wins(off: fn(&Switch, &AtomicU64), others: &'static [fn(&Switch)]) {
    loom::model(move || {
        let master = Arc::new(AtomicU64::new(0));
        let switch = Arc::new(Switch::new(master.clone()));
        let threads: Vec<_> = others
            .iter()
            .map(|other| {
                let switch = switch.clone();
                thread::spawn(move || other(&switch))
            })
            .collect();
        off(&switch, &master);
        assert!(!switch.is_on(NOW), "on right after it");
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!switch.is_on(NOW), "on in the end");
        assert!(switch.is_over(NOW));
    });
}

#[test]
fn an_end_wins_over_starts_and_pauses_in_every_order() {
    off_wins(|switch, _| switch.end(), &[|switch| switch.start(0), |switch| switch.pause()]);
    off_wins(
        |switch, _| switch.end(),
        &[|switch| {
            switch.start(0);
            switch.pause();
            switch.start(1);
        }],
    );
}

#[test]
fn an_abort_of_all_wins_over_a_start_in_every_order() {
    off_wins(
        |_, master| {
            master.fetch_add(1, Ordering::AcqRel);
        },
        &[|switch| switch.start(0), |switch| switch.pause()],
    );
}

/// A reader whose clock stands anywhere around the moment at which the timeline goes on.
fn reads(now: u64) {
    loom::model(move || {
        let switch = Arc::new(Switch::new(Arc::new(AtomicU64::new(0))));
        switch.stop_at(20);
        switch.start(100);
        let reader = switch.clone();
        let seen = thread::spawn(move || (reader.course(), reader.course()));
        switch.go_on(150, 40).unwrap();
        let (first, second) = seen.join().unwrap();
        let at = |course: Course| course.elapsed(now).unwrap();
        let allowed = if now <= 150 { 20..=20 } else { 20..=(now - 130) };
        assert!(allowed.contains(&at(first)) && allowed.contains(&at(second)), "{first:?} {second:?}");
        assert!(at(first) <= at(second), "back: {first:?} {second:?}");
    });
}

#[test]
fn a_timeline_that_goes_on_is_seen_at_its_stop_or_after_in_every_order() {
    [120, 149, 150, 155, 165].into_iter().for_each(reads);
}

#[test]
fn an_end_wins_over_a_timeline_that_goes_on() {
    off_wins(
        |switch, _| switch.end(),
        &[|switch| {
            switch.stop_at(0);
            switch.start(0);
            let _ = switch.go_on(1, 5);
        }],
    );
}
