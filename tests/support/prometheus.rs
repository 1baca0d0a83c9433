//! A Prometheus and an Alertmanager of a test's own, on loopback.

use std::net::TcpStream;
use std::process::Command;

use super::programs::{free_port, installed};
use super::wait;
use super::{Room, Running};

/// Prometheus, which scrapes one squall, and the Alertmanager that it tells.
#[derive(Debug)]
pub struct Watchers {
    /// `http://…`
    pub prometheus: String,
    /// `http://…`
    pub alertmanager: String,
    _programs: [Running; 2],
}

impl Watchers {
    /// Everything once a second. `rules` are rules of Prometheus's, in YAML below `rules:`.
    pub fn start(room: &Room, scrape: &str, rules: &str) -> Watchers {
        let alertmanager = room.file("alertmanager.yml", "route: { receiver: none }\nreceivers: [{ name: none }]\n");
        let (to, first) = on_a_port("Alertmanager", |port| {
            let mut command = Command::new(installed("prometheus-alertmanager"));
            command.arg(format!("--config.file={alertmanager}")).arg("--cluster.listen-address=");
            command.arg(format!("--storage.path={}", room.path("alertmanager").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            command
        });
        let rules = room.file("rules.yml", &format!("groups:\n- name: test\n  interval: 1s\n  rules:\n{rules}"));
        let config = room.file(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{rules}']\n\
                 alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{to}'] }}] }}] }}\n\
                 scrape_configs:\n- job_name: squall\n  static_configs: [{{ targets: ['{scrape}'] }}]\n"
            ),
        );
        let (prometheus, second) = on_a_port("Prometheus", |port| {
            let mut command = Command::new(installed("prometheus"));
            command.arg(format!("--config.file={config}"));
            command.arg(format!("--storage.tsdb.path={}", room.path("prometheus").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            command
        });
        Watchers {
            prometheus: format!("http://{prometheus}"),
            alertmanager: format!("http://{to}"),
            _programs: [first, second],
        }
    }
}

/// Starts a program on a free port, and on another one if somebody was faster.
fn on_a_port(name: &str, command: impl Fn(u16) -> Command) -> (String, Running) {
    for _ in 0..5 {
        let address = format!("127.0.0.1:{}", free_port());
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let mut program = Running::start(&mut command(port));
        let up = wait::until(&format!("{name} to answer"), || match TcpStream::connect(&address) {
            Ok(_) => Some(program.is_running()),
            Err(_) => (!program.is_running()).then_some(false),
        });
        if up {
            return (address, program);
        }
    }
    panic!("no port for {name} could be had");
}
