use std::sync::Arc;

use super::{AtomicU64, Course, Ordering};
use crate::time::{NEVER, Now, Time};

/// Whether the faults of one experiment may act, readable by every worker without a lock.
///
/// It is on only while all of this holds: the experiment runs (not paused, not over), its time limit has not passed, its
/// lease has not run out, and nobody has aborted everything since it was made.
#[derive(Debug)]
pub struct Switch {
    state: AtomicU64,
    limit: AtomicU64,
    lease: AtomicU64,
    origin: AtomicU64,
    floor: AtomicU64,
    stop: AtomicU64,
    wait: AtomicU64,
    generation: u64,
    master: Arc<AtomicU64>,
}

/// Not started, or paused.
const OFF: u64 = 0;
const ON: u64 = 1;
/// Off for good. One variable holds all three, so that no order of stores can bring it back.
const OVER: u64 = 2;

impl Switch {
    /// Off, without limit or lease; over as soon as `master` counts on.
    pub(super) fn new(master: Arc<AtomicU64>) -> Switch {
        Switch {
            state: AtomicU64::new(OFF),
            limit: AtomicU64::new(NEVER),
            lease: AtomicU64::new(NEVER),
            origin: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            stop: AtomicU64::new(NEVER),
            wait: AtomicU64::new(0),
            generation: master.load(Ordering::Acquire),
            master,
        }
    }

    /// On or off at this moment. Read at every decision.
    #[inline]
    pub fn is_on(&self, now: Now) -> bool {
        self.state.load(Ordering::Acquire) == ON && self.may_act(now)
    }

    /// Whether it is off for good (ended, aborted, past its limit) or its lease has run out; a pause is not the end.
    pub fn is_over(&self, now: Now) -> bool {
        self.state.load(Ordering::Acquire) == OVER || !self.may_act(now)
    }

    /// Whether it is off for good before its limit and its lease: somebody ended it, or it came to its planned end.
    pub fn ended_early(&self, now: Now) -> bool {
        let (limit, lease) = (self.limit.load(Ordering::Relaxed), self.lease.load(Ordering::Relaxed));
        self.is_over(now) && now.mono < limit && now.boot < lease
    }

    fn may_act(&self, now: Now) -> bool {
        self.master.load(Ordering::Acquire) == self.generation
            && now.mono < self.limit.load(Ordering::Relaxed)
            && now.boot < self.lease.load(Ordering::Relaxed)
    }

    /// Starts the timeline at `origin` (monotonic ns) and lets the faults act, unless it is over: an abort wins, whatever
    /// the order.
    ///
    /// Publish the plan and wait until the workers have acknowledged it before the first start, and set `origin` some
    /// milliseconds ahead: then every worker knows the faults before the first window opens, and counts each connection
    /// once.
    pub fn start(&self, origin: Time) {
        self.origin.store(origin, Ordering::Release);
        let _ = self.state.compare_exchange(OFF, ON, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Off, to be started again with an origin moved by the time that stood still.
    pub fn pause(&self) {
        let _ = self.state.compare_exchange(ON, OFF, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Off for good.
    pub fn end(&self) {
        self.state.swap(OVER, Ordering::AcqRel);
    }

    /// When the timeline was at 0, monotonic ns. Moves forward by every pause and every wait.
    pub fn origin(&self) -> Time {
        self.origin.load(Ordering::Acquire)
    }

    /// The timeline goes no further than this by itself, ns on it ([`NEVER`]: as far as it likes). Set before the first
    /// start; from then on [`Switch::go_on`] moves it.
    pub fn stop_at(&self, stop: Time) {
        self.stop.store(stop, Ordering::Release);
    }

    /// Lets a timeline that stands at its stop go on, as of `now` (monotonic ns), up to the next stop. Does nothing while
    /// it has not come to its stop. Returns how long it stood.
    ///
    /// For one caller at a time, beside any number of readers: none of them sees the timeline before the stop that it is
    /// leaving or beyond it until this is through.
    pub fn go_on(&self, now: Time, next: Time) -> Option<Time> {
        let course = self.course();
        let stood = now.checked_sub(course.origin.saturating_add(course.stop))?;
        self.floor.store(course.stop, Ordering::Release);
        self.wait.store(stood, Ordering::Release);
        self.origin.store(course.origin.saturating_add(stood), Ordering::Release);
        self.stop.store(next.max(course.stop), Ordering::Release);
        Some(stood)
    }

    /// The timeline as it is laid now. The stop is read first: whoever sees the next one sees the origin that goes with it.
    #[inline]
    pub fn course(&self) -> Course {
        let stop = self.stop.load(Ordering::Acquire);
        let origin = self.origin.load(Ordering::Acquire);
        let wait = self.wait.load(Ordering::Acquire);
        Course { origin, floor: self.floor.load(Ordering::Acquire), stop, wait }
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

    /// When limit or lease end it, monotonic ns, if the machine does not sleep and nobody renews ([`NEVER`]: not set).
    pub fn ends_by(&self, now: Now) -> Time {
        let lease = match self.lease() {
            NEVER => NEVER,
            at => now.mono.saturating_add(at.saturating_sub(now.boot)),
        };
        self.limit().min(lease)
    }
}
