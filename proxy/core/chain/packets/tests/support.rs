//! An association in virtual time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use toml::de::DeTable;

use super::super::Packets;
use crate::cell::Cell;
use crate::chain::Talk;
use crate::curve::Curve;
use crate::draw::DrawKey;
use crate::fault::registry::kind;
use crate::fault::{AnyFault, Flow};
use crate::observe::Record;
use crate::plan::{Active, FaultRef, Layer, OnAbort, Slice, Tally};
use crate::select::{Count, Key, Select};
use crate::time::{Now, Time};
use crate::window::Window;

pub(super) const UP: Flow = Flow::Upstream;
pub(super) const DOWN: Flow = Flow::Downstream;
/// Lab time 0 on the monotonic clock.
const START: Time = 1_000_000_000_000;
/// Bytes of a datagram.
const SIZE: usize = 100;

/// A kind of the registry in its own direction, running since the start.
pub(super) fn real(name: &str, fields: &str) -> Active {
    let entry = kind(name).unwrap();
    let made = (entry.make)(DeTable::parse(fields).unwrap());
    let made = made.unwrap_or_else(|misfit| panic!("{name} {fields}: {misfit:?}"));
    active(made.fault, entry.direction)
}

pub(super) fn active(fault: Arc<dyn AnyFault>, flow: Option<Flow>) -> Active {
    let switch = Cell::default().switch();
    switch.start(START);
    let name = FaultRef {
        experiment: "run".into(),
        experiment_name: "test".into(),
        fault: fault.kind().into(),
        kind: fault.kind(),
        proxy: "p".into(),
    };
    Active {
        serial: 0,
        draws: DrawKey::new(1, "test", fault.kind()),
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
        shared: Arc::from(fault.new_shared()),
        fault,
        tally: Arc::new(Tally::default()),
        on_abort: OnAbort::Release,
        release_over: 0,
        observed: false,
        layer: Layer::Connection,
        bodies: None,
        rule: None,
        stealth: false,
    }
}

/// Faults in this order.
pub(super) fn slice(faults: Vec<Arc<Active>>) -> Arc<Slice> {
    Arc::new(Slice::new(faults, false))
}

/// The nth datagram of a direction.
pub(super) fn payload(number: u64) -> Bytes {
    let mut bytes = vec![0; SIZE];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Bytes::from(bytes)
}

pub(super) struct Lab {
    pub(super) packets: Packets,
    pub(super) faults: Vec<Arc<Active>>,
    pub(super) records: Vec<Record>,
    /// What may be held.
    pub(super) room: usize,
    pub(super) dropped: u64,
    talk: Talk,
    last: Time,
    now: Time,
    next: Option<Time>,
    numbers: [u64; 2],
    entry: Time,
    input: VecDeque<(Time, Flow)>,
    /// What came out: when, and the datagram's number.
    out: [Vec<(Time, u64)>; 2],
    /// The datagrams themselves.
    pub(super) bytes: [Vec<Bytes>; 2],
}

impl Lab {
    pub(super) fn new(faults: Vec<Active>) -> Lab {
        let faults = faults.into_iter().zip(1..).map(|(fault, serial)| Arc::new(Active { serial, ..fault }));
        Lab::on(&slice(faults.collect()), Talk::new(0, None, START))
    }

    pub(super) fn on(slice: &Arc<Slice>, talk: Talk) -> Lab {
        let mut lab = Lab {
            packets: Packets::new(),
            faults: slice.actives.clone(),
            records: Vec::new(),
            room: usize::MAX,
            dropped: 0,
            talk,
            last: 0,
            now: START,
            next: None,
            numbers: [0; 2],
            entry: 0,
            input: VecDeque::new(),
            out: Default::default(),
            bytes: Default::default(),
        };
        lab.retune(slice);
        lab
    }

    fn clock(&self) -> Now {
        Now { mono: self.now, boot: self.now }
    }

    fn retune(&mut self, slice: &Slice) {
        let now = self.clock();
        self.packets.retune(Some(slice), &self.talk, &mut self.last, now);
        self.poll();
    }

    /// Publishes the faults with a new configuration for one of them.
    pub(super) fn change(&mut self, index: usize, to: Active) {
        let before = &self.faults[index];
        let (serial, tally) = (before.serial, before.tally.clone());
        let (shared, switch) = (before.shared.clone(), before.switch.clone());
        self.faults[index] = Arc::new(Active { serial, tally, shared, switch, ..to });
        self.retune(&slice(self.faults.clone()));
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.faults.remove(index);
        self.retune(&slice(self.faults.clone()));
    }

    /// When the next datagram arrives, from the start.
    pub(super) fn at(&mut self, time: Time) -> &mut Lab {
        self.entry = START + time;
        self
    }

    pub(super) fn send(&mut self, flow: Flow) {
        self.input.push_back((self.entry, flow));
    }

    pub(super) fn poll(&mut self) {
        self.packets.room(self.room.saturating_sub(self.packets.held()));
        self.next = self.packets.poll(&self.talk, self.clock(), &mut self.records).next;
        self.gather();
    }

    fn gather(&mut self) {
        for flow in [UP, DOWN] {
            while let Some(bytes) = self.packets.take(flow) {
                let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                self.out[flow as usize].push((self.now - START, number));
                self.bytes[flow as usize].push(bytes);
            }
        }
        self.dropped += self.packets.dropped();
        assert!(self.room == usize::MAX || self.packets.held() <= self.room);
    }

    /// Lets time run until so long after the start.
    pub(super) fn run(&mut self, end: Time) {
        for _ in 0..2_000_000 {
            while let Some((_, flow)) = self.input.pop_front_if(|(at, _)| *at <= self.now) {
                let number = self.numbers[flow as usize];
                self.numbers[flow as usize] += 1;
                self.packets.room(self.room.saturating_sub(self.packets.held()));
                let now = self.clock();
                let datagram = (number, payload(number));
                self.next = self.packets.push(flow, datagram, &self.talk, now, &mut self.records).next;
                self.gather();
            }
            let input = self.input.front().map(|(at, _)| *at);
            let next = self.next.into_iter().chain(input).min().filter(|next| *next <= START + end);
            let Some(next) = next else {
                self.now = START + end;
                return;
            };
            assert!(next > self.now || input == Some(next), "it wants to be asked about the past");
            self.now = self.now.max(next);
            self.poll();
        }
        panic!("no end");
    }

    pub(super) fn sent(&self, flow: Flow) -> u64 {
        self.numbers[flow as usize]
    }

    pub(super) fn out(&self, flow: Flow) -> Vec<(Time, u64)> {
        self.out[flow as usize].clone()
    }
}
