//! Test doubles: a listener and one way to answer.

mod banner;
mod calls;
mod capacity;
mod echo;
mod http;
mod recording;
mod udp_echo;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use squall_core::plane::{Service, ServiceReading};
use squall_core::scenario::{ServiceKind, ServiceSpec};
use squall_core::time::{MILLI, Time};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use crate::thread::Thread;
use crate::timer::{Timer, now};

/// Connections of one service at one moment; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections that the system keeps for us until we accept them.
const BACKLOG: i32 = 4096;
/// How long accepting rests when the system has no descriptors or memory left.
const BACK_OFF: Time = 10 * MILLI;

/// Starts a service; an error is in words for people.
pub(crate) fn start(spec: &ServiceSpec) -> Result<Box<dyn Service>, String> {
    let counts = Arc::new(Counts::default());
    let double = Double::new(spec, &counts).map_err(|why| format!("service `{}`: {why}", spec.name))?;
    let started = match double {
        Some(double) => start_connected(spec, double, &counts),
        None => start_datagrams(spec, &counts),
    };
    let cannot = |error: io::Error| format!("service `{}` can not listen on {}: {error}", spec.name, spec.listen);
    let (address, thread) = started.map_err(cannot)?;
    Ok(Box::new(LocalService { address, counts, _thread: thread }))
}

fn start_connected(spec: &ServiceSpec, double: Double, counts: &Arc<Counts>) -> io::Result<(SocketAddr, Thread)> {
    let listener = listen(&spec.listen, bind)?;
    let (address, counted) = (listener.local_addr()?, Arc::clone(counts));
    let main = move |timer| async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => serve(listener, double, &counted, timer).await,
            Err(error) => tracing::error!(%error, %address, "service"),
        }
    };
    Ok((address, Thread::spawn(&format!("service {}", spec.name), main)?))
}

fn start_datagrams(spec: &ServiceSpec, counts: &Arc<Counts>) -> io::Result<(SocketAddr, Thread)> {
    let socket = listen(&spec.listen, udp_echo::bind)?;
    let (address, counted) = (socket.local_addr()?, Arc::clone(counts));
    let main = move |_| async move {
        if let Err(error) = udp_echo::serve(socket, &counted).await {
            tracing::error!(%error, %address, "service");
        }
    };
    Ok((address, Thread::spawn(&format!("service {}", spec.name), main)?))
}

struct LocalService {
    address: SocketAddr,
    counts: Arc<Counts>,
    _thread: Thread,
}

impl Service for LocalService {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn reading(&self) -> ServiceReading {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { connections, requests, turned_away, unknown } = &*self.counts;
        ServiceReading {
            connections: read(connections),
            requests: read(requests),
            turned_away: read(turned_away),
            unknown: read(unknown),
        }
    }
}

/// What has come: written by the service's thread.
#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    requests: AtomicU64,
    turned_away: AtomicU64,
    unknown: AtomicU64,
}

fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

enum Double {
    Http(Arc<http::Answers>),
    Echo,
    Banner(Arc<str>),
    Recording(Arc<recording::Player>),
}

impl Double {
    /// None: it takes datagrams.
    fn new(spec: &ServiceSpec, counts: &Arc<Counts>) -> Result<Option<Double>, String> {
        Ok(Some(match &spec.kind {
            ServiceKind::Http { .. } => Double::Http(Arc::new(http::Answers::new(spec, Arc::clone(counts))?)),
            ServiceKind::Echo => Double::Echo,
            ServiceKind::Banner { text } => Double::Banner(text.as_str().into()),
            ServiceKind::Recording { recording, timing, strict } => {
                let player = recording::Player::new(&spec.name, recording, *timing, *strict, Arc::clone(counts))?;
                Double::Recording(Arc::new(player))
            }
            ServiceKind::UdpEcho => return Ok(None),
        }))
    }

    /// Serves one connection to its end, whoever ends it.
    async fn converse(&self, stream: TcpStream, timer: &Timer) {
        let ended = match self {
            Double::Http(answers) => answers.converse(stream, timer).await,
            Double::Echo => echo::converse(stream).await,
            Double::Banner(text) => banner::converse(stream, text).await,
            Double::Recording(player) => player.converse(stream, timer).await,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to a service ended");
        }
    }
}

/// Listens on the first of the addresses that can be had.
fn listen<L>(address: &str, bind: impl Fn(SocketAddr) -> io::Result<L>) -> io::Result<L> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn serve(listener: TcpListener, double: Double, counts: &Counts, timer: Timer) {
    let double = Rc::new(double);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "accept");
                timer.sleep_until(now() + BACK_OFF).await;
                continue;
            }
        };
        count(&counts.connections);
        let (double, timer) = (Rc::clone(&double), timer.clone());
        spawn_local(async move {
            let _ = stream.set_nodelay(true);
            double.converse(stream, &timer).await;
            drop(place);
        });
    }
}
