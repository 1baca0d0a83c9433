//! One direction of a connection where the bytes do not wait for a fault: through the worker's buffer, or a borrowed
//! pipe once the reads are large. Bytes are in one place only, and that place is empty before the next read.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::socket::Socket;
use crate::splice::{LARGE, LARGE_IN_A_ROW, Pipe, Pool};

/// Which socket failed.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The one that bytes come from.
    Source(io::Error),
    /// The one that bytes go to.
    Sink(io::Error),
}

/// What one direction has in flight. Small: an idle connection has two.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// The end of a short write.
    rest: Bytes,
    /// Only while it holds bytes.
    pipe: Option<Pipe>,
    /// The source has closed its side.
    pub(crate) eof: bool,
    /// The sink has been told so, or nothing more may be written to it.
    pub(crate) finished: bool,
    /// See [`Socket::poll_read_with`].
    pub(crate) stale: bool,
    /// The source is known to be empty, and the task will be woken when it is not.
    pub(crate) waiting: bool,
    /// What the source has failed with, once the bytes before that are written.
    pub(crate) failed: Option<io::Error>,
    splicing: bool,
    large: u8,
    small: u8,
}

impl Lane {
    /// Whether nothing has been read that is not written.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.pipe.is_none()
    }

    /// Drops what has been read and not written: there is nobody to write it to.
    pub(crate) fn drop_rest(&mut self) {
        (self.rest, self.pipe) = (Bytes::new(), None);
    }

    /// Writes what has been read; ready when nothing is left. Adds what went to `delivered`.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Socket,
        pipes: &Pool,
        delivered: &mut u64,
    ) -> Poll<Result<(), Broken>> {
        while !self.rest.is_empty() {
            let n = ready!(sink.poll_write(cx, &self.rest)).map_err(Broken::Sink)?;
            self.rest.advance(n);
            *delivered += n as u64;
            if self.rest.is_empty() {
                self.rest = Bytes::new(); // give the memory back
            }
        }
        while let Some(pipe) = self.pipe.as_mut() {
            let n = ready!(sink.poll_write_with(cx, |fd| Ok((pipe.drain(fd)?, true)))).map_err(Broken::Sink)?;
            *delivered += n as u64;
            if pipe.held() == 0
                && let Some(pipe) = self.pipe.take()
            {
                pipes.put(pipe);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, at most `limit` bytes, and writes as much of it as the sink takes. The lane must be empty. 0: the
    /// source has closed its side.
    pub(crate) fn poll_transfer(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&Socket, &Socket),
        limit: usize,
        (pipes, buffer): (&Pool, &mut [u8]),
        delivered: &mut u64,
    ) -> Poll<Result<usize, Broken>> {
        #[cfg(all(target_os = "linux", not(feature = "portable")))]
        if self.splicing
            && let Some(done) = self.poll_splice(cx, (source, sink), limit, pipes, delivered)
        {
            return done;
        }
        let size = limit.min(buffer.len());
        let n = ready!(self.poll_read(cx, source, &mut buffer[..size]))?;
        if n == 0 {
            return Poll::Ready(Ok(0));
        }
        self.large = if n >= LARGE { self.large.saturating_add(1) } else { 0 };
        if self.large >= LARGE_IN_A_ROW {
            (self.splicing, self.large, self.small) = (true, 0, 0);
        }
        let mut written = 0;
        while written < n {
            match sink.poll_write(cx, &buffer[written..n]) {
                Poll::Ready(Ok(went)) => written += went,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Sink(error))),
                Poll::Pending => {
                    self.rest = Bytes::copy_from_slice(&buffer[written..n]);
                    break;
                }
            }
        }
        *delivered += written as u64;
        let _ = pipes;
        Poll::Ready(Ok(n))
    }

    /// Reads into the worker's buffer.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, Broken>> {
        source.poll_read(cx, &mut self.stale, buffer).map_err(Broken::Source)
    }

    /// One trip through a pipe; none: no pipe to be had.
    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&Socket, &Socket),
        limit: usize,
        pipes: &Pool,
        delivered: &mut u64,
    ) -> Option<Poll<Result<usize, Broken>>> {
        use crate::splice::{SMALL, SMALL_IN_A_ROW};
        use rustix::io::Errno;

        let Some(mut pipe) = pipes.take() else {
            self.splicing = false;
            return None;
        };
        let filled = source.poll_read_with(cx, &mut self.stale, |fd| Ok((pipe.fill(fd, limit)?, true)));
        let n = match filled {
            Poll::Ready(Ok(n)) if n > 0 => n,
            other => {
                pipes.put(pipe);
                return match other {
                    Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                        pipes.give_up();
                        self.splicing = false;
                        None
                    }
                    other => Some(other.map_err(Broken::Source)),
                };
            }
        };
        self.small = if n < SMALL { self.small + 1 } else { 0 };
        if self.small >= SMALL_IN_A_ROW {
            (self.splicing, self.large, self.small) = (false, 0, 0);
        }
        self.pipe = Some(pipe);
        Some(match self.poll_flush(cx, sink, pipes, delivered) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(n)),
        })
    }
}
