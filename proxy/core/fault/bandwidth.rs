//! `bandwidth`: bytes pass no faster than a rate.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::bucket::{Bucket, stretch};
use crate::curve::Curve;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::running::Running;
use crate::fault::{
    Act, Carrier, Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Packet, Phase, Until, What,
};
use crate::time::{MILLI, Time};
use crate::unit::{Bytes, Rate};

/// Lets bytes pass at a rate, as a link of that speed would: a message is through when its last byte is. Rate 0 stalls.
///
/// At high rates up to 5 ms of the rate (at most 2 MiB) are let go in one and paid for afterwards, so that they can be
/// spliced. On record is the first wait of a direction, then the sum once per turn or second.
///
/// On HTTP it is the body of an exchange that has the rate, or shares it: each stream of an HTTP/2 connection for itself.
///
/// On UDP datagrams wait in a queue of a limited length, in order; one that finds it full is dropped. Each wait and each
/// drop is on record. A datagram that finds the queue empty is taken whatever its length.
#[derive(Clone, Debug, PartialEq)]
pub struct Bandwidth {
    rate: Curve<Rate>,
    burst: u64,
    per: Per,
    limit: Option<u64>,
}

/// The fields of a bandwidth fault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How fast, in bits ("10mbit") or bytes ("1MB/s") per second; 0 stalls. May be a curve.
    rate: Curve<Rate>,
    /// Bytes that go at once after a pause long enough to save them up. Default 0.
    #[serde(default)]
    burst: Bytes,
    /// Who shares the rate. Each direction has its own.
    #[serde(default)]
    per: Per,
    /// UDP only: bytes of datagrams that wait in each direction of each association; what comes beyond is dropped.
    /// Default 64KiB.
    limit: Option<Bytes>,
}

/// `per`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Every connection, or body of an exchange, has the rate for itself.
    #[default]
    Connection,
    /// All selected connections or bodies of the proxy share it, in the order in which their bytes arrive.
    Proxy,
}

/// One bucket for each direction.
type Buckets = [Bucket; 2];

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    buckets: Buckets,
    pending: Option<Pending>,
    waits: Running,
    /// The turn of the stall that is on record.
    stalled: Option<u64>,
}

/// Bytes at the head that are taken from the bucket and wait to be paid for.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// Their offset; of a datagram its number.
    offset: u64,
    n: usize,
    asked: Time,
    ready: Time,
    rate: f64,
}

/// How much of the rate goes in one piece when it is paid for before, and after.
const BEFORE: f64 = 0.010;
const AFTER: f64 = 0.005;
/// How soon a rate of 0 that will change is looked at again.
const AGAIN: Time = 10 * MILLI;
/// At 1 GB/s still 500 turns a second.
const MOST: f64 = 2_097_152.0;
/// Splice pays from here.
const BULK: usize = 16 << 10;
/// With many connections on one bucket nobody gets less than this at a time.
const LEAST_SHARED: f64 = 512.0;
/// Bytes of datagrams that wait, where nothing is written.
const LIMIT: u64 = 64 << 10;

impl Bandwidth {
    /// One rate throughout, for each connection or body by itself.
    pub fn steady(rate: Rate) -> Bandwidth {
        Bandwidth { rate: Curve::Constant(rate), burst: 0, per: Per::Connection, limit: None }
    }
}

impl Kind for Bandwidth {
    const NAME: &'static str = "bandwidth";
    const ABOUT: &'static str = "Limits the rate of bytes, per connection or shared by the proxy; 0 stalls";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "bandwidth"
proxy = "redis"
rate  = "10mbit"
burst = "64KiB"
per   = "connection"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Bandwidth;

    fn build(config: Config) -> Result<Bandwidth, Misfit> {
        let Config { rate, burst, per, limit } = config;
        Ok(Bandwidth { rate, burst: burst.0, per, limit: limit.map(|limit| limit.0) })
    }

    fn summary(fault: &Bandwidth) -> String {
        let per = if fault.per == Per::Proxy { "proxy" } else { "connection" };
        let burst = if fault.burst > 0 { format!(", bursts of {}", Bytes(fault.burst)) } else { String::new() };
        let limit = fault.limit.map_or(String::new(), |limit| format!(", a queue of {}", Bytes(limit)));
        format!("{} per {per}{burst}{limit}", fault.rate)
    }
}

impl Fault for Bandwidth {
    const KIND: &'static str = "bandwidth";
    const HOOKS: Hooks = Hooks::BOTH;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = Buckets;
    type State = Memory;

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if offer.is_empty() {
            if matches!(offer.item, Item::Fin) {
                cx.state.waits.flush(What::Paced, cx.now, cx.injected);
            }
            return Act::Pass(0);
        }
        let rate = self.rate.at(cx.elapsed).0;
        if rate <= 0.0 {
            return self.stall(cx, offer);
        }
        self.bucket(cx).follow(rate, cx.now);
        let pending = match cx.state.pending.take().filter(|pending| pending.offset == offer.offset) {
            Some(pending) => pending.at_rate(rate, cx.now),
            None => self.reserve(cx, offer, rate),
        };
        if pending.ready > cx.now {
            cx.state.pending = Some(pending);
            return Act::Hold(Until::At(pending.ready));
        }
        if pending.ready > pending.asked {
            let figures = (pending.ready - pending.asked, cx.now - pending.asked);
            cx.state.waits.add(What::Paced, offer.turn, cx.now, figures, cx.injected);
        }
        Act::Pass(pending.n + self.advance(cx, offer, rate))
    }

    /// The head of the queue alone is paid for; the others wait behind it and are asked about when it has gone.
    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let n = datagram.bytes.len() as u64;
        let (step, arrived) = (datagram.step, datagram.arrived);
        let queued = datagram.queued as u64;
        if datagram.waited.is_none() && queued > 0 {
            if queued.saturating_add(n) <= self.limit.unwrap_or(LIMIT) {
                return Packet::Queue(cx.now);
            }
            cx.inject(Injection { what: What::Dropped, step, draw: None, drawn: n, scheduled: n, achieved: n });
            return Packet::Drop;
        }
        if n == 0 {
            return Packet::Pass;
        }
        let rate = self.rate.at(cx.elapsed).0;
        if rate <= 0.0 {
            cx.state.pending = None;
            if cx.state.stalled.replace(datagram.number) != Some(datagram.number) {
                cx.inject(Injection { what: What::Held, step, draw: None, drawn: n, scheduled: n, achieved: n });
            }
            return if self.stays(cx.elapsed) { Packet::Keep } else { Packet::Queue(cx.now.saturating_add(AGAIN)) };
        }
        self.bucket(cx).follow(rate, cx.now);
        let pending = match cx.state.pending.take().filter(|pending| pending.offset == datagram.number) {
            Some(pending) => pending.at_rate(rate, cx.now),
            None => {
                // a stall saves nothing up
                let since = if cx.state.stalled.take().is_some() { cx.now } else { arrived };
                let ready = self.bucket(cx).take(n, rate, self.burst, since, cx.now);
                Pending { offset: datagram.number, n: datagram.bytes.len(), asked: arrived, ready, rate }
            }
        };
        if pending.ready > cx.now {
            cx.state.pending = Some(pending);
            return Packet::Queue(pending.ready);
        }
        let (scheduled, achieved) = (pending.ready.saturating_sub(arrived), cx.now.saturating_sub(arrived));
        if scheduled > 0 {
            cx.inject(Injection { what: What::Paced, step, draw: None, drawn: scheduled, scheduled, achieved });
        }
        Packet::Pass
    }

    fn misfit_in(&self, _: Phase) -> Option<(&'static str, &'static str)> {
        self.limit
            .map(|_| ("limit", "`limit` is for UDP: the sender of a body feels back-pressure, and nothing is dropped"))
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let written = carrier == Carrier::Stream && self.limit.is_some();
        written
            .then_some(("limit", "`limit` is for UDP: on TCP the sender feels back-pressure, and nothing is dropped"))
    }
}

impl Pending {
    /// The same bytes at a rate that may have changed since.
    fn at_rate(mut self, rate: f64, now: Time) -> Pending {
        if rate != self.rate && self.ready > now {
            self.ready = now.saturating_add(stretch(self.ready - now, self.rate / rate));
        }
        self.rate = rate;
        self
    }
}

impl Bandwidth {
    fn bucket<'a>(&self, cx: &'a Cx<'_, Self>) -> &'a Bucket {
        let buckets = if self.per == Per::Proxy { cx.shared } else { &cx.state.buckets };
        &buckets[cx.flow as usize]
    }

    /// Takes the head's bytes from the bucket, as many as one piece may be.
    fn reserve(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, rate: f64) -> Pending {
        // a stall saves nothing up
        let arrived = if cx.state.stalled.take().is_some() { cx.now } else { offer.arrived };
        let bucket = self.bucket(cx);
        let n = self.piece(rate * BEFORE, bucket.backlog(cx.now)).min(offer.len());
        let ready = bucket.take(n as u64, rate, self.burst, arrived, cx.now);
        Pending { offset: offer.offset, n, asked: cx.now, ready, rate }
    }

    /// Bytes to come that may go at once, paid for by those behind them: only while there is plenty, so that short
    /// messages take the time that they would on a link.
    fn advance(&self, cx: &Cx<'_, Self>, offer: &Offer<'_>, rate: f64) -> usize {
        let bucket = self.bucket(cx);
        let most = self.piece(rate * AFTER, bucket.backlog(cx.now));
        if offer.len() < BULK || most < BULK {
            return 0;
        }
        bucket.take(most as u64, rate, self.burst, offer.arrived, cx.now);
        most
    }

    /// The size of a piece; on a crowded bucket smaller, so that a turn comes round soon (with k connections after √k
    /// pieces' time rather than k).
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn piece(&self, bytes: f64, backlog: Time) -> usize {
        let bytes = bytes.min(MOST);
        if self.per == Per::Connection {
            return bytes.max(1.0) as usize;
        }
        let crowd = 1.0 + backlog as f64 / (BEFORE * 1e9);
        (bytes / crowd).max(LEAST_SHARED.min(bytes)).max(1.0) as usize
    }

    fn stall(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        cx.state.pending = None;
        if cx.state.stalled != Some(offer.turn) {
            cx.state.stalled = Some(offer.turn);
            let n = offer.len() as u64;
            let step = offer.turn;
            cx.inject(Injection { what: What::Held, step, draw: None, drawn: n, scheduled: n, achieved: n });
        }
        Act::Hold(if self.stays(cx.elapsed) { Until::Change } else { Until::At(cx.now.saturating_add(AGAIN)) })
    }

    /// Whether the rate stays what it is from here on.
    fn stays(&self, elapsed: Time) -> bool {
        match &self.rate {
            Curve::Constant(_) => true,
            Curve::Ramp { over, .. } => elapsed >= *over,
            Curve::Steps { steps, hold } => elapsed / (*hold).max(1) + 1 >= steps.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
