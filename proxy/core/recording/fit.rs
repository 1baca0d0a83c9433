//! Latencies as a distribution.

use std::fmt;

use crate::curve::Curve;
use crate::dist::{Distribution, DistributionConfig, Family};
use crate::time::{MICRO, Time};
use crate::unit::Duration;

/// Fewer values say nothing about a shape.
const SHAPED: usize = 20;
/// How far a quantile of the shape may lie from that of the values: so much of it, and at least so many ns.
const TOLERANCE: f64 = 0.2;
const SLACK: Time = 200 * MICRO;
/// Where the shape is held against the values, percent. The 99th is met by construction.
const HELD: [u32; 5] = [10, 25, 50, 75, 90];

/// A distribution that was fitted; printed as the language writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fit {
    /// One value.
    Constant(Time),
    /// Median and 99th percentile of a lognormal distribution, which most services' latencies follow.
    Lognormal(Time, Time),
    /// Percentages and values, where no such shape is near.
    Quantiles(Vec<(u32, Time)>),
}

/// Fits values in ns; sorts them. None: there is no value. Results are whole µs.
pub fn fit(values: &mut [Time]) -> Option<Fit> {
    values.sort_unstable();
    let (least, most) = (whole(*values.first()?), whole(*values.last()?));
    if least == most {
        return Some(Fit::Constant(least));
    }
    let (median, p99) = (quantile(values, 50), quantile(values, 99));
    if values.len() >= SHAPED && median > 0 && p99 > median {
        let shape = Fit::Lognormal(median, p99);
        if shape.distribution().is_some_and(|shape| HELD.iter().all(|percent| is_near(&shape, values, *percent))) {
            return Some(shape);
        }
    }
    let percents: &[u32] = if values.len() < SHAPED { &[0, 50, 100] } else { &[0, 10, 25, 50, 75, 90, 99, 100] };
    Some(Fit::Quantiles(percents.iter().map(|percent| (*percent, quantile(values, *percent))).collect()))
}

/// Whether a shape has its quantile where the values have theirs.
#[allow(clippy::cast_precision_loss)]
fn is_near(shape: &Distribution, values: &[Time], percent: u32) -> bool {
    let draw = u64::MAX / 100 * u64::from(percent);
    let (theirs, ours) = (shape.sample(draw, 0), quantile(values, percent));
    let apart = theirs.abs_diff(ours);
    apart <= SLACK || apart as f64 <= ours as f64 * TOLERANCE
}

/// The value at or below which so many percent of the sorted values lie.
fn quantile(values: &[Time], percent: u32) -> Time {
    let rank = (values.len() * percent as usize).div_ceil(100).clamp(1, values.len().max(1));
    values.get(rank - 1).map_or(0, |value| whole(*value))
}

/// To whole µs: below that a machine's own doing is measured.
fn whole(value: Time) -> Time {
    (value + MICRO / 2) / MICRO * MICRO
}

impl Fit {
    /// As it is drawn from. None: the values can't be those of a distribution, which [`fit`] never gives.
    pub fn distribution(&self) -> Option<Distribution> {
        let config = match self {
            Fit::Constant(value) => {
                DistributionConfig { delay: Some(Curve::Constant(Duration(*value))), ..Default::default() }
            }
            Fit::Lognormal(median, p99) => DistributionConfig {
                delay: Some(Curve::Constant(Duration(*median))),
                p99: Some(Duration(*p99)),
                distribution: Some(Family::Lognormal),
                ..Default::default()
            },
            Fit::Quantiles(points) => {
                let points = points.iter().map(|(percent, value)| (f64::from(*percent), Duration(*value)));
                let quantiles = Some(crate::dist::Quantiles(points.collect()));
                DistributionConfig { quantiles, ..Default::default() }
            }
        };
        config.build().ok()
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |value: &Time| format!("\"{}\"", Duration(*value));
        match self {
            Fit::Constant(value) => write!(f, "{{ delay = {} }}", written(value)),
            Fit::Lognormal(median, p99) => {
                write!(f, "{{ delay = {}, p99 = {}, distribution = \"lognormal\" }}", written(median), written(p99))
            }
            Fit::Quantiles(points) => {
                let points: Vec<String> =
                    points.iter().map(|(p, value)| format!("p{p} = {}", written(value))).collect();
                write!(f, "{{ quantiles = {{ {} }} }}", points.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::time::MILLI;

    /// Values of a distribution, evenly over its probabilities.
    fn values(config: DistributionConfig, count: u64) -> Vec<Time> {
        let distribution = config.build().unwrap();
        (0..count).map(|n| distribution.sample(u64::MAX / count * n + u64::MAX / count / 2, 0)).collect()
    }

    #[test]
    fn a_lognormal_service_is_known_for_one() {
        let delay = Some(Curve::Constant(Duration(20 * MILLI)));
        let config = || DistributionConfig {
            delay: delay.clone(),
            p99: Some(Duration(90 * MILLI)),
            distribution: Some(Family::Lognormal),
            ..Default::default()
        };
        let fitted = fit(&mut values(config(), 500)).unwrap();
        let Fit::Lognormal(median, p99) = fitted else { unreachable!("{fitted:?}") };
        assert!(median.abs_diff(20 * MILLI) < MILLI && p99.abs_diff(90 * MILLI) < 3 * MILLI, "{median} {p99}");
        assert!(fit(&mut values(config(), 10)).unwrap().to_string().starts_with("{ quantiles = { p0 = "));
    }

    #[test]
    fn two_humps_are_no_lognormal() {
        let mut values: Vec<Time> = (0..100).map(|n| if n % 2 == 0 { 2 * MILLI } else { 80 * MILLI }).collect();
        let fitted = fit(&mut values).unwrap();
        let Fit::Quantiles(points) = &fitted else { unreachable!("{fitted:?}") };
        assert_eq!((points.first(), points.last()), (Some(&(0, 2 * MILLI)), Some(&(100, 80 * MILLI))));
        let distribution = fitted.distribution().unwrap();
        assert_eq!((distribution.sample(0, 0), distribution.sample(u64::MAX, 0)), (2 * MILLI, 80 * MILLI));
    }

    #[test]
    fn one_value_is_a_constant_and_none_is_nothing() {
        assert_eq!(fit(&mut [1_234_567]).unwrap().to_string(), "{ delay = \"1235us\" }");
        assert_eq!(fit(&mut [5 * MILLI, 5 * MILLI]), Some(Fit::Constant(5 * MILLI)));
        assert_eq!(fit(&mut []), None);
    }
}
