//! A stage that only observes: the fault is asked about each datagram as ever, and nothing that it says is carried out. About
//! one that it would have held it is asked again at that time, in advance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::stage::{Held, Parcel, Stage, step};
use crate::chain::unit::{Moment, Unit};
use crate::fault::{Injection, Packet, What};
use crate::time::{NEVER, Time};

/// How often a fault may decide about one datagram; beyond that it would hold it for good.
const STRIKES: u32 = 64;
/// Datagrams of which it is known that they would be waiting.
const MOST: usize = 1 << 16;

/// What would be waiting at an observing stage.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    /// When each would go on, and its bytes. Those until a change: [`NEVER`].
    waiting: BinaryHeap<Reverse<(Time, usize)>>,
    /// Their bytes.
    queued: usize,
    /// When the last of those in order would go on.
    last: Time,
}

impl Shadow {
    /// Bytes that would be waiting at `now`.
    fn queued(&mut self, now: Time) -> usize {
        while self.waiting.peek().is_some_and(|Reverse((due, _))| *due <= now || self.waiting.len() > MOST)
            && let Some(Reverse((_, bytes))) = self.waiting.pop()
        {
            self.queued -= bytes;
        }
        self.queued
    }

    fn enter(&mut self, until: Time, bytes: usize) {
        self.waiting.push(Reverse((until, bytes)));
        self.queued += bytes;
    }
}

impl Stage {
    /// A datagram passes, and what the fault would have done with it is put on record. One that would not have come this
    /// far, or would not go further, is not shown to it or to those behind it that observe.
    pub(super) fn observe(&mut self, mut parcel: Parcel, unit: &mut Unit, moment: &mut Moment<'_>) -> Parcel {
        if parcel.ghost {
            return parcel;
        }
        let now = moment.now.mono;
        self.came(now);
        let bytes = parcel.bytes.len();
        let queued = self.shadow.queued(now);
        let held = Held::new(parcel.clone(), now);
        let until = self.foresee(&held, queued, unit, moment);
        parcel.ghost = until.is_none_or(|until| until == NEVER);
        if let Some(until) = until.filter(|until| *until > now) {
            self.shadow.enter(until, bytes);
        }
        if !parcel.ghost {
            self.went(bytes, now);
        }
        parcel
    }

    /// Until when it would wait; none: it would go nowhere.
    fn foresee(&mut self, held: &Held, queued: usize, unit: &mut Unit, moment: &mut Moment<'_>) -> Option<Time> {
        let (mut at, mut waited) = (moment.now.mono, None);
        let recorded = moment.records.len();
        for _ in 0..STRIKES {
            let until = match self.ask(held, waited, queued, at, unit, moment) {
                Packet::Hold(due) if due > at => due,
                Packet::Queue(due) if due > at || waited.is_none() && self.shadow.last > at => {
                    self.shadow.last = self.shadow.last.max(due);
                    self.shadow.last
                }
                Packet::Keep => break,
                Packet::Drop | Packet::Answer(_) => return None,
                Packet::Pass | Packet::Hold(_) | Packet::Queue(_) | Packet::Replace(_) | Packet::Copy { .. } => {
                    return Some(at);
                }
            };
            (at, waited) = (until, Some(until));
        }
        if moment.records.len() == recorded {
            let bytes = held.parcel.bytes.len() as u64;
            let (drawn, scheduled, step) = (bytes, bytes, step(self.flow, held.parcel.number));
            let injection = Injection { what: What::Held, step, draw: None, drawn, scheduled, achieved: 0 };
            unit.record(Some(self.flow), injection, false, moment);
        }
        Some(NEVER)
    }
}
