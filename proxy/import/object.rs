//! Objects of a document, which know where they are and what nobody has asked for.

use std::cell::RefCell;

use serde_json::{Map, Value};

/// An object and its place.
pub(super) struct Object<'a> {
    pub(super) place: String,
    fields: &'a Map<String, Value>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Object<'a> {
    /// A value that has to be an object.
    pub(super) fn of(place: &str, value: &'a Value) -> Result<Object<'a>, String> {
        match value {
            Value::Object(fields) => Ok(Object { place: place.to_owned(), fields, asked: RefCell::default() }),
            _ => Err(format!("{place} is not an object")),
        }
    }

    /// A field by its name in snake case; protobuf's JSON writes it in camel case too.
    pub(super) fn field(&self, name: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(name);
        let value = self.fields.iter().find(|(other, _)| *other == name || **other == camel(name));
        value.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub(super) fn object(&self, name: &'static str) -> Result<Option<Object<'a>>, String> {
        self.field(name).map(|value| Object::of(&self.at(name), value)).transpose()
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'a str>, String> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| format!("{} is not a text", self.at(name)));
        self.field(name).map(text).transpose()
    }

    /// A truth value; one that is not written is false.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, String> {
        let flag =
            |value: &Value| value.as_bool().ok_or_else(|| format!("{} is neither true nor false", self.at(name)));
        self.field(name).map_or(Ok(false), flag)
    }

    pub(super) fn list(&self, name: &'static str) -> Result<&'a [Value], String> {
        match self.field(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(format!("{} is not a list", self.at(name))),
        }
    }

    /// A number of at least 0; protobuf wraps it in `{ value: n }` at times, and writes long ones as text.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<f64>, String> {
        let Some(value) = self.field(name) else { return Ok(None) };
        let bare = value.as_object().and_then(|object| object.get("value")).unwrap_or(value);
        let number = bare.as_f64().or_else(|| bare.as_str()?.parse().ok());
        match number.filter(|number| number.is_finite() && *number >= 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{} is not a number", self.at(name))),
        }
    }

    pub(super) fn at(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// All fields with their places.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a String, String, &'a Value)> {
        self.fields.iter().map(|(name, value)| (name, self.at(name), value))
    }

    /// The places of what nobody has asked for.
    pub(super) fn unread(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let known = |name: &str| name == "@type" || asked.iter().any(|asked| *asked == name || camel(asked) == name);
        self.fields.keys().filter(|name| !known(name)).map(|name| self.at(name)).collect()
    }

    /// Refuses what nobody has asked for, where it may be a condition.
    pub(super) fn nothing_else(&self) -> Result<(), String> {
        match self.unread().first() {
            Some(place) => Err(format!("{place} has no counterpart here")),
            None => Ok(()),
        }
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        out.push_str(&first.to_ascii_uppercase());
        out.push_str(rest);
    }
    out
}
