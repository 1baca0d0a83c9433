//! The exposure ladders of a run: when a percentage goes up a step, and when it goes down.
//!
//! A step up needs all of this: the step has been stood on for `hold` with every guard clean throughout, the guards have
//! counted `min_events` on it, and nothing stands against more exposure. A step that is lower than the one before needs
//! `hold` only. Who was in stays in, because the same draw is held against a rising percentage.

use squall_core::curve::Curve;
use squall_core::scenario::{Checked, FaultSpec};
use squall_core::time::Time;
use squall_core::window::Window;

use crate::schedule::seconds;
use crate::steps::length;
use crate::view::{LadderView, Rung};

/// Changes of one ladder that its report keeps.
const CHANGES: usize = 200;

/// The ladders of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ladders {
    all: Vec<Ladder>,
}

/// What a look at the ladders is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// Time on the timeline, ns.
    pub(crate) elapsed: Time,
    /// A guard whose condition holds; none: all are clean.
    pub(crate) unclean: Option<&'a str>,
    /// What each watch of a guard has counted in all.
    pub(crate) counted: &'a [u64],
    /// Why nothing may be exposed more than it is; none: it may.
    pub(crate) against: Option<&'a str>,
}

/// A ladder changes, or stays where it could have climbed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Index of its fault.
    pub(crate) fault: usize,
    /// Where it is to be put: the opening that it stands in, ns on the timeline, and the step from 0. None: it stays.
    pub(crate) to: Option<(Time, usize)>,
    /// In words.
    pub(crate) text: String,
}

/// The percentage of one fault.
#[derive(Clone, Debug)]
struct Ladder {
    fault: usize,
    name: String,
    window: Window,
    /// Percentages, in order.
    steps: Vec<f64>,
    hold: Time,
    min_events: u64,
    /// Where it stands; none: its window has not opened yet.
    stand: Option<Stand>,
    /// The window is open.
    open: bool,
    /// The highest percentage so far.
    reached: f64,
    changes: Vec<Rung>,
}

/// Standing on a step.
#[derive(Clone, Debug)]
struct Stand {
    /// When the window opened.
    opened: Time,
    step: usize,
    /// Since when.
    since: Time,
    /// Since when every guard has been clean, on this step.
    clean: Time,
    /// What the guards had counted then.
    seen: Vec<u64>,
    wait: Wait,
    /// The reason that was told last.
    told: Option<Wait>,
}

/// Why a ladder does not climb.
#[derive(Clone, Debug, PartialEq)]
enum Wait {
    /// It is on its last step.
    Top,
    /// Its hold is over at this time on the timeline.
    Hold(Time),
    /// This guard is not clean.
    Unclean(String),
    /// So many events of so many.
    Events(u64, u64),
    /// Nothing may be exposed more than it is.
    Against(String),
}

impl Ladders {
    pub(crate) fn new(checked: &Checked) -> Ladders {
        let ladder = |(fault, spec): (usize, &FaultSpec)| {
            let Curve::Steps { steps, hold } = &spec.percentage else { return None };
            Some(Ladder {
                fault,
                name: spec.name.clone(),
                window: spec.window,
                steps: steps.clone(),
                hold: *hold,
                min_events: spec.min_events,
                stand: None,
                open: false,
                reached: 0.0,
                changes: Vec::new(),
            })
        };
        Ladders { all: checked.faults.iter().enumerate().filter_map(ladder).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Looks at each ladder: those that may climb do.
    pub(crate) fn look(&mut self, scene: &Scene<'_>) -> Vec<Turn> {
        self.all.iter_mut().filter_map(|ladder| ladder.look(scene)).collect()
    }

    /// Every ladder whose window is open goes down one step. Empty: none of them can go any lower.
    pub(crate) fn down(&mut self, scene: &Scene<'_>, why: &str) -> Vec<Turn> {
        self.all.iter_mut().filter_map(|ladder| ladder.down(scene, why)).collect()
    }

    /// A guard was not clean at this time on the timeline, ns, and will have forgotten: steps are held anew from there.
    pub(crate) fn hold_anew(&mut self, elapsed: Time) {
        self.all.iter_mut().filter_map(|ladder| ladder.stand.as_mut()).for_each(|stand| stand.clean = elapsed);
    }

    /// After a pause the guards have forgotten what they saw: their events are counted anew.
    pub(crate) fn count_anew(&mut self) {
        self.all.iter_mut().filter_map(|ladder| ladder.stand.as_mut()).for_each(|stand| stand.seen.clear());
    }

    /// Where the ladder of a fault stands; none: it has none, or has not opened yet.
    pub(crate) fn view(&self, fault: usize, elapsed: Time) -> Option<LadderView> {
        self.find(fault)?.view(elapsed)
    }

    /// What the ladder of a fault did, oldest first.
    pub(crate) fn changes(&self, fault: usize) -> &[Rung] {
        self.find(fault).map_or(&[], |ladder| &ladder.changes)
    }

    fn find(&self, fault: usize) -> Option<&Ladder> {
        self.all.iter().find(|ladder| ladder.fault == fault)
    }
}

impl Ladder {
    fn look(&mut self, scene: &Scene<'_>) -> Option<Turn> {
        let opened = self.window.phase(scene.elapsed).open_since;
        self.open = opened.is_some();
        let opened = opened?;
        if self.stand.as_ref().is_none_or(|stand| stand.opened != opened) {
            self.put(opened, 0, opened, scene, "it opens");
        }
        let (hold, top) = (self.hold, self.steps.len() - 1);
        let stand = self.stand.as_mut()?;
        if stand.seen.len() != scene.counted.len() {
            stand.seen = scene.counted.to_vec();
        }
        if scene.unclean.is_some() {
            stand.clean = scene.elapsed;
            stand.seen = scene.counted.to_vec();
        }
        if stand.step == top {
            stand.wait = Wait::Top;
            return None;
        }
        let rises = self.steps[stand.step + 1] > self.steps[stand.step];
        let over = if rises { stand.clean } else { stand.since }.saturating_add(hold);
        let counted = scene.counted.iter().zip(&stand.seen).map(|(now, then)| now.saturating_sub(*then)).min();
        let wait = match (scene.unclean, scene.against) {
            (Some(guard), _) if rises => Some(Wait::Unclean(guard.to_owned())),
            _ if scene.elapsed < over => Some(Wait::Hold(over)),
            _ if !rises => None,
            _ if counted.is_some_and(|counted| counted < self.min_events) => {
                Some(Wait::Events(counted.unwrap_or(0), self.min_events))
            }
            (_, Some(why)) => Some(Wait::Against(why.to_owned())),
            _ => None,
        };
        let Some(wait) = wait else {
            let (next, why) = (stand.step + 1, if rises { "held, and guards clean" } else { "held" });
            let up = if rises { "up" } else { "on" };
            return Some(self.go(up, opened, next, scene, why));
        };
        let could = scene.elapsed >= stand.since.saturating_add(hold);
        let is_news =
            stand.told.as_ref().is_none_or(|told| std::mem::discriminant(told) != std::mem::discriminant(&wait));
        stand.wait = wait.clone();
        if !could || !is_news || matches!(wait, Wait::Hold(_)) {
            return None;
        }
        stand.told = Some(wait.clone());
        let text = format!("fault `{}` stays on {}: {}", self.name, self.place(), wait.told());
        Some(Turn { fault: self.fault, to: None, text })
    }

    fn down(&mut self, scene: &Scene<'_>, why: &str) -> Option<Turn> {
        let (opened, step) = self.stand.as_ref().filter(|_| self.open).map(|stand| (stand.opened, stand.step))?;
        let lower = (0..step).rev().find(|lower| self.steps[*lower] < self.steps[step])?;
        Some(self.go("down", opened, lower, scene, why))
    }

    fn go(&mut self, way: &str, opened: Time, step: usize, scene: &Scene<'_>, why: &str) -> Turn {
        self.put(opened, step, scene.elapsed, scene, why);
        let text = format!("fault `{}` goes {way} to {}: {why}", self.name, self.place());
        Turn { fault: self.fault, to: Some((opened, step)), text }
    }

    fn put(&mut self, opened: Time, step: usize, since: Time, scene: &Scene<'_>, why: &str) {
        let wait = Wait::Hold(since.saturating_add(self.hold));
        let seen = scene.counted.to_vec();
        self.stand = Some(Stand { opened, step, since, clean: since, seen, wait, told: None });
        self.reached = self.reached.max(self.steps[step]);
        if self.changes.len() < CHANGES {
            let (at, why) = (seconds(since), why.to_owned());
            self.changes.push(Rung { at, step: step + 1, percentage: self.steps[step], why });
        }
    }

    /// Its step in words.
    fn place(&self) -> String {
        let step = self.stand.as_ref().map_or(0, |stand| stand.step);
        format!("step {} of {} ({} %)", step + 1, self.steps.len(), self.steps[step])
    }

    fn view(&self, elapsed: Time) -> Option<LadderView> {
        let stand = self.stand.as_ref()?;
        Some(LadderView {
            step: stand.step + 1,
            steps: self.steps.len(),
            percentage: if self.open { self.steps[stand.step] } else { 0.0 },
            reached: self.reached,
            waits: match &stand.wait {
                _ if !self.open => None,
                Wait::Top => None,
                Wait::Hold(until) => Some(format!("held for {} more", length(until.saturating_sub(elapsed)))),
                wait => Some(wait.told()),
            },
        })
    }
}

impl Wait {
    fn told(&self) -> String {
        match self {
            Wait::Top => "it is the last".into(),
            Wait::Hold(until) => format!("held until {:.1} s", seconds(*until)),
            Wait::Unclean(guard) => format!("guard `{guard}` is not clean"),
            Wait::Events(counted, of) => format!("guards have counted {counted} of {of} events on it"),
            Wait::Against(why) => format!("nothing may be exposed more: {why}"),
        }
    }
}
