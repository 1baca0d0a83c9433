//! What HTTP travels on.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{client, server};

use super::io::Io;

/// A connection, in the clear or under TLS.
pub(crate) enum Stream {
    Plain(Io),
    /// With a client.
    Accepted(Box<server::TlsStream<Io>>),
    /// With an upstream.
    Connected(Box<client::TlsStream<Io>>),
}

/// The same of either kind of TLS.
macro_rules! tls {
    ($stream:expr, $io:ident => $plain:expr, $tls:ident => $secret:expr) => {
        match $stream {
            Stream::Plain($io) => $plain,
            Stream::Accepted($tls) => $secret,
            Stream::Connected($tls) => $secret,
        }
    };
}

impl Stream {
    /// In the clear.
    pub(crate) fn plain(io: Io) -> Stream {
        Stream::Plain(io)
    }

    /// The socket beneath.
    pub(crate) fn io(&self) -> &Io {
        tls!(self, io => io, tls => tls.get_ref().0)
    }

    /// Reads; 0: the peer has closed its side.
    pub(crate) fn poll_read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        tls!(self, io => io.poll_read_into(cx, buffer), tls => {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut **tls).poll_read(cx, &mut read))?;
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    /// Writes what it can take of these.
    pub(crate) fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        tls!(self, io => io.poll_write_slices(cx, slices), tls => Pin::new(&mut **tls).poll_write_vectored(cx, slices))
    }

    /// Ready once nothing waits above the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tls!(self, io => io.poll_drain(cx), tls => Pin::new(&mut **tls).poll_flush(cx))
    }

    /// Closes the writing side behind everything that was written.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tls!(self, io => io.poll_close(cx), tls => Pin::new(&mut **tls).poll_shutdown(cx))
    }
}
