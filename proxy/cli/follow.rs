//! Waiting for an experiment's verdict, in this process or on a running squall: progress, Ctrl-C, exit code.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use squall_core::scenario::NONE_STATED;
use squall_drill::view::{AbortReport, Event, ExperimentView, Mark, MarkKind, Marked, State, Verdict};

use super::abort::told;
use super::interrupt::Wish;
use super::mark::user;
use super::out::{say, tell};
use super::progress::Progress;
use super::status::pretty;
use crate::exit::{Exit, Failure, Outcome};

/// A started experiment, wherever it runs.
pub(crate) trait Followed {
    /// How it stands. Asking keeps its lease.
    fn view(&self) -> Result<ExperimentView, Failure>;
    /// What has happened since the last call.
    fn events(&mut self) -> Vec<Event>;
    /// Says something about it.
    fn mark(&self, mark: Mark) -> Result<Marked, Failure>;
    /// Ends it.
    fn abort(&self) -> Result<AbortReport, Failure>;
    /// Its report, once it is over: JSON and Markdown.
    fn report(&self) -> Result<(serde_json::Value, String), Failure>;
}

/// What is printed at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Print<'a> {
    /// The report as JSON on standard output, everything else on standard error.
    pub(crate) json: bool,
    /// Where to put report.json and report.md.
    pub(crate) report: Option<&'a Path>,
}

/// Between two looks at the experiment; its lease is much longer.
const TURN: Duration = Duration::from_millis(200);

/// Waits until it is over. Ctrl-C and SIGTERM end it.
pub(crate) fn follow(experiment: &mut dyn Followed, wishes: &Receiver<Wish>, print: &Print<'_>) -> Outcome {
    let mut progress = Progress::new();
    let mut interrupted = false;
    let view = loop {
        for event in experiment.events() {
            progress.event(&event);
        }
        let view = experiment.view()?;
        progress.view(&view);
        if view.state.is_over() {
            break view;
        }
        match wishes.recv_timeout(TURN) {
            Ok(Wish::Stop | Wish::Terminate) => {
                interrupted = true;
                let report = experiment.abort()?;
                progress.line(&told(&report));
            }
            Ok(Wish::Enter(text)) => {
                let mark = typed(text, view.waiting.is_some());
                if let Some(Err(refused)) = mark.map(|mark| experiment.mark(mark)) {
                    progress.line(&refused.message);
                }
            }
            Ok(Wish::Reload) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TURN), // no signals to be had: it ends by itself
        }
    };
    for event in experiment.events() {
        progress.event(&event);
    }
    progress.close();
    result(experiment, &view, print)?;
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    Ok(exit(&view))
}

/// What Enter means: the step that is waited for is done, with what was typed as a word about it; else that is a note.
fn typed(text: String, waits: bool) -> Option<Mark> {
    let text = Some(text).filter(|text| !text.is_empty());
    let kind = match (waits, &text) {
        (true, _) => MarkKind::Step,
        (false, Some(_)) => MarkKind::Note,
        (false, None) => return None,
    };
    Some(Mark { kind, text, step: None, by: user() })
}

/// The exit code for an experiment that is over. An observation that came to its planned end has done what it was for; so has
/// one that had no hypothesis.
pub(crate) fn exit(view: &ExperimentView) -> Exit {
    match (view.state, view.verdict) {
        (State::Completed, Some(Verdict::Inconclusive)) if view.observed || states_nothing(view) => Exit::Done,
        (State::Failed | State::Cancelled, None) => Exit::BadInput,
        (_, Some(verdict)) => verdict.into(),
        (_, None) => Exit::Undecided,
    }
}

fn states_nothing(view: &ExperimentView) -> bool {
    view.hypothesis.as_deref().is_none_or(|text| text == NONE_STATED)
}

fn result(experiment: &dyn Followed, view: &ExperimentView, print: &Print<'_>) -> Result<(), Failure> {
    let verdict = match view.verdict {
        Some(Verdict::Inconclusive) if view.observed => "observed",
        Some(Verdict::Inconclusive) if view.state == State::Completed && states_nothing(view) => "done",
        verdict => verdict.map_or(view.state.word(), Verdict::word),
    };
    let (json, markdown) = experiment.report()?;
    let told = json.get("why").and_then(serde_json::Value::as_array).into_iter().flatten();
    let mut reasons: Vec<&str> = told.filter_map(serde_json::Value::as_str).collect();
    if reasons.is_empty() {
        reasons.extend(view.reason.as_deref());
    }
    let why = reasons.join("; ");
    if print.json {
        tell!("{}: {verdict}: {why}", view.id);
    } else {
        say!("{}: {verdict}: {why}", view.id);
        for fault in &view.faults {
            let tally = &fault.tally;
            let would = if view.observed { "would have had: " } else { "" };
            say!(
                "  {} ({}): {would}{} eligible, {} selected, {} injections, {} affected",
                fault.name,
                fault.summary,
                tally.eligible,
                tally.selected,
                tally.injected,
                tally.affected
            );
        }
        say!("  seed {}", view.seed);
    }
    if let Some(directory) = print.report {
        write(directory, &json, &markdown)
            .map_err(|error| Failure::input(format!("can not write the report to {}: {error}", directory.display())))?;
    }
    if print.json {
        say!("{}", pretty(&json)?);
    }
    Ok(())
}

fn write(directory: &Path, json: &serde_json::Value, markdown: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut text = serde_json::to_string_pretty(json)?;
    text.push('\n');
    std::fs::write(directory.join("report.json"), text)?;
    std::fs::write(directory.join("report.md"), markdown)
}
