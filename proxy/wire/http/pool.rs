//! Connections to upstreams that rest between two exchanges or carry several at once, per worker and proxy.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use squall_core::time::{SECOND, Time};

use super::channel2::Channel;
use super::server1::Server1;
use crate::plane::Target;

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
    /// How many rest in all.
    count: Cell<usize>,
    channels: RefCell<HashMap<u64, Channels>>,
}

/// Where they lead, and those that carry several exchanges.
type Channels = (Arc<Target>, Vec<Rc<Channel>>);

struct Resting {
    /// Where they lead.
    target: Arc<Target>,
    /// With when they came; the latest is the last.
    servers: VecDeque<(Box<Server1>, Time)>,
}

impl Pool {
    /// One that has rested the shortest, and that its upstream has neither closed nor said anything on since.
    pub(crate) fn take(&self, proxy: u64, target: &Arc<Target>, now: Time) -> Option<Box<Server1>> {
        let mut resting = self.resting.borrow_mut();
        let own = resting.get_mut(&proxy)?;
        if !Arc::ptr_eq(&own.target, target) {
            self.forget(resting.remove(&proxy));
            return None;
        }
        own.rest_until(now, &self.count);
        while let Some((mut server, _)) = own.servers.pop_back() {
            self.count.set(self.count.get() - 1);
            if server.is_quiet() {
                return Some(server);
            }
        }
        None
    }

    /// Lets one rest.
    pub(crate) fn put(&self, proxy: u64, target: &Arc<Target>, server: Box<Server1>, now: Time) {
        if self.count.get() >= OF_WORKER {
            return;
        }
        let mut resting = self.resting.borrow_mut();
        let new = || Resting { target: target.clone(), servers: VecDeque::new() };
        let own = resting.entry(proxy).or_insert_with(new);
        if !Arc::ptr_eq(&own.target, target) {
            self.forget(Some(std::mem::replace(own, new())));
        }
        own.rest_until(now, &self.count);
        if own.servers.len() >= OF_PROXY {
            own.servers.pop_front();
            self.count.set(self.count.get() - 1);
        }
        own.servers.push_back((server, now));
        self.count.set(self.count.get() + 1);
    }

    fn forget(&self, gone: Option<Resting>) {
        self.count.set(self.count.get() - gone.map_or(0, |gone| gone.servers.len()));
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
        self.forget(self.resting.borrow_mut().remove(&proxy));
    }
}

impl Resting {
    /// Closes those that have rested too long.
    fn rest_until(&mut self, now: Time, count: &Cell<usize>) {
        while self.servers.front().is_some_and(|(_, since)| now.saturating_sub(*since) >= REST) {
            self.servers.pop_front();
            count.set(count.get() - 1);
        }
    }
}
