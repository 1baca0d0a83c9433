//! `squall lever`.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::log::{RESET, records, sidecar};
use crate::support::{Room, Running, round_trip};

/// A request to the Toxiproxy-compatible port; the whole answer.
fn toxiproxy(serve: &Running, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(serve.wait_for("toxiproxy ").trim_start_matches("http://")).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_ends_what_runs_blocks_every_start_and_survives_kill_9() {
    let room = Room::new();
    let (mut serve, log) = sidecar(&room, "");
    room.squall(&["lever"]).exits(0).says("released");
    room.squall(&["lever", "engage"]).exits(2).says("--reason");
    const TOXIC: &str = r#"{"name": "t", "type": "reset_peer", "attributes": {}}"#;
    assert!(toxiproxy(&serve, "POST", "/proxies/a/toxics", TOXIC).starts_with("HTTP/1.1 200"));
    assert!(round_trip(&serve.proxy("a")).is_err());

    let engaged = room.squall(&["lever", "engage", "--reason", "the site is down"]).exits(0);
    engaged.says("ENGAGED: the site is down (by local").says("aborted toxiproxy-1");
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    for _ in 0..2 {
        room.squall(&RESET).exits(2).says("the safety lever is engaged: the site is down");
        let refused = toxiproxy(&serve, "POST", "/proxies/a/toxics", TOXIC);
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("the site is down"), "{refused}");
        room.squall(&["status"]).exits(0).says("ENGAGED");
        assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
        serve.kill();
        serve = room.serve(&["--config", &room.path("squall.toml").display().to_string()]);
    }
    room.squall(&["lever", "release"]).exits(0).says("released");
    room.squall(&RESET).exits(0);
    drop(serve);

    let records = records(&log);
    let lever: Vec<&str> = records
        .iter()
        .filter(|record| record.action == "lever")
        .filter_map(|record| record.reason.as_deref())
        .collect();
    assert_eq!(lever, ["engaged by local: the site is down", "released by local"]);
    let toxics = records.iter().filter(|record| record.action == "POST toxiproxy:/proxies/{proxy}/toxics");
    let reasons: Vec<&str> = toxics.filter_map(|record| record.reason.as_deref()).collect();
    assert!(reasons[0] == "200" && reasons[1].starts_with("503: the safety lever is engaged"), "{reasons:?}");
}

#[test]
fn what_cannot_be_read_counts_as_engaged() {
    let room = Room::new();
    std::fs::create_dir(room.path("state")).unwrap();
    std::fs::write(room.path("state/lever.json"), "{\"engaged\": fa").unwrap();
    let (_serve, _) = sidecar(&room, "");
    room.squall(&RESET).exits(2).says("lever.json can't be read");
    room.squall(&["lever", "release"]).exits(0);
    room.squall(&RESET).exits(0);
}
