//! Guards in the data path: whoever counts what happened on a proxy holds it against the guards there, and the event that
//! is one too many switches the experiment off itself. Nobody has to look at figures for that, and no message has to arrive.

#[cfg_attr(test, allow(clippy::duplicate_mod))] // the model runs the same source over other atomics
mod counts;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

pub use self::counts::{Counts, STEPS, Sums};
use crate::cell::{Bell, Switch};
use crate::time::{Now, Time};
use crate::unit::Percentage;

/// The short window of a burn rate is this many times shorter than the long one (Google, *The Site Reliability Workbook*,
/// chapter 5).
pub const SHORTER: u64 = 12;
/// A burn rate that is its limit but for the rounding of floating point is at it.
const ROUNDING: f64 = 1e-9;
/// A burn rate rests on at least this many bad events in its short window.
pub const MIN_BAD: u64 = 10;

/// The share of bad events that an objective (0 to 1) allows, without what floating point adds to it.
pub fn budget(objective: f64) -> f64 {
    const DIGITS: f64 = 1e12;
    ((1.0 - objective) * DIGITS).round() / DIGITS
}

/// Why a budget can never burn so many times as fast as its objective (0 to 1) allows, if so: what is bad is at most
/// everything.
pub fn never_burns(rate: f64, objective: f64) -> Option<String> {
    let most = 1.0 / budget(objective);
    let objective = Percentage(objective * 100.0);
    (rate >= most * (1.0 - ROUNDING))
        .then(|| format!("the budget of {objective} burns at most {most:.6}x: {rate}x can never fire"))
}

/// Something that happened on a proxy, and that no fault has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An HTTP exchange came to an end, or to one more: it failed with a 5xx or without a whole answer, or did not.
    Request {
        /// It failed.
        failed: bool,
    },
    /// A connection was accepted.
    Accepted,
    /// A connection failed: its upstream could not be reached, or reset it, or squall's limits refused it.
    Broken,
    /// What a client waited for an answer, injected delay included, ns.
    Took(Time),
}

/// Which events count, and which of them are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// HTTP exchanges; those that failed are bad.
    Requests,
    /// Connections; those that failed are bad.
    Connections,
    /// Answers; those that took longer than this, ns, are bad.
    Answers(Time),
}

impl Source {
    /// What an event counts here: in all, and as bad.
    fn counts(self, event: Event) -> Option<Sums> {
        let sums = |total: bool, bad: bool| Some(Sums { total: u64::from(total), bad: u64::from(bad) });
        match (self, event) {
            (Source::Requests, Event::Request { failed }) => sums(true, failed),
            (Source::Connections, Event::Accepted) => sums(true, false),
            (Source::Connections, Event::Broken) => sums(false, true),
            (Source::Answers(bound), Event::Took(took)) => sums(true, took > bound),
            _ => None,
        }
    }
}

/// How much is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Of at least `min_events` events in the window more than this share (0 to 1) was bad.
    Share {
        /// The share.
        above: f64,
        /// With fewer events there is no opinion.
        min_events: u64,
    },
    /// The error budget burnt at least `rate` times as fast as the objective allows, over the whole window and over its last
    /// twelfth, with at least [`MIN_BAD`] bad events in that.
    Burn {
        /// How many times.
        rate: f64,
        /// The share of bad events that the objective allows, 0 to 1.
        budget: f64,
    },
    /// So many bad events since the first fault opened; every further so many fire again.
    Harm(u64),
}

/// What it does by itself when it fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// Switches the experiment off for good.
    End,
    /// Switches it off until somebody resumes it.
    Pause,
    /// Nothing: what is to be done is the engine's.
    Nothing,
}

/// What a guard in the data path is made from.
#[derive(Clone)]
pub struct Guarding {
    /// Which events count.
    pub source: Source,
    /// How much is too much.
    pub limit: Limit,
    /// The window, ns; of no meaning for [`Limit::Harm`].
    pub over: Time,
    /// How long it must be too much before it fires, ns.
    pub hold: Time,
    /// What it does then.
    pub flip: Flip,
    /// Of the experiment.
    pub switch: Arc<Switch>,
    /// When the first fault opens, ns on the timeline: harm is counted from there.
    pub from: Time,
    /// Told when it has fired. Must not block.
    pub bell: Bell,
}

/// A guard in the data path, shared by all workers. Costs nothing on proxies that have none, and a good event there a few
/// plain stores into the worker's own memory; what is shared is read on bad events only.
pub struct Tripwire {
    guarding: Guarding,
    counts: Counts,
    /// Bad events since the first fault opened.
    harm: AtomicU64,
    /// Since when it is too much, monotonic ns; 0: it is not.
    since: AtomicU64,
    /// When it fired, monotonic ns; 0: it has not, or was let rest since.
    tripped: AtomicU64,
    /// Bits of the largest of its readings: such are in the order of what they mean, since none is negative.
    worst: AtomicU64,
    /// Bits of the reading with which it fired.
    fatal: AtomicU64,
}

impl fmt::Debug for Tripwire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guarding { source, limit, .. } = &self.guarding;
        f.debug_struct("Tripwire").field("source", source).field("limit", limit).finish_non_exhaustive()
    }
}

impl Tripwire {
    /// `workers`: how many count; each with a lane of its own.
    pub fn new(guarding: Guarding, workers: usize) -> Tripwire {
        let lanes = if matches!(guarding.limit, Limit::Harm(_)) { 0 } else { workers.max(1) };
        Tripwire {
            counts: Counts::new(guarding.over, lanes),
            guarding,
            harm: AtomicU64::new(0),
            since: AtomicU64::new(0),
            tripped: AtomicU64::new(0),
            worst: AtomicU64::new(0),
            fatal: AtomicU64::new(0),
        }
    }

    /// Takes in what has happened on the worker `lane`, and fires if that was too much.
    #[inline]
    pub fn count(&self, lane: usize, event: Event, now: Now) {
        let Some(sums) = self.guarding.source.counts(event) else { return };
        match self.guarding.limit {
            Limit::Harm(_) if sums.bad == 0 => {}
            Limit::Harm(allowed) => self.harm(allowed, now),
            _ => {
                self.counts.add(lane, sums, now.mono);
                if sums.bad > 0 && self.guarding.switch.is_on(now) {
                    fence(Ordering::SeqCst); // of two workers that are both bad now at least one sees both
                    self.judge(now);
                }
            }
        }
    }

    #[cold]
    fn harm(&self, allowed: u64, now: Now) {
        let Guarding { switch, from, .. } = &self.guarding;
        // in this order: a timeline that is read before the switch goes on has no origin yet, and seems old
        if !switch.is_on(now) || switch.course().elapsed(now.mono).is_none_or(|elapsed| elapsed < *from) {
            return;
        }
        let bad = self.harm.fetch_add(1, Ordering::AcqRel) + 1;
        if bad.is_multiple_of(allowed.max(1)) {
            #[allow(clippy::cast_precision_loss)]
            self.trip(bad as f64, now);
        }
    }

    #[cold]
    fn judge(&self, now: Now) {
        let Some(reading) = self.beyond(now) else { return };
        let marked = self.since.compare_exchange(0, now.mono.max(1), Ordering::AcqRel, Ordering::Acquire);
        let since = marked.err().unwrap_or(now.mono);
        if now.mono.saturating_sub(since) >= self.guarding.hold {
            self.trip(reading, now);
        }
    }

    /// Its reading, if that is too much now.
    fn beyond(&self, now: Now) -> Option<f64> {
        let reading = self.read(now)?;
        self.worst.fetch_max(reading.to_bits(), Ordering::Relaxed);
        let is_beyond = match self.guarding.limit {
            Limit::Share { above, .. } => reading > above,
            Limit::Burn { rate, .. } => reading >= rate * (1.0 - ROUNDING),
            Limit::Harm(_) => false,
        };
        is_beyond.then_some(reading)
    }

    /// Says so before it switches anything: who finds the experiment off finds why.
    fn trip(&self, reading: f64, now: Now) {
        self.fatal.store(reading.to_bits(), Ordering::Relaxed);
        let marked = self.tripped.compare_exchange(0, now.mono.max(1), Ordering::AcqRel, Ordering::Acquire);
        match self.guarding.flip {
            Flip::End => self.guarding.switch.end(), // whoever else has tripped it may not have got this far
            Flip::Pause if marked.is_ok() => self.guarding.switch.pause(),
            Flip::Pause | Flip::Nothing => {}
        }
        if marked.is_ok() {
            (self.guarding.bell)();
        }
    }

    /// What its limit is held against: a share from 0 to 1, a burn rate (the smaller of its two windows'), or the bad events
    /// since the allowance was whole. None: too few events for an opinion.
    pub fn read(&self, now: Now) -> Option<f64> {
        match self.guarding.limit {
            Limit::Share { min_events, .. } => {
                let sums = self.counts.sum(now.mono, STEPS);
                (sums.total >= min_events).then(|| sums.share()).flatten()
            }
            Limit::Burn { budget, .. } => {
                let (long, short) = (self.counts.sum(now.mono, STEPS), self.counts.sum(now.mono, STEPS / SHORTER));
                let rate = f64::min(long.share()?, short.share()?) / budget;
                (short.bad >= MIN_BAD).then_some(rate)
            }
            #[allow(clippy::cast_precision_loss)]
            Limit::Harm(_) => Some(self.harmed() as f64),
        }
    }

    /// Bad events since the first fault opened.
    pub fn harmed(&self) -> u64 {
        self.harm.load(Ordering::Acquire)
    }

    /// The largest of its readings, as [`Tripwire::read`] gives them.
    pub fn worst(&self) -> Option<f64> {
        match self.guarding.limit {
            Limit::Harm(_) => self.read(Now { mono: 0, boot: 0 }),
            _ => Some(self.worst.load(Ordering::Relaxed)).filter(|bits| *bits > 0).map(f64::from_bits),
        }
    }

    /// Which events count.
    pub fn source(&self) -> Source {
        self.guarding.source
    }

    /// How much is too much.
    pub fn limit(&self) -> Limit {
        self.guarding.limit
    }

    /// When it fired, monotonic ns, if it has and was not let rest since.
    pub fn tripped(&self) -> Option<Time> {
        Some(self.tripped.load(Ordering::Acquire)).filter(|at| *at > 0)
    }

    /// The reading with which it fired last; 0: it has not.
    pub fn fatal(&self) -> f64 {
        f64::from_bits(self.fatal.load(Ordering::Relaxed))
    }

    /// Since when it is too much, monotonic ns, as far as it was looked at.
    pub fn since(&self) -> Option<Time> {
        Some(self.since.load(Ordering::Acquire)).filter(|at| *at > 0)
    }

    /// A look from time to time, for what no event tells: that it is not too much any more, or has been for long enough.
    /// That it has fired stays until [`Tripwire::rest`]: it may have switched the experiment off, and nobody may have asked.
    pub fn look(&self, now: Now) {
        match self.guarding.limit {
            Limit::Harm(_) => {}
            _ if self.beyond(now).is_none() => self.since.store(0, Ordering::Release),
            _ if self.guarding.switch.is_on(now) => self.judge(now),
            _ => {}
        }
    }

    /// It may fire again; that it has fired is forgotten.
    pub fn rest(&self) {
        self.since.store(0, Ordering::Release);
        self.tripped.store(0, Ordering::Release);
    }

    /// After a pause: nothing of what came before counts, but for harm, which is an allowance for the whole run, and for its
    /// having fired. One caller at a time.
    pub fn forget(&self, now: Now) {
        self.counts.forget(now.mono);
        self.since.store(0, Ordering::Release);
    }
}
