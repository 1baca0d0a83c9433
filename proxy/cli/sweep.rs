//! `squall sweep -- CMD`: a program once under each scenario that is about a host which it calls.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::out::{say, table, tell};
use super::wrap::put;
use crate::exit::{Exit, Failure, Outcome};
use crate::library;
use crate::runtime::{self, Scratch};
use crate::wrap::hosts::{self, Mapped};
use crate::wrap::stand_in::Anybody;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Have this program answer in a host's place. Hosts without one are answered `200 {}` by squall
    #[arg(long, value_name = "HOST=ADDRESS:PORT")]
    map: Vec<Mapped>,
    /// Let the services themselves answer where there is no --map
    #[arg(long)]
    real: bool,
    /// Only scenarios that mention this word
    #[arg(long, value_name = "WORD", default_value = "")]
    word: String,
    /// Where sweep.md and the report of each run are put
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Where the project's CA is kept. Else below XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Let live keys into the environment and out to the services
    #[arg(long)]
    allow_live: bool,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

/// The figures of a run, in the order of the matrix.
const FIGURES: [&str; 7] = ["calls", "faults", "retried", "recovered", "surfaced", "swallowed", "unknown"];

pub(crate) fn run(args: Args) -> Outcome {
    let anybody = Anybody::start().map_err(|error| Failure::input(format!("no stand-in: {error}")))?;
    let own = runtime::own_state().and_then(|state| Scratch::new(state.join("sweep")));
    let own = own.map_err(|error| Failure::input(format!("no state directory: {error}")))?;
    let reports = args.report.clone().unwrap_or_else(|| own.path().to_owned());
    let sweep = Sweep { args: &args, anybody: &anybody, reports: &reports };
    let baseline = sweep.one(None)?;
    let called: Vec<&str> = baseline.hosts().filter_map(|host| host["host"].as_str()).collect();
    let about = |text: &str| hosts::named(text).iter().any(|name| called.contains(&name.as_str()));
    let scenarios: Vec<_> = library::all().filter(|it| it.mentions(&args.word) && about(it.text)).collect();
    let head =
        ["scenario", "exit code"].into_iter().chain(FIGURES).chain(["amplification"]).map(str::to_owned).collect();
    let mut rows = vec![head, baseline.row("(none)")];
    for scenario in &scenarios {
        rows.push(sweep.one(Some(scenario.path))?.row(scenario.path));
    }
    table(&rows);
    if scenarios.is_empty() {
        say!(
            "no scenario is about a host that was called ({})",
            if called.is_empty() { "none".into() } else { called.join(", ") }
        );
    }
    if args.report.is_some() {
        let text = markdown(&rows);
        put(&reports.join("sweep.md"), &text)
            .map_err(|error| Failure::input(format!("{}: {error}", reports.display())))?;
    }
    Ok(Exit::Done)
}

struct Sweep<'a> {
    args: &'a Args,
    anybody: &'a Anybody,
    reports: &'a Path,
}

/// One run, over.
struct Run {
    code: i32,
    report: Value,
}

impl Sweep<'_> {
    /// A run of its own process, so that nothing of one reaches the next.
    fn one(&self, scenario: Option<&str>) -> Result<Run, Failure> {
        let name = scenario.unwrap_or("none");
        tell!("squall sweep: {name}");
        let reports = self.reports.join(name.replace('/', "-"));
        let squall = std::env::current_exe().map_err(|error| Failure::input(format!("squall itself: {error}")))?;
        let mut command = Command::new(squall);
        command.arg("wrap").arg("--report").arg(&reports);
        command.args(scenario.into_iter().flat_map(|name| ["--with", name]));
        command.args(self.args.map.iter().flat_map(|map| ["--map".to_owned(), map.written()]));
        if !self.args.real {
            for host in self.unmapped() {
                command.arg("--map").arg(format!("{host}={}", self.anybody.address()));
            }
        }
        if let Some(state) = &self.args.state {
            command.arg("--state").arg(state);
        }
        command.args(self.args.allow_live.then_some("--allow-live"));
        command.arg("--").args(&self.args.command);
        let status = command.status().map_err(|error| Failure::input(format!("squall itself: {error}")))?;
        let wrong = |why: String| Failure::input(format!("the run of {name} left no report: {why}"));
        let text = std::fs::read(reports.join("wrap.json")).map_err(|error| wrong(error.to_string()))?;
        let report = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Run { code: status.code().unwrap_or(-1), report })
    }

    /// The hosts of the library for which nobody stands in.
    fn unmapped(&self) -> Vec<String> {
        let mut names: Vec<String> = library::all().flat_map(|shipped| hosts::named(shipped.text)).collect();
        names.sort();
        names.dedup();
        names.retain(|name| self.args.map.iter().all(|map| map.host.name != *name));
        names
    }
}

impl Run {
    fn hosts(&self) -> impl Iterator<Item = &Value> {
        self.report["hosts"].as_array().into_iter().flatten()
    }

    fn row(&self, name: &str) -> Vec<String> {
        let sum = |figure: &&str| self.hosts().filter_map(|host| host[*figure].as_u64()).sum::<u64>().to_string();
        let most = self.hosts().filter_map(|host| host["amplification"].as_f64()).max_by(f64::total_cmp);
        let amplification = most.map_or("-".to_owned(), |it| format!("{it:.1}"));
        let named = [name.to_owned(), self.code.to_string()];
        named.into_iter().chain(FIGURES.iter().map(sum)).chain([amplification]).collect()
    }
}

fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::from("# squall sweep\n\n");
    for (n, row) in rows.iter().enumerate() {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
        if n == 0 {
            text.push_str(&format!("|{}\n", "---|".repeat(row.len())));
        }
    }
    text
}
