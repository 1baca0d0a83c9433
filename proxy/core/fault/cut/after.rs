//! An amount of bytes or a time, told apart by the unit.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::unit::{Bytes, Duration};

/// `after`: an amount ("1KiB") or a time ("5s") since the connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// So many bytes in one direction.
    Amount(Bytes),
    /// So long.
    Time(Duration),
}

impl Default for After {
    fn default() -> After {
        After::Amount(Bytes(0))
    }
}

impl FromStr for After {
    type Err = String;
    fn from_str(text: &str) -> Result<After, String> {
        let (amount, time) = (text.parse().map(After::Amount), text.parse().map(After::Time));
        // the unit tells which of the two was meant, and so whose message helps
        match (amount, time) {
            (Ok(after), _) | (_, Ok(after)) => Ok(after),
            (Err(why), _) if text.trim_end().ends_with(['B', 'b']) => Err(why),
            (_, Err(why))
                if text.contains(|c: char| c.is_ascii_digit()) && text.trim_end().ends_with(['s', 'm', 'h']) =>
            {
                Err(why)
            }
            _ => Err(format!("`{text}` is not {EXPECTED}")),
        }
    }
}

const EXPECTED: &str = "an amount such as \"4KiB\" or a time such as \"5s\"";

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            After::Amount(amount) => write!(f, "{amount}"),
            After::Time(time) => write!(f, "{time}"),
        }
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = After;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<After, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for After {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "After".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (amount, time) = (generator.subschema_for::<Bytes>(), generator.subschema_for::<Duration>());
        json_schema!({ "description": EXPECTED, "anyOf": [amount, time] })
    }
}
