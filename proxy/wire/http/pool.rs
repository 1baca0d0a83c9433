//! Connections to upstreams that rest between two exchanges or carry several at once, per worker and proxy.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use squall_core::time::{SECOND, Time};

use super::channel2::Channel;
use super::line::Line;
use crate::clock::SystemClock;
use crate::plane::Target;
use crate::worker::Worker;

/// How long one may rest.
const REST: Time = 60 * SECOND;
/// How many may rest, for one proxy and in all.
const OF_PROXY: usize = 128;
const OF_WORKER: usize = 1024;
/// Connections that carry several exchanges, for one proxy. Beyond that, exchanges wait until an upstream takes more.
const CHANNELS: usize = 8;

/// See the module.
#[derive(Default)]
pub(crate) struct Pool {
    resting: RefCell<HashMap<u64, Resting>>,
    channels: RefCell<HashMap<u64, Channels>>,
}

/// Where they lead, and those that carry several exchanges.
type Channels = (Arc<Target>, Vec<Rc<Channel>>);

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

    /// One that may carry an exchange besides those that it carries; none: open another.
    pub(crate) fn share(&self, proxy: u64, target: &Arc<Target>) -> Option<Rc<Channel>> {
        let mut channels = self.channels.borrow_mut();
        let (leads_to, own) = channels.get_mut(&proxy)?;
        if !Arc::ptr_eq(leads_to, target) {
            channels.remove(&proxy); // they end with what they carry
            return None;
        }
        own.retain(|channel| channel.room().is_some());
        let may_open = own.len() < CHANNELS;
        let best = own.iter().min_by_key(|channel| (channel.room() == Some(0), channel.streams()))?;
        (best.room() != Some(0) || !may_open).then(|| best.clone())
    }

    /// Whether those that exchanges share are as many as may be, and all that there are carry what they may.
    pub(crate) fn is_full(&self, proxy: u64) -> bool {
        let channels = self.channels.borrow();
        let own = channels.get(&proxy).map_or(&[][..], |(_, own)| own);
        own.len() >= CHANNELS && own.iter().all(|channel| channel.room().is_none_or(|room| room == 0))
    }

    /// Lets exchanges share one.
    pub(crate) fn add(&self, proxy: u64, target: &Arc<Target>, channel: Rc<Channel>) {
        let mut channels = self.channels.borrow_mut();
        let own = channels.entry(proxy).or_insert_with(|| (target.clone(), Vec::new()));
        if !Arc::ptr_eq(&own.0, target) {
            *own = (target.clone(), Vec::new());
        }
        own.1.push(channel);
    }

    /// Closes those of a proxy.
    pub(crate) fn close(&self, proxy: u64) {
        self.channels.borrow_mut().remove(&proxy);
        self.resting.borrow_mut().remove(&proxy);
    }
}
