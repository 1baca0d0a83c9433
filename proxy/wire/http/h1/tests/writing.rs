//! What is written, to the byte.

use squall_core::http::StatusCode;

use super::*;

fn passed(fields: &[(&str, &str)], framing: Framing, how: &Passing<'_>) -> String {
    let request = Request {
        method: Method::PUT,
        authority: "a:1".into(),
        target: "/x".into(),
        fields: fields.iter().copied().collect(),
        ..Request::default()
    };
    let mut out = Vec::new();
    write_request(&request, framing, how, &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("PUT /x HTTP/1.1\r\nHost: a:1\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
}

fn answered(status: u16, fields: &[(&str, &str)], framing: Framing, how: &Passing<'_>) -> String {
    let response = Response {
        status: StatusCode::from_u16(status).unwrap(),
        fields: fields.iter().copied().collect(),
        ..Response::default()
    };
    let mut out = Vec::new();
    write_response(&response, framing, how, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn names_and_order_stay_and_what_is_meant_for_one_hop_goes() {
    let fields = [
        ("X-A", "1"),
        ("Keep-Alive", "timeout=5"),
        ("connection", "keep-alive, X-Hop"),
        ("x-hop", "2"),
        ("Proxy-Connection", "close"),
        ("Upgrade", "websocket"),
        ("TE", "gzip"),
        ("X-B", ""),
        ("x-a", "3"),
    ];
    assert_eq!(passed(&fields, Framing::None, &Passing::default()), "X-A: 1\r\nX-B: \r\nx-a: 3\r\n");
}

#[test]
fn framing_stands_where_it_stood_and_says_what_it_is_told() {
    let how = Passing::default();
    let fields = [("content-length", "9"), ("X", "y")];
    assert_eq!(passed(&fields, Framing::Length(5), &how), "content-length: 5\r\nX: y\r\n");
    assert_eq!(passed(&fields, Framing::Chunked, &how), "X: y\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(passed(&fields, Framing::None, &how), "X: y\r\n");
    let fields = [("Transfer-encoding", "x"), ("X", "y"), ("content-length", "9"), ("content-length", "8")];
    assert_eq!(passed(&fields, Framing::Chunked, &how), "Transfer-encoding: chunked\r\nX: y\r\n");
    assert_eq!(passed(&fields, Framing::Length(0), &how), "X: y\r\ncontent-length: 0\r\n");
    assert_eq!(passed(&[], Framing::Length(u64::MAX), &how), "Content-Length: 18446744073709551615\r\n");
}

#[test]
fn the_connection_says_what_it_must() {
    let fields = [("TE", "gzip, Trailers"), ("Connection", "te"), ("Upgrade", "websocket")];
    let how = Passing { upgrade: true, ..Passing::default() };
    let text = "TE: trailers\r\nUpgrade: websocket\r\nConnection: Upgrade, TE\r\n";
    assert_eq!(passed(&fields, Framing::None, &how), text);
    let how = Passing { keep: Keep::Close, ..Passing::default() };
    assert_eq!(passed(&fields, Framing::None, &how), "TE: trailers\r\nConnection: close, TE\r\n");
    let how = Passing { keep: Keep::Alive, ..Passing::default() };
    assert_eq!(passed(&[], Framing::None, &how), "Connection: keep-alive\r\n");
}

#[test]
fn the_first_line_of_each_form() {
    let line = |method: Method, authority: &str, target: &str, host: Option<&str>| {
        let request = Request { method, authority: authority.into(), target: target.into(), ..Request::default() };
        let mut out = Vec::new();
        write_request(&request, Framing::None, &Passing { host, ..Passing::default() }, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(line(Method::CONNECT, "b:1", "", None), "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n");
    assert_eq!(line(Method::OPTIONS, "b", "*", None), "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(line(Method::GET, "b", "", Some("up:8")), "GET / HTTP/1.1\r\nHost: up:8\r\n\r\n");
}

#[test]
fn a_response_says_its_length_only_where_it_may() {
    let how = Passing::default();
    let fields = [("Content-Length", "5"), ("X", "y")];
    let ok = "HTTP/1.1 200 OK\r\n";
    assert_eq!(answered(200, &fields, Framing::Length(7), &how), format!("{ok}Content-Length: 7\r\nX: y\r\n\r\n"));
    assert_eq!(answered(200, &fields, Framing::None, &how), format!("{ok}Content-Length: 5\r\nX: y\r\n\r\n"));
    assert_eq!(answered(204, &fields, Framing::None, &how), "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n");
    assert_eq!(answered(103, &fields, Framing::None, &how), "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n");
    assert_eq!(answered(200, &fields, Framing::UntilClose, &how), format!("{ok}X: y\r\nConnection: close\r\n\r\n"));
    assert_eq!(answered(299, &[], Framing::Length(0), &how), "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
    let how = Passing { upgrade: true, ..how };
    let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(answered(101, &[("Upgrade", "x")], Framing::None, &how), text);
}

#[test]
fn what_426_asks_for_passes_and_what_others_offer_does_not() {
    let (fields, how) = ([("Upgrade", "chat")], Passing::default());
    let said = "Upgrade: chat\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\r\n";
    assert!(answered(426, &fields, Framing::Length(0), &how).ends_with(said));
    assert!(!answered(200, &fields, Framing::Length(0), &how).contains("pgrade"));
    assert!(!answered(426, &[], Framing::Length(0), &how).contains("Connection"));
}

#[test]
fn a_reason_of_its_own_stays() {
    let response = Response { reason: "Fine".into(), ..Response::default() };
    let mut out = Vec::new();
    write_response(&response, Framing::Length(0), &Passing::default(), &mut out);
    assert!(out.starts_with(b"HTTP/1.1 200 Fine\r\n"));
}

#[test]
fn chunks_and_trailers() {
    let mut out = Vec::new();
    chunk_head(0x1_0ABC, &mut out);
    last_chunk(None, &mut out);
    let trailers: Fields = [("grpc-status", "0"), ("Content-Length", "5"), ("HOST", "b")].into_iter().collect();
    last_chunk(Some(&trailers), &mut out);
    assert_eq!(out, b"10abc\r\n0\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n");
}
