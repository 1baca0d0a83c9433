//! The language as the rest of the program needs it: files from the command line, requests from the control port.

use std::path::Path;
use std::sync::Arc;

use squall_control::api::ProxyRequest;
use squall_control::app::Format;
use squall_core::config::{Config, Safety};
use squall_core::diagnostic::{Diagnostic, Source};
use squall_core::parse::{self, Options};
use squall_core::plane::ProxyInfo;
use squall_core::read;
use squall_core::scenario::{Checked, ProxySpec};

use crate::library;

/// Reads and checks files that are meant to be used together; the name of a shipped scenario stands for its file. The
/// outcome's messages include those about files that can't be read.
pub(crate) fn files(files: &[&Path], set: &[(String, String)]) -> parse::Outcome {
    let mut sources = Vec::new();
    let mut unreadable = Vec::new();
    for file in files {
        match shipped_or_file(file) {
            Ok(source) => sources.push(source),
            Err(mistake) => unreadable.push(mistake),
        }
    }
    let options = Options { sets: set.to_vec(), ..Options::default() };
    let mut outcome = parse::check_all(&sources, &options);
    outcome.diagnostics.splice(0..0, unreadable);
    outcome
}

/// Reads and checks a configuration; with warnings and notes.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn config(file: &Path) -> parse::Result<Config> {
    parse::config(&read::load(file).map_err(|mistake| vec![mistake])?, &[])
}

/// Checks a scenario from the control port, against the proxies that run and the limits of this host.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn request(
    text: &str,
    format: Format,
    set: &[(String, String)],
    proxies: Vec<ProxyInfo>,
    safety: Safety,
) -> Result<Checked, Vec<Diagnostic>> {
    let options = Options { sets: set.to_vec(), ..running(proxies, safety) };
    let checked = match format {
        Format::Toml => parse::scenario(&source(text), &options),
        Format::Json => {
            let value = serde_json::from_str(text).map_err(|error| vec![Diagnostic::error(error.to_string())])?;
            parse::scenario_json(&value, &options)
        }
    };
    checked.map(|(scenario, _)| scenario)
}

/// Checks a running scenario with other fields of one fault.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn changed(
    canonical: &str,
    fault: &str,
    fields: &serde_json::Map<String, serde_json::Value>,
    proxies: Vec<ProxyInfo>,
    safety: Safety,
) -> Result<Checked, Vec<Diagnostic>> {
    parse::change(canonical, fault, fields, &running(proxies, safety)).map(|(scenario, _)| scenario)
}

/// What is known where squall runs.
fn running(proxies: Vec<ProxyInfo>, safety: Safety) -> Options {
    let proxies = proxies.into_iter().map(|proxy| proxy.spec).collect();
    Options { sets: Vec::new(), proxies: Some(proxies), safety: Some(safety) }
}

/// Checks a proxy that comes from the control port or the command line, as one of a configuration is checked.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn proxy(name: &str, request: &ProxyRequest) -> Result<ProxySpec, Vec<Diagnostic>> {
    if request.name.as_deref().is_some_and(|said| said != name) {
        return Err(vec![Diagnostic::error(format!("the path names the proxy `{name}`, the body another one"))]);
    }
    let named = ProxyRequest { name: Some(name.to_owned()), ..request.clone() };
    let table = toml::Table::try_from(&named).map_err(|error| vec![Diagnostic::error(error.to_string())])?;
    let root = toml::Table::from_iter([("proxy".to_owned(), vec![table].into())]);
    let (config, _) = parse::config(&source(&root.to_string()), &[])?;
    let spec = config.proxies.into_iter().next();
    spec.ok_or_else(|| vec![Diagnostic::error("a proxy needs a name and two addresses")])
}

#[allow(clippy::result_large_err)] // once per file
fn shipped_or_file(path: &Path) -> Result<Arc<Source>, Diagnostic> {
    let shipped = path.to_str().filter(|_| !path.exists()).and_then(library::find);
    match shipped {
        Some(shipped) => {
            Ok(Arc::new(Source { name: format!("{} (shipped)", shipped.path), text: shipped.text.into() }))
        }
        None => read::load(path),
    }
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { name: "<request>".into(), text: text.to_owned() })
}
