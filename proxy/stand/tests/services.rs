use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use squall_core::dist::Distribution;
use squall_core::plane::Stand;
use squall_core::scenario::{ServiceKind, ServiceSpec};
use squall_core::time::MILLI;

use super::support::*;
use crate::LocalStand;
use crate::timer::now;

fn http(status: u16, size: u64, latency: Option<Distribution>) -> ServiceKind {
    ServiceKind::Http { status, size, latency, capacity: None, calls: None }
}

/// One request; returns the head of the answer and its body.
fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> (Vec<String>, Vec<u8>) {
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let head = head(stream);
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn http_answers_with_status_and_exact_size_on_a_kept_connection() {
    for size in [0, 1, 2048, 1_000_003] {
        let service = service(http(404, size, None));
        let mut stream = BufReader::new(dial(service.address()));
        for _ in 0..2 {
            let (head, body) = ask(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(head[0], "HTTP/1.1 404 Not Found");
            assert_eq!(body.len() as u64, size);
            assert!(body.chunks(64).all(|line| b"squall 0123456789".starts_with(&line[..line.len().min(17)])));
        }
        let (_, _) = ask(&mut stream, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let _ = head(&mut stream);
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap() as u64, size, "nothing beyond the body");
    }
}

#[test]
fn http_latency_is_never_early() {
    let service = service(http(200, 10, Some(Distribution::constant(30 * MILLI))));
    let mut stream = BufReader::new(dial(service.address()));
    for _ in 0..5 {
        let sent = now();
        ask(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        assert!(now() - sent >= 30 * MILLI);
    }
}

#[test]
fn http_survives_what_is_not_http() {
    let service = service(http(200, 10, None));
    let mut stream = dial(service.address());
    stream.write_all(b"\0\xff not http at all\r\n\r\n").unwrap();
    hang(stream);
    reset(dial(service.address()));
    let (head, _) = ask(&mut BufReader::new(dial(service.address())), "GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(head[0], "HTTP/1.1 200 OK");
}

#[test]
fn echo_sends_back_every_byte_and_the_end() {
    let service = service(ServiceKind::Echo);
    let mut stream = dial(service.address());
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent);
}

#[test]
fn banner_speaks_first_and_answers_each_line() {
    let service = service(ServiceKind::Banner { text: "220 ready\r\n".into() });
    let mut stream = BufReader::new(dial(service.address()));
    assert_eq!(line(&mut stream).unwrap(), "220 ready");
    stream.get_mut().write_all(b"HELO\r\nNO").unwrap();
    assert_eq!(line(&mut stream).unwrap(), "220 ready");
    stream.get_mut().write_all(b"OP\r\n\n").unwrap();
    stream.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "220 ready\r\n220 ready\r\n");
}

#[test]
fn a_dropped_service_ends_its_connections_and_frees_its_port() {
    let service = service(ServiceKind::Echo);
    let (address, stream) = (service.address(), dial(service.address()));
    drop(service);
    hang(stream);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_can_not_be_served_is_said() {
    let service = service(ServiceKind::Echo);
    let taken = service.address().to_string();
    let start = |kind, listen: &str| {
        let spec = ServiceSpec { name: "catalogue".into(), kind, listen: listen.into() };
        LocalStand.service(&spec).map(|service| service.address()).unwrap_err()
    };
    let in_use = start(ServiceKind::Echo, &taken);
    assert!(in_use.starts_with(&format!("service `catalogue` can not listen on {taken}: ")), "{in_use}");
    assert!(start(ServiceKind::Echo, "no port here").contains("can not listen on no port here"));
    assert!(start(http(100, 0, None), "127.0.0.1:0").contains("status"));
}
