//! Status codes of gRPC and how a message is written in a field (gRPC over HTTP/2: github.com/grpc/grpc,
//! doc/PROTOCOL-HTTP2.md and doc/statuscodes.md).

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The names of the codes, from 0.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const EXPECTED: &str = "a gRPC status from 0 to 16 or its name, such as \"UNAVAILABLE\"";

/// A gRPC status: 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// The service can't be reached for now.
    pub const UNAVAILABLE: GrpcStatus = GrpcStatus(14);

    /// Its number.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl FromStr for GrpcStatus {
    type Err = String;
    fn from_str(text: &str) -> Result<GrpcStatus, String> {
        let named = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text));
        let found = named.or_else(|| text.parse().ok()).and_then(|code| u8::try_from(code).ok());
        found.filter(|code| *code <= 16).map(GrpcStatus).ok_or_else(|| {
            let near = crate::parse::nearest(&text.to_ascii_uppercase(), NAMES);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("`{text}` is not {EXPECTED}{near}")
        })
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, NAMES.get(usize::from(self.0)).unwrap_or(&"?"))
    }
}

impl<'de> Deserialize<'de> for GrpcStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = GrpcStatus;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }
    fn visit_i64<E: de::Error>(self, code: i64) -> Result<GrpcStatus, E> {
        code.to_string().parse().map_err(E::custom)
    }
    fn visit_u64<E: de::Error>(self, code: u64) -> Result<GrpcStatus, E> {
        code.to_string().parse().map_err(E::custom)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<GrpcStatus, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for GrpcStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GrpcStatus".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": EXPECTED,
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 16 }, { "type": "string", "enum": NAMES }],
        })
    }
}

/// A message as `grpc-message` carries it: every byte but those from space to `~`, and `%` itself, as `%XX`.
pub(crate) fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
