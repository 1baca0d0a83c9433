//! The chain engine: the faults of one connection, both directions, without I/O. The pump pushes what it has read, polls
//! for decisions, writes what is ready and says how much it wrote.
//!
//! # How a pump uses it
//! - A connection without faults has no chain, only its [`Talk`]. When a connection is accepted, when the plan of its
//!   proxy changes and at each window edge of its proxy: take its chain or [`Chain::new`], [`Chain::retune`], then
//!   [`Chain::poll`] (always, before anything else: it carries out what the retune changed), then drop the chain if
//!   [`Chain::is_idle`].
//! - On accept, before the upstream is dialled: [`Chain::gate`]. On `Hold` nothing is read; it is asked again at the
//!   time it names, and after every retune. Once it says `Pass`, or if there is no chain: [`Talk::admit`]. Before that
//!   polls only look at switches and windows, and no fault is asked about bytes or alarms.
//! - Bytes: read at most [`Chain::room`], [`Talk::moved`], [`Chain::push`], [`Chain::poll`]. Or, while [`Chain::credit`]
//!   is not 0, move up to so many bytes past the chain (splice, or through the worker's own buffer), calling
//!   [`Talk::moved`] and [`Chain::skipped`] for what was read, then [`Chain::poll`] too: that may have been the last byte
//!   that a fault lets by. Bytes that were read that way and are not yet written go out before any that the chain has
//!   ready; push nothing until they have gone.
//! - Never retune between `moved` and the `push` or `skipped` that belongs to it.
//! - EOF of a sender: [`Chain::fin`], [`Chain::poll`]. A connection without chain, or whose chain was dropped, relays it
//!   itself.
//! - Poll at the latest at [`Polled::next`]: for deadlines, alarms, windows and percentages. Polling more often is
//!   harmless: a stage on hold is not asked again.
//! - After each poll look at [`Chain::ready`] for both directions, and after each [`Chain::wrote`] for that one.
//!   `Fin`: shut down the receiver's side, then [`Chain::fin_passed`]. `Close` and `Reset` are for the whole connection:
//!   try once, without waiting, to write what the other direction has ready, then end both sides;
//!   [`Chain::ended_by`] says which fault did it.
//! - [`Polled::released`]: this connection was held and is let go (count it in the shard's report); it has drained when
//!   [`Chain::queued`] is 0 in both directions.

mod exchange;
mod line;
pub mod packets;
mod queue;
mod stage;
mod talk;
mod unit;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub use self::exchange::Ruled;
use self::line::Line;
use self::queue::{Ended, Tail};
pub use self::talk::{Dialogue, Level, Talk};
use self::unit::{Moment, Unit, Wait, sooner};
use crate::fault::{Flow, Gate, Injection, Opening, Phase, Until, What};
use crate::observe::Record;
use crate::plan::{Active, FaultRef, Layer, Slice};
use crate::time::{Now, Time};

const FLOWS: [Flow; 2] = [Flow::Upstream, Flow::Downstream];

/// What the pump is to do next in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Nothing for now.
    Nothing,
    /// Bytes to write, in order: lay them out with [`Chain::slices`], say how many went with [`Chain::wrote`].
    Bytes,
    /// Everything before it is written: close this direction (the other side's FIN, passed on), then
    /// [`Chain::fin_passed`].
    Fin,
    /// Everything before it is written: a fault closes the connection, both sides with FIN.
    Close,
    /// Everything before it is written: a fault resets the connection, both sides.
    Reset,
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// When to poll again at the latest, monotonic ns; none: only when bytes come or the plan changes.
    pub next: Option<Time>,
    /// Whether a fault that held something was lifted (abort, pause, end of its window, removal), so that the
    /// connection goes on or is ended.
    pub released: bool,
}

/// The faults of one connection. Exists only while there are any, or while something is queued.
#[derive(Debug)]
pub struct Chain {
    /// By serial.
    units: Vec<Unit>,
    lines: [Line; 2],
    /// When the latest byte of each direction came.
    heard: [Option<Time>; 2],
    killed: Option<Ended>,
    injected: Vec<Injection>,
}

impl Default for Chain {
    fn default() -> Self {
        Chain::new()
    }
}

impl Chain {
    /// No faults yet. Allocates nothing.
    pub fn new() -> Chain {
        Chain { units: Vec::new(), lines: FLOWS.map(Line::new), heard: [None; 2], killed: None, injected: Vec::new() }
    }

    /// Holds the chain against the slice in force: new faults are appended, changed ones keep what they have counted,
    /// those gone pass everything until they are drained. `last` is the time of the previous call for this connection
    /// (0: none) and is updated: units are counted once per fault. Poll afterwards.
    pub fn retune(&mut self, slice: Option<&Slice>, talk: &Talk, last: &mut Time, now: Now) {
        for unit in &mut self.units {
            unit.gone = true;
        }
        let since = std::mem::replace(last, now.mono.max(*last));
        let Some(slice) = slice else { return };
        for index in 0..self.units.len() {
            let serial = self.units[index].active.serial;
            if let Ok(place) = slice.actives.binary_search_by_key(&serial, |active| active.serial) {
                self.update(index, &slice.actives[place], talk, now.mono);
            }
        }
        let newest = slice.newest(now);
        if newest > since {
            *last = newest.max(*last);
            let Some(dialogue) = talk.dialogue() else {
                return self.join(&slice.meeting(talk), since..*last, talk, now);
            };
            let mut matching = Vec::new();
            slice.matching(talk, false, &mut matching);
            if dialogue.response.is_some() {
                slice.matching(talk, true, &mut matching);
            }
            self.join(&matching, since..*last, talk, now);
        }
    }

    /// A connection that might have carried HTTP exchanges carries bytes: faults that act on either join. `last` as in
    /// [`Chain::retune`], which is called before.
    pub fn join_either(&mut self, slice: &Slice, talk: &Talk, last: Time, now: Now) {
        let either = |active: &&Arc<Active>| matches!(active.layer, Layer::Either(_));
        let actives: Vec<_> = slice.actives.iter().filter(either).cloned().collect();
        self.join(&actives, 0..last, talk, now);
    }

    /// Adds a unit for each of these faults whose window was first seen open after the start of the span, up to its end.
    fn join(&mut self, actives: &[Arc<Active>], span: Range<Time>, talk: &Talk, now: Now) {
        let is_in = |opened: Time| opened > span.start && opened <= span.end;
        let new = |active: &&Arc<Active>| active.tally.first_opened().is_some_and(is_in);
        for active in actives.iter().filter(new) {
            if applies(active, talk)
                && let Err(index) = self.units.binary_search_by_key(&active.serial, |unit| unit.active.serial)
                && let Some(unit) = Unit::join(active, talk, now)
            {
                self.insert(index, unit, talk, now.mono);
            }
        }
    }

    fn insert(&mut self, index: usize, unit: Unit, talk: &Talk, now: Time) {
        self.units.insert(index, unit);
        for line in &mut self.lines {
            for stage in line.stages.iter_mut().filter(|stage| stage.unit >= index) {
                stage.unit += 1;
            }
        }
        self.attach(index, talk, now);
    }

    /// Gives the unit its stages, where it has none and needs one.
    fn attach(&mut self, index: usize, talk: &Talk, now: Time) {
        for (line, flow) in self.lines.iter_mut().zip(FLOWS) {
            let streams = self.units[index].streams(flow);
            match line.stages.iter_mut().find(|stage| stage.unit == index) {
                Some(stage) => stage.gone = !streams,
                None if streams => line.attach(index, &self.units, talk, now),
                None => {}
            }
        }
    }

    fn update(&mut self, index: usize, active: &Arc<Active>, talk: &Talk, now: Time) {
        let unit = &mut self.units[index];
        unit.gone = false;
        if Arc::ptr_eq(&unit.active, active) {
            return;
        }
        let other_kind = unit.active.fault.kind() != active.fault.kind();
        unit.adopt(active);
        for stage in self.lines.iter_mut().flat_map(|line| &mut line.stages).filter(|stage| stage.unit == index) {
            stage.reconsider(unit, other_kind);
        }
        self.attach(index, talk, now);
    }

    /// Whether no fault has joined, or all are gone.
    pub fn is_empty(&self) -> bool {
        self.killed.is_none() && self.units.is_empty()
    }

    /// Whether no fault is left and nothing is queued: the pump may drop the chain.
    pub fn is_idle(&self) -> bool {
        self.killed.is_none() && !self.units.iter().any(Unit::is_for_the_gate) && self.lines.iter().all(Line::is_idle)
    }

    /// Asks the faults about a connection being opened, in the order of the chain. On `Hold` it is asked again at that
    /// time or after the next retune; a fault that has let it by is not asked again.
    pub fn gate(&mut self, opening: &Opening, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Gate {
        let mut injected = std::mem::take(&mut self.injected);
        let mut moment = Moment { now, talk, records, injected: &mut injected, over: false };
        self.refresh(&mut moment);
        let gate = self.ask_gates(opening, &mut moment);
        let over = moment.over;
        self.injected = injected;
        if over {
            self.leave_observed();
        }
        for unit in &mut self.units {
            unit.hold(unit.waiting.is_some());
        }
        gate
    }

    fn ask_gates(&mut self, opening: &Opening, moment: &mut Moment<'_>) -> Gate {
        if let Some(ended) = &self.killed {
            return Gate::Refuse(ended.how.clone());
        }
        let edge = self.units.iter().fold(None, |edge, unit| sooner(edge, unit.edge));
        for (index, unit) in self.units.iter_mut().enumerate() {
            if let Some(at) = unit.parting().filter(|_| unit.waiting.is_some()) {
                return Gate::Hold(Until::At(at));
            }
            if !unit.asks_gate(moment.now.mono) {
                match unit.waiting {
                    Some(wait) => return unit::gate_hold(wait, edge),
                    None => continue,
                }
            }
            let stage = self.lines.iter_mut().flat_map(|line| &mut line.stages).find(|stage| stage.unit == index);
            let recorded = moment.records.len();
            if unit.active.observed {
                observe_gate(unit, stage, opening, moment);
                continue;
            }
            let now = moment.now.mono;
            let (gate, again) = match stage {
                Some(stage) => (stage.open(unit, opening, now, moment), stage.alarm(unit, moment)),
                None => (unit.open_alone(opening, now, moment), None),
            };
            match gate {
                Gate::Pass => unit.let_by(None),
                Gate::Tls(flaw) => unit.let_by(Some(flaw)),
                Gate::Hold(until) => {
                    let before = unit.waiting;
                    let since = before.map_or(moment.now.mono, |wait| wait.since);
                    let noted = before.is_some_and(|wait| wait.noted) || moment.records.len() > recorded;
                    let wait = Wait { since, until, again, noted };
                    unit.waiting = Some(wait);
                    return unit::gate_hold(wait, edge);
                }
                Gate::Refuse(how) => {
                    unit.waiting = None;
                    self.killed = Some(Ended::new(how.clone(), unit));
                    return Gate::Refuse(how);
                }
            }
        }
        self.units.iter().find_map(Unit::flaw).map_or(Gate::Pass, Gate::Tls)
    }

    /// The fault that has given the TLS handshake its flaw, once [`Chain::gate`] says so.
    pub fn flawed_by(&self) -> Option<&Arc<FaultRef>> {
        self.units.iter().find(|unit| unit.flaw().is_some()).map(|unit| &unit.active.name)
    }

    /// How many bytes may be read and pushed now; 0: back-pressure, or nothing is taken any more.
    pub fn room(&self, flow: Flow) -> usize {
        self.lines[flow as usize].room(&self.units)
    }

    /// How many bytes may go past the chain (splice, or the worker's buffer), because every fault has passed them in
    /// advance and nothing is queued; [`crate::fault::ALL`]: without limit.
    pub fn credit(&self, flow: Flow) -> usize {
        self.lines[flow as usize].credit(&self.units)
    }

    /// n bytes went past the chain: at most [`Chain::credit`].
    pub fn skipped(&mut self, flow: Flow, n: usize, now: Now) {
        self.heard[flow as usize] = Some(now.mono);
        self.lines[flow as usize].skipped(n, now.mono);
    }

    /// Bytes that were read; call [`Talk::moved`] first. After an end they are dropped.
    pub fn push(&mut self, flow: Flow, bytes: Bytes, talk: &Talk, now: Now) {
        self.heard[flow as usize] = Some(now.mono);
        let asked = self.asked(flow, talk);
        self.lines[flow as usize].push(bytes, asked, talk, now.mono);
    }

    /// Since when the other side waits for bytes of this direction.
    fn asked(&self, flow: Flow, talk: &Talk) -> Option<Time> {
        let other = match flow {
            Flow::Upstream => Flow::Downstream,
            Flow::Downstream => Flow::Upstream,
        };
        self.heard[other as usize].or_else(|| (talk.seen(other) == 0).then_some(talk.opened))
    }

    /// Whether a fault keeps from this direction's receiver that its sender has failed: the pump passes nothing on, drops
    /// what is for the one that failed, and looks again after each poll.
    pub fn is_silent(&self, flow: Flow) -> bool {
        self.killed.is_none() && self.lines[flow as usize].is_silent(&self.units)
    }

    /// The sender closed its side.
    pub fn fin(&mut self, flow: Flow, now: Now) {
        self.lines[flow as usize].fin(now.mono);
    }

    /// Lets the faults decide as far as they can.
    pub fn poll(&mut self, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Polled {
        let mut injected = std::mem::take(&mut self.injected);
        let mut moment = Moment { now, talk, records, injected: &mut injected, over: false };
        if talk.is_admitted() {
            self.units.iter_mut().filter(|unit| unit.is_for_the_gate()).for_each(|unit| unit.gone = true);
        }
        let released = self.refresh(&mut moment);
        let mut next = None;
        for line in &mut self.lines {
            if self.killed.is_some() || !talk.is_admitted() {
                break;
            }
            match line.run(&mut self.units, &mut moment) {
                Ok(at) => next = sooner(next, at),
                Err(ended) => self.killed = Some(ended),
            }
        }
        let over = moment.over;
        self.injected = injected;
        if over {
            self.leave_observed();
        }
        if self.killed.is_some() {
            self.lines.iter_mut().for_each(Line::kill);
            next = None;
        } else {
            next = self.units.iter().fold(next, |next, unit| sooner(next, unit.edge));
        }
        self.drop_gone();
        self.note_held();
        Polled { next, released }
    }

    /// A fault that only observes would have ended the connection.
    fn leave_observed(&mut self) {
        self.units.iter_mut().filter(|unit| unit.active.observed).for_each(Unit::leave);
    }

    /// Looks at every unit's switch, window and selection, and carries out what has changed.
    fn refresh(&mut self, moment: &mut Moment<'_>) -> bool {
        let mut released = false;
        for index in 0..self.units.len() {
            let unit = &mut self.units[index];
            let acted = unit.acting || unit.parting().is_some();
            unit.refresh(moment.now);
            match (acted, unit.acting || unit.parting().is_some()) {
                (false, true) => {
                    let stages = self.lines.iter_mut().flat_map(|line| &mut line.stages);
                    stages.filter(|stage| stage.unit == index).for_each(|stage| stage.start(moment.now.mono));
                }
                (true, false) => released |= self.stop(index, moment),
                _ => {}
            }
        }
        released
    }

    /// Lets go of what a unit holds. Returns whether it held anything.
    fn stop(&mut self, index: usize, moment: &mut Moment<'_>) -> bool {
        let held = self.units[index].is_held();
        if let Some(ended) = self.units[index].stop_waiting(moment) {
            self.killed.get_or_insert(ended);
        }
        for line in &mut self.lines {
            if let Some(ended) = line.stop(index, &mut self.units, moment) {
                self.killed.get_or_insert(ended);
            }
        }
        self.units[index].withheld = false;
        if held {
            self.units[index].let_go();
        }
        held
    }

    fn drop_gone(&mut self) {
        for index in (0..self.units.len()).rev() {
            let in_use = |line: &Line| line.stages.iter().any(|stage| stage.unit == index);
            if !self.units[index].is_done() {
                continue;
            }
            for line in &mut self.lines {
                line.stages.retain(|stage| stage.unit != index || !stage.queue.is_idle());
            }
            if self.lines.iter().any(in_use) {
                continue;
            }
            self.units.remove(index);
            for stage in self.lines.iter_mut().flat_map(|line| &mut line.stages) {
                if stage.unit > index {
                    stage.unit -= 1;
                }
            }
        }
    }

    fn note_held(&mut self) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            let mut stages = self.lines.iter().flat_map(|line| &line.stages);
            unit.hold(unit.waiting.is_some() || stages.any(|stage| stage.unit == index && stage.is_holding()));
        }
    }

    /// What the pump is to do in one direction.
    pub fn ready(&self, flow: Flow) -> Ready {
        let end = |ended: &Ended| if ended.how.is_reset() { Ready::Reset } else { Ready::Close };
        if let Some(ended) = &self.killed {
            return end(ended);
        }
        let line = &self.lines[flow as usize];
        if line.out.len() > 0 {
            return Ready::Bytes;
        }
        match (&line.out.tail, self.finished()) {
            (Tail::End(ended), _) | (_, Some(ended)) => end(ended),
            (Tail::Fin(_), None) => Ready::Fin,
            (Tail::Open, None) => Ready::Nothing,
        }
    }

    /// The end that a fault made and before which everything is written.
    fn finished(&self) -> Option<&Ended> {
        self.lines.iter().filter(|line| line.out.len() == 0).find_map(|line| match &line.out.tail {
            Tail::End(ended) => Some(ended),
            Tail::Open | Tail::Fin(_) => None,
        })
    }

    /// The fault that has ended the connection, once [`Chain::ready`] says so ([`Chain::gate`] refusals too).
    pub fn ended_by(&self) -> Option<&Arc<FaultRef>> {
        self.killed.as_ref().or_else(|| self.finished()).map(|ended| &ended.by)
    }

    /// Lays out what may go in one write now (never across a piece boundary); returns how many slots it filled.
    pub fn slices<'a>(&'a self, flow: Flow, slots: &mut [std::io::IoSlice<'a>]) -> usize {
        self.lines[flow as usize].slices(slots)
    }

    /// The pump wrote n bytes of what was ready.
    pub fn wrote(&mut self, flow: Flow, n: usize) {
        self.lines[flow as usize].wrote(n);
    }

    /// The pump carried out [`Ready::Fin`].
    pub fn fin_passed(&mut self, flow: Flow) {
        let tail = &mut self.lines[flow as usize].out.tail;
        if matches!(tail, Tail::Fin(_)) {
            *tail = Tail::Open;
        }
    }

    /// The share of this direction's packets that the kernel is to drop now, 0 to 1. Several faults drop independently.
    pub fn vanishing(&self, flow: Flow) -> f64 {
        let units = self.units.iter().filter(|unit| unit.streams(flow));
        1.0 - units.fold(1.0, |kept, unit| kept * (1.0 - unit.vanishes()))
    }

    /// Under which fault's name that is counted, and what stands for the connection in its draws.
    pub fn vanishes_by(&self, flow: Flow) -> Option<(&Arc<Active>, u64)> {
        let unit = self.units.iter().find(|unit| unit.streams(flow) && unit.vanishes() > 0.0)?;
        Some((&unit.active, unit.draw.unit()))
    }

    /// Bytes queued in this direction, held or ready.
    pub fn queued(&self, flow: Flow) -> usize {
        self.lines[flow as usize].queued()
    }

    /// Whether anything is held back by a fault, as of the last poll or gate.
    pub fn is_holding(&self) -> bool {
        self.units.iter().any(Unit::is_held)
    }
}

/// Asks a fault that only observes about the connection being opened, again at each time at which it would have let it
/// by, and lets it by in any case.
fn observe_gate(unit: &mut Unit, mut stage: Option<&mut stage::Stage>, opening: &Opening, moment: &mut Moment<'_>) {
    let mut now = moment.now.mono;
    let recorded = moment.records.len();
    unit.admitted = true;
    for _ in 0..stage::STRIKES {
        if moment.over {
            return;
        }
        let gate = match &mut stage {
            Some(stage) => stage.open(unit, opening, now, moment),
            None => unit.open_alone(opening, now, moment),
        };
        match gate {
            Gate::Pass | Gate::Tls(_) => return,
            Gate::Refuse(_) => moment.over = true,
            Gate::Hold(Until::At(at)) => now = now.max(at),
            Gate::Hold(Until::Change) => break,
        }
    }
    if moment.over {
        return;
    }
    unit.withheld = true;
    if moment.records.len() == recorded {
        let injection = Injection { what: What::Held, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 };
        unit.record(None, injection, false, moment);
    }
}

/// Whether the fault can act on the connection as far as it has come.
fn applies(active: &Active, talk: &Talk) -> bool {
    let hooks = active.fault.hooks();
    match (talk.level(), active.layer) {
        (Level::Bytes, Layer::Connection | Layer::Either(_)) | (Level::Beneath, Layer::Connection) => {
            hooks.stream || (hooks.open && !talk.is_admitted())
        }
        // what is told at the beginning of a connection is no exchange's business
        (Level::Exchange, Layer::Exchange(phase) | Layer::Either(phase)) if active.fault.settings().is_none() => {
            hooks.exchange || ((hooks.stream || hooks.body) && phase == Phase::MidBody)
        }
        _ => false,
    }
}
