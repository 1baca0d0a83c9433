//! A stage that only observes: the fault is asked as ever, and nothing that it says is carried out. About what it would
//! have held it is asked again at that time, in advance.

use super::{ALARMS, Act, Injection, Outcome, STRIKES, Segment, Sink, Stage, Tail, Time, Until, What, pass};
use crate::chain::unit::{Moment, Unit};

/// What an observing stage would be doing.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    /// Until when it would have held what it was asked about last, monotonic.
    pub(super) ahead: Time,
    /// Bytes that it would hold until a change; none: it would not.
    held: Option<u64>,
    /// The fault has put that on record.
    noted: bool,
}

impl Stage {
    /// Whether it would hold everything.
    pub(super) fn would_hold(&self) -> bool {
        self.shadow.held.is_some()
    }

    /// Passes everything on at once, and puts on record what the fault would have done with it. It is not shown bytes that
    /// would not have come this far; `gone`: none would.
    pub(in crate::chain) fn observe(
        &mut self,
        unit: &mut Unit,
        next: &mut Sink<'_>,
        gone: bool,
        moment: &mut Moment<'_>,
    ) -> Outcome {
        let now = moment.now.mono;
        self.span.still = unit.still;
        let mut ended = gone;
        if !moment.over {
            ended |= self.observe_alarms(unit, moment);
        }
        let mut strikes = 0;
        while let Some(head) = self.queue.front() {
            let (len, is_shown) = (head.bytes.len(), !head.ghost && !ended && self.acts(unit));
            if !is_shown {
                self.hand_on(len, ended || self.would_hold(), next, now);
                continue;
            }
            if self.credit > 0 {
                let n = self.hand_on(self.credit.min(len), false, next, now);
                self.spend(n);
                (strikes, self.want) = (0, 0);
                continue;
            }
            match self.observe_head(unit, &mut strikes, moment) {
                Act::Pass(n) | Act::Piece(n) => self.credit = n,
                Act::Take { n, put } if n > 0 => {
                    self.hand_on(n.min(len.max(self.want)), put.is_empty(), next, now);
                    (strikes, self.want) = (0, 0);
                }
                Act::More(n) if n <= self.queue.len() => self.want = n,
                Act::More(n) => self.credit = n, // nothing waits for the rest: it is not shown these
                Act::Hold(_) | Act::Take { .. } => {}
                Act::End(_) | Act::Kill(_) => ended = true,
            }
        }
        while matches!(self.queue.tail, Tail::Fin(_)) && !ended && !moment.over && self.acts(unit) {
            match self.observe_head(unit, &mut strikes, moment) {
                Act::Hold(_) | Act::Take { .. } => {}
                Act::Pass(_) | Act::Piece(_) | Act::More(_) => break,
                Act::End(_) | Act::Kill(_) => ended = true,
            }
        }
        next.close(std::mem::take(&mut self.queue.tail), now);
        moment.over |= ended;
        let alarm = if self.acts(unit) && !moment.over { self.alarm(unit, moment) } else { None };
        Outcome::Settled(alarm.filter(|at| *at > now))
    }

    /// Asks about the head, or the FIN, at the time at which it would have come to it. A fault that does not get on would
    /// hold it.
    fn observe_head(&mut self, unit: &mut Unit, strikes: &mut u32, moment: &mut Moment<'_>) -> Act {
        let recorded = moment.records.len();
        let act = self.ask(Some(()), unit, moment);
        *strikes += 1;
        match act {
            Act::Hold(Until::At(at)) if *strikes < STRIKES => self.shadow.ahead = self.shadow.ahead.max(at),
            Act::Hold(_) => {
                self.shadow.noted = moment.records.len() > recorded;
                self.shadow.held = Some(0);
            }
            _ if *strikes >= STRIKES => self.stuck = true,
            _ => {}
        }
        act
    }

    /// Answers alarms that have come, and says once that the stage came on. Returns whether the fault would end the
    /// connection.
    fn observe_alarms(&mut self, unit: &mut Unit, moment: &mut Moment<'_>) -> bool {
        for _ in 0..ALARMS {
            if !self.acts(unit) {
                break;
            }
            if !std::mem::take(&mut self.fresh) {
                let due = self.alarm(unit, moment).filter(|at| *at <= moment.now.mono && self.answered != Some(*at));
                let Some(due) = due else { break };
                self.answered = Some(due);
            }
            match self.ask(None, unit, moment) {
                Act::Hold(_) => self.credit = 0,
                Act::End(_) | Act::Kill(_) => return true,
                Act::Pass(_) | Act::Piece(_) | Act::More(_) | Act::Take { .. } => {}
            }
        }
        false
    }

    /// The first n bytes go on as they are; `ghost`: they would not have. Returns how many went.
    fn hand_on(&mut self, n: usize, ghost: bool, next: &mut Sink<'_>, now: Time) -> usize {
        let mut gone = 0;
        while gone < n
            && let Some(segment) = self.queue.pop(n - gone)
        {
            gone += segment.bytes.len();
            next.push(Segment { ghost: ghost || segment.ghost, ..segment }, now);
        }
        if let Some(held) = &mut self.shadow.held {
            *held += gone as u64;
        }
        pass(&mut self.span, gone, now);
        gone
    }

    /// The fault goes off. What it would have held until now is put on record, unless it has done so.
    pub(super) fn stop_observing(&mut self, unit: &mut Unit, moment: &mut Moment<'_>) {
        let Shadow { held, noted, .. } = std::mem::take(&mut self.shadow);
        let Some(held) = held.filter(|held| *held > 0 && !noted) else { return };
        let step = self.span.seen;
        let injection = Injection { what: What::Held, step, draw: None, drawn: held, scheduled: held, achieved: 0 };
        unit.record(Some(self.flow), injection, true, moment);
    }
}
