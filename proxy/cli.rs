//! The command line: one file per subcommand. The words are fixed; other programs depend on them.

use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::Outcome;

mod abort;
mod approve;
mod audit;
mod ca;
mod change;
mod check;
mod completions;
mod doctor;
mod drill;
mod env;
mod explain;
mod faults;
mod files;
mod fleet;
mod follow;
mod healthcheck;
mod import;
mod inject;
mod interrupt;
mod lever;
mod list;
mod man;
mod mark;
pub(crate) mod out;
mod pause;
mod plan;
mod progress;
mod proxy;
mod reach;
mod record;
mod reload;
mod report;
mod scenarios;
mod schema;
mod serve;
mod start;
mod status;
mod submit;
mod sweep;
mod token;
mod toxiproxy;
mod wrap;

pub(crate) use serve::ANY_PORT;

/// A fault-injection proxy for fail-safe experiments.
#[derive(Debug, Parser)]
#[command(name = "squall", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 upheld or done, 1 refuted, 2 bad input or refused at start, 3 inconclusive or invalid,
4 control port out of reach, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run proxies and a control port until SIGTERM
    Serve(serve::Args),
    /// Run a program with squall around it: a proxy before the APIs that it calls, for as long as it runs
    Wrap(wrap::Args),
    /// The variables of a `squall wrap` that runs for this directory, for shells, containers and IDEs
    Env(env::Args),
    /// Which clients installed here obey what `squall wrap` tells them, and the fix for those that don't
    Doctor(doctor::Args),
    /// Run a program once under each scenario that is about a host which it calls
    Sweep(sweep::Args),
    /// Be a Toxiproxy server: the same flags (with one dash or two), API and configuration file
    Toxiproxy(toxiproxy::Args),
    /// Run scenarios to their verdict, with everything they bring, in this process
    Drill(drill::Args),
    /// Run a scenario on a `squall serve`, keeping its lease while waiting for the verdict
    Start(start::Args),
    /// Hand in a scenario for approval, without starting it
    Submit(submit::Args),
    /// Agree to an experiment that somebody else has handed in and somebody else starts, exactly as it is
    Approve(approve::Args),
    /// Object to an experiment that has not started: it will not
    Reject(approve::RejectArgs),
    /// End one experiment, or without an id everything: the faults are off when this returns
    Abort(abort::Args),
    /// Lift an experiment's faults and stop its timeline; only `resume` goes on
    Pause(pause::Args),
    /// Go on with a paused experiment
    Resume(pause::Args),
    /// Change fields of a fault while it runs, on live connections: its counts go on
    Change(change::Args),
    /// Say what happened in a running experiment: detected, mitigated, a note, or that a step is done
    Mark(mark::Args),
    /// The safety lever: how it stands, or engage it so that nothing runs and nothing starts, or release it
    Lever(lever::Args),
    /// The audit log: verify its chain, or show what is in it
    Audit(audit::Args),
    /// Proxies and experiments of a running squall
    Status(status::Args),
    /// Experiments of a running squall, newest first
    List(list::Args),
    /// The report of an experiment that is over
    Report(report::Args),
    /// Add, remove or list proxies of a running squall
    Proxy(proxy::Args),
    /// One fault on one proxy for a while
    Inject(inject::Args),
    /// Have a running squall read its configuration again; on an error the old one stays
    Reload(reload::Args),
    /// Make, list, revoke and rotate the tokens that let people and programs in
    Token(token::Args),
    /// The kinds of fault, or all about one of them
    Faults(faults::Args),
    /// The scenarios that squall brings, or those that mention a word
    Scenarios(scenarios::Args),
    /// Where the certificate of squall's own CA is, for clients that are to trust it; it is made if there is none
    Ca(ca::Args),
    /// Whether a running squall is ready: exit code 0, else 4
    Healthcheck(healthcheck::Args),
    /// Explain every mistake in scenarios and configurations
    Check(check::Args),
    /// The JSON Schema of scenarios or configurations
    Schema(schema::Args),
    /// What a scenario will do, when and to whom, without opening a socket
    Plan(plan::Args),
    /// Write down the HTTP exchanges of a real service, without secrets, for a test double that plays them
    Record(record::Args),
    /// Which faults of a scenario would hit a request, and why
    Explain(explain::Args),
    /// A scenario from the faults in Envoy's or Istio's configuration, on standard output
    Import(import::Args),
    /// Completions for a shell, on standard output
    Completions(completions::Args),
    /// The manual page, on standard output
    Man(man::Args),
}

impl Cli {
    /// Reads the command line of this process. Called by the name of the original (`toxiproxy-server`), squall is
    /// `squall toxiproxy`; there and in that command long options may have one dash, as in the original.
    pub fn read() -> Cli {
        Cli::parse_from(toxiproxy::adopt(std::env::args_os().collect()))
    }

    /// Carries out the command.
    ///
    /// # Errors
    /// Why it could not be done, and the exit code for that.
    pub fn run(self) -> Outcome {
        match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Wrap(args) => wrap::run(args),
            Command::Env(args) => env::run(args),
            Command::Doctor(args) => doctor::run(args),
            Command::Sweep(args) => sweep::run(args),
            Command::Toxiproxy(args) => toxiproxy::run(args),
            Command::Drill(args) => drill::run(args),
            Command::Start(args) => start::run(args),
            Command::Submit(args) => submit::run(args),
            Command::Approve(args) => approve::run(args),
            Command::Reject(args) => approve::reject(args),
            Command::Abort(args) => abort::run(args),
            Command::Pause(args) => pause::run(args, "pause"),
            Command::Resume(args) => pause::run(args, "resume"),
            Command::Change(args) => change::run(args),
            Command::Mark(args) => mark::run(args),
            Command::Lever(args) => lever::run(args),
            Command::Audit(args) => audit::run(args),
            Command::Status(args) => status::run(args),
            Command::List(args) => list::run(args),
            Command::Report(args) => report::run(args),
            Command::Proxy(args) => proxy::run(args),
            Command::Inject(args) => inject::run(args),
            Command::Reload(args) => reload::run(args),
            Command::Token(args) => token::run(args),
            Command::Faults(args) => faults::run(args),
            Command::Scenarios(args) => scenarios::run(args),
            Command::Ca(args) => ca::run(args),
            Command::Healthcheck(args) => healthcheck::run(args),
            Command::Check(args) => check::run(args),
            Command::Schema(args) => schema::run(args),
            Command::Plan(args) => plan::run(args),
            Command::Record(args) => record::run(args),
            Command::Explain(args) => explain::run(args),
            Command::Import(args) => import::run(args),
            Command::Completions(args) => completions::run(args),
            Command::Man(args) => man::run(args),
        }
    }

    /// The definition behind help, manual and completions.
    pub fn definition() -> clap::Command {
        Cli::command()
    }
}

/// Says on standard error why a command failed; nothing if everything has been said.
pub(crate) fn complain(message: &str) {
    if !message.is_empty() {
        out::tell!("error: {message}");
    }
}
