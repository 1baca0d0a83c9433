#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use squall_core::diagnostic::Source;
use squall_core::http::{Request, Response};
use squall_core::parse;
use squall_core::recording::{Body, Content, Recording};
use squall_core::tap::{self, Tap};
use squall_core::time::MILLI;

use super::*;

const KEY: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const TOKEN: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

/// What an exchange is like; the answer's body in pieces, a ms apart.
#[derive(Clone, Copy, Default)]
struct Seen<'a> {
    at: Time,
    target: &'a str,
    asks: &'a [(&'a str, &'a str)],
    body: &'a str,
    answers: &'a [(&'a str, &'a str)],
    pieces: &'a [&'a str],
    tunnel: bool,
}

fn book(exchanges: usize) -> Book {
    let redaction = Redaction::new(&["x-tenant".into()], &["hunter[0-9]".into()]).unwrap();
    Book::new(redaction, Limits { exchanges, size: 1 << 20 }, 0)
}

fn take(book: &mut Book, seen: Seen<'_>) {
    let (tap, from) = Tap::new(tap::Limits { waiting: 1, body: 64, held: 1 << 20 });
    let mut tapped = tap.begin(seen.at);
    let (target, authority) = (seen.target.to_owned(), "api.example.com".to_owned());
    let fields = seen.asks.iter().copied().collect();
    tapped.ask(&Request { target, authority, fields, ..Request::default() }, seen.at);
    if !seen.body.is_empty() {
        tapped.sent(seen.body.as_bytes(), seen.at);
    }
    let response = Response { fields: seen.answers.iter().copied().collect(), ..Response::default() };
    tapped.answered(&response, false, seen.tunnel, seen.at + 7 * MILLI);
    for (n, piece) in seen.pieces.iter().enumerate() {
        tapped.came(piece.as_bytes(), seen.at + (7 + n as u64) * MILLI);
    }
    tapped.ended(None);
    drop(tapped);
    book.take(from.try_recv().unwrap());
}

fn finish(book: Book) -> (String, Recording) {
    let (text, _) = book.finish(Head::default(), 0);
    let source = Arc::new(Source { name: "a.recording.toml".into(), text: text.clone() });
    (text, parse::recording(&source).unwrap())
}

#[test]
fn no_secret_is_written_down_wherever_it_stands() {
    let mut book = book(10);
    let bearer = format!("Bearer {KEY}");
    let (target, body) = (format!("/v1/{TOKEN}?api_key=canary-query&n=1"), "{\"password\":\"canary-body\"}".to_owned());
    let asks =
        [("Authorization", &*bearer), ("Cookie", "s=canary-cookie"), ("X-Api-Key", "canary-api"), ("Accept", "*/*")];
    let answers =
        [("Set-Cookie", "s=canary-set; Path=/"), ("X-Session", "canary-x"), ("X-Tenant", "me"), ("Location", &*target)];
    // the key is torn apart by the network
    let (left, right) = KEY.split_at(11);
    let pieces = ["{\"key\":\"", left, right, "\"} hunter2"];
    take(
        &mut book,
        Seen { target: &target, asks: &asks, body: &body, answers: &answers, pieces: &pieces, ..Seen::default() },
    );
    let (text, recording) = finish(book);
    for secret in ["canary", KEY, &KEY[12..], TOKEN, &TOKEN[8..], "hunter2"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
    let exchange = &recording.exchanges[0];
    let names: Vec<&str> = exchange.request_fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Accept"]);
    let value = |name: &str| exchange.fields.iter().find(|(other, _)| other == name).unwrap().1.as_str();
    assert_eq!(
        [value("Set-Cookie"), value("X-Session"), value("X-Tenant")],
        ["s=[redacted]; Path=/", "[redacted]", "me"]
    );
    let sizes: Vec<usize> = exchange
        .chunks
        .iter()
        .map(|chunk| match &chunk.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Size(_) => 0,
        })
        .collect();
    assert_eq!(sizes, pieces.map(str::len), "lengths stay");
}

#[test]
fn what_is_left_out_is_said() {
    let mut book = book(2);
    take(&mut book, Seen { at: 9, target: "/b", pieces: &[&"x".repeat(50), &"y".repeat(50)], ..Seen::default() });
    take(&mut book, Seen { target: "/gz", answers: &[("content-encoding", "gzip")], ..Seen::default() });
    take(&mut book, Seen { target: "/ws", tunnel: true, ..Seen::default() });
    take(&mut book, Seen { at: 5, target: "/a", ..Seen::default() });
    take(&mut book, Seen { at: 12, target: "/c", ..Seen::default() });
    let (_, recording) = finish(book);
    let paths: Vec<&str> = recording.exchanges.iter().map(|exchange| exchange.path.as_str()).collect();
    assert_eq!(paths, ["/a", "/b"], "in the order in which they began");
    let kept: Vec<&Content> = recording.exchanges[1].chunks.iter().map(|chunk| &chunk.content).collect();
    assert_eq!(kept[0], &Content::Bytes("x".repeat(50).into()));
    assert_eq!(kept[1..], [&Content::Bytes("y".repeat(14).into()), &Content::Size(36)]);
    let told = recording.head.left_out.join("\n");
    for words in
        ["1 exchanges beyond the first 2", "1 compressed", "1 connections that left", "1 answers of which only"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn bodies_are_kept_or_told_apart() {
    let mut book = book(10);
    let long = "z".repeat(65);
    for body in ["", "short", "my hunter2", long.as_str()] {
        take(&mut book, Seen { target: "/", body, ..Seen::default() });
    }
    let (_, recording) = finish(book);
    let bodies: Vec<Body> = recording.exchanges.into_iter().map(|exchange| exchange.body).collect();
    assert_eq!(bodies, [Body::None, Body::Kept("short".into()), Body::Size(10), Body::Size(65)]);
}

#[test]
fn routes_have_latencies_even_of_what_is_left_out() {
    let mut book = book(1);
    (0..30).for_each(|n| take(&mut book, Seen { target: &format!("/orders/{n}?a=b"), ..Seen::default() }));
    let (_, recording) = finish(book);
    assert_eq!(recording.exchanges.len(), 1);
    let route = &recording.routes[0];
    assert_eq!((route.method.as_str(), route.path.as_str(), route.samples), ("GET", "/orders/*", 30));
    assert_eq!(route.latency.sample(5, 0), 7 * MILLI);
}
