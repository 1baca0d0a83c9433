//! Load: open loop, so that a slow answer never thins out what follows, and each latency counts from the moment when its
//! request was due.

mod arrivals;
mod connect;
mod datagrams;
mod dispatch;
mod failure;
mod figures;
mod http;
mod tcp;
mod template;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use squall_core::plane::{Felt, Workload, WorkloadReading};
use squall_core::scenario::{WorkloadKind, WorkloadSpec};
use tokio::sync::watch;

use crate::thread::Thread;
use crate::timer::Timer;
pub(crate) use arrivals::Due;
use arrivals::Generator;
pub(crate) use connect::connect;
use datagrams::Datagrams;
pub(crate) use dispatch::Client;
use dispatch::{Dispatcher, Terms};
pub(crate) use failure::Failure;
use figures::Figures;
pub(crate) use http::HttpClient;

/// Highest rate that is tried, per second.
const MAX_RATE: f64 = 1_000_000.0;

/// Tells whether a fault ended the connection from this local address.
pub(crate) type Injected = Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// Starts a workload; an error is in words for people.
pub(crate) fn start(
    spec: &WorkloadSpec,
    target: &str,
    seed: u64,
    injected: Injected,
    felt: Option<Felt>,
) -> Result<Box<dyn Workload>, String> {
    let figures = Figures::new(spec.kind.weights().len(), felt);
    let running = match &spec.kind {
        WorkloadKind::Http(requests) => HttpClient::new(requests, spec, target)
            .and_then(|client| run(client, spec, target, (seed, injected), figures)),
        WorkloadKind::Tcp(requests) => run(tcp::TcpClient::new(requests), spec, target, (seed, injected), figures),
        WorkloadKind::Udp { size } => run_datagrams(*size, spec, target, seed, figures),
    };
    let running = running.map_err(|why| format!("workload `{}`: {why}", spec.name))?;
    Ok(Box::new(running))
}

fn run<C: Client>(
    client: C,
    spec: &WorkloadSpec,
    target: &str,
    (seed, injected): (u64, Injected),
    figures: Figures,
) -> Result<Running, String> {
    let terms = Terms {
        addresses: addresses(spec, target)?,
        timeout: spec.timeout,
        retries: spec.retries,
        connections: spec.connections.map(|kept| usize::try_from(kept).unwrap_or(usize::MAX)),
        injected,
    };
    launch(spec, seed, figures, move |figures, generator, timer, going| async move {
        Dispatcher::new(client, terms, figures).run(generator, timer, going).await;
    })
}

fn run_datagrams(
    size: usize,
    spec: &WorkloadSpec,
    target: &str,
    seed: u64,
    figures: Figures,
) -> Result<Running, String> {
    let count = spec.connections.map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let sockets = datagrams::sockets(&addresses(spec, target)?, count);
    let sockets = sockets.map_err(|error| format!("can not send datagrams to {target}: {error}"))?;
    let timeout = spec.timeout;
    launch(spec, seed, figures, move |figures, generator, timer, going| async move {
        figures.datagrams(|_| ()); // there are some, be it none lost
        match Datagrams::new(sockets, size, timeout, seed, figures) {
            Ok(datagrams) => datagrams.run(generator, timer, going).await,
            Err(error) => tracing::error!(%error, "load"),
        }
    })
}

/// Where a workload sends to, if it can be sent at all.
fn addresses(spec: &WorkloadSpec, target: &str) -> Result<Vec<SocketAddr>, String> {
    if spec.rate.values().into_iter().any(|rate| !(0.0..=MAX_RATE).contains(rate)) {
        return Err(format!("rates lie between 0 and {MAX_RATE} per second"));
    }
    if spec.connections == Some(0) {
        return Err("`connections` is at least 1".into());
    }
    if target.starts_with("unix:") {
        return Err("load over unix sockets is not yet available".into());
    }
    Ok(target.to_socket_addrs().map_err(|error| format!("can not resolve {target}: {error}"))?.collect())
}

/// Starts the thread in which `main` sends.
fn launch<F: Future<Output = ()>>(
    spec: &WorkloadSpec,
    seed: u64,
    figures: Figures,
    main: impl FnOnce(Arc<Figures>, Generator, Timer, watch::Receiver<bool>) -> F + Send + 'static,
) -> Result<Running, String> {
    let generator = Generator::new(spec.rate.clone(), spec.arrivals, &spec.kind.weights(), seed, &spec.name);
    let figures = Arc::new(figures);
    let (go, going) = watch::channel(true);
    let counted = Arc::clone(&figures);
    let main = move |timer| main(counted, generator, timer, going);
    let thread = Thread::spawn(&format!("load {}", spec.name), main).map_err(|error| error.to_string())?;
    Ok(Running { figures, go, thread: Mutex::new(Some(thread)) })
}

struct Running {
    figures: Arc<Figures>,
    go: watch::Sender<bool>,
    thread: Mutex<Option<Thread>>,
}

impl Workload for Running {
    fn reading(&self) -> WorkloadReading {
        self.figures.reading()
    }

    fn finish(&self, limit: Duration) -> WorkloadReading {
        self.go.send_replace(false);
        self.figures.wait_until_over(limit);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(thread);
        self.figures.close()
    }
}
