//! The body of a recorded answer, piece by piece.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Frame};
use squall_core::recording::{Content, Ended, Exchange, Recording};
use squall_core::time::{MILLI, Time};

use crate::service::http::filler;
use crate::timer::{Sleep, Timer, now};

/// How long what came before a cut may take to be sent: it is no part of the answer any more once the cut is told.
const BEFORE_CUT: Time = 5 * MILLI;

/// See the module.
pub(super) struct Pieces {
    recording: Arc<Recording>,
    exchange: usize,
    timer: Timer,
    /// When the last piece was due.
    due: Time,
    /// Pieces come at their times, not at once.
    timed: bool,
    chunk: usize,
    /// Bytes left of a piece that was not kept.
    left: u64,
    waits: Option<Sleep>,
    trailed: bool,
}

impl Pieces {
    /// `due`: when the head was.
    pub(super) fn new(recording: Arc<Recording>, exchange: usize, timer: Timer, due: Time, timed: bool) -> Pieces {
        Pieces { recording, exchange, timer, due, timed, chunk: 0, left: 0, waits: None, trailed: false }
    }

    /// Waits from the time at which the last piece was due, however late that came.
    fn poll_wait(&mut self, after: Time, cx: &mut Context<'_>) -> Poll<()> {
        let Pieces { timer, due, waits, .. } = self;
        let waits = waits.get_or_insert_with(|| {
            *due = due.saturating_add(after);
            timer.sleep_until(*due)
        });
        ready!(Pin::new(waits).poll(cx));
        self.waits = None;
        Poll::Ready(())
    }

    fn poll_end(&mut self, exchange: &Exchange, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match exchange.ended {
            Ended::Whole if self.trailed || exchange.trailers.is_empty() => Poll::Ready(None),
            Ended::Whole => {
                self.trailed = true;
                let field = |(name, value): &(String, String)| {
                    Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
                };
                let mut trailers = HeaderMap::new();
                exchange.trailers.iter().filter_map(field).for_each(|(name, value)| {
                    trailers.append(name, value);
                });
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Ended::Cut => {
                if self.waits.is_none() {
                    self.due = self.due.max(now());
                }
                ready!(self.poll_wait(BEFORE_CUT, cx));
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the recorded answer was cut"))))
            }
            // nobody has seen what comes next: nothing does, until the client leaves
            Ended::Left => Poll::Pending,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let recording = Arc::clone(&self.recording);
        let Some(exchange) = recording.exchanges.get(self.exchange) else { return Poll::Ready(None) };
        loop {
            if self.left > 0 {
                let piece = filler(self.left);
                self.left -= piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(chunk) = exchange.chunks.get(self.chunk) else { return self.poll_end(exchange, cx) };
            if self.timed {
                ready!(self.poll_wait(chunk.after, cx));
            }
            self.chunk += 1;
            match &chunk.content {
                Content::Bytes(bytes) if bytes.is_empty() => {}
                Content::Bytes(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.clone())))),
                Content::Size(size) => self.left = *size,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Some(exchange) = self.recording.exchanges.get(self.exchange) else { return true };
        let is_over = self.left == 0 && self.chunk >= exchange.chunks.len();
        is_over && exchange.ended == Ended::Whole && (self.trailed || exchange.trailers.is_empty())
    }
}
