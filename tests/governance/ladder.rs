//! An exposure ladder on a real sidecar: it climbs, a guard takes it down, and all of that can be seen.

use std::fs;

use serde_json::Value;

use crate::audit::log::records;
use crate::support::{Room, echo, turn, wait};

/// One connection in a hundred thousand on the first step, all on the second, 200 ms late; the guard sees that.
const LADDER: &str = r#"
name = "climb"
owner = "team"
hypothesis = "nobody minds"
environments = ["local"]
max_duration = "60s"
[[service]]
name = "shop"
kind = "http"
listen = "127.0.0.1:0"
answers = { status = 200, size = "1KiB" }
[[proxy]]
name = "shop"
listen = "127.0.0.1:0"
upstream = "service:shop"
[[workload]]
name = "load"
target = "proxy:shop"
kind = "http"
rate = 100
timeout = "5s"
[[fault]]
name = "slow"
kind = "latency"
proxy = "shop"
delay = "200ms"
percentage = { steps = [0.001, 100], hold = "1s", min_events = 30 }
for = "12s"
[[guard]]
name = "too late"
metric = "p50"
above = "100ms"
over = "1s"
action = "step_down"
[[expect]]
metric = "recovery"
below = "2s"
"#;

#[test]
fn a_ladder_climbs_is_taken_down_by_a_guard_and_climbs_again() {
    let _turn = turn();
    let room = Room::new();
    let config = format!(
        "[control]\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\n[[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{}\"\n",
        echo()
    );
    let serve = room.serve(&["--config", &room.file("squall.toml", &config)]);
    let control = serve.control();
    let file = room.file("climb.toml", LADDER);
    room.squall(&["start", &file, "--detach", "--max", "60s", "--control", &control]).exits(0);
    wait::until("the second step", || {
        let status = room.squall(&["status", "--control", &control]).exits(0);
        status.out.contains("(ladder: 100 %, step 2 of 2)").then_some(())
    });
    let report = || fs::read_to_string(room.path("state/runs/climb-1/report.json")).ok();
    let report: Value = serde_json::from_str(&wait::until("the report", report)).unwrap();
    let steps: Vec<u64> =
        report["faults"][0]["ladder"].as_array().unwrap().iter().map(|rung| rung["step"].as_u64().unwrap()).collect();
    assert!(steps.starts_with(&[1, 2, 1, 2]), "{steps:?}");
    let of = |step: usize| report["faults"][0]["ladder"][step]["at"].as_f64().unwrap();
    assert!(of(1) >= 1.0 && of(3) >= of(2) + 1.0, "held at least: {report}");
    assert!(report["faults"][0]["tally"]["injected"].as_u64().unwrap() > 0);
    let logged = records(&room.path("state/audit.log"));
    let told = logged.iter().filter(|record| record.action == "ladder").filter_map(|record| record.reason.as_deref());
    let told: Vec<&str> = told.collect();
    assert!(
        told[0].contains("goes up to step 2 of 2 (100 %)") && told[1].contains("goes down to step 1 of 2"),
        "{told:?}"
    );
    assert!(told[1].contains("guard `too late`: p50 is"), "{told:?}");
}

#[test]
fn step_down_without_a_ladder_is_refused_with_place_and_fix() {
    let room = Room::new();
    let flat = LADDER.replace("{ steps = [0.001, 100], hold = \"1s\", min_events = 30 }", "50");
    let file = room.file("flat.toml", &flat);
    let refused = room.squall(&["check", &file]).exits(2);
    refused.says("`step_down` has no ladder to go down").says("flat.toml:").says("or use `abort`");
    let misplaced = LADDER.replace("delay = \"200ms\"", "delay = { steps = [\"1ms\"], hold = \"1s\", min_events = 3 }");
    room.squall(&["check", &room.file("misplaced.toml", &misplaced)])
        .exits(2)
        .says("`min_events` goes with the steps of a `percentage`");
}
