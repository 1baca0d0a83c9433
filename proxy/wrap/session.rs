//! Everything that stands around a wrapped program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use squall_control::Server;
use squall_core::call::{Call, Calls};
use squall_core::config::Config;
use squall_core::limits::Limits;
use squall_core::plane::DataPlane;
use squall_core::scenario::ProxySpec;
use squall_wire::Admit;

use super::bypass::Bypass;
use super::exit::{self, Chain, Exit};
use super::front::{Door, Front, Shared};
use super::hosts::{self, HOST, Host, Mapped, Only};
use super::running::Announced;
use super::trust;
use super::tunnels::Tunnels;
use super::{base_urls, secrets};
use super::{project, variables};
use crate::exit::Failure;
use crate::library;
use crate::runtime::{self, Scratch};
use crate::wiring::{Extras, Wired};

/// Calls that may wait to be looked at.
const ROOM: usize = 65_536;

/// What a session is made from.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hosts to be opened besides those of the library.
    pub only: Vec<Only>,
    /// Hosts that scenarios name which are not of the library.
    pub named: Vec<String>,
    /// Requests with live keys may go out.
    pub allow_live: bool,
    /// Stand-ins.
    pub maps: Vec<Mapped>,
    /// Where the project's CA is kept; none: see [`project::directory`].
    pub state: Option<PathBuf>,
    /// Open hosts to clients that are told a base URL, too.
    pub reverse: bool,
    /// The port of the front; 0: any.
    pub port: u16,
}

/// A data plane with opened hosts, a front before it, and the control port. It ends when it is dropped.
pub struct Session {
    /// The program, put together.
    pub wired: Arc<Wired>,
    /// All that are opened.
    pub hosts: Vec<Host>,
    /// Their calls, as they end.
    pub calls: Receiver<Call>,
    /// How many of those found no room.
    pub sent: Calls,
    /// What was seen of all others.
    pub tunnels: Arc<Tunnels>,
    /// What a child is told.
    pub variables: Vec<(String, String)>,
    /// The control port.
    pub control: Server,
    front: Front,
    _announced: Announced,
    /// Roots, bundles and sockets of this run.
    _run: Scratch,
}

impl Session {
    /// Opens everything; all of it listens when this returns.
    ///
    /// # Errors
    /// What could not be had.
    pub fn open(options: &Options) -> Result<Session, Failure> {
        let chain = Chain::of_environment().map_err(Failure::input)?;
        let bypass = Bypass::of_environment();
        let safety = exit::safety();
        let limits = Limits::new(&safety).map_err(Failure::input)?;
        options.maps.iter().try_for_each(Mapped::check).map_err(Failure::input)?;
        let hosts = hosts::opened(&of_library(&options.named), &options.only, &options.maps);
        let mut names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        names.dedup();
        let project = project::directory(options.state.as_deref()).map_err(Failure::input)?;
        let run = runtime::own_state().and_then(|state| Scratch::new(state.join("wrap")));
        let run = run.map_err(|error| Failure::input(format!("no state directory: {error}")))?;
        let ca = trust::directory(&project, &names);
        let files = trust::write(&ca, &names, run.path()).map_err(Failure::input)?;
        let exempt = hosts.iter().filter_map(|host| Some(host.map?.address)).collect();
        let config = Config { safety, ..Config::default() };
        let (sent, calls) = Calls::new(ROOM);
        let admit: Admit = Arc::new(|proxy, request| {
            let host = proxy.strip_prefix(HOST).unwrap_or(proxy);
            secrets::refuse(host.split(':').next().unwrap_or(host), request)
        });
        let admit = (!options.allow_live).then_some(admit);
        let extras = Extras { ca: Some(ca), calls: Some(sent.clone()), admit, exempt, ..Extras::default() };
        let wired = Wired::with(config, None, extras)?;
        let exit = Exit::new(limits, chain, bypass.clone());
        let way = Way { run: run.path(), exit: exit.clone(), roots: files.roots.display().to_string() };
        let (doors, leads) = way.doors(&wired, &hosts, options.reverse)?;
        let by_url = |host: &Host| Some((host.clone(), doors.get(&(host.name.clone(), host.port))?.reverse?));
        let reverse: Vec<(Host, SocketAddr)> = hosts.iter().filter_map(by_url).collect();
        let tunnels = Arc::new(Tunnels::default());
        let shared = Shared { doors, exit: exit.clone(), tunnels: tunnels.clone() };
        let front = Front::start(options.port, shared)
            .map_err(|error| Failure::input(format!("no port for the forward proxy: {error}")))?;
        for (socket, host) in leads {
            front
                .lead_out(&socket, exit.clone(), host.name, host.port)
                .map_err(|error| Failure::input(format!("{}: {error}", socket.display())))?;
        }
        let control = wired.control(crate::cli::ANY_PORT)?;
        let no_proxy = bypass.for_child(&names);
        let java = std::env::var("JAVA_TOOL_OPTIONS").ok();
        let mut variables = variables::all(front.address(), &files, &no_proxy, java.as_deref());
        variables.extend(base_urls::all(&reverse));
        let announced = Announced::new(&project, &variables)
            .map_err(|error| Failure::input(format!("{}: {error}", project.display())))?;
        Ok(Session { wired, hosts, calls, sent, tunnels, variables, control, front, _announced: announced, _run: run })
    }

    /// Where the forward proxy listens.
    pub fn front(&self) -> SocketAddr {
        self.front.address()
    }
}

/// The hosts that shipped scenarios name, and these.
fn of_library(named: &[String]) -> Vec<String> {
    let shipped = library::all().flat_map(|shipped| hosts::named(shipped.text));
    let mut names: Vec<String> = shipped.chain(named.iter().cloned()).collect();
    names.sort();
    names.dedup();
    names
}

/// How the data plane reaches the services.
struct Way<'a> {
    run: &'a Path,
    exit: Arc<Exit>,
    roots: String,
}

type Doors = HashMap<(String, u16), Door>;

impl Way<'_> {
    /// Opens the proxies of all hosts. Which of them have to be led out through the network's proxy, over which socket.
    fn doors(&self, wired: &Wired, hosts: &[Host], reverse: bool) -> Result<(Doors, Vec<(PathBuf, Host)>), Failure> {
        let (mut doors, mut leads) = (Doors::new(), Vec::new());
        for (n, host) in hosts.iter().enumerate() {
            let is_led = host.map.is_none() && self.exit.chain(&host.name).is_some();
            let socket = self.run.join(format!("out-{n}"));
            let through = is_led.then(|| format!("unix:{}", socket.display()));
            let open = |spec: ProxySpec| {
                let opened = wired.plane().open(&spec);
                opened.map_err(|error| Failure::input(format!("{}: {error}", spec.name))).map(|info| info.address)
            };
            let forward = open(host.spec(through.as_deref(), &self.roots))?;
            let reverse = match reverse && host.tls {
                true => open(host.reverse(through.as_deref(), &self.roots))?,
                false => None,
            };
            doors.insert((host.name.clone(), host.port), Door { forward, reverse });
            if is_led {
                leads.push((socket, host.clone()));
            }
        }
        Ok((doors, leads))
    }
}
