//! `[[guard]]`, `[[probe]]`, `[[expect]]` and `[forecast]`

use std::collections::BTreeMap;

use super::address;
use super::draft::{ExpectDraft, ForecastDraft, GuardDraft, ProbeDraft};
use super::fault::reference;
use super::node::{Node, Table};
use super::reader::{Reader, item, join};
use super::world::{Known, World};
use crate::diagnostic::Diagnostic;
use crate::scenario::{ExpectSpec, ForecastSpec, GuardCondition, GuardSpec, Metric, ProbeCheck, ProbeSpec};
use crate::time::{MILLI, SECOND, Time};
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
        Metric::Throughput | Metric::ActiveConnections => {
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
    let path = match table.text("name").or_else(|| table.text("metric")) {
        Some(name) if name.len() <= 80 => format!("guard[{name}]"),
        _ => item("guard", table, index),
    };
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
        let watched = scene.watched(proxy).unwrap_or_default();
        if draft.burn.is_some() && !watched.is_empty() && !watched.iter().any(|known| known.slo) {
            let message = format!("proxy `{}` has no `slo` whose budget could burn", watched[0].name);
            reader.at(Diagnostic::error(message), table, &path, if proxy.is_some() { "proxy" } else { "burn" });
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

/// A metric as it is written.
pub(crate) fn word(metric: Metric) -> String {
    serde_json::to_value(metric).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Reads and checks one probe.
pub(crate) fn probe(reader: &mut Reader, table: &Table, index: usize) -> Option<ProbeSpec> {
    const TIMEOUT: Time = 5 * SECOND;
    let path = item("probe", table, index);
    let draft: ProbeDraft = reader.read(table, &path)?;
    let every = draft.every.map_or(SECOND, |every| every.0);
    if every < 10 * MILLI {
        reader.error(table, &path, "every", "a probe runs every 10 ms at most");
    }
    let inner = |key| table.node(key).and_then(Node::as_table).unwrap_or(table);
    let check = match (draft.http, draft.tcp) {
        (Some(http), None) => {
            let (table, path) = (inner("http"), join(&path, "http"));
            if let Err(why) = check_url(&http.url) {
                reader.error(table, &path, "url", why);
            }
            if http.status.is_some_and(|status| !(100..600).contains(&status)) {
                reader.error(table, &path, "status", "a status lies between 100 and 599");
            }
            let timeout = http.timeout.map_or(TIMEOUT, |timeout| timeout.0);
            check_timeout(reader, table, &path, timeout);
            let within = http.within.map(|within| within.0);
            if within.is_some_and(|within| within > timeout) {
                reader.error(table, &path, "within", "`within` is longer than `timeout`");
            }
            ProbeCheck::Http { url: http.url, status: http.status.unwrap_or(200), within, timeout }
        }
        (None, Some(tcp)) => {
            let (table, path) = (inner("tcp"), join(&path, "tcp"));
            if let Err(why) = address::host_port(&tcp.address) {
                reader.error(table, &path, "address", why);
            }
            let timeout = tcp.timeout.map_or(TIMEOUT, |timeout| timeout.0);
            check_timeout(reader, table, &path, timeout);
            ProbeCheck::Tcp { address: tcp.address, send: tcp.send, expect: tcp.expect, timeout }
        }
        _ => {
            reader.error(table, &path, "", "a probe needs either `http` or `tcp`");
            return None;
        }
    };
    Some(ProbeSpec { name: draft.name.0, mode: draft.mode.unwrap_or_default(), every, check })
}

fn check_timeout(reader: &mut Reader, table: &Table, path: &str, timeout: Time) {
    if timeout == 0 {
        reader.error(table, path, "timeout", "nothing is answered in no time");
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(format!("{url:?} does not begin with `http://`"));
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if url.bytes().any(|byte| byte <= b' ' || byte == 127) {
        return Err("a URL has no spaces or control characters".into());
    }
    if host.contains(':') && !host.ends_with(']') {
        return address::host_port(host).map(|_| ());
    }
    address::host_port(&format!("{host}:80")).map(|_| ())
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
