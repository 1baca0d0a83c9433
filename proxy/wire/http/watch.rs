//! What wakes a task of an HTTP connection besides its sockets, and the faults that it is held against: those beneath, on the
//! connection's bytes, and those of the exchange that it carries.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use squall_core::chain::{Chain, Polled, Talk};
use squall_core::fault::{Flow, Settings, What};
use squall_core::observe::Record;
use squall_core::plan::{FaultRef, Slice};
use squall_core::time::{NEVER, Now, Time};
use squall_core::tls::Hello;

use crate::clock::SystemClock;
use crate::pump::FLOWS;
use crate::timer::Key;
use crate::worker::{Local, Member, Worker};

/// The faults of a connection or an exchange, with whom they are asked about.
pub(crate) struct Faults {
    pub(crate) chain: Chain,
    pub(crate) talk: Talk,
    /// When the chain was held against the slice last; 0: never.
    retuned: Time,
    /// When the chain wants to be polled at the latest.
    next: Option<Time>,
    /// When the task wants to ask again for something else than that, as of its latest poll.
    again: Option<Time>,
    /// Bytes that count against the worker's share of memory.
    held: usize,
    /// Let go by a change, and not written yet.
    draining: bool,
    /// Which faults have acted, and how, each once; kept only where exchanges are told one by one.
    pub(crate) acted: Vec<(Arc<FaultRef>, What)>,
}

impl Faults {
    fn new(chain: Chain, talk: Talk, retuned: Time) -> Faults {
        Faults { chain, talk, retuned, next: None, again: None, held: 0, draining: false, acted: Vec::new() }
    }

    /// Those of the slice that have come on after `since` (0: all) and may be met, and up to when they were looked for.
    fn met(slice: &Slice, talk: &Talk, since: Time, now: Now) -> (Chain, Time) {
        let (mut chain, mut retuned) = (Chain::new(), since);
        chain.retune(Some(slice), talk, &mut retuned, now);
        (chain, retuned)
    }

    fn retune(&mut self, slice: Option<&Slice>, worker: &Worker, now: Now) {
        self.chain.retune(slice, &self.talk, &mut self.retuned, now);
        self.poll(worker, now);
    }

    /// Faults whose rules look at the answer join: it is in the dialogue now.
    pub(crate) fn answered(&mut self, slice: &Slice, now: Now) {
        self.chain.answered(slice, &self.talk, self.retuned, now);
    }

    /// Lets the faults decide as far as they can, and takes note of when they want to be asked again.
    pub(crate) fn poll(&mut self, worker: &Worker, now: Now) {
        let mut records = worker.records.borrow_mut();
        let before = records.len();
        let Polled { next, released } = self.chain.poll(&self.talk, now, &mut records);
        self.note(worker, &records[before..]);
        drop(records);
        worker.records_added();
        self.next = next;
        if released {
            let shard = &worker.shard;
            shard.released.store(shard.released.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            if !self.draining && self.queued() > 0 {
                self.draining = true;
                shard.draining.store(shard.draining.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
        self.settle(worker, false);
    }

    /// Takes note of what was put on record.
    pub(crate) fn note(&mut self, worker: &Worker, records: &[Record]) {
        if worker.common.calls.is_none() {
            return;
        }
        for record in records {
            let what = record.injection.what;
            if !self.acted.iter().any(|(fault, known)| *known == what && Arc::ptr_eq(fault, &record.fault)) {
                self.acted.push((record.fault.clone(), what));
            }
        }
    }

    /// Bytes in the chain.
    pub(crate) fn queued(&self) -> usize {
        FLOWS.iter().map(|flow| self.chain.queued(*flow)).sum()
    }

    /// Polls, if a time has come for which the chain has waited.
    fn poll_due(&mut self, worker: &Worker) {
        if self.next.is_some() {
            let now = worker.now();
            if self.next.is_some_and(|at| at <= now.mono) {
                self.poll(worker, now);
            }
        }
    }

    /// Has the task woken at this time, unless it is before.
    pub(crate) fn wake_by(&mut self, at: Time) {
        self.again = Some(self.again.map_or(at, |before| before.min(at)));
    }

    /// Keeps the accounts of what is held, and says that it has drained once it has (or is `gone`).
    pub(crate) fn settle(&mut self, worker: &Worker, gone: bool) {
        let queued = if gone { 0 } else { self.queued() };
        if queued != self.held {
            worker.common.held.fetch_add(queued.wrapping_sub(self.held), Ordering::Relaxed);
            self.held = queued;
        }
        if self.draining && queued == 0 {
            self.draining = false;
            worker.drained();
        }
    }
}

/// A task in the worker's table. See the module.
pub(crate) struct Watcher {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<Local>,
    slot: Cell<usize>,
    /// The slice's version that the faults were held against.
    version: Cell<u32>,
    timer: Cell<Option<Time>>,
    /// When something else than a fault wants the task woken.
    deadline: Cell<Option<Time>>,
    waker: OnceCell<Waker>,
    /// It is to end at once.
    disconnected: Cell<bool>,
    /// The connection, as faults beneath see it; none: this task has no connection of its own.
    talk: RefCell<Option<Talk>>,
    /// When the latest byte of the client came, if turns are measured; else 0.
    asked: Cell<Time>,
    beneath: RefCell<Option<Box<Faults>>>,
    exchange: RefCell<Option<Box<Faults>>>,
    /// The exchange that this task carries had no fault to meet when it began.
    unfaulted: Cell<bool>,
    /// It has now.
    late: Cell<bool>,
    /// Up to when its faults were looked for; 0: there were none to look for.
    looked: Cell<Time>,
}

impl Watcher {
    /// Takes a place in the worker's table. `connection`: with the faults that it has already met.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        local: &Rc<Local>,
        connection: Option<(Talk, Option<Box<Chain>>, Time)>,
    ) -> Rc<Watcher> {
        let slot = worker.links.borrow().vacant_key();
        let (mut talk, mut beneath) = (None, None);
        if let Some((known, chain, retuned)) = connection {
            beneath = chain.map(|chain| Box::new(Faults::new(*chain, known.clone(), retuned)));
            talk = Some(known);
        }
        let watcher = Rc::new(Watcher {
            worker: worker.clone(),
            local: local.clone(),
            slot: Cell::new(slot),
            version: Cell::new(local.version.get().wrapping_sub(1)), // look at the slice first
            timer: Cell::new(None),
            deadline: Cell::new(None),
            waker: OnceCell::new(),
            disconnected: Cell::new(false),
            talk: RefCell::new(talk),
            asked: Cell::new(0),
            beneath: RefCell::new(beneath),
            exchange: RefCell::default(),
            unfaulted: Cell::new(false),
            late: Cell::new(false),
            looked: Cell::new(0),
        });
        worker.links.borrow_mut().insert(Member::Watcher(watcher.clone()));
        watcher
    }

    /// Gives the place up.
    pub(crate) fn leave(&self) {
        self.worker.rearm(Key::Link(self.slot.get()), self.timer.take(), None);
        for faults in [&self.beneath, &self.exchange] {
            if let Some(mut faults) = faults.borrow_mut().take() {
                faults.settle(&self.worker, true);
            }
        }
        self.worker.vacate(self.slot.get());
    }

    /// Whether it is to end at once.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.disconnected.get()
    }

    /// Ends it at once.
    pub(crate) fn disconnect(&self) {
        self.disconnected.set(true);
        self.wake();
    }

    /// Whether it belongs to this proxy.
    pub(crate) fn is_of(&self, proxy: u64) -> bool {
        self.local.proxy.id == proxy
    }

    /// The timer has come.
    pub(crate) fn due(&self) {
        self.timer.set(None);
        self.wake();
    }

    /// The slice may have changed: whether the task has something to do now.
    pub(crate) fn look_again(&self, now: Now) -> bool {
        if self.version.get() == self.local.version.get() {
            return false;
        }
        let had = self.has_faults();
        self.retune(now);
        had || self.has_faults()
    }

    /// Has the task do what there is to do since it looked again.
    pub(crate) fn go_on(&self) -> bool {
        self.wake();
        true
    }

    /// Has the task look again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    fn has_faults(&self) -> bool {
        self.beneath.borrow().is_some() || self.exchange.borrow().is_some() || self.late.get()
    }

    /// Holds the faults against the slice in force, if that has changed.
    fn follow(&self) {
        self.worker.follow();
        if self.version.get() != self.local.version.get() {
            self.retune(self.worker.now());
        }
    }

    fn retune(&self, now: Now) {
        self.version.set(self.local.version.get());
        let slice = self.local.slice.borrow();
        match &mut *self.exchange.borrow_mut() {
            Some(faults) => faults.retune(slice.as_deref(), &self.worker, now),
            None => self.late.set(self.unfaulted.get() && slice.as_ref().is_some_and(|slice| slice.has_exchanges())),
        }
        let mut beneath = self.beneath.borrow_mut();
        match (&mut *beneath, &*self.talk.borrow(), slice.as_deref()) {
            (Some(faults), ..) => faults.retune(slice.as_deref(), &self.worker, now),
            (None, Some(talk), Some(slice)) => {
                let (chain, retuned) = Faults::met(slice, talk, 0, now);
                if !chain.is_idle() {
                    let mut faults = Faults::new(chain, talk.clone(), retuned);
                    faults.poll(&self.worker, now);
                    *beneath = Some(Box::new(faults));
                }
            }
            (None, ..) => {}
        }
    }

    /// A connection that might have carried HTTP carries bytes: faults that act on either act on these.
    pub(crate) fn turned_out_bytes(&self) {
        let (mut talk, slice) = (self.talk.borrow_mut(), self.local.slice.borrow());
        let (Some(talk), Some(slice), now) = (&mut *talk, &*slice, self.worker.now()) else { return };
        talk.turned_out_bytes();
        let mut beneath = self.beneath.borrow_mut();
        // what acts on connections has joined before
        let faults = beneath.get_or_insert_with(|| Box::new(Faults::new(Chain::new(), talk.clone(), now.mono)));
        faults.talk.turned_out_bytes();
        faults.chain.join_either(slice, &faults.talk, faults.retuned, now);
        faults.poll(&self.worker, now);
        if faults.chain.is_idle() {
            *beneath = None;
        }
    }

    /// How the client of this connection began TLS, if it did.
    pub(crate) fn hello(&self) -> Option<Box<Hello>> {
        self.talk.borrow().as_ref()?.hello.clone()
    }

    /// What faults have an HTTP/2 client told of this connection's settings.
    pub(crate) fn settings(&self) -> Settings {
        let (talk, slice) = (self.talk.borrow(), self.local.slice.borrow());
        let (Some(talk), Some(slice)) = (&*talk, &*slice) else { return Settings::default() };
        let settings = slice.settings(talk, self.worker.now(), &mut self.worker.records.borrow_mut());
        self.worker.records_added();
        settings
    }

    /// The faults on the connection's bytes, if there are any.
    pub(crate) fn beneath(&self) -> Option<RefMut<'_, Box<Faults>>> {
        RefMut::filter_map(self.beneath.borrow_mut(), Option::as_mut).ok()
    }

    /// Bytes were moved on the connection.
    pub(crate) fn moved(&self, flow: Flow, n: usize) {
        if let Some(talk) = &mut *self.talk.borrow_mut() {
            talk.moved(flow, n);
        }
        if flow == Flow::Upstream && n > 0 && self.local.measure.get() {
            self.asked.set(SystemClock::mono());
        }
    }

    /// When the latest byte of the client came, if turns are measured; else 0. It is forgotten with this.
    pub(crate) fn take_asked(&self) -> Time {
        self.asked.take()
    }

    /// Drops the faults beneath once none is left and nothing is queued.
    pub(crate) fn settle_beneath(&self) {
        let mut beneath = self.beneath.borrow_mut();
        let Some(faults) = &mut *beneath else { return };
        faults.settle(&self.worker, false);
        if faults.chain.is_idle() {
            *beneath = None;
        }
    }

    /// The faults of the exchange that this task carries, if it may meet any.
    pub(crate) fn exchange(&self) -> Option<RefMut<'_, Box<Faults>>> {
        RefMut::filter_map(self.exchange.borrow_mut(), Option::as_mut).ok()
    }

    /// An exchange begins, or may meet faults since it began. Gives back what is said in it, if it meets none yet: else they
    /// have it until it ends.
    pub(crate) fn begin_exchange(&self, talk: Talk) -> Option<Talk> {
        let since = if self.late.take() { self.looked.get() } else { 0 };
        let slice = self.local.slice.borrow();
        if let Some(slice) = slice.as_ref().filter(|slice| slice.has_exchanges()) {
            let (chain, looked) = Faults::met(slice, &talk, since, self.worker.now());
            if !chain.is_empty() || slice.looks_at_answers() {
                self.unfaulted.set(false);
                *self.exchange.borrow_mut() = Some(Box::new(Faults::new(chain, talk, looked)));
                return None;
            }
            self.looked.set(looked);
        } else {
            self.looked.set(since);
        }
        self.unfaulted.set(true);
        Some(talk)
    }

    /// Whether the exchange may meet faults, and might not when it began: [`Watcher::begin_exchange`] is to be called again.
    pub(crate) fn has_late_faults(&self) -> bool {
        self.late.get()
    }

    /// It is over. Gives back what was said in it, if its faults have it.
    pub(crate) fn end_exchange(&self) -> Option<Talk> {
        self.unfaulted.set(false);
        self.late.set(false);
        let mut faults = self.exchange.borrow_mut().take()?;
        faults.settle(&self.worker, true);
        Some(faults.talk)
    }

    /// Has the task woken at this time, besides for faults.
    pub(crate) fn set_deadline(&self, at: Option<Time>) {
        self.deadline.set(at);
    }

    /// Whether there is such a time.
    pub(crate) fn has_deadline(&self) -> bool {
        self.deadline.get().is_some()
    }

    /// Whether that time has come.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.get().is_some_and(|at| at <= SystemClock::mono())
    }

    fn rearm(&self) {
        let or_never = |at: Option<Time>| at.unwrap_or(NEVER);
        let next = |faults: &RefCell<Option<Box<Faults>>>| {
            faults.borrow().as_ref().map_or(NEVER, |faults| or_never(faults.next).min(or_never(faults.again)))
        };
        let at = next(&self.beneath).min(next(&self.exchange)).min(or_never(self.deadline.get()));
        // an earlier time that is armed already stays: to be woken for nothing once is cheaper than to move an entry with
        // each exchange
        if at < or_never(self.timer.get()) {
            self.worker.rearm(Key::Link(self.slot.get()), self.timer.replace(Some(at)), Some(at));
        }
    }
}

/// A task that a watcher watches over. It is polled with its faults held against the slice in force.
pub(crate) struct Task<F> {
    watcher: Rc<Watcher>,
    work: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Task<F> {
    pub(crate) fn new(watcher: Rc<Watcher>, work: F) -> Task<F> {
        Task { watcher, work: Box::pin(work) }
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let watcher = self.watcher.clone();
        watcher.waker.get_or_init(|| cx.waker().clone()); // a task's waker stays the same
        watcher.follow();
        if watcher.is_disconnected() {
            return Poll::Ready(());
        }
        for mut faults in [watcher.beneath(), watcher.exchange()].into_iter().flatten() {
            faults.again = None;
            // whether bytes may move now or not: a time that has passed would wake the task again and again
            faults.poll_due(&watcher.worker);
        }
        // one connection's panic must not end the others
        let polled = catch_unwind(AssertUnwindSafe(|| self.work.as_mut().poll(cx)));
        let polled = polled.unwrap_or_else(|_| {
            watcher.worker.panicked(&watcher.local, &[]);
            Poll::Ready(())
        });
        if polled.is_pending() {
            watcher.rearm();
        }
        polled
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        self.watcher.leave();
    }
}
