//! When a fault acts: `at`, `for`, `every`, `times` on the experiment's timeline.

use crate::time::Time;

/// All spans in nanoseconds since the experiment's start (pauses left out).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// First opening.
    pub at: Time,
    /// How long it stays open; none: to the end.
    pub length: Option<Time>,
    /// From opening to opening; needs `length` < `every`.
    pub every: Option<Time>,
    /// How many openings; none: without end.
    pub times: Option<u64>,
}

/// Where a window stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Open since when; none: closed.
    pub open_since: Option<Time>,
    /// When it opens or closes next; none: never again.
    pub next_edge: Option<Time>,
}

impl Phase {
    /// Closed for good.
    pub const CLOSED: Phase = Phase { open_since: None, next_edge: None };
}

impl Window {
    /// Where it stands at `elapsed` on the timeline; both times are on the timeline too.
    pub fn phase(&self, elapsed: Time) -> Phase {
        if elapsed < self.at {
            return Phase { open_since: None, next_edge: Some(self.at) };
        }
        let Some(length) = self.length else {
            return Phase { open_since: Some(self.at), next_edge: None };
        };
        let round = match self.every {
            Some(every) if every > 0 => (elapsed - self.at) / every,
            _ => 0,
        };
        let last = match (self.every, self.times) {
            (None, _) => Some(0),
            (Some(_), times) => times.map(|n| n.saturating_sub(1)),
        };
        if last.is_some_and(|last| round > last) {
            return Phase::CLOSED;
        }
        let opened = self.at.saturating_add(self.every.unwrap_or(0).saturating_mul(round));
        let closes = opened.saturating_add(length);
        if elapsed < closes {
            return Phase { open_since: Some(opened), next_edge: Some(closes) };
        }
        let reopens = match (self.every, last) {
            (Some(_), Some(last)) if round >= last => None,
            (every, _) => every.map(|every| opened.saturating_add(every)),
        };
        Phase { open_since: None, next_edge: reopens }
    }

    /// When it closes for the last time, on the timeline; none: it has no end.
    pub fn end(&self) -> Option<Time> {
        let length = self.length?;
        match (self.every, self.times) {
            (None, _) => Some(self.at.saturating_add(length)),
            (Some(every), Some(times)) => {
                Some(self.at.saturating_add(every.saturating_mul(times.saturating_sub(1))).saturating_add(length))
            }
            (Some(_), None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all_windows() -> impl Iterator<Item = Window> {
        let shapes = [(None, None), (Some(5), None), (Some(5), Some(12)), (Some(0), Some(3))];
        shapes.into_iter().flat_map(|(length, every)| {
            [0, 7].into_iter().flat_map(move |at| {
                [None, Some(0), Some(1), Some(3)].into_iter().map(move |times| Window { at, length, every, times })
            })
        })
    }

    #[test]
    fn edges_are_exactly_where_it_opens_and_closes() {
        for window in all_windows() {
            let mut time = 0;
            while time < 60 {
                let phase = window.phase(time);
                let until = phase.next_edge.unwrap_or(60);
                assert!(until > time, "{window:?} at {time}");
                for inside in time..until.min(60) {
                    assert_eq!(window.phase(inside), phase, "{window:?} at {inside}");
                }
                if let Some(opened) = phase.open_since {
                    assert_eq!((opened, phase.next_edge.is_some()), (time, window.length.is_some()), "{window:?}");
                }
                time = until;
            }
        }
    }

    #[test]
    fn it_opens_as_often_as_it_says_and_ends_when_it_says() {
        let window = Window { at: 10, length: Some(5), every: Some(20), times: Some(3) };
        let opened: Vec<_> = (0..200).filter(|time| window.phase(*time).open_since == Some(*time)).collect();
        assert_eq!(opened, [10, 30, 50]);
        assert_eq!(window.end(), Some(55));
        assert_eq!(window.phase(55), Phase::CLOSED);
        assert!((0..1_000).all(|time| Window { times: None, ..window }.phase(time).next_edge.is_some()));
        assert_eq!(Window { times: None, ..window }.end(), None);
        assert_eq!(Window { every: None, ..window }.end(), Some(15));
        assert_eq!(Window { length: None, ..window }.end(), None);
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let window = Window { at: u64::MAX - 5, length: Some(100), every: Some(200), times: None };
        assert_eq!(window.phase(u64::MAX - 1).open_since, Some(u64::MAX - 5));
        let window = Window { at: 0, length: Some(u64::MAX - 1), every: Some(u64::MAX), times: Some(u64::MAX) };
        assert_eq!(window.end(), Some(u64::MAX));
    }
}
