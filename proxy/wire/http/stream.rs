//! What HTTP travels on.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use super::io::Io;

/// A connection in the clear.
pub(crate) struct Stream {
    io: Io,
}

impl Stream {
    /// In the clear.
    pub(crate) fn plain(io: Io) -> Stream {
        Stream { io }
    }

    /// The socket beneath.
    pub(crate) fn io(&self) -> &Io {
        &self.io
    }

    /// Reads; 0: the peer has closed its side.
    pub(crate) fn poll_read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_read_into(cx, buffer)
    }

    /// Writes what it can take of these.
    pub(crate) fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_slices(cx, slices)
    }

    /// Ready once nothing waits above the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_drain(cx)
    }

    /// Closes the writing side behind everything that was written.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_close(cx)
    }
}
