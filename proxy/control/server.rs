//! The control port's own thread: what it is started with, where it listens, how it ends.

mod bind;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;

use self::bind::Bound;
use crate::access::{self, Access};
use crate::app::App;
use crate::connections::{Connections, accept};
use crate::guard::Guard;
use crate::place::{self, Place, Published};
use crate::pool::Pool;
use crate::tls::Tls;
use crate::{routes, toxiproxy};

/// What a control port is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `address:port` (loopback; port 0: any) or `unix:PATH` (made with mode 0600).
    pub listen: String,
    /// `address:port` of the read-only listener for metrics and health, on any address; none: no such listener.
    pub metrics: Option<String>,
    /// Names besides localhost and the listening address that the Host header may carry.
    pub hosts: Vec<String>,
    /// The Toxiproxy-compatible API; none: it is not served.
    pub toxiproxy: Option<toxiproxy::Settings>,
    /// The file in which clients look for the address (see [`place::file`]); none: it is not published.
    pub publish: Option<PathBuf>,
    /// Who is let in.
    pub access: access::Settings,
    /// Sizes and times.
    pub limits: Limits,
}

impl Settings {
    /// A control port at `listen`, published, without a listener for metrics.
    pub fn new(listen: impl Into<String>) -> Settings {
        Settings {
            listen: listen.into(),
            metrics: None,
            hosts: Vec::new(),
            toxiproxy: None,
            publish: Some(place::file()),
            access: access::Settings::default(),
            limits: Limits::default(),
        }
    }
}

/// What one client may take of the control port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one moment.
    pub connections: usize,
    /// Readers of the event stream at one moment.
    pub streams: usize,
    /// Bytes of a scenario.
    pub scenario: usize,
    /// Bytes of any other body.
    pub body: usize,
    /// How long the head of a request may take; also how long an unused connection is kept.
    pub head: Duration,
    /// How long its body may take.
    pub read: Duration,
    /// How long a client may leave an answer unread.
    pub write: Duration,
    /// How often a silent event stream says that it is alive.
    pub pulse: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            streams: 32,
            scenario: 4 << 20,
            body: 64 << 10,
            head: Duration::from_secs(10),
            read: Duration::from_secs(10),
            write: Duration::from_secs(20),
            pulse: Duration::from_secs(10),
        }
    }
}

/// A running control port; ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    place: Place,
    metrics: Option<Place>,
    toxiproxy: Option<Place>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    _published: Option<Published>,
}

impl Server {
    /// Binds, and serves from then on: to be called once every configured proxy listens. Fails if an address can not be
    /// had or is not allowed; the error says which.
    pub fn start(settings: Settings, app: Arc<dyn App>) -> io::Result<Server> {
        let access = Access::new(&settings.access, app.plane().clock().clone());
        let access = Arc::new(access.map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?);
        let control = Bound::control(&settings.listen, &settings.access)?;
        let metrics = settings.metrics.as_deref().map(Bound::anywhere).transpose()?;
        let toxics = settings.toxiproxy.as_ref().map(|settings| Bound::anywhere(&settings.listen)).transpose()?;
        let place_of = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.place().clone());
        let (place, metrics_place, toxiproxy) = (control.place().clone(), place_of(&metrics), place_of(&toxics));
        let published = match settings.publish {
            Some(file) => publish(file, &place),
            None => None,
        };
        let limits = settings.limits;
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(Pool::THREADS + toxiproxy::TURNS + 1) // one looks at the tokens
            .thread_name("squall-control")
            .build()?;
        let mut served: Vec<(Bound, Router, Option<Arc<Tls>>)> = Vec::new();
        let connections = Connections::new(limits.connections); // before anybody can have taken all descriptors
        let state = routes::Port::new(app, access.clone(), limits, stopped.clone());
        if let Some(bound) = metrics {
            let guard = Guard::new(settings.hosts.iter().cloned(), true);
            served.push((bound, routes::read_only(state.clone(), guard), None));
        }
        if let Some((bound, settings)) = toxics.zip(settings.toxiproxy) {
            served.push((bound, toxiproxy::router(settings, limits.read), None));
        }
        let guard = Guard::new(settings.hosts.into_iter().chain(control.host()), control.is_public());
        let tls = access.tls();
        let guard = if tls.is_some() { guard.secure() } else { guard };
        served.push((control, routes::all(state, guard), tls));
        let thread = std::thread::Builder::new().name("squall-control".into()).spawn(move || {
            runtime.block_on(run(served, connections, access, limits, stopped));
            runtime.shutdown_timeout(Duration::from_millis(100)); // calls that still run may go on without us
        })?;
        Ok(Server { place, metrics: metrics_place, toxiproxy, stop, thread: Some(thread), _published: published })
    }

    /// Where it listens: the port that port 0 became.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where the Toxiproxy-compatible API is.
    pub fn toxiproxy(&self) -> Option<&Place> {
        self.toxiproxy.as_ref()
    }

    /// Where the read-only listener is.
    pub fn metrics(&self) -> Option<&Place> {
        self.metrics.as_ref()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A control port that can not be found by itself is still one.
fn publish(file: PathBuf, place: &Place) -> Option<Published> {
    let place = match place {
        Place::Unix(path) => Place::Unix(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        Place::Tcp(_) | Place::Tls(_) => place.clone(),
    };
    let published = place::publish(file.clone(), place);
    published
        .inspect_err(|e| tracing::warn!("the control port's address could not be written to {}: {e}", file.display()))
        .ok()
}

/// How long requests under way may take after the end was called.
const FAREWELL: Duration = Duration::from_millis(500);

async fn run(
    served: Vec<(Bound, Router, Option<Arc<Tls>>)>,
    connections: Arc<Connections>,
    access: Arc<Access>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let mut entries = Vec::new(); // their sockets' files go when these are dropped
    for (bound, router, tls) in served {
        match bound.listen() {
            Ok((listener, entry)) => {
                tokio::spawn(accept(listener, router, tls, connections.clone(), limits, stop.clone()));
                entries.push(entry);
            }
            Err(e) => tracing::error!("the control port can't listen: {e}"),
        }
    }
    tokio::spawn(access.keep_up(stop.clone()));
    stopped(&mut stop).await;
    let gone = async {
        while !connections.is_empty() {
            nap(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(FAREWELL, gone).await.is_err() {
        connections.close();
    }
}

/// Comes to its end when the port is to.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits, and up to 2 ms longer: good enough where nobody measures.
#[allow(clippy::disallowed_methods)]
pub(crate) async fn nap(time: Duration) {
    tokio::time::sleep(time).await;
}
