//! Connections to upstreams that rest between two exchanges, per worker and proxy.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use squall_core::time::{SECOND, Time};

use super::line::Line;
use crate::clock::SystemClock;
use crate::plane::Target;
use crate::worker::Worker;

/// How long one may rest.
const REST: Time = 60 * SECOND;
/// How many may rest, for one proxy and in all.
const OF_PROXY: usize = 128;
const OF_WORKER: usize = 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Pool {
    resting: RefCell<HashMap<u64, Resting>>,
}

struct Resting {
    /// Where they lead.
    target: Arc<Target>,
    /// The latest to come is the last.
    lines: Vec<(Line, Time)>,
}

impl Pool {
    /// One that has rested the shortest, and that its upstream has neither closed nor said anything on since.
    pub(crate) fn take(&self, proxy: u64, target: &Arc<Target>, worker: &Worker) -> Option<Line> {
        let mut resting = self.resting.borrow_mut();
        let own = resting.get_mut(&proxy)?;
        if !Arc::ptr_eq(&own.target, target) {
            resting.remove(&proxy);
            return None;
        }
        let since = SystemClock::mono().saturating_sub(REST);
        while let Some((mut line, rests_since)) = own.lines.pop() {
            if rests_since < since {
                own.lines.clear(); // the others rest longer
                return None;
            }
            if matches!(line.poll_fill(worker, &mut Context::from_waker(Waker::noop())), Poll::Pending) {
                return Some(line);
            }
        }
        None
    }

    /// Lets one rest.
    pub(crate) fn put(&self, proxy: u64, target: &Arc<Target>, line: Line) {
        let mut resting = self.resting.borrow_mut();
        let now = SystemClock::mono();
        if resting.values().map(|own| own.lines.len()).sum::<usize>() >= OF_WORKER {
            return;
        }
        let own = resting.entry(proxy).or_insert_with(|| Resting { target: target.clone(), lines: Vec::new() });
        if !Arc::ptr_eq(&own.target, target) {
            *own = Resting { target: target.clone(), lines: Vec::new() };
        }
        if own.lines.len() >= OF_PROXY {
            own.lines.remove(0);
        }
        own.lines.retain(|(_, since)| now.saturating_sub(*since) < REST);
        own.lines.push((line, now));
    }

    /// Closes those of a proxy.
    pub(crate) fn close(&self, proxy: u64) {
        self.resting.borrow_mut().remove(&proxy);
    }
}
