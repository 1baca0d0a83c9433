//! Messages as text: as rustc would show them, on one line, and as fields for programs.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Severity, Source};

/// Every message with its place marked, separated by empty lines. `color` writes ANSI escapes.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let shown: Vec<String> = diagnostics.iter().map(|diagnostic| one(diagnostic, &renderer)).collect();
    let mut text = shown.join("\n\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A message as fields: what the control port and `--json` give.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Brief {
    /// How bad.
    pub severity: Severity,
    /// One line: what is wrong.
    pub message: String,
    /// The field, as in `fault[late].delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Path of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// As fields.
    pub fn brief(&self) -> Brief {
        let place = self.line_column();
        Brief {
            severity: self.severity,
            message: visible(&self.message),
            field: self.field.clone(),
            file: self.source.as_ref().map(|source| source.name.clone()),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            label: self.label.clone(),
            help: self.help.clone(),
        }
    }

    /// Line and column (in characters) of its place, both from 1.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let (source, span) = (self.source.as_ref()?, self.span.as_ref()?);
        let line = Line::around(source, span);
        let column = source.text.get(line.start..line.mark.start).map_or(0, |before| before.chars().count());
        Some((line.number, column + 1))
    }
}

/// `file:line:column: message; help`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{}:", visible(&source.name))?;
        }
        if let Some((line, column)) = self.line_column() {
            write!(f, "{line}:{column}:")?;
        }
        if self.source.is_some() {
            f.write_str(" ")?;
        }
        match (&self.field, self.span.is_some()) {
            (Some(field), false) => write!(f, "{}: {}", visible(field), visible(&self.message))?,
            _ => f.write_str(&visible(&self.message))?,
        }
        match (&self.label, &self.help) {
            (_, Some(help)) => write!(f, "; {}", visible(help)),
            (Some(label), None) => write!(f, "; {}", visible(label)),
            (None, None) => Ok(()),
        }
    }
}

fn one(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = match (&diagnostic.field, &diagnostic.span) {
        (Some(field), None) => format!("{field}: {}", diagnostic.message),
        _ => diagnostic.message.clone(),
    };
    let mut group = Group::with_title(level.primary_title(visible(&title)));
    match (&diagnostic.source, &diagnostic.span) {
        (Some(source), Some(span)) => {
            let line = Line::around(source, span);
            let shown = source.text.get(line.start..line.end).unwrap_or_default();
            let mark = line.mark.start - line.start..line.mark.end - line.start;
            let label = diagnostic.label.as_deref().map(visible);
            let snippet = Snippet::source(shown)
                .line_start(line.number)
                .path(visible(&source.name))
                .annotation(AnnotationKind::Primary.span(mark).label(label));
            group = group.element(snippet);
        }
        (Some(source), None) => {
            group = group.element(annotate_snippets::Origin::path(visible(&source.name)));
            group = group.elements(diagnostic.label.as_deref().map(|label| Level::NOTE.message(visible(label))));
        }
        (None, _) => {
            group = group.elements(diagnostic.label.as_deref().map(|label| Level::NOTE.message(visible(label))));
        }
    }
    group = group.elements(diagnostic.help.as_deref().map(|help| Level::HELP.message(visible(help))));
    renderer.render(&[group])
}

/// The line of a span: only it is shown, so that a message costs no more in a long file.
struct Line {
    number: usize,
    start: usize,
    end: usize,
    /// The part of the span on this line, at character boundaries.
    mark: Range<usize>,
}

impl Line {
    fn around(source: &Source, span: &Range<usize>) -> Line {
        let text = source.text.as_str();
        let from = boundary(text, span.start);
        let before = text.get(..from).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(from..).unwrap_or_default();
        let end = from + rest.find('\n').unwrap_or(rest.len());
        let end = start + text.get(start..end).unwrap_or_default().trim_end_matches('\r').len();
        let to = boundary(text, span.end).clamp(from.min(end), end);
        Line { number: before.bytes().filter(|byte| *byte == b'\n').count() + 1, start, end, mark: from.min(end)..to }
    }
}

/// The character boundary at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Control characters from a file must not reach a terminal.
fn visible(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\t' { c.escape_default().collect() } else { String::from(c) }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "a.toml".into(), text: text.into() })
    }

    #[test]
    fn shows_the_place_as_rustc_would() {
        let source = source("name = \"x\"\r\ndelai = \"5ms\"\r\nat = 1\r\n");
        let diagnostic = Diagnostic::error("unknown field `delai`")
            .at(&source, 12..17)
            .label("expected one of `delay`, `jitter`")
            .help("did you mean `delay`?");
        let text = render(std::slice::from_ref(&diagnostic), false);
        let expected = "\
error: unknown field `delai`
 --> a.toml:2:1
  |
2 | delai = \"5ms\"
  | ^^^^^ expected one of `delay`, `jitter`
  |
  = help: did you mean `delay`?
";
        assert_eq!(text, expected);
        assert_eq!(diagnostic.to_string(), "a.toml:2:1: unknown field `delai`; did you mean `delay`?");
        assert!(render(&[diagnostic], true).contains('\u{1b}'));
    }

    #[test]
    fn columns_count_characters_and_spans_are_clamped() {
        let source = source("é = \"ü\" # \u{1b}[31m\nb");
        let at = |span| Diagnostic::error("\u{1b}[2J").at(&source, span);
        assert_eq!(at(5..9).line_column(), Some((1, 5)));
        for span in [0..1, 1..2, 3..900, 900..901, 17..17, 18..19] {
            let text = render(&[at(span)], false);
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn names_the_field_where_there_is_no_place() {
        let diagnostic = Diagnostic::error("is negative").field("fault[late].delay");
        assert_eq!(render(std::slice::from_ref(&diagnostic), false), "error: fault[late].delay: is negative\n");
        assert_eq!(serde_json::to_value(diagnostic.brief()).unwrap()["field"], "fault[late].delay");
    }
}
