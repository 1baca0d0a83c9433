//! squall between a test's own client and server, and the experiments on it.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use squall_control::app::Format;
use squall_core::plan::TallyReading;
use squall_drill::view::{AbortReport, ExperimentView};

use super::GOVERNED;
use super::{Line, Peer, Room, Serve, wait};

/// `squall serve` before a listener of the test's.
pub struct Stage {
    pub serve: Serve,
    upstream: TcpListener,
    room: Room,
}

impl Stage {
    pub fn new() -> Stage {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = Room::new();
        let serve = Serve::before(&room, upstream.local_addr().unwrap());
        Stage { serve, upstream, room }
    }

    /// A client's end alone: whoever gets a connection to the upstream takes it with [`Stage::accept`].
    pub fn dial(&self) -> Peer {
        Peer::new(TcpStream::connect(self.serve.address).unwrap())
    }

    /// How a connection that is refused ends, at whatever point the client learns it.
    #[track_caller]
    pub fn refused(&self) -> super::End {
        match TcpStream::connect(self.serve.address) {
            Ok(stream) => Peer::new(stream).end(),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
                super::End::Reset
            }
        }
    }

    /// The server's end of the connection that squall makes next.
    pub fn accept(&self) -> Peer {
        self.upstream.set_nonblocking(false).unwrap();
        Peer::new(self.upstream.accept().unwrap().0)
    }

    /// squall makes no connection for so long.
    #[track_caller]
    pub fn nobody_comes_for(&self, ms: u64) {
        self.upstream.set_nonblocking(true).unwrap();
        let end = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < end {
            assert!(self.upstream.accept().is_err(), "the upstream was dialled");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A connection, both ends.
    pub fn line(&self) -> Line {
        let client = self.dial();
        Line { client, server: self.accept() }
    }

    /// A connection that has carried a word each way.
    pub fn live_line(&self) -> Line {
        let mut line = self.line();
        line.works();
        line
    }

    /// Starts an experiment with one fault on the proxy.
    #[track_caller]
    pub fn start(&self, fault: &str) -> Trial<'_> {
        self.start_all(&[fault])
    }

    /// Starts an experiment with these faults on the proxy.
    #[track_caller]
    pub fn start_all(&self, faults: &[&str]) -> Trial<'_> {
        self.run(&scenario("test", faults))
    }

    /// Starts a whole scenario. Its faults are in force when this returns; connections that are open follow within
    /// moments ([`Trial::has_met`]).
    #[track_caller]
    pub fn run(&self, scenario: &str) -> Trial<'_> {
        let id = self.submit(scenario);
        self.serve.client.start(&id, Some("60s")).unwrap();
        Trial { stage: self, id }
    }

    /// The same, but nothing is injected.
    #[track_caller]
    pub fn observe(&self, scenario: &str) -> Trial<'_> {
        let id = self.submit(scenario);
        self.serve.client.observe(&id, Some("60s")).unwrap();
        Trial { stage: self, id }
    }

    #[track_caller]
    fn submit(&self, scenario: &str) -> String {
        let submitted = self.serve.client.submit(scenario, Format::Toml, &[]);
        submitted.unwrap_or_else(|error| panic!("{error}: {error:?}\n{scenario}")).id
    }

    /// A file that goes with the test; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        self.room.file(name, text)
    }

    /// What `squall plan --json` says of a scenario.
    #[track_caller]
    pub fn plan(&self, scenario: &str, units: usize) -> Value {
        let file = self.room.file("plan.toml", scenario);
        let planned = self.room.squall(&["plan", "--json", "--units", &units.to_string(), &file]).exits(0);
        serde_json::from_str(&planned.out).unwrap()
    }

    /// Runs a command of squall's against this one; its standard output.
    #[track_caller]
    pub fn squall(&self, words: &[&str]) -> String {
        self.room.squall(&[words, &["--control", &self.serve.control]].concat()).exits(0).out
    }
}

/// A scenario with seed 42 and these faults on the proxy `default`.
pub fn scenario(name: &str, faults: &[&str]) -> String {
    let faults: String = faults.iter().map(|fault| format!("\n[[fault]]\nproxy = \"default\"\n{fault}\n")).collect();
    format!("{GOVERNED}name = \"{name}\"\nseed = 42\nmax_duration = \"60s\"\n{faults}")
}

/// An experiment on a stage.
pub struct Trial<'a> {
    stage: &'a Stage,
    pub id: String,
}

impl Trial<'_> {
    pub fn view(&self) -> ExperimentView {
        self.stage.serve.client.view(&self.id).unwrap()
    }

    /// What a fault has done so far.
    #[track_caller]
    pub fn tally(&self, fault: &str) -> TallyReading {
        let found = self.view().faults.into_iter().find(|found| found.name == fault);
        found.unwrap_or_else(|| panic!("no fault `{fault}`")).tally
    }

    /// Waits until a fault's tally is as wanted.
    #[track_caller]
    pub fn until(&self, fault: &str, wanted: impl Fn(&TallyReading) -> bool) -> TallyReading {
        wait::until(&format!("`{fault}` to count"), || Some(self.tally(fault)).filter(&wanted))
    }

    /// Waits until every fault has looked at so many connections.
    #[track_caller]
    pub fn has_met(self, connections: u64) -> Self {
        wait::until(&format!("faults to meet {connections} connections"), || {
            self.view().faults.iter().all(|fault| fault.tally.eligible >= connections).then_some(())
        });
        self
    }

    /// Ends it; its faults are off, and what they held goes on, when this returns.
    #[track_caller]
    pub fn stop(&self) -> AbortReport {
        self.stage.serve.client.abort(&self.id).unwrap().abort
    }

    /// Waits for its end.
    #[track_caller]
    pub fn over(&self) -> ExperimentView {
        self.stage.serve.over(&self.id)
    }

    /// Its ledger, one fault's lines in order, when it is over.
    #[track_caller]
    pub fn ledger(&self, fault: &str) -> Vec<Value> {
        self.over();
        self.stage.serve.ledger(&self.id, fault)
    }
}
