//! `protocol = "auto"`: what clients say first tells what they speak, in the clear and under TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use squall_core::plan::Layer;
use squall_core::plane::DataPlane;
use squall_core::scenario::{Phase, Protocol, ProxySpec};
use squall_core::time::MILLI;
use squall_core::way::HttpVersion;
use squall_wire::Plane;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http1::script::{GET, POST, Say, Talker, faults, fine, inject, status, upstream};
use crate::http2::peers::{Ask, ask2, ask2_on, block_on, http};
use crate::support::*;
use crate::tls::peers::{Stand, talk2};

fn auto(upstream: SocketAddr) -> ProxySpec {
    ProxySpec { protocol: Protocol::Auto, ..http(upstream, HttpVersion::One) }
}

fn open(plane: &Plane, upstream: SocketAddr) -> SocketAddr {
    address(&plane.open(&auto(upstream)).unwrap())
}

/// Exchanges that were counted.
fn answers(plane: &Plane) -> u64 {
    plane.reading("p").unwrap().http.answers.iter().sum()
}

#[test]
fn http_is_told_in_both_versions() {
    let upstream = fine();
    let (plane, _records) = plane(1);
    let proxy = open(&plane, upstream.address);
    let mut client = Talker::to(proxy);
    assert_eq!((client.ask(GET).1, client.ask(POST).1), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(ask2(proxy, &Ask::get("/")).unwrap().body, b"ok");
    assert_eq!(answers(&plane), 3);
    // in pieces: what has come is no line yet
    let mut client = Talker::to(proxy);
    for piece in ["G", "ET / HT", "TP/1.1\r\nHost: a\r\n\r\n"] {
        client.say(piece);
    }
    assert_eq!((client.answer().1.as_str(), answers(&plane)), ("ok", 4));
    inject(&plane, "[[fault]]\nkind='error'\nhttp_status=503");
    assert_eq!(status(&Talker::to(proxy).ask(GET).0), 503);
}

#[test]
fn bytes_pass_as_they_are() {
    let echo = server(|stream| {
        echo_one(&stream, &stream, || drop(stream.shutdown(Shutdown::Write)));
    });
    let (plane, _records) = plane(1);
    let proxy = open(&plane, echo);
    for said in ["SET cart:1 1\r\n", "\x16\x03\x01 no request", "PING\r\n", "GET lost in thought\n"] {
        let mut client = Talker::to(proxy);
        client.say(said);
        client.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), (said.to_owned(), false), "{said:?}");
    }
    // half a line, then the client's FIN: what it said is the server's business
    let mut client = Talker::to(proxy);
    client.say("GET /");
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest().0, "GET /");
    assert_eq!(answers(&plane), 0);
}

#[test]
fn a_client_that_says_nothing_hears_the_server_first() {
    let greeting = server(|mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        let mut said = [0; 6];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
    });
    let (plane, _records) = plane(1);
    let mut client = Talker::to(open(&plane, greeting));
    assert_eq!(client.exactly(11), b"220 ready\r\n");
    client.say("QUIT\r\n");
    assert_eq!(client.rest(), ("QUIT\r\n".to_owned(), false));
}

#[test]
fn a_fault_that_can_do_both_delays_exchanges_there_and_bytes() {
    let upstream = upstream(|_, _| Say::Keep(b"+PONG\r\nGET".to_vec()));
    let (plane, _records) = plane(1);
    let proxy = open(&plane, fine().address);
    let mut made = faults(&plane, "[[fault]]\nkind='latency'\ndelay='60ms'");
    std::sync::Arc::get_mut(&mut made[0]).unwrap().layer = Layer::Either(Phase::BeforeUpstream);
    let fault = made[0].clone();
    publish(&plane, made);
    let began = plane.clock().now().mono;
    assert_eq!(Talker::to(proxy).ask(GET).1, "ok");
    assert!(plane.clock().now().mono - began >= 60 * MILLI);
    assert_eq!(fault.tally.read().injected, 1, "once for the exchange");
    drop(upstream);
    plane.close("p").unwrap();

    let echo = server(|stream| {
        echo_one(&stream, &stream, || drop(stream.shutdown(Shutdown::Write)));
    });
    let proxy = open(&plane, echo);
    let began = plane.clock().now().mono;
    let mut client = Talker::to(proxy);
    client.say("PING\r\n");
    assert_eq!(client.exactly(6), b"PING\r\n");
    assert!(plane.clock().now().mono - began >= 60 * MILLI);
    assert!(fault.tally.read().injected > 1);
}

#[test]
fn under_tls_it_is_told_once_the_handshake_is_done() {
    let stand = Stand::new("auto");
    let with = |upstream: SocketAddr| {
        let mut spec = auto(upstream);
        spec.way.tls = Some(stand.terminate(&["h2", "http/1.1"]));
        address(&stand.plane.open(&spec).unwrap())
    };
    let upstream = fine();
    let proxy = with(upstream.address);
    block_on(async {
        let mut sender = talk2(stand.connect(proxy, &["h2"]).await.0).await;
        assert_eq!(ask2_on(&mut sender, &Ask::get("/")).await.unwrap().body, b"ok");
        // by agreement, and without one by the first line
        for offered in [&["http/1.1"][..], &[]] {
            let (mut stream, _) = stand.connect(proxy, offered).await;
            stream.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert!(all.ends_with(b"\r\n\r\nok"), "{offered:?} {}", String::from_utf8_lossy(&all));
        }
        let mut sender = talk2(stand.connect(proxy, &[]).await.0).await;
        assert_eq!(ask2_on(&mut sender, &Ask::get("/")).await.unwrap().body, b"ok", "by its preface");
    });
    assert_eq!(answers(&stand.plane), 4);
    stand.plane.close("p").unwrap();

    let echo = server(|stream| {
        echo_one(&stream, &stream, || drop(stream.shutdown(Shutdown::Write)));
    });
    let proxy = with(echo);
    let mut made = faults(&stand.plane, "[[fault]]\nkind='latency'\ndelay='60ms'");
    std::sync::Arc::get_mut(&mut made[0]).unwrap().layer = Layer::Either(Phase::BeforeUpstream);
    let fault = made[0].clone();
    publish(&stand.plane, made);
    block_on(async {
        let (mut stream, _) = stand.connect(proxy, &[]).await;
        stream.write_all(b"PING\r\n").await.unwrap();
        let mut back = [0; 6];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"PING\r\n");
    });
    assert!(fault.tally.read().injected > 0, "on the bytes beneath");
    publish(&stand.plane, vec![]);
    stand.plane.close("p").unwrap();

    let greeting = server(|mut stream| stream.write_all(b"220 ready\r\n").unwrap());
    let proxy = with(greeting);
    block_on(async {
        let (mut stream, _) = stand.connect(proxy, &[]).await;
        let mut heard = [0; 11];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"220 ready\r\n");
    });
    eventually("over", || stand.plane.reading("p").unwrap().active == 0);
}
