//! When requests are due: a function of seed, name and rate alone, never of how the answers come.

use squall_core::curve::Curve;
use squall_core::draw::{DrawKey, fraction};
use squall_core::scenario::Arrivals;
use squall_core::time::{SECOND, Time};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Its number, from 0.
    pub(super) number: u64,
    /// When it is to be sent: from [`Generator`] ns since the start.
    pub(super) at: Time,
}

/// All requests in order. The nth is due when the rate, summed up over time, reaches the nth of a sequence of marks:
/// 1 apart (constant), or exponentially distributed with mean 1 apart (Poisson). So a rate may change, or be zero for a
/// while, without a request too many or too few. Ends when the rate is zero for good.
pub(super) struct Generator {
    rate: Curve<f64>,
    arrivals: Arrivals,
    key: DrawKey,
    number: u64,
    /// Where the current stretch of the rate began: seconds since the start.
    from: f64,
    /// The mark of the latest request, counted from there: adding up times instead would add up their rounding.
    sum: f64,
}

impl Generator {
    pub(super) fn new(rate: Curve<f64>, arrivals: Arrivals, seed: u64, name: &str) -> Generator {
        Generator { rate, arrivals, key: DrawKey::new(seed, "workload", name), number: 0, from: 0.0, sum: 0.0 }
    }

    fn gap(&self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => {
                let fraction = fraction(self.key.unit(self.number).at(0));
                (-(-fraction).ln_1p()).max(f64::MIN_POSITIVE)
            }
        }
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
        }
    }

    fn piece(&self, at: f64) -> Piece {
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
        let due = Due { number: self.number, at: (at * SECOND as f64).round() as Time };
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
        Generator::new(rate, Arrivals::Constant, 1, "w")
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_numbered() {
        let due: Vec<Due> = constant(Curve::Constant(200.0)).take(3).collect();
        let at = |number| Due { number, at: (number + 1) * 5 * MILLI };
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
        let poisson = |seed| Generator::new(Curve::Constant(1000.0), Arrivals::Poisson, seed, "w");
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
}
