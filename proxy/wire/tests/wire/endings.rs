//! RST from either side, and ends made by faults.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use squall_core::plane::DataPlane;

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
fn a_panic_ends_one_connection_only() {
    let (plane, _records) = plane(1);
    let address = open(&plane, echo());
    let mut spared = connect(address);
    spared.write_all(b"a").unwrap();
    spared.read_exact(&mut [0]).unwrap();
    let mut faulty = active(&plane, Script::Panic);
    std::sync::Arc::get_mut(&mut faulty).unwrap().select.count = squall_core::select::Count::Nth(2);
    publish(&plane, vec![faulty]);
    assert!(is_refused(address));
    assert_eq!(plane.panics(), 1);
    spared.write_all(b"c").unwrap();
    spared.read_exact(&mut [0]).unwrap();
}
