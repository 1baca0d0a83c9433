//! A document as a tree that knows where each part was read; TOML and JSON become the same tree.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::depth;

/// Bytes of the source.
pub(crate) type Span = Range<usize>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// None: from JSON or `--set`.
    pub(crate) span: Option<Span>,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    /// From `--set`: text, or the number or truth value that it spells, whichever is asked for.
    Loose(String),
    List(Vec<Node>),
    Table(Table),
}

/// A table in the order of its keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
    /// Its header, or the braces.
    pub(crate) span: Option<Span>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Option<Span>,
    pub(crate) node: Node,
}

/// What is wrong with a text, and where.
pub(crate) struct Broken {
    pub(crate) message: String,
    pub(crate) span: Option<Span>,
}

/// Reads TOML; several mistakes may be found at once.
pub(crate) fn from_toml(text: &str) -> Result<Table, Vec<Broken>> {
    if let Some(at) = depth::too_deep(text) {
        let message = format!("this is nested deeper than {} levels", depth::MAX);
        return Err(vec![Broken { message, span: Some(at..at + 1) }]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(toml_table(table.into_inner(), Some(span)));
    }
    let broken = |error: toml::de::Error| Broken { message: error.message().to_owned(), span: error.span() };
    Err(errors.into_iter().take(20).map(broken).collect())
}

fn toml_table(table: DeTable<'_>, span: Option<Span>) -> Table {
    let entry = |(key, value): (toml::Spanned<Cow<'_, str>>, toml::Spanned<DeValue<'_>>)| {
        let key_span = Some(key.span());
        Entry { key: key.into_inner().into_owned(), key_span, node: toml_node(value) }
    };
    let mut entries: Vec<Entry> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.key_span.as_ref().map(|span| span.start));
    Table { entries, span }
}

fn toml_node(value: toml::Spanned<DeValue<'_>>) -> Node {
    let span = Some(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        // out of range ends up far out of any field's range too, and is refused there
        DeValue::Integer(digits) => {
            Value::Int(i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(i128::MAX))
        }
        DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(value) => Value::Text(value.to_string()),
        DeValue::Array(list) => Value::List(list.into_iter().map(toml_node).collect()),
        DeValue::Table(table) => Value::Table(toml_table(table, span.clone())),
    };
    Node { value, span }
}

/// Takes JSON; the reader of the text has limited its depth.
pub(crate) fn from_json(value: &serde_json::Value) -> Node {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i128() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(from_json).collect()),
        Json::Object(map) => {
            let entry = |(key, value)| Entry { key: String::clone(key), key_span: None, node: from_json(value) };
            Value::Table(Table { entries: map.iter().map(entry).collect(), span: None })
        }
    };
    Node { value, span: None }
}

impl Node {
    /// The canonical form: JSON with sorted keys.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => Json::Null,
            },
            Value::Float(value) => serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::String(text.clone()),
            Value::Loose(text) => loose(text).to_json(),
            Value::List(list) => Json::Array(list.iter().map(Node::to_json).collect()),
            Value::Table(table) => table.to_json(),
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Text, wherever it came from.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Loose(text) => Some(text),
            _ => None,
        }
    }
}

impl Table {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let entry = |entry: &Entry| (entry.key.clone(), entry.node.to_json());
        serde_json::Value::Object(self.entries.iter().map(entry).collect())
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn node(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.node(key).and_then(Node::as_text)
    }

    /// What a table of a list goes by where it is spoken of.
    pub(crate) fn called(&self) -> Option<&str> {
        ["name", "kind", "preset"].into_iter().find_map(|key| self.text(key))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// The tables of a list of tables, with their place in it; anything else there is passed over.
    pub(crate) fn tables(&self, key: &str) -> impl Iterator<Item = (usize, &Table)> {
        let list = match self.node(key).map(|node| &node.value) {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        list.iter().enumerate().filter_map(|(index, node)| Some((index, node.as_table()?)))
    }

    /// Two tables: the entries whose key passes, and the others.
    pub(crate) fn split(&self, passes: impl Fn(&str) -> bool) -> (Table, Table) {
        let (yes, no) = self.entries.iter().cloned().partition(|entry| passes(&entry.key));
        (Table { entries: yes, span: self.span.clone() }, Table { entries: no, span: self.span.clone() })
    }
}

/// What a text from `--set` spells, where a number or truth value will do.
pub(crate) fn loose(text: &str) -> Node {
    let value = if let Ok(value) = text.parse() {
        Value::Bool(value)
    } else if let Ok(value) = text.parse() {
        Value::Int(value)
    } else {
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Value::Float(value),
            _ => Value::Text(text.to_owned()),
        }
    };
    Node { value, span: None }
}
