//! A small pump in virtual time for the tests of single kinds: one direction, one fault, no chain.

#![allow(clippy::panic, clippy::expect_used)]

use std::collections::VecDeque;

use super::{Act, Asked, Cx, End, Fault, Flow, Gate, Injections, Item, Offer, Opening, Phase, Ruling, Span, Until};
use crate::chain::Dialogue;
use crate::draw::DrawKey;
use crate::http::{Request, Response};
use crate::time::Time;

pub(super) struct Driver<F: Fault> {
    pub(super) fault: F,
    pub(super) state: F::State,
    pub(super) shared: std::sync::Arc<F::Shared>,
    pub(super) span: Span,
    pub(super) now: Time,
    /// How late every hold is answered.
    pub(super) late: Time,
    pub(super) injected: Injections,
    /// What has come out, byte by byte, with its time.
    pub(super) out: Vec<(Time, u8)>,
    /// Sizes of the pieces that came out.
    pub(super) pieces: Vec<usize>,
    pub(super) ended: Option<(Time, End)>,
    pub(super) closed_at: Option<Time>,
    pub(super) swallowed: usize,
    pub(super) credit: usize,
    /// Since when the other side waits for this turn.
    pub(super) asked: Option<Time>,
    /// The exchange whose body is driven; none: a connection.
    pub(super) dialogue: Option<Dialogue>,
    /// The fault's memory of the exchange.
    pub(super) memory: F::State,
    /// Arrival times with bytes; none: FIN.
    input: VecDeque<(Time, Option<Vec<u8>>)>,
    /// Arrived and not yet decided about.
    queue: VecDeque<(Time, Option<Vec<u8>>)>,
    entry: Time,
    flow: Flow,
    turn: u64,
    offset: u64,
    turn_began: u64,
    held: Option<Until>,
    /// How many bytes have to wait before the fault is asked again.
    want: usize,
    fresh: bool,
}

impl<F: Fault> Driver<F> {
    pub(super) fn new(fault: F, flow: Flow) -> Driver<F> {
        Driver {
            fault,
            state: F::State::default(),
            shared: std::sync::Arc::default(),
            span: Span::default(),
            now: 0,
            late: 0,
            injected: Vec::new(),
            out: Vec::new(),
            pieces: Vec::new(),
            ended: None,
            closed_at: None,
            swallowed: 0,
            credit: 0,
            asked: None,
            dialogue: None,
            memory: F::State::default(),
            input: VecDeque::new(),
            queue: VecDeque::new(),
            entry: 0,
            flow,
            turn: 0,
            offset: 0,
            turn_began: 0,
            held: None,
            want: 0,
            fresh: true,
        }
    }

    /// The connection has passed this many bytes before the fault came on, at this time.
    pub(super) fn attached(mut self, at: Time, seen: u64) -> Driver<F> {
        (self.now, self.span.attached, self.span.seen, self.offset) = (at, at, seen, seen);
        self
    }

    /// The body of an exchange, of this request and, if there is one, of its answer.
    pub(super) fn of(mut self, request: Request, response: Option<Response>) -> Driver<F> {
        let answered = response.as_ref().map(|_| self.now);
        self.dialogue = Some(Dialogue { request, response, answered, ..Dialogue::default() });
        self
    }

    /// The exchange comes to this phase at `now`, having begun with the connection: what the fault decides in the end, with
    /// the times until which it held. None: it would hold for good.
    pub(super) fn rule(&mut self, phase: Phase) -> (Vec<Time>, Option<Ruling>) {
        let dialogue = self.dialogue.clone().expect("an exchange");
        let (mut holds, arrived) = (Vec::new(), self.now);
        for _ in 0..100 {
            let asked = Asked {
                phase,
                request: &dialogue.request,
                response: dialogue.response.as_ref(),
                client: None,
                began: self.span.opened,
                arrived,
            };
            std::mem::swap(&mut self.state, &mut self.memory);
            let ruling = self.with(|fault, cx| fault.exchange(cx, &asked));
            std::mem::swap(&mut self.state, &mut self.memory);
            match ruling {
                Ruling::Hold(Until::At(time)) => {
                    assert!(time > self.now, "it holds until a time that has come");
                    holds.push(time);
                    self.now = time + self.late;
                }
                Ruling::Hold(Until::Change) => return (holds, None),
                ruling => return (holds, Some(ruling)),
            }
        }
        panic!("no end: {:?}", self.fault);
    }

    /// When the next push or FIN arrives.
    pub(super) fn at(&mut self, time: Time) -> &mut Driver<F> {
        self.entry = time;
        self
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.input.push_back((self.entry, Some(bytes.to_vec())));
    }

    pub(super) fn fin(&mut self) {
        self.input.push_back((self.entry, None));
    }

    /// The other side speaks: the next byte of this direction begins a turn.
    pub(super) fn next_turn(&mut self) {
        (self.turn, self.turn_began) = (self.turn + 1, self.offset);
    }

    /// Lets time run: arrivals, the ends of holds, alarms.
    pub(super) fn run_until(&mut self, end: Time) {
        self.held = None; // as after a retune
        for _ in 0..10_000_000 {
            self.arrive();
            self.decide();
            if self.ended.is_some() {
                return;
            }
            let hold = match self.held {
                Some(Until::At(time)) => Some(time.saturating_add(self.late)),
                _ => None,
            };
            let alarm = self.alarm();
            let arrival = self.input.front().map(|(time, _)| *time);
            let Some(next) = [hold, alarm, arrival].into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if hold.is_some_and(|hold| hold <= self.now) {
                self.held = None;
            }
            if alarm.is_some_and(|alarm| alarm <= self.now) {
                self.held = None;
                self.tick();
            }
        }
        panic!("no end: {:?} at {}", self.fault, self.now);
    }

    fn arrive(&mut self) {
        while self.input.front().is_some_and(|(time, _)| *time <= self.now) {
            let entry = self.input.pop_front().expect("there is one");
            if entry.1.is_some() {
                self.span.first.get_or_insert(self.now);
                self.span.last = Some(self.now);
            }
            self.queue.push_back(entry);
        }
    }

    fn decide(&mut self) {
        if std::mem::take(&mut self.fresh) {
            self.tick();
        }
        while self.held.is_none() && self.ended.is_none() {
            let Some((arrived, item)) = self.queue.pop_front() else { return };
            let Some(bytes) = item else {
                match self.ask(Item::Fin, arrived) {
                    Act::Pass(0) => self.closed_at = Some(self.now),
                    act => {
                        self.apply(&act);
                        self.queue.push_front((arrived, None));
                    }
                }
                continue;
            };
            let (mut arrived, mut rest) = (arrived, bytes);
            while rest.len() < self.want
                && let Some((at, Some(more))) = self.queue.pop_front_if(|(_, item)| item.is_some())
            {
                arrived = at;
                rest.extend(more);
            }
            let want = std::mem::take(&mut self.want);
            if rest.len() < want {
                if self.queue.is_empty() {
                    self.want = want;
                    self.queue.push_front((arrived, Some(rest)));
                    return;
                }
                self.credit = rest.len(); // the rest can't come
            }
            while self.held.is_none() && self.ended.is_none() && !rest.is_empty() {
                let n = if self.credit > 0 {
                    let n = self.credit.min(rest.len());
                    self.credit -= n;
                    self.emit(&rest[..n]);
                    n
                } else {
                    let act = self.ask(Item::Bytes(&rest), arrived);
                    match act {
                        Act::Pass(n) | Act::Piece(n) => {
                            assert!(n > 0, "{:?} passes nothing", self.fault);
                            let now = n.min(rest.len());
                            self.credit = if n == usize::MAX { n } else { n - now };
                            self.emit(&rest[..now]);
                            self.pieces.push(now);
                            now
                        }
                        Act::Take { n, put } => {
                            assert!(n <= rest.len());
                            self.swallowed += n;
                            self.out.extend(put.iter().map(|byte| (self.now, *byte)));
                            n
                        }
                        Act::More(n) => {
                            assert!(n > rest.len(), "{:?} asks for what it has", self.fault);
                            self.want = n;
                            break;
                        }
                        act => {
                            self.apply(&act);
                            0
                        }
                    }
                };
                self.offset += n as u64;
                self.span.seen = self.offset;
                if n > 0 {
                    self.span.passed = Some(self.now);
                }
                rest.drain(..n);
                if self.alarm().is_some_and(|alarm| alarm <= self.now) {
                    self.tick();
                }
            }
            if !rest.is_empty() {
                self.queue.push_front((arrived, Some(rest)));
            }
        }
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.out.extend(bytes.iter().map(|byte| (self.now, *byte)));
    }

    fn apply(&mut self, act: &Act) {
        match act {
            Act::Hold(until) => self.held = Some(*until),
            Act::End(end) | Act::Kill(end) => self.ended = Some((self.now, end.clone())),
            _ => {}
        }
    }

    fn tick(&mut self) {
        match self.ask(Item::Tick, self.now) {
            Act::Hold(_) => self.credit = 0,
            Act::Take { put, .. } => self.out.extend(put.iter().map(|byte| (self.now, *byte))),
            act => self.apply(&act),
        }
    }

    fn ask(&mut self, item: Item<'_>, arrived: Time) -> Act {
        let (turn, turn_offset, asked) = (self.turn, self.offset - self.turn_began, self.asked);
        let offer = Offer { item, arrived, offset: self.offset, turn, turn_offset, asked };
        self.with(|fault, cx| fault.stream(cx, &offer))
    }

    pub(super) fn alarm(&mut self) -> Option<Time> {
        self.with(|fault, cx| fault.alarm(cx))
    }

    /// The connection stands at the gate.
    pub(super) fn open(&mut self, now: Time) -> Gate {
        self.shown(now, Opening::Accepted(None))
    }

    /// The connection stands at the gate like this.
    pub(super) fn shown(&mut self, now: Time, opening: Opening) -> Gate {
        self.now = now;
        self.with(|fault, cx| fault.open(cx, &opening))
    }

    /// The fault goes off.
    pub(super) fn lift(&mut self) {
        self.fault.lifted(&mut self.state);
    }

    fn with<T>(&mut self, ask: impl FnOnce(&F, &mut Cx<'_, F>) -> T) -> T {
        let mut cx = Cx {
            state: &mut self.state,
            shared: &*self.shared,
            draw: DrawKey::new(1, "experiment", "fault").unit(9),
            span: &self.span,
            now: self.now,
            elapsed: self.now - self.span.attached,
            flow: self.flow,
            exchange: self.dialogue.as_ref(),
            injected: &mut self.injected,
        };
        ask(&self.fault, &mut cx)
    }

    /// Times at which bytes came out, with their number.
    pub(super) fn arrivals(&self) -> Vec<(Time, usize)> {
        let mut arrivals: Vec<(Time, usize)> = Vec::new();
        for (time, _) in &self.out {
            match arrivals.last_mut() {
                Some((last, n)) if last == time => *n += 1,
                _ => arrivals.push((*time, 1)),
            }
        }
        arrivals
    }
}
