//! What comes often: the first of a kind in full, then how many more within a minute. A flood of requests can't fill a disk.

use std::collections::HashMap;

use squall_core::time::{SECOND, Time};

use super::{Act, Stamped};

/// How long further ones are only counted.
const SPAN: Time = 60 * SECOND;
/// Kinds counted at one moment; more than these are told apart by who did what alone.
const KINDS: usize = 256;

/// Counts by kind.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<Act, Count>);

#[derive(Debug)]
struct Count {
    since: Time,
    more: u64,
    last: Stamped,
}

impl Repeats {
    /// Takes one in. Gives it back, to go on record, if it is the first of its kind.
    pub(super) fn take(&mut self, mut stamped: Stamped) -> Option<Stamped> {
        if self.0.len() >= KINDS && !self.0.contains_key(&stamped.act) {
            let Act { actor, role, action, decision, .. } = stamped.act;
            stamped.act = Act { actor, role, action, decision, ..Act::default() };
        }
        if let Some(count) = self.0.get_mut(&stamped.act) {
            count.more += 1;
            count.last = stamped;
            return None;
        }
        self.0.insert(stamped.act.clone(), Count { since: stamped.mono, more: 0, last: stamped.clone() });
        Some(stamped)
    }

    /// What is to go on record by now: kinds whose minute is over, or all of them.
    pub(super) fn due(&mut self, now: Time, all: bool) -> Vec<Stamped> {
        let is_due = |count: &Count| all || now.saturating_sub(count.since) >= SPAN;
        let due = self.0.extract_if(|_, count| is_due(count)).map(|(_, count)| count);
        let mut due: Vec<Stamped> = due.filter(|count| count.more > 0).map(Count::told).collect();
        due.sort_by_key(|stamped| stamped.mono);
        due
    }
}

impl Count {
    /// At the moment of the last one.
    fn told(self) -> Stamped {
        let Count { since, more, mut last } = self;
        let seconds = last.mono.saturating_sub(since).div_ceil(SECOND);
        let said = last.act.reason.take().map(|reason| format!(": {reason}")).unwrap_or_default();
        last.act.reason = Some(format!("{more} more within {seconds} s{said}"));
        last
    }
}
