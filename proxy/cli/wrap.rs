//! `squall wrap -- CMD`: a program with squall around it.

mod end;
mod start;

pub(super) use end::put;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use squall_core::call::Call;
use squall_core::limits::Limits;

use super::files::{self, Setting};
use super::interrupt::{self, Wish};
use super::out::tell;
use crate::exit::{Exit, Failure, Outcome};
use crate::wrap::adhoc::Faults;
use crate::wrap::bypassed::Detector;
use crate::wrap::child::{Child, Happened};
use crate::wrap::exit;
use crate::wrap::expect::Expect;
use crate::wrap::hosts::{self, Mapped, Only};
use crate::wrap::secrets;
use crate::wrap::session::{Options, Session};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A scenario that acts while the program runs: the name of one that squall brings (`squall scenarios`), or a file
    #[arg(long, value_name = "SCENARIO")]
    with: Vec<PathBuf>,
    /// Set a parameter of the scenarios: rate=25%
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    /// Open this host besides those that squall's scenarios know, and have --error and its like act there alone:
    /// `api.example.com`, with a port or `http://` if need be
    #[arg(long, value_name = "HOST")]
    only: Vec<Only>,
    /// Have another program answer in a host's place: api.stripe.com=127.0.0.1:9000, or =https://127.0.0.1:9443 if it
    /// speaks TLS
    #[arg(long, value_name = "HOST=ADDRESS:PORT")]
    map: Vec<Mapped>,
    #[command(flatten)]
    faults: Faults,
    /// What must hold at the end, for each host that was called: amplification<=3, no-silent-truncation,
    /// retry-after-honoured, surfaced=0, … Exit code 70 if it does not, 71 if nothing happened that it is about
    #[arg(long, value_name = "FIGURE<=N")]
    expect: Vec<Expect>,
    /// Give the program a base URL for each opened host too (OPENAI_BASE_URL and the like, SQUALL_URL_<HOST> for any), for
    /// clients that trust no variable
    #[arg(long)]
    reverse: bool,
    /// The port of the proxy; else any that is free
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Where wrap.json, wrap.md and junit.xml are put
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Let live keys (sk_live_ and the like) into the environment and out to the services
    #[arg(long)]
    allow_live: bool,
    /// Where the project's CA is kept, for this user only. Else below XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The program and its arguments; without one it runs until Ctrl-C or SIGTERM, for whoever asks `squall env`
    #[arg(value_name = "CMD", last = true)]
    command: Vec<OsString>,
}

impl Args {
    /// The option that another command needs to find the same project, for a shell.
    fn state_option(&self) -> Option<String> {
        Some(format!("--state {}", secrets::quoted(&self.state.as_ref()?.to_string_lossy())))
    }
}

/// How long connections may go on after the program has ended.
const DRAIN: Duration = Duration::from_millis(200);
/// Between two looks.
const TURN: Duration = Duration::from_millis(200);
/// Calls that are kept.
const MOST: usize = 200_000;

pub(crate) fn run(mut args: Args) -> Outcome {
    if !args.allow_live {
        refuse_live_keys(&args.command)?;
    }
    let set = files::settings(std::mem::take(&mut args.set));
    let scenarios = start::scenarios(&args, &set)?;
    let options = Options {
        only: args.only.clone(),
        named: scenarios.iter().flat_map(hosts::of_faults).collect(),
        allow_live: args.allow_live,
        maps: args.map.clone(),
        state: args.state.clone(),
        reverse: args.reverse,
        port: args.port,
    };
    let session = Session::open(&options)?;
    tell!("squall: proxy http://{}, control {}", session.front(), session.control.place());
    let runs = start::start(&session, &args, scenarios)?;
    if args.command.is_empty() {
        return stand_by(&session, &args, &runs);
    }
    let child = match Child::start(&args.command, &session.variables) {
        Ok(child) => child,
        Err(not) => return Err(Failure { exit: Exit::Child(not.code), message: not.why }),
    };
    let mut seen = Seen::new(Some(child.pid()))?;
    let code = attend(&session, &child, &mut seen);
    end::end(&session, &args, &runs, seen, code)
}

fn refuse_live_keys(command: &[OsString]) -> Result<(), Failure> {
    let refused = |place: String, start: &str| {
        let why = format!("{place} holds a live key ({start}…): use a test key, or say --allow-live if you mean it");
        Err(Failure::input(why))
    };
    if let Some((name, start)) = secrets::live_variable() {
        return refused(format!("the variable {name}"), start);
    }
    match command.iter().find_map(|word| secrets::live_key(&word.to_string_lossy())) {
        Some(start) => refused("the command line".into(), start),
        None => Ok(()),
    }
}

/// What was seen while the program ran.
struct Seen {
    calls: Vec<Call>,
    /// Calls that found no room.
    lost: u64,
    detector: Option<Detector>,
}

impl Seen {
    /// While this process and its descendants run; none: nobody in particular.
    fn new(pid: Option<Pid>) -> Result<Seen, Failure> {
        let limits = Limits::new(&exit::safety()).map_err(Failure::input)?;
        let detector = pid.map(|pid| Detector::new(pid.as_raw_nonzero().get(), limits));
        Ok(Seen { calls: Vec::new(), lost: 0, detector })
    }

    fn take_in(&mut self, session: &Session) {
        for call in session.calls.try_iter() {
            match self.calls.len() < MOST {
                true => self.calls.push(call),
                false => self.lost += 1,
            }
        }
    }
}

/// Without a program: until SIGTERM, or Ctrl-C while nothing is injected.
fn stand_by(session: &Session, args: &Args, runs: &[String]) -> Outcome {
    let wishes = interrupt::listen()?;
    let env = ["squall env".to_owned()].into_iter().chain(args.state_option()).collect::<Vec<_>>().join(" ");
    tell!("squall: `eval \"$({env})\"` in a shell of this directory leads it here; Ctrl-C ends it");
    let mut seen = Seen::new(None)?;
    loop {
        match wishes.recv_timeout(TURN) {
            Ok(Wish::Stop) if !runs.is_empty() => {
                let report = session.wired.engine().abort_all("Ctrl-C", Duration::from_millis(50));
                tell!("squall: {}; Ctrl-C again ends squall", super::abort::told(&report));
            }
            Ok(Wish::Stop | Wish::Terminate) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Wish::Reload | Wish::Enter(_)) | Err(RecvTimeoutError::Timeout) => {}
        }
        seen.take_in(session);
    }
    end::end(session, args, runs, seen, 0)
}

/// Until the program has ended; its exit code. Ctrl-C once lifts the faults, twice asks the program to end.
fn attend(session: &Session, child: &Child, seen: &mut Seen) -> u8 {
    let mut asked = 0;
    loop {
        let happened = child.next(TURN);
        seen.take_in(session);
        match happened {
            Some(Happened::Ended(code)) => return code,
            Some(Happened::TookTerminal) => {
                tell!("squall: the program has the terminal now, and Ctrl-C with it; `squall abort` lifts the faults");
            }
            Some(Happened::Interrupt) => {
                asked += 1;
                match asked {
                    1 => {
                        let report = session.wired.engine().abort_all("Ctrl-C", Duration::from_millis(50));
                        tell!("squall: {}; Ctrl-C again ends the program", super::abort::told(&report));
                    }
                    2 => {
                        child.signal(Signal::INT);
                        tell!("squall: the program was asked to end; once more kills it");
                    }
                    _ => child.signal(Signal::KILL),
                }
            }
            None => seen.detector.iter_mut().for_each(Detector::look),
        }
    }
}
