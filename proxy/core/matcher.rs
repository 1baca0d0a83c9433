//! Match rules: what they say, checked ([`MatchSpec`]), compiled together for the data plane ([`Rules`]), and by themselves
//! with reasons ([`explain()`]).

mod compiled;
mod condition;
mod explain;
mod impossible;
mod index;
mod never;
mod pattern;
mod sets;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

pub use compiled::Rules;
pub use condition::Facts;
pub use explain::explain;
pub use never::NeverFault;
pub(crate) use pattern::check_glob;
pub use words::{Network, StatusRange};

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
    /// Protocols that the client offers in the TLS handshake (ALPN); any of them.
    pub alpn: Option<Vec<String>>,
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
        self.status.is_some() || !self.response_headers.is_empty() || self.within().any(MatchSpec::needs_answer)
    }

    /// Whether it looks at the TLS handshake.
    pub fn needs_hello(&self) -> bool {
        self.sni.is_some() || self.alpn.is_some() || self.within().any(MatchSpec::needs_hello)
    }

    /// Whether it looks at what only HTTP has: for a connection it can't hold.
    pub fn needs_http(&self) -> bool {
        let MatchSpec { source, sni, alpn, not, any, all, .. } = self.clone();
        let of_connections = MatchSpec { source, sni, alpn, not, any, all, ..MatchSpec::default() };
        *self != of_connections || self.within().any(MatchSpec::needs_http)
    }

    fn within(&self) -> impl Iterator<Item = &MatchSpec> {
        self.not.as_deref().into_iter().chain(self.any.iter().flatten()).chain(self.all.iter().flatten())
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

/// As messages name it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(text) => write!(f, "exactly {text:?}"),
            Pattern::Glob(text) => write!(f, "{text:?}"),
            Pattern::Regex(text) => write!(f, "the regular expression {text:?}"),
            Pattern::Present => f.write_str("any value"),
            Pattern::Absent => f.write_str("none"),
        }
    }
}

/// An HTTP method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub String);

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

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Pattern;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a glob, or one of { exact = … }, { glob = … }, { regex = … }, { present = true|false }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
                check_glob(text).map_err(E::custom)?;
                Ok(Pattern::Glob(text.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pattern, A::Error> {
                let Some(word) = map.next_key::<String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                let pattern = match word.as_str() {
                    "exact" => Pattern::Exact(map.next_value()?),
                    "glob" => {
                        let text: String = map.next_value()?;
                        check_glob(&text).map_err(de::Error::custom)?;
                        Pattern::Glob(text)
                    }
                    "regex" => {
                        let text: String = map.next_value()?;
                        pattern::check_regex(&text).map_err(de::Error::custom)?;
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

#[cfg(test)]
mod tests;
