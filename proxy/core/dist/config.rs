//! How a distribution is written down.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::exact::ln;
use super::{Bin, Distribution, Form, Point, float, spread};
use crate::curve::Curve;
use crate::fault::registry::Misfit;
use crate::unit::Duration;

/// A distribution of delays. Either `delay` with what its distribution needs, or `quantiles`, or `histogram`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistributionConfig {
    /// How long: the middle for uniform and normal, the median for lognormal, the mean for exponential, the minimum for
    /// pareto. May be a curve.
    pub delay: Option<Curve<Duration>>,
    /// How much more or less: the bounds for uniform, the standard deviation for normal. Delays below 0 become 0. May be
    /// a curve. Default 0.
    pub jitter: Option<Curve<Duration>>,
    /// The shape. Default: uniform where `jitter` is given, constant otherwise.
    pub distribution: Option<Family>,
    /// Lognormal only: 99 of 100 delays are below this. Must be above `delay`.
    pub p99: Option<Duration>,
    /// Pareto only: the share of delays above x is (delay / x) to the power of this. Above 0; up to 1 there is no mean.
    /// Default 3.
    pub shape: Option<f64>,
    /// Instead of the above: at least two quantiles. Between them delays are log-linear (linear from a point at 0); below
    /// the first point every delay is the first point's, above the last the last one's, so `p0` and `p100` say how short
    /// and how long delays can be.
    pub quantiles: Option<Quantiles>,
    /// Instead of the above: measured delays as pairs of a bin's upper end and the number of values in it, ends rising.
    /// A bin starts where the one before ends, the first at 0; values are spread evenly within it. A first bin with the
    /// count 0 sets the minimum.
    pub histogram: Option<Vec<(Duration, u64)>>,
}

/// `distribution`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Always `delay`.
    Constant,
    /// From `delay - jitter` to `delay + jitter`, all equally likely.
    Uniform,
    /// Bell-shaped around `delay`.
    Normal,
    /// Skewed to the right, as most services' delays are.
    Lognormal,
    /// The time between independent events.
    Exponential,
    /// A heavy tail.
    Pareto,
}

impl DistributionConfig {
    /// The distribution, or which field does not fit the others.
    pub fn build(self) -> Result<Distribution, Misfit> {
        self.form().map(Distribution)
    }

    fn form(self) -> Result<Form, Misfit> {
        if let Some(quantiles) = &self.quantiles {
            self.alone("quantiles")?;
            return Ok(Form::Quantiles(points(quantiles)?));
        }
        if let Some(bins) = &self.histogram {
            self.alone("histogram")?;
            return cumulate(bins);
        }
        let family = self.family()?;
        let Some(delay) = self.delay else {
            let message = "says no delay: give `delay`, `quantiles` or `histogram`".to_owned();
            return Err(Misfit { field: None, span: None, message });
        };
        let jitter = self.jitter.unwrap_or(Curve::Constant(Duration(0)));
        Ok(match family {
            Family::Constant => Form::Constant { delay },
            Family::Uniform => Form::Uniform { delay, jitter },
            Family::Normal => Form::Normal { delay, jitter },
            Family::Lognormal => {
                let p99 = above(&delay, self.p99)?;
                let sigma = match &delay {
                    Curve::Constant(median) => Some(spread(median.0, p99.0)),
                    Curve::Ramp { .. } | Curve::Steps { .. } => None,
                };
                Form::Lognormal { median: delay, p99, sigma }
            }
            Family::Exponential => Form::Exponential { mean: delay },
            Family::Pareto => Form::Pareto { minimum: delay, shape: positive(self.shape.unwrap_or(3.0))? },
        })
    }

    /// The family, once no field is left that it does not use.
    fn family(&self) -> Result<Family, Misfit> {
        let jittered = self.jitter.is_some();
        let family = self.distribution.unwrap_or(if jittered { Family::Uniform } else { Family::Constant });
        if jittered && !matches!(family, Family::Uniform | Family::Normal) {
            return Err(Misfit::new("jitter", "`jitter` goes with distribution = \"uniform\" or \"normal\" only"));
        }
        if self.p99.is_some() && family != Family::Lognormal {
            return Err(Misfit::new("p99", "`p99` goes with distribution = \"lognormal\" only (or write `quantiles`)"));
        }
        if self.shape.is_some() && family != Family::Pareto {
            return Err(Misfit::new("shape", "`shape` goes with distribution = \"pareto\" only"));
        }
        Ok(family)
    }

    /// The fields that are written.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("delay", self.delay.is_some()),
            ("jitter", self.jitter.is_some()),
            ("distribution", self.distribution.is_some()),
            ("p99", self.p99.is_some()),
            ("shape", self.shape.is_some()),
            ("quantiles", self.quantiles.is_some()),
            ("histogram", self.histogram.is_some()),
        ];
        fields.into_iter().filter_map(|(field, given)| given.then_some(field))
    }

    /// Nothing may stand beside `quantiles` or `histogram`.
    fn alone(&self, field: &'static str) -> Result<(), Misfit> {
        match self.given().find(|other| *other != field) {
            Some(other) => Err(Misfit::new(
                other,
                format!("`{other}` does not go with `{field}`, which says everything by itself"),
            )),
            None => Ok(()),
        }
    }
}

fn above(median: &Curve<Duration>, p99: Option<Duration>) -> Result<Duration, Misfit> {
    let Some(p99) = p99 else {
        return Err(Misfit::new("distribution", "distribution = \"lognormal\" needs `p99` (`delay` is the median)"));
    };
    match median.values().into_iter().find(|delay| **delay >= p99) {
        Some(delay) => Err(Misfit::new("p99", format!("`p99` must be above the median: {p99} is not above {delay}"))),
        None => Ok(p99),
    }
}

fn positive(shape: f64) -> Result<f64, Misfit> {
    if shape > 0.0 && shape.is_finite() {
        return Ok(shape);
    }
    Err(Misfit::new("shape", format!("`shape` must be a number above 0, not {shape}")))
}

fn points(quantiles: &Quantiles) -> Result<Vec<Point>, Misfit> {
    let mut points: Vec<Point> =
        quantiles.0.iter().map(|&(percent, value)| Point { percent, value, rise: None }).collect();
    points.sort_by(|a, b| a.percent.total_cmp(&b.percent));
    if points.len() < 2 {
        return Err(Misfit::new("quantiles", "`quantiles` needs at least two points, such as { p50 = …, p99 = … }"));
    }
    for i in 1..points.len() {
        let (from, to) = (points[i - 1], points[i]);
        let (low, high) = (from.percent, to.percent);
        if low >= high {
            return Err(Misfit::new("quantiles", format!("`quantiles` has p{low} twice")));
        }
        if to.value < from.value {
            let message = format!("quantiles must rise: p{high} = {} is below p{low} = {}", to.value, from.value);
            return Err(Misfit::new("quantiles", message));
        }
        if from.value.0 > 0 {
            points[i - 1].rise = Some(ln(float(to.value.0) / float(from.value.0)));
        }
    }
    Ok(points)
}

fn cumulate(written: &[(Duration, u64)]) -> Result<Form, Misfit> {
    let misfit = |message: String| Err(Misfit::new("histogram", message));
    let mut bins: Vec<Bin> = Vec::with_capacity(written.len());
    let mut total = 0_u64;
    for &(upto, count) in written {
        if let Some(last) = bins.last()
            && last.upto >= upto
        {
            return misfit(format!("`histogram` must have rising ends: {upto} comes after {}", last.upto));
        }
        total = total.saturating_add(count);
        bins.push(Bin { upto, cumulated: total });
    }
    match total {
        0 => misfit("`histogram` holds no values: give pairs such as [\"10ms\", 120]".to_owned()),
        1..=MAX_VALUES => Ok(Form::Histogram { bins, total }),
        _ => misfit(format!("`histogram` holds more than {MAX_VALUES} values")),
    }
}

const MAX_VALUES: u64 = 1 << 53;

/// Quantiles: percentages 0 to 100 with their delays, in the order written.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantiles(pub Vec<(f64, Duration)>);

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Percentiles)
    }
}

struct Percentiles;

impl<'de> Visitor<'de> for Percentiles {
    type Value = Quantiles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("quantiles such as { p50 = \"20ms\", p99 = \"300ms\" }")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Quantiles, A::Error> {
        let mut points = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match map.next_value::<Value>()? {
                Value::Delay(delay) => points.push((percent(&key)?, delay)),
                Value::Decimals(decimals) => {
                    for (decimal, delay) in decimals {
                        points.push((percent(&format!("{key}.{decimal}"))?, delay));
                    }
                }
            }
        }
        Ok(Quantiles(points))
    }
}

/// An unquoted `p99.9 = "2s"` is a table `p99` with the key `9` in TOML: it is read as meant.
enum Value {
    Delay(Duration),
    Decimals(Vec<(String, Duration)>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DelayOrDecimals)
    }
}

struct DelayOrDecimals;

impl<'de> Visitor<'de> for DelayOrDecimals {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"20ms\"")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        text.parse().map(Value::Delay).map_err(E::custom)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut decimals = Vec::new();
        while let Some(entry) = map.next_entry()? {
            decimals.push(entry);
        }
        Ok(Value::Decimals(decimals))
    }
}

fn percent<E: de::Error>(key: &str) -> Result<f64, E> {
    let number = key.strip_prefix('p').filter(|n| n.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    match number.and_then(|n| n.parse().ok()) {
        Some(percent) if percent <= 100.0 => Ok(percent),
        _ => Err(E::custom(format!("`{key}` is no quantile: write p0 to p100, with decimals in quotes (\"p99.9\")"))),
    }
}

impl JsonSchema for Quantiles {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantiles".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let delay = generator.subschema_for::<Duration>();
        json_schema!({
            "description": "Percentiles such as p50, p99 or \"p99.9\" with their delays",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "patternProperties": {
                r"^p[0-9]+(\.[0-9]+)?$": { "anyOf": [
                    delay,
                    { "type": "object", "additionalProperties": false, "patternProperties": { "^[0-9]+$": delay } },
                ] },
            },
        })
    }
}
