//! RST from either side, and ends made by faults.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use squall_core::plane::DataPlane;
use squall_core::time::MILLI;

use crate::support::*;

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

fn is_reset(stream: &mut TcpStream) -> bool {
    let mut sink = Vec::new();
    stream.read_to_end(&mut sink).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

fn pair(plane: &squall_wire::Plane) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = connect(open(plane, listener.local_addr().unwrap()));
    let mut server = bounded(listener.accept().unwrap().0);
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    (client, server)
}

#[test]
fn a_reset_goes_through_both_ways() {
    let (plane, _records) = plane(1);
    let (client, mut server) = pair(&plane);
    reset(client);
    assert!(is_reset(&mut server));
    eventually("counted", || plane.reading("p").unwrap().reset_by_client == 1);
    plane.close("p").unwrap();

    let (mut client, server) = pair(&plane);
    reset(server);
    assert!(is_reset(&mut client));
    eventually("counted", || plane.reading("p").unwrap().reset_by_server == 1);
}

#[test]
fn a_reset_goes_through_while_a_fault_holds_bytes() {
    let (plane, _records) = plane(1);
    let (client, mut server) = pair(&plane);
    publish(&plane, vec![active(&plane, Script::Stall)]);
    (&client).write_all(&[7; 300_000]).unwrap(); // more than the fault takes
    std::thread::sleep(Duration::from_millis(20));
    reset(client);
    assert!(is_reset(&mut server));
}

#[test]
fn a_reset_stays_one_wherever_it_comes_between_large_reads() {
    let (plane, _records) = plane(1);
    for round in 0..40 {
        let (mut client, server) = pair(&plane);
        publish(&plane, vec![active(&plane, Script::Delay(MILLI))]);
        let sender = std::thread::spawn(move || {
            (&server).write_all(&vec![7; 64 * 1024 * (1 + round % 8)]).unwrap();
            reset(server);
        });
        assert!(is_reset(&mut client), "round {round}");
        sender.join().unwrap();
        publish(&plane, vec![]);
        plane.close("p").unwrap();
    }
}

#[test]
fn a_fault_resets_at_the_exact_byte_and_is_known_for_it() {
    for total in [1u64, 70_000, 3_000_000] {
        let (plane, records) = plane(1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open(&plane, listener.local_addr().unwrap());
        publish(&plane, vec![active(&plane, Script::ResetAt(total))]);
        let mut client = connect(address);
        let server = bounded(listener.accept().unwrap().0);
        let sender = std::thread::spawn(move || {
            let mut server = server;
            let _cut_short = server.write_all(&vec![5; 4_000_000]);
            server
        });
        let mut got = 0;
        let mut buffer = vec![0; 100_000];
        let error = loop {
            match client.read(&mut buffer) {
                Ok(0) => panic!("FIN instead of RST"),
                Ok(n) => got += n as u64,
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), got), (ErrorKind::ConnectionReset, total));
        let by = plane.injected_end(client.local_addr().unwrap()).expect("attributed");
        assert_eq!(&*by.fault, "script");
        sender.join().unwrap();
        assert_eq!(plane.reading("p").unwrap().injected, 1);
        assert_eq!(plane.reading("p").unwrap().failed(), 0);
        drop(records);
    }
}

#[test]
fn a_fault_closes_with_fin_on_both_sides() {
    let (plane, _records) = plane(1);
    let (mut client, mut server) = pair(&plane);
    publish(&plane, vec![active(&plane, Script::FinAt(10))]);
    server.write_all(&[1; 25]).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 10);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_panic_in_a_fault_ends_one_connection_and_its_experiment() {
    let (plane, _records) = plane(1);
    let address = open(&plane, echo());
    let mut spared = connect(address);
    spared.write_all(b"a").unwrap();
    spared.read_exact(&mut [0]).unwrap();
    let mut faulty = active(&plane, Script::Panic);
    std::sync::Arc::get_mut(&mut faulty).unwrap().select.count = squall_core::select::Count::Nth(2);
    let other = active(&plane, Script::Count);
    publish(&plane, vec![faulty.clone(), other.clone()]);
    assert!(is_refused(address));
    assert_eq!((plane.panics(), faulty.tally.panicked.load(Ordering::SeqCst)), (1, 1));
    let now = plane.clock().now();
    assert!(faulty.switch.is_over(now) && other.switch.is_on(now), "its own experiment, and no other");
    spared.write_all(b"c").unwrap();
    spared.read_exact(&mut [0]).unwrap();
    for _ in 0..3 {
        let mut later = connect(address);
        later.write_all(b"d").unwrap();
        later.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(plane.panics(), 1);
}

#[test]
fn a_reset_is_seen_while_the_receiver_is_full() {
    for script in [None, Some(Script::Count), Some(Script::See)] {
        let (plane, _records) = plane(1);
        let (client, server) = pair(&plane);
        publish(&plane, script.into_iter().map(|script| active(&plane, script)).collect());
        client.set_nonblocking(true).unwrap();
        let mut idle = 0;
        while idle < 20 {
            match (&client).write(&[7; 64 * 1024]) {
                Ok(n) if n > 0 => idle = 0,
                _ => {
                    idle += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        reset(client);
        eventually("counted", || plane.reading("p").unwrap().reset_by_client == 1);
        assert!(is_reset(&mut bounded(server)));
    }
}

#[test]
fn a_reset_is_seen_after_a_half_close() {
    for script in [None, Some(Script::See)] {
        let (plane, _records) = plane(1);
        let (client, mut server) = pair(&plane);
        publish(&plane, script.into_iter().map(|script| active(&plane, script)).collect());
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        reset(client);
        eventually("counted", || plane.reading("p").unwrap().reset_by_client == 1);
        eventually("over", || plane.connections() == 0);
        eventually("passed on", || server.write_all(b"late").is_err());
    }
}

#[test]
fn a_client_that_resets_during_a_dial_is_noticed() {
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    silent.listen(0).unwrap();
    let upstream = silent.local_addr().unwrap().as_socket().unwrap();
    // a queue that is full answers nobody
    let _crowd: Vec<_> =
        (0..4).map_while(|_| TcpStream::connect_timeout(&upstream, Duration::from_millis(200)).ok()).collect();
    let (plane, _records) = plane(1);
    let proxy = squall_core::scenario::ProxySpec { connect_timeout: 600_000_000_000, ..spec("p", upstream) };
    let client = connect(address(&plane.open(&proxy).unwrap()));
    eventually("accepted", || plane.reading("p").unwrap().active == 1);
    reset(client);
    eventually("over", || plane.connections() == 0);
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.reset_by_client, reading.connect_failed), (1, 0));
    plane.close("p").unwrap();

    let hasty = squall_core::scenario::ProxySpec { connect_timeout: 30_000_000, ..proxy };
    assert!(is_refused(address(&plane.open(&hasty).unwrap())), "no time-out");
    assert_eq!(plane.reading("p").unwrap().connect_failed, 1);
}
