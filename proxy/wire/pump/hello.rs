//! The ClientHello: read before any fault is asked about the connection, and left in the socket. A client that asks for
//! TLS in PostgreSQL's protocol gets squall's answer first; those bytes count in no offset and no meter.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use squall_core::fault::Flow;
use squall_core::time::Time;
use squall_core::tls::{Hello, MOST, Sniff, sniff};

use super::{Conn, Stage};
use crate::lane::Broken;
use crate::reset;
use crate::socket::has_hung_up;
use crate::tls::postgres::{GSS_REQUEST, LENGTH, REFUSED, SSL_GRANTED, SSL_REQUEST};

/// What a look at what waits in the socket came to.
enum Look {
    /// The client has closed its side; whether it has said anything.
    Closed(bool),
    /// It asked whether something is spoken here, and waits for this answer.
    Asked(u8),
    Whole(Hello),
    Wrong(&'static str),
}

impl Conn {
    /// Whether clients begin with a ClientHello.
    pub(super) fn sees_hello(&self) -> bool {
        self.local.proxy.target.load().spec.way.tls.is_some()
    }

    /// Waits for it, as long as a connect may take.
    pub(super) fn poll_hello(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let until = self.talk.opened.saturating_add(self.local.proxy.target.load().spec.connect_timeout);
        loop {
            let look = match self.poll_look_for_hello(cx) {
                Poll::Ready(Ok(look)) => look,
                Poll::Ready(Err(error)) => return Poll::Ready(self.broken(Flow::Upstream, &Broken::Source(error))),
                Poll::Pending if self.worker.now().mono >= until => Look::Wrong("its ClientHello did not come in time"),
                Poll::Pending => {
                    self.wake_at(Some(until));
                    return Poll::Pending;
                }
            };
            match look {
                Look::Asked(answer) => {
                    // the first byte on the way to the client: there is room
                    let Poll::Ready(Ok(1)) = self.client.poll_write(cx, &[answer]) else {
                        return Poll::Ready(self.misbegun("its request for TLS could not be answered"));
                    };
                    self.stage = Stage::Hello(0);
                }
                Look::Whole(hello) => {
                    self.talk.hello = Some(Box::new(hello));
                    self.lanes[Flow::Upstream as usize].stale = true; // it waits there, and that has been told
                    self.wake_at(None);
                    // only now it is known whom faults are asked about
                    self.stage = Stage::Gate;
                    self.follow_slice();
                    return Poll::Ready(Stage::Gate);
                }
                // nobody who only looks whether somebody listens has anything to say
                Look::Closed(false) => return Poll::Ready(Stage::Done),
                Look::Closed(true) => return Poll::Ready(self.misbegun("it was closed within its ClientHello")),
                Look::Wrong(why) => return Poll::Ready(self.misbegun(why)),
            }
        }
    }

    fn poll_look_for_hello(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
        let Conn { worker, client, lanes, stage: Stage::Hello(seen), shaken, .. } = self else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        let mut found = None;
        let buffer = &mut worker.buffer.borrow_mut()[..MOST];
        let read = client.poll_read_with(cx, &mut lanes[Flow::Upstream as usize].stale, |fd| {
            let (_, n) = rustix::net::recv(fd, &mut *buffer, RecvFlags::PEEK)?;
            if n == 0 || n == *seen && has_hung_up(fd) {
                found = Some(Look::Closed(n > 0));
                return Ok((n, true));
            }
            if n == *seen {
                return Err(Errno::AGAIN); // nothing new: the runtime is to wait for that
            }
            *seen = n;
            let postgres = shaken.as_ref().is_some_and(|shaken| shaken.postgres);
            found = judge(&buffer[..n], postgres);
            match found {
                None => Err(Errno::AGAIN),
                Some(Look::Asked(answer)) => {
                    rustix::net::recv(fd, &mut buffer[..LENGTH], RecvFlags::empty())?;
                    shaken.get_or_insert_default().postgres |= answer == SSL_GRANTED;
                    Ok((n, true))
                }
                Some(_) => Ok((n, true)),
            }
        });
        ready!(read)?;
        Poll::Ready(Ok(found.unwrap_or(Look::Closed(false))))
    }

    fn misbegun(&self, why: &str) -> Stage {
        tracing::debug!(proxy = &*self.local.proxy.name, client = ?self.peer, "refused: {why}");
        self.local.meter.hello_refused.add(1);
        reset::arm(&self.client);
        Stage::Done
    }

    /// What comes once the upstream is reached and greeted.
    pub(super) fn greeted(&self) -> Stage {
        match self.shaken.as_ref().is_some_and(|shaken| shaken.postgres) {
            true => Stage::Asking { sent: 0, until: self.asks_until() },
            false => Stage::Open,
        }
    }

    fn asks_until(&self) -> Time {
        self.worker.now().mono.saturating_add(self.local.proxy.target.load().spec.connect_timeout)
    }

    /// Asks the upstream what the client has asked squall, who has said yes in its place.
    pub(super) fn poll_asking(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let Conn { server: Some(server), stage: Stage::Asking { sent, until }, lanes, .. } = self else {
            return Poll::Ready(Stage::Done);
        };
        let until = *until;
        while *sent < LENGTH {
            match ready!(server.poll_write(cx, &SSL_REQUEST[*sent..])) {
                Ok(n) => *sent += n,
                Err(error) => return Poll::Ready(self.broken(Flow::Upstream, &Broken::Sink(error))),
            }
        }
        let mut answer = [0];
        match server.poll_read(cx, &mut lanes[Flow::Downstream as usize].stale, &mut answer) {
            Poll::Ready(Ok(1)) if answer == [SSL_GRANTED] => {
                lanes[Flow::Downstream as usize].stale = true;
                self.wake_at(None);
                Poll::Ready(Stage::Open)
            }
            Poll::Pending if self.worker.now().mono < until => {
                self.wake_at(Some(until));
                Poll::Pending
            }
            _ => {
                tracing::debug!(proxy = &*self.local.proxy.name, "the upstream does not grant TLS");
                self.local.broke(|meter| &meter.tls_server_failed);
                reset::arm(&self.client);
                Poll::Ready(Stage::Done)
            }
        }
    }
}

/// What the first bytes are; none: more must come. `postgres`: TLS was asked for, and granted.
fn judge(bytes: &[u8], postgres: bool) -> Option<Look> {
    let begins = |request: &[u8; LENGTH]| !postgres && request.starts_with(&bytes[..bytes.len().min(LENGTH)]);
    if begins(&SSL_REQUEST) || begins(&GSS_REQUEST) {
        if bytes.len() < LENGTH {
            return None;
        }
        return Some(match bytes.len() > LENGTH {
            // nothing may be said before the answer (CVE-2021-23214)
            true => Look::Wrong("it goes on before its request for TLS is answered"),
            false => Look::Asked(if begins(&SSL_REQUEST) { SSL_GRANTED } else { REFUSED }),
        });
    }
    match sniff(bytes) {
        Sniff::More => None,
        Sniff::Tls(hello) => Some(Look::Whole(hello)),
        Sniff::NotTls => Some(Look::Wrong("it does not begin with a ClientHello")),
        Sniff::Wrong(why) => Some(Look::Wrong(why)),
    }
}
