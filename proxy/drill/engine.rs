//! The engine that runs experiments.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use squall_core::config::Safety;
use squall_core::observe::Record;
use squall_core::plane::{DataPlane, Stand};
use squall_core::scenario::Checked;
use tokio::sync::broadcast;

use crate::view::{AbortReport, Event, ExperimentView, Refusal};

/// What the engine is made from.
pub struct Setup {
    /// The data plane.
    pub plane: Arc<dyn DataPlane>,
    /// Test doubles and load.
    pub stand: Arc<dyn Stand>,
    /// The reading end of the ledger.
    pub ledger: std::sync::mpsc::Receiver<Vec<Record>>,
    /// What this host is.
    pub environment: String,
    /// Limits.
    pub safety: Safety,
    /// Where runs are kept; each gets `runs/<id>/` with scenario.toml (or .json), ledger.jsonl, events.jsonl, report.json,
    /// report.md.
    pub state: PathBuf,
}

/// Who starts an experiment and what keeps it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It lives while its starter renews the lease.
    Lease,
    /// Nobody renews it: it ends after this.
    Detached(Duration),
    /// The starter is this very process (`squall drill`).
    Owned,
}

/// An abort under way: the faults are off, what they held is being let go. Goes on when this is dropped.
#[derive(Debug)]
pub struct Aborting {}

#[allow(clippy::todo, clippy::unused_self)]
impl Aborting {
    /// How far it has come; never waits. It is complete once `drained_us` is known.
    pub fn report(&self) -> AbortReport {
        todo!()
    }
}

/// The engine. Cheap to clone; all methods may be called from any thread and return soon unless they say otherwise.
#[derive(Clone)]
pub struct Engine {}

#[allow(unused_variables, clippy::todo, clippy::unused_self, missing_docs)]
impl Engine {
    /// Starts the engine's thread.
    pub fn new(setup: Setup) -> std::io::Result<Engine> {
        todo!()
    }
    /// Takes in a checked scenario: draft, and approved where no approval is required.
    pub fn submit(&self, scenario: Checked) -> Result<ExperimentView, Refusal> {
        todo!()
    }
    /// Arms and starts it.
    pub fn start(&self, id: &str, keep: Keep) -> Result<ExperimentView, Refusal> {
        todo!()
    }
    /// Renews the lease.
    pub fn renew(&self, id: &str) -> Result<ExperimentView, Refusal> {
        todo!()
    }
    pub fn pause(&self, id: &str) -> Result<ExperimentView, Refusal> {
        todo!()
    }
    pub fn resume(&self, id: &str) -> Result<ExperimentView, Refusal> {
        todo!()
    }
    /// Switches off one experiment, or with `None` everything (the master switch, then the empty plan), and returns at
    /// once: never waits for a worker or for a start under way. What is held is let go meanwhile.
    pub fn begin_abort(&self, id: Option<&str>, reason: &str) -> Result<Aborting, Refusal> {
        todo!()
    }
    /// Ends one experiment: its switch goes off before anything else; answers after `patience` at the latest.
    pub fn abort(&self, id: &str, reason: &str, patience: Duration) -> Result<AbortReport, Refusal> {
        todo!()
    }
    /// Ends all: the master switch, then the empty plan.
    pub fn abort_all(&self, reason: &str, patience: Duration) -> AbortReport {
        todo!()
    }
    /// All that this process knows, newest first.
    pub fn list(&self) -> Vec<ExperimentView> {
        todo!()
    }
    pub fn view(&self, id: &str) -> Result<ExperimentView, Refusal> {
        todo!()
    }
    /// The report of a run that is over: JSON and Markdown.
    pub fn report(&self, id: &str) -> Result<(serde_json::Value, String), Refusal> {
        todo!()
    }
    /// Bounded: a slow reader loses the oldest and is told.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        todo!()
    }
}
