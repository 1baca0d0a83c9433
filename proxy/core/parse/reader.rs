//! Reads tables into types, collecting every mistake with its exact place: keys that are not known from the type's
//! schema, values from serde.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::de::Wrong;
use super::node::{Node, Span, Table, Value};
use super::words;
use crate::diagnostic::{Diagnostic, Severity, Source};

/// More messages than this help nobody.
const MOST: usize = 100;

/// Where a document is read: its messages so far.
pub(crate) struct Reader {
    source: Option<Arc<Source>>,
    diagnostics: Vec<Diagnostic>,
    left_out: usize,
}

thread_local! {
    static SCHEMAS: RefCell<HashMap<TypeId, Rc<serde_json::Value>>> = RefCell::default();
}

impl Reader {
    pub(crate) fn new(source: Option<Arc<Source>>) -> Reader {
        Reader { source, diagnostics: Vec::new(), left_out: 0 }
    }

    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        self.source.as_ref()
    }

    /// Adds a message at a place.
    pub(crate) fn push(&mut self, mut diagnostic: Diagnostic, field: &str, span: Option<Span>) {
        if self.diagnostics.len() >= MOST {
            self.left_out += 1;
            return;
        }
        diagnostic.source = self.source.clone();
        diagnostic.span = span;
        if !field.is_empty() {
            diagnostic.field = Some(field.to_owned());
        }
        self.diagnostics.push(diagnostic);
    }

    /// Adds messages about another text, with their places there.
    pub(crate) fn bring(&mut self, told: Vec<Diagnostic>) {
        let room = MOST.saturating_sub(self.diagnostics.len());
        self.left_out += told.len().saturating_sub(room);
        self.diagnostics.extend(told.into_iter().take(room));
    }

    /// Adds a message about a field of a table: at its value, or at the table where it is not written.
    pub(crate) fn at(&mut self, diagnostic: Diagnostic, table: &Table, path: &str, key: &str) {
        let span = match table.node(key) {
            Some(node) => node.span.clone(),
            None => table.span.clone(),
        };
        self.push(diagnostic, &join(path, key), span);
    }

    /// An error about a field.
    pub(crate) fn error(&mut self, table: &Table, path: &str, key: &str, message: impl Into<String>) {
        self.at(Diagnostic::error(message), table, path, key);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub(crate) fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count() + self.left_out
    }

    /// All messages, in the order of their places.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| span.start));
        if self.left_out > 0 {
            let mut more = Diagnostic::note(format!("{} more messages are left out", self.left_out));
            more.source = self.source;
            self.diagnostics.push(more);
        }
        self.diagnostics
    }

    /// Reads a table; none: it had mistakes, and they are on record.
    pub(crate) fn read<T: DeserializeOwned + JsonSchema + 'static>(&mut self, table: &Table, path: &str) -> Option<T> {
        self.read_beside(table, path, &[])
    }

    /// The same for a table of which other fields have been read already: `others` are named where a key is not known.
    pub(crate) fn read_beside<T: DeserializeOwned + JsonSchema + 'static>(
        &mut self,
        table: &Table,
        path: &str,
        others: &[&str],
    ) -> Option<T> {
        let before = self.errors();
        let schema = schema::<T>();
        let mut table = table.clone();
        self.known(&mut table, &schema, &schema, path, others);
        for field in required(&schema) {
            if !table.has(field) {
                self.push(Diagnostic::error(format!("`{field}` is missing")), &join(path, field), table.span.clone());
            }
        }
        loop {
            let wrong = match T::deserialize(&table) {
                Ok(value) if self.errors() == before => return Some(value),
                Ok(_) => return None,
                Err(wrong) => wrong,
            };
            let bad = wrong.path.last().cloned();
            // a field that is missing has been told above, or was taken out because it was wrong
            if !(wrong.missing && wrong.path.is_empty()) {
                self.wrong(wrong, &table, path);
            }
            if bad.and_then(|key| table.remove(&key)).is_none() {
                if self.errors() == before {
                    self.push(Diagnostic::error("this can not be read"), path, table.span.clone());
                }
                return None;
            }
        }
    }

    /// Reads the value of one field; none: not written, or wrong and on record.
    pub(crate) fn value<T: DeserializeOwned>(&mut self, table: &Table, path: &str, key: &str) -> Option<T> {
        let node = table.node(key)?;
        match T::deserialize(node) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let path = join(path, key);
                let field = join(&path, &wrong.field());
                let span = wrong.span.clone().or_else(|| node.span.clone());
                self.push(diagnostic(&wrong), &field, span);
                None
            }
        }
    }

    fn wrong(&mut self, wrong: Wrong, table: &Table, path: &str) {
        let field = join(path, &wrong.field());
        let span = wrong.span.clone().or_else(|| table.span.clone());
        self.push(diagnostic(&wrong), &field, span);
    }

    /// Takes out the keys that the schema does not know, here and in the tables within.
    fn known(
        &mut self,
        table: &mut Table,
        schema: &serde_json::Value,
        root: &serde_json::Value,
        path: &str,
        others: &[&str],
    ) {
        let Some(properties) = properties(schema, root) else {
            return;
        };
        let words = || properties.keys().copied().chain(others.iter().copied());
        let (known, unknown) = table.split(|key| properties.contains_key(key));
        for entry in &unknown.entries {
            let mut diagnostic = Diagnostic::error(format!("unknown field `{}`", entry.key));
            diagnostic.label = Some(words::expected(words()));
            diagnostic.help = words::nearest(&entry.key, words()).map(words::did_you_mean);
            self.push(diagnostic, &join(path, &entry.key), entry.key_span.clone());
        }
        *table = known;
        for entry in &mut table.entries {
            let Some(schema) = properties.get(entry.key.as_str()) else {
                continue;
            };
            let path = join(path, &entry.key);
            match &mut entry.node.value {
                Value::Table(table) => self.known(table, schema, root, &path, &[]),
                Value::List(list) => {
                    let items = resolve(schema, root).get("items");
                    let tables = list.iter_mut().enumerate();
                    for (index, node) in tables {
                        if let (Value::Table(table), Some(items)) = (&mut node.value, items) {
                            self.known(table, items, root, &format!("{path}[{index}]"), &[]);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// The schema of a type.
fn schema<T: JsonSchema + 'static>() -> Rc<serde_json::Value> {
    let make = || Rc::new(schemars::schema_for!(T).to_value());
    SCHEMAS.with_borrow_mut(|schemas| schemas.entry(TypeId::of::<T>()).or_insert_with(make).clone())
}

/// `table.field`
pub(crate) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        _ if key.starts_with('[') => format!("{path}{key}"),
        _ => format!("{path}.{key}"),
    }
}

/// What stands for a table in a list of tables: `fault[late]`.
pub(crate) fn item(list: &str, table: &Table, index: usize) -> String {
    match table.called() {
        Some(name) if name.len() <= 80 => format!("{list}[{name}]"),
        _ => format!("{list}[{index}]"),
    }
}

fn diagnostic(wrong: &Wrong) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(wrong.message.clone());
    diagnostic.label.clone_from(&wrong.label);
    diagnostic.help.clone_from(&wrong.help);
    diagnostic
}

/// Follows references, and the "or null" of optional fields.
fn resolve<'a>(mut schema: &'a serde_json::Value, root: &'a serde_json::Value) -> &'a serde_json::Value {
    for _ in 0..8 {
        if let Some(name) = schema.get("$ref").and_then(|name| name.as_str()) {
            let target = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            match target {
                Some(target) => schema = target,
                None => return schema,
            }
            continue;
        }
        let Some(either) = schema.get("anyOf").and_then(|list| list.as_array()) else {
            return schema;
        };
        let is_null = |schema: &&serde_json::Value| schema.get("type").is_some_and(|word| word == "null");
        let mut others = either.iter().filter(|schema| !is_null(schema));
        match (others.next(), others.next()) {
            (Some(one), None) => schema = one,
            _ => return schema,
        }
    }
    schema
}

/// The fields of a table that takes no others; none: any keys may stand there, or it is told by other means.
fn properties<'a>(
    schema: &'a serde_json::Value,
    root: &'a serde_json::Value,
) -> Option<BTreeMap<&'a str, &'a serde_json::Value>> {
    let schema = resolve(schema, root);
    let open = ["anyOf", "patternProperties"].iter().any(|word| schema.get(word).is_some());
    if open || schema.get("additionalProperties") != Some(&serde_json::Value::Bool(false)) {
        return None;
    }
    let properties = schema.get("properties").and_then(|map| map.as_object());
    Some(properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)).collect())
}

fn required(schema: &serde_json::Value) -> Vec<&str> {
    let list = schema.get("required").and_then(|list| list.as_array());
    list.into_iter().flatten().filter_map(|name| name.as_str()).collect()
}

/// A node that is a list of tables, or one message about what stands there.
pub(crate) fn tables(reader: &mut Reader, root: &Table, key: &str) -> Vec<Table> {
    let Some(node) = root.node(key) else {
        return Vec::new();
    };
    let Value::List(list) = &node.value else {
        let message = format!("`{key}` is a list of tables");
        reader.at(Diagnostic::error(message).help(format!("write `[[{key}]]`")), root, "", key);
        return Vec::new();
    };
    let mut tables = Vec::new();
    for (index, Node { value, span }) in list.iter().enumerate() {
        match value {
            Value::Table(table) => tables.push(table.clone()),
            _ => reader.push(Diagnostic::error("a table was expected"), &format!("{key}[{index}]"), span.clone()),
        }
    }
    tables
}
