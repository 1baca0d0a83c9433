//! One side of a connection that squall carries between TLS and something else.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use squall_core::time::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use crate::clock::SystemClock;
use crate::http::{Io, Watcher};

/// What bytes travel in.
pub(super) enum Layer {
    Plain(Io),
    Accepted(Box<server::TlsStream<Io>>),
    Connected(Box<client::TlsStream<Io>>),
}

/// What of one side the other must know, or whoever carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// It has failed.
    pub(super) failed: Rc<Cell<bool>>,
    /// It has said under TLS that this is its end.
    pub(super) ended: Rc<Cell<bool>>,
    /// It ended without saying so under TLS.
    pub(super) cut: Rc<Cell<bool>>,
}

/// See the module.
pub(super) struct Side {
    layer: Layer,
    /// Read already, and not passed on yet.
    ahead: BytesMut,
    pub(super) told: Told,
    other: Told,
    /// Of a client's side, whose turns are measured.
    watcher: Option<Rc<Watcher>>,
    /// The client has waited since then for what is being written; 0: it has not.
    asked: Time,
}

impl Side {
    /// Both sides of a connection; `ahead` was read of the client already.
    pub(super) fn pair(client: Layer, ahead: BytesMut, upstream: Layer, watcher: &Rc<Watcher>) -> (Side, Side) {
        let (one, other) = (Told::default(), Told::default());
        let watcher = Some(watcher.clone());
        let client = Side { layer: client, ahead, told: one.clone(), other: other.clone(), watcher, asked: 0 };
        let ahead = BytesMut::new();
        (client, Side { layer: upstream, ahead, told: other, other: one, watcher: None, asked: 0 })
    }

    fn io(&mut self) -> &mut Io {
        match &mut self.layer {
            Layer::Plain(io) => io,
            Layer::Accepted(stream) => stream.get_mut().0,
            Layer::Connected(stream) => stream.get_mut().0,
        }
    }

    /// Runs `call` on what bytes travel in, and takes note if that fails.
    fn with<T>(&mut self, call: impl FnOnce(Pin<&mut dyn Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let done = match &mut self.layer {
            Layer::Plain(io) => call(Pin::new(io)),
            Layer::Accepted(stream) => call(Pin::new(&mut **stream)),
            Layer::Connected(stream) => call(Pin::new(&mut **stream)),
        };
        done.map_err(|error| {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                self.told.failed.set(true);
            }
            error
        })
    }

    /// What was written is with the client: its turn is over.
    fn answered(&mut self) {
        if self.asked > 0
            && let Some(watcher) = &self.watcher
        {
            let asked = std::mem::take(&mut self.asked);
            watcher.local.turn(SystemClock::mono().saturating_sub(asked));
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl AsyncRead for Side {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let n = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(n));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match ready!(self.with(|stream| stream.poll_read(cx, buf))) {
            Ok(()) if buf.filled().len() == before && buf.remaining() > 0 => {
                self.told.ended.set(!matches!(self.layer, Layer::Plain(_)));
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.told.cut.set(true);
                Poll::Ready(Ok(()))
            }
            read => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(self.with(|stream| stream.poll_write(cx, buf)))?;
        if let Some(watcher) = self.watcher.clone() {
            if self.asked == 0 {
                self.asked = watcher.take_asked();
            }
            if watcher.beneath().is_none() {
                self.answered();
            }
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..]);
        self.as_mut().poll_write(cx, first)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.with(|stream| stream.poll_flush(cx)))?;
        self.answered();
        Poll::Ready(Ok(()))
    }

    /// An end that was not told under TLS is not told under TLS here: it stays one that may hide something.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.other.cut.get() {
            return Pin::new(self.io()).poll_shutdown(cx);
        }
        self.with(|stream| stream.poll_shutdown(cx))
    }
}
