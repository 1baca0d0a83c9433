//! `requests = "FILE"`: the requests of a file beside the scenario, put where its name stands, so that digest, canonical form
//! and what goes over the control port carry them.

use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::parse::beside::beside;
use crate::parse::node::{Broken, Node, Table, Value, from_toml};
use crate::parse::reader::{Reader, item, join};
use crate::read;

/// Whether a workload names a file.
pub(crate) fn names_a_file(root: &Table) -> bool {
    root.tables("workload").any(|(_, workload)| workload.text("requests").is_some())
}

/// Puts the requests of each file that a workload names in the place of the name. `scenario` is the file that names
/// them; mistakes are told where it does.
pub(crate) fn put_in_place(reader: &mut Reader, root: &mut Table, scenario: &Path) {
    let Some(Value::List(list)) = root.entries.iter_mut().find(|e| e.key == "workload").map(|e| &mut e.node.value)
    else {
        return;
    };
    for (index, node) in list.iter_mut().enumerate() {
        let Value::Table(workload) = &mut node.value else { continue };
        let path = join(&item("workload", workload, index), "requests");
        let Some(named) = workload.entries.iter_mut().find(|entry| entry.key == "requests") else { continue };
        let Some(name) = named.node.as_text() else { continue };
        match requests(scenario, name) {
            Ok(mut list) => {
                list.iter_mut().for_each(|node| at(node, &named.node));
                named.node.value = Value::List(list);
            }
            Err(why) => {
                reader.push(Diagnostic::error(why), &path, named.node.span.clone());
                named.node.value = Value::Null; // told: whoever reads the workload says no more about it
            }
        }
    }
}

/// What stands in the file is told where the scenario names it.
fn at(node: &mut Node, place: &Node) {
    node.span.clone_from(&place.span);
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|node| at(node, place)),
        Value::Table(table) => {
            table.span.clone_from(&place.span);
            for entry in &mut table.entries {
                entry.key_span.clone_from(&place.span);
                at(&mut entry.node, place);
            }
        }
        _ => {}
    }
}

/// The requests of the file of this name.
fn requests(scenario: &Path, name: &str) -> Result<Vec<Node>, String> {
    let file = beside(scenario, name)?;
    let source = read::load(&file).map_err(|mistake| format!("{name}: {}", mistake.message))?;
    let root = from_toml(&source.text).map_err(|broken| {
        let Broken { message, span } =
            broken.into_iter().next().unwrap_or(Broken { message: String::new(), span: None });
        let line =
            span.and_then(|span| source.text.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
        format!("{name}:{line}: this is not TOML: {}", message.replace('\n', ", "))
    })?;
    if let Some(other) = root.entries.iter().find(|entry| entry.key != "request") {
        return Err(format!("{name}: unknown field `{}`; a file of requests has [[request]] tables only", other.key));
    }
    match root.entries.into_iter().next().map(|entry| entry.node.value) {
        Some(Value::List(list)) if !list.is_empty() => Ok(list),
        _ => Err(format!("{name}: a file of requests has at least one [[request]] table")),
    }
}
