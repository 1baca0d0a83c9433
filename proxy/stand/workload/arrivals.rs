//! When requests are due: a function of seed, name and rate alone, never of how the answers come.

use squall_core::curve::Curve;
use squall_core::draw::{DrawKey, fraction};
use squall_core::scenario::{Arrivals, Burst};
use squall_core::time::{SECOND, Time};

/// Steps of the draws: of a request its gap and which one it is, of a stay its length.
const GAP: u64 = 0;
const STAY: u64 = 1;
const WHICH: u64 = 2;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// When it is to be sent: from [`Generator`] ns since the start.
    pub(crate) at: Time,
    /// Which of the workload's requests.
    pub(crate) request: usize,
}

/// All requests in order. The nth is due when the rate, summed up over time, reaches the nth of a sequence of marks:
/// 1 apart (constant), or exponentially distributed with mean 1 apart (Poisson, bursty). So a rate may change, or be zero
/// for a while, without a request too many or too few. Ends when the rate is zero for good.
pub(super) struct Generator {
    rate: Curve<f64>,
    arrivals: Arrivals,
    /// Weights of the requests, summed up one by one.
    weights: Vec<u64>,
    key: DrawKey,
    number: u64,
    /// Where the current stretch of the rate began: seconds since the start.
    from: f64,
    /// The mark of the latest request, counted from there: adding up times instead would add up their rounding.
    sum: f64,
    /// Of bursty arrivals: how many stays have ended, and where the current one ends. Even ones are quiet.
    stays: u64,
    until: f64,
}

impl Generator {
    pub(super) fn new(rate: Curve<f64>, arrivals: Arrivals, weights: &[u64], seed: u64, name: &str) -> Generator {
        let weights = weights.iter().scan(0_u64, |sum, weight| {
            *sum = sum.saturating_add(*weight);
            Some(*sum)
        });
        let key = DrawKey::new(seed, "workload", name);
        let weights = weights.collect();
        let mut generator =
            Generator { rate, arrivals, weights, key, number: 0, from: 0.0, sum: 0.0, stays: 0, until: 0.0 };
        if let Arrivals::Bursty(burst) = arrivals {
            generator.until = generator.stay(burst);
        }
        generator
    }

    fn gap(&self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson | Arrivals::Bursty(_) => self.exponential(self.number, GAP),
        }
    }

    /// A draw from the exponential distribution with mean 1, never 0.
    fn exponential(&self, unit: u64, step: u64) -> f64 {
        let fraction = fraction(self.key.unit(unit).at(step));
        (-(-fraction).ln_1p()).max(f64::MIN_POSITIVE)
    }

    /// How long the current stay lasts, seconds.
    fn stay(&self, burst: Burst) -> f64 {
        let mean = if self.is_busy() { burst.on } else { burst.off };
        seconds(mean) * self.exponential(self.stays, STAY)
    }

    fn is_busy(&self) -> bool {
        !self.stays.is_multiple_of(2)
    }

    /// Which request the next one is, by weight.
    fn which(&self) -> usize {
        let total = self.weights.last().copied().unwrap_or(0);
        if self.weights.len() < 2 {
            return 0;
        }
        let draw = (u128::from(self.key.unit(self.number).at(WHICH)) * u128::from(total)) >> 64;
        self.weights.partition_point(|sum| u128::from(*sum) <= draw)
    }

    /// Where the rate, summed up since `from`, reaches `sum`: seconds since the start.
    fn reach(&mut self) -> Option<f64> {
        loop {
            let Piece { end, rate, slope } = self.piece(self.from);
            let Some(end) = end else {
                return (rate > 0.0).then(|| self.from + self.sum / rate);
            };
            let span = end - self.from;
            let whole = (span * (rate + slope * span / 2.0)).max(0.0);
            if self.sum <= whole {
                let root = (rate * rate + 2.0 * slope * self.sum).max(0.0).sqrt();
                return Some((self.from + 2.0 * self.sum / (rate + root)).min(end));
            }
            self.sum -= whole;
            self.from = end;
            if let Arrivals::Bursty(burst) = self.arrivals
                && end >= self.until
            {
                self.stays += 1;
                self.until = end + self.stay(burst);
            }
        }
    }

    fn piece(&self, at: f64) -> Piece {
        let Arrivals::Bursty(burst) = self.arrivals else { return self.own_piece(at) };
        if self.is_busy() {
            return Piece { end: Some(self.until), rate: burst.rate, slope: 0.0 };
        }
        let own = self.own_piece(at);
        Piece { end: Some(own.end.map_or(self.until, |end| end.min(self.until))), ..own }
    }

    /// Of the workload's own rate.
    fn own_piece(&self, at: f64) -> Piece {
        match &self.rate {
            Curve::Constant(rate) => Piece { end: None, rate: *rate, slope: 0.0 },
            Curve::Ramp { from, to, over } => {
                let end = seconds(*over);
                if at >= end {
                    return Piece { end: None, rate: *to, slope: 0.0 };
                }
                let slope = (to - from) / end;
                Piece { end: Some(end), rate: from + slope * at, slope }
            }
            Curve::Steps { steps, hold } => {
                let hold = seconds((*hold).max(1));
                let past = (1..steps.len()).take_while(|step| at >= *step as f64 * hold).count();
                let end = (past + 1 < steps.len()).then(|| (past + 1) as f64 * hold);
                Piece { end, rate: steps.get(past).copied().unwrap_or(0.0), slope: 0.0 }
            }
        }
    }
}

/// A stretch of time in which the rate is a straight line.
struct Piece {
    /// Seconds since the start; none: for good.
    end: Option<f64>,
    /// At the time asked about.
    rate: f64,
    slope: f64,
}

impl Iterator for Generator {
    type Item = Due;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn next(&mut self) -> Option<Due> {
        self.sum += self.gap();
        let at = self.reach()?;
        let due = Due { number: self.number, at: (at * SECOND as f64).round() as Time, request: self.which() };
        self.number += 1;
        Some(due)
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(time: Time) -> f64 {
    time as f64 / SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_core::time::MILLI;

    fn until(end: Time, generator: Generator) -> Vec<Time> {
        generator.map(|due| due.at).take_while(|at| *at <= end).collect()
    }

    fn constant(rate: Curve<f64>) -> Generator {
        Generator::new(rate, Arrivals::Constant, &[1], 1, "w")
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_numbered() {
        let due: Vec<Due> = constant(Curve::Constant(200.0)).take(3).collect();
        let at = |number| Due { number, at: (number + 1) * 5 * MILLI, request: 0 };
        assert_eq!(due, [at(0), at(1), at(2)]);
        assert_eq!(until(3600 * SECOND, constant(Curve::Constant(200.0))).len(), 720_000);
    }

    #[test]
    fn a_ramp_sends_what_lies_under_it() {
        let ramp = Curve::Ramp { from: 0.0, to: 100.0, over: 10 * SECOND };
        let due = until(20 * SECOND, constant(ramp));
        assert_eq!(due.iter().filter(|at| **at <= 5 * SECOND).count(), 125);
        assert!(due.iter().filter(|at| **at <= 10 * SECOND).count().abs_diff(500) <= 1);
        assert!(due.len().abs_diff(1500) <= 1);
        let falling = until(20 * SECOND, constant(Curve::Ramp { from: 100.0, to: 0.0, over: 10 * SECOND }));
        assert!(falling.len().abs_diff(500) <= 1);
    }

    #[test]
    fn steps_change_the_rate_and_a_pause_sends_nothing() {
        let steps = Curve::Steps { steps: vec![10.0, 0.0, 20.0], hold: SECOND };
        let due = until(4 * SECOND, constant(steps));
        let between = |from, to| due.iter().filter(|at| (from * SECOND + 1..=to * SECOND).contains(*at)).count();
        assert_eq!([between(0, 1), between(1, 2), between(2, 3), between(3, 4)], [10, 0, 20, 20]);
    }

    #[test]
    fn a_rate_of_zero_ends_it() {
        assert_eq!(constant(Curve::Constant(0.0)).next(), None);
    }

    #[test]
    fn poisson_gaps_are_exponential_and_follow_the_seed() {
        let poisson = |seed| Generator::new(Curve::Constant(1000.0), Arrivals::Poisson, &[1], seed, "w");
        let due: Vec<Time> = poisson(7).map(|due| due.at).take(50_000).collect();
        assert_eq!(due, poisson(7).map(|due| due.at).take(50_000).collect::<Vec<_>>());
        assert_ne!(due[..10], poisson(8).map(|due| due.at).take(10).collect::<Vec<_>>());

        let gaps: Vec<f64> = due.windows(2).map(|pair| seconds(pair[1] - pair[0])).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean * 1000.0 - 1.0).abs() < 0.02, "mean {mean}");
        assert!((deviation / mean - 1.0).abs() < 0.03, "deviation {deviation}");
        let below = gaps.iter().filter(|gap| **gap < mean).count() as f64 / gaps.len() as f64;
        assert!((below - 0.632).abs() < 0.01, "{below} of the gaps lie below the mean");
    }

    #[test]
    fn a_ramp_of_poisson_arrivals_sends_what_lies_under_it() {
        let ramp = Curve::Ramp { from: 100.0, to: 500.0, over: 100 * SECOND };
        let due = until(100 * SECOND, Generator::new(ramp, Arrivals::Poisson, &[1], 3, "w"));
        let between = |from, to| due.iter().filter(|at| (from * SECOND..to * SECOND).contains(*at)).count() as f64;
        // five standard deviations of a Poisson count
        for (from, to, expected) in [(0, 50, 10_000.0_f64), (50, 100, 20_000.0)] {
            let seen = between(from, to);
            assert!((seen - expected).abs() < 5.0 * expected.sqrt(), "{seen} of {expected}");
        }
    }

    fn bursty(quiet: f64, burst: Burst, seed: u64) -> Generator {
        Generator::new(Curve::Constant(quiet), Arrivals::Bursty(burst), &[1], seed, "w")
    }

    const BURST: Burst = Burst { rate: 500.0, on: 2 * SECOND, off: 8 * SECOND };

    #[test]
    fn bursts_come_and_go_with_their_means_and_follow_the_seed() {
        let end = 20_000 * SECOND;
        let due = until(end, bursty(0.0, BURST, 7));
        assert_eq!(due[..1000], until(end, bursty(0.0, BURST, 7))[..1000]);
        assert_ne!(due[..10], until(end, bursty(0.0, BURST, 8))[..10]);
        // with a silent quiet state a gap of more than 50 ms (25 mean gaps) is the end of a burst
        let quiet: Vec<f64> = due.windows(2).map(|pair| seconds(pair[1] - pair[0])).filter(|gap| *gap > 0.05).collect();
        let bursts = quiet.len() as f64;
        assert!((bursts / 2000.0 - 1.0).abs() < 0.08, "{bursts} bursts in 20000 s, one in 10 s expected");
        let mean = quiet.iter().sum::<f64>() / bursts;
        assert!((mean / 8.0 - 1.0).abs() < 0.1, "quiet for {mean} s on average");
        let longer = quiet.iter().filter(|stay| **stay > 8.0).count() as f64 / bursts;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.04, "{longer} of the stays are longer than the mean");
        let busy = seconds(end) - quiet.iter().sum::<f64>();
        assert!((busy / bursts / 2.0 - 1.0).abs() < 0.1, "busy for {} s on average", busy / bursts);
        assert!((due.len() as f64 / busy / 500.0 - 1.0).abs() < 0.02, "{} per busy second", due.len() as f64 / busy);
    }

    #[test]
    fn bursty_counts_vary_as_those_of_a_two_state_process() {
        // the index of dispersion over 1 s windows (variance over mean) of a Poisson process is 1
        let due = until(20_000 * SECOND, bursty(50.0, BURST, 11));
        let mut counts = vec![0_u32; 20_000];
        due.iter().filter(|at| **at < 20_000 * SECOND).for_each(|at| counts[(at / SECOND) as usize] += 1);
        let n = counts.len() as f64;
        let mean = counts.iter().map(|count| f64::from(*count)).sum::<f64>() / n;
        let variance = counts.iter().map(|count| (f64::from(*count) - mean).powi(2)).sum::<f64>() / n;
        // 50 × 0.8 + 500 × 0.2
        assert!((mean / 140.0 - 1.0).abs() < 0.06, "mean {mean}");
        // The rate's variance is 450² × 0.2 × 0.8 = 32400; its correlation decays with 1/2 + 1/8 per second, so the variance of
        // a count over 1 s is 140 + 32400 × 2 (e^-0.625 - 1 + 0.625) / 0.625² = 26,780.
        assert!((variance / 26_780.0 - 1.0).abs() < 0.1, "variance {variance}");
    }

    #[test]
    fn bursts_go_over_a_quiet_rate_that_is_a_curve_or_ends() {
        let ramp = Curve::Ramp { from: 100.0, to: 0.0, over: 10 * SECOND };
        let rare = Burst { rate: 1.0, on: SECOND, off: 1_000_000 * SECOND };
        let due = until(20 * SECOND, Generator::new(ramp, Arrivals::Bursty(rare), &[1], 1, "w"));
        assert!((due.len() as f64 - 500.0).abs() < 5.0 * 500.0_f64.sqrt(), "{}", due.len());
        assert!(bursty(0.0, BURST, 1).nth(100_000).is_some(), "silence while quiet is not for good");
    }

    #[test]
    fn requests_are_drawn_by_weight_and_from_the_seed() {
        let drawn = |seed| {
            let weights = [6, 3, 1];
            let all = Generator::new(Curve::Constant(1000.0), Arrivals::Constant, &weights, seed, "w");
            all.map(|due| due.request).take(100_000).collect::<Vec<_>>()
        };
        let seen = drawn(5);
        assert_eq!(seen, drawn(5));
        assert_ne!(seen[..50], drawn(6)[..50]);
        for (request, share) in [0.6, 0.3, 0.1].into_iter().enumerate() {
            let found = seen.iter().filter(|one| **one == request).count() as f64 / 100_000.0;
            assert!((found - share).abs() < 0.008, "{found} of request {request}, {share} expected");
        }
        // independent of each other: two in a row are the same as often as chance says
        let same = seen.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64 / 99_999.0;
        assert!((same - 0.46).abs() < 0.01, "{same}");
    }
}
