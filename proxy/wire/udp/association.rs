//! All datagrams between one client and the upstream.

use std::cell::{Cell, OnceCell, RefCell};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use squall_core::chain::packets::{OVERHEAD, Packets};
use squall_core::chain::{Polled, Talk};
use squall_core::fault::Flow;
use squall_core::time::{Now, SECOND, Time};
use tokio::task::AbortHandle;

use super::{LARGEST, Peer, Port, reach};
use crate::clock::SystemClock;
use crate::pump::{FLOWS, measure};
use crate::socket::{Watched, watch};
use crate::timer::Key;
use crate::worker::{Member, Worker};

/// Datagrams in a row before others get a turn.
const ROUNDS: usize = 64;
/// How long an association stays whose upstream can not be reached.
const FAILED: Time = SECOND;
/// Datagrams that wait while the upstream's name is looked up.
const WAITING: usize = 64;

/// See the module.
pub(crate) struct Association {
    inner: RefCell<Inner>,
    spoke: Cell<Time>,
    peer: Peer,
    port: Rc<Port>,
    worker: Rc<Worker>,
    slot: usize,
    server: OnceCell<Watched>,
    task: OnceCell<AbortHandle>,
    /// It has something to do since it looked again.
    called: Cell<bool>,
    over: Cell<bool>,
}

struct Inner {
    talk: Talk,
    /// Datagrams so far, by direction.
    numbers: [u64; 2],
    /// The slice's version that the engine was held against, and when; 0: never.
    version: u32,
    retuned: Time,
    packets: Option<Box<Packets>>,
    /// Those that came before the upstream's name was looked up.
    waiting: Vec<Bytes>,
    /// When the client's latest datagram came that has no answer yet, if turns are measured; else 0.
    asked: Time,
    /// Bytes that count against the program's share of memory.
    held: usize,
    timer: Option<Time>,
    /// When it ends unless somebody has spoken since.
    expires: Time,
    /// Let go by a change, and not sent yet.
    draining: bool,
    /// The upstream has refused a datagram.
    refused: bool,
    /// The upstream can not be reached.
    failed: bool,
}

impl Association {
    /// A client's first datagram has come.
    pub(super) fn begin(worker: &Rc<Worker>, port: &Rc<Port>, peer: Peer, now: Time) -> Rc<Association> {
        let local = &port.local;
        local.accepted();
        local.links.set(local.links.get() + 1);
        worker.common.came(worker.id);
        worker.follow();
        let ordinal = local.proxy.ordinals.fetch_add(1, Ordering::Relaxed);
        let slot = worker.links.borrow().vacant_key();
        let expires = now.saturating_add(local.proxy.target.load().spec.idle_timeout);
        let association = Rc::new(Association {
            inner: RefCell::new(Inner {
                talk: Talk::new(ordinal, Some(peer.client), now),
                numbers: [0; 2],
                version: local.version.get().wrapping_sub(u32::from(local.slice.borrow().is_some())),
                retuned: 0,
                packets: None,
                waiting: Vec::new(),
                asked: 0,
                held: 0,
                timer: None,
                expires,
                draining: false,
                refused: false,
                failed: false,
            }),
            spoke: Cell::new(now),
            peer,
            port: port.clone(),
            worker: worker.clone(),
            slot,
            server: OnceCell::new(),
            task: OnceCell::new(),
            called: Cell::new(false),
            over: Cell::new(false),
        });
        worker.links.borrow_mut().insert(Member::Association(association.clone()));
        association.wake_at(&mut association.inner.borrow_mut(), None);
        if let Some(socket) = reach::at_once(&local.proxy, &worker.common) {
            association.reached(socket);
        }
        let task = tokio::task::spawn_local(association.clone().run());
        let _only_once = association.task.set(task.abort_handle());
        association
    }

    /// Takes over the upstream's socket. One that can not be had fails the association, which stays for a moment, so that
    /// its client does not begin another with every datagram.
    fn reached(&self, socket: std::io::Result<OwnedFd>) {
        match socket.and_then(watch) {
            Ok(socket) => drop(self.server.set(socket)),
            Err(error) => {
                let proxy = &*self.port.local.proxy.name;
                tracing::warn!(proxy, %error, "the upstream of an association can not be reached");
                self.port.local.broke(|meter| &meter.connect_failed);
                let mut inner = self.inner.borrow_mut();
                inner.failed = true;
                inner.expires = SystemClock::mono().saturating_add(FAILED);
                self.wake_at(&mut inner, None);
            }
        }
    }

    async fn run(self: Rc<Self>) {
        if self.server.get().is_none() && !self.inner.borrow().failed {
            let socket = reach::look_up(&self.port.local.proxy, &self.worker.common, self.peer.client).await;
            self.reached(socket);
            self.guarded(|association, inner| association.send_waiting(inner));
        }
        let Some(server) = self.server.get() else { return };
        loop {
            let Ok(mut guard) = server.readable().await else { return };
            for _ in 0..ROUNDS {
                let mut buffer = self.worker.buffer.borrow_mut();
                let size = buffer.len().min(LARGEST);
                match rustix::net::recv(server, &mut buffer[..size], RecvFlags::empty()) {
                    Ok((_, n)) => self.server_sent(&buffer[..n]),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        guard.clear_ready();
                        break;
                    }
                    Err(error) => self.refused(&mut self.inner.borrow_mut(), error),
                }
            }
            drop(guard);
            tokio::task::yield_now().await;
        }
    }

    /// The client has sent something.
    pub(super) fn client_sent(&self, bytes: &[u8]) {
        self.guarded(|association, inner| association.carry(inner, Flow::Upstream, bytes));
    }

    fn server_sent(&self, bytes: &[u8]) {
        self.guarded(|association, inner| association.carry(inner, Flow::Downstream, bytes));
    }

    fn carry(&self, inner: &mut Inner, flow: Flow, bytes: &[u8]) {
        let now = self.worker.now();
        self.spoke.set(now.mono);
        if flow == Flow::Upstream && self.port.local.measure.get() {
            measure(&self.port.local, &mut inner.asked, flow, now.mono);
        }
        self.worker.follow();
        if inner.version != self.port.local.version.get() {
            self.retune(inner, now);
        }
        let number = inner.numbers[flow as usize];
        inner.numbers[flow as usize] += 1;
        let Some(packets) = &mut inner.packets else { return self.send(inner, flow, bytes) };
        packets.room(self.room());
        let datagram = (number, Bytes::copy_from_slice(bytes));
        let mut records = self.worker.records.borrow_mut();
        let polled = packets.push(flow, datagram, &inner.talk, now, &mut records);
        drop(records);
        self.take_note(inner, polled);
        self.give_out(inner);
    }

    /// How much more may be held in the whole program.
    fn room(&self) -> usize {
        let common = &self.worker.common;
        common.held_limit.saturating_sub(common.held.load(Ordering::Relaxed))
    }

    /// Holds the engine against the slice in force.
    fn retune(&self, inner: &mut Inner, now: Now) {
        inner.version = self.port.local.version.get();
        let slice = self.port.local.slice.borrow();
        if inner.packets.is_none() && slice.is_none() {
            return;
        }
        let mut packets = inner.packets.take().unwrap_or_default();
        packets.retune(slice.as_deref(), &inner.talk, &mut inner.retuned, now);
        drop(slice);
        inner.packets = Some(packets);
        self.ask(inner, now);
        if inner.packets.as_ref().is_some_and(|packets| packets.is_idle()) {
            inner.packets = None;
        }
    }

    /// Lets the engine let go what is due.
    fn ask(&self, inner: &mut Inner, now: Now) {
        let Some(packets) = &mut inner.packets else { return };
        packets.room(self.room());
        let mut records = self.worker.records.borrow_mut();
        let polled = packets.poll(&inner.talk, now, &mut records);
        drop(records);
        self.take_note(inner, polled);
    }

    fn take_note(&self, inner: &mut Inner, Polled { next, released }: Polled) {
        self.worker.records_added();
        self.wake_at(inner, next);
        let Some(packets) = &mut inner.packets else { return };
        self.port.local.meter.dropped.add(packets.dropped());
        let held = packets.held() + inner.waiting.iter().map(|bytes| bytes.len() + OVERHEAD).sum::<usize>();
        self.hold_back(inner, held);
        if released {
            let shard = &self.worker.shard;
            shard.released.store(shard.released.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            if !inner.draining {
                inner.draining = true;
                shard.draining.store(shard.draining.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
    }

    /// Sends what the engine has let go.
    fn give_out(&self, inner: &mut Inner) {
        for flow in FLOWS {
            while let Some(bytes) = inner.packets.as_mut().and_then(|packets| packets.take(flow)) {
                self.send(inner, flow, &bytes);
            }
        }
        if inner.packets.as_ref().is_some_and(|packets| packets.is_idle()) {
            inner.packets = None;
        }
        if std::mem::take(&mut inner.draining) {
            self.worker.drained();
        }
    }

    fn send(&self, inner: &mut Inner, flow: Flow, bytes: &[u8]) {
        let went = match flow {
            Flow::Upstream => self.send_to_server(inner, bytes),
            Flow::Downstream => {
                if self.port.local.measure.get() {
                    measure(&self.port.local, &mut inner.asked, flow, SystemClock::mono());
                }
                self.port.answer(self.peer, bytes)
            }
        };
        let meter = &self.port.local.meter;
        match went {
            true => meter.delivered(flow, bytes.len() as u64),
            false => meter.dropped.add(1),
        }
    }

    /// Whether it went or waits for the upstream's name.
    fn send_to_server(&self, inner: &mut Inner, bytes: &[u8]) -> bool {
        let Some(server) = self.server.get() else {
            let waits = !inner.failed && inner.waiting.len() < WAITING && self.room() >= bytes.len() + OVERHEAD;
            if waits {
                inner.waiting.push(Bytes::copy_from_slice(bytes));
                self.hold_back(inner, inner.held + bytes.len() + OVERHEAD);
            }
            return waits;
        };
        for _ in 0..4 {
            match rustix::net::send(server, bytes, SendFlags::empty()) {
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                // about an earlier datagram: this one has not been sent
                Err(error @ (Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH)) => {
                    self.refused(inner, error)
                }
                Err(error) => {
                    tracing::debug!(proxy = &*self.port.local.proxy.name, %error, "a datagram could not be sent");
                    return false;
                }
            }
        }
        false
    }

    fn send_waiting(&self, inner: &mut Inner) {
        let waiting = std::mem::take(&mut inner.waiting);
        let size: usize = waiting.iter().map(|bytes| bytes.len() + OVERHEAD).sum();
        self.hold_back(inner, inner.held.saturating_sub(size));
        for bytes in waiting {
            self.send(inner, Flow::Upstream, &bytes);
        }
    }

    /// The upstream, or a host on the way, says that nobody is there: a failure of the association, counted once.
    fn refused(&self, inner: &mut Inner, error: Errno) {
        tracing::debug!(proxy = &*self.port.local.proxy.name, %error, "the upstream refuses datagrams");
        if !std::mem::replace(&mut inner.refused, true) {
            self.port.local.broke(|meter| &meter.reset_by_server);
        }
    }

    /// When a datagram came last, either way.
    pub(super) fn spoke(&self) -> Time {
        self.spoke.get()
    }

    pub(super) fn is_holding(&self) -> bool {
        self.inner.borrow().packets.as_ref().is_some_and(|packets| packets.is_holding())
    }

    /// The timer has come: something is due, or it has been silent for long.
    pub(crate) fn due(&self) {
        let idle = self.port.local.proxy.target.load().spec.idle_timeout;
        let over = self.guarded(|association, inner| {
            inner.timer = None;
            let now = association.worker.now();
            if now.mono >= inner.expires {
                let holds = inner.packets.as_ref().is_some_and(|packets| packets.is_holding());
                let from = if holds { now.mono } else { association.spoke.get() };
                inner.expires = if inner.failed { 0 } else { from.saturating_add(idle) };
                if now.mono >= inner.expires {
                    return true;
                }
            }
            association.worker.follow();
            association.wake_at(inner, None);
            if inner.version == association.port.local.version.get() {
                association.ask(inner, now);
            } else {
                association.retune(inner, now);
            }
            association.give_out(inner);
            false
        });
        if over == Some(true) {
            self.end();
        }
    }

    /// The slice may have changed. Whether there is something to do now: it waits for [`Association::go_on`].
    pub(crate) fn look_again(&self, now: Now) -> bool {
        let had = self.guarded(|association, inner| {
            if inner.version == association.port.local.version.get() {
                return false;
            }
            let had = inner.packets.is_some();
            association.retune(inner, now);
            had || inner.packets.is_some()
        });
        self.called.set(had == Some(true));
        self.called.get()
    }

    /// Sends what was let go since it looked again.
    pub(crate) fn go_on(&self) -> bool {
        self.called.take() && self.guarded(|association, inner| association.give_out(inner)).is_some()
    }

    /// Sends what faults hold, and ends.
    pub(super) fn close(&self) {
        self.guarded(|association, inner| {
            let now = association.worker.now();
            if let Some(packets) = &mut inner.packets {
                packets.retune(None, &inner.talk, &mut inner.retuned, now);
            }
            association.ask(inner, now);
            association.give_out(inner);
        });
        self.end();
    }

    /// Ends it: its socket closes, and a further datagram of its client begins another.
    pub(super) fn end(&self) {
        if self.over.replace(true) {
            return;
        }
        if let Some(task) = self.task.get() {
            task.abort();
        }
        if let Ok(mut inner) = self.inner.try_borrow_mut() {
            inner.waiting.clear();
            self.hold_back(&mut inner, 0);
            inner.packets = None;
            if std::mem::take(&mut inner.draining) {
                self.worker.drained();
            }
            self.worker.rearm(Key::Link(self.slot), inner.timer.take(), None);
        }
        self.port.forget(self.peer);
        self.worker.remove(self.slot, &self.port.local);
    }

    fn wake_at(&self, inner: &mut Inner, next: Option<Time>) {
        let at = Some(next.map_or(inner.expires, |next| next.min(inner.expires)));
        self.worker.rearm(Key::Link(self.slot), inner.timer, at);
        inner.timer = at;
    }

    /// Keeps the account of bytes held for faults.
    fn hold_back(&self, inner: &mut Inner, bytes: usize) {
        if bytes != inner.held {
            self.worker.common.held.fetch_add(bytes.wrapping_sub(inner.held), Ordering::Relaxed);
            inner.held = bytes;
        }
    }

    /// One association's panic must not end the others. None: it panicked, or is over.
    fn guarded<T>(&self, act: impl FnOnce(&Association, &mut Inner) -> T) -> Option<T> {
        if self.over.get() {
            return None;
        }
        let done = catch_unwind(AssertUnwindSafe(|| act(self, &mut self.inner.borrow_mut())));
        if done.is_err() {
            self.worker.panicked(&self.port.local, &[]);
            self.end();
        }
        done.ok()
    }
}
