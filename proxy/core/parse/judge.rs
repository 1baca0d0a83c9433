//! `[[guard]]`, `[[expect]]` and `[forecast]`

use std::collections::BTreeMap;

use super::draft::{ExpectDraft, ForecastDraft, GuardDraft};
use super::fault::reference;
use super::node::Table;
use super::reader::{Reader, item};
use super::world::{Known, World, glob};
use crate::diagnostic::Diagnostic;
use crate::scenario::{Checked, ExpectSpec, FaultSpec, ForecastSpec, GuardCondition, GuardSpec, Metric};
use crate::time::{MILLI, SECOND};
use crate::tripwire::never_burns;
use crate::unit::{Duration, Percentage};

/// Where figures of a scenario come from.
pub(crate) struct Scene<'a> {
    pub(crate) world: &'a World,
    /// Targets of the workloads, as written.
    pub(crate) targets: Vec<String>,
    /// Proxies of the faults, as written.
    pub(crate) faulted: Vec<String>,
}

impl Scene<'_> {
    /// The proxies that a guard, expectation or forecast looks at; none: not told by a proxy.
    fn watched<'a>(&'a self, proxy: Option<&'a str>) -> Option<Vec<&'a Known>> {
        let names: Vec<&str> = match proxy {
            Some(proxy) if self.targets.iter().any(|target| target.strip_prefix("proxy:") == Some(proxy)) => {
                return None;
            }
            Some(proxy) => vec![proxy],
            None if !self.targets.is_empty() => return None,
            None => self.faulted.iter().map(String::as_str).collect(),
        };
        if names.iter().any(|name| name.starts_with("host:")) {
            return None;
        }
        Some(names.iter().flat_map(|name| self.world.named(name)).collect())
    }

    /// Whether all proxies that a guard looks at are faulted; what a workload feels is not theirs but its own.
    pub(crate) fn watches_only_faulted(&self, proxy: Option<&str>) -> bool {
        let faulted = |known: &&Known| self.faulted.iter().any(|pattern| glob(pattern, &known.name));
        self.watched(proxy).is_some_and(|watched| !watched.is_empty() && watched.iter().all(faulted))
    }

    /// Refuses a figure that the proxies watched can't have.
    pub(crate) fn check(
        &self,
        reader: &mut Reader,
        table: &Table,
        path: &str,
        key: &str,
        metric: Metric,
        proxy: Option<&str>,
    ) {
        if metric != Metric::ErrorRate {
            return;
        }
        let Some(watched) = self.watched(proxy) else {
            return;
        };
        if !watched.is_empty() && !watched.iter().any(|known| known.may_be_http()) {
            let message = format!("`error_rate` counts requests, and `{}` carries bytes", watched[0].name);
            let help = "use `connection_error_rate`, or bring a [[workload]] whose target it is";
            reader.at(Diagnostic::error(message).help(help), table, path, key);
        }
    }
}

/// A value in the unit of its metric: rates 0 to 1, latencies in ns.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn value(reader: &mut Reader, table: &Table, path: &str, key: &str, metric: Metric) -> Option<f64> {
    match metric {
        Metric::ErrorRate | Metric::ConnectionErrorRate => {
            reader.value::<Percentage>(table, path, key).map(|share| share.0 / 100.0)
        }
        Metric::Throughput | Metric::ActiveConnections | Metric::Waiting => {
            let value = reader.value::<f64>(table, path, key)?;
            if value < 0.0 {
                reader.error(table, path, key, "this figure is never negative");
            }
            Some(value)
        }
        _ => reader.value::<Duration>(table, path, key).map(|time| time.0 as f64),
    }
}

pub(crate) fn proxy_of(reader: &mut Reader, table: &Table, path: &str, proxy: Option<&str>, scene: &Scene<'_>) {
    match proxy {
        Some(proxy) if proxy.starts_with("host:") => {}
        Some(proxy) => reference(reader, table, path, "proxy", proxy, scene.world),
        None => {}
    }
}

/// Reads and checks one guard.
pub(crate) fn guard(reader: &mut Reader, table: &Table, index: usize, scene: &Scene<'_>) -> Option<GuardSpec> {
    let path = path_of(table, index);
    let draft: GuardDraft = reader.read(table, &path)?;
    let proxy = draft.proxy.as_deref();
    proxy_of(reader, table, &path, proxy, scene);
    let (condition, default) = match (draft.metric, draft.burn, draft.harm) {
        (Some(metric), None, None) => {
            if metric == Metric::Recovery {
                reader.error(table, &path, "metric", "recovery is known after the faults only: no guard can watch it");
                return None;
            }
            scene.check(reader, table, &path, "metric", metric, proxy);
            let above = value(reader, table, &path, "above", metric);
            let below = value(reader, table, &path, "below", metric);
            let written = table.has("above") || table.has("below");
            if !written {
                reader.error(table, &path, "", "a guard on a metric needs `above` or `below`");
            }
            if let (Some(above), Some(below)) = (above, below)
                && above <= below
            {
                reader.error(table, &path, "above", "this guard would always fire: `above` must be more than `below`");
            }
            (GuardCondition::Threshold { metric, above, below }, word(metric))
        }
        (None, Some(burn), None) => (GuardCondition::Burn(burn.0), "burn".to_owned()),
        (None, None, Some(harm)) => (GuardCondition::Harm(harm), "harm".to_owned()),
        (None, None, None) => {
            reader.error(table, &path, "", "a guard needs `metric`, `burn` or `harm`");
            return None;
        }
        _ => {
            let key = if draft.metric.is_some() && draft.burn.is_some() { "burn" } else { "harm" };
            reader.error(table, &path, key, "a guard has one of `metric`, `burn` and `harm`");
            return None;
        }
    };
    if draft.metric.is_none() {
        for key in ["above", "below"].into_iter().filter(|key| table.has(key)) {
            reader.error(table, &path, key, format!("`{key}` goes with `metric`"));
        }
        for key in ["min_events", "over", "for"].into_iter().filter(|key| table.has(key)) {
            let message = match (draft.harm, key) {
                (Some(_), _) => format!("`{key}` goes with `metric` or `burn`: a harm allowance is for the whole run"),
                (None, "min_events") => "a burn rate rests on at least 10 bad events, whatever is written here".into(),
                (None, _) => continue,
            };
            reader.error(table, &path, key, message);
        }
        if draft.harm == Some(0) {
            reader.error(table, &path, "harm", "an allowance of nothing is spent before anything has happened");
        }
        if let Some(burn) = &draft.burn {
            check_burn(reader, table, &path, burn.0, proxy, scene);
        }
    }
    let over = draft.over.map_or(10 * SECOND, |over| over.0);
    if !(100 * MILLI..=3600 * SECOND).contains(&over) {
        reader.error(table, &path, "over", "`over` lies between 100 ms and 1 h");
    }
    Some(GuardSpec {
        name: draft.name.map_or(default, |name| name.0),
        condition,
        proxy: draft.proxy,
        hold: draft.hold.map_or(0, |hold| hold.0),
        action: draft.action.unwrap_or_default(),
        over,
        min_events: draft.min_events.unwrap_or(20),
    })
}

/// Refuses a budget that is not there, and a rate at which it can't burn.
fn check_burn(reader: &mut Reader, table: &Table, path: &str, rate: f64, proxy: Option<&str>, scene: &Scene<'_>) {
    let watched = scene.watched(proxy).unwrap_or_default();
    for known in watched {
        let Some(objective) = known.slo else {
            let message = format!("proxy `{}` has no `slo` whose budget could burn", known.name);
            let help = "give it one: slo = { objective = \"99.9%\", window = \"30d\" }";
            let key = if proxy.is_some() { "proxy" } else { "burn" };
            return reader.at(Diagnostic::error(message).help(help), table, path, key);
        };
        if let Some(why) = never_burns(rate, objective) {
            return reader.error(table, path, "burn", format!("proxy `{}`: {why}", known.name));
        }
    }
}

/// Refuses `step_down` where no percentage has steps.
pub(crate) fn check_step_down(reader: &mut Reader, tables: &[(usize, Table)], checked: &Checked) {
    if checked.faults.iter().any(FaultSpec::has_ladder) {
        return;
    }
    for (index, table) in tables.iter().filter(|(_, table)| table.text("action") == Some("step_down")) {
        let message = "`step_down` has no ladder to go down: no fault's `percentage` has steps";
        let help = "write `percentage = { steps = [1, 5, 25], hold = \"10s\" }`, or use `abort`";
        reader.at(Diagnostic::error(message).help(help), table, &path_of(table, *index), "action");
    }
}

/// Where a guard stands, in words.
fn path_of(table: &Table, index: usize) -> String {
    match table.text("name").or_else(|| table.text("metric")) {
        Some(name) if name.len() <= 80 => format!("guard[{name}]"),
        _ => item("guard", table, index),
    }
}

/// Refuses outside guards what only they can watch.
pub(crate) fn only_for_guards(reader: &mut Reader, table: &Table, path: &str, metric: Metric) {
    if metric == Metric::Waiting {
        reader.error(table, path, "metric", "`waiting` is looked at as it is now: only a guard can watch it");
    }
}

/// A metric as it is written.
pub(crate) fn word(metric: Metric) -> String {
    serde_json::to_value(metric).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Reads and checks one expectation.
pub(crate) fn expect(reader: &mut Reader, table: &Table, index: usize, scene: &Scene<'_>) -> Option<ExpectSpec> {
    let path = match table.text("metric") {
        Some(metric) if metric.len() <= 80 => format!("expect[{metric}]"),
        _ => format!("expect[{index}]"),
    };
    let draft: ExpectDraft = reader.read(table, &path)?;
    let proxy = draft.proxy.as_deref();
    proxy_of(reader, table, &path, proxy, scene);
    scene.check(reader, table, &path, "metric", draft.metric, proxy);
    only_for_guards(reader, table, &path, draft.metric);
    let below = value(reader, table, &path, "below", draft.metric);
    let above = value(reader, table, &path, "above", draft.metric);
    if !table.has("below") && !table.has("above") {
        reader.error(table, &path, "", "an expectation needs `below` or `above`");
    }
    if let (Some(above), Some(below)) = (above, below)
        && above >= below
    {
        reader.error(table, &path, "above", "nothing is both: `above` must be less than `below`");
    }
    if draft.metric == Metric::Recovery {
        if draft.during.is_some() {
            reader.error(table, &path, "during", "recovery has its own time: from the end of the last fault");
        }
        if above.is_some() {
            reader.error(table, &path, "above", "recovery is expected `below` a time");
        }
    }
    Some(ExpectSpec {
        metric: draft.metric,
        below,
        above,
        during: draft.during.unwrap_or_default(),
        proxy: draft.proxy,
    })
}

/// Reads and checks the forecast.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn forecast(reader: &mut Reader, table: &Table, scene: &Scene<'_>) -> Option<ForecastSpec> {
    let path = "forecast";
    let draft: ForecastDraft = reader.read(table, path)?;
    let proxy = draft.proxy.as_deref();
    proxy_of(reader, table, path, proxy, scene);
    let rate = |pair: Option<[Percentage; 2]>| pair.map(|[low, high]| (low.0 / 100.0, high.0 / 100.0));
    let time = |pair: Option<[Duration; 2]>| pair.map(|[low, high]| (low.0 as f64, high.0 as f64));
    let number = |pair: Option<[f64; 2]>| pair.map(|[low, high]| (low, high));
    let all = [
        (Metric::ErrorRate, rate(draft.error_rate)),
        (Metric::ConnectionErrorRate, rate(draft.connection_error_rate)),
        (Metric::P50, time(draft.p50)),
        (Metric::P90, time(draft.p90)),
        (Metric::P95, time(draft.p95)),
        (Metric::P99, time(draft.p99)),
        (Metric::P999, time(draft.p999)),
        (Metric::Throughput, number(draft.throughput)),
        (Metric::ActiveConnections, number(draft.active_connections)),
        (Metric::Recovery, time(draft.recovery)),
    ];
    let metrics: BTreeMap<Metric, (f64, f64)> =
        all.into_iter().filter_map(|(metric, bet)| Some((metric, bet?))).collect();
    for (metric, (low, high)) in &metrics {
        let key = word(*metric);
        if low > high || *low < 0.0 {
            reader.error(table, path, &key, "a bet is a low and a high figure, in this order");
        }
        scene.check(reader, table, path, &key, *metric, proxy);
    }
    Some(ForecastSpec { proxy: draft.proxy, metrics })
}
