#![allow(clippy::unwrap_used, clippy::panic)]
use std::path::Path;

use super::*;
use crate::diagnostic::Source;

fn golden(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(file);
    document(&crate::read::load(&path).unwrap())
}

fn document(source: &Source) -> Value {
    fn plain(value: toml::Value) -> Value {
        match value {
            toml::Value::Datetime(date) => date.to_string().into(),
            toml::Value::Array(list) => list.into_iter().map(plain).collect(),
            toml::Value::Table(table) => {
                Value::Object(table.into_iter().map(|(key, value)| (key, plain(value))).collect())
            }
            other => serde_json::to_value(other).unwrap(),
        }
    }
    plain(toml::Value::Table(source.text.parse().unwrap()))
}

/// As much of JSON Schema as the schemas here use; an unknown keyword fails.
fn valid(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
    let Value::Object(rules) = schema else {
        return if *schema == Value::Bool(true) { Ok(()) } else { Err(format!("{value} may not stand here")) };
    };
    let ok = |holds: bool| if holds { Ok(()) } else { Err(format!("{value} does not fit {schema}")) };
    let object = value.as_object();
    for (word, rule) in rules {
        match word.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" | "examples" => {}
            "$ref" => valid(value, root.pointer(&rule.as_str().unwrap()[1..]).unwrap(), root)?,
            "type" => {
                let words = if let Some(list) = rule.as_array() { list.clone() } else { vec![rule.clone()] };
                ok(words.iter().any(|word| match word.as_str().unwrap() {
                    "null" => value.is_null(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "string" => value.is_string(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("{other}"),
                }))?;
            }
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                ok(value.as_str().is_none_or(|text| pattern.is_match(text)))?;
            }
            "const" => ok(value == rule)?,
            "enum" => ok(rule.as_array().unwrap().contains(value))?,
            "minimum" => ok(value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()))?,
            "maximum" => ok(value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()))?,
            "exclusiveMinimum" => ok(value.as_f64().is_none_or(|number| number > rule.as_f64().unwrap()))?,
            "exclusiveMaximum" => ok(value.as_f64().is_none_or(|number| number < rule.as_f64().unwrap()))?,
            "minItems" => ok(value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().unwrap()))?,
            "maxItems" => ok(value.as_array().is_none_or(|list| list.len() as u64 <= rule.as_u64().unwrap()))?,
            "minProperties" => ok(object.is_none_or(|map| map.len() as u64 >= rule.as_u64().unwrap()))?,
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    valid(item, rule, root)?;
                }
            }
            "prefixItems" => {
                for (item, rule) in value.as_array().into_iter().flatten().zip(rule.as_array().unwrap()) {
                    valid(item, rule, root)?;
                }
            }
            "required" => {
                let missing = rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|name| object.is_some_and(|map| !map.contains_key(name.as_str().unwrap())));
                if let Some(missing) = missing {
                    return Err(format!("{missing} is missing in {value}"));
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = object.and_then(|map| map.get(name)) {
                        valid(value, rule, root)?;
                    }
                }
            }
            "patternProperties" => {
                for (pattern, rule) in rule.as_object().unwrap() {
                    let pattern = regex::Regex::new(pattern).unwrap();
                    for (_, value) in object.into_iter().flatten().filter(|(name, _)| pattern.is_match(name)) {
                        valid(value, rule, root)?;
                    }
                }
            }
            "additionalProperties" => {
                let known = |name: &str| {
                    rules.get("properties").is_some_and(|map| map.get(name).is_some())
                        || rules.get("patternProperties").and_then(Value::as_object).is_some_and(|map| {
                            map.keys().any(|pattern| regex::Regex::new(pattern).unwrap().is_match(name))
                        })
                };
                for (name, value) in object.into_iter().flatten().filter(|(name, _)| !known(name)) {
                    valid(value, rule, root).map_err(|why| format!("{name}: {why}"))?;
                }
            }
            "anyOf" => {
                let tried: Vec<_> = rule.as_array().unwrap().iter().map(|rule| valid(value, rule, root)).collect();
                ok(tried.iter().any(Result::is_ok))?;
            }
            "oneOf" => {
                let tried: Vec<_> = rule.as_array().unwrap().iter().map(|rule| valid(value, rule, root)).collect();
                if tried.iter().filter(|tried| tried.is_ok()).count() != 1 {
                    return Err(format!("{value} fits not exactly one of: {tried:?}"));
                }
            }
            other => panic!("a keyword that the test does not know: {other}"),
        }
    }
    Ok(())
}

#[test]
fn the_golden_files_fit() {
    let schema = scenario();
    for file in ["first-drill.toml", "redis-slow.toml", "checkout-brownout.toml", "library-example.toml"] {
        valid(&golden(file), &schema, &schema).unwrap_or_else(|why| panic!("{file}: {why:.2000}"));
    }
    let schema = config();
    valid(&golden("squall.toml"), &schema, &schema).unwrap_or_else(|why| panic!("{why:.2000}"));
}

#[test]
fn what_is_wrong_does_not_fit() {
    let schema = scenario();
    let good = golden("redis-slow.toml");
    for (pointer, value) in [
        ("/fault/0/kind", json!("latenzy")),
        ("/fault/0/delay", json!(5)),
        ("/fault/0/direction", json!("up")),
        ("/fault/1/percentage", json!([1])),
        ("/name", json!("A")),
        ("/guard/0/metric", json!("p98")),
        ("/workload/0/rate", json!("5")),
        ("/fault", json!([])),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(valid(&bad, &schema, &schema).is_err(), "{pointer}");
    }
    let mut bad = good;
    bad["fault"][0]["shape_"] = json!(1);
    assert!(valid(&bad, &schema, &schema).is_err());
}

#[test]
fn every_field_of_every_kind_is_described() {
    let schema = scenario();
    let kinds = schema.pointer("/properties/fault/items/oneOf").unwrap().as_array().unwrap();
    assert_eq!(kinds.len(), KINDS.len() + 1, "and presets");
    for kind in kinds {
        for (name, field) in kind["properties"].as_object().unwrap() {
            assert!(field.get("description").is_some(), "{}: {name}: {field}", kind["title"]);
        }
    }
}
