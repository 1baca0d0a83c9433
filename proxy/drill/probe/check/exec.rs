//! `exec`: a program with fixed arguments, an empty environment and no shell. It is a process group of its own, and the
//! group is killed as soon as the program has ended or its time is over: nothing is left behind.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::task::spawn_blocking;

use super::{LOOK, quote};

pub(super) async fn check(command: &[String], status: i32, expect: Option<&str>) -> Result<(), String> {
    let words = command.to_vec();
    let cannot = |error: io::Error| format!("{}: {error}", command.first().map_or("", String::as_str));
    let started = spawn_blocking(move || Group::start(&words)).await;
    let mut group = started.map_err(|error| error.to_string())?.map_err(cannot)?;
    let mut out = Output::new(group.child.stdout.take().map(OwnedFd::from)).map_err(cannot)?;
    let mut err = Output::new(group.child.stderr.take().map(OwnedFd::from)).map_err(cannot)?;
    // not reaped yet: until then the group's number belongs to nobody else
    let pid = group.pid;
    let ended = spawn_blocking(move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
    tokio::select! {
        _ = ended => {}
        () = async { tokio::join!(out.read(), err.read()); } => {}
    }
    out.rest();
    err.rest();
    let found = group.finish().map_err(cannot)?;
    if found.code() != Some(status) {
        let how = match (found.code(), found.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
        };
        let words = if err.read.is_empty() { String::new() } else { format!(": {}", quote(&err.text())) };
        return Err(format!("it {how}, not with {status}{words}"));
    }
    match expect {
        Some(expect) if !out.text().contains(expect) => {
            Err(format!("it wrote {}, without {expect:?}", quote(&out.text())))
        }
        _ => Ok(()),
    }
}

/// A program and what it has started.
struct Group {
    child: Child,
    pid: Pid,
    is_over: bool,
}

impl Group {
    fn start(words: &[String]) -> io::Result<Group> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir("/").process_group(0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Group { child, pid, is_over: false })
    }

    /// Waits for the end of the program, which is near, and lets nothing that it started outlive it.
    fn finish(&mut self) -> io::Result<ExitStatus> {
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.is_over = true;
        self.child.wait()
    }
}

impl Drop for Group {
    /// Its time is over.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        // a program that hangs in the kernel dies later: nobody waits for that
        let pid = self.pid;
        let reap = move || waitpid(Some(pid), WaitOptions::empty());
        let _ = std::thread::Builder::new().name("squall-reap".into()).spawn(reap);
    }
}

/// What a program writes, up to what is looked at; the rest is read and forgotten, so that it does not stand still.
struct Output {
    pipe: Option<Receiver>,
    read: Vec<u8>,
}

impl Output {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Output> {
        Ok(Output { pipe: pipe.map(Receiver::from_owned_fd).transpose()?, read: Vec::new() })
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LOOK - self.read.len();
        self.read.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads and never ends: the end of the output is not the end of the program.
    async fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(n) => self.keep(&bytes[..n]),
            }
        }
        std::future::pending().await
    }

    /// What is in the pipe already: somebody else may hold it open for long.
    fn rest(&mut self) {
        let mut bytes = [0; 4096];
        let Some(pipe) = self.pipe.take() else { return };
        while self.read.len() < LOOK {
            match rustix::io::read(pipe.as_fd(), &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(n) => self.keep(&bytes[..n]),
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}
