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
