//! One experiment of squall's: who may ask, what shows, what ends it.

use std::time::Duration;

use rustix::process::Signal;

use super::support::{Toxi, ask};
use crate::support::{End, Room, pattern, wait};

#[test]
fn an_abort_lifts_all_toxics_and_enables_nothing() {
    let toxi = Toxi::with(&["-proxy-metrics", "-runtime-metrics"]);
    let proxy = toxi.proxy("p");
    toxi.proxy("off");
    toxi.post("/proxies/off", r#"{"enabled":false}"#);
    toxi.toxic("p", r#""type":"latency","attributes":{"latency":60000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"held");
    client.hears_nothing_for(50);
    let squall = |words: &[&str]| toxi.room.squall(&[words, &["--control", &toxi.control]].concat()).exits(0).out;
    let status = squall(&["status"]);
    assert!(status.contains("toxiproxy") && status.contains("latency_downstream"), "{status}");
    squall(&["abort"]);
    assert_eq!(client.hear(4), b"held");
    assert_eq!(toxi.get("/proxies/p")["toxics"], serde_json::json!([]));
    assert_eq!(toxi.get("/proxies/off")["enabled"], false);
    // and it goes on: a new toxic begins a new run
    toxi.toxic("p", r#""type":"limit_data","attributes":{"bytes":1}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"ab");
    assert_eq!(client.rest(), (b"a".to_vec(), End::Fin));
    let metrics = toxi.ask("GET", "/metrics", "").is(200).body;
    let line = metrics.lines().find(|line| {
        line.starts_with("toxiproxy_proxy_sent_bytes_total{direction=\"downstream\"") && line.contains("proxy=\"p\"")
    });
    assert!(line.is_some_and(|line| line.ends_with(" 5")), "{metrics}");
    assert!(metrics.contains("toxiproxy_proxy_received_bytes_total{direction=\"upstream\""), "{metrics}");
    assert!(metrics.contains("process_open_fds"), "{metrics}");
}

#[test]
fn a_lease_lifts_what_nobody_asks_for_any_more() {
    let toxi = Toxi::with(&["--lease=500ms"]);
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""type":"latency","attributes":{"latency":60000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"held");
    assert_eq!(client.hear(4), b"held", "let go when the lease ran out");
    assert_eq!(toxi.get("/proxies/p")["toxics"], serde_json::json!([]));
}

#[test]
fn toxics_are_in_status_ledger_report_and_metrics() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"cut","type":"limit_data","attributes":{"bytes":3}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(&pattern(10));
    assert_eq!(client.rest(), (pattern(3), End::Fin));
    let squall = |words: &[&str]| toxi.room.squall(&[words, &["--control", &toxi.control]].concat()).exits(0).out;
    let status = squall(&["status"]);
    assert!(status.contains("toxiproxy-1") && status.contains("p/cut"), "{status}");
    let place = toxi.control.strip_prefix("http://").unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    let metrics = ask(place.parse().unwrap(), request.as_bytes()).is(200).body;
    let injected =
        metrics.lines().find(|line| line.starts_with("squall_fault_injected_total") && line.contains("p/cut"));
    assert!(injected.is_some_and(|line| line.contains("toxiproxy-1") && line.ends_with(" 1")), "{metrics}");
    squall(&["abort"]);
    let state = format!("squall/state-{}/runs/toxiproxy-1/ledger.jsonl", toxi.program.pid().as_raw_pid());
    let line = wait::until("the ledger's line", || {
        let ledger = std::fs::read_to_string(toxi.room.path(&state)).ok()?;
        ledger.lines().find(|line| line.contains("p/cut")).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["fault"], &line["proxy"]), (&"p/cut".into(), &"p".into()), "{line}");
}

#[test]
fn elsewhere_than_on_loopback_it_has_to_be_opened() {
    let room = Room::new();
    let config = |open: &str| room.file("squall.toml", &format!("[control]\nlisten = \"127.0.0.1:0\"\n{open}"));
    let closed = config("toxiproxy = \"0.0.0.0:0\"\n");
    room.squall(&["serve", "--config", &closed]).exits(2).says("toxiproxy_open = true");
    room.squall(&["serve", "--toxiproxy", "0.0.0.0:0"]).exits(2).says("toxiproxy_open = true");
    let open = config("toxiproxy = \"0.0.0.0:0\"\ntoxiproxy_open = true\n");
    room.serve(&["--config", &open]).wait_for("toxiproxy http://");
    let flag = config("toxiproxy_open = true\n");
    room.serve(&["--config", &flag, "--toxiproxy", "0.0.0.0:0"]).wait_for("toxiproxy http://");
    // the command opens it by itself, and says so once
    let toxi = Toxi::with(&["-host=0.0.0.0"]);
    assert_eq!(toxi.program.printed().matches("warning:").count(), 1, "{}", toxi.program.printed());
}

#[test]
fn an_environment_that_allows_no_experiment_allows_no_toxic() {
    let room = Room::new();
    let config = "environment = \"production\"\n[control]\nlisten = \"127.0.0.1:0\"\n";
    let program = room.serve(&["--config", &room.file("squall.toml", config), "--toxiproxy", "127.0.0.1:0"]);
    let address = program.wait_for("toxiproxy http://").parse().unwrap();
    let toxi = Toxi { program, address, ..Toxi::new() };
    toxi.proxy("p");
    let refused = toxi.ask("POST", "/proxies/p/toxics", r#"{"type":"latency"}"#).is(503);
    assert!(refused.json()["error"].as_str().is_some_and(|why| why.contains("production")), "{refused:#?}");
    assert_eq!(toxi.get("/proxies/p/toxics"), serde_json::json!([]));
    assert_eq!(toxi.get("/proxies/p")["enabled"], true);
}

#[test]
fn with_the_lever_engaged_toxics_are_lifted_and_new_ones_refused() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    let late = r#"{"type":"latency","attributes":{"latency":600000}}"#;
    toxi.ask("POST", "/proxies/p/toxics", late).is(200);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"held");
    client.hears_nothing_for(50);
    let squall = |words: &[&str]| toxi.room.squall(&[words, &["--control", &toxi.control]].concat()).exits(0).out;
    squall(&["lever", "engage", "--reason", "sale begins at noon"]);
    assert_eq!(client.hear(4), b"held");
    let refused = toxi.ask("POST", "/proxies/p/toxics", late).is(503);
    assert!(refused.json()["error"].as_str().is_some_and(|why| why.contains("sale begins at noon")), "{refused:#?}");
    assert_eq!(toxi.get("/proxies/p")["toxics"], serde_json::json!([]));
    // proxies are no experiment
    toxi.ask("POST", "/proxies/p", r#"{"enabled":false}"#).is(200);
    toxi.ask("POST", "/reset", "").is(204);
    squall(&["lever", "release"]);
    toxi.ask("POST", "/proxies/p/toxics", late).is(200);
}

/// As whoever has started the original by this name expects.
#[test]
fn the_first_signal_ends_it_at_once_with_what_was_held_delivered() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut toxi = Toxi::new();
        let proxy = toxi.proxy("p");
        toxi.toxic("p", r#""type":"latency","attributes":{"latency":600000}"#);
        let (mut client, mut server) = toxi.line(proxy);
        server.say(b"held");
        client.hears_nothing_for(50);
        toxi.program.signal(signal);
        assert_eq!(client.hear(4), b"held");
        // connections that are still open keep nobody waiting
        assert_eq!(toxi.program.code_within(Duration::from_secs(8)), 0);
    }
}
