//! What the experiment engine asks of the data plane and of the test doubles; `wire` and `stand` implement it, `main`
//! puts them together.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cell::Cell;
use crate::observe::{Histogram, Reading};
use crate::scenario::{ProxySpec, ServiceSpec, WorkloadSpec};
use crate::tap::Tap;
use crate::time::Clock;
use crate::tripwire::Event;

/// The data plane: proxies, and the cell through which faults reach them. All calls return soon; none waits for traffic.
pub trait DataPlane: Send + Sync {
    /// Where plans are published.
    fn cell(&self) -> &Arc<Cell>;
    /// The clock of the workers.
    fn clock(&self) -> &Arc<dyn Clock>;
    /// Opens a proxy; its listener accepts when this returns. An upstream given as an address is held against the rules
    /// here and at every connect; a host name only at every connect, because looking it up may take long.
    fn open(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError>;
    /// Changes a proxy in place. A changed `listen` is bound first, then the old one closes; open connections go on.
    fn change(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError>;
    /// Closes a proxy's listener; those who wait to be accepted are still served; open connections go on until they end.
    fn close(&self, name: &str) -> Result<(), PlaneError>;
    /// Ends a proxy's open connections (FIN to both sides); its listener goes on.
    fn disconnect(&self, name: &str) -> Result<(), PlaneError>;
    /// Closes a proxy's listener and ends its open connections; those who wait to be accepted are reset.
    fn cut_off(&self, name: &str) -> Result<(), PlaneError>;
    /// All proxies, by name.
    fn proxies(&self) -> Vec<ProxyInfo>;
    /// Figures of one proxy.
    fn reading(&self, name: &str) -> Option<Reading>;
    /// Has a proxy's HTTP exchanges go to `tap` too, those that begin from now on; none: to nobody any more.
    ///
    /// # Errors
    /// There is no such proxy, or its exchanges can't be told.
    fn tap(&self, name: &str, tap: Option<Arc<Tap>>) -> Result<(), PlaneError> {
        let _ = tap;
        Err(PlaneError::Unable(format!("the exchanges of proxy `{name}` can't be told")))
    }
    /// Whether packets can be dropped in the kernel.
    ///
    /// # Errors
    /// Why not, in words.
    fn drops_packets(&self) -> Result<(), String> {
        Err("this data plane can't drop packets in the kernel".into())
    }
    /// Whether a fault ended the connection that came from this client address (kept for a bounded number of the
    /// latest), and which: `experiment/fault`. Lets a workload tell injected failures from real ones.
    fn injected_end(&self, client: SocketAddr) -> Option<Arc<crate::plan::FaultRef>>;
    /// Whether a fault keeps the listener at this address shut, or did until a moment ago: whoever is refused there is
    /// refused by it.
    fn is_shut(&self, listen: SocketAddr) -> bool {
        let _ = listen;
        false
    }
}

/// A proxy as it runs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ProxyInfo {
    /// Its configuration.
    pub spec: ProxySpec,
    /// Where it listens: the port that port 0 became.
    pub listen: String,
    /// The listening address, if it is not a unix socket.
    pub address: Option<SocketAddr>,
}

/// Why a proxy could not be opened, changed or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneError {
    /// No proxy of this name.
    Unknown(String),
    /// There is one already.
    Exists(String),
    /// The listener could not be bound: address and the system's words.
    Bind(String, String),
    /// It would be routed to itself.
    Loop(String),
    /// The upstream is not allowed, with the reason.
    Denied(String),
    /// This process may not do what the proxy asks for, with what it would need.
    Unable(String),
    /// The data plane is shutting down or a worker is gone.
    Gone,
}

impl std::fmt::Display for PlaneError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PlaneError::Unknown(name) => write!(f, "there is no proxy `{name}`"),
            PlaneError::Exists(name) => write!(f, "there is a proxy `{name}` already"),
            PlaneError::Bind(address, why) => write!(f, "can not listen on {address}: {why}"),
            PlaneError::Loop(name) => write!(f, "proxy `{name}` would be routed to itself"),
            PlaneError::Denied(why) => write!(f, "upstream not allowed: {why}"),
            PlaneError::Unable(why) => f.write_str(why),
            PlaneError::Gone => write!(f, "the data plane is shutting down"),
        }
    }
}

impl std::error::Error for PlaneError {}

/// Told what became of each request of a workload, where guards look at it.
pub type Felt = Arc<dyn Fn(&[Event]) + Send + Sync>;

/// Test doubles and load.
pub trait Stand: Send + Sync {
    /// Starts a service; returns where it listens.
    fn service(&self, spec: &ServiceSpec) -> Result<Box<dyn Service>, String>;
    /// Starts a workload against `target`. `injected` tells whether a connection from this local address was ended by a
    /// fault. `felt` is told of each request that was answered or failed, as it is counted.
    fn workload(
        &self,
        spec: &WorkloadSpec,
        target: &str,
        seed: u64,
        injected: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
        felt: Option<Felt>,
    ) -> Result<Box<dyn Workload>, String>;
}

/// A running service; ends when it is dropped.
pub trait Service: Send + Sync {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// Figures so far.
    fn reading(&self) -> ServiceReading;
}

/// What has come to a service since its start: what was done, whatever became of the answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ServiceReading {
    /// Connections accepted.
    pub connections: u64,
    /// HTTP requests that came whole.
    pub requests: u64,
    /// Of those, how many found the queue full and were answered 503.
    pub turned_away: u64,
    /// Of those, how many a recording had no answer for.
    pub unknown: u64,
}

/// A running workload; ends when it is dropped.
pub trait Workload: Send + Sync {
    /// Figures so far.
    fn reading(&self) -> WorkloadReading;
    /// Lets nothing more become due and waits for what is due or under way, at most `limit`; then ends it and gives the
    /// final figures. Blocks the caller.
    fn finish(&self, limit: Duration) -> WorkloadReading;
}

/// Figures of a workload since its start. Each request that was due is counted once: `ok`, `failed`,
/// `failed_injected`, `unsent` or `in_flight`, except while it waits for a free connection. Its error rate is `failed` +
/// `unsent` over `ok` + `failed` + `unsent`: what was never sent has not been answered either.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct WorkloadReading {
    /// Requests that were due.
    pub intended: u64,
    /// Due but never sent: all connections busy past the time-out.
    pub unsent: u64,
    /// Answered as expected (after retries).
    pub ok: u64,
    /// Failed, and at least one of its attempts without a fault having ended the connection; a time-out under an injected
    /// delay is of this kind.
    pub failed: u64,
    /// Failed, and a fault ended the connection of each of its attempts.
    pub failed_injected: u64,
    /// Attempts beyond the first.
    pub retried: u64,
    /// Failures by reason of the last attempt, in words: of `failed` and, beginning with `injected: `, of
    /// `failed_injected`.
    pub reasons: std::collections::BTreeMap<String, u64>,
    /// From the intended send time to the end of the answer, answered requests only.
    pub latency: Histogram,
    /// Requests sent and not yet answered.
    pub in_flight: u64,
    /// What became of datagrams besides; none where there are none.
    pub datagrams: Option<DatagramReading>,
    /// The same by request, in the order of the scenario, where a workload has several.
    pub requests: Vec<RequestReading>,
}

/// What became of the datagrams of a workload, as told by those that came back. `lost` and those that came back corrupted
/// are in [`WorkloadReading::failed`]; none of these is in `failed_injected`, since no fault ends anything there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DatagramReading {
    /// Did not come back within the time-out, nor since.
    pub lost: u64,
    /// Came back after the time-out.
    pub late: u64,
    /// Came back once more (RFC 5560).
    pub duplicated: u64,
    /// Came back in time, after one that its socket had sent later (RFC 4737, section 3).
    pub reordered: u64,
    /// Came back changed. One whose number can't be told any more is among the lost as well.
    pub corrupted: u64,
}

/// Figures of one of a workload's requests.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct RequestReading {
    /// As in [`WorkloadReading::ok`].
    pub ok: u64,
    /// As in [`WorkloadReading::failed`].
    pub failed: u64,
    /// As in [`WorkloadReading::failed_injected`].
    pub failed_injected: u64,
    /// As in [`WorkloadReading::latency`].
    pub latency: Histogram,
}
