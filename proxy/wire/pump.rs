//! One connection on its worker: asks the faults at the gate, dials, moves the bytes, ends.
//!
//! A connection is one hand-written future. It is polled by its task when a socket changes, by the worker's timer when
//! its chain wants to be asked, and looked at by the worker when a plan or a switch changes.

mod ending;
mod faulted;
mod header;
mod hello;
pub(crate) mod sniff;
mod vanish;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use squall_core::chain::{Chain, Polled, Talk};
use squall_core::fault::{End, Flaw, Flow, Gate, Opening, Until};
use squall_core::scenario::Protocol;
use squall_core::time::{Now, Time};
use squall_core::way::Transparent;

use self::ending::Ending;
use self::vanish::Filters;
use crate::clock::SystemClock;
use crate::dial::{Dialling, dial};
use crate::http::{self, Origin};
use crate::lane::{Broken, Lane};
use crate::meter::Waiting;
use crate::original::{self, Ticket};
use crate::reset;
use crate::socket::{Socket, has_hung_up};
use crate::timer::Key;
use crate::tls::{self, Shaken};
use crate::worker::{Local, Worker};

pub(crate) const FLOWS: [Flow; 2] = [Flow::Upstream, Flow::Downstream];

/// Reads per direction before others get a turn.
const ROUNDS: usize = 8;

/// Bytes per direction before others get a turn: a due timer or an abort waits behind a few of these at most.
const QUOTA: usize = 512 * 1024;

/// How far a connection has come.
enum Stage {
    /// The client has to say whom it stands for; what it has said so far.
    Header(Vec<u8>),
    /// The client has to begin a TLS handshake; how many bytes of it have been seen.
    Hello(usize),
    /// The faults are asked whether it may go on.
    Gate,
    /// What the client says first tells what it speaks; until then.
    Sniff(Time),
    /// The upstream is being reached.
    Dial { dialling: Dialling, _waiting: Waiting },
    /// The upstream is told whom the connection stands for.
    Greeting(Vec<u8>),
    /// The upstream is asked for TLS in PostgreSQL's protocol, as the client has asked squall: bytes sent, and until when it
    /// may answer.
    Asking { sent: usize, until: Time },
    /// Bytes go to and fro.
    Open,
    /// A fault ends it.
    Ending(Ending),
    /// Over; the sockets close when it is dropped.
    Done,
}

/// A connection in the worker's table.
pub(crate) struct Link {
    conn: RefCell<Conn>,
    waker: OnceCell<Waker>,
    /// It has something to do since it looked again.
    called: Cell<bool>,
}

impl Link {
    pub(crate) fn new(
        worker: Rc<Worker>,
        local: Rc<Local>,
        slot: usize,
        client: Socket,
        address: Option<SocketAddr>,
        ordinal: u64,
    ) -> Link {
        let selectable = local.slice.borrow().is_some();
        let protocol = local.proxy.target.load().spec.protocol;
        let mut conn = Conn {
            version: local.version.get().wrapping_sub(u32::from(selectable)), // look at the slice first, if there is one
            worker,
            local,
            slot,
            client,
            server: None,
            stage: Stage::Gate,
            talk: match protocol {
                Protocol::Auto => Talk::new(ordinal, address, SystemClock::mono()).beneath(),
                _ => Talk::new(ordinal, address, SystemClock::mono()),
            },
            peer: address,
            destination: None,
            leaving: None,
            shaken: None,
            handed_over: false,
            retuned: 0,
            chain: None,
            lanes: Default::default(),
            gone: [false; 2],
            asked: 0,
            held: 0,
            timer: None,
            draining: false,
            filters: None,
        };
        if conn.must_show_header() {
            conn.stage = Stage::Header(Vec::new());
        } else if conn.sees_hello() {
            conn.stage = Stage::Hello(0);
        }
        Link { conn: RefCell::new(conn), waker: OnceCell::new(), called: Cell::new(false) }
    }

    /// Whether it belongs to this proxy.
    pub(crate) fn is_of(&self, proxy: u64) -> bool {
        self.conn.borrow().local.proxy.id == proxy
    }

    /// Ends it now: both sockets close when its task has run.
    pub(crate) fn disconnect(&self) {
        self.conn.borrow_mut().stage = Stage::Done;
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The timer has come.
    pub(crate) fn due(&self) {
        self.conn.borrow_mut().timer = None;
        if let Some(waker) = self.waker.get()
            && self.poll(&mut Context::from_waker(waker)).is_ready()
        {
            waker.wake_by_ref(); // the task has to end
        }
    }

    /// The slice may have changed. Whether there is something to do now: it waits for [`Link::go_on`].
    pub(crate) fn look_again(&self, now: Now) -> bool {
        if self.guarded(|conn| conn.look_again(now)) == Some(false) {
            return false;
        }
        self.called.set(true);
        true
    }

    /// Does what there is to do since it looked again, if that is so and it has not been done yet.
    pub(crate) fn go_on(&self) -> bool {
        let Some(waker) = self.waker.get() else { return false };
        if !self.called.take() {
            return false;
        }
        if self.guarded(|conn| conn.write_out(&mut Context::from_waker(waker))) != Some(true) {
            waker.wake_by_ref();
        }
        true
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.called.set(false);
        self.guarded(|conn| conn.poll(cx)).unwrap_or(Poll::Ready(()))
    }

    /// One connection's panic must not end the others. None: it panicked, now or earlier, and is over.
    fn guarded<T>(&self, act: impl FnOnce(&mut Conn) -> T) -> Option<T> {
        let mut conn = self.conn.borrow_mut();
        if let Ok(done) = catch_unwind(AssertUnwindSafe(|| act(&mut conn))) {
            return Some(done);
        }
        let sockets: Vec<_> = [Some(&conn.client), conn.server.as_ref()].into_iter().flatten().collect();
        conn.worker.panicked(&conn.local, &sockets);
        conn.stage = Stage::Done;
        None
    }
}

/// A connection's task.
pub(crate) struct Run(Rc<Link>);

impl Run {
    pub(crate) fn new(link: Rc<Link>) -> Run {
        Run(link)
    }
}

impl Future for Run {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.waker.get_or_init(|| cx.waker().clone()); // a task's waker stays the same
        self.0.poll(cx)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut conn = self.0.conn.borrow_mut();
        let now = SystemClock::mono();
        conn.filter_nothing(now);
        conn.wake_at(None);
        conn.hold_back(0);
        conn.settle(true);
        match conn.handed_over {
            true => conn.worker.vacate(conn.slot),
            false => conn.worker.remove(conn.slot, &conn.local),
        }
    }
}

/// See the module.
pub(crate) struct Conn {
    worker: Rc<Worker>,
    local: Rc<Local>,
    slot: usize,
    client: Socket,
    server: Option<Socket>,
    stage: Stage,
    talk: Talk,
    /// Where it came from: `talk` has whom it stands for.
    peer: Option<SocketAddr>,
    /// Where its client meant to go, if that is known not to be here.
    destination: Option<SocketAddr>,
    /// Made for a client of a transparent proxy.
    leaving: Option<Box<Ticket>>,
    /// For the TLS handshake, if there is one.
    shaken: Option<Box<Shaken>>,
    /// The HTTP data plane has it now.
    handed_over: bool,
    /// The slice's version that the chain was held against.
    version: u32,
    /// When; 0: never.
    retuned: Time,
    chain: Option<Box<Chain>>,
    lanes: [Lane; 2],
    /// The sender of this direction has failed, and a fault keeps it from the other side: it is neither read nor written.
    gone: [bool; 2],
    /// When the latest byte of the client came that has no answer yet, if turns are measured; else 0.
    asked: Time,
    /// Bytes that count against the worker's share of memory.
    held: usize,
    timer: Option<Time>,
    /// Let go by a change, and not written yet.
    draining: bool,
    /// Packets vanish at its sockets.
    filters: Option<Box<Filters>>,
}

impl Conn {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.follow();
        self.follow_slice();
        loop {
            let next = match &mut self.stage {
                Stage::Header(_) => self.poll_header(cx),
                Stage::Hello(_) => self.poll_hello(cx),
                Stage::Gate => self.poll_gate(cx),
                Stage::Sniff(_) => self.poll_sniff(cx),
                Stage::Dial { .. } => self.poll_dial(cx),
                Stage::Greeting(_) => self.poll_greeting(cx),
                Stage::Asking { .. } => self.poll_asking(cx),
                Stage::Open => self.poll_open(cx),
                Stage::Ending(_) => self.poll_ending(cx),
                Stage::Done => return Poll::Ready(()),
            };
            self.stage = ready!(next);
        }
    }

    /// Looks at the slice if it has changed.
    fn follow_slice(&mut self) {
        if self.version != self.local.version.get() {
            self.retune(self.worker.now());
        }
    }

    /// Whether the connection has something to do.
    fn look_again(&mut self, now: Now) -> bool {
        if self.version == self.local.version.get() {
            return false;
        }
        let had = self.chain.is_some();
        self.retune(now);
        had || self.chain.is_some()
    }

    /// Holds the chain against the slice in force.
    fn retune(&mut self, now: Now) {
        if matches!(self.stage, Stage::Header(_) | Stage::Hello(_)) {
            return; // faults select by what it says
        }
        self.version = self.local.version.get();
        if matches!(self.stage, Stage::Ending(_) | Stage::Done) {
            return;
        }
        let slice = self.local.slice.borrow();
        match &mut self.chain {
            None => {
                let Some(slice) = slice.as_ref() else { return };
                let mut chain = Chain::new();
                chain.retune(Some(slice), &self.talk, &mut self.retuned, now);
                if chain.is_idle() {
                    return;
                }
                for (flow, lane) in FLOWS.into_iter().zip(&self.lanes) {
                    if lane.eof && !lane.finished {
                        chain.fin(flow, now);
                    }
                }
                self.chain = Some(Box::new(chain));
            }
            Some(chain) => chain.retune(slice.as_deref(), &self.talk, &mut self.retuned, now),
        }
        drop(slice);
        self.ask(now);
    }

    /// It turned out to carry bytes: what acts on those, or else on HTTP exchanges, joins.
    fn join_either(&mut self, now: Now) {
        let Some(slice) = self.local.slice.borrow().clone() else { return };
        let chain = self.chain.get_or_insert_default();
        chain.join_either(&slice, &self.talk, self.retuned, now);
        if chain.is_idle() {
            self.chain = None;
        }
        self.ask(now);
    }

    /// Polls the chain and takes note of what it says.
    fn ask(&mut self, now: Now) {
        let Some(chain) = &mut self.chain else { return };
        let mut records = self.worker.records.borrow_mut();
        let Polled { next, released } = chain.poll(&self.talk, now, &mut records);
        drop(records);
        self.worker.records_added();
        self.wake_at(next);
        self.filter_packets(now.mono);
        if released {
            let shard = &self.worker.shard;
            shard.released.store(shard.released.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            if !self.draining && !self.is_written() {
                self.draining = true;
                shard.draining.store(shard.draining.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
    }

    fn wake_at(&mut self, at: Option<Time>) {
        self.worker.rearm(Key::Link(self.slot), self.timer, at);
        self.timer = at;
    }

    fn is_written(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty) && self.queued() == 0
    }

    /// Bytes in the chain.
    fn queued(&self) -> usize {
        let Some(chain) = &self.chain else { return 0 };
        FLOWS.iter().map(|flow| chain.queued(*flow)).sum()
    }

    /// Says that the connection has drained, if it was to and has (or is `gone`).
    fn settle(&mut self, gone: bool) {
        if self.draining && (gone || self.is_written()) {
            self.draining = false;
            self.worker.drained();
        }
    }

    /// Keeps the account of bytes held for faults.
    fn hold_back(&mut self, bytes: usize) {
        if bytes != self.held {
            self.worker.common.held.fetch_add(bytes.wrapping_sub(self.held), Ordering::Relaxed);
            self.held = bytes;
        }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let Some(chain) = &mut self.chain else { return Poll::Ready(self.dial()) };
        let opening = match &self.talk.hello {
            Some(hello) => Opening::Hello { alpn: !hello.alpn.is_empty() },
            None => Opening::Accepted(self.talk.client),
        };
        let mut records = self.worker.records.borrow_mut();
        let gate = chain.gate(&opening, &self.talk, self.worker.now(), &mut records);
        let flawed_by = chain.flawed_by().cloned();
        drop(records);
        self.worker.records_added();
        match gate {
            Gate::Pass => Poll::Ready(self.dial()),
            Gate::Refuse(how) => Poll::Ready(self.end(&how, cx)),
            Gate::Hold(until) => {
                self.wake_at(match until {
                    Until::At(at) => Some(at),
                    Until::Change => None,
                });
                self.lanes[Flow::Upstream as usize].stale = true;
                match self.client.poll_gone(cx) {
                    // whoever gives up in a handshake waits for nothing more
                    Poll::Pending if self.talk.hello.is_some() && has_hung_up(self.client.fd()) => {
                        Poll::Ready(Stage::Done)
                    }
                    gone => gone.map(|()| Stage::Done),
                }
            }
            Gate::Tls(flaw) => {
                self.shaken.get_or_insert_default().flaw = flawed_by.map(|by| (flaw, by));
                let Flaw::Alert(description) = flaw else { return Poll::Ready(self.dial()) };
                // the first bytes on the way to the client: there is room
                let _gone_already = self.client.poll_write(cx, &tls::alert(description));
                Poll::Ready(self.end(&End::Fin, cx))
            }
        }
    }

    /// The gate has let it by.
    fn dial(&mut self) -> Stage {
        self.talk.admit();
        self.wake_at(None);
        let target = self.local.proxy.target.load();
        match target.spec.protocol {
            Protocol::Http => self.hand_over(true),
            // under TLS it is told once the handshake is done
            Protocol::Auto if target.tls.is_none() => Stage::Sniff(self.worker.now().mono + sniff::SILENCE),
            _ if target.spec.way.ends_tls() => self.hand_over(false),
            Protocol::Auto | Protocol::Tcp | Protocol::Udp => self.begin(),
        }
    }

    /// Begins to reach the upstream.
    fn begin(&mut self) -> Stage {
        self.wake_at(None);
        match self.begin_to_dial() {
            Ok(dialling) => Stage::Dial { dialling, _waiting: Waiting::begin(&self.local.meter) },
            Err(error) => self.dialled(Err(error)),
        }
    }

    /// Gives the connection to the HTTP data plane, or to what carries bytes between TLS and others.
    fn hand_over(&mut self, speaks_http: bool) -> Stage {
        let target = self.local.proxy.target.load_full();
        if let Some(how) = target.spec.way.transparent {
            match self.original_destination(how) {
                Ok(original) => self.destination = Some(original),
                Err(error) => return self.dialled(Err(error)),
            }
        }
        let at = original::local(self.client.fd()).ok();
        let origin = Origin { client: self.talk.client, destination: self.destination, at };
        let faults = self.chain.take().map(|chain| (chain, self.retuned));
        let (worker, local, client, talk) = (&self.worker, &self.local, self.client.share(), self.talk.clone());
        let shaken = self.shaken.take().map_or_else(Shaken::default, |shaken| *shaken);
        let begin = if speaks_http { http::begin } else { tls::begin };
        begin(worker, local, client, talk, faults, origin, shaken);
        self.handed_over = true;
        Stage::Done
    }

    /// Where the client of a transparent proxy meant to go.
    fn original_destination(&self, how: Transparent) -> io::Result<SocketAddr> {
        if self.peer.is_some_and(|peer| self.worker.common.leaving.has(peer)) {
            return Err(io::Error::other("squall's own connection was redirected back to it"));
        }
        original::destination(self.client.fd(), how)
    }

    fn begin_to_dial(&mut self) -> io::Result<Dialling> {
        let common = &self.worker.common;
        let target = self.local.proxy.target.load_full();
        if let Some(how) = target.spec.way.transparent {
            let original = self.original_destination(how)?;
            self.destination.get_or_insert(original);
            let dialling = dial(&self.local.proxy, &target, common, self.talk.client, Some(original))?;
            self.leaving = dialling.one().map(|socket| common.leaving.note(socket)).transpose()?.map(Box::new);
            return Ok(dialling);
        }
        dial(&self.local.proxy, &target, common, self.talk.client, None)
    }

    /// A client that resets meanwhile is told from an upstream that can not be reached. One that only closes its side may
    /// still wait for an answer.
    fn poll_dial(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let Stage::Dial { dialling, .. } = &mut self.stage else { return Poll::Ready(Stage::Done) };
        if let Poll::Ready(dialled) = dialling.poll(cx) {
            return Poll::Ready(self.dialled(dialled));
        }
        let until = dialling.until();
        if until.is_some_and(|until| until <= self.worker.now().mono) {
            return Poll::Ready(self.dialled(Err(io::ErrorKind::TimedOut.into())));
        }
        self.wake_at(until);
        ready!(self.client.poll_failed(cx));
        let error = io::ErrorKind::ConnectionReset.into();
        Poll::Ready(self.broken(Flow::Upstream, &Broken::Source(error)))
    }

    fn dialled(&mut self, dialled: io::Result<Socket>) -> Stage {
        match dialled {
            Ok(server) => {
                self.wake_at(None);
                self.server = Some(server);
                self.greeting().map_or_else(|| self.greeted(), Stage::Greeting)
            }
            Err(error) => {
                let to = self.destination;
                tracing::debug!(proxy = &*self.local.proxy.name, ?to, %error, "the upstream can not be reached");
                self.local.broke(|meter| &meter.connect_failed);
                if !self.local.proxy.target.load().spec.closes_unreached {
                    reset::arm(&self.client);
                }
                Stage::Done
            }
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let mut moved = Ok(None);
        if self.chain.is_some() {
            moved = self.poll_faulted(cx);
            if let Err((flow, broken)) = &moved
                && self.keeps_quiet(sender(*flow, broken))
            {
                moved = self.poll_faulted(cx);
            }
            if let (Ok(None), Some(failed)) = (&moved, self.failed_and_told()) {
                let error = io::ErrorKind::ConnectionReset.into();
                return Poll::Ready(self.broken(failed, &Broken::Source(error)));
            }
        }
        if self.chain.is_none() && matches!(moved, Ok(None)) {
            moved = self.poll_plain(cx); // from the start, or because no fault is left
        }
        if self.draining {
            self.settle(false);
        }
        match moved {
            Err((flow, broken)) => Poll::Ready(self.broken(flow, &broken)),
            Ok(Some(how)) => Poll::Ready(self.end(&how, cx)),
            Ok(None) if self.lanes.iter().all(|lane| lane.finished) => Poll::Ready(Stage::Done),
            Ok(None) => Poll::Pending,
        }
    }

    /// No fault: what comes in one side goes out the other.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Result<Option<End>, (Flow, Broken)> {
        let Conn { worker, local, client, server: Some(server), lanes, talk, asked, .. } = self else {
            return Ok(None);
        };
        for flow in FLOWS {
            let last = lanes[1 - flow as usize].finished;
            let lane = &mut lanes[flow as usize];
            let ends = match flow {
                Flow::Upstream => (&*client, &*server),
                Flow::Downstream => (&*server, &*client),
            };
            if lane.finished {
                watch(ends.0, cx).map_err(|broken| (flow, broken))?;
                continue;
            }
            lane.waiting = false;
            let (mut delivered, mut read) = (0, 0);
            let mut relay = || -> Result<bool, Broken> {
                for _ in 0..ROUNDS {
                    match lane.poll_flush(cx, ends.1, &worker.pipes, &mut delivered) {
                        Poll::Pending => return watch(ends.0, cx).map(|()| true),
                        Poll::Ready(flushed) => flushed?,
                    }
                    if lane.eof {
                        lane.finished = true;
                        if last {
                            return Ok(true); // both sides are closed at once
                        }
                        ends.1.close_writing();
                        return watch(ends.0, cx).map(|()| true);
                    }
                    let through = (&worker.pipes, &mut **worker.buffer.borrow_mut());
                    if read >= QUOTA {
                        return Ok(false);
                    }
                    match lane.poll_transfer(cx, ends, usize::MAX, through, &mut delivered) {
                        Poll::Pending => return Ok(true),
                        Poll::Ready(Err(broken)) => return Err(broken),
                        Poll::Ready(Ok(0)) => lane.eof = true,
                        Poll::Ready(Ok(n)) => {
                            read += n;
                            talk.moved(flow, n);
                            local.meter.received(flow, n);
                            if local.measure.get() {
                                measure(local, asked, flow, SystemClock::mono());
                            }
                        }
                    }
                }
                Ok(false)
            };
            let relayed = relay();
            local.meter.delivered(flow, delivered);
            match relayed {
                Ok(true) => {}
                Ok(false) => cx.waker().wake_by_ref(), // there may be more: after the others
                Err(broken) => return Err((flow, broken)),
            }
        }
        Ok(None)
    }

    /// Whether a fault keeps it from the other side that this direction's sender has failed; takes note of it. With nobody
    /// left to keep it from it is not kept.
    fn keeps_quiet(&mut self, failed: Flow) -> bool {
        let silent = self.chain.as_ref().is_some_and(|chain| chain.is_silent(failed));
        self.gone[failed as usize] |= silent;
        silent && self.gone != [true; 2]
    }

    /// The direction whose sender has failed, once no fault keeps that from the other side any more.
    fn failed_and_told(&self) -> Option<Flow> {
        let silent = |flow| self.chain.as_ref().is_some_and(|chain| chain.is_silent(flow));
        FLOWS.into_iter().find(|flow| self.gone[*flow as usize] && !silent(*flow))
    }

    /// One side has failed: the other learns it as it would have without squall.
    fn broken(&mut self, flow: Flow, broken: &Broken) -> Stage {
        let at_client = sender(flow, broken) == Flow::Upstream;
        let (Broken::Source(error) | Broken::Sink(error)) = broken;
        tracing::debug!(proxy = &*self.local.proxy.name, at_client, %error, "a connection broke");
        if at_client {
            self.local.meter.reset_by_client.add(1);
            if let Some(server) = &self.server {
                reset::arm(server);
            }
        } else {
            self.local.broke(|meter| &meter.reset_by_server);
            reset::arm(&self.client);
        }
        Stage::Done
    }
}

/// The direction whose sender has failed.
fn sender(flow: Flow, broken: &Broken) -> Flow {
    match (flow, broken) {
        (Flow::Upstream, Broken::Source(_)) | (Flow::Downstream, Broken::Sink(_)) => Flow::Upstream,
        (Flow::Upstream, Broken::Sink(_)) | (Flow::Downstream, Broken::Source(_)) => Flow::Downstream,
    }
}

/// Looks whether a socket that is not read for now has failed, and has the task woken when it does.
fn watch(source: &Socket, cx: &mut Context<'_>) -> Result<(), Broken> {
    match source.poll_failed(cx) {
        Poll::Ready(()) => Err(Broken::Source(io::ErrorKind::ConnectionReset.into())),
        Poll::Pending => Ok(()),
    }
}

/// Takes note of a turn: the client's latest byte, then the first of the answer.
pub(crate) fn measure(local: &Local, asked: &mut Time, flow: Flow, now: Time) {
    match flow {
        Flow::Upstream => *asked = now,
        Flow::Downstream if *asked > 0 => local.turn(now.saturating_sub(std::mem::take(asked))),
        Flow::Downstream => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // with the runtime's task and two registrations this stays near 2 KiB
        assert!(size_of::<Link>() <= 768, "{}", size_of::<Link>());
        assert!(size_of::<Run>() == size_of::<usize>());
    }
}
