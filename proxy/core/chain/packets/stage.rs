//! One fault in one direction of an association: its memory, and the datagrams that wait at it.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::OVERHEAD;
use super::shadow::Shadow;
use crate::chain::unit::{Moment, Unit, sooner};
use crate::fault::{AnyCx, Datagram, Flow, Injection, Packet, Span, What};
use crate::plan::Active;
use crate::time::{NEVER, Time};

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) number: u64,
    pub(super) bytes: Bytes,
    /// A fault that only observes would have kept it: those behind are not asked about it.
    pub(super) ghost: bool,
}

/// Where datagrams go that no fault holds, and what may be held.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) out: [VecDeque<Parcel>; 2],
    pub(super) room: usize,
    pub(super) dropped: u64,
}

/// A datagram that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) parcel: Parcel,
    arrived: Time,
    /// [`NEVER`]: until a change.
    due: Time,
    /// Its fault has put on record that it waits.
    noted: bool,
    /// Made by the fault, and not to be asked about.
    copy: bool,
    /// It waits, or was the head that waited, among those that keep their order.
    in_line: bool,
    /// Its fault has changed since it was asked.
    changed: bool,
}

impl Held {
    /// One that has just come.
    pub(super) fn new(parcel: Parcel, now: Time) -> Held {
        Held { parcel, arrived: now, due: 0, noted: false, copy: false, in_line: false, changed: false }
    }

    /// When its fault is to be asked again.
    fn when(&self) -> Time {
        if self.changed { 0 } else { self.due }
    }

    fn size(&self) -> usize {
        self.parcel.bytes.len() + OVERHEAD
    }

    /// Puts on record that its fault went off while it waited; `dropped`: and that it goes nowhere.
    pub(super) fn cut_short(&self, flow: Flow, unit: &mut Unit, dropped: bool, moment: &mut Moment<'_>) {
        let bytes = self.parcel.bytes.len() as u64;
        let figures = |what, drawn, achieved| Injection {
            what,
            step: step(flow, self.parcel.number),
            draw: None,
            drawn,
            scheduled: drawn,
            achieved,
        };
        let planned = self.due.saturating_sub(self.arrived);
        match self.due {
            _ if self.copy => {}
            NEVER => unit.cut_short(Some(flow), figures(What::Held, bytes, bytes), self.noted, moment),
            _ => {
                let waited = moment.now.mono.saturating_sub(self.arrived);
                unit.cut_short(Some(flow), figures(What::Delayed, planned, waited), self.noted, moment);
            }
        }
        if dropped {
            unit.cut_short(Some(flow), figures(What::Dropped, bytes, bytes), false, moment);
        }
    }
}

/// The step of a datagram's draws: both directions of an association share one series.
pub(super) fn step(flow: Flow, number: u64) -> u64 {
    number << 1 | flow as u64
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) flow: Flow,
    state: Box<dyn Any + Send>,
    pub(super) span: Span,
    /// In order: the head alone is looked at.
    line: VecDeque<Held>,
    /// By time, and by order of arrival within it.
    free: BTreeMap<(Time, u64), Held>,
    entered: u64,
    /// Bytes of those that wait.
    queued: usize,
    /// Where it only observes: what it would be doing.
    pub(super) shadow: Shadow,
}

impl Stage {
    pub(super) fn new(flow: Flow, active: &Active, opened: Time, now: Time) -> Stage {
        Stage {
            flow,
            state: active.fault.new_state(),
            span: Span { opened, attached: now, ..Span::default() },
            line: VecDeque::new(),
            free: BTreeMap::new(),
            entered: 0,
            queued: 0,
            shadow: Shadow::default(),
        }
    }

    /// The lineage has a new configuration, perhaps of another kind: what waits is asked about again, in its order.
    pub(super) fn reconsider(&mut self, active: &Arc<Active>, other_kind: bool) {
        if other_kind {
            self.state = active.fault.new_state();
            self.shadow = Shadow::default();
        }
        self.line.iter_mut().for_each(|held| held.changed = true);
        for (n, mut held) in std::mem::take(&mut self.free).into_values().enumerate() {
            held.changed = true;
            self.free.insert((0, n as u64), held);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.free.is_empty()
    }

    /// Bytes that it holds, with what they cost.
    pub(super) fn size(&self) -> usize {
        self.queued + (self.line.len() + self.free.len()) * OVERHEAD
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Time> {
        let free = self.free.first_key_value().map(|((due, _), _)| *due);
        sooner(free, self.line.front().map(Held::when).filter(|due| *due != NEVER))
    }

    /// Takes what is due first, if anything is.
    pub(super) fn take_due(&mut self, now: Time, way: &mut Way) -> Option<Held> {
        let due = self.next().filter(|due| *due <= now)?;
        let in_line = self.line.front().is_some_and(|held| held.when() == due);
        let held = if in_line { self.line.pop_front() } else { self.free.pop_first().map(|(_, held)| held) }?;
        self.queued -= held.parcel.bytes.len();
        way.room = way.room.saturating_add(held.size());
        Some(held)
    }

    /// Takes everything, in order of arrival at the association.
    pub(super) fn drain(&mut self, way: &mut Way) -> Vec<Held> {
        way.room = way.room.saturating_add(self.size());
        self.queued = 0;
        let free = std::mem::take(&mut self.free).into_values();
        let mut all: Vec<Held> = self.line.drain(..).chain(free).collect();
        all.sort_by_key(|held| held.parcel.number);
        all
    }

    /// A datagram comes. Returns it if it goes on.
    pub(super) fn arrive(
        &mut self,
        parcel: Parcel,
        unit: &mut Unit,
        way: &mut Way,
        moment: &mut Moment<'_>,
    ) -> Option<Parcel> {
        let now = moment.now.mono;
        self.came(now);
        self.decide(Held::new(parcel, now), None, unit, way, moment)
    }

    pub(super) fn came(&mut self, now: Time) {
        self.span.first.get_or_insert(now);
        self.span.last = Some(now);
    }

    pub(super) fn went(&mut self, bytes: usize, now: Time) {
        self.span.seen += bytes as u64;
        self.span.passed = Some(now);
    }

    /// One that has waited is asked about again. Returns it if it goes on.
    pub(super) fn again(
        &mut self,
        held: Held,
        unit: &mut Unit,
        way: &mut Way,
        moment: &mut Moment<'_>,
    ) -> Option<Parcel> {
        if held.copy {
            return if held.due <= moment.now.mono { Some(held.parcel) } else { self.hold(held, false, way) };
        }
        let due = held.due;
        self.decide(held, Some(due), unit, way, moment)
    }

    fn decide(
        &mut self,
        mut held: Held,
        waited: Option<Time>,
        unit: &mut Unit,
        way: &mut Way,
        moment: &mut Moment<'_>,
    ) -> Option<Parcel> {
        let now = moment.now.mono;
        let before = moment.records.len();
        let packet = self.ask(&held, waited, self.queued, now, unit, moment);
        held.noted |= moment.records.len() > before;
        match packet {
            Packet::Hold(due) if due > now => return self.hold(Held { due, ..held }, false, way),
            Packet::Queue(due) if due > now || !self.line.is_empty() && waited.is_none() => {
                return self.hold(Held { due, ..held }, true, way);
            }
            Packet::Keep => return self.hold(Held { due: NEVER, ..held }, true, way),
            Packet::Drop => return None,
            Packet::Answer(bytes) => {
                let back = 1 - self.flow as usize;
                way.out[back].push_back(Parcel { bytes, ..held.parcel });
                return None;
            }
            Packet::Pass | Packet::Hold(_) | Packet::Queue(_) => {}
            Packet::Replace(bytes) => held.parcel.bytes = bytes,
            Packet::Copy { times, gap } => {
                for n in 1..=u64::from(times) {
                    let due = now.saturating_add(gap.saturating_mul(n));
                    let parcel = held.parcel.clone();
                    self.hold(
                        Held { parcel, arrived: now, due, noted: true, copy: true, in_line: false, changed: false },
                        false,
                        way,
                    );
                }
            }
        }
        self.went(held.parcel.bytes.len(), now);
        Some(held.parcel)
    }

    /// Lets it wait, if there is room.
    fn hold(&mut self, mut held: Held, in_line: bool, way: &mut Way) -> Option<Parcel> {
        let Some(room) = way.room.checked_sub(held.size()) else {
            way.dropped += 1;
            return None;
        };
        way.room = room;
        self.queued += held.parcel.bytes.len();
        self.entered += 1;
        held.changed = false;
        let was_head = std::mem::replace(&mut held.in_line, in_line);
        match (in_line, was_head) {
            (false, _) => drop(self.free.insert((held.due, self.entered), held)),
            (true, false) => self.line.push_back(held),
            (true, true) => self.line.push_front(held),
        }
        None
    }

    /// Asks the fault, at `now` or, where it only observes, in advance; `queued` bytes of others wait.
    pub(super) fn ask(
        &mut self,
        held: &Held,
        waited: Option<Time>,
        queued: usize,
        now: Time,
        unit: &mut Unit,
        moment: &mut Moment<'_>,
    ) -> Packet {
        let active = unit.active.clone();
        let number = held.parcel.number;
        let datagram = Datagram {
            bytes: &held.parcel.bytes,
            number,
            step: step(self.flow, number),
            arrived: held.arrived,
            waited,
            queued,
        };
        let cx = AnyCx {
            state: &mut *self.state,
            shared: &*active.shared,
            draw: unit.draw,
            span: &self.span,
            now,
            elapsed: unit.elapsed_at(now, moment.now.mono),
            flow: self.flow,
            exchange: None,
            injected: moment.injected,
        };
        let packet = active.ask(|fault| fault.packet(cx, &datagram));
        unit.report(Some(self.flow), moment);
        packet
    }
}
