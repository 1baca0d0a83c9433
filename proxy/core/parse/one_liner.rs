//! A scenario from one line: `squall inject PROXY KIND key=value … --for 60s`, or `preset=NAME` in place of the kind.

use serde_json::{Map, Value};

use crate::scenario::{NONE_STATED, RECOVERY};
use crate::unit::Duration;

/// What a scenario from one line says besides its fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Who answers for it.
    pub owner: String,
    /// The environment that it is for.
    pub environment: String,
}

/// A hard end for a fault that acts so long: with the time in which recovery is watched. Text that is no time stays as it is,
/// to be found wrong.
pub fn hard_end(length: &str) -> String {
    match length.parse::<Duration>() {
        Ok(Duration(length)) => Duration(length.saturating_add(RECOVERY).min(Duration::MAX.0)).to_string(),
        Err(_) => length.to_owned(),
    }
}

/// A fault in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// None: its kind's name.
    pub name: Option<String>,
    /// Where it acts.
    pub proxy: String,
    /// A kind, or `preset=` and the name of a preset.
    pub kind: String,
    /// Its fields, as key and value.
    pub fields: Vec<(String, String)>,
}

/// The text of a scenario with one fault, and with all that one must say to be armed, to be checked like any other. Values that spell a number, a truth value, a
/// list or a table are written bare, all others as text. `kind` is a kind, or `preset=` and the name of a preset.
/// `length` is the fault's `for`, as in "60s".
pub fn one_liner(proxy: &str, kind: &str, fields: &[(String, String)], length: &str, filled: &Filled) -> String {
    let own = fields.iter().cloned();
    let fields = [("for".to_owned(), length.to_owned())].into_iter().chain(own).collect();
    let line = Line { name: None, proxy: proxy.to_owned(), kind: kind.to_owned(), fields };
    let of = line.kind.strip_prefix("preset=").unwrap_or(&line.kind);
    let name = slug(&format!("inject-{}-{of}", proxy.replace('*', "all")));
    lines(&name, &[line], &hard_end(length), None, filled)
}

/// The same with several, under a name that a scenario may have, to end by `max` at the latest.
pub fn lines(name: &str, faults: &[Line], max: &str, seed: Option<u64>, filled: &Filled) -> String {
    let mut lines = vec![
        format!("name         = {}", text(name)),
        format!("owner        = {}", text(&filled.owner)),
        format!("hypothesis   = {}", text(NONE_STATED)),
        format!("environments = [{}]", text(&filled.environment)),
        format!("max_duration = {}", text(max)),
    ];
    lines.extend(seed.map(|seed| format!("seed         = {seed}")));
    for fault in faults {
        let (word, kind) = match fault.kind.strip_prefix("preset=") {
            Some(preset) => ("preset", preset),
            None => ("kind", fault.kind.as_str()),
        };
        lines.extend([String::new(), "[[fault]]".to_owned()]);
        lines.extend(fault.name.as_ref().map(|name| format!("name = {}", text(name))));
        lines.push(format!("{word} = {}", text(kind)));
        lines.push(format!("proxy = {}", text(&fault.proxy)));
        lines.extend(fault.fields.iter().map(|(key, value)| format!("{} = {}", field(key), bare(value))));
    }
    lines.extend(["", "[[guard]]", "metric = \"connection_error_rate\"", "above  = \"50%\"", ""].map(str::to_owned));
    lines.join("\n")
}

fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    text.chars().map(plain).take(63).collect()
}

/// Fields of the same spelling as a JSON merge patch (RFC 7396), for [`change`](super::change): one without a value is to be
/// taken out.
///
/// # Errors
/// A field that can't be read, in words.
pub fn merge_patch(fields: &[(String, String)]) -> Result<Map<String, Value>, String> {
    let mut patch = Map::new();
    for (key, value) in fields {
        if value.is_empty() {
            patch.insert(key.clone(), Value::Null);
            continue;
        }
        let line = format!("{} = {}", field(key), bare(value));
        let read: Map<String, Value> =
            toml::from_str(&line).map_err(|error| format!("`{key}`: {}", error.message()))?;
        patch.extend(read);
    }
    Ok(patch)
}

fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

fn field(key: &str) -> String {
    let is_bare =
        |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    if key.split('.').all(is_bare) { key.to_owned() } else { Value::from(key).to_string() }
}

fn bare(value: &str) -> String {
    let is_bare = matches!(value.as_bytes().first(), Some(b'[' | b'{' | b'"' | b'0'..=b'9' | b'-' | b'+'))
        || matches!(value, "true" | "false");
    let one_line = !value.contains(['\n', '\r']);
    let parses = || toml::de::DeTable::parse(&format!("x = {value}")).is_ok_and(|table| table.get_ref().len() == 1);
    let is_date =
        value.bytes().filter(|byte| matches!(byte, b'-' | b':')).count() > 1 && !value.starts_with(['[', '{', '"']);
    if is_bare && one_line && !is_date && !value.contains('#') && super::depth::too_deep(value).is_none() && parses() {
        return value.to_owned();
    }
    text(value)
}
