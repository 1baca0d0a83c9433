//! Raw dialogues in varnishtest's words (`dialogues/*.vtc`): a client, squall, and a server that say exactly what they are told.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::programs::{free_port, installed, run_within};
use crate::support::{Room, Serve};

/// Carries a dialogue through squall; what both ends said.
#[track_caller]
fn dialogue(name: &str) -> String {
    let room = Room::new();
    let upstream = format!("127.0.0.1:{}", free_port());
    let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\nprotocol = \"http\"");
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/http/dialogues").join(name);
    let mut command = Command::new(installed("varnishtest"));
    command.args([
        "-v",
        "-t",
        "50",
        "-D",
        &format!("squall={}", squall.address),
        "-D",
        &format!("upstream={upstream}"),
    ]);
    let (code, log) = run_within(command.env("TMPDIR", room.directory()).arg(file), Duration::from_secs(60));
    assert_eq!(code, 0, "{log}");
    log
}

/// A test for each file.
macro_rules! dialogues {
    ($($test:ident: $file:literal,)*) => {
        $(#[test]
        fn $test() {
            dialogue(concat!($file, ".vtc"));
        })*

        const FILES: &[&str] = &[$(concat!($file, ".vtc")),*];
    };
}

dialogues! {
    pipelined_requests_are_answered_in_order: "pipelining",
    a_body_waits_for_leave: "expect",
    interim_answers_pass: "interim",
    what_announces_a_body_and_has_none_passes: "bodiless",
    each_side_closes_its_own_connection: "close",
    an_early_answer_comes_at_once: "early",
    fields_pass_or_stay: "fields",
    an_upgrade_carries_bytes: "upgrade",
    what_is_ambiguous_is_refused: "refused",
}

#[test]
fn trailers_pass_both_ways() {
    let log = dialogue("trailers.vtc");
    for (hears, said) in [("s1", "X-Up: yes"), ("c1", "X-Down: yes")] {
        assert!(log.contains(&format!("{hears}    recv|{said}")), "{log}");
    }
}

#[test]
fn every_dialogue_is_carried_out() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/http/dialogues");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let unknown: Vec<String> = files.filter(|file| file != "trailers.vtc" && !FILES.contains(&&**file)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
