//! Files that a scenario names. What is in them is put where their names stand, so that digest, canonical form and what
//! goes over the control port carry it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::node::{Table, Value};
use super::reader::{Reader, item, join};
use super::workload;
use crate::diagnostic::{Diagnostic, Source};
use crate::read;

/// Whether a scenario names a file.
pub(crate) fn names_a_file(root: &Table) -> bool {
    let names = |list: &str, key| root.tables(list).any(|(_, table)| table.text(key).is_some());
    workload::names_a_file(root) || names("fault", "body_file") || names("service", "file")
}

/// Puts what is in each file in the place of its name. `scenario` is the file that names them; mistakes are told where it
/// does.
pub(crate) fn put_in_place(reader: &mut Reader, root: &mut Table, scenario: &Path) {
    workload::put_in_place(reader, root, scenario);
    for entry in &mut root.entries {
        let put = match entry.key.as_str() {
            "fault" => body,
            "service" => recording,
            _ => continue,
        };
        let Value::List(list) = &mut entry.node.value else { continue };
        for (index, node) in list.iter_mut().enumerate() {
            if let Value::Table(table) = &mut node.value {
                put(reader, table, index, scenario);
            }
        }
    }
}

/// `file = "FILE"` becomes `recording = "…"`; mistakes in it are told at their places there.
fn recording(reader: &mut Reader, service: &mut Table, index: usize, scenario: &Path) {
    if service.text("kind") != Some("recording") || service.has("recording") {
        return; // refused where services are read
    }
    let path = join(&item("service", service, index), "file");
    let Some(named) = service.entries.iter_mut().find(|entry| entry.key == "file") else { return };
    let Some(name) = named.node.as_text() else { return };
    match recorded(scenario, name) {
        Ok(text) => {
            named.key = "recording".into();
            named.node.value = Value::Text(text);
        }
        Err(told) => {
            for told in told {
                match told.span {
                    Some(_) => reader.bring(vec![told]),
                    None => reader.push(Diagnostic::error(told.message), &path, named.node.span.clone()),
                }
            }
            named.node.value = Value::Null; // told: whoever reads the service says no more about it
        }
    }
}

/// The text of a recording, in which nothing looks like a parameter.
fn recorded(scenario: &Path, name: &str) -> Result<String, Vec<Diagnostic>> {
    let file = beside(scenario, name).map_err(|why| vec![Diagnostic::error(why)])?;
    let source = read::load(&file).map_err(|told| vec![told])?;
    let source = Arc::new(Source { name: name.to_owned(), text: source.text.clone() });
    let recording = super::recording::recording(&source)?;
    if !source.text.contains("${") {
        return Ok(source.text.clone());
    }
    let escaped = Arc::new(Source { name: name.to_owned(), text: source.text.replace("${", "\\u0024{") });
    match super::recording::recording(&escaped) {
        Ok(same) if same == recording => Ok(escaped.text.clone()),
        _ => {
            let at = source.text.find("${").unwrap_or_default();
            let why = "in a recording `${` stands in basic strings only (\"…\"), or it would be taken for a parameter";
            Err(vec![Diagnostic::error(why).at(&source, at..at + 2)])
        }
    }
}

/// `body_file = "FILE"` becomes `body = "…"`.
fn body(reader: &mut Reader, fault: &mut Table, index: usize, scenario: &Path) {
    if fault.has("body") {
        return; // refused by the kind
    }
    let path = join(&item("fault", fault, index), "body_file");
    let Some(named) = fault.entries.iter_mut().find(|entry| entry.key == "body_file") else { return };
    let Some(name) = named.node.as_text() else { return };
    let text = beside(scenario, name).and_then(|file| {
        read::load(&file).map(|source| source.text.clone()).map_err(|mistake| format!("{name}: {}", mistake.message))
    });
    match text {
        Ok(text) => {
            named.key = "body".into();
            named.node.value = Value::Text(text);
        }
        Err(why) => {
            reader.push(Diagnostic::error(why), &path, named.node.span.clone());
            named.key = "body".into();
            named.node.value = Value::Text(String::new()); // told: whoever reads the fault says no more about it
        }
    }
}

/// The file of this name in the scenario's directory or below it, wherever symbolic links lead.
pub(super) fn beside(scenario: &Path, name: &str) -> Result<PathBuf, String> {
    let relative = Path::new(name);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if name.is_empty() || !relative.components().all(is_plain) {
        return Err(format!(
            "{name:?} is not a file beside the scenario: a relative path without `..` is expected here"
        ));
    }
    let directory = match scenario.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let cannot = |error: std::io::Error| format!("{name}: can not read the file: {error}");
    let directory = directory.canonicalize().map_err(cannot)?;
    let file = directory.join(relative).canonicalize().map_err(cannot)?;
    if !file.starts_with(&directory) {
        return Err(format!("{name}: this leads out of the scenario's directory"));
    }
    Ok(file)
}
