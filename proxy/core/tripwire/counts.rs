use super::{AtomicU64, Ordering, fence};
use crate::time::Time;

/// Steps in which a window slides: a twelfth of it (the short window of a burn rate) is a whole number of them.
pub const STEPS: u64 = 60;
/// Room for a window, the step that it is in, and some in which readers that are slow find what they look for.
const ROOM: usize = 64;
/// No step's number.
const NONE: u64 = u64::MAX;

/// Events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// In all.
    pub total: u64,
    /// Of these, bad ones; may be more, where what fails was never counted.
    pub bad: u64,
}

impl Sums {
    /// The share of bad ones, 0 to 1; none: there were no events.
    #[allow(clippy::cast_precision_loss)]
    pub fn share(self) -> Option<f64> {
        let of = self.total.max(self.bad);
        (of > 0).then(|| self.bad as f64 / of as f64)
    }
}

/// Events in a window that slides, counted by several workers without a lock: each writes into a lane of its own, with
/// plain stores; whoever wants a sum reads all lanes.
#[derive(Debug)]
pub struct Counts {
    /// How long a step is, ns.
    step: Time,
    /// The first step that counts, and what of it does not.
    first: AtomicU64,
    forgotten: [AtomicU64; 2],
    lanes: Box<[Lane]>,
}

/// What one worker has counted, by step: a ring. One thread writes.
#[derive(Debug)]
struct Lane {
    places: Box<[Place]>,
}

/// One step. `number` is none while it is made another's: who finds it the same before and after has read what is its.
#[derive(Debug)]
struct Place {
    number: AtomicU64,
    total: AtomicU64,
    bad: AtomicU64,
}

impl Counts {
    /// A window of `over` ns, for so many lanes.
    pub fn new(over: Time, lanes: usize) -> Counts {
        Counts::with_room(over, lanes, ROOM)
    }

    pub(super) fn with_room(over: Time, lanes: usize, room: usize) -> Counts {
        let place = || Place { number: AtomicU64::new(NONE), total: AtomicU64::new(0), bad: AtomicU64::new(0) };
        let lane = |_| Lane { places: (0..room).map(|_| place()).collect() };
        let (first, forgotten) = (AtomicU64::new(0), [AtomicU64::new(0), AtomicU64::new(0)]);
        Counts { step: (over / STEPS).max(1), first, forgotten, lanes: (0..lanes).map(lane).collect() }
    }

    /// Adds to a lane at `now`, monotonic ns. One thread at a time for each lane.
    #[inline]
    pub fn add(&self, lane: usize, sums: Sums, now: Time) {
        let count = self.lanes.len();
        let Some(lane) = self.lanes.get(if lane < count { lane } else { lane % count.max(1) }) else { return };
        let number = now / self.step;
        let Some(place) = lane.places.get(index(number, lane.places.len())) else { return };
        if place.number.load(Ordering::Relaxed) != number {
            place.begin(number);
        }
        place.total.store(place.total.load(Ordering::Relaxed) + sums.total, Ordering::Relaxed);
        if sums.bad > 0 {
            place.bad.store(place.bad.load(Ordering::Relaxed) + sums.bad, Ordering::Release); // with its total
        }
    }

    /// What all lanes have counted in the last `steps` steps and in the one that is under way at `now`, monotonic ns.
    pub fn sum(&self, now: Time, steps: u64) -> Sums {
        let (last, counts_from) = (now / self.step, self.first.load(Ordering::Acquire));
        let first = last.saturating_sub(steps).max(counts_from);
        let mut sums = self.all(first, last);
        if first == counts_from {
            let [total, bad] = &self.forgotten;
            sums.total = sums.total.saturating_sub(total.load(Ordering::Relaxed));
            sums.bad = sums.bad.saturating_sub(bad.load(Ordering::Relaxed));
        }
        sums
    }

    fn all(&self, first: u64, last: u64) -> Sums {
        let mut sums = Sums::default();
        for lane in &self.lanes {
            for number in first..=last {
                let place = lane.places.get(index(number, lane.places.len()));
                let Some(found) = place.and_then(|place| place.read(number)) else { continue };
                sums.total += found.total;
                sums.bad += found.bad;
            }
        }
        sums
    }

    /// Nothing counts that came before `now`, monotonic ns. One caller at a time.
    pub fn forget(&self, now: Time) {
        let number = now / self.step;
        let Sums { total, bad } = self.all(number, number);
        self.forgotten[0].store(total, Ordering::Relaxed);
        self.forgotten[1].store(bad, Ordering::Relaxed);
        self.first.store(number, Ordering::Release);
    }
}

impl Place {
    #[cold]
    fn begin(&self, number: u64) {
        self.number.store(NONE, Ordering::Relaxed);
        fence(Ordering::Release); // who sees one of the zeros sees that it is none's
        self.total.store(0, Ordering::Relaxed);
        self.bad.store(0, Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
    }

    /// What was counted in this step; none: it is another's, or was made so meanwhile.
    fn read(&self, number: u64) -> Option<Sums> {
        if self.number.load(Ordering::Acquire) != number {
            return None;
        }
        let bad = self.bad.load(Ordering::Acquire);
        let total = self.total.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (self.number.load(Ordering::Relaxed) == number).then_some(Sums { total, bad })
    }
}

#[allow(clippy::cast_possible_truncation)]
fn index(number: u64, room: usize) -> usize {
    (number % room.max(1) as u64) as usize
}
