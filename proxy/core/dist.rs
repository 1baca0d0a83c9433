//! Delay distributions: the inverse of the distribution function on one draw, in arithmetic that gives the same bits on
//! every platform. The same draw gives the same delay everywhere.

mod config;
mod exact;

use std::fmt;

pub use config::{DistributionConfig, Family, Quantiles};

use crate::curve::Curve;
use crate::time::Time;
use crate::unit::Duration;
use exact::{exp, ln, normal_quantile};

/// A distribution of delays; its `delay` and `jitter` may be curves. Made from a [`DistributionConfig`].
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Constant {
        delay: Curve<Duration>,
    },
    Uniform {
        delay: Curve<Duration>,
        jitter: Curve<Duration>,
    },
    Normal {
        delay: Curve<Duration>,
        jitter: Curve<Duration>,
    },
    /// `sigma` is reckoned once where the median is no curve.
    Lognormal {
        median: Curve<Duration>,
        p99: Duration,
        sigma: Option<f64>,
    },
    Exponential {
        mean: Curve<Duration>,
    },
    Pareto {
        minimum: Curve<Duration>,
        shape: f64,
    },
    Quantiles(Vec<Point>),
    Histogram {
        bins: Vec<Bin>,
        total: u64,
    },
}

/// One point of a quantile function.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    percent: f64,
    value: Duration,
    /// Logarithm of the next point's value over this one's; none where that is not finite or there is no next.
    rise: Option<f64>,
}

/// Values above the previous bin's end, up to `upto`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bin {
    upto: Duration,
    /// Values in this bin and those before it.
    cumulated: u64,
}

/// The standard normal variable's 99th percentile.
const Z99: f64 = 2.326_347_874_040_840_8;

impl Distribution {
    /// The same delay always, ns.
    pub fn constant(delay: Time) -> Distribution {
        Distribution(Form::Constant { delay: Curve::Constant(Duration(delay)) })
    }

    /// The delay for 64 random bits, `elapsed` ns after the fault's window opened. At most [`Duration::MAX`].
    pub fn sample(&self, draw: u64, elapsed: Time) -> Time {
        let at = |curve: &Curve<Duration>| curve.at(elapsed).0;
        match &self.0 {
            Form::Constant { delay } => at(delay),
            Form::Uniform { delay, jitter } => round(float(at(delay)) + float(at(jitter)) * (2.0 * lower(draw) - 1.0)),
            Form::Normal { delay, jitter } => {
                round(float(at(delay)) + float(at(jitter)) * normal_quantile(lower(draw)))
            }
            Form::Lognormal { median, p99, sigma } => {
                let median = at(median);
                let sigma = sigma.unwrap_or_else(|| spread(median, p99.0));
                round(float(median) * exp(sigma * normal_quantile(lower(draw))))
            }
            Form::Exponential { mean } => round(float(at(mean)) * -ln(upper(draw))),
            Form::Pareto { minimum, shape } => round(float(at(minimum)) * exp(-ln(upper(draw)) / shape)),
            Form::Quantiles(points) => quantile(points, lower(draw) * 100.0),
            Form::Histogram { bins, total } => from_histogram(bins, *total, draw),
        }
    }
}

/// A draw as a probability, strictly between 0 and 1. With 52 bits this and [`upper`] are exact.
fn lower(draw: u64) -> f64 {
    (float(draw >> 12) + 0.5) / (1_u64 << 52) as f64
}

/// The probability of what lies above [`lower`], without the rounding of a subtraction from 1.
fn upper(draw: u64) -> f64 {
    lower(!draw)
}

#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

/// To whole ns; below 0 is 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn round(ns: f64) -> Time {
    // NaN (0 times infinity) is no delay either
    if ns > 0.0 { ((ns + 0.5) as u64).min(Duration::MAX.0) } else { 0 }
}

/// The standard deviation of a lognormal variable's logarithm.
fn spread(median: Time, p99: Time) -> f64 {
    if median == 0 { 0.0 } else { ln(float(p99) / float(median)) / Z99 }
}

/// Log-linear between points, linear from a point at 0. Beyond the first and the last point their values stand: nothing
/// is made up that nobody wrote down.
fn quantile(points: &[Point], percent: f64) -> Time {
    let above = points.partition_point(|point| point.percent <= percent);
    let Some(below) = above.checked_sub(1) else {
        return points.first().map_or(0, |first| first.value.0);
    };
    let (from, Some(to)) = (points[below], points.get(above)) else {
        return points[below].value.0;
    };
    let part = (percent - from.percent) / (to.percent - from.percent);
    match from.rise {
        Some(rise) => round(float(from.value.0) * exp(rise * part)),
        None => round(float(from.value.0) + (float(to.value.0) - float(from.value.0)) * part),
    }
}

/// Values are spread evenly within their bin.
fn from_histogram(bins: &[Bin], total: u64, draw: u64) -> Time {
    let rank = u128::from(draw) * u128::from(total); // 64 bits behind the point
    let whole = u64::try_from(rank >> 64).unwrap_or(u64::MAX);
    let index = bins.partition_point(|bin| bin.cumulated <= whole);
    let Some(bin) = bins.get(index) else {
        return 0;
    };
    let (start, before) = match index.checked_sub(1) {
        Some(previous) => (bins[previous].upto.0, bins[previous].cumulated),
        None => (0, 0),
    };
    // at most 2^53 values, so 2^10 steps for each of them are left of the 64 bits
    let within = u64::try_from((rank - (u128::from(before) << 64)) >> 54).unwrap_or(u64::MAX);
    let part = float(within) / (float(bin.cumulated - before) * 1024.0);
    round(float(start) + float(bin.upto.0 - start) * part)
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Constant { delay } => write!(f, "{delay}"),
            Form::Uniform { delay, jitter } => write!(f, "{delay} ± {jitter} uniform"),
            Form::Normal { delay, jitter } => write!(f, "{delay} ± {jitter} normal"),
            Form::Lognormal { median, p99, .. } => write!(f, "median {median}, p99 {p99} lognormal"),
            Form::Exponential { mean } => write!(f, "mean {mean} exponential"),
            Form::Pareto { minimum, shape } => write!(f, "at least {minimum}, shape {shape} pareto"),
            Form::Quantiles(points) => {
                for (i, point) in points.iter().enumerate() {
                    write!(f, "{}p{} {}", if i > 0 { ", " } else { "" }, point.percent, point.value)?;
                }
                Ok(())
            }
            Form::Histogram { bins, total } => {
                let end = bins.last().map_or(Duration(0), |bin| bin.upto);
                write!(f, "histogram of {total} values up to {end}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
