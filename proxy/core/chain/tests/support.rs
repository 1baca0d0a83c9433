//! A fault for every act, a builder for plans, and a pump over virtual time.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use toml::de::DeTable;

use crate::cell::{Cell, Switch};
use crate::chain::{Chain, Polled, Ready, Talk};
use crate::curve::Curve;
use crate::draw::{Draw, DrawKey};
use crate::fault::registry::kind;
use crate::fault::{
    ALL, Act, AnyFault, Cx, Effect, End, Fault, Flow, Gate, Hooks, Injection, Item, Needs, Offer, Opening, Until, What,
};
use crate::observe::Record;
use crate::plan::{Active, FaultRef, Layer, OnAbort, Slice, Tally};
use crate::select::{Count, Key, Select};
use crate::time::{MILLI, Now, Time};
use crate::window::Window;

pub(super) const UP: Flow = Flow::Upstream;
pub(super) const DOWN: Flow = Flow::Downstream;

pub(super) fn at(mono: Time) -> Now {
    Now { mono, boot: mono }
}

/// What a test fault does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mode {
    Pass,
    /// Passes so many bytes in advance, again and again.
    Grant(usize),
    /// By draw, between the time and its double.
    Delay(Time),
    /// So many bytes per gap.
    Pace(usize, Time),
    /// Pieces of so many bytes, each after a gap.
    Slice(usize, Time),
    /// Holds from an offset on, until something changes.
    Stall(u64),
    CutAt(u64, End),
    KillAt(u64, End),
    /// Cuts after so many bytes by its own count.
    CountCut(u64),
    /// Ends by alarm, so long after it came on.
    AlarmEnd(Time, End),
    FinHold(Time),
    /// Changes every nth byte.
    Flip(u64),
    /// Waits for whole frames, each as long as its first byte says: passes them, or changes their last byte.
    Frames(bool),
    /// Waits for so many bytes in one before anything passes.
    Gather(usize),
    /// Puts bytes in at an offset, once.
    Insert(u64),
    /// Swallows from an offset on.
    Swallow(u64),
    SpinPass,
    SpinHold,
    SpinMore,
    SpinInsert,
    SpinAlarm,
    GateHold(Until),
    GateRefuse(End),
    /// A kind of the registry, with its fields.
    Real(&'static str, String),
}

impl Mode {
    fn effect(&self) -> Effect {
        match self {
            Mode::Flip(_) | Mode::Frames(true) | Mode::Insert(_) | Mode::SpinInsert => Effect::Mutates,
            Mode::Swallow(_) => Effect::Loses,
            _ => Effect::Keeps,
        }
    }

    pub(super) fn fault(self) -> Arc<dyn AnyFault> {
        if let Mode::Real(name, fields) = &self {
            let made = (kind(name).unwrap().make)(DeTable::parse(fields).unwrap());
            return made.unwrap_or_else(|misfit| panic!("{name} {fields}: {misfit:?}")).fault;
        }
        match self.effect() {
            Effect::Keeps => Arc::new(Script::<0>(self)),
            Effect::Mutates => Arc::new(Script::<1>(self)),
            Effect::Loses => Arc::new(Script::<2>(self)),
        }
    }
}

#[derive(Debug)]
struct Script<const EFFECT: u8>(Mode);

#[derive(Debug, Default)]
struct Memory {
    passed: u64,
    quantum: u64,
    until: Time,
    inserted: bool,
}

fn left(quantum: u64, offset: u64) -> usize {
    usize::try_from(quantum - offset % quantum).unwrap()
}

impl<const EFFECT: u8> Script<EFFECT> {
    /// Waits for the quantum's turn; none: its bytes may go.
    fn wait(cx: &mut Cx<'_, Self>, offset: u64, quantum: u64, gap: Time) -> Option<Act> {
        let number = offset / quantum + 1;
        if cx.state.quantum != number {
            cx.state.quantum = number;
            cx.state.until = cx.state.until.max(cx.now) + gap;
        }
        (cx.now < cx.state.until).then_some(Act::Hold(Until::At(cx.state.until)))
    }

    fn bytes(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let len = offer.len();
        let up_to = |limit: u64| usize::try_from(limit - offer.offset).unwrap();
        match self.0.clone() {
            Mode::Grant(n) => Act::Pass(n),
            Mode::Delay(delay) => {
                let (step, same) = offer.delay_step();
                let drawn = delay + cx.draw.at(step) % delay.max(1);
                let due = offer.arrived + drawn;
                if cx.now < due {
                    return Act::Hold(Until::At(due));
                }
                let achieved = cx.now - offer.arrived;
                cx.inject(Injection { what: What::Delayed, step, draw: None, drawn, scheduled: drawn, achieved });
                Act::Pass(same.min(len))
            }
            Mode::Pace(quantum, gap) => Self::wait(cx, offer.offset, quantum as u64, gap)
                .unwrap_or(Act::Pass(left(quantum as u64, offer.offset))),
            Mode::Slice(length, gap) => Self::wait(cx, offer.offset, length as u64, gap)
                .unwrap_or(Act::Piece(left(length as u64, offer.offset))),
            Mode::Stall(from) if offer.offset >= from => Act::Hold(Until::Change),
            Mode::CutAt(from, end) if offer.offset >= from => Act::End(end),
            Mode::KillAt(from, end) if offer.offset >= from => Act::Kill(end),
            Mode::Swallow(from) if offer.offset >= from => Act::Take { n: ALL, put: Bytes::new() },
            Mode::Stall(from) | Mode::CutAt(from, _) | Mode::KillAt(from, _) | Mode::Swallow(from) => {
                Act::Pass(up_to(from))
            }
            Mode::CountCut(limit) => {
                let n = usize::try_from(limit - cx.state.passed).unwrap().min(len);
                cx.state.passed += n as u64;
                if n == 0 { Act::End(End::Fin) } else { Act::Pass(n) }
            }
            Mode::Flip(every) => match (offer.offset % every, offer.item) {
                (0, Item::Bytes(bytes)) => Act::Take { n: 1, put: Bytes::copy_from_slice(&[bytes[0] ^ 0x55]) },
                _ => Act::Pass(left(every, offer.offset).min(len)),
            },
            Mode::Frames(changes) => {
                let Item::Bytes(bytes) = offer.item else { return Act::Pass(ALL) };
                let n = 1 + usize::from(bytes[0]);
                match bytes.get(..n).map(<[u8]>::to_vec) {
                    None => Act::More(n),
                    Some(_) if !changes => Act::Pass(n),
                    Some(mut frame) => {
                        frame[n - 1] ^= 0x55;
                        Act::Take { n, put: Bytes::from(frame) }
                    }
                }
            }
            Mode::Gather(n) if len < n => Act::More(n),
            Mode::SpinMore => Act::More(1),
            Mode::Insert(place) if offer.offset < place => Act::Pass(up_to(place).min(len)),
            Mode::Insert(_) if !cx.state.inserted => {
                cx.state.inserted = true;
                Act::Take { n: 0, put: Bytes::from_static(b"INS") }
            }
            Mode::SpinPass => Act::Pass(0),
            Mode::SpinHold => Act::Hold(Until::At(cx.now)),
            Mode::SpinInsert => Act::Take { n: 0, put: Bytes::from_static(b"x") },
            _ => Act::Pass(ALL),
        }
    }
}

impl<const EFFECT: u8> Fault for Script<EFFECT> {
    const KIND: &'static str = "script";
    const HOOKS: Hooks = Hooks { open: true, ..Hooks::STREAM };
    const EFFECT: Effect = match EFFECT {
        0 => Effect::Keeps,
        1 => Effect::Mutates,
        _ => Effect::Loses,
    };
    type Shared = ();
    type State = Memory;

    fn needs(&self) -> Needs {
        if matches!(self.0, Mode::Flip(_) | Mode::Frames(_)) { Needs::Bytes } else { Needs::Count }
    }

    fn open(&self, _: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        match self.0.clone() {
            Mode::GateHold(until) => Gate::Hold(until),
            Mode::GateRefuse(end) => Gate::Refuse(end),
            _ => Gate::Pass,
        }
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        match (&self.0, offer.item) {
            (Mode::AlarmEnd(after, end), Item::Tick) if cx.now >= cx.span.attached + after => Act::End(end.clone()),
            (Mode::FinHold(delay), Item::Fin) if cx.now < offer.arrived + delay => {
                Act::Hold(Until::At(offer.arrived + delay))
            }
            (_, Item::Fin | Item::Tick) => Act::Pass(0),
            _ => self.bytes(cx, offer),
        }
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        match self.0.clone() {
            Mode::AlarmEnd(after, _) => Some(cx.span.attached + after),
            Mode::SpinAlarm => Some(cx.now),
            _ => None,
        }
    }
}

/// A plan of one proxy and one experiment.
pub(super) struct Stand {
    pub(super) cell: Cell,
    pub(super) switch: Arc<Switch>,
}

impl Stand {
    /// The experiment is running since 0.
    pub(super) fn new() -> Stand {
        let cell = Cell::default();
        let switch = cell.switch();
        switch.start(0);
        Stand { cell, switch }
    }

    pub(super) fn active(&self, serial: u64, flow: Option<Flow>, mode: Mode) -> Active {
        let fault = mode.fault();
        let name = FaultRef {
            experiment: "run".into(),
            experiment_name: "test".into(),
            fault: format!("fault-{serial}").into(),
            kind: fault.kind(),
            proxy: "p".into(),
        };
        Active {
            serial,
            draws: DrawKey::new(7, &name.experiment_name, &name.fault),
            name: Arc::new(name),
            flow,
            select: Select {
                percentage: Curve::Constant(100.0),
                ladder: None,
                key: Key::Ordinal,
                count: Count::All,
                cap: None,
            },
            window: Window::default(),
            switch: self.switch.clone(),
            observed: false,
            layer: Layer::Connection,
            bodies: None,
            rule: None,
            stealth: false,
            shared: Arc::from(fault.new_shared()),
            fault,
            tally: Arc::new(Tally::default()),
            on_abort: OnAbort::Release,
            release_over: 0,
        }
    }

    /// One downstream fault per mode.
    pub(super) fn slice(&self, modes: impl IntoIterator<Item = Mode>) -> Arc<Slice> {
        slice(modes.into_iter().zip(1..).map(|(mode, serial)| self.active(serial, Some(DOWN), mode)))
    }
}

pub(super) fn slice(actives: impl IntoIterator<Item = Active>) -> Arc<Slice> {
    Arc::new(Slice::new(actives.into_iter().map(Arc::new).collect(), false))
}

/// The same lineage with another configuration.
pub(super) fn changed(active: &Active, mode: Mode) -> Active {
    active.with(mode.fault())
}

/// The byte at an offset of a flow.
pub(super) fn byte(flow: Flow, offset: u64) -> u8 {
    let mixed = (offset + 1 + flow as u64 * 77).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8
}

/// What came out on one side.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    /// Every write: when, and how many bytes.
    pub(super) writes: Vec<(Time, usize)>,
    pub(super) fin: bool,
    /// How many bytes a test has looked at.
    pub(super) checked: usize,
}

/// A pump over virtual time, as the documentation of the engine asks for it.
pub(super) struct Pump {
    pub(super) talk: Talk,
    pub(super) chain: Option<Box<Chain>>,
    last: Time,
    pub(super) now: Time,
    pub(super) out: [Out; 2],
    sent_fin: [bool; 2],
    pub(super) ended: Option<Ready>,
    pub(super) ended_by: Option<Arc<str>>,
    pub(super) records: Vec<Record>,
    pub(super) next: Option<Time>,
    pub(super) released: usize,
    /// How many slices go in one write.
    pub(super) slots: usize,
}

impl Pump {
    pub(super) fn new(ordinal: u64) -> Pump {
        let mut pump = Pump::at_the_gate(ordinal);
        pump.talk.admit();
        pump
    }

    /// Accepted, and nothing decided yet.
    pub(super) fn at_the_gate(ordinal: u64) -> Pump {
        Pump {
            talk: Talk::new(ordinal, Some("10.0.0.1:999".parse().unwrap()), 0),
            chain: None,
            last: 0,
            now: 0,
            out: Default::default(),
            sent_fin: [false; 2],
            ended: None,
            ended_by: None,
            records: Vec::new(),
            next: None,
            released: 0,
            slots: 8,
        }
    }

    /// Accepted while the slice was in force.
    pub(super) fn on(slice: &Slice) -> Pump {
        let mut pump = Pump::new(0);
        pump.retune(Some(slice));
        pump
    }

    pub(super) fn retune(&mut self, slice: Option<&Slice>) {
        let mut chain = self.chain.take().unwrap_or_default();
        chain.retune(slice, &self.talk, &mut self.last, at(self.now));
        self.chain = Some(chain);
        self.poll();
    }

    pub(super) fn poll(&mut self) -> Polled {
        let Some(chain) = &mut self.chain else { return Polled::default() };
        let polled = chain.poll(&self.talk, at(self.now), &mut self.records);
        self.next = polled.next;
        self.released += usize::from(polled.released);
        self.look();
        polled
    }

    pub(super) fn set(&mut self, now: Time) {
        assert!(now >= self.now);
        self.now = now;
        self.poll();
    }

    /// Reads up to n bytes of a flow and handles them. Returns how many.
    pub(super) fn read(&mut self, flow: Flow, n: usize, by_credit: bool) -> usize {
        let start = self.talk.seen(flow);
        let data = |n: usize| (start..start + n as u64).map(|offset| byte(flow, offset)).collect::<Vec<_>>();
        let Some(chain) = &mut self.chain else {
            self.talk.moved(flow, n);
            self.put(flow, &data(n));
            return n;
        };
        let credit = chain.credit(flow).min(n);
        if by_credit && credit > 0 {
            self.talk.moved(flow, credit);
            chain.skipped(flow, credit, at(self.now));
            self.put(flow, &data(credit));
            self.poll();
            return credit;
        }
        let n = chain.room(flow).min(n);
        if n > 0 {
            self.talk.moved(flow, n);
            chain.push(flow, Bytes::from(data(n)), &self.talk, at(self.now));
            self.poll();
        }
        n
    }

    pub(super) fn fin(&mut self, flow: Flow) {
        self.sent_fin[flow as usize] = true;
        match &mut self.chain {
            Some(chain) => {
                chain.fin(flow, at(self.now));
                self.poll();
            }
            None => self.out[flow as usize].fin = true,
        }
    }

    fn put(&mut self, flow: Flow, bytes: &[u8]) {
        let out = &mut self.out[flow as usize];
        assert!(!out.fin, "bytes after FIN");
        assert!(self.ended.is_none(), "bytes after the end");
        out.bytes.extend_from_slice(bytes);
        out.writes.push((self.now, bytes.len()));
    }

    /// Writes up to `limit` bytes of what is ready, in one write. Returns how many.
    pub(super) fn write(&mut self, flow: Flow, limit: usize) -> usize {
        let Some(chain) = &mut self.chain else { return 0 };
        if self.ended.is_some() || chain.ready(flow) != Ready::Bytes {
            return 0;
        }
        let mut slots = vec![IoSlice::new(&[]); self.slots];
        let filled = chain.slices(flow, &mut slots);
        let bytes: Vec<u8> = slots[..filled].iter().flat_map(|slot| slot.iter().copied()).take(limit).collect();
        chain.wrote(flow, bytes.len());
        self.put(flow, &bytes);
        self.look();
        bytes.len()
    }

    pub(super) fn write_all(&mut self) {
        for flow in [UP, DOWN] {
            while self.write(flow, usize::MAX) > 0 {}
        }
    }

    /// Carries out FIN and the end, and drops a chain that is not needed.
    fn look(&mut self) {
        let Some(chain) = &mut self.chain else { return };
        for flow in [UP, DOWN] {
            match chain.ready(flow) {
                Ready::Fin => {
                    assert!(!self.out[flow as usize].fin, "FIN twice");
                    self.out[flow as usize].fin = true;
                    chain.fin_passed(flow);
                }
                end @ (Ready::Close | Ready::Reset) if self.ended.is_none() => {
                    self.ended = Some(end);
                    self.ended_by = Some(chain.ended_by().unwrap().fault.clone());
                }
                _ => {}
            }
        }
        if self.ended.is_none() && chain.is_idle() {
            self.chain = None;
            self.next = None;
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.chain.as_ref().map_or(0, |chain| chain.queued(UP) + chain.queued(DOWN))
    }

    pub(super) fn is_holding(&self) -> bool {
        self.chain.as_ref().is_some_and(|chain| chain.is_holding())
    }

    pub(super) fn down(&self) -> &[u8] {
        &self.out[DOWN as usize].bytes
    }

    /// The first n bytes that the server sent.
    pub(super) fn sent(n: u64) -> Vec<u8> {
        (0..n).map(|offset| byte(DOWN, offset)).collect()
    }
}

/// Numbers for a test, from its seed.
pub(super) struct Dice(Draw, u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(DrawKey::new(seed, "dice", "test").unit(0), 0)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.1 += 1;
        self.0.at(self.1) % n
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let chosen = usize::try_from(self.below(from.len() as u64)).unwrap();
        from[chosen].clone()
    }

    pub(super) fn size(&mut self) -> usize {
        let most = self.pick(&[1, 10, 300, 3_000, 40_000]);
        1 + usize::try_from(self.below(most)).unwrap()
    }

    pub(super) fn time(&mut self) -> Time {
        let most = self.pick(&[10, MILLI, 20 * MILLI]);
        1 + self.below(most)
    }
}
