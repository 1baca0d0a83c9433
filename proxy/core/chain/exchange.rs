//! An HTTP exchange at its faults: in each phase they are asked in the order of the chain, as connections are at the gate.
//! Its bodies are the chain's two lines.

use std::sync::Arc;

use bytes::Bytes;

use super::queue::Ended;
use super::stage::STRIKES;
use super::unit::{Moment, Unit, Wait, gate_hold, sooner};
use super::{Chain, Gate, Talk};
use crate::fault::{Asked, Flow, Injection, Phase, Ruling, Until, Upstream, What};
use crate::observe::Record;
use crate::plan::{Active, Slice};
use crate::time::{Now, Time};

/// What the faults have decided about an exchange, and which of them.
#[derive(Clone, Debug)]
pub struct Ruled {
    /// The decision. After [`Ruling::Patch`] and [`Ruling::Deliver`] the phase goes on: ask again.
    pub ruling: Ruling,
    /// Who decided; none: [`Ruling::Pass`] and [`Ruling::Hold`].
    pub by: Option<Arc<Active>>,
}

impl Chain {
    /// The answer's head is there: faults whose rules look at it join. Call it once, before the phases of the answer.
    pub fn answered(&mut self, slice: &Slice, talk: &Talk, last: Time, now: Now) {
        if talk.dialogue().is_some_and(|dialogue| dialogue.response.is_some()) {
            let mut matching = Vec::new();
            slice.matching(talk, true, &mut matching);
            self.join(&matching, 0..last, talk, now);
        }
    }

    /// Asks the faults that act in this phase. On [`Ruling::Hold`] ask again at that time and after every retune; a fault
    /// that has decided otherwise is not asked again.
    pub fn rule(&mut self, asked: &Asked<'_>, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Ruled {
        let mut injected = std::mem::take(&mut self.injected);
        let mut moment = Moment { now, talk, records, injected: &mut injected, over: false };
        self.refresh(&mut moment);
        let ruled = self.ask_rulings(asked, &mut moment);
        let over = moment.over;
        self.injected = injected;
        if over {
            self.leave_observed();
        }
        self.follow_into_bodies(talk, now.mono);
        self.drop_gone();
        self.note_held();
        ruled
    }

    /// Faults that have decided about the exchange, and go on with a body of it, get their stages, and their memory along.
    fn follow_into_bodies(&mut self, talk: &Talk, now: Time) {
        for index in 0..self.units.len() {
            let Some(memory) = self.units[index].take_along() else { continue };
            self.attach(index, talk, now);
            if let Some(stage) =
                self.lines.iter_mut().flat_map(|line| &mut line.stages).find(|stage| stage.unit == index)
            {
                stage.remember(memory);
            }
        }
    }

    fn ask_rulings(&mut self, asked: &Asked<'_>, moment: &mut Moment<'_>) -> Ruled {
        if let Some(ended) = &self.killed {
            return Ruled {
                ruling: Ruling::End { how: ended.how.clone(), upstream: Upstream::Cancel },
                by: self.units.iter().map(|unit| &unit.active).find(|active| active.name == ended.by).cloned(),
            };
        }
        let edge = self.units.iter().fold(None, |edge, unit| sooner(edge, unit.edge));
        let answered = asked.response.is_some();
        for unit in &mut self.units {
            if let Some(at) = unit.parting().filter(|_| unit.waiting.is_some()) {
                return Ruled { ruling: Ruling::Hold(Until::At(at)), by: None };
            }
            if !unit.asks_ruling(asked.phase, answered, moment.now.mono) {
                match unit.waiting.filter(|_| unit.rules_in(asked.phase, answered)) {
                    Some(wait) => return Ruled { ruling: hold(wait, edge), by: None },
                    None => continue,
                }
            }
            if unit.active.observed {
                observe(unit, asked, moment);
                continue;
            }
            let recorded = moment.records.len();
            match unit.rule(asked, moment.now.mono, moment) {
                Ruling::Pass => unit.ruled(),
                Ruling::Hold(until) => {
                    let before = unit.waiting;
                    let since = before.map_or(moment.now.mono, |wait| wait.since);
                    let noted = before.is_some_and(|wait| wait.noted) || moment.records.len() > recorded;
                    let wait = Wait { since, until, again: None, noted };
                    unit.waiting = Some(wait);
                    return Ruled { ruling: hold(wait, edge), by: None };
                }
                ruling => {
                    unit.ruled();
                    return Ruled { ruling, by: Some(unit.active.clone()) };
                }
            }
        }
        Ruled { ruling: Ruling::Pass, by: None }
    }

    /// Whether a fault has yet to decide in this phase, if it acts then.
    pub fn decides_in(&self, phase: Phase, answered: bool) -> bool {
        self.units.iter().any(|unit| unit.rules_in(phase, answered))
    }

    /// Whether a body that goes this way may come out longer or shorter and still be meant as whole.
    pub fn resizes(&self, flow: Flow) -> bool {
        self.units.iter().any(|unit| unit.acting && unit.streams(flow) && unit.active.fault.resizes())
    }

    /// The next bytes that may go out this way, without copying them; none: see [`Chain::ready`].
    pub fn take(&mut self, flow: Flow) -> Option<Bytes> {
        let out = &mut self.lines[flow as usize].out;
        out.pop(usize::MAX).map(|segment| segment.bytes)
    }

    /// The fault that has ended the exchange, how, and under which configuration, once [`Chain::ready`] says so.
    pub fn end(&self) -> Option<(&crate::fault::End, &Arc<crate::plan::FaultRef>)> {
        let ended: &Ended = self.killed.as_ref().or_else(|| self.finished())?;
        Some((&ended.how, &ended.by))
    }
}

fn hold(wait: Wait, edge: Option<Time>) -> Ruling {
    match gate_hold(wait, edge) {
        Gate::Hold(until) => Ruling::Hold(until),
        _ => Ruling::Hold(Until::Change),
    }
}

/// Asks a fault that only observes, again at each time until which it would have held the exchange, and lets it by.
fn observe(unit: &mut Unit, asked: &Asked<'_>, moment: &mut Moment<'_>) {
    let mut now = moment.now.mono;
    let recorded = moment.records.len();
    unit.ruled();
    for _ in 0..STRIKES {
        if moment.over {
            return;
        }
        match unit.rule(asked, now, moment) {
            Ruling::Pass | Ruling::Patch(_) | Ruling::Deliver(_) => return,
            Ruling::Answer { .. } | Ruling::End { .. } => moment.over = true,
            Ruling::Hold(Until::At(at)) => now = now.max(at),
            Ruling::Hold(Until::Change) => break,
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
