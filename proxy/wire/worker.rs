//! A worker: one thread, its connections, its timer, its buffer. Nothing here is shared but what [`Common`] holds.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slab::Slab;
use squall_core::cell::Shard;
use squall_core::http::StatusCode;
use squall_core::observe::Record;
use squall_core::plan::{Active, Slice};
use squall_core::time::{Clock, MICRO, MILLI, NEVER, Now, Time};
use squall_core::tripwire::Event;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::bell::Bell;
use crate::clock::SystemClock;
use crate::door::{Doorkeeper, KEEPER};
use crate::entrance::Entrance;
use crate::http::{self, Watcher};
use crate::listen::accept_all;
use crate::meter::{Count, Meter};
use crate::plane::{Common, Proxy};
use crate::pump::{Link, Run};
use crate::reset;
use crate::socket::{Socket, watch};
use crate::splice::Pool;
use crate::timer::{Alarm, Base, Key, LEAD, Queue};
use crate::udp::{Association, Port};

/// What one read can bring.
pub(crate) const BUFFER: usize = 64 * 1024;
/// Records that are sent at once; fewer wait up to [`RECORDS_WAIT`].
const RECORDS_BATCH: usize = 256;
const RECORDS_WAIT: Time = 10 * MILLI;
/// How long the connections are looked at after a change before sockets get a turn, ns; and how many are looked at
/// between two looks at the clock.
const LOOKING: Time = 2 * MILLI;
const LOOKED_AT_ONCE: usize = 16;
/// How many connections write what was let go before sockets get a turn.
const WRITTEN_AT_ONCE: usize = 64;
/// When to try again to shut or open a listener, ns.
const DOOR_AGAIN: Time = 20 * MILLI;
/// Entries of the timer that are served before sockets get a turn.
const TIMER_BATCH: usize = 256;
/// And for how long, ns: entries that each move much data, and are always due by then, must not keep what the sockets have
/// to say waiting, or nothing comes in while a delay line lets go.
const TIMER_TURN: Time = 500 * MICRO;

/// What the plane or another worker asks for.
#[derive(Debug)]
pub(crate) enum Order {
    /// Accept from this socket.
    Listen { proxy: Arc<Proxy>, listener: u64, entrance: Arc<Entrance>, socket: OwnedFd, tcp: bool },
    /// Take datagrams from this socket.
    Hear { proxy: Arc<Proxy>, listener: u64, socket: OwnedFd },
    /// It was shut or opened again.
    Door { listener: u64 },
    /// Stop accepting from it.
    Unlisten { listener: u64 },
    /// A connection that waited at a listener which has been closed since.
    Welcome { proxy: Arc<Proxy>, socket: OwnedFd, tcp: bool, client: Option<SocketAddr> },
    /// A connection from a busier worker.
    Adopt(Box<Arrival>),
    /// End its open connections.
    Disconnect { proxy: u64 },
    /// The proxy is closed; forget it when its last connection ends.
    Retire { proxy: u64 },
    /// End, with everything that is open.
    Stop,
}

/// A connection just accepted.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) socket: OwnedFd,
    pub(crate) tcp: bool,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) ordinal: u64,
}

/// What a worker keeps in its table.
#[derive(Clone)]
pub(crate) enum Member {
    Link(Rc<Link>),
    Association(Rc<Association>),
    Watcher(Rc<Watcher>),
}

impl Member {
    /// The timer has come.
    fn due(&self) {
        match self {
            Member::Link(link) => link.due(),
            Member::Association(association) => association.due(),
            Member::Watcher(watcher) => watcher.due(),
        }
    }

    /// Ends it now if it is a connection of this proxy; datagrams have no end that could be told.
    fn disconnect(&self, proxy: u64) {
        match self {
            Member::Link(link) if link.is_of(proxy) => link.disconnect(),
            Member::Watcher(watcher) if watcher.is_of(proxy) => watcher.disconnect(),
            _ => {}
        }
    }

    /// See [`Link::look_again`].
    fn look_again(&self, now: Now) -> bool {
        match self {
            Member::Link(link) => link.look_again(now),
            Member::Association(association) => association.look_again(now),
            Member::Watcher(watcher) => watcher.look_again(now),
        }
    }

    /// See [`Link::go_on`].
    fn go_on(&self) -> bool {
        match self {
            Member::Link(link) => link.go_on(),
            Member::Association(association) => association.go_on(),
            Member::Watcher(watcher) => watcher.go_on(),
        }
    }
}

/// A proxy as one worker sees it.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) slice: RefCell<Option<Arc<Slice>>>,
    /// Moves on whenever connections have to look at the slice again.
    pub(crate) version: Cell<u32>,
    /// Whether somebody reads the turns.
    pub(crate) measure: Cell<bool>,
    /// Whether guards look at what happens here.
    guarded: Cell<bool>,
    /// The worker's number.
    lane: usize,
    /// Connections on this worker.
    pub(crate) links: Cell<usize>,
    retired: Cell<bool>,
    state: Cell<u64>,
    edge: Cell<Option<Time>>,
    lease: Cell<Time>,
    /// Used by the worker that keeps the doors.
    doorkeeper: RefCell<Doorkeeper>,
    /// Not all listeners are open.
    shut: Cell<bool>,
}

impl Local {
    /// Takes note of the slice in force; whether connections have to look at it.
    fn follow(&self, slice: Option<&Arc<Slice>>, now: Now) -> bool {
        let state = state_of(slice, now);
        let mut mine = self.slice.borrow_mut();
        let same = match (mine.as_ref(), slice) {
            (None, None) => true,
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if same && state == self.state.get() {
            return false;
        }
        self.measure.set(slice.is_some_and(|slice| slice.measure_turns));
        self.guarded.set(slice.is_some_and(|slice| !slice.guards.is_empty()));
        *mine = slice.cloned();
        self.state.set(state);
        self.version.set(self.version.get().wrapping_add(1));
        true
    }

    /// A connection was accepted.
    pub(crate) fn accepted(&self) {
        self.meter.accepted.add(1);
        self.tell_guards(&[Event::Accepted]);
    }

    /// A connection failed, and no fault has done it.
    pub(crate) fn broke(&self, how: fn(&Meter) -> &Count) {
        how(&self.meter).add(1);
        self.tell_guards(&[Event::Broken]);
    }

    /// From the last client byte to the first answer byte, ns.
    pub(crate) fn turn(&self, took: Time) {
        self.meter.turn(took);
        self.tell_guards(&[Event::Took(took)]);
    }

    /// See [`Meter::exchange`].
    pub(crate) fn exchange(&self, status: StatusCode, injected: bool, took: Time) {
        self.meter.exchange(status, injected, took);
        let events = [Event::Took(took), Event::Request { failed: status.is_server_error() }];
        self.tell_guards(if injected { &events[..1] } else { &events });
    }

    /// An HTTP exchange ended before its answer was whole, and no fault has done it. `failed`: its answer had said so.
    pub(crate) fn cut(&self, failed: bool) {
        self.meter.cut(false);
        if !failed {
            self.tell_guards(&[Event::Request { failed: true }]);
        }
    }

    #[inline]
    fn tell_guards(&self, events: &[Event]) {
        if self.guarded.get() {
            self.hold_against_guards(events);
        }
    }

    #[cold]
    fn hold_against_guards(&self, events: &[Event]) {
        let now = SystemClock.now();
        let slice = self.slice.borrow();
        for guard in slice.iter().flat_map(|slice| &slice.guards) {
            events.iter().for_each(|event| guard.count(self.lane, *event, now));
        }
    }
}

/// Changes when a switch of the slice does (on or off, where its timeline begins and stops, when it must end), or a ladder.
fn state_of(slice: Option<&Arc<Slice>>, now: Now) -> u64 {
    let mix = |hash: u64, value: u64| (hash ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let actives = slice.map_or(&[][..], |slice| &slice.actives);
    actives.iter().fold(1, |hash, active| {
        let switch = &active.switch;
        let course = switch.course();
        let switched =
            mix(mix(mix(mix(hash, u64::from(switch.is_on(now))), course.origin), course.stop), switch.limit());
        active.select.ladder.as_ref().map_or(switched, |ladder| mix(switched, ladder.mark()))
    })
}

/// A listener as one worker sees it.
struct Listening {
    proxy: u64,
    entrance: Arc<Entrance>,
    accepting: AbortHandle,
    /// Told when the door was shut or opened.
    doors: Rc<Notify>,
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) common: Arc<Common>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) buffer: RefCell<Box<[u8]>>,
    /// Empty; what fills most of it keeps it.
    pub(crate) block: RefCell<Vec<u8>>,
    /// Memory of connections that speak HTTP.
    pub(crate) spare: Rc<http::Spare>,
    /// Connections to HTTP upstreams that rest.
    pub(crate) pool: http::Pool,
    pub(crate) pipes: Pool,
    pub(crate) timers: Queue,
    pub(crate) records: RefCell<Vec<Record>>,
    pub(crate) links: RefCell<Slab<Member>>,
    locals: RefCell<HashMap<u64, Rc<Local>>>,
    listeners: RefCell<HashMap<u64, Listening>>,
    /// Of UDP proxies, by listener, with the task that reads.
    ports: RefCell<HashMap<u64, (Rc<Port>, AbortHandle)>>,
    records_due: Cell<Option<Time>>,
    epoch: Cell<u64>,
    /// The epoch of the latest walk begun.
    walked: Cell<u64>,
    /// The next slot to look at, and the next to have written; none: all are done.
    look_at: Cell<Option<usize>>,
    write_at: Cell<Option<usize>>,
    alarm: Alarm,
    leases: Alarm,
}

impl Worker {
    /// Runs until it is told to stop. Called on the worker's own thread, in its runtime.
    pub(crate) async fn run(id: usize, common: Arc<Common>, shard: Arc<Shard>, bell: OwnedFd) -> io::Result<()> {
        let bell = Bell::hang(bell)?;
        let worker = Rc::new(Worker {
            id,
            common,
            shard,
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            block: RefCell::default(),
            spare: Rc::new(http::Spare::new()),
            pool: http::Pool::default(),
            pipes: Pool::default(),
            timers: Queue::default(),
            records: RefCell::default(),
            links: RefCell::default(),
            locals: RefCell::default(),
            listeners: RefCell::default(),
            ports: RefCell::default(),
            records_due: Cell::new(None),
            epoch: Cell::new(0),
            walked: Cell::new(0),
            look_at: Cell::new(None),
            write_at: Cell::new(None),
            alarm: Alarm::new(Base::Monotonic)?,
            leases: Alarm::new(Base::Boot)?,
        });
        let keeper = worker.clone();
        // its turns are bounded by TIMER_BATCH; tokio's budget would defer the rest of a batch
        tokio::task::spawn_local(tokio::task::coop::unconstrained(async move { keeper.keep_time().await }));
        let keeper = worker.clone();
        tokio::task::spawn_local(async move {
            loop {
                keeper.leases.fired().await;
                keeper.leases_ran_out();
            }
        });
        loop {
            if worker.take_orders() {
                let ports = std::mem::take(&mut *worker.ports.borrow_mut());
                ports.into_values().for_each(|(port, _)| port.close());
                worker.links.borrow_mut().clear();
                worker.send_records();
                return Ok(());
            }
            worker.carry_out();
            match worker.look_at.get().or(worker.write_at.get()) {
                Some(_) => tokio::task::yield_now().await,
                None => bell.rung().await?,
            }
        }
    }

    /// Now, on both clocks.
    #[inline]
    pub(crate) fn now(&self) -> Now {
        SystemClock.now()
    }

    /// Looks whether a plan was published or a switch changed. Called at every poll of every connection.
    #[inline]
    pub(crate) fn follow(&self) {
        let epoch = self.common.cell.epoch();
        if epoch != self.epoch.get() {
            self.sync(epoch);
        }
    }

    /// Puts a connection's timer at `new`.
    pub(crate) fn rearm(&self, key: Key, old: Option<Time>, new: Option<Time>) {
        self.timers.rearm(key, old, new);
        if let Some(at) = new {
            self.alarm.arm(at.saturating_sub(LEAD));
        }
    }

    /// Records may have been added: they go to the ledger soon.
    pub(crate) fn records_added(&self) {
        let waiting = self.records.borrow().len();
        if waiting >= RECORDS_BATCH {
            self.send_records();
        } else if waiting > 0 && self.records_due.get().is_none() {
            let due = Some(SystemClock::mono() + RECORDS_WAIT);
            self.rearm(Key::Records, None, due);
            self.records_due.set(due);
        }
    }

    /// A connection was accepted here: keep it, or hand it to a worker with fewer.
    pub(crate) fn welcome(self: &Rc<Self>, local: &Rc<Local>, socket: OwnedFd, client: Option<SocketAddr>, tcp: bool) {
        let proxy = &local.proxy;
        if !proxy.enter() {
            local.broke(|meter| &meter.refused);
            if tcp {
                let _gone = socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO));
            }
            return;
        }
        let ordinal = proxy.ordinals.fetch_add(1, Ordering::Relaxed);
        if let Some(client) = client {
            self.common.forget_end(client);
        }
        let arrival = Arrival { proxy: proxy.clone(), socket, tcp, client, ordinal };
        match self.common.relief_for(self.id) {
            Some(other) => self.common.order(other, Order::Adopt(Box::new(arrival))),
            None => self.adopt(local, arrival),
        }
    }

    fn adopt(self: &Rc<Self>, local: &Rc<Local>, arrival: Arrival) {
        let Arrival { proxy, socket, tcp, client, ordinal } = arrival;
        local.accepted();
        let socket = match Socket::new(socket, tcp) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(proxy = &*proxy.name, %error, "a connection could not be watched");
                local.meter.ended.add(1);
                local.broke(|meter| &meter.refused);
                self.common.left(self.id, &proxy);
                return;
            }
        };
        self.follow();
        let slot = self.links.borrow().vacant_key();
        let link = Rc::new(Link::new(self.clone(), local.clone(), slot, socket, client, ordinal));
        self.links.borrow_mut().insert(Member::Link(link.clone()));
        local.links.set(local.links.get() + 1);
        tokio::task::spawn_local(Run::new(link));
    }

    /// A connection's task has ended.
    pub(crate) fn remove(&self, slot: usize, local: &Local) {
        self.vacate(slot);
        self.ended(local);
    }

    /// Gives a place in the table up.
    pub(crate) fn vacate(&self, slot: usize) {
        if let Ok(mut links) = self.links.try_borrow_mut() {
            links.try_remove(slot);
        }
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, local: &Local) {
        local.meter.ended.add(1);
        self.common.left(self.id, &local.proxy);
        local.links.set(local.links.get().saturating_sub(1));
        if local.retired.get() && local.links.get() == 0 {
            self.forget(local);
        }
    }

    fn forget(&self, local: &Local) {
        self.timers.rearm(Key::Edge(local.proxy.id), local.edge.take(), None);
        self.locals.borrow_mut().remove(&local.proxy.id);
    }

    /// Does what was ordered; true: end.
    fn take_orders(self: &Rc<Self>) -> bool {
        for order in self.common.orders(self.id) {
            match order {
                Order::Listen { proxy, listener, entrance, socket, tcp } => {
                    let local = self.local(&proxy);
                    let doors = Rc::new(Notify::new());
                    let task = accept_all(self.clone(), local.clone(), socket, tcp, doors.clone());
                    let accepting = tokio::task::spawn_local(task).abort_handle();
                    let listening = Listening { proxy: proxy.id, entrance, accepting, doors };
                    self.listeners.borrow_mut().insert(listener, listening);
                    self.arm_edge(&local, self.now()); // the door may have to be shut
                }
                Order::Door { listener } => {
                    if let Some(listening) = self.listeners.borrow().get(&listener) {
                        listening.doors.notify_one();
                    }
                }
                Order::Hear { proxy, listener, socket } => {
                    let local = self.local(&proxy);
                    match watch(socket) {
                        Ok(socket) => {
                            let port = Port::new(self.clone(), local, socket);
                            let task = tokio::task::spawn_local(port.clone().serve());
                            self.ports.borrow_mut().insert(listener, (port, task.abort_handle()));
                        }
                        Err(error) => tracing::error!(proxy = &*proxy.name, %error, "a listener could not be watched"),
                    }
                }
                Order::Unlisten { listener } => {
                    let port = self.ports.borrow_mut().remove(&listener);
                    if let Some((port, reading)) = port {
                        reading.abort();
                        port.close();
                    }
                    if let Some(listening) = self.listeners.borrow_mut().remove(&listener) {
                        listening.accepting.abort();
                    }
                }
                Order::Welcome { proxy, socket, tcp, client } => {
                    let local = self.local(&proxy);
                    self.welcome(&local, socket, client, tcp);
                }
                Order::Adopt(arrival) => {
                    let local = self.local(&arrival.proxy);
                    self.adopt(&local, *arrival);
                }
                Order::Disconnect { proxy } => {
                    self.pool.close(proxy);
                    let members: Vec<Member> = self.links.borrow().iter().map(|(_, member)| member.clone()).collect();
                    members.iter().for_each(|member| member.disconnect(proxy));
                }
                Order::Retire { proxy } => {
                    self.pool.close(proxy);
                    let local = self.locals.borrow().get(&proxy).cloned();
                    if let Some(local) = local {
                        local.retired.set(true);
                        if local.links.get() == 0 {
                            self.forget(&local);
                        }
                    }
                }
                Order::Stop => return true,
            }
        }
        false
    }

    fn local(&self, proxy: &Arc<Proxy>) -> Rc<Local> {
        if let Some(local) = self.locals.borrow().get(&proxy.id) {
            return local.clone();
        }
        let local = Rc::new(Local {
            proxy: proxy.clone(),
            meter: proxy.meters[self.id].clone(),
            slice: RefCell::default(),
            version: Cell::new(0),
            measure: Cell::new(false),
            guarded: Cell::new(false),
            lane: self.id,
            links: Cell::new(0),
            retired: Cell::new(proxy.is_closed()),
            state: Cell::new(state_of(None, Now { mono: 0, boot: 0 })),
            edge: Cell::new(None),
            lease: Cell::new(NEVER),
            doorkeeper: RefCell::default(),
            shut: Cell::new(false),
        });
        self.locals.borrow_mut().insert(proxy.id, local.clone());
        let now = self.now();
        local.follow(self.common.cell.plan().load().slice(&proxy.name), now);
        self.arm_edge(&local, now);
        local
    }

    /// Takes over the plan and the switches in force.
    fn sync(&self, epoch: u64) {
        self.epoch.set(epoch); // read before the plan: the plan is at least as new
        let plan = self.common.cell.plan().load();
        let now = self.now();
        for local in self.locals.borrow().values() {
            if local.follow(plan.slice(&local.proxy.name), now) {
                self.arm_edge(local, now);
            }
        }
    }

    /// Carries out what was published for every connection, and says so: first all are permitted to go on, then they
    /// write. Does a bounded part; `look_at` and `write_at` tell whether more is left.
    fn carry_out(&self) {
        self.follow();
        let epoch = self.epoch.get();
        if self.walked.replace(epoch) != epoch {
            self.look_at.set(Some(0));
        }
        self.look_around();
        if self.look_at.get().is_some() {
            return;
        }
        if self.shard.epoch.load(Ordering::Relaxed) != epoch {
            let now = SystemClock::mono();
            self.shard.permitted_at.store(now, Ordering::Relaxed);
            if self.shard.draining.load(Ordering::Relaxed) == 0 {
                self.shard.drained_at.store(now, Ordering::Relaxed);
            }
            self.shard.epoch.store(epoch, Ordering::Release);
        }
        self.have_written();
    }

    /// Has connections whose slice has changed look at it. Each also does so by itself before it moves a byte.
    fn look_around(&self) {
        let Some(begin) = self.look_at.get() else { return };
        let end = self.links.borrow().capacity();
        let mut now = self.now();
        let until = now.mono + LOOKING;
        for slot in begin..end {
            if slot % LOOKED_AT_ONCE == 0 {
                now = self.now();
                if now.mono >= until {
                    return self.look_at.set(Some(slot));
                }
            }
            let link = self.links.borrow().get(slot).cloned();
            if link.is_some_and(|link| link.look_again(now)) {
                self.write_at.set(Some(0));
            }
        }
        self.look_at.set(None);
    }

    /// Has connections that have something to do since they looked again do it.
    fn have_written(&self) {
        let Some(begin) = self.write_at.get() else { return };
        let end = self.links.borrow().capacity();
        let mut written = 0;
        for slot in begin..end {
            if written == WRITTEN_AT_ONCE {
                return self.write_at.set(Some(slot));
            }
            let link = self.links.borrow().get(slot).cloned();
            written += usize::from(link.is_some_and(|link| link.go_on()));
        }
        self.write_at.set(None);
    }

    /// Has all connections look at their slices soon.
    fn walk(&self) {
        self.look_at.set(Some(0));
        self.common.ring(self.id);
    }

    /// A connection that was let go has been written out, or is gone.
    pub(crate) fn drained(&self) {
        let left = self.shard.draining.load(Ordering::Relaxed).saturating_sub(1);
        if left == 0 {
            self.shard.drained_at.store(SystemClock::mono(), Ordering::Relaxed);
        }
        self.shard.draining.store(left, Ordering::Release);
    }

    /// Makes the doors of a proxy what its faults say.
    fn mind_doors(&self, local: &Local, now: Now) {
        let slice = local.slice.borrow();
        let listeners = self.listeners.borrow();
        let own = listeners.values().filter(|listening| listening.proxy == local.proxy.id);
        self.records.borrow_mut().extend(own.filter_map(|listening| listening.entrance.follow(slice.as_deref(), now)));
        drop(listeners);
        self.records_added();
    }

    /// Does what is due now that faults of a proxy have come on or gone off, and has itself woken for the next time.
    fn arm_edge(&self, local: &Local, now: Now) {
        self.mind_doors(local, now);
        let slice = local.slice.borrow();
        let actives = slice.as_ref().map_or(&[][..], |slice| &slice.actives);
        let again = if self.id == KEEPER { self.keep_door(local, actives, now) } else { None };
        let next = actives.iter().filter_map(|active| active.phase(now).next_edge).chain(again).min();
        let next = next.map(|at| at.max(now.mono + 1));
        self.rearm(Key::Edge(local.proxy.id), local.edge.replace(next), next);
        let running = actives.iter().filter(|active| active.switch.is_on(now));
        let lease = running.map(|active| active.switch.lease()).min().unwrap_or(NEVER);
        local.lease.set(lease);
        if lease != NEVER {
            self.leases.arm(lease);
        }
    }

    /// Shuts or opens the listeners of a proxy, as its faults have it now. When to try again, if that failed.
    fn keep_door(&self, local: &Local, actives: &[Arc<Active>], now: Now) -> Option<Time> {
        let shut = local.doorkeeper.borrow_mut().follow(actives, now, &mut self.records.borrow_mut());
        if !shut && !local.shut.get() {
            return None;
        }
        self.records_added();
        let mut again = None;
        let listeners = self.listeners.borrow();
        for (listener, listening) in listeners.iter().filter(|(_, listening)| listening.proxy == local.proxy.id) {
            let socket = &listening.entrance.listener;
            if shut {
                self.common.take_in(&local.proxy, socket);
            }
            match socket.set_shut(shut) {
                Ok(false) => {}
                Ok(true) => self.common.tell_all(|| Order::Door { listener: *listener }),
                Err(error) => {
                    tracing::error!(proxy = &*local.proxy.name, %error, "the listener can not be shut or opened");
                    again = Some(now.mono + DOOR_AGAIN);
                }
            }
        }
        local.shut.set(shut || again.is_some());
        again
    }

    /// A window opens or closes, or a time limit has come.
    fn edge(&self, proxy: u64) {
        let local = self.locals.borrow().get(&proxy).cloned();
        let Some(local) = local else { return };
        let now = self.now();
        local.edge.set(None);
        local.state.set(state_of(local.slice.borrow().as_ref(), now));
        local.version.set(local.version.get().wrapping_add(1));
        self.arm_edge(&local, now);
        self.walk();
    }

    /// The earliest lease known here has run out, or was renewed since.
    fn leases_ran_out(&self) {
        let now = self.now();
        for local in self.locals.borrow().values() {
            if local.lease.get() != NEVER {
                let slice = local.slice.borrow().clone();
                local.follow(slice.as_ref(), now);
                self.arm_edge(local, now);
            }
        }
        self.walk();
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let until = SystemClock::mono() + TIMER_TURN;
            for served in 0.. {
                let due = self.timers.head();
                let mut now = SystemClock::mono();
                if served == TIMER_BATCH || now >= until {
                    tokio::task::yield_now().await;
                    break;
                }
                if due > now.saturating_add(LEAD) {
                    break;
                }
                while now < due {
                    std::hint::spin_loop();
                    now = SystemClock::mono();
                }
                match self.timers.take_due(now) {
                    Some(Key::Link(slot)) => {
                        let link = self.links.borrow().get(slot).cloned();
                        if let Some(link) = link {
                            link.due();
                        }
                    }
                    Some(Key::Edge(proxy)) => self.edge(proxy),
                    Some(Key::Records) => self.send_records(),
                    None => break,
                }
            }
            let head = self.timers.head();
            if head != NEVER {
                self.alarm.arm(head.saturating_sub(LEAD));
            }
            self.alarm.fired().await;
        }
    }

    fn send_records(&self) {
        self.timers.rearm(Key::Records, self.records_due.take(), None);
        self.common.ledger.send(&mut self.records.borrow_mut());
    }

    /// A panic in one connection: told, counted, and the connection reset; the others go on.
    pub(crate) fn panicked(&self, local: &Local, sockets: &[&Socket]) {
        tracing::error!(proxy = &*local.proxy.name, "a connection failed inside squall and was reset");
        self.common.panics.fetch_add(1, Ordering::Relaxed);
        for socket in sockets {
            reset::arm(socket);
        }
    }
}
