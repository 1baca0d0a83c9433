//! A run on real clocks: armed, running, stopping, finished. The types allow no other order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use squall_core::cell::{Cell, Switch};
use squall_core::curve::Curve;
use squall_core::limits::Limits;
use squall_core::plane::Felt;
use squall_core::scenario::NONE_STATED;
use squall_core::select::{Count, Key};
use squall_core::time::{NEVER, Now, Time};
use squall_core::tripwire::{Event, Tripwire};

use crate::abort::{Release, released, waiting};
use crate::arm::Resolved;
use crate::audit::{Act, END, START};
use crate::book::{Entry, sum};
use crate::bring::Brought;
use crate::compile::{Actives, Identity, Looks};
use crate::engine::{Inner, Keep};
use crate::evidence::{Evidence, Note};
use crate::guard::wire::Laying;
use crate::lease;
use crate::metrics::{Figures, Watch};
use crate::probe::{self, Found};
use crate::report::{self, Story};
use crate::residue::{self, Residue};
use crate::run::{Effect, Ending, Inputs, Run};
use crate::stamp::Anchor;
use crate::steps::Waiting;
use crate::verdict::{Cause, Facts, Hits, verdict};
use crate::view::{Refusal, State};

/// How often a wait looks, and for how long in all it waits for the last byte and for the ledger.
const NAP: Duration = Duration::from_millis(1);
const FIRST_WAIT: u32 = 100;
const DRAIN_WAIT: u32 = 10_000;
const LEDGER_WAIT: u32 = 1_000;

/// Resolved, and nothing in the way.
pub(crate) struct Armed {
    pub(crate) entry: Arc<Entry>,
    pub(crate) resolved: Resolved,
    pub(crate) keep: Keep,
}

/// Under way. Whatever becomes of it, once it is dropped its faults are off for good.
pub(crate) struct Running {
    _off: Off,
    entry: Arc<Entry>,
    resolved: Resolved,
    run: Run,
    brought: Brought,
    actives: Actives,
    looks: Looks,
    evidence: Arc<Evidence>,
    anchor: Anchor,
    began: String,
    found: (SyncSender<Found>, Receiver<Found>),
    /// What probes may reach.
    limits: Arc<Limits>,
}

/// Ends an experiment when it is dropped: an engine that falls over its own bug leaves nothing on.
struct Off {
    cell: Arc<Cell>,
    switch: Arc<Switch>,
}

impl Drop for Off {
    fn drop(&mut self) {
        self.switch.end();
        self.cell.ring();
    }
}

/// Its faults are off; what it brought is being closed.
pub(crate) struct Stopping {
    running: Running,
    ending: Ending,
}

impl Armed {
    /// Brings what the scenario brings and starts it. On an error everything is as it was.
    pub(crate) fn start(self, inner: &Inner) -> Result<Running, Refusal> {
        let Armed { entry, resolved, keep } = self;
        let cell = inner.plane.cell();
        let switch = cell.switch();
        entry.set_switch(Some(switch.clone()));
        // engaged before it shuts everything off: whoever is not shut off sees it here
        if let Some(why) = inner.lever.engaged() {
            return Err(Refusal::Lever(why));
        }
        let wires = lay(inner, &entry, &resolved, &switch);
        let feels = |workload| felt(inner, &resolved, &wires, workload);
        let brought = Brought::bring(&inner.plane, &*inner.stand, &entry.checked, entry.seed, feels);
        let brought = brought.map_err(|why| Refusal::NotArmed(vec![why]))?;
        let proxies = resolved.watches.iter().flat_map(|watch| &watch.proxies);
        if let Some(dark) = proxies.into_iter().find(|proxy| inner.plane.reading(proxy).is_none()) {
            return Err(Refusal::NotArmed(vec![format!("the figures of proxy `{dark}` can't be read")]));
        }
        let now = inner.now();
        if let Some(ending) = entry.ending() {
            return Err(Refusal::State(ending.reason));
        }
        let limits = Limits::new(&inner.safety).map_err(|why| Refusal::NotArmed(vec![why]))?;
        let anchor = Anchor::now(&*inner.plane);
        let began = anchor.show(now.mono);
        let kept = inner.store.begin(&entry.id, &entry.checked.canonical, &report::card(&entry, &began, None));
        kept.map_err(|why| Refusal::NotArmed(vec![why]))?;
        lease::grant(&switch, keep, now, inner.safety.lease);
        let observed = entry.card().observed;
        let off = Off { cell: cell.clone(), switch: switch.clone() };
        let who = Identity { id: entry.id.clone(), seed: entry.seed, switch, observed };
        let actives = inner.compiler().compile(&who, &entry.checked, &resolved.targets);
        {
            let mut card = entry.card();
            card.actives = actives.clone();
            card.planned = resolved.schedule.planned;
            card.first_open = resolved.schedule.first_open;
            card.proxies = brought.proxies.iter().map(|info| (info.spec.name.clone(), info.listen.clone())).collect();
        }
        let evidence = Arc::new(Evidence::new(anchor, &actives, observed));
        inner.runs.insert(entry.id.clone(), evidence.clone());
        let mut run = Run::new(&entry.checked, resolved.schedule.clone(), &resolved.watching, observed);
        let looks = Looks { turns: resolved.turns.clone(), guards: run.lay(&wires, &resolved.watching) };
        let found = sync_channel(entry.checked.probes.len().max(1));
        inner.audit.write(start_of(&entry)).map_err(|why| {
            inner.runs.remove(&entry.id);
            inner.store.take_back(&entry.id);
            Refusal::NotArmed(vec![why])
        })?;
        Ok(Running {
            _off: off,
            entry,
            resolved,
            run,
            brought,
            actives,
            looks,
            evidence,
            anchor,
            began,
            found,
            limits: Arc::new(limits),
        })
    }
}

impl Running {
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// One look at everything; gives why it ends, once it does. Takes no lock for longer than a moment.
    pub(crate) fn tick(&mut self, inner: &Inner) -> Option<Ending> {
        let now = inner.now();
        let inputs = self.inputs(inner, now);
        for effect in self.run.tick(now, &inputs) {
            match effect {
                Effect::Measure => self.measure(inner),
                Effect::Begin(stop) => self.begin(inner, stop),
                Effect::Ask(spec) => self.entry.card().waiting = Some(Waiting { spec, mark: None }),
                Effect::GoOn(next) => self.go_on(inner, next),
                Effect::Climb { fault, opened, step } => self.climb(inner, fault, opened, step),
                Effect::Pause(why) => {
                    let _ = inner.pause(&self.entry, Some(why)); // a person was faster
                }
                Effect::Check(probe) => self.check(inner, probe),
                Effect::Tell(kind, text) => inner.tell(&self.entry, kind, text),
                Effect::Lift => self.lift(inner),
                Effect::End(ending) => {
                    self.lift(inner);
                    return Some(ending);
                }
            }
        }
        self.show_ladders(now);
        None
    }

    /// From here on its faults are off for good.
    pub(crate) fn end(self, inner: &Inner, ending: Ending) -> Stopping {
        self.lift(inner);
        if let Some(release) = self.entry.release() {
            self.entry.end(ending.clone(), &release);
        }
        {
            let mut card = self.entry.card();
            card.timeline.still.get_or_insert(ending.at);
            card.state = State::Stopping;
            card.reason = Some(ending.reason.clone());
        }
        inner.tell(&self.entry, "state", format!("stopping: {}", ending.reason));
        Stopping { running: self, ending }
    }

    fn inputs(&self, inner: &Inner, now: Now) -> Inputs {
        let switch = self.entry.switch();
        let is_on = switch.as_ref().is_some_and(|switch| switch.is_on(now)); // before asking what may have ended it
        let (timeline, marked) = {
            let mut card = self.entry.card();
            card.opened(now.mono);
            (card.timeline, card.waiting.as_ref().and_then(|waiting| waiting.mark.clone()))
        };
        Inputs {
            timeline,
            marked,
            figures: self.figures(inner),
            found: self.found.1.try_iter().collect(),
            ended: self.entry.ending().or_else(|| self.fallen(now)).or_else(|| unwitnessed(inner, now)),
            is_on,
            against: self.against_more(inner),
            lease: switch.as_ref().map_or(NEVER, |switch| switch.lease()),
            limit: switch.as_ref().map_or(NEVER, |switch| switch.limit()),
        }
    }

    /// Why nothing may be exposed more than it is, if anything could be.
    fn against_more(&self, inner: &Inner) -> Option<String> {
        if self.run.ladders.is_empty() {
            return None;
        }
        inner.may_expose().err().map(|refusal| refusal.to_string())
    }

    /// A fault has panicked on a connection: its experiment is off since, and is not to go on.
    fn fallen(&self, now: Now) -> Option<Ending> {
        let tenants = self.entry.tenants(|tenants| tenants.clone());
        let mut actives = self.actives.iter().flatten().chain(tenants.iter().map(|tenant| &tenant.active));
        let fallen = actives.find(|active| active.tally.panicked.load(Ordering::Acquire) > 0)?;
        let reason = format!(
            "fault `{}` failed on a connection of `{}` (a bug); everything it did is lifted",
            fallen.name.fault, fallen.name.proxy
        );
        Some(Ending { cause: Cause::Failure, reason, at: now.mono })
    }

    fn figures(&self, inner: &Inner) -> Vec<Option<Figures>> {
        let workloads = self.brought.readings();
        let of = |watch: &Watch| {
            let mut figures = Figures::default();
            watch.workloads.iter().filter_map(|n| workloads.get(*n)).for_each(|reading| figures.workload(reading));
            for proxy in &watch.proxies {
                figures.proxy(&inner.plane.reading(proxy)?, watch.workloads.is_empty());
            }
            Some(figures)
        };
        self.resolved.watches.iter().map(of).collect()
    }

    /// Has turns measured where somebody reads them, before any fault is in the plan.
    fn measure(&self, inner: &Inner) {
        let looks = Looks { turns: self.looks.turns.clone(), guards: Vec::new() };
        inner.compiler().add(inner.plane.cell(), &self.entry.id, &Actives::new(), looks);
    }

    /// Lets the timeline go on after a step, for card and switch at the same moment.
    fn go_on(&self, inner: &Inner, next: Option<Time>) {
        let Some(switch) = self.entry.switch() else { return };
        {
            let mut card = self.entry.card();
            let now = card.timeline.still.unwrap_or_else(|| inner.now().mono);
            if let Some(stood) = switch.go_on(now, next.unwrap_or(NEVER)) {
                card.timeline.go_on(stood, next);
            }
            card.waiting = None;
        }
        inner.plane.cell().ring();
    }

    fn show_ladders(&self, now: Now) {
        let ladders = &self.run.ladders;
        if ladders.is_empty() {
            return;
        }
        let mut card = self.entry.card();
        let Some(elapsed) = card.timeline.elapsed(now.mono) else { return };
        card.ladders = (0..self.entry.checked.faults.len()).map(|fault| ladders.view(fault, elapsed)).collect();
    }

    /// Puts a ladder on another step: the workers look at it with their next selection.
    fn climb(&self, inner: &Inner, fault: usize, opened: Time, step: usize) {
        let ladder = self.actives.get(fault).and_then(|actives| actives.first()?.select.ladder.clone());
        if let Some(ladder) = ladder {
            ladder.set(opened, step);
            inner.plane.cell().ring();
        }
    }

    /// Switch first, then the plan: the workers learn of both with one bell.
    fn begin(&self, inner: &Inner, stop: Option<Time>) {
        let Some(switch) = self.entry.switch() else { return };
        let origin = inner.now().mono;
        {
            let mut card = self.entry.card();
            card.timeline.origin = Some(origin);
            card.timeline.stop = stop;
            card.state = State::Running;
        }
        if let Some(limit) = self.resolved.limit {
            switch.set_limit(origin.saturating_add(limit));
        }
        switch.stop_at(stop.unwrap_or(NEVER));
        switch.start(origin);
        inner.compiler().add(inner.plane.cell(), &self.entry.id, &self.actives, self.looks.clone());
        inner.tell(&self.entry, "state", "running".into());
    }

    fn check(&self, inner: &Inner, probe: usize) {
        let Some(asked) = self.run.probes.get(probe) else { return };
        let (check, timeout, to) = (asked.question(), asked.spec.timeout, self.found.0.clone());
        let limits = self.limits.clone();
        inner.runtime.spawn(async move {
            let passed = probe::check(&check, timeout, &limits).await;
            let _ = to.try_send(Found { probe, passed }); // one check per probe is out: there is room
        });
    }

    /// Off for good, and out of the plan. Does nothing the second time.
    fn lift(&self, inner: &Inner) {
        let Some(switch) = self.entry.switch() else { return };
        let asked = inner.now().mono;
        let cell = inner.plane.cell();
        let before = released(cell);
        switch.end();
        let stopped = inner.now().mono;
        let mut compiler = inner.compiler();
        if !compiler.holds(&self.entry.id) && self.entry.release().is_some() {
            return;
        }
        let epoch = compiler.remove(cell, &self.entry.id);
        drop(compiler);
        self.entry.lifted(&Release::new(cell, (asked, stopped), epoch, before, waiting(&self.actives)));
    }
}

/// The guards of a run in the data path, one for each that the workers can decide.
fn lay(inner: &Inner, entry: &Entry, resolved: &Resolved, switch: &Arc<Switch>) -> Vec<Option<Arc<Tripwire>>> {
    let wake = inner.wake.clone();
    let laying = Laying {
        switch,
        from: resolved.schedule.first_open,
        observed: entry.card().observed,
        bell: Arc::new(move || wake.notify_one()),
        lanes: inner.plane.cell().shards().len().max(entry.checked.workloads.len()),
    };
    let guards = entry.checked.guards.iter().zip(&resolved.watching.wirings);
    guards.map(|(spec, wiring)| wiring.as_ref().map(|wiring| laying.lay(spec, wiring))).collect()
}

/// Tells the guards that look at it what a workload feels; none: no guard does.
fn felt(inner: &Inner, resolved: &Resolved, wires: &[Option<Arc<Tripwire>>], workload: usize) -> Option<Felt> {
    let wires = wires.iter().zip(&resolved.watching.wirings);
    let looking =
        wires.filter(|(_, wiring)| wiring.as_ref().is_some_and(|wiring| wiring.workloads.contains(&workload)));
    let looking: Vec<Arc<Tripwire>> = looking.filter_map(|(wire, _)| wire.clone()).collect();
    let clock = inner.plane.clock().clone();
    let told = move |events: &[Event]| {
        let now = clock.now();
        for wire in &looking {
            events.iter().for_each(|event| wire.count(workload, *event, now));
        }
    };
    let any = resolved.watching.wirings.iter().flatten().any(|wiring| wiring.workloads.contains(&workload));
    any.then(|| Arc::new(told) as Felt)
}

/// The record of a start, by whoever starts it.
fn start_of(entry: &Entry) -> Act {
    let starter = entry.card().consents.started.clone();
    let told = entry.told_start();
    let act = match &starter {
        Some(starter) => Act::by(starter, START, Some(&entry.id), told),
        None => Act::own(START, Some(&entry.id), told),
    };
    act.plan(&entry.checked.digest)
}

/// What nobody would know of ends.
fn unwitnessed(inner: &Inner, now: Now) -> Option<Ending> {
    let reason = format!("aborted: {}", inner.audit.failure()?);
    Some(Ending { cause: Cause::Audit, reason, at: now.mono })
}

impl Stopping {
    /// Closes what it brought, waits for what is under way, and reports. Takes seconds at worst; runs on a thread of its
    /// own.
    pub(crate) fn finish(mut self, inner: &Inner) {
        self.drain(FIRST_WAIT);
        self.running.brought.finish();
        let is_drained = self.drain(DRAIN_WAIT);
        self.tell_drained(inner, is_drained);
        let running = &mut self.running;
        let (now, figures) = (inner.now(), running.figures(inner));
        running.run.settle(self.ending.at, &figures);
        self.wait_for_ledger(inner);
        let residue = self.residue(inner);
        inner.tell(&self.running.entry, "residue", residue.text.clone());
        let mut story = self.story(inner, now, residue);
        let outcome = format!("{}: {}; {}", story.state.word(), story.verdict.word(), story.reason);
        let end = Act::own(END, Some(&story.entry.id), outcome).plan(&story.entry.checked.digest);
        story.audit = inner.audit.write(end).map(|()| inner.audit.checkpoint());
        let (report, text) = (story.json(), story.markdown());
        let Stopping { running, .. } = self;
        let Running { entry, brought, began, .. } = running;
        drop(brought);
        let state = story.state;
        let verdict = story.verdict;
        let run = report::card(&entry, &began, Some((state, verdict, &story.reason, &story.ended)));
        inner.store.finish(&entry.id, &run, &report, &text);
        {
            let mut card = entry.card();
            card.state = state;
            card.verdict = Some(verdict);
            card.reason = Some(story.reason);
            card.report = Some(Arc::new((report, text)));
        }
        inner.tell(&entry, "state", format!("{}: {}", state.word(), verdict.word()));
    }

    /// Waits until the last byte of what was held is written, `naps` at most.
    fn drain(&self, naps: u32) -> bool {
        let Some(release) = self.running.entry.release() else { return true };
        (0..naps).any(|_| {
            let done = release.look();
            if !done {
                std::thread::sleep(NAP);
            }
            done
        })
    }

    fn tell_drained(&self, inner: &Inner, is_drained: bool) {
        let Some(release) = self.running.entry.release() else { return };
        let figures = release.report(Vec::new());
        let text = match (is_drained, figures.drained_us) {
            (true, _) if figures.released == 0 => "nothing was held".into(),
            (true, Some(drained)) => format!("{} let go, the last byte written after {drained} us", figures.released),
            _ => format!("{} let go; after 10 s something is still being written", figures.released),
        };
        inner.tell(&self.running.entry, "drained", text);
    }

    /// Until every record that was counted has come in, or is known to be lost.
    fn wait_for_ledger(&self, inner: &Inner) {
        for _ in 0..LEDGER_WAIT {
            let (tally, seen) = (self.tally(), self.running.evidence.seen());
            if seen.saturating_add(tally.unrecorded) >= tally.injected.saturating_add(tally.amended) {
                break;
            }
            std::thread::sleep(NAP);
        }
        let (done, closed) = sync_channel(1);
        if inner.events.notes().try_send(Note::Close(self.running.entry.id.clone(), done)).is_ok() {
            let _ = closed.recv_timeout(NAP * LEDGER_WAIT);
        }
        // what is told of it from here on opens its files for a moment only
        inner.runs.remove(&self.running.entry.id);
    }

    fn tally(&self) -> squall_core::plan::TallyReading {
        let tenants = self.running.entry.tenants(|tenants| tenants.clone());
        let actives = self.running.actives.iter().flatten().chain(tenants.iter().map(|tenant| &tenant.active));
        sum(actives.map(|active| active.read()))
    }

    /// What is left of it.
    fn residue(&self, inner: &Inner) -> Residue {
        let entry = &self.running.entry;
        let tenants = entry.tenants(|tenants| tenants.clone());
        let actives = self.running.actives.iter().flatten().map(|active| &*active.name.proxy);
        let mut proxies: Vec<&str> = actives.chain(tenants.iter().map(|tenant| &*tenant.active.name.proxy)).collect();
        proxies.sort_unstable();
        proxies.dedup();
        let confirmed = entry.release().is_none_or(|release| release.report(Vec::new()).permitted_us.is_some());
        residue::check(&*inner.plane, &entry.id, &proxies, self.tally().held, confirmed)
    }

    fn story(&self, inner: &Inner, now: Now, residue: Residue) -> Story {
        let Stopping { running, ending } = self;
        let entry = &running.entry;
        let timeline = entry.card().timeline;
        let elapsed = timeline.elapsed(now.mono).unwrap_or(0);
        let expects = running.run.judge(elapsed);
        let facts = self.facts(elapsed, expects.iter().map(|(_, _, outcome)| outcome.clone()).collect());
        let (verdict, why) = verdict(&facts);
        let held = residue.held;
        let state = match ending.cause {
            _ if held > 0 => State::Failed,
            Cause::Planned => State::Completed,
            Cause::Failure => State::Failed,
            _ if timeline.origin.is_none() => State::Cancelled,
            _ => State::Stopped,
        };
        let reason = match held {
            0 => ending.reason.clone(),
            held => format!("{}; {held} units are still held", ending.reason),
        };
        Story {
            state,
            verdict,
            why,
            reason,
            environment: inner.environment.clone(),
            began: running.began.clone(),
            ended: running.anchor.show(ending.at),
            elapsed,
            paused: timeline.paused,
            waited: timeline.waited,
            planned: running.resolved.schedule.planned,
            faults: report::faults(entry, &running.actives, &running.evidence, &running.run),
            expects: report::expects(&running.run, &running.resolved.watches, &expects),
            forecast: report::forecast(&entry.checked, &running.run, running.resolved.forecast),
            people: report::people(&running.run, entry),
            before: running.run.before.story(&running.resolved.watches),
            guards: report::guards(&running.run, &running.resolved.watches),
            probes: report::probes(&running.run),
            services: report::services(&entry.checked, &running.brought.service_readings()),
            workloads: report::workloads(&entry.checked, &running.brought.readings()),
            moments: entry.moments(),
            release: entry.release().map(|release| release.report(Vec::new())),
            ledger: report::ledger(&running.evidence, &self.tally()),
            audit: Ok(None),
            residue,
            entry: entry.clone(),
        }
    }

    fn facts(&self, elapsed: u64, expects: Vec<crate::verdict::Outcome>) -> Facts {
        let Stopping { running, ending } = self;
        let faults = running.entry.checked.faults.iter().enumerate();
        let hits = faults.map(|(n, spec)| Hits {
            fault: spec.name.clone(),
            hits: sum(running.actives[n].iter().map(|active| active.read())).injected,
            min_hits: spec.min_hits,
            passed: running.run.schedule.passed(n, elapsed),
        });
        let probes = running.run.probes.iter().filter_map(|probe| {
            let why = probe.first_failure.as_ref().filter(|_| probe.has_failed())?;
            Some(format!("probe `{}` failed {} of {} times: {why}", probe.spec.name, probe.counted, probe.runs))
        });
        Facts {
            cause: ending.cause,
            reason: ending.reason.clone(),
            hits: hits.collect(),
            inaccurate: running.evidence.inaccurate().into_iter().chain(self.stuck()).collect(),
            mismatched: self.mismatched(),
            missing: running.run.missing.clone(),
            guards: running.run.refuting.clone(),
            probes: probes.collect(),
            expects,
            stated: running.entry.checked.hypothesis.as_deref().is_some_and(|text| text != NONE_STATED),
            observed: running.entry.card().observed.then(|| running.run.would_have_fired()),
        }
    }

    /// Faults that were passed over because they did not get on.
    fn stuck(&self) -> impl Iterator<Item = String> {
        let faults = self.running.entry.checked.faults.iter().zip(&self.running.actives);
        faults.filter_map(|(spec, actives)| {
            let stuck = sum(actives.iter().map(|active| active.read())).stuck;
            (stuck > 0).then(|| format!("fault `{}` got stuck {stuck} times and was passed over (a bug)", spec.name))
        })
    }

    /// Faults that selected another share of the units than they were told to.
    fn mismatched(&self) -> Vec<String> {
        let changed = self.running.entry.card().changed.clone();
        let faults = self.running.entry.checked.faults.iter().zip(&self.running.actives);
        let judge = faults.filter_map(|(spec, actives)| {
            let Curve::Constant(percentage) = spec.percentage else { return None };
            let is_constant = changed.as_ref().is_none_or(|checked| {
                checked.faults.iter().any(|now| now.name == spec.name && now.percentage == spec.percentage)
            });
            if !is_constant || spec.count != Count::All || spec.key != Key::Ordinal {
                return None;
            }
            let tally = sum(actives.iter().map(|active| active.read()));
            let selected = tally.selected + tally.overflow;
            let off = crate::verdict::is_mismatch(tally.eligible, selected, percentage / 100.0);
            off.then(|| {
                let (name, eligible) = (&spec.name, tally.eligible);
                format!("fault `{name}` selected {selected} of {eligible}, which {percentage} % does not explain (p < 0.001)")
            })
        });
        judge.collect()
    }
}
