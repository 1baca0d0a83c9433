//! The bytes beneath an HTTP/2 connection, as the `h2` crate moves them. They are kept outside of it, so that its task knows what it
//! has written, whether the peer has spoken, and whether the peer sends frames that lead nowhere; and so that the connection
//! can be closed in order when the crate is done with it.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::calm::Calm;
use super::stream::Stream;

/// See the module.
pub(crate) struct Carrier {
    stream: RefCell<Stream>,
    /// What was read before.
    before: RefCell<Bytes>,
    /// The latest write could not be done.
    blocked: Cell<bool>,
    heard: Cell<bool>,
    calm: Option<RefCell<Calm>>,
    flooded: Cell<bool>,
    /// Times that everything there was to write was written.
    rounds: Cell<u64>,
    /// Who waits for the next of them.
    waiting: RefCell<Vec<Waker>>,
    over: Cell<bool>,
}

impl Carrier {
    /// Of a client. `before` is what was read of the stream already.
    pub(crate) fn of_client(stream: Stream, before: Bytes) -> Rc<Carrier> {
        Carrier::new(stream, before, Some(Calm::new()))
    }

    /// To an upstream.
    pub(crate) fn to_upstream(stream: Stream) -> Rc<Carrier> {
        Carrier::new(stream, Bytes::new(), None)
    }

    fn new(stream: Stream, before: Bytes, calm: Option<Calm>) -> Rc<Carrier> {
        Rc::new(Carrier {
            stream: RefCell::new(stream),
            before: RefCell::new(before),
            blocked: Cell::new(false),
            heard: Cell::new(false),
            calm: calm.map(RefCell::new),
            flooded: Cell::new(false),
            rounds: Cell::new(0),
            waiting: RefCell::default(),
            over: Cell::new(false),
        })
    }

    /// What stands on it when the crate is done.
    pub(crate) fn stream(&self) -> &RefCell<Stream> {
        &self.stream
    }

    /// Whether the peer has said anything.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard.get()
    }

    /// Whether the peer has sent too many frames that lead nowhere. Nothing more is read then.
    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    /// The connection's task was polled and has nothing more to do: what there was to write is written, unless the socket
    /// took no more.
    pub(crate) fn went_round(&self) {
        if !self.blocked.get() {
            self.rounds.set(self.rounds.get() + 1);
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Nothing is written any more.
    pub(crate) fn end(&self) {
        self.over.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// See [`Carrier::poll_round`].
    pub(crate) fn round(&self) -> u64 {
        self.rounds.get()
    }

    /// Ready once what was handed to the crate up to `round` is written, or never will be.
    pub(crate) fn poll_round(&self, round: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.over.get() || self.rounds.get() > round {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        if let Poll::Ready(Err(error)) = stream.poll_flush(cx) {
            return Poll::Ready(Err(error)); // what faults have let go is written at every poll
        }
        if self.flooded.get() {
            return Poll::Pending;
        }
        let mut before = self.before.borrow_mut();
        let n = if before.is_empty() {
            ready!(stream.poll_read_into(cx, buffer))?
        } else {
            let n = before.len().min(buffer.len());
            before.copy_to_slice(&mut buffer[..n]);
            n
        };
        self.heard.set(self.heard.get() || n > 0);
        if let Some(calm) = &self.calm
            && !calm.borrow_mut().take(&buffer[..n])
        {
            self.flooded.set(true);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = self.stream.borrow_mut().poll_write_slices(cx, slices);
        self.blocked.set(written.is_pending());
        written
    }
}

/// What the `h2` crate has of it.
pub(crate) struct Handle(pub(crate) Rc<Carrier>);

impl AsyncRead for Handle {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(self.0.poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Handle {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does not wait for what a fault beneath holds: the crate would not read meanwhile.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.stream.borrow_mut().poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.stream.borrow_mut().poll_close(cx)
    }
}
