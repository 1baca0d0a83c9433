//! The core of a run, without I/O and on whatever time it is given: readings in, effects out.

use squall_core::scenario::{Checked, ExpectSpec, GuardAction, Metric};
use squall_core::time::{Now, Time};

use crate::guard::Guard;
use crate::lease;
use crate::metrics::Figures;
use crate::phases::Phases;
use crate::probe::{Found, Probe};
use crate::schedule::{Schedule, seconds};
use crate::verdict::{Cause, Outcome};

/// Where a run's timeline stands. All times are monotonic ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// When it was at 0, moved forward by every pause; none: it has not begun.
    pub(crate) origin: Option<Time>,
    /// Since when it stands still; none: it runs.
    pub(crate) still: Option<Time>,
    /// How long it stood still in all, without the pause that lasts.
    pub(crate) paused: Time,
}

impl Timeline {
    /// Time on it, ns; none before it has begun.
    pub(crate) fn elapsed(&self, now: Time) -> Option<Time> {
        self.origin.map(|origin| self.still.unwrap_or(now).saturating_sub(origin))
    }

    /// Goes on after a pause; gives the new origin.
    pub(crate) fn resume(&mut self, now: Time) -> Option<Time> {
        let stood = now.saturating_sub(self.still.take()?);
        self.paused += stood;
        self.origin = self.origin.map(|origin| origin.saturating_add(stood));
        self.origin
    }
}

/// Why and when a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) cause: Cause,
    /// In words.
    pub(crate) reason: String,
    /// When that was known, monotonic ns.
    pub(crate) at: Time,
}

/// What a tick is told.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub(crate) timeline: Timeline,
    /// One per watch; none: it can't be read.
    pub(crate) figures: Vec<Option<Figures>>,
    /// Checks that came back since the last tick.
    pub(crate) found: Vec<Found>,
    /// From outside: a person has ended it.
    pub(crate) ended: Option<Ending>,
    /// Whether the switch lets faults act.
    pub(crate) is_on: bool,
    /// The switch's lease, boot-time ns.
    pub(crate) lease: Time,
    /// The switch's limit, monotonic ns.
    pub(crate) limit: Time,
}

/// What a tick asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The timeline begins: publish, and switch on.
    Begin,
    /// Switch off and stand still until a person resumes; in words.
    Pause(String),
    /// Run this probe.
    Check(usize),
    /// Something worth telling: kind of event, words.
    Tell(&'static str, String),
    /// Lift the faults for good; the run goes on for its last checks.
    Lift,
    /// It is over: lift, close, report.
    End(Ending),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Checks that have to pass before the first fault.
    Proving {
        asked: bool,
    },
    /// The timeline runs, or stands still.
    Acting,
    /// Checks after the last fault.
    Proved,
    Over,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) schedule: Schedule,
    pub(crate) guards: Vec<Guard>,
    pub(crate) probes: Vec<Probe>,
    /// With the index of its watch.
    pub(crate) expects: Vec<(ExpectSpec, usize)>,
    /// One per watch.
    pub(crate) phases: Vec<Phases>,
    faults: Vec<String>,
    /// Aborting guards that fired; in words.
    pub(crate) refuting: Vec<String>,
    /// Sources that could not be read; in words.
    pub(crate) missing: Vec<String>,
    stage: Stage,
    told: Option<Time>,
    stood: bool,
}

/// What each guard, expectation and forecast watches: indices into the watches of the run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watching {
    pub(crate) watches: usize,
    pub(crate) guards: Vec<usize>,
    pub(crate) expects: Vec<usize>,
}

impl Run {
    /// A run that has not begun.
    pub(crate) fn new(checked: &Checked, schedule: Schedule, watching: &Watching) -> Run {
        let guards = checked.guards.iter().zip(&watching.guards);
        let expects = checked.expects.iter().cloned().zip(watching.expects.iter().copied());
        Run {
            schedule,
            guards: guards.filter_map(|(spec, watch)| Guard::new(spec, *watch)).collect(),
            probes: checked.probes.iter().map(Probe::new).collect(),
            expects: expects.collect(),
            phases: vec![Phases::default(); watching.watches],
            faults: checked.faults.iter().map(|fault| fault.name.clone()).collect(),
            refuting: Vec::new(),
            missing: Vec::new(),
            stage: Stage::Proving { asked: false },
            told: None,
            stood: false,
        }
    }

    /// Takes in what has happened by `now` and says what is to be done. Nothing comes after [`Effect::End`].
    pub(crate) fn tick(&mut self, now: Now, inputs: &Inputs) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.stage == Stage::Over {
            return effects;
        }
        self.take_results(inputs, &mut effects);
        if let Some(ending) = self.ended_from_outside(now, inputs) {
            return self.end(ending, effects);
        }
        match self.stage {
            Stage::Proving { asked } => self.prove(now, asked, effects),
            Stage::Acting => self.act(now, inputs, effects),
            Stage::Proved if self.probes.iter().any(|probe| probe.out) => effects,
            _ => self.end(planned(now), effects),
        }
    }

    /// Takes the final figures in: what was under way when it ended, at `at`, has come back.
    pub(crate) fn settle(&mut self, at: Time, figures: &[Option<Figures>]) {
        self.look(at, None, figures);
    }

    fn take_results(&mut self, inputs: &Inputs, effects: &mut Vec<Effect>) {
        for Found { probe, passed } in &inputs.found {
            let told = self.probes.get_mut(*probe).and_then(|probe| probe.take(passed));
            effects.extend(told.map(|text| Effect::Tell("probe", text)));
        }
    }

    fn ended_from_outside(&mut self, now: Now, inputs: &Inputs) -> Option<Ending> {
        let ending = |cause, reason: String| Some(Ending { cause, reason, at: now.mono });
        if inputs.ended.is_some() {
            return inputs.ended.clone();
        }
        if lease::has_run_out(now, inputs.lease) {
            return ending(Cause::Lease, "the lease ran out: its starter fell silent".into());
        }
        for (index, figures) in inputs.figures.iter().enumerate() {
            if figures.is_some() {
                continue;
            }
            if let Some(guard) = self.guards.iter().find(|guard| guard.watch == index) {
                let reason = format!("what guard `{}` watches can't be read", guard.name);
                self.missing.push(reason.clone());
                return ending(Cause::Data, reason);
            }
            if self.missing.is_empty() {
                self.missing.push("what an expectation watches can't be read".into());
            }
        }
        None
    }

    fn prove(&mut self, now: Now, asked: bool, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !asked {
            self.stage = Stage::Proving { asked: true };
            self.ask(&mut effects, |probe| probe.is_before());
        }
        if self.probes.iter().any(|probe| probe.out) {
            return effects;
        }
        if let Some(probe) = self.probes.iter().find(|probe| probe.failed > 0) {
            let reason = format!("probe `{}` failed before the first fault", probe.spec.name);
            return self.end(Ending { cause: Cause::Probe, reason, at: now.mono }, effects);
        }
        self.stage = Stage::Acting;
        effects.push(Effect::Begin);
        effects
    }

    fn act(&mut self, now: Now, inputs: &Inputs, mut effects: Vec<Effect>) -> Vec<Effect> {
        let Some(elapsed) = inputs.timeline.elapsed(now.mono) else { return effects };
        let stands = inputs.timeline.still.is_some();
        if self.stood && !stands {
            self.guards.iter_mut().for_each(Guard::reset);
        }
        self.stood = stands;
        self.look(now.mono, Some(elapsed).filter(|_| !stands), &inputs.figures);
        if !stands && elapsed >= self.schedule.planned {
            self.tell_edges(self.schedule.planned, &mut effects);
            return self.wind_up(now, effects);
        }
        if now.mono >= inputs.limit {
            let reason = "the time limit was reached".into();
            return self.end(Ending { cause: Cause::Limit, reason, at: now.mono }, effects);
        }
        if stands {
            return effects;
        }
        if !inputs.is_on {
            let reason = "everything was aborted".into();
            return self.end(Ending { cause: Cause::Person, reason, at: now.mono }, effects);
        }
        self.tell_edges(elapsed, &mut effects);
        if let Some(ending) = self.watch(now, inputs, &mut effects) {
            return self.end(ending, effects);
        }
        let any_open = self.schedule.any_open(elapsed);
        self.ask(&mut effects, |probe| probe.is_due(elapsed, any_open));
        effects
    }

    fn tell_edges(&mut self, elapsed: Time, effects: &mut Vec<Effect>) {
        for edge in self.schedule.edges(self.told, elapsed) {
            let name = self.faults.get(edge.fault).map_or("", String::as_str);
            let what = if edge.opened { "opens" } else { "closes" };
            effects.push(Effect::Tell("fault", format!("fault `{name}` {what} at {:.3} s", seconds(edge.at))));
        }
        self.told = Some(elapsed);
    }

    fn watch(&mut self, now: Now, inputs: &Inputs, effects: &mut Vec<Effect>) -> Option<Ending> {
        for guard in &mut self.guards {
            let figures = inputs.figures.get(guard.watch).and_then(Option::as_ref);
            let Some(text) = figures.and_then(|figures| guard.look(now.mono, figures)) else { continue };
            effects.push(Effect::Tell("guard", text.clone()));
            match guard.action {
                GuardAction::Abort => {
                    self.refuting.push(text.clone());
                    return Some(Ending { cause: Cause::Guard, reason: text, at: now.mono });
                }
                GuardAction::Pause => effects.push(Effect::Pause(text)),
                GuardAction::Alert | GuardAction::StepDown => {}
            }
        }
        None
    }

    /// The planned end: faults are lifted, then the last checks run.
    fn wind_up(&mut self, now: Now, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !self.probes.iter().any(|probe| probe.is_after() || probe.out) {
            return self.end(planned(now), effects);
        }
        self.stage = Stage::Proved;
        effects.push(Effect::Lift);
        self.ask(&mut effects, |probe| probe.is_after());
        effects
    }

    fn ask(&mut self, effects: &mut Vec<Effect>, mut wanted: impl FnMut(&mut Probe) -> bool) {
        for (index, probe) in self.probes.iter_mut().enumerate() {
            if !probe.out && wanted(probe) {
                probe.out = true;
                effects.push(Effect::Check(index));
            }
        }
    }

    /// `elapsed`: none while the timeline does not run.
    fn look(&mut self, now: Time, elapsed: Option<Time>, figures: &[Option<Figures>]) {
        for (phases, figures) in self.phases.iter_mut().zip(figures) {
            if let Some(figures) = figures {
                phases.look(&self.schedule, elapsed, now, figures);
            }
        }
    }

    fn end(&mut self, ending: Ending, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.stage = Stage::Over;
        effects.push(Effect::End(ending));
        effects
    }

    /// Every expectation with its value and what became of it.
    pub(crate) fn judge(&self, elapsed: Time) -> Vec<(ExpectSpec, Option<f64>, Outcome)> {
        let judged = self.expects.iter().map(|(expect, watch)| {
            let phases = self.phases.get(*watch);
            let few = || (None, Outcome::TooFew("nothing was watched".into()));
            let (value, outcome) = phases.map_or_else(few, |phases| phases.judge(expect, &self.schedule, elapsed));
            (expect.clone(), value, outcome)
        });
        judged.collect()
    }

    /// A metric of one watch over the time in which faults acted; recovery as it was measured.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn during_faults(&self, watch: usize, metric: Metric) -> Option<f64> {
        let phases = self.phases.get(watch)?;
        match metric {
            Metric::Recovery => phases.recovered.map(|ns| ns as f64),
            metric => phases.faults.value(metric),
        }
    }
}

fn planned(now: Now) -> Ending {
    Ending { cause: Cause::Planned, reason: "it reached its planned end".into(), at: now.mono }
}
