//! Associations on real sockets.
#![allow(clippy::disallowed_methods)] // how long real sockets took is real time

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use squall_core::cell::Switch;
use squall_core::dist::Distribution;
use squall_core::fault::latency::Latency;
use squall_core::plan::Active;
use squall_core::plane::{DataPlane, PlaneError};
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::time::{MILLI, SECOND};
use squall_wire::{Options, Plane};

use crate::support::*;

fn udp(upstream: impl ToString) -> ProxySpec {
    ProxySpec { protocol: Protocol::Udp, ..spec("p", upstream) }
}

fn open_udp(plane: &Plane, upstream: impl ToString) -> SocketAddr {
    address(&plane.open(&udp(upstream)).unwrap())
}

/// A socket whose reads do not wait for ever.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn client(to: SocketAddr) -> UdpSocket {
    let socket = socket();
    socket.connect(to).unwrap();
    socket
}

/// Sends everything back, with a `<` before it.
fn echo_udp() -> SocketAddr {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        buffer[0] = b'<';
        while let Ok((n, from)) = server.recv_from(&mut buffer[1..]) {
            let _too_long = server.send_to(&buffer[..=n], from);
        }
    });
    address
}

fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).unwrap();
    hear(client)
}

#[track_caller]
fn hear(client: &UdpSocket) -> String {
    let mut buffer = [0; 2048];
    let n = client.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

fn is_silent(client: &UdpSocket, ms: u64) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
    let silent = client.recv(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    client.set_read_timeout(Some(LONG)).unwrap();
    silent
}

fn delay(plane: &Plane, ms: u64) -> (Arc<Switch>, Arc<Active>) {
    let switch = plane.cell().switch();
    switch.start(plane.clock().now().mono);
    let latency = Latency::new(Distribution::constant(ms * MILLI));
    (switch.clone(), any_active(switch, Arc::new(latency)))
}

#[test]
fn every_client_gets_its_own_answers() {
    let (plane, _records) = plane(3);
    let proxy = open_udp(&plane, echo_udp());
    let clients: Vec<UdpSocket> = (0..40).map(|_| client(proxy)).collect();
    for round in 0..5 {
        for (n, client) in clients.iter().enumerate() {
            client.send(format!("{n} {round}").as_bytes()).unwrap();
        }
        for (n, client) in clients.iter().enumerate() {
            assert_eq!(hear(client), format!("<{n} {round}"));
        }
    }
    let sent: u64 = (0..5).flat_map(|round| (0..40).map(move |n| format!("{n} {round}").len() as u64)).sum();
    // a datagram is counted once it is sent, and may be here before
    eventually("the last is counted", || plane.reading("p").unwrap().bytes_downstream >= sent + 200);
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.accepted, reading.active, reading.failed()), (40, 40, 0));
    assert_eq!((reading.bytes_upstream, reading.bytes_downstream), (sent, sent + 200));
}

#[test]
fn the_largest_and_the_empty_datagram_go_through() {
    let (plane, _records) = plane(1);
    let server = socket();
    let proxy = client(open_udp(&plane, server.local_addr().unwrap()));
    let mut bytes = vec![0; 65_507];
    pattern(0, &mut bytes);
    let mut buffer = vec![0; 70_000];
    for size in [65_507, 0, 1, 1_472] {
        proxy.send(&bytes[..size]).unwrap();
        let (n, from) = server.recv_from(&mut buffer).unwrap();
        assert!(buffer[..n] == bytes[..size], "{size}");
        server.send_to(&bytes[..size], from).unwrap();
        let n = proxy.recv(&mut buffer).unwrap();
        assert!(buffer[..n] == bytes[..size], "{size}");
    }
}

#[test]
fn a_delay_comes_on_and_goes_off_on_a_live_association() {
    let (plane, records) = plane(2);
    let client = client(open_udp(&plane, echo_udp()));
    assert_eq!(ask(&client, "before"), "<before");
    let (switch, slow) = delay(&plane, 100);
    publish(&plane, vec![slow.clone()]);
    let began = Instant::now();
    assert_eq!(ask(&client, "during"), "<during");
    assert!(began.elapsed() >= Duration::from_millis(200), "both ways");
    switch.end();
    carried_out(&plane, plane.cell().ring());
    let least = (0..5).map(|_| {
        let began = Instant::now();
        assert_eq!(ask(&client, "after"), "<after");
        began.elapsed()
    });
    assert!(least.min().unwrap() < Duration::from_millis(100));
    let tally = slow.tally.read();
    assert_eq!((tally.eligible, tally.selected, tally.injected, tally.affected), (1, 1, 2, 1));
    let record = records.recv_timeout(LONG).unwrap().remove(0);
    assert!(record.injection.achieved >= record.injection.scheduled && record.injection.scheduled == 100 * MILLI);
}

#[test]
fn an_abort_sends_what_was_held_in_order() {
    let (plane, _records) = plane(1);
    let server = socket();
    let client = client(open_udp(&plane, server.local_addr().unwrap()));
    let (switch, slow) = delay(&plane, 3_600_000);
    publish(&plane, vec![slow.clone()]);
    (0..100).for_each(|n| assert!(client.send(format!("{n}").as_bytes()).is_ok()));
    eventually("held", || slow.tally.read().held == 1 && plane.held_bytes() >= 100 * 128);
    assert!(is_silent(&server, 50));
    switch.end();
    carried_out(&plane, plane.cell().ring());
    for n in 0..100 {
        assert_eq!(hear(&server), format!("{n}"));
    }
    assert_eq!((plane.held_bytes(), slow.tally.read().held, released(&plane), draining(&plane)), (0, 0, 1, 0));
}

#[test]
fn what_does_not_fit_in_the_budget_is_dropped_as_squalls_own() {
    let (ledger, _records) = squall_core::observe::Ledger::new(1024);
    let plane = Plane::new(Options { workers: 1, held_bytes: 10_000, ..Options::new(ledger) }).unwrap();
    let server = socket();
    let client = client(open_udp(&plane, server.local_addr().unwrap()));
    let (switch, slow) = delay(&plane, 3_600_000);
    publish(&plane, vec![slow.clone()]);
    (0..50).for_each(|_| assert!(client.send(&[7; 872]).is_ok()));
    eventually("the rest is dropped", || plane.reading("p").unwrap().dropped == 40);
    assert_eq!((plane.held_bytes(), slow.tally.read().injected), (10_000, 0));
    switch.end();
    carried_out(&plane, plane.cell().ring());
    assert_eq!((0..10).map(|_| hear(&server).len()).sum::<usize>(), 8_720);
    assert!(is_silent(&server, 50));
}

#[test]
fn silence_ends_an_association_and_speech_keeps_it() {
    let (plane, _records) = plane(1);
    let proxy = plane.open(&ProxySpec { idle_timeout: SECOND, ..udp(echo_udp()) }).unwrap();
    let (busy, idle) = (client(address(&proxy)), client(address(&proxy)));
    assert_eq!(ask(&idle, "once"), "<once");
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(ask(&busy, "still"), "<still");
        std::thread::sleep(Duration::from_millis(50));
    }
    let reading = plane.reading("p").unwrap();
    assert!(reading.active <= 1 && reading.accepted == 2 || reading.accepted > 2, "a pause of its own: {reading:?}");
    assert_eq!(ask(&idle, "again"), "<again");
    assert!(plane.reading("p").unwrap().accepted >= 3);
}

#[test]
fn associations_are_bounded_and_the_one_silent_for_long_gives_way() {
    let (plane, _records) = plane(1);
    let proxy = plane.open(&ProxySpec { max_connections: Some(2), ..udp(echo_udp()) }).unwrap();
    let clients: Vec<UdpSocket> = (0..3).map(|_| client(address(&proxy))).collect();
    let began = Instant::now();
    assert_eq!((ask(&clients[0], "0"), ask(&clients[1], "1")), ("<0".into(), "<1".into()));
    clients[2].send(b"2").unwrap();
    eventually("refused", || plane.reading("p").unwrap().refused == 1 || began.elapsed() > Duration::from_millis(900));
    if began.elapsed() < Duration::from_millis(900) {
        let reading = plane.reading("p").unwrap();
        assert_eq!((reading.accepted, reading.active, reading.dropped), (2, 2, 1));
    }
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(ask(&clients[1], "1"), "<1");
    assert_eq!(ask(&clients[2], "2"), "<2");
    let reading = plane.reading("p").unwrap();
    assert_eq!(reading.active, 2, "{reading:?}");
    assert_eq!(ask(&clients[1], "still"), "<still");
    assert_eq!(plane.reading("p").unwrap().accepted, reading.accepted, "the one that spoke has stayed");
}

#[test]
fn an_upstream_that_says_nobody_is_there_is_a_failure_once() {
    let (plane, _records) = plane(1);
    let nobody = socket().local_addr().unwrap();
    let client = client(open_udp(&plane, nobody));
    for _ in 0..20 {
        client.send(b"anybody?").unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    eventually("noticed", || plane.reading("p").unwrap().reset_by_server == 1);
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.accepted, reading.failed()), (1, 1), "{reading:?}");
    // somebody comes: the same association goes on
    let server = UdpSocket::bind(nobody).unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    eventually("heard", || {
        client.send(b"now?").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        server.recv(&mut [0; 64]).is_ok()
    });
    assert_eq!(plane.reading("p").unwrap().accepted, 1);
}

#[test]
fn names_are_looked_up_for_each_association() {
    let (plane, _records) = plane(1);
    let upstream = echo_udp();
    let proxy = open_udp(&plane, format!("localhost:{}", upstream.port()));
    let first = client(proxy);
    (0..10).for_each(|n| assert!(first.send(format!("{n}").as_bytes()).is_ok()));
    (0..10).for_each(|n| assert_eq!(hear(&first), format!("<{n}"), "none is lost or out of order meanwhile"));
    assert_eq!(plane.reading("p").unwrap().dropped, 0);
}

#[test]
fn an_upstream_that_is_not_allowed_is_a_failure_and_gets_nothing() {
    let (ledger, _records) = squall_core::observe::Ledger::new(1024);
    let allow: squall_wire::Allow = Arc::new(|name, _| if name.is_empty() { Ok(()) } else { Err("not that".into()) });
    let plane = Plane::new(Options { workers: 1, allow, ..Options::new(ledger) }).unwrap();
    let server = socket();
    let proxy = open_udp(&plane, format!("localhost:{}", server.local_addr().unwrap().port()));
    client(proxy).send(b"x").unwrap();
    eventually("failed", || plane.reading("p").unwrap().connect_failed == 1);
    assert!(is_silent(&server, 50));
    eventually("gone", || plane.reading("p").unwrap().active == 0);
}

#[test]
fn a_port_in_use_loops_and_unix_sockets_are_refused() {
    let (plane, _records) = plane(2);
    let first = open_udp(&plane, echo_udp());
    let again = plane.open(&ProxySpec { name: "q".into(), listen: first.to_string(), ..udp(echo_udp()) });
    assert!(matches!(again, Err(PlaneError::Bind(..))), "{again:?}");
    let own = plane.open(&ProxySpec { name: "q".into(), listen: "127.0.0.1:40551".into(), ..udp("127.0.0.1:40551") });
    assert!(matches!(own, Err(PlaneError::Loop(_))), "{own:?}");
    let unix = plane.open(&ProxySpec { name: "q".into(), ..udp("unix:/tmp/x") });
    assert!(matches!(unix, Err(PlaneError::Denied(_))), "{unix:?}");
    let unix = plane.open(&ProxySpec { name: "q".into(), listen: "unix:/tmp/x".into(), ..udp(first) });
    assert!(matches!(unix, Err(PlaneError::Bind(..))), "{unix:?}");
    // TCP and UDP have ports of their own; somebody else may have the one of that number
    let both = (0..20).any(|n| {
        let datagrams = plane.open(&ProxySpec { name: format!("u{n}"), ..udp(echo_udp()) }).unwrap();
        plane.open(&ProxySpec { listen: datagrams.listen, ..spec(&format!("t{n}"), echo()) }).is_ok()
    });
    assert!(both);
}

#[test]
fn closed_it_ends_what_is_open_and_gives_the_port_back() {
    let (plane, _records) = plane(2);
    let server = socket();
    let proxy = open_udp(&plane, server.local_addr().unwrap());
    let client = client(proxy);
    let (_switch, slow) = delay(&plane, 3_600_000);
    publish(&plane, vec![slow.clone()]);
    client.send(b"held").unwrap();
    eventually("held", || plane.held_bytes() > 0);
    plane.close("p").unwrap();
    assert_eq!(hear(&server), "held", "what was held goes out");
    eventually("ended", || plane.connections() == 0 && plane.held_bytes() == 0);
    eventually("free", || UdpSocket::bind(proxy).is_ok());
}

#[test]
fn changed_it_leads_elsewhere_and_may_move() {
    let (plane, _records) = plane(2);
    let proxy = open_udp(&plane, echo_udp());
    let first = client(proxy);
    assert_eq!(ask(&first, "a"), "<a");
    let other = socket();
    let to_other = ProxySpec { listen: proxy.to_string(), ..udp(other.local_addr().unwrap()) };
    plane.change(&to_other).unwrap();
    assert_eq!(ask(&first, "b"), "<b", "what is open goes on");
    let second = client(proxy);
    second.send(b"c").unwrap();
    assert_eq!(hear(&other), "c");
    let moved = plane.change(&ProxySpec { listen: "127.0.0.1:0".into(), ..to_other }).unwrap();
    assert_ne!(address(&moved), proxy);
    client(address(&moved)).send(b"d").unwrap();
    assert_eq!(hear(&other), "d");
}

#[test]
fn ipv6_works_alike() {
    let (plane, _records) = plane(1);
    let server = UdpSocket::bind("[::1]:0").unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    let proxy = plane.open(&ProxySpec { listen: "[::1]:0".into(), ..udp(server.local_addr().unwrap()) }).unwrap();
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.connect(address(&proxy)).unwrap();
    client.send(b"six").unwrap();
    assert_eq!(hear(&server), "six");
}
