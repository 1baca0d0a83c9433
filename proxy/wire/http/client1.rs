//! A client that speaks HTTP/1.0 or 1.1: one exchange after another on a connection.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use squall_core::fault::End;
use squall_core::http::{Fields, Request, Response, StatusCode, Version};
use squall_core::time::{SECOND, Time};

use super::ends::{Broken, Client, Length, Piece, Sink, Source};
use super::h1::{self, Decoder, Framing, Keep, Limits, Passing, Refusal, Scan, Side, Taken};
use super::line::Line;
use super::server1::{pay, poll_decoded, put_last_chunk, put_piece};
use super::watch::Watcher;
use crate::clock::SystemClock;
use crate::reset;
use crate::worker::BUFFER;

/// How long a connection may rest between two exchanges.
const REST: Time = 120 * SECOND;
/// How long a closed connection waits for the client to have read what was sent, and how much it throws away meanwhile.
const LINGER: Time = SECOND;
const LINGER_BYTES: usize = 1 << 20;

/// A client's connection.
pub(crate) struct Client1 {
    line: Line,
    watcher: Rc<Watcher>,
    limits: Limits,
    scan: Scan,
    /// A head has begun to come.
    begun: bool,
    version: Version,
    /// The request's body.
    decoder: Decoder,
    /// Whether another exchange may follow.
    persists: bool,
    sending: Sending,
    /// Bytes of the answer's body that its head has announced and that have not come.
    owed: u64,
    over: Over,
}

/// The body of an answer on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// No head has been sent.
    Nothing,
    Length,
    Chunks,
    UntilClose,
    Tunnel,
    Done,
}

/// How the connection is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// In order.
    Close,
    Reset,
}

/// What came instead of a request.
pub(crate) enum Next {
    /// A request's head, and what it says of the rest.
    Request(Taken),
    /// The preface of HTTP/2 (RFC 9113, 3.4), not taken yet.
    Preface,
    /// What can't be understood.
    Refused(Refusal),
    /// Nothing more.
    Closed,
}

impl Client1 {
    pub(crate) fn new(line: Line, watcher: Rc<Watcher>) -> Client1 {
        let limits = Limits::default();
        Client1 {
            line,
            watcher,
            limits,
            scan: Scan::default(),
            begun: false,
            version: Version::HTTP_11,
            decoder: Decoder::new(Framing::None, &limits, Side::Request),
            persists: true,
            sending: Sending::Nothing,
            owed: 0,
            over: Over::Close,
        }
    }

    /// Takes the connection away from HTTP/1, with what was read of it.
    pub(crate) fn into_line(self) -> Line {
        self.line
    }

    /// Waits for the next request. `first`: nothing came before it.
    pub(crate) fn poll_next(&mut self, into: &mut Request, first: bool, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Poll::Ready(Err(_)) = self.line.poll_flush(cx) {
                return Poll::Ready(Next::Closed);
            }
            if first && self.line.read.starts_with(b"PRI") {
                return Poll::Ready(Next::Preface);
            }
            if !self.begun && !self.line.read.is_empty() {
                *into = Request { scheme: into.scheme, ..self.watcher.worker.spare.request() };
            }
            match h1::request(&self.line.read, &mut self.scan, &self.limits, into) {
                Ok(Some(taken)) => {
                    self.line.read.advance(taken.used);
                    self.begun = false;
                    self.version = into.version;
                    self.persists = taken.persists;
                    self.sending = Sending::Nothing;
                    self.decoder = Decoder::new(taken.framing, &self.limits, Side::Request);
                    self.watcher.set_deadline(None);
                    return Poll::Ready(Next::Request(taken));
                }
                Ok(None) if !self.line.read.is_empty() && !self.begun => {
                    self.begun = true; // each piece that comes later is in the same time
                    let patience = self.watcher.worker.common.http_head;
                    self.watcher.set_deadline(Some(SystemClock::mono().saturating_add(patience)));
                }
                Ok(None) => {}
                Err(refusal) => {
                    self.persists = false;
                    return Poll::Ready(Next::Refused(refusal));
                }
            }
            if self.line.read.is_empty() {
                self.line.rest();
            }
            match self.line.poll_fill(cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Next::Closed),
                Poll::Pending if self.watcher.is_late() => {
                    self.watcher.set_deadline(None);
                    let timed_out =
                        Refusal { status: StatusCode::REQUEST_TIMEOUT, why: "the request's head took too long" };
                    return Poll::Ready(if self.begun { Next::Refused(timed_out) } else { Next::Closed });
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// From now on the connection rests until the next request.
    pub(crate) fn rest(&mut self) {
        self.watcher.set_deadline(Some(SystemClock::mono() + REST));
    }

    /// Whether another request may follow the exchange that has come to its end.
    pub(crate) fn goes_on(&self) -> bool {
        let whole = matches!(self.sending, Sending::Done);
        self.persists && whole && self.decoder.is_done() && self.over == Over::Close
    }

    /// Writes what waits, then ends the connection.
    pub(crate) async fn conclude(mut self) {
        let until = SystemClock::mono() + LINGER;
        self.watcher.set_deadline(Some(until));
        let mut thrown = 0;
        std::future::poll_fn(|cx| {
            if self.watcher.is_late() {
                return Poll::Ready(());
            }
            self.poll_conclude(&mut thrown, cx)
        })
        .await;
        let injected = self.line.stream.io().ended().unwrap_or(false);
        if self.over == Over::Reset || injected {
            self.line.stream.io().arm_reset();
        }
    }

    /// Closing a socket with unread bytes would send RST, and with it take back what the client has not read yet.
    fn poll_conclude(&mut self, thrown: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.over == Over::Reset {
            reset::prepare(&self.line.stream.io().socket);
            let _failed_already = ready!(self.line.poll_flush(cx));
            return reset::poll_sent(&self.line.stream.io().socket, cx);
        }
        self.line.close_when_written();
        if ready!(self.line.poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        while *thrown < LINGER_BYTES {
            self.line.read.clear();
            match ready!(self.line.poll_fill(cx)) {
                Ok(n) if n > 0 => *thrown += n,
                _ => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }

    fn keep(&self) -> Keep {
        match (self.persists, self.version) {
            (false, _) => Keep::Close,
            (true, Version::HTTP_10) => Keep::Alive,
            (true, _) => Keep::Open,
        }
    }

    fn put_head(&mut self, response: &Response, framing: Framing, upgrade: bool) {
        let passing = Passing { keep: self.keep(), upgrade, host: None };
        self.line.put_with(|out| h1::write_response(response, framing, &passing, out));
    }
}

impl Client for Client1 {
    fn interim(&mut self, response: &Response) {
        if self.version == Version::HTTP_10 {
            return; // it knows none (RFC 9110, 15.2)
        }
        self.line.put_with(|out| h1::write_response(response, Framing::None, &Passing::default(), out));
    }

    fn answer(&mut self, response: &Response, length: Length) {
        let framing = match length {
            Length::None | Length::Tunnel => Framing::None,
            Length::Known(n) => Framing::Length(n),
            Length::Open if self.version == Version::HTTP_11 => Framing::Chunked,
            Length::Open | Length::UntilClose => Framing::UntilClose,
        };
        self.owed = framing.announces();
        self.persists &= framing != Framing::UntilClose && length != Length::Tunnel;
        if length == Length::Tunnel {
            self.decoder = Decoder::new(Framing::UntilClose, &self.limits, Side::Request);
            let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
            let passing = Passing { keep: Keep::Open, upgrade: switches, host: None };
            self.line.put_with(|out| h1::write_response(response, framing, &passing, out));
            self.sending = Sending::Tunnel;
            return;
        }
        self.put_head(response, framing, false);
        self.sending = match framing {
            Framing::None | Framing::Length(0) => Sending::Done,
            Framing::Length(_) => Sending::Length,
            Framing::Chunked => Sending::Chunks,
            Framing::UntilClose => Sending::UntilClose,
        };
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.line.read.len() < BUFFER && !self.line.eof {
            match ready!(self.line.poll_fill(cx)) {
                Ok(n) if n > 0 => {}
                Ok(_) => break,
                Err(_) => return Poll::Ready(()),
            }
        }
        let is_gone = self.line.eof && self.line.read.is_empty();
        if is_gone { Poll::Ready(()) } else { Poll::Pending }
    }

    fn end(&mut self, how: &End) {
        self.persists = false;
        match (how, self.sending) {
            (End::Reset | End::Code(_), _) => self.over = Over::Reset,
            (End::Complete, Sending::Chunks) => self.finish(None),
            (End::Trailers(fields), Sending::Chunks) => self.finish(Some(Fields::clone(fields))),
            (End::Short, Sending::Chunks) => self.line.put_with(|out| h1::chunk_head(SMALL_CHUNK, out)),
            _ => {}
        }
        if self.sending != Sending::Done {
            self.sending = Sending::UntilClose; // nothing stands behind it
        }
    }

    fn read_no_more(&mut self) {
        self.persists &= self.decoder.is_done();
    }
}

/// What a chunk announces that does not come.
const SMALL_CHUNK: usize = 1024;

impl Source for Client1 {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        poll_decoded(&mut self.line, &mut self.decoder, cx)
    }
}

impl Sink for Client1 {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.line.has_room() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.line.poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, bytes: Bytes) {
        if matches!(self.sending, Sending::Length | Sending::Done) {
            self.persists &= pay(&mut self.owed, bytes.len());
        }
        put_piece(&mut self.line, self.sending == Sending::Chunks, bytes);
    }

    fn finish(&mut self, trailers: Option<Fields>) {
        self.persists &= self.owed == 0; // else the next answer would be taken for the rest
        match self.sending {
            Sending::Chunks => put_last_chunk(&mut self.line, trailers.as_ref()),
            Sending::Tunnel => self.line.close_when_written(),
            _ => {}
        }
        self.sending = Sending::Done;
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.line.poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }
}
