//! The two bodies of an HTTP/2 stream.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use squall_core::http::{Fields, StatusCode};

use super::ends::{Broken, Piece};
use super::h1::Refusal;
use super::head2;

/// Bytes that may wait for the peer's windows before whoever they come from feels back-pressure.
const OUT: usize = 64 * 1024;

/// A body on its way out. No more is handed to the `h2` crate than the peer's windows have room for.
pub(crate) struct Outflow {
    send: SendStream<Bytes>,
    queue: VecDeque<Bytes>,
    waiting: usize,
    end: End,
}

/// What follows what waits.
enum End {
    /// Not known yet.
    Open,
    Clean,
    Trailers(HeaderMap),
    Sent,
}

impl Outflow {
    /// `whole`: the head was the end.
    pub(crate) fn new(send: SendStream<Bytes>, whole: bool) -> Outflow {
        let end = if whole { End::Sent } else { End::Open };
        Outflow { send, queue: VecDeque::new(), waiting: 0, end }
    }

    /// Whether more may be put behind what waits.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting < OUT
    }

    /// Bytes that wait for the peer's windows.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether the end was handed on.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// Puts bytes behind what waits.
    pub(crate) fn put(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.waiting += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// Puts the end behind what waits.
    pub(crate) fn finish(&mut self, trailers: Option<&Fields>) {
        if matches!(self.end, End::Open) {
            self.end = match trailers.map(head2::trailers).filter(|trailers| !trailers.is_empty()) {
                Some(trailers) => End::Trailers(trailers),
                None => End::Clean,
            };
        }
    }

    /// Ready once everything was handed on.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while let Some(first) = self.queue.front_mut() {
            self.send.reserve_capacity(self.waiting);
            let room = match self.send.capacity() {
                0 => match ready!(self.send.poll_capacity(cx)) {
                    Some(room) => room?,
                    None => return Poll::Ready(Err(Broken::Lost { reset: true })),
                },
                room => room,
            };
            let piece = first.split_to(room.min(first.len()));
            if first.is_empty() {
                self.queue.pop_front();
            }
            self.waiting -= piece.len();
            let last = self.queue.is_empty() && matches!(self.end, End::Clean);
            self.send.send_data(piece, last)?;
            if last {
                self.end = End::Sent;
            }
        }
        match std::mem::replace(&mut self.end, End::Sent) {
            End::Open => self.end = End::Open,
            End::Sent => {}
            End::Clean => self.send.send_data(Bytes::new(), true)?,
            End::Trailers(trailers) => self.send.send_trailers(trailers)?,
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once the peer takes no more, for this reason.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.send.poll_reset(cx)
    }

    /// Gives the stream up; what waits is dropped.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.queue.clear();
        self.waiting = 0;
        self.end = End::Sent;
        self.send.send_reset(reason);
    }
}

/// The next piece of a body that comes in. Whoever takes it has room for it: the peer may send as much again.
pub(crate) fn poll_body(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
    loop {
        match ready!(body.poll_data(cx)) {
            Some(Ok(bytes)) => {
                body.flow_control().release_capacity(bytes.len())?;
                if !bytes.is_empty() {
                    return Poll::Ready(Ok(Piece::Data(bytes)));
                }
            }
            Some(Err(error)) => return Poll::Ready(Err(error.into())),
            None => {
                let trailers = ready!(body.poll_trailers(cx))?;
                return Poll::Ready(Ok(Piece::End(trailers.map(|trailers| head2::fields(&trailers)))));
            }
        }
    }
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Broken {
        if error.is_io() {
            return error.into_io().map_or(Broken::Lost { reset: true }, Broken::from);
        }
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Broken::Code(reason.into()),
            Some(_) if error.is_library() => {
                Broken::Refused(Refusal { status: StatusCode::BAD_GATEWAY, why: "what came is no HTTP/2" })
            }
            _ => Broken::Lost { reset: true },
        }
    }
}
