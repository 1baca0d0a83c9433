//! From "due" to "answered": slots that carry one request at a time, and a queue for what finds none.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use squall_core::time::Time;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;

use super::Injected;
use super::arrivals::{Due, Generator};
use super::connect::connect;
use super::failure::Failure;
use super::figures::Figures;
use crate::timer::{Timer, now};

/// Requests under way at one moment, where connections are not kept.
const MAX_IN_FLIGHT: usize = 16_384;
/// Requests that wait for a slot; what comes beyond is unsent at once.
const MAX_QUEUED: usize = 65_536;
/// Arrivals in a row before other tasks get their turn, when the generator is behind.
const BATCH: u64 = 32;

/// What speaks a protocol over a connection.
pub(crate) trait Client: Send + 'static {
    /// An open connection.
    type Connection: 'static;
    /// Makes a connection from a stream that is connected.
    async fn open(&self, stream: TcpStream) -> Result<Self::Connection, Failure>;
    /// Whether a connection that rested is still good for a request.
    async fn is_usable(&self, connection: &mut Self::Connection) -> bool;
    /// Sends the request that is due and takes in the whole answer.
    async fn exchange(&self, connection: &mut Self::Connection, due: Due) -> Result<(), Failure>;
}

/// How requests are sent.
pub(super) struct Terms {
    /// Where to.
    pub(super) addresses: Vec<SocketAddr>,
    /// Per attempt, and for the wait for a slot; ns.
    pub(super) timeout: Time,
    /// Attempts beyond the first, one at once after the other.
    pub(super) retries: u32,
    /// Connections kept open; none: one per request.
    pub(super) connections: Option<usize>,
    /// Attribution.
    pub(super) injected: Injected,
}

pub(super) struct Dispatcher<C: Client> {
    client: C,
    terms: Terms,
    figures: Arc<Figures>,
    queue: RefCell<VecDeque<Due>>,
    resting: RefCell<VecDeque<Slot<C>>>,
    /// Slots made so far, and how many of them are busy.
    slots: Cell<usize>,
    busy: Cell<usize>,
    rests: Notify,
}

/// Room for one request at a time, with its connection if that is kept.
struct Slot<C: Client> {
    kept: Option<Kept<C>>,
}

struct Kept<C: Client> {
    connection: C::Connection,
    local: Option<SocketAddr>,
}

impl<C: Client> Dispatcher<C> {
    pub(super) fn new(client: C, terms: Terms, figures: Arc<Figures>) -> Rc<Dispatcher<C>> {
        Rc::new(Dispatcher {
            client,
            terms,
            figures,
            queue: RefCell::default(),
            resting: RefCell::default(),
            slots: Cell::new(0),
            busy: Cell::new(0),
            rests: Notify::new(),
        })
    }

    /// Sends what comes due until `going` is false, then carries out what was due by then.
    pub(super) async fn run(self: Rc<Self>, generator: Generator, timer: Timer, mut going: watch::Receiver<bool>) {
        tokio::select! {
            _ = going.wait_for(|going| !going) => {}
            () = self.arrive(generator, &timer) => {}
        }
        while self.busy.get() > 0 {
            self.rests.notified().await;
        }
        self.figures.end();
    }

    async fn arrive(self: &Rc<Self>, generator: Generator, timer: &Timer) {
        let start = now();
        for due in generator {
            let due = Due { at: start.saturating_add(due.at), ..due };
            timer.sleep_until(due.at).await;
            self.take_in(due);
            if due.number.is_multiple_of(BATCH) {
                yield_now().await;
            }
        }
        std::future::pending().await
    }

    fn take_in(self: &Rc<Self>, due: Due) {
        self.figures.due();
        self.drop_late();
        if self.queue.borrow().len() >= MAX_QUEUED {
            return self.figures.unsent();
        }
        self.queue.borrow_mut().push_back(due);
        let Some(slot) = self.free_slot() else { return };
        self.busy.set(self.busy.get() + 1);
        spawn_local(Rc::clone(self).work(slot));
    }

    /// A slot that rested longest, so that all connections get their share; where they are kept, all are opened first.
    fn free_slot(&self) -> Option<Slot<C>> {
        let limit = self.terms.connections.unwrap_or(MAX_IN_FLIGHT);
        let mut resting = self.resting.borrow_mut();
        let fresh = self.slots.get() < limit && (self.terms.connections.is_some() || resting.is_empty());
        if !fresh {
            return resting.pop_front();
        }
        self.slots.set(self.slots.get() + 1);
        Some(Slot { kept: None })
    }

    async fn work(self: Rc<Self>, mut slot: Slot<C>) {
        while let Some(due) = self.next_due() {
            self.figures.sent();
            self.request(&mut slot, due).await;
        }
        self.resting.borrow_mut().push_back(slot);
        self.busy.set(self.busy.get() - 1);
        self.rests.notify_one();
    }

    fn next_due(&self) -> Option<Due> {
        self.drop_late();
        self.queue.borrow_mut().pop_front()
    }

    /// What has waited past the time-out is not sent any more.
    fn drop_late(&self) {
        let now = now();
        let mut queue = self.queue.borrow_mut();
        while queue.front().is_some_and(|due| now.saturating_sub(due.at) > self.terms.timeout) {
            queue.pop_front();
            self.figures.unsent();
        }
    }

    /// One request with its retries. It failed by injection only if a fault ended each of its attempts: one real failure
    /// among them makes it real.
    async fn request(&self, slot: &mut Slot<C>, due: Due) {
        let mut injected = true;
        for left in (0..=self.terms.retries).rev() {
            let local = Cell::new(None);
            let limit = Duration::from_nanos(self.terms.timeout);
            let attempt = timeout(limit, self.attempt(slot, due, &local)).await;
            let Err(why) = attempt.unwrap_or(Err(Failure::TimedOut)) else {
                return self.figures.answered(due.request, now().saturating_sub(due.at));
            };
            // A refused connect fails without ever waiting: a row of them must not keep the thread.
            yield_now().await;
            injected &= why.ends_connection() && local.get().is_some_and(|local| (self.terms.injected)(local));
            if left == 0 {
                return self.figures.failed(due.request, why, injected);
            }
            self.figures.retried();
        }
    }

    async fn attempt(&self, slot: &mut Slot<C>, due: Due, local: &Cell<Option<SocketAddr>>) -> Result<(), Failure> {
        // Taken out of the slot, so that a connection whose exchange fails or is given up never comes back.
        let kept = match slot.kept.take() {
            Some(kept) => self.still_usable(kept).await,
            None => None,
        };
        let mut open = match kept {
            Some(kept) => kept,
            None => self.open(local).await?,
        };
        local.set(open.local);
        let answer = self.client.exchange(&mut open.connection, due).await;
        let is_whole = matches!(answer, Ok(()) | Err(Failure::Status(_)));
        if is_whole && self.terms.connections.is_some() {
            slot.kept = Some(open);
        }
        answer
    }

    async fn still_usable(&self, mut kept: Kept<C>) -> Option<Kept<C>> {
        self.client.is_usable(&mut kept.connection).await.then_some(kept)
    }

    async fn open(&self, local: &Cell<Option<SocketAddr>>) -> Result<Kept<C>, Failure> {
        let stream = connect(&self.terms.addresses, local).await?;
        let connection = self.client.open(stream).await?;
        Ok(Kept { connection, local: local.get() })
    }
}
