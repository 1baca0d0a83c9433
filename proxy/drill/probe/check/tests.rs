//! Checks against sockets and programs; they wait for those, within bounds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};

use squall_core::config::Safety;
use squall_core::time::{MILLI, SECOND};

use super::*;

/// A server that answers one connection with these bytes; what it was asked comes over the channel.
fn answering(answer: &'static str) -> (String, Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (to, asked) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let n = stream.read(&mut request).unwrap_or(0);
        let _ = to.send(String::from_utf8_lossy(&request[..n]).into_owned());
        let _ = stream.write_all(answer.as_bytes());
    });
    (address, asked)
}

fn run(probe: &ProbeCheck, timeout: Time) -> Result<(), String> {
    let limits = Limits::new(&Safety::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check(probe, timeout, &limits))
}

fn get(url: String, expect: Option<&str>) -> ProbeCheck {
    ProbeCheck::Http {
        url,
        method: "GET".into(),
        headers: BTreeMap::new(),
        body: None,
        token: None,
        status: 200,
        expect: expect.map(str::to_owned),
    }
}

fn http(answer: &'static str, expect: Option<&str>) -> Result<(), String> {
    run(&get(format!("http://{}/cart", answering(answer).0), expect), 10 * SECOND)
}

fn tcp(answer: &'static str) -> Result<(), String> {
    let (send, expect) = (Some("PING\r\n".into()), Some("+PONG".into()));
    run(&ProbeCheck::Tcp { address: answering(answer).0, send, expect }, 10 * SECOND)
}

fn exec(words: &[&str], status: i32, expect: Option<&str>) -> Result<(), String> {
    let command = words.iter().map(ToString::to_string).collect();
    run(&ProbeCheck::Exec { command, status, expect: expect.map(str::to_owned) }, 20 * SECOND)
}

#[test]
fn http_is_held_against_status_and_body() {
    assert_eq!(http("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None), Ok(()));
    assert_eq!(http("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", None), Err("answered 503, not 200".into()));
    assert_eq!(http("SSH-2.0\r\n", None), Err("the answer is not HTTP".into()));
    assert!(http("", None).unwrap_err().contains("closed"));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n well\r\n0\r\n\r\n";
    assert_eq!(http(chunked, Some("all well")), Ok(()));
    assert_eq!(http(chunked, Some("down")), Err("answered \"all well\", without \"down\"".into()));
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(http(moved, None), Err("answered 302, not 200".into()), "redirects are not followed");
}

#[test]
fn http_sends_what_is_written() {
    let (address, asked) = answering("HTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n");
    let probe = ProbeCheck::Http {
        url: format!("http://{address}/a?b=1"),
        method: "POST".into(),
        headers: BTreeMap::from([("X-Drill".into(), "yes".into())]),
        body: Some("{}".into()),
        token: None,
        status: 201,
        expect: None,
    };
    assert_eq!(run(&probe, 10 * SECOND), Ok(()));
    let asked = asked.recv().unwrap().to_lowercase();
    assert!(asked.starts_with("post /a?b=1 http/1.1\r\n"), "{asked}");
    for line in ["x-drill: yes\r\n", &format!("host: {address}\r\n"), "content-length: 2\r\n"] {
        assert!(asked.contains(line), "{line} in {asked}");
    }
}

#[test]
fn tcp_is_held_against_the_beginning_of_the_answer() {
    assert_eq!(tcp("+PONG\r\n"), Ok(()));
    assert!(tcp("-ERR\r\n").unwrap_err().contains("not \"+PONG\""));
    assert!(tcp("+PO").is_err());
}

#[test]
fn what_is_always_denied_is_not_asked() {
    let why = run(&get("http://169.254.169.254/latest/meta-data".into(), None), SECOND).unwrap_err();
    assert!(why.contains("denied"), "{why}");
}

#[test]
fn a_secret_is_in_no_message_and_a_missing_one_is_named() {
    let redis = |address: &str, name: &str| ProbeCheck::Redis {
        address: address.into(),
        command: vec!["PING".into()],
        expect: None,
        user: None,
        password: Some(Secret(name.into())),
    };
    assert_eq!(
        run(&redis("127.0.0.1:1", "SQUALL_NO_SUCH_VARIABLE"), SECOND),
        Err("the environment variable SQUALL_NO_SUCH_VARIABLE is not set".into())
    );
    // a variable that every test has stands for the secret: a test can not set one
    let secret = std::env::var("CARGO_PKG_NAME").unwrap();
    let answer: &'static str = format!("-WRONGPASS `{secret}` is not it\r\n").leak();
    let (address, asked) = answering(answer);
    let why = run(&redis(&address, "CARGO_PKG_NAME"), 10 * SECOND).unwrap_err();
    assert_eq!(why, "AUTH: WRONGPASS `…` is not it");
    assert!(asked.recv().unwrap().contains(&secret));
}

#[test]
fn a_program_is_held_against_its_status_and_its_output() {
    assert_eq!(exec(&["/usr/bin/test", "-e", "/"], 0, None), Ok(()));
    assert_eq!(exec(&["/usr/bin/test", "-e", "/no/such/file"], 1, None), Ok(()));
    assert_eq!(exec(&["/usr/bin/test", "-e", "/no/such/file"], 0, None), Err("it exited with 1, not with 0".into()));
    assert_eq!(exec(&["/usr/bin/printf", "all well"], 0, Some("well")), Ok(()));
    assert_eq!(exec(&["/usr/bin/printf", "all"], 0, Some("well")), Err("it wrote \"all\", without \"well\"".into()));
    let said = exec(&["/bin/ls", "/no/such/file"], 0, None).unwrap_err();
    assert!(said.contains("No such file"), "{said}");
    assert!(exec(&["/no/such/program"], 0, None).unwrap_err().contains("/no/such/program"));
}

#[test]
fn a_program_gets_no_shell_and_no_environment() {
    assert_eq!(exec(&["/usr/bin/printf", "%s", "$HOME `id` *"], 0, Some("$HOME `id` *")), Ok(()));
    assert_eq!(exec(&["/usr/bin/env"], 0, Some("=")), Err("it wrote \"\", without \"=\"".into()));
}

#[test]
fn output_without_end_is_bounded() {
    let said = exec(&["/bin/sh", "-c", "/usr/bin/head -c 10000000 /dev/zero; /usr/bin/printf end"], 0, Some("end"));
    assert!(said.is_err_and(|why| why.len() < 4096 && why.contains("without \"end\"")));
}

/// Whether a process of this number lives.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let place = std::env::temp_dir().join(format!("squall-exec-{}", std::process::id()));
    let file = place.display().to_string();
    let script = format!("/bin/sleep 1000 & echo $! > {file}; wait");
    let command = ["/bin/sh", "-c", &script].map(String::from).to_vec();
    let probe = ProbeCheck::Exec { command, status: 0, expect: None };
    let why = run(&probe, 1500 * MILLI).unwrap_err();
    assert!(why.contains("no answer within 1.5s"), "{why}");
    let child = std::fs::read_to_string(&place).unwrap();
    let _ = std::fs::remove_file(&place);
    let gone = (0..2000).any(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(10));
        !lives(child.trim())
    });
    assert!(gone, "{child} lives on");
}

#[test]
fn what_a_program_leaves_behind_holds_nobody_up() {
    assert_eq!(exec(&["/bin/sh", "-c", "/bin/sleep 1000 & echo $!"], 0, Some("\n")), Ok(()));
}
