//! Probes: checks from outside. When they run and what their failures amount to is decided here, on whatever time is given;
//! `check` carries one out.

mod check;

use std::sync::Arc;

use squall_core::config::Safety;
use squall_core::scenario::{ProbeCheck, ProbeMode, ProbeSpec};
use squall_core::time::Time;
use squall_core::unit::Duration;

pub(crate) use check::{check, post};

/// A check before the first fault or after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Once {
    /// None, or it has told.
    No,
    /// To be made at this time, monotonic ns.
    At(Time),
    /// Under way.
    Asked,
}

/// A probe at work. One check is under way at most.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) spec: ProbeSpec,
    due: Time,
    once: Once,
    /// The first fault has not opened yet: an alert must not fire by then.
    is_early: bool,
    /// An alert that is awaited: what is asked now decides.
    is_last: bool,
    /// An alert that was awaited: it fired, or did not in time.
    is_told: bool,
    /// A check is under way.
    pub(crate) out: bool,
    /// Checks that came back.
    pub(crate) runs: u64,
    /// Those that did not pass.
    pub(crate) failed: u64,
    /// Those that did not pass and were in a row of as many as it takes.
    pub(crate) counted: u64,
    /// What the first failure that counts said.
    pub(crate) first_failure: Option<String>,
    /// Failures since the latest pass.
    row: u64,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Index of the probe.
    pub(crate) probe: usize,
    /// Whether it passed, or why not.
    pub(crate) passed: Result<(), String>,
}

/// Why a probe can not run here: a variable that is not set, or a program that nobody has allowed.
pub(crate) fn in_the_way(spec: &ProbeSpec, safety: &Safety) -> Option<String> {
    let name = &spec.name;
    if let ProbeCheck::Exec { command, .. } = &*spec.check {
        let program = command.first()?;
        let allowed = safety.allow_exec.contains(program);
        return (!allowed).then(|| format!("probe `{name}`: {program} is not in allow_exec of [safety]"));
    }
    check::unset(&spec.check).map(|why| format!("probe `{name}`: {why}"))
}

impl Probe {
    /// A probe that has not run.
    pub(crate) fn new(spec: &ProbeSpec) -> Probe {
        Probe {
            spec: spec.clone(),
            due: 0,
            once: Once::No,
            is_early: false,
            is_last: false,
            is_told: false,
            out: false,
            runs: 0,
            failed: 0,
            counted: 0,
            first_failure: None,
            row: 0,
        }
    }

    /// Whether it has to pass before the timeline begins. An alert that fires already would tell nothing.
    pub(crate) fn is_before(&self) -> bool {
        self.is_alert() || matches!(self.spec.mode, ProbeMode::Start | ProbeMode::Edge)
    }

    /// Asks for a check before the timeline begins.
    pub(crate) fn begin(&mut self, now: Time) {
        (self.once, self.is_early) = (Once::At(now), true);
    }

    /// Asks for a check after the planned end, of a probe that has one.
    pub(crate) fn finish(&mut self, now: Time) {
        let ends = !self.is_alert() && matches!(self.spec.mode, ProbeMode::End | ProbeMode::Edge);
        if ends || (self.is_awaited() && !self.is_told) {
            (self.once, self.is_last) = (Once::At(now), true);
        }
    }

    /// Whether a check before or after is still to be made, or any is under way.
    pub(crate) fn is_pending(&self) -> bool {
        self.out || self.once != Once::No
    }

    /// Whether a check before or after is due; if so, it is under way.
    pub(crate) fn is_due_once(&mut self, now: Time) -> bool {
        let is_due = matches!(self.once, Once::At(at) if at <= now) && !self.out;
        if is_due {
            (self.once, self.out) = (Once::Asked, true);
        }
        is_due
    }

    /// Whether a repeating check is due at `elapsed`; if so, it is under way and the next one is set.
    pub(crate) fn is_due(&mut self, elapsed: Time, any_open: bool, first_open: Time) -> bool {
        let repeats = match (&*self.spec.check, self.spec.mode) {
            (ProbeCheck::Alertmanager { within, absent, .. }, _) => {
                let end = within.map_or(Time::MAX, |within| first_open.saturating_add(within));
                self.is_last = elapsed >= end;
                elapsed >= first_open && if *absent { elapsed <= end } else { !self.is_told }
            }
            (_, ProbeMode::Continuous) => true,
            (_, ProbeMode::During) => any_open,
            _ => false,
        };
        if !repeats || self.out || elapsed < self.due {
            return false;
        }
        self.due = elapsed.saturating_add(self.spec.every);
        if let ProbeCheck::Alertmanager { within: Some(within), .. } = &*self.spec.check {
            let end = first_open.saturating_add(*within);
            self.due = if elapsed < end { self.due.min(end) } else { self.due };
        }
        self.out = true;
        true
    }

    /// What is asked now: before the first fault, that an alert does not fire.
    pub(crate) fn question(&self) -> Arc<ProbeCheck> {
        let mut check = self.spec.check.clone();
        if self.is_early
            && let ProbeCheck::Alertmanager { absent, .. } = Arc::make_mut(&mut check)
        {
            *absent = true;
        }
        check
    }

    /// Takes a result in. Gives what to tell: that it has failed as often as it takes, and the first pass after that.
    pub(crate) fn take(&mut self, passed: &Result<(), String>, now: Time) -> Option<String> {
        self.out = false;
        self.runs += 1;
        let waits = self.is_awaited() && !self.is_early;
        let told = match passed {
            Ok(()) => self.pass(waits),
            Err(_) if waits && !self.is_last => None, // not yet
            Err(why) => self.fail(why, waits),
        };
        if self.once == Once::Asked {
            let again = passed.is_err() && !self.is_failing();
            self.once = if again { Once::At(now.saturating_add(self.spec.every)) } else { Once::No };
            self.is_early &= self.once != Once::No;
        }
        told
    }

    fn pass(&mut self, waits: bool) -> Option<String> {
        let was_failing = self.is_failing();
        self.row = 0;
        let name = &self.spec.name;
        if waits && !std::mem::replace(&mut self.is_told, true) {
            return Some(format!("probe `{name}`: the alert fires"));
        }
        was_failing.then(|| format!("probe `{name}` passes again"))
    }

    fn fail(&mut self, why: &str, waits: bool) -> Option<String> {
        self.failed += 1;
        self.row += 1;
        self.is_told |= waits;
        if !self.is_failing() {
            return None;
        }
        let begins = self.row == self.spec.failures;
        self.counted += if begins { self.row } else { 1 };
        let why = match &*self.spec.check {
            ProbeCheck::Alertmanager { within: Some(within), .. } if waits => {
                format!("{why}, {} after the first fault opened", Duration(*within))
            }
            _ => why.to_owned(),
        };
        self.first_failure.get_or_insert_with(|| why.clone());
        begins.then(|| format!("probe `{}` failed: {why}", self.spec.name))
    }

    /// Whether the latest failures are a row as long as it takes.
    pub(crate) fn is_failing(&self) -> bool {
        self.row >= self.spec.failures
    }

    /// Whether more of its checks failed than may.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn has_failed(&self) -> bool {
        self.counted as f64 > self.spec.tolerance * self.runs as f64
    }

    fn is_alert(&self) -> bool {
        matches!(*self.spec.check, ProbeCheck::Alertmanager { .. })
    }

    /// Whether an alert is to fire.
    fn is_awaited(&self) -> bool {
        matches!(*self.spec.check, ProbeCheck::Alertmanager { absent: false, .. })
    }
}
