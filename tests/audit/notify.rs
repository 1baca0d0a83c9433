//! `[notify]`: a webhook that fails at first.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;
use squall_drill::audit::Checkpoint;

use super::log::{RESET, sidecar};
use crate::support::Room;
use crate::support::programs::{installed, run};

/// Whole requests: head and body.
fn requests(
    listener: TcpListener,
    answers: impl IntoIterator<Item = &'static str> + Send + 'static,
) -> std::sync::mpsc::Receiver<(String, String)> {
    let (to, requests) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            let mut piece = [0; 4096];
            let (head, body) = loop {
                let n = stream.read(&mut piece).unwrap();
                text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    break (head.to_owned(), body.to_owned());
                }
            };
            write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").unwrap();
            let _ = to.send((head, body));
        }
    });
    requests
}

#[test]
fn what_matters_is_told_signed_and_again_until_it_is_taken() {
    let room = Room::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let key = room.file("hook.key", &"s".repeat(32));
    let taken = requests(listener, ["503 Busy", "503 Busy"].into_iter().chain(std::iter::repeat("200 OK")));
    let (_serve, _) = sidecar(&room, &format!("[notify]\nwebhook = \"{url}\"\nsecret = \"hook.key\""));
    room.squall(&RESET).exits(0);
    room.squall(&["lever", "engage", "--reason", "x"]).exits(0);

    let mut told = Vec::new();
    for _ in 0..6 {
        let (head, body) = taken.recv_timeout(Duration::from_secs(60)).unwrap();
        // by a tool that is not squall's
        let file = room.file("body", &body);
        let key = std::fs::read_to_string(&key).unwrap();
        let digest =
            run(std::process::Command::new(installed("openssl")).args(["dgst", "-sha256", "-hmac", &key, &file]));
        let signature = digest.trim().rsplit(' ').next().unwrap();
        assert!(head.contains(&format!("x-squall-signature: sha256={signature}")), "{head}\n{digest}");
        let body: Value = serde_json::from_str(&body).unwrap();
        serde_json::from_value::<Checkpoint>(body["audit"].clone()).unwrap();
        told.push(body["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(told[..3], ["start", "start", "start"], "the same one until it is taken");
    assert_eq!(told[3..], ["abort", "lever", "verdict"]);
}

#[test]
fn a_webhook_that_is_no_url_or_has_a_short_secret_is_refused() {
    let room = Room::new();
    let bad = room.file("bad.toml", "[notify]\nwebhook = \"chat.internal\"\n");
    room.squall(&["check", &bad]).exits(2).says("does not begin with `http://`");
    room.file("hook.key", "short");
    let short = room.file("short.toml", "[notify]\nwebhook = \"http://127.0.0.1:1/\"\nsecret = \"hook.key\"\n");
    room.squall(&["serve", "--control", "127.0.0.1:0", "--config", &short]).exits(2).says("has 5 bytes, it needs 32");
}
