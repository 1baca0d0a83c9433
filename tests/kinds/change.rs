//! Faults that are changed while they run: on live connections, keeping what they have counted, or not at all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Room, Serve, Stage, echo, round_trip};

#[test]
fn what_is_held_is_asked_about_anew_and_counts_go_on() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("name = 'lag'\nkind = 'latency'\ndirection = 'upstream'\ndelay = '50ms'").has_met(1);
    line.client.say(b"soon");
    assert_eq!(line.server.hear(4), b"soon");
    line.server.say(b"!"); // what the client says next is another turn, with a delay of its own
    assert_eq!(line.client.hear(1), b"!");
    let id = trial.view().id;
    let said = stage.squall(&["change", &id, "lag", "delay=10m", "jitter=1s"]);
    assert!(said.contains("is now") && said.contains("10m"), "{said}");
    line.client.say(b"late");
    trial.until("lag", |tally| tally.held == 1);
    line.server.hears_nothing_for(100);
    let began = Instant::now();
    stage.squall(&["change", &id, "lag", "delay=20ms", "jitter="]);
    assert_eq!(line.server.hear(4), b"late");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let tally = trial.until("lag", |tally| tally.injected == 2);
    assert_eq!((tally.eligible, tally.selected, tally.affected, tally.released), (1, 1, 1, 0), "{tally:?}");
    trial.stop();
    let view = trial.over();
    assert!(view.faults[0].summary.contains("20ms"), "{:?}", view.faults);
    let report: Value = stage.serve.client.report(&id).unwrap();
    let told = report["timeline"].as_array().unwrap().iter().filter_map(|moment| moment["text"].as_str());
    let told: Vec<&str> = told.filter(|text| text.starts_with("fault `lag` changed: ")).collect();
    assert!(told.len() == 2 && told[0].contains("50ms → ") && told[1].ends_with("20ms"), "{told:?}");
}

#[test]
fn another_share_selects_others_and_none_that_it_may_not() {
    let room = Room::new();
    let upstream = echo();
    let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"{upstream}\"");
    let serve = Serve::with(room.command::<&str>(&[]), &room, "max_percentage = 60", &proxy);
    let id = serve.start("[[fault]]\nkind = 'reset'\nproxy = 'default'\npercentage = 0.0001\n");
    let lost = || (0..40).filter(|_| round_trip(&serve.address.to_string()).is_err()).count();
    assert_eq!(lost(), 0);
    let change = |fields: Value| serve.client.change(&id, "reset", fields.as_object().unwrap());
    let refused = change(json!({ "percentage": 61 })).unwrap_err().to_string();
    assert!(refused.contains("60"), "{refused}");
    assert_eq!(lost(), 0, "nothing has changed");
    change(json!({ "percentage": 60 })).unwrap();
    let lost = lost();
    assert!((8..=38).contains(&lost), "{lost} of 40 at 60 %");
    serve.stop(&id);
    serve.over(&id);
    let why = serve.client.report(&id).unwrap()["why"].to_string();
    assert!(!why.contains("does not explain"), "a share that was changed is no mismatch: {why}");
}

#[test]
fn what_can_not_be_changed_is_refused_and_changes_nothing() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'latency'\ndelay = '1ms'").has_met(1);
    let id = trial.view().id;
    let room = Room::new();
    let control = stage.serve.control.clone();
    let refused = |words: &[&str], code: i32, says: &str| {
        let all = [&["change"], words, &["--control", &control]].concat();
        room.squall(&all).exits(code).says(says);
    };
    refused(&[&id, "latency", "dela=5ms"], 2, "did you mean `delay`?");
    refused(&[&id, "latency", "delay=soon"], 2, "is not a duration");
    refused(&[&id, "latency", "proxy=*"], 2, "`proxy` can not change while the fault runs");
    refused(&[&id, "latency", "delay="], 2, "delay");
    refused(&[&id, "latency", "delay"], 2, "`key=value` is expected here");
    refused(&[&id, "latency"], 2, "required");
    refused(&[&id, "nobody", "delay=5ms"], 2, "has no fault `nobody`");
    refused(&["nobody-1", "latency", "delay=5ms"], 2, "nobody-1");
    line.works();
    assert!(trial.view().faults[0].summary.contains("1ms"));
    trial.stop();
    trial.over();
    refused(&[&id, "latency", "delay=5ms"], 2, "does not run");
}
