//! Listeners that are shut: by which faults, and since when. One worker keeps them all, by its own clock and timer, so
//! that they open with window, switch, lease or limit whatever else has stopped, and no two workers contradict each other.
//! (A filter on a listener is set and taken off by whoever is first: see `entrance`.)

use std::sync::Arc;

use squall_core::fault::{Door, Injection, What};
use squall_core::observe::Record;
use squall_core::plan::{Active, Tally};
use squall_core::time::{Now, Time};

/// The worker that shuts and opens listeners.
pub(crate) const KEEPER: usize = 0;

/// A fault that keeps a listener shut.
#[derive(Debug)]
struct Shut {
    by: Arc<Active>,
    since: Time,
    /// How long it was to last, ns; none: without an end of its own.
    planned: Option<Time>,
}

/// The faults that keep the listeners of one proxy shut.
#[derive(Debug, Default)]
pub(crate) struct Doorkeeper {
    shut: Vec<Shut>,
}

impl Doorkeeper {
    /// Whether they are to be shut now. Puts on record, and counts, which fault has begun or ended with that.
    pub(crate) fn follow(&mut self, actives: &[Arc<Active>], now: Now, records: &mut Vec<Record>) -> bool {
        let shuts = |active: &Active| {
            let fault = &active.fault;
            fault.hooks().door && fault.door() == Door::Closed && active.phase(now).open_since.is_some()
        };
        let still = |shut: &Shut| actives.iter().any(|active| active.serial == shut.by.serial && shuts(active));
        let (shut, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.shut).into_iter().partition(still);
        self.shut = shut;
        records.extend(over.iter().map(|shut| shut.opened(now.mono)));
        for active in actives.iter().filter(|active| shuts(active)) {
            if !self.shut.iter().any(|shut| shut.by.serial == active.serial) {
                let opened = active.phase(now).open_since.unwrap_or(now.mono);
                let ends = active.window.length.map(|length| opened.saturating_add(length));
                let planned = ends.map(|end| end.saturating_sub(now.mono));
                Tally::add(&active.tally.injected);
                records.push(record(active, now.mono, What::Unlistened, 0, 0, false));
                self.shut.push(Shut { by: active.clone(), since: now.mono, planned });
            }
        }
        !self.shut.is_empty()
    }
}

impl Shut {
    /// On record with the length that it was to have and had. One that ended before its time was cut short.
    fn opened(&self, now: Time) -> Record {
        let achieved = now.saturating_sub(self.since);
        let planned = self.planned.unwrap_or(achieved);
        Tally::add(&self.by.tally.injected);
        record(&self.by, now, What::Down, planned, achieved, achieved < planned)
    }
}

fn record(active: &Active, at: Time, what: What, planned: u64, achieved: u64, released: bool) -> Record {
    Record {
        fault: active.name.clone(),
        tally: active.tally.clone(),
        ordinal: None,
        request: None,
        unit: None,
        client: None,
        flow: None,
        at,
        injection: Injection { what, step: 0, draw: None, drawn: planned, scheduled: planned, achieved },
        released,
    }
}
