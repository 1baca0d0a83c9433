//! A conversation of one connection over virtual time, on the chain engine.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use crate::cell::Cell;
use crate::chain::{Chain, Ready, Talk};
use crate::curve::Curve;
use crate::draw::{Draw, DrawKey};
use crate::fault::{AnyFault, Flow, What};
use crate::observe::Record;
use crate::plan::{Active, FaultRef, Layer, OnAbort, Slice, Tally};
use crate::select::{Count, Key, Select};
use crate::time::{MILLI, Now, SECOND, Time};
use crate::window::Window;

/// When the connection begins, and the fault's window opens.
pub(crate) const START: Time = 1_000 * SECOND;

pub(super) fn now(mono: Time) -> Now {
    Now { mono, boot: mono }
}

/// A fault on every connection, its experiment running.
pub(crate) fn active(fault: Arc<dyn AnyFault>, flow: Option<Flow>, seed: u64) -> Active {
    let switch = Cell::default().switch();
    switch.start(START);
    let name = FaultRef {
        experiment: "run".into(),
        experiment_name: "contract".into(),
        fault: "fault".into(),
        kind: fault.kind(),
        proxy: "redis".into(),
    };
    Active {
        serial: 1,
        draws: DrawKey::new(seed, &name.experiment_name, &name.fault),
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
        switch,
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

/// How the same bytes are read.
#[derive(Clone, Copy)]
pub(crate) enum Traffic {
    /// Each message in one read.
    Whole,
    /// In reads of random sizes, past the chain where it gives credit.
    Split(u64),
}

/// Messages: when after the start, which way, and how many bytes; 0: FIN.
const MESSAGES: [(Time, Flow, usize); 8] = [
    (0, Flow::Upstream, 700),
    (5, Flow::Downstream, 30_000),
    (40, Flow::Upstream, 500),
    (45, Flow::Downstream, 2_000),
    (60, Flow::Upstream, 100),
    (61, Flow::Downstream, 3),
    (100, Flow::Upstream, 0),
    (101, Flow::Downstream, 0),
];

pub(crate) struct Pump {
    pub(super) talk: Talk,
    pub(super) chain: Chain,
    pub(super) now: Time,
    /// What came out, byte by byte, with its time.
    pub(crate) out: [Vec<(Time, u8)>; 2],
    pub(super) ended: Option<(Time, Ready)>,
    pub(super) records: Vec<Record>,
    fin: [bool; 2],
    last: Time,
    next: Option<Time>,
    input: VecDeque<(Time, Flow, usize)>,
    dice: Option<(Draw, u64)>,
}

/// The whole conversation and ten seconds more; in the middle of it `again` is published.
pub(crate) fn traffic(slice: &Slice, how: Traffic, again: Option<&Slice>) -> Pump {
    let mut pump = Pump::new(slice);
    pump.schedule(how);
    if let Some(again) = again {
        for ms in [3, 7, 20, 41, 50] {
            pump.run(ms * MILLI);
            pump.retune(if ms == 7 { slice } else { again });
        }
    }
    pump.run(10 * SECOND);
    pump
}

impl Pump {
    /// A connection that was established before the fault.
    pub(super) fn new(slice: &Slice) -> Pump {
        let mut pump = Pump::accepted();
        pump.talk.admit();
        pump.retune(slice);
        pump
    }

    /// A connection that has just been accepted and waits at the gate.
    pub(super) fn at_the_gate(slice: &Slice) -> Pump {
        let mut pump = Pump::accepted();
        pump.retune(slice);
        pump
    }

    fn accepted() -> Pump {
        Pump {
            talk: Talk::new(0, None, START),
            chain: Chain::new(),
            now: START,
            out: Default::default(),
            ended: None,
            records: Vec::new(),
            fin: [false; 2],
            last: 0,
            next: None,
            input: VecDeque::new(),
            dice: None,
        }
    }

    pub(super) fn schedule(&mut self, how: Traffic) {
        self.input = MESSAGES.iter().map(|(ms, flow, n)| (START + ms * MILLI, *flow, *n)).collect();
        if let Traffic::Split(seed) = how {
            self.dice = Some((DrawKey::new(seed, "dice", "").unit(0), 0));
        }
    }

    fn retune(&mut self, slice: &Slice) {
        self.chain.retune(Some(slice), &self.talk, &mut self.last, now(self.now));
        self.poll();
    }

    pub(super) fn poll(&mut self) {
        self.next = self.chain.poll(&self.talk, now(self.now), &mut self.records).next;
        self.write();
    }

    /// Lets time run until so long after the start.
    pub(super) fn run(&mut self, end: Time) {
        for _ in 0..1_000_000 {
            self.read();
            let input = self.input.front().map(|(at, ..)| *at);
            let next = self.next.into_iter().chain(input).min().filter(|next| *next <= START + end);
            let (Some(next), None) = (next, self.ended) else {
                self.now = START + end;
                return;
            };
            self.now = self.now.max(next);
            self.poll();
        }
        panic!("no end");
    }

    fn read(&mut self) {
        while let Some((_, flow, n)) = self.input.pop_front_if(|(at, ..)| *at <= self.now) {
            let mut left = n;
            while left > 0 && self.ended.is_none() {
                left -= self.read_some(flow, left);
            }
            if n == 0 && self.ended.is_none() {
                self.chain.fin(flow, now(self.now));
                self.poll();
            }
        }
    }

    fn read_some(&mut self, flow: Flow, left: usize) -> usize {
        let mut n = left;
        if let Some((draw, step)) = &mut self.dice {
            *step += 1;
            let most = [1, 10, 2_000][usize::try_from(draw.at(*step) % 3).unwrap()];
            n = 1 + usize::try_from(draw.at(*step) / 3 % most).unwrap();
            n = n.min(left);
        }
        let from = self.talk.seen(flow);
        let credit = self.chain.credit(flow).min(n);
        if self.dice.is_some() && credit > 0 {
            self.talk.moved(flow, credit);
            self.chain.skipped(flow, credit, now(self.now));
            let bytes = (from..from + credit as u64).map(|offset| (self.now, byte(flow, offset)));
            self.out[flow as usize].extend(bytes);
            self.poll();
            return credit;
        }
        assert!(self.chain.room(flow) >= n, "the conversation fits in every queue");
        let bytes: Vec<u8> = (from..from + n as u64).map(|offset| byte(flow, offset)).collect();
        self.talk.moved(flow, n);
        self.chain.push(flow, Bytes::from(bytes), &self.talk, now(self.now));
        self.poll();
        n
    }

    fn write(&mut self) {
        for flow in [Flow::Upstream, Flow::Downstream] {
            while self.chain.ready(flow) == Ready::Bytes {
                let mut slots = [IoSlice::new(&[]); 8];
                let filled = self.chain.slices(flow, &mut slots);
                let bytes: Vec<u8> = slots[..filled].iter().flat_map(|slot| slot.iter().copied()).collect();
                self.chain.wrote(flow, bytes.len());
                self.out[flow as usize].extend(bytes.into_iter().map(|byte| (self.now, byte)));
            }
            match self.chain.ready(flow) {
                Ready::Fin => {
                    self.fin[flow as usize] = true;
                    self.chain.fin_passed(flow);
                }
                end @ (Ready::Close | Ready::Reset) => drop(self.ended.get_or_insert((self.now, end))),
                Ready::Bytes | Ready::Nothing => {}
            }
        }
    }

    pub(super) fn is_holding(&self) -> bool {
        self.chain.is_holding()
    }

    pub(super) fn bytes(&self, flow: Flow) -> Vec<u8> {
        self.out[flow as usize].iter().map(|(_, byte)| *byte).collect()
    }

    /// What was read so far.
    pub(super) fn sent(&self, flow: Flow) -> Vec<u8> {
        (0..self.talk.seen(flow)).map(|offset| byte(flow, offset)).collect()
    }

    /// Everything that was drawn, whatever the order.
    pub(super) fn drawn(&self) -> Vec<(What, u64, Option<u64>, u64)> {
        let drawn = self.records.iter().map(|record| record.injection).filter(|injection| injection.draw.is_some());
        let mut drawn: Vec<_> = drawn.map(|i| (i.what, i.step, i.draw, i.drawn)).collect();
        drawn.sort_by_key(|(what, step, ..)| (format!("{what:?}"), *step));
        drawn
    }

    pub(super) fn assert_untouched(&self, what: &str) {
        for flow in [Flow::Upstream, Flow::Downstream] {
            assert_eq!(self.bytes(flow), self.sent(flow), "{what}");
            let sent = MESSAGES.iter().filter(|(_, way, _)| *way == flow);
            let times: Vec<Time> = sent.flat_map(|(ms, _, n)| std::iter::repeat_n(START + ms * MILLI, *n)).collect();
            assert!(self.out[flow as usize].iter().map(|(time, _)| *time).eq(times), "{what}: late");
        }
        assert_eq!((self.fin, self.ended), ([true; 2], None), "{what}");
    }
}

fn byte(flow: Flow, offset: u64) -> u8 {
    ((offset + 1 + flow as u64 * 77).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}
