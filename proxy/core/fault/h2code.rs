//! Error codes of HTTP/2 (RFC 9113, 7), by number or name.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// The names of the codes, from 0.
const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

const EXPECTED: &str = "an error code of HTTP/2: a number up to 4294967295, or a name such as \"ENHANCE_YOUR_CALM\"";

/// An error code: one of those that have a name, or any other number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The connection ends in good order.
    pub const NO_ERROR: ErrorCode = ErrorCode(0);
    /// Something unexpected happened.
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(2);
}

impl FromStr for ErrorCode {
    type Err = String;
    fn from_str(text: &str) -> Result<ErrorCode, String> {
        let named = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|code| u32::try_from(code).ok());
        named.or_else(|| text.parse().ok()).map(ErrorCode).ok_or_else(|| {
            let near = crate::parse::nearest(&text.to_ascii_uppercase(), NAMES);
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("`{text}` is not {EXPECTED}{near}")
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0).ok().and_then(|code| NAMES.get(code)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = ErrorCode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }
    fn visit_i64<E: de::Error>(self, code: i64) -> Result<ErrorCode, E> {
        code.to_string().parse().map_err(E::custom)
    }
    fn visit_u64<E: de::Error>(self, code: u64) -> Result<ErrorCode, E> {
        code.to_string().parse().map_err(E::custom)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<ErrorCode, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for ErrorCode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ErrorCode".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": EXPECTED,
            "anyOf": [{ "type": "integer", "minimum": 0, "maximum": u32::MAX }, { "type": "string", "enum": NAMES }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbers_or_names() {
        let parse = |text: &str| text.parse::<ErrorCode>();
        assert_eq!(
            (parse("ENHANCE_YOUR_CALM"), parse("cancel"), parse("77")),
            (Ok(ErrorCode(11)), Ok(ErrorCode(8)), Ok(ErrorCode(77)))
        );
        assert!(parse("ENHANCE_YOUR_CLAM").is_err_and(|why| why.contains("did you mean `ENHANCE_YOUR_CALM`")));
        assert!(parse("-1").is_err() && parse("4294967296").is_err());
        assert_eq!((ErrorCode(8).to_string(), ErrorCode(99).to_string()), ("CANCEL".into(), "99".into()));
    }
}
