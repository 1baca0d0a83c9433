//! A proxy's listening socket on one worker, and its clients.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use squall_core::time::{SECOND, Time};

#[cfg(target_os = "linux")]
use super::spoken;
use super::{Association, LARGEST, Peer, widen};
use crate::clock::SystemClock;
use crate::socket::Watched;
use crate::worker::{Local, Worker};

/// Datagrams in a row before others get a turn.
const ROUNDS: usize = 64;
/// How long an association must have been silent to give way to a new one.
const SILENT: Time = SECOND;
/// How many are looked at to find one.
const LOOKS: usize = 8;

/// See the module.
pub(crate) struct Port {
    worker: Rc<Worker>,
    pub(super) local: Rc<Local>,
    socket: Watched,
    /// It listens on several addresses: room for what the kernel tells about each datagram.
    #[cfg(target_os = "linux")]
    spoken: Option<RefCell<Vec<u8>>>,
    clients: RefCell<HashMap<Peer, Rc<Association>>>,
    /// Clients by the time when they were last known to speak, roughly.
    ages: RefCell<VecDeque<(Time, Peer)>>,
}

impl Port {
    pub(crate) fn new(worker: Rc<Worker>, local: Rc<Local>, socket: Watched) -> Rc<Port> {
        widen(&socket);
        let (clients, ages) = Default::default();
        #[cfg(target_os = "linux")]
        let spoken = several(&socket, &local.proxy.name).then(|| RefCell::new(spoken::room()));
        Rc::new(Port {
            worker,
            local,
            socket,
            #[cfg(target_os = "linux")]
            spoken,
            clients,
            ages,
        })
    }

    /// Reads what clients send until the task is ended.
    pub(crate) async fn serve(self: Rc<Self>) {
        loop {
            let Ok(mut guard) = self.socket.readable().await else { return };
            for _ in 0..ROUNDS {
                let worker = self.worker.clone();
                let mut buffer = worker.buffer.borrow_mut();
                let size = buffer.len().min(LARGEST);
                match self.next(&mut buffer[..size]) {
                    Ok((n, Some(peer))) => self.receive(peer, &buffer[..n]),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        guard.clear_ready();
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(proxy = &*self.local.proxy.name, %error, "receiving failed");
                        break;
                    }
                }
            }
            drop(guard);
            tokio::task::yield_now().await;
        }
    }

    /// Takes a datagram that has come.
    fn next(&self, buffer: &mut [u8]) -> Result<(usize, Option<Peer>), Errno> {
        #[cfg(target_os = "linux")]
        if let Some(room) = &self.spoken {
            return spoken::receive(&self.socket, buffer, &mut room.borrow_mut());
        }
        let (n, _, from) = rustix::net::recvfrom(&self.socket, buffer, RecvFlags::empty())?;
        let client = from.and_then(|from| SocketAddr::try_from(from).ok());
        Ok((n, client.map(|client| Peer { client, own: None })))
    }

    fn receive(self: &Rc<Self>, peer: Peer, bytes: &[u8]) {
        let known = self.clients.borrow().get(&peer).cloned();
        match known.or_else(|| self.admit(peer)) {
            Some(association) => association.client_sent(bytes),
            None => self.local.meter.dropped.add(1),
        }
    }

    /// A new client, if there is room or somebody gives way.
    fn admit(self: &Rc<Self>, peer: Peer) -> Option<Rc<Association>> {
        let now = SystemClock::mono();
        if self.worker.common.is_full() && !self.one_gives_way(now)
            || !(self.local.proxy.enter() || self.one_gives_way(now) && self.local.proxy.enter())
        {
            self.local.broke(|meter| &meter.refused);
            return None;
        }
        let association = Association::begin(&self.worker, self, peer, now);
        self.clients.borrow_mut().insert(peer, association.clone());
        let mut ages = self.ages.borrow_mut();
        ages.push_back((now, peer));
        if ages.len() > 64 + 2 * self.clients.borrow().len() {
            let clients = self.clients.borrow();
            ages.retain(|(_, peer)| clients.contains_key(peer)); // those that have ended since
        }
        Some(association)
    }

    /// Ends an association that has been silent for long.
    fn one_gives_way(&self, now: Time) -> bool {
        for _ in 0..LOOKS {
            let oldest = self.ages.borrow_mut().pop_front();
            let Some((noted, peer)) = oldest else { return false };
            let association = self.clients.borrow().get(&peer).cloned();
            let Some(association) = association else { continue };
            let spoke = association.spoke();
            if spoke > noted {
                self.ages.borrow_mut().push_back((spoke, peer));
            } else if now.saturating_sub(spoke) < SILENT || association.is_holding() {
                self.ages.borrow_mut().push_front((noted, peer));
                return false;
            } else {
                association.end();
                return true;
            }
        }
        false
    }

    /// Sends an answer. Whether it went.
    pub(super) fn answer(&self, peer: Peer, bytes: &[u8]) -> bool {
        let client = peer.client;
        loop {
            let sent = match peer.own {
                #[cfg(target_os = "linux")]
                Some(own) => spoken::send(&self.socket, client, own, bytes),
                _ => rustix::net::sendto(&self.socket, bytes, SendFlags::empty(), &client).map(drop),
            };
            match sent {
                Ok(()) => return true,
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::debug!(proxy = &*self.local.proxy.name, %client, %error, "an answer could not be sent");
                    return false;
                }
            }
        }
    }

    /// An association has ended.
    pub(super) fn forget(&self, peer: Peer) {
        self.clients.borrow_mut().remove(&peer);
    }

    /// The listener is closed: what faults hold goes out, and all associations end.
    pub(crate) fn close(&self) {
        let all: Vec<_> = self.clients.borrow().values().cloned().collect();
        all.iter().for_each(|association| association.close());
    }
}

/// Whether a socket listens on several addresses, and the kernel tells which one a client speaks to.
#[cfg(target_os = "linux")]
fn several(socket: &Watched, proxy: &str) -> bool {
    let bound = socket2::SockRef::from(socket).local_addr().map(|address| address.as_socket());
    let asked = bound.and_then(|bound| bound.map_or(Ok(false), |bound| spoken::ask(socket, bound)));
    asked.unwrap_or_else(|error| {
        tracing::warn!(proxy, %error, "answers may leave from another address than clients have spoken to");
        false
    })
}
