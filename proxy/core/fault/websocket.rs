//! `websocket`: frames are dropped, late, doubled or cut short, or the connection is closed with a code.

mod config;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub use self::config::{Config, WebSocket};
use self::config::{Frames, How};
use crate::draw::fraction;
use crate::fault::framing::websocket::{Frame, Unread, close};
use crate::fault::{Act, Cx, Effect, End, Fault, Flow, Hooks, Injection, Item, Needs, Offer, Until, What};
use crate::time::Time;

/// What is remembered of one direction of a connection.
#[derive(Debug, Default)]
pub struct Memory {
    /// Offset up to which frames have been read; the rest of the latest one may be still to come.
    at: u64,
    /// Bytes of it that are still to come.
    left: u64,
    /// Messages that have passed or vanished.
    messages: u64,
    /// Frames, which number the draws.
    frames: u64,
    /// Where frames begin is not known any more.
    lost: bool,
    /// It is closed: the frame that says so is on its way, since then.
    closed: Option<Time>,
    /// The frame that has waited.
    recorded: Option<u64>,
}

/// Frames that were let by because they could not be read.
#[derive(Debug, Default)]
pub struct Untouched(AtomicU64);

/// The longest frame that is kept to be dropped, doubled or cut short as a whole.
const LONGEST: u64 = 64 << 10;

impl Fault for WebSocket {
    const KIND: &'static str = "websocket";
    const HOOKS: Hooks = Hooks::BODY;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = Untouched;
    type State = Memory;

    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    /// A frame with its longest head, and then some.
    fn depth(&self) -> usize {
        128 << 10
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if !acts_on(cx) || cx.state.lost {
            return Act::Pass(offer.len());
        }
        match offer.item {
            Item::Bytes(bytes) if !bytes.is_empty() => self.bytes(cx, offer, bytes),
            Item::Tick if self.is_reached(cx) => self.close(cx),
            _ => Act::Pass(0),
        }
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        if !acts_on(cx) || !self.is_reached(cx) {
            return None;
        }
        let passed = || cx.span.passed.unwrap_or(cx.span.attached);
        Some(cx.state.closed.map_or_else(passed, |closed| closed.saturating_add(1)))
    }

    fn unread(shared: &Untouched) -> u64 {
        shared.0.load(Ordering::Relaxed)
    }
}

/// Whether the exchange has become a WebSocket connection (RFC 6455, 4.2.2; RFC 8441, 5).
fn acts_on(cx: &Cx<'_, WebSocket>) -> bool {
    cx.exchange.is_some_and(|exchange| {
        let Some(response) = &exchange.response else { return false };
        match &exchange.request.protocol {
            Some(protocol) => protocol == "websocket" && response.status.is_success(),
            None => response.status.as_u16() == 101 && response.fields.has("sec-websocket-accept"),
        }
    })
}

impl WebSocket {
    fn bytes(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, bytes: &[u8]) -> Act {
        if cx.state.at != offer.offset {
            return lose(cx, bytes); // it came on in the middle of the conversation
        }
        if cx.state.left > 0 {
            return pass(cx, cx.state.left, bytes);
        }
        if self.is_reached(cx) {
            return self.close(cx);
        }
        let frame = match Frame::read(bytes) {
            Ok(frame) => frame,
            Err(Unread::Short(n)) => return Act::More(n),
            Err(Unread::Wrong) => return lose(cx, bytes),
        };
        if !self.hits(cx, &frame) {
            return go_on(cx, &frame, bytes);
        }
        match self.how {
            How::Close => go_on(cx, &frame, bytes),
            How::Delay => self.delay(cx, offer, &frame, bytes),
            How::Drop | How::Duplicate | How::Truncate => self.change(cx, &frame, bytes),
        }
    }

    /// Whether all of the messages have gone that pass before it is closed.
    fn is_reached(&self, cx: &Cx<'_, Self>) -> bool {
        self.how == How::Close && cx.state.messages >= self.after && cx.state.left == 0 && cx.state.at == cx.span.seen
    }

    /// Whether the fault is about this frame, by what it is and by its draw.
    fn hits(&self, cx: &Cx<'_, Self>, frame: &Frame) -> bool {
        let is_among = match self.frames {
            Frames::All => true,
            Frames::Data => frame.is_data(),
            Frames::Text => frame.opcode == 1,
            Frames::Binary => frame.opcode == 2,
            Frames::Ping => frame.opcode == 9,
            Frames::Pong => frame.opcode == 10,
        };
        is_among
            && cx.state.messages >= self.after
            && fraction(cx.draw.at(step(cx))) * 100.0 < self.share.at(cx.elapsed).0
    }

    fn delay(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, frame: &Frame, bytes: &[u8]) -> Act {
        let step = step(cx) | 1;
        let draw = cx.draw.at(step);
        let elapsed = cx.span.elapsed_at(offer.arrived, cx.now, cx.elapsed);
        let drawn = self.delay.as_ref().map_or(0, |delay| delay.sample(draw, elapsed));
        let due = offer.arrived.saturating_add(drawn);
        if due > cx.now {
            return Act::Hold(Until::At(due));
        }
        if drawn > 0 && cx.state.recorded.replace(step) != Some(step) {
            let (draw, achieved) = (Some(draw), cx.now.saturating_sub(offer.arrived));
            cx.inject(Injection { what: What::Delayed, step, draw, drawn, scheduled: drawn, achieved });
        }
        go_on(cx, frame, bytes)
    }

    /// Drops, doubles or shortens a frame as a whole. One that is too long, or only part of a message, is let by.
    fn change(&self, cx: &mut Cx<'_, Self>, frame: &Frame, bytes: &[u8]) -> Act {
        let is_whole = frame.fin && frame.opcode != 0;
        let len = usize::try_from(frame.len()).unwrap_or(usize::MAX);
        let keeps = self.how == How::Truncate && frame.payload <= self.to;
        if keeps {
            return go_on(cx, frame, bytes);
        }
        if !is_whole || frame.len() > LONGEST {
            cx.shared.0.fetch_add(1, Ordering::Relaxed);
            return go_on(cx, frame, bytes);
        }
        let Some(whole) = bytes.get(..len) else { return Act::More(len) };
        let (what, figure, put) = match self.how {
            How::Duplicate => (What::Duplicated, len, [whole, whole].concat()),
            How::Truncate => {
                let to = usize::try_from(self.to).unwrap_or(usize::MAX);
                (What::Truncated, to, frame.shortened(whole, to))
            }
            _ => (What::Dropped, len, Vec::new()),
        };
        let (step, figure) = (step(cx), figure as u64);
        cx.inject(Injection { what, step, draw: None, drawn: figure, scheduled: figure, achieved: figure });
        count(cx, frame);
        cx.state.at += frame.len();
        Act::Take { n: len, put: Bytes::from(put) }
    }

    /// Says that it closes, then ends the connection.
    fn close(&self, cx: &mut Cx<'_, Self>) -> Act {
        if cx.state.closed.is_some() {
            return Act::End(End::Fin);
        }
        cx.state.closed = Some(cx.now);
        let [a, b, c, d, ..] = cx.draw.at(step(cx)).to_le_bytes();
        let frame = close(self.code, &self.reason, (cx.flow == Flow::Upstream).then_some([a, b, c, d]));
        let at = cx.span.seen;
        cx.inject(Injection { what: What::Closed, step: at, draw: None, drawn: at, scheduled: at, achieved: at });
        Act::Take { n: 0, put: frame.into() }
    }
}

/// The step of a frame's draws: its number and its direction, and room for another.
fn step(cx: &Cx<'_, WebSocket>) -> u64 {
    cx.state.frames << 2 | (cx.flow as u64) << 1
}

fn count(cx: &mut Cx<'_, WebSocket>, frame: &Frame) {
    cx.state.frames += 1;
    cx.state.messages += u64::from(frame.fin && frame.is_data());
}

/// The frame passes as it is.
fn go_on(cx: &mut Cx<'_, WebSocket>, frame: &Frame, bytes: &[u8]) -> Act {
    count(cx, frame);
    pass(cx, frame.len(), bytes)
}

/// So many bytes pass, as far as they have come.
fn pass(cx: &mut Cx<'_, WebSocket>, len: u64, bytes: &[u8]) -> Act {
    let n = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
    cx.state.at += n as u64;
    cx.state.left = len - n as u64;
    Act::Pass(n)
}

/// From here on nobody knows where frames begin.
fn lose(cx: &mut Cx<'_, WebSocket>, bytes: &[u8]) -> Act {
    cx.state.lost = true;
    cx.shared.0.fetch_add(1, Ordering::Relaxed);
    Act::Pass(bytes.len())
}
