//! One direction: stages from the sender to the receiver, then what is ready to be written.

use std::io::IoSlice;

use bytes::Bytes;

use super::Talk;
use super::queue::{Ended, Queue, Segment, Sink, Tail};
use super::stage::{LetGo, Outcome, Stage, segment};
use super::unit::{Moment, Unit, sooner};
use crate::fault::{ALL, End, Flow};
use crate::time::Time;

/// Bytes that may wait to be written before the sender feels back-pressure, if the stages let more through than the
/// receiver takes.
const OUT_DEPTH: usize = 256 * 1024;
/// While more waits than that (a delay line lets go of what came faster than the receiver takes it), one byte is taken for
/// two that are written: the backlog goes, and what comes does not stop for as long as it takes, only to be missing at the
/// other end when the delay is over, and so on for ever.
const WRITTEN_FOR_TAKEN: usize = 2;
/// What is taken so comes in pieces of at least and at most so many bytes.
const TAKEN: std::ops::RangeInclusive<usize> = 64 * 1024..=512 * 1024;

#[derive(Debug)]
pub(super) struct Line {
    flow: Flow,
    pub(super) stages: Vec<Stage>,
    pub(super) out: Queue,
    /// The sender has closed its side, or a fault has ended the connection: nothing is taken any more.
    closed: bool,
    /// Numbers the pieces.
    pieces: u64,
    /// Bytes that may be taken in spite of a backlog.
    allowance: usize,
}

impl Line {
    pub(super) fn new(flow: Flow) -> Line {
        Line { flow, stages: Vec::new(), out: Queue::default(), closed: false, pieces: 0, allowance: 0 }
    }

    /// Adds the stage of a unit: by serial, or at the output end if bytes are in flight.
    pub(super) fn attach(&mut self, index: usize, units: &[Unit], talk: &Talk, now: Time) {
        let unit = &units[index];
        let waiting: usize = self.stages.iter().map(|stage| stage.queue.len()).sum();
        let in_flight = self.out.len() > 0 || self.stages.iter().any(|stage| !stage.queue.is_idle());
        let seen = talk.seen(self.flow).saturating_sub(waiting as u64);
        let mut stage = Stage::new(index, unit, self.flow, seen, talk.opened, now);
        stage.done = matches!(self.out.tail, Tail::End(_));
        let place = if in_flight {
            self.stages.len()
        } else {
            let serial = unit.active.serial;
            self.stages.iter().position(|other| units[other.unit].active.serial > serial).unwrap_or(self.stages.len())
        };
        self.stages.insert(place, stage);
    }

    pub(super) fn room(&self, units: &[Unit]) -> usize {
        if self.closed {
            return 0;
        }
        let out = match OUT_DEPTH.saturating_sub(self.out.len()) {
            0 if self.allowance >= *TAKEN.start() => self.allowance,
            room => room,
        };
        self.stages.iter().map(|stage| stage.room(&units[stage.unit])).fold(out, usize::min)
    }

    pub(super) fn credit(&self, units: &[Unit]) -> usize {
        if self.closed || !self.out.is_idle() || self.stages.iter().any(|stage| !stage.queue.is_idle()) {
            return 0;
        }
        self.stages.iter().map(|stage| stage.credit(&units[stage.unit])).fold(ALL, usize::min)
    }

    pub(super) fn skipped(&mut self, n: usize, now: Time) {
        for stage in &mut self.stages {
            stage.skipped(n, now);
        }
    }

    /// `asked`: since when the receiver waits for them.
    pub(super) fn push(&mut self, bytes: Bytes, asked: Option<Time>, talk: &Talk, now: Time) {
        if self.closed || bytes.is_empty() {
            return;
        }
        self.allowance = self.allowance.saturating_sub(bytes.len());
        let offset = talk.seen(self.flow).saturating_sub(bytes.len() as u64);
        let segment = Segment { asked, ..segment(bytes, offset, self.flow, talk, now) };
        self.head().push(segment, now);
    }

    /// Whether a fault keeps from the receiver that the sender has failed.
    pub(super) fn is_silent(&self, units: &[Unit]) -> bool {
        self.stages.iter().any(|stage| stage.silences(&units[stage.unit]))
    }

    pub(super) fn fin(&mut self, now: Time) {
        if !self.closed {
            self.closed = true;
            self.head().close(Tail::Fin(now), now);
        }
    }

    /// Where bytes come in.
    fn head(&mut self) -> Sink<'_> {
        match self.stages.first_mut() {
            Some(stage) => Sink { queue: &mut stage.queue, span: Some(&mut stage.span) },
            None => Sink { queue: &mut self.out, span: None },
        }
    }

    /// Lets the stages decide, from the sender to the receiver. Returns when to look again, or who kills the connection.
    pub(super) fn run(&mut self, units: &mut [Unit], moment: &mut Moment<'_>) -> Result<Option<Time>, Ended> {
        let mut wake = None;
        let gone = moment.over;
        for index in 0..self.stages.len() {
            let (before, after) = self.stages.split_at_mut(index + 1);
            let stage = &mut before[index];
            let unit = &mut units[stage.unit];
            let mut next = match after.first_mut() {
                Some(next) => Sink { queue: &mut next.queue, span: Some(&mut next.span) },
                None => Sink { queue: &mut self.out, span: None },
            };
            let outcome = match unit.active.observed {
                true => stage.observe(unit, &mut next, gone, moment),
                false => stage.run(unit, &mut next, &mut self.pieces, moment),
            };
            match outcome {
                Outcome::Settled(at) => wake = sooner(wake, at),
                Outcome::Killed(how) => return Err(Ended::new(how, unit)),
                Outcome::Ended(how) => {
                    wake = None; // nobody before it waits any more
                    self.end_behind(index, Ended::new(how, unit), moment.now.mono);
                }
            }
        }
        self.stages.retain(|stage| !(stage.gone && stage.queue.is_idle()));
        Ok(wake)
    }

    /// The connection ends behind what has passed this stage; what has not is dropped.
    fn end_behind(&mut self, index: usize, ended: Ended, now: Time) {
        self.closed = true;
        for stage in &mut self.stages[..=index] {
            stage.done = true;
            stage.queue.clear();
        }
        let next = match self.stages.get_mut(index + 1) {
            Some(stage) => &mut stage.queue,
            None => &mut self.out,
        };
        Sink { queue: next, span: None }.close(Tail::End(ended), now);
    }

    /// A unit goes off: its stage lets go. Returns who resets the connection, if bytes are missing.
    pub(super) fn stop(&mut self, index: usize, units: &mut [Unit], moment: &mut Moment<'_>) -> Option<Ended> {
        let place = self.stages.iter().position(|stage| stage.unit == index)?;
        let unit = &mut units[index];
        match self.stages[place].stop(unit, moment) {
            LetGo::Resume => None,
            LetGo::Close => {
                self.end_behind(place, Ended::new(End::Fin, unit), moment.now.mono);
                None
            }
            LetGo::Reset => Some(Ended::new(End::Reset, unit)),
        }
    }

    pub(super) fn slices<'a>(&'a self, slots: &mut [IoSlice<'a>]) -> usize {
        let Some(piece) = self.out.front().map(|head| head.piece) else { return 0 };
        let together = self.out.iter().take_while(|segment| segment.piece == piece);
        let mut filled = 0;
        for (slot, segment) in slots.iter_mut().zip(together) {
            *slot = IoSlice::new(&segment.bytes);
            filled += 1;
        }
        filled
    }

    /// n bytes were written.
    pub(super) fn wrote(&mut self, n: usize) {
        self.out.consume(n);
        self.allowance = match self.out.len() > OUT_DEPTH {
            true => (self.allowance + n / WRITTEN_FOR_TAKEN).min(*TAKEN.end()),
            false => 0,
        };
    }

    /// Bytes held or ready.
    pub(super) fn queued(&self) -> usize {
        self.out.len() + self.stages.iter().map(|stage| stage.queue.len()).sum::<usize>()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stages.is_empty() && self.out.is_idle()
    }

    pub(super) fn kill(&mut self) {
        self.closed = true;
        self.out.clear();
        for stage in &mut self.stages {
            stage.done = true;
            stage.queue.clear();
        }
    }
}
