//! Programs of Python: a Redis client of the usual kind, the package `redis`, driven by `tests/real/client.py`; and other scripts.

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

/// The line of JSON that a script prints.
#[track_caller]
pub fn result(printed: &str) -> Value {
    let line = printed.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no result: {printed}"));
    serde_json::from_str(line).unwrap()
}

#[track_caller]
fn command(by: impl FnOnce(&OsStr) -> Command, address: SocketAddr, words: &[&str]) -> Command {
    let mut command = script_by(by, "client.py");
    command.args([address.ip().to_string(), address.port().to_string()]).args(words);
    command
}

/// A script of `tests/real`, with the packages that tests have.
#[track_caller]
pub fn script(name: &str) -> Command {
    script_by(|python| Command::new(python), name)
}

/// A script of another folder of `tests`.
#[track_caller]
pub fn script_in(folder: &str, name: &str) -> Command {
    script_of(|python| Command::new(python), folder, name)
}

#[track_caller]
fn script_by(by: impl FnOnce(&OsStr) -> Command, name: &str) -> Command {
    script_of(by, "real", name)
}

#[track_caller]
fn script_of(by: impl FnOnce(&OsStr) -> Command, folder: &str, name: &str) -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("target/tests/python/bin/python");
    assert!(python.is_file(), "{} is missing; tests/run makes it", python.display());
    let mut command = by(python.as_os_str());
    command.arg("-u").arg(here.join("tests").join(folder).join(name));
    command
}
