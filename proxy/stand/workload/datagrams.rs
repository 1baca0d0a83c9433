//! `kind = "udp"`: numbered datagrams, and what became of each.

mod book;
mod format;

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use squall_core::time::Time;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, yield_now};

use self::book::{Book, Fate};
use self::format::{Format, Seen};
use super::arrivals::Generator;
use super::failure::Failure;
use super::figures::Figures;
use crate::timer::{Timer, now};

/// Datagrams in a row before other tasks get their turn.
const BATCH: u64 = 32;
/// Asked for as the receive buffer of each socket, bytes. The system may give less.
const BURST: usize = 1 << 20;

/// Sockets that are connected to the first of the addresses to which there is a way.
pub(super) fn sockets(addresses: &[SocketAddr], count: usize) -> io::Result<Vec<UdpSocket>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match (0..count).map(|_| connect(*address)).collect() {
            Ok(sockets) => return Ok(sockets),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let _as_far_as_allowed = socket.set_recv_buffer_size(BURST);
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// What sends datagrams, from its sockets in turn.
pub(super) struct Datagrams {
    sockets: Vec<tokio::net::UdpSocket>,
    format: Format,
    /// How long one may be under way, ns since it was due.
    timeout: Time,
    figures: Arc<Figures>,
    book: RefCell<Book>,
    /// One that was awaited has come back, or is awaited no more.
    settled: Notify,
    /// One is awaited where none was.
    awaited: Notify,
}

impl Datagrams {
    /// To be called on the runtime that runs them.
    pub(super) fn new(
        sockets: Vec<UdpSocket>,
        size: usize,
        timeout: Time,
        seed: u64,
        figures: Arc<Figures>,
    ) -> io::Result<Rc<Datagrams>> {
        let sockets: Vec<_> = sockets.into_iter().map(tokio::net::UdpSocket::from_std).collect::<io::Result<_>>()?;
        let book = RefCell::new(Book::new(sockets.len()));
        let (settled, awaited) = (Notify::new(), Notify::new());
        Ok(Rc::new(Datagrams { sockets, format: Format::new(seed, size), timeout, figures, book, settled, awaited }))
    }

    /// Sends what comes due until `going` is false, then waits for what is still awaited.
    pub(super) async fn run(self: Rc<Self>, generator: Generator, timer: Timer, mut going: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for socket in 0..self.sockets.len() {
            tasks.spawn_local(self.clone().hear(socket));
        }
        tasks.spawn_local(self.clone().give_up(timer.clone()));
        tokio::select! {
            _ = going.wait_for(|going| !going) => {}
            () = self.arrive(generator, &timer) => {}
        }
        while self.book.borrow().awaits() {
            self.settled.notified().await;
        }
        self.figures.end();
    }

    async fn arrive(&self, generator: Generator, timer: &Timer) {
        let start = now();
        let mut datagram = self.format.blank();
        for due in generator {
            let at = start.saturating_add(due.at);
            timer.sleep_until(at).await;
            self.figures.due();
            self.send(at, &mut datagram);
            if due.number.is_multiple_of(BATCH) {
                yield_now().await;
            }
        }
        std::future::pending().await
    }

    fn send(&self, at: Time, datagram: &mut [u8]) {
        let is_late = now().saturating_sub(at) > self.timeout;
        let entered = if is_late { None } else { self.book.borrow_mut().enter(at) };
        let Some((number, socket)) = entered else { return self.figures.unsent() };
        self.format.write(number, datagram);
        self.figures.sent();
        // an error may be about an earlier datagram, which the upstream has refused: this one has not been sent then
        let sent = self.sockets[socket].try_send(datagram).or_else(|_| self.sockets[socket].try_send(datagram));
        match sent {
            Ok(_) => self.awaited.notify_one(),
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::WouldBlock => Failure::Exhausted,
                    _ => Failure::from(error),
                };
                self.book.borrow_mut().fail(number);
                self.figures.failed(0, why, false);
                self.settled.notify_one();
            }
        }
    }

    async fn hear(self: Rc<Self>, socket: usize) {
        let mut buffer = self.format.room();
        while self.sockets[socket].readable().await.is_ok() {
            for _ in 0..BATCH {
                match self.sockets[socket].try_recv(&mut buffer) {
                    Ok(size) => self.heard(socket, &buffer[..size]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {} // refused: those that are awaited will not come
                }
            }
            yield_now().await;
        }
    }

    fn heard(&self, socket: usize, datagram: &[u8]) {
        let (number, is_intact) = match self.format.read(datagram) {
            Seen::Intact(number) => (number, true),
            Seen::Corrupted(Some(number)) => (number, false),
            Seen::Corrupted(None) => return self.figures.datagrams(|seen| seen.corrupted += 1),
        };
        let fate = self.book.borrow_mut().came(socket, number);
        self.figures.datagrams(|seen| {
            seen.corrupted += u64::from(!is_intact);
            match fate {
                Fate::InTime { is_reordered, .. } => seen.reordered += u64::from(is_reordered),
                Fate::Late { was_lost } => {
                    seen.late += 1;
                    seen.lost -= u64::from(was_lost);
                }
                Fate::Again => seen.duplicated += 1,
                Fate::NeverSent => {}
            }
        });
        let Fate::InTime { due, .. } = fate else { return };
        match is_intact {
            true => self.figures.answered(0, now().saturating_sub(due)),
            false => self.figures.failed(0, Failure::Differs, false),
        }
        self.settled.notify_one();
    }

    /// Ends the wait for those whose time is over, in the order in which they were due.
    async fn give_up(self: Rc<Self>, timer: Timer) {
        loop {
            let oldest = self.book.borrow_mut().oldest();
            let Some(due) = oldest else {
                self.awaited.notified().await;
                continue;
            };
            timer.sleep_until(due.saturating_add(self.timeout)).await;
            let lost = self.book.borrow_mut().lose(now().saturating_sub(self.timeout));
            for _ in 0..lost {
                self.figures.failed(0, Failure::TimedOut, false);
            }
            self.figures.datagrams(|seen| seen.lost += lost);
            self.settled.notify_one();
        }
    }
}
