//! Names and types of questions, as they are written in a scenario.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};

/// Names of questions: a name, or a glob in which `*` stands for anything. Kept in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamePattern(String);

impl NamePattern {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// `name` in small letters, without the last dot.
    pub(super) fn matches(&self, name: &str) -> bool {
        crate::parse::glob(&self.0, name)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(&text);
        let fits = name == "." || (name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())));
        if !name.is_ascii() {
            return Err(de::Error::custom(format!("{text:?} is not ASCII: write the name's `xn--` form")));
        }
        if !fits || name.bytes().any(|c| c.is_ascii_whitespace() || c.is_ascii_control()) {
            return Err(de::Error::custom(format!(
                "{text:?} is no name such as \"api.example.com\" or \"*.example.com\""
            )));
        }
        Ok(NamePattern(name.to_ascii_lowercase()))
    }
}

impl JsonSchema for NamePattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DnsName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A name, or a glob such as `*.example.com`", "type": "string", "pattern": r"^[!-~]+$" })
    }
}

/// Types by name (IANA, DNS parameters).
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("DNSKEY", 48),
    ("TLSA", 52),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("ANY", 255),
    ("CAA", 257),
];

/// A type of records: by name, or by number as in `TYPE65` (RFC 3597).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordType(u16);

impl RecordType {
    pub(super) fn is(self, number: u16) -> bool {
        self.0 == number
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for RecordType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let named = TYPES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        let number = named.or_else(|| text.strip_prefix("TYPE")?.parse().ok());
        number.map(RecordType).ok_or_else(|| {
            let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
            de::Error::custom(format!("`{text}` is no type of records: write TYPE65 or one of {}", names.join(", ")))
        })
    }
}

impl JsonSchema for RecordType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DnsType".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        json_schema!({
            "description": "A type of records",
            "anyOf": [{ "enum": names }, { "type": "string", "pattern": "^TYPE[0-9]{1,5}$" }],
        })
    }
}
