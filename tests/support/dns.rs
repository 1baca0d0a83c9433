//! A dnsmasq of a test's own, and dig.

use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Signal;

use super::programs::{free_port, installed, run_within};
use super::{Room, Running, wait};

/// A name server that knows the names of its hosts file, over UDP and TCP.
#[derive(Debug)]
pub struct Dnsmasq {
    pub address: SocketAddr,
    hosts: String,
    program: Running,
}

impl Dnsmasq {
    pub fn start(room: &Room, hosts: &str) -> Dnsmasq {
        let hosts = room.file("hosts", hosts);
        for _ in 0..5 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let mut command = Command::new(installed("dnsmasq"));
            command.args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
            command.args(["--bind-interfaces", "--listen-address=127.0.0.1", "--pid-file=", "--log-facility=-"]);
            command.args([format!("--port={}", address.port()), format!("--addn-hosts={hosts}")]);
            command.args(["--txt-record=www.example.com,squall", "--local=/example.com/", "--local=/other.org/"]);
            let mut program = Running::start(&mut command);
            let up = wait::until("dnsmasq to start", || {
                // what it says last when it starts
                let read = program.printed().contains("read ");
                (read || !program.is_running()).then_some(read)
            });
            if up {
                return Dnsmasq { address, hosts, program };
            }
        }
        panic!("no port for dnsmasq could be had");
    }

    /// From now on it knows these; the server itself is asked until it does.
    pub fn learns(&self, hosts: &str, name: &str, address: &str) {
        std::fs::write(&self.hosts, hosts).unwrap();
        self.program.signal(Signal::HUP);
        wait::until("dnsmasq to read its hosts", || {
            (dig(self.address, &[name, "A"]).addresses() == [address]).then_some(())
        });
    }
}

/// What dig printed.
#[derive(Debug)]
pub struct Dug {
    pub code: i32,
    pub out: String,
}

/// One question to a server, at most once and a second long unless the words say otherwise.
pub fn dig(server: SocketAddr, words: &[&str]) -> Dug {
    let mut command = Command::new(installed("dig"));
    command.args([format!("@{}", server.ip()), "-p".into(), server.port().to_string()]);
    command.args(["+tries=1", "+time=3", "+noall", "+comments", "+answer"]).args(words);
    let (code, out) = run_within(&mut command, std::time::Duration::from_secs(60));
    Dug { code, out }
}

impl Dug {
    /// The response code: `NOERROR`.
    #[track_caller]
    pub fn status(&self) -> &str {
        let after = self.out.split("status: ").nth(1).unwrap_or_else(|| panic!("no answer: {self:?}"));
        after.split(',').next().unwrap()
    }

    /// The data of the answer's records.
    pub fn addresses(&self) -> Vec<&str> {
        let records = self.out.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty());
        records.filter_map(|line| line.split_whitespace().nth(4)).collect()
    }
}
