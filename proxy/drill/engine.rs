//! The engine that runs experiments.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use squall_core::config::Safety;
use squall_core::curve::Curve;
use squall_core::observe::Record;
use squall_core::plane::{DataPlane, ProxyInfo, Stand};
use squall_core::scenario::{Checked, FaultSpec};
use squall_core::time::{Now, Time};
use squall_core::who::Identity;
use tokio::sync::{Notify, broadcast};

use crate::abort::{Release, released, waiting};
use crate::approve::{self, Approving, Rejection, Required};
use crate::arm::{self, Ground, Resolved};
use crate::audit::{Act, Audit, END};
use crate::book::{Book, Entry};
use crate::compile::Compiler;
use crate::drafts::{Drafts, Kept};
use crate::events::Events;
use crate::evidence::{self, Runs};
use crate::lease;
use crate::lever::Lever;
use crate::live::{Armed, Running};
use crate::notify::{self, Webhook};
use crate::place;
use crate::report::Moment;
use crate::resident::{self, Resident};
use crate::residue;
use crate::run::Ending;
use crate::stamp::rfc3339;
use crate::store::Store;
use crate::verdict::Cause;
use crate::view::{AbortReport, Event, ExperimentView, LeverView, Mark, MarkKind, Marked, Refusal, State, Verdict};

pub use crate::abort::Aborting;

/// How often the engine looks at its runs.
const TICK: Duration = Duration::from_millis(50);
/// How often a caller that waits for an abort looks.
const LOOK: Duration = Duration::from_micros(200);
/// How often the end of the program looks whether runs are closed.
const NAP: Duration = Duration::from_millis(2);
/// Events and ends that may wait for the writing thread.
const NOTES: usize = 4096;

/// What the engine is made from.
pub struct Setup {
    /// The data plane.
    pub plane: Arc<dyn DataPlane>,
    /// Test doubles and load.
    pub stand: Arc<dyn Stand>,
    /// The reading end of the ledger.
    pub ledger: Receiver<Vec<Record>>,
    /// What this host is.
    pub environment: String,
    /// Limits.
    pub safety: Safety,
    /// Where runs are kept; each gets `runs/<id>/` with scenario.json, run.json, ledger.jsonl, events.jsonl, report.json,
    /// report.md. The lever is there too.
    pub state: PathBuf,
    /// Who did what.
    pub audit: Audit,
}

/// Who starts an experiment and what keeps it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It lives while its starter renews the lease.
    Lease,
    /// Nobody renews it: it ends after this.
    Detached(Duration),
    /// The starter is this very process (`squall drill`).
    Owned,
}

/// The engine. Cheap to clone; all methods may be called from any thread and return soon unless they say otherwise. When
/// the last one is dropped, every experiment ends.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    /// Dropped with the last engine, before the runs that hold the rest.
    alive: Arc<Alive>,
}

/// What the engine's threads and its callers share. No lock in it is held across I/O but `starting`, which no abort takes.
pub(crate) struct Inner {
    pub(crate) plane: Arc<dyn DataPlane>,
    pub(crate) stand: Arc<dyn Stand>,
    pub(crate) environment: String,
    pub(crate) safety: Safety,
    pub(crate) store: Store,
    pub(crate) audit: Audit,
    pub(crate) lever: Lever,
    drafts: Drafts,
    pub(crate) events: Events,
    pub(crate) runs: Runs,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Says where what runs is not what its configuration says.
    drift: OnceLock<Box<DriftOf>>,
    book: Mutex<Book>,
    compiler: Mutex<Compiler>,
    starting: Mutex<()>,
    started: Mutex<Vec<Running>>,
    pub(crate) wake: Arc<Notify>,
}

type DriftOf = dyn Fn(&[ProxyInfo]) -> Vec<String> + Send + Sync;

struct Alive(Arc<Inner>);

impl Drop for Alive {
    fn drop(&mut self) {
        let under_way: Vec<Arc<Entry>> = lock(&self.0.book).iter().cloned().collect();
        under_way.iter().filter_map(|entry| entry.switch()).for_each(|switch| switch.end());
        self.0.plane.cell().ring();
    }
}

impl Engine {
    /// Starts the engine's thread and the one that writes the ledger. Runs that an earlier process left unfinished in the
    /// state directory are closed, never resumed. Errors: the system gives no thread.
    pub fn new(setup: Setup) -> io::Result<Engine> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let engine = Engine::with_runtime(setup, runtime.handle().clone())?;
        let (inner, alive) = (engine.inner.clone(), Arc::downgrade(&engine.alive));
        std::thread::Builder::new()
            .name("squall-engine".into())
            .spawn(move || runtime.block_on(drive(inner, alive)))?;
        Ok(engine)
    }

    /// An engine without a thread of its own: its owner drives it.
    pub(crate) fn with_runtime(setup: Setup, runtime: tokio::runtime::Handle) -> io::Result<Engine> {
        let store = Store::open(&setup.state, &rfc3339(setup.plane.clock().wall(), 3));
        Engine::with_store(setup, store, runtime)
    }

    /// The same with runs kept elsewhere.
    pub(crate) fn with_store(setup: Setup, store: Store, runtime: tokio::runtime::Handle) -> io::Result<Engine> {
        let Setup { plane, stand, ledger, environment, safety, state, audit } = setup;
        let (notes, noted) = sync_channel(NOTES);
        let inner = Arc::new(Inner {
            compiler: Mutex::new(Compiler::new(safety.max_active_faults)),
            plane,
            stand,
            environment,
            safety,
            store: store.clone(),
            audit,
            lever: Lever::open(&state),
            drafts: Drafts::of(&state),
            events: Events::new(notes),
            runs: Runs::default(),
            runtime,
            drift: OnceLock::new(),
            book: Mutex::default(),
            starting: Mutex::default(),
            started: Mutex::default(),
            wake: Arc::default(),
        });
        let weak = Arc::downgrade(&inner);
        std::thread::Builder::new().name("squall-ledger".into()).spawn(move || {
            yield_to_traffic();
            evidence::write(&store, &ledger, &noted, |id| weak.upgrade()?.runs.find(id));
        })?;
        let alive = Arc::new(Alive(inner.clone()));
        Ok(Engine { inner, alive })
    }

    /// Takes in again what waited for approvals when an earlier process ended, with those that it had. `read`: checks a
    /// scenario in its canonical form as one that is handed in. What can't be what it was any more is dropped, and told.
    /// Once, before anybody is served.
    pub fn restore(&self, read: impl Fn(&str) -> Result<Checked, String>) {
        let inner = &self.inner;
        for kept in inner.drafts.all() {
            let read = read(&kept.scenario).and_then(|checked| match checked.digest == kept.digest {
                true => Ok(checked),
                false => Err("its content is not what its digest says".into()),
            });
            match read {
                _ if inner.store.has_begun(&kept.id) => inner.drafts.forget(&kept.id),
                Ok(checked) => inner.take_back_in(checked, kept),
                Err(why) => {
                    inner.drafts.forget(&kept.id);
                    self.tell("state", &format!("`{}` waited for approvals and is dropped: {why}", kept.id));
                }
            }
        }
    }

    /// Takes in a checked scenario: draft, and approved where no approval is required. A draft is kept over restarts.
    /// Errors: it can't be kept.
    pub fn submit(&self, scenario: Checked, by: &Identity) -> Result<ExperimentView, Refusal> {
        let inner = &self.inner;
        let seed = scenario.seed.unwrap_or_else(drawn_seed);
        let required = Required::of(&scenario, &inner.environment, &inner.safety);
        let id = inner.free_id(&scenario.name);
        let entry = inner.enter(id, scenario, seed, by.clone());
        entry.card().required.clone_from(&required);
        if !required.is_nothing() {
            let kept = Kept::of(&entry, &entry.card().consents);
            inner.drafts.keep(&kept).map_err(|why| {
                inner.cancel(&entry, &why);
                Refusal::State(why)
            })?;
        }
        inner.tell(&entry, "state", format!("draft, handed in by {}", by.name));
        if required.is_nothing() {
            entry.card().state = State::Approved;
            inner.tell(&entry, "state", "approved: none is required".into());
        }
        Ok(entry.view(inner.now()))
    }

    /// Arms and starts it. Opens listeners and starts services, so it may take a moment. Errors: everything that is in
    /// the way at once; then nothing has changed.
    pub fn start(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal> {
        self.begin(id, keep, false, by)
    }

    /// Does everything that [`Engine::start`] does but act: the same matching and draws on live traffic, on record as what
    /// would have been injected, and guards that only say what they would have done. Needs no approval unless the scenario
    /// brings load.
    pub fn observe(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal> {
        self.begin(id, keep, true, by)
    }

    /// Whether it may be started like that, now: nothing is armed and nothing opened. Errors: everything that is in the way.
    pub fn check(&self, id: &str, keep: Keep, observed: bool, by: &Identity) -> Result<ExperimentView, Refusal> {
        let inner = &self.inner;
        let approved = inner.approved(inner.find(id)?, keep, observed, by)?;
        Ok(approved.entry.view(inner.now()))
    }

    fn begin(&self, id: &str, keep: Keep, observed: bool, by: &Identity) -> Result<ExperimentView, Refusal> {
        let inner = &self.inner;
        let entry = inner.find(id)?;
        let _one_at_a_time = lock(&inner.starting);
        let armed = Engine::arm(inner, inner.approved(entry.clone(), keep, observed, by)?)?;
        entry.card().consents.started = Some(by.clone());
        let mut running = armed.start(inner).inspect_err(|_| inner.disarm(&entry))?;
        inner.drafts.forget(&entry.id);
        match running.tick(inner) {
            None => {
                if let Some(switch) = entry.switch().filter(|_| keep == Keep::Lease) {
                    lease::renew(&switch, inner.now(), inner.safety.lease); // counted from the answer, not from the bind
                }
                lock(&inner.started).push(running);
            }
            Some(ending) => inner.stop(running, ending),
        }
        inner.wake.notify_one();
        Ok(entry.view(inner.now()))
    }

    /// Starts an experiment without a timeline; its faults come one by one. With `lease` (ns) it lives only while it is
    /// renewed. It needs nothing that a scenario needs, and no approval; but in production nothing of this kind may run.
    ///
    /// # Errors
    /// What is in the way, such as an address of `must_not_reach` that answers.
    pub fn resident(&self, name: &str, seed: Option<u64>, lease: Option<Time>) -> Result<Resident, Refusal> {
        let inner = &self.inner;
        let mut checked = resident::scenario(name, "faults set one by one by a client");
        if inner.environment == "production" {
            checked.environments = vec!["any but production".into()];
        }
        if let Some(floor) = inner.floor().filter(|_| inner.environment != "production") {
            let why = format!("here everything needs {floor}, and what clients set one by one can't be approved");
            return Err(Refusal::NotArmed(vec![why]));
        }
        let id = inner.free_id(name);
        let entry = inner.enter(id, checked, seed.unwrap_or_else(drawn_seed), Identity::local());
        let keep = if lease.is_some() { Keep::Lease } else { Keep::Owned };
        let _one_at_a_time = lock(&inner.starting);
        let Approved { entry, resolved, keep, .. } = inner.approved(entry, keep, false, &Identity::local())?;
        entry.card().state = State::Armed;
        let mut running =
            Armed { entry: entry.clone(), resolved, keep }.start(inner).inspect_err(|_| inner.disarm(&entry))?;
        if let (Some(switch), Some(lease)) = (entry.switch(), lease) {
            switch.set_lease(inner.now().boot.saturating_add(lease));
        }
        match running.tick(inner) {
            None => lock(&inner.started).push(running),
            Some(ending) => inner.stop(running, ending),
        }
        inner.wake.notify_one();
        Ok(Resident::new(inner.clone(), entry, lease))
    }

    /// Holds a place for an approved experiment among those that may run.
    fn arm(inner: &Inner, approved: Approved) -> Result<Armed, Refusal> {
        let Approved { entry, resolved, keep, observed } = approved;
        let max = inner.safety.max_experiments;
        let entries: Vec<Arc<Entry>> = lock(&inner.book).iter().cloned().collect();
        if entries.iter().filter(|entry| entry.card().state.is_under_way()).count() >= max {
            return Err(Refusal::TooMany(max));
        }
        {
            let mut card = entry.card();
            not_begun(&entry.id, card.state)?; // somebody may have rejected it meanwhile
            card.state = State::Armed;
            card.observed = observed;
        }
        inner.tell(&entry, "state", if observed { "armed to observe" } else { "armed" }.into());
        Ok(Armed { entry, resolved, keep })
    }

    /// Takes in that somebody agrees to an experiment as it is, before it starts. Errors: nobody can tell who they are, they
    /// handed it in, they mean something else, or it is too late.
    pub fn approve(&self, id: &str, given: &Approving, by: &Identity) -> Result<ExperimentView, Refusal> {
        let inner = &self.inner;
        let entry = inner.find(id)?;
        if given.digest != entry.checked.digest {
            return Err(Refusal::State(format!("`{id}` is not what was read: its digest is {}", entry.checked.digest)));
        }
        let world = inner.world();
        let moment = inner.moment(&entry, &world, None);
        let _one_at_a_time = lock(&inner.starting); // what is kept must be what counts
        let mut consents = {
            let card = entry.card();
            not_begun(id, card.state)?;
            card.consents.clone()
        };
        let approved = consents.approve(given, by, &moment);
        approved.map_err(|(theirs, why)| if theirs { Refusal::Forbidden(why) } else { Refusal::State(why) })?;
        inner.drafts.keep(&Kept::of(&entry, &consents)).map_err(Refusal::State)?;
        let is_met = {
            let mut card = entry.card();
            not_begun(id, card.state).inspect_err(|_| inner.drafts.forget(id))?; // an abort came between
            card.consents = consents;
            let is_met = card.state == State::Draft && card.consents.check(id, &card.required, &moment).is_ok();
            if is_met {
                card.state = State::Approved;
            }
            is_met
        };
        inner.tell(&entry, "approval", format!("approved by {}", by.name));
        if is_met {
            inner.tell(&entry, "state", "approved".into());
        }
        Ok(entry.view(inner.now()))
    }

    /// Takes in that somebody objects to an experiment that has not started: it is cancelled. Errors: it is too late.
    pub fn reject(&self, id: &str, reason: &str, by: &Identity) -> Result<ExperimentView, Refusal> {
        let inner = &self.inner;
        let entry = inner.find(id)?;
        let told = format!("rejected by {}: {reason}", by.name);
        {
            let mut card = entry.card();
            not_begun(id, card.state)?;
            let at = inner.plane.clock().wall();
            card.consents.rejection = Some(Rejection { by: by.clone(), at, reason: reason.to_owned() });
            (card.state, card.reason) = (State::Cancelled, Some(told.clone()));
        }
        inner.drafts.forget(id);
        inner.tell(&entry, "approval", told);
        Ok(entry.view(inner.now()))
    }

    /// Renews the lease, counted from now. One that runs without a lease goes on without.
    pub fn renew(&self, id: &str) -> Result<ExperimentView, Refusal> {
        let entry = self.inner.find(id)?;
        let is_under_way = entry.card().state.is_under_way();
        let Some(switch) = entry.switch().filter(|_| is_under_way && entry.ending().is_none()) else {
            return Err(Refusal::State(format!("`{id}` does not run")));
        };
        if !lease::renew(&switch, self.inner.now(), self.inner.safety.lease) {
            return Err(Refusal::State(format!("the lease of `{id}` had run out")));
        }
        Ok(entry.view(self.inner.now()))
    }

    /// Lets go everything it holds and stops its timeline. Lease and time limit go on.
    pub fn pause(&self, id: &str) -> Result<ExperimentView, Refusal> {
        let entry = self.inner.find(id)?;
        self.inner.pause(&entry, None)?;
        Ok(entry.view(self.inner.now()))
    }

    /// Goes on where it stood still.
    pub fn resume(&self, id: &str) -> Result<ExperimentView, Refusal> {
        let entry = self.inner.find(id)?;
        self.inner.resume(&entry)?;
        Ok(entry.view(self.inner.now()))
    }

    /// The canonical form of an experiment's scenario as it stands, with what was changed while it runs.
    pub fn canonical(&self, id: &str) -> Result<String, Refusal> {
        Ok(self.inner.find(id)?.canonical())
    }

    /// Changes a fault of an experiment that runs, on live connections: what it has counted and what it holds stay.
    /// `changed` is the whole scenario with the fault as it is to be, made from the canonical form `before`. Errors: the
    /// experiment is not under way or ends already, it has been changed since, or it may not act like that here. Nothing has
    /// changed then.
    pub fn change(&self, id: &str, fault: &str, before: &str, changed: Checked) -> Result<ExperimentView, Refusal> {
        let entry = self.inner.find(id)?;
        self.inner.change(&entry, fault, before, changed)?;
        Ok(entry.view(self.inner.now()))
    }

    /// Puts on record what a person says about a run while it runs, and lets a run go on whose step is done. Errors: it is
    /// not under way or ends already, or does not wait for that step.
    pub fn mark(&self, id: &str, mark: Mark) -> Result<Marked, Refusal> {
        let entry = self.inner.find(id)?;
        mark.check().map_err(|(_, why)| Refusal::State(why))?;
        let marked = self.inner.mark(&entry, mark)?;
        self.inner.wake.notify_one();
        Ok(marked)
    }

    /// Switches off one experiment, or with `None` everything (the master switch, then the empty plan), and returns at
    /// once: never waits for a worker or for a start under way. What is held is let go meanwhile. One that is ending
    /// already is no error; one that has not started is cancelled.
    pub fn begin_abort(&self, id: Option<&str>, reason: &str) -> Result<Aborting, Refusal> {
        match id {
            Some(id) => self.inner.abort_one(id, reason),
            None => Ok(self.inner.abort_all(reason)),
        }
    }

    /// Engages the safety lever and switches everything off; returns at once, like an abort. From now on every start is
    /// refused. [`Engine::keep_lever`] makes it survive this process.
    pub fn engage(&self, reason: &str, by: &str) -> Aborting {
        let inner = &self.inner;
        inner.lever.engage(reason, by, rfc3339(inner.plane.clock().wall(), 3)); // before the master switch: see `Armed::start`
        let aborting = inner.abort_all(&format!("the safety lever was engaged: {reason}"));
        self.tell("lever", &format!("engaged by {by}: {reason}"));
        aborting
    }

    /// Writes down how the lever stands. Errors: in words; it holds for this process all the same.
    pub fn keep_lever(&self) -> Result<(), String> {
        self.inner.lever.keep()
    }

    /// Releases the safety lever: experiments may start again. Errors: it can't be written down, and stays engaged.
    pub fn release_lever(&self, by: &str) -> Result<(), String> {
        self.inner.lever.release()?;
        self.tell("lever", &format!("released by {by}"));
        Ok(())
    }

    /// How the safety lever stands.
    pub fn lever(&self) -> LeverView {
        self.inner.lever.view()
    }

    /// Has what matters told to a webhook from now on. Errors: the system gives no thread.
    pub fn notify(&self, hook: Webhook) -> io::Result<()> {
        notify::start(hook, self.events(), self.inner.audit.clone())
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// Waits until every run is closed, `patience` at most, and puts the end of the program on record.
    pub fn finish(&self, patience: Duration) {
        let is_closed = || lock(&self.inner.book).iter().all(|entry| !entry.card().state.is_under_way());
        let naps = patience.as_millis() / NAP.as_millis();
        for _ in 0..naps {
            if is_closed() {
                break;
            }
            std::thread::sleep(NAP);
        }
        let _ = self.inner.audit.write(Act::own("finish", None, "squall ends")); // whatever waits is written before
    }

    /// Ends one experiment: its switch goes off before anything else; answers after `patience` at the latest.
    pub fn abort(&self, id: &str, reason: &str, patience: Duration) -> Result<AbortReport, Refusal> {
        Ok(self.wait(&self.begin_abort(Some(id), reason)?, patience))
    }

    /// Ends all: the master switch, then the empty plan; answers after `patience` at the latest.
    pub fn abort_all(&self, reason: &str, patience: Duration) -> AbortReport {
        self.wait(&self.inner.abort_all(reason), patience)
    }

    /// Looks until everything is written, or `patience` is over by the clock or by the number of looks.
    fn wait(&self, aborting: &Aborting, patience: Duration) -> AbortReport {
        let since = self.inner.now().mono;
        let looks = patience.as_micros() / LOOK.as_micros();
        for _ in 0..looks {
            let passed = Duration::from_nanos(self.inner.now().mono.saturating_sub(since));
            if aborting.release.look() || passed + LOOK >= patience {
                break;
            }
            std::thread::sleep(LOOK);
        }
        aborting.report()
    }

    /// All that this process knows, newest first.
    pub fn list(&self) -> Vec<ExperimentView> {
        let entries: Vec<Arc<Entry>> = lock(&self.inner.book).iter().rev().cloned().collect();
        entries.iter().map(|entry| entry.view(self.inner.now())).collect()
    }

    /// One experiment.
    pub fn view(&self, id: &str) -> Result<ExperimentView, Refusal> {
        Ok(self.inner.find(id)?.view(self.inner.now()))
    }

    /// The report of a run that is over, of this process or an earlier one: JSON and Markdown.
    pub fn report(&self, id: &str) -> Result<(serde_json::Value, String), Refusal> {
        let Ok(entry) = self.inner.find(id) else {
            return self.inner.store.report(id).ok_or_else(|| Refusal::Unknown(id.into()));
        };
        let report = entry.card().report.clone();
        let not_yet = || Refusal::State(format!("`{id}` has no report: it is not over, or never ran"));
        report.map(|report| (*report).clone()).ok_or_else(not_yet)
    }

    /// Bounded: a slow reader loses the oldest and is told.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Has every start ask whether what runs is still what its configuration says: every difference, in words, given the
    /// proxies that last. The first one who asks for this is heard.
    pub fn hold_against(&self, drift: impl Fn(&[ProxyInfo]) -> Vec<String> + Send + Sync + 'static) {
        let _ = self.inner.drift.set(Box::new(drift));
    }

    /// The proxies that are neither a running experiment's nor there to prove pass-through.
    pub fn lasting(&self) -> Vec<ProxyInfo> {
        self.inner.lasting()
    }

    /// Puts an event that belongs to no experiment on the stream and on record, such as `config`.
    pub fn tell(&self, kind: &str, text: &str) {
        self.inner.audit.note(Act::own(kind, None, text));
        self.inner.events.tell(&**self.inner.plane.clock(), None, kind, text.into());
    }

    /// One look at every run, on the caller's time; `runs` are those under way.
    #[cfg(test)]
    pub(crate) fn tick(&self, runs: &mut Vec<Running>) {
        self.inner.tick(runs);
    }
}

/// An experiment that policy lets start here, with nothing in the way. Only [`Inner::approved`] makes one.
struct Approved {
    entry: Arc<Entry>,
    resolved: Resolved,
    keep: Keep,
    observed: bool,
}

impl Inner {
    pub(crate) fn now(&self) -> Now {
        self.plane.clock().now()
    }

    pub(crate) fn compiler(&self) -> MutexGuard<'_, Compiler> {
        lock(&self.compiler)
    }

    pub(crate) fn tell(&self, entry: &Entry, kind: &str, text: String) {
        let elapsed = entry.elapsed(self.now().mono);
        entry.note(Moment { at: elapsed, kind: kind.into(), text: text.clone() });
        self.record(entry, kind, &text);
        self.events.tell(&**self.plane.clock(), Some((&entry.id, elapsed)), kind, text);
    }

    /// Puts what an experiment did, or what was done to it, on record.
    fn record(&self, entry: &Entry, kind: &str, text: &str) {
        let act = || Act::own(kind, Some(&entry.id), text).plan(&entry.checked.digest);
        match kind {
            "state" | "guard" | "ladder" | "near" | "mark" | "approval" | "residue" => self.audit.note(act()),
            "abort" => self.audit.seal(act()),
            _ => {} // the run's own events.jsonl has them
        }
    }

    /// Whether more may be injected than now. Errors: the lever is engaged, or nobody would know of it.
    pub(crate) fn may_expose(&self) -> Result<(), Refusal> {
        if let Some(why) = self.lever.engaged() {
            return Err(Refusal::Lever(why));
        }
        self.audit.check().map_err(|why| Refusal::NotArmed(vec![why]))
    }

    /// The approvals that this environment asks for, whatever a scenario says; none: none.
    fn floor(&self) -> Option<String> {
        let asked = Required::of(&resident::scenario("floor", ""), &self.environment, &self.safety);
        (!asked.is_nothing()).then(|| asked.told())
    }

    /// Enters it in the book; what is forgotten for it is no draft any more.
    fn enter(&self, id: String, checked: Checked, seed: u64, by: Identity) -> Arc<Entry> {
        let (entry, forgotten) = lock(&self.book).add(id, checked, seed, by);
        if let Some(forgotten) = forgotten {
            self.drafts.forget(&forgotten.id);
        }
        entry
    }

    fn cancel(&self, entry: &Entry, why: &str) {
        {
            let mut card = entry.card();
            (card.state, card.reason) = (State::Cancelled, Some(why.to_owned()));
        }
        self.tell(entry, "state", format!("cancelled: {why}"));
    }

    /// A draft of an earlier process.
    fn take_back_in(&self, checked: Checked, kept: Kept) {
        let required = Required::of(&checked, &self.environment, &self.safety);
        let entry = self.enter(kept.id, checked, kept.seed, kept.submitted);
        let world = self.world();
        let by: Vec<&str> = kept.approvals.iter().map(|approval| &*approval.by.name).collect();
        let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
        let state = {
            let mut card = entry.card();
            card.required = required;
            card.consents.approvals = kept.approvals;
            let moment = self.moment(&entry, &world, None);
            if card.consents.check(&entry.id, &card.required, &moment).is_ok() {
                card.state = State::Approved;
            }
            card.state
        };
        let told = format!("handed in by {}, approved by {by}", entry.card().consents.submitted.name);
        self.tell(&entry, "state", format!("{} again, squall was started anew: {told}", state.word()));
    }

    /// An id that neither this process nor the state directory knows.
    fn free_id(&self, name: &str) -> String {
        loop {
            let (id, is_known) = {
                let mut book = lock(&self.book);
                let id = book.next_id(name);
                let is_known = book.find(&id).is_some();
                (id, is_known)
            };
            if !is_known && !self.store.knows(&id) {
                return id; // asked without the lock: an abort must not wait for a disk
            }
        }
    }

    fn find(&self, id: &str) -> Result<Arc<Entry>, Refusal> {
        lock(&self.book).find(id).ok_or_else(|| Refusal::Unknown(id.into()))
    }

    /// Holds an experiment against policy and against what runs here. Errors: everything that is in the way.
    fn approved(&self, entry: Arc<Entry>, keep: Keep, observed: bool, by: &Identity) -> Result<Approved, Refusal> {
        let state = entry.card().state;
        match state {
            State::Draft | State::Approved => {}
            state if state.is_under_way() => return Err(Refusal::State(format!("`{}` runs already", entry.id))),
            state => return Err(Refusal::State(format!("`{}` is {}; submit it again", entry.id, state.word()))),
        }
        if let Some(why) = self.lever.engaged() {
            return Err(Refusal::Lever(why));
        }
        let unwritable = self.audit.check().err();
        let proxies = self.plane.proxies();
        let drops = self.drops(observed);
        let environment = &*self.environment;
        let world = self.world();
        let consent = {
            let card = entry.card();
            card.consents.check(&entry.id, &card.required, &self.moment(&entry, &world, Some(by))).err()
        };
        let consent = consent.unwrap_or_default();
        let (safety, wall) = (&self.safety, self.plane.clock().wall());
        let ground = Ground { environment, safety, proxies: &proxies, keep, observed, drops, wall, consent };
        let resolved = arm::resolve(&entry.checked, &ground);
        let proof = safety.environment_file.as_deref().map_or(Ok(()), |file| place::prove(file, environment));
        let reachable = place::reachable(&safety.must_not_reach, &**self.plane.clock());
        let drifted = self.drifted(&entry);
        let elsewhere: Vec<String> = proof.err().into_iter().chain(reachable).chain(drifted).collect();
        match resolved {
            Ok(resolved) if elsewhere.is_empty() && unwritable.is_none() => {
                Ok(Approved { entry, resolved, keep, observed })
            }
            resolved => {
                let against = resolved.err().into_iter().flatten().chain(elsewhere).chain(unwritable);
                Err(Refusal::NotArmed(against.collect()))
            }
        }
    }

    fn change(&self, entry: &Entry, fault: &str, before: &str, changed: Checked) -> Result<(), Refusal> {
        let find = |checked: &Checked| checked.faults.iter().find(|spec| spec.name == fault).cloned();
        let spec = find(&changed).ok_or_else(|| Refusal::State(format!("`{}` has no fault `{fault}`", entry.id)))?;
        if !entry.card().required.is_nothing() {
            let why = format!(
                "what was approved is `{}` as it is: hand in what it is to be, and have that approved",
                entry.id
            );
            return Err(Refusal::State(why));
        }
        self.may_expose()?;
        let is_ladder = |checked: &Checked| find(checked).is_some_and(|spec| spec.has_ladder());
        let was = entry.card().changed.clone().map_or_else(|| find(&entry.checked), |changed| find(&changed));
        let share = |spec: &FaultSpec| (spec.percentage.clone(), spec.min_events);
        let is_other = was.is_some_and(|was| share(&was) != share(&spec));
        if is_other && (spec.has_ladder() || is_ladder(&entry.checked)) {
            let why = format!(
                "the percentage of `{fault}` is a ladder, or is to be one: it climbs by itself and can't be changed while it runs"
            );
            return Err(Refusal::State(why));
        }
        let observed = entry.card().observed;
        let drops = self.drops(observed);
        let proxies = self.plane.proxies();
        let (environment, keep, consent) = (&*self.environment, Keep::Owned, Vec::new());
        let (safety, wall) = (&self.safety, self.plane.clock().wall());
        let ground = Ground { environment, safety, proxies: &proxies, keep, observed, drops, wall, consent };
        let targets = arm::resolve_changed(&changed, &spec, &ground).map_err(Refusal::NotArmed)?;
        let mut compiler = self.compiler();
        if !entry.card().state.is_under_way() || entry.switch().is_none() || entry.ending().is_some() {
            return Err(Refusal::State(format!("`{}` does not run", entry.id)));
        }
        if entry.canonical() != before {
            return Err(Refusal::State(format!("`{}` has been changed meanwhile: try again", entry.id)));
        }
        let was = entry.card().changed.as_deref().map_or_else(|| find(&entry.checked), find);
        compiler.change(self.plane.cell(), &entry.id, &spec, &targets)?;
        entry.card().changed = Some(Arc::new(changed));
        drop(compiler);
        let words = |spec: &FaultSpec| match &spec.percentage {
            Curve::Constant(100.0) => spec.summary.clone(),
            share => format!("{}, {share} %", spec.summary),
        };
        let was = was.map_or_else(String::new, |was| format!("{} → ", words(&was)));
        self.tell(entry, "fault", format!("fault `{fault}` changed: {was}{}", words(&spec)));
        Ok(())
    }

    /// Whether packets can be dropped in the kernel for an experiment.
    fn drops(&self, observed: bool) -> Result<(), String> {
        match observed {
            true => Err("nothing is dropped where nothing acts".into()),
            false => self.plane.drops_packets(),
        }
    }

    /// What approvals are about besides the scenario.
    fn world(&self) -> String {
        approve::world(&self.environment, &self.safety, &self.lasting())
    }

    /// The proxies that are neither a running experiment's nor there to prove pass-through.
    fn lasting(&self) -> Vec<ProxyInfo> {
        let before = self.brought();
        let running = self.plane.proxies();
        let brought = [before, self.brought()].concat(); // one that has begun or ended meanwhile is in one of them
        let lasts = |name: &String| !brought.contains(name) && !residue::is_own(name);
        running.into_iter().filter(|info| lasts(&info.spec.name)).collect()
    }

    /// Names of proxies that experiments under way have brought. Not of those handed in: they may name whatever they like.
    fn brought(&self) -> Vec<String> {
        let entries: Vec<Arc<Entry>> = lock(&self.book).iter().cloned().collect();
        let under_way = entries.iter().filter(|entry| entry.card().state.is_under_way());
        under_way.flat_map(|entry| entry.checked.proxies.iter().map(|spec| spec.name.clone())).collect()
    }

    /// What is in the way of a start because what runs is not what its configuration says. Toxics come to proxies that their
    /// clients make.
    fn drifted(&self, entry: &Entry) -> Option<String> {
        let drift = self.drift.get().filter(|_| !entry.checked.faults.is_empty())?;
        let differences = drift(&self.lasting());
        let told = || format!("what runs is not what the configuration says: {}", differences.join("; "));
        let fix = "`squall reload` brings it in line, `squall reload --accept` takes it as it is";
        (!differences.is_empty()).then(|| format!("{}; {fix}", told()))
    }

    fn moment<'a>(&self, entry: &Entry, world: &'a str, starter: Option<&'a Identity>) -> approve::Moment<'a> {
        let (now, exposure) = (self.plane.clock().wall(), approve::exposure(&entry.checked));
        approve::Moment { now, world, exposure, starter }
    }

    /// A start that did not come about: as it was, or cancelled if somebody has aborted it meanwhile.
    fn disarm(&self, entry: &Entry) {
        entry.set_switch(None);
        let mut card = entry.card();
        let ending = entry.ending();
        card.state = if ending.is_some() { State::Cancelled } else { State::Approved };
        card.observed = false;
        card.consents.started = None;
        card.reason = ending.map(|ending| ending.reason);
        let state = card.state;
        drop(card);
        self.tell(entry, "state", format!("{}: it could not be started", state.word()));
    }

    pub(crate) fn pause(&self, entry: &Entry, why: Option<String>) -> Result<(), Refusal> {
        let Some(switch) = entry.switch() else { return Err(Refusal::State(format!("`{}` does not run", entry.id))) };
        {
            let mut card = entry.card();
            if card.state != State::Running {
                return Err(Refusal::State(format!("`{}` is {}, not running", entry.id, card.state.word())));
            }
            switch.pause();
            card.timeline.still = Some(self.now().mono);
            card.state = State::Paused;
            card.reason.clone_from(&why);
        }
        self.plane.cell().ring();
        let why = why.unwrap_or_else(|| "by a person".into());
        self.tell(entry, "state", format!("paused: {why}"));
        Ok(())
    }

    fn resume(&self, entry: &Entry) -> Result<(), Refusal> {
        self.may_expose()?;
        let Some(switch) = entry.switch() else { return Err(Refusal::State(format!("`{}` does not run", entry.id))) };
        {
            let mut card = entry.card();
            if card.state != State::Paused || entry.ending().is_some() {
                return Err(Refusal::State(format!("`{}` is {}, not paused", entry.id, card.state.word())));
            }
            if let Some(origin) = card.timeline.resume(self.now().mono) {
                switch.start(origin);
            }
            card.state = State::Running;
            card.reason = None;
        }
        self.plane.cell().ring();
        self.tell(entry, "state", "running again".into());
        Ok(())
    }

    fn mark(&self, entry: &Entry, mark: Mark) -> Result<Marked, Refusal> {
        let ends = entry.ending().is_some();
        let clock = self.plane.clock();
        let (now, time) = (clock.now().mono, rfc3339(clock.wall(), 3));
        let marked = entry.card().mark(&entry.id, mark, now, time, ends)?;
        if marked.kind != MarkKind::Step {
            self.tell(entry, "mark", marked.told()); // a step is told when the run goes on
        }
        Ok(marked)
    }

    fn abort_one(&self, id: &str, reason: &str) -> Result<Aborting, Refusal> {
        let asked = self.now().mono;
        let entry = self.find(id)?;
        let cell = self.plane.cell();
        let before = released(cell);
        if let Some(switch) = entry.switch() {
            switch.end();
        }
        let stopped = self.now().mono;
        let state = entry.card().state;
        if state.is_over() {
            return Err(Refusal::State(format!("`{id}` is over already: {}", state.word())));
        }
        let release = Release::new(cell, (asked, stopped), cell.ring(), before, waiting(&entry.card().actives));
        let release = self.ending(&entry, reason, asked, &release);
        Ok(Aborting { experiments: vec![id.into()], release })
    }

    fn abort_all(&self, reason: &str) -> Aborting {
        let asked = self.now().mono;
        let cell = self.plane.cell();
        let before = released(cell);
        cell.off();
        let stopped = self.now().mono;
        let epoch = cell.clear();
        let entries: Vec<Arc<Entry>> = lock(&self.book).iter().cloned().collect();
        let waiting = entries.iter().flat_map(|entry| waiting(&entry.card().actives)).collect();
        let release = Release::new(cell, (asked, stopped), epoch, before, waiting);
        let under_way = entries.iter().filter(|entry| {
            let state = entry.card().state;
            state.is_under_way() && state != State::Stopping
        });
        let mut experiments = Vec::new();
        for entry in under_way {
            if let Some(switch) = entry.switch() {
                switch.end();
            }
            self.ending(entry, reason, asked, &release);
            experiments.push(entry.id.to_string());
        }
        Aborting { experiments, release }
    }

    /// Leaves word that an experiment is to end; the engine's thread does the rest.
    fn ending(&self, entry: &Entry, reason: &str, at: u64, release: &Arc<Release>) -> Arc<Release> {
        let reason = format!("aborted: {reason}");
        let release = entry.end(Ending { cause: Cause::Person, reason: reason.clone(), at }, release);
        if let Some(switch) = entry.switch() {
            switch.end(); // a start that came between
        }
        let mut card = entry.card();
        if matches!(card.state, State::Draft | State::Approved) {
            card.state = State::Cancelled;
            card.reason = Some(reason.clone());
            let (drafts, id) = (self.drafts.clone(), entry.id.clone());
            self.runtime.spawn_blocking(move || drafts.forget(&id)); // an abort waits for no disk
        }
        drop(card);
        self.tell(entry, "abort", reason);
        self.wake.notify_one();
        release
    }

    /// One look at every run. A run that ends is handed to a thread of its own, which may wait.
    fn tick(self: &Arc<Self>, runs: &mut Vec<Running>) {
        runs.append(&mut lock(&self.started));
        for mut run in std::mem::take(runs) {
            let ending = catch_unwind(AssertUnwindSafe(|| run.tick(self))).unwrap_or_else(|_| {
                let reason = "squall failed to carry it out (a bug); everything it did is lifted".into();
                Some(Ending { cause: Cause::Failure, reason, at: self.now().mono })
            });
            match ending {
                None => runs.push(run),
                Some(ending) => self.stop(run, ending),
            }
        }
    }

    /// A run that ends is handed to a thread of its own, which may wait.
    fn stop(self: &Arc<Self>, run: Running, ending: Ending) {
        let (inner, entry) = (self.clone(), run.entry().clone());
        let fail = {
            let inner = self.clone();
            move || {
                inner.runs.remove(&entry.id);
                let mut card = entry.card();
                (card.state, card.verdict) = (State::Failed, Some(Verdict::Invalid));
                card.reason =
                    Some("squall failed to close it (a bug); its faults are lifted, its report is lost".into());
                drop(card);
                inner.audit.seal(Act::own(END, Some(&entry.id), "failed: invalid").plan(&entry.checked.digest));
                inner.tell(&entry, "state", "failed: invalid".into());
            }
        };
        let Ok(stopping) = catch_unwind(AssertUnwindSafe(|| run.end(self, ending))) else {
            fail();
            return;
        };
        let failed = fail.clone();
        let finish = move || {
            if catch_unwind(AssertUnwindSafe(|| stopping.finish(&inner))).is_err() {
                failed();
            }
        };
        if std::thread::Builder::new().name("squall-stopping".into()).spawn(finish).is_err() {
            fail();
        }
    }
}

/// Errors: consent comes too late.
fn not_begun(id: &str, state: State) -> Result<(), Refusal> {
    match state {
        State::Draft | State::Approved => Ok(()),
        state => Err(Refusal::State(format!("`{id}` is {}: it is too late for that", state.word()))),
    }
}

/// The engine's thread: looks at every run again and again until the last engine is dropped.
async fn drive(inner: Arc<Inner>, alive: Weak<Alive>) {
    let mut runs = Vec::new();
    while alive.strong_count() > 0 {
        let _ = tokio::time::timeout(TICK, inner.wake.notified()).await; // may be late: the workers enforce every end
        inner.tick(&mut runs);
    }
}

/// A seed for a scenario without one: short enough to be exact in every JSON reader.
fn drawn_seed() -> u64 {
    RandomState::new().hash_one("squall") >> 11
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writing evidence must not compete with a worker that lets go of what was held, where they share a core. Where the system
/// does not know priorities by thread, nothing changes.
fn yield_to_traffic() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}
