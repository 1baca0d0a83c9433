//! Guards on live traffic: the very event that is one too many ends the experiment, and what comes after it is untouched.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use squall_core::plan::{Active, Plan, Slice};
use squall_core::plane::DataPlane;
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::time::{MILLI, SECOND};
use squall_core::tripwire::{Flip, Guarding, Limit, Source, Tripwire};
use squall_wire::Plane;

use crate::http1::script::{GET, OK, Say, Talker, before, faults, status, upstream};
use crate::support::*;

/// Puts faults and a guard on proxy `p` in force; how often the guard has rung.
fn guarded(plane: &Plane, made: Vec<Arc<Active>>, source: Source, limit: Limit) -> (Arc<Tripwire>, Arc<AtomicU64>) {
    let rung = Arc::new(AtomicU64::new(0));
    let bell = rung.clone();
    let guarding = Guarding {
        source,
        limit,
        over: 60 * SECOND,
        hold: 0,
        flip: Flip::End,
        switch: made[0].switch.clone(),
        from: 0,
        bell: Arc::new(move || {
            bell.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let guard = Arc::new(Tripwire::new(guarding, plane.cell().shards().len()));
    let slice = Slice::new(made, false).guarded(vec![guard.clone()]);
    carried_out(plane, plane.cell().publish(Arc::new(Plan::new([("p".into(), Arc::new(slice))]))));
    (guard, rung)
}

/// Answers 500 where it is asked for `/bad`, else 200.
fn fickle() -> SocketAddr {
    let answer = |_, request: &str| match request.starts_with("GET /bad ") {
        true => Say::Keep("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno".into()),
        false => Say::Keep(OK.into()),
    };
    upstream(answer).address
}

const BAD: &str = "GET /bad HTTP/1.1\r\nHost: a\r\n\r\n";
/// A fault that leaves `/bad` alone.
const TEAPOT: &str = "[[fault]]\nkind='error'\nhttp_status=503\nmatch={path='/'}";

#[test]
fn the_request_after_the_one_that_spends_the_allowance_is_untouched() {
    for workers in [1, 3] {
        let (plane, _records) = plane(workers);
        let proxy = before(&plane, fickle());
        let (guard, rung) = guarded(&plane, faults(&plane, TEAPOT), Source::Requests, Limit::Harm(50));
        let mut clients: Vec<Talker> = (0..7).map(|_| Talker::to(proxy)).collect();
        for n in 0..49 {
            let client = &mut clients[n % 7];
            assert_eq!(status(&client.ask(BAD).0), 500);
            assert_eq!(status(&client.ask(GET).0), 503, "injected, after {} bad ones", n + 1);
        }
        assert_eq!(guard.harmed(), 49, "what faults do is no harm");
        assert_eq!(status(&clients[0].ask(BAD).0), 500);
        // nobody has told any worker: no bell of the cell has rung, no plan was published
        clients.iter_mut().for_each(|client| assert_eq!(status(&client.ask(GET).0), 200));
        assert_eq!(rung.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn what_a_guard_counts_is_what_the_proxy_counts() {
    let (plane, _records) = plane(2);
    let answers = |_, request: &str| match request {
        _ if request.starts_with("GET /cut") => Say::Close("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno".into()),
        _ if request.starts_with("GET /both") => Say::Close("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nno".into()),
        _ if request.starts_with("GET /odd") => Say::Close("HTTP/1.1 2x0 OK\r\n\r\n".into()),
        _ if request.starts_with("GET /bad") => Say::Keep("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno".into()),
        _ => Say::Keep(OK.into()),
    };
    let proxy = before(&plane, upstream(answers).address);
    let (guard, _) = guarded(&plane, faults(&plane, TEAPOT), Source::Requests, Limit::Harm(1_000));
    for (bad, path) in [(1, "bad"), (2, "cut"), (3, "both"), (4, "odd"), (4, "fine"), (5, "bad")] {
        Talker::to(proxy).say(format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut client = Talker::to(proxy);
        client.say(format!("GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client.rest();
        eventually(path, || guard.harmed() >= bad);
    }
    assert!(guard.harmed() <= 10, "each bad request once, however it fails: {}", guard.harmed());
}

#[test]
fn a_share_of_requests_fires_on_the_request_that_makes_it_too_large() {
    let (plane, _records) = plane(2);
    let proxy = before(&plane, fickle());
    let limit = Limit::Share { above: 0.2, min_events: 20 };
    let (guard, _) = guarded(&plane, faults(&plane, TEAPOT), Source::Requests, limit);
    let mut client = Talker::to(proxy);
    let fine = "GET /fine HTTP/1.1\r\nHost: a\r\n\r\n";
    (0..40).for_each(|_| assert_eq!(status(&client.ask(fine).0), 200));
    for _ in 0..10 {
        assert_eq!(status(&client.ask(BAD).0), 500);
        assert_eq!(status(&client.ask(GET).0), 503); // injected: in no rate
    }
    assert_eq!(guard.worst(), Some(0.2), "10 of 50");
    client.ask(BAD);
    assert_eq!(status(&client.ask(GET).0), 200, "11 of 51 are more than 20 %");
}

#[test]
fn slow_answers_fire_a_guard_on_a_quantile() {
    let (plane, _records) = plane(1);
    let proxy = before(&plane, fickle());
    let text = "[[fault]]\nkind='latency'\ndelay='60ms'\nmatch={path='/'}";
    let limit = Limit::Share { above: 0.1, min_events: 10 };
    let (guard, _) = guarded(&plane, faults(&plane, text), Source::Answers(50 * MILLI), limit);
    let mut client = Talker::to(proxy);
    client.ask(GET);
    assert!(guard.tripped().is_none(), "one is no opinion");
    (0..9).for_each(|_| drop(client.ask(BAD)));
    eventually("more than a tenth was slower", || {
        client.ask(GET);
        guard.tripped().is_some()
    });
    assert!(guard.fatal() > 0.1);
}

#[test]
fn connections_that_fail_spend_the_allowance_of_a_tcp_proxy() {
    let (plane, _records) = plane(2);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = open(&plane, closed);
    let fault = active(&plane, Script::Count);
    let switch = fault.switch.clone();
    let (guard, rung) = guarded(&plane, vec![fault], Source::Connections, Limit::Harm(5));
    for n in 1..=5 {
        assert!(switch.is_on(plane.clock().now()), "{n}");
        assert!(is_refused(proxy), "nobody is there");
        eventually("counted", || guard.harmed() == n);
    }
    assert!(switch.is_over(plane.clock().now()));
    assert_eq!((rung.load(Ordering::SeqCst), plane.reading("p").unwrap().connect_failed), (1, 5));
}

#[test]
fn who_waits_for_an_upstream_is_told() {
    let (plane, _records) = plane(1);
    // a full backlog: the kernel answers no connect any more
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let to = full.local_addr().unwrap().as_socket().unwrap();
    let filling: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&to, Duration::from_millis(200))).collect();
    assert!(filling.last().is_some_and(Result::is_err), "the backlog is full");
    let proxy = open(&plane, to);
    let waiting = || plane.reading("p").unwrap().waiting;
    assert_eq!(waiting(), 0);
    let clients: Vec<_> = (0..3).map(|_| connect(proxy)).collect();
    eventually("all three wait", || waiting() == 3);
    clients.iter().for_each(|client| socket2::SockRef::from(client).set_linger(Some(Duration::ZERO)).unwrap());
    drop(clients);
    eventually("none waits any more", || waiting() == 0);

    let web =
        address(&plane.open(&ProxySpec { name: "web".into(), protocol: Protocol::Http, ..spec("web", to) }).unwrap());
    let waiting = || plane.reading("web").unwrap().waiting;
    let mut client = Talker::to(web);
    client.say(GET);
    eventually("the exchange waits", || waiting() == 1);
    assert_eq!(status(&client.answer().0), 504);
    eventually("it has waited", || waiting() == 0);
}
