//! The same exchanges in all four pairs of versions.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Request;
use squall_core::plane::DataPlane;
use squall_core::way::HttpVersion;

use super::peers::*;
use crate::support::*;

/// Runs a test in each pair of versions, client's first.
fn in_all_pairs(test: impl Fn(&str, &dyn Fn(&Ask) -> Option<Answer>)) {
    for up in [HttpVersion::One, HttpVersion::Two] {
        let (plane, _records) = plane(1);
        let upstream = if up == HttpVersion::One { upstream1() } else { upstream2(|_| {}).address };
        let proxy = open_http(&plane, upstream, up);
        test(&format!("1 to {up:?}"), &|ask| ask1(proxy, ask));
        test(&format!("2 to {up:?}"), &|ask| ask2(proxy, ask).ok());
        assert_eq!(plane.panics(), 0);
        eventually("all connections have ended", || plane.connections() == 0);
    }
}

#[test]
fn a_request_and_its_answer_pass() {
    in_all_pairs(|pair, ask| {
        let answer = ask(&Ask { fields: vec![("x-a", "1"), ("te", "trailers")], ..Ask::get("/a?b=c") }).expect(pair);
        assert_eq!(answer.status, 200, "{pair}");
        let field = |name: &str| answer.fields.get(name).map(String::as_str);
        assert_eq!(field("x-method"), Some("GET"), "{pair}");
        assert_eq!(field("x-path"), Some("/a?b=c"), "{pair}");
        assert_eq!(field("x-authority"), Some("a.test:81"), "{pair}");
        assert_eq!((field("x-got-x-a"), field("x-got-te")), (Some("1"), Some("trailers")), "{pair}");
        assert!(answer.body.is_empty(), "{pair}");
        let none = ask(&Ask::get("/empty")).expect(pair);
        assert_eq!((none.status, none.body.len()), (200, 0), "{pair}");
    });
}

#[test]
fn bodies_and_trailers_pass_with_and_without_a_length() {
    in_all_pairs(|pair, ask| {
        for size in [1, 1000, 3_000_000] {
            let mut body = vec![0; size];
            pattern(0, &mut body);
            let length = ask(&Ask::post("/echo", body.clone())).expect(pair);
            assert!(length.body == body, "{pair} {size}");
            assert_eq!(length.fields.get("x-got-content-length"), Some(&size.to_string()), "{pair}");
            assert_eq!(length.trailers.get("x-seen"), Some(&size.to_string()), "{pair}");
            let trailers = vec![("x-end", "yes")];
            let open = ask(&Ask { chunks: true, trailers, ..Ask::post("/echo", body.clone()) }).expect(pair);
            assert!(open.body == body, "{pair} {size}");
            assert_eq!(open.trailers.get("x-end").map(String::as_str), Some("yes"), "{pair}");
        }
    });
}

#[test]
fn head_interim_answers_and_expectations_pass() {
    in_all_pairs(|pair, ask| {
        let head = ask(&Ask { method: "HEAD", ..Ask::get("/head") }).expect(pair);
        assert_eq!((head.status, head.body.len()), (200, 0), "{pair}");
        let hints = ask(&Ask::get("/hints")).expect(pair);
        assert_eq!((hints.status, hints.interim), (200, vec![103]), "{pair}");
        let expects = Ask { fields: vec![("expect", "100-continue")], ..Ask::post("/echo", b"body".to_vec()) };
        let expected = ask(&expects).expect(pair);
        assert_eq!((expected.status, &expected.body[..]), (200, &b"body"[..]), "{pair}");
    });
}

#[test]
fn an_answer_that_is_cut_is_seen_as_cut() {
    in_all_pairs(|pair, ask| {
        assert!(ask(&Ask::get("/cut")).is_none(), "{pair}");
    });
}

#[test]
fn websocket_crosses_the_versions() {
    for up in [HttpVersion::One, HttpVersion::Two] {
        let (plane, _records) = plane(1);
        let upstream = if up == HttpVersion::One { upstream1() } else { upstream2(|_| {}).address };
        let proxy = open_http(&plane, upstream, up);
        let fields = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        let one = ask1(proxy, &Ask { fields, ..Ask::get("/chat") }).expect("HTTP/1");
        assert_eq!((one.status, &one.body[..]), (101, &b"ping"[..]), "{up:?}");
        let accept = if up == HttpVersion::One { "x" } else { "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" };
        assert_eq!(one.fields.get("sec-websocket-accept").map(String::as_str), Some(accept));
        block_on(over_connect(proxy, up));
    }
}

/// An extended CONNECT, whose tunnel echoes.
async fn over_connect(proxy: SocketAddr, up: HttpVersion) {
    let mut sender = connect2(proxy).await;
    while !sender.is_extended_connect_protocol_enabled() {
        let _settings_come_with_it = ask2_on(&mut sender, &Ask::get("/empty")).await;
    }
    let request = Request::builder()
        .method("CONNECT")
        .uri("http://a.test:81/chat")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    let (response, mut send) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200, "{up:?}");
    assert!(response.headers().get("sec-websocket-accept").is_none());
    if up == HttpVersion::One {
        assert_eq!(response.headers()["x-method"], "GET");
        assert_eq!(response.headers()["x-got-sec-websocket-key"].len(), 24);
    }
    send.send_data(Bytes::from_static(b"ping"), true).unwrap();
    let mut body = response.into_body();
    let mut got = Vec::new();
    while let Some(piece) = body.data().await {
        got.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(got, b"ping", "{up:?}");
}

#[test]
fn cookies_in_crumbs_are_one_again() {
    for up in [HttpVersion::One, HttpVersion::Two] {
        let (plane, _records) = plane(1);
        let upstream = if up == HttpVersion::One { upstream1() } else { upstream2(|_| {}).address };
        let proxy = open_http(&plane, upstream, up);
        let crumbs = Ask { fields: vec![("cookie", "a=1"), ("x-b", "2"), ("cookie", "c=3")], ..Ask::get("/") };
        let answer = ask2(proxy, &crumbs).unwrap();
        assert_eq!(answer.fields.get("x-got-cookie").map(String::as_str), Some("a=1; c=3"));
    }
}

#[test]
fn many_exchanges_share_a_connection_to_the_upstream() {
    let (plane, _records) = plane(1);
    let upstream = upstream2(|builder| {
        builder.max_concurrent_streams(5);
    });
    let proxy = open_http(&plane, upstream.address, HttpVersion::Two);
    block_on(async {
        let sender = connect2(proxy).await;
        for round in 0..4 {
            let asks = (0..100).map(|_| {
                let mut sender = sender.clone();
                tokio::spawn(async move { ask2_on(&mut sender, &Ask::post("/echo", vec![7; 20_000])).await.is_ok() })
            });
            for (n, done) in asks.collect::<Vec<_>>().into_iter().enumerate() {
                assert!(done.await.unwrap(), "{round} {n}");
            }
        }
    });
    let opened = upstream.connections.load(Ordering::SeqCst);
    assert!((1..=8).contains(&opened), "{opened} connections for 400 exchanges");
    assert!(plane.reading("p").unwrap().http.reused >= 392, "{:?}", plane.reading("p").unwrap().http);
}

#[test]
fn an_upstream_that_goes_away_or_refuses_is_asked_again_where_that_is_safe() {
    let (plane, _records) = plane(1);
    let upstream = upstream2(|_| {});
    let proxy = open_http(&plane, upstream.address, HttpVersion::Two);
    let status = |path| ask2(proxy, &Ask::get(path)).map(|answer| answer.status).map_err(|cut| cut.1.reason());
    assert_eq!(status("/"), Ok(200));
    assert!(status("/go-away").is_err(), "the second attempt is not answered either");
    assert_eq!(status("/"), Ok(200));
    assert_eq!(status("/refuse"), Err(Some(h2::Reason::REFUSED_STREAM)));
    assert_eq!(status("/"), Ok(200));
}

#[test]
fn many_that_are_refused_at_once_open_no_more_connections_than_others() {
    let (plane, _records) = plane(1);
    let upstream = upstream2(|_| {});
    let proxy = open_http(&plane, upstream.address, HttpVersion::Two);
    block_on(async {
        let sender = connect2(proxy).await;
        let asks = (0..50).map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move { ask2_on(&mut sender, &Ask::get("/refuse")).await.is_err() })
        });
        for refused in asks.collect::<Vec<_>>() {
            assert!(refused.await.unwrap());
        }
    });
    let opened = upstream.connections.load(Ordering::SeqCst);
    assert!((1..=8).contains(&opened), "{opened} connections for 50 exchanges");
}

#[test]
fn an_upstream_that_does_not_speak_http_2_is_told_from_one_that_fails() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::Two);
    let answer = ask1(proxy, &Ask::get("/")).unwrap();
    assert_eq!(answer.status, 502);
    assert_eq!(answer.fields.get("proxy-status").map(String::as_str), Some("squall; error=http_protocol_error"));
}
