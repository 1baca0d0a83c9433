//! `[[workload]]`, checked.

use std::collections::BTreeMap;

use crate::curve::Curve;
use crate::fault::Carrier;
use crate::time::Time;

/// `[[workload]]`
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadSpec {
    /// Its name.
    pub name: String,
    /// `proxy:NAME`, `service:NAME` or `host:port`.
    pub target: String,
    /// What it sends.
    pub kind: WorkloadKind,
    /// Arrivals per second, open loop; may be a curve over the time since its start.
    pub rate: Curve<f64>,
    /// How they come.
    pub arrivals: Arrivals,
    /// How long an answer may take, ns.
    pub timeout: Time,
    /// Attempts beyond the first; 0 for datagrams.
    pub retries: u32,
    /// Connections kept open, one request at a time on each; none: one per request. Of datagrams: the sockets that send them
    /// in turn; none: one.
    pub connections: Option<u64>,
}

/// What a workload sends; never empty. In texts `{n}` stands for the number of the request, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// HTTP/1.1 requests.
    Http(Vec<Weighted<HttpRequest>>),
    /// Bytes.
    Tcp(Vec<Weighted<TcpRequest>>),
    /// Datagrams, each with a number and a checksum, to somebody who sends them back as they are.
    Udp {
        /// Bytes of payload in each: [`SMALLEST_DATAGRAM`] to [`LARGEST_DATAGRAM`].
        size: usize,
    },
}

/// Payload of the smallest datagram of a workload, bytes: number and checksums.
pub const SMALLEST_DATAGRAM: usize = 16;
/// Payload of the largest datagram over IPv4, bytes (RFC 768 and RFC 791: 65,535 less both headers).
pub const LARGEST_DATAGRAM: usize = 65_507;

impl WorkloadKind {
    /// The weights of its requests, in order.
    pub fn weights(&self) -> Vec<u64> {
        match self {
            WorkloadKind::Http(requests) => requests.iter().map(|request| request.weight).collect(),
            WorkloadKind::Tcp(requests) => requests.iter().map(|request| request.weight).collect(),
            WorkloadKind::Udp { .. } => vec![1],
        }
    }

    /// The names of its requests, in order.
    pub fn names(&self) -> Vec<&str> {
        match self {
            WorkloadKind::Http(requests) => requests.iter().map(|request| request.name.as_str()).collect(),
            WorkloadKind::Tcp(requests) => requests.iter().map(|request| request.name.as_str()).collect(),
            WorkloadKind::Udp { .. } => vec!["datagram"],
        }
    }

    /// How it is carried.
    pub fn carrier(&self) -> Carrier {
        match self {
            WorkloadKind::Http(_) | WorkloadKind::Tcp(_) => Carrier::Stream,
            WorkloadKind::Udp { .. } => Carrier::Datagrams,
        }
    }
}

/// One of the requests of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted<T> {
    /// Unique in its workload; figures carry it.
    pub name: String,
    /// How often it is drawn, in relation to the others: 1 to 1,000,000.
    pub weight: u64,
    /// What is sent, and what must come back.
    pub request: T,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers besides Host.
    pub headers: BTreeMap<String, String>,
    /// Body, if any.
    pub body: Option<String>,
    /// The status that counts as an answer; none: anything below 500.
    pub status: Option<u16>,
}

/// Bytes, and their answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRequest {
    /// What is sent.
    pub send: String,
    /// What the answer must be: this many bytes are read and compared.
    pub expect: String,
}

/// `arrivals`
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Arrivals {
    /// Evenly spaced.
    #[default]
    Constant,
    /// Independent of each other.
    Poisson,
    /// Independent of each other, at a rate that changes between quiet, at the workload's own rate, and busy: a
    /// Markov-modulated Poisson process of two states (Fischer, Meier-Hellstern: "The Markov-modulated Poisson process
    /// (MMPP) cookbook", Performance Evaluation 18, 1993). It begins quiet.
    Bursty(Burst),
}

/// `burst`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// Arrivals per second while it is busy.
    pub rate: f64,
    /// How long it stays busy, ns: the mean of an exponential distribution.
    pub on: Time,
    /// How long it stays quiet, ns: the mean of an exponential distribution.
    pub off: Time,
}
