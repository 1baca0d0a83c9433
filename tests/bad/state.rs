//! A state directory that can't be written, or has no room left.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Room, Running, echo, round_trip};

fn config(state: &str, upstream: &str) -> String {
    format!(
        "[control]\nlisten = \"127.0.0.1:0\"\nstate = \"{state}\"\n\
         [[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n"
    )
}

/// A run's report, over the control port.
fn report(serve: &Running, id: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(serve.control().strip_prefix("http://").unwrap()).unwrap();
    let request = format!("GET /v1/experiments/{id}/report HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

const RESET: [&str; 6] = ["inject", "a", "reset", "--for", "60s", "--detach"];

#[test]
fn without_a_place_for_evidence_traffic_passes_and_nothing_starts() {
    let (room, upstream) = (Room::new(), echo());
    room.file("occupied", "no directory");
    let file = room.file("squall.toml", &config("occupied", &upstream));
    let serve = room.serve(&["--config", &file]);
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    room.squall(&RESET).exits(2).says("the audit log can't be written: ").says("occupied/audit.log");
    room.squall(&["abort"]).exits(0);
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    // once there is a place, it starts: nothing of the refused start is in the way
    std::fs::remove_file(room.path("occupied")).unwrap();
    room.squall(&RESET).exits(0);
    assert!(round_trip(&serve.proxy("a")).is_err());
    room.squall(&["abort"]).exits(0);
}

#[test]
fn on_a_full_disk_a_run_can_be_aborted_and_no_new_one_starts() {
    let (room, upstream) = (Room::new(), echo());
    let disk = room.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let file = room.file("squall.toml", &config("disk", &upstream));
    // six pages: what the start writes, and the first events
    let mount = format!("mount -t tmpfs -o size=24k none {}", disk.display());
    let serve = room.serve_on(&mount, &["--config", &file]);
    room.squall(&RESET).exits(0);
    (0..100).for_each(|_| assert!(round_trip(&serve.proxy("a")).is_err()));
    room.squall(&["abort"]).exits(0); // unless it has ended by itself: the audit log has no room either
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    let over = (0..500).any(|_| room.squall(&["list"]).out.contains("stopped"));
    assert!(over, "it does not end");
    let report = report(&serve, "inject-a-reset-1");
    let (recorded, unwritten) = (&report["ledger"]["recorded"], &report["ledger"]["unwritten"]);
    assert!(recorded.as_u64() == Some(100) && unwritten.as_u64() >= Some(60), "{:#}", report["ledger"]);
    room.squall(&RESET).exits(2).says("No space left on device");
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
}
