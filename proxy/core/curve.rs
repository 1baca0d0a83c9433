//! A number that may change with time: a constant, a ramp or a ladder of steps.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::time::Time;
use crate::unit::{Duration, Percentage};

/// A number in a scenario: constant, or a curve over the time since the fault's window opened.
#[derive(Clone, Debug, PartialEq)]
pub enum Curve<T> {
    /// The same throughout.
    Constant(T),
    /// Straight from one value to the other, then constant.
    Ramp {
        /// At the opening.
        from: T,
        /// At `over` and after.
        to: T,
        /// Length in ns.
        over: Time,
    },
    /// One value after the other, each for `hold`; the last one stays.
    Steps {
        /// At least one.
        steps: Vec<T>,
        /// Length of a step in ns.
        hold: Time,
    },
}

/// Numbers that a ramp can run over.
pub trait Between: Copy {
    /// The value at `part` (0 to 1) of the way from `self` to `to`.
    fn between(self, to: Self, part: f64) -> Self;
}

impl Between for f64 {
    fn between(self, to: f64, part: f64) -> f64 {
        self + (to - self) * part
    }
}

impl Between for u64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn between(self, to: u64, part: f64) -> u64 {
        (self as f64 + (to as f64 - self as f64) * part).round() as u64
    }
}

impl<T: Between> Curve<T> {
    /// The value at `elapsed` ns after the opening.
    #[allow(clippy::cast_precision_loss)]
    pub fn at(&self, elapsed: Time) -> T {
        match self {
            Curve::Constant(value) => *value,
            Curve::Ramp { to, over, .. } if elapsed >= *over => *to,
            Curve::Ramp { from, to, over } => from.between(*to, elapsed as f64 / *over as f64),
            Curve::Steps { steps, hold } => {
                let step = usize::try_from(elapsed / (*hold).max(1)).unwrap_or(usize::MAX);
                steps[step.min(steps.len() - 1)]
            }
        }
    }
}

impl<T> Curve<T> {
    /// Every value that is named, for limits and for display.
    pub fn values(&self) -> Vec<&T> {
        match self {
            Curve::Constant(value) => vec![value],
            Curve::Ramp { from, to, .. } => vec![from, to],
            Curve::Steps { steps, .. } => steps.iter().collect(),
        }
    }

    /// The same curve over other values.
    pub fn map<U>(&self, f: impl Fn(&T) -> U) -> Curve<U> {
        match self {
            Curve::Constant(value) => Curve::Constant(f(value)),
            Curve::Ramp { from, to, over } => Curve::Ramp { from: f(from), to: f(to), over: *over },
            Curve::Steps { steps, hold } => Curve::Steps { steps: steps.iter().map(f).collect(), hold: *hold },
        }
    }
}

impl<T: std::fmt::Display> std::fmt::Display for Curve<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Curve::Constant(value) => write!(f, "{value}"),
            Curve::Ramp { from, to, over } => write!(f, "{from} to {to} over {}", Duration(*over)),
            Curve::Steps { steps, hold } => {
                let steps: Vec<String> = steps.iter().map(T::to_string).collect();
                write!(f, "{}, each for {}", steps.join(", "), Duration(*hold))
            }
        }
    }
}

/// A share of units as written: of its steps each but the first may wait for `min_events`, which no other curve knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// The share.
    pub curve: Curve<Percentage>,
    /// Events on a step before the next one; none: not written.
    pub min_events: Option<u64>,
}

/// A curve as written: `{ from = …, to = …, over = "60s" }` or `{ steps = [ … ], hold = "10s" }`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<T> {
    from: Option<T>,
    to: Option<T>,
    over: Option<Duration>,
    steps: Option<Vec<T>>,
    hold: Option<Duration>,
    min_events: Option<u64>,
}

impl<T> Written<T> {
    fn curve(self) -> Result<Curve<T>, &'static str> {
        match self {
            Written { from: Some(from), to: Some(to), over: Some(over), steps: None, hold: None, min_events: None } => {
                Ok(Curve::Ramp { from, to, over: over.0 })
            }
            Written { from: None, to: None, over: None, steps: Some(steps), hold: Some(hold), min_events: _ } => {
                if steps.is_empty() {
                    return Err("`steps` needs at least one value");
                }
                if hold.0 == 0 {
                    return Err("`hold` must be longer than 0");
                }
                Ok(Curve::Steps { steps, hold: hold.0 })
            }
            _ => Err("a curve is { from, to, over } or { steps, hold }"),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Curve<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Either(std::marker::PhantomData))? {
            (curve, None) => Ok(curve),
            (_, Some(_)) => Err(de::Error::custom("`min_events` goes with the steps of a `percentage`")),
        }
    }
}

impl<'de> Deserialize<'de> for Exposure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (curve, min_events) = deserializer.deserialize_any(Either(std::marker::PhantomData))?;
        Ok(Exposure { curve, min_events })
    }
}

/// A table is a curve, anything else the number itself; with `min_events`.
struct Either<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
    type Value = (Curve<T>, Option<u64>);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value, or a curve { from, to, over } or { steps, hold }")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        constant(T::deserialize(de::value::StrDeserializer::new(text)))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        constant(T::deserialize(de::value::F64Deserializer::new(value)))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        constant(T::deserialize(de::value::I64Deserializer::new(value)))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        constant(T::deserialize(de::value::U64Deserializer::new(value)))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let written = Written::<T>::deserialize(MapAccessDeserializer::new(map))?;
        let min_events = written.min_events;
        Ok((written.curve().map_err(de::Error::custom)?, min_events))
    }
}

fn constant<T, E>(value: Result<T, E>) -> Result<(Curve<T>, Option<u64>), E> {
    value.map(|value| (Curve::Constant(value), None))
}

impl<T: JsonSchema> JsonSchema for Curve<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("CurveOf{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::<T>(generator, &[])
    }
}

impl JsonSchema for Exposure {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Exposure".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let min_events = generator.subschema_for::<u64>();
        schema::<Percentage>(generator, &[("min_events", min_events)])
    }
}

/// `beside`: what may stand beside `steps` and `hold`.
fn schema<T: JsonSchema>(generator: &mut SchemaGenerator, beside: &[(&str, Schema)]) -> Schema {
    let value = generator.subschema_for::<T>();
    let over = generator.subschema_for::<Duration>();
    let mut stepped = serde_json::json!({ "steps": { "type": "array", "minItems": 1, "items": value }, "hold": over });
    for (name, schema) in beside {
        stepped[*name] = schema.clone().to_value();
    }
    json_schema!({ "anyOf": [
        value,
        { "type": "object", "required": ["from", "to", "over"], "additionalProperties": false,
          "properties": { "from": value, "to": value, "over": over } },
        { "type": "object", "required": ["steps", "hold"], "additionalProperties": false, "properties": stepped },
    ] })
}
