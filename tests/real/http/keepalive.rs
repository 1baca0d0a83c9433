//! wrk, and h2load with HTTP/1.1, keep connections busy: what they count is what squall and the upstream count.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::programs::{free_port, installed, run};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Room, Running, Serve, nginx, turn};

/// What `count.lua` sends, from two threads.
const REQUESTS: u64 = 20_000;

/// nginx that writes down every request, and squall before it.
struct Site {
    squall: Serve,
    room: Room,
    _nginx: Running,
}

impl Site {
    fn new() -> Site {
        let room = Room::new();
        let port = free_port();
        let log = room.path("requests").display().to_string();
        let server = format!(
            "log_format short '$connection $status';\n\
             server {{ listen 127.0.0.1:{port}; access_log {log} short; location / {{ return 200 \"hello\\n\"; }} }}"
        );
        let nginx = nginx::start(&room, &[port], &server);
        let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:{port}\"\nprotocol = \"http\"");
        let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
        Site { squall, room, _nginx: nginx }
    }

    /// What nginx answered: the connection of each request, once there are so many.
    #[track_caller]
    fn upstream_counts(&self, requests: u64) -> Vec<String> {
        let requests = usize::try_from(requests).unwrap();
        let lines = wait::until("nginx to have written down all requests", || {
            let log = std::fs::read_to_string(self.room.path("requests")).unwrap();
            Some(log.lines().map(str::to_owned).collect::<Vec<_>>()).filter(|lines| lines.len() >= requests)
        });
        assert_eq!(lines.len(), requests);
        lines.iter().map(|line| line.strip_suffix(" 200").unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
    }
}

/// What wrk tells of 16 connections.
fn wrk(address: SocketAddr) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/http/count.lua");
    let mut command = Command::new(installed("wrk"));
    command.args(["--threads", "2", "--connections", "16", "--duration", "60", "--timeout", "30", "--script"]);
    let mut wrk = Running::start(command.arg(script).arg(format!("http://{address}/")));
    wait::within(Duration::from_secs(50), "both threads to be done", || {
        (wrk.printed().matches("all answered").count() == 2).then_some(())
    });
    wrk.signal(Signal::INT); // it tells what it has, and need not wait for the time that it was given
    assert_eq!(wrk.code_within(PATIENCE), 0);
    let out = wrk.end().out;
    assert_eq!(number_before(&out, " requests in "), Some(REQUESTS), "{out}");
    assert!(!out.contains("Socket errors"), "{out}");
    out
}

/// The number that stands before these words.
fn number_before(text: &str, words: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once(words)?.0.trim().parse().ok())
}

#[test]
fn wrk_and_nginx_count_the_same_requests_without_an_error() {
    let _turn = turn();
    let site = Site::new();
    let out = wrk(site.squall.address);
    assert!(!out.contains("Non-2xx"), "{out}");
    let mut connections = site.upstream_counts(REQUESTS);
    connections.sort_unstable();
    connections.dedup();
    assert!(connections.len() <= 32, "they are used again: {} connections", connections.len());
    assert_eq!(site.squall.metric("squall_http_answers_total{proxy=\"default\",class=\"2xx\"}"), REQUESTS);
}

#[test]
fn the_errors_that_wrk_counts_are_those_in_the_ledger() {
    let _turn = turn();
    let site = Site::new();
    let id = site.squall.start(
        "[[fault]]\nname = \"unwell\"\nkind = \"error\"\nproxy = \"default\"\nhttp_status = 503\npercentage = 10\n",
    );
    let out = wrk(site.squall.address);
    site.squall.stop(&id);
    let after = out.split_once("Non-2xx or 3xx responses: ").unwrap_or_else(|| panic!("{out}")).1;
    let refused: u64 = after.lines().next().unwrap().trim().parse().unwrap();
    let tally = site.squall.over(&id).faults[0].tally;
    assert_eq!((tally.eligible, tally.selected, tally.injected), (REQUESTS, refused, refused));
    let ledger = site.squall.ledger(&id, "unwell");
    assert_eq!(ledger.len() as u64, refused);
    // 10 % of 20,000, with six standard deviations to each side
    assert!((1745..=2255).contains(&refused), "{refused}");
    site.upstream_counts(REQUESTS - refused);
}

#[test]
fn h2load_finds_no_error_over_connections_of_http_1() {
    let _turn = turn();
    let site = Site::new();
    let mut command = Command::new(installed("h2load"));
    let url = format!("http://{}/", site.squall.address);
    let out = run(command.args(["--h1", "-n", "20000", "-c", "16", &url]));
    assert!(out.contains("20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{out}");
    assert!(out.contains("status codes: 20000 2xx"), "{out}");
    site.upstream_counts(20_000);
}
