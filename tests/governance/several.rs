//! One experiment on several sidecars.

use super::support::scenario;
use crate::support::{Room, Running, echo, round_trip};

/// Two sidecars with a proxy `default` each, in rooms of their own.
fn two(upstream: &str) -> [(Room, Running); 2] {
    [0, 1].map(|_| {
        let room = Room::new();
        let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", upstream]);
        (room, serve)
    })
}

fn words<'a>(first: &[&'a str], controls: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(controls.iter().flat_map(|control| ["--control", control])).collect()
}

#[test]
fn all_are_armed_or_none_and_an_abort_goes_to_all() {
    let upstream = echo();
    let [(room, a), (_other, b)] = two(&upstream);
    let controls = [a.control(), b.control()];
    let resets = scenario("local", 100).replace("latency", "reset").replace("delay = \"20s\"\n", "");
    let file = room.file("slow.toml", &resets);
    let started = room.squall(&words(&["start", &file, "--detach", "--max", "60s"], &controls)).exits(0);
    assert_eq!(started.out.matches("slow-1 runs").count(), 2, "{}", started.out);
    started.says("percentages and counts are per sidecar");
    assert!([&a, &b].iter().all(|serve| round_trip(&serve.proxy("default")).is_err()), "both act");
    let status = room.squall(&words(&["status"], &controls)).exits(0).out;
    assert_eq!(status.matches("running").count(), 2, "{status}");
    let aborted = room.squall(&words(&["abort", "slow"], &controls)).exits(0);
    assert_eq!(aborted.out.matches("aborted slow-1").count(), 2, "{}", aborted.out);
    assert!([&a, &b].iter().all(|serve| round_trip(&serve.proxy("default")).unwrap() == "hello"));

    // one of them refuses: nothing acts on the other for a moment
    room.squall(&["proxy", "rm", "default", "--control", &b.control()]).exits(0);
    let refused = room.squall(&words(&["start", &file], &controls)).exits(2);
    refused.says(&format!("nothing was started: {}", b.control()));
    let events = room.squall(&["list", "--control", &a.control(), "--json"]).exits(0).out;
    assert!(!events.contains("\"running\""), "{events}");
    let view: serde_json::Value = serde_json::from_str(&events).unwrap();
    assert_eq!((&view[0]["id"], &view[0]["state"]), (&"slow-2".into(), &"cancelled".into()));

    // who does not confirm is named
    let mut b = b;
    b.kill();
    let aborted = room.squall(&words(&["abort"], &controls)).exits(4);
    aborted.says(&format!("{} did not confirm", controls[1])).says("nothing was running");
    room.squall(&words(&["status"], &controls)).exits(4).says("does not answer");
    room.squall(&words(&["list"], &controls)).exits(2).says("this takes one --control");
}

#[test]
fn there_is_one_verdict_and_one_report() {
    let upstream = echo();
    let [(room, a), (_other, b)] = two(&upstream);
    let controls = [a.control(), b.control()];
    let short = scenario("local", 100).replace("\"50s\"", "\"1s\"").replace("\"20s\"", "\"1ms\"");
    let file = room.file("short.toml", &short.replace("delay =", "min_hits = 0\ndelay ="));
    let run = room.squall(&words(&["start", &file], &controls)).exits(0);
    run.says("slow-1+slow-1: upheld");
    let report = room.squall(&words(&["report", "slow-1", "--json"], &controls)).exits(0).out;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["verdict"], report["sidecars"].as_array().map(Vec::len)), (&"upheld".into(), Some(2)));
    let text = room.squall(&words(&["report", "slow-1+slow-1"], &controls)).exits(0);
    text.says("percentages and counts are per sidecar").says(&format!("On {}", controls[1]));
    room.squall(&["report", "slow-1", "--control", &controls[0]]).exits(0).says("# slow-1: upheld");
}

#[test]
fn what_ends_one_ends_all() {
    let upstream = echo();
    let [(room, a), (_other, mut b)] = two(&upstream);
    let controls = [a.control(), b.control()];
    let file = room.file("slow.toml", &scenario("local", 100));
    let started = room.start(&words(&["start", &file], &controls));
    started.wait_for_words("percentages and counts are per sidecar");
    room.squall(&["abort", "--control", &controls[1]]).exits(0);
    started.wait_for_words("it is ended everywhere");
    started.end().exits(3);
    assert_eq!(round_trip(&a.proxy("default")).unwrap(), "hello");

    let started = room.start(&words(&["start", &file], &controls));
    started.wait_for_words("percentages and counts are per sidecar");
    b.kill();
    started.wait_for_words("has fallen silent");
    started.end().exits(4);
    assert_eq!(round_trip(&a.proxy("default")).unwrap(), "hello");
}
