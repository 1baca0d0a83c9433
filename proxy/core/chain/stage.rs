//! One fault in one direction: its memory, its queue, and what its decisions do to them.

mod shadow;

use std::any::Any;

use bytes::Bytes;

use self::shadow::Shadow;
use super::queue::{Ended, Queue, Segment, Sink, Tail, arrive, pass};
use super::unit::{Moment, Unit, sooner};
use crate::fault::{
    ALL, Act, AnyCx, Effect, End, Flow, Gate, Injection, Item, Needs, Offer, Opening, Span, Until, What,
};
use crate::plan::Tally;
use crate::time::{MILLI, Time};

/// How often a fault may decide about one head without moving it; more is a bug of the fault.
pub(super) const STRIKES: u32 = 64;
/// How many alarms of one stage are answered in one poll.
const ALARMS: u32 = 16;

#[derive(Debug)]
pub(super) struct Stage {
    /// Index of its unit in the chain.
    pub(super) unit: usize,
    flow: Flow,
    state: Box<dyn Any + Send>,
    pub(super) span: Span,
    pub(super) queue: Queue,
    /// The fault no longer acts in this direction; dropped when it is drained.
    pub(super) gone: bool,
    /// Bytes that may pass without being asked for.
    credit: usize,
    /// The piece that they belong to; 0: none.
    credit_piece: u64,
    hold: Option<Until>,
    /// How many bytes the fault has to see in one to decide about the head; 0: any.
    want: usize,
    /// The fault has put on record that the head waits.
    noted: bool,
    /// It has just come on: a Tick is due.
    fresh: bool,
    /// The alarm that was answered last.
    answered: Option<Time>,
    /// Bytes have vanished here.
    lossy: bool,
    /// It made no progress and is passed over.
    stuck: bool,
    /// A fault here or behind it has ended the flow: nothing comes any more.
    pub(super) done: bool,
    /// Where it only observes: what it would be doing.
    shadow: Shadow,
}

/// How a stage was left.
pub(super) enum Outcome {
    /// Nothing more to decide now; when to ask again.
    Settled(Option<Time>),
    /// The fault ends the connection after what has passed.
    Ended(End),
    /// The fault ends it at once.
    Killed(End),
}

/// What letting go of a stage's queue comes to.
pub(super) enum LetGo {
    /// The bytes go on.
    Resume,
    /// The connection is closed behind what has passed.
    Close,
    /// Bytes are missing: the connection is reset.
    Reset,
}

impl Stage {
    /// `seen`: bytes of the flow that went by before it.
    pub(super) fn new(index: usize, unit: &Unit, flow: Flow, seen: u64, opened: Time, now: Time) -> Stage {
        Stage {
            unit: index,
            flow,
            state: unit.active.fault.new_state(),
            span: Span { seen, opened, attached: now, ..Span::default() },
            queue: Queue::default(),
            gone: false,
            credit: 0,
            credit_piece: 0,
            hold: None,
            want: 0,
            noted: false,
            fresh: true,
            answered: None,
            lossy: false,
            stuck: false,
            done: false,
            shadow: Shadow::default(),
        }
    }

    /// What the fault has kept of the exchange whose body this is.
    pub(super) fn remember(&mut self, memory: Box<dyn Any + Send>) {
        self.state = memory;
    }

    /// Whether the fault decides here at the moment.
    fn acts(&self, unit: &Unit) -> bool {
        unit.acting && !self.gone && !self.stuck && !self.done && !unit.withheld && !self.would_hold()
    }

    /// Whether its head waits.
    pub(super) fn is_holding(&self) -> bool {
        self.hold.is_some() && !self.queue.is_idle()
    }

    /// Whether its head waits for its turn, now that the experiment has ended.
    fn parts_later(&self, unit: &Unit) -> bool {
        unit.parting().is_some() && self.is_holding()
    }

    /// How many more bytes may wait here.
    pub(super) fn room(&self, unit: &Unit) -> usize {
        if (!self.acts(unit) && !self.parts_later(unit)) || unit.active.observed {
            return ALL;
        }
        unit.active.fault.depth().saturating_sub(self.queue.len())
    }

    /// How many bytes may go past it unseen.
    pub(super) fn credit(&self, unit: &Unit) -> usize {
        if !self.acts(unit) {
            return ALL;
        }
        if self.fresh || self.credit_piece != 0 { 0 } else { self.credit }
    }

    pub(super) fn skipped(&mut self, n: usize, now: Time) {
        self.spend(n);
        arrive(&mut self.span, now);
        pass(&mut self.span, n, now);
    }

    /// The fault comes on.
    pub(super) fn start(&mut self, now: Time) {
        self.span.attached = now;
        self.fresh = true;
        self.answered = None;
        self.withdraw();
    }

    /// The lineage has a new configuration: what was decided by the old one is asked again.
    pub(super) fn reconsider(&mut self, unit: &Unit, other_kind: bool) {
        if other_kind {
            self.state = unit.active.fault.new_state();
        }
        self.answered = None;
        self.stuck = false;
        self.withdraw();
    }

    fn withdraw(&mut self) {
        self.credit = 0;
        self.credit_piece = 0;
        self.hold = None;
        self.want = 0;
        self.shadow = Shadow::default();
    }

    /// The fault goes off. What it held is put on record; the next run lets it go.
    pub(super) fn stop(&mut self, unit: &mut Unit, moment: &mut Moment<'_>) -> LetGo {
        if unit.active.observed {
            self.stop_observing(unit, moment);
        }
        let held = self.is_holding() && !self.done;
        let hold = self.hold;
        unit.active.fault.lifted(&mut *self.state);
        self.fresh = false;
        self.withdraw();
        if unit.is_removed(moment.now) && unit.active.fault.closes_when_removed() && !self.done {
            self.mark(What::Closed, unit, moment);
            return LetGo::Close;
        }
        if self.lossy && !self.done && unit.active.fault.effect() == Effect::Loses {
            Tally::add(&unit.active.tally.reset_on_abort);
            self.mark(What::Reset, unit, moment);
            return LetGo::Reset;
        }
        let (true, Some(until)) = (held, hold) else { return LetGo::Resume };
        let injection = self.cut_short(until, moment.now.mono);
        unit.cut_short(Some(self.flow), injection, std::mem::take(&mut self.noted), moment);
        if !unit.closes_on_abort(moment.now) {
            return LetGo::Resume;
        }
        self.mark(What::Closed, unit, moment);
        LetGo::Close
    }

    fn mark(&self, what: What, unit: &mut Unit, moment: &mut Moment<'_>) {
        let seen = self.span.seen;
        let injection = Injection { what, step: seen, draw: None, drawn: seen, scheduled: seen, achieved: seen };
        unit.record(Some(self.flow), injection, true, moment);
    }

    fn cut_short(&self, until: Until, now: Time) -> Injection {
        let (step, arrived) = match (self.queue.front(), &self.queue.tail) {
            (Some(head), _) => (offer(head, Item::Len(head.bytes.len())).delay_step().0, head.arrived),
            (None, Tail::Fin(arrived)) => (self.span.seen, *arrived),
            (None, _) => (self.span.seen, now),
        };
        let held = self.queue.len() as u64;
        let waited = now.saturating_sub(arrived);
        match until {
            Until::At(at) => {
                let planned = at.saturating_sub(arrived);
                Injection {
                    what: What::Delayed,
                    step,
                    draw: None,
                    drawn: planned,
                    scheduled: planned,
                    achieved: waited,
                }
            }
            Until::Change => {
                Injection { what: What::Held, step, draw: None, drawn: held, scheduled: held, achieved: held }
            }
        }
    }

    /// Lets the fault decide as far as it can.
    pub(super) fn run(
        &mut self,
        unit: &mut Unit,
        next: &mut Sink<'_>,
        pieces: &mut u64,
        moment: &mut Moment<'_>,
    ) -> Outcome {
        let now = moment.now.mono;
        self.span.still = unit.still;
        if self.done {
            self.queue.clear();
            return Outcome::Settled(None);
        }
        if self.parts_later(unit) {
            return Outcome::Settled(None);
        }
        if self.acts(unit)
            && let Some(end) = self.ring(unit, next, moment)
        {
            return end;
        }
        if self.acts(unit)
            && let Some(end) = self.decide(unit, next, pieces, moment)
        {
            return end;
        }
        if !self.acts(unit) {
            self.release(next, now);
            return Outcome::Settled(None);
        }
        let held = match self.hold {
            Some(Until::At(at)) if !self.queue.is_idle() => Some(at),
            _ => None,
        };
        let alarm = match self.alarm(unit, moment) {
            Some(at) if at > now => Some(at),
            Some(at) if self.answered != Some(at) => Some(now + MILLI),
            _ => None,
        };
        Outcome::Settled(sooner(held, alarm))
    }

    fn release(&mut self, next: &mut Sink<'_>, now: Time) {
        if self.queue.len() > 0 {
            pass(&mut self.span, self.queue.len(), now);
        }
        next.drain(&mut self.queue, now);
    }

    /// Answers alarms that have come, and says once that the stage came on.
    fn ring(&mut self, unit: &mut Unit, next: &mut Sink<'_>, moment: &mut Moment<'_>) -> Option<Outcome> {
        for _ in 0..ALARMS {
            if !std::mem::take(&mut self.fresh) {
                let due = self.alarm(unit, moment).filter(|at| *at <= moment.now.mono && self.answered != Some(*at))?;
                self.answered = Some(due);
            }
            self.hold = None;
            match self.ask(None, unit, moment) {
                Act::Pass(_) | Act::Piece(_) | Act::More(_) => {}
                Act::Hold(_) => self.credit = 0,
                Act::Take { put, .. } => self.insert(put, next, moment),
                Act::End(end) => return Some(Outcome::Ended(end)),
                Act::Kill(end) => return Some(Outcome::Killed(end)),
            }
        }
        None
    }

    /// Offers the head until it has to wait or nothing is left.
    fn decide(
        &mut self,
        unit: &mut Unit,
        next: &mut Sink<'_>,
        pieces: &mut u64,
        moment: &mut Moment<'_>,
    ) -> Option<Outcome> {
        let now = moment.now.mono;
        let mut strikes = 0;
        loop {
            match self.hold {
                Some(Until::At(at)) if at <= now => self.hold = None,
                Some(_) => return None,
                None => {}
            }
            if self.credit > 0
                && let Some(segment) = self.queue.pop(self.credit)
            {
                (strikes, self.want) = (0, 0);
                let n = segment.bytes.len();
                let piece = if self.credit_piece == 0 { segment.piece } else { self.credit_piece };
                self.spend(n);
                pass(&mut self.span, n, now);
                next.push(Segment { piece, ..segment }, now);
                continue;
            }
            let offered = self.queue.front().map(|head| head.bytes.len());
            match (offered, &self.queue.tail) {
                (Some(_), _) | (None, Tail::Fin(_)) => {}
                (None, Tail::Open) => return None,
                (None, Tail::End(_)) => {
                    next.close(std::mem::take(&mut self.queue.tail), now);
                    return None;
                }
            }
            if offered.is_some() && self.queue.len() < self.want {
                if self.queue.tail.is_open() && self.queue.len() < unit.active.fault.depth() {
                    return None;
                }
                self.credit = self.queue.len();
                self.credit_piece = 0;
                continue;
            }
            if strikes == STRIKES {
                self.stuck = true;
                Tally::add(&unit.active.tally.stuck);
                return None;
            }
            strikes += 1;
            let recorded = moment.records.len();
            let act = self.ask(Some(()), unit, moment);
            self.noted = matches!(act, Act::Hold(_)) && (self.noted || moment.records.len() > recorded);
            match (act, offered) {
                (Act::Pass(_) | Act::Piece(_), None) => {
                    next.close(std::mem::take(&mut self.queue.tail), now);
                    return None;
                }
                (Act::Pass(n), Some(_)) => {
                    self.credit = n;
                    self.credit_piece = 0;
                }
                (Act::Piece(n), Some(_)) => {
                    *pieces += 1;
                    self.credit = n;
                    self.credit_piece = *pieces;
                }
                (Act::Hold(until), _) => self.hold = Some(until),
                (Act::More(n), _) => self.want = n,
                (Act::Take { n, put }, _) => {
                    if self.take(n, put, next, moment) > 0 {
                        strikes = 0;
                    }
                }
                (Act::End(end), _) => return Some(Outcome::Ended(end)),
                (Act::Kill(end), _) => return Some(Outcome::Killed(end)),
            }
        }
    }

    /// n bytes of what was offered vanish, `put` stands there. Returns how many vanished.
    fn take(&mut self, n: usize, put: Bytes, next: &mut Sink<'_>, moment: &mut Moment<'_>) -> usize {
        let offered = self.queue.front().map_or(0, |head| head.bytes.len()).max(self.want);
        self.want = 0;
        let Some(first) = self.queue.pop(n.min(offered)).filter(|first| !first.bytes.is_empty()) else {
            self.insert(put, next, moment);
            return 0;
        };
        let mut taken = first.bytes.len();
        while taken < n.min(offered)
            && let Some(more) = self.queue.pop(n.min(offered) - taken)
        {
            taken += more.bytes.len();
        }
        self.lossy = true;
        pass(&mut self.span, taken, moment.now.mono);
        next.push(Segment { bytes: put, ..first }, moment.now.mono);
        taken
    }

    /// Bytes out of nowhere, before the head.
    fn insert(&mut self, put: Bytes, next: &mut Sink<'_>, moment: &Moment<'_>) {
        let now = moment.now.mono;
        let place = match self.queue.front() {
            Some(head) => Segment { bytes: put, piece: 0, ..head.clone() },
            None => segment(put, self.span.seen, self.flow, moment.talk, now),
        };
        next.push(place, now);
    }

    fn spend(&mut self, n: usize) {
        if self.credit != ALL {
            self.credit = self.credit.saturating_sub(n);
        }
    }

    /// Offers the head, or a Tick.
    fn ask(&mut self, head: Option<()>, unit: &mut Unit, moment: &mut Moment<'_>) -> Act {
        let now = moment.now.mono.max(self.shadow.ahead);
        let active = unit.active.clone();
        let event = |item, arrived| {
            let offset = self.span.seen;
            let turn_offset = moment.talk.within_turn(self.flow, offset);
            Offer { item, arrived, offset, turn: moment.talk.turn(), turn_offset, asked: None }
        };
        let several = head.filter(|()| self.want > 0).and_then(|()| self.queue.first(self.want));
        let offer = match (head, self.queue.front(), &self.queue.tail) {
            (None, ..) => event(Item::Tick, now),
            (Some(()), Some(head), _) => {
                let (bytes, arrived) =
                    several.as_ref().map_or((&head.bytes[..], head.arrived), |(b, at)| (&b[..], *at));
                let item = match active.fault.needs() {
                    Needs::Count => Item::Len(bytes.len()),
                    Needs::Bytes => Item::Bytes(bytes),
                };
                Offer { arrived, ..offer(head, item) }
            }
            (Some(()), None, Tail::Fin(arrived)) => event(Item::Fin, *arrived),
            (Some(()), None, _) => event(Item::Fin, now),
        };
        let cx = AnyCx {
            state: &mut *self.state,
            shared: &*active.shared,
            draw: unit.draw,
            span: &self.span,
            now,
            elapsed: unit.elapsed_at(now, moment.now.mono),
            flow: self.flow,
            exchange: moment.talk.dialogue(),
            injected: moment.injected,
        };
        let act = active.ask(|fault| fault.stream(cx, &offer));
        unit.report(Some(self.flow), moment);
        act
    }

    /// Whether the fault keeps from the receiver that the sender has failed.
    pub(super) fn silences(&self, unit: &Unit) -> bool {
        self.acts(unit) && unit.active.fault.silences(&*self.state)
    }

    pub(super) fn alarm(&mut self, unit: &Unit, moment: &mut Moment<'_>) -> Option<Time> {
        let cx = AnyCx {
            state: &mut *self.state,
            shared: &*unit.active.shared,
            draw: unit.draw,
            span: &self.span,
            now: moment.now.mono,
            elapsed: unit.elapsed,
            flow: self.flow,
            exchange: moment.talk.dialogue(),
            injected: moment.injected,
        };
        unit.active.ask(|fault| fault.alarm(cx))
    }

    /// Asks the fault about the connection being opened, with the memory of this direction.
    pub(super) fn open(&mut self, unit: &mut Unit, opening: &Opening, now: Time, moment: &mut Moment<'_>) -> Gate {
        unit.open(&mut *self.state, &self.span, self.flow, opening, now, moment)
    }
}

fn offer<'a>(head: &Segment, item: Item<'a>) -> Offer<'a> {
    let Segment { arrived, offset, turn, turn_offset, asked, .. } = *head;
    Offer { item, arrived, offset, turn, turn_offset, asked }
}

/// Bytes as they come into the chain.
pub(super) fn segment(bytes: Bytes, offset: u64, flow: Flow, talk: &super::Talk, now: Time) -> Segment {
    let turn_offset = talk.within_turn(flow, offset);
    Segment { bytes, arrived: now, offset, turn: talk.turn(), turn_offset, asked: None, piece: 0, ghost: false }
}

impl Ended {
    pub(super) fn new(how: End, unit: &Unit) -> Ended {
        Ended { how, by: unit.active.name.clone() }
    }
}
