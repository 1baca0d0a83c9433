//! As much of JSON Schema as the kinds use.

use regex::Regex;
use serde_json::Value;

/// Whether a value matches; if not, where and why.
pub(super) fn check(schema: &Value, definitions: &Value, value: &Value) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{value} against {schema}: {why}"));
    if schema == &Value::Bool(false) {
        return fail("nothing may stand here");
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        assert!(definitions[name].is_object(), "no definition {reference}");
        return check(&definitions[name], definitions, value);
    }
    for any in ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()) {
        if !any.iter().any(|one| check(one, definitions, value).is_ok()) {
            return fail("none fits");
        }
    }
    if !schema["type"].is_null() && !types(&schema["type"]).iter().any(|name| is(name, value)) {
        return fail("another type");
    }
    if schema["enum"].as_array().is_some_and(|among| !among.contains(value)) {
        return fail("not among them");
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return fail("another constant");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        return fail("another form");
    }
    for (bound, number) in [("minimum", value.as_f64()), ("maximum", value.as_f64())] {
        let (Some(limit), Some(number)) = (schema[bound].as_f64(), number) else { continue };
        if (bound == "minimum" && number < limit) || (bound == "maximum" && number > limit) {
            return fail(bound);
        }
    }
    for item in value.as_array().into_iter().flatten() {
        if schema["items"].is_object() {
            check(&schema["items"], definitions, item)?;
        }
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return fail("a field is missing");
        }
    }
    for (name, field) in fields {
        let patterns = schema["patternProperties"].as_object().into_iter().flatten();
        let own = patterns.filter(|(pattern, _)| Regex::new(pattern).unwrap().is_match(name)).map(|(_, own)| own);
        let known = schema["properties"].get(name).or_else(|| own.into_iter().next());
        match known {
            Some(known) => check(known, definitions, field)?,
            None if schema["additionalProperties"].is_object() => {
                check(&schema["additionalProperties"], definitions, field)?;
            }
            None if schema["additionalProperties"] == Value::Bool(false) => return fail(name),
            None => {}
        }
    }
    Ok(())
}

fn types(of: &Value) -> Vec<&str> {
    match of {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type {other}"),
    }
}
