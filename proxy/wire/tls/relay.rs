//! A connection of bytes of which squall ends the TLS with the client, or begins one with the upstream.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use squall_core::chain::{Chain, Talk};
use squall_core::plan::FaultRef;
use squall_core::scenario::Protocol;
use squall_core::time::{SECOND, Time};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::side::{Layer, Side};
use super::{Failure, Shaken};
use crate::clock::SystemClock;
use crate::dial::{Upstream, dial};
use crate::http::{Counted, Io, Origin, Stream, Task, Watcher, go_on, greeting};
use crate::meter::Waiting;
use crate::original::Ticket;
use crate::plane::Target;
use crate::pump::sniff::{self, Told};
use crate::reset;
use crate::socket::Socket;
use crate::worker::{Local, Worker};

/// What is on its way in each direction, bytes, besides what TLS keeps.
const ROOM: usize = 16 * 1024;

/// The two sides, in the order in which they are kept.
const CLIENT: usize = 0;
const UPSTREAM: usize = 1;

/// How long an end waits for the kernel to send what was written, and for the other side's FIN.
const PATIENCE: Time = SECOND;

/// Takes a connection over that the gate has let by, with the faults that it has met.
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
    let ordinal = talk.ordinal;
    let watcher = Watcher::new(worker, local, Some((talk, chain, retuned)));
    let (client, server) = (socket.share(), RefCell::default());
    let counted = Counted(watcher.clone());
    let relay = Relay { watcher: watcher.clone(), counted, client, server, ordinal, from, shaken };
    let io = Io::client(socket, watcher.clone());
    tokio::task::spawn_local(Task::new(watcher, relay.carry(io)));
}

struct Relay {
    watcher: Rc<Watcher>,
    counted: Counted,
    client: Socket,
    server: RefCell<Option<Socket>>,
    ordinal: u64,
    from: Origin,
    shaken: Shaken,
}

/// A client whose handshake is done, or that needs none.
struct Met {
    client: Layer,
    /// The protocol that was chosen with it.
    chosen: Option<Vec<u8>>,
    /// What was read of it, to tell what it speaks.
    read: BytesMut,
}

/// How a connection ends.
enum End {
    /// Both sides have closed.
    Whole,
    /// Both are closed; what is still on its way to them arrives.
    Closed,
    /// Both are reset, once what was written has been sent.
    Reset,
    /// The client has failed: the upstream is to know.
    ByClient,
    /// The upstream has failed, or was never reached: the client is to know.
    ByServer,
}

impl Relay {
    async fn carry(self, io: Io) {
        let end = match self.meet(io).await {
            Ok(Met { client: Layer::Accepted(stream), read, chosen }) if self.speaks_http(&chosen, &read) => {
                let Relay { counted, client, ordinal, from, .. } = self;
                return go_on(counted, client, ordinal, from, Stream::Accepted(stream), read).await;
            }
            Ok(met) => self.relay(met).await,
            Err(end) => end,
        };
        let end = self.injected().unwrap_or(end);
        match end {
            End::Whole => {}
            End::ByClient => self.server.borrow().iter().for_each(reset::arm),
            End::ByServer => reset::arm(&self.client),
            End::Closed => self.close().await,
            End::Reset => self.reset().await,
        }
    }

    /// The end that a fault beneath has made; whoever asks for the reason finds it before the client can see it.
    fn injected(&self) -> Option<End> {
        let faults = self.watcher.beneath()?;
        let (how, by) = faults.chain.end()?;
        self.note(by);
        Some(if how.is_reset() { End::Reset } else { End::Closed })
    }

    /// A fault ends the connection, or made the client end it.
    fn note(&self, by: &Arc<FaultRef>) {
        self.watcher.local.meter.injected.add(1);
        if let Some(client) = self.from.client {
            self.watcher.worker.common.note_end(self.watcher.worker.id, client, by);
        }
    }

    async fn meet(&self, io: Io) -> Result<Met, End> {
        let target = self.watcher.local.proxy.target.load_full();
        let within = Duration::from_nanos(target.spec.connect_timeout);
        let Some(server) = &target.tls else {
            return Ok(Met { client: Layer::Plain(io), chosen: None, read: BytesMut::new() });
        };
        let flaw = self.shaken.flaw.as_ref().map(|(flaw, _)| *flaw);
        let (mut stream, _) = server.accept(io, flaw, within).await.map_err(|failure| self.unshaken(&failure))?;
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut read = BytesMut::new();
        if target.spec.protocol == Protocol::Auto {
            if chosen.is_none() && !self.shaken.postgres {
                self.listen(&mut stream, &mut read).await;
            }
            if !self.speaks_http(&chosen, &read) {
                self.watcher.turned_out_bytes();
            }
        }
        Ok(Met { client: Layer::Accepted(Box::new(stream)), chosen, read })
    }

    /// Whether a client speaks HTTP where any may: it has agreed to, or what it says first does.
    fn speaks_http(&self, chosen: &Option<Vec<u8>>, read: &[u8]) -> bool {
        let target = self.watcher.local.proxy.target.load();
        let agreed = matches!(chosen.as_deref(), Some(b"h2" | b"http/1.1"));
        target.spec.protocol == Protocol::Auto && (agreed || sniff::tell(read) == Told::Http)
    }

    /// Reads of what a client says first as much as it takes to tell whether that is HTTP; one that says nothing lets the
    /// server speak first.
    async fn listen(&self, stream: &mut TlsStream<Io>, read: &mut BytesMut) {
        self.watcher.set_deadline(Some(SystemClock::mono() + sniff::SILENCE));
        poll_fn(|cx| {
            while sniff::tell(read) == Told::Nothing {
                let mut piece = [0; sniff::LINE];
                let mut piece = ReadBuf::new(&mut piece[read.len()..]);
                match Pin::new(&mut *stream).poll_read(cx, &mut piece) {
                    Poll::Pending if !self.watcher.is_late() => return Poll::Pending,
                    Poll::Ready(Ok(())) if !piece.filled().is_empty() => read.extend_from_slice(piece.filled()),
                    _ => break, // an end is met again by whoever carries the bytes
                }
            }
            Poll::Ready(())
        })
        .await;
        self.watcher.set_deadline(None);
    }

    async fn relay(&self, Met { client, chosen, read }: Met) -> End {
        let target = self.watcher.local.proxy.target.load_full();
        let within = Duration::from_nanos(target.spec.connect_timeout);
        let (socket, _leaving) = match self.dial(&target).await {
            Ok(dialled) => dialled,
            Err(end) => return end,
        };
        *self.server.borrow_mut() = Some(socket.share());
        let mut io = Io::upstream(socket, self.watcher.local.clone());
        if io.write_all(&greeting(&target, self.from)).await.is_err() {
            return self.broken_by_server();
        }
        let upstream = match &target.upstream_tls {
            None => Layer::Plain(io),
            Some(tls) => {
                let (reached, postgres) = (self.reached(&target), self.shaken.postgres);
                match tls.connect(io, reached, chosen.as_deref(), postgres, within).await {
                    Ok(stream) => Layer::Connected(Box::new(stream)),
                    Err(failure) => {
                        tracing::debug!(proxy = &*self.watcher.local.proxy.name, "{failure}");
                        self.watcher.local.broke(|meter| &meter.tls_server_failed);
                        return End::ByServer;
                    }
                }
            }
        };
        self.watcher.take_asked();
        let (mut client, mut upstream) = Side::pair(client, read, upstream, &self.watcher);
        let told = [client.told.clone(), upstream.told.clone()];
        let copied = {
            let mut copying = pin!(tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, ROOM, ROOM));
            poll_fn(|cx| {
                if let Poll::Ready(copied) = copying.as_mut().poll(cx) {
                    return Poll::Ready(copied);
                }
                let Poll::Ready(failed) = self.poll_failed(cx) else { return Poll::Pending };
                // what came before it is taken first
                if let Poll::Ready(copied) = copying.as_mut().poll(cx) {
                    return Poll::Ready(copied);
                }
                told[failed].failed.set(true);
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            })
            .await
        };
        let Err(error) = copied else { return End::Whole };
        let failed = if told[CLIENT].failed.get() { CLIENT } else { UPSTREAM };
        let at_client = failed == CLIENT;
        tracing::debug!(proxy = &*self.watcher.local.proxy.name, at_client, %error, "a connection broke");
        match told[failed].ended.get() {
            true => End::Closed, // whoever has said that this was all may leave as it likes
            false if at_client => self.broken_by_client(),
            false => self.broken_by_server(),
        }
    }

    fn injected_beneath(&self) -> bool {
        self.watcher.beneath().is_some_and(|faults| faults.chain.end().is_some())
    }

    fn broken_by_client(&self) -> End {
        if !self.injected_beneath() {
            self.watcher.local.meter.reset_by_client.add(1);
        }
        End::ByClient
    }

    fn broken_by_server(&self) -> End {
        self.watcher.local.broke(|meter| &meter.reset_by_server);
        End::ByServer
    }

    /// The handshake with the client has failed: by a flaw that a fault gave it, or by itself.
    fn unshaken(&self, failure: &Failure) -> End {
        tracing::debug!(proxy = &*self.watcher.local.proxy.name, client = ?self.from.client, "{failure}");
        match &self.shaken.flaw {
            _ if self.injected_beneath() => {}
            Some((_, by)) => self.note(by),
            None => self.watcher.local.meter.tls_client_failed.add(1),
        }
        End::Closed // an alert may be on its way
    }

    async fn dial(&self, target: &Arc<Target>) -> Result<(Socket, Option<Ticket>), End> {
        let Watcher { worker, local, .. } = &*self.watcher;
        let unreached = |error: io::Error| {
            tracing::debug!(proxy = &*local.proxy.name, to = ?self.from.destination, %error, "the upstream can not be reached");
            local.broke(|meter| &meter.connect_failed);
            if target.spec.closes_unreached { End::Closed } else { End::ByServer }
        };
        let mut dialling =
            dial(&local.proxy, target, &worker.common, self.from.client, self.from.destination).map_err(unreached)?;
        let own = dialling.one().filter(|_| self.from.destination.is_some());
        let leaving = own.map(|socket| worker.common.leaving.note(socket)).transpose().map_err(unreached)?;
        let _waiting = Waiting::begin(&local.meter);
        let until = dialling.until();
        self.watcher.set_deadline(until);
        let dialled = poll_fn(|cx| match dialling.poll(cx) {
            Poll::Ready(dialled) => Poll::Ready(dialled.map_err(unreached)),
            Poll::Pending if until.is_some() && self.watcher.is_late() => {
                Poll::Ready(Err(unreached(io::ErrorKind::TimedOut.into())))
            }
            Poll::Pending if self.client.poll_failed(cx).is_ready() => {
                local.meter.reset_by_client.add(1);
                Poll::Ready(Err(End::ByClient))
            }
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.watcher.set_deadline(None);
        Ok((dialled?, leaving))
    }

    /// The address behind which the upstream is, where it has no name.
    fn reached(&self, target: &Target) -> Option<SocketAddr> {
        match &target.upstream {
            Upstream::Address(address) => Some(*address),
            Upstream::Original => self.from.destination,
            Upstream::Host(..) | Upstream::Unix(_) => None,
        }
    }

    /// Whose connection has failed while nobody reads it.
    fn poll_failed(&self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.client.poll_failed(cx).is_ready() {
            return Poll::Ready(CLIENT);
        }
        match self.server.borrow().as_ref().map(|server| server.poll_failed(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(UPSTREAM),
            _ => Poll::Pending,
        }
    }

    /// FIN to both sides. A socket that is closed with unread bytes would send RST after it.
    async fn close(&self) {
        self.with_patience(Socket::close_writing, |socket, cx| {
            let (mut stale, worker) = (true, &self.watcher.worker);
            for _ in 0..ROOM {
                match socket.poll_read(cx, &mut stale, &mut worker.buffer.borrow_mut()) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// RST to both sides, behind what was written.
    async fn reset(&self) {
        self.with_patience(reset::prepare, reset::poll_sent).await;
        self.sockets(|socket| {
            reset::arm(socket);
            true
        });
    }

    async fn with_patience(&self, begin: impl Fn(&Socket), poll: impl Fn(&Socket, &mut Context<'_>) -> Poll<()>) {
        self.sockets(|socket| {
            begin(socket);
            true
        });
        self.watcher.set_deadline(Some(SystemClock::mono() + PATIENCE));
        poll_fn(|cx| match self.watcher.is_late() || self.sockets(|socket| poll(socket, cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Whether something holds for each socket; it is asked for both.
    fn sockets(&self, mut each: impl FnMut(&Socket) -> bool) -> bool {
        let server = self.server.borrow();
        let holds = each(&self.client);
        server.as_ref().is_none_or(each) && holds
    }
}
