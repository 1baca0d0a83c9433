//! Certificates and TLS programs of a test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::programs::{free_port, installed, run, run_within};
use super::wait::{self, PATIENCE};
use super::{Room, Running};

/// A self-signed certificate for some names, and its key, in files of a room.
pub fn certificate(room: &Room, name: &str, names: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (room.path(&format!("{name}.pem")), room.path(&format!("{name}.key")));
    let mut openssl = Command::new(installed("openssl"));
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={names}")]);
    run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert));
    (cert, key)
}

/// `openssl s_server` that answers HTTP requests with what it knows of the session.
pub fn web_server(cert: &PathBuf, key: &PathBuf, more: &[&str]) -> (SocketAddr, Running) {
    for _ in 0..5 {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut server = Command::new(installed("openssl"));
        server.args(["s_server", "-www", "-accept", &address.to_string()]).arg("-cert").arg(cert).arg("-key").arg(key);
        let mut program = Running::start(server.args(more));
        let up = wait::until("openssl to listen", || match std::net::TcpStream::connect(address) {
            Ok(_) => Some(true),
            Err(_) => (!program.is_running()).then_some(false),
        });
        if up {
            return (address, program);
        }
    }
    panic!("no port for openssl could be had");
}

/// What `curl` comes to that asks for `https://NAME` at an address: its exit code, and everything it says.
pub fn curl(name: &str, address: SocketAddr, words: &[&str]) -> (i32, String) {
    let mut curl = Command::new(installed("curl"));
    curl.args(["--silent", "--show-error", "--max-time", "60"]);
    curl.args(["--resolve", &format!("{name}:{}:{}", address.port(), address.ip())]).args(words);
    run_within(curl.arg(format!("https://{name}:{}/", address.port())), PATIENCE)
}
