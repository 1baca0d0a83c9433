//! A proxy's listening socket on one worker, and its clients.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use squall_core::time::{SECOND, Time};

use super::{Association, LARGEST, widen};
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
    clients: RefCell<HashMap<SocketAddr, Rc<Association>>>,
    /// Clients by the time when they were last known to speak, roughly.
    ages: RefCell<VecDeque<(Time, SocketAddr)>>,
}

impl Port {
    pub(crate) fn new(worker: Rc<Worker>, local: Rc<Local>, socket: Watched) -> Rc<Port> {
        widen(&socket);
        let (clients, ages) = Default::default();
        Rc::new(Port { worker, local, socket, clients, ages })
    }

    /// Reads what clients send until the task is ended.
    pub(crate) async fn serve(self: Rc<Self>) {
        loop {
            let Ok(mut guard) = self.socket.readable().await else { return };
            for _ in 0..ROUNDS {
                let worker = self.worker.clone();
                let mut buffer = worker.buffer.borrow_mut();
                let size = buffer.len().min(LARGEST);
                match rustix::net::recvfrom(&self.socket, &mut buffer[..size], RecvFlags::empty()) {
                    Ok((n, _, Some(from))) => {
                        if let Ok(client) = SocketAddr::try_from(from) {
                            self.receive(client, &buffer[..n]);
                        }
                    }
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

    fn receive(self: &Rc<Self>, client: SocketAddr, bytes: &[u8]) {
        let known = self.clients.borrow().get(&client).cloned();
        match known.or_else(|| self.admit(client)) {
            Some(association) => association.client_sent(bytes),
            None => self.local.meter.dropped.add(1),
        }
    }

    /// A new client, if there is room or somebody gives way.
    fn admit(self: &Rc<Self>, client: SocketAddr) -> Option<Rc<Association>> {
        let now = SystemClock::mono();
        if self.worker.common.is_full() && !self.one_gives_way(now)
            || !(self.local.proxy.enter() || self.one_gives_way(now) && self.local.proxy.enter())
        {
            self.local.meter.refused.add(1);
            return None;
        }
        let association = Association::begin(&self.worker, self, client, now);
        self.clients.borrow_mut().insert(client, association.clone());
        let mut ages = self.ages.borrow_mut();
        ages.push_back((now, client));
        if ages.len() > 64 + 2 * self.clients.borrow().len() {
            let clients = self.clients.borrow();
            ages.retain(|(_, client)| clients.contains_key(client)); // those that have ended since
        }
        Some(association)
    }

    /// Ends an association that has been silent for long.
    fn one_gives_way(&self, now: Time) -> bool {
        for _ in 0..LOOKS {
            let oldest = self.ages.borrow_mut().pop_front();
            let Some((noted, client)) = oldest else { return false };
            let association = self.clients.borrow().get(&client).cloned();
            let Some(association) = association else { continue };
            let spoke = association.spoke();
            if spoke > noted {
                self.ages.borrow_mut().push_back((spoke, client));
            } else if now.saturating_sub(spoke) < SILENT || association.is_holding() {
                self.ages.borrow_mut().push_front((noted, client));
                return false;
            } else {
                association.end();
                return true;
            }
        }
        false
    }

    /// Sends an answer. Whether it went.
    pub(super) fn answer(&self, client: SocketAddr, bytes: &[u8]) -> bool {
        loop {
            match rustix::net::sendto(&self.socket, bytes, SendFlags::empty(), &client) {
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::debug!(proxy = &*self.local.proxy.name, %client, %error, "an answer could not be sent");
                    return false;
                }
            }
        }
    }

    /// An association has ended.
    pub(super) fn forget(&self, client: SocketAddr) {
        self.clients.borrow_mut().remove(&client);
    }

    /// The listener is closed: what faults hold goes out, and all associations end.
    pub(crate) fn close(&self) {
        let all: Vec<_> = self.clients.borrow().values().cloned().collect();
        all.iter().for_each(|association| association.close());
    }
}
