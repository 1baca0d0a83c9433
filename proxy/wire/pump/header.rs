//! The PROXY header: taken from a client before any fault is asked about its connection, and given to the upstream
//! before anything else. Its bytes count in no offset and no meter.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::net::RecvFlags;
use squall_core::fault::Flow;

use super::{Conn, Stage};
use crate::header::{LONGEST, Parsed, Proxied, parse, write};
use crate::lane::Broken;
use crate::{original, reset};

/// What a read of the header's bytes came to.
enum Look {
    /// The client has closed its side.
    Closed,
    /// All that came is taken, and more must come.
    Part,
    /// All of it is taken, and nothing after it.
    Whole(Option<Proxied>),
    Wrong(&'static str),
}

impl Conn {
    /// Whether a client must say whom it stands for.
    pub(super) fn must_show_header(&self) -> bool {
        let target = self.local.proxy.target.load();
        let protocol = target.spec.way.proxy_protocol.as_ref();
        protocol.zip(self.talk.client).is_some_and(|(protocol, client)| protocol.asks(client.ip()))
    }

    /// Takes the header, as long as a connect may take. What follows it stays in the socket.
    pub(super) fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let until = self.talk.opened.saturating_add(self.local.proxy.target.load().spec.connect_timeout);
        loop {
            let look = match self.poll_look(cx) {
                Poll::Ready(Ok(look)) => look,
                Poll::Ready(Err(error)) => return Poll::Ready(self.broken(Flow::Upstream, &Broken::Source(error))),
                Poll::Pending if self.worker.now().mono >= until => {
                    Look::Wrong("its PROXY header did not come in time")
                }
                Poll::Pending => {
                    self.wake_at(Some(until));
                    return Poll::Pending;
                }
            };
            let Stage::Header(taken) = &self.stage else { return Poll::Ready(Stage::Done) };
            match look {
                Look::Part => {}
                Look::Whole(proxied) => {
                    if let Some(Proxied { client, destination }) = proxied {
                        self.worker.common.forget_end(client);
                        self.talk.client = Some(client);
                        self.destination = Some(destination);
                    }
                    self.wake_at(None);
                    if self.sees_hello() {
                        return Poll::Ready(Stage::Hello(0));
                    }
                    // only now it is known whom faults are asked about
                    self.stage = Stage::Gate;
                    self.follow_slice();
                    return Poll::Ready(Stage::Gate);
                }
                // nobody who only looks whether somebody listens has anything to say
                Look::Closed if taken.is_empty() => return Poll::Ready(Stage::Done),
                Look::Closed => return Poll::Ready(self.misheaded("it was closed within its PROXY header")),
                Look::Wrong(why) => return Poll::Ready(self.misheaded(why)),
            }
        }
    }

    /// Looks at what waits in the socket, and takes of it what belongs to the header.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
        let Conn { worker, client, lanes, stage: Stage::Header(taken), .. } = self else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        let mut look = Look::Closed;
        let buffer = &mut worker.buffer.borrow_mut()[..LONGEST];
        let before = taken.len();
        buffer[..before].copy_from_slice(taken);
        let read = client.poll_read_with(cx, &mut lanes[Flow::Upstream as usize].stale, |fd| {
            let (_, n) = rustix::net::recv(fd, &mut buffer[before..], RecvFlags::PEEK)?;
            if n == 0 {
                return Ok((0, true));
            }
            let all = before + n;
            let (of_header, seen) = match parse(&buffer[..all]) {
                Parsed::Part => (n, Look::Part),
                Parsed::Whole(length, proxied) => (length.saturating_sub(before), Look::Whole(proxied)),
                Parsed::Wrong(why) => (0, Look::Wrong(why)),
            };
            if of_header > 0 {
                rustix::net::recv(fd, &mut buffer[before..before + of_header], RecvFlags::empty())?;
            }
            look = seen;
            Ok((n, true))
        });
        let n = ready!(read)?;
        if matches!(look, Look::Part) {
            taken.extend_from_slice(&buffer[before..before + n]);
        }
        Poll::Ready(Ok(look))
    }

    fn misheaded(&self, why: &str) -> Stage {
        tracing::debug!(proxy = &*self.local.proxy.name, client = ?self.peer, "refused: {why}");
        self.local.meter.misheaded.add(1);
        reset::arm(&self.client);
        Stage::Done
    }

    /// The header for the upstream, if it is to have one.
    pub(super) fn greeting(&self) -> Option<Vec<u8>> {
        let target = self.local.proxy.target.load();
        let version = target.spec.way.proxy_protocol.as_ref()?.send?;
        let destination = self.destination.or_else(|| original::local(self.client.fd()).ok());
        let proxied = self.talk.client.zip(destination);
        Some(write(version, proxied.map(|(client, destination)| Proxied { client, destination })))
    }

    pub(super) fn poll_greeting(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let Conn { server: Some(server), stage: Stage::Greeting(header), .. } = self else {
            return Poll::Ready(Stage::Done);
        };
        while !header.is_empty() {
            match ready!(server.poll_write(cx, header)) {
                Ok(n) => drop(header.drain(..n)),
                Err(error) => return Poll::Ready(self.broken(Flow::Upstream, &Broken::Sink(error))),
            }
        }
        Poll::Ready(self.greeted())
    }
}
