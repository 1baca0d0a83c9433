//! Match rules: what they say, checked; evaluated with the HTTP data plane.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// `match = { … }`, checked. Everything that is written must hold; nothing written matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchSpec {
    /// HTTP methods; any of them.
    pub method: Option<Vec<Method>>,
    /// The path, normalised, without the query.
    pub path: Option<Pattern>,
    /// The host that is asked for, without its port.
    pub host: Option<Pattern>,
    /// Parameters of the query by name.
    pub query: BTreeMap<String, Pattern>,
    /// Request headers by name.
    pub headers: BTreeMap<String, Pattern>,
    /// Networks that the client comes from; any of them.
    pub source: Option<Vec<Network>>,
    /// The server name of the TLS handshake.
    pub sni: Option<Pattern>,
    /// gRPC service, with its package.
    pub grpc_service: Option<Pattern>,
    /// gRPC method.
    pub grpc_method: Option<Pattern>,
    /// Content type of the request, without parameters.
    pub content_type: Option<Pattern>,
    /// Length of the request's body.
    pub request_size: Option<SizeRange>,
    /// Status of the answer: 503, "5xx" or "500-504"; any of them. Phases after the answer's head only.
    pub status: Option<Vec<StatusRange>>,
    /// Headers of the answer by name. Phases after the answer's head only.
    pub response_headers: BTreeMap<String, Pattern>,
    /// Must not hold.
    pub not: Option<Box<MatchSpec>>,
    /// At least one of these must hold.
    pub any: Option<Vec<MatchSpec>>,
    /// All of these must hold.
    pub all: Option<Vec<MatchSpec>>,
}

/// What the language reads: the same.
pub(crate) type MatchDraft = MatchSpec;

impl MatchSpec {
    /// Whether it looks at the answer, which early phases have not seen.
    pub fn needs_answer(&self) -> bool {
        let within = self.not.as_deref().into_iter().chain(self.any.iter().flatten()).chain(self.all.iter().flatten());
        self.status.is_some() || !self.response_headers.is_empty() || within.into_iter().any(MatchSpec::needs_answer)
    }

    /// Why it can match nothing, if that can be told: the field and the reason.
    pub fn impossible(&self) -> Option<(&'static str, String)> {
        let empty = [
            ("method", self.method.as_ref().is_some_and(Vec::is_empty)),
            ("source", self.source.as_ref().is_some_and(Vec::is_empty)),
            ("status", self.status.as_ref().is_some_and(Vec::is_empty)),
            ("any", self.any.as_ref().is_some_and(Vec::is_empty)),
        ];
        if let Some((field, _)) = empty.into_iter().find(|(_, empty)| *empty) {
            return Some((field, format!("an empty `{field}` matches nothing")));
        }
        if let Some(Pattern::Exact(path) | Pattern::Glob(path)) = &self.path
            && !path.starts_with(['/', '*'])
        {
            return Some(("path", "a path begins with `/`".into()));
        }
        if matches!(self.path, Some(Pattern::Absent)) {
            return Some(("path", "every request has a path".into()));
        }
        if self.request_size.is_some_and(|size| size.min > size.max) {
            return Some(("request_size", "`min` is more than `max`".into()));
        }
        if self.not.as_deref() == Some(&MatchSpec::default()) {
            return Some(("not", "an empty rule matches everything, and its `not` nothing".into()));
        }
        if let Some(why) = self.all.iter().flatten().find_map(MatchSpec::impossible) {
            return Some(("all", why.1));
        }
        let any = self.any.iter().flatten().map(MatchSpec::impossible).collect::<Option<Vec<_>>>();
        any.and_then(|all| Some(("any", all.into_iter().next()?.1)))
    }
}

/// How one value is matched. A bare text is a glob: `*` within a segment, `**` across segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The very text.
    Exact(String),
    /// `*` and `**`.
    Glob(String),
    /// A regular expression over the whole value; known to compile.
    Regex(String),
    /// Any value.
    Present,
    /// No such value.
    Absent,
}

/// An HTTP method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub String);

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
        let shifted = |bits: u128, width: u32| bits.checked_shr(width - u32::from(self.prefix)).unwrap_or(0);
        match (self.address.to_canonical(), address.to_canonical()) {
            (V4(a), V4(b)) => shifted(u32::from(a).into(), 32) == shifted(u32::from(b).into(), 32),
            (V6(a), V6(b)) => shifted(a.into(), 128) == shifted(b.into(), 128),
            _ => false,
        }
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
        match prefix.unwrap_or(width) {
            prefix if prefix <= width => Ok(Network { address, prefix }),
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

/// Bytes, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SizeRange {
    /// At least.
    #[serde(default)]
    pub min: crate::unit::Bytes,
    /// At most.
    #[serde(default = "unlimited")]
    pub max: crate::unit::Bytes,
}

fn unlimited() -> crate::unit::Bytes {
    crate::unit::Bytes::MAX
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

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Pattern;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or one of { exact = … }, { glob = … }, { regex = … }, { present = true|false }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
                Ok(Pattern::Glob(text.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pattern, A::Error> {
                let Some(word) = map.next_key::<String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                let pattern = match word.as_str() {
                    "exact" => Pattern::Exact(map.next_value()?),
                    "glob" => Pattern::Glob(map.next_value()?),
                    "regex" => {
                        let text: String = map.next_value()?;
                        let built = regex::RegexBuilder::new(&text).size_limit(1 << 20).build();
                        built
                            .map_err(|error| de::Error::custom(format!("this regular expression is wrong: {error}")))?;
                        Pattern::Regex(text)
                    }
                    "present" if map.next_value()? => Pattern::Present,
                    "present" => Pattern::Absent,
                    other => return Err(de::Error::unknown_field(other, &["exact", "glob", "regex", "present"])),
                };
                match map.next_key::<String>()? {
                    None => Ok(pattern),
                    Some(_) => Err(de::Error::custom("one of `exact`, `glob`, `regex` and `present` may stand here")),
                }
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pattern".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |word: &str, json: &str| {
            json_schema!({
                "type": "object", "additionalProperties": false, "required": [word], "properties": { word: { "type": json } }
            })
        };
        json_schema!({
            "description": "A glob: `*` within a segment, `**` across segments; or one of exact, glob, regex, present",
            "anyOf": [
                { "type": "string" },
                one("exact", "string"), one("glob", "string"), one("regex", "string"), one("present", "boolean")
            ]
        })
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            return Ok(Method(text));
        }
        Err(de::Error::invalid_value(de::Unexpected::Str(&text), &"a method in capital letters such as GET"))
    }
}

impl JsonSchema for Method {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Method".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z-]+$" })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(json: serde_json::Value) -> Result<MatchSpec, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn every_field_is_taken() {
        let spec = rule(serde_json::json!({
            "method": ["GET", "POST"], "path": "/v1/**", "host": { "exact": "a" }, "query": { "q": { "present": false } },
            "headers": { "x": { "regex": "^a+$" } }, "source": ["10.0.0.0/8", "::1"], "sni": "*.a", "grpc_service": "a.B",
            "grpc_method": "C", "content_type": "text/*", "request_size": { "min": "1KiB" }, "status": [503, "4xx", "500-502"],
            "response_headers": { "y": { "present": true } }, "not": { "path": "/healthz" },
            "any": [{ "method": ["GET"] }, {}], "all": [{ "host": "b" }]
        }));
        let spec = spec.unwrap();
        assert_eq!(spec.impossible(), None);
        assert!(spec.needs_answer());
        assert_eq!(spec.status.unwrap()[1], StatusRange { low: 400, high: 499 });
        assert_eq!(spec.query["q"], Pattern::Absent);
        assert!(spec.source.unwrap()[0].contains("::ffff:10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for json in [
            serde_json::json!({ "pat": "/" }),
            serde_json::json!({ "path": { "regex": "(" } }),
            serde_json::json!({ "path": { "exact": "a", "glob": "b" } }),
            serde_json::json!({ "path": {} }),
            serde_json::json!({ "method": ["get"] }),
            serde_json::json!({ "source": ["10.0.0.0/33"] }),
            serde_json::json!({ "status": [700] }),
            serde_json::json!({ "status": ["502-500"] }),
        ] {
            assert!(rule(json.clone()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_rule_that_can_match_nothing_is_told() {
        for json in [
            serde_json::json!({ "method": [] }),
            serde_json::json!({ "any": [] }),
            serde_json::json!({ "path": "v1" }),
            serde_json::json!({ "path": { "present": false } }),
            serde_json::json!({ "request_size": { "min": "2B", "max": "1B" } }),
            serde_json::json!({ "not": {} }),
            serde_json::json!({ "all": [{ "method": [] }, {}] }),
            serde_json::json!({ "any": [{ "method": [] }] }),
        ] {
            assert!(rule(json.clone()).unwrap().impossible().is_some(), "{json}");
        }
        assert_eq!(rule(serde_json::json!({ "any": [{ "method": [] }, {}] })).unwrap().impossible(), None);
    }
}
