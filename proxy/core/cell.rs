//! Publishing plans and switching them off: the part that an abort rests on. No lock that traffic can hold, no
//! allocation on the way to "off".

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::plan::Plan;
use crate::time::{NEVER, Now, Time};

/// Whether the faults of one experiment may act, readable by every worker without a lock.
///
/// It is on only while all of this holds: the experiment runs (not paused, not over), its time limit has not passed, its
/// lease has not run out, and nobody has aborted everything since it was made.
#[derive(Debug)]
pub struct Switch {
    on: AtomicBool,
    over: AtomicBool,
    limit: AtomicU64,
    lease: AtomicU64,
    origin: AtomicU64,
    generation: u64,
    master: Arc<AtomicU64>,
}

impl Switch {
    /// On or off at this moment. Read at every decision.
    #[inline]
    pub fn is_on(&self, now: Now) -> bool {
        self.on.load(Ordering::Acquire)
            && self.master.load(Ordering::Acquire) == self.generation
            && now.mono < self.limit.load(Ordering::Relaxed)
            && now.boot < self.lease.load(Ordering::Relaxed)
    }

    /// Starts the timeline at `origin` (monotonic ns) and lets the faults act, unless it is over.
    pub fn start(&self, origin: Time) {
        self.origin.store(origin, Ordering::Release);
        if !self.over.load(Ordering::Acquire) {
            self.on.store(true, Ordering::Release);
        }
        if self.over.load(Ordering::Acquire) {
            self.on.store(false, Ordering::Release); // an abort that came between the two wins
        }
    }

    /// Off, to be started again with an origin moved by the time that stood still.
    pub fn pause(&self) {
        self.on.store(false, Ordering::Release);
    }

    /// Off for good.
    pub fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.on.store(false, Ordering::Release);
    }

    /// When the timeline was at 0, monotonic ns. Moves forward by every pause.
    pub fn origin(&self) -> Time {
        self.origin.load(Ordering::Acquire)
    }

    /// The hard end, monotonic ns.
    pub fn limit(&self) -> Time {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the hard end, monotonic ns.
    pub fn set_limit(&self, at: Time) {
        self.limit.store(at, Ordering::Relaxed);
    }

    /// When the lease runs out, boot-time ns ([`NEVER`]: no lease).
    pub fn lease(&self) -> Time {
        self.lease.load(Ordering::Relaxed)
    }

    /// Renews the lease until `at`, boot-time ns.
    pub fn set_lease(&self, at: Time) {
        self.lease.store(at, Ordering::Relaxed);
    }
}

/// Wakes one worker so that it looks at the cell. Must not block.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// One worker's side of the cell: where it says how far it has carried out a publish.
#[derive(Debug, Default)]
pub struct Shard {
    /// The latest epoch that this worker has carried out for all its connections.
    pub epoch: AtomicU64,
    /// When it had (monotonic ns): everything held by then was let go.
    pub permitted_at: AtomicU64,
    /// Connections that it let go, ever.
    pub released: AtomicU64,
    /// Connections let go whose bytes are not yet all written.
    pub draining: AtomicU64,
    /// When `draining` last reached 0 (monotonic ns).
    pub drained_at: AtomicU64,
}

/// Where plans are published. One for the whole program.
pub struct Cell {
    plan: ArcSwap<Plan>,
    empty: Arc<Plan>,
    epoch: AtomicU64,
    master: Arc<AtomicU64>,
    shards: Mutex<Vec<(Arc<Shard>, Bell)>>,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl Default for Cell {
    fn default() -> Self {
        let empty = Arc::new(Plan::default());
        Cell {
            plan: ArcSwap::new(empty.clone()),
            empty,
            epoch: AtomicU64::new(0),
            master: Arc::default(),
            shards: Mutex::default(),
        }
    }
}

impl Cell {
    /// The plan in force; workers keep an `arc_swap::Cache` of it.
    pub fn plan(&self) -> &ArcSwap<Plan> {
        &self.plan
    }

    /// Counts publishes, pauses and aborts. A worker that sees a new number retunes its connections.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A switch for a new experiment: off, without limit or lease.
    pub fn switch(&self) -> Arc<Switch> {
        Arc::new(Switch {
            on: AtomicBool::new(false),
            over: AtomicBool::new(false),
            limit: AtomicU64::new(NEVER),
            lease: AtomicU64::new(NEVER),
            origin: AtomicU64::new(0),
            generation: self.master.load(Ordering::Acquire),
            master: self.master.clone(),
        })
    }

    /// Adds a worker; `bell` wakes it.
    pub fn join(&self, bell: Bell) -> Arc<Shard> {
        let shard = Arc::new(Shard::default());
        self.lock().push((shard.clone(), bell));
        shard
    }

    /// Every worker's report.
    pub fn shards(&self) -> Vec<Arc<Shard>> {
        self.lock().iter().map(|(shard, _)| shard.clone()).collect()
    }

    /// Puts a plan in force and wakes the workers. Returns the epoch that they will acknowledge.
    pub fn publish(&self, plan: Arc<Plan>) -> u64 {
        self.plan.store(plan);
        self.ring()
    }

    /// Every switch made so far goes off for good, at once; then the empty plan is published.
    pub fn abort_all(&self) -> u64 {
        self.master.fetch_add(1, Ordering::AcqRel);
        self.publish(self.empty.clone())
    }

    /// Wakes the workers after a switch has changed. Returns the epoch that they will acknowledge.
    pub fn ring(&self) -> u64 {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        for (_, bell) in self.lock().iter() {
            bell();
        }
        epoch
    }

    /// Only joins and rings take this lock, never traffic.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Shard>, Bell)>> {
        self.shards.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
