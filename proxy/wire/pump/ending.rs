//! The end that a fault makes: after everything that has passed is written, FIN or RST to both sides.

use std::task::{Context, Poll};

use squall_core::fault::{End, Flow};
use squall_core::time::{SECOND, Time};

use super::{Conn, FLOWS, ROUNDS, Stage};
use crate::reset;

/// How long a reset waits for the kernel to send what was written, and a close for the other side's FIN.
const PATIENCE: Time = SECOND;

/// An end under way.
pub(super) struct Ending {
    resets: bool,
    until: Time,
}

impl Conn {
    /// Begins it. Whoever asks for the reason finds it before the peer can see the end.
    pub(super) fn end(&mut self, how: &End, cx: &mut Context<'_>) -> Stage {
        self.local.meter.injected.add(1);
        let flaw = self.shaken.as_ref().and_then(|shaken| shaken.flaw.as_ref());
        let by = self.chain.as_ref().and_then(|chain| chain.ended_by()).or_else(|| Some(&flaw?.1));
        if let Some(fault) = by {
            // a client knows itself by the address that it has, be it here or before whoever stands between
            let other = self.talk.client.filter(|client| Some(*client) != self.peer);
            for client in [self.peer, other].into_iter().flatten() {
                self.worker.common.note_end(self.worker.id, client, fault);
            }
        }
        self.give_out_once(cx);
        self.filter_nothing(self.worker.now().mono);
        self.chain = None;
        self.hold_back(0);
        self.settle(false);
        let sockets = [Some(&self.client), self.server.as_ref()].into_iter().flatten();
        let resets = how.is_reset();
        if resets {
            sockets.for_each(reset::prepare);
        } else {
            sockets.for_each(|socket| socket.close_writing());
        }
        let until = self.worker.now().mono + PATIENCE;
        self.wake_at(Some(until));
        Stage::Ending(Ending { resets, until })
    }

    pub(super) fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let Stage::Ending(Ending { resets, until }) = self.stage else { return Poll::Ready(Stage::Done) };
        let late = self.worker.now().mono >= until;
        let over = if resets { self.poll_sent(cx).is_ready() } else { self.poll_discard(cx).is_ready() };
        if !over && !late {
            return Poll::Pending;
        }
        if resets {
            [Some(&self.client), self.server.as_ref()].into_iter().flatten().for_each(reset::arm);
        }
        Poll::Ready(Stage::Done)
    }

    /// Waits until the kernel has sent everything.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        let client = reset::poll_sent(&self.client, cx);
        let server = self.server.as_ref().map_or(Poll::Ready(()), |server| reset::poll_sent(server, cx));
        if client.is_ready() && server.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads both sides to their end: closing a socket with unread bytes would send RST after the FIN.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut open = false;
        for flow in FLOWS {
            let source = match flow {
                Flow::Upstream => Some(&self.client),
                Flow::Downstream => self.server.as_ref(),
            };
            let lane = &mut self.lanes[flow as usize];
            let Some(source) = source else { continue };
            let mut rounds = 0;
            while !lane.eof {
                rounds += 1;
                if rounds > ROUNDS {
                    cx.waker().wake_by_ref();
                    open = true;
                    break;
                }
                match lane.poll_read(cx, source, &mut self.worker.buffer.borrow_mut()) {
                    Poll::Pending => {
                        open = true;
                        break;
                    }
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    Poll::Ready(_) => lane.eof = true,
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    }
}
