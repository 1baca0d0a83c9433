//! What clients of Toxiproxy send, read as generously as its own server does: keys in any case, unknown keys and what
//! follows the first value ignored, `null` for absent.

use serde_json::{Map, Value};

/// The first JSON value of a body.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn first(body: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(body);
    match serde_json::Deserializer::from_str(&text).into_iter().next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("EOF".into()),
    }
}

/// An object whose keys are found in any case.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Option<&'a Map<String, Value>>);

impl<'a> Object<'a> {
    /// `null` is an object without keys.
    pub(super) fn of(value: &'a Value) -> Result<Object<'a>, String> {
        match value {
            Value::Object(map) => Ok(Object(Some(map))),
            Value::Null => Ok(Object(None)),
            other => Err(format!("expected an object, not {}", kind(other))),
        }
    }

    /// The value of a key; none if it is absent or `null`. A key in exactly this case comes first.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        let map = self.0?;
        let found = map.get(key).or_else(|| {
            let mut entries = map.iter();
            entries.find_map(|(name, value)| name.eq_ignore_ascii_case(key).then_some(value))
        });
        found.filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(format!("`{key}` is a string, not {}", kind(other))),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(format!("`{key}` is true or false, not {}", kind(other))),
        }
    }

    /// A whole number of 64 bits: `10.0` and `1e3` are none.
    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let whole = value.as_i64();
        whole.map(Some).ok_or_else(|| format!("`{key}` is a whole number of 64 bits, not {value}"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| format!("`{key}` is a number, not {}", kind(value)))
    }

    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], String> {
        match self.value(key) {
            None => Ok(&[]),
            Some(value) => list(value).map_err(|why| format!("`{key}`: {why}")),
        }
    }
}

/// An array; `null` is an empty one.
pub(super) fn list(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Null => Ok(&[]),
        other => Err(format!("expected an array, not {}", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_in_any_case_null_and_what_follows() {
        let value = first(b"{\"NAME\":\"a\",\"enabled\":null,\"more\":[]} and more").unwrap();
        let object = Object::of(&value).unwrap();
        assert_eq!(object.text("name"), Ok(Some("a".into())));
        assert_eq!(object.flag("enabled"), Ok(None));
        assert!(first(b"").is_err() && first(b"{").is_err());
        assert!(Object::of(&Value::Array(vec![])).is_err() && Object::of(&Value::Null).is_ok());
    }

    #[test]
    fn whole_numbers_are_whole() {
        for (text, whole) in [("10", true), ("-3", true), ("10.0", false), ("1e3", false), ("\"10\"", false)] {
            let value = first(format!("{{\"n\":{text}}}").as_bytes()).unwrap();
            assert_eq!(Object::of(&value).unwrap().integer("n").is_ok(), whole, "{text}");
        }
    }
}
