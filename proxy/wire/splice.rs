//! Bytes from socket to socket without leaving the kernel. A pipe is borrowed only while it holds bytes.

/// A read this large counts towards splicing.
pub(crate) const LARGE: usize = 32 * 1024;
/// So many large reads in a row begin it.
pub(crate) const LARGE_IN_A_ROW: u8 = 3;
/// A splice this small counts towards the buffer.
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) const SMALL: usize = 8 * 1024;
/// So many small splices in a row end it.
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) const SMALL_IN_A_ROW: u8 = 4;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) use kernel::{Pipe, Pool};

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
pub(crate) use none::{Pipe, Pool};

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod kernel {
    use std::cell::{Cell, RefCell};
    use std::os::fd::{BorrowedFd, OwnedFd};

    use rustix::io::Errno;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

    /// What a pipe should hold.
    const SIZE: usize = 256 * 1024;
    /// Below this, splicing costs more than it saves: past the kernel's soft limit, new pipes hold 4 or 8 KiB.
    const TOO_SMALL: usize = 32 * 1024;
    /// Empty pipes kept by a worker.
    const KEPT: usize = 32;

    const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

    /// A pipe and the bytes in it.
    #[derive(Debug)]
    pub(crate) struct Pipe {
        out: OwnedFd,
        inn: OwnedFd,
        size: usize,
        held: usize,
    }

    impl Pipe {
        /// Fills an empty pipe from a socket; 0: the peer has closed its side.
        pub(crate) fn fill(&mut self, from: BorrowedFd<'_>, limit: usize) -> Result<usize, Errno> {
            let n = splice(from, None, &self.inn, None, limit.min(self.size), FLAGS)?;
            self.held += n;
            Ok(n)
        }

        /// Empties it into a socket as far as that takes bytes.
        pub(crate) fn drain(&mut self, to: BorrowedFd<'_>) -> Result<usize, Errno> {
            let n = splice(&self.out, None, to, None, self.held, FLAGS)?;
            self.held = self.held.saturating_sub(n);
            Ok(n)
        }

        /// Bytes in it.
        pub(crate) fn held(&self) -> usize {
            self.held
        }
    }

    /// A worker's empty pipes.
    #[derive(Debug, Default)]
    pub(crate) struct Pool {
        empty: RefCell<Vec<Pipe>>,
        unfit: Cell<bool>,
    }

    impl Pool {
        /// An empty pipe, if one can be had.
        pub(crate) fn take(&self) -> Option<Pipe> {
            if self.unfit.get() {
                return None;
            }
            if let Some(pipe) = self.empty.borrow_mut().pop() {
                return Some(pipe);
            }
            let (out, inn) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
            let _past_the_soft_limit = fcntl_setpipe_size(&inn, SIZE);
            let size = fcntl_getpipe_size(&inn).ok()?;
            (size >= TOO_SMALL).then_some(Pipe { out, inn, size, held: 0 })
        }

        /// Gives a pipe back. One that still holds bytes is closed: they belong to nobody else.
        pub(crate) fn put(&self, pipe: Pipe) {
            let mut empty = self.empty.borrow_mut();
            if pipe.held == 0 && empty.len() < KEPT {
                empty.push(pipe);
            }
        }

        /// The kernel will not splice these sockets: copy from now on.
        pub(crate) fn give_up(&self) {
            self.unfit.set(true);
        }
    }
}

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod none {
    use std::os::fd::BorrowedFd;

    use rustix::io::Errno;

    /// There are no pipes here.
    #[derive(Debug)]
    pub(crate) enum Pipe {}

    impl Pipe {
        pub(crate) fn drain(&mut self, _to: BorrowedFd<'_>) -> Result<usize, Errno> {
            match *self {}
        }

        pub(crate) fn held(&self) -> usize {
            match *self {}
        }
    }

    /// Never has a pipe.
    #[derive(Debug, Default)]
    pub(crate) struct Pool;

    impl Pool {
        pub(crate) fn put(&self, pipe: Pipe) {
            match pipe {}
        }
    }
}
