//! What is written is read again, and what is played is what was asked for.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::render::exchange as written;
use super::*;
use crate::diagnostic::{Diagnostic, Source};
use crate::draw::DrawKey;
use crate::parse;
use crate::time::{MICRO, MILLI};

fn read(text: &str) -> Result<Recording, String> {
    let source = Arc::new(Source { name: "a.recording.toml".into(), text: text.into() });
    let words = |told: &Diagnostic| format!("{told} {}\n", told.field.as_deref().unwrap_or_default());
    parse::recording(&source).map_err(|told| told.iter().map(words).collect())
}

fn get(path: &str, query: Option<&str>, body: &'static str) -> Exchange {
    Exchange {
        method: "GET".into(),
        path: path.into(),
        query: query.map(str::to_owned),
        status: 200,
        chunks: vec![Chunk { after: 0, content: Content::Bytes(body.into()) }],
        ..Exchange::default()
    }
}

fn playing(exchanges: Vec<Exchange>, strict: bool) -> Playing {
    Playing::new(Arc::new(Recording { exchanges, ..Recording::default() }), strict).unwrap()
}

#[test]
fn what_is_written_is_read_again() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let chunk = |us: u64, content| Chunk { after: us * MICRO, content };
    let exchanges = [
        Exchange {
            at: 1_234 * MICRO,
            host: "api.example.com".into(),
            method: "POST".into(),
            path: "/v1/\"quoted\"".into(),
            query: Some("a=${b}&c=\\".into()),
            request_fields: vec![pair("Accept", "*/*")],
            body: Body::Kept("{\"a\":\"${x}\"}".into()),
            status: 503,
            fields: vec![pair("B", "2"), pair("a", "1"), pair("B", "3")],
            first: 17 * MILLI,
            chunks: vec![
                chunk(0, Content::Bytes("data: grün\r\n\n\u{7f}\t\u{1}".into())),
                chunk(40_001, Content::Bytes(Bytes::from_static(&[0xC3, 0, 0xFF]))),
                chunk(9, Content::Size(1 << 20)),
            ],
            trailers: vec![pair("grpc-status", "0")],
            ended: Ended::Cut,
        },
        Exchange { body: Body::Digest(7, "ab".repeat(32)), ended: Ended::Left, ..get("/a", None, "") },
        Exchange { body: Body::Kept(Bytes::from_static(&[0xFF])), chunks: Vec::new(), ..get("*", None, "") },
        Exchange { body: Body::Size(7), ..get("/", Some(""), "x") },
    ];
    let head = Head {
        upstream: Some("https://api.example.com".into()),
        recorded: Some("2026-11-27T20:00:00Z".into()),
        left_out: vec!["3 exchanges: \"full\"".into()],
    };
    let fits = [Fit::Constant(MILLI), Fit::Lognormal(MILLI, 9 * MILLI), Fit::Quantiles(vec![(0, 0), (100, MILLI)])];
    let routes: Vec<_> = fits.iter().map(|fit| ("GET".to_owned(), "/a/*".to_owned(), 30, fit.clone())).collect();
    let text = render(&head, &routes, &exchanges.each_ref().map(written));
    assert!(!text.contains("${"), "a scenario would take it for a parameter: {text}");
    let read = read(&text).unwrap();
    assert_eq!((&read.head, &read.exchanges[..]), (&head, &exchanges[..]));
    let latencies: Vec<_> = fits.iter().map(|fit| fit.distribution().unwrap()).collect();
    assert_eq!(read.routes.iter().map(|route| route.latency.clone()).collect::<Vec<_>>(), latencies);
}

#[test]
fn what_the_page_shows_is_read() {
    let page = include_str!("../../../docs/recordings.md");
    let block = page.split("```toml\n").find(|block| block.starts_with("recording = 1")).unwrap();
    let recording = read(block.split("```").next().unwrap()).unwrap();
    let exchange = &recording.exchanges[0];
    assert_eq!((exchange.chunks.len(), exchange.ended, recording.routes.len()), (3, Ended::Cut, 1));
}

#[test]
fn a_mistake_is_told_with_its_line_and_field() {
    let with =
        |lines: &str| format!("recording = 1\n\n[[exchange]]\nmethod = \"GET\"\npath = \"/\"\nstatus = 200\n{lines}\n");
    assert!(read(&with("")).is_ok());
    for (text, says) in [
        (String::new(), vec!["`recording` is missing", "at least one [[exchange]]"]),
        ("recording = 2\n[[exchange]]".into(), vec![":1:", "version 2", "`method` is missing"]),
        ("a = ".into(), vec![":1:", "not TOML"]),
        (with("statis = 1"), vec![":7:", "exchange[0].statis", "unknown field"]),
        (with("first = \"soon\""), vec![":7:", "exchange[0].first"]),
        (with("chunks = [[\"1ms\", \"a\"],\n [\"1ms\", true]]"), vec![":8:", "exchange[0].chunks[1]"]),
        (with("chunks = [[\"1ms\", \"!\", \"base64\"]]"), vec![":7:", "base64"]),
        (with("chunks = [[\"1ms\"]]"), vec![":7:", "a piece such as"]),
        (with("fields = [[\"a b\", \"c\"]]"), vec![":7:", "can't stand in an HTTP message"]),
        (with("fields = [[\"a\", \"b\\r\\nc: d\"]]"), vec![":7:", "can't stand in an HTTP message"]),
        (with("body = \"a\"\nbody_size = 1"), vec![":8:", "does not go with `body`"]),
        (with("ended = \"well\""), vec![":7:", "whole"]),
        (
            with("[[route]]\nmethod = \"GET\"\npath = \"/\"\nsamples = 1\nlatency = {}"),
            vec![":11:", "route[0].latency"],
        ),
        (with("").replace("200", "99"), vec![":6:", "exchange[0].status"]),
        (with("").replace("\"/\"", "\"a\""), vec![":5:", "exchange[0].path"]),
    ] {
        let told = read(&text).unwrap_err();
        assert!(says.iter().all(|word| told.contains(word)), "{says:?}: {told}\n{text}");
    }
}

#[test]
fn the_nearest_answer_wins_and_several_come_in_turn() {
    let exchanges = vec![
        get("/a", Some("page=1"), "first"),
        get("/a", Some("page=2"), "second"),
        get("/a", Some("page=2"), "third"),
        Exchange { body: Body::Kept("x".into()), ..get("/a", Some("page=2"), "fourth") },
    ];
    let recorded = playing(exchanges.clone(), false);
    let ask = |playing: &Playing, path: &str, query: Option<&str>, body: &str| {
        let asked = Asked { host: "h", method: "GET", path, query, body: body.as_bytes() };
        playing.answer(&asked)
    };
    assert_eq!(ask(&recorded, "/a", Some("page=1"), ""), Some(0));
    let turns: Vec<_> = (0..5).map(|_| ask(&recorded, "/a", Some("page=2"), "").unwrap()).collect();
    assert_eq!(turns, [1, 2, 1, 2, 1]);
    assert_eq!(ask(&recorded, "/a", Some("page=2"), "x"), Some(3));
    assert_eq!(ask(&recorded, "/a", Some("page=9"), "x"), Some(3), "the body is the same");
    assert_eq!(ask(&recorded, "/b", None, ""), None);
    let strict = playing(exchanges, true);
    assert_eq!(ask(&strict, "/a", Some("page=2"), "x"), Some(3));
    assert_eq!(ask(&strict, "/a", Some("page=9"), ""), None);
}

#[test]
fn a_request_with_its_secret_finds_what_was_written_without() {
    let body = "{\"password\":\"*******\"}";
    let exchange = Exchange { body: Body::Kept(body.into()), ..get("/a", Some("api_key=***&n=1"), "") };
    let other = Exchange { query: Some("n=2".into()), ..exchange.clone() };
    let playing = playing(vec![other, exchange], true);
    let asked =
        |query| Asked { method: "GET", path: "/a", query, body: b"{\"password\":\"hunter2\"}", ..Asked::default() };
    assert_eq!(playing.answer(&asked(Some("api_key=abc&n=1"))), Some(1));
    assert_eq!(playing.answer(&asked(Some("n=2"))), Some(0));
}

#[test]
fn digests_tell_bodies_apart() {
    let recorded = ["one", "two"].map(|body| Exchange { body: Body::digest(body.as_bytes()), ..get("/a", None, "") });
    let playing = playing(recorded.to_vec(), true);
    let answer =
        |body: &str| playing.answer(&Asked { method: "GET", path: "/a", body: body.as_bytes(), ..Asked::default() });
    assert_eq!([answer("two"), answer("one"), answer("six")], [Some(1), Some(0), None]);
}

#[test]
fn the_first_byte_comes_as_recorded_or_as_drawn() {
    let latency = Fit::Lognormal(10 * MILLI, 90 * MILLI).distribution().unwrap();
    let route = Route { method: "GET".into(), path: "/a/*".into(), samples: 50, latency: latency.clone() };
    let exchanges = ["/a/1", "/b"].map(|path| Exchange { first: 7 * MILLI, ..get(path, None, "") }).to_vec();
    let recording = Recording { routes: vec![route], exchanges, ..Recording::default() };
    let playing = Playing::new(Arc::new(recording), false).unwrap();
    let draws = DrawKey::new(0, "service", "api");
    let first = |exchange, timing, unit| playing.first(exchange, timing, draws.unit(unit));
    assert_eq!([first(0, Timing::Recorded, 1), first(0, Timing::None, 1)], [7 * MILLI, 0]);
    assert_eq!(first(1, Timing::Drawn, 1), 7 * MILLI, "there is nothing to draw from");
    let drawn: Vec<Time> = (0..200).map(|unit| first(0, Timing::Drawn, unit)).collect();
    assert_eq!(drawn, (0..200).map(|unit| latency.sample(draws.unit(unit).at(0), 0)).collect::<Vec<_>>());
    let below = drawn.iter().filter(|first| **first < 10 * MILLI).count();
    assert!((70..130).contains(&below), "{below} of 200 below the median");
}
