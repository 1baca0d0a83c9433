//! Upstreams and clients that break off, lie about lengths, or send what can be read in more than one way.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use squall_core::observe::Ledger;
use squall_core::plane::DataPlane;
use squall_core::time::SECOND;
use squall_wire::{Options, Plane};

use super::script::*;
use crate::support::*;

/// What a client takes an answer for: its status and body, or none where it was not whole.
fn taken(all: &str) -> Option<(u16, String)> {
    let (head, body) = all.split_once("\r\n\r\n")?;
    let head = format!("{head}\r\n\r\n");
    if value(&head, "transfer-encoding").is_some() {
        let whole = body.ends_with("0\r\n\r\n");
        let data = body.lines().filter(|line| line.starts_with("data")).collect();
        return whole.then(|| (status(&head), data));
    }
    let whole = value(&head, "content-length").is_none_or(|length| length.parse() == Ok(body.len()));
    whole.then(|| (status(&head), body.to_owned()))
}

const SHAPES: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndata01",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata01\r\n0\r\n\r\n",
];

#[test]
fn an_answer_that_breaks_off_at_any_byte_is_never_taken_for_whole() {
    for whole in SHAPES {
        let bytes = whole.as_bytes();
        let upstream = upstream(move |n, _| {
            let part = bytes[..n / 2].to_vec();
            if n % 2 == 0 { Say::Close(part) } else { Say::Reset(part) }
        });
        let (plane, _records) = plane(1);
        let proxy = before(&plane, upstream.address);
        for n in 0..2 * bytes.len() {
            let mut client = Talker::to(proxy);
            client.say(GET.replacen("GET", "POST", 1)); // not asked again
            let (all, _) = client.rest();
            let got = taken(&all);
            assert!(got.as_ref().is_none_or(|(status, _)| *status == 502), "{n}: {got:?} from {all:?}");
            assert!(whole.starts_with("HTTP/1.1 200") && !all.contains("data01\r\n0"), "{n}: {all:?}");
        }
        assert_eq!(upstream.connections(), 2 * bytes.len());
        let reading = plane.reading("p").unwrap();
        assert_eq!((reading.http.cut, plane.panics()), (2 * bytes.len() as u64, 0));
    }
}

#[test]
fn lengths_that_lie_and_ends_that_differ_are_felt_as_without_squall() {
    // what is said before FIN, and whether the body that arrives is all of it
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let cases = [
        (format!("{}data01", head(6)), true),
        (format!("{}data01", head(9)), false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata01".to_owned(), false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata01\r\n".to_owned(), false),
        ("HTTP/1.1 200 OK\r\n\r\ndata01".to_owned(), true),
    ];
    for (says, is_whole) in cases {
        let said = says.clone();
        let upstream = upstream(move |_, _| Say::Close(said.clone().into()));
        let (plane, _records) = plane(1);
        for address in [upstream.address, before(&plane, upstream.address)] {
            let mut client = Talker::to(address);
            client.say(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
            let (all, reset) = client.rest();
            assert_eq!((taken(&all).is_some(), reset), (is_whole, false), "{says:?} by {address}: {all:?}");
            assert!(all.contains("data01"), "{says:?} by {address}: {all:?}");
        }
    }
}

#[test]
fn a_client_that_closes_at_any_byte_of_a_request_leaves_nothing_behind() {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n";
    for whole in [POST, chunked] {
        let upstream = fine();
        let (plane, _records) = plane(1);
        let proxy = before(&plane, upstream.address);
        for n in 0..whole.len() {
            let mut client = Talker::to(proxy);
            client.say(&whole[..n]);
            client.stream().shutdown(Shutdown::Write).unwrap();
            let (all, _) = client.rest();
            assert!(!all.starts_with("HTTP/1.1 200"), "{n}: {all}");
        }
        eventually("nobody is left", || plane.connections() == 0 && upstream.over() == upstream.connections());
        assert_eq!(plane.panics(), 0);
        assert_eq!(Talker::to(proxy).ask(whole).1, "ok");
    }
}

#[test]
fn heads_beyond_measure_are_refused() {
    let upstream = fine();
    let (plane, _records) = plane(1);
    let proxy = before(&plane, upstream.address);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64 << 10));
    for (request, expected) in [(many, 431), (long, 414)] {
        let mut client = Talker::to(proxy);
        // it may be refused before all of it is sent
        let _refused_already = Write::write_all(&mut client.stream(), request.as_bytes());
        assert_eq!(status(&client.head()), expected);
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn what_can_be_read_in_more_than_one_way_never_reaches_the_upstream() {
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let fields = [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5 5\r\n",
        "Host: b\r\n",
        "X: a\0b\r\n",
        "X: a\r\n folded\r\n",
        "X: a\nTransfer-Encoding: chunked\r\n",
    ];
    let upstream = fine();
    let (plane, _records) = plane(1);
    let proxy = before(&plane, upstream.address);
    for field in fields {
        let mut client = Talker::to(proxy);
        client.say(format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n0\r\n\r\n{inner}"));
        let (all, _) = client.rest();
        assert!(all.starts_with("HTTP/1.1 4") && all.matches("HTTP/1.1 ").count() == 1, "{field:?}: {all}");
    }
    let mut client = Talker::to(proxy);
    client.say(format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"));
    assert!(client.rest().0.starts_with("HTTP/1.1 4"));
    assert_eq!(upstream.heard(), "");
}

#[test]
fn a_head_that_drips_in_without_a_pause_is_ended_all_the_same() {
    let upstream = fine();
    let (ledger, _records) = Ledger::new(64);
    let plane = Plane::new(Options { workers: 1, http_head: SECOND / 2, ..Options::new(ledger) }).unwrap();
    let mut client = connect(before(&plane, upstream.address));
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap(); // far less than the limit: it never pauses so long
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").unwrap();
    let (mut answer, mut piece) = (String::new(), [0; 1024]);
    for _ in 0..400 {
        if client.write_all(b"x").is_err() {
            break;
        }
        match client.read(&mut piece) {
            Ok(n) => {
                answer.push_str(&String::from_utf8_lossy(&piece[..n]));
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    assert_eq!((upstream.requests(), plane.panics()), (0, 0));
}
