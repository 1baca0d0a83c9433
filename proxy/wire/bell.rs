//! What wakes a worker from outside: a counter of the kernel, so that ringing takes no lock and allocates nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::socket::{Watched, watch};

/// Rings; any thread may have one.
#[derive(Clone, Debug)]
pub(crate) struct Rope(Arc<OwnedFd>);

impl Rope {
    /// Wakes the worker. A bell that rings already stays ringing.
    pub(crate) fn pull(&self) {
        let _full_means_ringing = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// A rope and the end that the worker listens to, not yet watched.
pub(crate) fn cast() -> io::Result<(Rope, OwnedFd)> {
    #[cfg(all(target_os = "linux", not(feature = "portable")))]
    {
        use rustix::event::{EventfdFlags, eventfd};
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok((Rope(Arc::new(fd.try_clone()?)), fd))
    }
    #[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
    {
        let (worker, outside) = std::os::unix::net::UnixStream::pair()?;
        worker.set_nonblocking(true)?;
        outside.set_nonblocking(true)?;
        Ok((Rope(Arc::new(outside.into())), worker.into()))
    }
}

/// The worker's end.
pub(crate) struct Bell(Watched);

impl Bell {
    /// Needs the worker's runtime.
    pub(crate) fn hang(fd: OwnedFd) -> io::Result<Bell> {
        Ok(Bell(watch(fd)?))
    }

    /// Waits until somebody has pulled the rope since the last call.
    pub(crate) async fn rung(&self) -> io::Result<()> {
        let mut sink = [0; 512];
        loop {
            let mut guard = self.0.readable().await?;
            match rustix::io::read(&self.0, &mut sink) {
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(n) => {
                    if n < sink.len() {
                        guard.clear_ready();
                    }
                    return Ok(());
                }
            }
        }
    }
}
