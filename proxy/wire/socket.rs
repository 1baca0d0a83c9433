//! One side of a connection: a TCP or unix stream, polled without blocking.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that the worker's runtime watches.
pub(crate) type Watched = AsyncFd<OwnedFd>;

/// Has the runtime of this thread watch a descriptor.
#[expect(
    deprecated,
    reason = "sound for `OwnedFd`, which answers with the same open descriptor as long as it lives; the new name is unsafe"
)]
pub(crate) fn watch(fd: OwnedFd) -> io::Result<Watched> {
    AsyncFd::new(fd)
}

/// Linux raises SIGPIPE only for sends without this; elsewhere the runtime of Rust ignores the signal.
const SEND: SendFlags = SendFlags::NOSIGNAL;

/// A connected stream socket.
pub(crate) struct Socket {
    fd: Rc<Watched>,
    tcp: bool,
    /// Waits for an error; made when first asked for.
    failing: RefCell<Option<Failing>>,
}

type Failing = Pin<Box<dyn Future<Output = ()>>>;

impl Socket {
    /// Takes over a non-blocking stream socket; TCP is to send without delay.
    pub(crate) fn new(fd: OwnedFd, tcp: bool) -> io::Result<Socket> {
        Ok(Socket { fd: Rc::new(watch(fd)?), tcp, failing: RefCell::default() })
    }

    /// The same connection, for whoever takes it over.
    pub(crate) fn share(&self) -> Socket {
        Socket { fd: self.fd.clone(), tcp: self.tcp, failing: RefCell::default() }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// TCP, not a unix socket.
    pub(crate) fn is_tcp(&self) -> bool {
        self.tcp
    }

    /// Runs `call` when the socket may be readable. `call` gives what it moved and whether the socket may have more.
    /// `stale`: the runtime may not know that something waits ([`Socket::poll_gone`] has eaten the event), so try first;
    /// cleared once the socket is empty.
    pub(crate) fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        stale: &mut bool,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<(usize, bool), Errno>,
    ) -> Poll<io::Result<usize>> {
        while *stale {
            match call(self.fd.as_fd()) {
                Err(Errno::AGAIN) => *stale = false,
                Err(Errno::INTR) => {}
                Ok((n, more)) => {
                    *stale = more;
                    return Poll::Ready(Ok(n));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            match call(self.fd.as_fd()) {
                Ok((n, more)) => {
                    if n > 0 && !more {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Runs `call` when the socket may be writable.
    pub(crate) fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<(usize, bool), Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(cx))?;
            match call(self.fd.as_fd()) {
                Ok((n, more)) => {
                    if !more {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Reads; 0: the peer has closed its side. See [`Socket::poll_read_with`].
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        stale: &mut bool,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, stale, |fd| {
            let (n, _) = rustix::net::recv(fd, &mut *buffer, RecvFlags::empty())?; // cheaper than `read`
            Ok((n, n == buffer.len())) // less than asked for: nothing more for now, as epoll's edges tell
        })
    }

    /// Reads into what an empty vector has room for.
    pub(crate) fn poll_read_block(
        &self,
        cx: &mut Context<'_>,
        stale: &mut bool,
        block: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let size = block.capacity();
        self.poll_read_with(cx, stale, |fd| {
            let n = rustix::io::read(fd, rustix::buffer::spare_capacity(block))?;
            Ok((n, n == size))
        })
    }

    /// Writes.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |fd| {
            let n = rustix::net::send(fd, bytes, SEND)?;
            Ok((n, n == bytes.len()))
        })
    }

    /// Writes several pieces in one call.
    pub(crate) fn poll_write_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let [one] = slices {
            return self.poll_write(cx, one);
        }
        let want: usize = slices.iter().map(|slice| slice.len()).sum();
        self.poll_write_with(cx, |fd| {
            let n = rustix::io::writev(fd, slices)?;
            Ok((n, n == want))
        })
    }

    /// Whether nothing waits to be read, no end either, as far as the runtime knows. Nobody is woken for it.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0u8; 1];
        let look = |fd: &OwnedFd| Ok(rustix::net::recv(fd, &mut byte, RecvFlags::PEEK)?);
        matches!(self.fd.try_io(Interest::READABLE, look), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends FIN. The peer may be gone already.
    pub(crate) fn close_writing(&self) {
        let _gone_already = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Ready once the connection has failed (its peer has sent RST), whatever waits to be read: for a socket that nobody
    /// reads for now. The kernel's other events wake nobody here.
    pub(crate) fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut failing = self.failing.borrow_mut();
        let wait = failing.get_or_insert_with(|| {
            let fd = self.fd.clone();
            Box::pin(async move {
                let _either_way_it_has_failed = fd.ready(Interest::ERROR).await;
            })
        });
        ready!(wait.as_mut().poll(cx));
        *failing = None; // it stays ready
        Poll::Ready(())
    }

    /// Looks whether the peer has left while nobody reads: reset, or closed without a byte waiting. Registers for
    /// changes; what waits is known to nobody then: the next read is `stale`.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..2 {
            let Ok(mut guard) = ready!(self.fd.poll_read_ready(cx)) else { return Poll::Ready(()) };
            let mut byte = [0u8; 1];
            let fd = self.fd.as_fd();
            match rustix::net::recv(fd, &mut byte, RecvFlags::PEEK) {
                Ok((_, 0)) => return Poll::Ready(()),
                Ok(_) if is_broken(fd) => return Poll::Ready(()),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => guard.clear_ready(), // wake at the next change
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending // half-closed: the runtime has no further event to tell of
    }
}

/// Whether the peer has closed its side, whatever waits to be read. Told by Linux only.
pub(crate) fn has_hung_up(fd: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut fds = [PollFd::new(&fd, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(n) if n > 0)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        false
    }
}

/// Whether the connection was reset. (HUP alone is no sign: two FINs in order give it as well.)
fn is_broken(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(n) if n > 0) && fds[0].revents().intersects(PollFlags::ERR)
}
