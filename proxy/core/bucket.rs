//! A token bucket as one number: the time by which everything taken from it is paid for. Taking is a single atomic
//! update, so that a bucket can be shared by connections of several workers without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Time;

/// Bytes at a rate, in order of request. The time is kept in 1/64 ns: rounding stays far below a thousandth even where
/// single packets are paid for at 1 GB/s, and never adds up in one direction.
#[derive(Debug, Default)]
pub struct Bucket {
    paid: AtomicU64,
    /// The rate by which `paid` was reckoned, as the bits of an f64.
    rate: AtomicU64,
}

/// Parts of a nanosecond.
const FINE: u64 = 64;

/// A flow that asks this soon after its last bytes were paid for is taken as one that never paused: that time went into
/// timers, reads and writes, and is not to be lost for the rate.
const CATCH_UP: Time = 20_000_000;

impl Bucket {
    /// Takes `n` bytes at `rate` bytes per second (above 0) for what has waited since `arrived`; a bucket at rest has
    /// saved up at most `burst` bytes. Returns when they are paid for, which may be in the past.
    pub fn take(&self, n: u64, rate: f64, burst: u64, arrived: Time, now: Time) -> Time {
        self.follow(rate, now);
        let cost = price(n, rate);
        let saved = fine(arrived).saturating_sub(price(burst, rate));
        let start = |paid: u64| {
            let pause = fine(arrived).saturating_sub(paid);
            if paid > 0 && pause <= fine(CATCH_UP) { paid } else { paid.max(saved) }
        };
        let then = |paid: u64| start(paid).saturating_add(cost);
        let before = self.paid.fetch_update(Ordering::AcqRel, Ordering::Acquire, |paid| Some(then(paid)));
        then(before.unwrap_or_else(|paid| paid)).div_ceil(FINE)
    }

    /// How long after `now` everything taken so far is paid for, ns.
    pub fn backlog(&self, now: Time) -> Time {
        (self.paid.load(Ordering::Acquire) / FINE).saturating_sub(now)
    }

    /// What is not yet paid for at the rate of the latest call is paid for at this one.
    pub fn follow(&self, rate: f64, now: Time) {
        let bits = rate.to_bits();
        if self.rate.load(Ordering::Relaxed) == bits {
            return;
        }
        let old = f64::from_bits(self.rate.swap(bits, Ordering::AcqRel));
        if old > 0.0 && old != rate {
            let now = fine(now);
            let _ = self.paid.fetch_update(Ordering::AcqRel, Ordering::Acquire, |paid| {
                (paid > now).then(|| now.saturating_add(stretch(paid - now, old / rate)))
            });
        }
    }
}

/// A span of waiting that was reckoned at another rate: `factor` is old rate / new rate.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
pub(crate) fn stretch(span: u64, factor: f64) -> u64 {
    (span as f64 * factor) as u64
}

fn fine(time: Time) -> u64 {
    time.saturating_mul(FINE)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn price(n: u64, rate: f64) -> u64 {
    (n as f64 * (1e9 * FINE as f64) / rate + 0.5) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{MILLI, SECOND};

    const START: Time = 1_000 * SECOND;

    #[test]
    fn bytes_are_paid_for_at_the_rate_without_adding_up_errors() {
        for (rate, n) in [(10_000.0, 64), (1e9, 64), (3e9, 64), (7.0, 1), (1e12, 65_536)] {
            let bucket = Bucket::default();
            let ready = (0..100_000).fold(START, |last, _| bucket.take(n, rate, 0, START, last));
            let exact = 100_000.0 * n as f64 / rate;
            let measured = (ready - START) as f64 / 1e9;
            assert!((measured / exact - 1.0).abs() < 1e-3, "{rate}: {measured} for {exact}");
            assert!(rate > 1e9 || (measured / exact - 1.0).abs() < 1e-6, "{rate}: {measured} for {exact}");
        }
    }

    #[test]
    fn a_bucket_at_rest_saves_up_its_burst_and_no_more() {
        let bucket = Bucket::default();
        assert!(bucket.take(5_000, 1e6, 5_000, START, START) <= START);
        assert_eq!(bucket.take(1_000, 1e6, 5_000, START, START), START + MILLI);
        let later = START + 3_600 * SECOND;
        assert!(bucket.take(5_000, 1e6, 5_000, later, later) <= later);
        assert_eq!(bucket.take(1_000, 1e6, 5_000, later, later), later + MILLI);
    }

    #[test]
    fn time_lost_to_a_late_pump_is_made_up_for_but_a_pause_is_not() {
        let bucket = Bucket::default();
        assert_eq!(bucket.take(1_000, 1e6, 0, START, START), START + MILLI);
        let late = START + 4 * MILLI;
        assert_eq!(bucket.take(1_000, 1e6, 0, late, late), START + 2 * MILLI);
        let pause = START + SECOND;
        assert_eq!(bucket.take(1_000, 1e6, 0, pause, pause), pause + MILLI);
    }

    #[test]
    fn a_new_rate_applies_to_what_is_not_yet_paid_for() {
        let bucket = Bucket::default();
        bucket.take(1_000_000, 1e6, 0, START, START);
        let half = START + SECOND / 2;
        assert_eq!(bucket.backlog(half), SECOND / 2);
        bucket.take(0, 1e7, 0, half, half);
        assert_eq!(bucket.backlog(half), SECOND / 20);
    }

    #[test]
    fn takers_on_several_threads_get_the_rate_together() {
        let bucket = Bucket::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| assert!(bucket.take(100, 1e6, 0, START, START) > START)));
            }
        });
        assert_eq!(bucket.backlog(START), 400 * MILLI);
    }
}
