//! `scenario("s").fault(fault("late").window(window(2, 3))).checked()`

use std::collections::BTreeMap;
use std::sync::Arc;

use squall_core::curve::Curve;
use squall_core::fault::{AnyFault, Effect, Fault, Hooks};
use squall_core::plan::OnAbort;
use squall_core::scenario::{
    Arrivals, BeforeSpec, Checked, During, ExpectSpec, FaultSpec, ForecastSpec, GuardAction, GuardCondition, GuardSpec,
    Metric, ProbeCheck, ProbeMode, ProbeSpec, Protocol, ProxySpec, ServiceKind, ServiceSpec, StepSpec, TcpRequest,
    Weighted, WorkloadKind, WorkloadSpec,
};
use squall_core::select::{Count, Key};
use squall_core::time::{SECOND, Time};
use squall_core::way::Way;
use squall_core::window::Window;

#[derive(Debug)]
struct Keeping;
#[derive(Debug)]
struct Losing;

impl Fault for Keeping {
    const KIND: &'static str = "keeping";
    const HOOKS: Hooks = Hooks::STREAM;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();
}

impl Fault for Losing {
    const KIND: &'static str = "losing";
    const HOOKS: Hooks = Hooks::STREAM;
    const EFFECT: Effect = Effect::Loses;
    type Shared = ();
    type State = ();

    fn approximated(&self) -> Option<&'static str> {
        Some("it loses nothing")
    }
}

/// From `at` for `length`, seconds.
pub(crate) fn window(at: u64, length: u64) -> Window {
    Window { at: at * SECOND, length: Some(length * SECOND), every: None, times: None }
}

/// A fault on proxy `p`, from 0 without an end.
pub(crate) fn fault(name: &str) -> FaultWords {
    FaultWords(FaultSpec {
        name: name.into(),
        preset: None,
        kind: "keeping",
        proxy: "p".into(),
        flow: None,
        percentage: Curve::Constant(100.0),
        min_events: 20,
        key: Key::Ordinal,
        count: Count::All,
        window: Window::default(),
        min_hits: 1,
        phase: None,
        bodies: None,
        needs_http: false,
        stealth: false,
        matches: None,
        fault: Ok(Arc::new(Keeping) as Arc<dyn AnyFault>),
        summary: "does nothing".into(),
    })
}

pub(crate) struct FaultWords(FaultSpec);

impl FaultWords {
    /// Without a scenario around it.
    pub(crate) fn checked_alone(self) -> FaultSpec {
        self.0
    }
    pub(crate) fn window(mut self, window: Window) -> Self {
        self.0.window = window;
        self
    }
    pub(crate) fn on(mut self, proxy: &str) -> Self {
        self.0.proxy = proxy.into();
        self
    }
    pub(crate) fn losing(mut self) -> Self {
        self.0.fault = Ok(Arc::new(Losing));
        self
    }
    pub(crate) fn percentage(mut self, percentage: f64) -> Self {
        self.0.percentage = Curve::Constant(percentage);
        self
    }
    /// Steps of ten seconds each, and 20 events.
    pub(crate) fn ladder(mut self, steps: &[f64]) -> Self {
        self.0.percentage = Curve::Steps { steps: steps.to_vec(), hold: 10 * SECOND };
        self
    }
    pub(crate) fn first(mut self, n: u64) -> Self {
        self.0.count = Count::First(n);
        self
    }
    pub(crate) fn unavailable(mut self, why: &str) -> Self {
        self.0.fault = Err(why.into());
        self
    }
}

/// Fires above this, at once, over ten seconds and with 20 events.
pub(crate) fn guard(name: &str, metric: Metric, above: f64) -> GuardWords {
    GuardWords(GuardSpec {
        name: name.into(),
        condition: GuardCondition::Threshold { metric, above: Some(above), below: None },
        proxy: None,
        hold: 0,
        action: GuardAction::Abort,
        over: 10 * SECOND,
        min_events: 20,
    })
}

pub(crate) struct GuardWords(GuardSpec);

impl GuardWords {
    pub(crate) fn below(mut self, bound: f64) -> Self {
        if let GuardCondition::Threshold { above, below, .. } = &mut self.0.condition {
            (*above, *below) = (None, Some(bound));
        }
        self
    }
    pub(crate) fn hold(mut self, seconds: u64) -> Self {
        self.0.hold = seconds * SECOND;
        self
    }
    pub(crate) fn over(mut self, seconds: u64) -> Self {
        self.0.over = seconds * SECOND;
        self
    }
    pub(crate) fn then(mut self, action: GuardAction) -> Self {
        self.0.action = action;
        self
    }
    pub(crate) fn harm(mut self, allowed: u64) -> Self {
        self.0.condition = GuardCondition::Harm(allowed);
        self
    }
    pub(crate) fn on(mut self, proxy: &str) -> Self {
        self.0.proxy = Some(proxy.into());
        self
    }
    pub(crate) fn burns(mut self) -> Self {
        self.0.condition = GuardCondition::Burn(14.4);
        self
    }
    pub(crate) fn spec(self) -> GuardSpec {
        self.0
    }
}

/// Below this while faults act.
pub(crate) fn expect(metric: Metric, below: f64) -> ExpectSpec {
    ExpectSpec { metric, below: Some(below), above: None, during: During::Faults, proxy: None }
}

/// A TCP probe, every second.
pub(crate) fn probe(name: &str, mode: ProbeMode) -> ProbeSpec {
    let check = ProbeCheck::Tcp { address: "127.0.0.1:1".into(), send: None, expect: None };
    ProbeSpec {
        name: name.into(),
        mode,
        every: SECOND,
        timeout: SECOND,
        failures: 1,
        tolerance: 0.0,
        check: Arc::new(check),
    }
}

/// At `at`, waited for `within`, seconds.
pub(crate) fn step(name: &str, at: u64, within: u64) -> StepSpec {
    StepSpec { name: name.into(), at: at * SECOND, manual: "do it".into(), within: within * SECOND }
}

/// Below this for so many seconds before anything is injected.
pub(crate) fn steady(metric: Metric, below: f64, watched: u64) -> BeforeSpec {
    BeforeSpec::Metric { metric, below: Some(below), above: None, proxy: None, watched: watched * SECOND }
}

/// A scenario with proxy `p` and workload `w` on it.
pub(crate) fn scenario(name: &str) -> ScenarioWords {
    ScenarioWords(Checked {
        name: name.into(),
        title: Some("A title".into()),
        owner: Some("nobody".into()),
        hypothesis: Some("It holds".into()),
        environments: vec![],
        tags: vec![],
        teaches: None,
        expected: None,
        source: None,
        verified_on: None,
        seed: Some(7),
        max_duration: None,
        max_percentage: None,
        max_active_faults: None,
        on_abort: OnAbort::Release,
        release_over: 0,
        runbook: None,
        parameters: vec![],
        services: vec![ServiceSpec { name: "s".into(), kind: ServiceKind::Echo, listen: "127.0.0.1:0".into() }],
        proxies: vec![proxy("p", "service:s")],
        workloads: vec![WorkloadSpec {
            name: "w".into(),
            target: "proxy:p".into(),
            kind: WorkloadKind::Tcp(vec![Weighted {
                name: "x".into(),
                weight: 1,
                request: TcpRequest { send: "x".into(), expect: "x".into() },
            }]),
            rate: Curve::Constant(100.0),
            arrivals: Arrivals::Constant,
            timeout: SECOND,
            retries: 0,
            connections: None,
        }],
        faults: vec![],
        guards: vec![],
        probes: vec![],
        before: vec![],
        steps: vec![],
        expects: vec![],
        forecast: None,
        approvals_required: 0,
        digest: "d1".into(),
        canonical: "{}".into(),
    })
}

pub(crate) fn proxy(name: &str, upstream: &str) -> ProxySpec {
    ProxySpec {
        name: name.into(),
        listen: "127.0.0.1:0".into(),
        upstream: upstream.into(),
        protocol: Protocol::Tcp,
        closes_unreached: false,
        max_connections: None,
        connect_timeout: SECOND,
        idle_timeout: ProxySpec::IDLE_TIMEOUT,
        slo: None,
        from: None,
        to: None,
        way: Way::default(),
    }
}

pub(crate) struct ScenarioWords(Checked);

impl ScenarioWords {
    pub(crate) fn fault(mut self, fault: FaultWords) -> Self {
        self.0.faults.push(fault.0);
        self
    }
    pub(crate) fn guard(mut self, guard: GuardWords) -> Self {
        self.0.guards.push(guard.0);
        self
    }
    pub(crate) fn probe(mut self, probe: ProbeSpec) -> Self {
        self.0.probes.push(probe);
        self
    }
    pub(crate) fn expect(mut self, expect: ExpectSpec) -> Self {
        self.0.expects.push(expect);
        self
    }
    pub(crate) fn step(mut self, step: StepSpec) -> Self {
        self.0.steps.push(step);
        self
    }
    pub(crate) fn before(mut self, before: BeforeSpec) -> Self {
        self.0.before.push(before);
        self
    }
    pub(crate) fn recovers_within(self, seconds: u64) -> Self {
        #[allow(clippy::cast_precision_loss)]
        self.expect(expect(Metric::Recovery, (seconds * SECOND) as f64))
    }
    pub(crate) fn bets(mut self, metric: Metric, low: f64, high: f64) -> Self {
        let metrics = BTreeMap::from([(metric, (low, high))]);
        self.0.forecast = Some(ForecastSpec { proxy: None, metrics });
        self
    }
    pub(crate) fn max_duration(mut self, seconds: u64) -> Self {
        self.0.max_duration = Some(seconds * SECOND as Time);
        self
    }
    pub(crate) fn max_active(mut self, n: u64) -> Self {
        self.0.max_active_faults = Some(n);
        self
    }
    /// Anything that has no word of its own.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Checked)) -> Self {
        change(&mut self.0);
        self
    }
    pub(crate) fn checked(self) -> Checked {
        let mut checked = self.0;
        if checked.environments.is_empty() {
            checked.environments.push("local".into());
        }
        if checked.guards.is_empty() {
            checked.guards.push(guard("quiet", Metric::ActiveConnections, 1e9).0);
        }
        checked.max_duration = checked.max_duration.or(Some(1_000_000 * SECOND));
        checked
    }
}
