//! A Redis client of the usual kind: the Python package `redis`, driven by `tests/real/client.py`.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::Running;
use super::programs::run;

/// What a command of the client prints.
#[track_caller]
pub fn client(address: SocketAddr, words: &[&str]) -> Value {
    client_by(|python| Command::new(python), address, words)
}

/// The same, through a command that may run it elsewhere.
#[track_caller]
pub fn client_by(by: impl FnOnce(&OsStr) -> Command, address: SocketAddr, words: &[&str]) -> Value {
    let out = run(&mut command(by, address, words));
    result(&out)
}

/// The same in the background, from the moment on at which the client is connected.
#[derive(Debug)]
pub struct Client(Running);

impl Client {
    #[track_caller]
    pub fn start(address: SocketAddr, words: &[&str]) -> Client {
        let mut command = command(|python| Command::new(python), address, words);
        let program = Running::start(&mut command);
        program.wait_for("connected");
        Client(program)
    }

    /// What it prints at its end.
    #[track_caller]
    pub fn result(mut self) -> Value {
        assert_eq!(self.0.code_within(Duration::from_secs(30)), 0, "{}", self.0.printed());
        result(&self.0.end().out)
    }
}

#[track_caller]
fn result(printed: &str) -> Value {
    let line = printed.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no result: {printed}"));
    serde_json::from_str(line).unwrap()
}

#[track_caller]
fn command(by: impl FnOnce(&OsStr) -> Command, address: SocketAddr, words: &[&str]) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("target/tests/python/bin/python");
    assert!(python.is_file(), "{} is missing; tests/run makes it", python.display());
    let mut command = by(python.as_os_str());
    command.arg("-u").arg(here.join("tests/real/client.py"));
    command.args([address.ip().to_string(), address.port().to_string()]).args(words);
    command
}
