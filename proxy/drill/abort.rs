//! Ending: the switch first, then the bells, then what the workers say about it. Nothing here waits for a lock that a
//! tick, a start or traffic holds for long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use squall_core::cell::Cell;
use squall_core::plan::Tally;
use squall_core::time::{MICRO, Time};

use crate::compile::Actives;
use crate::view::AbortReport;

/// What was held when an experiment ended, on its way out.
#[derive(Debug)]
pub(crate) struct Release {
    cell: Arc<Cell>,
    /// When the end was asked for, monotonic ns.
    asked: Time,
    stopped: Time,
    epoch: u64,
    before: u64,
    /// Where it is paced: the counts in which what still waits for its turn is held.
    waiting: Vec<Arc<Tally>>,
    figures: Mutex<Figures>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    released: u64,
    permitted: Option<Time>,
    drained: Option<Time>,
    /// Where it is paced: what the workers acknowledge once all that waited is counted.
    counted: Option<u64>,
}

/// Connections that all workers have let go so far; read before the switch is turned, since workers look at it by themselves.
pub(crate) fn released(cell: &Cell) -> u64 {
    cell.shards().iter().map(|shard| shard.released.load(std::sync::atomic::Ordering::Acquire)).sum()
}

/// The counts of those faults whose experiment lets go of what it holds bit by bit.
pub(crate) fn waiting(actives: &Actives) -> Vec<Arc<Tally>> {
    let paced = actives.iter().flatten().filter(|active| active.release_over > 0);
    paced.map(|active| active.tally.clone()).collect()
}

impl Release {
    /// `waiting`: see [`waiting`]; `epoch`: what the workers will acknowledge; `before`: of [`released`].
    pub(crate) fn new(
        cell: &Arc<Cell>,
        (asked, stopped): (Time, Time),
        epoch: u64,
        before: u64,
        waiting: Vec<Arc<Tally>>,
    ) -> Arc<Release> {
        let (figures, stopped) = (Mutex::default(), stopped.saturating_sub(asked));
        Arc::new(Release { cell: cell.clone(), asked, stopped, epoch, before, waiting, figures })
    }

    /// Looks at the workers' reports; true once all of it is written.
    pub(crate) fn look(&self) -> bool {
        use std::sync::atomic::Ordering::Acquire;
        let mut figures = self.lock();
        if figures.drained.is_some() {
            return true;
        }
        let shards = self.cell.shards();
        if figures.permitted.is_none() {
            if shards.iter().any(|shard| shard.epoch.load(Acquire) < self.epoch) {
                return false;
            }
            let last = shards.iter().map(|shard| shard.permitted_at.load(Acquire)).max().unwrap_or(0);
            figures.permitted = Some(last.saturating_sub(self.asked).max(self.stopped));
            figures.released = released(&self.cell).saturating_sub(self.before);
        }
        if self.waiting.iter().any(|tally| tally.held.load(Acquire) > 0) {
            return false;
        }
        if !self.waiting.is_empty() {
            // who let go of the last may be about to count it: it is counted once one more bell was heard
            let counted = *figures.counted.get_or_insert_with(|| self.cell.ring());
            if shards.iter().any(|shard| shard.epoch.load(Acquire) < counted) {
                return false;
            }
            figures.released = released(&self.cell).saturating_sub(self.before);
        }
        if shards.iter().any(|shard| shard.draining.load(Acquire) > 0) {
            return false;
        }
        let last = shards.iter().map(|shard| shard.drained_at.load(Acquire)).max().unwrap_or(0);
        figures.drained = figures.permitted.map(|permitted| permitted.max(last.saturating_sub(self.asked)));
        true
    }

    /// The figures as far as they are known.
    pub(crate) fn report(&self, experiments: Vec<String>) -> AbortReport {
        self.look();
        let figures = *self.lock();
        AbortReport {
            experiments,
            stopped_injecting_us: self.stopped.div_ceil(MICRO),
            released: figures.released,
            permitted_us: figures.permitted.map(|ns| ns.div_ceil(MICRO)),
            drained_us: figures.drained.map(|ns| ns.div_ceil(MICRO)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An abort under way: the faults are off, what they held is being let go. Goes on when this is dropped.
#[derive(Debug)]
pub struct Aborting {
    pub(crate) experiments: Vec<String>,
    pub(crate) release: Arc<Release>,
}

impl Aborting {
    /// How far it has come; never waits. It is complete once `drained_us` is known.
    pub fn report(&self) -> AbortReport {
        self.release.report(self.experiments.clone())
    }
}
