use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use squall_core::curve::Curve;
use squall_core::observe::Histogram;
use squall_core::plane::Stand;
use squall_core::scenario::{Arrivals, ServiceKind, TcpRequest, Weighted, WorkloadKind, WorkloadSpec};
use squall_core::time::{MILLI, SECOND};

use super::support::*;
use crate::LocalStand;
use crate::timer::now;

#[test]
fn every_request_is_due_in_its_time_and_answered() {
    let service = service(ServiceKind::Http { status: 200, size: 5000, latency: None, capacity: None, calls: None });
    for (arrivals, connections) in [(Arrivals::Constant, None), (Arrivals::Poisson, Some(4))] {
        let load = WorkloadSpec { rate: Curve::Constant(500.0), arrivals, connections, ..get("/item/{n}") };
        let began = now();
        let load = start(&load, service.address());
        wait(&*load, |reading| reading.intended >= 400);
        let reading = load.finish(PATIENCE);
        let elapsed = (now() - began) as f64 / SECOND as f64;
        assert_eq!((reading.ok, reading.in_flight), (reading.intended, 0), "{reading:?}");
        // Never more than are due by now: five standard deviations of a Poisson process.
        let most = elapsed * 500.0 + if arrivals == Arrivals::Poisson { 5.0 * (elapsed * 500.0).sqrt() } else { 1.0 };
        assert!((reading.intended as f64) <= most, "{} in {elapsed} s", reading.intended);
        let again = load.finish(PATIENCE);
        assert_eq!(again.intended, reading.intended, "nothing comes after the end");
    }
}

#[test]
fn latency_counts_from_the_intended_time() {
    let stalls = scripted(|_, stream| {
        let mut stream = BufReader::new(stream);
        while let Some(text) = line(&mut stream) {
            if text == "0" {
                std::thread::sleep(Duration::from_millis(300));
            }
            stream.get_mut().write_all(b"ok").unwrap();
        }
    });
    let load = WorkloadSpec { connections: Some(1), rate: burst(100.0, SECOND / 2), ..tcp("{n}\n", "ok") };
    let reading = run(&load, stalls);
    assert_eq!(reading.ok, 50, "{reading:?}");
    let slow = |ns| (0..).zip(&reading.latency.counts).filter(|(at, _)| Histogram::upper(*at) > ns).map(|c| c.1).sum();
    // Due every 10 ms while the first one holds the only connection for 300 ms: 15 wait for 150 ms or more.
    let waited: u64 = slow(150 * MILLI);
    assert!(waited >= 15, "{waited}");
    assert!(reading.latency.quantile(1.0).unwrap() >= 300 * MILLI);
}

#[test]
fn what_finds_no_connection_in_time_is_unsent() {
    let silent = scripted(|_, stream| hang(stream));
    let spec = WorkloadSpec {
        connections: Some(1),
        rate: burst(100.0, SECOND / 2),
        timeout: 100 * MILLI,
        ..tcp("hello\n", "ok")
    };
    let reading = run(&spec, silent);
    assert_eq!(reading.ok, 0);
    assert_eq!(reasons(&reading), [("timed out", reading.failed)]);
    assert!(reading.failed >= 2 && reading.unsent >= 30, "{reading:?}");
}

#[test]
fn a_failed_attempt_is_made_good_by_a_retry() {
    let seen = Mutex::new(HashSet::new());
    let flaky = scripted(move |_, stream| {
        let mut stream = BufReader::new(stream);
        let Some(number) = line(&mut stream) else { return };
        if !seen.lock().unwrap().insert(number) {
            stream.get_mut().write_all(b"ok").unwrap();
        }
    });
    let reading = run(&WorkloadSpec { retries: 1, ..tcp("{n}\n", "ok") }, flaky);
    assert_eq!((reading.ok, reading.retried, reading.failed), (10, 10, 0), "{reading:?}");

    let gone = scripted(|_, stream| drop(line(&mut BufReader::new(stream))));
    let reading = run(&WorkloadSpec { retries: 2, ..tcp("{n}\n", "ok") }, gone);
    assert_eq!((reading.ok, reading.retried, reading.failed), (0, 20, 10), "{reading:?}");
    assert_eq!(reasons(&reading), [("closed early", 10)]);
}

/// A server that resets every connection before it has read anything, and says of every one for which `by_fault` holds
/// that a fault did it; returns how a load sees that.
fn resets(spec: &WorkloadSpec, by_fault: fn(usize) -> bool) -> squall_core::plane::WorkloadReading {
    let injected: Arc<Mutex<HashSet<SocketAddr>>> = Arc::default();
    let ended = Arc::clone(&injected);
    let server = scripted(move |number, stream| {
        if by_fault(number) {
            ended.lock().unwrap().insert(stream.peer_addr().unwrap());
        }
        reset(stream);
    });
    let told = Arc::new(move |local| injected.lock().unwrap().contains(&local));
    let load = LocalStand.workload(spec, &server.to_string(), 7, told, None).unwrap();
    complete(&*load, spec)
}

#[test]
fn injected_failures_are_told_from_real_ones() {
    let reading = resets(&tcp("{n}\n", "ok"), |number| number % 2 == 0);
    assert_eq!((reading.failed_injected, reading.failed), (5, 5), "{reading:?}");
    assert_eq!(reasons(&reading), [("connection reset", 5), ("injected: connection reset", 5)]);
    let http = resets(&get("/"), |_| true);
    assert_eq!((http.failed_injected, http.failed), (10, 0), "{http:?}");
}

#[test]
fn a_request_is_injected_only_if_all_its_attempts_were() {
    let spec = WorkloadSpec { retries: 1, rate: burst(1000.0, MILLI), ..tcp("{n}\n", "ok") };
    assert_eq!(resets(&spec, |_| true).failed_injected, 1);
    assert_eq!(resets(&spec, |number| number == 0).failed, 1);
    assert_eq!(resets(&spec, |number| number == 1).failed, 1);
}

#[test]
fn kept_connections_are_all_used_and_no_more_are_opened() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let server = scripted(move |_, stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut stream = BufReader::new(stream);
        while let Some(text) = line(&mut stream) {
            writeln!(stream.get_mut(), "{text}").unwrap();
        }
    });
    let spec = WorkloadSpec { connections: Some(3), rate: burst(200.0, SECOND / 5), ..tcp("ping {n}\n", "ping {n}\n") };
    let reading = run(&spec, server);
    assert_eq!(reading.ok, 40, "{reading:?}");
    assert_eq!(opened.load(Ordering::Relaxed), 3);
}

#[test]
fn a_kept_connection_that_died_at_rest_is_opened_again_and_no_request_suffers() {
    let closes = scripted(|_, stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    });
    let slow = |spec| WorkloadSpec { connections: Some(1), rate: burst(10.0, SECOND / 2), ..spec };
    let reading = run(&slow(get("/")), closes);
    assert_eq!((reading.ok, reading.failed, reading.retried), (5, 0, 0), "{reading:?}");
    let reading = run(&slow(tcp("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")), closes);
    assert_eq!((reading.ok, reading.failed, reading.retried), (5, 0, 0), "{reading:?}");
}

#[test]
fn finish_waits_no_longer_than_its_limit() {
    let silent = scripted(|_, stream| hang(stream));
    let spec = WorkloadSpec { timeout: 600 * SECOND, rate: Curve::Constant(100.0), ..tcp("{n}\n", "ok") };
    let load = start(&spec, silent);
    wait(&*load, |reading| reading.in_flight >= 5);
    let began = now();
    let reading = load.finish(Duration::from_millis(50));
    assert!(now() - began < 10 * SECOND);
    assert!(reading.in_flight >= 5 && reading.in_flight == reading.intended, "{reading:?}");
}

#[test]
fn what_can_not_be_sent_is_said_at_the_start() {
    let refused = |spec: WorkloadSpec, target: &str| {
        LocalStand.workload(&spec, target, 7, Arc::new(|_| false), None).map(|load| load.reading()).unwrap_err()
    };
    let target = "127.0.0.1:9";
    let with = |method: &str, header: &str| {
        let mut spec = get("/");
        if let WorkloadKind::Http(requests) = &mut spec.kind {
            requests[0].request.method = method.into();
            requests[0].request.headers = [(header.to_owned(), "x".to_owned())].into();
        }
        spec
    };
    assert!(refused(with("GET IT", "a"), target).contains("`GET IT` is not a method"));
    assert!(refused(with("GET", "a b"), target).contains("`a b` is not a header name"));
    assert!(refused(get("/a b"), target).contains("path `/a b`"));
    assert!(refused(get("/"), "unix:/run/x").contains("unix"));
    assert!(refused(get("/"), "nowhere").starts_with("workload `load`: "));
    assert!(refused(WorkloadSpec { rate: Curve::Constant(f64::NAN), ..get("/") }, target).contains("rates"));
    assert!(refused(WorkloadSpec { connections: Some(0), ..get("/") }, target).contains("at least 1"));
}

#[test]
fn each_of_several_requests_has_its_own_text_and_figures() {
    let shop = scripted(|_, stream| {
        let mut stream = BufReader::new(stream);
        while let Some(text) = line(&mut stream) {
            let answer = if text.starts_with("read") { "ok" } else { "no" };
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let of = |name: &str, weight, send: &str| Weighted {
        name: name.into(),
        weight,
        request: TcpRequest { send: send.into(), expect: "ok".into() },
    };
    let kind = WorkloadKind::Tcp(vec![of("read", 3, "read {n}\n"), of("write", 1, "write {n}\n")]);
    let load = WorkloadSpec { kind, rate: burst(400.0, SECOND / 2), ..tcp("", "") };
    let reading = run(&load, shop);
    let [read, write] = &reading.requests[..] else { panic!("{reading:?}") };
    assert_eq!((read.failed, write.ok), (0, 0), "{reading:?}");
    assert_eq!((read.ok, write.failed), (reading.ok, reading.failed));
    assert_eq!((read.latency.len(), write.latency.len()), (read.ok, 0));
    assert_eq!(read.ok + write.failed, 200);
    // a quarter of 200, within five standard deviations
    assert!((20..=80).contains(&write.failed), "{}", write.failed);
    assert!(run(&WorkloadSpec { rate: burst(100.0, SECOND / 10), ..tcp("read\n", "ok") }, shop).requests.is_empty());
}
