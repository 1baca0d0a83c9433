//! Clocks that jump, and a program that is stopped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::log::records;
use crate::support::programs::installed;
use crate::support::{GOVERNED, Room, Serve, echo, round_trip, wait};

const RESET: &str = "[[fault]]\nkind = \"reset\"\nproxy = \"default\"\n";

/// The lease is over on a clock that went on meanwhile; lifting the faults is the first act.
#[test]
fn one_that_was_stopped_for_longer_than_the_lease_goes_on_in_pass_through() {
    let room = Room::new();
    let serve = Serve::before(&room, echo());
    let text = format!("{GOVERNED}name = \"test\"\nmax_duration = \"60s\"\n\n{RESET}");
    let id = serve.client.submit(&text, squall_control::app::Format::Toml, &[]).unwrap().id;
    serve.client.start(&id, None).unwrap();
    assert!(round_trip(&serve.address.to_string()).is_err());
    serve.program.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(2_500)); // the lease is 2 s
    let mut waiting = TcpStream::connect(serve.address).unwrap();
    waiting.write_all(b"hello").unwrap();
    serve.program.signal(Signal::CONT);
    let mut answer = [0; 5];
    waiting.read_exact(&mut answer).unwrap(); // one that was waiting when it woke up
    assert_eq!(&answer, b"hello");
    let view = serve.over(&id);
    assert!(view.reason.as_ref().is_some_and(|reason| reason.contains("lease ran out")), "{view:?}");
    let end = wait::until("the end on record", || {
        records(&room.path("state/audit.log")).into_iter().find(|record| record.action == "end")
    });
    assert!(end.reason.unwrap().contains("lease ran out"));
}

/// Only the wall clock moves: back two hours while a lease is held, which shows in the log and nowhere else.
#[test]
fn a_wall_clock_that_jumps_shows_in_the_log_and_ends_no_lease() {
    let room = Room::new();
    let offset = room.file("offset", "+0\n");
    let mut faked = Command::new("env");
    let library = installed("faketime");
    assert!(library.is_file());
    let preload = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map(|lib| format!("{lib}/faketime/libfaketime.so.1"));
    let preload = preload.into_iter().find(|lib| std::path::Path::new(lib).exists()).expect("libfaketime is missing");
    faked.args([&format!("LD_PRELOAD={preload}"), &format!("FAKETIME_TIMESTAMP_FILE={offset}")]);
    faked.args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]);
    faked.arg(env!("CARGO_BIN_EXE_squall"));
    let serve = Serve::through(faked, &room, "127.0.0.1:0", echo());

    let text = format!("{GOVERNED}name = \"test\"\nmax_duration = \"60s\"\n\n{RESET}");
    let id = serve.client.submit(&text, squall_control::app::Format::Toml, &[]).unwrap().id;
    serve.client.start(&id, None).unwrap();
    for jump in ["-2h", "+3h"] {
        std::fs::write(room.path("offset"), format!("{jump}\n")).unwrap();
        std::thread::sleep(Duration::from_millis(1_000));
        serve.client.renew(&id).unwrap(); // half of the lease is gone, not all of it
        assert!(round_trip(&serve.address.to_string()).is_err(), "it acts on");
        serve.client.mark(&id, &note(jump)).unwrap();
    }
    // and the lease still runs out, by its own clock
    let view = serve.over(&id);
    assert!(view.reason.as_ref().is_some_and(|reason| reason.contains("lease ran out")), "{view:?}");

    let log = wait::until("the end on record", || {
        let records = records(&room.path("state/audit.log"));
        records.iter().any(|record| record.action == "end").then_some(records)
    });
    let stamp = |what: &str| {
        let found = log.iter().find(|record| {
            record.action == what || record.action == "mark" && record.reason.as_ref().is_some_and(|r| r.contains(what))
        });
        found.map(|record| (record.ts.clone(), record.mono_ns)).unwrap_or_else(|| panic!("no {what} in {log:#?}"))
    };
    let (start, back, ahead) = (stamp("start"), stamp("-2h"), stamp("+3h"));
    assert!(back.0 < start.0 && ahead.0 > start.0, "the shift shows: {start:?} {back:?} {ahead:?}");
    assert!(hours(&back.0, &start.0) >= 1 && hours(&start.0, &ahead.0) >= 2, "{start:?} {back:?} {ahead:?}");
    assert!(start.1 < back.1 && back.1 < ahead.1 && ahead.1 - start.1 < 60_000_000_000, "the other clock went on");
}

fn note(text: &str) -> squall_drill::view::Mark {
    squall_drill::view::Mark { kind: squall_drill::view::MarkKind::Note, text: Some(text.into()), step: None, by: None }
}

/// Whole hours between two stamps that are less than a day apart.
fn hours(from: &str, to: &str) -> i64 {
    let minutes = |stamp: &str| -> i64 {
        let part = |range: std::ops::Range<usize>| stamp[range].parse::<i64>().unwrap();
        part(8..10) * 1440 + part(11..13) * 60 + part(14..16)
    };
    let apart = minutes(to) - minutes(from);
    (if apart < 0 { apart + 31 * 1440 } else { apart }) / 60
}
