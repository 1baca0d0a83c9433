//! The wrapped program: in a process group of its own, so that Ctrl-C is squall's to understand; every other signal is passed
//! on, and so is how it ended.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpgrp, kill_process, kill_process_group, waitpid};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use squall_wire::with_former_descriptor_limit;
use tokio::signal::unix::{SignalKind, signal};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Ctrl-C, or SIGINT from elsewhere.
    Interrupt,
    /// It wanted to read from the terminal and has it now: Ctrl-C is its own from here on.
    TookTerminal,
    /// It has ended, with this exit code: 128 and the signal's number if one ended it.
    Ended(u8),
}

/// Why a program could not be started, and the exit code for that, as `env` has it.
#[derive(Debug)]
pub struct NotStarted {
    /// 127: there is none, 126: it can't be run.
    pub code: u8,
    /// In words.
    pub why: String,
}

/// See the module. It is not ended when this is dropped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    happened: Receiver<Happened>,
}

impl Child {
    /// Starts a program with these variables besides squall's own.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn start(words: &[OsString], variables: &[(String, String)]) -> Result<Child, NotStarted> {
        let not_started = |error: io::Error| {
            let program = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            NotStarted { code, why: format!("{program}: {error}") }
        };
        let (program, arguments) = words.split_first().ok_or_else(|| not_started(io::ErrorKind::NotFound.into()))?;
        let (to, happened) = channel();
        let (told, pids) = channel();
        pass_signals(to.clone(), pids).map_err(not_started)?; // before there is anybody whom they could be for
        let mut command = Command::new(program);
        command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value))).process_group(0);
        let child = with_former_descriptor_limit(|| command.spawn()).map_err(not_started)?;
        let pid = Pid::from_child(&child);
        let _there_is_a_reader = told.send(pid);
        std::thread::Builder::new().name("child".into()).spawn(move || wait(pid, &to)).map_err(not_started)?;
        Ok(Child { pid, happened })
    }

    /// What happens next; none: nothing for so long.
    pub fn next(&self, within: Duration) -> Option<Happened> {
        self.happened.recv_timeout(within).ok()
    }

    /// Its process, which leads its group.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to all of its group.
    pub fn signal(&self, signal: Signal) {
        let _it_has_ended = kill_process_group(self.pid, signal);
    }
}

/// Waits for its end. Where it is stopped because it wants the terminal, it gets it.
fn wait(pid: Pid, to: &Sender<Happened>) {
    loop {
        match waitpid(Some(pid), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) if status.stopped() => {
                if wants_terminal(status) && give_terminal(pid) {
                    let _nobody_asks_any_more = to.send(Happened::TookTerminal);
                }
            }
            Ok(Some((_, status))) => {
                let _nobody_asks_any_more = to.send(Happened::Ended(code(status)));
                return;
            }
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => {
                let _nobody_asks_any_more = to.send(Happened::Ended(1)); // how it ended nobody can tell
                return;
            }
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let number = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number & 0xFF).ok()).unwrap_or(1)
}

fn wants_terminal(status: WaitStatus) -> bool {
    let by = status.stopping_signal();
    by == Some(Signal::TTIN.as_raw()) || by == Some(Signal::TTOU.as_raw())
}

/// squall is in the foreground until then.
fn give_terminal(pid: Pid) -> bool {
    let stdin = io::stdin();
    let ours = stdin.is_terminal() && tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp());
    ours && tcsetpgrp(&stdin, pid).is_ok() && kill_process_group(pid, Signal::CONT).is_ok()
}

/// Signals that mean the program, not squall.
const PASSED: [SignalKind; 6] = [
    SignalKind::terminate(),
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::window_change(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// Listens for the rest of squall's life; what comes before the program is there waits for it.
fn pass_signals(to: Sender<Happened>, pids: Receiver<Pid>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stop = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut passed = PASSED.iter().map(|kind| Ok((*kind, signal(*kind)?))).collect::<io::Result<Vec<_>>>()?;
    drop(_inside);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(pid) = pids.recv() else { return }; // it was not started
        runtime.block_on(async {
            loop {
                let any = std::future::poll_fn(|cx| {
                    let mut ready =
                        passed.iter_mut().filter_map(|(kind, it)| it.poll_recv(cx).is_ready().then_some(*kind));
                    ready.next().map_or(Poll::Pending, Poll::Ready)
                });
                tokio::select! {
                    _ = interrupt.recv() => if to.send(Happened::Interrupt).is_err() { return },
                    _ = stop.recv() => stop_both(pid),
                    kind = any => if let Some(signal) = Signal::from_named_raw(kind.as_raw_value()) {
                        let _it_has_ended = kill_process_group(pid, signal);
                    },
                }
            }
        });
    })?;
    Ok(())
}

/// Ctrl-Z stops the program and squall; squall goes on first, and has the program go on.
fn stop_both(pid: Pid) {
    let _it_has_ended = kill_process_group(pid, Signal::TSTP);
    let _always_possible = kill_process(rustix::process::getpid(), Signal::STOP);
    let _it_has_ended = kill_process_group(pid, Signal::CONT);
}
