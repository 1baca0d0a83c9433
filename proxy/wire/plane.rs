//! The data plane as the rest sees it: proxies opened, changed and closed while traffic flows.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use squall_core::call::Calls;
use squall_core::cell::Cell;
use squall_core::fault::Carrier;
use squall_core::http::Request;
use squall_core::matcher::NeverFault;
use squall_core::observe::{Ledger, Reading};
use squall_core::plan::FaultRef;
use squall_core::plane::{DataPlane, PlaneError, ProxyInfo};
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::tap::Tap;
use squall_core::time::{Clock, SECOND, Time};
use squall_core::tls::Mode;
use squall_core::way::Transparent;
use tokio::runtime::{Builder, LocalOptions};

use crate::bell::{Rope, cast};
use crate::clock::SystemClock;
use crate::dial::{Upstream, leads_to, may_dress};
use crate::ends::Ends;
use crate::entrance::Entrance;
use crate::filter;
use crate::listen::{Bound, Listener};
use crate::memory;
use crate::meter::Meter;
use crate::original::Leaving;
use crate::tls::{Authority, Client, Server};
use crate::ways::{BARRED, Door, Ways};
use crate::worker::{Order, Worker};

/// Whether an upstream's address may be connected to, with the reason if not. The text is the name that it was resolved
/// from; empty: none.
pub type Allow = Arc<dyn Fn(&str, &SocketAddr) -> Result<(), String> + Send + Sync>;

/// Whether a request may go to a proxy's upstream, with the reason if not.
pub type Admit = Arc<dyn Fn(&str, &Request) -> Result<(), String> + Send + Sync>;

/// Descriptors that connections leave to the control port, files and load in the same process.
const RESERVED: u64 = 64;
/// Descriptors of a worker besides its connections: runtime, timers, bell, pipes.
const PER_WORKER: u64 = 80;
/// Sockets between two polls of the kernel for events: how long a due timer may wait behind them.
const EVENT_INTERVAL: u32 = 16;

/// How a plane is made.
#[derive(Clone)]
pub struct Options {
    /// Worker threads, 1 to 1024.
    pub workers: usize,
    /// Where injections go on record.
    pub ledger: Ledger,
    /// Held against every address before it is connected to.
    pub allow: Allow,
    /// HTTP requests that no fault acts on.
    pub never_fault: NeverFault,
    /// Bytes that faults may hold in the whole program. No connection holds more than it leaves for all others.
    pub held_bytes: usize,
    /// How long a client of HTTP/2 may keep an answer waiting by its windows, ns.
    pub http_stall: Time,
    /// How long a client of HTTP/1 may take to send a head, from its first byte, ns.
    pub http_head: Time,
    /// Where HTTP exchanges are told one by one; none: nobody asks.
    pub calls: Option<Calls>,
    /// Held against every HTTP request before it is sent on; none: all may.
    pub admit: Option<Admit>,
    /// Where squall's own CA is, or will be made when it is first needed; none: there is none.
    pub ca: Option<PathBuf>,
}

impl Options {
    /// One worker per processor, every upstream allowed, a quarter of the memory for held bytes, two minutes for a stall.
    pub fn new(ledger: Ledger) -> Options {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Options {
            workers,
            ledger,
            allow: Arc::new(|_, _| Ok(())),
            never_fault: NeverFault::default(),
            held_bytes: memory::share(),
            http_stall: 120 * SECOND,
            http_head: 60 * SECOND,
            calls: None,
            admit: None,
            ca: None,
        }
    }
}

/// Raises the soft limit on open descriptors to the hard one; returns what it is then. Call it once, at the start.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let _kept_from_the_first_time = FORMER.set(limit.current);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open descriptors can not be raised");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The soft limit as it was.
static FORMER: OnceLock<Option<u64>> = OnceLock::new();

/// Starts a program under the soft limit on open descriptors as it was before it was raised: some programs take a high one
/// for a promise to walk through all of them.
pub fn with_former_descriptor_limit<T>(start: impl FnOnce() -> T) -> T {
    let limit = getrlimit(Resource::Nofile);
    if let Some(former) = FORMER.get() {
        let _it_was_allowed_before = setrlimit(Resource::Nofile, Rlimit { current: *former, ..limit });
    }
    let started = start();
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open descriptors can not be raised again");
    }
    started
}

/// What all workers share.
pub(crate) struct Common {
    pub(crate) cell: Arc<Cell>,
    pub(crate) ledger: Ledger,
    pub(crate) allow: Allow,
    /// Requests that no fault acts on.
    pub(crate) never_fault: NeverFault,
    pub(crate) ways: ArcSwap<Ways>,
    pub(crate) leaving: Arc<Leaving>,
    /// Bytes that faults hold now, and may hold at most.
    pub(crate) held: AtomicUsize,
    pub(crate) held_limit: usize,
    /// See [`Options::calls`].
    pub(crate) calls: Option<Calls>,
    /// See [`Options::admit`].
    pub(crate) admit: Option<Admit>,
    /// See [`Options::http_stall`].
    pub(crate) http_stall: Time,
    /// See [`Options::http_head`].
    pub(crate) http_head: Time,
    /// Connections that failed inside squall.
    pub(crate) panics: AtomicU64,
    peers: Vec<Peer>,
    links_limit: u64,
}

/// A worker, seen from outside.
struct Peer {
    inbox: Mutex<Vec<Order>>,
    rope: Rope,
    load: AtomicU64,
    ends: Ends,
}

impl Common {
    /// Whether descriptors leave no room for another connection.
    pub(crate) fn is_full(&self) -> bool {
        self.peers.iter().map(|peer| peer.load.load(Ordering::Relaxed)).sum::<u64>() >= self.links_limit
    }

    /// Which worker gets the next connection that `worker` has accepted: itself (none) unless another has clearly less
    /// to do. Counts it there.
    pub(crate) fn relief_for(&self, worker: usize) -> Option<usize> {
        let load = |peer: &Peer| peer.load.load(Ordering::Relaxed);
        let (least, fewest) = self.peers.iter().map(load).enumerate().min_by_key(|(_, load)| *load)?;
        let other = (load(&self.peers[worker]) > fewest + fewest / 8).then_some(least);
        self.peers[other.unwrap_or(worker)].load.fetch_add(1, Ordering::Relaxed);
        other
    }

    /// An association begins on `worker`.
    pub(crate) fn came(&self, worker: usize) {
        self.peers[worker].load.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of `worker` has ended.
    pub(crate) fn left(&self, worker: usize, proxy: &Proxy) {
        self.peers[worker].load.fetch_sub(1, Ordering::Relaxed);
        proxy.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tells a worker.
    pub(crate) fn order(&self, worker: usize, order: Order) {
        lock(&self.peers[worker].inbox).push(order);
        self.peers[worker].rope.pull();
    }

    /// Wakes a worker.
    pub(crate) fn ring(&self, worker: usize) {
        self.peers[worker].rope.pull();
    }

    /// What a worker was told since it last asked.
    pub(crate) fn orders(&self, worker: usize) -> Vec<Order> {
        std::mem::take(&mut *lock(&self.peers[worker].inbox))
    }

    /// A fault ends a connection.
    pub(crate) fn note_end(&self, worker: usize, client: SocketAddr, fault: &Arc<FaultRef>) {
        self.peers[worker].ends.note(client, fault);
    }

    /// A client's port is in use again.
    pub(crate) fn forget_end(&self, client: SocketAddr) {
        self.peers.iter().for_each(|peer| peer.ends.forget(client));
    }

    /// Shares out those who wait at a listener that is about to be shut: closing it would reset them.
    pub(crate) fn take_in(&self, proxy: &Arc<Proxy>, listener: &Listener) {
        for (n, (socket, client)) in listener.waiting().enumerate() {
            let (proxy, tcp) = (proxy.clone(), listener.is_tcp());
            self.order(n % self.peers.len(), Order::Welcome { proxy, socket, tcp, client });
        }
    }

    /// Tells every worker.
    pub(crate) fn tell_all(&self, order: impl Fn() -> Order) {
        (0..self.peers.len()).for_each(|worker| self.order(worker, order()));
    }
}

/// A proxy, as all workers see it.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Never used twice.
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) target: ArcSwap<Target>,
    /// What the upstream's name stood for the last time.
    pub(crate) reached: ArcSwapOption<SocketAddr>,
    /// The number of the next connection.
    pub(crate) ordinals: AtomicU64,
    /// One per worker.
    pub(crate) meters: Vec<Arc<Meter>>,
    /// Where its exchanges go besides.
    pub(crate) tap: ArcSwapOption<Tap>,
    open: AtomicU64,
    closed: AtomicBool,
}

/// The part of a proxy that can be changed.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) spec: ProxySpec,
    pub(crate) upstream: Upstream,
    /// Carries the TLS handshakes of its clients out.
    pub(crate) tls: Option<Server>,
    /// Speaks TLS with the upstream.
    pub(crate) upstream_tls: Option<Client>,
}

impl Proxy {
    /// Counts a connection in, unless there are as many as there may be.
    pub(crate) fn enter(&self) -> bool {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if self.target.load().spec.max_connections.is_some_and(|most| before >= most) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The data plane. Dropping it ends all connections.
pub struct Plane {
    common: Arc<Common>,
    clock: Arc<dyn Clock>,
    proxies: Mutex<BTreeMap<String, Entry>>,
    next: AtomicU64,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    authority: Arc<Authority>,
}

struct Entry {
    proxy: Arc<Proxy>,
    bound: Bound,
    listener: u64,
}

impl Entry {
    fn info(&self) -> ProxyInfo {
        let spec = self.proxy.target.load().spec.clone();
        ProxyInfo { spec, listen: self.bound.text.clone(), address: self.bound.address }
    }
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane").field("workers", &self.common.peers.len()).finish_non_exhaustive()
    }
}

impl Plane {
    /// Starts the workers. Fails if threads or descriptors can not be had.
    pub fn new(options: Options) -> io::Result<Plane> {
        let workers = options.workers.clamp(1, 1024);
        let cell = Arc::new(Cell::default());
        let (ropes, bells): (Vec<Rope>, Vec<OwnedFd>) =
            (0..workers).map(|_| cast()).collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        let peers = ropes.into_iter().map(|rope| Peer {
            inbox: Mutex::default(),
            rope,
            load: AtomicU64::new(0),
            ends: Ends::default(),
        });
        let common = Arc::new(Common {
            cell,
            ledger: options.ledger,
            allow: options.allow,
            never_fault: options.never_fault,
            calls: options.calls,
            admit: options.admit,
            ways: ArcSwap::default(),
            leaving: Arc::default(),
            held: AtomicUsize::new(0),
            held_limit: options.held_bytes,
            http_stall: options.http_stall,
            http_head: options.http_head,
            panics: AtomicU64::new(0),
            peers: peers.collect(),
            links_limit: links_limit(workers),
        });
        let plane = Plane {
            common: common.clone(),
            clock: Arc::new(SystemClock),
            proxies: Mutex::default(),
            next: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            threads: Mutex::default(),
            authority: Arc::new(Authority::new(options.ca)),
        };
        for (id, bell) in bells.into_iter().enumerate() {
            let rope = common.peers[id].rope.clone();
            let shard = common.cell.join(Arc::new(move || rope.pull()));
            // made here, so that what can fail fails before anything runs
            let common = common.clone();
            let (tell, told) = std::sync::mpsc::sync_channel::<io::Result<()>>(1);
            let thread = std::thread::Builder::new().name(format!("squall-worker-{id}")).spawn(move || {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .event_interval(EVENT_INTERVAL)
                    .max_blocking_threads(8) // name lookups
                    .build_local(LocalOptions::default());
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(tell.send(Err(error))),
                };
                drop(tell.send(Ok(())));
                if let Err(error) = runtime.block_on(Worker::run(id, common, shard, bell)) {
                    tracing::error!(worker = id, %error, "a worker has ended");
                }
                runtime.shutdown_background();
            })?;
            lock(&plane.threads).push(thread);
            told.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended at its start")))?;
        }
        Ok(plane)
    }

    /// Stops accepting, lifts every fault, waits up to `drain` for connections to end by themselves, then ends the rest
    /// and the workers.
    pub fn shutdown(&self, drain: Duration) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        for (_, entry) in std::mem::take(&mut *self.lock()) {
            self.unlisten(&entry.proxy, &entry.bound, entry.listener);
        }
        self.common.cell.abort_all();
        let until = SystemClock::mono().saturating_add(u64::try_from(drain.as_nanos()).unwrap_or(u64::MAX));
        while self.connections() > 0 && SystemClock::mono() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.common.tell_all(|| Order::Stop);
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _its_panic_is_told = thread.join();
        }
    }

    /// Connections open now, on all proxies, closed ones too.
    pub fn connections(&self) -> u64 {
        self.common.peers.iter().map(|peer| peer.load.load(Ordering::Relaxed)).sum()
    }

    /// Bytes that faults hold now, in the whole program.
    pub fn held_bytes(&self) -> usize {
        self.common.held.load(Ordering::Relaxed)
    }

    /// Connections that failed inside squall, ever: a defect, each told in the log.
    pub fn panics(&self) -> u64 {
        self.common.panics.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        lock(&self.proxies)
    }

    /// Everything about a proxy that can be refused before it listens.
    fn check(&self, spec: &ProxySpec) -> Result<Upstream, PlaneError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(PlaneError::Gone);
        }
        let upstream = Upstream::parse(&spec.upstream).map_err(PlaneError::Denied)?;
        if (upstream == Upstream::Original) != spec.way.transparent.is_some() {
            return Err(PlaneError::Unable("`transparent` and the upstream `original` go together".into()));
        }
        may_dress(&spec.way).map_err(PlaneError::Unable)?;
        if spec.protocol == Protocol::Udp && matches!(upstream, Upstream::Unix(_) | Upstream::Original) {
            return Err(PlaneError::Denied(format!("{}: datagrams go to `host:port`", spec.upstream)));
        }
        if self.common.ways.load().barred.iter().any(|door| door.hears(&upstream, spec.protocol.carrier())) {
            return Err(PlaneError::Denied(format!("{}: {BARRED}", spec.upstream)));
        }
        match &upstream {
            Upstream::Address(address) => {
                (self.common.allow)("", address).map_err(PlaneError::Denied)?;
            }
            // what a name stands for is held against the rules at every connect; looking it up here could take seconds
            Upstream::Host(..) | Upstream::Unix(_) | Upstream::Original => {}
        }
        Ok(upstream)
    }

    fn target(&self, spec: &ProxySpec, upstream: Upstream) -> Result<Target, PlaneError> {
        let tls = spec.way.tls.as_ref().filter(|tls| tls.mode == Mode::Terminate);
        let tls = tls.map(|tls| Server::open(tls, &spec.listen, &self.authority)).transpose();
        let upstream_tls = spec.way.upstream_tls.as_ref().map(|tls| Client::open(tls, &upstream)).transpose();
        let unable = |what: &'static str| move |why: String| PlaneError::Unable(format!("`{what}`: {why}"));
        let (tls, upstream_tls) = (tls.map_err(unable("tls"))?, upstream_tls.map_err(unable("upstream_tls"))?);
        Ok(Target { spec: spec.clone(), upstream, tls, upstream_tls })
    }

    /// Takes a proxy off the map.
    fn remove(&self, name: &str) -> Result<Entry, PlaneError> {
        let mut proxies = self.lock();
        let entry = proxies.remove(name).ok_or_else(|| PlaneError::Unknown(name.to_owned()))?;
        self.map(&proxies);
        entry.proxy.closed.store(true, Ordering::Release);
        Ok(entry)
    }

    /// Ends a listener without resetting those who wait in its queue: they are a moment older than its end.
    fn unlisten(&self, proxy: &Arc<Proxy>, bound: &Bound, listener: u64) {
        if let Some(listener) = bound.listener() {
            self.common.take_in(proxy, listener);
        }
        self.common.tell_all(|| Order::Unlisten { listener });
    }

    /// Bars a listener of this program, `address:port` or `unix:PATH`, as an upstream of any proxy, open ones included.
    pub fn bar(&self, listen: &str) {
        let proxies = self.lock();
        let door = match Upstream::parse(listen) {
            Ok(Upstream::Address(address)) => Door::Tcp(address),
            Ok(Upstream::Unix(path)) => Door::Unix(path),
            Ok(Upstream::Host(..) | Upstream::Original) | Err(_) => return, // nothing listens there
        };
        let ways = self.common.ways.load();
        if ways.barred.contains(&door) {
            return;
        }
        let barred = ways.barred.iter().cloned().chain([door]).collect();
        self.common.ways.store(Arc::new(Ways { proxies: doors(&proxies), barred }));
    }

    /// Tells the workers which proxies listen where.
    fn map(&self, proxies: &BTreeMap<String, Entry>) {
        let barred = self.common.ways.load().barred.clone();
        self.common.ways.store(Arc::new(Ways { proxies: doors(proxies), barred }));
    }

    fn bind(&self, spec: &ProxySpec) -> Result<Bound, PlaneError> {
        let bound = match spec.protocol.carrier() {
            Carrier::Stream => Bound::bind(&spec.listen),
            Carrier::Datagrams => Bound::bind_datagrams(&spec.listen, self.common.peers.len()),
        };
        bound.map_err(|error| not_bound(&spec.listen, &error))
    }

    /// Has all workers accept from a socket, or read from theirs.
    fn listen(&self, proxy: &Arc<Proxy>, bound: &Bound) -> io::Result<u64> {
        let listener = self.next.fetch_add(1, Ordering::Relaxed);
        let shares = (0..self.common.peers.len()).map_while(|worker| bound.share(worker));
        let shares = shares.collect::<io::Result<Vec<_>>>()?;
        let entrance = bound.listener().map(|listener| Entrance::new(listener.clone()));
        for (worker, socket) in shares.into_iter().enumerate() {
            let (proxy, tcp) = (proxy.clone(), bound.address.is_some());
            let order = match entrance.clone() {
                Some(entrance) => Order::Listen { proxy, listener, entrance, socket, tcp },
                None => Order::Hear { proxy, listener, socket },
            };
            self.common.order(worker, order);
        }
        Ok(listener)
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

impl DataPlane for Plane {
    fn cell(&self) -> &Arc<Cell> {
        &self.common.cell
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn open(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError> {
        let upstream = self.check(spec)?;
        let mut proxies = self.lock();
        if proxies.contains_key(&spec.name) {
            return Err(PlaneError::Exists(spec.name.clone()));
        }
        let bound = self.bind(spec)?;
        take_any(&bound, spec)?;
        refuse_loops(&proxies, &spec.name, &upstream, &bound)?;
        let proxy = Arc::new(Proxy {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            name: spec.name.as_str().into(),
            target: ArcSwap::from_pointee(self.target(spec, upstream)?),
            reached: ArcSwapOption::empty(),
            ordinals: AtomicU64::new(0),
            meters: self.common.peers.iter().map(|_| Arc::default()).collect(),
            tap: ArcSwapOption::empty(),
            open: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let listener = self.listen(&proxy, &bound).map_err(|error| not_bound(&spec.listen, &error))?;
        let entry = Entry { proxy, bound, listener };
        let info = entry.info();
        proxies.insert(spec.name.clone(), entry);
        self.map(&proxies);
        Ok(info)
    }

    fn change(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError> {
        let upstream = self.check(spec)?;
        let mut proxies = self.lock();
        let entry = proxies.get(&spec.name).ok_or_else(|| PlaneError::Unknown(spec.name.clone()))?;
        let moves = entry.proxy.target.load().spec.listen != spec.listen && entry.bound.text != spec.listen
            || entry.bound.carrier != spec.protocol.carrier();
        let bound = if moves { Some(self.bind(spec)?) } else { None };
        refuse_loops(&proxies, &spec.name, &upstream, bound.as_ref().unwrap_or(&entry.bound))?;
        take_any(bound.as_ref().unwrap_or(&entry.bound), spec)?;
        let entry = proxies.get_mut(&spec.name).ok_or_else(|| PlaneError::Unknown(spec.name.clone()))?;
        let target = Arc::new(self.target(spec, upstream)?);
        let Some(bound) = bound else {
            entry.proxy.target.store(target);
            return Ok(entry.info());
        };
        let listener = self.listen(&entry.proxy, &bound).map_err(|error| not_bound(&spec.listen, &error))?;
        entry.proxy.target.store(target);
        let before = std::mem::replace(&mut entry.listener, listener);
        let old = std::mem::replace(&mut entry.bound, bound);
        self.unlisten(&entry.proxy, &old, before);
        let info = entry.info();
        self.map(&proxies);
        Ok(info)
    }

    fn close(&self, name: &str) -> Result<(), PlaneError> {
        let entry = self.remove(name)?;
        self.unlisten(&entry.proxy, &entry.bound, entry.listener);
        self.common.tell_all(|| Order::Retire { proxy: entry.proxy.id });
        Ok(())
    }

    fn disconnect(&self, name: &str) -> Result<(), PlaneError> {
        let proxies = self.lock();
        let entry = proxies.get(name).ok_or_else(|| PlaneError::Unknown(name.to_owned()))?;
        self.common.tell_all(|| Order::Disconnect { proxy: entry.proxy.id });
        Ok(())
    }

    fn cut_off(&self, name: &str) -> Result<(), PlaneError> {
        let entry = self.remove(name)?;
        self.common.tell_all(|| Order::Unlisten { listener: entry.listener });
        self.common.tell_all(|| Order::Disconnect { proxy: entry.proxy.id });
        self.common.tell_all(|| Order::Retire { proxy: entry.proxy.id });
        Ok(())
    }

    fn proxies(&self) -> Vec<ProxyInfo> {
        self.lock().values().map(Entry::info).collect()
    }

    fn reading(&self, name: &str) -> Option<Reading> {
        let proxy = self.lock().get(name)?.proxy.clone();
        let mut reading = Reading::default();
        proxy.meters.iter().for_each(|meter| meter.add_to(&mut reading));
        Some(reading)
    }

    fn tap(&self, name: &str, tap: Option<Arc<Tap>>) -> Result<(), PlaneError> {
        let proxies = self.lock();
        let entry = proxies.get(name).ok_or_else(|| PlaneError::Unknown(name.to_owned()))?;
        entry.proxy.tap.store(tap);
        Ok(())
    }

    fn drops_packets(&self) -> Result<(), String> {
        filter::permitted()
    }

    fn is_shut(&self, listen: SocketAddr) -> bool {
        let there = |entry: &&Entry| entry.bound.address.is_some_and(|own| leads_to(&listen, &own));
        let shut = |entry: &Entry| entry.bound.listener().is_some_and(|listener| listener.is_shut(SystemClock::mono()));
        self.lock().values().find(there).is_some_and(shut)
    }

    fn injected_end(&self, client: SocketAddr) -> Option<Arc<FaultRef>> {
        self.common.peers.iter().find_map(|peer| peer.ends.find(client))
    }
}

fn doors(proxies: &BTreeMap<String, Entry>) -> Vec<(Door, Arc<Proxy>)> {
    proxies.values().map(|entry| (entry.bound.door(), entry.proxy.clone())).collect()
}

fn take_any(bound: &Bound, spec: &ProxySpec) -> Result<(), PlaneError> {
    let any = spec.way.transparent == Some(Transparent::Tproxy);
    bound.take_any(any).map_err(|error| not_bound(&spec.listen, &error))
}

fn not_bound(listen: &str, error: &io::Error) -> PlaneError {
    PlaneError::Bind(listen.to_owned(), error.to_string())
}

/// Follows the way from `name` through the other proxies: it must not come back.
fn refuse_loops(
    proxies: &BTreeMap<String, Entry>,
    name: &str,
    upstream: &Upstream,
    bound: &Bound,
) -> Result<(), PlaneError> {
    let carrier = bound.carrier;
    let reaches = |upstream: &Upstream, bound: &Bound| bound.door().hears(upstream, carrier);
    let mut upstream = upstream.clone();
    for _ in 0..=proxies.len() {
        if reaches(&upstream, bound) {
            return Err(PlaneError::Loop(name.to_owned()));
        }
        let next = proxies.iter().find(|(other, entry)| *other != name && reaches(&upstream, &entry.bound));
        let Some((_, entry)) = next else { return Ok(()) };
        upstream = entry.proxy.target.load().upstream.clone();
    }
    Ok(())
}

/// How many connections the descriptors allow: two each, after what the rest needs.
fn links_limit(workers: usize) -> u64 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let taken = RESERVED + PER_WORKER * workers as u64;
    (limit.saturating_sub(taken) / 2).max(1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
