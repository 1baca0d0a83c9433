//! JSON Schema of the two file formats, derived from the types that the language is read into.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::fault::registry::{Entry, KINDS};
use crate::parse::{
    BeforeDraft, ConfigHead, ExpectDraft, FaultHead, ForecastDraft, GuardDraft, Head, ParameterDraft, ProbeDraft,
    ProxyDraft, ServiceDraft, StepDraft, WorkloadDraft,
};
use crate::preset;

/// The schema of a scenario.
pub fn scenario() -> Value {
    let mut generator = SchemaGenerator::default();
    let mut schema = Head::json_schema(&mut generator).to_value();
    let mut faults: Vec<Value> = KINDS.iter().map(|entry| fault(entry, &mut generator)).collect();
    faults.push(network(&mut generator));
    let lists = [
        ("parameter", list::<ParameterDraft>(&mut generator)),
        ("service", list::<ServiceDraft>(&mut generator)),
        ("proxy", list::<ProxyDraft>(&mut generator)),
        ("workload", list::<WorkloadDraft>(&mut generator)),
        ("fault", json!({ "type": "array", "minItems": 1, "items": { "oneOf": faults } })),
        ("guard", list::<GuardDraft>(&mut generator)),
        ("probe", list::<ProbeDraft>(&mut generator)),
        ("before", list::<BeforeDraft>(&mut generator)),
        ("step", list::<StepDraft>(&mut generator)),
        ("expect", list::<ExpectDraft>(&mut generator)),
        ("forecast", generator.subschema_for::<ForecastDraft>().to_value()),
    ];
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push("fault".into());
    }
    finish(schema, lists, generator, "squall scenario")
}

/// The schema of a configuration.
pub fn config() -> Value {
    let mut generator = SchemaGenerator::default();
    let schema = ConfigHead::json_schema(&mut generator).to_value();
    let lists = [("proxy", list::<ProxyDraft>(&mut generator))];
    finish(schema, lists, generator, "squall configuration")
}

fn list<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    json!({ "type": "array", "items": generator.subschema_for::<T>().to_value() })
}

/// One kind: the fields that every fault has, and its own.
fn fault(entry: &Entry, generator: &mut SchemaGenerator) -> Value {
    let kind = json!({ "const": entry.name, "description": entry.about });
    let mut schema = table(entry.name, entry.about, "kind", kind, generator);
    let own = (entry.schema)(generator).to_value();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let fields = own.get("properties").and_then(Value::as_object).into_iter().flatten();
        properties.extend(fields.map(|(name, schema)| (name.clone(), schema.clone())));
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.extend(own.get("required").and_then(Value::as_array).into_iter().flatten().cloned());
    }
    schema
}

/// A preset in place of a kind: the fields that every fault has, and no others.
fn network(generator: &mut SchemaGenerator) -> Value {
    let about = "A link by name: latency, bandwidth and loss in both directions";
    let listed = preset::listed().map(|(name, link)| json!({ "const": name, "description": link.about() }));
    let pairs = json!({ "enum": preset::aws_pairs().collect::<Vec<_>>(), "description": "Between two AWS regions" });
    let word = json!({ "description": about, "anyOf": listed.chain([pairs]).collect::<Vec<_>>() });
    table("preset", about, "preset", word, generator)
}

/// The fields that every fault has, with the one word, `kind` or `preset`, that says what it does.
fn table(title: &str, about: &str, word: &str, schema: Value, generator: &mut SchemaGenerator) -> Value {
    let mut common = FaultHead::json_schema(generator).to_value();
    if let Some(properties) = common.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !["kind", "preset"].contains(&name.as_str()));
        properties.insert(word.into(), schema);
    }
    if let Some(required) = common.get_mut("required").and_then(Value::as_array_mut) {
        required.push(word.into());
    }
    if let Some(common) = common.as_object_mut() {
        common.insert("title".into(), title.into());
        common.insert("description".into(), about.into());
    }
    common
}

fn finish<const N: usize>(
    mut schema: Value,
    lists: [(&str, Value); N],
    mut generator: SchemaGenerator,
    title: &str,
) -> Value {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(lists.into_iter().map(|(name, schema)| (name.to_owned(), schema)));
        // editors read the schema's address from the document in JSON
        properties.insert("$schema".into(), json!({ "type": "string" }));
    }
    let mut definitions = generator.take_definitions(true);
    for definition in definitions.values_mut() {
        parametric(definition);
    }
    parametric(&mut schema);
    let mut root = Map::new();
    root.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    root.extend(schema.as_object().cloned().unwrap_or_default());
    root.insert("title".into(), title.into());
    root.insert("$defs".into(), definitions.into());
    root.into()
}

/// Where a number or truth value stands, `"${name}"` may stand too.
fn parametric(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(parametric),
        Value::Object(map) => {
            map.values_mut().for_each(parametric);
            let is_scalar = |word: &Value| matches!(word.as_str(), Some("integer" | "number" | "boolean"));
            let words = match map.get("type") {
                Some(Value::Array(words)) => words.clone(),
                Some(word @ Value::String(_)) => vec![word.clone()],
                _ => return,
            };
            if words.iter().any(is_scalar) && !words.contains(&"string".into()) {
                let words = words.into_iter().chain(["string".into()]).collect();
                map.insert("type".into(), Value::Array(words));
                map.insert("pattern".into(), r"^\$\{".into());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
