//! The engine for datagrams: the faults of one association (all datagrams between one client and the upstream), both
//! directions, without I/O. It is to [`Chain`](super::Chain) what UDP is to TCP: same selection, windows, switches and
//! records, but each datagram is decided about by itself, waits by itself, and may be lost, doubled or overtaken.
//!
//! # How a data plane uses it
//! - An association that no fault selects has no engine, only its [`Talk`] and a count of datagrams per direction.
//! - When an association begins, when the plan of its proxy changes and at each window edge: take its engine or
//!   [`Packets::new`], [`Packets::retune`], [`Packets::poll`], then drop it if [`Packets::is_idle`].
//! - A datagram: [`Packets::push`] with its number, then [`Packets::take`] until nothing is left, both directions.
//! - Poll at the latest at [`Polled::next`]. Polling more often is harmless.
//! - A fault that only observes is asked in a shadow (`packets/shadow.rs`): every datagram goes on at once.
//! - Before each push or poll say how much more may be held ([`Packets::room`]); what does not fit is dropped and counted
//!   ([`Packets::dropped`]): that is squall's own doing and no injection.

mod shadow;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use self::shadow::Shadow;
use self::stage::{Parcel, Stage, Way};
use super::unit::{Moment, Unit, sooner};
use super::{FLOWS, Polled, Talk};
use crate::fault::{Flow, Injection};
use crate::observe::Record;
use crate::plan::{Active, Slice};
use crate::time::{Now, Time};

/// What a held datagram costs besides its bytes, roughly.
pub const OVERHEAD: usize = 128;

/// The faults of one association.
#[derive(Debug, Default)]
pub struct Packets {
    /// By serial.
    members: Vec<Member>,
    way: Way,
    injected: Vec<Injection>,
}

/// A fault's part in the association.
#[derive(Debug)]
struct Member {
    unit: Unit,
    stages: [Stage; 2],
}

impl Member {
    fn acts(&self, flow: Flow) -> bool {
        self.unit.acting && self.unit.active.flow.is_none_or(|only| only == flow)
    }
}

impl Packets {
    /// No faults yet. Allocates nothing.
    pub fn new() -> Packets {
        Packets::default()
    }

    /// Holds the engine against the slice in force: new faults come in, changed ones keep what they remember and are asked
    /// anew about what they hold, those gone let it go. `last` is the time of the previous call for this association
    /// (0: none) and is updated: units are counted once per fault. Poll afterwards.
    pub fn retune(&mut self, slice: Option<&Slice>, talk: &Talk, last: &mut Time, now: Now) {
        let since = std::mem::replace(last, now.mono.max(*last));
        let actives = slice.map_or(&[][..], |slice| &slice.actives);
        for member in &mut self.members {
            let serial = member.unit.active.serial;
            let found = actives.binary_search_by_key(&serial, |active| active.serial);
            member.unit.gone = found.is_err();
            if let Ok(place) = found {
                member.update(&actives[place]);
            }
        }
        let newest = slice.map_or(0, |slice| slice.newest(now));
        if newest > since {
            *last = newest.max(*last);
            self.join(actives, since..*last, talk, now);
        }
    }

    /// Adds the faults whose window was first seen open after the start of the span, up to its end.
    fn join(&mut self, actives: &[Arc<Active>], span: Range<Time>, talk: &Talk, now: Now) {
        let is_in = |opened: Time| opened > span.start && opened <= span.end;
        for active in actives.iter().filter(|active| active.fault.hooks().packet) {
            if active.tally.first_opened().is_some_and(is_in)
                && let Err(index) =
                    self.members.binary_search_by_key(&active.serial, |member| member.unit.active.serial)
                && let Some(unit) = Unit::join(active, talk, now)
            {
                let stages = FLOWS.map(|flow| Stage::new(flow, active, talk.opened, now.mono));
                self.members.insert(index, Member { unit, stages });
            }
        }
    }

    /// Whether no fault is left and nothing waits to be taken: the data plane may drop the engine.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.way.out.iter().all(VecDeque::is_empty)
    }

    /// Says how many more bytes may be held, [`OVERHEAD`] for each datagram included.
    pub fn room(&mut self, bytes: usize) {
        self.way.room = bytes;
    }

    /// A datagram has come: the nth of its direction in the life of the association, from 0. Then [`Packets::take`], and
    /// poll at the time that this returns.
    pub fn push(
        &mut self,
        flow: Flow,
        (number, bytes): (u64, Bytes),
        talk: &Talk,
        now: Now,
        records: &mut Vec<Record>,
    ) -> Polled {
        let polled = self.poll(talk, now, records); // those before it first, and the switches
        let mut injected = std::mem::take(&mut self.injected);
        let mut moment = Moment { now, talk, records, injected: &mut injected, over: false };
        self.pass_on(0, flow, Parcel { number, bytes, ghost: false }, &mut moment);
        self.injected = injected;
        self.note_held();
        Polled { next: self.next(), ..polled }
    }

    /// Looks at switches and windows, and lets go what is due.
    pub fn poll(&mut self, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Polled {
        let mut injected = std::mem::take(&mut self.injected);
        let mut moment = Moment { now, talk, records, injected: &mut injected, over: false };
        let waiting = FLOWS.map(|flow| self.way.out[flow as usize].len());
        let released = self.refresh(&mut moment);
        if released {
            for (out, before) in self.way.out.iter_mut().zip(waiting) {
                out.make_contiguous()[before..].sort_by_key(|parcel| parcel.number);
            }
        }
        for index in 0..self.members.len() {
            for flow in FLOWS {
                self.serve(index, flow, &mut moment);
            }
        }
        self.injected = injected;
        self.members.retain(|member| !member.unit.is_done() || !member.stages.iter().all(Stage::is_empty));
        self.note_held();
        Polled { next: self.next(), released }
    }

    /// The next datagram to send in this direction, in order.
    pub fn take(&mut self, flow: Flow) -> Option<Bytes> {
        self.way.out[flow as usize].pop_front().map(|parcel| parcel.bytes)
    }

    /// Bytes held, [`OVERHEAD`] for each datagram included.
    pub fn held(&self) -> usize {
        self.stages().map(Stage::size).sum()
    }

    /// Datagrams dropped for want of room since the last call.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.way.dropped)
    }

    /// Whether any fault holds a datagram, as of the last call.
    pub fn is_holding(&self) -> bool {
        self.members.iter().any(|member| member.unit.is_held())
    }

    fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.members.iter().flat_map(|member| &member.stages)
    }

    /// Looks at every unit's switch, window and selection; those that no longer act let go of everything, the last of the
    /// chain first: what has come further came earlier.
    fn refresh(&mut self, moment: &mut Moment<'_>) -> bool {
        let mut released = false;
        for index in (0..self.members.len()).rev() {
            let member = &mut self.members[index];
            let acted = member.unit.acting;
            member.unit.refresh(moment.now);
            if !acted && member.unit.acting {
                member.stages.iter_mut().for_each(|stage| stage.span.attached = moment.now.mono);
            }
            for flow in FLOWS {
                released |= !self.members[index].acts(flow) && self.let_go(index, flow, moment);
            }
            let member = &mut self.members[index];
            if !member.unit.acting && member.unit.is_held() {
                member.unit.let_go();
            }
        }
        released
    }

    /// Everything that a fault holds in one direction goes on, in order of arrival, or nowhere.
    fn let_go(&mut self, index: usize, flow: Flow, moment: &mut Moment<'_>) -> bool {
        let Member { unit, stages } = &mut self.members[index];
        stages[flow as usize].shadow = Shadow::default();
        if stages[flow as usize].is_empty() {
            return false;
        }
        let held = stages[flow as usize].drain(&mut self.way);
        let closes = unit.closes_on_abort(moment.now);
        for held in &held {
            held.cut_short(flow, unit, closes, moment);
        }
        if !closes {
            held.into_iter().for_each(|held| self.pass_on(index + 1, flow, held.parcel, moment));
        }
        true
    }

    /// Asks a fault again about what is due there.
    fn serve(&mut self, index: usize, flow: Flow, moment: &mut Moment<'_>) {
        loop {
            let Member { unit, stages } = &mut self.members[index];
            let stage = &mut stages[flow as usize];
            let Some(held) = stage.take_due(moment.now.mono, &mut self.way) else { return };
            if let Some(parcel) = stage.again(held, unit, &mut self.way, moment) {
                self.pass_on(index + 1, flow, parcel, moment);
            }
        }
    }

    /// Offers a datagram to the faults from this one on.
    fn pass_on(&mut self, from: usize, flow: Flow, mut parcel: Parcel, moment: &mut Moment<'_>) {
        for member in self.members.iter_mut().skip(from).filter(|member| member.acts(flow)) {
            let stage = &mut member.stages[flow as usize];
            if member.unit.active.observed {
                parcel = stage.observe(parcel, &mut member.unit, moment);
                continue;
            }
            match stage.arrive(parcel, &mut member.unit, &mut self.way, moment) {
                Some(on) => parcel = on,
                None => return,
            }
        }
        self.way.out[flow as usize].push_back(parcel);
    }

    fn next(&self) -> Option<Time> {
        let edge = self.members.iter().fold(None, |next, member| sooner(next, member.unit.edge));
        self.stages().fold(edge, |next, stage| sooner(next, stage.next()))
    }

    fn note_held(&mut self) {
        for member in &mut self.members {
            member.unit.hold(member.stages.iter().any(|stage| !stage.is_empty()));
        }
    }
}

impl Member {
    fn update(&mut self, active: &Arc<Active>) {
        if Arc::ptr_eq(&self.unit.active, active) {
            return;
        }
        let other_kind = self.unit.active.fault.kind() != active.fault.kind();
        self.unit.adopt(active);
        self.stages.iter_mut().for_each(|stage| stage.reconsider(active, other_kind));
    }
}
