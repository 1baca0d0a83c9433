//! Files that a scenario names. What is in them is put where their names stand, so that digest, canonical form and what
//! goes over the control port carry it.

use std::path::{Component, Path, PathBuf};

use super::node::{Table, Value};
use super::reader::{Reader, item, join};
use super::workload;
use crate::diagnostic::Diagnostic;
use crate::read;

/// Whether a scenario names a file.
pub(crate) fn names_a_file(root: &Table) -> bool {
    workload::names_a_file(root) || root.tables("fault").any(|(_, fault)| fault.text("body_file").is_some())
}

/// Puts what is in each file in the place of its name. `scenario` is the file that names them; mistakes are told where it
/// does.
pub(crate) fn put_in_place(reader: &mut Reader, root: &mut Table, scenario: &Path) {
    workload::put_in_place(reader, root, scenario);
    let faults = root.entries.iter_mut().find(|entry| entry.key == "fault").map(|entry| &mut entry.node.value);
    let Some(Value::List(faults)) = faults else { return };
    for (index, node) in faults.iter_mut().enumerate() {
        if let Value::Table(fault) = &mut node.value {
            body(reader, fault, index, scenario);
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
