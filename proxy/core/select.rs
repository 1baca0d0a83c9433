//! Which units a fault selects: count, key, percentage and the cap on units affected at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::curve::Curve;

/// Selection, written once for all kinds. Order: match, count, percentage, cap.
#[derive(Clone, Debug)]
pub struct Select {
    /// Share of units, 0 to 100; may be a curve over the time since the window opened. The same draw is held against
    /// it throughout, so that a rising percentage only ever adds units.
    pub percentage: Curve<f64>,
    /// What stands for the unit in draws.
    pub key: Key,
    /// Which of the matching units, by arrival.
    pub count: Count,
    /// Units that the experiment may affect at one moment.
    pub cap: Option<Arc<Cap>>,
}

/// What identifies a unit in draws.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// The nth connection of its listener.
    #[default]
    Ordinal,
    /// The client's address without its port.
    Client,
    /// A part of an HTTP request, as written (`header:x-tenant`). Available with HTTP.
    Http(String),
}

/// Which of the matching units; counted over all openings of the window, before the percentage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// All.
    #[default]
    All,
    /// Only the first n.
    First(u64),
    /// Only the nth, from 1.
    Nth(u64),
    /// Every nth.
    Each(u64),
}

impl Count {
    /// Whether the nth matching unit (from 1) is among them.
    pub fn takes(self, n: u64) -> bool {
        match self {
            Count::All => true,
            Count::First(first) => n <= first,
            Count::Nth(nth) => n == nth,
            Count::Each(each) => each > 0 && n.is_multiple_of(each),
        }
    }
}

/// `max_active_faults`: an exact limit on units affected at one moment.
#[derive(Debug)]
pub struct Cap {
    max: u64,
    now: AtomicU64,
}

impl Cap {
    /// At most `max` units.
    pub fn new(max: u64) -> Arc<Cap> {
        Arc::new(Cap { max, now: AtomicU64::new(0) })
    }

    /// A place for one unit, given back when it is dropped; none if all are taken.
    pub fn take(self: &Arc<Cap>) -> Option<Permit> {
        self.now
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < self.max).then_some(now + 1))
            .ok()
            .map(|_| Permit(self.clone()))
    }
}

/// One unit's place under a [`Cap`].
#[derive(Debug)]
pub struct Permit(Arc<Cap>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::AcqRel);
    }
}
