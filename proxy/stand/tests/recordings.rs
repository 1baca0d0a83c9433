//! Recordings are played as they were recorded: the same bytes in the same pieces, never early.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use squall_core::plane::Service;
use squall_core::recording::{Body, Chunk, Content, Ended, Exchange, Recording, Timing};
use squall_core::scenario::ServiceKind;
use squall_core::time::{MILLI, Time};

use super::support::*;
use crate::timer::now;

fn play(exchanges: Vec<Exchange>, timing: Timing) -> Box<dyn Service> {
    let recording = Recording { exchanges, ..Recording::default() };
    service(ServiceKind::Recording { recording: Arc::new(recording), timing, strict: false })
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

fn chunk(ms: u64, text: &'static str) -> Chunk {
    Chunk { after: ms * MILLI, content: Content::Bytes(text.into()) }
}

fn get(path: &str, chunks: Vec<Chunk>) -> Exchange {
    Exchange { method: "GET".into(), path: path.into(), status: 200, chunks, ..Exchange::default() }
}

/// Three events, 30 and 60 ms apart, the first 20 ms after the request.
fn events() -> Exchange {
    let chunks = vec![chunk(0, "data: 1\n\n"), chunk(30, "data: 2\n\n"), chunk(60, "data: 3\n\n")];
    let fields = vec![pair("Content-Type", "text/event-stream"), pair("X-B", "2"), pair("X-A", "1"), pair("X-B", "3")];
    Exchange { first: 20 * MILLI, fields, ..get("/events", chunks) }
}

struct Conversation(BufReader<TcpStream>);

impl Conversation {
    fn with(service: &dyn Service) -> Conversation {
        Conversation(BufReader::new(dial(service.address())))
    }

    fn ask(&mut self, request: &str) -> Vec<String> {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        head(&mut self.0)
    }

    fn get(&mut self, path: &str) -> Vec<String> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: here:1\r\n\r\n"))
    }

    /// The next chunk (RFC 9112, 7.1), and when it came; empty: the last.
    fn chunk(&mut self) -> (String, Time) {
        let size = usize::from_str_radix(&line(&mut self.0).unwrap(), 16).unwrap();
        let at = now();
        let mut data = vec![0; size];
        self.0.read_exact(&mut data).unwrap();
        if size > 0 {
            line(&mut self.0);
        }
        (String::from_utf8(data).unwrap(), at)
    }

    fn rest(mut self) -> String {
        let mut rest = String::new();
        let _ended_in_whatever_way = self.0.read_to_string(&mut rest);
        rest
    }
}

#[test]
fn pieces_come_as_recorded_and_never_early() {
    let service = play(vec![events()], Timing::Recorded);
    let mut client = Conversation::with(&*service);
    for _ in 0..2 {
        let asked = now();
        let head = client.get("/events");
        let fields = ["content-type: text/event-stream", "x-b: 2", "x-b: 3", "x-a: 1", "transfer-encoding: chunked"];
        assert_eq!((head[0].as_str(), &head[1..]), ("HTTP/1.1 200 OK", &fields.map(str::to_owned)[..]));
        for (event, ms) in [("data: 1\n\n", 20), ("data: 2\n\n", 50), ("data: 3\n\n", 110)] {
            let (data, at) = client.chunk();
            assert_eq!(data, event);
            assert!(at - asked >= ms * MILLI, "{event:?} came after {} us, {ms} ms were recorded", (at - asked) / 1000);
        }
        assert_eq!(client.chunk().0, "");
        assert_eq!(line(&mut client.0).as_deref(), Some(""));
    }
    assert_eq!((service.reading().connections, service.reading().requests, service.reading().unknown), (1, 2, 0));
}

#[test]
fn without_timing_all_comes_at_once() {
    let slow = Exchange { first: 3_600_000 * MILLI, ..get("/", vec![chunk(3_600_000, "late")]) };
    let service = play(vec![slow], Timing::None);
    let mut client = Conversation::with(&*service);
    client.get("/");
    assert_eq!(client.chunk().0, "late");
}

#[test]
fn lengths_stay_and_what_was_not_kept_is_filled() {
    let sized = |length: &str, chunks| Exchange { fields: vec![pair("Content-Length", length)], ..get("/", chunks) };
    let kept = Chunk { after: 0, content: Content::Size(40_000) };
    for (exchange, says, bytes) in [
        (sized("40004", vec![chunk(0, "head"), kept.clone()]), "content-length: 40004", 40_004),
        (sized("7", vec![chunk(0, "head")]), "transfer-encoding: chunked", 4 + "4\r\n\r\n0\r\n\r\n".len()),
        (Exchange { method: "HEAD".into(), ..sized("7", vec![]) }, "content-length: 7", 0),
    ] {
        let request = format!("{} / HTTP/1.1\r\nconnection: close\r\nhost: a\r\n\r\n", exchange.method);
        let service = play(vec![exchange], Timing::Recorded);
        let mut client = Conversation::with(&*service);
        let head = client.ask(&request);
        assert!(head.contains(&says.to_owned()), "{head:?}");
        assert_eq!(client.rest().len(), bytes, "{head:?}");
    }
}

#[test]
fn what_was_cut_is_cut_and_what_was_left_waits() {
    let ended = |path: &str, ended| Exchange { ended, ..get(path, vec![chunk(0, "some"), chunk(1, " more")]) };
    let service = play(vec![ended("/cut", Ended::Cut), ended("/left", Ended::Left)], Timing::Recorded);
    let mut client = Conversation::with(&*service);
    client.get("/cut");
    assert_eq!(client.rest(), "4\r\nsome\r\n5\r\n more\r\n", "nothing says that it was whole");
    let mut client = Conversation::with(&*service);
    client.get("/left");
    assert_eq!([client.chunk().0, client.chunk().0], ["some", " more"]);
    client.0.get_mut().set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    assert!(client.0.read(&mut [0]).is_err(), "neither more nor an end");
}

#[test]
fn what_was_not_recorded_is_told() {
    let service = play(vec![events()], Timing::None);
    let mut client = Conversation::with(&*service);
    let head = client.ask("POST /orders/7?a=b HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!(head[0], "HTTP/1.1 404 Not Found");
    assert!(head.contains(&"x-squall-recording: unknown".to_owned()), "{head:?}");
    assert_eq!(client.rest(), "squall: the recording has no answer to POST /orders/7\n");
    assert_eq!((service.reading().requests, service.reading().unknown), (1, 1));
}

#[test]
fn bodies_decide_and_answers_come_in_turn() {
    let post = |body: &'static str, answer| Exchange {
        method: "POST".into(),
        body: Body::Kept(body.into()),
        fields: vec![pair("content-length", "1")],
        ..get("/", vec![chunk(0, answer)])
    };
    let service = play(vec![post("a", "1"), post("b", "2"), post("a", "3")], Timing::None);
    let mut client = Conversation::with(&*service);
    let mut answer = |body: &str| {
        client.ask(&format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n{body}"));
        let mut answer = [0];
        client.0.read_exact(&mut answer).unwrap();
        char::from(answer[0])
    };
    assert_eq!(["a", "b", "a", "a", "b"].map(&mut answer), ['1', '2', '3', '1', '2']);
}

#[test]
fn redirects_stay_here() {
    let to = |path: &str, place: &str| Exchange {
        status: 302,
        host: "api.example.com".into(),
        fields: vec![pair("location", place)],
        ..get(path, vec![])
    };
    let exchanges = vec![
        to("/1", "https://api.example.com/next?a=b"),
        to("/2", "https://api.example.community/"),
        to("/3", "/next"),
    ];
    let service = play(exchanges, Timing::None);
    let mut client = Conversation::with(&*service);
    for (path, place) in [("/1", "http://here:1/next?a=b"), ("/2", "https://api.example.community/"), ("/3", "/next")] {
        let head = client.get(path);
        assert!(head.contains(&format!("location: {place}")), "{head:?}");
    }
}

#[test]
fn trailers_come_behind_the_body() {
    let exchange = Exchange { trailers: vec![pair("x-sum", "7")], ..get("/", vec![chunk(0, "a")]) };
    let service = play(vec![exchange], Timing::Recorded);
    let mut client = Conversation::with(&*service);
    client.ask("GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close, te\r\n\r\n");
    assert_eq!(client.rest(), "1\r\na\r\n0\r\nx-sum: 7\r\n\r\n");
}
