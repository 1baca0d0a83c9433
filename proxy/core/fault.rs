//! The fault model: a fault is its immutable configuration; it decides about a prefix at the head of a queue, and the
//! pump acts. See `docs/architecture.md`.

pub mod bandwidth;
pub mod blackhole;
pub mod connect;
pub mod connection_limit;
#[cfg(test)]
pub(crate) mod contract;
pub mod corrupt;
pub mod cut;
pub mod dns;
pub mod down;
#[cfg(test)]
mod driver;
pub mod drop_answer;
pub mod duplicate;
pub mod envoy_headers;
pub mod error;
pub mod exchange;
mod framing;
pub mod grpc;
pub mod h2code;
pub mod half_open;
pub mod http2;
pub mod latency;
pub mod loss;
pub mod noop;
pub mod observed;
pub mod pad;
pub mod partition;
pub mod patch;
pub mod rate_limit;
pub mod registry;
pub mod replace;
pub mod running;
pub mod slicer;
pub mod slow_close;
pub mod sse;
pub mod template;
pub mod tls;
pub mod trickle;
pub mod truncate;
pub mod websocket;
mod words;

use std::any::Any;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

pub use self::exchange::{Asked, NewBody, Patch, Phase, Reply, Rewrite, Ruling, Upstream};
pub use self::http2::Settings;
use crate::chain::Dialogue;
use crate::draw::Draw;
use crate::groups::Groups;
use crate::http::Fields;
use crate::matcher::MatchSpec;
use crate::select::Connections;
use crate::time::Time;
use crate::tls::Mode;

/// "As much as there is", where a fault passes without limit.
pub const ALL: usize = usize::MAX;

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// Towards the server.
    Upstream,
    /// Towards the client.
    Downstream,
}

/// What a fault may do to the bytes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Every byte arrives unchanged, unless the unit ends early.
    Keeps,
    /// Bytes are changed.
    Mutates,
    /// Bytes vanish: once any are gone, lifting the fault ends the unit with a reset, never resumes it with a gap.
    Loses,
}

/// What of a stream a fault has to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// How many bytes pass: the pump may splice as far as the fault gives credit.
    Count,
    /// The bytes themselves.
    Bytes,
}

/// How a proxy carries what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Connections and their bytes.
    Stream,
    /// Associations and their datagrams.
    Datagrams,
}

/// Which hooks a kind has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Asked whether a listener takes connections ([`Fault::door`]).
    pub door: bool,
    /// Asked when a connection is opened ([`Fault::open`]).
    pub open: bool,
    /// Asked about the bytes of a connection ([`Fault::stream`]).
    pub stream: bool,
    /// Asked about datagrams ([`Fault::packet`]).
    pub packet: bool,
    /// Asked about HTTP exchanges ([`Fault::exchange`]).
    pub exchange: bool,
    /// Asked about the bodies of HTTP exchanges ([`Fault::stream`]) and not about connections. Who is asked about the bytes
    /// of connections is asked about bodies too, where it acts in [`Phase::MidBody`].
    pub body: bool,
}

impl Hooks {
    /// None: the base for those that are written out.
    pub const NONE: Hooks =
        Hooks { door: false, open: false, stream: false, packet: false, exchange: false, body: false };
    /// The bytes of a connection, and nothing else.
    pub const STREAM: Hooks = Hooks { stream: true, ..Hooks::NONE };
    /// Datagrams, and nothing else.
    pub const PACKET: Hooks = Hooks { packet: true, ..Hooks::NONE };
    /// Bytes and datagrams.
    pub const BOTH: Hooks = Hooks { packet: true, ..Hooks::STREAM };
    /// HTTP exchanges, and nothing else.
    pub const EXCHANGE: Hooks = Hooks { exchange: true, ..Hooks::NONE };
    /// The bodies of HTTP exchanges, and nothing else.
    pub const BODY: Hooks = Hooks { body: true, ..Hooks::NONE };

    /// Whether a kind with these hooks can act on what is carried this way.
    pub fn serve(self, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Stream => self.door || self.open || self.stream,
            Carrier::Datagrams => self.packet,
        }
    }
}

/// One kind of fault. The value is the configuration and never changes; what it remembers is kept beside it: `State` per
/// unit and lineage, `Shared` per lineage.
pub trait Fault: Debug + Send + Sync + Sized + 'static {
    /// The kind's name in scenarios, ledger and metrics.
    const KIND: &'static str;
    /// What the kind decides about.
    const HOOKS: Hooks;
    /// What it may do to bytes.
    const EFFECT: Effect;
    /// Kept once per lineage, for all workers: shared buckets.
    type Shared: Default + Send + Sync;
    /// Kept per lineage and direction of a connection.
    type State: Default + Send;

    /// What of the stream this configuration has to see.
    fn needs(&self) -> Needs {
        Needs::Count
    }

    /// How many bytes may wait in this fault's queue before the sender feels back-pressure. A delay line asks for more
    /// than the default.
    fn depth(&self) -> usize {
        64 * 1024
    }

    /// A connection is being opened.
    fn open(&self, cx: &mut Cx<'_, Self>, opening: &Opening) -> Gate {
        let _ = (cx, opening);
        Gate::Pass
    }

    /// Decides about the head of the queue. Called again after every [`Act::Pass`] while something waits, and when a
    /// hold ends. A decision must depend on offsets and turns, never on how many bytes a read returned.
    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let _ = (cx, offer);
        Act::Pass(ALL)
    }

    /// Whether the connections that it has selected are closed (FIN) when it is removed while its experiment goes on; else
    /// they go on, or are reset where bytes are missing.
    fn closes_when_removed(&self) -> bool {
        false
    }

    /// When to be asked with [`Item::Tick`], data or not; while the connection waits at the gate for a change: when to be
    /// asked again there.
    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        let _ = cx;
        None
    }

    /// Whether the listener takes connections while the window is open. Asked once per opening, without a unit: only a
    /// fault that selects everybody may answer anything but `Open`.
    fn door(&self) -> Door {
        Door::Open
    }

    /// Which share of the packets of a connection that it takes, in its direction, the kernel drops while it acts, 0 to 1.
    /// Their senders send them again, so no byte is lost.
    fn vanishes(&self) -> f64 {
        0.0
    }

    /// Whether one side is not to hear that the other has gone: asked when a connection fails under this direction's
    /// sender. While it says so, nothing is passed on; the other side is reset once it no longer does.
    fn silences(&self, state: &Self::State) -> bool {
        let _ = state;
        false
    }

    /// It goes off for this direction of a connection, which may go on: what `state` keeps that is everybody's is to be
    /// given back.
    fn lifted(&self, state: &mut Self::State) {
        let _ = state;
    }

    /// Decides about one datagram of an association (all datagrams between one client and the upstream). Asked when it
    /// comes, and again when it has waited.
    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let _ = (cx, datagram);
        Packet::Pass
    }

    /// Decides about an HTTP exchange in the phase in which it acts, once per exchange, and again when it has waited. The
    /// bodies of an exchange are offered to [`Fault::stream`] where it acts in [`Phase::MidBody`]. `state` is its memory of
    /// the exchange, apart from that of its bodies.
    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let _ = (cx, asked);
        Ruling::Pass
    }

    /// Whether the body of a message that it acts on may come out longer or shorter and still be meant as whole: its length
    /// is not announced then.
    fn resizes(&self) -> bool {
        false
    }

    /// What it has HTTP/2 connections told at their beginning: a connection that begins takes it from
    /// [`crate::plan::Slice::settings`]. None: nothing.
    fn settings(&self) -> Option<&Settings> {
        None
    }

    /// The phase of an exchange in which it acts where none is written; none: the first of its kind's.
    fn usual_phase(&self) -> Option<Phase> {
        None
    }

    /// A later phase in which it is asked once more about an exchange, with the same `state`, when it has decided in
    /// `phase`. [`Phase::MidBody`]: from then on it acts on the answer's body, and `state` becomes its memory of that.
    fn follows(&self, phase: Phase) -> Option<Phase> {
        let _ = phase;
        None
    }

    /// The field of this configuration that has no meaning in this phase of an exchange, and why; none: all of it fits.
    fn misfit_in(&self, phase: Phase) -> Option<(&'static str, &'static str)> {
        let _ = phase;
        None
    }

    /// Which connections it takes, by when they were opened.
    fn connections(&self) -> Connections {
        Connections::All
    }

    /// What it is where it is put to act; none: the same everywhere.
    ///
    /// # Errors
    /// Why it can't act there, in words: the start is refused.
    fn settle(&self, place: &Place) -> Result<Option<Self>, String> {
        let _ = place;
        Ok(None)
    }

    /// The requests that ask for it, where clients may do so: it acts on no others, and on proxies that let them alone
    /// ([`crate::way::HttpWay::envoy_headers_from`]). None: nobody has to ask.
    fn asked_for(&self) -> Option<MatchSpec> {
        None
    }

    /// The groups of nodes between which it acts, on the proxies that link them; none: on every proxy that it names.
    fn groups(&self) -> Option<&Groups> {
        None
    }

    /// How many messages it could not read so far, and let by untouched. Counted in its `Shared`, told with its tally.
    fn unread(shared: &Self::Shared) -> u64 {
        let _ = shared;
        0
    }

    /// How many of those that it counts apart it had to forget, because there were too many: they began anew. Counted in its
    /// `Shared`, told with its tally.
    fn forgotten(shared: &Self::Shared) -> u64 {
        let _ = shared;
        0
    }

    /// The field of this configuration that has no meaning for what is carried this way, and why; none: all of it fits.
    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let _ = carrier;
        None
    }

    /// What it must have of a TLS handshake to act.
    fn handshake(&self) -> Handshake {
        Handshake::None
    }

    /// Why what it does is only near to what it stands for, in words; none: it is the thing itself. Ledger and report
    /// say so.
    fn approximated(&self) -> Option<&'static str> {
        None
    }
}

/// Where a fault is put to act: on one proxy, as part of one experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The direction it acts in; none: both.
    pub flow: Option<Flow>,
    /// What is carried there.
    pub carrier: Carrier,
    /// Whether it takes every connection, whatever comes: no percentage, count, key or limit.
    pub everybody: bool,
    /// Whether packets that travel upstream, and downstream, can be dropped in the kernel; if not, why.
    pub drops: [Result<(), String>; 2],
}

impl Place {
    /// Whether packets can be dropped in the kernel in every direction in which it acts.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn can_drop(&self) -> Result<(), String> {
        let [upstream, downstream] = &self.drops;
        match self.flow {
            Some(Flow::Upstream) => upstream.clone(),
            Some(Flow::Downstream) => downstream.clone(),
            None => upstream.clone().and_then(|()| downstream.clone()),
        }
    }
}

/// What a fault is told besides the offer.
pub struct Cx<'a, F: Fault> {
    /// Its memory of this direction of this connection.
    pub state: &'a mut F::State,
    /// Its memory across connections and workers.
    pub shared: &'a F::Shared,
    /// Random numbers for this unit, by step.
    pub draw: Draw,
    /// What has passed this stage so far.
    pub span: &'a Span,
    /// Monotonic now.
    pub now: Time,
    /// Curve time: since the fault's window opened, ns; stands still while paused.
    pub elapsed: Time,
    /// Which way this flow goes.
    pub flow: Flow,
    /// The HTTP exchange that it is asked about, or whose body; none: a connection, or a datagram.
    pub exchange: Option<&'a Dialogue>,
    /// Where the fault says what it did; the engine adds experiment, fault, unit and time.
    pub injected: &'a mut Injections,
}

impl<F: Fault> Cx<'_, F> {
    /// Puts an injection on record. Call it once for each decision that changed what the unit would have felt, when it
    /// has been carried out.
    pub fn inject(&mut self, injection: Injection) {
        self.injected.push(injection);
    }
}

/// Injections of one call, collected without allocating in the usual case.
pub type Injections = Vec<Injection>;

/// One thing that a fault did to a unit. `drawn`, `scheduled` and `achieved` are in the unit that `what` names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Injection {
    /// What was done, and the unit of the figures.
    pub what: What,
    /// The step of the draw (see [`Draw::at`]).
    pub step: u64,
    /// The raw random number behind it, if one was drawn.
    pub draw: Option<u64>,
    /// The value drawn from the distribution.
    pub drawn: u64,
    /// The value that was to be reached once order and limits are counted in.
    pub scheduled: u64,
    /// The value reached.
    pub achieved: u64,
}

/// The kinds of effect, each with the unit of its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Bytes waited: nanoseconds.
    Delayed,
    /// Bytes were paced: nanoseconds that the head waited for its tokens.
    Paced,
    /// Bytes were held until a change or the end of the window: bytes held.
    Held,
    /// Bytes were swallowed: bytes.
    Swallowed,
    /// Bytes were changed: byte offset in the flow, or in the datagram.
    Corrupted,
    /// Another answer was put in the place of the server's: bytes of the message.
    Answered,
    /// Bytes were put into the flow that nobody sent: bytes.
    Inserted,
    /// A write was cut in pieces: bytes of the piece.
    Sliced,
    /// The connection was closed with FIN: byte offset in the flow.
    Closed,
    /// The connection was reset: byte offset in the flow.
    Reset,
    /// The flow stalls for good: byte offset in the flow.
    Stalled,
    /// The connection was refused: 0.
    Refused,
    /// The kernel dropped packets, which their senders send again: packets.
    Vanished,
    /// A datagram was dropped: bytes.
    Dropped,
    /// Copies of a datagram were sent: bytes of the copies.
    Duplicated,
    /// A datagram or a message was cut short: bytes left.
    Truncated,
    /// The connection was refused as if the upstream's name had no address: 0.
    Unresolved,
    /// The connection waited for its turn: nanoseconds.
    Queued,
    /// A TLS handshake ended with an alert: its description.
    Alerted,
    /// A TLS handshake was carried out with a flaw: 0.
    Flawed,
    /// The listener was closed: 0.
    Unlistened,
    /// The listener was closed until now: nanoseconds, planned and reached.
    Down,
    /// The client got an answer of the fault's own: its status.
    Replied,
    /// A message was changed: 0.
    Patched,
    /// The request was delivered more than once: times besides the first.
    Redelivered,
    /// The client never heard the upstream's answer, which had come: its status.
    Unheard,
    /// A request went over a limit: place in the order of arrival in the window, and the limit.
    Limited,
}

/// What has passed a stage; kept by the engine, so that most faults need no state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Bytes that have gone through or vanished here since the connection began (before the fault was attached too).
    pub seen: u64,
    /// When the connection was opened.
    pub opened: Time,
    /// When this stage came on (attached, or its window opened last).
    pub attached: Time,
    /// When the first byte of this flow arrived.
    pub first: Option<Time>,
    /// When the latest byte of this flow arrived.
    pub last: Option<Time>,
    /// When the latest byte went through or vanished here.
    pub passed: Option<Time>,
    /// The latest stretch in which curve time stood still because a step waited for people: from and to, monotonic.
    pub still: (Time, Time),
}

impl Span {
    /// Curve time at a moment in the past, `elapsed` being that of `now`.
    pub fn elapsed_at(&self, then: Time, now: Time, elapsed: Time) -> Time {
        let (from, to) = self.still;
        let stood = to.min(now).saturating_sub(from.max(then));
        elapsed.saturating_sub(now.saturating_sub(then).saturating_sub(stood))
    }
}

/// What stands at the head of a stage's queue.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The head itself.
    pub item: Item<'a>,
    /// When it arrived at this stage; of bytes that [`Act::More`] waited for, the last of them.
    pub arrived: Time,
    /// Offset of its first byte in the flow, from 0 when the connection began.
    pub offset: u64,
    /// Which turn it belongs to: 0 before the other side has spoken, one more each time the direction changes.
    pub turn: u64,
    /// Offset of its first byte within the turn.
    pub turn_offset: u64,
    /// Since when the other side waits for these bytes: its latest byte before them, or the connection's opening while it
    /// has not spoken. None: that was before anybody looked, or nothing but an event is on offer.
    pub asked: Option<Time>,
}

impl Offer<'_> {
    /// Bytes on offer; 0 for anything but bytes.
    pub fn len(&self) -> usize {
        match self.item {
            Item::Bytes(bytes) => bytes.len(),
            Item::Len(n) => n,
            Item::Fin | Item::Tick => 0,
        }
    }

    /// Whether nothing but an event is on offer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The step for a delay drawn for this head, and how many bytes from here share it: the turn and, within it, the
    /// offset / 64 KiB; before the other side has spoken, the offset / 1 KiB.
    pub fn delay_step(&self) -> (u64, usize) {
        let grain: u64 = if self.turn == 0 { 1 << 10 } else { 64 << 10 };
        let within = self.turn_offset / grain;
        let left = grain - self.turn_offset % grain;
        (self.turn << 32 | (within & 0xffff_ffff), usize::try_from(left).unwrap_or(ALL))
    }
}

/// The head of a queue.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// Bytes, where some stage needs them.
    Bytes(&'a [u8]),
    /// As many bytes, which nobody has to look at.
    Len(usize),
    /// The sender has closed its side.
    Fin,
    /// Nothing waits, but the alarm has come or the fault was just attached.
    Tick,
}

/// A fault's decision about the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The next n bytes go on; more than was offered is credit for bytes to come. `Pass(0)` on a Fin or Tick lets it by.
    Pass(usize),
    /// The same, never joined with neighbours in one write. A piece longer than what was offered goes on with the bytes
    /// to come; none of it waits for the rest.
    Piece(usize),
    /// The head waits, and the rest queues behind it in order.
    Hold(Until),
    /// The fault has to see so many bytes in one to decide. It is asked again when they wait here, with at least that
    /// many in one slice, until something has passed or vanished. If they can't come (the sender has closed its side, or
    /// the queue is full), what waits goes on as it is. Not for a Fin or Tick. Waiting for bytes is no injection.
    More(usize),
    /// n bytes vanish and `put` stands in their place.
    Take {
        /// Bytes that vanish, at most those offered.
        n: usize,
        /// What stands in their place; may be empty or longer.
        put: Bytes,
    },
    /// The connection ends after everything that has passed.
    End(End),
    /// The connection ends at once; what is queued goes.
    Kill(End),
}

/// What a hold waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// A monotonic time.
    At(Time),
    /// A new plan, the switch, the end of the window, or the alarm.
    Change,
}

/// How a connection, an exchange or a body is ended by a fault. A connection knows only FIN and RST: what is meant for an
/// exchange ends it with one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN to both sides. Of a body: the connection is closed in the middle of it; HTTP/2: RST_STREAM, CANCEL.
    Fin,
    /// RST to both sides. HTTP/2: RST_STREAM, INTERNAL_ERROR, on this stream alone.
    Reset,
    /// The message ends here as if it were whole.
    Complete,
    /// HTTP/1.1: a chunk is announced, part of it comes, then FIN; elsewhere as [`End::Fin`].
    Short,
    /// HTTP/2: RST_STREAM with this error code (RFC 9113, 7); elsewhere as [`End::Reset`].
    Code(u32),
    /// HTTP/2: GOAWAY with this error code, and the connection closes; elsewhere as [`End::Fin`].
    GoAway(u32),
    /// The message ends here, and these fields are its trailers.
    Trailers(Arc<Fields>),
}

impl End {
    /// Whether a connection that is ended this way is reset rather than closed.
    pub fn is_reset(&self) -> bool {
        matches!(self, End::Reset | End::Code(_))
    }
}

/// A connection being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The client's connection was accepted (none: a unix socket).
    Accepted(Option<SocketAddr>),
    /// The client has sent its ClientHello, on a proxy that looks at TLS.
    Hello {
        /// It offers protocols (ALPN).
        alpn: bool,
    },
}

/// A decision about a connection being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Go on.
    Pass,
    /// Wait.
    Hold(Until),
    /// End it before the upstream is dialled.
    Refuse(End),
    /// Go on, but for the TLS handshake, which gets this flaw. Only where there is a ClientHello.
    Tls(Flaw),
}

/// What is wrong with a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// In place of the ServerHello comes a fatal alert with this description (RFC 8446, 6).
    Alert(u8),
    /// The server speaks none of the protocols that the client offers (RFC 7301, 3.2).
    WrongAlpn,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not begun.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// The certificate leads to a root that nobody knows.
    Untrusted,
    /// The certificate that leads from the server's to the root is not shown.
    MissingIntermediate,
}

/// What a fault must have of a TLS handshake to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handshake {
    /// Nothing.
    #[default]
    None,
    /// squall sees the ClientHello.
    Seen,
    /// squall carries the handshake out.
    Made,
}

impl Handshake {
    /// Why it can't act on a proxy with this `tls`; none: it can.
    pub fn misses(self, tls: Option<Mode>) -> Option<&'static str> {
        match (self, tls) {
            (Handshake::None, _) | (_, Some(Mode::Terminate)) | (Handshake::Seen, Some(Mode::Passthrough)) => None,
            (_, None) => Some("it has no `tls`, so no TLS handshake is seen there"),
            (Handshake::Made, Some(Mode::Passthrough)) => {
                Some("the upstream carries the handshake out there: it needs `tls = { mode = \"terminate\", … }`")
            }
        }
    }
}

/// What a listener does with those who knock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// It takes them.
    #[default]
    Open,
    /// It refuses them, as if nobody listened.
    Closed,
    /// It does not answer: their packets vanish.
    Deaf,
}

/// A datagram at a fault.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its payload as it stands here: faults before this one may have changed it.
    pub bytes: &'a [u8],
    /// Its number among those of its direction of the association, from 0. A copy has its original's.
    pub number: u64,
    /// The step of its draws: its number and its direction.
    pub step: u64,
    /// When it arrived at this fault.
    pub arrived: Time,
    /// It has waited, until this time or a change (`NEVER`: for a change only); none: it has just come.
    pub waited: Option<Time>,
    /// Bytes of the others that wait at this fault, in this direction of this association.
    pub queued: usize,
}

/// A decision about a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// It goes on.
    Pass,
    /// It is asked about again at this time; others may overtake it.
    Hold(Time),
    /// The same in order: nothing that waits this way is overtaken by another that does. A time that has come lets it by
    /// once those before it have gone.
    Queue(Time),
    /// It waits until the fault is lifted or changed, in order.
    Keep,
    /// It vanishes.
    Drop,
    /// This goes on in its place.
    Replace(Bytes),
    /// It vanishes, and this goes back to where it came from, past the faults of that direction.
    Answer(Bytes),
    /// It goes on, and `times` copies after it, `gap` ns apart.
    Copy {
        /// Copies besides the original.
        times: u8,
        /// ns from one to the next.
        gap: Time,
    },
}

/// A fault with its types erased: what a plan holds. Implemented for every [`Fault`].
pub trait AnyFault: Debug + Send + Sync {
    /// See [`Fault::KIND`].
    fn kind(&self) -> &'static str;
    /// See [`Fault::HOOKS`].
    fn hooks(&self) -> Hooks;
    /// See [`Fault::EFFECT`].
    fn effect(&self) -> Effect;
    /// See [`Fault::needs`].
    fn needs(&self) -> Needs;
    /// See [`Fault::depth`].
    fn depth(&self) -> usize;
    /// See [`Fault::closes_when_removed`].
    fn closes_when_removed(&self) -> bool;
    /// A fresh `Shared`.
    fn new_shared(&self) -> Box<dyn Any + Send + Sync>;
    /// A fresh `State`.
    fn new_state(&self) -> Box<dyn Any + Send>;
    /// See [`Fault::open`].
    fn open(&self, cx: AnyCx<'_>, opening: &Opening) -> Gate;
    /// See [`Fault::stream`].
    fn stream(&self, cx: AnyCx<'_>, offer: &Offer<'_>) -> Act;
    /// See [`Fault::alarm`].
    fn alarm(&self, cx: AnyCx<'_>) -> Option<Time>;
    /// See [`Fault::door`].
    fn door(&self) -> Door;
    /// See [`Fault::vanishes`].
    fn vanishes(&self) -> f64;
    /// See [`Fault::silences`].
    fn silences(&self, state: &(dyn Any + Send)) -> bool;
    /// See [`Fault::lifted`].
    fn lifted(&self, state: &mut (dyn Any + Send));
    /// See [`Fault::packet`].
    fn packet(&self, cx: AnyCx<'_>, datagram: &Datagram<'_>) -> Packet;
    /// See [`Fault::exchange`].
    fn exchange(&self, cx: AnyCx<'_>, asked: &Asked<'_>) -> Ruling;
    /// See [`Fault::resizes`].
    fn resizes(&self) -> bool;
    /// See [`Fault::settings`].
    fn settings(&self) -> Option<&Settings>;
    /// See [`Fault::usual_phase`].
    fn usual_phase(&self) -> Option<Phase>;
    /// See [`Fault::follows`].
    fn follows(&self, phase: Phase) -> Option<Phase>;
    /// See [`Fault::misfit_in`].
    fn misfit_in(&self, phase: Phase) -> Option<(&'static str, &'static str)>;
    /// See [`Fault::connections`].
    fn connections(&self) -> Connections;
    /// See [`Fault::settle`].
    ///
    /// # Errors
    /// As there.
    fn settle(&self, place: &Place) -> Result<Option<Arc<dyn AnyFault>>, String>;
    /// See [`Fault::asked_for`].
    fn asked_for(&self) -> Option<MatchSpec>;
    /// See [`Fault::groups`].
    fn groups(&self) -> Option<&Groups>;
    /// See [`Fault::unread`]; `shared` was made by [`AnyFault::new_shared`] of the same kind.
    fn unread(&self, shared: &(dyn Any + Send + Sync)) -> u64;
    /// See [`Fault::forgotten`]; the same holds.
    fn forgotten(&self, shared: &(dyn Any + Send + Sync)) -> u64;
    /// See [`Fault::misfit`].
    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)>;
    /// See [`Fault::handshake`].
    fn handshake(&self) -> Handshake;
    /// See [`Fault::approximated`].
    fn approximated(&self) -> Option<&'static str>;
}

/// [`Cx`] with its types erased.
pub struct AnyCx<'a> {
    /// Made by [`AnyFault::new_state`] of the same kind.
    pub state: &'a mut (dyn Any + Send),
    /// Made by [`AnyFault::new_shared`] of the same kind.
    pub shared: &'a (dyn Any + Send + Sync),
    /// See [`Cx::draw`].
    pub draw: Draw,
    /// See [`Cx::span`].
    pub span: &'a Span,
    /// See [`Cx::now`].
    pub now: Time,
    /// See [`Cx::elapsed`].
    pub elapsed: Time,
    /// See [`Cx::flow`].
    pub flow: Flow,
    /// See [`Cx::exchange`].
    pub exchange: Option<&'a Dialogue>,
    /// See [`Cx::injected`].
    pub injected: &'a mut Injections,
}

impl<'a> AnyCx<'a> {
    /// `None` if the memory belongs to another kind; then the fault does nothing.
    fn typed<F: Fault>(self) -> Option<Cx<'a, F>> {
        Some(Cx {
            state: self.state.downcast_mut()?,
            shared: self.shared.downcast_ref()?,
            draw: self.draw,
            span: self.span,
            now: self.now,
            elapsed: self.elapsed,
            flow: self.flow,
            exchange: self.exchange,
            injected: self.injected,
        })
    }
}

impl<F: Fault> AnyFault for F {
    fn kind(&self) -> &'static str {
        F::KIND
    }
    fn hooks(&self) -> Hooks {
        F::HOOKS
    }
    fn effect(&self) -> Effect {
        F::EFFECT
    }
    fn needs(&self) -> Needs {
        Fault::needs(self)
    }
    fn depth(&self) -> usize {
        Fault::depth(self)
    }
    fn closes_when_removed(&self) -> bool {
        Fault::closes_when_removed(self)
    }
    fn new_shared(&self) -> Box<dyn Any + Send + Sync> {
        Box::new(F::Shared::default())
    }
    fn new_state(&self) -> Box<dyn Any + Send> {
        Box::new(F::State::default())
    }
    fn open(&self, cx: AnyCx<'_>, opening: &Opening) -> Gate {
        cx.typed().map_or(Gate::Pass, |mut cx| Fault::open(self, &mut cx, opening))
    }
    fn stream(&self, cx: AnyCx<'_>, offer: &Offer<'_>) -> Act {
        cx.typed().map_or(Act::Pass(ALL), |mut cx| Fault::stream(self, &mut cx, offer))
    }
    fn alarm(&self, cx: AnyCx<'_>) -> Option<Time> {
        cx.typed().and_then(|cx| Fault::alarm(self, &cx))
    }
    fn door(&self) -> Door {
        Fault::door(self)
    }
    fn vanishes(&self) -> f64 {
        Fault::vanishes(self)
    }
    fn packet(&self, cx: AnyCx<'_>, datagram: &Datagram<'_>) -> Packet {
        cx.typed().map_or(Packet::Pass, |mut cx| Fault::packet(self, &mut cx, datagram))
    }
    fn exchange(&self, cx: AnyCx<'_>, asked: &Asked<'_>) -> Ruling {
        cx.typed().map_or(Ruling::Pass, |mut cx| Fault::exchange(self, &mut cx, asked))
    }
    fn resizes(&self) -> bool {
        Fault::resizes(self)
    }
    fn settings(&self) -> Option<&Settings> {
        Fault::settings(self)
    }
    fn usual_phase(&self) -> Option<Phase> {
        Fault::usual_phase(self)
    }
    fn follows(&self, phase: Phase) -> Option<Phase> {
        Fault::follows(self, phase)
    }
    fn misfit_in(&self, phase: Phase) -> Option<(&'static str, &'static str)> {
        Fault::misfit_in(self, phase)
    }
    fn connections(&self) -> Connections {
        Fault::connections(self)
    }
    fn settle(&self, place: &Place) -> Result<Option<Arc<dyn AnyFault>>, String> {
        Ok(Fault::settle(self, place)?.map(|settled| Arc::new(settled) as Arc<dyn AnyFault>))
    }
    fn asked_for(&self) -> Option<MatchSpec> {
        Fault::asked_for(self)
    }
    fn groups(&self) -> Option<&Groups> {
        Fault::groups(self)
    }
    fn unread(&self, shared: &(dyn Any + Send + Sync)) -> u64 {
        shared.downcast_ref().map_or(0, F::unread)
    }
    fn forgotten(&self, shared: &(dyn Any + Send + Sync)) -> u64 {
        shared.downcast_ref().map_or(0, F::forgotten)
    }
    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        Fault::misfit(self, carrier)
    }
    fn silences(&self, state: &(dyn Any + Send)) -> bool {
        state.downcast_ref().is_some_and(|state| Fault::silences(self, state))
    }
    fn lifted(&self, state: &mut (dyn Any + Send)) {
        if let Some(state) = state.downcast_mut() {
            Fault::lifted(self, state);
        }
    }
    fn handshake(&self) -> Handshake {
        Fault::handshake(self)
    }
    fn approximated(&self) -> Option<&'static str> {
        Fault::approximated(self)
    }
}
