//! Files and `--set` on the command line, and how mistakes in them are shown.

use std::io::IsTerminal;
use std::path::Path;
use std::str::FromStr;

use squall_core::diagnostic::{self, Diagnostic};
use squall_core::parse::Outcome;

use super::out::error_line;
use crate::exit::Failure;
use crate::language;

/// `--set name=value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting(String, String);

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Setting(name.into(), value.into())),
            _ => Err("expected name=value".into()),
        }
    }
}

/// As the language takes them.
pub(crate) fn settings(set: Vec<Setting>) -> Vec<(String, String)> {
    set.into_iter().map(|Setting(name, value)| (name, value)).collect()
}

/// Messages with their places, on standard error.
pub(crate) fn show(mistakes: &[Diagnostic]) {
    if mistakes.is_empty() {
        return;
    }
    let text = diagnostic::render(mistakes, std::io::stderr().is_terminal());
    error_line(format_args!("{}", text.trim_end()));
}

/// Shows the messages and gives the failure that goes with them.
pub(crate) fn refuse(mistakes: &[Diagnostic]) -> Failure {
    show(mistakes);
    Failure::said()
}

/// Reads and checks files together: a configuration is told from a scenario by its content. Shows all messages.
pub(crate) fn load(files: &[&Path], set: &[(String, String)]) -> Result<Outcome, Failure> {
    let outcome = language::files(files, set);
    show(&outcome.diagnostics);
    if outcome.has_errors() { Err(Failure::said()) } else { Ok(outcome) }
}
