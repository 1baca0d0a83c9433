//! `squall serve` between a test's programs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use squall_control::api::{ProxyRequest, ProxyView};
use squall_control::app::Format;
use squall_control::client::{Client, ClientError};
use squall_drill::view::ExperimentView;

use super::GOVERNED;
use super::programs::{installed, run};
use super::{Room, Running, wait};

/// A running `squall serve`. Its control port is a unix socket, which reaches across network namespaces; its leases are
/// short.
#[derive(Debug)]
pub struct Serve {
    pub program: Running,
    pub client: Client,
    /// Where the proxy `default` listens.
    pub address: SocketAddr,
    /// `unix:PATH` of its control port.
    pub control: String,
    state: PathBuf,
}

impl Serve {
    /// With one proxy, `default`, on a free port.
    pub fn before(room: &Room, upstream: impl std::fmt::Display) -> Serve {
        Serve::through(room.command::<&str>(&[]), room, "127.0.0.1:0", upstream)
    }

    /// The same through a command that may run it elsewhere.
    pub fn through(command: Command, room: &Room, listen: &str, upstream: impl std::fmt::Display) -> Serve {
        Serve::with(command, room, "", &format!("listen = \"{listen}\"\nupstream = \"{upstream}\""))
    }

    /// The same with other fields of `[safety]` and of the proxy.
    pub fn with(mut command: Command, room: &Room, safety: &str, proxy: &str) -> Serve {
        let control = format!("unix:{}", room.path("control").display());
        let config = format!(
            "[control]\nlisten = \"{control}\"\nstate = \"state\"\n\n[safety]\nlease = \"2s\"\n{safety}\n\n\
             [[proxy]]\nname = \"default\"\n{proxy}\n"
        );
        let config = room.file("squall.toml", &config);
        command.args(["serve", "--config", &config]).env("XDG_RUNTIME_DIR", room.directory());
        let program = Running::start(&mut command);
        let address = program.wait_for("proxy default ").split(' ').next().unwrap().parse().unwrap();
        program.wait_for("control ");
        let client = Client::new(control.parse().unwrap());
        Serve { program, client, address, control, state: room.path("state") }
    }

    /// Adds a proxy, and takes what runs as it is: it is not in the configuration's file.
    pub fn put_proxy(&self, name: &str, request: &ProxyRequest) -> Result<ProxyView, ClientError> {
        let added = self.client.put_proxy(name, request)?;
        self.client.accept().map(|_| added)
    }

    /// Starts what is in `faults` (fault tables, on the proxy `default` unless they say otherwise); it is on when this
    /// returns, and ends by itself after a minute.
    #[track_caller]
    pub fn start(&self, faults: &str) -> String {
        let id = self.submit(faults);
        self.client.start(&id, Some("60s")).unwrap();
        id
    }

    /// The same, but nothing is injected.
    #[track_caller]
    pub fn observe(&self, faults: &str) -> String {
        let id = self.submit(faults);
        self.client.observe(&id, Some("60s")).unwrap();
        id
    }

    /// Hands in what is in `faults`.
    #[track_caller]
    pub fn submit(&self, faults: &str) -> String {
        let text = format!("{GOVERNED}name = \"test\"\nseed = 42\nmax_duration = \"60s\"\n\n{faults}");
        self.client.submit(&text, Format::Toml, &[]).unwrap().id
    }

    /// Ends it; its faults are off when this returns.
    #[track_caller]
    pub fn stop(&self, id: &str) {
        self.client.abort(id).unwrap();
    }

    /// How it stands when it is over.
    #[track_caller]
    pub fn over(&self, id: &str) -> ExperimentView {
        wait::until(&format!("the end of {id}"), || {
            Some(self.client.view(id).unwrap()).filter(|view| view.state.is_over())
        })
    }

    /// The ledger of a run that is over: what one fault did, in order of time.
    #[track_caller]
    pub fn ledger(&self, id: &str, fault: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.state.join("runs").join(id).join("ledger.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fault"] == fault).collect()
    }

    /// What `run.json` says about a run.
    pub fn run(&self, id: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.state.join("runs").join(id).join("run.json")).unwrap()).unwrap()
    }

    /// A metric's value, by its name and labels as they are printed; 0 where it is not there.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let socket = self.control.trim_start_matches("unix:");
        let mut curl = Command::new(installed("curl"));
        let text = run(curl.args(["--silent", "--show-error", "--unix-socket", socket, "http://localhost/metrics"]));
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }

    /// Most memory that it has had at one time, bytes.
    pub fn most_memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.program.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// SIGTERM; the exit code.
    #[track_caller]
    pub fn end(&mut self, patience: Duration) -> i32 {
        self.program.signal(Signal::TERM);
        self.program.code_within(patience)
    }
}
