//! The Toxiproxy-compatible API: what existing clients of Toxiproxy 2.12 talk to. Its toxics are squall's own faults; its
//! proxies are those of the data plane.
//!
//! `docs/toxiproxy.md` says what is the same and where squall is better on purpose.

mod address;
mod failure;
mod http;
mod input;
mod metrics;
mod registry;
mod toxic;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use registry::Registry;

/// What this port is started with.
#[derive(Clone)]
pub struct Settings {
    /// `address:port`; port 0: any.
    pub listen: String,
    /// Names besides localhost, addresses and names without dots that the Host header may carry.
    pub hosts: Vec<String>,
    /// What `/metrics` shows.
    pub metrics: Shown,
    /// The proxies and toxics behind it.
    pub registry: Arc<Registry>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What `/metrics` shows, as the flags of the original say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Bytes of each proxy.
    pub proxies: bool,
    /// The process.
    pub runtime: bool,
}

/// What its handlers work with.
#[derive(Clone)]
struct Port {
    registry: Arc<Registry>,
    hosts: Arc<[String]>,
    metrics: Shown,
    turns: Arc<Semaphore>,
    /// How long a body may take.
    patience: Duration,
}

/// Requests that change or read the registry at one moment.
pub(crate) const TURNS: usize = 2;

/// Everything that this port answers.
pub(crate) fn router(settings: Settings, patience: Duration) -> axum::Router {
    let Settings { hosts, metrics, registry, .. } = settings;
    let turns = Arc::new(Semaphore::new(TURNS));
    http::router(Port { registry, hosts: hosts.into(), metrics, turns, patience })
}
