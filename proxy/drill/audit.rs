//! The audit log: who tried what, what was let, what squall did by itself. A chain of hashes (see [`line`]), so that whoever
//! changes a record has to change all behind it, and checkpoints told elsewhere, so that its end can't be cut off unseen.
//!
//! One thread writes, off every path that traffic or an abort takes: [`Audit::note`] never waits. [`Audit::write`] waits
//! until the record is kept, and a start does so before anything acts. A log that can't be written blocks starts and ends
//! what runs; meanwhile records wait in memory, and a `gap` record says so once it goes on.

mod checkpoint;
mod http;
mod line;
mod repeats;
mod sink;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use squall_core::limits::Limits;
use squall_core::time::{Clock, Time};

use crate::stamp::rfc3339;

pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::{hex, hmac};
pub use line::{Act, Decision, Head, Record};
pub(crate) use sink::Sink;
#[cfg(test)]
pub(crate) use verify::read_on;
pub use verify::{Broken, Read, read};

/// Actions that begin and end a run in the log.
pub(crate) const START: &str = "start";
pub(crate) const END: &str = "end";

/// Records on their way to the writing thread.
const QUEUE: usize = 4096;
/// How long a start waits for its record.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the log is and whose it is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where records go.
    pub to: To,
    /// Whose log it is; it stands in every checkpoint.
    pub origin: String,
    /// For the signature of checkpoints.
    pub key: Option<Vec<u8>>,
    /// What an HTTP sink may reach.
    pub limits: Limits,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A file, made where it is missing.
    File(PathBuf),
    /// Standard output.
    StandardOutput,
    /// `http://…`: each record is posted there, and kept once it is answered with 2xx.
    Http(String),
}

/// The log, from any thread. The thread that writes ends with the last of them.
#[derive(Clone, Debug)]
pub struct Audit {
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
}

/// What callers and the writing thread share.
struct Shared {
    clock: Arc<dyn Clock>,
    /// Why it can't be written; none: it can.
    failure: Mutex<Option<String>>,
    /// Where it stands.
    checkpoint: Mutex<Option<Checkpoint>>,
    /// Records that found no room in the queue.
    lost: AtomicU64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("failure", &self.failure).finish_non_exhaustive()
    }
}

/// An act with the moment at which it was.
#[derive(Clone, Debug)]
struct Stamped {
    act: Act,
    wall: SystemTime,
    mono: Time,
    /// A checkpoint is told after it.
    sealed: bool,
}

enum Job {
    /// A record; whoever waits is told whether it is kept.
    Write(Box<Stamped>, Option<SyncSender<Result<(), String>>>),
    /// A record of a kind that comes often: the first one, then how many more.
    Often(Box<Stamped>),
    /// Is it writable now?
    Try(SyncSender<Result<(), String>>),
}

/// A moment as records have it.
pub fn stamp(at: SystemTime) -> String {
    rfc3339(at, 6)
}

impl Audit {
    /// Starts the writing thread, which reads what is there. `told` hears checkpoints and what happens to the log.
    ///
    /// # Errors
    /// The system gives no thread. Anything else is a log that can't be written: traffic does not wait for it.
    pub fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
        told: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Audit> {
        let Settings { to, origin, key, limits } = settings;
        let sink: Box<dyn Sink> = match to {
            To::File(path) => Box::new(sink::LogFile::new(path)),
            To::StandardOutput => Box::<sink::StandardOutput>::default(),
            To::Http(url) => Box::new(http::Endpoint::new(url, limits)?),
        };
        Audit::over(sink, origin, key, clock, told)
    }

    /// The same over any sink.
    pub(crate) fn over(
        sink: Box<dyn Sink>,
        origin: String,
        key: Option<Vec<u8>>,
        clock: Arc<dyn Clock>,
        told: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Audit> {
        let (jobs, todo) = sync_channel(QUEUE);
        let (failure, checkpoint, lost) = Default::default();
        let shared = Arc::new(Shared { clock, failure, checkpoint, lost });
        let writer = writer::Writer::new(sink, origin, key, shared.clone(), Box::new(told));
        std::thread::Builder::new().name("squall-audit".into()).spawn(move || writer.run(&todo))?;
        Ok(Audit { shared, jobs })
    }

    /// What happens when a log is opened, on the caller's thread.
    #[cfg(test)]
    pub(crate) fn recover(sink: Box<dyn Sink>, clock: Arc<dyn Clock>) -> Result<(), String> {
        let (failure, checkpoint, lost) = Default::default();
        let shared = Arc::new(Shared { clock, failure, checkpoint, lost });
        writer::Writer::new(sink, "here".into(), None, shared, Box::new(|_| ())).open_only()
    }

    /// Puts it on record. Never waits: what finds no room is counted, and the log says so.
    pub fn note(&self, act: Act) {
        self.send(Job::Write(Box::new(self.stamp(act, false)), None));
    }

    /// The same, and a checkpoint after it.
    pub fn seal(&self, act: Act) {
        self.send(Job::Write(Box::new(self.stamp(act, true)), None));
    }

    /// For what comes often, such as looks and renewals: the first of a kind is put on record, and after a minute how many
    /// more there were.
    pub fn often(&self, act: Act) {
        self.send(Job::Often(Box::new(self.stamp(act, false))));
    }

    /// Puts it on record, with a checkpoint after it, and waits until it is kept, five seconds at most.
    ///
    /// # Errors
    /// Why it is not, in words.
    pub fn write(&self, act: Act) -> Result<(), String> {
        let stamped = Box::new(self.stamp(act, true));
        self.ask(|answer| Job::Write(stamped, Some(answer)))
    }

    /// Whether it can be written now; waits for an attempt if it could not before.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self) -> Result<(), String> {
        self.ask(Job::Try)
    }

    /// Why it can't be written, as far as is known; never waits.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure().clone()
    }

    /// Where it stood after the latest record; none: there is none yet.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.shared.checkpoint().clone()
    }

    fn ask(&self, job: impl FnOnce(SyncSender<Result<(), String>>) -> Job) -> Result<(), String> {
        let (answer, answered) = sync_channel(1);
        if !self.send(job(answer)) {
            return Err("the audit log can't be written: too much waits to be written".into());
        }
        let answer = answered.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| Err(format!("the audit log can't be written: nothing happens within {PATIENCE:?}")))
    }

    fn send(&self, job: Job) -> bool {
        let sent = self.jobs.try_send(job);
        let is_lost = |job: &Job| !matches!(job, Job::Try(_));
        match sent {
            Ok(()) => true,
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                self.shared.lost.fetch_add(u64::from(is_lost(&job)), Ordering::Relaxed);
                false
            }
        }
    }

    fn stamp(&self, act: Act, sealed: bool) -> Stamped {
        Stamped { act, wall: self.shared.clock.wall(), mono: self.shared.clock.now().mono, sealed }
    }
}

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checkpoint(&self) -> MutexGuard<'_, Option<Checkpoint>> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
