//! What passes, without a fault.

use std::io::Read;
use std::net::Shutdown;

use squall_core::plane::DataPlane;
use squall_core::way::HttpVersion;

use super::script::*;
use crate::http2::peers::{Ask, ask1, open_http, upstream1};
use crate::support::*;

#[test]
fn a_connection_carries_one_exchange_after_another_and_pipelined_ones_in_order() {
    let (plane, _records) = plane(1);
    let upstream = upstream(|n, _| Say::Keep(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{n:02}").into()));
    let mut client = Talker::to(before(&plane, upstream.address));
    for n in 0..5 {
        assert_eq!(client.ask(GET).1, format!("{n:02}"));
    }
    client.say([GET, POST, GET].concat().repeat(10));
    for n in 5..35 {
        assert_eq!(client.answer().1, format!("{n:02}"));
    }
    let reading = plane.reading("p").unwrap();
    assert_eq!((upstream.connections(), reading.http.reused), (1, 34));
}

#[test]
fn clients_of_http_1_0_get_what_they_know() {
    let (plane, _records) = plane(1);
    let proxy = before(&plane, fine().address);
    let mut client = Talker::to(proxy);
    client.say("GET / HTTP/1.0\r\n\r\n");
    let (all, reset) = client.rest();
    assert!(all.ends_with("ok") && !reset, "{all}");
    let mut client = Talker::to(proxy);
    for _ in 0..2 {
        let (head, body) = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(body, "ok");
        assert!(head.to_ascii_lowercase().contains("connection: keep-alive"), "{head}");
    }
    let chunked = upstream(|_, _| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        Say::Keep(format!("{hints}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n").into())
    });
    let (other, _records) = crate::support::plane(1);
    let mut client = Talker::to(before(&other, chunked.address));
    client.say("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let (all, _) = client.rest();
    let lower = all.to_ascii_lowercase();
    assert!(!lower.contains("chunked") && !lower.contains("103") && all.ends_with("\r\n\r\nab"), "{all}");
}

#[test]
fn answers_without_a_body_are_known() {
    let (plane, _records) = plane(1);
    let upstream = upstream(|_, request| {
        Say::Keep(match request.split(' ').nth(1).unwrap() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"a\"\r\n\r\n".into(),
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n".into(),
            _ => OK.into(),
        })
    });
    let mut client = Talker::to(before(&plane, upstream.address));
    for (method, path, length) in [("GET", "/204", None), ("GET", "/304", Some("99")), ("HEAD", "/head", Some("42"))] {
        client.say(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(value(&client.head(), "content-length"), length, "{path}");
        assert_eq!(client.ask(GET).1, "ok", "behind {path}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn interim_answers_chunks_and_trailers_pass_both_ways() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    assert_eq!(ask1(proxy, &Ask::get("/hints")).unwrap().interim, [103]);
    let ask = Ask { fields: vec![("Expect", "100-continue")], ..Ask::post("/", vec![7; 10]) };
    let answer = ask1(proxy, &ask).unwrap();
    assert_eq!((answer.interim, answer.body), (vec![100], vec![7; 10]));
    let ask = Ask { chunks: true, trailers: vec![("x-sum", "1")], ..Ask::post("/", vec![7; 30_000]) };
    let answer = ask1(proxy, &ask).unwrap();
    assert!(answer.body == ask.body);
    assert_eq!(answer.trailers.get("x-sum").map(String::as_str), Some("1"));
    assert_eq!(answer.trailers.get("x-seen").map(String::as_str), Some("30000"));
}

#[test]
fn large_bodies_arrive_byte_for_byte_both_ways() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    let mut body = vec![0; 32 << 20];
    pattern(0, &mut body);
    for chunks in [false, true] {
        let ask = Ask { chunks, ..Ask::post("/", body.clone()) };
        assert!(ask1(proxy, &ask).unwrap().body == body, "{chunks}");
    }
}

#[test]
fn a_body_until_the_close_stays_one() {
    let (plane, _records) = plane(1);
    let upstream = upstream(|_, _| Say::Close("HTTP/1.1 200 OK\r\n\r\nuntil the end".into()));
    let mut client = Talker::to(before(&plane, upstream.address));
    client.say(GET);
    let (all, reset) = client.rest();
    assert!(all.contains("until the end") && !reset, "{all}");
    assert_eq!(plane.reading("p").unwrap().http.cut, 0);
}

#[test]
fn an_early_answer_reaches_the_client_and_ends_both_connections() {
    let (plane, _records) = plane(1);
    // it answers the head alone and reads nothing more
    let upstream = server(|mut stream| {
        let _head = stream.read(&mut [0; 100]);
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno").unwrap();
        let mut sink = vec![0; 1 << 20];
        while stream.read(&mut sink).is_ok_and(|n| n > 0) {}
    });
    let mut client = Talker::to(before(&plane, upstream));
    client.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nfirst");
    let (head, body) = client.answer();
    assert_eq!((status(&head), &*body), (413, "no"));
    client.say(vec![b'x'; 99_995]);
    // whether or not the connection goes on, the rest of the body is no request
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest().0, "");
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";

#[test]
fn an_upgrade_and_a_connect_carry_bytes_both_ways_to_a_half_close() {
    let (plane, _records) = plane(1);
    let upstream = upstream(|_, request| match request.starts_with("CONNECT") {
        true => Say::Echo("HTTP/1.1 200 OK\r\n\r\n".into()),
        false => Say::Echo(SWITCHED.into()),
    });
    let proxy = before(&plane, upstream.address);
    for (request, expected) in
        [(format!("{UPGRADE}\r\n"), 101), ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), 200)]
    {
        let mut client = Talker::to(proxy);
        client.say(&request);
        assert_eq!(status(&client.head()), expected);
        client.say("one");
        assert_eq!(client.exactly(3), b"one");
        client.say("two");
        client.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), ("two".to_owned(), false));
    }
    assert_eq!(plane.reading("p").unwrap().http.reused, 0);
}

#[test]
fn an_upgrade_with_a_body_is_no_upgrade() {
    let (plane, _records) = plane(1);
    let upstream = fine();
    let mut client = Talker::to(before(&plane, upstream.address));
    assert_eq!(client.ask(&format!("{UPGRADE}Content-Length: 5\r\n\r\n12345")).1, "ok");
    assert!(!upstream.heard().to_ascii_lowercase().contains("upgrade"), "{}", upstream.heard());
}

#[test]
fn a_switch_that_nobody_asked_for_is_refused() {
    let (plane, _records) = plane(1);
    let upstream = upstream(|n, _| Say::Keep(if n == 0 { SWITCHED.into() } else { OK.into() }));
    let proxy = before(&plane, upstream.address);
    let mut client = Talker::to(proxy);
    client.say(GET);
    assert_eq!(status(&client.head()), 502);
    assert_eq!(Talker::to(proxy).ask(GET).1, "ok");
    eventually("its connection is closed", || upstream.over() == 1);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_client_that_leaves_has_the_upstream_left() {
    let (plane, _records) = plane(1);
    let upstream = upstream(|_, _| Say::Keep(vec![]));
    let mut client = Talker::to(before(&plane, upstream.address));
    client.say(GET);
    eventually("asked", || upstream.requests() == 1);
    drop(client);
    eventually("left", || upstream.over() == 1);
    eventually("counted", || plane.reading("p").unwrap().http.left == 1);
}

#[test]
fn a_request_over_a_connection_that_was_closed_meanwhile_is_sent_again_where_that_is_safe() {
    for (request, again) in [(GET, true), (POST, false)] {
        let (plane, _records) = plane(1);
        // it takes the second request and closes without a word, as one that closed while it rested
        let upstream = upstream(|n, _| if n == 1 { Say::Close(vec![]) } else { Say::Keep(OK.into()) });
        let mut client = Talker::to(before(&plane, upstream.address));
        assert_eq!(client.ask(GET).1, "ok");
        client.say(request);
        if again {
            assert_eq!(client.answer().1, "ok");
        } else {
            assert_eq!(client.rest().0, "");
        }
        assert_eq!(upstream.requests(), if again { 3 } else { 2 }, "{request}");
    }
}

#[test]
fn a_connection_is_not_used_again_behind_an_answer_that_was_not_clean() {
    let unclean = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ];
    for first in unclean {
        let (plane, _records) = plane(1);
        let upstream = upstream(move |n, _| Say::Keep(if n == 0 { first.into() } else { OK.into() }));
        let mut client = Talker::to(before(&plane, upstream.address));
        for _ in 0..3 {
            assert_eq!(client.ask(GET).1, "ok", "{first}");
        }
        assert_eq!((upstream.connections(), plane.reading("p").unwrap().http.reused), (2, 1), "{first}");
    }
}
