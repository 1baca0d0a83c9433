//! The counts over loom's atomics: every order in which workers can meet is tried.
#![allow(unreachable_pub, dead_code, missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;

use self::counts::{Counts, Sums};

#[path = "counts.rs"]
mod counts;

/// A step of 1 ns and room for two: the third step takes the first one's place.
fn counts(lanes: usize) -> Arc<Counts> {
    Arc::new(Counts::with_room(60, lanes, 2))
}

fn bad(n: u64) -> Sums {
    Sums { total: n, bad: n }
}

#[test]
fn of_two_workers_that_are_both_bad_at_least_one_sees_both() {
    loom::model(|| {
        let counts = counts(2);
        let count = |counts: &Counts, lane| {
            counts.add(lane, bad(1), 0);
            fence(Ordering::SeqCst);
            counts.sum(0, 0).bad
        };
        let other = counts.clone();
        let other = thread::spawn(move || count(&other, 1));
        let seen = count(&counts, 0).max(other.join().unwrap());
        assert_eq!(seen, 2);
    });
}

#[test]
fn no_step_is_taken_for_another_while_its_place_is_made_anothers() {
    loom::model(|| {
        let counts = counts(1);
        counts.add(0, bad(5), 0);
        let reader = counts.clone();
        let reader = thread::spawn(move || (reader.sum(0, 0), reader.sum(2, 0)));
        counts.add(0, bad(1), 2);
        let (first, third) = reader.join().unwrap();
        assert!([0, 5].contains(&first.bad) && first.bad == first.total, "{first:?}");
        assert!(third.bad <= 1 && third.bad <= third.total, "{third:?}");
    });
}
