//! The language: what a scenario says once every name is resolved and every limit tested. `parse` gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

mod probe;
mod workload;

pub use probe::{ProbeCheck, ProbeMode, ProbeSpec, Secret};
pub use workload::{
    Arrivals, Burst, HttpRequest, LARGEST_DATAGRAM, SMALLEST_DATAGRAM, TcpRequest, Weighted, WorkloadKind, WorkloadSpec,
};

use crate::curve::Curve;
use crate::dist::Distribution;
use crate::draw::DrawKey;
use crate::fault::{AnyFault, Carrier, Flow};
use crate::groups::Link;
use crate::matcher::MatchSpec;
use crate::plan::{Layer, OnAbort};
use crate::recording::{Recording, Timing};
use crate::select::{Count, Key};
use crate::time::{SECOND, Time};
use crate::way::Way;
use crate::window::Window;

/// The hypothesis of an experiment that has none: it is never upheld.
pub const NONE_STATED: &str = "none stated";
/// What is held at the end of an experiment is let go over this long at most, ns.
pub const LONGEST_RELEASE: Time = 5 * SECOND;
/// How long recovery is watched unless an expectation says otherwise, ns.
pub const RECOVERY: Time = 5 * SECOND;

/// A scenario, checked. Times are ns, percentages 0 to 100, error rates 0 to 1.
#[derive(Clone, Debug)]
pub struct Checked {
    /// `[a-z0-9][a-z0-9-]*`
    pub name: String,
    /// One line for people.
    pub title: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What is expected to hold.
    pub hypothesis: Option<String>,
    /// Where it may run; empty: not said.
    pub environments: Vec<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// What it teaches (library).
    pub teaches: Option<String>,
    /// How a client that is made well behaves under it (library).
    pub expected: Option<String>,
    /// Where the facts come from (library).
    pub source: Option<String>,
    /// When they were verified, as written (library).
    pub verified_on: Option<String>,
    /// For draws; none: one is drawn at the start and printed.
    pub seed: Option<u64>,
    /// Hard end.
    pub max_duration: Option<Time>,
    /// Narrows `[safety]`.
    pub max_percentage: Option<f64>,
    /// Narrows `[safety]`.
    pub max_active_faults: Option<u64>,
    /// What becomes of held bytes on abort.
    pub on_abort: OnAbort,
    /// Over how long what is held is let go at its end, ns; 0: all at once.
    pub release_over: Time,
    /// Words for people.
    pub runbook: Option<Runbook>,
    /// With the values in force.
    pub parameters: Vec<Parameter>,
    /// Test doubles that it brings.
    pub services: Vec<ServiceSpec>,
    /// Proxies that it brings, gone after it.
    pub proxies: Vec<ProxySpec>,
    /// Load that it brings.
    pub workloads: Vec<WorkloadSpec>,
    /// At least one.
    pub faults: Vec<FaultSpec>,
    /// What ends or pauses it by itself.
    pub guards: Vec<GuardSpec>,
    /// Checks from outside.
    pub probes: Vec<ProbeSpec>,
    /// What must hold before anything is injected.
    pub before: Vec<BeforeSpec>,
    /// What people do, by time.
    pub steps: Vec<StepSpec>,
    /// What decides the verdict.
    pub expects: Vec<ExpectSpec>,
    /// A bet, scored, never deciding.
    pub forecast: Option<ForecastSpec>,
    /// Approvals that the scenario itself asks for.
    pub approvals_required: u32,
    /// SHA-256 over the canonical form of the expanded plan, hex.
    pub digest: String,
    /// The canonical form: the expanded scenario as JSON (after parameters, with defaults left as written).
    pub canonical: String,
}

impl Checked {
    /// When the last fault that has an end is over, ns on the timeline; none: no fault has an end.
    pub fn faults_end(&self) -> Option<Time> {
        self.faults.iter().filter_map(|fault| fault.window.end()).max()
    }

    /// How long recovery is watched after the faults, ns: what an `[[expect]]` on recovery allows, else 5 s.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn recovery_window(&self) -> Time {
        let recovery = self.expects.iter().filter(|expect| expect.metric == Metric::Recovery);
        let allowed = recovery
            .filter_map(|expect| expect.below)
            .fold(None, |most: Option<f64>, below| Some(most.map_or(below, |most| most.max(below))));
        allowed.map_or(RECOVERY, |below| below as Time)
    }

    /// How long the run may wait for people in all, ns.
    pub fn longest_waits(&self) -> Time {
        self.steps.iter().fold(0, |sum: Time, step| sum.saturating_add(step.within))
    }

    /// When the run ends if nothing ends it before, ns on the timeline; none: neither a fault nor `max_duration` has
    /// an end, which a checked scenario rules out.
    pub fn planned_end(&self) -> Option<Time> {
        match self.faults_end() {
            Some(end) => Some(end.saturating_add(self.recovery_window())),
            None => self.max_duration,
        }
    }
}

/// `[runbook]`
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runbook {
    /// How it is started.
    pub trigger: Option<String>,
    /// What to look at.
    pub observe: Option<String>,
    /// How to get back.
    pub recover: Option<String>,
    /// What must be done before.
    #[serde(default)]
    pub checklist: Vec<String>,
}

/// `[[parameter]]` with the value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// From `--set`, else the default.
    pub value: String,
    /// As written.
    pub default: String,
    /// One line for people.
    pub about: Option<String>,
}

/// `[[proxy]]`
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ProxySpec {
    /// `[a-z0-9][a-z0-9-]*`
    pub name: String,
    /// `address:port`, `[v6]:port` or `unix:PATH`.
    pub listen: String,
    /// `host:port`, `unix:PATH`, `service:NAME` or `proxy:NAME` (the last two resolved by the engine before the proxy is
    /// opened); `original` on a transparent proxy.
    pub upstream: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Connections at one moment; none: as many as descriptors allow.
    pub max_connections: Option<u64>,
    /// A client whose upstream can not be reached is closed (FIN), as by Toxiproxy, rather than reset. Not in the language.
    pub closes_unreached: bool,
    /// How long a connect to the upstream may take, ns.
    pub connect_timeout: Time,
    /// UDP: how long an association may be silent before it ends, ns.
    pub idle_timeout: Time,
    /// Objective (0 to 1) and window (ns) of its service level.
    pub slo: Option<(f64, Time)>,
    /// The node whose connections it carries, for faults between groups of nodes.
    pub from: Option<String>,
    /// The node that it carries them to.
    pub to: Option<String>,
    /// PROXY headers, transparent mode.
    #[serde(flatten)]
    pub way: Way,
}

/// `protocol`
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Bytes.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
    /// HTTP.
    Http,
    /// HTTP or bytes, told by the first bytes.
    Auto,
}

impl ProxySpec {
    /// [`ProxySpec::idle_timeout`] where none is written, ns.
    pub const IDLE_TIMEOUT: Time = 60 * SECOND;

    /// The link that it is between nodes.
    pub fn link(&self) -> Link<'_> {
        Link::new(&self.name, self.from.as_deref(), self.to.as_deref())
    }
}

impl Protocol {
    /// How it is carried: HTTP over connections.
    pub fn carrier(self) -> Carrier {
        match self {
            Protocol::Udp => Carrier::Datagrams,
            Protocol::Tcp | Protocol::Http | Protocol::Auto => Carrier::Stream,
        }
    }
}

/// `[[service]]`
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: ServiceKind,
    /// `address:port`
    pub listen: String,
}

/// What a service can do at one moment. Work that it has taken in it does to its end, whether or not the client still
/// waits for it, as a database does with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Requests served at one moment, at least 1.
    pub serving: u64,
    /// Requests that may wait for a place, in the order in which they came; what comes beyond is answered 503 at once.
    pub queue: u64,
}

/// Whom a service asks, with a GET on a connection of its own, before it answers. The first who answers below 500 is
/// enough; if nobody does, its own answer is 502.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// `service:NAME` or `proxy:NAME`, asked in this order; once resolved, `address:port`.
    pub targets: Vec<String>,
    /// Attempts at each, at once after each other, at least 1.
    pub tries: u32,
    /// How long each attempt may take, ns.
    pub timeout: Time,
}

/// What a service does.
#[derive(Clone, Debug, PartialEq)]
pub enum ServiceKind {
    /// Answers every HTTP/1.1 request.
    Http {
        /// Status of the answer.
        status: u16,
        /// Bytes of the body.
        size: u64,
        /// Time to the answer.
        latency: Option<Distribution>,
        /// How much it can do at one moment; none: everything that comes.
        capacity: Option<Capacity>,
        /// Whom it asks before it answers.
        calls: Option<Calls>,
    },
    /// Sends back what it gets.
    Echo,
    /// Sends a text on connect, then answers each line with it.
    Banner {
        /// The text.
        text: String,
    },
    /// Answers HTTP requests as somebody else was seen to.
    Recording {
        /// What was seen.
        recording: Arc<Recording>,
        /// When answers come.
        timing: Timing,
        /// Whether a request must have the query and the body of a recorded one to be answered.
        strict: bool,
    },
    /// Sends each datagram back.
    UdpEcho,
}

impl ServiceKind {
    /// How it is reached.
    pub fn carrier(&self) -> Carrier {
        match self {
            ServiceKind::Http { .. }
            | ServiceKind::Echo
            | ServiceKind::Banner { .. }
            | ServiceKind::Recording { .. } => Carrier::Stream,
            ServiceKind::UdpEcho => Carrier::Datagrams,
        }
    }
}

/// `[[fault]]`
#[derive(Clone, Debug)]
pub struct FaultSpec {
    /// Its name: the kind, unless written.
    pub name: String,
    /// The name of the preset that it is a part of: its parts select the same units.
    pub preset: Option<String>,
    /// The kind as written: a preset keeps its own name.
    pub kind: &'static str,
    /// Proxies by name, globs allowed, or `host:NAME`.
    pub proxy: String,
    /// The direction; none: both.
    pub flow: Option<Flow>,
    /// Share of units.
    pub percentage: Curve<f64>,
    /// Where that is a ladder: events on a step before the next one up.
    pub min_events: u64,
    /// What stands for the unit.
    pub key: Key,
    /// Which of the matching units.
    pub count: Count,
    /// When.
    pub window: Window,
    /// Fewer hits make the run invalid.
    pub min_hits: u64,
    /// Where it acts in an HTTP exchange; none: it acts on connections, beneath HTTP too.
    pub phase: Option<Phase>,
    /// Whose body it acts on in an exchange; none: both.
    pub bodies: Option<Flow>,
    /// Whether it can act on nothing but HTTP exchanges as it is written.
    pub needs_http: bool,
    /// The answers that it makes do not name it.
    pub stealth: bool,
    /// Which exchanges it may select; none: all.
    pub matches: Option<Arc<MatchSpec>>,
    /// The configuration of the kind; none: a kind or a form that this version can check but not run, and why.
    pub fault: Result<Arc<dyn AnyFault>, String>,
    /// The fault's own fields, for plan and report, in words (`delay 200ms ± 50ms normal`).
    pub summary: String,
}

/// Why a fault that clients ask for can't act where none may.
pub(crate) const ASKS_NOBODY: &str =
    "it lets no client ask for faults: it needs `http = { envoy_headers_from = [\"10.0.0.0/8\", …] }`";

impl FaultSpec {
    /// What it acts on where a proxy speaks this protocol.
    pub fn layer(&self, protocol: Protocol) -> Layer {
        match (protocol, self.phase) {
            (Protocol::Tcp | Protocol::Udp, _) | (_, None) => Layer::Connection,
            (Protocol::Auto, Some(phase)) if !self.needs_http => Layer::Either(phase),
            (_, Some(phase)) => Layer::Exchange(phase),
        }
    }

    /// Which exchanges, or connections, it may select on a proxy that goes this way; none: all.
    ///
    /// # Errors
    /// Clients have to ask for it, and that proxy lets nobody; in words.
    pub fn rule_on(&self, way: &Way) -> Result<Option<Arc<MatchSpec>>, String> {
        let Some(asked) = self.fault.as_ref().ok().and_then(|fault| fault.asked_for()) else {
            return Ok(self.matches.clone());
        };
        let from = way.http.as_ref().map(|http| http.envoy_headers_from.clone()).unwrap_or_default();
        if from.is_empty() {
            return Err(ASKS_NOBODY.to_owned());
        }
        let trusted = MatchSpec { source: Some(from), ..MatchSpec::default() };
        let own = self.matches.as_deref().cloned();
        let all = Some([trusted, asked].into_iter().chain(own).collect());
        Ok(Some(Arc::new(MatchSpec { all, ..MatchSpec::default() })))
    }

    /// Whether its percentage is a ladder: steps that it climbs while guards are clean.
    pub fn has_ladder(&self) -> bool {
        matches!(self.percentage, Curve::Steps { .. })
    }

    /// Its randomness in an experiment of this name.
    pub fn draws(&self, seed: u64, experiment: &str) -> DrawKey {
        let own = DrawKey::new(seed, experiment, &self.name);
        match &self.preset {
            Some(preset) => own.selecting_as(DrawKey::new(seed, experiment, preset)),
            None => own,
        }
    }

    /// See [`crate::fault::Fault::approximated`].
    pub fn approximated(&self) -> Option<&'static str> {
        self.fault.as_ref().ok()?.approximated()
    }
}

/// `phase`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Phase {
    BeforeConnect,
    BeforeUpstream,
    AfterUpstreamHead,
    MidBody,
    AfterUpstream,
}

impl Phase {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Phase::BeforeConnect => "before_connect",
            Phase::BeforeUpstream => "before_upstream",
            Phase::AfterUpstreamHead => "after_upstream_head",
            Phase::MidBody => "mid_body",
            Phase::AfterUpstream => "after_upstream",
        }
    }
}

/// A metric's name: see `docs/metrics.md`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[allow(missing_docs)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    ErrorRate,
    ConnectionErrorRate,
    P50,
    P90,
    P95,
    P99,
    #[serde(rename = "p99.9")]
    P999,
    Throughput,
    ActiveConnections,
    /// Of guards only.
    Waiting,
    Recovery,
}

/// `[[guard]]`
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSpec {
    /// Unique, up to 80 characters.
    pub name: String,
    /// What it watches.
    pub condition: GuardCondition,
    /// The proxy it watches; none: the workload's target, else every proxy that the faults name.
    pub proxy: Option<String>,
    /// How long the condition must hold, ns.
    pub hold: Time,
    /// What it does.
    pub action: GuardAction,
    /// Over how much of the past a metric is taken, ns.
    pub over: Time,
    /// Fewer events in `over` than this: no opinion.
    pub min_events: u64,
}

/// What a guard watches.
#[derive(Clone, Debug, PartialEq)]
pub enum GuardCondition {
    /// A metric above or below a value (rates 0 to 1, latencies ns, throughput per second).
    Threshold {
        /// Which.
        metric: Metric,
        /// Fires above this.
        above: Option<f64>,
        /// Fires below this.
        below: Option<f64>,
    },
    /// Burn rate of the proxy's slo.
    Burn(f64),
    /// Bad requests allowed.
    Harm(u64),
}

/// `action`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuardAction {
    /// End the experiment.
    #[default]
    Abort,
    /// Hold it; only a person resumes.
    Pause,
    /// Back one step on the ladder.
    StepDown,
    /// Say so.
    Alert,
}

/// `[[step]]`: something that a person does. The timeline stands at its time until it is marked, or its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepSpec {
    /// Unique, up to 80 characters.
    pub name: String,
    /// When it is asked for, ns on the timeline.
    pub at: Time,
    /// What the person is to do.
    pub manual: String,
    /// How long it is waited for, ns.
    pub within: Time,
}

/// `[[before]]`: what must hold before anything is injected.
#[derive(Clone, Debug, PartialEq)]
pub enum BeforeSpec {
    /// A metric over a stretch of load without faults.
    Metric {
        /// Which; never recovery.
        metric: Metric,
        /// Holds below this (units as in [`GuardCondition::Threshold`]).
        below: Option<f64>,
        /// Holds above this.
        above: Option<f64>,
        /// As for guards.
        proxy: Option<String>,
        /// How long it is watched, ns.
        watched: Time,
    },
    /// The probe of this name passes.
    Probe(String),
}

/// `[[expect]]`
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectSpec {
    /// What.
    pub metric: Metric,
    /// Passes below this (units as in [`GuardCondition::Threshold`]).
    pub below: Option<f64>,
    /// Passes above this.
    pub above: Option<f64>,
    /// When.
    pub during: During,
    /// As for guards.
    pub proxy: Option<String>,
}

/// `during`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum During {
    /// From the first fault's opening to the last one's end.
    #[default]
    Faults,
    /// After that.
    Recovery,
    /// The whole run.
    All,
}

/// `[forecast]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastSpec {
    /// As for guards.
    pub proxy: Option<String>,
    /// Low and high (units as in [`GuardCondition::Threshold`]).
    pub metrics: BTreeMap<Metric, (f64, f64)>,
}
