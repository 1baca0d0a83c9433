//! Files that are wrong in every way, through every command that reads files.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use crate::support::{Room, echo, round_trip};

/// A scenario that is right but for the text that takes the place of its fault's `for`.
fn scenario(instead: &str) -> String {
    format!(
        "name = \"a\"\nmax_duration = \"1m\"\n\n[[proxy]]\nname = \"redis\"\nlisten = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:1\"\n\n\
         [[fault]]\nkind = \"latency\"\nproxy = \"redis\"\ndelay = \"5ms\"\n{instead}\n"
    )
}

/// A line, where the mistake is, and what is said about it. The line is the 13th.
const LINES: &[(&str, &str, &str)] = &[
    ("for = ", "13:7", "this is not TOML"),
    ("for = \"5s\" for = \"6s\"", "13:12", "this is not TOML"),
    ("delay = \"6ms\"", "13:1", "duplicate key"),
    ("fro = \"5s\"", "13:1", "did you mean `for`?"),
    ("for = 5", "13:7", "needs a unit"),
    ("for = \"5 parsecs\"", "13:7", "is not a duration"),
    ("for = \"-5s\"", "13:7", "negative"),
    ("for = \"99999999999999999999h\"", "13:7", "too long"),
    ("for = [\"5s\"]", "13:7", "expected"),
    ("percentage = 101", "13:14", "101 is not a percentage"),
    ("percentage = -1", "13:14", "-1 is not a percentage"),
    ("percentage = \"5%%\"", "13:14", "is not a percentage"),
    ("percentage = nan", "13:14", "NaN is not a number"),
    ("percentage = -inf", "13:14", "is not a number"),
    ("percentage = { from = 1, to = 200, over = \"1s\" }", "13:", "200 is not a percentage"),
    ("direction = \"downstraem\"", "13:13", "did you mean `downstream`?"),
    ("jitter = \"-1ms\"", "13:10", "negative"),
    ("first = 99999999999999999999", "13:9", "the number is out of range"),
    ("[[fault]]\nkind = \"latenzy\"\nproxy = \"redis\"", "14:8", "did you mean `latency`?"),
    ("[[fault]]\nkind = \"reset\"\nproxy = \"reddis\"", "15:9", "did you mean `redis`?"),
    ("[[fault]]\nkind = \"latency\"\nproxy = \"redis\"\ndelay = \"1ms\"", "14:8", "two faults of the kind `latency`"),
    ("[[fault]]\nkind = \"bandwidth\"\nproxy = \"redis\"\nrate = \"-1mbit\"", "16:8", "is negative"),
    (
        "[[proxy]]\nname = \"redis\"\nlisten = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:2\"",
        "14:8",
        "there is a proxy `redis` already",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:9\"\nupstream = \"localhost:9\"",
        "16:12",
        "proxy `b` would be routed to itself",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:99999\"\nupstream = \"127.0.0.1:2\"",
        "15:10",
        "is not a listening address",
    ),
];

#[test]
fn every_mistake_is_told_at_its_place() {
    let room = Room::new();
    for (line, place, message) in LINES {
        let file = room.file("wrong.toml", &scenario(line));
        let ended = room.squall(&["check", &file]).exits(2);
        assert!(ended.err.contains(message), "{line}: no {message:?} in\n{}", ended.err);
        assert!(ended.err.contains(&format!("wrong.toml:{place}")), "{line}: not at {place}:\n{}", ended.err);
        assert_eq!(ended.err.matches("error: ").count(), 1, "{line}: one mistake, one message:\n{}", ended.err);
        assert_eq!(ended.out, "", "{line}: it is told as good");
    }
    room.squall(&["check", &room.file("right.toml", &scenario("for = \"5s\""))]).exits(0);
}

#[test]
fn mistakes_of_several_files_are_told_at_once() {
    let room = Room::new();
    let one = room.file("one.toml", &scenario("percentage = 101\nfro = \"5s\""));
    let two = room.file("two.toml", "[safety]\nmax_percentage = nan\n");
    let none = room.path("none.toml").display().to_string();
    let ended = room.squall(&["check", &one, &two, &none]).exits(2);
    for part in ["one.toml:13:14", "one.toml:14:1", "two.toml:2:18", "none.toml"] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
}

#[test]
fn a_mistake_is_shown_as_it_is_written() {
    let room = Room::new();
    let file = room.file("wrong.toml", &scenario("percentage = \"105%\""));
    let ended = room.squall(&["check", &file]).exits(2);
    let expected = format!(
        "error: 105 is not a percentage from 0 to 100 such as 25, 12.5 or \"25%\"\n  --> {file}:13:14\n   |\n13 | percentage = \"105%\"\n   |              ^^^^^^"
    );
    assert!(ended.err.starts_with(&expected), "{}", ended.err);
}

/// Files that are no text at all, and what is said.
fn unreadable(room: &Room) -> Vec<(String, &'static str)> {
    let path = |name: &str| room.path(name).display().to_string();
    let written = |name: &str, bytes: &[u8]| {
        fs::write(path(name), bytes).unwrap();
        path(name)
    };
    File::create(path("large.toml")).unwrap().set_len(100 << 20).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("fifo.toml")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket.toml")).unwrap();
    std::os::unix::fs::symlink(path("loop.toml"), path("loop.toml")).unwrap();
    vec![
        (path("large.toml"), "the file is too long (104857600 bytes): at most 1048576 bytes"),
        (path("fifo.toml"), "this is not a regular file"),
        (path("socket.toml"), "this is not a regular file"),
        (path("loop.toml"), "can not read the file"),
        ("/dev/zero".into(), "this is not a regular file"),
        (room.path("").display().to_string(), "this is a directory; name a file"),
        (written("latin.toml", b"name = \"caf\xe9\"\n"), "this is not UTF-8: byte 11 (from 0) is wrong"),
        (written("nul.toml", b"name = \"a\"\n\0"), "byte 11 (from 0) is NUL"),
        (written("deep.toml", format!("a = {}", "[".repeat(100_000)).as_bytes()), "nested deeper than"),
        (written("empty.toml", b""), "`name` is missing"),
    ]
}

#[test]
fn what_is_no_text_is_refused_by_every_command_at_once() {
    let room = Room::new();
    let upstream = echo();
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    for (file, message) in unreadable(&room) {
        let commands: [&[&str]; 6] = [
            &["check", &file],
            &["plan", &file],
            &["drill", &file],
            &["drill", "scenarios/first-drill.toml", "--config", &file],
            &["serve", "--config", &file],
            &["start", &file],
        ];
        for command in commands {
            let empty_config = file.ends_with("empty.toml") && command.contains(&"--config");
            if empty_config || file.ends_with("loop.toml") && command[0] == "start" {
                continue; // nothing is wrong with an empty configuration; what is no file is looked up as a name
            }
            let began = Instant::now();
            let ended = room.squall(command).exits(2);
            assert!(began.elapsed() < Duration::from_secs(5), "{command:?} took {:?}", began.elapsed());
            assert!(ended.err.contains(message), "{command:?}: no {message:?} in\n{}", ended.err);
            assert_eq!(ended.out, "", "{command:?} has begun");
        }
    }
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
    assert_eq!(room.squall(&["list", "--json"]).exits(0).out.trim(), "[]");
}

#[test]
fn a_byte_order_mark_and_dos_lines_are_taken() {
    let room = Room::new();
    let text = scenario("for = \"5s\"").replace('\n', "\r\n");
    let digest = |name: &str, text: &str| room.squall(&["check", &room.file(name, text)]).exits(0).out;
    assert_eq!(digest("dos.toml", &format!("\u{feff}{text}")), digest("unix.toml", &scenario("for = \"5s\"")));
}

#[test]
fn an_approval_that_nobody_can_give_is_refused_at_the_start_with_the_fix() {
    let room = Room::new();
    let (scenario, config) = ("tests/golden/checkout-brownout.toml", "tests/golden/squall.toml");
    room.squall(&["check", scenario, config]).exits(0);
    let free = |text: &str| {
        ["127.0.0.1:26379", "127.0.0.1:18080", "127.0.0.1:18081", "127.0.0.1:9090", "127.0.0.1:7070", "127.0.0.1:8474"]
            .iter()
            .fold(text.to_owned(), |text, address| text.replace(address, "127.0.0.1:0"))
    };
    let config = room.file("squall.toml", &free(&fs::read_to_string(config).unwrap()));
    let reasons = [
        "it needs 1 approval(s), and here nobody can be told from anybody: set `tokens = \"tokens.toml\"` in [control]",
    ];
    let serve = room.serve(&["--config", &config]);
    let there = room.squall(&["start", scenario, "--control", &serve.control()]).exits(2);
    let here = room.squall(&["drill", scenario, "--config", &config]).exits(2);
    for reason in reasons {
        for ended in [&here, &there] {
            assert_eq!(ended.err.matches(reason).count(), 1, "{reason}: {}", ended.err);
        }
    }
    for ended in [here, there] {
        assert!(ended.err.contains("error: it can not start"), "{}", ended.err);
    }
    let list = room.squall(&["list", "--control", &serve.control()]).exits(0);
    assert!(list.out.contains("approved") || list.out.contains("draft"), "{}", list.out);
    assert!(!list.out.contains("running"), "{}", list.out);
}
