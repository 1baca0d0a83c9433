//! What came of a run, host by host: what was called, what squall did to it, and what the program made of that.

use std::collections::BTreeMap;

use serde::Serialize;
use squall_core::call::{Call, Outcome};
use squall_core::observe::Histogram;
use squall_core::time::{MILLI, Time};

use super::hosts::HOST;
use super::operations::{self, Fate, Operation};
use super::secrets;
use super::tunnels::Tunnel;

/// Kinds of calls that are told one by one.
const PATHS: usize = 10;
/// What clocks and schedulers may take from a pause that was asked for, ns.
const EARLY: Time = 10 * MILLI;

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The program's exit code.
    pub exit_code: u8,
    /// Opened hosts that were called.
    pub hosts: Vec<Host>,
    /// Hosts that were not opened.
    pub tunnels: BTreeMap<String, Through>,
    /// Calls that were not looked at because there were too many.
    pub calls_lost: u64,
    /// Child processes that went past squall, as far as that was seen.
    pub bypassed: Vec<super::bypassed::Bypassed>,
}

/// One opened host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Host {
    /// Its name.
    pub host: String,
    /// Exchanges.
    pub calls: u64,
    /// Of those, how many a fault acted on.
    pub faults: u64,
    /// By fault: on how many calls it acted.
    pub by_fault: BTreeMap<String, u64>,
    /// By status; `none` where the client got no answer.
    pub statuses: BTreeMap<String, u64>,
    /// Things that the program wanted done: calls without their retries.
    pub operations: u64,
    /// Operations that met a failure and were tried again.
    pub retried: u64,
    /// Of those, how many came to a whole answer.
    pub recovered: u64,
    /// Operations that failed for good, and the program's exit code says so.
    pub surfaced: u64,
    /// Operations whose answer was cut short unseen, and the program ended with 0.
    pub swallowed: u64,
    /// Operations that failed for good, and what the program made of it is unknown.
    pub unknown: u64,
    /// Answers that a fault cut short and that look whole.
    pub truncated: u64,
    /// Calls per operation, over the operations that met a failure; none: none did.
    pub amplification: Option<f64>,
    /// The most attempts at one operation.
    pub attempts: u64,
    /// Pauses before retries.
    pub back_off: Option<BackOff>,
    /// Of the retries that an answer had asked to wait, how many waited.
    pub retry_after: Honoured,
    /// From request to the answer's head, ms, what faults delayed included.
    pub p50_ms: Option<f64>,
    /// The same.
    pub p99_ms: Option<f64>,
    /// The most frequent calls, without what identifies.
    pub paths: BTreeMap<String, u64>,
}

/// Pauses before retries, ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BackOff {
    /// The shortest.
    pub min_ms: f64,
    /// The middle.
    pub median_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// n of m.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Honoured {
    /// How many did.
    pub honoured: u64,
    /// How many could.
    pub of: u64,
}

/// A tunnel, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Through {
    /// Connections.
    pub connections: u64,
    /// Connections that did not come about.
    pub refused: u64,
    /// Why the latest did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Bytes from the program.
    pub bytes_up: u64,
    /// Bytes to the program.
    pub bytes_down: u64,
    /// How long they were open together, ms.
    pub open_ms: f64,
}

impl From<Tunnel> for Through {
    fn from(tunnel: Tunnel) -> Through {
        Through {
            connections: tunnel.opened,
            refused: tunnel.refused,
            why: tunnel.why,
            bytes_up: tunnel.up,
            bytes_down: tunnel.down,
            open_ms: ms(tunnel.time),
        }
    }
}

/// The hosts of all calls, by name. `exit`: the program's exit code.
pub fn hosts(calls: &[Call], exit: u8) -> Vec<Host> {
    let mut by_host: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    calls.iter().for_each(|call| by_host.entry(name(call)).or_default().push(call));
    by_host.into_iter().map(|(name, calls)| host(name, &calls, exit)).collect()
}

fn name(call: &Call) -> &str {
    let proxy = call.proxy.strip_prefix(HOST).unwrap_or(&call.proxy);
    proxy.split(':').next().unwrap_or(proxy)
}

fn host(name: &str, calls: &[&Call], exit: u8) -> Host {
    let mut host = Host { host: name.to_owned(), calls: calls.len() as u64, ..Host::default() };
    let (mut latencies, mut paths) = (Histogram::default(), BTreeMap::<String, u64>::new());
    for call in calls {
        host.faults += u64::from(!call.faults.is_empty());
        host.truncated += u64::from(call.is_short());
        let mut names: Vec<&str> = call.faults.iter().map(|(fault, _)| &*fault.fault).collect();
        names.dedup();
        names.into_iter().for_each(|fault| *host.by_fault.entry(fault.to_owned()).or_default() += 1);
        let status = match (call.status, call.outcome) {
            (Some(status), Outcome::Whole | Outcome::Failed) => status.to_string(),
            (Some(status), Outcome::Cut) => format!("{status}, cut"),
            (Some(status), Outcome::Left) => format!("{status}, not read to its end"),
            (None, _) => "none".to_owned(),
        };
        *host.statuses.entry(status).or_default() += 1;
        if let Some(answered) = call.answered {
            latencies.add(answered.saturating_sub(call.started));
        }
        *paths.entry(format!("{} {}", call.asked.method, secrets::path(&call.asked.path))).or_default() += 1;
    }
    host.p50_ms = latencies.quantile(0.5).map(ms);
    host.p99_ms = latencies.quantile(0.99).map(ms);
    let mut paths: Vec<(String, u64)> = paths.into_iter().collect();
    paths.sort_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    host.paths = paths.into_iter().take(PATHS).collect();
    let operations = operations::of(calls);
    host.operations = operations.len() as u64;
    operations.iter().for_each(|operation| judge(&mut host, operation, exit));
    sum_up(&mut host, &operations);
    host
}

/// What an exit code proves: that of a program which a signal ended proves nothing.
fn judge(host: &mut Host, operation: &Operation<'_>, exit: u8) {
    let attempts = operation.attempts.len() as u64;
    host.attempts = host.attempts.max(attempts);
    host.retried += u64::from(attempts > 1);
    match (operation.fate(), exit) {
        (Fate::Untouched, _) => {}
        (Fate::Recovered, _) => host.recovered += 1,
        (Fate::GivenUp | Fate::TookShort, 1..=127) => host.surfaced += 1,
        (Fate::TookShort, 0) => host.swallowed += 1,
        (Fate::GivenUp | Fate::TookShort, _) => host.unknown += 1,
    }
    for (pause, asked) in operation.pauses() {
        if let Some(asked) = asked {
            host.retry_after.of += 1;
            host.retry_after.honoured += u64::from(pause + EARLY >= asked);
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn sum_up(host: &mut Host, operations: &[Operation<'_>]) {
    let hit: Vec<usize> =
        operations.iter().filter(|it| it.fate() != Fate::Untouched).map(|it| it.attempts.len()).collect();
    if !hit.is_empty() {
        host.amplification = Some(hit.iter().sum::<usize>() as f64 / hit.len() as f64);
    }
    let mut pauses: Vec<Time> = operations.iter().flat_map(|it| it.pauses().map(|(pause, _)| pause)).collect();
    pauses.sort_unstable();
    if let (Some(min), Some(max)) = (pauses.first(), pauses.last()) {
        let median = pauses[pauses.len() / 2];
        host.back_off = Some(BackOff { min_ms: ms(*min), median_ms: ms(median), max_ms: ms(*max) });
    }
}

/// To a tenth.
#[allow(clippy::cast_precision_loss)]
fn ms(ns: Time) -> f64 {
    (ns as f64 / 1e5).round() / 10.0
}

#[cfg(test)]
mod tests;
