//! What the tests say in one word.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use squall_core::curve::Curve;
use squall_core::plane::{Service, Stand, Workload, WorkloadReading};
use squall_core::scenario::{
    Arrivals, HttpRequest, ServiceKind, ServiceSpec, TcpRequest, Weighted, WorkloadKind, WorkloadSpec,
};
use squall_core::time::{MILLI, SECOND, Time};

use crate::LocalStand;
use crate::timer::now;

/// Long enough for any machine; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn service(kind: ServiceKind) -> Box<dyn Service> {
    let spec = ServiceSpec { name: "double".into(), kind, listen: "127.0.0.1:0".into() };
    LocalStand.service(&spec).unwrap()
}

pub(super) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A server that does `script` with each connection, in a thread of its own; it gets the number of the connection.
pub(super) fn scripted(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(number, stream));
        }
    });
    address
}

/// Reads one line; none when the connection ends.
pub(super) fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    matches!(stream.read_line(&mut line), Ok(read) if read > 0).then(|| line.trim_end().to_owned())
}

/// Reads the head of an HTTP request or answer; empty when the connection ends.
pub(super) fn head(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    std::iter::from_fn(|| line(stream)).take_while(|line| !line.is_empty()).collect()
}

/// Ends a connection with RST.
pub(super) fn reset(stream: TcpStream) {
    socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Waits until the other side has ended the connection.
pub(super) fn hang(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// `rate` per second for `span`, then nothing.
pub(super) fn burst(rate: f64, span: Time) -> Curve<f64> {
    Curve::Steps { steps: vec![rate, 0.0], hold: span }
}

pub(super) fn tcp(send: &str, expect: &str) -> WorkloadSpec {
    spec(WorkloadKind::Tcp(vec![one(TcpRequest { send: send.into(), expect: expect.into() })]))
}

pub(super) fn get(path: &str) -> WorkloadSpec {
    let (method, path) = ("GET".into(), path.into());
    let request = HttpRequest { method, path, headers: Default::default(), body: None, status: None };
    spec(WorkloadKind::Http(vec![one(request)]))
}

fn one<T>(request: T) -> Weighted<T> {
    Weighted { name: "one".into(), weight: 1, request }
}

fn spec(kind: WorkloadKind) -> WorkloadSpec {
    WorkloadSpec {
        name: "load".into(),
        target: "service:double".into(),
        kind,
        rate: burst(100.0, 100 * MILLI),
        arrivals: Arrivals::Constant,
        timeout: 10 * SECOND,
        retries: 0,
        connections: None,
    }
}

pub(super) fn start(spec: &WorkloadSpec, target: SocketAddr) -> Box<dyn Workload> {
    LocalStand.workload(spec, &target.to_string(), 7, Arc::new(|_| false), None).unwrap()
}

/// Runs a load that ends by itself, to its end; returns the final figures.
pub(super) fn run(spec: &WorkloadSpec, target: SocketAddr) -> WorkloadReading {
    complete(&*start(spec, target), spec)
}

/// As [`run`], for a load that has been started.
pub(super) fn complete(load: &dyn Workload, spec: &WorkloadSpec) -> WorkloadReading {
    let Curve::Steps { steps, hold } = &spec.rate else { panic!("this load never ends") };
    let all = (steps[0] * *hold as f64 / SECOND as f64).round() as u64;
    wait(load, |reading| reading.intended == all);
    let reading = load.finish(PATIENCE);
    let counted = reading.ok + reading.failed + reading.failed_injected + reading.unsent;
    assert_eq!((reading.intended, counted, reading.in_flight), (all, all, 0), "{reading:?}");
    assert_eq!(reading.latency.len(), reading.ok);
    assert_eq!(reading.reasons.values().sum::<u64>(), reading.failed + reading.failed_injected);
    reading
}

/// Waits until the figures fulfil `condition`.
pub(super) fn wait(load: &dyn Workload, condition: impl Fn(&WorkloadReading) -> bool) -> WorkloadReading {
    let start = now();
    loop {
        let reading = load.reading();
        if condition(&reading) {
            return reading;
        }
        assert!(Duration::from_nanos(now() - start) < PATIENCE, "{reading:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The reasons as they are counted.
pub(super) fn reasons(reading: &WorkloadReading) -> Vec<(&str, u64)> {
    reading.reasons.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()
}
