//! The control port answers while the data plane has all it can take.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::programs::installed;
use crate::support::redis::Redis;
use crate::support::{Room, Running, Serve, turn};

const CALLS: usize = 200;
/// What is promised is 50 ms; the rest is for a machine that other tests keep busy too.
const BOUND: Duration = Duration::from_millis(250);

/// One call on a connection of its own.
fn status(control: &std::path::Path) -> Duration {
    let began = Instant::now();
    let mut connection = UnixStream::connect(control).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    began.elapsed()
}

#[test]
fn the_control_port_answers_while_the_data_plane_is_saturated() {
    let _turn = turn();
    let room = Room::new();
    let redis = Redis::start(&room);
    let squall = Serve::before(&room, redis.address);
    let source = TcpListener::bind("127.0.0.1:0").unwrap();
    let bulk = squall_control::api::ProxyRequest {
        listen: "127.0.0.1:0".into(),
        upstream: source.local_addr().unwrap().to_string(),
        ..Default::default()
    };
    let bulk = squall.put_proxy("bulk", &bulk).unwrap().proxy.listen;

    let mut benchmark = Command::new(installed("redis-benchmark"));
    let port = squall.address.port().to_string();
    benchmark.args(["-p", &port, "-c", "200", "-n", "100000000", "-t", "get", "-P", "4"]);
    let mut benchmark = Running::start(&mut benchmark);
    let done = AtomicBool::new(false);
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut to, _) = source.accept().unwrap();
            while to.write(&[0; 256 << 10]).is_ok() {}
        });
        scope.spawn(|| {
            let mut from = TcpStream::connect(&bulk).unwrap();
            let mut buffer = vec![0; 256 << 10];
            while !done.load(Ordering::Relaxed) {
                assert!(from.read(&mut buffer).unwrap() > 0, "the source has ended");
            }
        });
        std::thread::sleep(Duration::from_millis(500)); // until both are at full speed
        for _ in 0..CALLS {
            took.push(status(&room.path("control")));
            std::thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(benchmark.is_running(), "{}", benchmark.printed());
    let proxies = squall.client.proxies().unwrap();
    for proxy in &proxies {
        assert!(proxy.bytes_upstream + proxy.bytes_downstream > 1 << 20, "the load was none: {proxies:?}");
    }
    took.sort();
    let (half, p99) = (took[CALLS / 2], took[CALLS * 99 / 100]);
    println!("GET /v1/status under load: p50 {half:?}, p99 {p99:?}, most {:?}", took[CALLS - 1]);
    assert!(p99 < BOUND, "p99 {p99:?}");
}
