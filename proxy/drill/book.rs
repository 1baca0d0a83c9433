//! The experiments that this process knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use squall_core::cell::Switch;
use squall_core::plan::TallyReading;
use squall_core::scenario::Checked;
use squall_core::time::{Now, Time};
use squall_core::who::Identity;

use crate::abort::Release;
use crate::approve::{Consents, Required};
use crate::compile::Actives;
use crate::marks::Marked;
use crate::report::Moment;
use crate::resident::Tenant;
use crate::run::{Ending, Timeline};
use crate::schedule::seconds;
use crate::steps::Waiting;
use crate::view::{ExperimentView, FaultView, LadderView, State, Verdict, WaitingView};

/// Experiments kept in memory; the oldest that are not under way are forgotten first.
const ROOM: usize = 256;
/// Moments that a run's report keeps.
const MOMENTS: usize = 1_000;

/// Experiments by arrival.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Vec<Arc<Entry>>,
    numbers: BTreeMap<String, u64>,
}

impl Book {
    /// An id that this process has not given yet.
    pub(crate) fn next_id(&mut self, name: &str) -> String {
        let number = self.numbers.entry(name.to_owned()).or_default();
        *number += 1;
        format!("{name}-{}", base36(*number))
    }

    /// Takes in a scenario; gives it, and the one that is forgotten for it, if any.
    pub(crate) fn add(
        &mut self,
        id: String,
        checked: Checked,
        seed: u64,
        by: Identity,
    ) -> (Arc<Entry>, Option<Arc<Entry>>) {
        let entry = Arc::new(Entry::new(id.into(), checked, seed, by));
        self.entries.push(entry.clone());
        if self.entries.len() > ROOM
            && let Some(oldest) = self.entries.iter().position(|entry| !entry.card().state.is_under_way())
        {
            return (entry, Some(self.entries.remove(oldest)));
        }
        (entry, None)
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries.iter().find(|entry| &*entry.id == id).cloned()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).unwrap_or(0)]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

/// One experiment.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Arc<str>,
    pub(crate) checked: Checked,
    pub(crate) seed: u64,
    switch: Mutex<Option<Arc<Switch>>>,
    ending: Mutex<Option<Ending>>,
    release: Mutex<Option<Arc<Release>>>,
    moments: Mutex<Vec<Moment>>,
    /// Faults that came while it ran.
    tenants: Mutex<Vec<Tenant>>,
    card: Mutex<Card>,
}

/// What changes about it. Locked for moments only.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) state: State,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) reason: Option<String>,
    pub(crate) timeline: Timeline,
    pub(crate) planned: Time,
    pub(crate) proxies: Vec<(String, String)>,
    pub(crate) actives: Actives,
    pub(crate) report: Option<Arc<(serde_json::Value, String)>>,
    /// Its faults only say what they would have done.
    pub(crate) observed: bool,
    /// As it stands since a fault was changed while it runs; none: none was.
    pub(crate) changed: Option<Arc<Checked>>,
    /// Where the ladders of its faults stand, by fault as in the scenario.
    pub(crate) ladders: Vec<Option<LadderView>>,
    /// The step that it waits for.
    pub(crate) waiting: Option<Waiting>,
    /// What people have said about it.
    pub(crate) marks: Vec<Marked>,
    /// When its first fault is to open, ns on the timeline.
    pub(crate) first_open: Time,
    /// Who has agreed to it.
    pub(crate) consents: Consents,
    /// Who has to.
    pub(crate) required: Required,
    opened: Option<Time>,
}

impl Card {
    /// Its age when the first fault opened, ns; none: none has. Looked at with every tick, before any wait ends.
    pub(crate) fn opened(&mut self, now: Time) -> Option<Time> {
        let elapsed = self.timeline.elapsed(now)?;
        if self.opened.is_none() && elapsed >= self.first_open {
            self.opened = Some(self.first_open.saturating_add(self.timeline.waited));
        }
        self.opened
    }
}

impl Entry {
    fn new(id: Arc<str>, checked: Checked, seed: u64, by: Identity) -> Entry {
        let card = Card {
            state: State::Draft,
            verdict: None,
            reason: None,
            timeline: Timeline::default(),
            planned: 0,
            proxies: Vec::new(),
            actives: Vec::new(),
            report: None,
            observed: false,
            changed: None,
            ladders: Vec::new(),
            waiting: None,
            marks: Vec::new(),
            first_open: 0,
            consents: Consents::new(by),
            required: Required::default(),
            opened: None,
        };
        let (switch, ending, release, moments, tenants) = Default::default();
        Entry { id, checked, seed, switch, ending, release, moments, tenants, card: Mutex::new(card) }
    }

    /// The canonical form of the scenario as it stands, with what was changed while it runs.
    pub(crate) fn canonical(&self) -> String {
        let changed = self.card().changed.clone();
        changed.map_or_else(|| self.checked.canonical.clone(), |changed| changed.canonical.clone())
    }

    pub(crate) fn card(&self) -> MutexGuard<'_, Card> {
        lock(&self.card)
    }

    pub(crate) fn switch(&self) -> Option<Arc<Switch>> {
        lock(&self.switch).clone()
    }

    pub(crate) fn set_switch(&self, switch: Option<Arc<Switch>>) {
        *lock(&self.switch) = switch;
    }

    /// Why it is to end, if somebody said so.
    pub(crate) fn ending(&self) -> Option<Ending> {
        lock(&self.ending).clone()
    }

    /// Says that it is to end, and how what it holds is let go. The first word counts; gives the release in force.
    pub(crate) fn end(&self, ending: Ending, release: &Arc<Release>) -> Arc<Release> {
        lock(&self.ending).get_or_insert(ending);
        lock(&self.release).get_or_insert_with(|| release.clone()).clone()
    }

    /// Keeps how what it holds is let go, unless that is known.
    pub(crate) fn lifted(&self, release: &Arc<Release>) {
        lock(&self.release).get_or_insert_with(|| release.clone());
    }

    pub(crate) fn release(&self) -> Option<Arc<Release>> {
        lock(&self.release).clone()
    }

    /// Keeps what happened for the report.
    pub(crate) fn note(&self, moment: Moment) {
        let mut moments = lock(&self.moments);
        if moments.len() < MOMENTS {
            moments.push(moment);
        }
    }

    /// Looks at, or changes, the faults that came while it ran.
    pub(crate) fn tenants<T>(&self, act: impl FnOnce(&mut Vec<Tenant>) -> T) -> T {
        act(&mut lock(&self.tenants))
    }

    /// Its start in words.
    pub(crate) fn told_start(&self) -> String {
        let does = if self.card().observed { "only observes" } else { "acts" };
        format!("it {does}; seed {}", self.seed)
    }

    /// What happened, in order.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        lock(&self.moments).clone()
    }

    /// Seconds on its timeline, once that has begun.
    pub(crate) fn elapsed(&self, now: Time) -> Option<f64> {
        self.card().timeline.elapsed(now).map(seconds)
    }

    pub(crate) fn view(&self, now: Now) -> ExperimentView {
        let card = self.card();
        let now_in_force = card.changed.as_deref().unwrap_or(&self.checked); // the same faults in the same order
        let faults = now_in_force.faults.iter().enumerate().map(|(n, spec)| {
            let actives = card.actives.get(n).map_or(&[][..], Vec::as_slice);
            FaultView {
                name: spec.name.clone(),
                kind: spec.kind.into(),
                summary: spec.summary.clone(),
                active: actives.iter().any(|active| active.phase(now).open_since.is_some()),
                tally: sum(actives.iter().map(|active| active.read())),
                ladder: card.ladders.get(n).cloned().flatten().map(|ladder| match card.state.is_over() {
                    true => LadderView { percentage: 0.0, waits: None, ..ladder },
                    false => ladder,
                }),
            }
        });
        let mut faults: Vec<FaultView> = faults.collect();
        self.tenants(|tenants| {
            faults.extend(tenants.iter().map(|Tenant { spec, active, gone }| FaultView {
                name: spec.name.clone(),
                kind: spec.kind.into(),
                summary: spec.summary.clone(),
                active: !gone && active.phase(now).open_since.is_some(),
                tally: active.read(),
                ladder: None,
            }));
        });
        ExperimentView {
            id: self.id.to_string(),
            name: self.checked.name.clone(),
            state: card.state,
            digest: self.checked.digest.clone(),
            seed: self.seed,
            verdict: card.verdict,
            reason: card.reason.clone(),
            elapsed: card.timeline.elapsed(now.mono).map_or(0.0, seconds),
            planned: seconds(card.planned),
            faults,
            proxies: card.proxies.clone(),
            observed: card.observed,
            waiting: card.waiting.as_ref().map(|waiting| WaitingView {
                step: waiting.spec.name.clone(),
                manual: waiting.spec.manual.clone(),
                within: seconds(waiting.spec.within),
                waited: card.timeline.standing(now.mono).map_or(0.0, seconds),
            }),
            consent: card.consents.view(&card.required),
            hypothesis: self.checked.hypothesis.clone(),
        }
    }
}

/// Tallies of several proxies or faults in one.
pub(crate) fn sum(tallies: impl Iterator<Item = TallyReading>) -> TallyReading {
    tallies.fold(TallyReading::default(), |a, b| TallyReading {
        eligible: a.eligible + b.eligible,
        selected: a.selected + b.selected,
        injected: a.injected + b.injected,
        affected: a.affected + b.affected,
        held: a.held + b.held,
        released: a.released + b.released,
        overflow: a.overflow + b.overflow,
        key_absent: a.key_absent + b.key_absent,
        reset_on_abort: a.reset_on_abort + b.reset_on_abort,
        amended: a.amended + b.amended,
        unrecorded: a.unrecorded + b.unrecorded,
        unread: a.unread + b.unread,
        dropped: a.dropped + b.dropped,
        forgotten: a.forgotten + b.forgotten,
        stuck: a.stuck + b.stuck,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
