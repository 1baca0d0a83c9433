//! Records of what goes on and on: the first of it at once, the rest summed up, so that a fast stream does not fill the
//! ledger.

use crate::fault::Injections;
use crate::fault::{Injection, What};
use crate::time::{SECOND, Time};

/// Sums one direction's injections: one record for the first, then one per turn or per second, whichever comes first.
/// What was summed up when the fault is lifted before then is not on record.
#[derive(Debug, Default)]
pub struct Running {
    turn: u64,
    since: Option<Time>,
    scheduled: u64,
    achieved: u64,
}

impl Running {
    /// Adds one injection's figures.
    pub(super) fn add(&mut self, what: What, turn: u64, now: Time, figures: (u64, u64), into: &mut Injections) {
        if turn != self.turn {
            self.flush(what, now, into);
            self.turn = turn;
        }
        self.scheduled = self.scheduled.saturating_add(figures.0);
        self.achieved = self.achieved.saturating_add(figures.1);
        if self.since.is_none_or(|since| now.saturating_sub(since) >= SECOND) {
            self.flush(what, now, into);
        }
    }

    /// Puts on record what has been added since the last record, if anything.
    pub(super) fn flush(&mut self, what: What, now: Time, into: &mut Injections) {
        if self.scheduled == 0 && self.achieved == 0 {
            return;
        }
        let (scheduled, achieved) = (self.scheduled, self.achieved);
        into.push(Injection { what, step: self.turn, draw: None, drawn: scheduled, scheduled, achieved });
        (self.scheduled, self.achieved, self.since) = (0, 0, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_then_one_for_each_turn_and_second() {
        let (mut running, mut into) = (Running::default(), Vec::new());
        for (turn, ms) in [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5), (1, 999), (1, 1_100)] {
            running.add(What::Paced, turn, ms * SECOND / 1000, (10, 11), &mut into);
        }
        running.flush(What::Paced, 2 * SECOND, &mut into);
        running.flush(What::Paced, 2 * SECOND, &mut into);
        let figures: Vec<_> = into.iter().map(|i| (i.step, i.scheduled, i.achieved)).collect();
        assert_eq!(figures, [(0, 10, 11), (0, 20, 22), (1, 40, 44)]);
    }
}
