//! One fault's relation to the connection, whatever the direction: whether it is selected and acts now, and what is
//! counted.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::queue::Ended;
use super::{Level, Talk};
use crate::curve::Curve;
use crate::draw::{Draw, RELEASE, fraction};
use crate::fault::{AnyCx, Asked, End, Flaw, Flow, Gate, Injection, Opening, Phase, Ruling, Span, Until, What};
use crate::observe::Record;
use crate::plan::{Active, Layer, Look, OnAbort, Open, Tally};
use crate::select::{Connections, Permit};
use crate::time::{NEVER, Now, Time};

/// What every step of a poll needs.
pub(super) struct Moment<'a> {
    pub(super) now: Now,
    pub(super) talk: &'a Talk,
    pub(super) records: &'a mut Vec<Record>,
    /// Scratch; empty between calls.
    pub(super) injected: &'a mut Vec<Injection>,
    /// A fault that only observes would have ended the connection: from here on none of those is asked.
    pub(super) over: bool,
}

/// A hold at the gate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) since: Time,
    pub(super) until: Until,
    /// When it is asked again although nothing has changed.
    pub(super) again: Option<Time>,
    /// The fault has put it on record.
    pub(super) noted: bool,
}

/// Whether the fault has to do with the connection at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// It has not met an open window yet, and is not counted.
    Unknown,
    In,
    Out,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) active: Arc<Active>,
    pub(super) draw: Draw,
    /// The selection draw, 0 to 100.
    share: f64,
    part: Part,
    /// When the connection was opened.
    opened: Time,
    /// Whether it was as old as the fault asks for, at the opening at this time on the timeline.
    of_age: Option<(Time, bool)>,
    /// Whether it acts: selected, switch on, window open, a place under the cap. As of the last [`Unit::refresh`].
    pub(super) acting: bool,
    /// No longer in the plan.
    pub(super) gone: bool,
    /// Curve time, ns since the window opened.
    pub(super) elapsed: Time,
    /// See [`Span::still`].
    pub(super) still: (Time, Time),
    /// When [`Unit::acting`] may change by time alone.
    pub(super) edge: Option<Time>,
    /// The phase of an exchange in which it acts; none: it acts on a connection.
    phase: Option<Phase>,
    /// It has decided about the exchange.
    ruled: bool,
    /// It has come to [`Phase::MidBody`] with what it remembers.
    goes_on: bool,
    /// What it remembers of the exchange, beside what it remembers of its bodies.
    memory: Option<Box<dyn Any + Send>>,
    /// The gate has let it by.
    pub(super) admitted: bool,
    /// What the TLS handshake gets by it.
    flaw: Option<Flaw>,
    /// The gate waits.
    pub(super) waiting: Option<Wait>,
    /// It only observes, and would hold the connection at the gate.
    pub(super) withheld: bool,
    /// When it was first asked about the connection, in this opening of the window.
    asked: Option<Time>,
    /// Whether it holds something back; in [`Tally::held`] while it does.
    held: bool,
    selected: bool,
    affected: bool,
    permit: Option<Permit>,
    /// The opening (its time on the timeline) for which no place was left under the cap.
    crowded_out: Option<Time>,
    /// The experiment has ended, and what it holds is let go at this time, one unit after the other.
    parting: Option<Time>,
}

impl Unit {
    /// The connection as a unit of a fault that has been open before or is now. None: it takes no part, neither now nor
    /// later because the percentage is a curve or the window opens again.
    pub(super) fn join(active: &Arc<Active>, talk: &Talk, now: Now) -> Option<Unit> {
        let tally = &active.tally;
        let Some(unit) = active.select.unit(talk.ordinal, talk.client.map(|client| client.ip()), talk.dialogue())
        else {
            Tally::add(&tally.key_absent);
            return None;
        };
        let draw = active.draws.unit(unit);
        let mut unit = Unit {
            active: active.clone(),
            draw,
            share: draw.percentage(),
            part: Part::Unknown,
            opened: talk.opened,
            of_age: None,
            acting: false,
            gone: false,
            elapsed: 0,
            still: (0, 0),
            edge: None,
            phase: match (talk.level(), active.layer) {
                (Level::Exchange, Layer::Exchange(phase) | Layer::Either(phase)) => Some(phase),
                _ => None,
            },
            ruled: false,
            goes_on: false,
            memory: None,
            admitted: false,
            flaw: None,
            waiting: None,
            withheld: false,
            asked: None,
            held: false,
            selected: false,
            affected: false,
            permit: None,
            crowded_out: None,
            parting: None,
        };
        unit.refresh(now);
        match unit.part {
            Part::Unknown => active.may_open(now),
            Part::In => true,
            Part::Out => false,
        }
        .then_some(unit)
    }

    /// Looks at switch, window, percentage and cap. The switch comes first: once it is off nothing is injected.
    pub(super) fn refresh(&mut self, now: Now) {
        let acted = self.acting;
        let look = if self.gone { Look { open: None, next_edge: None } } else { self.active.look(now) };
        self.edge = look.next_edge;
        self.acting = look.open.is_some_and(|open| self.takes_part(&open) && self.is_selected(&open, now));
        if self.part == Part::In && !self.acting && !self.selected && !self.may_come_on() {
            self.part = Part::Out;
        }
        if acted && !self.acting {
            self.parting = self.parts_at(now);
        }
        self.parting = self.parting.filter(|at| now.mono < *at && self.active.switch.ended_early(now));
        self.edge = sooner(self.edge, self.parting);
        if !self.acting {
            self.permit = None;
        } else if !self.selected {
            self.selected = true;
            Tally::add(&self.active.tally.selected);
        }
    }

    /// When it lets go of what it holds now that its experiment has ended; none: at once. Each unit has a moment of its own,
    /// by its own draw: no worker has to ask another, and an end is no stampede. Never beyond limit and lease.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn parts_at(&self, now: Now) -> Option<Time> {
        let (over, switch) = (self.active.release_over, &self.active.switch);
        if over == 0 || !self.held || self.active.observed || !switch.ended_early(now) {
            return None;
        }
        let part = fraction(self.draw.at(RELEASE));
        let after = (over as f64 * part) as Time;
        Some(now.mono.saturating_add(after).min(switch.ends_by(now)))
    }

    /// When it lets go of what it holds, if its experiment has ended and its turn has not come.
    pub(super) fn parting(&self) -> Option<Time> {
        self.parting
    }

    /// Counts the unit when it first meets an open window that takes connections as old as it.
    fn takes_part(&mut self, open: &Open) -> bool {
        let connections = self.active.fault.connections();
        // told once for each opening: its monotonic time moves with every pause and wait
        let is_of_age = match self.of_age {
            Some((at, is_of_age)) if at == open.at => is_of_age,
            _ => connections.take(self.opened, open.course.origin.saturating_add(open.at)),
        };
        self.of_age = Some((open.at, is_of_age));
        if !is_of_age {
            if connections == Connections::New {
                self.part = Part::Out; // it only gets older
            }
            return false;
        }
        if self.part == Part::Unknown {
            let number = self.active.tally.eligible.fetch_add(1, Ordering::Relaxed) + 1;
            self.part = if self.active.select.count.takes(number) { Part::In } else { Part::Out };
        }
        self.part == Part::In
    }

    fn may_come_on(&self) -> bool {
        !matches!(self.active.select.percentage, Curve::Constant(_))
    }

    /// Whether it is of no use any more, once nothing is queued in its stages.
    pub(super) fn is_done(&self) -> bool {
        (self.gone || self.part == Part::Out) && self.parting.is_none()
    }

    fn is_selected(&mut self, open: &Open, now: Now) -> bool {
        self.elapsed = open.elapsed;
        self.still = open.course.still(now.mono);
        let select = &self.active.select;
        if let Some(flip) = select.next_change(self.share, self.elapsed) {
            self.edge = sooner(self.edge, open.reaches(flip));
        }
        if !select.holds(self.share, open.at, self.elapsed) {
            return false;
        }
        let Some(cap) = &select.cap else { return true };
        if self.permit.is_some() {
            return true;
        }
        if self.crowded_out == Some(open.at) {
            return false;
        }
        self.permit = cap.take();
        if self.permit.is_none() {
            if self.crowded_out.is_none() {
                Tally::add(&self.active.tally.overflow);
            }
            self.crowded_out = Some(open.at);
        }
        self.permit.is_some()
    }

    /// Takes a new configuration of the same lineage.
    pub(super) fn adopt(&mut self, active: &Arc<Active>) {
        let held = self.held;
        self.hold(false);
        if self.active.fault.kind() != active.fault.kind() {
            self.memory = None;
        }
        self.active = active.clone();
        self.hold(held);
        self.waiting = None;
        self.withheld = false;
        self.of_age = None;
    }

    /// It only observes, and the connection would be gone: it takes no part any more.
    pub(super) fn leave(&mut self) {
        self.gone = true;
        self.acting = false;
        self.permit = None;
    }

    /// Curve time at a moment to come, for a fault that is asked in advance.
    pub(super) fn elapsed_at(&self, then: Time, now: Time) -> Time {
        let stands = self.still.1 == NEVER;
        if stands { self.elapsed } else { self.elapsed.saturating_add(then.saturating_sub(now)) }
    }

    /// Whether the fault is to be asked about the connection being opened, now.
    pub(super) fn asks_gate(&self, now: Time) -> bool {
        let waits = match self.waiting {
            Some(Wait { until: Until::At(at), .. }) => now < at,
            Some(Wait { until: Until::Change, again, .. }) => again.is_none_or(|again| now < again),
            None => false,
        };
        self.acting && !self.admitted && !waits && self.active.fault.hooks().open
    }

    /// It has let the connection by at the gate, and is not asked again.
    pub(super) fn let_by(&mut self, flaw: Option<Flaw>) {
        self.admitted = true;
        self.waiting = None;
        self.flaw = flaw;
    }

    /// What the TLS handshake gets by it, if it still acts.
    pub(super) fn flaw(&self) -> Option<Flaw> {
        self.flaw.filter(|_| self.acting)
    }

    /// Whether it has nothing to decide once the gate is passed.
    pub(super) fn is_for_the_gate(&self) -> bool {
        self.phase.is_none() && !self.active.fault.hooks().stream
    }

    /// Whether it decides about an exchange in this phase; `answered`: there is an answer. A fault that acts on the request's
    /// body alone decides before there is one.
    pub(super) fn rules_in(&self, phase: Phase, answered: bool) -> bool {
        let early = self.active.bodies == Some(Flow::Upstream);
        let comes_up = phase != Phase::MidBody || early != answered;
        self.acting && self.phase == Some(phase) && comes_up && !self.ruled && self.active.fault.hooks().exchange
    }

    /// The same, and it is to be asked now.
    pub(super) fn asks_ruling(&self, phase: Phase, answered: bool, now: Time) -> bool {
        let waits = match self.waiting.map(|wait| wait.until) {
            Some(Until::At(at)) => now < at,
            Some(Until::Change) => true,
            None => false,
        };
        self.rules_in(phase, answered) && !waits
    }

    /// It has decided about the exchange, and is not asked again but in the phase that follows for it.
    pub(super) fn ruled(&mut self) {
        self.waiting = None;
        match self.phase.and_then(|phase| self.active.fault.follows(phase)) {
            Some(next) => {
                self.goes_on = next == Phase::MidBody;
                self.phase = Some(next);
            }
            None => self.ruled = true,
        }
    }

    /// What it remembers of the exchange, once, when it goes on with a body of it.
    pub(super) fn take_along(&mut self) -> Option<Box<dyn Any + Send>> {
        let goes_on = std::mem::take(&mut self.goes_on);
        if goes_on { self.memory.take() } else { None }
    }

    /// Asks the fault about the exchange, at `now` or, where it only observes, in advance.
    pub(super) fn rule(&mut self, asked: &Asked<'_>, now: Time, moment: &mut Moment<'_>) -> Ruling {
        let attached = *self.asked.get_or_insert(moment.now.mono);
        let span = Span { opened: moment.talk.opened, attached, still: self.still, ..Span::default() };
        let elapsed = self.elapsed_at(now, moment.now.mono);
        let state = self.memory.get_or_insert_with(|| self.active.fault.new_state());
        let cx = AnyCx {
            state: &mut **state,
            shared: &*self.active.shared,
            draw: self.draw,
            span: &span,
            now,
            elapsed,
            flow: self.active.bodies.unwrap_or(Flow::Downstream),
            exchange: moment.talk.dialogue(),
            injected: moment.injected,
        };
        let ruling = self.active.ask(|fault| fault.exchange(cx, asked));
        self.report(None, moment);
        ruling
    }

    /// Asks the fault about the connection being opened, at `now` or, where it only observes, in advance.
    pub(super) fn open(
        &mut self,
        state: &mut (dyn Any + Send),
        span: &Span,
        flow: Flow,
        opening: &Opening,
        now: Time,
        moment: &mut Moment<'_>,
    ) -> Gate {
        let cx = AnyCx {
            state,
            shared: &*self.active.shared,
            draw: self.draw,
            span,
            now,
            elapsed: self.elapsed_at(now, moment.now.mono),
            flow,
            exchange: None,
            injected: moment.injected,
        };
        let gate = self.active.ask(|fault| fault.open(cx, opening));
        self.report(None, moment);
        gate
    }

    /// The same for a fault that has no stage to remember anything in.
    pub(super) fn open_alone(&mut self, opening: &Opening, now: Time, moment: &mut Moment<'_>) -> Gate {
        let opened = moment.talk.opened;
        let attached = *self.asked.get_or_insert(moment.now.mono);
        let span = Span { opened, attached, ..Span::default() };
        let mut state = self.active.fault.new_state();
        self.open(&mut *state, &span, self.active.flow.unwrap_or(Flow::Upstream), opening, now, moment)
    }

    /// The fault goes off while the connection waits at the gate. Returns the end, if it is not to go on.
    pub(super) fn stop_waiting(&mut self, moment: &mut Moment<'_>) -> Option<Ended> {
        self.asked = None;
        let Wait { since, until, noted, .. } = self.waiting.take()?;
        let waited = moment.now.mono.saturating_sub(since);
        let injection = match until {
            Until::At(at) => {
                let planned = at.saturating_sub(since);
                let (drawn, scheduled) = (planned, planned);
                Injection { what: What::Delayed, step: 0, draw: None, drawn, scheduled, achieved: waited }
            }
            Until::Change => Injection { what: What::Held, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 },
        };
        self.cut_short(None, injection, noted, moment);
        self.closes_on_abort(moment.now).then(|| Ended::new(End::Fin, self))
    }

    /// Whether it was taken out of the plan while its experiment goes on.
    pub(super) fn is_removed(&self, now: Now) -> bool {
        self.gone && self.active.switch.is_on(now)
    }

    /// Whether what it holds is closed rather than released: asked for, and the experiment is over. A pause, the end of
    /// a window and a changed plan release.
    pub(super) fn closes_on_abort(&self, now: Now) -> bool {
        self.active.on_abort == OnAbort::Close && self.active.switch.is_over(now)
    }

    /// What it held goes on or ends with the connection.
    pub(super) fn let_go(&mut self) {
        self.hold(false);
        Tally::add(&self.active.tally.released);
    }

    /// Whether it acts in this direction's bytes.
    pub(super) fn streams(&self, flow: Flow) -> bool {
        let hooks = self.active.fault.hooks();
        let (only, asked) = match self.phase {
            None => (self.active.flow, hooks.stream),
            Some(Phase::MidBody) => (self.active.bodies, hooks.stream || hooks.body),
            Some(_) => return false,
        };
        asked && only.is_none_or(|only| only == flow)
    }

    /// The share of packets that the kernel is to drop for it now.
    pub(super) fn vanishes(&self) -> f64 {
        if self.acting && !self.active.observed { self.active.fault.vanishes() } else { 0.0 }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn hold(&mut self, held: bool) {
        if held == self.held {
            return;
        }
        self.held = held;
        let gauge = &self.active.tally.held;
        if held {
            gauge.fetch_add(1, Ordering::Relaxed);
        } else {
            gauge.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Puts on record what the fault said it did in the latest call.
    pub(super) fn report(&mut self, flow: Option<Flow>, moment: &mut Moment<'_>) {
        if moment.injected.is_empty() {
            return;
        }
        let mut injected = std::mem::take(moment.injected);
        for injection in injected.drain(..) {
            self.record(flow, injection, false, moment);
        }
        *moment.injected = injected;
    }

    /// Puts on record, and counts, one injection.
    pub(super) fn record(&mut self, flow: Option<Flow>, injection: Injection, released: bool, moment: &mut Moment<'_>) {
        let tally = &self.active.tally;
        Tally::add(&tally.injected);
        if !self.affected {
            self.affected = true;
            Tally::add(&tally.affected);
        }
        self.write(flow, injection, released, moment);
    }

    /// Puts on record that a hold was cut short; it counts as an injection unless the fault has put it on record
    /// (`noted`) when it began.
    pub(super) fn cut_short(&mut self, flow: Option<Flow>, injection: Injection, noted: bool, moment: &mut Moment<'_>) {
        if noted {
            Tally::add(&self.active.tally.amended);
            self.write(flow, injection, true, moment);
        } else {
            self.record(flow, injection, true, moment);
        }
    }

    fn write(&self, flow: Option<Flow>, mut injection: Injection, released: bool, moment: &mut Moment<'_>) {
        if self.active.observed {
            injection.achieved = 0;
        }
        moment.records.push(Record {
            fault: self.active.name.clone(),
            tally: self.active.tally.clone(),
            ordinal: Some(moment.talk.ordinal),
            request: moment.talk.dialogue().map(|dialogue| dialogue.number),
            unit: Some(self.draw.unit()),
            client: moment.talk.client,
            flow,
            at: moment.now.mono,
            injection,
            released,
        });
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if self.held {
            Tally::add(&self.active.tally.dropped);
        }
        self.hold(false);
    }
}

/// The earlier of two times that may never come.
pub(super) fn sooner(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A hold at the gate, with the time at which windows and percentages have to be looked at again.
pub(super) fn gate_hold(wait: Wait, edge: Option<Time>) -> Gate {
    let at = match wait.until {
        Until::At(at) => sooner(Some(at), edge),
        Until::Change => sooner(wait.again, edge),
    };
    Gate::Hold(at.map_or(Until::Change, Until::At))
}
