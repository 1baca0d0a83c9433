//! Live progress: a bar on a terminal, lines anywhere else. On standard error, so that standard output stays the result.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use squall_drill::view::{Event, ExperimentView};

use super::out::tell;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// When the next line is due where there is no terminal, seconds on the timeline.
    due: f64,
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
        Progress { bar, due: 0.0 }
    }

    /// Something has happened.
    pub(crate) fn event(&self, event: &Event) {
        let at = event.elapsed.map_or(String::new(), |elapsed| format!("{elapsed:7.1}s  "));
        self.line(&format!("{at}{:8}{}", event.kind, event.text));
    }

    /// How it stands.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of 1,000 steps
    pub(crate) fn view(&mut self, view: &ExperimentView) {
        let share = if view.planned > 0.0 { (view.elapsed / view.planned).clamp(0.0, 1.0) } else { 0.0 };
        if let Some(bar) = &self.bar {
            bar.set_position((share * 1_000.0) as u64);
            bar.set_message(told(view));
        } else if view.elapsed >= self.due {
            self.due = view.elapsed + EVERY;
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
    let mut text = format!("{:7.1}s  of {:.1}s, {}", view.elapsed, view.planned, view.state.word());
    for fault in &view.faults {
        let mark = if fault.active { "*" } else { "" };
        text.push_str(&format!(", {}{mark} {}/{}", fault.name, fault.tally.affected, fault.tally.eligible));
    }
    text
}
