//! Reaching an upstream for one exchange: over a connection that rests, or a new one.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use squall_core::http::{Fields, Request, Response, StatusCode};
use squall_core::tap::Tapped;
use squall_core::time::Time;
use squall_core::way::{HeaderVersion, HttpVersion};
use tokio::io::AsyncWriteExt;

use super::channel2::{Channel, Route};
use super::ends::{Answered, Broken, Length, Piece, Server, Sink, Source};
use super::failure::Failure;
use super::io::Io;
use super::line::Line;
use super::server1::Server1;
use super::server2::Server2;
use super::stream::Stream;
use super::upgrade::to_upgrade;
use super::watch::Watcher;
use crate::clock::SystemClock;
use crate::dial::{Dialling, Upstream, dial};
use crate::header::{Proxied, write};
use crate::original::Ticket;
use crate::plane::Target;
use crate::worker::{Local, Worker};

/// An upstream, reached.
pub(crate) struct Reached {
    server: Over,
    target: Arc<Target>,
    /// It has carried an exchange before.
    used: bool,
    /// It may rest after this exchange.
    shared: bool,
    /// Made for a client of a transparent proxy.
    _leaving: Option<Ticket>,
    /// Somebody listens.
    tap: Option<Box<Tapped>>,
}

/// What it speaks.
enum Over {
    One(Box<Server1>),
    Two(Box<Server2>),
}

/// Where a client's connection came from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// The client; none: a unix socket.
    pub(crate) client: Option<SocketAddr>,
    /// Where it meant to go, on a transparent proxy.
    pub(crate) destination: Option<SocketAddr>,
    /// Where it arrived.
    pub(crate) at: Option<SocketAddr>,
}

/// An upstream on the way to be reached.
pub(crate) enum Reaching {
    There(Option<Reached>),
    Dialling {
        dialling: Dialling,
        target: Arc<Target>,
        from: Origin,
        shared: bool,
        leaving: Option<Ticket>,
    },
    /// TLS begins.
    Securing {
        securing: Pin<Box<dyn Future<Output = Result<Stream, Failure>>>>,
        target: Arc<Target>,
        shared: bool,
        leaving: Option<Ticket>,
    },
    /// Over a connection that others may share.
    Opening {
        channel: Rc<Channel>,
        target: Arc<Target>,
        from: Origin,
        shared: bool,
    },
}

/// Begins to reach the upstream of a proxy. `rested`: a connection that rests will do, with what time it is; one that others
/// share always will.
pub(crate) fn reach(watcher: &Watcher, from: Origin, rested: Option<Time>) -> Result<Reaching, Failure> {
    let (worker, local) = (&watcher.worker, &watcher.local);
    let target = local.proxy.target.load_full();
    let way = &target.spec.way;
    // what stands for one client carries nobody else's requests
    let shared = from.destination.is_none() && way.source.is_none() && sends_header(&target).is_none();
    let two = way.upstream_http() == HttpVersion::Two;
    if two
        && shared
        && let Some(channel) = worker.pool.share(local.proxy.id, &target)
    {
        return Ok(Reaching::Opening { channel, target, from, shared });
    }
    if shared
        && !two
        && let Some(now) = rested
        && let Some(server) = worker.pool.take(local.proxy.id, &target, now)
    {
        local.meter.reused.add(1);
        let server = Over::One(server);
        return Ok(Reaching::There(Some(Reached { server, target, used: true, shared, _leaving: None, tap: None })));
    }
    let dialling = dial(&local.proxy, &target, &worker.common, from.client, from.destination);
    let dialling = dialling.map_err(|error| Failure::to_connect(&error))?;
    let own = dialling.one().filter(|_| from.destination.is_some());
    let leaving = own.map(|socket| worker.common.leaving.note(socket)).transpose();
    let leaving = leaving.map_err(|error| Failure::to_connect(&error))?;
    if two {
        let route = Route { dialling, target: target.clone(), from, leaving };
        let channel = Channel::open(worker, local, route);
        if shared {
            worker.pool.add(local.proxy.id, &target, channel.clone());
        }
        return Ok(Reaching::Opening { channel, target, from, shared });
    }
    watcher.set_deadline(dialling.until());
    Ok(Reaching::Dialling { dialling, target, from, shared, leaving })
}

/// The version of the PROXY header that the upstream is to have.
fn sends_header(target: &Target) -> Option<HeaderVersion> {
    target.spec.way.proxy_protocol.as_ref()?.send
}

pub(crate) fn greeting(target: &Target, from: Origin) -> Vec<u8> {
    let Some(version) = sends_header(target) else { return Vec::new() };
    let pair = from.client.zip(from.destination.or(from.at));
    write(version, pair.map(|(client, destination)| Proxied { client, destination }))
}

impl Reaching {
    pub(crate) fn poll(&mut self, watcher: &Watcher, cx: &mut Context<'_>) -> Poll<Result<Reached, Failure>> {
        let (dialling, target, from, shared, leaving) = match self {
            Reaching::There(there) => {
                let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
                return Poll::Ready(there.take().ok_or_else(|| Failure::to_connect(&gone())));
            }
            Reaching::Opening { channel, target, from, shared } => {
                if let Err(failure) = ready!(channel.poll_open(cx)) {
                    return Poll::Ready(Err(failure));
                }
                let local = &watcher.local;
                if *shared && channel.room() == Some(0) && !watcher.worker.pool.is_full(local.proxy.id) {
                    *self = reach(watcher, *from, Some(SystemClock::mono()))?; // it carries fewer than it seemed before it had opened
                    return self.poll(watcher, cx);
                }
                let used = channel.is_used();
                local.meter.reused.add(u64::from(used));
                return Poll::Ready(Ok(Reached {
                    server: Over::Two(Box::new(Server2::new(channel.clone()))),
                    target: target.clone(),
                    used,
                    shared: false, // the pool has it already
                    _leaving: None,
                    tap: None,
                }));
            }
            Reaching::Securing { securing, target, shared, leaving } => {
                let line = Line::new(ready!(securing.as_mut().poll(cx))?, watcher.worker.spare.clone());
                return Poll::Ready(Ok(Reached {
                    server: Over::One(Box::new(Server1::new(line))),
                    target: target.clone(),
                    used: false,
                    shared: *shared,
                    _leaving: leaving.take(),
                    tap: None,
                }));
            }
            Reaching::Dialling { dialling, target, from, shared, leaving } => (dialling, target, from, shared, leaving),
        };
        let dialled = match dialling.poll(cx) {
            Poll::Pending if watcher.is_late() && dialling.until().is_some() => {
                Err(std::io::ErrorKind::TimedOut.into())
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(dialled) => dialled,
        };
        watcher.set_deadline(None);
        let socket = dialled.map_err(|error| Failure::to_connect(&error))?;
        let io = Io::upstream(socket, watcher.local.clone());
        if target.upstream_tls.is_some() {
            let securing = Box::pin(secure(io, watcher.local.clone(), target.clone(), *from, HTTP_11));
            let (target, shared, leaving) = (target.clone(), *shared, leaving.take());
            *self = Reaching::Securing { securing, target, shared, leaving };
            return self.poll(watcher, cx);
        }
        let mut line = Line::new(Stream::plain(io), watcher.worker.spare.clone());
        line.put_slice(&greeting(target, *from));
        let server = Over::One(Box::new(Server1::new(line)));
        Poll::Ready(Ok(Reached {
            server,
            target: target.clone(),
            used: false,
            shared: *shared,
            _leaving: leaving.take(),
            tap: None,
        }))
    }
}

/// What is offered to an upstream (RFC 7301) whose configuration names no protocols.
const HTTP_11: &[u8] = b"http/1.1";

/// Greets an upstream that was reached, and begins TLS with it where it is to have that.
pub(super) async fn secure(
    mut io: Io,
    local: Rc<Local>,
    target: Arc<Target>,
    from: Origin,
    offered: &[u8],
) -> Result<Stream, Failure> {
    let within = Duration::from_nanos(target.spec.connect_timeout);
    let greeting = greeting(&target, from);
    if !greeting.is_empty() {
        io.write_all(&greeting).await.map_err(|error| Failure::to_connect(&error))?;
    }
    let Some(tls) = &target.upstream_tls else { return Ok(Stream::plain(io)) };
    let reached = match &target.upstream {
        Upstream::Address(address) => Some(*address),
        Upstream::Original => from.destination,
        Upstream::Host(..) | Upstream::Unix(_) => None,
    };
    match tls.connect(io, reached, Some(offered), false, within).await {
        Ok(stream) => Ok(Stream::Connected(Box::new(stream))),
        Err(failure) => {
            tracing::debug!(proxy = &*local.proxy.name, "{failure}");
            let (status, why) = (StatusCode::BAD_GATEWAY, failure.to_string());
            Err(Failure { status, error: "tls_protocol_error", why, counts: Some(|meter| &meter.tls_server_failed) })
        }
    }
}

impl Reached {
    /// Lets those hear it who listen to the proxy.
    pub(crate) fn tapped(mut self, local: &Local) -> Reached {
        let tap = local.proxy.tap.load();
        self.tap = tap.as_ref().map(|tap| Box::new(tap.begin(SystemClock::mono())));
        self
    }

    /// Whether it has carried an exchange before.
    pub(crate) fn is_used(&self) -> bool {
        self.used
    }

    /// It is lost, or about to be: exchanges that could share it take another.
    pub(crate) fn retire(&self) {
        if let Over::Two(server) = &self.server {
            server.retire();
        }
    }

    /// Whether any byte of an answer has come.
    pub(crate) fn has_heard(&self) -> bool {
        match &self.server {
            Over::One(server) => server.has_heard(),
            Over::Two(server) => server.has_heard(),
        }
    }

    /// Lets it rest until the next exchange, if it may carry one.
    pub(crate) fn rest(self, worker: &Rc<Worker>, local: &Local) {
        if self.shared
            && !local.proxy.is_closed()
            && Arc::ptr_eq(&self.target, &local.proxy.target.load())
            && let Over::One(mut server) = self.server
            && server.rest()
        {
            worker.pool.put(local.proxy.id, &self.target, server, SystemClock::mono());
        }
    }
}

/// The same of either.
macro_rules! either {
    ($reached:expr, $server:ident => $call:expr) => {
        match &mut $reached.server {
            Over::One($server) => $call,
            Over::Two($server) => $call,
        }
    };
}

impl Server for Reached {
    fn request(&mut self, request: &Request, length: Length) {
        let plain = self.tap.as_mut().map(|tap| tap.ask(request, SystemClock::mono()));
        let request = plain.as_ref().unwrap_or(request);
        match (&mut self.server, &request.protocol) {
            (Over::One(server), Some(protocol)) => server.request(&to_upgrade(request, protocol), length),
            (Over::One(server), None) => server.request(request, length),
            (Over::Two(server), _) => server.request(request, length),
        }
    }
    fn poll_head(&mut self, into: &mut Response, cx: &mut Context<'_>) -> Poll<Result<Answered, Broken>> {
        let head = either!(self, server => server.poll_head(into, cx));
        if let (Some(tap), Poll::Ready(Ok(Answered { length }))) = (&mut self.tap, &head) {
            tap.answered(into, *length == Length::None, *length == Length::Tunnel, SystemClock::mono());
        }
        head
    }
    fn cancel(&mut self) {
        either!(self, server => server.cancel());
    }
}

impl Source for Reached {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        let piece = either!(self, server => server.poll_piece(cx));
        if let (Some(tap), Poll::Ready(piece)) = (&mut self.tap, &piece) {
            match piece {
                Ok(Piece::Data(bytes)) => tap.came(bytes, SystemClock::mono()),
                Ok(Piece::End(trailers)) => tap.ended(trailers.as_ref()),
                Err(_) => tap.broke(),
            }
        }
        piece
    }
}

impl Sink for Reached {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        either!(self, server => server.poll_room(cx))
    }
    fn put(&mut self, bytes: Bytes) {
        if let Some(tap) = &mut self.tap {
            tap.sent(&bytes, SystemClock::mono());
        }
        either!(self, server => server.put(bytes));
    }
    fn finish(&mut self, trailers: Option<Fields>) {
        either!(self, server => server.finish(trailers));
    }
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        either!(self, server => server.poll_written(cx))
    }
}
