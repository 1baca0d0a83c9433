//! `[[parameter]]` and `--set`: values put in before anything is checked.

use super::draft::ParameterDraft;
use super::node::{Entry, Node, Table, Value, from_toml};
use super::reader::{Reader, item, tables};
use super::words;
use crate::diagnostic::Diagnostic;
use crate::scenario::Parameter;

/// What `--set` says, and which of it some document has used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets {
    pub(crate) given: Vec<(String, String)>,
    pub(crate) used: Vec<bool>,
    /// Names that could have been set.
    pub(crate) known: Vec<String>,
}

impl Sets {
    pub(crate) fn new(given: &[(String, String)]) -> Sets {
        Sets { given: given.to_vec(), used: vec![false; given.len()], known: Vec::new() }
    }

    /// One error for each name that nothing has used.
    pub(crate) fn unused(&self) -> Vec<Diagnostic> {
        let unused = self.given.iter().zip(&self.used).filter(|(_, used)| !**used);
        let error = |((name, _), _): (&(String, String), &bool)| {
            let known = self.known.iter().map(String::as_str);
            let mut diagnostic = Diagnostic::error(format!("--set {name}: there is nothing of this name to set"));
            diagnostic.help = match words::nearest(name, known.clone()) {
                Some(near) => Some(words::did_you_mean(near)),
                None if self.known.is_empty() => Some("a path such as proxy.redis.listen works too".into()),
                None => Some(words::expected(known)),
            };
            diagnostic
        };
        unused.map(error).collect()
    }
}

/// Puts everything in; gives the parameters with the values in force.
pub(crate) fn substitute(reader: &mut Reader, root: &mut Table, sets: &mut Sets) -> Vec<Parameter> {
    set_paths(root, sets);
    let mut parameters: Vec<(Parameter, Node)> = Vec::new();
    for (index, table) in tables(reader, root, "parameter").iter().enumerate() {
        let path = item("parameter", table, index);
        let draft: Option<ParameterDraft> = reader.read(table, &path);
        let (Some(draft), Some(default)) = (draft, table.node("default")) else {
            continue;
        };
        let name = draft.name.0;
        if parameters.iter().any(|(other, _)| other.name == name) {
            reader.error(table, &path, "name", format!("there is a parameter `{name}` already"));
            continue;
        }
        let given = sets.given.iter().rposition(|(set, _)| *set == name);
        let node = match given {
            Some(at) => Node { value: Value::Loose(sets.given[at].1.clone()), span: None },
            None => default.clone(),
        };
        for ((set, _), used) in sets.given.iter().zip(&mut sets.used) {
            *used |= *set == name;
        }
        sets.known.push(name.clone());
        let parameter = Parameter { name, value: spelled(&node), default: spelled(default), about: draft.about };
        parameters.push((parameter, node));
    }
    for entry in &mut root.entries {
        if entry.key != "parameter" {
            fill(reader, &mut entry.node, &parameters, &entry.key);
        }
    }
    parameters.into_iter().map(|(parameter, _)| parameter).collect()
}

fn spelled(node: &Node) -> String {
    match node.as_text() {
        Some(text) => text.to_owned(),
        None => node.to_json().to_string(),
    }
}

/// Replaces `${name}`; `$${` stands for `${` itself.
fn fill(reader: &mut Reader, node: &mut Node, parameters: &[(Parameter, Node)], path: &str) {
    match &mut node.value {
        Value::List(list) => {
            for (index, node) in list.iter_mut().enumerate() {
                fill(reader, node, parameters, &format!("{path}[{index}]"));
            }
        }
        Value::Table(table) => {
            for entry in &mut table.entries {
                fill(reader, &mut entry.node, parameters, &format!("{path}.{}", entry.key));
            }
        }
        Value::Text(text) if text.contains("${") => {
            let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            if let Some((_, value)) = whole.and_then(|name| parameters.iter().find(|(one, _)| one.name == name)) {
                node.value = value.value.clone();
                return;
            }
            let (filled, unknown) = interpolate(text, parameters);
            for name in unknown {
                let known = parameters.iter().map(|(parameter, _)| parameter.name.as_str());
                let mut diagnostic = Diagnostic::error(format!("there is no parameter `{name}`"));
                diagnostic.help = words::nearest(&name, known)
                    .map(words::did_you_mean)
                    .or_else(|| Some("`$${` stands for `${` itself".into()));
                reader.push(diagnostic, path, node.span.clone());
            }
            node.value = Value::Text(filled);
        }
        _ => {}
    }
}

fn interpolate(text: &str, parameters: &[(Parameter, Node)]) -> (String, Vec<String>) {
    let (mut filled, mut unknown) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        rest = &rest[at + 2..];
        let Some((name, after)) = rest.split_once('}') else {
            unknown.push(rest.chars().take(40).collect());
            break;
        };
        match parameters.iter().find(|(parameter, _)| parameter.name == name) {
            Some((parameter, _)) => filled.push_str(&parameter.value),
            None => unknown.push(name.chars().take(80).collect()),
        }
        rest = after;
    }
    filled.push_str(rest);
    (filled, unknown)
}

/// `proxy.redis.listen`, `safety.lease`: paths into named tables.
pub(crate) fn set_paths(root: &mut Table, sets: &mut Sets) {
    for entry in &root.entries {
        match &entry.node.value {
            Value::List(list) => {
                let tables = list.iter().filter_map(Node::as_table);
                let named = tables.filter_map(|table| Some((table.called()?, table)));
                for (name, table) in named {
                    let fields =
                        table.entries.iter().filter(|field| !["name", "kind", "preset"].contains(&field.key.as_str()));
                    sets.known.extend(fields.map(|field| format!("{}.{name}.{}", entry.key, field.key)));
                }
            }
            Value::Table(table) => {
                sets.known.extend(table.entries.iter().map(|field| format!("{}.{}", entry.key, field.key)));
            }
            _ => {}
        }
    }
    for ((name, value), used) in sets.given.iter().zip(&mut sets.used) {
        *used |= set_path(root, name, value);
    }
}

fn set_path(root: &mut Table, name: &str, value: &str) -> bool {
    let Some((first, rest)) = name.split_once('.') else {
        return false;
    };
    let Some(entry) = root.entries.iter_mut().find(|entry| entry.key == first && first != "parameter") else {
        return false;
    };
    match &mut entry.node.value {
        Value::Table(table) => put(table, rest, value),
        Value::List(list) => {
            let Some((item, field)) = rest.split_once('.') else {
                return false;
            };
            let named = list.iter_mut().find_map(|node| match &mut node.value {
                Value::Table(table) if table.called() == Some(item) => Some(table),
                _ => None,
            });
            named.is_some_and(|table| put(table, field, value))
        }
        _ => false,
    }
}

/// Sets a field; whether there is such a field is found out when the table is read.
fn put(table: &mut Table, path: &str, value: &str) -> bool {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let Some(rest) = rest else {
        table.remove(key);
        table.entries.push(Entry { key: key.to_owned(), key_span: table.span.clone(), node: written(value) });
        return true;
    };
    match table.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node.value) {
        Some(Value::Table(inner)) => put(inner, rest, value),
        _ => false,
    }
}

/// A list or table as TOML, anything else as it is.
fn written(value: &str) -> Node {
    if value.starts_with(['[', '{'])
        && let Ok(table) = from_toml(&format!("x = {value}"))
        && let Some(mut node) = table.node("x").cloned()
    {
        forget_places(&mut node);
        return node;
    }
    Node { value: Value::Loose(value.to_owned()), span: None }
}

fn forget_places(node: &mut Node) {
    node.span = None;
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(forget_places),
        Value::Table(table) => {
            table.span = None;
            for entry in &mut table.entries {
                entry.key_span = None;
                forget_places(&mut entry.node);
            }
        }
        _ => {}
    }
}
