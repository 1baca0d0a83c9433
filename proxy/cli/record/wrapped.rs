//! `squall record -- CMD`: what a program asks of the hosts that squall opens for it.

use std::time::Duration;

use rustix::process::Signal;
use squall_core::plane::DataPlane;

use super::{Args, DRAIN, told};
use crate::cli::out::tell;
use crate::exit::{Exit, Failure, Outcome};
use crate::record::Recorder;
use crate::wrap::child::{Child, Happened};
use crate::wrap::session::{Options, Session};

/// Between two looks.
const TURN: Duration = Duration::from_millis(200);

/// Runs the program to its end; its standard output is its own.
pub(super) fn run(args: Args, recorder: Recorder) -> Outcome {
    let (only, maps, allow_live) = (args.only, args.map, args.allow_live);
    let options = Options { only, maps, allow_live, state: args.state, ..Options::default() };
    let session = Session::open(&options)?;
    let plane = session.wired.plane();
    for proxy in plane.proxies() {
        let tapped = plane.tap(&proxy.spec.name, Some(recorder.tap()));
        tapped.map_err(|error| Failure::input(error.to_string()))?;
    }
    tell!("squall: proxy http://{}, what goes to opened hosts is recorded", session.front());
    let child = match Child::start(&args.command, &session.variables) {
        Ok(child) => child,
        Err(not) => return Err(Failure { exit: Exit::Child(not.code), message: not.why }),
    };
    let code = attend(&child);
    session.wired.shut(DRAIN);
    match told(recorder, &args.output) {
        Ok(words) => tell!("squall: {words}"),
        Err(failure) if code != 0 => tell!("squall: {}", failure.message), // the program's own failure comes first
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Child(code))
}

/// Until the program has ended; its exit code. Ctrl-C once asks it to end, twice kills it.
fn attend(child: &Child) -> u8 {
    let mut asked = false;
    loop {
        match child.next(TURN) {
            Some(Happened::Ended(code)) => return code,
            Some(Happened::Interrupt) => {
                child.signal(if asked { Signal::KILL } else { Signal::INT });
                asked = true;
            }
            Some(Happened::TookTerminal) | None => {}
        }
    }
}
