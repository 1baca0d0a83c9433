//! A connection to an upstream that speaks HTTP/2, for many exchanges at once. It has a task of its own: it outlives the
//! exchange that had it opened.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use squall_core::http::StatusCode;
use squall_core::time::{SECOND, Time};

use super::carrier::{Carrier, Handle};
use super::failure::Failure;
use super::io::Io;
use super::reach::{Origin, secure};
use super::watch::{Task, Watcher};
use crate::clock::SystemClock;
use crate::dial::Dialling;
use crate::original::Ticket;
use crate::plane::Target;
use crate::worker::{Local, Worker};

/// How long one may be without an exchange.
const REST: Time = 60 * SECOND;
/// What an upstream may send on one stream, and on all of a connection, before an exchange takes it, bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Bytes of an answer's head.
const HEAD: u32 = 64 << 10;
/// What may wait to be sent in the crate, per stream, bytes.
const OUT: usize = 128 << 10;

/// See the module.
pub(crate) struct Channel {
    state: RefCell<State>,
    /// Who waits for it to open.
    waiting: RefCell<Vec<Waker>>,
    watcher: Rc<Watcher>,
    /// Exchanges that it carries, and that it has begun to carry in all.
    streams: Cell<usize>,
    begun: Cell<u64>,
}

enum State {
    Opening,
    Open(SendRequest<Bytes>),
    Failed(Failure),
    Over,
}

/// How a channel is reached.
pub(crate) struct Route {
    pub(crate) dialling: Dialling,
    pub(crate) target: Arc<Target>,
    /// For whom it is opened.
    pub(crate) from: Origin,
    /// Made for a client of a transparent proxy.
    pub(crate) leaving: Option<Ticket>,
}

impl Channel {
    /// Opens one.
    pub(crate) fn open(worker: &Rc<Worker>, local: &Rc<Local>, route: Route) -> Rc<Channel> {
        let watcher = Watcher::new(worker, local, None);
        let channel = Rc::new(Channel {
            state: RefCell::new(State::Opening),
            waiting: RefCell::default(),
            watcher: watcher.clone(),
            streams: Cell::new(0),
            begun: Cell::new(0),
        });
        let guard = Guard(Rc::downgrade(&channel));
        tokio::task::spawn_local(Task::new(watcher.clone(), run(guard, watcher, route)));
        channel
    }

    /// Ready once it can carry exchanges, or it is known why not.
    pub(crate) fn poll_open(&self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &*self.state.borrow() {
            State::Open(_) => Poll::Ready(Ok(())),
            State::Failed(failure) => Poll::Ready(Err(failure.clone())),
            State::Over => Poll::Ready(Err(Failure::to_connect(&io::ErrorKind::NotConnected.into()))),
            State::Opening => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// What an exchange sends its request with; none: it is over.
    pub(crate) fn sender(&self) -> Option<SendRequest<Bytes>> {
        match &*self.state.borrow() {
            State::Open(sender) => Some(sender.clone()),
            _ => None,
        }
    }

    /// An exchange has it.
    pub(crate) fn enter(&self) {
        self.streams.set(self.streams.get() + 1);
        self.begun.set(self.begun.get() + 1);
    }

    /// An exchange has done with it.
    pub(crate) fn leave(&self) {
        self.streams.set(self.streams.get().saturating_sub(1));
        if self.streams.get() == 0 {
            self.watcher.wake();
        }
    }

    /// Whether an exchange has had it.
    pub(crate) fn is_used(&self) -> bool {
        self.begun.get() > 0
    }

    /// Exchanges that it carries.
    pub(crate) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// How many more exchanges its upstream lets it carry; none: it carries no other.
    pub(crate) fn room(&self) -> Option<usize> {
        let most = match &*self.state.borrow() {
            State::Opening => DEFAULT_STREAMS,
            State::Open(sender) => sender.current_max_send_streams(),
            State::Failed(_) | State::Over => return None,
        };
        Some(most.saturating_sub(self.streams.get()))
    }

    /// It carries no other exchange.
    pub(crate) fn retire(&self) {
        self.become_state(State::Over);
    }

    fn become_state(&self, state: State) {
        drop(self.state.replace(state));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// Exchanges of a connection whose upstream has not said how many it takes.
const DEFAULT_STREAMS: usize = 100;

/// Whoever waits hears of it when the task ends, however it does.
struct Guard(Weak<Channel>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(channel) = self.0.upgrade() {
            if matches!(*channel.state.borrow(), State::Failed(_)) {
                return;
            }
            channel.retire();
        }
    }
}

impl Guard {
    fn fail(&self, failure: Failure) {
        if let Some(channel) = self.0.upgrade() {
            channel.become_state(State::Failed(failure));
        }
    }
}

/// What is offered to an upstream (RFC 7301) whose configuration names no protocols.
const H2: &[u8] = b"h2";

async fn run(channel: Guard, watcher: Rc<Watcher>, route: Route) {
    let timeout = route.target.spec.connect_timeout;
    let Route { mut dialling, target, from, leaving: _leaving } = route;
    watcher.set_deadline(dialling.until());
    let dialled = poll_fn(|cx| match dialling.poll(cx) {
        Poll::Pending if watcher.is_late() => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        dialled => dialled,
    });
    let socket = match dialled.await {
        Ok(socket) => socket,
        Err(error) => return channel.fail(Failure::to_connect(&error)),
    };
    watcher.set_deadline(Some(SystemClock::mono().saturating_add(timeout)));
    let mut securing =
        std::pin::pin!(secure(Io::upstream(socket, watcher.local.clone()), watcher.local.clone(), target, from, H2));
    let secured = poll_fn(|cx| match securing.as_mut().poll(cx) {
        Poll::Pending if watcher.is_late() => Poll::Ready(Err(Failure::to_connect(&io::ErrorKind::TimedOut.into()))),
        secured => secured,
    });
    let stream = match secured.await {
        Ok(stream) => stream,
        Err(failure) => return channel.fail(failure),
    };
    let carrier = Carrier::to_upstream(stream);
    let failure = speak(&channel, &watcher, &carrier).await;
    carrier.end();
    if let Some(failure) = failure {
        channel.fail(failure);
    }
}

/// Speaks HTTP/2 until the connection ends; why that was before it could carry an exchange.
async fn speak(channel: &Guard, watcher: &Watcher, carrier: &Rc<Carrier>) -> Option<Failure> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD)
        .max_send_buffer_size(OUT);
    let handshake = builder.handshake::<_, Bytes>(Handle(carrier.clone()));
    let mut handshake = std::pin::pin!(handshake);
    let shaken = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Pending if watcher.is_late() => Poll::Ready(None),
        shaken => shaken.map(Result::ok),
    });
    let Some((sender, mut connection)) = shaken.await else { return Some(speechless()) };
    let mut sender = Some(sender);
    poll_fn(|cx| poll_connection(&mut connection, &mut sender, channel, watcher, carrier, cx)).await;
    sender.map(|_| speechless())
}

fn poll_connection(
    connection: &mut Connection<Handle>,
    sender: &mut Option<SendRequest<Bytes>>,
    channel: &Guard,
    watcher: &Watcher,
    carrier: &Carrier,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if Pin::new(&mut *connection).poll(cx).is_ready() {
        return Poll::Ready(());
    }
    carrier.went_round();
    let Some(channel) = channel.0.upgrade() else {
        return if sender.is_some() { Poll::Ready(()) } else { Poll::Pending }; // it ends with its last stream
    };
    if sender.is_some() && carrier.has_heard() {
        if let Some(sender) = sender.take() {
            channel.become_state(State::Open(sender)); // its settings are known
        }
        watcher.set_deadline(None);
    }
    if sender.is_some() {
        return if watcher.is_late() { Poll::Ready(()) } else { Poll::Pending };
    }
    if channel.streams.get() > 0 {
        watcher.set_deadline(None);
    } else if !watcher.is_late() {
        if !watcher.has_deadline() {
            watcher.set_deadline(Some(SystemClock::mono() + REST));
        }
    } else {
        watcher.set_deadline(None);
        channel.retire();
        cx.waker().wake_by_ref(); // with the last who could send, it closes
    }
    Poll::Pending
}

/// What does not speak HTTP/2 at all, or not in time.
fn speechless() -> Failure {
    let why = "the upstream does not speak HTTP/2".to_owned();
    let status = StatusCode::BAD_GATEWAY;
    Failure { status, error: "http_protocol_error", why, counts: Some(|meter| &meter.connect_failed) }
}
