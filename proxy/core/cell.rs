//! Publishing plans and switching them off: the part that an abort rests on. No lock that traffic can hold, no
//! allocation on the way to "off".

mod course;
#[cfg(test)]
mod model;
#[cfg_attr(test, allow(clippy::duplicate_mod))] // the model runs the same source over other atomics
mod switch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

pub use self::course::Course;
pub use self::switch::Switch;
use crate::plan::Plan;

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
        Arc::new(Switch::new(self.master.clone()))
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
        self.off();
        self.clear()
    }

    /// The first half of [`Cell::abort_all`]: every switch made so far goes off for good. No worker is woken yet, so that
    /// the moment can be told from what the bells cost.
    pub fn off(&self) {
        self.master.fetch_add(1, Ordering::AcqRel);
    }

    /// The second half of [`Cell::abort_all`]: the empty plan, made in advance, is published.
    pub fn clear(&self) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{NEVER, Now};

    const NOW: Now = Now { mono: 100, boot: 200 };

    #[test]
    fn a_switch_is_on_only_while_nothing_speaks_against_it() {
        let cell = Cell::default();
        let switch = cell.switch();
        assert!(!switch.is_on(NOW) && !switch.is_over(NOW), "not started");
        switch.start(50);
        assert!(switch.is_on(NOW));
        switch.set_limit(100);
        assert!(!switch.is_on(NOW) && switch.is_over(NOW), "at its limit");
        switch.set_limit(101);
        assert_eq!(switch.ends_by(NOW), 101);
        switch.set_lease(200);
        assert!(!switch.is_on(NOW) && switch.is_over(NOW), "lease over");
        switch.set_lease(230);
        assert!(switch.is_on(NOW), "renewed");
        switch.set_limit(NEVER);
        assert_eq!(switch.ends_by(NOW), 130, "in monotonic time");
        switch.pause();
        assert!(!switch.is_on(NOW) && !switch.is_over(NOW), "paused");
        switch.start(60);
        assert_eq!((switch.is_on(NOW), switch.origin()), (true, 60));
        switch.end();
        switch.start(70);
        switch.pause();
        assert!(!switch.is_on(NOW) && switch.is_over(NOW), "ended");
    }

    #[test]
    fn a_timeline_stands_at_its_stop_until_it_is_let_go_on() {
        let switch = Cell::default().switch();
        switch.stop_at(20);
        switch.start(50);
        assert_eq!(switch.go_on(69, 40), None, "it is not there yet");
        assert_eq!(switch.course().elapsed(100), Some(20));
        assert!(switch.is_on(NOW), "it is on while it stands");
        assert_eq!(switch.go_on(100, 40), Some(30));
        assert_eq!((switch.course().elapsed(100), switch.course().elapsed(110)), (Some(20), Some(30)));
        assert_eq!(switch.course().elapsed(500), Some(40));
        assert_eq!(switch.go_on(130, NEVER), Some(10));
        assert_eq!(switch.course().elapsed(500), Some(410));
    }

    #[test]
    fn an_abort_of_all_ends_what_was_made_before_it_publishes_nothing_in_force_and_rings() {
        let cell = Cell::default();
        let rung = Arc::new(AtomicU64::new(0));
        let bell = rung.clone();
        cell.join(Arc::new(move || {
            bell.fetch_add(1, Ordering::Relaxed);
        }));
        let (running, idle) = (cell.switch(), cell.switch());
        running.start(0);
        let epoch = cell.abort_all();
        assert_eq!((cell.epoch(), rung.load(Ordering::Relaxed)), (epoch, 1));
        idle.start(0);
        assert!(!running.is_on(NOW) && !idle.is_on(NOW));
        assert!(cell.plan().load().is_empty());
        let later = cell.switch();
        later.start(0);
        assert!(later.is_on(NOW), "a new experiment may run");
    }
}
