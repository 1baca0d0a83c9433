//! Live progress: a bar on a terminal, lines anywhere else. On standard error, so that standard output stays the result.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use squall_drill::view::{Event, ExperimentView};

use super::out::tell;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// When the next line is due where there is no terminal, seconds on the timeline and in the wait that lasts.
    due: f64,
    /// Enter marks a step.
    enter: bool,
    /// The step that was asked for last.
    asked: Option<String>,
}

/// Seconds between two lines where there is no terminal.
const EVERY: f64 = 5.0;

impl Progress {
    pub(crate) fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1_000);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Progress { bar, due: 0.0, enter: std::io::stdin().is_terminal(), asked: None }
    }

    /// Something has happened.
    pub(crate) fn event(&self, event: &Event) {
        let at = event.elapsed.map_or(String::new(), |elapsed| format!("{elapsed:7.1}s  "));
        self.line(&format!("{at}{:8}{}", event.kind, event.text));
    }

    /// Somebody is to do something.
    fn ask(&mut self, view: &ExperimentView) {
        let asked = view.waiting.as_ref().map(|waiting| waiting.step.clone());
        if asked == self.asked {
            return;
        }
        self.asked = asked;
        let Some(waiting) = &view.waiting else { return };
        let mark = if self.enter { "press Enter" } else { "run `squall mark step`" };
        self.line("");
        self.line(&format!(">>> {}: {}", waiting.step, waiting.manual));
        self.line(&format!(">>> {mark} when it is done; it is waited for {:.0} s at most", waiting.within));
        self.line("");
    }

    /// How it stands.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of 1,000 steps
    pub(crate) fn view(&mut self, view: &ExperimentView) {
        self.ask(view);
        let age = view.elapsed + view.waiting.as_ref().map_or(0.0, |waiting| waiting.waited);
        let share = if view.planned > 0.0 { (view.elapsed / view.planned).clamp(0.0, 1.0) } else { 0.0 };
        if let Some(bar) = &self.bar {
            bar.set_position((share * 1_000.0) as u64);
            bar.set_message(told(view));
        } else if age >= self.due {
            self.due = age + EVERY;
            tell!("{}", told(view));
        }
    }

    /// A line above the bar.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => tell!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// An experiment under way in one line.
fn told(view: &ExperimentView) -> String {
    let mut text = format!("{:7.1}s  of {:.1}s, {}", view.elapsed, view.planned, stands(view));
    for fault in &view.faults {
        let mark = if fault.active { "*" } else { "" };
        text.push_str(&format!(", {}{mark} {}/{}", fault.name, fault.tally.affected, fault.tally.eligible));
    }
    text
}

/// Where it stands, in words.
fn stands(view: &ExperimentView) -> String {
    let observed = if view.observed { " (only observed)" } else { "" };
    let waits = view.waiting.as_ref().map(|waiting| {
        let left = (waiting.within - waiting.waited).max(0.0);
        format!(", waits for step `{}` ({left:.0} s left)", waiting.step)
    });
    format!("{}{observed}{}", view.state.word(), waits.unwrap_or_default())
}
