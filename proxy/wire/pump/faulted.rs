//! A connection with a chain: what is read is offered to the faults, and what they let go is written.

use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use squall_core::chain::{Chain, Ready};
use squall_core::fault::{End, Flow};
use squall_core::time::MILLI;

use super::{Conn, FLOWS, QUOTA, ROUNDS, Stage, measure, watch};
use crate::lane::{Broken, Lane};
use crate::socket::Socket;
use crate::worker::{BUFFER, Worker};

/// Pieces per write.
const SLOTS: usize = 64;
/// A read this large keeps the memory it went into; a smaller one is copied, so that little is held for nothing.
const KEEPS_BLOCK: usize = BUFFER / 2;
/// Blocks that come in with one look at the clock, if they are there: what arrived together goes together, with fewer
/// wake-ups on all sides.
const BLOCKS: usize = QUOTA / BUFFER;
/// With less room than this in the share of memory a connection waits.
const LEAST: usize = 4096;

/// What became of one attempt to move bytes.
#[derive(Clone, PartialEq, Eq)]
enum Moved {
    /// Nothing; the socket or the chain says when to try again.
    Nothing,
    /// Something: the chain is to be asked again.
    Some,
    /// Too much is held in the whole program: try again a little later.
    Starved,
    /// A fault ends the connection.
    End(End),
}

impl Conn {
    pub(super) fn poll_faulted(&mut self, cx: &mut Context<'_>) -> Result<Option<End>, (Flow, Broken)> {
        let mut busy = true;
        let mut starved = false;
        let quota = self.seen() + QUOTA as u64;
        for _ in 0..ROUNDS {
            if self.seen() >= quota {
                break;
            }
            let mut moved = false;
            for flow in FLOWS {
                let taken = self.take_in(flow, cx).map_err(|broken| (flow, broken))?;
                moved |= taken == Moved::Some;
                starved |= taken == Moved::Starved;
            }
            self.ask(self.worker.now());
            for flow in FLOWS {
                match self.give_out(flow, cx).map_err(|broken| (flow, broken))? {
                    Moved::End(how) => return Ok(Some(how)),
                    given => moved |= given == Moved::Some,
                }
            }
            self.hold_back(self.queued());
            if !moved {
                busy = false;
                break;
            }
        }
        let idle = self.chain.as_ref().is_some_and(|chain| chain.is_idle());
        if idle {
            self.settle(false);
            self.chain = None;
            self.wake_at(None);
        }
        if starved {
            let retry = self.worker.now().mono + MILLI;
            self.wake_at(Some(self.timer.map_or(retry, |at| at.min(retry))));
        }
        if busy && !idle {
            cx.waker().wake_by_ref(); // there may be more: after the others
        }
        Ok(None)
    }

    /// Bytes that have come so far, both ways.
    fn seen(&self) -> u64 {
        FLOWS.iter().map(|flow| self.talk.seen(*flow)).sum()
    }

    /// Reads from where `flow` comes from: once past the chain as far as its credit goes, else what is there into it.
    fn take_in(&mut self, flow: Flow, cx: &mut Context<'_>) -> Result<Moved, Broken> {
        let Conn {
            worker,
            local,
            client,
            server: Some(server),
            lanes,
            gone,
            talk,
            chain: Some(chain),
            asked,
            held,
            ..
        } = self
        else {
            return Ok(Moved::Nothing);
        };
        let ends = ends(flow, client, server);
        let lane = &mut lanes[flow as usize];
        lane.waiting = false;
        let mut delivered = 0;
        if gone[flow as usize] {
            return Ok(Moved::Nothing);
        }
        let to_nobody = gone[1 - flow as usize];
        if to_nobody {
            lane.drop_rest();
        }
        let flushed = lane.poll_flush(cx, ends.1, &worker.pipes, &mut delivered);
        local.meter.delivered(flow, delivered);
        if let Poll::Ready(flushed) = flushed {
            flushed?;
        } else {
            return watch(ends.0, cx).map(|()| Moved::Nothing);
        }
        if let Some(error) = lane.failed.take() {
            return Err(Broken::Source(error));
        }
        if lane.eof {
            return watch(ends.0, cx).map(|()| Moved::Nothing);
        }
        let credit = if to_nobody { 0 } else { chain.credit(flow) };
        let mut buffer = worker.buffer.borrow_mut();
        let mut blocks: [Bytes; BLOCKS] = Default::default();
        let read = if credit > 0 {
            let through = (&worker.pipes, &mut **buffer);
            delivered = 0;
            let read = lane.poll_transfer(cx, ends, credit, through, &mut delivered);
            local.meter.delivered(flow, delivered);
            read
        } else {
            let room = chain.room(flow);
            if room == 0 {
                return watch(ends.0, cx).map(|()| Moved::Nothing);
            }
            // nobody holds more than is left for all others
            let common = &worker.common;
            let left = common.held_limit.saturating_sub(common.held.load(Ordering::Relaxed));
            let share = left.saturating_sub(*held) / 2;
            if share < LEAST {
                watch(ends.0, cx)?;
                return Ok(Moved::Starved);
            }
            poll_take(lane, cx, ends.0, room.min(share), worker, (&mut buffer, &mut blocks))
        };
        let n = match read {
            Poll::Pending => {
                lane.waiting = true;
                return Ok(Moved::Nothing);
            }
            Poll::Ready(read) => read?,
        };
        let now = worker.now();
        if n == 0 {
            lane.eof = true;
            chain.fin(flow, now);
            return Ok(Moved::Some);
        }
        local.meter.received(flow, n);
        if credit > 0 {
            talk.moved(flow, n);
            chain.skipped(flow, n, now);
        }
        for block in blocks.into_iter().take_while(|block| !block.is_empty()) {
            talk.moved(flow, block.len());
            chain.push(flow, block, talk, now);
        }
        if local.measure.get() && (flow == Flow::Upstream || credit > 0) {
            measure(local, asked, flow, now.mono);
        }
        Ok(Moved::Some)
    }

    /// Writes what the chain has let go in this direction.
    fn give_out(&mut self, flow: Flow, cx: &mut Context<'_>) -> Result<Moved, Broken> {
        let Conn { worker, local, client, server: Some(server), lanes, gone, chain: Some(chain), asked, .. } = self
        else {
            return Ok(Moved::Nothing);
        };
        let to_nobody = gone[1 - flow as usize];
        let sink = ends(flow, client, server).1;
        let lane = &mut lanes[flow as usize];
        let mut moved = Moved::Nothing;
        loop {
            let ready = chain.ready(flow);
            if !lane.is_empty() {
                return Ok(moved); // those bytes came first
            }
            match ready {
                Ready::Nothing => return Ok(moved),
                Ready::Bytes if to_nobody => {
                    let mut slots = [IoSlice::new(&[]); SLOTS];
                    let used = chain.slices(flow, &mut slots);
                    let dropped = slots[..used].iter().map(|slot| slot.len()).sum();
                    chain.wrote(flow, dropped);
                }
                Ready::Bytes => match write(chain, flow, sink, cx) {
                    Poll::Pending => return Ok(moved),
                    Poll::Ready(written) => {
                        local.meter.delivered(flow, written? as u64);
                        if local.measure.get() && flow == Flow::Downstream {
                            measure(local, asked, flow, worker.now().mono);
                        }
                    }
                },
                Ready::Fin => {
                    if !to_nobody {
                        sink.close_writing();
                    }
                    chain.fin_passed(flow);
                    lane.finished = true;
                }
                Ready::Close => return Ok(Moved::End(End::Fin)),
                Ready::Reset => return Ok(Moved::End(End::Reset)),
            }
            moved = Moved::Some;
        }
    }

    /// Writes what was let go, without a turn of the task. False: the task has to look.
    pub(super) fn write_out(&mut self, cx: &mut Context<'_>) -> bool {
        if !matches!(self.stage, Stage::Open) || self.gone != [false; 2] {
            return false;
        }
        self.give_out_once(cx);
        self.hold_back(self.queued());
        if !self.chain.as_ref().is_some_and(|chain| chain.is_idle()) || !self.lanes.iter().all(|lane| lane.waiting) {
            return false;
        }
        self.settle(false);
        self.chain = None;
        self.wake_at(None);
        true
    }

    /// Writes what is ready in both directions as far as that goes without waiting.
    pub(super) fn give_out_once(&mut self, cx: &mut Context<'_>) {
        for flow in FLOWS {
            let Conn { worker, local, client, server: Some(server), lanes, chain, asked, .. } = &mut *self else {
                return;
            };
            let sink = ends(flow, client, server).1;
            let lane = &mut lanes[flow as usize];
            let mut delivered = 0;
            let flushed = lane.poll_flush(cx, sink, &worker.pipes, &mut delivered);
            if let (Poll::Ready(Ok(())), Some(chain)) = (flushed, chain) {
                while chain.ready(flow) == Ready::Bytes {
                    let Poll::Ready(Ok(n)) = write(chain, flow, sink, cx) else { break };
                    delivered += n as u64;
                }
            }
            local.meter.delivered(flow, delivered);
            if delivered > 0 && local.measure.get() && flow == Flow::Downstream {
                measure(local, asked, flow, worker.now().mono);
            }
        }
    }
}

/// Reads at most `room` bytes to keep: into `blocks`, one after the other, while each comes full.
fn poll_take(
    lane: &mut Lane,
    cx: &mut Context<'_>,
    source: &Socket,
    room: usize,
    worker: &Worker,
    (buffer, blocks): (&mut [u8], &mut [Bytes]),
) -> Poll<Result<usize, Broken>> {
    let mut read = 0;
    for block in blocks {
        match poll_block(lane, cx, source, room - read, worker, buffer) {
            Poll::Pending if read > 0 => break,
            // the socket says so only once, and what came before it goes first
            Poll::Ready(Err(Broken::Source(error))) if read > 0 => {
                lane.failed = Some(error);
                break;
            }
            Poll::Ready(Ok(bytes)) => *block = bytes, // its end is told again
            other => return other.map_ok(|_| 0),
        }
        read += block.len();
        if block.len() < BUFFER || read == room {
            break;
        }
    }
    Poll::Ready(Ok(read))
}

/// Reads once, at most `room` bytes; none: the source has closed its side.
fn poll_block(
    lane: &mut Lane,
    cx: &mut Context<'_>,
    source: &Socket,
    room: usize,
    worker: &Worker,
    buffer: &mut [u8],
) -> Poll<Result<Bytes, Broken>> {
    if room < BUFFER {
        let n = ready!(lane.poll_read(cx, source, &mut buffer[..room]))?;
        return Poll::Ready(Ok(Bytes::copy_from_slice(&buffer[..n])));
    }
    let mut block = worker.block.borrow_mut();
    block.reserve_exact(BUFFER);
    let n = ready!(source.poll_read_block(cx, &mut lane.stale, &mut block)).map_err(Broken::Source)?;
    let bytes = if n >= KEEPS_BLOCK { std::mem::take(&mut *block).into() } else { Bytes::copy_from_slice(&block) };
    block.clear();
    Poll::Ready(Ok(bytes))
}

fn ends<'a>(flow: Flow, client: &'a Socket, server: &'a Socket) -> (&'a Socket, &'a Socket) {
    match flow {
        Flow::Upstream => (client, server),
        Flow::Downstream => (server, client),
    }
}

fn write(chain: &mut Chain, flow: Flow, sink: &Socket, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
    let mut slots = [IoSlice::new(&[]); SLOTS];
    let used = chain.slices(flow, &mut slots);
    let written = sink.poll_write_vectored(cx, &slots[..used]);
    if let Poll::Ready(Ok(n)) = written {
        chain.wrote(flow, n);
    }
    written.map_err(Broken::Sink)
}
