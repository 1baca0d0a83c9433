//! One HTTP/1 connection, on either side: what was read and not yet understood, and what waits to be written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};

use super::spare::Spare;
use super::stream::Stream;

/// Bytes that may wait to be written before whoever they come from feels back-pressure.
const OUT: usize = 64 * 1024;
/// What is shorter is copied behind its neighbours, so that it goes in one write with them.
const SMALL: usize = 4 * 1024;
const SLOTS: usize = 32;

/// See the module.
pub(crate) struct Line {
    pub(crate) stream: Stream,
    /// Read, and not yet understood.
    pub(crate) read: BytesMut,
    /// The peer has closed its side.
    pub(crate) eof: bool,
    queue: VecDeque<Bytes>,
    /// Behind the queue; so many bytes of it are written.
    last: Vec<u8>,
    written: usize,
    waiting: usize,
    /// FIN follows what waits to be written.
    closing: bool,
    /// Where its memory comes from.
    spare: Rc<Spare>,
}

impl Line {
    pub(crate) fn new(stream: Stream, spare: Rc<Spare>) -> Line {
        Line {
            stream,
            read: BytesMut::new(),
            eof: false,
            queue: VecDeque::new(),
            last: Vec::new(),
            written: 0,
            waiting: 0,
            closing: false,
            spare,
        }
    }

    /// Reads more behind what is there, through the worker's buffer: an idle connection keeps no memory for what may come.
    /// 0: the peer has closed its side.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        let mut inlet = self.spare.inlet.borrow_mut();
        let n = ready!(self.stream.poll_read_into(cx, &mut inlet))?;
        self.eof = n == 0;
        if n > 0 && self.read.capacity() == 0 {
            self.read = self.spare.room(n);
        }
        self.read.extend_from_slice(&inlet[..n]);
        Poll::Ready(Ok(n))
    }

    /// Gives the memory back that nothing is in.
    pub(crate) fn rest(&mut self) {
        if self.read.is_empty() && self.read.capacity() > 0 {
            self.spare.keep_room(std::mem::take(&mut self.read));
        }
        if self.waiting == 0 && self.last.capacity() > 0 {
            self.spare.keep_text(std::mem::take(&mut self.last));
        }
    }

    /// Whether its peer has neither closed it nor said anything since it was emptied.
    pub(crate) fn is_quiet(&mut self) -> bool {
        match &self.stream {
            Stream::Plain(io) => io.socket.is_quiet(),
            _ => matches!(self.poll_fill(&mut Context::from_waker(Waker::noop())), Poll::Pending),
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether more may be put behind what waits to be written.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting < OUT
    }

    /// Puts bytes behind what waits to be written.
    pub(crate) fn put(&mut self, bytes: Bytes) {
        if bytes.len() < SMALL {
            return self.put_slice(&bytes);
        }
        self.close_last();
        self.waiting += bytes.len();
        self.queue.push_back(bytes);
    }

    /// The same, copied.
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        self.put_with(|out| out.extend_from_slice(bytes));
    }

    /// Has `write` put something behind what waits to be written.
    pub(crate) fn put_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.last.capacity() == 0 {
            self.last = self.spare.text();
        }
        let before = self.last.len();
        write(&mut self.last);
        self.waiting += self.last.len() - before;
    }

    fn close_last(&mut self) {
        if self.written < self.last.len() {
            let mut bytes = Bytes::from(std::mem::take(&mut self.last));
            bytes.advance(self.written);
            self.queue.push_back(bytes);
        }
        self.last.clear();
        self.written = 0;
    }

    /// Writes until nothing waits.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting > 0 {
            let n = if self.queue.is_empty() {
                let n = ready!(self.stream.poll_write_slices(cx, &[IoSlice::new(&self.last[self.written..])]))?;
                self.written += n;
                if self.written == self.last.len() {
                    self.last.clear();
                    self.written = 0;
                }
                n
            } else {
                self.close_last();
                let mut slots = [IoSlice::new(&[]); SLOTS];
                let used = self.queue.len().min(SLOTS);
                for (slot, bytes) in slots.iter_mut().zip(&self.queue) {
                    *slot = IoSlice::new(bytes);
                }
                let n = ready!(self.stream.poll_write_slices(cx, &slots[..used]))?;
                self.take_off(n);
                n
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting -= n;
        }
        ready!(self.stream.poll_flush(cx))?;
        if self.closing {
            return self.stream.poll_close(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// FIN follows what waits to be written.
    pub(crate) fn close_when_written(&mut self) {
        self.closing = true;
    }

    fn take_off(&mut self, mut n: usize) {
        while n > 0 {
            let Some(first) = self.queue.front_mut() else { return };
            if n < first.len() {
                return first.advance(n);
            }
            n -= first.len();
            self.queue.pop_front();
        }
    }
}
