//! The golden drills as they are, ended in each way that there is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use squall_control::client::Client;
use squall_drill::view::{ExperimentView, State};

use crate::support::namespace::Namespace;
use crate::support::programs::run_within;
use crate::support::python;
use crate::support::redis::Redis;
use crate::support::wait;
use crate::support::{GOVERNED, Room, Running, Serve, turn};

/// More than a drill takes: they have their own hard end.
const DRILL: Duration = Duration::from_secs(90);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A network of its own with a Redis on its usual port.
struct Field {
    network: Namespace,
    redis: Running,
    room: Room,
}

impl Field {
    fn new() -> Field {
        let room = Room::new();
        let network = Namespace::new();
        let redis = Redis::run(network.command("redis-server"), &room, 6379);
        redis.wait_for_words("Ready to accept connections");
        Field { network, redis, room }
    }

    /// `squall drill redis-slow.toml`, with its control port where the test reaches it.
    fn drill(&self) -> (Running, Client) {
        let control = format!("unix:{}", self.room.path("control").display());
        let config = self.room.file("squall.toml", &format!("[control]\nlisten = \"{control}\"\nstate = \"state\"\n"));
        let mut command = self.network.command(env!("CARGO_BIN_EXE_squall"));
        command.arg("drill").arg(golden("redis-slow.toml")).arg("--config").arg(config);
        command.arg("--report").arg(self.room.path("report")).env("XDG_RUNTIME_DIR", self.room.directory());
        let drill = Running::start(&mut command);
        drill.wait_for("redis-slow-1 runs; seed 42");
        (drill, Client::new(control.parse().unwrap()))
    }

    /// `squall serve` with a proxy before the same Redis, and `squall start redis-slow.toml` on it.
    fn start(&self) -> (Serve, Running) {
        let serve = self.serve();
        let mut command = self.network.command(env!("CARGO_BIN_EXE_squall"));
        let control = format!("unix:{}", self.room.path("control").display());
        command.arg("start").arg(golden("redis-slow.toml")).args(["--control", &control]);
        let start = Running::start(&mut command);
        start.wait_for("redis-slow-1 runs; seed 42");
        (serve, start)
    }

    fn serve(&self) -> Serve {
        let squall = self.network.command(env!("CARGO_BIN_EXE_squall"));
        Serve::through(squall, &self.room, "127.0.0.1:26379", "127.0.0.1:6379")
    }

    /// What a second of PINGs on a port gives: round trips in seconds, and errors.
    fn pings(&self, port: u16) -> (Vec<f64>, usize) {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let result = python::client_by(|python| self.network.command(python), address, &["ping", "1"]);
        let pings = result["pings"].as_array().unwrap().iter().map(|ping| ping.as_f64().unwrap()).collect();
        (pings, result["errors"].as_array().unwrap().len())
    }

    #[track_caller]
    fn is_untouched(&self, port: u16) {
        let (mut pings, errors) = self.pings(port);
        pings.sort_by(f64::total_cmp);
        assert_eq!(errors, 0);
        assert!(pings.len() > 50 && pings[pings.len() / 2] < 0.010, "{} round trips, {pings:?}", pings.len());
    }

    /// Whether somebody listens on a port in here.
    fn listens(&self, port: u16) -> bool {
        let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        run_within(self.network.command("bash").args(["-c", &connect]), Duration::from_secs(20)).0 == 0
    }

    fn report(&self) -> (Value, String) {
        report(&self.room.path("report"))
    }
}

fn report(directory: &Path) -> (Value, String) {
    let json = serde_json::from_slice(&std::fs::read(directory.join("report.json")).unwrap()).unwrap();
    (json, std::fs::read_to_string(directory.join("report.md")).unwrap())
}

/// Waits until an experiment's own clock shows this many seconds.
#[track_caller]
fn at(client: &Client, seconds: f64) -> ExperimentView {
    wait::within(DRILL, &format!("second {seconds} of the drill"), || {
        let view = client.list().unwrap().into_iter().next()?;
        assert!(!view.state.is_over(), "it has ended: {view:?}");
        Some(view).filter(|view| view.elapsed >= seconds)
    })
}

/// The four figures of a report's first line.
#[track_caller]
fn figures(markdown: &str) -> [u64; 4] {
    let line = markdown.lines().next().unwrap();
    let mut figures = line.split(" / ").zip(["eligible ", "selected ", "injected ", "affected "]);
    let figures = std::array::from_fn(|_| {
        let (part, word) = figures.next().unwrap_or_else(|| panic!("{line}"));
        part.strip_prefix(word).unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    });
    assert!(figures[0] >= figures[1] && figures[1] >= figures[3] && figures[3] > 0, "{line}");
    figures
}

#[test]
fn the_first_drill_is_upheld() {
    let _turn = turn();
    let room = Room::new();
    let mut command = room.command(&["drill"]);
    command.arg(golden("first-drill.toml")).arg("--report").arg(room.path("report"));
    let (code, printed) = run_within(&mut command, DRILL);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("first-drill-1: upheld")), "{printed}");
    let (json, markdown) = report(&room.path("report"));
    figures(&markdown);
    assert_eq!(json["verdict"], "upheld");
    assert_eq!(json["seed"], 7);
    for word in ["late", "flaky", "p99", "error_rate", "recovery", "Timeline", "Forecast"] {
        assert!(markdown.contains(word), "{word} is missing:\n{markdown}");
    }
}

/// Each in a network of its own, all at once: together they take no longer than the first.
#[test]
fn redis_slow_ends_in_every_way() {
    let _turn = turn();
    let ways: [(&str, fn()); 5] = [
        ("its end", by_its_end),
        ("a guard", by_a_guard),
        ("an abort", by_an_abort),
        ("its lease", by_its_lease_when_its_starter_is_killed),
        ("a crash", by_a_crash_after_which_serve_comes_back_in_pass_through),
    ];
    let start = |(name, way): (&str, fn())| std::thread::Builder::new().name(name.into()).spawn(way).unwrap();
    let ended = ways.map(start).map(|thread| thread.join().is_ok());
    let failed: Vec<&str> = ways.iter().zip(ended).filter(|(_, well)| !well).map(|((name, _), _)| *name).collect();
    assert_eq!(failed, [""; 0], "each says why above");
}

fn by_its_end() {
    let field = Field::new();
    let (mut drill, client) = field.drill();
    let view = at(&client, 12.0);
    assert!(view.faults.iter().filter(|fault| fault.active).count() == 2, "{view:?}");
    assert_eq!(drill.code_within(DRILL), 0, "{}", drill.printed());
    let (json, markdown) = field.report();
    figures(&markdown);
    assert_eq!(json["verdict"], "upheld", "{markdown}");
    assert_eq!(json["state"], "completed");
    for fault in ["late-answers", "reset", "flapping"] {
        assert!(markdown.contains(fault), "{markdown}");
    }
    assert!(!field.listens(16379), "the proxy that it brought is gone");
}

fn by_a_guard() {
    let mut field = Field::new();
    let (mut drill, client) = field.drill();
    at(&client, 6.0);
    field.redis.kill();
    assert_eq!(drill.code_within(Duration::from_secs(25)), 1, "{}", drill.printed());
    let (json, markdown) = field.report();
    assert_eq!(json["verdict"], "refuted", "{markdown}");
    assert_eq!(json["state"], "stopped");
    assert!(markdown.contains("connections die"), "{markdown}");
}

fn by_an_abort() {
    let field = Field::new();
    let (mut drill, client) = field.drill();
    at(&client, 7.0);
    let abort = field.room.squall(&["abort", "--control", &client.place().to_string()]);
    abort.exits(0).says("redis-slow-1");
    assert_eq!(drill.code_within(Duration::from_secs(20)), 3, "{}", drill.printed());
    let (json, markdown) = field.report();
    assert_eq!(json["verdict"], "inconclusive", "{markdown}");
    assert_eq!(json["state"], "stopped");
    figures(&markdown);
    field.is_untouched(6379);
}

fn by_its_lease_when_its_starter_is_killed() {
    let field = Field::new();
    let (serve, mut start) = field.start();
    at(&serve.client, 6.0);
    let (late, _) = field.pings(16379);
    assert!(late.iter().filter(|ping| **ping > 0.05).count() >= 3, "{late:?}");
    start.kill();
    let view = serve.over("redis-slow-1");
    assert_eq!(view.state, State::Stopped);
    assert_eq!(view.verdict.map(|verdict| verdict.word()), Some("inconclusive"));
    assert!(view.reason.as_deref().unwrap_or_default().contains("lease"), "{view:?}");
    field.is_untouched(26379);
    assert!(!field.listens(16379), "the proxy that it brought is gone");
}

#[test]
fn a_lease_that_runs_out_leaves_a_configured_proxy_untouched() {
    let _turn = turn();
    let field = Field::new();
    let serve = field.serve();
    let latency = "name = \"slow\"\nmax_duration = \"50s\"\n[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"200ms\"\n";
    let file = field.room.file("slow.toml", &format!("{GOVERNED}{latency}"));
    let mut start = field.room.start(&["start", &file, "--control", &serve.control]);
    start.wait_for("slow-1 runs");
    // longer than the lease: the starter keeps it
    at(&serve.client, 2.5);
    let (late, errors) = field.pings(26379);
    assert!(errors == 0 && late.iter().all(|ping| *ping >= 0.2), "{late:?}");
    start.kill();
    let view = serve.over("slow-1");
    assert!(view.reason.as_deref().unwrap_or_default().contains("lease"), "{view:?}");
    field.is_untouched(26379);
}

fn by_a_crash_after_which_serve_comes_back_in_pass_through() {
    let field = Field::new();
    let (mut serve, mut start) = field.start();
    at(&serve.client, 6.0);
    serve.program.kill();
    assert_eq!(start.code_within(Duration::from_secs(20)), 4, "{}", start.printed());
    assert!(!field.listens(16379) && !field.listens(26379), "what it held open has ended with it");

    let serve = field.serve();
    field.is_untouched(26379);
    assert!(!field.listens(16379), "nothing of the run is resumed");
    assert!(serve.client.list().unwrap().iter().all(|view| view.state.is_over()));
    let run = serve.run("redis-slow-1");
    assert_eq!(run["over"], true, "{run}");
    assert_eq!(run["verdict"], "inconclusive");
    assert!(run["reason"].as_str().unwrap().contains("crash"), "{run}");
}
