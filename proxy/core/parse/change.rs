//! Another configuration for a fault of a scenario that runs.

use serde_json::{Map, Value};

use super::fault::COMMON;
use super::{Options, Result, scenario_json, words};
use crate::diagnostic::Diagnostic;
use crate::scenario::Checked;

/// Of the fields that every fault has, those that may change while it runs. The others say which fault it is, on whom and
/// when it acts.
const CHANGEABLE: &[&str] = &["percentage"];

/// A scenario whose fault of this name has other `fields`, as a JSON merge patch (RFC 7396) has them: null takes one out.
/// `canonical` is [`Checked::canonical`]. The whole is checked as any scenario is; the proxies that it brings itself may be
/// among those that run.
///
/// # Errors
/// Everything that is wrong with it, fields that may not change while it runs among that.
pub fn change(canonical: &str, fault: &str, fields: &Map<String, Value>, options: &Options) -> Result<Checked> {
    let mut document: Value =
        serde_json::from_str(canonical).map_err(|error| vec![Diagnostic::error(error.to_string())])?;
    if let Some(root) = document.as_object_mut() {
        root.remove("parameter"); // their values stand where they are used
    }
    let mut options = options.clone();
    let own = document["proxy"].as_array().into_iter().flatten().filter_map(|proxy| proxy["name"].as_str());
    let own: Vec<String> = own.map(str::to_owned).collect();
    if let Some(running) = &mut options.proxies {
        running.retain(|spec| !own.contains(&spec.name));
    }
    let faults = document.get_mut("fault").and_then(Value::as_array_mut);
    let mut tables = faults.into_iter().flatten().filter_map(Value::as_object_mut);
    let named = |table: &Map<String, Value>| {
        let name = table.get("name").or_else(|| table.get("kind")).and_then(Value::as_str);
        name == Some(fault)
    };
    let Some(table) = tables.find(|table| named(table) && !table.contains_key("preset")) else {
        let why =
            format!("there is no fault `{fault}` that could change by itself; those of a preset stay as they are");
        return Err(vec![Diagnostic::error(why)]);
    };
    check(fault, fields)?;
    for (field, value) in fields {
        match value {
            Value::Null => table.remove(field),
            value => table.insert(field.clone(), value.clone()),
        };
    }
    scenario_json(&document, &options)
}

fn check(fault: &str, fields: &Map<String, Value>) -> std::result::Result<(), Vec<Diagnostic>> {
    if fields.is_empty() {
        return Err(vec![Diagnostic::error("nothing is to change: name at least one field of the fault")]);
    }
    let fixed = fields.keys().filter(|field| COMMON.contains(&field.as_str()) && !CHANGEABLE.contains(&field.as_str()));
    let told = |field: &String| {
        let help = format!("{} or a field of its kind", words::expected(CHANGEABLE.iter().copied()));
        let message = format!("`{field}` can not change while the fault runs");
        Diagnostic::error(message).field(format!("fault[{fault}].{field}")).help(help)
    };
    let wrong: Vec<Diagnostic> = fixed.map(told).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}
