//! An upstream that speaks HTTP/1.1: one exchange at a time on a connection.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use squall_core::http::{Fields, Method, Request, Response, StatusCode};

use super::ends::{Answered, Broken, Length, Piece, Server, Sink, Source};
use super::h1::{self, Decoder, Framing, Keep, Limits, Passing, Refusal, Scan, Side};
use super::line::Line;

/// One exchange on a connection to an upstream.
pub(crate) struct Server1 {
    line: Line,
    limits: Limits,
    method: Method,
    scan: Scan,
    sending: Sending,
    /// Bytes of the body that its head has announced and that have not come.
    owed: u64,
    decoder: Option<Decoder>,
    /// Whether the connection may carry another exchange after this one.
    persists: bool,
    /// The request asked to leave HTTP.
    asked_to_switch: bool,
    /// Bytes of an answer have come.
    heard: bool,
}

/// A body on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Length,
    Chunks,
    Raw,
    Done,
}

impl Server1 {
    /// Nothing has been sent yet.
    pub(crate) fn new(line: Line) -> Server1 {
        Server1 {
            line,
            limits: Limits::default(),
            method: Method::GET,
            scan: Scan::default(),
            sending: Sending::Done,
            owed: 0,
            decoder: None,
            persists: true,
            asked_to_switch: false,
            heard: false,
        }
    }

    /// Whether any byte of an answer has come.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether the connection may carry another exchange: everything was sent and understood, and nothing is left over.
    /// It is made ready for that.
    pub(crate) fn rest(&mut self) -> bool {
        let clean = self.persists
            && self.sending == Sending::Done
            && self.decoder.as_ref().is_some_and(Decoder::is_done)
            && self.line.read.is_empty()
            && self.line.waiting() == 0
            && !self.line.eof;
        self.line.rest();
        self.scan = Scan::default();
        self.decoder = None;
        self.heard = false;
        clean
    }

    /// Whether its upstream has neither closed it nor said anything since.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.line.is_quiet()
    }

    fn framing(&self, length: Length) -> Framing {
        match length {
            Length::None | Length::Tunnel => Framing::None,
            Length::Known(n) => Framing::Length(n),
            Length::Open | Length::UntilClose => Framing::Chunked,
        }
    }
}

impl Server for Server1 {
    fn request(&mut self, request: &Request, length: Length) {
        self.method = request.method.clone();
        let upgrade = length == Length::Tunnel;
        self.asked_to_switch = upgrade && request.method != Method::CONNECT;
        let framing = self.framing(length);
        self.owed = framing.announces();
        self.sending = match framing {
            Framing::Chunked => Sending::Chunks,
            Framing::Length(n) if n > 0 => Sending::Length,
            _ => Sending::Done,
        };
        let passing = Passing { keep: Keep::Open, upgrade, host: None };
        self.line.put_with(|out| h1::write_request(request, framing, &passing, out));
    }

    fn poll_head(&mut self, into: &mut Response, cx: &mut Context<'_>) -> Poll<Result<Answered, Broken>> {
        loop {
            let Server1 { line, scan, limits, method, .. } = self;
            let taken = match line.read.is_empty() {
                true => Ok(None),
                false => h1::response(&line.read, scan, limits, method, into),
            };
            if let Some(taken) = taken.inspect_err(|_| self.persists = false)? {
                self.line.read.advance(taken.used);
                let switches = into.status.as_u16() == 101;
                if switches && !self.asked_to_switch {
                    self.persists = false;
                    let why = "101 that nobody asked for";
                    return Poll::Ready(Err(Refusal { status: StatusCode::BAD_GATEWAY, why }.into()));
                }
                if into.status.is_informational() && !switches {
                    return Poll::Ready(Ok(Answered { length: Length::None }));
                }
                let tunnel = switches || (self.method == Method::CONNECT && into.status.is_success());
                self.persists &= taken.persists && !tunnel;
                let framing = if tunnel { Framing::UntilClose } else { taken.framing };
                self.decoder = Some(Decoder::new(framing, &self.limits, Side::Response));
                if tunnel {
                    self.sending = Sending::Raw;
                }
                let length = match taken.framing {
                    _ if tunnel => Length::Tunnel,
                    Framing::None => Length::None,
                    Framing::Length(n) => Length::Known(n),
                    Framing::Chunked => Length::Open,
                    Framing::UntilClose => Length::UntilClose,
                };
                return Poll::Ready(Ok(Answered { length }));
            }
            if ready!(self.line.poll_fill(cx))? == 0 {
                self.persists = false;
                return Poll::Ready(Err(Broken::Lost { reset: false }));
            }
            self.heard = true;
        }
    }

    fn cancel(&mut self) {
        self.persists = false;
    }
}

impl Source for Server1 {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        let Some(decoder) = &mut self.decoder else { return Poll::Ready(Ok(Piece::End(None))) };
        let piece = poll_decoded(&mut self.line, decoder, cx);
        if matches!(piece, Poll::Ready(Err(_))) {
            self.persists = false;
        }
        piece
    }
}

impl Sink for Server1 {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.line.has_room() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.line.poll_flush(cx)).inspect_err(|_| self.persists = false)?;
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, bytes: Bytes) {
        if matches!(self.sending, Sending::Length | Sending::Done) {
            self.persists &= pay(&mut self.owed, bytes.len());
        }
        put_piece(&mut self.line, self.sending == Sending::Chunks, bytes);
    }

    fn finish(&mut self, trailers: Option<Fields>) {
        self.persists &= self.owed == 0; // else the next request would be taken for the rest
        if self.sending == Sending::Chunks {
            put_last_chunk(&mut self.line, trailers.as_ref());
        }
        if self.sending == Sending::Raw {
            self.line.close_when_written();
        }
        self.sending = Sending::Done;
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.line.poll_flush(cx)).inspect_err(|_| self.persists = false)?;
        Poll::Ready(Ok(()))
    }
}

/// The next piece of a body, out of what frames it.
pub(super) fn poll_decoded(
    line: &mut Line,
    decoder: &mut Decoder,
    cx: &mut Context<'_>,
) -> Poll<Result<Piece, Broken>> {
    loop {
        match decoder.decode(&line.read)? {
            h1::Piece::More => {}
            h1::Piece::Skip(n) => {
                line.read.advance(n);
                continue;
            }
            h1::Piece::Data { skip, len } => {
                line.read.advance(skip);
                return Poll::Ready(Ok(Piece::Data(line.read.split_to(len).freeze())));
            }
            h1::Piece::End { used, trailers } => {
                line.read.advance(used);
                return Poll::Ready(Ok(Piece::End(trailers)));
            }
        }
        let filled = match ready!(line.poll_fill(cx)) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Poll::Ready(Err(error.into())),
            Err(_) => return Poll::Ready(Err(Broken::Lost { reset: true })),
        };
        if filled == 0 {
            return Poll::Ready(match decoder.eof() {
                Ok(()) => Ok(Piece::End(None)),
                Err(_) => Err(Broken::Lost { reset: false }),
            });
        }
    }
}

/// Takes bytes of a body off those that its head has announced; whether they were.
pub(super) fn pay(owed: &mut u64, n: usize) -> bool {
    let left = owed.checked_sub(n as u64);
    *owed = left.unwrap_or_default();
    left.is_some()
}

/// Puts a piece of a body behind what waits to be written.
pub(super) fn put_piece(line: &mut Line, in_chunks: bool, bytes: Bytes) {
    if bytes.is_empty() {
        return; // an empty chunk would be the last
    }
    if !in_chunks {
        return line.put(bytes);
    }
    line.put_with(|out| h1::chunk_head(bytes.len(), out));
    line.put(bytes);
    line.put_slice(h1::CHUNK_TAIL);
}

/// Puts the end of a body in chunks behind what waits to be written.
pub(super) fn put_last_chunk(line: &mut Line, trailers: Option<&Fields>) {
    line.put_with(|out| h1::last_chunk(trailers, out));
}
