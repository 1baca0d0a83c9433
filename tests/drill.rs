//! `squall drill`, `squall start` and `squall inject`: verdicts and their exit codes.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::programs::{installed, run};
use crate::support::{GOVERNED, Room, echo, round_trip, turn};

/// A drill of some seconds around one fault and one expectation. None on recovery: another program on the machine may
/// make the baseline unreachable.
fn short(fault: &str, expect: &str) -> String {
    format!(
        r#"
name         = "short"
hypothesis   = "it answers"
owner        = "tests"
environments = ["local", "test"]
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
    let json: Value = serde_json::from_str(&std::fs::read_to_string(report.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["verdict"], "upheld", "{json:#}");
    assert!(std::fs::read_to_string(report.join("report.md")).unwrap().contains("eligible"));
}

#[test]
fn who_is_refused_by_a_listener_that_is_down_has_met_no_real_failure() {
    let _turn = turn();
    let room = Room::new();
    let text = short("", "below = \"60s\"").replace("kind  = \"latency\"", "kind  = \"down\"");
    let report = room.path("report");
    room.squall(&["drill", &room.file("a.toml", &text), "--report", report.to_str().unwrap()]);
    let json: Value = serde_json::from_str(&std::fs::read_to_string(report.join("report.json")).unwrap()).unwrap();
    let load = &json["workloads"][0];
    assert!(load["failed_injected"].as_u64().unwrap() >= 20 && load["failed"] == 0, "{load:#}");
    assert!(load["reasons"]["injected: refused"].as_u64().unwrap() >= 20, "{load:#}");
}

#[test]
fn json_alone_is_on_standard_output() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"600ms\"", "below = \"1500ms\""));
    let ended = room.squall(&["drill", &file, "--json"]).exits(0);
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap()["verdict"], "upheld");
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

/// A scenario with a step in its fault's window.
fn with_step(within: &str) -> String {
    let step =
        format!("[[step]]\nname = \"fail over\"\nat = \"1s\"\nmanual = \"move the traffic\"\nwithin = \"{within}\"\n");
    format!("{}{step}", short("delay = \"600ms\"", "below = \"1500ms\"").replace("\"30s\"", "\"5m\""))
}

fn report(directory: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(directory.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_drill_waits_for_people_and_goes_on_when_the_step_is_marked() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &with_step("4m"));
    let directory = room.path("report");
    let drill = room.start(&["drill", &file, "--report", directory.to_str().unwrap()]);
    drill.wait_for_words(">>> fail over: move the traffic");
    drill.wait_for_words("run `squall mark step` when it is done");
    room.squall(&["status"]).exits(0).says("waits for step `fail over`");
    room.squall(&["mark", "detected", "alert fired", "--by", "ann"]).exits(0).says("after the first fault opened");
    room.squall(&["mark", "short-1", "detected"]).exits(0).says("as a note: the first one counts");
    room.squall(&["mark", "short-1", "step", "fail up"]).exits(2).says("waits for step `fail over`, not for `fail up`");
    room.squall(&["mark", "note", "we call bob"]).exits(0);
    room.squall(&["mark", "step", "fail over", "--text", "moved to b", "--by", "ann"]).exits(0);
    drill.wait_for_words("step `fail over` marked after");
    room.squall(&["mark", "mitigated"]).exits(0);
    drill.end().exits(0).says("upheld");
    room.squall(&["mark", "short-1", "note", "too late"]).exits(4); // the drill's control port is gone with it
    let people = &report(&directory)["people"];
    let (detect, mitigate) =
        (people["time_to_detect_s"].as_f64().unwrap(), people["time_to_mitigate_s"].as_f64().unwrap());
    assert!(detect >= 0.5 && mitigate > detect, "{people:#}");
    let step = &people["steps"][0];
    assert_eq!((&step["by"], &step["text"]), (&"ann".into(), &"moved to b".into()), "{people:#}");
    assert!(std::fs::read_to_string(directory.join("report.md")).unwrap().contains("we call bob"));
}

#[test]
fn a_drill_that_nobody_attends_goes_on_by_itself() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &with_step("700ms"));
    let directory = room.path("report");
    room.squall(&["drill", &file, "--report", directory.to_str().unwrap()]).exits(0).says("not marked within 0.7 s");
    let report = report(&directory);
    assert_eq!(report["people"]["steps"][0]["took_s"], Value::Null);
    assert!(report["waited_s"].as_f64().unwrap() >= 0.7, "{report:#}");
    room.squall(&["plan", &file]).exits(0).says("step \"fail over\" waits up to 700ms");
}

#[test]
fn the_shipped_drill_on_http_fails_calls_in_three_ways() {
    let _turn = turn();
    let room = Room::new();
    let report = room.path("report").display().to_string();
    let ended = room.squall(&["drill", "scenarios/http-drill.toml", "--report", &report]);
    // on a machine that is busy with something else its delays may be off, and it says so
    let is_late = ended.code == Some(3) && ended.out.contains("of its delays were off");
    assert!(is_late || ended.code == Some(0) && ended.out.contains("http-drill-1: upheld"), "{ended:?}");
    let report = std::fs::read_to_string(std::path::Path::new(&report).join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    for fault in report["faults"].as_array().unwrap() {
        let of = |count: &str| fault["tally"][count].as_u64().unwrap();
        assert!(of("injected") > 0 && of("selected") < of("eligible") / 2, "{fault}");
    }
}

#[test]
fn the_shipped_drill_for_people_runs_without_them() {
    let _turn = turn();
    let room = Room::new();
    let ended = room.squall(&["drill", "scenarios/failover-drill.toml", "--set", "patience=600ms"]).exits(0);
    ended.says("must hold before anything is injected").says("step `notice` not marked within 0.6 s").says("upheld");
}

/// Runs a drill on a terminal and presses Enter once it asks for it.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen, pressed = b"", False
while True:
    try:
        got = os.read(terminal, 4096)
    except OSError:
        break
    if not got:
        break
    seen += got
    if not pressed and b"press Enter" in seen:
        pressed = True
        os.write(terminal, b"moved to b\n")
sys.stdout.write(seen.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn on_a_terminal_enter_marks_the_step() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &with_step("4m"));
    let directory = room.path("report");
    let words = ["drill", &file, "--report", directory.to_str().unwrap()];
    let squall = room.command(&words);
    let mut python = std::process::Command::new(installed("python3"));
    python.args(["-c", ON_A_TERMINAL]).arg(squall.get_program()).args(squall.get_args());
    python.envs(squall.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut python);
    assert_eq!(report(&directory)["people"]["steps"][0]["text"], "moved to b");
}

#[test]
fn what_is_not_steady_before_keeps_a_drill_from_injecting_anything() {
    let room = Room::new();
    let before = "[[before]]\nmetric = \"p99\"\nbelow = \"1us\"\nfor = \"1s\"\n";
    let text = format!("{}{before}", short("delay = \"600ms\"", "below = \"1500ms\""));
    let file = room.file("a.toml", &text);
    let directory = room.path("report");
    let ended = room.squall(&["drill", &file, "--report", directory.to_str().unwrap()]).exits(3);
    ended.says("inconclusive").says("steady state did not hold before anything was injected: p99 was");
    let report = report(&directory);
    assert_eq!((&report["state"], &report["summary"]["eligible"]), (&"cancelled".into(), &0.into()));
    let file = room.file("a.toml", &text.replace("1us", "1400ms"));
    let _turn = turn();
    room.squall(&["drill", &file]).exits(0).says("upheld");
}

#[test]
fn a_probe_that_fails_at_the_start_is_no_steady_state_either() {
    let room = Room::new();
    let probe = "[[probe]]\nname = \"up\"\nmode = \"start\"\ntcp = { address = \"127.0.0.1:1\" }\n";
    let file = room.file("a.toml", &format!("{}{probe}", short("delay = \"600ms\"", "below = \"1500ms\"")));
    room.squall(&["drill", &file]).exits(3).says("steady state did not hold").says("probe `up` failed");
}

#[test]
fn an_observed_drill_injects_nothing_and_says_what_it_would_have() {
    let _turn = turn();
    let room = Room::new();
    let file = room.file("a.toml", &short("delay = \"25s\"", "below = \"1500ms\""));
    let directory = room.path("report");
    let ended = room.squall(&["drill", &file, "--observe", "--report", directory.to_str().unwrap()]).exits(0);
    ended.says("only observes, nothing is injected").says("observed: nothing was injected").says("would have had");
    let report = report(&directory);
    assert_eq!((&report["observed"], &report["verdict"]), (&true.into(), &"inconclusive".into()));
    assert!(report["summary"]["injected"].as_u64().unwrap() > 20, "{report:#}");
    let load = &report["workloads"][0];
    assert!(load["failed"] == 0 && load["latency_us"]["p99"].as_u64().unwrap() < 2_000_000, "{load:#}");
}

/// A drill on datagrams, with these faults.
fn calls(faults: &str) -> String {
    let fault = |fault: &str| format!("[[fault]]\nproxy = \"calls\"\nat = \"500ms\"\nfor = \"2s\"\n{fault}\n");
    let faults: String = faults.split("---").map(fault).collect();
    format!(
        "{GOVERNED}name = \"calls\"\nmax_duration = \"90s\"\nseed = 7\n[[service]]\nname = \"peer\"\nkind = \"udp-echo\"\n[[proxy]]\nname = \"calls\"\n\
         protocol = \"udp\"\nlisten = \"127.0.0.1:0\"\nupstream = \"service:peer\"\n[[workload]]\nname = \"calls\"\n\
         target = \"proxy:calls\"\nkind = \"udp\"\nrate = 200\ntimeout = \"2s\"\nconnections = 4\n{faults}\
         [[expect]]\nmetric = \"throughput\"\nabove = 20\n"
    )
}

#[test]
fn a_drill_counts_what_became_of_datagrams() {
    let _turn = turn();
    let room = Room::new();
    let faults = "kind = \"duplicate\"\nshare = \"50%\"---kind = \"truncate\"\nshare = \"20%\"\nto = \"20B\"---\
                  kind = \"latency\"\ndelay = \"60ms\"\njitter = \"50ms\"\ndirection = \"upstream\"\norder = \"free\"";
    let directory = room.path("report");
    let file = room.file("a.toml", &calls(faults));
    room.squall(&["drill", &file, "--report", directory.to_str().unwrap()]).exits(0).says("upheld");
    let report = report(&directory);
    let load = &report["workloads"][0];
    let of = |what: &str| load["datagrams"][what].as_u64().unwrap();
    assert!(of("duplicated") > 100 && of("corrupted") > 30 && of("reordered") > 30, "{load:#}");
    assert_eq!((of("lost"), of("late"), load["failed_injected"].as_u64()), (0, 0, Some(0)), "{load:#}");
    assert_eq!(load["reasons"]["answer differs"], load["failed"], "{load:#}");
    assert!(std::fs::read_to_string(directory.join("report.md")).unwrap().contains("| datagrams of |"));
}

#[test]
fn a_guard_ends_a_drill_that_loses_too_many_datagrams() {
    let _turn = turn();
    let room = Room::new();
    let guard = "[[guard]]\nname = \"too many\"\nmetric = \"error_rate\"\nabove = \"20%\"\nover = \"1s\"\n";
    let (others, _) = GOVERNED.split_once("guard").unwrap();
    let text =
        calls("kind = \"loss\"\nshare = \"60%\"").replace(GOVERNED, others).replace("for = \"2s\"", "for = \"60s\"");
    let file = room.file("a.toml", &format!("{}{guard}", text.replace("timeout = \"2s\"", "timeout = \"300ms\"")));
    room.squall(&["drill", &file]).says("too many").exits(1);
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

#[test]
fn requests_in_a_file_are_sent_by_a_drill_and_by_a_running_squall() {
    let _turn = turn();
    let room = Room::new();
    let serve = room.serve(&["--control", "127.0.0.1:0"]);
    room.file(
        "shop.requests.toml",
        "[[request]]\nname = \"browse\"\nweight = 3\npath = \"/items/{n}\"\n[[request]]\nmethod = \"POST\"\npath = \"/orders\"\n",
    );
    let text = "name = \"shop\"\nseed = 1\n[[service]]\nname = \"shop\"\nkind = \"http\"\n[[proxy]]\nname = \"shop\"\n\
                listen = \"127.0.0.1:0\"\nupstream = \"service:shop\"\n[[workload]]\nname = \"load\"\nkind = \"http\"\n\
                target = \"proxy:shop\"\nrate = 100\nrequests = \"shop.requests.toml\"\n[[fault]]\nkind = \"latency\"\n\
                proxy = \"shop\"\ndelay = \"1ms\"\nfor = \"1s\"\n[[expect]]\nmetric = \"recovery\"\nbelow = \"100ms\"\n";
    let file = room.file("shop.toml", &format!("{GOVERNED}max_duration = \"60s\"\n{text}"));
    let drilled = room.squall(&["drill", &file, "--json"]);
    let report: Value = serde_json::from_str(&drilled.out).unwrap_or_else(|_| panic!("{drilled:?}"));
    let requests = report["workloads"][0]["requests"].as_array().unwrap();
    assert_eq!((&requests[0]["name"], &requests[1]["name"]), (&"browse".into(), &"POST /orders".into()));
    let count = |request: &Value| request["count"].as_u64().unwrap();
    assert!(count(&requests[0]) > count(&requests[1]) && count(&requests[1]) > 0, "{requests:?}");

    let control = serve.control();
    let elsewhere = room.squall(&["drill", &file, "--json", "--control", &control]);
    let other: Value = serde_json::from_str(&elsewhere.out).unwrap_or_else(|_| panic!("{elsewhere:?}"));
    assert_eq!(other["digest"], report["digest"]);
    let config = room.file("squall.toml", "[safety]\nmax_percentage = 5\n");
    let both = room.squall(&["drill", &file, "--config", &config, "--control", &control]);
    both.exits(2).says("--config is for a drill in this process");
}
