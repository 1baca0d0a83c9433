//! A whole scenario.

use sha2::{Digest, Sha256};

use super::draft::Head;
use super::judge::{self, Scene};
use super::node::Table;
use super::reader::{Reader, item, tables};
use super::world::World;
use super::{fault, people, probe, stand, workload};
use crate::diagnostic::Diagnostic;
use crate::scenario::{Checked, FaultSpec, GuardSpec, LONGEST_RELEASE, Parameter, ProbeSpec, StepSpec};
use crate::unit::Duration;

/// The lists of a scenario, and its forecast.
pub(crate) const PARTS: &[&str] =
    &["parameter", "service", "proxy", "workload", "fault", "guard", "probe", "before", "step", "expect", "forecast"];

/// Reads and checks it; none: something essential is missing, and it is on record.
pub(crate) fn read(reader: &mut Reader, root: &Table, parameters: Vec<Parameter>, world: &World) -> Option<Checked> {
    let (parts, head_table) = root.split(|key| PARTS.contains(&key));
    let head: Option<Head> = reader.read_beside(&head_table, "", PARTS);
    let own_limit = head.as_ref().and_then(|head| head.max_percentage).map(|limit| limit.0);
    let max_percentage = match (own_limit, world.max_percentage) {
        (Some(own), Some(world)) => Some(own.min(world)),
        (own, world) => own.or(world),
    };

    let list = |reader: &mut Reader, key| -> Vec<(usize, Table)> {
        tables(reader, &parts, key).into_iter().enumerate().collect()
    };
    let fault_tables = list(reader, "fault");
    if fault_tables.is_empty() && !parts.has("fault") {
        reader.push(Diagnostic::error("a scenario has at least one `[[fault]]`"), "fault", None);
    }
    let faults: Vec<FaultSpec> = fault_tables
        .iter()
        .flat_map(|(index, table)| fault::read(reader, table, *index, world, max_percentage))
        .collect();
    unique(reader, &fault_tables, "fault", fault::names);
    let services = list(reader, "service");
    unique(reader, &services, "service", name);
    let services = services.iter().filter_map(|(index, table)| stand::service(reader, table, *index, world)).collect();
    let proxies = list(reader, "proxy");
    let proxies = proxies.iter().filter_map(|(index, table)| stand::proxy(reader, table, *index, world)).collect();
    let workload_tables = list(reader, "workload");
    unique(reader, &workload_tables, "workload", name);
    let workloads =
        workload_tables.iter().filter_map(|(index, table)| workload::read(reader, table, *index, world)).collect();

    let text = |table: &Table, key| table.text(key).map(str::to_owned);
    let scene = Scene {
        world,
        targets: workload_tables.iter().filter_map(|(_, table)| text(table, "target")).collect(),
        faulted: fault_tables.iter().filter_map(|(_, table)| text(table, "proxy")).collect(),
    };
    let guard_tables = list(reader, "guard");
    let guards: Vec<(Option<GuardSpec>, Table)> = guard_tables
        .iter()
        .cloned()
        .map(|(index, table)| (judge::guard(reader, &table, index, &scene), table))
        .collect();
    free_names(
        reader,
        guards.iter().filter_map(|(guard, table)| Some((guard.as_ref()?.name.as_str(), table))),
        "guard",
    );
    warn_blind(reader, &guards, &scene);
    let probe_tables = list(reader, "probe");
    let probes: Vec<(Option<ProbeSpec>, Table)> =
        probe_tables.iter().cloned().map(|(index, table)| (probe::read(reader, &table, index, world), table)).collect();
    free_names(
        reader,
        probes.iter().filter_map(|(probe, table)| Some((probe.as_ref()?.name.as_str(), table))),
        "probe",
    );
    let sound: Vec<&ProbeSpec> = probes.iter().filter_map(|(probe, _)| probe.as_ref()).collect();
    let before = list(reader, "before");
    let before =
        before.iter().filter_map(|(index, table)| people::before(reader, table, *index, &scene, &sound)).collect();
    let step_tables = list(reader, "step");
    let mut steps: Vec<StepSpec> =
        step_tables.iter().filter_map(|(index, table)| people::step(reader, table, *index)).collect();
    steps.sort_by_key(|step| step.at);
    free_names(reader, step_tables.iter().filter_map(|(_, table)| Some((table.text("name")?, table))), "step");
    let expects = list(reader, "expect");
    let expects = expects.iter().filter_map(|(index, table)| judge::expect(reader, table, *index, &scene)).collect();
    let forecast = match parts.node("forecast").map(|node| (node.as_table(), node)) {
        Some((Some(table), _)) => judge::forecast(reader, table, &scene),
        Some((None, node)) => {
            reader.push(Diagnostic::error("`[forecast]` is a table"), "forecast", node.span.clone());
            None
        }
        None => None,
    };

    let head = head?;
    let release_over = head.release_over.map_or(0, |over| over.0);
    if release_over > LONGEST_RELEASE {
        let message = format!("an end that takes longer than {} is none", Duration(LONGEST_RELEASE));
        reader.error(root, "", "release_over", message);
    }
    let canonical = canonical(root);
    let digest = Sha256::digest(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let checked = Checked {
        name: head.name.0,
        title: head.title,
        owner: head.owner,
        hypothesis: head.hypothesis,
        environments: head.environments.into_iter().map(|name| name.0).collect(),
        tags: head.tags,
        teaches: head.teaches,
        expected: head.expected,
        source: head.source,
        verified_on: head.verified_on.map(|date| date.0),
        seed: head.seed,
        max_duration: head.max_duration.map(|limit| limit.0),
        max_percentage: head.max_percentage.map(|limit| limit.0),
        max_active_faults: head.max_active_faults,
        on_abort: head.on_abort.unwrap_or_default(),
        release_over,
        runbook: head.runbook,
        parameters,
        services,
        proxies,
        workloads,
        faults,
        guards: guards.into_iter().filter_map(|(guard, _)| guard).collect(),
        probes: probes.into_iter().filter_map(|(probe, _)| probe).collect(),
        before,
        steps,
        expects,
        forecast,
        approvals_required: head.approval.map_or(0, |approval| approval.required),
        digest,
        canonical,
    };
    check_end(reader, root, &fault_tables, &checked);
    judge::check_step_down(reader, &guard_tables, &checked);
    people::check_steps(reader, root, &step_tables, &checked);
    probe::check_alerts(reader, &probe_tables, &checked);
    Some(checked)
}

/// Says so when every guard watches only what is faulted: its own errors are meant, and harm that spreads is not seen.
fn warn_blind(reader: &mut Reader, guards: &[(Option<GuardSpec>, Table)], scene: &Scene<'_>) {
    let blind = |(guard, _): &(Option<GuardSpec>, Table)| {
        guard.as_ref().is_some_and(|guard| scene.watches_only_faulted(guard.proxy.as_deref()))
    };
    if reader.has_errors() {
        return;
    }
    if let Some(((Some(guard), table), true)) = guards.first().map(|first| (first, guards.iter().all(blind))) {
        let message =
            "every guard watches only a proxy that is faulted: harm that spreads from there would not be seen";
        let help = match scene.targets.is_empty() {
            true => "give one of them the `proxy` where users come in, or bring a [[workload]]",
            false => "leave out the `proxy` of one, and it watches what the workload feels",
        };
        let path = format!("guard[{}]", guard.name);
        reader.at(Diagnostic::warning(message).help(help), table, &path, "proxy");
    }
}

fn check_end(reader: &mut Reader, root: &Table, tables: &[(usize, Table)], checked: &Checked) {
    if checked.max_duration == Some(0) {
        return reader.error(root, "", "max_duration", "an experiment that may take no time can show nothing");
    }
    let Some(end) = checked.planned_end() else {
        if !checked.faults.is_empty() {
            let message = "nothing would end this experiment: no fault has an end";
            let help = "give a fault `for`, or the scenario `max_duration`";
            let span = tables.first().and_then(|(_, table)| table.span.clone());
            reader.push(Diagnostic::error(message).help(help), "max_duration", span);
        }
        return;
    };
    if let Some(max) = checked.max_duration
        && end > max
    {
        let message = format!("the plan takes {}, longer than `max_duration`", Duration(end));
        let label = format!("the last fault ends after {}", Duration(checked.faults_end().unwrap_or(end)));
        let help = format!("recovery takes {} of it", Duration(checked.recovery_window()));
        return reader.at(Diagnostic::error(message).label(label).help(help), root, "", "max_duration");
    }
    let sound: std::collections::HashSet<&str> = checked.faults.iter().map(|fault| fault.name.as_str()).collect();
    for (index, table) in tables {
        // what was wrong in itself has been told already
        if !fault::names(table).iter().any(|name| sound.contains(name.as_str())) {
            continue;
        }
        let at = table.text("at").and_then(|at| at.parse::<Duration>().ok());
        if let Some(at) = at
            && at.0 >= end
        {
            let message = format!("this fault would never act: the run ends after {}", Duration(end));
            reader.error(table, &item("fault", table, *index), "at", message);
        }
    }
}

fn name(table: &Table) -> Vec<String> {
    table.text("name").map(str::to_owned).into_iter().collect()
}

/// Names of one list are unique; a table may bring several.
fn unique(reader: &mut Reader, tables: &[(usize, Table)], list: &str, names: impl Fn(&Table) -> Vec<String>) {
    let mut seen = std::collections::HashMap::new();
    for (index, table) in tables {
        let named = table.has("name");
        let names = names(table);
        let taken = names.iter().find_map(|name| seen.get(name).map(|other: &bool| (name.clone(), *other)));
        seen.extend(names.into_iter().map(|name| (name, named)));
        let Some((name, other_named)) = taken else { continue };
        let path = item(list, table, *index);
        let default = if table.has("preset") { "preset" } else { "kind" };
        if named || other_named {
            let key = if named { "name" } else { default };
            reader.error(table, &path, key, format!("there is a {list} `{name}` already"));
        } else {
            let message =
                format!("two faults of the {default} `{}` without a name", table.called().unwrap_or_default());
            let help = "give each a `name`: draws, ledger and metrics use it";
            reader.at(Diagnostic::error(message).help(help), table, &path, default);
        }
    }
}

fn free_names<'a>(reader: &mut Reader, named: impl Iterator<Item = (&'a str, &'a Table)>, list: &str) {
    let mut seen = std::collections::HashSet::new();
    for (name, table) in named {
        if !seen.insert(name) {
            let help = format!("give each {list} a `name` of its own");
            let diagnostic = Diagnostic::error(format!("there is a {list} {name:?} already")).help(help);
            reader.at(diagnostic, table, &format!("{list}[{name}]"), "name");
        }
    }
}

/// The expanded scenario as JSON with sorted keys: equal for TOML and JSON that say the same. Reading it again gives the
/// same scenario.
fn canonical(root: &Table) -> String {
    let (_, expanded) = root.split(|key| key == "parameter");
    let mut text = String::new();
    write(&mut text, &expanded.to_json());
    text
}

fn write(text: &mut String, value: &serde_json::Value) {
    use serde_json::Value as Json;
    match value {
        Json::Array(list) => {
            text.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, value);
            }
            text.push(']');
        }
        Json::Object(map) => {
            let sorted: std::collections::BTreeMap<_, _> = map.iter().collect();
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Json::String(key.clone()).to_string());
                text.push(':');
                write(text, value);
            }
            text.push('}');
        }
        Json::String(value) => text.push_str(&Json::String(value.replace("${", "$${")).to_string()),
        scalar => text.push_str(&scalar.to_string()),
    }
}
