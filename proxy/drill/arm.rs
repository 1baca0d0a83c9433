//! From a checked scenario to one that is ready to start: everything that is in the way is listed at once.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use squall_core::config::Safety;
use squall_core::curve::Curve;
use squall_core::fault::{AnyFault, Carrier, Door, Flow, Handshake, Place};
use squall_core::limits::Limits;
use squall_core::matcher::MatchSpec;
use squall_core::parse::glob;
use squall_core::plan::Layer;
use squall_core::plane::ProxyInfo;
use squall_core::scenario::{
    BeforeSpec, Checked, FaultSpec, GuardAction, GuardCondition, Metric, Protocol, ProxySpec, ServiceKind,
};
use squall_core::select::{Count, Key};
use squall_core::time::Time;
use squall_core::tls::Mode;
use squall_core::tripwire::never_burns;
use squall_core::way::Way;

use crate::engine::Keep;
use crate::guard::wire;
use crate::metrics::{Watch, word};
use crate::probe;
use crate::run::Watching;
use crate::schedule::Schedule;

/// What a scenario is held against.
pub(crate) struct Ground<'a> {
    pub(crate) environment: &'a str,
    pub(crate) safety: &'a Safety,
    /// Proxies that run already.
    pub(crate) proxies: &'a [ProxyInfo],
    pub(crate) keep: Keep,
    /// Whether packets can be dropped in the kernel; if not, why.
    pub(crate) drops: Result<(), String>,
    /// Nothing is to be injected.
    pub(crate) observed: bool,
    /// The wall clock.
    pub(crate) wall: SystemTime,
    /// Approvals that are missing; in words.
    pub(crate) consent: Vec<String>,
}

/// A fault on one of its proxies.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) proxy: Arc<str>,
    /// In which direction it acts there; none: both.
    pub(crate) flow: Option<Flow>,
    /// What it acts on there.
    pub(crate) layer: Layer,
    /// Which exchanges or connections it may select there; none: all.
    pub(crate) rule: Option<Arc<MatchSpec>>,
    /// What it is there.
    pub(crate) fault: Arc<dyn AnyFault>,
}

/// A scenario with every name resolved against what runs here.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) schedule: Schedule,
    /// Per fault: the proxies that it acts on.
    pub(crate) targets: Vec<Vec<Target>>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) watching: Watching,
    /// What the forecast watches.
    pub(crate) forecast: Option<usize>,
    /// Proxies whose turns are read.
    pub(crate) turns: Vec<Arc<str>>,
    /// The hard end, ns since the start.
    pub(crate) limit: Option<Time>,
}

/// Resolves a scenario, or lists everything that is in the way.
pub(crate) fn resolve(checked: &Checked, ground: &Ground<'_>) -> Result<Resolved, Vec<String>> {
    let mut arming =
        Arming { checked, ground, names: Vec::new(), links: Vec::new(), against: Vec::new(), watches: Vec::new() };
    arming.check_policy();
    arming.check_proxies();
    let targets = arming.resolve_faults();
    arming.check_guards();
    arming.against.extend(checked.probes.iter().filter_map(|probe| probe::in_the_way(probe, ground.safety)));
    let (watching, forecast) = arming.resolve_watches(&targets);
    let turns = arming.turns(&watching, forecast);
    let limit = match ground.keep {
        Keep::Detached(max) => {
            let max = Time::try_from(max.as_nanos()).unwrap_or(Time::MAX);
            Some(checked.max_duration.map_or(max, |own| own.min(max)))
        }
        Keep::Lease | Keep::Owned => checked.max_duration,
    };
    arming.check_calendar(limit);
    let schedule = Schedule::new(checked, limit);
    let Arming { mut against, watches, .. } = arming;
    match schedule {
        Ok(schedule) if against.is_empty() => {
            Ok(Resolved { schedule, targets, watches, watching, forecast, turns, limit })
        }
        Ok(_) => Err(against),
        Err(why) => {
            against.push(why);
            Err(against)
        }
    }
}

/// Resolves one fault of a running experiment whose configuration has changed, or lists everything that is in the way.
/// `ground.proxies` are all that run, those of the experiment among them.
pub(crate) fn resolve_changed(
    checked: &Checked,
    fault: &FaultSpec,
    ground: &Ground<'_>,
) -> Result<Vec<Target>, Vec<String>> {
    let mut arming =
        Arming { checked, ground, names: Vec::new(), links: Vec::new(), against: Vec::new(), watches: Vec::new() };
    arming.take_running();
    arming.check_exposure();
    let targets = arming.resolve_fault(fault);
    if arming.against.is_empty() { Ok(targets) } else { Err(arming.against) }
}

/// What a scenario has to say before it may touch anything, and does not.
fn missing(checked: &Checked) -> Vec<&'static str> {
    let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    let all = [
        ("`owner`", is_said(&checked.owner)),
        ("`hypothesis`", is_said(&checked.hypothesis)),
        ("`environments`", !checked.environments.is_empty()),
        ("`max_duration`", checked.max_duration.is_some()),
        ("a `[[guard]]`", !checked.guards.is_empty()),
    ];
    all.into_iter().filter(|(_, is_there)| !is_there).map(|(what, _)| what).collect()
}

struct Arming<'a> {
    checked: &'a Checked,
    ground: &'a Ground<'a>,
    /// Proxies that the scenario brings and those that run.
    names: Vec<Arc<str>>,
    links: Vec<&'a ProxySpec>,
    against: Vec<String>,
    watches: Vec<Watch>,
}

impl Arming<'_> {
    fn check_policy(&mut self) {
        let (checked, ground) = (self.checked, self.ground);
        let environment = ground.environment;
        let missing = missing(checked);
        // toxics come one by one, and what only looks on does no harm
        if !(missing.is_empty() || checked.faults.is_empty() || ground.observed && checked.workloads.is_empty()) {
            self.against.push(format!("to be armed it must have: {}", missing.join(", ")));
        }
        let named = checked.environments.iter().any(|name| name == environment);
        if !named && (!checked.environments.is_empty() || environment == "production") {
            let list = checked.environments.join(", ");
            let list = if list.is_empty() { "none".to_owned() } else { list };
            self.against.push(format!("this host is `{environment}`, and the scenario may run in: {list}"));
        }
        // to look on needs nobody's consent; load on somebody's system does
        if !(ground.observed && checked.workloads.is_empty()) {
            self.against.extend(ground.consent.iter().cloned());
        }
        self.check_exposure();
    }

    /// A run lies in its window to its hard end; without one it may be said to have none.
    fn check_calendar(&mut self, limit: Option<Time>) {
        let longest = limit.unwrap_or(squall_core::unit::Duration::MAX.0);
        let fits = self.ground.safety.calendar.check(self.ground.wall, Duration::from_nanos(longest));
        self.against.extend(fits.err().into_iter().flatten());
    }

    /// `max_percentage` is held against faults selected by percentage.
    fn check_exposure(&mut self) {
        let is_capped = self.checked.max_active_faults.or(self.ground.safety.max_active_faults).is_some();
        let doors =
            self.checked.faults.iter().filter(|fault| fault.fault.as_ref().is_ok_and(|it| it.door() != Door::Open));
        for fault in doors.filter(|_| is_capped) {
            let name = &fault.name;
            self.against.push(format!("fault `{name}` shuts everybody out, which `max_active_faults` can not limit"));
        }
        let limits = [(self.ground.safety.max_percentage, "[safety]"), (self.checked.max_percentage, "the scenario")];
        for fault in self.checked.faults.iter().filter(|fault| fault.count == Count::All) {
            let most = fault.percentage.values().into_iter().copied().fold(0.0, f64::max);
            for (limit, whose) in limits {
                if let Some(limit) = limit.filter(|limit| most > *limit) {
                    let name = &fault.name;
                    self.against.push(format!("fault `{name}` selects up to {most} %; {whose} allows {limit} %"));
                }
            }
        }
    }

    fn take_running(&mut self) {
        for running in self.ground.proxies {
            self.names.push(running.spec.name.as_str().into());
            self.links.push(&running.spec);
        }
    }

    fn check_proxies(&mut self) {
        self.take_running();
        let limits = Limits::new(self.ground.safety);
        if let Err(why) = &limits {
            self.against.push(format!("[safety] can't be enforced: {why}"));
        }
        for spec in &self.checked.proxies {
            if self.names.iter().any(|name| **name == *spec.name) {
                self.against.push(format!("there is a proxy `{}` already", spec.name));
                continue;
            }
            self.names.push(spec.name.as_str().into());
            self.links.push(spec);
            if let Ok(limits) = &limits
                && spec.upstream.parse::<SocketAddr>().is_ok() // a name is held against the lists by the data plane
                && let Err(why) = allowed(limits, &spec.upstream)
            {
                self.against.push(format!("proxy `{}`: upstream {why}", spec.name));
            }
        }
        for workload in &self.checked.workloads {
            let Ok(limits) = &limits else { break };
            if let Err(why) = allowed(limits, &workload.target) {
                self.against.push(format!("workload `{}`: target {why}", workload.name));
            }
        }
        for workload in &self.checked.workloads {
            let Some(proxy) = workload.target.strip_prefix("proxy:") else { continue };
            let is_known = self.links.iter().any(|spec| spec.name == proxy);
            if is_known && self.carrier(proxy) != workload.kind.carrier() {
                let why = "connections and datagrams do not go together";
                self.against.push(format!("workload `{}`: target `{}`: {why}", workload.name, workload.target));
            }
        }
        let targets = self.checked.workloads.iter().map(|workload| (&workload.name, &workload.target, "workload"));
        let upstreams = self.checked.proxies.iter().map(|spec| (&spec.name, &spec.upstream, "proxy"));
        let calls = self.checked.services.iter().filter_map(|service| match &service.kind {
            ServiceKind::Http { calls: Some(calls), .. } => Some((&service.name, &calls.targets)),
            _ => None,
        });
        let calls = calls.flat_map(|(name, targets)| targets.iter().map(move |target| (name, target, "service")));
        for (name, address, what) in targets.chain(upstreams).chain(calls).collect::<Vec<_>>() {
            let missing = match address.split_once(':') {
                Some(("proxy", to)) => !self.names.iter().any(|known| &**known == to),
                Some(("service", to)) => !self.checked.services.iter().any(|service| service.name == to),
                _ => false,
            };
            if missing {
                self.against.push(format!("{what} `{name}`: there is no `{address}`"));
            }
        }
    }

    fn resolve_faults(&mut self) -> Vec<Vec<Target>> {
        self.checked.faults.iter().map(|fault| self.resolve_fault(fault)).collect()
    }

    fn resolve_fault(&mut self, fault: &FaultSpec) -> Vec<Target> {
        let who = format!("fault `{}`", fault.name);
        let made = match &fault.fault {
            Err(why) => {
                self.against.push(format!("{who}: {why}"));
                None
            }
            Ok(made) => Some(made),
        };
        let proxies = self.proxies(&who, &fault.proxy);
        let (Some(made), false) = (made, proxies.is_empty()) else { return Vec::new() };
        let places: Vec<(Arc<str>, Option<Flow>)> = match made.groups() {
            None => proxies.into_iter().map(|proxy| (proxy, fault.flow)).collect(),
            Some(groups) => {
                let named = self.links.iter().filter(|spec| proxies.iter().any(|proxy| **proxy == *spec.name));
                let cuts = groups.cuts(&named.map(|spec| spec.link()).collect::<Vec<_>>());
                self.or_against(&who, cuts).into_iter().flatten().map(|(proxy, flow)| (proxy.into(), flow)).collect()
            }
        };
        let everybody = self.takes_everybody(fault);
        let settled = |(proxy, flow): (Arc<str>, Option<Flow>)| {
            let settled =
                made.settle(&Place { flow, carrier: self.carrier(&proxy), everybody, drops: self.drops(&proxy) });
            let settled = self.or_against(&format!("{who} on `{proxy}`"), settled)?;
            let protocol = self.protocol(&proxy);
            if fault.needs_http && matches!(protocol, Protocol::Tcp | Protocol::Udp) {
                self.against.push(format!("{who} needs HTTP, and proxy `{proxy}` carries bytes: it could never act"));
                return None;
            }
            let by_rule = fault.matches.as_ref().is_some_and(|rule| rule.needs_hello());
            let needs = made.handshake().max(if by_rule { Handshake::Seen } else { Handshake::None });
            if let Some(why) = needs.misses(self.tls(&proxy)) {
                self.against.push(format!("{who} on `{proxy}`: {why}"));
                return None;
            }
            let rule = fault.rule_on(&self.way(&proxy));
            let rule = self.or_against(&format!("{who} on `{proxy}`"), rule)?;
            let layer = fault.layer(protocol);
            Some(Target { proxy, flow, layer, rule, fault: settled.unwrap_or_else(|| made.clone()) })
        };
        places.into_iter().filter_map(settled).collect()
    }

    fn takes_everybody(&self, fault: &FaultSpec) -> bool {
        let all = fault.percentage == Curve::Constant(100.0) && fault.count == Count::All && fault.key == Key::Ordinal;
        all && fault.matches.is_none()
            && self.checked.max_active_faults.is_none()
            && self.ground.safety.max_active_faults.is_none()
    }

    /// What becomes of the TLS of a proxy's clients.
    fn tls(&self, proxy: &str) -> Option<Mode> {
        self.way(proxy).tls.map(|tls| tls.mode)
    }

    fn way(&self, proxy: &str) -> Way {
        self.links.iter().find(|spec| spec.name == proxy).map(|spec| spec.way.clone()).unwrap_or_default()
    }

    fn carrier(&self, proxy: &str) -> Carrier {
        self.protocol(proxy).carrier()
    }

    fn protocol(&self, proxy: &str) -> Protocol {
        self.links.iter().find(|spec| spec.name == proxy).map_or(Protocol::Tcp, |spec| spec.protocol)
    }

    /// Whether packets from a proxy's clients, and from its upstream, can be dropped in the kernel.
    fn drops(&self, proxy: &str) -> [Result<(), String>; 2] {
        let spec = self.links.iter().find(|spec| spec.name == proxy);
        if spec.is_some_and(|spec| spec.protocol == Protocol::Http || spec.way.ends_tls()) {
            let why = "its connections are carried by HTTP or TLS, where squall puts no filter on their sockets";
            return [Err(why.to_owned()), Err(why.to_owned())];
        }
        let sides = [spec.map_or("", |spec| spec.listen.as_str()), spec.map_or("", |spec| spec.upstream.as_str())];
        sides.map(|address| match address.starts_with("unix:") {
            true => Err(format!("{address} is a unix socket, which has no packets")),
            false => self.ground.drops.clone(),
        })
    }

    /// What it is, or why it can't be told, which goes on the list.
    fn or_against<T>(&mut self, who: &str, what: Result<T, String>) -> Option<T> {
        what.map_err(|why| self.against.push(format!("{who}: {why}"))).ok()
    }

    fn proxies(&mut self, who: &str, pattern: &str) -> Vec<Arc<str>> {
        let found: Vec<Arc<str>> = self.names.iter().filter(|name| names(pattern, name)).cloned().collect();
        if found.is_empty() && pattern.starts_with(HOST) {
            self.against
                .push(format!("{who}: `{pattern}` is a host that nobody has opened; `squall wrap` opens hosts"));
        } else if found.is_empty() {
            let known = self.names.join(", ");
            let known = if known.is_empty() { "there are none".to_owned() } else { format!("there are: {known}") };
            self.against.push(format!("{who}: there is no proxy `{pattern}` ({known})"));
        }
        found
    }

    fn check_guards(&mut self) {
        let has_ladder = self.checked.faults.iter().any(FaultSpec::has_ladder);
        for guard in &self.checked.guards {
            if guard.action == GuardAction::StepDown && !has_ladder {
                let why = "`step_down` needs a fault whose percentage is a ladder, { steps, hold }; or use `abort`";
                self.against.push(format!("guard `{}`: {why}", guard.name));
            }
        }
    }

    fn resolve_watches(&mut self, targets: &[Vec<Target>]) -> (Watching, Option<usize>) {
        let checked = self.checked;
        let mut watching = Watching::default();
        for guard in &checked.guards {
            let who = format!("guard `{}`", guard.name);
            let metric = match guard.condition {
                GuardCondition::Threshold { metric: Metric::Recovery, .. } => {
                    self.against.push(format!("{who}: recovery is known only after the faults; use an [[expect]]"));
                    None
                }
                GuardCondition::Threshold { metric, .. } => Some(metric),
                GuardCondition::Burn(_) | GuardCondition::Harm(_) => None,
            };
            let index = self.watch(&who, guard.proxy.as_deref(), metric, targets);
            let watch = self.watches.get(index).cloned().unwrap_or_default();
            let objective = match guard.condition {
                GuardCondition::Burn(rate) => self.objective(&who, rate, &watch),
                _ => None,
            };
            if metric.is_none() && watch.proxies.is_empty() {
                self.against.push(format!("{who}: no proxy of squall is watched"));
            }
            watching.guards.push(index);
            watching.wirings.push(wire::wiring(guard, &watch, objective));
        }
        for expect in &checked.expects {
            let who = format!("expectation on {}", word(expect.metric));
            watching.expects.push(self.watch(&who, expect.proxy.as_deref(), Some(expect.metric), targets));
        }
        for before in &checked.before {
            watching.before.push(match before {
                BeforeSpec::Metric { metric, proxy, .. } => {
                    let who = format!("condition on {}", word(*metric));
                    self.watch(&who, proxy.as_deref(), Some(*metric), targets)
                }
                BeforeSpec::Probe(_) => 0,
            });
        }
        let forecast = &checked.forecast;
        let forecast =
            forecast.as_ref().map(|forecast| self.watch("forecast", forecast.proxy.as_deref(), None, targets));
        watching.watches = self.watches.len();
        (watching, forecast)
    }

    /// The objective of the proxies whose budget a guard watches.
    fn objective(&mut self, who: &str, rate: f64, watch: &Watch) -> Option<f64> {
        let of = |proxy: &Arc<str>| self.links.iter().find(|spec| *spec.name == **proxy).and_then(|spec| spec.slo);
        let slos: Vec<(&Arc<str>, Option<f64>)> =
            watch.proxies.iter().map(|proxy| (proxy, of(proxy).map(|(objective, _)| objective))).collect();
        let why = match slos[..] {
            [] => return None,
            [(_, Some(first)), ref others @ ..] if others.iter().all(|(_, other)| *other == Some(first)) => {
                let Some(why) = never_burns(rate, first) else { return Some(first) };
                why
            }
            _ => match slos.iter().find(|(_, slo)| slo.is_none()) {
                Some((proxy, _)) => {
                    let fix = "slo = { objective = \"99.9%\", window = \"30d\" }";
                    format!("proxy `{proxy}` has no `slo` whose budget could burn; give it one: {fix}")
                }
                None => "its proxies have different objectives: name one in `proxy`".to_owned(),
            },
        };
        self.against.push(format!("{who}: {why}"));
        None
    }

    /// The workload's target, else all proxies that the faults name.
    fn watch(&mut self, who: &str, proxy: Option<&str>, metric: Option<Metric>, targets: &[Vec<Target>]) -> usize {
        let workloads = self.checked.workloads.iter().enumerate();
        let mut watch = Watch::default();
        if let Some(pattern) = proxy {
            watch.proxies = self.proxies(who, pattern);
            let on = |target: &str| watch.proxies.iter().any(|proxy| target.strip_prefix("proxy:") == Some(&**proxy));
            watch.workloads = workloads.filter(|(_, workload)| on(&workload.target)).map(|(n, _)| n).collect();
        } else {
            let reached = workloads.clone().filter_map(|(_, workload)| workload.target.strip_prefix("proxy:"));
            watch.proxies = reached.map(Arc::from).collect();
            watch.workloads = workloads.map(|(n, _)| n).collect();
            if watch.proxies.is_empty() {
                watch.proxies = targets.iter().flatten().map(|target| target.proxy.clone()).collect();
            }
            watch.proxies.sort();
            watch.proxies.dedup();
        }
        let is_http = |proxy: &Arc<str>| matches!(self.protocol(proxy), Protocol::Http);
        watch.http = !watch.proxies.is_empty() && watch.proxies.iter().all(is_http);
        if let Some(why) = metric.filter(|_| !watch.proxies.is_empty()).and_then(|metric| watch.lacks(metric)) {
            self.against.push(format!("{who}: {why}"));
        }
        self.watches.iter().position(|known| *known == watch).unwrap_or_else(|| {
            self.watches.push(watch);
            self.watches.len() - 1
        })
    }

    fn turns(&self, watching: &Watching, forecast: Option<usize>) -> Vec<Arc<str>> {
        let guards =
            self.checked.guards.iter().zip(&watching.guards).filter_map(|(guard, watch)| match guard.condition {
                GuardCondition::Threshold { metric, .. } => Some((metric, *watch)),
                _ => None,
            });
        let expects = self.checked.expects.iter().zip(&watching.expects).map(|(expect, watch)| (expect.metric, *watch));
        let bets = self.checked.forecast.iter().flat_map(|forecast| forecast.metrics.keys().copied());
        let bets = bets.filter_map(|metric| Some((metric, forecast?)));
        let before = self.checked.before.iter().zip(&watching.before).filter_map(|(before, watch)| match before {
            BeforeSpec::Metric { metric, .. } => Some((*metric, *watch)),
            BeforeSpec::Probe(_) => None,
        });
        let read = guards.chain(expects).chain(bets).chain(before).filter_map(|(metric, watch)| {
            let watch = self.watches.get(watch)?;
            watch.reads_turns(metric).then_some(&watch.proxies)
        });
        // what a ladder counts on a step may be turns, whatever the guards themselves read
        let has_ladder = self.checked.faults.iter().any(FaultSpec::has_ladder);
        let guarded = watching.guards.iter().filter(|_| has_ladder).filter_map(|watch| self.watches.get(*watch));
        let counted = guarded.filter(|watch| watch.workloads.is_empty()).map(|watch| &watch.proxies);
        read.chain(counted).flatten().cloned().collect()
    }
}

/// How the names of the proxies begin that `squall wrap` opens for hosts.
const HOST: &str = "host:";

/// Whether a pattern names this proxy. A host is named with all its ports: `host:NAME` is `host:NAME:PORT` too.
fn names(pattern: &str, name: &str) -> bool {
    let of_a_port = |name: &str| name.rsplit_once(':').is_some_and(|(host, _)| host != "host" && glob(pattern, host));
    glob(pattern, name) || pattern.starts_with(HOST) && of_a_port(name)
}

/// Whether every address behind `host:port` may be reached. A reference or a socket file is none; a name that can't be
/// resolved reaches nobody.
fn allowed(limits: &Limits, address: &str) -> Result<(), String> {
    let Some((host, _)) = address.rsplit_once(':') else { return Ok(()) };
    if matches!(address.split(':').next(), Some("proxy" | "service" | "unix")) {
        return Ok(());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut resolved = address.to_socket_addrs().into_iter().flatten();
    resolved.try_for_each(|to| limits.check(host, to))
}
