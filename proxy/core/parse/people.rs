//! `[[step]]` and `[[before]]`: what people do in a drill, and what must hold before it touches anything.

use super::draft::{BeforeDraft, StepDraft};
use super::judge::{Scene, only_for_guards, proxy_of, value};
use super::node::Table;
use super::reader::{Reader, item};
use super::words;
use crate::diagnostic::Diagnostic;
use crate::scenario::{BeforeSpec, Checked, Metric, ProbeSpec, StepSpec};
use crate::time::{MILLI, SECOND, Time};
use crate::unit::Duration;

/// How long a step is waited for unless it says so, and at most.
const WITHIN: Time = 300 * SECOND;
const LONGEST: Time = 24 * 3600 * SECOND;
/// How long a condition is watched unless it says so, and at most.
const WATCHED: Time = 5 * SECOND;
const LONGEST_WATCH: Time = 600 * SECOND;
/// Characters of what a person is to do.
const TEXT: usize = 1_000;

/// Reads and checks one step.
pub(crate) fn step(reader: &mut Reader, table: &Table, index: usize) -> Option<StepSpec> {
    let path = item("step", table, index);
    let draft: StepDraft = reader.read(table, &path)?;
    let length = draft.manual.trim().chars().count();
    if !(1..=TEXT).contains(&length) {
        reader.error(table, &path, "manual", format!("say in 1 to {TEXT} characters what the person is to do"));
    }
    let within = draft.within.map_or(WITHIN, |within| within.0);
    if !(1..=LONGEST).contains(&within) {
        reader.error(table, &path, "within", "a step is waited for longer than 0 and for 24 h at most");
    }
    Some(StepSpec { name: draft.name.0, at: draft.at.0, manual: draft.manual.trim().to_owned(), within })
}

/// Holds the steps against the plan: each is asked for before the end, and what their waits may come to is said.
pub(crate) fn check_steps(reader: &mut Reader, root: &Table, tables: &[(usize, Table)], checked: &Checked) {
    let Some(end) = checked.planned_end().filter(|_| !checked.faults.is_empty()) else { return };
    for (index, table) in tables {
        let at = table.text("at").and_then(|at| at.parse::<Duration>().ok());
        if at.is_some_and(|at| at.0 >= end) {
            let message = format!("this step would never be asked for: the run ends after {}", Duration(end));
            reader.error(table, &item("step", table, *index), "at", message);
        }
    }
    let (waits, longest) = (checked.longest_waits(), end.saturating_add(checked.longest_waits()));
    if let Some(max) = checked.max_duration
        && waits > 0
        && longest > max
    {
        let message =
            format!("with steps that nobody marks it would take {}: `max_duration` may end it", Duration(longest));
        let help = format!("the steps wait for {} at most: shorten `within`, or raise `max_duration`", Duration(waits));
        reader.at(Diagnostic::warning(message).help(help), root, "", "max_duration");
    }
}

/// Reads and checks one condition on the steady state.
pub(crate) fn before(
    reader: &mut Reader,
    table: &Table,
    index: usize,
    scene: &Scene<'_>,
    probes: &[&ProbeSpec],
) -> Option<BeforeSpec> {
    let path = match table.text("metric").or_else(|| table.text("probe")) {
        Some(name) if name.len() <= 80 => format!("before[{name}]"),
        _ => format!("before[{index}]"),
    };
    let draft: BeforeDraft = reader.read(table, &path)?;
    match (draft.metric, draft.probe) {
        (None, Some(probe)) => {
            for key in ["above", "below", "proxy", "for"].into_iter().filter(|key| table.has(key)) {
                reader.error(table, &path, key, format!("`{key}` goes with `metric`"));
            }
            let known = || probes.iter().map(|probe| probe.name.as_str());
            if !known().any(|name| name == probe.0) {
                let mut diagnostic = Diagnostic::error(format!("there is no probe {:?}", probe.0));
                diagnostic.help = words::nearest(&probe.0, known()).map(words::did_you_mean);
                diagnostic.label = Some(words::expected(known()));
                reader.at(diagnostic, table, &path, "probe");
            }
            Some(BeforeSpec::Probe(probe.0))
        }
        (Some(metric), None) => {
            if metric == Metric::Recovery {
                reader.error(
                    table,
                    &path,
                    "metric",
                    "recovery is known after the faults only: nothing has recovered yet",
                );
                return None;
            }
            let proxy = draft.proxy.as_deref();
            proxy_of(reader, table, &path, proxy, scene);
            only_for_guards(reader, table, &path, metric);
            scene.check(reader, table, &path, "metric", metric, proxy);
            let (below, above) =
                (value(reader, table, &path, "below", metric), value(reader, table, &path, "above", metric));
            if !table.has("below") && !table.has("above") {
                reader.error(table, &path, "", "a condition on a metric needs `below` or `above`");
            }
            if let (Some(above), Some(below)) = (above, below)
                && above >= below
            {
                reader.error(table, &path, "above", "nothing is both: `above` must be less than `below`");
            }
            let watched = draft.watched.map_or(WATCHED, |watched| watched.0);
            if !(100 * MILLI..=LONGEST_WATCH).contains(&watched) {
                reader.error(table, &path, "for", "a condition is watched for 100 ms to 10 min");
            }
            Some(BeforeSpec::Metric { metric, below, above, proxy: draft.proxy, watched })
        }
        (both, _) => {
            let key = if both.is_some() { "probe" } else { "" };
            reader.error(table, &path, key, "what must hold before is either a `metric` or a `probe`");
            None
        }
    }
}
