//! Signals. The first Ctrl-C is told to the command, the second ends the program at once.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Exit, Failure};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Ctrl-C, for the first time.
    Stop,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    Reload,
}

/// Listens for the rest of the program's life.
pub(crate) fn listen() -> Result<Receiver<Wish>, Failure> {
    start().map_err(|error| Failure::input(format!("can not listen for signals: {error}")))
}

fn start() -> io::Result<Receiver<Wish>> {
    let (to, wishes) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (ready, is_ready) = channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Err(error) = runtime.block_on(pass_on(&to, &ready)) {
            let _ = ready.send(Err(error));
        }
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
    Ok(wishes)
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
                std::process::exit(Exit::Interrupted as i32);
            }
            asked = true;
        }
        if to.send(wish).is_err() {
            return Ok(());
        }
    }
}
