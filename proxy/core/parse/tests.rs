#![allow(clippy::unwrap_used, clippy::panic)]

mod asking;
mod bodies;
mod calendar;
mod change;
mod golden;
mod mistakes;
mod probes;
mod random;
mod recordings;
mod sets;
mod tls;
mod workloads;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::diagnostic::render;

/// Files of the repository.
fn path(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

fn golden(file: &str) -> Arc<Source> {
    crate::read::load(&path("tests/golden").join(file)).unwrap()
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { name: "a.toml".into(), text: text.into() })
}

/// A scenario that is as it should be, around `body`.
fn around(body: &str) -> String {
    format!(
        "name = \"a\"\nmax_duration = \"1m\"\n[[proxy]]\nname = \"redis\"\nlisten = \"127.0.0.1:1\"\nupstream = \
         \"127.0.0.1:2\"\n{body}\n"
    )
}

/// All messages about a text, one per line: place, message, help.
fn told(text: &str) -> String {
    let outcome = check_all(&[source(text)], &Options::default());
    outcome.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}
