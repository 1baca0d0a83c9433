//! Bytes on their way between two stages.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::fault::{End, Span};
use crate::plan::FaultRef;
use crate::time::Time;

/// Bytes that came together, with what a fault is told about them.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) bytes: Bytes,
    /// When it came into this queue.
    pub(super) arrived: Time,
    /// Offset of its first byte in the flow.
    pub(super) offset: u64,
    pub(super) turn: u64,
    pub(super) turn_offset: u64,
    /// See [`crate::fault::Offer::asked`].
    pub(super) asked: Option<Time>,
    /// Segments of one piece may share a write, and with no other; 0: part of no piece.
    pub(super) piece: u64,
    /// A fault that only observes would have kept it: those behind are not asked about it.
    pub(super) ghost: bool,
}

impl Segment {
    /// Cuts off the first n bytes, or takes them all.
    fn split(&mut self, n: usize) -> Segment {
        let n = n.min(self.bytes.len());
        let first = Segment { bytes: self.bytes.split_to(n), ..self.clone() };
        self.offset += n as u64;
        self.turn_offset += n as u64;
        first
    }
}

/// A fault's end of the connection, on its way behind the bytes that had passed.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) how: End,
    pub(super) by: Arc<FaultRef>,
}

/// What comes after the last byte of a queue.
#[derive(Clone, Debug, Default)]
pub(super) enum Tail {
    /// More bytes, perhaps.
    #[default]
    Open,
    /// The sender's FIN, which came into this queue at that time.
    Fin(Time),
    /// The end that a fault made.
    End(Ended),
}

impl Tail {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Tail::Open)
    }
}

/// Segments in order, then the tail. Allocates nothing until it is used.
#[derive(Debug, Default)]
pub(super) struct Queue {
    segments: VecDeque<Segment>,
    bytes: usize,
    pub(super) tail: Tail,
}

impl Queue {
    /// Bytes in it.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Segment> {
        self.segments.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// Neither bytes nor an end.
    pub(super) fn is_idle(&self) -> bool {
        self.segments.is_empty() && self.tail.is_open()
    }

    /// After the tail nothing is taken any more.
    pub(super) fn push(&mut self, segment: Segment) {
        if segment.bytes.is_empty() || !self.tail.is_open() {
            return;
        }
        self.bytes += segment.bytes.len();
        self.segments.push_back(segment);
    }

    /// The first n bytes of the head, at most the whole head.
    pub(super) fn pop(&mut self, n: usize) -> Option<Segment> {
        let head = self.segments.front_mut()?;
        let taken = if n < head.bytes.len() { head.split(n) } else { self.segments.pop_front()? };
        self.bytes -= taken.bytes.len();
        Some(taken)
    }

    /// The first n bytes in one, if there are so many, with the arrival of the last of them. Copies only what lies in
    /// several segments.
    pub(super) fn first(&self, n: usize) -> Option<(Cow<'_, [u8]>, Time)> {
        let head = self.front()?;
        if head.bytes.len() >= n {
            return Some((Cow::Borrowed(&head.bytes), head.arrived));
        }
        let mut bytes = Vec::with_capacity(n);
        for segment in &self.segments {
            let missing = n - bytes.len();
            bytes.extend_from_slice(&segment.bytes[..missing.min(segment.bytes.len())]);
            if bytes.len() == n {
                return Some((Cow::Owned(bytes), segment.arrived));
            }
        }
        None
    }

    /// n bytes were written.
    pub(super) fn consume(&mut self, mut n: usize) {
        while let Some(head) = self.segments.front_mut() {
            let len = head.bytes.len();
            if n < len {
                head.bytes.advance(n);
                self.bytes -= n;
                return;
            }
            n -= len;
            self.bytes -= len;
            self.segments.pop_front();
        }
    }

    /// Drops everything; gives back the memory too.
    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }

    /// Moves all segments behind those of `to`, as arriving `now`. Reuses the memory of either queue if it is enough, so
    /// that letting go of a full queue allocates nothing.
    fn pour(&mut self, to: &mut Queue, now: Time) {
        for segment in &mut self.segments {
            segment.arrived = now;
        }
        if to.segments.is_empty() {
            std::mem::swap(&mut self.segments, &mut to.segments);
        } else if to.segments.capacity() - to.segments.len() < self.segments.len()
            && self.segments.capacity() - self.segments.len() >= to.segments.len()
        {
            while let Some(segment) = to.segments.pop_back() {
                self.segments.push_front(segment);
            }
            std::mem::swap(&mut self.segments, &mut to.segments);
        } else {
            to.segments.append(&mut self.segments);
        }
        to.bytes += std::mem::take(&mut self.bytes);
    }
}

/// Where a stage's output goes: the next stage's queue, or the way out.
pub(super) struct Sink<'a> {
    pub(super) queue: &'a mut Queue,
    pub(super) span: Option<&'a mut Span>,
}

impl Sink<'_> {
    pub(super) fn push(&mut self, segment: Segment, now: Time) {
        self.note(now);
        self.queue.push(Segment { arrived: now, ..segment });
    }

    /// Everything in order, FIN and end too.
    pub(super) fn drain(&mut self, from: &mut Queue, now: Time) {
        if from.is_idle() {
            return;
        }
        if !self.queue.tail.is_open() {
            from.clear();
            return;
        }
        if from.len() > 0 {
            self.note(now);
            from.pour(self.queue, now);
        }
        self.close(std::mem::take(&mut from.tail), now);
    }

    /// What comes after all that has passed. A fault's end takes the place of a FIN that went before.
    pub(super) fn close(&mut self, tail: Tail, now: Time) {
        match (&self.queue.tail, tail) {
            (_, Tail::Open) | (Tail::End(_), _) => {}
            (Tail::Open | Tail::Fin(_), Tail::Fin(_)) => self.queue.tail = Tail::Fin(now),
            (Tail::Open | Tail::Fin(_), end @ Tail::End(_)) => self.queue.tail = end,
        }
    }

    fn note(&mut self, now: Time) {
        if let Some(span) = &mut self.span {
            arrive(span, now);
        }
    }
}

/// Bytes came to a stage.
pub(super) fn arrive(span: &mut Span, now: Time) {
    span.first.get_or_insert(now);
    span.last = Some(now);
}

/// n bytes went through a stage, or vanished there.
pub(super) fn pass(span: &mut Span, n: usize, now: Time) {
    span.seen += n as u64;
    span.passed = Some(now);
}
