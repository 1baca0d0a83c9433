//! `squall drill`, `squall start` and `squall inject`: verdicts and their exit codes.

use rustix::process::Signal;

use crate::support::{Room, echo, round_trip, turn};

/// A drill of some seconds around one fault and one expectation. None on recovery: another program on the machine may
/// make the baseline unreachable.
fn short(fault: &str, expect: &str) -> String {
    format!(
        r#"
name         = "short"
hypothesis   = "it answers"
seed         = 7
max_duration = "30s"

[[service]]
name    = "shop"
kind    = "http"
listen  = "127.0.0.1:0"
answers = {{ status = 200, size = "2KiB" }}

[[proxy]]
name     = "shop"
listen   = "127.0.0.1:0"
upstream = "service:shop"

[[workload]]
name    = "users"
target  = "proxy:shop"
kind    = "http"
rate    = 100
timeout = "2s"

[[fault]]
kind  = "latency"
proxy = "shop"
at    = "500ms"
for   = "1s"
{fault}

[[guard]]
metric = "error_rate"
above  = "50%"

[[expect]]
metric = "p99"
{expect}
"#
    )
}

#[test]
fn a_hypothesis_that_holds_is_upheld() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"600ms\"", "below = \"1500ms\""));
    let report = room.path("report");
    let ended = room.squall(&["drill", &file, "--report", report.to_str().unwrap()]).exits(0);
    ended.says("upheld").says("seed 7").says("control http://127.0.0.1:");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(report.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["verdict"], "upheld", "{json:#}");
    assert!(std::fs::read_to_string(report.join("report.md")).unwrap().contains("eligible"));
}

#[test]
fn json_alone_is_on_standard_output() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"600ms\"", "below = \"1500ms\""));
    let ended = room.squall(&["drill", &file, "--json"]).exits(0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ended.out).unwrap()["verdict"], "upheld");
}

#[test]
fn a_hypothesis_that_fails_is_refuted_with_1() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"600ms\"", "below = \"100ms\""));
    room.squall(&["drill", &file]).exits(1).says("refuted");
}

#[test]
fn a_drill_that_hits_nothing_is_invalid_with_3() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"50ms\"\nnth = 100000", "below = \"1500ms\""));
    room.squall(&["drill", &file]).exits(3).says("invalid");
}

#[test]
fn what_can_not_start_is_refused_with_2() {
    let room = Room::new();
    let file = room.file("a.toml", &short("dela = \"50ms\"", "below = \"1500ms\""));
    room.squall(&["drill", &file]).exits(2).says("delay");
    room.squall(&["drill", "tests/golden/squall.toml"]).exits(2).says("none of the files is a scenario");
    room.squall(&["drill", "tests/golden/checkout-brownout.toml"]).exits(2);
}

#[test]
fn a_control_port_out_of_reach_is_4() {
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"50ms\"", "below = \"1500ms\""));
    room.squall(&["drill", &file, "--control", "http://127.0.0.1:1"]).exits(4);
}

#[test]
fn ctrl_c_ends_a_drill_with_130() {
    let room = Room::new();
    let file = room
        .file("a.toml", &short("delay = \"600ms\"", "below = \"1500ms\"").replace("for   = \"1s\"", "for = \"15s\""));
    let drill = room.start(&["drill", &file]);
    drill.wait_for_words("opens");
    drill.signal(Signal::INT);
    drill.end().exits(130).says("inconclusive");
}

#[test]
fn a_drill_can_be_watched_and_aborted_from_outside() {
    let room = Room::new();
    let file = room
        .file("a.toml", &short("delay = \"600ms\"", "below = \"1500ms\"").replace("for   = \"1s\"", "for = \"15s\""));
    let drill = room.start(&["drill", &file]);
    drill.wait_for_words("opens");
    room.squall(&["list"]).exits(0).says("running");
    room.squall(&["abort", "short-1"]).exits(0).says("aborted short-1");
    drill.end().exits(3).says("inconclusive");
}

#[test]
fn a_running_squall_runs_a_scenario_to_its_verdict() {
    let _turn = turn();
    let room = Room::new();
    let _serve = room.serve(&["--control", "127.0.0.1:0"]);
    let file = room.file("a.toml", &short("delay = \"600ms\"", "below = \"1500ms\""));
    room.squall(&["start", &file]).exits(0).says("upheld");
    room.squall(&["list"]).exits(0).says("completed");
}

#[test]
fn an_injection_acts_and_can_be_aborted() {
    let (room, upstream) = (Room::new(), echo());
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let inject = ["inject", "default", "reset", "--for", "30s"];
    room.squall(&[&inject[..], &["--detach"]].concat()).exits(0);
    assert!(round_trip(&serve.proxy("default")).is_err(), "the connection was not reset");
    room.squall(&["abort"]).exits(0).says("aborted");
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
    let saved = room.path("saved.toml");
    room.squall(&[&inject[..], &["--save", saved.to_str().unwrap()]].concat()).exits(0);
    room.squall(&["check", saved.to_str().unwrap()]).exits(0);
}
