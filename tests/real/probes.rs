//! Probes of real programs: Redis, PostgreSQL, Prometheus, Alertmanager.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::postgres::Postgres;
use crate::support::programs::{installed, run};
use crate::support::prometheus::Watchers;
use crate::support::redis::Redis;
use crate::support::{Ended, GOVERNED, Room, Serve, wait};

/// A drill of a second with this probe at its start; a variable holds the password.
fn drill(room: &Room, probe: &str, password: &str) -> Ended {
    let text = format!(
        "{GOVERNED}name = \"probed\"\nmax_duration = \"60s\"\nseed = 1\n[[service]]\nname = \"shop\"\nkind = \"echo\"\n\
         [[proxy]]\nname = \"shop\"\nlisten = \"127.0.0.1:0\"\nupstream = \"service:shop\"\n\
         [[workload]]\nname = \"load\"\nkind = \"tcp\"\ntarget = \"proxy:shop\"\nrate = 50\nsend = \"a\"\nexpect = \"a\"\n\
         [[fault]]\nkind = \"latency\"\nproxy = \"shop\"\ndelay = \"1ms\"\nfor = \"200ms\"\n\
         [[expect]]\nmetric = \"recovery\"\nbelow = \"100ms\"\n\
         [[probe]]\nname = \"p\"\nmode = \"start\"\n{probe}\n"
    );
    let file = room.file("probed.toml", &text);
    let mut command = room.command(&["drill", &file]);
    Ended::of(&command.env("SQUALL_PASSWORD", password).output().unwrap())
}

/// It began, because the probe passed.
#[track_caller]
fn passes(ended: Ended) {
    assert!(!ended.err.contains("steady state did not hold"), "{ended:#?}");
    ended.says("running");
}

/// It never began, and says why; the password is nowhere.
#[track_caller]
fn fails(ended: Ended, why: &str) {
    let ended =
        ended.exits(3).says("steady state did not hold before anything was injected: probe `p` failed").says(why);
    assert!(!ended.err.contains("sesame") && !ended.out.contains("sesame"), "{ended:#?}");
}

#[test]
fn redis_is_asked_with_and_without_a_password() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let probe = |rest: &str| format!("redis = {{ address = \"{}\"{rest} }}", redis.address);
    passes(drill(&room, &probe(", expect = \"PONG\""), ""));
    passes(drill(&room, &probe(", command = [\"INFO\", \"replication\"], expect = \"role:master\""), ""));
    fails(drill(&room, &probe(", command = [\"LLEN\", \"queue\"], expect = \"1\""), ""), "replied \"0\"");
    fails(drill(&room, &probe(", command = [\"FROB\"]"), ""), "unknown command");

    let cli = |words: &[&str]| {
        let port = redis.address.port().to_string();
        run(Command::new(installed("redis-cli")).args(["-p", &port]).args(words))
    };
    cli(&["ACL", "SETUSER", "prober", "on", ">open sesame", "+ping"]);
    cli(&["CONFIG", "SET", "requirepass", "sesame"]);
    let own = ", user = \"prober\", password_env = \"SQUALL_PASSWORD\", expect = \"PONG\"";
    passes(drill(&room, &probe(own), "open sesame"));
    passes(drill(&room, &probe(", password_env = \"SQUALL_PASSWORD\", expect = \"PONG\""), "sesame"));
    fails(drill(&room, &probe(own), "not sesame"), "AUTH: WRONGPASS");
    fails(drill(&room, &probe(""), ""), "NOAUTH");
}

#[test]
fn postgres_is_asked_by_every_way_of_authentication() {
    let room = Room::new();
    let postgres = Postgres::start(&room);
    let probe = |rest: &str| format!("postgres = {{ address = \"{}\"{rest} }}", postgres.address);
    passes(drill(&room, &probe(", expect = \"1\""), ""));
    let url = format!(
        "postgres = {{ url = \"postgres://postgres@{}/postgres\", query = \"select 'a' || null\" }}",
        postgres.address
    );
    passes(drill(&room, &url, ""));
    fails(drill(&room, &probe(", query = \"select 10\", expect = \"1\""), ""), "the answer was \"10\", not \"1\"");
    fails(drill(&room, &probe(", query = \"select 1 where false\", expect = \"1\""), ""), "no row came back");
    fails(drill(&room, &probe(", query = \"selekt 1\""), ""), "syntax error");
    fails(drill(&room, &probe(", database = \"nowhere\""), ""), "does not exist");

    let ways = [("scram-sha-256", "scram-sha-256"), ("md5", "md5"), ("scram-sha-256", "password")];
    for (kept, way) in ways {
        postgres.ask(&format!("set password_encryption = '{kept}'; drop role if exists prober; create role prober login password 'open sesame'"));
        postgres.lets_in("prober", way);
        let own =
            probe(", user = \"prober\", database = \"postgres\", password_env = \"SQUALL_PASSWORD\", expect = \"1\"");
        passes(drill(&room, &own, "open sesame"));
        fails(drill(&room, &own, "not sesame"), "password authentication failed");
    }
    fails(drill(&room, &probe(", user = \"prober\", database = \"postgres\""), ""), "asks for a password");
}

/// Echoes over a proxy for as long as the test lasts.
struct Traffic(Arc<AtomicBool>);

impl Traffic {
    fn start(serve: &Serve) -> Traffic {
        let (going, address) = (Arc::new(AtomicBool::new(true)), serve.address);
        let goes = going.clone();
        std::thread::spawn(move || {
            while goes.load(Ordering::Relaxed) {
                if let Ok(mut stream) = TcpStream::connect(address) {
                    let _ = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut [0; 7]));
                }
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        });
        Traffic(going)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn prometheus_and_alertmanager_are_asked_about_a_fault_that_squall_itself_tells_them() {
    let room = Room::new();
    let redis = Redis::start(&room);
    let serve = Serve::with(
        room.command::<&str>(&[]),
        &room,
        "\n[metrics]\nlisten = \"127.0.0.1:0\"",
        &format!("listen = \"127.0.0.1:0\"\nupstream = \"{}\"", redis.address),
    );
    let metrics = serve.program.wait_for("metrics ");
    let rules = "  - alert: DelaysInjected\n    expr: increase(squall_fault_injected_total{fault=\"late\"}[15s]) > 0\n    \
                 labels: { severity: page }\n  - alert: NeverFires\n    expr: vector(1) > 2\n";
    let watchers = Watchers::start(&room, metrics.trim_start_matches("http://"), rules);
    let (prometheus, alertmanager) = (&watchers.prometheus, &watchers.alertmanager);
    let _traffic = Traffic::start(&serve);

    // the figures are there before anything is asked about them
    let accepted = "squall_proxy_connections_total{proxy=\\\"default\\\"}";
    let probes = |name: &str, fault: &str, probes: &str| {
        format!(
            "{GOVERNED}name = \"{name}\"\nseed = 1\nmax_duration = \"60s\"\n[[fault]]\nkind = \"latency\"\nproxy = \"default\"\n{fault}\n{probes}"
        )
    };
    let start = |text: &str| {
        let id = serve.client.submit(text, squall_control::app::Format::Toml, &[]).unwrap().id;
        serve.client.start(&id, Some("60s")).map(|_| id)
    };
    let brief =
        "name = \"nothing\"\ndelay = \"1ms\"\nfor = \"100ms\"\n[[expect]]\nmetric = \"recovery\"\nbelow = \"100ms\"";
    wait::until("Prometheus to have scraped", || {
        let probe = format!(
            "[[probe]]\nname = \"up\"\nmode = \"start\"\nprometheus = {{ url = \"{prometheus}\", query = \"{accepted}\", above = 0 }}"
        );
        let view = serve.over(&start(&probes("scraped", brief, &probe)).unwrap());
        (!format!("{:?}", view.reason).contains("probe `up` failed")).then_some(())
    });

    let late = "name = \"late\"\ndelay = \"20ms\"\nat = \"1s\"\nfor = \"25s\"";
    let all = format!(
        "[[probe]]\nname = \"serves\"\nmode = \"during\"\nprometheus = {{ url = \"{prometheus}\", query = \"{accepted}\", above = 0 }}\n\
         [[probe]]\nname = \"no data\"\nmode = \"end\"\nprometheus = {{ url = \"{prometheus}/\", query = \"squall_no_such_figure\", below = 1 }}\n\
         [[probe]]\nname = \"pages\"\nalertmanager = {{ url = \"{alertmanager}\", alert = \"DelaysInjected\", labels = {{ severity = \"page\" }}, within = \"25s\" }}\n\
         [[probe]]\nname = \"nobody else is paged\"\nalertmanager = {{ url = \"{alertmanager}\", alert = \"NeverFires\", absent = true }}\n\
         [[probe]]\nname = \"never\"\nalertmanager = {{ url = \"{alertmanager}\", alert = \"NeverFires\", within = \"3s\" }}\n"
    );
    let id = start(&probes("watched", late, &all)).unwrap();
    let view = wait::within(std::time::Duration::from_secs(90), "the end of the run", || {
        Some(serve.client.view(&id).unwrap()).filter(|view| view.state.is_over())
    });
    let report = serve.client.report(&id).unwrap();
    let probe = |name: &str| -> Value {
        let found = report["probes"].as_array().unwrap().iter().find(|probe| probe["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {view:?}")).clone()
    };
    for name in ["serves", "pages", "nobody else is paged"] {
        assert_eq!(probe(name)["outcome"], "passed", "{}", probe(name));
    }
    assert!(probe("serves")["runs"].as_u64() > Some(5));
    let why = |name: &str| probe(name)["first_failure"].as_str().unwrap_or_default().to_owned();
    assert_eq!(why("no data"), "no data: the query found nothing");
    assert_eq!(why("never"), "the alert NeverFires does not fire, 3s after the first fault opened");
    // a busy machine makes the delays late, and the run invalid: that comes before what the probes say
    assert_ne!(report["verdict"], "upheld");
}
