//! serde over the spanned tree: every error knows the innermost value that it is about.

use std::fmt::{self, Display};

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};

use super::node::{Entry, Node, Span, Table, Value, loose};
use super::words;

/// What serde found wrong.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) label: Option<String>,
    pub(crate) help: Option<String>,
    /// Of the value, or of the key that is not known.
    pub(crate) span: Option<Span>,
    /// From the inside out.
    pub(crate) path: Vec<String>,
    /// A field of this name is missing.
    pub(crate) missing: bool,
}

impl Wrong {
    fn within(mut self, segment: &str, span: &Option<Span>) -> Wrong {
        self.span = self.span.or_else(|| span.clone());
        self.path.push(segment.to_owned());
        self
    }

    /// The field as a path below the table that was read.
    pub(crate) fn field(&self) -> String {
        let mut field = String::new();
        for segment in self.path.iter().rev() {
            if !field.is_empty() && !segment.starts_with('[') {
                field.push('.');
            }
            field.push_str(segment);
        }
        field
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(message: T) -> Wrong {
        Wrong { message: message.to_string(), ..Wrong::default() }
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Wrong {
        Wrong {
            message: format!("{} where {expected} was expected", plainly(found)),
            label: Some(format!("expected {expected}")),
            ..Wrong::default()
        }
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Wrong {
        Wrong {
            message: format!("{} is out of range", plainly(found)),
            label: Some(format!("expected {expected}")),
            ..Wrong::default()
        }
    }
    fn invalid_length(len: usize, expected: &dyn Expected) -> Wrong {
        Wrong {
            message: format!("{len} values where {expected} was expected"),
            label: Some(format!("expected {expected}")),
            ..Wrong::default()
        }
    }
    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Wrong {
        Wrong {
            message: format!("`{found}` is not one of the words that may stand here"),
            label: Some(words::expected(expected.iter().copied())),
            help: words::nearest(found, expected.iter().copied()).map(words::did_you_mean),
            ..Wrong::default()
        }
    }
    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Wrong {
        Wrong {
            message: format!("unknown field `{found}`"),
            label: Some(words::expected(expected.iter().copied())),
            help: words::nearest(found, expected.iter().copied()).map(words::did_you_mean),
            ..Wrong::default()
        }
    }
    fn missing_field(field: &'static str) -> Wrong {
        Wrong { message: format!("`{field}` is missing"), missing: true, ..Wrong::default() }
    }
    fn duplicate_field(field: &'static str) -> Wrong {
        Wrong::custom(format!("`{field}` stands here twice"))
    }
}

fn plainly(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        other => other.to_string(),
    }
}

macro_rules! loosely {
    ($($method:ident)*) => {$(
        /// A text from `--set` may stand for a number.
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match &self.value {
                Value::Loose(text) => scalar(&loose(text), visitor).map_err(|wrong| wrong.at(&self.span)),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl Wrong {
    fn at(mut self, span: &Option<Span>) -> Wrong {
        self.span = self.span.or_else(|| span.clone());
        self
    }
}

#[allow(clippy::result_large_err)] // once per mistake
fn scalar<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, Wrong> {
    match &node.value {
        Value::Null => visitor.visit_unit(),
        Value::Bool(value) => visitor.visit_bool(*value),
        Value::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
            (Ok(value), _) => visitor.visit_u64(value),
            (_, Ok(value)) => visitor.visit_i64(value),
            _ => Err(de::Error::custom("the number is out of range")),
        },
        Value::Float(value) if value.is_finite() => visitor.visit_f64(*value),
        Value::Float(value) => Err(de::Error::custom(format!("{value} is not a number that can be used"))),
        Value::Text(text) | Value::Loose(text) => visitor.visit_str(text),
        Value::List(_) | Value::Table(_) => Err(de::Error::custom("a single value was expected")),
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let result = match &self.value {
            Value::List(list) => visitor.visit_seq(Items { list, next: 0 }),
            Value::Table(table) => table.deserialize_map(visitor),
            Value::Loose(text) => scalar(&loose(text), visitor),
            _ => scalar(self, visitor),
        };
        result.map_err(|wrong| wrong.at(&self.span))
    }

    loosely! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.value {
            Value::Loose(text) => visitor.visit_str(text).map_err(|wrong: Wrong| wrong.at(&self.span)),
            _ => self.deserialize_any(visitor),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let result = match self.as_text() {
            Some(word) => BorrowedStrDeserializer::new(word).deserialize_enum(name, words, visitor),
            None => Err(Wrong {
                message: "a word was expected here".into(),
                label: Some(words::expected(words.iter().copied())),
                ..Wrong::default()
            }),
        };
        result.map_err(|wrong| wrong.at(&self.span))
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &'de Table {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Entries { table: self, next: 0 }).map_err(|wrong: Wrong| wrong.at(&self.span))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Wrong> for &'de Node {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

struct Items<'de> {
    list: &'de [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some(node) = self.list.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let index = self.next - 1;
        seed.deserialize(node).map(Some).map_err(|wrong| wrong.within(&format!("[{index}]"), &node.span))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len() - self.next)
    }
}

struct Entries<'de> {
    table: &'de Table,
    next: usize,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some(Entry { key, key_span, .. }) = self.table.entries.get(self.next) else {
            return Ok(None);
        };
        let deserializer = StringDeserializer::new(key.clone());
        seed.deserialize(deserializer).map(Some).map_err(|wrong: Wrong| wrong.within(key, key_span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some(Entry { key, node, .. }) = self.table.entries.get(self.next) else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        self.next += 1;
        seed.deserialize(node).map_err(|wrong| wrong.within(key, &node.span))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.table.entries.len() - self.next)
    }
}
