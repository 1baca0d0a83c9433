//! What a response's head says, and what is refused of an upstream.

use squall_core::http::{StatusCode, Version};

use super::*;

fn get(text: &str) -> (Taken, Response) {
    response_to(&Method::GET, text).unwrap().unwrap()
}

#[test]
fn a_response_is_taken_as_it_was_sent() {
    let text = "HTTP/1.1 404 Not \u{c3}\u{a9} Here\r\nServer: x\r\nContent-Length: 5\r\n\r\n";
    let (taken, response) = get(&format!("{text}12345"));
    assert_eq!((taken.used, taken.framing, taken.persists), (latin(text).len(), Framing::Length(5), true));
    assert_eq!((response.status, &*response.reason), (StatusCode::NOT_FOUND, "Not \u{e9} Here"));
    assert_eq!((response.version, response.fields.len()), (Version::HTTP_11, 2));
}

#[test]
fn a_reason_may_be_missing_with_its_space_or_be_no_text() {
    assert_eq!(get("HTTP/1.1 200\r\n\r\n").1.reason, "");
    assert_eq!(get("HTTP/1.1 200 \r\n\r\n").1.reason, "");
    assert_eq!(get("HTTP/1.0 299 \u{ff}\r\n\r\n").1.reason, "");
}

#[test]
fn a_body_is_delimited_by_fields_status_and_request() {
    let framing = |method: &Method, text: &str| response_to(method, text).unwrap().unwrap().0.framing;
    let length = "Content-Length: 5\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let answer = |status: &str, fields: &str| format!("HTTP/1.1 {status} x\r\n{fields}");
    assert_eq!(framing(&Method::GET, &answer("200", length)), Framing::Length(5));
    assert_eq!(framing(&Method::GET, &answer("200", chunked)), Framing::Chunked);
    assert_eq!(framing(&Method::GET, &answer("200", "\r\n")), Framing::UntilClose);
    for fields in [length, chunked, "\r\n"] {
        assert_eq!(framing(&Method::HEAD, &answer("200", fields)), Framing::None);
        assert_eq!(framing(&Method::GET, &answer("304", fields)), Framing::None);
        assert_eq!(framing(&Method::GET, &answer("204", fields)), Framing::None);
        assert_eq!(framing(&Method::GET, &answer("103", fields)), Framing::None);
        assert_eq!(framing(&Method::CONNECT, &answer("200", fields)), Framing::None);
    }
    assert_eq!(framing(&Method::CONNECT, &answer("403", length)), Framing::Length(5));
}

#[test]
fn a_length_stays_where_it_speaks_of_another_body_and_goes_where_there_never_is_one() {
    let kept = |method: &Method, status: &str| {
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        response_to(method, &text).unwrap().unwrap().1.fields.has("content-length")
    };
    assert!(kept(&Method::HEAD, "200") && kept(&Method::GET, "304"));
    assert!(!kept(&Method::GET, "204") && !kept(&Method::GET, "103") && !kept(&Method::CONNECT, "200"));
}

#[test]
fn the_connection_goes_on_where_the_end_of_the_body_can_be_told() {
    assert!(!get("HTTP/1.1 200 x\r\n\r\n").0.persists);
    assert!(!get("HTTP/1.1 200 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").0.persists);
    assert!(!get("HTTP/1.0 200 x\r\nContent-Length: 0\r\n\r\n").0.persists);
    assert!(get("HTTP/1.0 200 x\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n").0.persists);
    assert!(get("HTTP/1.1 304 x\r\n\r\n").0.persists);
}

#[test]
fn interim_responses_are_responses_of_their_own() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let both = format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (taken, response) = get(&both);
    assert_eq!((taken.used, response.status.as_u16(), taken.framing), (early.len(), 103, Framing::None));
    assert_eq!(get(&both[taken.used..]).1.status, StatusCode::OK);
    assert!(get("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").0.upgrade);
}

#[test]
fn what_an_upstream_may_not_send_is_its_fault() {
    for wrong in [
        "hello",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 \u{b2}00 OK\r\n\r\n",
        "HTTP/1.1 200\tOK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\rX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 304 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        assert_eq!(response_to(&Method::GET, wrong).unwrap_err().status, StatusCode::BAD_GATEWAY, "{wrong:?}");
    }
    let endless = format!("HTTP/1.1 200 {}", "x".repeat(Limits::default().head));
    assert_eq!(response_to(&Method::GET, &endless).unwrap_err().status, StatusCode::BAD_GATEWAY);
    assert_eq!(response_to(&Method::GET, "HTTP/1.1 200 OK\r\nX: y\r\n"), Ok(None));
}
