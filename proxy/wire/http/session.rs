//! A client's connection that speaks HTTP, from its first byte to its last.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use squall_core::chain::{Chain, Dialogue, Talk};
use squall_core::http::{Method, Request, Scheme};
use squall_core::time::{SECOND, Time};

use super::client1::{Client1, Next};
use super::ends::{Client, Length};
use super::exchange::{Brought, carry};
use super::failure::Failure;
use super::h1::{Framing, Refusal, Taken};
use super::io::Io;
use super::line::Line;
use super::reach::Origin;
use super::session2;
use super::stream::Stream;
use super::watch::{Task, Watcher};
use crate::clock::SystemClock;
use crate::reset;
use crate::socket::Socket;
use crate::tls::{self, Shaken};
use crate::worker::{Local, Worker};

/// How long a connection whose handshake has failed waits for its client to close.
const PATIENCE: Time = SECOND;

/// Takes a connection over, with the faults that it has met.
pub(crate) fn begin(
    worker: &Rc<Worker>,
    local: &Rc<Local>,
    socket: Socket,
    talk: Talk,
    faults: Option<(Box<Chain>, Time)>,
    from: Origin,
    shaken: Shaken,
) {
    let (chain, retuned) = faults.map_or((None, 0), |(chain, retuned)| (Some(chain), retuned));
    let watcher = Watcher::new(worker, local, Some((talk.clone().beneath(), chain, retuned)));
    let (counted, socket_too, ordinal) = (Counted(watcher.clone()), socket.share(), talk.ordinal);
    let session = Session { watcher: watcher.clone(), _counted: counted, socket: socket_too, ordinal, from, shaken };
    let io = Io::client(socket, watcher.clone());
    tokio::task::spawn_local(Task::new(watcher, session.serve(io)));
}

/// Takes over a connection whose TLS handshake is done, and whose client turned out to speak HTTP: `read` came already.
pub(crate) async fn go_on(
    counted: Counted,
    socket: Socket,
    ordinal: u64,
    from: Origin,
    stream: Stream,
    read: BytesMut,
) {
    let watcher = counted.0.clone();
    let session = Session { watcher, _counted: counted, socket, ordinal, from, shaken: Shaken::default() };
    session.speak(stream, Scheme::Https, read).await;
}

/// Counts a connection out when it ends, however it does.
pub(crate) struct Counted(pub(crate) Rc<Watcher>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.worker.ended(&self.0.local);
    }
}

struct Session {
    watcher: Rc<Watcher>,
    _counted: Counted,
    socket: Socket,
    ordinal: u64,
    from: Origin,
    /// What is to be wrong with the handshake.
    shaken: Shaken,
}

impl Session {
    async fn serve(self, io: Io) {
        let target = self.watcher.local.proxy.target.load_full();
        let Some(tls) = &target.tls else { return self.speak(Stream::plain(io), Scheme::Http, BytesMut::new()).await };
        let within = Duration::from_nanos(target.spec.connect_timeout);
        let flaw = self.shaken.flaw.as_ref().map(|(flaw, _)| *flaw);
        match tls.accept(io, flaw, within).await {
            Err(failure) => self.unshaken(&failure).await,
            Ok((stream, _)) => {
                let speaks_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let stream = Stream::Accepted(Box::new(stream));
                if !speaks_two {
                    return self.speak(stream, Scheme::Https, BytesMut::new()).await;
                }
                session2::serve(&self.watcher, self.ordinal, self.from, stream, Bytes::new()).await;
            }
        }
    }

    /// The handshake has failed: by a flaw that a fault gave it, or by itself. An alert may be on its way.
    async fn unshaken(&self, failure: &tls::Failure) {
        let Watcher { worker, local, .. } = &*self.watcher;
        tracing::debug!(proxy = &*local.proxy.name, client = ?self.from.client, "{failure}");
        let beneath =
            self.watcher.beneath().and_then(|faults| faults.chain.end().map(|(how, by)| (how.is_reset(), by.clone())));
        let flawed = self.shaken.flaw.as_ref().map(|(_, by)| (false, by.clone()));
        match beneath.or(flawed) {
            None => local.meter.tls_client_failed.add(1),
            Some((resets, by)) => {
                local.meter.injected.add(1);
                if let Some(client) = self.from.client {
                    worker.common.note_end(worker.id, client, &by);
                }
                if resets {
                    return reset::arm(&self.socket);
                }
            }
        }
        self.socket.close_writing();
        self.watcher.set_deadline(Some(SystemClock::mono() + PATIENCE));
        let mut stale = true;
        poll_fn(|cx| {
            while !self.watcher.is_late() {
                match ready!(self.socket.poll_read(cx, &mut stale, &mut worker.spare.inlet.borrow_mut())) {
                    Ok(n) if n > 0 => {}
                    _ => break,
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    async fn speak(self, stream: Stream, scheme: Scheme, read: BytesMut) {
        let mut line = Line::new(stream, self.watcher.worker.spare.clone());
        line.read = read;
        let mut client = Client1::new(line, self.watcher.clone());
        let mut number = 0;
        loop {
            let mut request = Request { scheme, ..Request::default() };
            client.rest();
            match poll_fn(|cx| client.poll_next(&mut request, number == 0, cx)).await {
                Next::Request(taken) => self.exchange(&mut client, request, taken, number).await,
                Next::Refused(refusal) => {
                    refuse(&mut client, refusal);
                    self.watcher.local.exchange(refusal.status, false, 0);
                    break;
                }
                Next::Preface => {
                    let Line { stream, read, .. } = client.into_line();
                    return session2::serve(&self.watcher, self.ordinal, self.from, stream, read.freeze()).await;
                }
                Next::Closed => break,
            }
            number += 1;
            if !client.goes_on() {
                break;
            }
        }
        client.conclude().await;
    }

    async fn exchange(&self, client: &mut Client1, request: Request, taken: Taken, number: u64) {
        let length = match taken.framing {
            Framing::None | Framing::UntilClose => Length::None,
            Framing::Length(n) => Length::Known(n),
            Framing::Chunked => Length::Open,
        };
        // what stands behind an upgrade could be taken for another request
        let upgrade = (taken.upgrade && length == Length::None) || request.method == Method::CONNECT;
        let dialogue = Dialogue { number, request, size: length.known(), response: None, answered: None };
        let mut talk = Talk::exchange(self.ordinal, self.from.client, SystemClock::mono(), dialogue);
        talk.hello = self.watcher.hello();
        carry(&self.watcher, client, talk, Brought { length, upgrade, from: self.from }).await;
    }
}

/// Answers what can't be understood; the connection ends with it.
pub(super) fn refuse(client: &mut impl Client, refusal: Refusal) {
    let failure =
        Failure { status: refusal.status, error: "http_request_error", why: refusal.why.into(), counts: None };
    let (head, body) = failure.answer();
    client.answer(&head, Length::Known(body.len() as u64));
    client.put(body);
    client.finish(None);
}
