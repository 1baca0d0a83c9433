//! Experiments and a data plane that do what a test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use squall_core::cell::Cell;
use squall_core::diagnostic::{Diagnostic, Source};
use squall_core::observe::Reading;
use squall_core::plan::{FaultRef, TallyReading};
use squall_core::plane::{DataPlane, PlaneError, ProxyInfo};
use squall_core::scenario::{Checked, ProxySpec};
use squall_core::time::{Clock, Now, SECOND};
use squall_core::who::Identity;
use squall_drill::approve::Approving;
use squall_drill::audit::Act;
use squall_drill::engine::Keep;
use squall_drill::view::{AbortReport, Event, ExperimentView, FaultView, LeverView, Mark, Marked, Refusal, State};
use tokio::sync::broadcast;

use crate::api::ProxyRequest;
use crate::app::{AbortProgress, App, Experiments, Format};

/// Remembers what was done to it.
pub(in crate::tests) struct Program {
    pub(in crate::tests) proxies: Mutex<BTreeMap<String, ProxyInfo>>,
    pub(in crate::tests) experiments: Mutex<Vec<ExperimentView>>,
    pub(in crate::tests) keeps: Mutex<Vec<Keep>>,
    pub(in crate::tests) sets: Mutex<Vec<(String, String)>>,
    pub(in crate::tests) aborts: Mutex<Vec<Option<String>>>,
    /// What was put on record; true: of a kind that comes often.
    pub(in crate::tests) acts: Mutex<Vec<(Act, bool)>>,
    pub(in crate::tests) lever: Mutex<LeverView>,
    pub(in crate::tests) events: broadcast::Sender<Event>,
    /// Starts wait here while it is closed.
    pub(in crate::tests) starts: Gate,
    /// Aborts are not drained while it is closed.
    pub(in crate::tests) drains: Arc<Gate>,
    cell: Arc<Cell>,
    clock: Arc<dyn Clock>,
}

/// Open, unless a test closes it.
#[derive(Default)]
pub(in crate::tests) struct Gate {
    closed: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    pub(in crate::tests) fn close(&self) {
        self.closed.lock().unwrap().0 = true;
    }

    pub(in crate::tests) fn open(&self) {
        self.closed.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    /// Until this many wait.
    pub(in crate::tests) fn await_waiting(&self, n: usize) {
        let state = self.closed.lock().unwrap();
        let limit = Duration::from_secs(10);
        let waited = self.changed.wait_timeout_while(state, limit, |state| state.1 < n).unwrap();
        assert!(!waited.1.timed_out());
    }

    fn is_closed(&self) -> bool {
        self.closed.lock().unwrap().0
    }

    fn pass(&self) {
        let mut state = self.closed.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.0).unwrap();
        state.1 -= 1;
    }
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { mono: SECOND, boot: SECOND }
    }

    fn wall(&self) -> std::time::SystemTime {
        std::time::SystemTime::UNIX_EPOCH
    }
}

impl Default for Program {
    fn default() -> Program {
        Program {
            proxies: Mutex::default(),
            experiments: Mutex::default(),
            keeps: Mutex::default(),
            sets: Mutex::default(),
            aborts: Mutex::default(),
            acts: Mutex::default(),
            lever: Mutex::default(),
            events: broadcast::channel(16).0,
            starts: Gate::default(),
            drains: Arc::default(),
            cell: Arc::default(),
            clock: Arc::new(Still),
        }
    }
}

impl Program {
    /// An experiment in this state that brought these proxies; its id is its name.
    pub(in crate::tests) fn add(&self, name: &str, state: State, proxies: &[&str]) {
        self.experiments.lock().unwrap().push(ExperimentView {
            id: name.to_owned(),
            name: name.to_owned(),
            state,
            digest: "00".repeat(32),
            seed: 7,
            verdict: None,
            reason: None,
            elapsed: 1.5,
            planned: 60.0,
            faults: vec![FaultView {
                ladder: None,
                name: "late".into(),
                kind: "latency".into(),
                summary: "delay 50ms".into(),
                active: true,
                tally: TallyReading { injected: 3, held: 2, ..TallyReading::default() },
            }],
            proxies: proxies.iter().map(|name| ((*name).to_owned(), "127.0.0.1:1".to_owned())).collect(),
            observed: false,
            waiting: None,
            consent: Default::default(),
            hypothesis: None,
        });
    }

    pub(in crate::tests) fn event(&self, seq: u64, text: &str) {
        let _ = self.events.send(Event {
            seq,
            at: "2024-01-01T00:00:00.000Z".into(),
            elapsed: None,
            experiment: None,
            kind: "state".into(),
            text: text.into(),
        });
    }

    fn to(&self, id: &str, state: State) -> Result<ExperimentView, Refusal> {
        let mut experiments = self.experiments.lock().unwrap();
        let view = experiments.iter_mut().find(|view| view.id == id);
        let view = view.ok_or_else(|| Refusal::Unknown(id.to_owned()))?;
        if view.state.is_over() {
            return Err(Refusal::State(format!("`{id}` is over")));
        }
        view.state = state;
        Ok(view.clone())
    }
}

impl App for Program {
    fn experiments(&self) -> &dyn Experiments {
        self
    }

    fn plane(&self) -> &dyn DataPlane {
        self
    }

    fn environment(&self) -> String {
        "local".into()
    }

    fn is_ready(&self) -> bool {
        !self.proxies.lock().unwrap().is_empty()
    }

    fn scenario(&self, text: &str, _: Format, set: &[(String, String)]) -> Result<Checked, Vec<Diagnostic>> {
        self.sets.lock().unwrap().extend_from_slice(set);
        let source = Arc::new(Source { name: "<request>".into(), text: text.to_owned() });
        let Some(at) = text.find("bogus") else { return Ok(checked()) };
        let wrong = Diagnostic::error("unknown field `bogus`").at(&source, at..at + 5).field("fault[late].bogus");
        Err(vec![wrong.label("expected one of: delay, jitter").help("did you mean `jitter`?")])
    }

    fn changed(
        &self,
        _: &str,
        fault: &str,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Checked, Vec<Diagnostic>> {
        match fields.keys().find(|field| *field == "bogus") {
            Some(_) => Err(vec![Diagnostic::error("unknown field `bogus`").field(format!("fault[{fault}].bogus"))]),
            None => Ok(checked()),
        }
    }

    fn proxy(&self, name: &str, request: &ProxyRequest) -> Result<ProxySpec, Vec<Diagnostic>> {
        if name.contains('_') {
            return Err(vec![Diagnostic::error("names are made of a-z, 0-9 and -").field("name")]);
        }
        Ok(ProxySpec {
            name: name.to_owned(),
            listen: request.listen.clone(),
            upstream: request.upstream.clone(),
            protocol: request.protocol,
            closes_unreached: false,
            max_connections: request.max_connections,
            connect_timeout: 5 * SECOND,
            idle_timeout: ProxySpec::IDLE_TIMEOUT,
            slo: None,
            from: None,
            to: None,
            way: squall_core::way::Way::default(),
        })
    }

    fn drift(&self) -> Vec<String> {
        vec!["proxy `b` is new".into()]
    }

    fn accept(&self) -> Vec<String> {
        self.drift()
    }

    fn reload(&self) -> Result<Vec<String>, Vec<Diagnostic>> {
        Ok(vec!["proxy `a` added".into()])
    }

    fn config(&self) -> String {
        "environment = \"local\"\n".into()
    }

    fn attempted(&self, act: Act, often: bool) {
        self.acts.lock().unwrap().push((act, often));
    }
}

impl DataPlane for Program {
    fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn open(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError> {
        if spec.listen.ends_with(":9") {
            return Err(PlaneError::Bind(spec.listen.clone(), "Address already in use".into()));
        }
        let listen = spec.listen.replace(":0", ":40000");
        let info = ProxyInfo { spec: spec.clone(), address: listen.parse().ok(), listen };
        self.proxies.lock().unwrap().insert(spec.name.clone(), info.clone());
        Ok(info)
    }

    fn change(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError> {
        self.open(spec)
    }

    fn disconnect(&self, _: &str) -> Result<(), PlaneError> {
        Ok(())
    }

    fn cut_off(&self, name: &str) -> Result<(), PlaneError> {
        self.close(name)
    }

    fn close(&self, name: &str) -> Result<(), PlaneError> {
        let gone = self.proxies.lock().unwrap().remove(name);
        gone.map(drop).ok_or_else(|| PlaneError::Unknown(name.to_owned()))
    }

    fn proxies(&self) -> Vec<ProxyInfo> {
        self.proxies.lock().unwrap().values().cloned().collect()
    }

    fn reading(&self, name: &str) -> Option<Reading> {
        let known = self.proxies.lock().unwrap().contains_key(name);
        known.then(|| Reading { accepted: 12, active: 2, connect_failed: 1, ..Reading::default() })
    }

    fn injected_end(&self, _: SocketAddr) -> Option<Arc<FaultRef>> {
        None
    }
}

impl Experiments for Program {
    fn submit(&self, scenario: Checked, _: &Identity) -> Result<ExperimentView, Refusal> {
        self.add(&scenario.name, State::Approved, &[]);
        self.view(&scenario.name)
    }

    fn start(&self, id: &str, keep: Keep, _: &Identity) -> Result<ExperimentView, Refusal> {
        self.starts.pass();
        self.keeps.lock().unwrap().push(keep);
        if id == "unarmed" {
            return Err(Refusal::NotArmed(vec!["no hypothesis".into(), "no guard".into()]));
        }
        self.to(id, State::Running)
    }

    fn observe(&self, id: &str, keep: Keep, by: &Identity) -> Result<ExperimentView, Refusal> {
        let view = self.start(id, keep, by)?;
        Ok(ExperimentView { observed: true, ..view })
    }

    fn canonical(&self, id: &str) -> Result<String, Refusal> {
        self.view(id).map(|_| "{}".to_owned())
    }

    fn change(&self, id: &str, _: &str, _: &str, _: Checked) -> Result<ExperimentView, Refusal> {
        self.to(id, State::Running)
    }

    fn check(&self, id: &str, _: Keep, _: bool, _: &Identity) -> Result<ExperimentView, Refusal> {
        self.view(id)
    }

    fn approve(&self, id: &str, given: &Approving, by: &Identity) -> Result<ExperimentView, Refusal> {
        match given.digest == "00".repeat(32) {
            true => self.to(id, State::Approved),
            false => Err(Refusal::Forbidden(format!("`{}` approves something else", by.name))),
        }
    }

    fn reject(&self, id: &str, _: &str, _: &Identity) -> Result<ExperimentView, Refusal> {
        self.to(id, State::Cancelled)
    }

    fn mark(&self, id: &str, mark: Mark) -> Result<Marked, Refusal> {
        let view = self.view(id)?;
        if view.state.is_over() {
            return Err(Refusal::State(format!("`{id}` is over")));
        }
        let Mark { kind, text, step, by } = mark;
        let time = "2026-11-22T18:45:08.123Z".to_owned();
        Ok(Marked { kind, text, step, by, time, at: Some(1.5), counts: true, since_first_fault: Some(0.5) })
    }

    fn renew(&self, id: &str) -> Result<ExperimentView, Refusal> {
        self.to(id, State::Running)
    }

    fn pause(&self, id: &str) -> Result<ExperimentView, Refusal> {
        self.to(id, State::Paused)
    }

    fn resume(&self, id: &str) -> Result<ExperimentView, Refusal> {
        self.to(id, State::Running)
    }

    fn begin_abort(&self, id: Option<&str>, _: &str) -> Result<Box<dyn AbortProgress>, Refusal> {
        let ids: Vec<String> = match id {
            Some(id) => vec![id.to_owned()],
            None => self.list().into_iter().filter(|view| !view.state.is_over()).map(|view| view.id).collect(),
        };
        for id in &ids {
            self.to(id, State::Stopped)?;
        }
        self.aborts.lock().unwrap().push(id.map(str::to_owned));
        Ok(Box::new(Aborting(ids, self.drains.clone())))
    }

    fn engage(&self, reason: &str, by: &str) -> Box<dyn AbortProgress> {
        let (reason, by) = (Some(reason.to_owned()), Some(by.to_owned()));
        *self.lever.lock().unwrap() = LeverView { engaged: true, reason, by, since: None };
        self.begin_abort(None, "the lever").unwrap_or_else(|_| Box::new(Aborting(Vec::new(), self.drains.clone())))
    }

    fn keep_lever(&self) -> Result<(), String> {
        Ok(())
    }

    fn release_lever(&self, _: &str) -> Result<(), String> {
        *self.lever.lock().unwrap() = LeverView::default();
        Ok(())
    }

    fn lever(&self) -> LeverView {
        self.lever.lock().unwrap().clone()
    }

    fn list(&self) -> Vec<ExperimentView> {
        self.experiments.lock().unwrap().clone()
    }

    fn view(&self, id: &str) -> Result<ExperimentView, Refusal> {
        let found = self.list().into_iter().find(|view| view.id == id);
        found.ok_or_else(|| Refusal::Unknown(id.to_owned()))
    }

    fn report(&self, id: &str) -> Result<(serde_json::Value, String), Refusal> {
        match self.view(id)?.state.is_over() {
            true => Ok((serde_json::json!({ "verdict": "upheld" }), "# upheld\n".into())),
            false => Err(Refusal::State(format!("`{id}` is not over"))),
        }
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

struct Aborting(Vec<String>, Arc<Gate>);

impl AbortProgress for Aborting {
    fn report(&self) -> AbortReport {
        AbortReport {
            experiments: self.0.clone(),
            stopped_injecting_us: 9,
            released: 2,
            permitted_us: Some(80),
            drained_us: (!self.1.is_closed()).then_some(120),
        }
    }
}

fn checked() -> Checked {
    Checked {
        name: "drill".into(),
        title: None,
        owner: None,
        hypothesis: None,
        environments: Vec::new(),
        tags: Vec::new(),
        teaches: None,
        expected: None,
        source: None,
        verified_on: None,
        seed: None,
        max_duration: None,
        max_percentage: None,
        max_active_faults: None,
        on_abort: Default::default(),
        release_over: 0,
        runbook: None,
        parameters: Vec::new(),
        services: Vec::new(),
        proxies: Vec::new(),
        workloads: Vec::new(),
        faults: Vec::new(),
        guards: Vec::new(),
        probes: Vec::new(),
        before: vec![],
        steps: vec![],
        expects: Vec::new(),
        forecast: None,
        approvals_required: 0,
        digest: "00".repeat(32),
        canonical: "{}".into(),
    }
}
