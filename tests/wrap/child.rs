//! The program under it: input, output, exit code, signals.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use super::wrapped::Wrap;
use crate::support::Ended;

#[test]
fn input_output_and_exit_code_are_the_program_s() {
    let mut command = Wrap::new().command(&["sh", "-c", "cat; echo told >&2; exit 7"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a line\n").unwrap();
    let ended = Ended::of(&child.wait_with_output().unwrap()).exits(7);
    assert_eq!(ended.out, "a line\n");
    assert!(ended.err.contains("told"), "{ended:?}");
}

#[test]
fn what_can_not_be_started_ends_as_with_a_shell() {
    let wrap = Wrap::new();
    wrap.run(&["squall-no-such-program"]).exits(127);
    let file = wrap.room.file("not-executable", "");
    wrap.run(&[&file]).exits(126);
}

#[test]
fn a_signal_that_ends_it_is_told() {
    Wrap::new().run(&["sh", "-c", "kill -9 $$"]).exits(137);
}

#[test]
fn signals_are_passed_on() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::WINCH, "WINCH")] {
        let script = format!("trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.1; done");
        let mut wrap = Wrap::new().start(&["sh", "-c", &script]);
        wrap.wait_for("ready");
        wrap.signal(signal);
        wrap.wait_for(&format!("got {name}"));
        assert_eq!(wrap.code_within(std::time::Duration::from_secs(60)), 3);
    }
}

#[test]
fn ctrl_c_once_leaves_the_program_alone_and_twice_ends_it() {
    let script = "trap 'echo asked; exit 4' INT; echo ready; while :; do sleep 0.1; done";
    let mut wrap = Wrap::new().start(&["sh", "-c", script]);
    wrap.wait_for("ready");
    wrap.signal(Signal::INT);
    wrap.wait_for_words("Ctrl-C again ends the program");
    assert!(wrap.is_running() && !wrap.printed().contains("asked"));
    wrap.signal(Signal::INT);
    wrap.wait_for("asked");
    assert_eq!(wrap.code_within(std::time::Duration::from_secs(60)), 4);
}

#[test]
fn it_may_open_as_many_files_as_without_squall() {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert_eq!(Wrap::new().run(&["sh", "-c", "ulimit -Sn"]).exits(0).out.trim(), own.to_string());
}

/// A program on a terminal, into which these keys are typed once these words are seen.
#[track_caller]
fn on_a_terminal(typed: &[(&str, &str)], words: &[&str]) -> Ended {
    let wrap = Wrap::new();
    let inner = wrap.command(words);
    let (waits, keys): (Vec<&str>, Vec<&str>) = typed.iter().copied().unzip();
    let mut command = std::process::Command::new("python3");
    command.arg(format!("{}/tests/wrap/terminal.py", env!("CARGO_MANIFEST_DIR")));
    command.args([waits, keys].map(|list| serde_json::to_string(&list).unwrap()));
    command.arg(inner.get_program()).args(inner.get_args()).env("XDG_RUNTIME_DIR", wrap.room.directory());
    Ended::of(&command.output().unwrap())
}

const READER: &str = "
try: print('hello', input('name? '))
except KeyboardInterrupt: print('interrupted'); raise SystemExit(9)";
const TERMINAL: &str = "the program has the terminal now";

#[test]
fn a_program_that_reads_from_the_terminal_gets_it_and_ctrl_c_with_it() {
    let ended = on_a_terminal(&[(TERMINAL, "bob\n")], &["python3", "-c", READER]).exits(0);
    assert!(ended.out.contains("hello bob"), "{ended:?}");
    on_a_terminal(&[(TERMINAL, "\u{3}")], &["python3", "-c", READER]).exits(9).says("interrupted");
}

#[test]
fn on_a_terminal_too_ctrl_c_once_is_squall_s() {
    let script = "trap 'echo asked; exit 4' INT; echo ready; while :; do sleep 0.1; done";
    let typed = [("ready", "\u{3}"), ("Ctrl-C again ends the program", "\u{3}")];
    on_a_terminal(&typed, &["sh", "-c", script]).exits(4).says("asked");
}
