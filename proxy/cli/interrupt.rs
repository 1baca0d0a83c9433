//! Signals and, on a terminal, Enter. The first Ctrl-C is told to the command, the second ends the program at once.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Ctrl-C, for the first time.
    Stop,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Reload,
    /// Enter, with what was typed before it.
    Enter(String),
}

/// Listens for the rest of the program's life.
pub(crate) fn listen() -> Result<Receiver<Wish>, Failure> {
    let (to, wishes) = channel();
    start(to).map_err(refuse)?;
    Ok(wishes)
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn refuse(error: io::Error) -> Failure {
    Failure::input(format!("can not listen for signals: {error}"))
}

/// The same, with Enter where standard input is a terminal.
pub(crate) fn listen_with_enter() -> Result<Receiver<Wish>, Failure> {
    let (to, wishes) = channel();
    let enter = to.clone();
    start(to).map_err(refuse)?;
    if io::stdin().is_terminal() {
        let read = move || while let Some(true) = read_line(&enter) {};
        // without it `squall mark` still works
        let _ = std::thread::Builder::new().name("enter".into()).spawn(read);
    }
    Ok(wishes)
}

/// Waits for a line. None: there will be no more; false: the reader is gone.
fn read_line(to: &Sender<Wish>) -> Option<bool> {
    let stdin = io::stdin();
    // a program in the background that reads from its terminal is stopped, and with it all that it serves
    let in_front = || tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp());
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let waits = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        match poll(&mut ready, Some(&waits)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) if in_front() => break,
            Ok(_) => std::thread::sleep(Duration::from_millis(200)),
            Err(_) => return None,
        }
    }
    let mut line = String::new();
    match stdin.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(to.send(Wish::Enter(line.trim().to_owned())).is_ok()),
    }
}

fn start(to: Sender<Wish>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (ready, is_ready) = channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Err(error) = runtime.block_on(pass_on(&to, &ready)) {
            let _ = ready.send(Err(error));
        }
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

async fn pass_on(to: &Sender<Wish>, ready: &Sender<io::Result<()>>) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let _ = ready.send(Ok(()));
    let mut asked = false;
    loop {
        let wish = tokio::select! {
            _ = interrupt.recv() => Wish::Stop,
            _ = terminate.recv() => Wish::Terminate,
            _ = hangup.recv() => Wish::Reload,
        };
        if wish == Wish::Stop {
            if asked {
                std::process::exit(Exit::Interrupted.code().into());
            }
            asked = true;
        }
        if to.send(wish).is_err() {
            return Ok(());
        }
    }
}
