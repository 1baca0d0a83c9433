//! A scenario that is being written.

use std::fmt::{self, Write as _};

use toml::Value;

use super::Wish;
use super::rule::Rule;
use super::words;

/// The scenario so far.
#[derive(Debug)]
pub(crate) struct Draft {
    origin: &'static str,
    wish: Wish,
    entries: Vec<Entry>,
    max_active: Option<(u64, String)>,
}

#[derive(Debug)]
enum Entry {
    Fault(Fault),
    /// Something that was not carried over.
    LeftOut(String),
}

/// `[[fault]]`
#[derive(Debug)]
pub(super) struct Fault {
    /// Where it stands in the original.
    pub(super) place: String,
    /// Its name, but for a number.
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// What the original calls the destination.
    pub(super) proxy: Option<String>,
    /// Fields of the kind.
    pub(super) fields: Vec<(&'static str, Value)>,
    /// 0 to 100.
    pub(super) percentage: f64,
    pub(super) rule: Rule,
}

impl Draft {
    pub(super) fn new(origin: &'static str, wish: Wish) -> Draft {
        Draft { origin, wish, entries: Vec::new(), max_active: None }
    }

    /// Adds a fault, or why there is none.
    pub(super) fn fault(&mut self, fault: Result<Fault, String>) {
        match fault {
            Ok(fault) if fault.percentage <= 0.0 => {
                self.left_out(format!("{}: at 0 % it does nothing (no percentage means 0 to Envoy)", fault.place));
            }
            Ok(fault) => self.entries.push(Entry::Fault(fault)),
            Err(why) => self.left_out(why),
        }
    }

    /// Notes something that is not carried over.
    pub(super) fn left_out(&mut self, what: impl Into<String>) {
        self.entries.push(Entry::LeftOut(what.into()));
    }

    /// Limits units affected at one moment: the smallest of all limits holds for the whole experiment.
    pub(super) fn max_active(&mut self, most: u64, place: String) {
        if self.max_active.as_ref().is_none_or(|(least, _)| most < *least) {
            self.max_active = Some((most, place));
        }
    }

    /// Refuses a file in which nothing was found.
    pub(super) fn or_nothing(self, what: &str) -> Result<Draft, String> {
        if self.entries.is_empty() { Err(format!("there is {what} in this file")) } else { Ok(self) }
    }

    /// What was not carried over.
    pub(crate) fn lost(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::LeftOut(what) => Some(what.as_str()),
            Entry::Fault(_) => None,
        })
    }

    /// Whether any fault was carried over.
    pub(crate) fn has_faults(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Fault(_)))
    }

    /// Whether a fault stands somewhere below a field of this name.
    pub(super) fn has_fault_at(&self, field: &str) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Fault(fault) if fault.place.contains(field)))
    }

    fn name_of(&self, fault: &Fault, at: usize) -> String {
        let alike = |entry: &&Entry| matches!(entry, Entry::Fault(other) if other.name == fault.name);
        match self.entries.iter().filter(alike).count() {
            1 => fault.name.to_owned(),
            _ => format!("{}-{}", fault.name, self.entries[..=at].iter().filter(alike).count()),
        }
    }
}

/// As TOML.
impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# From {}. What is not carried over stands as a comment at its place.", self.origin)?;
        writeln!(f, "name = {}", text(&self.wish.name))?;
        writeln!(f, "max_duration = {}  # an experiment has an end", text(&self.wish.max_duration))?;
        writeln!(
            f,
            "# Nothing starts without `owner`, `hypothesis`, `environments` and a `[[guard]]`: they are yours to write."
        )?;
        if let Some((most, place)) = &self.max_active {
            writeln!(f, "max_active_faults = {most}  # {}; here for all faults together", comment(place))?;
        }
        for (at, entry) in self.entries.iter().enumerate() {
            match entry {
                Entry::LeftOut(what) => writeln!(f, "\n# left out: {}", comment(what))?,
                Entry::Fault(fault) => write!(f, "\n{}", self.table(fault, at)?)?,
            }
        }
        Ok(())
    }
}

impl Draft {
    fn table(&self, fault: &Fault, at: usize) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let destination = || fault.proxy.as_deref().and_then(words::name);
        let proxy = self.wish.proxy.clone().or_else(destination).unwrap_or_else(|| "upstream".into());
        writeln!(out, "[[fault]]  # {}", comment(&fault.place))?;
        writeln!(out, "name = {}", text(&self.name_of(fault, at)))?;
        writeln!(out, "kind = {}", text(fault.kind))?;
        writeln!(out, "proxy = {}", text(&proxy))?;
        for (field, value) in &fault.fields {
            writeln!(out, "{field} = {value}")?;
        }
        if fault.percentage < 100.0 {
            writeln!(out, "percentage = {}", fault.percentage)?;
        }
        if !fault.rule.is_empty() {
            writeln!(out, "match = {}", Value::Table(fault.rule.table()))?;
        }
        Ok(out)
    }
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// On one line: what comes from the file must not end a comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
