//! Load of datagrams, and the service that sends them back.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use squall_core::plane::DatagramReading;
use squall_core::scenario::{ServiceKind, WorkloadKind, WorkloadSpec};
use squall_core::time::{MILLI, SECOND};

use super::support::*;

fn udp(size: usize, rate: f64) -> WorkloadSpec {
    WorkloadSpec { kind: WorkloadKind::Udp { size }, rate: burst(rate, SECOND / 2), ..tcp("", "") }
}

/// A socket that does `script` with each datagram, in a thread of its own.
fn scripted_udp(mut script: impl FnMut(&UdpSocket, SocketAddr, &[u8]) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_535];
        while let Ok((size, from)) = socket.recv_from(&mut buffer) {
            script(&socket, from, &buffer[..size]);
        }
    });
    address
}

fn number(datagram: &[u8]) -> u64 {
    u64::from_be_bytes(*datagram.first_chunk().unwrap())
}

#[test]
fn every_datagram_comes_back_as_it_was_sent() {
    let service = service(ServiceKind::UdpEcho);
    for (size, connections) in [(16, None), (1200, Some(4)), (65_507, Some(2))] {
        let came = service.reading().requests;
        let reading = run(&WorkloadSpec { connections, ..udp(size, 200.0) }, service.address());
        assert_eq!((reading.ok, reading.datagrams), (100, Some(DatagramReading::default())), "{reading:?}");
        assert_eq!(service.reading().requests - came, 100);
    }
}

#[test]
fn what_became_of_each_is_counted() {
    let mut kept: Option<Vec<u8>> = None;
    let server = scripted_udp(move |socket, from, datagram| {
        let back = |datagram: &[u8]| assert_eq!(socket.send_to(datagram, from).unwrap(), datagram.len());
        let changed = |at: usize| {
            let mut changed = datagram.to_vec();
            changed[at] ^= 4;
            changed
        };
        match number(datagram) % 10 {
            0 => {}
            1 => (0..2).for_each(|_| back(datagram)),
            2 => back(&changed(40)),
            3 => back(&changed(3)), // its number can't be told
            4 => kept = Some(datagram.to_vec()),
            5 => {
                back(datagram);
                back(&kept.take().unwrap());
            }
            6 => {
                let (socket, datagram) = (socket.try_clone().unwrap(), datagram.to_vec());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_secs(4));
                    socket.send_to(&datagram, from).unwrap();
                });
            }
            7 => back(&datagram[..20]),
            _ => back(datagram),
        }
    });
    let load = start(&WorkloadSpec { timeout: 3 * SECOND, ..udp(64, 200.0) }, server);
    let expected = DatagramReading { lost: 20, late: 10, duplicated: 10, reordered: 10, corrupted: 30 };
    let reading = wait(&*load, |reading| reading.datagrams == Some(expected));
    assert_eq!((reading.ok, reading.failed, reading.in_flight), (50, 50, 0), "{reading:?}");
    assert_eq!(reasons(&reading), [("answer differs", 20), ("timed out", 30)]);
    assert_eq!(reading.latency.len(), 50);
}

#[test]
fn each_socket_is_a_client_of_its_own() {
    let seen: Arc<Mutex<HashSet<SocketAddr>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let server = scripted_udp(move |socket, from, datagram| {
        noted.lock().unwrap().insert(from);
        socket.send_to(datagram, from).unwrap();
    });
    let reading = run(&WorkloadSpec { connections: Some(7), ..udp(100, 200.0) }, server);
    assert_eq!((reading.ok, seen.lock().unwrap().len()), (100, 7), "{reading:?}");
}

#[test]
fn an_end_waits_for_those_under_way_and_no_longer() {
    let silent = scripted_udp(|_, _, _| {});
    let reading = run(&WorkloadSpec { timeout: 300 * MILLI, ..udp(64, 200.0) }, silent);
    let lost = DatagramReading { lost: 100, ..DatagramReading::default() };
    assert_eq!((reading.failed, reading.datagrams), (100, Some(lost)), "{reading:?}");
    let load = start(&WorkloadSpec { timeout: 600 * SECOND, ..udp(64, 200.0) }, silent);
    wait(&*load, |reading| reading.in_flight >= 5);
    let reading = load.finish(Duration::from_millis(50));
    assert!(reading.in_flight >= 5 && reading.in_flight == reading.intended, "{reading:?}");
}

#[test]
fn nobody_there_is_a_loss() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reading = run(&WorkloadSpec { timeout: 300 * MILLI, ..udp(64, 200.0) }, gone);
    assert_eq!((reading.ok, reading.failed), (0, 100), "{reading:?}");
}
