//! How answers are judged: whole and right, or a failure with its reason.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use squall_core::scenario::{ServiceKind, WorkloadKind, WorkloadSpec};
use squall_core::time::MILLI;

use super::support::*;

/// A server that answers every connection's first request with these bytes, and then does `end`.
fn answering(bytes: &'static [u8], end: fn(TcpStream)) -> SocketAddr {
    scripted(move |_, stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        let _ = stream.get_mut().write_all(bytes);
        end(stream.into_inner());
    })
}

fn http_reasons(bytes: &'static [u8], end: fn(TcpStream)) -> Vec<String> {
    let reading = run(&WorkloadSpec { timeout: 500 * MILLI, ..get("/") }, answering(bytes, end));
    reading.reasons.into_keys().collect()
}

#[test]
fn only_a_whole_http_answer_counts() {
    let none: [String; 0] = [];
    assert_eq!(http_reasons(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole", drop), none);
    assert_eq!(http_reasons(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nshort", drop), ["closed early"]);
    assert_eq!(
        http_reasons(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort", drop),
        ["closed early"]
    );
    assert_eq!(http_reasons(b"HTTP/1.1 200 O", drop), ["closed early"]);
    assert_eq!(http_reasons(b"", drop), ["closed early"]);
    assert_eq!(http_reasons(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nshort", reset), ["connection reset"]);
    assert_eq!(http_reasons(b"", reset), ["connection reset"]);
    assert_eq!(http_reasons(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nshort", hang), ["timed out"]);
    assert_eq!(http_reasons(b"SSH-2.0-OpenSSH_9.6\r\n", hang), ["answer is not HTTP"]);
    assert_eq!(http_reasons(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", hang), ["answer is not HTTP"]);
}

#[test]
fn the_status_decides() {
    let answered = |answer: u16, expected: Option<u16>| {
        let service =
            service(ServiceKind::Http { status: answer, size: 100, latency: None, capacity: None, calls: None });
        let mut spec = get("/");
        if let WorkloadKind::Http(requests) = &mut spec.kind {
            requests[0].request.status = expected;
        }
        run(&WorkloadSpec { connections: Some(2), ..spec }, service.address())
    };
    assert_eq!(answered(404, None).ok, 10);
    assert_eq!(answered(204, Some(204)).ok, 10);
    assert_eq!(reasons(&answered(503, None)), [("status 503", 10)]);
    assert_eq!(reasons(&answered(200, Some(404))), [("status 200", 10)]);
    assert_eq!(answered(503, Some(503)).ok, 10);
}

#[test]
fn nobody_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(reasons(&run(&get("/"), address)), [("refused", 10)]);
    assert_eq!(reasons(&run(&tcp("a", "b"), address)), [("refused", 10)]);
}

#[test]
fn tcp_answers_are_compared_byte_by_byte() {
    let service = service(ServiceKind::Banner { text: "+PONG\r\n".into() });
    assert_eq!(run(&tcp("PING\r\n", "+PONG\r\n"), service.address()).ok, 10);
    assert_eq!(run(&tcp("PING\r\n", ""), service.address()).ok, 10);
    assert_eq!(reasons(&run(&tcp("PING\r\n", "+PUNG\r\n"), service.address())), [("answer differs", 10)]);
    // shorter than expected, but different from its first byte on: not waited for
    let error = answering(b"-ERR\r\n", hang);
    assert_eq!(reasons(&run(&tcp("PING\r\n\r\n", "a much longer answer"), error)), [("answer differs", 10)]);
    let half = answering(b"+PO", drop);
    assert_eq!(reasons(&run(&tcp("PING\r\n\r\n", "+PONG\r\n"), half)), [("closed early", 10)]);
}
