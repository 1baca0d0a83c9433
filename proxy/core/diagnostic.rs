//! Messages about files and requests that a person can act on: place, what was expected, the nearest valid word.

mod render;

use std::ops::Range;
use std::sync::Arc;

pub use render::{Brief, render};

/// One text that was read: a file, or the body of a request.
#[derive(Debug)]
pub struct Source {
    /// Path as given, or `<request>`.
    pub name: String,
    /// What it holds; empty where it could not be read.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is done.
    Error,
    /// It goes on.
    Warning,
    /// Worth knowing.
    Note,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// One line: what is wrong.
    pub message: String,
    /// Where it was read.
    pub source: Option<Arc<Source>>,
    /// Bytes of the source.
    pub span: Option<Range<usize>>,
    /// The field, as in `fault[late].delay`.
    pub field: Option<String>,
    /// Beside the marked place: what was expected.
    pub label: Option<String>,
    /// What to do: `did you mean …`.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A warning without a place yet.
    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message) }
    }
    /// A note without a place yet.
    pub fn note(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Note, ..Diagnostic::error(message) }
    }
    /// An error without a place yet.
    pub fn error(message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            message: message.into(),
            source: None,
            span: None,
            field: None,
            label: None,
            help: None,
        }
    }
    /// Its place.
    pub fn at(mut self, source: &Arc<Source>, span: Range<usize>) -> Diagnostic {
        self.source = Some(source.clone());
        self.span = Some(span);
        self
    }
    /// Its field.
    pub fn field(mut self, field: impl Into<String>) -> Diagnostic {
        self.field = Some(field.into());
        self
    }
    /// What was expected.
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }
    /// What to do.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}
