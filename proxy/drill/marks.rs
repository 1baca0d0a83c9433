//! What people say about a run while it runs: detected, mitigated, a note, a step done.

use serde::{Deserialize, Serialize};
use squall_core::time::Time;

use crate::book::Card;
use crate::schedule::seconds;
use crate::steps::{StepMark, length};
use crate::view::{Refusal, State};

/// Characters of a text, and of a name.
const TEXT: usize = 500;
const NAME: usize = 80;
/// Marks that a run takes.
const MOST: usize = 1_000;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// Somebody, or some alert, has noticed. The first one after the first fault opened counts.
    Detected,
    /// Users are well again. The first one after the first fault opened counts.
    Mitigated,
    /// Anything else worth keeping.
    Note,
    /// The step that the run waits for is done: it goes on.
    Step,
}

impl MarkKind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            MarkKind::Detected => "detected",
            MarkKind::Mitigated => "mitigated",
            MarkKind::Note => "note",
            MarkKind::Step => "step",
        }
    }
}

/// A mark as a person makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// What it says.
    pub kind: MarkKind,
    /// In words, up to 500 characters; a note needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// With `step`: its name; left out, the one that the run waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Who makes it, up to 80 characters; nobody checks that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Mark {
    /// Whether it can be taken as it is. Errors: the field that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.kind == MarkKind::Note && self.text.is_none() {
            return Err(("text", "a note needs `text`".into()));
        }
        if self.kind != MarkKind::Step && self.step.is_some() {
            return Err(("step", format!("`step` goes with the kind `step`, not with `{}`", self.kind.word())));
        }
        let fields = [("text", &self.text, TEXT), ("step", &self.step, NAME), ("by", &self.by, NAME)];
        for (field, value, most) in fields {
            let Some(value) = value else { continue };
            if !(1..=most).contains(&value.trim().chars().count()) || value.chars().any(char::is_control) {
                return Err((field, format!("`{field}` has 1 to {most} characters, none of them a control character")));
            }
        }
        Ok(())
    }
}

/// A mark on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Marked {
    /// What it says.
    pub kind: MarkKind,
    /// In words.
    pub text: Option<String>,
    /// The step that it marks.
    pub step: Option<String>,
    /// Who made it.
    pub by: Option<String>,
    /// When: RFC 3339 with milliseconds.
    pub time: String,
    /// Seconds on the timeline; none: it had not begun.
    pub at: Option<f64>,
    /// Whether it is the one that time to detect or to mitigate is taken from; other marks of these kinds are notes.
    pub counts: bool,
    /// Seconds of real time since the first fault opened, pauses left out; none: none had opened.
    pub since_first_fault: Option<f64>,
}

impl Marked {
    /// For the event stream and the report's timeline.
    pub(crate) fn told(&self) -> String {
        let mut told = self.kind.word().to_owned();
        if let Some(step) = &self.step {
            told.push_str(&format!(" `{step}`"));
        }
        if let Some(by) = &self.by {
            told.push_str(&format!(" by {by}"));
        }
        if let Some(text) = &self.text {
            told.push_str(&format!(": {text}"));
        }
        match (self.kind, self.since_first_fault, self.counts) {
            (MarkKind::Detected | MarkKind::Mitigated, Some(since), true) => {
                told.push_str(&format!(" ({since:.1} s after the first fault opened)"));
            }
            (MarkKind::Detected | MarkKind::Mitigated, None, _) => told.push_str(" (a note: no fault had opened)"),
            (MarkKind::Detected | MarkKind::Mitigated, ..) => told.push_str(" (a note: the first one counts)"),
            _ => {}
        }
        told
    }
}

impl Card {
    /// Takes a mark in, made at `now` (monotonic ns) and `time` (for people). `ends`: it is about to end.
    pub(crate) fn mark(
        &mut self,
        id: &str,
        mark: Mark,
        now: Time,
        time: String,
        ends: bool,
    ) -> Result<Marked, Refusal> {
        if ends || !matches!(self.state, State::Armed | State::Running | State::Paused) {
            let state = if ends { "ending" } else { self.state.word() };
            return Err(Refusal::State(format!("`{id}` is {state}: marks are taken while it runs")));
        }
        let opened = self.opened(now);
        let since_first_fault =
            self.timeline.lived(now).zip(opened).map(|(lived, opened)| seconds(lived.saturating_sub(opened)));
        let Mark { kind, text, step, by } = mark;
        let counts = matches!(kind, MarkKind::Detected | MarkKind::Mitigated)
            && since_first_fault.is_some()
            && !self.marks.iter().any(|other| other.kind == kind && other.counts);
        let at = self.timeline.elapsed(now).map(seconds);
        let mut marked = Marked { kind, text, step, by, time, at, counts, since_first_fault };
        if kind == MarkKind::Step {
            self.mark_step(id, &mut marked, now)?;
        } else if self.marks.len() >= MOST {
            return Err(Refusal::State(format!("`{id}` has {MOST} marks: that is as many as a run takes")));
        }
        self.marks.push(marked.clone());
        Ok(marked)
    }

    fn mark_step(&mut self, id: &str, marked: &mut Marked, now: Time) -> Result<(), Refusal> {
        let took = self.timeline.standing(now).unwrap_or(0);
        let waiting = self.waiting.as_mut().filter(|waiting| waiting.mark.is_none());
        let Some(waiting) = waiting else {
            return Err(Refusal::State(format!("`{id}` waits for no step now")));
        };
        let name = &waiting.spec.name;
        if let Some(other) = marked.step.as_ref().filter(|step| *step != name) {
            return Err(Refusal::State(format!("`{id}` waits for step `{name}`, not for `{other}`")));
        }
        waiting.mark = Some(StepMark { took, by: marked.by.clone(), text: marked.text.clone() });
        marked.step = Some(name.clone());
        Ok(())
    }
}

/// The first mark of a kind that counts: seconds since the first fault opened.
pub(crate) fn time_to(marks: &[Marked], kind: MarkKind) -> Option<f64> {
    marks.iter().find(|mark| mark.kind == kind && mark.counts)?.since_first_fault
}

/// Seconds as people say them.
pub(crate) fn shown(seconds: Option<f64>) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of a run's age
    seconds.map_or_else(|| "not marked".into(), |seconds| length((seconds * 1e9) as Time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(kind: MarkKind) -> Mark {
        Mark { kind, text: None, step: None, by: None }
    }

    #[test]
    fn what_cannot_be_taken_is_told_by_field() {
        let field = |mark: Mark| mark.check().err().map(|(field, _)| field);
        assert_eq!(field(mark(MarkKind::Detected)), None);
        assert_eq!(field(mark(MarkKind::Note)), Some("text"));
        assert_eq!(field(Mark { step: Some("a".into()), ..mark(MarkKind::Detected) }), Some("step"));
        assert_eq!(field(Mark { step: Some("a b".into()), ..mark(MarkKind::Step) }), None);
        for (text, expected) in [("ok", None), ("", Some("text")), ("  ", Some("text")), ("a\nb", Some("text"))] {
            assert_eq!(field(Mark { text: Some(text.into()), ..mark(MarkKind::Note) }), expected, "{text:?}");
        }
        assert_eq!(field(Mark { text: Some("x".repeat(501)), ..mark(MarkKind::Note) }), Some("text"));
        assert_eq!(field(Mark { by: Some("\u{1b}[2J".into()), ..mark(MarkKind::Detected) }), Some("by"));
    }
}
