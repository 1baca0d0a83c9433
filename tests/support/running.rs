//! A program that runs, squall or another, and one that has ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// No event takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is left of it.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output; of one that was left running, standard error too.
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn of(output: &Output) -> Ended {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Standard output or standard error has this.
    #[track_caller]
    pub fn says(self, words: &str) -> Ended {
        assert!(self.out.contains(words) || self.err.contains(words), "no {words:?} in {self:#?}");
        self
    }
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<String>,
    streams_ended: usize,
}

type Shared = Arc<(Mutex<Printed>, Condvar)>;

/// A program under way; killed when the test ends first.
#[derive(Debug)]
pub struct Running {
    child: Child,
    printed: Shared,
}

impl Running {
    /// Starts a program and keeps what it prints.
    #[track_caller]
    pub fn start(command: &mut Command) -> Running {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let printed: Shared = Arc::default();
        read(child.stdout.take().unwrap(), printed.clone());
        read(child.stderr.take().unwrap(), printed.clone());
        Running { child, printed }
    }

    /// Waits for a line that begins so; gives the rest of it.
    #[track_caller]
    pub fn wait_for(&self, start: &str) -> String {
        self.wait(start, |line| line.strip_prefix(start).map(str::to_owned))
    }

    /// Waits for a line that has these words in it.
    #[track_caller]
    pub fn wait_for_words(&self, words: &str) {
        self.wait(words, |line| line.contains(words).then_some(()));
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let first = |printed: &Printed| printed.lines.iter().find_map(|line| find(line));
        let printed = self.until(|printed| first(printed).is_some() || printed.streams_ended == 2);
        first(&printed).unwrap_or_else(|| panic!("no line has {what:?}: {:#?}", printed.lines))
    }

    fn until(&self, done: impl Fn(&Printed) -> bool) -> MutexGuard<'_, Printed> {
        let (lock, changed) = &*self.printed;
        changed.wait_timeout_while(lock.lock().unwrap(), PATIENCE, |printed| !done(printed)).unwrap().0
    }

    /// `http://address:port` of its control port.
    pub fn control(&self) -> String {
        self.wait_for("control ")
    }

    /// Where a proxy listens.
    pub fn proxy(&self, name: &str) -> String {
        let line = self.wait_for(&format!("proxy {name} "));
        line.split(' ').next().unwrap().to_owned()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.printed.0.lock().unwrap().lines.join("\n")
    }

    /// Writes a line to its standard input, which has to be a pipe.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended, at most so long; its exit code, or 128 and the signal that ended it.
    #[track_caller]
    pub fn code_within(&mut self, patience: Duration) -> i32 {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
            }
            assert!(Instant::now() < end, "it goes on after {patience:?}:\n{}", self.printed());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL; it is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let printed = self.until(|printed| printed.streams_ended == 2);
        assert!(printed.streams_ended == 2, "it goes on: {:#?}", printed.lines);
        let out = printed.lines.join("\n");
        drop(printed);
        Ended { code: self.child.wait().unwrap().code(), out, err: String::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(stream: impl Read + Send + 'static, printed: Shared) {
    std::thread::spawn(move || {
        let (lock, changed) = &*printed;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lock.lock().unwrap().lines.push(line);
            changed.notify_all();
        }
        lock.lock().unwrap().streams_ended += 1;
        changed.notify_all();
    });
}
