//! A plane, faults made for tests, and peers that block with a time-out.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use squall_core::cell::Switch;
use squall_core::curve::Curve;
use squall_core::draw::DrawKey;
use squall_core::fault::{
    ALL, Act, AnyFault, Cx, Door, Effect, End, Fault, Gate, Hooks, Item, Needs, Offer, Opening, Until,
};
use squall_core::observe::{Ledger, Record};
use squall_core::plan::{Active, FaultRef, Layer, OnAbort, Plan, Slice};
use squall_core::plane::{DataPlane, ProxyInfo};
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::select::{Count, Key, Select};
use squall_core::time::{SECOND, Time};
use squall_core::way::Way;
use squall_core::window::Window;
use squall_wire::{Options, Plane};

/// Nothing on one machine takes this long.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn plane(workers: usize) -> (Plane, Receiver<Vec<Record>>) {
    let (ledger, records) = Ledger::new(1024);
    let options = Options { workers, ..Options::new(ledger) };
    (Plane::new(options).unwrap(), records)
}

pub(crate) fn spec(name: &str, upstream: impl ToString) -> ProxySpec {
    ProxySpec {
        name: name.to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        upstream: upstream.to_string(),
        protocol: Protocol::Tcp,
        closes_unreached: false,
        max_connections: None,
        connect_timeout: 5 * SECOND,
        idle_timeout: ProxySpec::IDLE_TIMEOUT,
        slo: None,
        from: None,
        to: None,
        way: Way::default(),
    }
}

pub(crate) fn open(plane: &Plane, upstream: impl ToString) -> SocketAddr {
    plane.open(&spec("p", upstream)).unwrap().address.unwrap()
}

pub(crate) fn address(info: &ProxyInfo) -> SocketAddr {
    info.address.unwrap()
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LONG.as_millis() {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("never: {what}");
}

/// A connection whose reads and writes do not wait for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect_timeout(&address, LONG).unwrap())
}

/// Whether a connection is reset: during the handshake as the client sees it, or right after.
pub(crate) fn is_refused(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, LONG) else { return true };
    stream.set_read_timeout(Some(LONG)).is_err() || stream.read(&mut [0]).is_err()
}

pub(crate) fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    let _reset_already = stream.set_nodelay(true);
    stream
}

/// Gives every connection to `serve`, on a thread of its own.
pub(crate) fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(5)); // out of descriptors, on purpose
                continue;
            };
            let serve = serve.clone();
            std::thread::spawn(move || serve(bounded(stream)));
        }
    });
    address
}

/// Sends back what comes, and FIN after FIN.
pub(crate) fn echo() -> SocketAddr {
    server(|stream| echo_one(&stream, &stream, || drop(stream.shutdown(Shutdown::Write))))
}

pub(crate) fn echo_one(mut from: impl Read, mut to: impl Write, end: impl FnOnce()) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    end();
}

/// Bytes that show a gap or a swap anywhere: the offset, mixed.
pub(crate) fn pattern(offset: u64, buffer: &mut [u8]) {
    for (n, byte) in buffer.iter_mut().enumerate() {
        let at = offset + n as u64;
        *byte = (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31) ^ (at >> 24).wrapping_mul(7)) as u8;
    }
}

/// Small random numbers, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Sends `total` bytes of the pattern in writes of random size.
pub(crate) fn send_pattern(mut to: TcpStream, total: u64, seed: u64) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut dice = Dice(seed);
        let mut buffer = vec![0; 256 * 1024];
        let mut sent = 0;
        while sent < total {
            let most = [200, 5_000, 70_000, 256 * 1024][dice.below(4) as usize];
            let n = (1 + dice.below(most)).min(total - sent) as usize;
            pattern(sent, &mut buffer[..n]);
            to.write_all(&buffer[..n]).unwrap();
            sent += n as u64;
        }
        to.shutdown(Shutdown::Write).unwrap();
    })
}

/// Reads to FIN and holds every byte against the pattern; now and then it is slow. Returns how many came.
pub(crate) fn check_pattern(mut from: TcpStream, seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let mut buffer = vec![0; 256 * 1024];
    let mut wanted = vec![0; 256 * 1024];
    let mut seen = 0;
    loop {
        let n = from.read(&mut buffer).unwrap();
        if n == 0 {
            return seen;
        }
        pattern(seen, &mut wanted[..n]);
        assert!(buffer[..n] == wanted[..n], "bytes differ near {seen}");
        seen += n as u64;
        if dice.below(400) == 0 {
            std::thread::sleep(Duration::from_millis(dice.below(20)));
        }
    }
}

/// What a test fault does; each is what a real one would do at its simplest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Script {
    /// Every turn waits this long, ns.
    Delay(Time),
    /// Wants to see the bytes and lets them by.
    See,
    /// Only counts.
    Count,
    /// Credit for so many bytes at a time.
    Credit(usize),
    /// Pieces of this size.
    Pieces(usize),
    /// Everything waits for a change.
    Stall,
    /// RST at this offset.
    ResetAt(u64),
    /// FIN at this offset.
    FinAt(u64),
    /// Connections wait at the gate for a change.
    GateHold,
    /// Connections are reset at the gate.
    GateReset,
    /// Nobody listens, and who is connected is closed.
    Down,
    /// A defect.
    Panic,
}

const HOOKS: Hooks = Hooks { door: true, open: true, ..Hooks::STREAM };

impl Fault for Script {
    const KIND: &'static str = "script";
    const HOOKS: Hooks = HOOKS;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn needs(&self) -> Needs {
        if matches!(self, Script::See) { Needs::Bytes } else { Needs::Count }
    }

    fn depth(&self) -> usize {
        if matches!(self, Script::Delay(_)) { 8 << 20 } else { 64 * 1024 }
    }

    fn open(&self, _: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        match self {
            Script::GateHold => Gate::Hold(Until::Change),
            Script::GateReset | Script::Down => Gate::Refuse(End::Reset),
            _ => Gate::Pass,
        }
    }

    fn door(&self) -> Door {
        if matches!(self, Script::Down) { Door::Closed } else { Door::Open }
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let at = |limit: u64, end| match limit.saturating_sub(cx.span.seen) {
            0 => Act::End(end),
            left => Act::Pass(left as usize),
        };
        match *self {
            Script::Panic => panic!("made for the test"),
            Script::Down => Act::Kill(End::Fin),
            Script::ResetAt(limit) => at(limit, End::Reset),
            Script::FinAt(limit) => at(limit, End::Fin),
            Script::Stall => Act::Hold(Until::Change),
            _ if matches!(offer.item, Item::Fin | Item::Tick) => Act::Pass(0),
            Script::Delay(delay) if cx.now < offer.arrived + delay => Act::Hold(Until::At(offer.arrived + delay)),
            Script::Delay(_) | Script::See => Act::Pass(offer.len()),
            Script::Credit(n) => Act::Pass(n),
            Script::Pieces(n) => Act::Piece(n.min(offer.len())),
            Script::Count | Script::GateHold | Script::GateReset => Act::Pass(ALL),
        }
    }
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// A fault on proxy `p`, both directions, in force from now on.
pub(crate) fn active(plane: &Plane, script: Script) -> Arc<Active> {
    let switch = plane.cell().switch();
    switch.start(plane.clock().now().mono);
    active_on(switch, script)
}

pub(crate) fn active_on(switch: Arc<Switch>, script: Script) -> Arc<Active> {
    any_active(switch, Arc::new(script))
}

/// Any fault on proxy `p`, both directions.
pub(crate) fn any_active(switch: Arc<Switch>, fault: Arc<dyn AnyFault>) -> Arc<Active> {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let text = |text: &str| -> Arc<str> { text.into() };
    Arc::new(Active {
        serial,
        name: Arc::new(FaultRef {
            experiment: text("1"),
            experiment_name: text("test"),
            fault: text("script"),
            kind: "script",
            proxy: text("p"),
        }),
        draws: DrawKey::new(1, "test", "script"),
        flow: None,
        select: Select {
            percentage: Curve::Constant(100.0),
            ladder: None,
            key: Key::Ordinal,
            count: Count::All,
            cap: None,
        },
        window: Window::default(),
        switch,
        observed: false,
        layer: Layer::Connection,
        bodies: None,
        rule: None,
        stealth: false,
        shared: Arc::from(fault.new_shared()),
        fault,
        tally: Arc::default(),
        on_abort: OnAbort::Release,
        release_over: 0,
    })
}

/// Puts these faults in force on proxy `p`, and waits until every worker has carried it out.
pub(crate) fn publish(plane: &Plane, actives: Vec<Arc<Active>>) {
    let slice = Arc::new(Slice::new(actives, false));
    let plan = Plan::new([("p".into(), slice)]);
    carried_out(plane, plane.cell().publish(Arc::new(plan)));
}

pub(crate) fn carried_out(plane: &Plane, epoch: u64) {
    eventually("carried out", || {
        plane.cell().shards().iter().all(|shard| shard.epoch.load(Ordering::Acquire) >= epoch)
    });
}

pub(crate) fn draining(plane: &Plane) -> u64 {
    plane.cell().shards().iter().map(|shard| shard.draining.load(Ordering::Acquire)).sum()
}

pub(crate) fn released(plane: &Plane) -> u64 {
    plane.cell().shards().iter().map(|shard| shard.released.load(Ordering::Acquire)).sum()
}
