//! Everything that stands around a wrapped program.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use squall_control::Server;
use squall_core::config::Config;
use squall_core::limits::Limits;
use squall_core::plane::DataPlane;
use squall_core::scenario::ProxySpec;

use super::bypass::Bypass;
use super::exit::{self, Chain, Exit};
use super::front::{Door, Front, Shared};
use super::hosts::{self, Host, Mapped, Only};
use super::trust;
use super::tunnels::Tunnels;
use super::{project, variables};
use crate::exit::Failure;
use crate::library;
use crate::runtime;
use crate::wiring::{Extras, Wired};

/// What a session is made from.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hosts to be opened besides those of the library.
    pub only: Vec<Only>,
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
    /// What was seen of all others.
    pub tunnels: Arc<Tunnels>,
    /// What a child is told.
    pub variables: Vec<(String, String)>,
    /// The control port.
    pub control: Server,
    front: Front,
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
        let hosts = hosts::opened(&of_library(), &options.only, &options.maps);
        let mut names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        names.dedup();
        let project = project::directory(options.state.as_deref()).map_err(Failure::input)?;
        let run = runtime::own_state().map_err(|error| Failure::input(format!("no state directory: {error}")))?;
        let ca = trust::directory(&project, &names);
        let files = trust::write(&ca, &names, &run).map_err(Failure::input)?;
        let exempt = hosts.iter().filter_map(|host| Some(host.map?.address)).collect();
        let config = Config { safety, ..Config::default() };
        let wired = Wired::with(config, None, Extras { ca: Some(ca), exempt, ..Extras::default() })?;
        let exit = Exit::new(limits, chain, bypass.clone());
        let way = Way { run, exit: exit.clone(), roots: files.roots.display().to_string() };
        let (doors, leads) = way.doors(&wired, &hosts, options.reverse)?;
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
        let variables = variables::all(front.address(), &files, &no_proxy, java.as_deref());
        Ok(Session { wired, hosts, tunnels, variables, control, front })
    }

    /// Where the forward proxy listens.
    pub fn front(&self) -> SocketAddr {
        self.front.address()
    }
}

/// The hosts that shipped scenarios name.
fn of_library() -> Vec<String> {
    let mut names: Vec<String> = library::all().flat_map(|shipped| hosts::named(shipped.text)).collect();
    names.sort();
    names.dedup();
    names
}

/// How the data plane reaches the services.
struct Way {
    run: PathBuf,
    exit: Arc<Exit>,
    roots: String,
}

type Doors = HashMap<(String, u16), Door>;

impl Way {
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
