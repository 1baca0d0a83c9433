//! Words of match rules that are written as text or as a number: networks and statuses.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A network: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address in it.
    pub address: std::net::IpAddr,
    /// Length of its prefix, bits.
    pub prefix: u8,
}

impl Network {
    /// Whether the address is in it. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        match (self.address, address.to_canonical()) {
            (V4(_), V4(_)) | (V6(_), V6(_)) => self.bits(self.address) == self.bits(address.to_canonical()),
            _ => false,
        }
    }

    /// The leading bits of an address by which it is in a network of this prefix.
    pub(super) fn bits(&self, address: std::net::IpAddr) -> u128 {
        let (bits, width) = match address {
            std::net::IpAddr::V4(address) => (u32::from(address).into(), 32),
            std::net::IpAddr::V6(address) => (u128::from(address), 128_u32),
        };
        bits.checked_shr(width.saturating_sub(self.prefix.into())).unwrap_or(0)
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("`{text}` is not a network such as 10.0.0.0/8 or an address");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let address: std::net::IpAddr = address.parse().map_err(|_| match address {
            "localhost" => format!("{}; did you mean `127.0.0.1`?", wrong()),
            _ => wrong(),
        })?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        match (prefix.unwrap_or(width), address.to_canonical()) {
            // an IPv4 network in the clothes of IPv6
            (prefix @ 96..=128, canonical) if width == 128 && canonical.is_ipv4() => {
                Ok(Network { address: canonical, prefix: prefix - 96 })
            }
            (prefix, _) if prefix <= width => Ok(Network { address, prefix }),
            _ => Err(format!("{}; did you mean `{address}/{width}`, the longest prefix?", wrong())),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Statuses, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// From.
    pub low: u16,
    /// To.
    pub high: u16,
}

impl std::str::FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<StatusRange, String> {
        let wrong = || format!("`{text}` is not a status such as 503, \"5xx\" or \"500-504\"");
        let number = |text: &str| text.parse::<u16>().ok().filter(|status| (100..600).contains(status));
        let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
        let (low, high) = match (class, text.split_once('-')) {
            (Some(class @ 1..=5), _) => (class * 100, class * 100 + 99),
            (None, Some((low, high))) => (number(low).ok_or_else(wrong)?, number(high).ok_or_else(wrong)?),
            (None, None) => (number(text).ok_or_else(wrong)?, number(text).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        if low <= high { Ok(StatusRange { low, high }) } else { Err(wrong()) }
    }
}

/// As it is written.
impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (low, high) if low == high => write!(f, "{low}"),
            (low, high) if low % 100 == 0 && high == low + 99 => write!(f, "{}xx", low / 100),
            (low, high) => write!(f, "{low}-{high}"),
        }
    }
}

/// A value with `FromStr` that is written as text, or as a number.
macro_rules! parsed {
    ($type:ident, $expected:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct Written;
                impl Visitor<'_> for Written {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                }
                deserializer.deserialize_any(Written)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "description": $expected, "type": ["string", "integer"] })
            }
        }
    };
}

parsed!(Network, "a network such as \"10.0.0.0/8\"");
parsed!(StatusRange, "a status such as 503, \"5xx\" or \"500-504\"");
