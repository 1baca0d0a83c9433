//! A socket under HTTP. On the client's side the faults beneath act on its bytes; the rest does not know of them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use squall_core::chain::Ready;
use squall_core::fault::Flow;
use squall_core::time::MILLI;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::{Faults, Watcher};
use crate::reset;
use crate::socket::Socket;
use crate::worker::{BUFFER, Local};

/// Pieces per write.
const SLOTS: usize = 64;

/// See the module.
pub(crate) struct Io {
    pub(crate) socket: Socket,
    /// Whose faults act beneath; none: an upstream's socket.
    watcher: Option<Rc<Watcher>>,
    local: Rc<Local>,
    stale: bool,
    eof: bool,
    shut: bool,
}

impl Io {
    /// A client's socket.
    pub(crate) fn client(socket: Socket, watcher: Rc<Watcher>) -> Io {
        let local = watcher.local.clone();
        Io { socket, watcher: Some(watcher), local, stale: true, eof: false, shut: false }
    }

    /// An upstream's socket.
    pub(crate) fn upstream(socket: Socket, local: Rc<Local>) -> Io {
        Io { socket, watcher: None, local, stale: false, eof: false, shut: false }
    }

    /// Reads; 0: the peer has closed its side.
    pub(crate) fn poll_read_into(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Io { socket, watcher, local, stale, eof, .. } = self;
        let Some(watcher) = watcher else {
            let n = ready!(socket.poll_read(cx, stale, buffer))?;
            local.meter.received(Flow::Downstream, n);
            return Poll::Ready(Ok(n));
        };
        loop {
            let Some(mut faults) = watcher.beneath() else { break };
            let faults = &mut **faults;
            match faults.chain.ready(Flow::Upstream) {
                Ready::Bytes => {
                    let n = copy_out(faults, buffer);
                    faults.settle(&watcher.worker, false);
                    return Poll::Ready(Ok(n));
                }
                Ready::Fin => {
                    faults.chain.fin_passed(Flow::Upstream);
                    return Poll::Ready(Ok(0));
                }
                Ready::Close | Ready::Reset => return Poll::Ready(Err(injected())),
                Ready::Nothing => {}
            }
            if *eof {
                return Poll::Pending;
            }
            let worker = watcher.worker.clone();
            let credit = faults.chain.credit(Flow::Upstream).min(buffer.len());
            let n = if credit > 0 {
                ready!(socket.poll_read(cx, stale, &mut buffer[..credit]))?
            } else {
                let room = faults.chain.room(Flow::Upstream).min(BUFFER);
                if room == 0 {
                    return Poll::Pending; // a fault holds: it wakes this task
                }
                if worker.common.held.load(Ordering::Relaxed) >= worker.common.held_limit {
                    let again = worker.now().mono + MILLI;
                    faults.wake_by(again);
                    return Poll::Pending;
                }
                let mut block = worker.buffer.borrow_mut();
                let n = ready!(socket.poll_read(cx, stale, &mut block[..room]))?;
                faults.talk.moved(Flow::Upstream, n);
                watcher.moved(Flow::Upstream, n);
                if n > 0 {
                    let bytes = Bytes::copy_from_slice(&block[..n]);
                    faults.chain.push(Flow::Upstream, bytes, &faults.talk, worker.now());
                }
                n
            };
            watcher.local.meter.received(Flow::Upstream, n);
            if n == 0 {
                *eof = true;
                faults.chain.fin(Flow::Upstream, worker.now());
            } else if credit > 0 {
                faults.talk.moved(Flow::Upstream, n);
                watcher.moved(Flow::Upstream, n);
                faults.chain.skipped(Flow::Upstream, n, worker.now());
            }
            faults.poll(&worker, worker.now());
            if credit > 0 && n > 0 {
                return Poll::Ready(Ok(n));
            }
        }
        if *eof {
            return Poll::Ready(Ok(0));
        }
        let n = ready!(socket.poll_read(cx, stale, buffer))?;
        *eof = n == 0;
        watcher.moved(Flow::Upstream, n);
        watcher.local.meter.received(Flow::Upstream, n);
        Poll::Ready(Ok(n))
    }

    /// Writes what it can take of these.
    pub(crate) fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Io { socket, watcher, local, .. } = self;
        let Some(watcher) = watcher else {
            let n = ready!(socket.poll_write_vectored(cx, slices))?;
            local.meter.delivered(Flow::Upstream, n as u64);
            return Poll::Ready(Ok(n));
        };
        if let Some(mut faults) = watcher.beneath() {
            let faults = &mut **faults;
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &slice[..]);
            if first.is_empty() {
                return Poll::Ready(Ok(0));
            }
            poll_out(socket, watcher, faults, cx)?;
            let now = watcher.worker.now();
            let credit = faults.chain.credit(Flow::Downstream).min(first.len());
            if credit > 0 {
                let n = ready!(socket.poll_write(cx, &first[..credit]))?;
                watcher.local.meter.delivered(Flow::Downstream, n as u64);
                faults.talk.moved(Flow::Downstream, n);
                watcher.moved(Flow::Downstream, n);
                faults.chain.skipped(Flow::Downstream, n, now);
                faults.poll(&watcher.worker, now);
                return Poll::Ready(Ok(n));
            }
            let n = faults.chain.room(Flow::Downstream).min(first.len());
            if n == 0 {
                return match faults.chain.ready(Flow::Downstream) {
                    Ready::Close | Ready::Reset => Poll::Ready(Err(injected())),
                    _ => Poll::Pending,
                };
            }
            faults.talk.moved(Flow::Downstream, n);
            watcher.moved(Flow::Downstream, n);
            faults.chain.push(Flow::Downstream, Bytes::copy_from_slice(&first[..n]), &faults.talk, now);
            faults.poll(&watcher.worker, now);
            poll_out(socket, watcher, faults, cx)?;
            return Poll::Ready(Ok(n));
        }
        let n = ready!(socket.poll_write_vectored(cx, slices))?;
        watcher.moved(Flow::Downstream, n);
        watcher.local.meter.delivered(Flow::Downstream, n as u64);
        Poll::Ready(Ok(n))
    }

    /// Ready once nothing waits at the faults beneath. Call it at every poll of the task: what they let go is written here.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(watcher) = self.watcher.clone() else { return Poll::Ready(Ok(())) };
        let Some(mut faults) = watcher.beneath() else { return Poll::Ready(Ok(())) };
        faults.poll(&watcher.worker, watcher.worker.now());
        poll_out(&self.socket, &watcher, &mut faults, cx)?;
        let is_empty = faults.chain.queued(Flow::Downstream) == 0;
        drop(faults);
        watcher.settle_beneath();
        if is_empty { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Sends FIN behind everything that was written.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            self.shut = true;
            if let Some(watcher) = &self.watcher
                && let Some(mut faults) = watcher.beneath()
            {
                faults.chain.fin(Flow::Downstream, watcher.worker.now());
            }
        }
        ready!(self.poll_drain(cx))?;
        let held = self.watcher.as_ref().and_then(|watcher| watcher.beneath());
        if held.is_some_and(|faults| faults.chain.ready(Flow::Downstream) == Ready::Nothing && faults.queued() > 0) {
            return Poll::Pending;
        }
        self.socket.close_writing();
        Poll::Ready(Ok(()))
    }

    /// The fault beneath that has ended the connection, and whether by a reset.
    pub(crate) fn ended(&self) -> Option<bool> {
        let watcher = self.watcher.as_ref()?;
        let faults = watcher.beneath()?;
        faults.chain.end().map(|(how, _)| how.is_reset())
    }

    /// Closing it sends RST from here on.
    pub(crate) fn arm_reset(&self) {
        reset::arm(&self.socket);
    }
}

fn copy_out(faults: &mut Faults, buffer: &mut [u8]) -> usize {
    let mut slots = [IoSlice::new(&[]); SLOTS];
    let used = faults.chain.slices(Flow::Upstream, &mut slots);
    let mut n = 0;
    for slot in &slots[..used] {
        let part = slot.len().min(buffer.len() - n);
        buffer[n..n + part].copy_from_slice(&slot[..part]);
        n += part;
    }
    faults.chain.wrote(Flow::Upstream, n);
    n
}

/// Writes what the faults beneath have let go, as far as the socket takes it.
fn poll_out(socket: &Socket, watcher: &Watcher, faults: &mut Faults, cx: &mut Context<'_>) -> io::Result<()> {
    loop {
        match faults.chain.ready(Flow::Downstream) {
            Ready::Bytes => {
                let mut slots = [IoSlice::new(&[]); SLOTS];
                let used = faults.chain.slices(Flow::Downstream, &mut slots);
                let Poll::Ready(n) = socket.poll_write_vectored(cx, &slots[..used])? else { return Ok(()) };
                faults.chain.wrote(Flow::Downstream, n);
                watcher.local.meter.delivered(Flow::Downstream, n as u64);
                faults.settle(&watcher.worker, false);
            }
            Ready::Fin => {
                faults.chain.fin_passed(Flow::Downstream);
                socket.close_writing();
            }
            Ready::Close | Ready::Reset => return Err(injected()),
            Ready::Nothing => return Ok(()),
        }
    }
}

/// What the rest is told when a fault beneath has ended the connection.
fn injected() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "a fault has ended the connection")
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // whoever only waits for an answer would never write what the faults have let go since
        if let Poll::Ready(drained) = self.poll_drain(cx) {
            drained?;
        }
        let n = ready!(self.poll_read_into(cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_close(cx)
    }
}
