//! What a scenario will do, told without opening a socket: its timeline, and what is decided for the first units.

use std::collections::BTreeMap;
use std::fmt;

use crate::chain::Dialogue;
use crate::fault::{Act, AnyCx, AnyFault, Asked, Flow, Gate, Item, Offer, Opening, Phase, Ruling, Span, Until};
use crate::http::Response;
use crate::parse::glob;
use crate::plan::Layer;
use crate::scenario::{Checked, FaultSpec, Protocol, ProxySpec, WorkloadSpec};
use crate::select::{Count, Key, Select};
use crate::time::{SECOND, Time};
use crate::unit::Duration;

/// Turns of a connection for which delays are shown.
const STEPS: u64 = 3;
/// Openings of one fault that the timeline shows.
const OPENINGS: u64 = 20;

/// See [`preview`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct Preview {
    /// The experiment's name.
    pub name: String,
    /// SHA-256 of the expanded scenario, hex.
    pub digest: String,
    /// For draws.
    pub seed: u64,
    /// When the run ends if nothing ends it before, seconds.
    pub planned: f64,
    /// When it ends at the latest with steps that nobody marks, seconds: waits and `max_duration` are counted in.
    pub longest: f64,
    /// What happens when.
    pub timeline: Vec<Moment>,
    /// What is decided, by fault.
    pub faults: Vec<FaultPreview>,
    /// What is likely not to do what was meant.
    pub warnings: Vec<String>,
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Moment {
    /// Seconds since the start.
    pub at: f64,
    /// In words.
    pub what: String,
}

/// What one fault decides.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FaultPreview {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The proxies, as written.
    pub proxy: String,
    /// `upstream`, `downstream` or `both`.
    pub direction: String,
    /// What it does, in words.
    pub summary: String,
    /// Between groups of nodes: the proxies that it cuts, as far as they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<Cut>,
    /// Why what it does is only near to what it stands for, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approximated: Option<&'static str>,
    /// Why it can't run yet, where it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_available: Option<String>,
    /// Seconds since the window opened for which percentage and delays are told, where they change with time.
    pub told_for: f64,
    /// The first units, by ordinal; none where another key stands for the unit.
    pub units: Vec<UnitPreview>,
}

/// A proxy that a fault between groups of nodes cuts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cut {
    /// Its name.
    pub proxy: String,
    /// `upstream`, `downstream` or `both`.
    pub direction: &'static str,
}

/// What is decided for one unit.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct UnitPreview {
    /// Ordinal of the connection on its listener, from 0; where the fault acts on HTTP exchanges, the first one of it. `first`, `nth` and `each` are told as if the fault acted from
    /// the first connection on.
    pub unit: u64,
    /// The selection draw, 0 to 100: selected while it is below the percentage.
    pub draw: f64,
    /// Whether it is selected.
    pub selected: bool,
    /// Delays of the first turns, ns, where the fault delays; of an exchange one.
    pub delays: Vec<Time>,
}

/// Tells what a scenario will do with this seed to the first `units` units of each fault. `others`: proxies that it does
/// not bring itself.
#[allow(clippy::cast_precision_loss)]
pub fn preview(checked: &Checked, others: &[ProxySpec], seed: u64, units: usize) -> Preview {
    let end = checked.planned_end().unwrap_or(0);
    let longest = end.saturating_add(checked.longest_waits());
    Preview {
        name: checked.name.clone(),
        digest: checked.digest.clone(),
        seed,
        planned: seconds(end),
        longest: seconds(checked.max_duration.map_or(longest, |max| max.min(longest))),
        timeline: timeline(checked, end),
        faults: checked.faults.iter().map(|fault| decisions(checked, others, fault, seed, units, end)).collect(),
        warnings: checked.faults.iter().filter_map(|fault| hits_nobody(checked, fault, end)).collect(),
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(time: Time) -> f64 {
    time as f64 / SECOND as f64
}

fn timeline(checked: &Checked, end: Time) -> Vec<Moment> {
    let mut moments = BTreeMap::<Time, Vec<String>>::new();
    let mut add = |at, what| moments.entry(at).or_default().push(what);
    add(0, "start".to_owned());
    for fault in &checked.faults {
        let window = &fault.window;
        let rounds = window.times.unwrap_or(if window.every.is_some() { u64::MAX } else { 1 });
        for round in 0..rounds.min(OPENINGS) {
            let opens = window.at.saturating_add(window.every.unwrap_or(0).saturating_mul(round));
            if opens >= end {
                break;
            }
            add(opens, format!("{} begins: {} {}", fault.name, fault.kind, fault.summary));
            if let Some(length) = window.length {
                add(opens.saturating_add(length).min(end), format!("{} ends", fault.name));
            }
        }
        if rounds > OPENINGS {
            let last = window.at.saturating_add(window.every.unwrap_or(0).saturating_mul(OPENINGS));
            if last < end {
                add(last, format!("{} goes on so", fault.name));
            }
        }
    }
    for step in &checked.steps {
        let what = format!("step {:?} waits up to {}: {}", step.name, Duration(step.within), step.manual);
        add(step.at, what);
    }
    if let Some(last) = checked.faults_end() {
        add(last, format!("recovery is watched for {}", Duration(checked.recovery_window())));
    }
    add(end, "end".to_owned());
    let told = |(at, what): (Time, Vec<String>)| what.into_iter().map(move |what| Moment { at: seconds(at), what });
    moments.into_iter().flat_map(told).collect()
}

fn decisions(
    checked: &Checked,
    others: &[ProxySpec],
    fault: &FaultSpec,
    seed: u64,
    units: usize,
    end: Time,
) -> FaultPreview {
    let open = fault.window.length.unwrap_or(end.saturating_sub(fault.window.at));
    let elapsed = open.saturating_sub(1);
    let key = fault.draws(seed, &checked.name);
    let phase = phase(checked, others, fault);
    let (key_of, count) = (fault.key.clone(), fault.count);
    let select = Select { percentage: fault.percentage.clone(), ladder: None, key: key_of, count, cap: None };
    let told = if fault.key == Key::Ordinal { units as u64 } else { 0 };
    let percentage = fault.percentage.at(elapsed);
    let unit = |unit: u64| {
        let exchange = phase.map(|_| Dialogue::default());
        let draw = key.unit(select.unit(unit, None, exchange.as_ref()).unwrap_or(unit));
        let selected = fault.count.takes(unit + 1) && draw.percentage() < percentage;
        let delays = match (&fault.fault, phase) {
            (Ok(made), Some(phase)) if selected => delay_of_exchange(made.as_ref(), phase, draw, elapsed),
            (Ok(made), None) if selected => delays(made.as_ref(), fault.flow, draw, elapsed),
            _ => Vec::new(),
        };
        UnitPreview { unit, draw: draw.percentage(), selected, delays }
    };
    FaultPreview {
        name: fault.name.clone(),
        kind: fault.kind.to_owned(),
        proxy: fault.proxy.clone(),
        direction: flow_word(fault.flow).to_owned(),
        summary: fault.summary.clone(),
        cuts: cuts(checked, others, fault),
        approximated: fault.approximated(),
        not_available: fault.fault.as_ref().err().cloned(),
        told_for: seconds(elapsed),
        units: (0..told).map(unit).collect(),
    }
}

/// The phase of an exchange in which it acts, as far as its proxies are known to speak HTTP; none: it acts on connections.
fn phase(checked: &Checked, others: &[ProxySpec], fault: &FaultSpec) -> Option<Phase> {
    let named = checked.proxies.iter().chain(others).find(|spec| glob(&fault.proxy, &spec.name));
    let guess = if fault.needs_http { Protocol::Http } else { Protocol::Tcp };
    match fault.layer(named.map_or(guess, |spec| spec.protocol)) {
        Layer::Connection => None,
        Layer::Exchange(phase) | Layer::Either(phase) => Some(phase),
    }
}

/// A direction in the language's word.
fn flow_word(flow: Option<Flow>) -> &'static str {
    match flow {
        None => "both",
        Some(Flow::Upstream) => "upstream",
        Some(Flow::Downstream) => "downstream",
    }
}

fn cuts(checked: &Checked, others: &[ProxySpec], fault: &FaultSpec) -> Vec<Cut> {
    let groups = fault.fault.as_ref().ok().and_then(|fault| fault.groups());
    let named = checked.proxies.iter().chain(others).filter(|spec| glob(&fault.proxy, &spec.name));
    let links: Vec<_> = named.map(ProxySpec::link).collect();
    let cuts = groups.and_then(|groups| groups.cuts(&links).ok()).unwrap_or_default();
    cuts.into_iter().map(|(proxy, flow)| Cut { proxy: proxy.to_owned(), direction: flow_word(flow) }).collect()
}

/// Asks the fault itself about the first answers of a request-and-answer connection, or about its first requests where
/// it acts upstream only. The client speaks first: its turns are 0, 2, 4, and the server's 1, 3, 5. Of a fault that acts
/// before the upstream is dialled there is one delay.
fn delays(fault: &dyn AnyFault, flow: Option<Flow>, draw: crate::draw::Draw, elapsed: Time) -> Vec<Time> {
    let flow = flow.unwrap_or(Flow::Downstream);
    let first = u64::from(flow == Flow::Downstream);
    let shared = fault.new_shared();
    let hooks = fault.hooks();
    let at_the_gate = hooks.open && !hooks.stream;
    let delay = |turn: u64| {
        let mut state = fault.new_state();
        let now = elapsed;
        let span = Span { attached: now, first: Some(now), last: Some(now), ..Span::default() };
        let cx = AnyCx {
            state: state.as_mut(),
            shared: shared.as_ref(),
            draw,
            span: &span,
            now,
            elapsed,
            flow,
            exchange: None,
            injected: &mut Vec::new(),
        };
        let offer = Offer { item: Item::Len(1), arrived: now, offset: 0, turn, turn_offset: 0, asked: None };
        let until = match at_the_gate {
            true => match fault.open(cx, &Opening::Hello { alpn: true }) {
                Gate::Hold(until) => until,
                _ => return None,
            },
            false => match fault.stream(cx, &offer) {
                Act::Hold(until) => until,
                _ => return None,
            },
        };
        match until {
            Until::At(until) => Some(until.saturating_sub(now)),
            Until::Change => None,
        }
    };
    if at_the_gate {
        return delay(0).into_iter().collect();
    }
    let delays: Vec<_> = (0..STEPS).map(|n| delay(first + 2 * n)).collect();
    match delays.iter().any(Option::is_some) {
        true => delays.into_iter().map(Option::unwrap_or_default).collect(), // a draw may come to 0
        false => Vec::new(),
    }
}

/// Asks the fault itself about an exchange that has just come to its phase: how long it waits, if it does.
fn delay_of_exchange(fault: &dyn AnyFault, phase: Phase, draw: crate::draw::Draw, elapsed: Time) -> Vec<Time> {
    let (mut state, shared, now) = (fault.new_state(), fault.new_shared(), elapsed);
    let response = (!matches!(phase, Phase::BeforeConnect | Phase::BeforeUpstream)).then(Response::default);
    let dialogue = Dialogue { response, answered: Some(now), ..Dialogue::default() };
    let span = Span { opened: now, attached: now, ..Span::default() };
    let cx = AnyCx {
        state: state.as_mut(),
        shared: shared.as_ref(),
        draw,
        span: &span,
        now,
        elapsed,
        flow: Flow::Downstream,
        exchange: Some(&dialogue),
        injected: &mut Vec::new(),
    };
    let Dialogue { request, response, .. } = &dialogue;
    let asked = Asked { phase, request, response: response.as_ref(), client: None, began: now, arrived: now };
    match fault.exchange(cx, &asked) {
        Ruling::Hold(Until::At(until)) => vec![until.saturating_sub(now)],
        _ => Vec::new(),
    }
}

/// Says so when too few units are to be expected while the fault acts; known only where a workload brings them.
#[allow(clippy::cast_precision_loss)]
fn hits_nobody(checked: &Checked, fault: &FaultSpec, end: Time) -> Option<String> {
    let aimed = |workload: &&WorkloadSpec| workload.target == format!("proxy:{}", fault.proxy);
    let workloads: Vec<&WorkloadSpec> = checked.workloads.iter().filter(aimed).collect();
    if workloads.is_empty() || fault.key != Key::Ordinal || fault.min_hits == 0 {
        return None;
    }
    let length = fault.window.length.unwrap_or(end.saturating_sub(fault.window.at));
    let rounds = match (fault.window.every, fault.window.times) {
        (Some(_), Some(times)) => times,
        (Some(every), None) => end.saturating_sub(fault.window.at).div_ceil(every.max(1)),
        (None, _) => 1,
    };
    let open = seconds(length.saturating_mul(rounds));
    let brought = |workload: &&WorkloadSpec| match workload.connections {
        Some(connections) => connections as f64,
        None => workload.rate.at(fault.window.at.saturating_add(length / 2)) * open,
    };
    let units: f64 = workloads.iter().map(brought).sum();
    let counted = match fault.count {
        Count::All => units,
        Count::First(first) => units.min(first as f64),
        Count::Nth(nth) => f64::from(u8::from(units >= nth as f64)),
        Count::Each(each) => (units / each.max(1) as f64).floor(),
    };
    let values = fault.percentage.values();
    let share = values.iter().copied().sum::<f64>() / values.len().max(1) as f64 / 100.0;
    let nobody = (1.0 - share.min(1.0)).powf(counted);
    let units = units.round();
    if counted < 1.0 {
        let count = match fault.count {
            Count::Nth(nth) => format!("waits for unit {nth}"),
            Count::Each(each) => format!("takes every {each}th unit"),
            _ => "waits for units".into(),
        };
        return Some(format!(
            "fault `{}` {count}, and the workload brings about {units} while it acts: it is likely to hit nobody",
            fault.name
        ));
    }
    (nobody > 0.05).then(|| {
        format!(
            "fault `{}` is likely to hit nobody: about {units} units while it acts, each selected with {:.3} %, which \
             leaves it without a hit in {:.0} % of runs",
            fault.name,
            share * 100.0,
            nobody * 100.0
        )
    })
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  seed {}  digest {:.12}", self.name, self.seed, self.digest)?;
        writeln!(f, "\ntimeline")?;
        for moment in &self.timeline {
            writeln!(f, "  {:>9.3} s  {}", moment.at, moment.what)?;
        }
        if self.longest > self.planned {
            writeln!(f, "  {:>9.3} s  at the latest, if nobody marks a step", self.longest)?;
        }
        for fault in &self.faults {
            writeln!(
                f,
                "\n{}: {} on {} ({}), {}",
                fault.name, fault.kind, fault.proxy, fault.direction, fault.summary
            )?;
            if let Some(why) = fault.approximated {
                writeln!(f, "  approximated: {why}")?;
            }
            if let Some(why) = &fault.not_available {
                writeln!(f, "  can not be started: {why}")?;
            }
            for Cut { proxy, direction } in &fault.cuts {
                writeln!(f, "  cuts {proxy} ({direction})")?;
            }
            if fault.units.is_empty() {
                writeln!(f, "  who is selected depends on the key of each unit")?;
            }
            for unit in &fault.units {
                let verdict = if unit.selected { "selected" } else { "-" };
                write!(f, "  unit {:>4}  draw {:>7.3}  {verdict}", unit.unit, unit.draw)?;
                for delay in &unit.delays {
                    write!(f, "  {:.3} ms", seconds(*delay) * 1e3)?;
                }
                writeln!(f)?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
