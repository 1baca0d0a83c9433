//! The core of a run, without I/O and on whatever time it is given: readings in, effects out.

use std::sync::Arc;

use squall_core::scenario::{Checked, ExpectSpec, GuardAction, Metric, StepSpec};
use squall_core::time::{Now, SECOND, Time};
use squall_core::tripwire::Tripwire;

use crate::before::Before;
use crate::guard::Guard;
use crate::guard::wire::Wiring;
use crate::ladder::{Ladders, Scene, Turn as Climb};
use crate::lease;
use crate::metrics::Figures;
use crate::phases::{Phases, Place};
use crate::probe::{Found, Probe};
use crate::schedule::{Schedule, seconds};
use crate::steps::{StepMark, Steps, Turn, length};
use crate::verdict::{Cause, Outcome};

/// Where a run's timeline stands. All times are monotonic ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeline {
    /// When it was at 0, moved forward by every pause; none: it has not begun.
    pub(crate) origin: Option<Time>,
    /// Since when it is paused; none: it runs.
    pub(crate) still: Option<Time>,
    /// How long it was paused in all, without the pause that lasts.
    pub(crate) paused: Time,
    /// Where it stands until it is let go on, ns on it; none: nowhere.
    pub(crate) stop: Option<Time>,
    /// How long it stood at stops in all, without the wait that lasts.
    pub(crate) waited: Time,
}

impl Timeline {
    /// Time on it, ns; none before it has begun.
    pub(crate) fn elapsed(&self, now: Time) -> Option<Time> {
        let elapsed = self.still.unwrap_or(now).saturating_sub(self.origin?);
        Some(self.stop.map_or(elapsed, |stop| elapsed.min(stop)))
    }

    /// Its age, ns: with what it stood at stops, without pauses; none before it has begun.
    pub(crate) fn lived(&self, now: Time) -> Option<Time> {
        let gone = self.still.unwrap_or(now).saturating_sub(self.origin?);
        Some(gone.saturating_add(self.waited))
    }

    /// How long it has stood at its stop, ns; none: it has not come there.
    pub(crate) fn standing(&self, now: Time) -> Option<Time> {
        self.still.unwrap_or(now).checked_sub(self.origin?.saturating_add(self.stop?))
    }

    /// It is let go on after it `stood`, up to the next stop.
    pub(crate) fn go_on(&mut self, stood: Time, next: Option<Time>) {
        self.origin = self.origin.map(|origin| origin.saturating_add(stood));
        self.waited += stood;
        self.stop = next;
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
    /// The step that it waits for is done.
    pub(crate) marked: Option<StepMark>,
    /// Why nothing may be exposed more than it is; none: it may.
    pub(crate) against: Option<String>,
}

/// What a tick asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Measure what must hold before anything is injected.
    Measure,
    /// The timeline begins: publish, and switch on. Where it stops first, ns on it.
    Begin(Option<Time>),
    /// The timeline stands: a person is to do this.
    Ask(StepSpec),
    /// The timeline goes on after a step, up to the next stop.
    GoOn(Option<Time>),
    /// The ladder of this fault is on this step (from 0) of the opening that began at this time on the timeline.
    Climb { fault: usize, opened: Time, step: usize },
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

/// How long a guard that has made a ladder go down is not asked again, ns: what was under way then is not held against the
/// lower step.
const SETTLING: Time = SECOND;

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

/// What becomes of a run whose guards were asked.
enum Heeded {
    GoesOn,
    /// It stands still from now on.
    Pauses,
    Ends(Ending),
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) schedule: Schedule,
    pub(crate) guards: Vec<Guard>,
    /// Until when each of them is not asked, monotonic ns.
    settling: Vec<Option<Time>>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) before: Before,
    pub(crate) steps: Steps,
    pub(crate) ladders: Ladders,
    /// The watches of the guards.
    watched: Vec<usize>,
    /// With the index of its watch.
    pub(crate) expects: Vec<(ExpectSpec, usize)>,
    /// One per watch.
    pub(crate) phases: Vec<Phases>,
    faults: Vec<String>,
    /// Aborting guards that fired; in words.
    pub(crate) refuting: Vec<String>,
    /// Nothing acts: guards only say what they would have done.
    observed: bool,
    /// Sources that could not be read; in words.
    pub(crate) missing: Vec<String>,
    stage: Stage,
    told: Option<Time>,
    /// How long it had been paused in all when it was looked at last, ns.
    paused: Time,
}

/// What each guard, expectation and forecast watches: indices into the watches of the run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watching {
    pub(crate) watches: usize,
    pub(crate) guards: Vec<usize>,
    /// Per guard: what of it the workers can decide.
    pub(crate) wirings: Vec<Option<Wiring>>,
    pub(crate) expects: Vec<usize>,
    /// Of each condition on the steady state; of no meaning where that is a probe.
    pub(crate) before: Vec<usize>,
}

impl Run {
    /// A run that has not begun. `observed`: one in which nothing acts.
    pub(crate) fn new(checked: &Checked, schedule: Schedule, watching: &Watching, observed: bool) -> Run {
        let probes: Vec<&str> = checked.probes.iter().map(|probe| probe.name.as_str()).collect();
        let guards = checked.guards.iter().zip(&watching.guards);
        let expects = checked.expects.iter().cloned().zip(watching.expects.iter().copied());
        Run {
            schedule,
            settling: vec![None; checked.guards.len()],
            guards: guards.map(|(spec, watch)| Guard::new(spec, *watch)).collect(),
            probes: checked.probes.iter().map(Probe::new).collect(),
            before: Before::new(&checked.before, &watching.before, &probes),
            steps: Steps::new(&checked.steps),
            ladders: Ladders::new(checked),
            watched: watching.guards.clone(),
            expects: expects.collect(),
            phases: vec![Phases::default(); watching.watches],
            faults: checked.faults.iter().map(|fault| fault.name.clone()).collect(),
            refuting: Vec::new(),
            observed,
            missing: Vec::new(),
            stage: Stage::Proving { asked: false },
            told: None,
            paused: 0,
        }
    }

    /// Has its guards fire in the data path, where they can. Gives which looks at which proxy.
    pub(crate) fn lay(
        &mut self,
        wires: &[Option<Arc<Tripwire>>],
        watching: &Watching,
    ) -> Vec<(Arc<str>, Arc<Tripwire>)> {
        let mut on = Vec::new();
        for ((guard, wire), wiring) in self.guards.iter_mut().zip(wires).zip(&watching.wirings) {
            let (Some(wire), Some(wiring)) = (wire, wiring) else { continue };
            guard.lay(wire.clone());
            on.extend(wiring.proxies.iter().map(|proxy| (proxy.clone(), wire.clone())));
        }
        on
    }

    /// Takes in what has happened by `now` and says what is to be done. Nothing comes after [`Effect::End`].
    pub(crate) fn tick(&mut self, now: Now, inputs: &Inputs) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.stage == Stage::Over {
            return effects;
        }
        self.take_results(now, inputs, &mut effects);
        if let Some(ending) = self.ended_from_outside(now, inputs) {
            return self.end(ending, effects);
        }
        match self.stage {
            Stage::Proving { asked } => self.prove(now, asked, inputs, effects),
            Stage::Acting => self.act(now, inputs, effects),
            _ => self.prove_last(now, effects),
        }
    }

    /// Takes the final figures in: what was under way when it ended, at `at`, has come back.
    pub(crate) fn settle(&mut self, at: Time, figures: &[Option<Figures>]) {
        self.look(at, None, figures);
        let observed = self.observed;
        let aborting = self.guards.iter_mut().filter(|guard| guard.action == GuardAction::Abort && !observed);
        let late: Vec<String> = aborting.filter_map(|guard| Some(guard.tripped()?.0)).collect();
        self.refuting.extend(late); // they fired while it came to its end
    }

    /// The run's age when the timeline came to `at`, ns; none: it has not come there.
    pub(crate) fn lived_at(&self, at: Time, elapsed: Time) -> Option<Time> {
        (elapsed >= at).then(|| at.saturating_add(self.steps.waited_before(at)))
    }

    fn take_results(&mut self, now: Now, inputs: &Inputs, effects: &mut Vec<Effect>) {
        for Found { probe: index, passed } in &inputs.found {
            let Some(probe) = self.probes.get_mut(*index) else { continue };
            let told = probe.take(passed, now.mono);
            if !probe.is_pending() {
                self.before.take(*index, passed);
            }
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
            if let Some(guard) = self.guards.iter().find(|guard| guard.watch == index && !self.observed) {
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

    fn prove(&mut self, now: Now, asked: bool, inputs: &Inputs, mut effects: Vec<Effect>) -> Vec<Effect> {
        if !asked {
            self.stage = Stage::Proving { asked: true };
            effects.extend(self.before.told().map(|text| Effect::Tell("before", text)));
            if self.before.watches() {
                effects.push(Effect::Measure);
            }
            let (before, probes) = (&self.before, self.probes.iter_mut().enumerate());
            for (_, probe) in probes.filter(|(index, probe)| probe.is_before() || before.asks(*index)) {
                probe.begin(now.mono);
            }
        }
        self.ask(&mut effects, |probe| probe.is_due_once(now.mono));
        self.before.look(now.mono, &inputs.figures);
        if self.probes.iter().any(Probe::is_pending) || !self.before.is_settled() {
            return effects;
        }
        let own =
            self.probes.iter().enumerate().filter(|(index, probe)| probe.is_before() && !self.before.asks(*index));
        let failed = own.filter_map(|(_, probe)| {
            let why = probe.first_failure.as_ref()?;
            Some(format!("probe `{}` failed: {why}", probe.spec.name))
        });
        let failures: Vec<String> = failed.chain(self.before.failures()).collect();
        if !failures.is_empty() {
            let reason = format!("steady state did not hold before anything was injected: {}", failures.join("; "));
            return self.end(Ending { cause: Cause::Unsteady, reason, at: now.mono }, effects);
        }
        self.stage = Stage::Acting;
        effects.push(Effect::Begin(self.steps.stop()));
        effects
    }

    fn act(&mut self, now: Now, inputs: &Inputs, mut effects: Vec<Effect>) -> Vec<Effect> {
        let Some(elapsed) = inputs.timeline.elapsed(now.mono) else { return effects };
        let stands = inputs.timeline.still.is_some();
        // while it stands too: the workers count on from the moment in which a person resumes, and not from the next look
        if stands || self.paused != inputs.timeline.paused {
            self.guards.iter_mut().for_each(|guard| guard.reset(now));
            self.ladders.count_anew();
        }
        self.paused = inputs.timeline.paused;
        let lived = inputs.timeline.lived(now.mono).unwrap_or(elapsed);
        let place = Place { elapsed, lived, ended: self.schedule.last_end.and_then(|end| self.lived_at(end, elapsed)) };
        self.look(now.mono, Some(place).filter(|_| !stands), &inputs.figures);
        let counted = self.counted(&inputs.figures);
        let scene = Scene { elapsed, unclean: None, counted: &counted, against: inputs.against.as_deref() };
        self.settle_guards(now);
        match self.heed(&scene, &mut effects) {
            Heeded::GoesOn => {}
            Heeded::Pauses => return effects,
            Heeded::Ends(ending) => return self.end(ending, effects),
        }
        if !stands && elapsed >= self.schedule.planned {
            self.tell_edges(self.schedule.planned, &mut effects);
            return self.wind_up(now, effects);
        }
        if now.mono >= inputs.limit {
            if self.schedule.last_end.is_none() && inputs.timeline.still.is_none() && inputs.timeline.paused == 0 {
                self.tell_edges(elapsed, &mut effects);
                return self.wind_up(now, effects); // without an end of its own it was planned to take that long
            }
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
        if let Heeded::Ends(ending) = self.watch(now, inputs, &scene, &mut effects) {
            return self.end(ending, effects);
        }
        let unclean = self.guards.iter().find(|guard| !guard.is_clean()).map(|guard| guard.name.as_str());
        tell_turns(self.ladders.look(&Scene { unclean, ..scene }), &mut effects);
        let any_open = self.schedule.any_open(elapsed);
        let opened = self.lived_at(self.schedule.first_open, elapsed).unwrap_or(Time::MAX);
        self.ask(&mut effects, |probe| probe.is_due(lived, any_open, opened));
        self.wait(now, inputs, &mut effects);
        effects
    }

    /// Where the timeline stands for a step: asks for it, and lets it go on once it is marked or its time is over.
    fn wait(&mut self, now: Now, inputs: &Inputs, effects: &mut Vec<Effect>) {
        let Some(waited) = inputs.timeline.standing(now.mono) else { return };
        for turn in self.steps.look(waited, inputs.marked.as_ref()) {
            match turn {
                Turn::Ask(spec) => {
                    let text = format!("step `{}` (up to {}): {}", spec.name, length(spec.within), spec.manual);
                    effects.extend([Effect::Ask(spec), Effect::Tell("step", text)]);
                }
                Turn::GoOn(next, text) => effects.extend([Effect::GoOn(next), Effect::Tell("step", text)]),
            }
        }
    }

    fn tell_edges(&mut self, elapsed: Time, effects: &mut Vec<Effect>) {
        for edge in self.schedule.edges(self.told, elapsed) {
            let name = self.faults.get(edge.fault).map_or("", String::as_str);
            let what = if edge.opened { "opens" } else { "closes" };
            effects.push(Effect::Tell("fault", format!("fault `{name}` {what} at {:.3} s", seconds(edge.at))));
        }
        self.told = Some(elapsed);
    }

    /// What each watch of a guard has counted, whatever the guard's own metric counts.
    fn counted(&self, figures: &[Option<Figures>]) -> Vec<u64> {
        let of = |watch: &usize| figures.get(*watch).and_then(Option::as_ref).map_or(0, Figures::counted);
        self.watched.iter().map(of).collect()
    }

    /// Guards that have made a ladder go down begin to judge the lower step.
    fn settle_guards(&mut self, now: Now) {
        for (guard, settling) in self.guards.iter_mut().zip(&mut self.settling) {
            if settling.is_some_and(|until| now.mono >= until) {
                guard.settle(now);
                *settling = None;
            }
        }
    }

    fn settles(&self, guard: usize) -> bool {
        self.settling.get(guard).is_some_and(Option::is_some)
    }

    /// Guards that have fired in the data path: the experiment may be off by now, and this is why.
    fn heed(&mut self, scene: &Scene<'_>, effects: &mut Vec<Effect>) -> Heeded {
        for index in 0..self.guards.len() {
            if self.settles(index) {
                continue;
            }
            let Some((text, at)) = self.guards.get_mut(index).and_then(Guard::tripped) else { continue };
            match self.fire(index, text, at, scene, effects) {
                Heeded::GoesOn => {}
                heeded => return heeded,
            }
        }
        Heeded::GoesOn
    }

    fn watch(&mut self, now: Now, inputs: &Inputs, scene: &Scene<'_>, effects: &mut Vec<Effect>) -> Heeded {
        for index in 0..self.guards.len() {
            if self.settles(index) {
                continue;
            }
            let Some(guard) = self.guards.get_mut(index) else { continue };
            let figures = inputs.figures.get(guard.watch).and_then(Option::as_ref);
            let fired = figures.and_then(|figures| guard.look(now, figures));
            effects.extend(guard.near().map(|text| Effect::Tell("near", text)));
            let Some(text) = fired else { continue };
            match self.fire(index, text, now.mono, scene, effects) {
                Heeded::GoesOn => {}
                heeded => return heeded,
            }
        }
        Heeded::GoesOn
    }

    /// A guard has fired, at `at`, monotonic ns.
    fn fire(&mut self, index: usize, text: String, at: Time, scene: &Scene<'_>, effects: &mut Vec<Effect>) -> Heeded {
        if self.observed {
            effects.push(Effect::Tell("guard", format!("would have fired: {text}")));
            return Heeded::GoesOn;
        }
        effects.push(Effect::Tell("guard", text.clone()));
        match self.guards.get(index).map(|guard| guard.action) {
            Some(GuardAction::Abort) => {
                self.refuting.push(text.clone());
                Heeded::Ends(Ending { cause: Cause::Guard, reason: text, at })
            }
            Some(GuardAction::Pause) => {
                self.ladders.hold_anew(scene.elapsed);
                effects.push(Effect::Pause(text));
                Heeded::Pauses
            }
            Some(GuardAction::StepDown) => self.step_down(index, text, at, scene, effects),
            Some(GuardAction::Alert) | None => Heeded::GoesOn,
        }
    }

    /// Every ladder goes down a step; where none can, the experiment ends.
    fn step_down(
        &mut self,
        guard: usize,
        text: String,
        at: Time,
        scene: &Scene<'_>,
        effects: &mut Vec<Effect>,
    ) -> Heeded {
        let turns = self.ladders.down(scene, &text);
        if turns.is_empty() {
            let reason = format!("{text}; no ladder can go down any further");
            self.refuting.push(reason.clone());
            return Heeded::Ends(Ending { cause: Cause::Guard, reason, at });
        }
        if let Some(settling) = self.settling.get_mut(guard) {
            *settling = Some(at.saturating_add(SETTLING));
        }
        tell_turns(turns, effects);
        Heeded::GoesOn
    }

    /// The planned end: faults are lifted, then the last checks run.
    fn wind_up(&mut self, now: Now, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.probes.iter_mut().for_each(|probe| probe.finish(now.mono));
        if !self.probes.iter().any(Probe::is_pending) {
            return self.end(planned(now), effects);
        }
        self.stage = Stage::Proved;
        effects.push(Effect::Lift);
        self.ask(&mut effects, |probe| probe.is_due_once(now.mono));
        effects
    }

    fn prove_last(&mut self, now: Now, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.ask(&mut effects, |probe| probe.is_due_once(now.mono));
        if self.probes.iter().any(Probe::is_pending) { effects } else { self.end(planned(now), effects) }
    }

    fn ask(&mut self, effects: &mut Vec<Effect>, mut wanted: impl FnMut(&mut Probe) -> bool) {
        for (index, probe) in self.probes.iter_mut().enumerate() {
            if wanted(probe) {
                effects.push(Effect::Check(index));
            }
        }
    }

    /// `place`: none while the timeline is paused or over.
    fn look(&mut self, now: Time, place: Option<Place>, figures: &[Option<Figures>]) {
        for (phases, figures) in self.phases.iter_mut().zip(figures) {
            if let Some(figures) = figures {
                phases.look(&self.schedule, place, now, figures);
            }
        }
    }

    fn end(&mut self, ending: Ending, mut effects: Vec<Effect>) -> Vec<Effect> {
        self.stage = Stage::Over;
        effects.push(Effect::End(ending));
        effects
    }

    /// Guards that fired while nothing acted; in words.
    pub(crate) fn would_have_fired(&self) -> Vec<String> {
        let fired = self.guards.iter().filter(|guard| guard.fired > 0);
        fired.map(|guard| format!("guard `{}` would have fired ({} times)", guard.name, guard.fired)).collect()
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

fn tell_turns(turns: Vec<Climb>, effects: &mut Vec<Effect>) {
    for Climb { fault, to, text } in turns {
        effects.extend(to.map(|(opened, step)| Effect::Climb { fault, opened, step }));
        effects.push(Effect::Tell("ladder", text));
    }
}

fn planned(now: Now) -> Ending {
    Ending { cause: Cause::Planned, reason: "it reached its planned end".into(), at: now.mono }
}
