//! The timeline of an experiment against the monotonic clock.

use crate::time::{NEVER, Time};

/// How time on the timeline comes from monotonic time. It runs from its origin, and stands where a step waits for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// When it was at 0, monotonic ns, moved forward by everything that it stood still since.
    pub origin: Time,
    /// Where it stood last, ns on it: it never goes back behind that.
    pub floor: Time,
    /// Where it stands next until it is let go on, ns on it.
    pub stop: Time,
    /// How long it stood at the floor, ns.
    pub wait: Time,
}

impl Course {
    /// Time on it at a monotonic time; none: it has not begun.
    #[inline]
    pub fn elapsed(&self, now: Time) -> Option<Time> {
        match now.checked_sub(self.origin) {
            Some(elapsed) => Some(elapsed.max(self.floor).min(self.stop)),
            None if self.wait > 0 => Some(self.floor), // read just before it went on
            None => None,
        }
    }

    /// When it reaches a time on it, monotonic ns; none: not before it is let go on.
    #[inline]
    pub fn reaches(&self, at: Time) -> Option<Time> {
        (at <= self.stop).then(|| self.origin.saturating_add(at))
    }

    /// The latest stretch in which it stood: from and to, monotonic ns; to [`NEVER`] while it stands.
    pub fn still(&self, now: Time) -> (Time, Time) {
        let stop = self.origin.saturating_add(self.stop);
        if now >= stop {
            return (stop, NEVER);
        }
        let to = self.origin.saturating_add(self.floor);
        (to.saturating_sub(self.wait), to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Course = Course { origin: 100, floor: 0, stop: NEVER, wait: 0 };

    #[test]
    fn it_runs_from_its_origin() {
        assert_eq!((RUNS.elapsed(99), RUNS.elapsed(100), RUNS.elapsed(130)), (None, Some(0), Some(30)));
        assert_eq!((RUNS.reaches(30), RUNS.still(130)), (Some(130), (100, 100)));
    }

    #[test]
    fn it_stands_at_its_stop_and_goes_on_from_there() {
        let stands = Course { stop: 20, ..RUNS };
        assert_eq!((stands.elapsed(119), stands.elapsed(120), stands.elapsed(500)), (Some(19), Some(20), Some(20)));
        assert_eq!((stands.reaches(20), stands.reaches(21)), (Some(120), None));
        assert_eq!((stands.still(119), stands.still(120)), ((100, 100), (120, NEVER)));
        let later = Course { origin: 480, floor: 20, stop: 40, wait: 380 };
        assert_eq!((later.elapsed(500), later.elapsed(510), later.elapsed(900)), (Some(20), Some(30), Some(40)));
        assert_eq!((later.elapsed(130), later.elapsed(485)), (Some(20), Some(20)), "never back");
        assert_eq!(later.still(510), (120, 500));
    }
}
