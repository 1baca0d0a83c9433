//! PROXY headers: taken from those who must show one, sent to upstreams that want one.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use squall_core::plane::DataPlane;
use squall_core::scenario::ProxySpec;
use squall_core::time::{MILLI, SECOND};
use squall_core::way::{HeaderVersion, ProxyProtocol, Way};
use squall_wire::Plane;

use crate::support::*;

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

/// Where clients of these networks must show a header, and the upstream gets one.
fn headed(upstream: SocketAddr, from: &[&str], send: Option<HeaderVersion>) -> ProxySpec {
    let accept_from = from.iter().map(|network| network.parse().unwrap()).collect();
    let proxy_protocol = Some(ProxyProtocol { accept_from, send });
    ProxySpec { way: Way { proxy_protocol, ..Way::default() }, ..spec("p", upstream) }
}

fn opened(plane: &Plane, spec: &ProxySpec) -> SocketAddr {
    address(&plane.open(spec).unwrap())
}

/// What an upstream is sent by a client that says this and no more.
fn passed_on(proxy: SocketAddr, upstream: &TcpListener, says: &[&[u8]]) -> Vec<u8> {
    let mut client = connect(proxy);
    for piece in says {
        client.write_all(piece).unwrap();
        if says.len() > 1 {
            std::thread::sleep(Duration::from_millis(1)); // pieces stay pieces more often
        }
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    bounded(upstream.accept().unwrap().0).read_to_end(&mut heard).unwrap();
    heard
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_header_is_taken_off_however_it_comes() {
    let (plane, _records) = plane(1);
    let (upstream, to) = listener();
    let proxy = opened(&plane, &headed(to, &["127.0.0.0/8"], None));
    let v2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\x04\0\0";
    for header in [LINE.as_bytes(), v2, b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let whole = [header, b"PROXY payload"].concat();
        assert_eq!(passed_on(proxy, &upstream, &[&whole]), b"PROXY payload");
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(passed_on(proxy, &upstream, &bytes), b"PROXY payload", "byte by byte");
        let (one, other) = whole.split_at(header.len() - 1);
        assert_eq!(passed_on(proxy, &upstream, &[one, other]), b"PROXY payload", "the last byte with the payload");
    }
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.accepted, reading.misheaded), (12, 0));
    assert_eq!(reading.bytes_upstream, 12 * 13, "headers are in no meter");
}

#[test]
fn a_stranger_is_not_asked_and_its_header_is_plain_data() {
    let (plane, _records) = plane(1);
    let (upstream, to) = listener();
    let proxy = opened(&plane, &headed(to, &["10.0.0.0/8", "127.0.0.2"], None));
    assert_eq!(passed_on(proxy, &upstream, &[LINE.as_bytes(), b"x"]), format!("{LINE}x").as_bytes());
    assert_eq!(passed_on(proxy, &upstream, &[b"x"]), b"x");
    assert_eq!(plane.reading("p").unwrap().misheaded, 0);
}

#[test]
fn who_shows_no_header_is_refused_and_counted_and_nothing_is_dialled() {
    let (plane, _records) = plane(1);
    let (upstream, to) = listener();
    upstream.set_nonblocking(true).unwrap();
    let proxy = opened(&plane, &ProxySpec { connect_timeout: 200 * MILLI, ..headed(to, &["127.0.0.1"], None) });
    let long = "PROXY UNKNOWN ".to_owned() + &"x".repeat(400);
    let said: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 127.0.0.1\r\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"PROXY TCP4 192.0.2.7 ", // and then silence
        b"",
    ];
    for bytes in said {
        let mut client = connect(proxy);
        let _reset_already = client.write_all(bytes);
        assert!(client.read(&mut [0]).is_err(), "reset: {bytes:?}");
    }
    let client = connect(proxy);
    (&client).write_all(b"PROXY TCP4 1").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!((&client).read(&mut [0]).is_err(), "closed within it");
    eventually("all are counted", || plane.reading("p").unwrap().misheaded == 7);

    // whoever only looks whether somebody listens has done nothing wrong
    drop(connect(proxy));
    eventually("it has come and gone", || plane.reading("p").unwrap().accepted == 8 && plane.connections() == 0);
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.accepted, reading.misheaded, reading.injected, reading.failed()), (8, 7, 0, 0));
    assert!(upstream.accept().is_err(), "nobody was dialled");
}

#[test]
fn the_upstream_is_told_first_whom_a_connection_stands_for() {
    let (plane, _records) = plane(1);
    let (upstream, to) = listener();
    let proxy = opened(&plane, &headed(to, &["127.0.0.2"], Some(HeaderVersion::V1)));
    let mut client = connect(proxy);
    let mut server = bounded(upstream.accept().unwrap().0);
    let own = client.local_addr().unwrap();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), proxy.port());
    let mut heard = vec![0; expected.len()];
    server.read_exact(&mut heard).unwrap(); // before the client has said a word
    assert_eq!(String::from_utf8_lossy(&heard), expected);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut heard[..1]).unwrap();
    assert_eq!(heard[0], b'x');
    eventually("the payload is counted alone", || plane.reading("p").unwrap().bytes_upstream == 1);

    // what came in goes out, in the other version
    plane
        .change(&ProxySpec { listen: proxy.to_string(), ..headed(to, &["127.0.0.1"], Some(HeaderVersion::V2)) })
        .unwrap();
    let heard = passed_on(proxy, &upstream, &[LINE.as_bytes(), b"y"]);
    assert_eq!(heard, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbby");
    // a sender that speaks for itself stands for its own address
    let heard = passed_on(proxy, &upstream, &[b"PROXY UNKNOWN\r\n"]);
    assert_eq!(heard[..20], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01");
}

#[test]
fn a_client_without_an_address_is_announced_as_unknown() {
    for (version, expected) in
        [(HeaderVersion::V1, &b"PROXY UNKNOWN\r\nx"[..]), (HeaderVersion::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0x")]
    {
        let (plane, _records) = plane(1);
        let (upstream, to) = listener();
        let path = std::env::temp_dir().join(format!("squall-wire-{}-{version:?}", std::process::id()));
        let proxy = ProxySpec { listen: format!("unix:{}", path.display()), ..headed(to, &[], Some(version)) };
        plane.open(&proxy).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"x").unwrap();
        drop(client);
        let mut heard = Vec::new();
        bounded(upstream.accept().unwrap().0).read_to_end(&mut heard).unwrap();
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_fault_is_asked_about_the_client_that_the_header_names() {
    let (plane, records) = plane(1);
    let (_upstream, to) = listener();
    let proxy = opened(&plane, &headed(to, &["127.0.0.1"], None));
    publish(&plane, vec![active(&plane, Script::GateReset)]);
    let mut client = connect(proxy);
    client.write_all(LINE.as_bytes()).unwrap();
    assert!(client.read(&mut [0]).is_err());
    let proxied: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    assert!(plane.injected_end(proxied).is_some(), "as the client knows itself");
    assert!(plane.injected_end(client.local_addr().unwrap()).is_some(), "as whoever stands between does");
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.injected, reading.misheaded), (1, 0));
    drop(records);

    // a new connection for that client: what was said of the old one no longer holds
    publish(&plane, vec![]);
    let mut client = connect(proxy);
    client.write_all(LINE.as_bytes()).unwrap();
    eventually("it is forgotten", || plane.injected_end(proxied).is_none());
}

#[test]
fn a_change_of_plans_finds_connections_whose_header_is_still_to_come() {
    let (plane, _records) = plane(1);
    let proxy = opened(&plane, &ProxySpec { connect_timeout: 30 * SECOND, ..headed(echo(), &["127.0.0.1"], None) });
    let waiting = |say: &[u8]| -> TcpStream {
        let mut client = connect(proxy);
        client.write_all(say).unwrap();
        client
    };
    let mut client = waiting(&LINE.as_bytes()[..20]);
    eventually("it is there", || plane.connections() == 1);
    publish(&plane, vec![active(&plane, Script::GateHold)]);
    client.write_all(&LINE.as_bytes()[20..]).unwrap();
    client.write_all(b"ping").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(client.read(&mut [0; 4]).is_err(), "the fault that came meanwhile holds it");
    client.set_read_timeout(Some(LONG)).unwrap();
    carried_out(&plane, plane.cell().abort_all());
    let mut heard = [0; 4];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ping");
    // and an abort does not wait for those who have said nothing
    let _silent = waiting(b"");
    carried_out(&plane, plane.cell().abort_all());
}
