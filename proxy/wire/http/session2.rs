//! A client's connection that speaks HTTP/2: a task that moves its frames, and one for each stream.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use squall_core::chain::{Dialogue, Talk};
use squall_core::fault::Settings;
use squall_core::http::Method;
use squall_core::time::{SECOND, Time};

use super::carrier::{Carrier, Handle};
use super::client2::{Client2, Shared};
use super::exchange::{Brought, carry};
use super::head2::{self, Wrong};
use super::reach::Origin;
use super::session::refuse;
use super::stream::Stream;
use super::watch::{Task, Watcher};
use crate::clock::SystemClock;
use crate::worker::BUFFER;

/// How long the first frames may take.
const HANDSHAKE: Time = 60 * SECOND;
/// How long a connection may be without a stream.
const REST: Time = 120 * SECOND;
/// How long a connection that is to end may take for it.
const LINGER: Time = SECOND;
const LINGER_BYTES: usize = 1 << 20;
/// Streams at one moment.
const STREAMS: u32 = 256;
/// What a client may send on one stream, and on all, before an exchange takes it, bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a request's head, counted as RFC 9113 (6.5.2) does.
const HEAD: u32 = 64 << 10;
/// What may wait to be sent in the crate, per stream, bytes.
const OUT: usize = 128 << 10;
/// Streams that a client may reset before the crate has handed them out, and errors of its own that it may provoke.
const RESET_UNSEEN: usize = 64;
const PROVOKED: usize = 256;
/// From so many streams on whose client left before it had an answer, they must not be more than half of all.
const LEFT: u64 = 100;

/// Serves it to its end. `before` is what was read of it already.
pub(crate) async fn serve(watcher: &Rc<Watcher>, ordinal: u64, from: Origin, stream: Stream, before: Bytes) {
    let carrier = Carrier::of_client(stream, before);
    let shared = Rc::new(Shared {
        carrier: carrier.clone(),
        watcher: watcher.clone(),
        go_away: Cell::new(None),
        open: Cell::new(0),
        begun: Cell::new(0),
        left: Cell::new(0),
    });
    let session = Session2 { shared, ordinal, from };
    session.speak().await;
    carrier.end();
    conclude(watcher, &carrier).await;
}

struct Session2 {
    shared: Rc<Shared>,
    ordinal: u64,
    from: Origin,
}

impl Session2 {
    async fn speak(&self) {
        let (watcher, carrier) = (&self.shared.watcher, &self.shared.carrier);
        watcher.set_deadline(Some(SystemClock::mono() + HANDSHAKE));
        let handshake = builder(&watcher.settings()).handshake::<_, Bytes>(Handle(carrier.clone()));
        let mut handshake = std::pin::pin!(handshake);
        let shaken = poll_fn(|cx| match handshake.as_mut().poll(cx) {
            Poll::Pending if watcher.is_late() || carrier.is_flooded() => Poll::Ready(None),
            shaken => shaken.map(Result::ok),
        });
        let Some(mut connection) = shaken.await else { return };
        watcher.set_deadline(Some(SystemClock::mono() + REST));
        let mut closing = false;
        poll_fn(|cx| self.poll_connection(&mut connection, &mut closing, cx)).await;
    }

    fn poll_connection(
        &self,
        connection: &mut Connection<Handle, Bytes>,
        closing: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Shared { carrier, watcher, go_away, open, .. } = &*self.shared;
        loop {
            if let Some(reason) = self.reason_to_go().or(go_away.take())
                && !*closing
            {
                *closing = true;
                watcher.set_deadline(Some(SystemClock::mono() + LINGER));
                connection.abrupt_shutdown(reason);
            }
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if !*closing && self.reason_to_go().is_some() => {}
                Poll::Pending => break,
            }
        }
        carrier.went_round();
        if *closing {
            return if watcher.is_late() { Poll::Ready(()) } else { Poll::Pending };
        }
        if open.get() > 0 {
            watcher.set_deadline(None);
        } else if !watcher.has_deadline() {
            watcher.set_deadline(Some(SystemClock::mono() + REST));
        } else if watcher.is_late() {
            go_away.set(Some(Reason::NO_ERROR));
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What a client must not do to us.
    fn reason_to_go(&self) -> Option<Reason> {
        let Shared { carrier, begun, left, .. } = &*self.shared;
        let hasty = left.get() >= LEFT && left.get() > begun.get() / 2;
        (carrier.is_flooded() || hasty).then_some(Reason::ENHANCE_YOUR_CALM)
    }

    /// A stream begins.
    fn begin(&self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let shared = self.shared.clone();
        let number = shared.begun.replace(shared.begun.get() + 1);
        shared.open.set(shared.open.get() + 1);
        let watcher = Watcher::new(&shared.watcher.worker, &shared.watcher.local, None);
        let (ordinal, from, hello) = (self.ordinal, self.from, shared.watcher.hello());
        let own = watcher.clone();
        let (head, body) = request.into_parts();
        let whole = body.is_end_stream();
        let mut client = Client2::new(shared, watcher.clone(), respond, body);
        let work = async move {
            match head2::request(head, whole) {
                Err(Wrong::Malformed) => client.refuse(),
                Err(Wrong::Refused(refusal)) => {
                    refuse(&mut client, refusal);
                    own.local.exchange(refusal.status, false, 0);
                }
                Ok((request, length)) => {
                    let upgrade = request.method == Method::CONNECT;
                    let dialogue = Dialogue { number, request, size: length.known(), response: None, answered: None };
                    let mut talk = Talk::exchange(ordinal, from.client, SystemClock::mono(), dialogue);
                    talk.hello = hello;
                    carry(&own, &mut client, talk, Brought { length, upgrade, from }).await;
                }
            }
            client.conclude().await;
        };
        tokio::task::spawn_local(Task::new(watcher, work));
    }
}

/// `told`: what faults have the client told instead of what holds.
fn builder(told: &Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(told.max_concurrent_streams.unwrap_or(STREAMS))
        .initial_window_size(told.initial_window_size.unwrap_or(STREAM_WINDOW))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(told.max_header_list_size.unwrap_or(HEAD))
        .max_send_buffer_size(OUT)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(Some(PROVOKED))
        .enable_connect_protocol();
    if let Some(size) = told.header_table_size {
        builder.header_table_size(size);
    }
    if let Some(size) = told.max_frame_size {
        builder.max_frame_size(size);
    }
    builder
}

/// Closes the connection behind what was written, so that the client can still read it.
async fn conclude(watcher: &Watcher, carrier: &Carrier) {
    watcher.set_deadline(Some(SystemClock::mono() + LINGER));
    let mut thrown = 0;
    poll_fn(|cx| if watcher.is_late() { Poll::Ready(()) } else { poll_conclude(watcher, carrier, &mut thrown, cx) })
        .await;
    let stream = carrier.stream().borrow();
    if stream.io().ended().unwrap_or(false) {
        stream.io().arm_reset();
    }
}

fn poll_conclude(watcher: &Watcher, carrier: &Carrier, thrown: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    let mut stream = carrier.stream().borrow_mut();
    if ready!(stream.poll_close(cx)).is_err() {
        return Poll::Ready(());
    }
    let mut inlet = watcher.worker.spare.inlet.borrow_mut();
    while *thrown < LINGER_BYTES {
        match ready!(stream.poll_read_into(cx, &mut inlet[..BUFFER])) {
            Ok(n) if n > 0 => *thrown += n,
            _ => break,
        }
    }
    Poll::Ready(())
}
