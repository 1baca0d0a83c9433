//! `squall status`

use squall_control::api::{ExperimentView, Status};
use squall_control::client::Client;

use super::out::{raw, say, table, tell};
use super::reach::Reach;
use super::submit;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON, as GET /v1/status gives it
    #[arg(long)]
    json: bool,
    /// What is in force, as a squall.toml
    #[arg(long, conflicts_with = "json")]
    as_config: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let clients = args.reach.clients()?;
    let [client] = clients.as_slice() else { return of_all(&clients, args.json) };
    if args.as_config {
        raw(client.config()?.as_bytes());
        return Ok(Exit::Done);
    }
    let status = client.status()?;
    if args.json {
        say!("{}", pretty(&status)?);
        return Ok(Exit::Done);
    }
    all(client, &status);
    Ok(Exit::Done)
}

/// Of several, one after another; those who do not answer are named.
fn of_all(clients: &[Client], json: bool) -> Outcome {
    let (mut exit, mut statuses) = (Exit::Done, Vec::new());
    for client in clients {
        match client.status() {
            Ok(status) if json => {
                statuses.push(serde_json::json!({ "control": client.place().to_string(), "status": status }));
            }
            Ok(status) => {
                all(client, &status);
                say!("");
            }
            Err(error) => {
                tell!("{} does not answer: {error}", client.place());
                exit = exit.worse(Exit::OutOfReach);
            }
        }
    }
    if json {
        say!("{}", pretty(&statuses)?);
    }
    Ok(exit)
}

fn all(client: &Client, status: &Status) {
    show(status, &client.place().to_string());
    let running = status.experiments.iter().filter(|experiment| !experiment.state.is_over());
    // one that has been forgotten meanwhile has no faults left to show
    let views: Vec<ExperimentView> = running.filter_map(|experiment| client.view(&experiment.id).ok()).collect();
    show_faults(&views);
}

fn show(status: &Status, place: &str) {
    say!("squall {} at {place}, environment {}", status.version, status.environment);
    if status.lever.engaged {
        say!("{}", super::lever::shown(&status.lever));
    }
    for difference in &status.drift {
        say!("drift: {difference}");
    }
    say!("");
    let mut rows = vec![["PROXY", "LISTEN", "UPSTREAM"].map(str::to_owned).to_vec()];
    for proxy in &status.proxies {
        rows.push(vec![proxy.name.clone(), proxy.listen.clone(), proxy.upstream.clone()]);
    }
    table(&rows);
    if status.experiments.is_empty() {
        return;
    }
    say!("");
    let mut rows = vec![["EXPERIMENT", "NAME", "STATE"].map(str::to_owned).to_vec()];
    for experiment in &status.experiments {
        let observed = if experiment.observed { " (only observed)" } else { "" };
        let waits = experiment.waiting.as_ref().map(|waiting| format!(", waits for step `{}`", waiting.step));
        let consent = submit::told(&experiment.consent).map(|told| format!(", {told}"));
        let state = format!(
            "{}{observed}{}{}",
            experiment.state.word(),
            waits.unwrap_or_default(),
            consent.unwrap_or_default()
        );
        rows.push(vec![experiment.id.clone(), experiment.name.clone(), state]);
    }
    table(&rows);
}

/// What running experiments do, fault by fault.
fn show_faults(views: &[ExperimentView]) {
    let mut rows = vec![["FAULT", "OF", "ACTS", "AFFECTED", "DOES"].map(str::to_owned).to_vec()];
    for view in views {
        for fault in &view.faults {
            let acts = if fault.active { "now" } else { "no" };
            let affected = fault.tally.affected.to_string();
            let ladder = fault.ladder.as_ref().map(|ladder| format!(" (ladder: {})", ladder.told()));
            let does = format!("{}{}", fault.summary, ladder.unwrap_or_default());
            rows.push(vec![fault.name.clone(), view.id.clone(), acts.into(), affected, does]);
        }
    }
    if rows.len() > 1 {
        say!("");
        table(&rows);
    }
}

/// JSON for people and programs.
pub(crate) fn pretty(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::input(error.to_string()))
}
