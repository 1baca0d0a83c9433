//! How connections end, seen from the other side of squall.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{Room, Serve};

const SOME: usize = 300_000;

/// A client and the server's end of its connection, with squall between them.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    _squall: Serve,
    _room: Room,
}

fn pair(fault: Option<&str>) -> Pair {
    let room = Room::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let squall = Serve::before(&room, listener.local_addr().unwrap());
    if let Some(fault) = fault {
        squall.start(fault);
    }
    let client = TcpStream::connect(squall.address).unwrap();
    let (server, _) = listener.accept().unwrap();
    for side in [&client, &server] {
        side.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        side.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    Pair { client, server, _squall: squall, _room: room }
}

/// One side says all it has and closes its half; the other reads to the end, and answers after that.
fn half_close(mut first: &TcpStream, mut second: &TcpStream) {
    let writer = first.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        (&writer).write_all(&vec![7; SOME]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    second.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, vec![7; SOME]);
    sender.join().unwrap();
    second.write_all(b"still here").unwrap();
    let mut answer = [0; 10];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
    second.shutdown(Shutdown::Write).unwrap();
    assert_eq!(first.read(&mut answer).unwrap(), 0);
}

fn reset(connection: TcpStream) {
    socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
}

#[track_caller]
fn is_reset(mut connection: &TcpStream) {
    let error = std::iter::repeat_with(|| connection.read(&mut [0; 4096])).find_map(|read| match read {
        Ok(0) => panic!("the connection was closed, and not reset"),
        Ok(_) => None,
        Err(error) => Some(error),
    });
    assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
}

const FAULTS: [Option<&str>; 3] = [
    None,
    Some(
        "[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndirection = \"both\"\ndelay = \"30ms\"\njitter = \"20ms\"\n",
    ),
    Some("[[fault]]\nkind = \"bandwidth\"\nproxy = \"default\"\ndirection = \"both\"\nrate = \"3MB/s\"\n"),
];

#[test]
fn the_client_closes_its_half() {
    for fault in FAULTS {
        let Pair { client, server, .. } = &pair(fault);
        half_close(client, server);
    }
}

#[test]
fn the_server_closes_its_half() {
    for fault in FAULTS {
        let Pair { client, server, .. } = &pair(fault);
        half_close(server, client);
    }
}

#[test]
fn a_reset_by_the_client_reaches_the_server() {
    for fault in FAULTS {
        let Pair { mut client, server, _squall, _room } = pair(fault);
        client.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        (&server).read_exact(&mut heard).unwrap();
        reset(client);
        is_reset(&server);
    }
}

#[test]
fn a_reset_by_the_server_reaches_the_client() {
    for fault in FAULTS {
        let Pair { client, mut server, _squall, _room } = pair(fault);
        server.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        (&client).read_exact(&mut heard).unwrap();
        reset(server);
        is_reset(&client);
    }
}

#[test]
fn a_server_that_refuses_ends_the_client_and_squall_stays() {
    let room = Room::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    drop(listener);
    let squall = Serve::before(&room, upstream);
    let mut client = TcpStream::connect(squall.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    match client.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(squall.client.proxies().unwrap()[0].accepted, 1);
}
