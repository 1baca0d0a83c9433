//! The language: text to a checked scenario or configuration, with every mistake at its place.
//!
//! A document (TOML, or JSON from the control port) becomes a tree that knows its places; parameters and `--set` are put
//! in; each table is read into its type and checked; names are resolved over all documents given together.

mod address;
mod beside;
mod change;
mod config;
mod de;
mod depth;
mod draft;
mod fault;
mod judge;
mod node;
mod one_liner;
mod params;
mod people;
mod probe;
mod reader;
mod recording;
mod scenario;
mod stand;
mod tls;
mod way;
mod words;
mod workload;
mod world;

use std::path::Path;
use std::sync::Arc;

pub use change::change;
pub(crate) use draft::{
    BeforeDraft, ConfigHead, ExpectDraft, FaultHead, ForecastDraft, GuardDraft, Head, ParameterDraft,
};
pub(crate) use draft::{KeyWord, ProxyDraft, ServiceDraft, StepDraft, is_name};
pub(crate) use fault::COMMON;
pub(crate) use node::Table;
pub use one_liner::{Filled, Line, hard_end, lines, merge_patch, one_liner};
pub(crate) use probe::ProbeDraft;
pub(crate) use reader::Reader;
pub use recording::{is_recording, recording};
pub(crate) use words::{did_you_mean, expected, nearest};
pub(crate) use workload::WorkloadDraft;
pub use world::glob;

use crate::config::{Config, Safety};
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::matcher::NeverFault;
use crate::scenario::{Checked, Parameter, ProxySpec};
use node::{Value, from_json, from_toml};
use params::Sets;
use world::{Known, World};

/// More faults than this in one file are refused.
pub const MAX_FAULTS: usize = 10_000;
/// More tables of any other kind in one file are refused.
pub const MAX_TABLES: usize = 1_000;

/// What is known besides the documents.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--set name=value`: parameters, or paths such as `proxy.redis.listen`.
    pub sets: Vec<(String, String)>,
    /// The proxies that run already. With a list, even an empty one, every proxy named must be there or in a document;
    /// without, an unknown proxy is only noted while no document defines any.
    pub proxies: Option<Vec<ProxySpec>>,
    /// Limits of this host; those of a configuration among the documents win.
    pub safety: Option<Safety>,
}

/// What several documents say together.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The configuration among them, if it has no errors.
    pub config: Option<Config>,
    /// The scenarios among them that have no errors, in the order given.
    pub scenarios: Vec<Checked>,
    /// All messages, document by document.
    pub diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    /// Whether any message is an error.
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// A value and its warnings and notes, or all messages with at least one error.
pub type Result<T> = std::result::Result<(T, Vec<Diagnostic>), Vec<Diagnostic>>;

/// Checks one scenario.
///
/// # Errors
/// All messages, when any of them is an error or the text is a configuration.
pub fn scenario(source: &Arc<Source>, options: &Options) -> Result<Checked> {
    let mut sets = Sets::new(&options.sets);
    only_scenario(check(vec![Document::open(source, &mut sets, false)], sets, options))
}

/// Checks one scenario that came as JSON; places are told by field.
///
/// # Errors
/// As for [`scenario`].
pub fn scenario_json(value: &serde_json::Value, options: &Options) -> Result<Checked> {
    let mut sets = Sets::new(&options.sets);
    let Value::Table(root) = from_json(value).value else {
        return Err(vec![Diagnostic::error("a scenario is an object")]);
    };
    only_scenario(check(vec![Ok(Document::new(Reader::new(None), root, &mut sets))], sets, options))
}

/// Checks one configuration. `state` and `tokens` are resolved against the directory of the source's name.
///
/// # Errors
/// All messages, when any of them is an error or the text is a scenario.
pub fn config(source: &Arc<Source>, sets: &[(String, String)]) -> Result<Config> {
    let mut used = Sets::new(sets);
    let outcome = check(vec![Document::open(source, &mut used, false)], used, &Options::default());
    match outcome.config {
        Some(config) if !has_errors(&outcome.diagnostics) => Ok((config, outcome.diagnostics)),
        _ if outcome.has_errors() => Err(outcome.diagnostics),
        _ => {
            let mut diagnostic = Diagnostic::error("this is a scenario, and a configuration was expected");
            diagnostic.source = Some(source.clone());
            Err(vec![diagnostic])
        }
    }
}

/// Checks scenarios, and at most one configuration, that are meant to be used together.
pub fn check_all(sources: &[Arc<Source>], options: &Options) -> Outcome {
    let mut sets = Sets::new(&options.sets);
    let documents = sources.iter().map(|source| Document::open(source, &mut sets, true)).collect();
    check(documents, sets, options)
}

/// A scenario's file for the control port, which follows no names: with the requests of the files that it names in their
/// place, and the paths of certificates absolute, as JSON; none: it names none, and its text is as good.
///
/// # Errors
/// Every file of requests that can not be had. What else may be wrong with the scenario is not looked at.
pub fn put_in_place(source: &Arc<Source>) -> std::result::Result<Option<serde_json::Value>, Vec<Diagnostic>> {
    let Ok(mut root) = from_toml(&source.text) else { return Ok(None) };
    let made_whole = tls::make_absolute(&mut root, Path::new(&source.name));
    if !beside::names_a_file(&root) && !made_whole {
        return Ok(None);
    }
    let mut reader = Reader::new(Some(source.clone()));
    beside::put_in_place(&mut reader, &mut root, Path::new(&source.name));
    if reader.has_errors() { Err(reader.finish()) } else { Ok(Some(root.to_json())) }
}

/// Whether a document would be taken for a configuration; false too if it can't be read.
pub fn is_config(source: &Source) -> bool {
    from_toml(&source.text).is_ok_and(|root| looks_like_config(&root))
}

fn only_scenario(outcome: Outcome) -> Result<Checked> {
    match outcome.scenarios.into_iter().next() {
        Some(checked) if !has_errors(&outcome.diagnostics) => Ok((checked, outcome.diagnostics)),
        _ if has_errors(&outcome.diagnostics) => Err(outcome.diagnostics),
        _ => Err(vec![Diagnostic::error("this is a configuration, and a scenario was expected")]),
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// A document that could be read, with parameters put in.
struct Document {
    reader: Reader,
    root: Table,
    parameters: Vec<Parameter>,
    is_config: bool,
}

impl Document {
    /// `follows`: whether the source is a file, which may name others.
    fn open(source: &Arc<Source>, sets: &mut Sets, follows: bool) -> std::result::Result<Document, Vec<Diagnostic>> {
        let mut reader = Reader::new(Some(source.clone()));
        match from_toml(&source.text) {
            Ok(mut root) => {
                if follows {
                    beside::put_in_place(&mut reader, &mut root, Path::new(&source.name));
                }
                Ok(Document::new(reader, root, sets))
            }
            Err(broken) => {
                for broken in broken {
                    let message = broken.message.replace('\n', ", ");
                    let diagnostic = Diagnostic::error(format!("this is not TOML: {message}"));
                    reader.push(diagnostic, "", broken.span);
                }
                Err(reader.finish())
            }
        }
    }

    fn new(mut reader: Reader, mut root: Table, sets: &mut Sets) -> Document {
        let is_config = looks_like_config(&root);
        limit(&mut reader, &mut root);
        let parameters = if is_config {
            params::set_paths(&mut root, sets);
            Vec::new()
        } else {
            params::substitute(&mut reader, &mut root, sets)
        };
        Document { reader, root, parameters, is_config }
    }
}

/// Proxies alone make a configuration too.
fn looks_like_config(root: &Table) -> bool {
    let scenario = ["name", "fault", "hypothesis", "workload", "guard"].iter().any(|key| root.has(key));
    let config = ["audit", "control", "metrics", "notify", "safety", "environment"].iter().any(|key| root.has(key));
    !scenario && (config || root.has("proxy"))
}

/// Takes out lists that are too long: nothing is read of them.
fn limit(reader: &mut Reader, root: &mut Table) {
    for entry in &mut root.entries {
        let most = if entry.key == "fault" { MAX_FAULTS } else { MAX_TABLES };
        if let Value::List(list) = &mut entry.node.value
            && list.len() > most
        {
            let message = format!("{} times `{}`: at most {most} are taken", list.len(), entry.key);
            let span = list.get(most).and_then(|node| node.span.clone());
            reader.push(Diagnostic::error(message), &entry.key, span);
            list.truncate(1);
        }
    }
}

fn check(mut documents: Vec<std::result::Result<Document, Vec<Diagnostic>>>, sets: Sets, options: &Options) -> Outcome {
    let mut world = World { strict: options.proxies.is_some(), ..World::default() };
    world.proxies.extend(options.proxies.iter().flatten().map(Known::of));
    if let Some(safety) = &options.safety {
        world.max_percentage = safety.max_percentage;
        world.allow_exec.clone_from(&safety.allow_exec);
        world.never_fault = NeverFault::compile(&safety.never_fault);
    }
    for (index, document) in documents.iter().enumerate() {
        if let Ok(document) = document {
            world.add(&document.root, index);
        }
    }
    let mut outcome = Outcome::default();
    let mut has_config = false;
    // first the configuration: its limits hold for the scenarios
    for (index, document) in documents.iter_mut().enumerate() {
        if let Ok(document) = document
            && document.is_config
        {
            if std::mem::replace(&mut has_config, true) {
                let message = "there is a configuration among the files already";
                document.reader.push(Diagnostic::error(message), "", None);
            }
            world::collisions(&mut document.reader, &document.root, index, &world, |_| true);
            outcome.config = config::read(&mut document.reader, &document.root, &world);
            if let Some(config) = &outcome.config {
                world.max_percentage = config.safety.max_percentage.or(world.max_percentage);
                world.allow_exec.clone_from(&config.safety.allow_exec);
                world.never_fault = NeverFault::compile(&config.safety.never_fault);
            }
        }
    }
    let configs: Vec<bool> =
        documents.iter().map(|document| document.as_ref().is_ok_and(|document| document.is_config)).collect();
    let mut names: Vec<String> = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let mut document = match document {
            Ok(document) => document,
            Err(diagnostics) => {
                outcome.diagnostics.extend(diagnostics);
                continue;
            }
        };
        if !document.is_config {
            // two scenarios may bring the same proxy: each runs with its own
            let counts = |other: Option<usize>| other.is_none_or(|other| other == index || configs[other]);
            world::collisions(&mut document.reader, &document.root, index, &world, counts);
            let checked = scenario::read(&mut document.reader, &document.root, document.parameters, &world);
            if let Some(checked) = &checked {
                if names.contains(&checked.name) {
                    let message = format!("another file has an experiment `{}` already", checked.name);
                    document.reader.error(&document.root, "", "name", message);
                }
                names.push(checked.name.clone());
            }
            let clean = !document.reader.has_errors();
            outcome.scenarios.extend(checked.filter(|_| clean));
        } else if document.reader.has_errors() {
            outcome.config = None;
        }
        outcome.diagnostics.extend(document.reader.finish());
    }
    outcome.diagnostics.extend(sets.unused());
    outcome
}

#[cfg(test)]
mod tests;
