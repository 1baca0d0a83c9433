//! Services that can do only so much, and services that ask others.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use squall_core::dist::Distribution;
use squall_core::plane::Service;
use squall_core::scenario::{Calls, Capacity, ServiceKind, WorkloadSpec};
use squall_core::time::{MILLI, SECOND, Time};

use super::support::*;
use crate::timer::now;

/// A service that takes `latency` for each request, and no more than these at one moment.
fn limited(serving: u64, queue: u64, latency: Time) -> Box<dyn Service> {
    let (latency, capacity) = (Some(Distribution::constant(latency)), Some(Capacity { serving, queue }));
    service(ServiceKind::Http { status: 200, size: 10, latency, capacity, calls: None })
}

fn asking(targets: &[SocketAddr], tries: u32) -> Box<dyn Service> {
    let targets = targets.iter().map(ToString::to_string).collect();
    let calls = Some(Calls { targets, tries, timeout: SECOND });
    service(ServiceKind::Http { status: 200, size: 10, latency: None, capacity: None, calls })
}

/// A client that has sent a request and waits.
fn client(address: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = dial(address);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    BufReader::new(stream)
}

fn status(client: &mut BufReader<TcpStream>) -> String {
    head(client).first().cloned().unwrap_or_default()
}

fn until(service: &dyn Service, requests: u64) {
    let start = now();
    while service.reading().requests < requests {
        assert!(now() - start < 20 * SECOND, "{:?}", service.reading());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn requests_beyond_the_capacity_take_turns() {
    let service = limited(2, 100, 50 * MILLI);
    let begun = now();
    let mut clients: Vec<_> = (0..6).map(|_| client(service.address())).collect();
    assert!(clients.iter_mut().all(|client| status(client) == "HTTP/1.1 200 OK"));
    assert!(now() - begun >= 150 * MILLI, "six of 50 ms, two at a time");
    let reading = service.reading();
    assert_eq!((reading.connections, reading.requests, reading.turned_away), (6, 6, 0));
}

#[test]
fn who_finds_the_queue_full_is_turned_away_at_once() {
    let service = limited(1, 2, 20 * SECOND);
    let wait = |n| {
        let client = client(service.address());
        until(&*service, n);
        client
    };
    let waiting = [wait(1), wait(2), wait(3)];
    assert_eq!(status(&mut client(service.address())), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(service.reading().turned_away, 1);
    drop(waiting);
}

#[test]
fn work_goes_on_when_its_client_has_left() {
    let service = limited(1, 100, 200 * MILLI);
    let begun = now();
    for n in 1..=3 {
        let leaves = client(service.address());
        until(&*service, n); // what has not been read when it leaves is not taken in
        drop(leaves);
    }
    assert_eq!(status(&mut client(service.address())), "HTTP/1.1 200 OK");
    assert!(now() - begun >= 800 * MILLI, "the three before it were served to their end");
}

#[test]
fn a_service_asks_the_next_when_one_fails() {
    let failing = service(ServiceKind::Http { status: 500, size: 0, latency: None, capacity: None, calls: None });
    let good = service(ServiceKind::Http { status: 404, size: 0, latency: None, capacity: None, calls: None });
    let both = asking(&[failing.address(), good.address()], 3);
    assert_eq!(status(&mut client(both.address())), "HTTP/1.1 200 OK");
    assert_eq!((failing.reading().requests, good.reading().requests), (3, 1));
    let one = asking(&[failing.address()], 3);
    assert_eq!(status(&mut client(one.address())), "HTTP/1.1 502 Bad Gateway");
    assert_eq!(failing.reading().requests, 6);
}

#[test]
fn attempts_multiply_over_layers() {
    let failing = service(ServiceKind::Http { status: 503, size: 0, latency: None, capacity: None, calls: None });
    let inner = asking(&[failing.address()], 3);
    let outer = asking(&[inner.address()], 3);
    let reading = run(&WorkloadSpec { retries: 2, ..get("/") }, outer.address());
    assert_eq!(failing.reading().requests, reading.intended * 27);
}
