//! How much of a limit is used, key by key.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::time::Time;

/// A limit as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) algorithm: Algorithm,
    pub(super) limit: u64,
    /// ns, above 0.
    pub(super) window: Time,
    /// Capacity of a bucket.
    pub(super) burst: u64,
}

/// `algorithm`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Algorithm {
    /// So many in each window.
    #[default]
    FixedWindow,
    /// So many on average, and some at once after a pause.
    TokenBucket,
    /// One after the other, evenly; some may wait.
    LeakyBucket,
    /// So many at one moment.
    Concurrency,
}

/// What a request's answer may say about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) limit: u64,
    /// Requests that would pass at once.
    pub(super) remaining: u64,
    /// When all of the limit is there again; unknown for concurrency: now.
    pub(super) reset: Time,
    /// When the next one would pass.
    pub(super) retry: Time,
}

/// A request within the limit.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) standing: Standing,
    /// When its turn comes.
    pub(super) due: Option<Time>,
    pub(super) place: Option<Permit>,
}

/// A request over the limit.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) standing: Standing,
    /// Its place in the order of arrival.
    pub(super) place: u64,
}

/// Keys that are remembered.
pub(super) const KEYS: usize = 10_000;

/// All cells of one fault. Locked once for each request.
#[derive(Debug, Default)]
pub struct Cells(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    cells: HashMap<Option<u64>, Cell>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, Option<u64>>,
    uses: u64,
    /// Keys that had to make room.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Cell {
    used_at: u64,
    /// When the window began.
    since: Option<Time>,
    /// Requests in it, those over the limit too.
    seen: u64,
    /// When the bucket is full, or empty, again: in ns times the limit, so that no fraction is lost.
    at: u128,
    now: Arc<AtomicU64>,
}

/// One exchange's place among those at one moment.
#[derive(Debug)]
pub(super) struct Permit(Arc<AtomicU64>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Cells {
    /// Counts a request. `key`: the outer none: all share one; the inner: it has no key.
    pub(super) fn take(&self, key: Option<Option<u64>>, quota: &Quota, now: Time) -> Result<Pass, Over> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = book.cell(key.flatten());
        match quota.algorithm {
            Algorithm::FixedWindow => cell.fixed_window(quota, now),
            Algorithm::TokenBucket => cell.token_bucket(quota, now),
            Algorithm::LeakyBucket => cell.leaky_bucket(quota, now),
            Algorithm::Concurrency => cell.concurrency(quota, now),
        }
    }

    /// Keys that had to make room for others.
    pub(super) fn forgotten(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).forgotten
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).cells.len()
    }
}

impl Book {
    /// The cell of a key; if there are too many, the one that was used longest ago makes room.
    fn cell(&mut self, key: Option<u64>) -> &mut Cell {
        self.uses += 1;
        if let Some(cell) = self.cells.get(&key) {
            self.order.remove(&cell.used_at);
        } else if self.cells.len() >= KEYS
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.cells.remove(&oldest);
            self.forgotten += 1;
        }
        self.order.insert(self.uses, key);
        let cell = self.cells.entry(key).or_default();
        cell.used_at = self.uses;
        cell
    }
}

impl Cell {
    fn fixed_window(&mut self, quota: &Quota, now: Time) -> Result<Pass, Over> {
        let since = match self.since {
            Some(since) if now < since.saturating_add(quota.window) => since,
            _ => {
                self.seen = 0;
                now
            }
        };
        self.since = Some(since);
        self.seen = self.seen.saturating_add(1);
        let reset = since.saturating_add(quota.window);
        let remaining = quota.limit.saturating_sub(self.seen);
        let retry = if remaining > 0 { now } else { reset };
        let standing = Standing { limit: quota.limit, remaining, reset, retry };
        if self.seen > quota.limit { Err(Over { standing, place: self.seen }) } else { Ok(standing.pass()) }
    }

    /// The generic cell rate algorithm (ITU-T I.371, annex A): a bucket of tokens as the time at which it is full again.
    fn token_bucket(&mut self, quota: &Quota, now: Time) -> Result<Pass, Over> {
        let (limit, step) = (u128::from(quota.limit), u128::from(quota.window));
        let present = u128::from(now) * limit;
        let full = step * u128::from(quota.burst);
        let taken = self.at.saturating_sub(present);
        let fits = taken + step <= full;
        if fits {
            self.at = present + taken + step;
        }
        let taken = self.at.saturating_sub(present);
        let missing = (taken + step).saturating_sub(full);
        let standing = Standing {
            limit: quota.burst,
            remaining: u64::try_from((full - taken.min(full)) / step).unwrap_or(u64::MAX),
            reset: now.saturating_add(time(taken, limit)),
            retry: now.saturating_add(time(missing, limit)),
        };
        if fits { Ok(standing.pass()) } else { Err(Over { standing, place: quota.burst.saturating_add(1) }) }
    }

    /// The same turned round: the time at which all who wait have had their turn.
    fn leaky_bucket(&mut self, quota: &Quota, now: Time) -> Result<Pass, Over> {
        let (limit, step) = (u128::from(quota.limit), u128::from(quota.window));
        let present = u128::from(now) * limit;
        let ahead = self.at.saturating_sub(present);
        let waiting = u64::try_from(ahead.div_ceil(step)).unwrap_or(u64::MAX);
        let fits = waiting <= quota.burst;
        if fits {
            self.at = present + ahead + step;
        }
        let queued = waiting + u64::from(fits);
        let standing = Standing {
            limit: quota.burst.saturating_add(1),
            remaining: (quota.burst + 1).saturating_sub(queued),
            reset: now.saturating_add(time(self.at.saturating_sub(present), limit)),
            retry: now.saturating_add(time(ahead.saturating_sub(step * u128::from(quota.burst)), limit)),
        };
        match fits {
            true => Ok(Pass { due: Some(now.saturating_add(time(ahead, limit))), ..standing.pass() }),
            false => Err(Over { standing, place: queued.saturating_add(1) }),
        }
    }

    fn concurrency(&mut self, quota: &Quota, now: Time) -> Result<Pass, Over> {
        let before = self.now.load(Ordering::Acquire); // only more under the lock, fewer at any time
        let remaining = quota.limit.saturating_sub(before.saturating_add(1));
        let standing = Standing { limit: quota.limit, remaining, reset: now, retry: now };
        if before >= quota.limit {
            return Err(Over { standing, place: before.saturating_add(1) });
        }
        self.now.fetch_add(1, Ordering::AcqRel);
        Ok(Pass { place: Some(Permit(self.now.clone())), ..standing.pass() })
    }
}

impl Standing {
    fn pass(self) -> Pass {
        Pass { standing: self, due: None, place: None }
    }
}

/// ns, rounded up.
fn time(fine: u128, limit: u128) -> Time {
    Time::try_from(fine.div_ceil(limit.max(1))).unwrap_or(Time::MAX)
}
