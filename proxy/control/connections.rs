//! The connections of the control port: a bounded number, and always room for one more that has something to say.

mod accept;
mod serve;
mod stall;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::task::AbortHandle;

pub(crate) use self::accept::{Listener, accept};

/// Descriptors kept for the moment when the data plane has taken all others.
const SPARE: usize = 8;

/// All connections of the control port and its read-only listener.
#[derive(Debug)]
pub(crate) struct Connections {
    max: usize,
    open: Mutex<VecDeque<Entry>>,
    spare: Mutex<Vec<File>>,
}

#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    task: AbortHandle,
}

/// What is known of one connection: who is at its other end, and requests under way on it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    /// The names in the certificate that it has shown.
    names: OnceLock<Vec<String>>,
    busy: AtomicUsize,
}

/// A request under way; as long as one is held, the connection is not closed to make room.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Link>);

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Over the network.
    Tcp(SocketAddr),
    /// Over a unix socket: the user, as the kernel says.
    Unix(u32),
}

impl Peer {
    /// Without what differs from connection to connection.
    pub(crate) fn host(&self) -> String {
        match self {
            Peer::Tcp(address) => address.ip().to_canonical().to_string(),
            Peer::Unix(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix(user) => write!(f, "unix:uid={user}"),
        }
    }
}

impl Link {
    fn new(peer: Peer) -> Arc<Link> {
        Arc::new(Link { peer, names: OnceLock::new(), busy: AtomicUsize::new(0) })
    }

    /// The names in the certificate that was shown, if one was.
    pub(crate) fn names(&self) -> &[String] {
        self.names.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn busy(self: &Arc<Link>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(max: usize) -> Arc<Connections> {
        let connections = Connections { max, open: Mutex::default(), spare: Mutex::default() };
        connections.restock();
        Arc::new(connections)
    }

    /// Makes room for one more, if need be by closing the oldest connection on which no request is under way.
    fn make_room(&self) -> bool {
        lock(&self.open).len() < self.max || self.evict()
    }

    fn evict(&self) -> bool {
        let mut open = lock(&self.open);
        let idle = open.iter().position(|entry| entry.link.busy.load(Ordering::Relaxed) == 0);
        let Some(entry) = idle.and_then(|n| open.remove(n)) else { return false };
        entry.task.abort();
        true
    }

    fn add(&self, link: Arc<Link>, task: AbortHandle) {
        let mut open = lock(&self.open);
        open.retain(|entry| !entry.task.is_finished());
        open.push_back(Entry { link, task });
    }

    fn remove(&self, link: &Arc<Link>) {
        lock(&self.open).retain(|entry| !Arc::ptr_eq(&entry.link, link));
        self.restock();
    }

    /// Gives up one spare descriptor, so that the next accept can have it.
    fn lend(&self) -> bool {
        lock(&self.spare).pop().is_some()
    }

    fn restock(&self) {
        let mut spare = lock(&self.spare);
        while spare.len() < SPARE {
            let Ok(file) = File::open("/dev/null") else { return };
            spare.push(file);
        }
    }

    /// Closes what is left.
    pub(crate) fn close(&self) {
        for entry in lock(&self.open).drain(..) {
            entry.task.abort();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.open).is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
