//! `squall wrap -- CMD`: a program with squall around it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::out::tell;
use crate::exit::{Exit, Failure, Outcome};
use crate::wrap::child::{Child, Happened};
use crate::wrap::hosts::{Mapped, Only};
use crate::wrap::session::{Options, Session};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Open this host besides those that squall's scenarios know: `api.example.com`, with a port or `http://` if need be
    #[arg(long, value_name = "HOST")]
    only: Vec<Only>,
    /// Have another program answer in a host's place: api.stripe.com=127.0.0.1:9000, or =https://127.0.0.1:9443 if it
    /// speaks TLS
    #[arg(long, value_name = "HOST=ADDRESS:PORT")]
    map: Vec<Mapped>,
    /// Where the project's CA is kept, for this user only. Else below XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

/// How long connections may go on after the program has ended.
const DRAIN: Duration = Duration::from_millis(100);
/// Between two looks.
const TURN: Duration = Duration::from_millis(200);

pub(crate) fn run(args: Args) -> Outcome {
    let options = Options { only: args.only, maps: args.map, state: args.state, ..Options::default() };
    let session = Session::open(&options)?;
    tell!("squall: proxy http://{}, control {}", session.front(), session.control.place());
    let child = match Child::start(&args.command, &session.variables) {
        Ok(child) => child,
        Err(not) => return Err(Failure { exit: Exit::Child(not.code), message: not.why }),
    };
    let code = attend(&session, &child);
    session.wired.shut(DRAIN);
    Ok(Exit::Child(code))
}

/// Until the program has ended; its exit code. Ctrl-C once lifts the faults, twice asks the program to end.
fn attend(session: &Session, child: &Child) -> u8 {
    let mut asked = 0;
    loop {
        match child.next(TURN) {
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
            None => {}
        }
    }
}
