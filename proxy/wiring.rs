//! Puts the program together: data plane, test doubles, experiments, control port.

mod app;
pub(crate) mod audit;
mod drift;
mod reload;
mod render;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use squall_control::app::Format;
use squall_control::toxiproxy::{self, Registry};
use squall_control::{Server, Settings};
use squall_core::call::Calls;
use squall_core::config::Config;
use squall_core::limits::Limits;
use squall_core::matcher::NeverFault;
use squall_core::observe::Ledger;
use squall_core::plane::{DataPlane, ProxyInfo};
use squall_drill::engine::{Engine, Setup};
use squall_drill::notify::Webhook;
use squall_drill::place;
use squall_stand::LocalStand;
use squall_wire::{Admit, Options, Plane};

use self::drift::Drift;
use crate::exit::Failure;
use crate::language;
use crate::runtime;

/// Batches of ledger records between the workers and the ledger: a second or two of heavy injection.
const LEDGER_BATCHES: usize = 4096;

/// How long open connections may go on after the end was asked for.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How long runs may then take to be closed and put on record.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The program, running.
pub struct Wired {
    plane: Arc<Plane>,
    engine: Engine,
    environment: String,
    state: PathBuf,
    /// Where the configuration came from, to be read again.
    file: Option<PathBuf>,
    /// The configuration in force.
    config: Mutex<Config>,
    /// Whether every configured proxy listens and nobody has asked for the end.
    ready: AtomicBool,
    toxics: Toxics,
    registry: OnceLock<Arc<Registry>>,
    /// What is compared with the file; none: there is none.
    drift: Option<Arc<Drift>>,
}

/// What only a command says about the program that it puts together.
#[derive(Default)]
pub struct Extras {
    /// For the Toxiproxy-compatible port.
    pub toxics: Toxics,
    /// Where squall's own CA is; none: in the state directory.
    pub ca: Option<PathBuf>,
    /// Where HTTP exchanges are told one by one; none: nobody asks.
    pub calls: Option<Calls>,
    /// Held against every HTTP request before it is sent on; none: all may.
    pub admit: Option<Admit>,
    /// Addresses that may be reached whatever `[safety]` says: somebody has named each of them.
    pub exempt: Vec<SocketAddr>,
}

/// What only the command line says about the Toxiproxy-compatible port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Toxics {
    /// For the draws; none: one is drawn.
    pub seed: Option<u64>,
    /// How long toxics outlive the latest request, ns; none: for good.
    pub lease: Option<u64>,
    /// What its `/metrics` shows.
    pub shown: toxiproxy::Shown,
}

impl Wired {
    /// Starts workers and engine; no proxy listens yet.
    ///
    /// # Errors
    /// When limits make no sense, the state directory can not be had, or threads can not be started.
    pub fn new(config: Config, file: Option<PathBuf>) -> Result<Arc<Wired>, Failure> {
        Wired::with(config, file, Extras::default())
    }

    /// [`Wired::new`], with what only the command says.
    ///
    /// # Errors
    /// As there.
    pub fn with(config: Config, file: Option<PathBuf>, extras: Extras) -> Result<Arc<Wired>, Failure> {
        let Extras { toxics, ca, calls, admit, exempt } = extras;
        let limits = Limits::new(&config.safety).map_err(Failure::input)?;
        let state = match &config.control.state {
            Some(state) => state.clone(),
            None => runtime::own_state().map_err(|error| Failure::input(format!("no state directory: {error}")))?,
        };
        let (own_limits, hook_limits) = (limits.clone(), limits.clone());
        let (ledger, records) = Ledger::new(LEDGER_BATCHES);
        let allow = move |host: &str, to: &SocketAddr| match exempt.contains(to) {
            true => Ok(()),
            false => limits.check(host, *to),
        };
        let never_fault = NeverFault::compile(&config.safety.never_fault);
        let ca = ca.or_else(|| {
            runtime::ca(config.control.state.as_deref())
                .inspect_err(|error| tracing::warn!(%error, "there is no place for a CA"))
                .ok()
        });
        let plane =
            Plane::new(Options { allow: Arc::new(allow), never_fault, calls, admit, ca, ..Options::new(ledger) })
                .map_err(|error| Failure::input(format!("no data plane: {error}")))?;
        let plane = Arc::new(plane);
        let environment = config.environment.clone().unwrap_or_else(|| "local".into());
        if let Some(file) = &config.safety.environment_file {
            place::prove(file, &environment).map_err(Failure::input)?; // at every start of an experiment too
        }
        let setup = Setup {
            audit: audit::start(&config, &state, own_limits, plane.clock().clone())?,
            plane: plane.clone(),
            stand: Arc::new(LocalStand),
            ledger: records,
            environment: environment.clone(),
            safety: config.safety.clone(),
            state: state.clone(),
        };
        let engine = Engine::new(setup).map_err(|error| Failure::input(format!("no experiments: {error}")))?;
        if let Some(notify) = &config.notify {
            let secret =
                notify.secret.as_deref().map(|secret| audit::read_key("[notify] secret", secret)).transpose()?;
            let (url, environment) = (notify.webhook.clone(), environment.clone());
            let hook = Webhook { url, secret, environment, limits: hook_limits };
            engine.notify(hook).map_err(|error| Failure::input(format!("no notifications: {error}")))?;
        }
        let drift = file.clone().map(|file| {
            let read = language::config(&file).map_or_else(|_| config.clone(), |(read, _)| read);
            let is_read = |name: &str| read.proxies.iter().any(|spec| spec.name == name);
            let given = config.proxies.iter().map(|spec| spec.name.clone()).filter(|name| !is_read(name)).collect();
            Arc::new(Drift::new(file, read, given))
        });
        if let Some(drift) = drift.clone() {
            engine.hold_against(move |running| drift.look(running));
        }
        let config = Mutex::new(config);
        let (ready, registry) = (AtomicBool::new(false), OnceLock::new());
        let wired = Wired { plane, engine, environment, state, file, config, ready, toxics, registry, drift };
        Ok(Arc::new(wired))
    }

    /// Opens every configured proxy; they listen when this returns. None may lead to `control`, where the control port
    /// will be.
    ///
    /// # Errors
    /// The first proxy that can not be opened.
    pub fn open(&self, control: &str) -> Result<Vec<ProxyInfo>, Failure> {
        self.plane.bar(&plain(control));
        let specs = self.config().proxies.clone();
        let opened = specs.iter().map(|spec| {
            self.plane.open(spec).map_err(|error| Failure::input(format!("proxy `{}`: {error}", spec.name)))
        });
        opened.collect()
    }

    /// Starts the control port, once every configured proxy listens. It is ready from then on.
    ///
    /// # Errors
    /// When the address can not be had or is not allowed.
    pub fn control(self: &Arc<Wired>, listen: &str) -> Result<Server, Failure> {
        self.engine.restore(|canonical| {
            let (proxies, safety) = (self.plane.proxies(), self.config().safety.clone());
            language::request(canonical, Format::Json, &[], proxies, safety).map_err(|wrong| {
                wrong.iter().map(|diagnostic| diagnostic.message.clone()).collect::<Vec<_>>().join("; ")
            })
        });
        let mut settings = Settings::new(listen);
        {
            let config = self.config();
            settings.metrics.clone_from(&config.metrics_listen);
            settings.hosts.clone_from(&config.control.hosts);
            settings.access.tokens.clone_from(&config.control.tokens);
            settings.access.tls.clone_from(&config.control.tls);
            settings.toxiproxy = config.control.toxiproxy.clone().map(|listen| toxiproxy::Settings {
                listen,
                hosts: config.control.hosts.clone(),
                metrics: self.toxics.shown,
                registry: self.registry(&config),
            });
        }
        let server =
            Server::start(settings, self.clone()).map_err(|error| Failure::input(format!("control port: {error}")))?;
        self.plane.bar(&plain(&server.place().to_string())); // port 0 has become one
        if let Some(toxiproxy) = server.toxiproxy() {
            self.plane.bar(&plain(&toxiproxy.to_string()));
        }
        self.ready.store(true, Ordering::Release);
        let watched = Arc::downgrade(self);
        let watch = std::thread::Builder::new().name("squall-drift".into()).spawn(move || drift::watch(watched));
        watch.map_err(|error| Failure::input(format!("nobody watches the configuration: {error}")))?;
        Ok(server)
    }

    /// What clients of the Toxiproxy-compatible port see.
    fn registry(&self, config: &Config) -> Arc<Registry> {
        let limit = config.safety.max_percentage;
        let known = self.registry.get_or_init(|| {
            let plane: Arc<dyn DataPlane> = self.plane.clone();
            Arc::new(Registry::new(self.engine.clone(), plane, self.toxics.seed, self.toxics.lease, limit))
        });
        known.clone()
    }

    /// Opens the proxies of a Toxiproxy configuration, toxics included.
    ///
    /// # Errors
    /// What is wrong with it, or the first proxy that can not be had.
    pub fn populate(&self, json: &[u8]) -> Result<(), Failure> {
        let registry = self.registry(&self.config());
        registry.load(json).map_err(Failure::input)
    }

    /// The data plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// The experiments.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where the evidence of a run is kept.
    pub fn run_directory(&self, id: &str) -> PathBuf {
        self.state.join("runs").join(id)
    }

    /// Lifts every fault, then lets open connections end by themselves for at most `drain`.
    pub fn shut(&self, drain: Duration) {
        self.ready.store(false, Ordering::Release);
        self.engine.abort_all("shutdown (squall was asked to end)", Duration::from_millis(50));
        self.plane.shutdown(drain);
        self.engine.finish(LAST_WORDS);
    }

    fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address as the data plane takes it: a control port may be written as a URL, and on `localhost`.
fn plain(control: &str) -> Cow<'_, str> {
    let address = control.strip_prefix("https://").or_else(|| control.strip_prefix("http://")).unwrap_or(control);
    match address.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").into(),
        None => address.into(),
    }
}
