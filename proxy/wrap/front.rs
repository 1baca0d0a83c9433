//! The forward proxy that a wrapped program speaks with, on a free port of loopback. What is for an opened host goes to that
//! host's proxy on the data plane; everything else is a blind tunnel, of which only host, bytes and times are known.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use squall_wire::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::exit::{Exit, Refused};
use super::head::{self, Head, To, Url};
use super::owner;
use super::relay::{Moved, relay};
use super::tunnels::Tunnels;

/// Connections at one moment.
const MOST: usize = 4096;
/// How long a client may take to send a head.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// Where an opened host's proxies listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Door {
    /// For clients that go there through the front.
    pub forward: Option<SocketAddr>,
    /// For clients that speak no TLS with squall, and are told a base URL.
    pub reverse: Option<SocketAddr>,
}

/// The front, running. It ends when it is dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    runtime: Handle,
    /// Dropped with the front: its thread ends.
    _alive: oneshot::Sender<()>,
}

/// What all its connections share.
pub struct Shared {
    /// By host and port.
    pub doors: HashMap<(String, u16), Door>,
    /// The way to hosts that are not opened.
    pub exit: Arc<Exit>,
    /// What went there.
    pub tunnels: Arc<Tunnels>,
}

impl Front {
    /// Listens; connections are taken when this returns. `port`: 0: any that is free.
    ///
    /// # Errors
    /// When the system gives no socket or no thread.
    pub fn start(port: u16, shared: Shared) -> io::Result<Front> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(8) // name lookups
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))?;
        let address = listener.local_addr()?;
        let (alive, over) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        handle.spawn(accept(listener, Arc::new(shared)));
        std::thread::Builder::new().name("squall-front".into()).spawn(move || {
            let _its_end = runtime.block_on(over);
            runtime.shutdown_background();
        })?;
        Ok(Front { address, runtime: handle, _alive: alive })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let Ok((client, from)) = listener.accept().await else {
            breathe().await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let _place = place;
            if client.local_addr().is_ok_and(|to| owner::is_another(from, to)) {
                let _it_has_gone = set_socket_linger(&client, Some(Duration::ZERO));
                return;
            }
            shared.serve(client).await;
        });
    }
}

/// After no connection could be taken: those who hold descriptors give them back in time.
#[expect(clippy::disallowed_methods, reason = "how late this is decides nothing")]
pub(super) async fn breathe() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) {
        let _as_it_is = client.set_nodelay(true);
        let mut read = Vec::new();
        let head = match timeout(HEAD_WITHIN, read_head(&mut client, &mut read)).await {
            Ok(Ok(Some(head))) => head,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(why)) => return answer(&mut client, "400 Bad Request", why).await,
        };
        let rest = &read[head.used..];
        match &head.to {
            To::Tunnel(host, port) => self.tunnel(client, host, *port, rest).await,
            To::Url(url) => self.url(client, &head, url, rest).await,
            To::Path(path) => self.path(client, &head, path, rest).await,
        }
    }

    async fn tunnel(&self, mut client: TcpStream, host: &str, port: u16, rest: &[u8]) {
        let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
        if let Some(door) = self.door(host, port).and_then(|door| door.forward) {
            match enter(door).await {
                Ok(server) if client.write_all(established).await.is_ok() => drop(relay(client, server, rest).await),
                Ok(_) => {}
                Err(_) => answer(&mut client, "502 Bad Gateway", SHUT).await,
            }
            return;
        }
        self.blind(client, (host, port), established, rest).await;
    }

    /// A request in absolute form: of one that goes out in the clear, or of a client that leaves TLS to its proxy.
    async fn url(&self, mut client: TcpStream, head: &Head, url: &Url, rest: &[u8]) {
        let Url { tls, host, port, path } = url;
        let (tls, port) = (*tls, *port);
        let authority = authority(host, port, tls);
        let mut first = head.for_server(path, Some(&authority));
        first.extend_from_slice(rest);
        let door = self.door(host, port);
        match (tls, door.and_then(|door| if tls { door.reverse } else { door.forward })) {
            (_, Some(door)) => match enter(door).await {
                Ok(server) => drop(relay(client, server, &first).await),
                Err(_) => answer(&mut client, "502 Bad Gateway", SHUT).await,
            },
            (true, None) => {
                let why = "squall speaks TLS with hosts that it opens and is told to reverse; use CONNECT for others";
                answer(&mut client, "400 Bad Request", why).await;
            }
            (false, None) => self.blind(client, (host, port), b"", &first).await,
        }
    }

    /// `/HOST/path`: a base URL's request, for an opened host.
    async fn path(&self, mut client: TcpStream, head: &Head, path: &str, rest: &[u8]) {
        let (host, path) = path[1..].split_once('/').map_or((&path[1..], ""), |(host, path)| (host, path));
        let host = host.to_ascii_lowercase();
        let Some(door) = self.door(&host, 443).and_then(|door| door.reverse) else {
            return answer(&mut client, "421 Misdirected Request", NOT_A_SERVER).await;
        };
        let mut first = head.for_server(&format!("/{path}"), Some(&host));
        first.extend_from_slice(rest);
        match enter(door).await {
            Ok(server) => drop(relay(client, server, &first).await),
            Err(_) => answer(&mut client, "502 Bad Gateway", SHUT).await,
        }
    }

    async fn blind(&self, mut client: TcpStream, to: (&str, u16), greeting: &[u8], first: &[u8]) {
        let (host, port) = to;
        let began = SystemClock::mono();
        match self.exit.connect(host, port).await {
            Ok(server) => {
                let _as_it_is = server.set_nodelay(true);
                let mut moved = Moved::default();
                if client.write_all(greeting).await.is_ok() {
                    moved = relay(client, server, first).await;
                }
                self.tunnels.passed(host, port, moved, SystemClock::mono().saturating_sub(began));
            }
            Err(why) => {
                let status = match why {
                    Refused::Forbidden(_) => "403 Forbidden",
                    Refused::Unreachable(_) => "502 Bad Gateway",
                };
                let why = why.to_string();
                answer(&mut client, status, &why).await;
                self.tunnels.refused(host, port, why);
            }
        }
    }

    fn door(&self, host: &str, port: u16) -> Option<Door> {
        self.doors.get(&(host.to_owned(), port)).copied()
    }
}

const SHUT: &str = "the service can not be reached: a fault keeps its door shut, or squall is about to end";
const NOT_A_SERVER: &str = "this is the proxy of `squall wrap`, not a server: set HTTPS_PROXY to it, or with --reverse ask \
                            for /HOST/PATH of an opened host";

fn authority(host: &str, port: u16, tls: bool) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match (port, tls) {
        (443, true) | (80, false) => host,
        _ => format!("{host}:{port}"),
    }
}

/// Goes in by a host's door on the data plane.
async fn enter(door: SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect(door).await?;
    let _as_it_is = server.set_nodelay(true);
    Ok(server)
}

/// None: the client has gone, or never said anything.
async fn read_head(client: &mut TcpStream, read: &mut Vec<u8>) -> Result<Option<Head>, &'static str> {
    loop {
        if let Some(head) = head::parse(read)? {
            return Ok(Some(head));
        }
        match client.read_buf(read).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

/// What squall says itself: RFC 9209 tells it from what a server says.
async fn answer(client: &mut TcpStream, status: &str, why: &str) {
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\nproxy-status: squall; error=proxy_internal_response\r\n\
         content-length: {}\r\nconnection: close\r\n\r\nsquall: {why}\n",
        why.len() + 9
    );
    let _it_has_gone = client.write_all(text.as_bytes()).await;
    let _it_has_gone = client.shutdown().await;
}

impl Front {
    /// Has the data plane reach a host through the proxy of this network, over a socket of squall's own.
    ///
    /// # Errors
    /// When the socket can't be had.
    pub fn lead_out(&self, socket: &std::path::Path, exit: Arc<Exit>, host: String, port: u16) -> io::Result<()> {
        let _inside = self.runtime.enter();
        let listener = UnixListener::bind(socket)?;
        self.runtime.spawn(async move {
            let room = Arc::new(Semaphore::new(MOST));
            while let Ok(place) = room.clone().acquire_owned().await {
                let Ok((from, _)) = listener.accept().await else {
                    breathe().await;
                    continue;
                };
                let (exit, host) = (exit.clone(), host.clone());
                tokio::spawn(async move {
                    let _place = place;
                    lead(from, &exit, &host, port).await;
                });
            }
        });
        Ok(())
    }
}

async fn lead(mut from: UnixStream, exit: &Exit, host: &str, port: u16) {
    match exit.connect(host, port).await {
        Ok(mut to) => {
            let _how_it_ended_both_know = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        }
        Err(why) => tracing::warn!("{host} can't be reached: {why}"), // and the data plane sees an end
    }
}
