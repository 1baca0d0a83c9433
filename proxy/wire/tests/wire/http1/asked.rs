//! Faults that clients ask for with Envoy's request headers.

use squall_core::plane::DataPlane;
use squall_core::time::MILLI;

use super::script::*;
use crate::support::*;

const ASKED: &str = "[[fault]]\nkind='envoy_headers'\nmax_delay='150ms'\nabort=true\nmin_throughput='64KiB/s'";

fn with(field: &str) -> String {
    GET.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"))
}

/// A connection that comes from elsewhere than 127.0.0.1.
fn stranger(proxy: std::net::SocketAddr) -> Talker {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&proxy.into()).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    Talker::on(socket.into())
}

#[test]
fn trusted_clients_get_what_they_ask_for_within_limits_and_their_headers_stay_here() {
    let upstream = fine();
    let (plane, records) = plane(1);
    let proxy = before(&plane, upstream.address);
    let fault = inject(&plane, ASKED);
    let mut client = Talker::to(proxy);
    assert_eq!(client.ask(GET).1, "ok");
    assert_eq!(fault.tally.read().eligible, 0, "nobody asked");

    let began = plane.clock().now().mono;
    assert_eq!(client.ask(&with("X-Envoy-Fault-Delay-Request: 3600000")).1, "ok");
    assert!(plane.clock().now().mono - began >= 150 * MILLI);
    let record = records.recv_timeout(LONG).unwrap().remove(0);
    assert_eq!((record.injection.drawn, record.injection.scheduled), (3_600_000 * MILLI, 150 * MILLI));
    assert_eq!(&*record.fault.experiment_name, "test");

    let (head, _) = client.ask(&with("x-envoy-fault-abort-request: 418\r\nx-kept: 1"));
    assert_eq!((status(&head), value(&head, "x-squall-fault")), (418, Some("test/script")));
    let (head, _) = Talker::to(proxy).ask(&with("x-envoy-fault-abort-grpc-request: 14"));
    assert_eq!((status(&head), value(&head, "grpc-status")), (200, Some("14")));
    assert_eq!(upstream.requests(), 2);
    assert!(!upstream.heard().to_ascii_lowercase().contains("x-envoy"), "{}", upstream.heard());

    // what can't be read goes on, and is counted
    assert_eq!(Talker::to(proxy).ask(&with("x-envoy-fault-abort-request: all of them")).1, "ok");
    assert!(upstream.heard().contains("all of them"));
    assert_eq!(fault.fault.unread(&*fault.shared), 1);
}

#[test]
fn headers_of_strangers_go_on_as_they_are() {
    let upstream = fine();
    let (plane, _records) = plane(1);
    let proxy = before(&plane, upstream.address);
    let fault = inject(&plane, ASKED);
    let field = "x-envoy-fault-abort-request: 503";
    assert_eq!(stranger(proxy).ask(&with(field)).1, "ok");
    assert!(upstream.heard().contains(field));
    assert_eq!(status(&Talker::to(proxy).ask(&with(field)).0), 503);
    assert_eq!(fault.tally.read().eligible, 1);
    carried_out(&plane, plane.cell().abort_all());
    assert_eq!(Talker::to(proxy).ask(&with(field)).1, "ok", "nothing acts without its experiment");
}

#[test]
fn an_answer_is_slowed_down_for_the_one_who_asks() {
    let upstream = upstream(|_, _| {
        let body = "x".repeat(32 << 10);
        Say::Keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into())
    });
    let (plane, _records) = plane(1);
    let proxy = before(&plane, upstream.address);
    let fault = inject(&plane, ASKED);
    let mut client = Talker::to(proxy);
    assert_eq!(client.ask(GET).1.len(), 32 << 10);
    assert_eq!(fault.tally.read().injected, 0);
    let began = plane.clock().now().mono;
    assert_eq!(client.ask(&with("x-envoy-fault-throughput-response: 1")).1.len(), 32 << 10);
    let took = plane.clock().now().mono - began;
    assert!(took >= 450 * MILLI, "half a second at 64 KiB/s: {took}");
    eventually("on record", || fault.tally.read().injected > 0);
    assert!(!upstream.heard().contains("x-envoy"));
    // an abort of the experiment lets it go at full speed
    client.say(with("x-envoy-fault-throughput-response: 1"));
    assert_eq!(status(&client.head()), 200);
    carried_out(&plane, plane.cell().abort_all());
    assert_eq!(client.exactly(32 << 10).len(), 32 << 10);
}
