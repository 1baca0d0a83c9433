//! What is on record, and `squall audit`.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use squall_drill::audit::{Decision, Record, read};

use crate::support::{Room, Running, echo};

/// Every record; the chain must hold to its end.
#[track_caller]
pub fn records(log: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    let file = std::fs::File::open(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let found = read(std::io::BufReader::new(file), |record, _| records.push(record.clone())).unwrap();
    assert_eq!((found.torn, found.broken), (0, None));
    records
}

/// A sidecar with the proxy `a`, a Toxiproxy-compatible port and a state directory; its log.
pub fn sidecar(room: &Room, more: &str) -> (Running, PathBuf) {
    let config = format!(
        "[control]\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\ntoxiproxy = \"127.0.0.1:0\"\n{more}\n\
         [[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{}\"\n",
        echo()
    );
    let config = room.file("squall.toml", &config);
    (room.serve(&["--config", &config]), room.path("state/audit.log"))
}

pub const RESET: [&str; 6] = ["inject", "a", "reset", "--for", "60s", "--detach"];

#[test]
fn what_was_tried_let_and_done_is_on_record_and_verified() {
    let room = Room::new();
    let (serve, log) = sidecar(&room, "");
    room.squall(&RESET).exits(0);
    room.squall(&["abort"]).exits(0);
    room.squall(&["abort", "nobody-1"]).exits(2);
    room.squall(&["reload"]).exits(0);
    serve.signal(Signal::TERM);
    let printed = serve.end().exits(0).out;

    let records = records(&log);
    let find = |action: &str, object: Option<&str>| {
        let found = records.iter().position(|record| record.action == action && record.object.as_deref() == object);
        found.unwrap_or_else(|| panic!("no {action} of {object:?} in {records:#?}"))
    };
    let id = Some("inject-a-reset-1");
    let order = [
        find("begin", None),
        find("POST /v1/experiments", id),
        find("start", id),
        find("POST /v1/experiments/{id}/start", id),
        find("abort", id),
        find("end", id),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert!(records[find("start", id)].plan_hash.as_ref().is_some_and(|hash| hash.len() == 64));
    let denied = &records[find("POST /v1/experiments/{id}/abort", Some("nobody-1"))];
    assert_eq!(
        (denied.decision, denied.reason.as_deref()),
        (Decision::Deny, Some("404: there is no experiment `nobody-1`"))
    );
    assert_eq!(records[find("config", None)].reason.as_deref(), Some("reloaded: nothing has changed"));

    let report = std::fs::read(room.path("state/runs/inject-a-reset-1/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert!(printed.contains("audit checkpoint {\"origin\":"), "{printed}");
    let (file, point) = (log.display().to_string(), report["audit"].to_string());
    room.squall(&["audit", "verify", &file, "--checkpoint", &point]).exits(0).says("the checkpoint holds");
    let last = printed.lines().filter_map(|line| line.strip_prefix("audit checkpoint ")).next_back().unwrap();
    room.squall(&["audit", "verify", &file, "--checkpoint", last]).exits(0);
    let point: Value = serde_json::from_str(last).unwrap();
    let (size, head) = (point["size"].to_string(), point["head"].as_str().unwrap());
    room.squall(&["audit", "verify", &file, "--size", &size, "--head", head]).exits(0);
    room.squall(&["audit", "verify", &file, "--size", "9999", "--head", head])
        .exits(1)
        .says("it ends before the checkpoint");
    room.squall(&["audit", "verify", &file, "--size", "1", "--head", head]).exits(1).says("written anew");
    let by_config = room.squall(&["audit", "verify", "--config", &room.path("squall.toml").display().to_string()]);
    by_config.exits(0).says("records are in order");

    let shown = room.squall(&["audit", "show", &file, "--action", "abort", "--since", "1h"]).exits(0).out;
    assert!(shown.lines().count() >= 3 && shown.contains("DENIED POST /v1/experiments/{id}/abort nobody-1"), "{shown}");
    let json = room.squall(&["audit", "show", &file, "--json", "--actor", "local"]).exits(0).out;
    assert!(json.lines().all(|line| serde_json::from_str::<Record>(line).unwrap().actor == "local"));
    assert_eq!(room.squall(&["audit", "show", &file, "--since", "2999-01-01T00:00:00Z"]).exits(0).out, "");
    room.squall(&["audit", "show", &file, "--since", "yesterday"]).exits(2);
}

#[test]
fn one_byte_a_missing_end_and_a_torn_record_are_told_apart() {
    let room = Room::new();
    let (serve, log) = sidecar(&room, "");
    room.squall(&RESET).exits(0);
    serve.signal(Signal::TERM);
    serve.end().exits(0);
    let (whole, file) = (std::fs::read(&log).unwrap(), log.display().to_string());
    let point = room.squall(&["audit", "verify", &file]).exits(0).out;
    let (size, head) = (point.split(' ').next().unwrap(), point.trim().rsplit(' ').next().unwrap());

    let mut changed = whole.clone();
    let at = whole.windows(5).position(|word| word == b"local").unwrap();
    changed[at] = b'L';
    std::fs::write(&log, &changed).unwrap();
    let line = 1 + whole[..at].iter().filter(|byte| **byte == b'\n').count();
    room.squall(&["audit", "verify", &file]).exits(1).says(&format!("from line {line} on: its bytes hash to"));
    room.squall(&["audit", "show", &file]).exits(1);
    // squall itself says so too, and starts nothing; the log stays as it is
    let serve = room.serve(&["--config", &room.path("squall.toml").display().to_string()]);
    serve.wait_for("the audit log can't be written: ");
    room.squall(&RESET).exits(2).says("is not what was written").says(".broken");
    drop(serve);
    assert_eq!(std::fs::read(&log).unwrap(), changed);

    let end = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    std::fs::write(&log, &whole[..end]).unwrap();
    room.squall(&["audit", "verify", &file]).exits(0);
    room.squall(&["audit", "verify", &file, "--size", size, "--head", head])
        .exits(1)
        .says("it ends before the checkpoint");

    std::fs::write(&log, &whole[..whole.len() - 7]).unwrap();
    room.squall(&["audit", "verify", &file]).exits(3).says("the last record is torn");
    let serve = room.serve(&["--config", &room.path("squall.toml").display().to_string()]);
    serve.wait_for_words("the last record was torn");
    room.squall(&RESET).exits(0);
    room.squall(&["audit", "verify", &file]).exits(0);
}

#[test]
fn a_key_signs_checkpoints_and_the_log_goes_where_the_configuration_says() {
    let room = Room::new();
    let key = room.file("audit.key", &"k".repeat(32));
    let other = room.file("other.key", &"o".repeat(32));
    let more = "[audit]\nto = \"logs/who.log\"\norigin = \"edge-7\"\nkey = \"audit.key\"";
    let (serve, _) = sidecar(&room, more);
    room.squall(&RESET).exits(0);
    let point = serve.wait_for("audit checkpoint ");
    assert!(point.starts_with("{\"origin\":\"edge-7\",\"size\":"), "{point}");
    let log = room.path("logs/who.log").display().to_string();
    let verify = |key: &str| room.squall(&["audit", "verify", &log, "--checkpoint", &point, "--key", key]);
    verify(&key).exits(0);
    verify(&other).exits(1).says("not signed with this key");
    let again = room.squall(&["status", "--as-config"]).exits(0).out;
    assert!(again.contains("origin = \"edge-7\""), "{again}");
    drop(serve);
    room.file("audit.key", "short");
    let config = room.path("squall.toml").display().to_string();
    room.squall(&["serve", "--config", &config]).exits(2).says("has 5 bytes, it needs 32");
}

#[test]
fn standard_output_takes_the_log_too() {
    let room = Room::new();
    let (serve, _) = sidecar(&room, "[audit]\nto = \"stdout\"");
    room.squall(&RESET).exits(0);
    serve.signal(Signal::TERM);
    let printed = serve.end().exits(0).out;
    let is_record = |line: &&str| line.len() > 65 && line.as_bytes()[64] == b' ' && line[65..].starts_with("{\"seq\":");
    let log: String = printed.lines().filter(is_record).map(|line| format!("{line}\n")).collect();
    let file = room.file("from-stdout.log", &log);
    let verified = room.squall(&["audit", "verify", &file]).exits(0).out;
    assert!(verified.split(' ').next().unwrap().parse::<u64>().unwrap() > 5, "{verified}");
}

#[test]
fn what_is_wrong_with_it_is_said_with_its_place() {
    let room = Room::new();
    for (text, words) in [
        ("to = \"https://x/\"", "does not begin with `http://`"),
        ("to = \"\"", "expected a file, `stdout` or"),
        ("origin = \"a\\nb\"", "without control characters"),
        ("too = 1", "to"),
    ] {
        room.squall(&["check", &room.file("squall.toml", &format!("[audit]\n{text}\n"))]).exits(2).says(words);
    }
}
