//! Units of the language: durations "50ms", sizes "64KiB", rates "10mbit", percentages "5%". Each parses what it prints.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::curve::Between;
use crate::time::Time;

/// A span of time in ns: "250us", "50ms", "1.5s", "2m", "1h". At most [`Duration::MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub Time);

/// An amount of bytes: "512B", "64KiB", "1MB".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Bytes per second, written in bits ("10mbit", "750kbit") or bytes ("1MB/s", "512KiB/s"); 0 is a stall.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

/// A share, 0 to 100: `25`, `12.5` or "25%". A bare 0.5 is half a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percentage(pub f64);

const DURATIONS: Scale =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86_400e9)];
const SIZES: Scale = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];
const BITS: Scale = &[("bit", 0.125), ("kbit", 125.0), ("mbit", 125e3), ("gbit", 125e6)];

impl Duration {
    /// Ten years: no experiment needs more, and sums of a few stay far from overflow.
    pub const MAX: Duration = Duration(3_650 * 86_400 * 1_000_000_000);
    const EXPECTED: &'static str = "a duration such as \"250us\", \"50ms\", \"30s\" or \"2m\"";
}

impl Bytes {
    /// 2^53 bytes: exact as a number in JSON too.
    pub const MAX: Bytes = Bytes(1 << 53);
    const EXPECTED: &'static str = "a size such as \"512B\", \"64KiB\" or \"1MB\"";
}

impl Rate {
    /// 1 TB/s.
    pub const MAX: Rate = Rate(1e12);
    const EXPECTED: &'static str = "a rate in bits such as \"10mbit\" or bytes such as \"1MB/s\"";
}

impl Percentage {
    const EXPECTED: &'static str = "a percentage from 0 to 100 such as 25, 12.5 or \"25%\"";
}

impl FromStr for Duration {
    type Err = String;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn from_str(text: &str) -> Result<Self, String> {
        let ns = measure(text, DURATIONS, Self::EXPECTED)?.round();
        if ns > Self::MAX.0 as f64 {
            return Err(format!("`{text}` is too long: at most {}", Self::MAX));
        }
        Ok(Duration(ns as u64))
    }
}

impl FromStr for Bytes {
    type Err = String;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = measure(text, SIZES, Self::EXPECTED)?;
        if bytes > Self::MAX.0 as f64 {
            return Err(format!("`{text}` is too large: at most {}", Self::MAX));
        }
        if bytes.fract() != 0.0 {
            return Err(format!("`{text}` is not a whole number of bytes"));
        }
        Ok(Bytes(bytes as u64))
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let rate = match trimmed.strip_suffix("/s") {
            Some(size) => measure(size, SIZES, Self::EXPECTED),
            None if trimmed == "0" => Ok(0.0),
            None => measure(trimmed, BITS, Self::EXPECTED),
        }
        .map_err(|why| why.replace(&format!("`{}`", trimmed.trim_end_matches("/s")), &format!("`{trimmed}`")))?;
        if rate > Self::MAX.0 {
            return Err(format!("`{text}` is too fast: at most {}", Self::MAX));
        }
        Ok(Rate(rate))
    }
}

impl FromStr for Percentage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim();
        let number = number.strip_suffix('%').unwrap_or(number).trim_end();
        let value = number.parse().map_err(|_| format!("`{text}` is not {}", Self::EXPECTED))?;
        Percentage::checked(value)
    }
}

impl Percentage {
    fn checked(value: f64) -> Result<Percentage, String> {
        if (0.0..=100.0).contains(&value) {
            return Ok(Percentage(value));
        }
        Err(format!("{value} is not {}", Self::EXPECTED))
    }
}

type Scale = &'static [(&'static str, f64)];

/// A number and a unit of the scale; the number is finite and not negative.
fn measure(text: &str, scale: Scale, expected: &str) -> Result<f64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if let Some(positive) = text.strip_prefix('-')
        && measure(positive, scale, expected).is_ok()
    {
        return Err(format!("`{text}` is negative"));
    }
    let value: f64 = number.replace('_', "").parse().map_err(|_| format!("`{text}` is not {expected}"))?;
    if value == 0.0 && unit.is_empty() {
        return Ok(0.0);
    }
    let Some((_, factor)) = scale.iter().find(|(name, _)| *name == unit) else {
        let near = scale.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let hint = near.map(|(name, _)| format!("; did you mean `{number}{name}`?")).unwrap_or_default();
        return Err(format!("`{text}` is not {expected}{hint}"));
    };
    Ok(value * factor)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(
            f,
            self.0,
            &[
                ("d", 86_400_000_000_000),
                ("h", 3_600_000_000_000),
                ("m", 60_000_000_000),
                ("s", 1_000_000_000),
                ("ms", 1_000_000),
                ("us", 1_000),
                ("ns", 1),
            ],
            "s",
        )
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale: &[(&str, u64)] = if self.0.is_multiple_of(1024) {
            &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        } else {
            &[("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)]
        };
        print(f, self.0, scale, "B")
    }
}

impl fmt::Display for Rate {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0 * 8.0;
        if self.0.fract() == 0.0 { write!(f, "{}/s", Bytes(self.0 as u64)) } else { write!(f, "{bits}bit") }
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// The largest unit in which the value is whole.
fn print(f: &mut fmt::Formatter<'_>, value: u64, scale: &[(&str, u64)], zero: &str) -> fmt::Result {
    match scale.iter().find(|(_, size)| value >= *size && value.is_multiple_of(*size)) {
        Some((unit, size)) => write!(f, "{}{unit}", value / size),
        None => write!(f, "{value}{zero}"),
    }
}

impl Between for Duration {
    fn between(self, to: Self, part: f64) -> Self {
        Duration(self.0.between(to.0, part))
    }
}

impl Between for Rate {
    fn between(self, to: Self, part: f64) -> Self {
        Rate(self.0.between(to.0, part))
    }
}

impl Between for Percentage {
    fn between(self, to: Self, part: f64) -> Self {
        Percentage(self.0.between(to.0, part))
    }
}

/// A text or, where `number` is given, a number.
struct Measure<T> {
    expected: &'static str,
    number: Option<fn(f64) -> Result<T, String>>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Measure<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        match self.number {
            Some(take) => take(value).map_err(E::custom),
            None if value == 0.0 => self.visit_str("0"), // nothing is nothing in every unit
            None => Err(E::custom(format!("`{value}` needs a unit: expected {}", self.expected))),
        }
    }
    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_f64(value as f64)
    }
    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_f64(value as f64)
    }
}

macro_rules! serde_and_schema {
    ($type:ident, $number:expr, $pattern:expr, $number_schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Measure::<$type> { expected: $type::EXPECTED, number: $number })
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $type::EXPECTED, "anyOf": [$number_schema, { "type": "string", "pattern": $pattern }] })
            }
        }
    };
}

serde_and_schema!(Duration, None, r"^\s*[0-9._]+\s*(ns|us|µs|ms|s|m|h|d)\s*$|^0$|^\$\{", { "const": 0 });
serde_and_schema!(Bytes, None, r"^\s*[0-9._]+\s*([kKMGT]?B|[KMGT]iB)\s*$|^0$|^\$\{", { "const": 0 });
serde_and_schema!(Rate, None, r"^\s*[0-9._]+\s*(([kKMGT]?B|[KMGT]iB)/s|[kmg]?bit)\s*$|^0$|^\$\{", { "const": 0 });
serde_and_schema!(Percentage, Some(Percentage::checked), r"^\s*[0-9.]+\s*%?\s*$|^\$\{", { "type": "number", "minimum": 0, "maximum": 100 });

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_printed_parses_to_the_same() {
        for ns in [0, 1, 250_000, 50_000_000, 1_500_000_000, 90_000_000_000, 7_200_000_000_000] {
            assert_eq!(Duration(ns).to_string().parse(), Ok(Duration(ns)));
        }
        for bytes in [0, 1, 512, 1000, 1024, 65_536, 1_000_000, 1_234_567] {
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
        for rate in [0.0, 1_250_000.0, 93_750.0, 0.125, 1e9] {
            assert_eq!(Rate(rate).to_string().parse(), Ok(Rate(rate)));
        }
    }

    #[test]
    fn units_mean_what_they_say() {
        assert_eq!("250us".parse(), Ok(Duration(250_000)));
        assert_eq!("1.5s".parse(), Ok(Duration(1_500_000_000)));
        assert_eq!("1KB".parse(), Ok(Bytes(1000)));
        assert_eq!("10mbit".parse(), Ok(Rate(1_250_000.0)));
        assert_eq!("512KiB/s".parse(), Ok(Rate(524_288.0)));
        assert_eq!("0.5".parse(), Ok(Percentage(0.5)));
        assert_eq!("25%".parse(), Ok(Percentage(25.0)));
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        assert!("-5ms".parse::<Duration>().unwrap_err().contains("negative"));
        assert!(serde_json::from_str::<Rate>("5").is_err_and(|error| error.to_string().contains("needs a unit")));
        assert_eq!(serde_json::from_str::<Rate>("0").unwrap(), Rate(0.0));
        assert!("5 MS".parse::<Duration>().unwrap_err().contains("did you mean `5ms`"));
        assert!("99999999999999h".parse::<Duration>().unwrap_err().contains("too long"));
        for text in ["", "ms", "nan", "infs", "1e400s", "5", "5 parsecs"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        for text in ["101", "-1", "NaN", "inf", "x%"] {
            assert!(text.parse::<Percentage>().is_err(), "{text}");
        }
        assert!("10mbps".parse::<Rate>().is_err());
        assert!("0.3B".parse::<Bytes>().is_err());
    }
}
