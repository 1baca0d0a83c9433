//! What the data plane tells the rest: injections one by one, and figures per proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use crate::fault::{Flow, Injection};
use crate::plan::{FaultRef, Tally};
use crate::time::Time;

/// One injection on record: a line of the ledger.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which fault of which experiment.
    pub fault: Arc<FaultRef>,
    /// Where it is counted.
    pub tally: Arc<Tally>,
    /// The nth connection of the listener; none: nobody in particular, before there was a connection.
    pub ordinal: Option<u64>,
    /// The nth HTTP request of that connection, from 0; none: it was done to the connection.
    pub request: Option<u64>,
    /// What stood for it in the draws: the ordinal or the hash of its key.
    pub unit: Option<u64>,
    /// The client.
    pub client: Option<SocketAddr>,
    /// The direction; none where a connection was refused.
    pub flow: Option<Flow>,
    /// When, monotonic ns.
    pub at: Time,
    /// What was done.
    pub injection: Injection,
    /// Whether it was cut short by an abort, a pause or the end of the window.
    pub released: bool,
}

/// The way from the workers to the ledger: bounded, never blocking; what does not fit is counted in
/// [`Tally::unrecorded`].
#[derive(Clone, Debug)]
pub struct Ledger {
    to: SyncSender<Vec<Record>>,
}

impl Ledger {
    /// A ledger with room for `batches` batches, and its reading end.
    pub fn new(batches: usize) -> (Ledger, std::sync::mpsc::Receiver<Vec<Record>>) {
        let (to, from) = std::sync::mpsc::sync_channel(batches);
        (Ledger { to }, from)
    }

    /// Hands over what a worker has collected and empties `records`.
    pub fn send(&self, records: &mut Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let batch = std::mem::take(records);
        if let Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) = self.to.try_send(batch) {
            for record in lost {
                Tally::add(&record.tally.unrecorded);
            }
        }
    }
}

/// Who ended a connection or failed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A fault.
    Injected,
    /// The client.
    Client,
    /// The upstream.
    Server,
    /// squall itself: a limit, a failed connect to the upstream, a shutdown.
    Squall,
}

/// Figures of one proxy since it was opened; sums over the workers. On UDP a connection is an association: all datagrams
/// between one client address and the upstream, until it has been silent for the proxy's `idle_timeout`. One counts as
/// failed at most once: `connect_failed` if its upstream's name or way could not be had, `reset_by_server` if the upstream
/// (or a host on the way) has answered that nobody is there, `refused` if there was no room for it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Reading {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Connections, or HTTP exchanges, that wait for their upstream now: for it to answer the connect, or for a connection
    /// that carries others.
    pub waiting: u64,
    /// Connections whose upstream could not be reached (refused, timed out, not resolved).
    pub connect_failed: u64,
    /// Connections ended by RST from the client.
    pub reset_by_client: u64,
    /// Connections ended by RST or an error from the upstream.
    pub reset_by_server: u64,
    /// Connections refused by squall's own limits.
    pub refused: u64,
    /// Connections refused because the PROXY header that they must begin with was missing, wrong, or late.
    pub misheaded: u64,
    /// Connections refused because they do not begin as TLS does: no ClientHello, a malformed or too long one, or none in
    /// time.
    pub hello_refused: u64,
    /// Connections whose TLS handshake with the client failed, and no fault had to do with it.
    pub tls_client_failed: u64,
    /// Connections whose TLS handshake with the upstream failed.
    pub tls_server_failed: u64,
    /// Connections ended or refused by a fault.
    pub injected: u64,
    /// Datagrams that squall itself dropped: no room to hold them, no association for them, or the system did not take
    /// them. None of them is an injection.
    pub dropped: u64,
    /// Bytes received from the client.
    pub received_upstream: u64,
    /// Bytes received from the server.
    pub received_downstream: u64,
    /// Bytes delivered towards the server.
    pub bytes_upstream: u64,
    /// Bytes delivered towards the client.
    pub bytes_downstream: u64,
    /// HTTP exchanges.
    pub http: HttpReading,
    /// Turns: last client byte to first answer byte, measured only while somebody reads them.
    pub turns: Histogram,
}

/// HTTP exchanges of one proxy: growing sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct HttpReading {
    /// Answers passed on by the class of their status (at 5: 5xx), squall's own 502 and 504 included. None that a fault made
    /// or changed.
    pub answers: [u64; 6],
    /// Answers that a fault made, or of which it changed more than a field.
    pub answers_injected: u64,
    /// Exchanges that ended without a whole answer, and no fault's doing.
    pub cut: u64,
    /// Exchanges that a fault ended.
    pub cut_injected: u64,
    /// Exchanges whose client left before the answer was whole.
    pub left: u64,
    /// Exchanges over a connection to the upstream that had carried one before.
    pub reused: u64,
}

impl HttpReading {
    /// Exchanges that came to an end, those that a fault decided left out.
    pub fn ended(&self) -> u64 {
        self.answers.iter().sum::<u64>() + self.cut
    }

    /// Of these, those that failed: 5xx, or no whole answer.
    pub fn failed(&self) -> u64 {
        self.answers[5] + self.cut
    }
}

impl Reading {
    /// Connections that failed and that squall did not inject.
    pub fn failed(&self) -> u64 {
        self.connect_failed + self.reset_by_server + self.refused + self.tls_server_failed
    }
}

/// Counts per latency bucket: 32 buckets per power of two from 1 µs, so a value is off by at most 1/32.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Histogram {
    /// Counts by [`Histogram::bucket`]; may be shorter than [`Histogram::BUCKETS`].
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Number of buckets: up to 2^31 µs.
    pub const BUCKETS: usize = 32 * 32;

    /// The bucket of a latency in ns.
    pub fn bucket(ns: Time) -> usize {
        let us = ns / 1_000;
        if us < 32 {
            return usize::try_from(us).unwrap_or(0);
        }
        let exponent = us.ilog2() - 5; // us >> exponent is in 32..64
        let index = u64::from(exponent + 1) * 32 + ((us >> exponent) - 32);
        usize::try_from(index).unwrap_or(usize::MAX).min(Self::BUCKETS - 1)
    }

    /// The upper end of a bucket, ns.
    pub fn upper(bucket: usize) -> Time {
        let bucket = bucket as u64;
        if bucket < 32 {
            return (bucket + 1) * 1_000;
        }
        let exponent = bucket / 32 - 1;
        ((bucket % 32 + 33) << exponent) * 1_000
    }

    /// Adds one latency in ns.
    pub fn add(&mut self, ns: Time) {
        let bucket = Self::bucket(ns);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latency in ns below or at which `quantile` (0 to 1) of the values lie; none if it is empty.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn quantile(&self, quantile: f64) -> Option<Time> {
        let total = self.len();
        let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total.max(1));
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if *count > 0 && below >= rank {
                return Some(Self::upper(bucket));
            }
        }
        None
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Histogram) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
    }

    /// What came since an earlier reading of the same histogram.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        Histogram { counts: self.counts.iter().zip(before).map(|(now, then)| now.saturating_sub(then)).collect() }
    }
}
