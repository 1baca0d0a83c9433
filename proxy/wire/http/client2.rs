//! A client that speaks HTTP/2: one exchange, a stream of a connection that carries others.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use squall_core::fault::End;
use squall_core::http::{Fields, Response, StatusCode};
use squall_core::time::Time;

use super::carrier::Carrier;
use super::ends::{Broken, Client, Length, Piece, Sink, Source};
use super::flow2::{Outflow, poll_body};
use super::head2;
use super::upgrade;
use super::watch::Watcher;
use crate::clock::SystemClock;

/// What the streams of a connection know of it.
pub(crate) struct Shared {
    pub(crate) carrier: Rc<Carrier>,
    /// Of the connection's task.
    pub(crate) watcher: Rc<Watcher>,
    /// The connection is to end with this code.
    pub(crate) go_away: Cell<Option<Reason>>,
    /// Streams that are open, that there were in all, and whose client left before it had an answer.
    pub(crate) open: Cell<usize>,
    pub(crate) begun: Cell<u64>,
    pub(crate) left: Cell<u64>,
}

/// See the module.
pub(crate) struct Client2 {
    shared: Rc<Shared>,
    watcher: Rc<Watcher>,
    respond: SendResponse<Bytes>,
    body: RecvStream,
    out: Option<Outflow>,
    ending: Ending,
    /// The client has given up before it had an answer.
    left: bool,
    /// Since when the client's windows have had no room for what waits.
    stalled: Option<Time>,
}

/// What follows everything that was put.
#[derive(Clone, Copy)]
enum Ending {
    /// The end that the message has.
    Own,
    Reset(Reason),
    GoAway(Reason),
}

impl Client2 {
    pub(crate) fn new(
        shared: Rc<Shared>,
        watcher: Rc<Watcher>,
        respond: SendResponse<Bytes>,
        body: RecvStream,
    ) -> Client2 {
        Client2 { shared, watcher, respond, body, out: None, ending: Ending::Own, left: false, stalled: None }
    }

    /// The request is malformed.
    pub(crate) fn refuse(&mut self) {
        self.ending = Ending::Reset(Reason::PROTOCOL_ERROR);
    }

    /// Hands on what waits, then ends the stream.
    pub(crate) async fn conclude(mut self) {
        let written = poll_fn(|cx| self.poll_written(cx)).await;
        let whole = self.out.as_ref().is_some_and(Outflow::is_whole);
        let reason = match self.ending {
            Ending::Own if whole || written.is_err() => return,
            Ending::Own => Reason::INTERNAL_ERROR,
            Ending::Reset(reason) | Ending::GoAway(reason) => reason,
        };
        if written.is_ok() {
            self.flush().await; // the crate takes back what it has not written
        }
        match (self.ending, &mut self.out) {
            (Ending::GoAway(reason), _) => {
                self.shared.go_away.set(Some(reason));
                self.shared.watcher.wake();
            }
            (_, Some(out)) => out.reset(reason),
            (_, None) => self.respond.send_reset(reason),
        }
    }

    /// Waits until what was handed on is written.
    async fn flush(&self) {
        let round = self.shared.carrier.round();
        self.shared.watcher.wake();
        self.watcher.set_deadline(Some(SystemClock::mono().saturating_add(self.watcher.worker.common.http_stall)));
        poll_fn(|cx| match self.shared.carrier.poll_round(round, cx) {
            Poll::Pending if self.watcher.is_late() => Poll::Ready(()),
            written => written,
        })
        .await;
        self.watcher.set_deadline(None);
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let Some(out) = &mut self.out else { return Poll::Ready(Ok(())) };
        let before = out.waiting();
        let written = out.poll_written(cx);
        let moved = out.waiting() < before;
        let (now, patience) = (SystemClock::mono(), self.watcher.worker.common.http_stall);
        match self.stalled {
            None if written.is_ready() => {}
            Some(since) if written.is_pending() && !moved && now < since.saturating_add(patience) => {}
            Some(_) if written.is_pending() && !moved => {
                self.set_stalled(None);
                return Poll::Ready(Err(Broken::Lost { reset: true }));
            }
            _ => self.set_stalled(written.is_pending().then_some(now)),
        }
        written
    }

    fn set_stalled(&mut self, since: Option<Time>) {
        let patience = self.watcher.worker.common.http_stall;
        self.stalled = since;
        self.watcher.set_deadline(since.map(|since| since.saturating_add(patience)));
    }
}

impl Drop for Client2 {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.open.set(shared.open.get().saturating_sub(1));
        shared.left.set(shared.left.get() + u64::from(self.left));
        shared.watcher.wake();
    }
}

impl Client for Client2 {
    fn interim(&mut self, response: &Response) {
        let _gone = self.respond.send_informational(head2::to_response(response, Length::None));
    }

    fn answer(&mut self, response: &Response, length: Length) {
        let head = if length == Length::Tunnel && response.status == StatusCode::SWITCHING_PROTOCOLS {
            head2::to_response(&upgrade::connected(response), length)
        } else {
            head2::to_response(response, length)
        };
        let whole = matches!(length, Length::None | Length::Known(0));
        match self.respond.send_response(head, whole) {
            Ok(send) => self.out = Some(Outflow::new(send, whole)),
            Err(_) => self.ending = Ending::Reset(Reason::INTERNAL_ERROR), // the client has left: nothing comes of it
        }
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.out {
            Some(out) if out.is_whole() => return Poll::Pending,
            Some(out) => out.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        let _why = ready!(reset);
        self.left |= self.out.is_none();
        Poll::Ready(())
    }

    fn end(&mut self, how: &End) {
        let headed = self.out.is_some();
        self.ending = match how {
            End::Complete if headed => {
                self.finish(None);
                Ending::Own
            }
            End::Trailers(fields) if headed => {
                self.finish(Some(Fields::clone(fields)));
                Ending::Own
            }
            End::Fin | End::Short | End::Complete | End::Trailers(_) => Ending::Reset(Reason::CANCEL),
            End::Reset => Ending::Reset(Reason::INTERNAL_ERROR),
            End::Code(code) => Ending::Reset(Reason::from(*code)),
            End::GoAway(code) => Ending::GoAway(Reason::from(*code)),
        };
    }

    /// What the client sends besides is refused when the stream ends (RFC 9113, 8.1): the crate sees to it.
    fn read_no_more(&mut self) {}
}

impl Source for Client2 {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        poll_body(&mut self.body, cx)
    }
}

impl Sink for Client2 {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.out.as_ref().is_none_or(Outflow::has_room) {
            return Poll::Ready(Ok(()));
        }
        let written = self.poll_out(cx)?;
        if self.out.as_ref().is_none_or(Outflow::has_room) { Poll::Ready(Ok(())) } else { written.map(Ok) }
    }

    fn put(&mut self, bytes: Bytes) {
        if let Some(out) = &mut self.out {
            out.put(bytes);
        }
    }

    fn finish(&mut self, trailers: Option<Fields>) {
        if let Some(out) = &mut self.out {
            out.finish(trailers.as_ref());
        }
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_out(cx)
    }
}
