//! `squall drill FILE…`: scenarios to their verdict in one process, with everything they bring.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use squall_core::parse;
use squall_core::scenario::Checked;
use squall_core::who::Identity;
use squall_drill::engine::Keep;
use squall_drill::view::{AbortReport, Event, ExperimentView, Mark, Marked};
use tokio::sync::broadcast::{self, error::TryRecvError};

use super::files::{self, Setting};
use super::follow::{self, Followed, Print};
use super::interrupt::{self, Wish};
use super::out::tell;
use super::reach::Reach;
use super::serve::ANY_PORT;
use super::start::{self, How};
use crate::exit::{Exit, Failure, Outcome};
use crate::wiring::{DRAIN, Wired};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios, run one after another: files, or names of those that squall brings (`squall scenarios`); a
    /// configuration among them is told by its content
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The configuration (squall.toml)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where report.json and report.md are put; with several scenarios, one directory for each below it
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// The report as JSON on standard output, everything else on standard error
    #[arg(long)]
    json: bool,
    /// Everything but act: say what would have been hit and what the guards would have done
    #[arg(long)]
    observe: bool,
    /// Set a parameter: name=value, or proxy.NAME.listen=ADDRESS
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(mut args: Args) -> Outcome {
    let files = args.files.iter().chain(&args.config).map(PathBuf::as_path).collect::<Vec<_>>();
    let set = files::settings(std::mem::take(&mut args.set));
    let several = args.files.len() > 1;
    let place = |name: &str| args.report.as_ref().map(|to| if several { to.join(name) } else { to.clone() });
    if args.reach.is_given() {
        if args.config.is_some() {
            let why = "--config is for a drill in this process; the squall behind --control has its own configuration";
            return Err(Failure::input(why));
        }
        return elsewhere(&args, &set, &place);
    }
    let parse::Outcome { scenarios, config, .. } = files::load(&files, &set)?;
    if scenarios.is_empty() {
        return Err(Failure::input("none of the files is a scenario (it has `name` and `[[fault]]`)"));
    }
    let wishes = interrupt::listen_with_enter()?;
    let mut config = config.unwrap_or_default();
    config.control.toxiproxy = None; // toxics from outside have no place in a drill
    let listen = config.control.listen.clone().unwrap_or_else(|| ANY_PORT.into());
    let wired = Wired::new(config, None)?;
    for proxy in wired.open(&listen)? {
        tell!("proxy {} {} -> {}", proxy.spec.name, proxy.listen, proxy.spec.upstream);
    }
    let server = wired.control(&listen)?;
    tell!("control {}", server.place());
    let mut exit = Exit::Done;
    for scenario in scenarios {
        let report = place(&scenario.name);
        let print = Print { json: args.json, report: report.as_deref() };
        exit = exit.worse(one(&wired, scenario, args.observe, &wishes, &print)?);
        if exit == Exit::Interrupted {
            break;
        }
    }
    wired.shut(DRAIN);
    Ok(exit)
}

/// One scenario, from its start to its verdict.
fn one(wired: &Arc<Wired>, scenario: Checked, observe: bool, wishes: &Receiver<Wish>, print: &Print<'_>) -> Outcome {
    let engine = wired.engine();
    let (events, who) = (engine.events(), Identity::local());
    let id = engine.submit(scenario, &who)?.id;
    let view = if observe { engine.observe(&id, Keep::Owned, &who)? } else { engine.start(&id, Keep::Owned, &who)? };
    tell!("{}", start::told(&view));
    for (name, address) in &view.proxies {
        tell!("proxy {name} {address}");
    }
    let mut run = Here { wired: wired.clone(), id, events };
    let exit = follow::follow(&mut run, wishes, print)?;
    let kept = wired.run_directory(&run.id);
    tell!("report {}", print.report.unwrap_or(&kept).join("report.md").display());
    Ok(exit)
}

/// An experiment in this process.
struct Here {
    wired: Arc<Wired>,
    id: String,
    events: broadcast::Receiver<Event>,
}

impl Followed for Here {
    fn view(&self) -> Result<ExperimentView, Failure> {
        Ok(self.wired.engine().view(&self.id)?)
    }

    fn events(&mut self) -> Vec<Event> {
        let mut seen = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(event) if event.experiment.as_deref() == Some(&self.id) => seen.push(event),
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return seen,
            }
        }
    }

    fn mark(&self, mark: Mark) -> Result<Marked, Failure> {
        Ok(self.wired.engine().mark(&self.id, mark)?)
    }

    fn abort(&self) -> Result<AbortReport, Failure> {
        Ok(self.wired.engine().abort(&self.id, "Ctrl-C", Duration::from_millis(50))?)
    }

    fn report(&self) -> Result<(serde_json::Value, String), Failure> {
        Ok(self.wired.engine().report(&self.id)?)
    }
}

/// The scenarios on a running squall instead.
fn elsewhere(args: &Args, set: &[(String, String)], place: &dyn Fn(&str) -> Option<PathBuf>) -> Outcome {
    let wishes = interrupt::listen_with_enter()?;
    let how = How { observe: args.observe, ..How::default() };
    let mut exit = Exit::Done;
    for file in &args.files {
        let text = start::text(&file.display().to_string())?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let report = place(&name);
        let print = Print { json: args.json, report: report.as_deref().map(Path::new) };
        exit = exit.worse(start::on(args.reach.client()?, &text, set, &how, &wishes, &print)?);
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(exit)
}
