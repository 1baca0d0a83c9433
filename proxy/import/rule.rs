//! Conditions of other programs as a `match` of the language.

use toml::{Table, Value};

/// Conditions that must hold together, each by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    wanted: Vec<Table>,
    unwanted: Vec<Table>,
}

impl Rule {
    /// A condition on a field of the language, or on one name in it; `invert`: it must not hold.
    pub(super) fn put(&mut self, field: &str, name: Option<&str>, value: Value, invert: bool) {
        let value = match name {
            Some(name) => Value::Table(Table::from_iter([(name.to_owned(), value)])),
            None => value,
        };
        let part = Table::from_iter([(field.to_owned(), value)]);
        if invert { self.unwanted.push(part) } else { self.wanted.push(part) }
    }

    /// Neither of these rules may hold.
    pub(super) fn none_of(&mut self, others: &[Rule]) {
        self.unwanted.extend(others.iter().map(Rule::table));
    }

    /// One of these rules must hold.
    pub(super) fn one_of(&mut self, others: &[Rule]) {
        match others {
            [] => {}
            [one] => {
                self.wanted.extend(one.wanted.clone());
                self.unwanted.extend(one.unwanted.clone());
            }
            several => {
                let all = several.iter().map(|rule| Value::Table(rule.table())).collect();
                self.wanted.push(Table::from_iter([("any".to_owned(), Value::Array(all))]));
            }
        }
    }

    /// Whether it holds for everything.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }

    /// As the language writes it.
    pub(super) fn table(&self) -> Table {
        let (mut table, mut beside) = (Table::new(), Vec::new());
        for part in &self.wanted {
            if !merge(&mut table, part) {
                beside.push(Value::Table(part.clone()));
            }
        }
        if !beside.is_empty() {
            table.insert("all".into(), Value::Array(beside));
        }
        let not = match self.unwanted.as_slice() {
            [] => return table,
            [one] => one.clone(),
            several => {
                let any = several.iter().cloned().map(Value::Table).collect();
                Table::from_iter([("any".to_owned(), Value::Array(any))])
            }
        };
        table.insert("not".into(), Value::Table(not));
        table
    }
}

/// Puts a part in where nothing is yet; false: something is.
fn merge(table: &mut Table, part: &Table) -> bool {
    for (field, value) in part {
        match (table.get_mut(field), value) {
            (None, _) => {
                table.insert(field.clone(), value.clone());
            }
            (Some(Value::Table(names)), Value::Table(new))
                if matches!(field.as_str(), "headers" | "query")
                    && !new.keys().any(|name| names.contains_key(name)) =>
            {
                names.extend(new.clone());
            }
            _ => return false,
        }
    }
    true
}

/// How a text is compared.
pub(super) enum Comparison<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Suffix(&'a str),
    Contains(&'a str),
    /// Over the whole value, as here.
    Regex(&'a str),
    Present,
}

/// A comparison as a pattern over a value that is one segment.
pub(super) fn pattern(comparison: &Comparison<'_>, ignore_case: bool) -> Value {
    use Comparison::{Contains, Exact, Prefix, Present, Regex, Suffix};
    let (before, text, after) = match comparison {
        Present => return one("present", true.into()),
        Regex(text) if ignore_case => return one("regex", format!("(?i:{text})").into()),
        Regex(text) => return one("regex", (*text).into()),
        Exact(text) => ("", text, ""),
        Prefix(text) => ("", text, "*"),
        Suffix(text) => ("*", text, ""),
        Contains(text) => ("*", text, "*"),
    };
    match (ignore_case, text.contains('*')) {
        (false, false) => format!("{before}{text}{after}").into(),
        (false, true) if matches!(comparison, Exact(_)) => one("exact", (**text).into()),
        _ => expression(&before.replace('*', ".*"), text, &after.replace('*', ".*"), ignore_case),
    }
}

/// A comparison as a pattern over paths; none: every path.
pub(super) fn path_pattern(comparison: &Comparison<'_>, ignore_case: bool) -> Option<Value> {
    match comparison {
        Comparison::Prefix("" | "/") => None,
        // `/v1/**` would take `/v1` too
        Comparison::Prefix(text) if !ignore_case && !text.ends_with('/') && !text.contains('*') => {
            Some(format!("{text}**").into())
        }
        Comparison::Prefix(text) => Some(expression("", text, ".*", ignore_case)),
        Comparison::Suffix(text) => Some(expression(".*", text, "", ignore_case)),
        Comparison::Contains(text) => Some(expression(".*", text, ".*", ignore_case)),
        Comparison::Exact(_) | Comparison::Regex(_) | Comparison::Present => Some(pattern(comparison, ignore_case)),
    }
}

fn expression(before: &str, text: &str, after: &str, ignore_case: bool) -> Value {
    let flags = if ignore_case { "(?i)" } else { "" };
    one("regex", format!("{flags}{before}{}{after}", regex::escape(text)).into())
}

fn one(word: &str, value: Value) -> Value {
    Value::Table(Table::from_iter([(word.to_owned(), value)]))
}
