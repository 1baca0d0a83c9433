//! Accepting, also when descriptors have run out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use super::serve::serve;
use super::{Connections, Link, Peer};
use crate::server::{Limits, nap, stopped};
use crate::tls::{Tls, names};

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), Peer::Tcp(peer))
            }
            Listener::Unix(listener) => {
                let stream = listener.accept().await?.0;
                let user = stream.peer_cred()?.uid();
                (Stream::Unix(stream), Peer::Unix(user))
            }
        })
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until `stop` becomes true.
pub(crate) async fn accept(
    listener: Listener,
    router: Router,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                // With every connection at work there is nothing to say but goodbye.
                if connections.make_room() {
                    admit(stream, peer, &router, tls.as_ref(), &connections, limits, &stop);
                }
            }
            Err(e) if is_about_one_connection(&e) => {}
            Err(e) => {
                // A spare descriptor, or one of a connection that does nothing, lets the next one in.
                if is_out_of_descriptors(&e) && (connections.lend() || connections.evict()) {
                    tokio::task::yield_now().await;
                    continue;
                }
                tracing::warn!("the control port can't accept: {e}; next attempt in {pause:?}");
                nap(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

fn admit(
    stream: Stream,
    peer: Peer,
    router: &Router,
    tls: Option<&Arc<Tls>>,
    connections: &Arc<Connections>,
    limits: Limits,
    stop: &watch::Receiver<bool>,
) {
    let link = Link::new(peer);
    let task = {
        let acceptor = tls.map(|tls| tls.acceptor());
        let (router, link, connections, stop) = (router.clone(), link.clone(), connections.clone(), stop.clone());
        tokio::spawn(async move {
            let _leave = Leave { link: link.clone(), connections };
            match stream {
                Stream::Tcp(stream) => {
                    let _ = stream.set_nodelay(true);
                    let Some(acceptor) = acceptor else { return serve(stream, router, link, limits, stop).await };
                    let shaken = tokio::time::timeout(limits.head, acceptor.accept(stream)).await;
                    let Ok(Ok(stream)) = shaken else { return };
                    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let _ = link.names.set(shown.map(|certificate| names(certificate)).unwrap_or_default());
                    serve(stream, router, link, limits, stop).await;
                }
                Stream::Unix(stream) => serve(stream, router, link, limits, stop).await,
            }
        })
    };
    connections.add(link, task.abort_handle());
}

/// Takes the connection off the list however it ends.
struct Leave {
    link: Arc<Link>,
    connections: Arc<Connections>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.connections.remove(&self.link);
    }
}

fn is_about_one_connection(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

fn is_out_of_descriptors(e: &io::Error) -> bool {
    let code = e.raw_os_error();
    code == Some(rustix::io::Errno::MFILE.raw_os_error()) || code == Some(rustix::io::Errno::NFILE.raw_os_error())
}
