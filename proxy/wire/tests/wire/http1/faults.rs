//! What faults of the real kinds do to exchanges over the wire.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use squall_core::matcher::NeverFault;
use squall_core::observe::Ledger;
use squall_core::plane::DataPlane;
use squall_core::time::MILLI;
use squall_wire::{Options, Plane};

use super::script::*;
use crate::support::*;

/// A plane with one proxy before an upstream, and faults in force.
fn faulted(upstream: &Upstream, text: &str) -> (Plane, SocketAddr) {
    let (plane, _records) = plane(1);
    let proxy = before(&plane, upstream.address);
    inject(&plane, text);
    (plane, proxy)
}

/// What a new connection hears in answer to one request: to its end, and whether that was RST.
fn dialogue(proxy: SocketAddr, request: &str) -> (String, bool) {
    let mut client = Talker::to(proxy);
    client.say(request);
    client.rest()
}

const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_delay_holds_each_request_once_and_an_abort_lets_it_go() {
    let upstream = fine();
    let (plane, proxy) = faulted(&upstream, "[[fault]]\nkind='latency'\ndelay='60ms'");
    let mut client = Talker::to(proxy);
    let mut best = u64::MAX;
    for n in 0..5 {
        let began = plane.clock().now().mono;
        // in two pieces: one delay all the same
        client.say(&POST[..20]);
        client.say(&POST[20..]);
        assert_eq!(client.answer().1, "ok");
        let took = plane.clock().now().mono - began;
        assert!(took >= 60 * MILLI, "{n}: {took}");
        best = best.min(took);
    }
    assert!(best < 120 * MILLI, "delayed more than once: {best}");
    let fault = inject(&plane, "[[fault]]\nkind='latency'\ndelay='1h'");
    let before = upstream.requests();
    client.say(GET);
    eventually("held", || fault.tally.read().held == 1);
    assert_eq!(upstream.requests(), before);
    carried_out(&plane, plane.cell().abort_all());
    assert_eq!(client.answer().1, "ok");
    assert_eq!(released(&plane), 1);
}

#[test]
fn a_tunnel_with_a_fault_goes_both_ways_and_its_frames_are_known() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let upstream = upstream(move |_, _| Say::Echo(switched.into()));
    let (plane, proxy) = faulted(&upstream, "[[fault]]\nkind='websocket'\nhow='duplicate'\nframes='text'");
    let upgrade =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: y\r\n\r\n";
    let mut client = Talker::to(proxy);
    client.say(upgrade);
    assert_eq!(status(&client.head()), 101);
    let (text, other) = (b"\x81\x02hi", b"\x82\x02ho");
    for _ in 0..3 {
        client.say(text);
        client.say(other);
        assert_eq!(client.exactly(12), [&text[..], text, other].concat());
    }
    drop(client);
    eventually("the tunnel to end", || upstream.over() == 1);
    // what acts once the upstream has said everything has no end of a tunnel to wait for
    inject(&plane, "[[fault]]\nkind='latency'\nphase='after_upstream'\ndelay='1ms'");
    let mut client = Talker::to(proxy);
    client.say(upgrade);
    assert_eq!(status(&client.head()), 101);
    client.say(text);
    assert_eq!(client.exactly(4), text);
    inject(&plane, "[[fault]]\nkind='drop_answer'\nhow='reset'");
    assert_eq!(dialogue(proxy, upgrade), (String::new(), true));
}

#[test]
fn a_goodbye_to_the_server_is_heard_there_under_a_mask() {
    let (tell, heard) = std::sync::mpsc::channel();
    let address = server(move |mut stream| {
        let mut all = vec![0; 1024];
        let _head = stream.read(&mut all);
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
        stream.write_all(switched.as_bytes()).unwrap();
        let mut frames = Vec::new();
        let _reset = stream.read_to_end(&mut frames);
        tell.send(frames).unwrap();
    });
    let (plane, _records) = plane(1);
    let proxy = before(&plane, address);
    inject(&plane, "[[fault]]\nkind='websocket'\nhow='close'\ndirection='upstream'\nafter=1\nreason='bye'");
    let mut client = Talker::to(proxy);
    client.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(status(&client.head()), 101);
    client.say(b"\x81\x82\0\0\0\0hi");
    let heard = heard.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    let goodbye = heard.strip_prefix(b"\x81\x82\0\0\0\0hi\x88\x85").unwrap_or_else(|| panic!("{heard:?}"));
    let (mask, masked) = goodbye.split_at(4); // RFC 6455, 5.3
    assert!(masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).eq([0x03, 0xf3, b'b', b'y']), "1011: {heard:?}");
    assert_eq!(masked[4] ^ mask[0], b'e');
}

#[test]
fn a_hundred_held_exchanges_are_let_go_with_their_bytes() {
    let upstream = fine();
    let (plane, proxy) = faulted(&upstream, "[[fault]]\nkind='trickle'\nfirst_byte='1h'\ndirection='upstream'");
    let mut clients: Vec<Talker> = (0..100).map(|_| Talker::to(proxy)).collect();
    let body = "x".repeat(5_000);
    for client in &mut clients {
        client.say(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{body}"));
    }
    let held = || plane.cell().plan().load().slice("p").unwrap().actives[0].tally.read().held;
    eventually("all are held", || held() == 100 && plane.held_bytes() == 500_000);
    carried_out(&plane, plane.cell().abort_all());
    for client in &mut clients {
        assert_eq!(client.answer().1, "ok");
    }
    assert_eq!(released(&plane), 100);
    assert_eq!((plane.held_bytes(), plane.panics()), (0, 0));
}

#[test]
fn an_error_before_the_upstream_is_not_heard_there_and_pollutes_nothing() {
    let upstream = fine();
    let text =
        "[[fault]]\nkind='error'\nphase='before_upstream'\nhttp_status=503\nbody='{{path}}'\nheaders={retry-after='2'}";
    let (plane, proxy) = faulted(&upstream, &format!("{text}\nmatch={{method=['POST']}}"));
    let mut client = Talker::to(proxy);
    let (head, body) = client.ask(POST);
    assert_eq!((status(&head), &*body), (503, "/"));
    assert_eq!(value(&head, "x-squall-fault"), Some("test/script"));
    assert_eq!(value(&head, "retry-after"), Some("2"));
    assert_eq!(upstream.requests(), 0);
    // the body that nobody read looks like a request
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let outer = format!("POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", inner.len());
    let (all, reset) = dialogue(proxy, &format!("{outer}{inner}{LAST}"));
    assert!(all.starts_with("HTTP/1.1 503") && !reset, "{all}");
    let mut slow = Talker::to(proxy);
    assert_eq!(status(&slow.ask(&outer).0), 503);
    let _closed_already = slow.stream().write_all(inner.as_bytes());
    assert!(!slow.rest().0.contains("HTTP/1.1 200"));
    assert!(!upstream.heard().contains("smuggled"), "{}", upstream.heard());
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.http.answers_injected, reading.http.answers[5]), (3, 0));
    inject(&plane, &format!("{text}\nstealth=true"));
    let (head, _) = Talker::to(proxy).ask(GET);
    assert_eq!((status(&head), value(&head, "x-squall-fault")), (503, None));
}

#[test]
fn an_error_after_the_upstream_comes_once_it_has_acted() {
    let upstream = fine();
    let (_plane, proxy) =
        faulted(&upstream, "[[fault]]\nkind='error'\nphase='after_upstream'\nhttp_status=500\nbody='no'");
    let mut client = Talker::to(proxy);
    for _ in 0..2 {
        let (head, body) = client.ask(POST);
        assert_eq!((status(&head), &*body), (500, "no"));
    }
    assert_eq!(upstream.heard().matches("\r\n\r\n12345").count(), 2, "{}", upstream.heard());
}

#[test]
fn what_waits_in_a_body_goes_on_when_its_time_has_come() {
    let upstream = upstream(|_, _| {
        let body = "data: 12345\n\n".repeat(8);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length:";
        Say::Keep(format!("{head} {}\r\n\r\n{body}", body.len()).into())
    });
    let (plane, _records) = plane(1);
    let mut client = Talker::to(before(&plane, upstream.address));
    for fault in [
        "kind='bandwidth'\nrate='1KiB/s'",
        "kind='trickle'\nchunk='13B'\ngap='12ms'",
        "kind='sse'\nhow='pace'\nrate=80.0",
    ] {
        inject(&plane, &format!("[[fault]]\n{fault}"));
        let began = plane.clock().now().mono;
        let (_, body) = client.ask(GET);
        assert_eq!(body, "data: 12345\n\n".repeat(8), "{fault}");
        let took = plane.clock().now().mono - began;
        assert!(took >= 80 * MILLI, "{fault}: {took}");
    }
}

const TEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";

#[test]
fn a_cut_in_the_middle_of_a_body_ends_it_behind_the_exact_byte() {
    for (how, is_reset) in [("fin", false), ("reset", true)] {
        let upstream = upstream(|_, _| Say::Keep(TEN.into()));
        let text = format!("[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='downstream'\nafter='4B'\nhow='{how}'");
        let (plane, proxy) = faulted(&upstream, &text);
        let (all, reset) = dialogue(proxy, GET);
        assert!(all.ends_with("\r\n\r\n0123") && reset == is_reset, "{how}: {all} {reset}");
        let reading = plane.reading("p").unwrap();
        assert_eq!((reading.http.cut_injected, reading.http.cut), (1, 0), "{how}");
    }
    let upstream = upstream(|_, _| Say::Keep(TEN.into()));
    let (plane, proxy) =
        faulted(&upstream, "[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='downstream'\nafter='4B'\nhow='stall'");
    let mut client = Talker::to(proxy);
    client.say(GET);
    assert_eq!(status(&client.head()), 200);
    assert_eq!(client.exactly(4), b"0123");
    carried_out(&plane, plane.cell().abort_all());
    assert_eq!(client.exactly(6), b"456789");
    assert_eq!(client.ask(GET).1, "0123456789");
}

#[test]
fn a_body_in_chunks_can_seem_whole_or_lack_its_end() {
    let (half, all) = ("5\r\n01234\r\n", "5\r\n01234\r\n5\r\n56789\r\n");
    let cases = [
        ("after='5B'\nhow='complete'", half, "0\r\n\r\n"),
        ("after='5B'\nhow='short_chunk'", half, "400\r\n"),
        ("how='no_terminator'", all, ""),
    ];
    for (how, before, end) in cases {
        let upstream = upstream(|_, _| Say::Keep(CHUNKS.into()));
        let text = format!("[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='downstream'\n{how}");
        let (_plane, proxy) = faulted(&upstream, &text);
        let (all, reset) = dialogue(proxy, GET);
        assert!(all.ends_with(&format!("\r\n\r\n{before}{end}")) && !reset, "{how}: {all} {reset}");
    }
}

#[test]
fn no_other_exchange_follows_a_body_of_another_length_than_announced() {
    let cut = |direction: &str, off_by: i32| {
        format!("[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='{direction}'\ncontent_length_off_by={off_by}")
    };
    for off_by in [-1, 1] {
        let upstream = fine();
        let (_plane, proxy) = faulted(&upstream, &cut("downstream", off_by));
        let (all, reset) = dialogue(proxy, GET);
        assert!(all.ends_with("\r\n\r\nok") && !reset, "{off_by}: {all} {reset}");
    }
    let upstream = fine();
    let (_plane, proxy) = faulted(&upstream, &cut("upstream", -2));
    let mut client = Talker::to(proxy);
    for n in 1..=2 {
        assert_eq!(client.ask(POST).1, "ok");
        assert_eq!(upstream.connections(), n, "nothing goes behind what the upstream did not expect");
    }
}

#[test]
fn events_are_ended_between_two_of_them() {
    let events = upstream(|_, _| {
        let body = "data: 1\n\ndata: 2\n\ndata: 3\n\n";
        Say::Close(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{body}").into())
    });
    let (_plane, proxy) = faulted(&events, "[[fault]]\nkind='sse'\nhow='truncate'\nafter=2");
    let (all, _) = dialogue(proxy, GET);
    assert!(all.contains("data: 1") && all.contains("data: 2") && !all.contains("data: 3"), "{all}");
}

#[test]
fn answers_are_replaced_and_patched() {
    let json = upstream(|_, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n";
        Say::Keep(format!("{head}{{\"a\":1}}").into())
    });
    let (plane, proxy) = faulted(&json, "[[fault]]\nkind='replace'\nbody='another, which is longer'");
    let mut client = Talker::to(proxy);
    for _ in 0..2 {
        let (head, body) = client.ask(GET);
        assert_eq!((status(&head), &*body), (200, "another, which is longer"));
    }
    inject(&plane, "[[fault]]\nkind='patch'\nhttp_status=202\njson='{\"b\":2}'\nset={x-b='1'}\nremove=['etag']");
    let (head, body) = client.ask(GET);
    assert_eq!((status(&head), &*body), (202, "{\"a\":1,\"b\":2}"));
    assert_eq!((value(&head, "x-b"), value(&head, "etag")), (Some("1"), None));
    assert_eq!(value(&head, "x-squall-fault"), Some("test/script"));
    assert_eq!(json.connections(), 1);
}

#[test]
fn the_request_over_a_limit_is_refused_and_only_so_many_count() {
    let upstream = fine();
    let (plane, proxy) =
        faulted(&upstream, "[[fault]]\nkind='rate_limit'\nalgorithm='fixed_window'\nlimit=2\nwindow='1h'");
    let mut client = Talker::to(proxy);
    let statuses: Vec<u16> = (0..3).map(|_| status(&client.ask(GET).0)).collect();
    assert_eq!((statuses, upstream.requests()), (vec![200, 200, 429], 2));
    inject(&plane, "[[fault]]\nkind='error'\nhttp_status=503\nfirst=1");
    let statuses: Vec<u16> = (0..3).map(|_| status(&client.ask(GET).0)).collect();
    assert_eq!(statuses, [503, 200, 200]);
}

#[test]
fn a_request_is_delivered_twice_with_its_body() {
    for request in [GET, POST] {
        let upstream = fine();
        let (plane, proxy) = faulted(&upstream, "[[fault]]\nkind='duplicate'");
        let mut client = Talker::to(proxy);
        assert_eq!(client.ask(request).1, "ok");
        eventually("twice", || upstream.requests() == 2);
        assert_eq!(client.ask(request).1, "ok");
        let body = request.split("\r\n\r\n").nth(1).unwrap();
        eventually("and twice more, with their bodies", || {
            upstream.requests() == 4 && upstream.heard().matches(&format!("\r\n\r\n{body}")).count() >= 4
        });
        assert_eq!(plane.reading("p").unwrap().http.cut, 0);
    }
}

#[test]
fn an_answer_that_is_dropped_leaves_the_upstream_with_the_deed() {
    for (how, is_reset) in [("fin", false), ("reset", true)] {
        let upstream = fine();
        let (_plane, proxy) = faulted(&upstream, &format!("[[fault]]\nkind='drop_answer'\nhow='{how}'"));
        assert_eq!(dialogue(proxy, POST), (String::new(), is_reset), "{how}");
        assert!(upstream.heard().ends_with("12345"), "{how}");
    }
}

#[test]
fn rules_on_the_answer_and_paths_that_are_never_faulted_hold() {
    let upstream = upstream(|_, request| {
        let status = if request.contains("/missing") { "404 Not Found" } else { "200 OK" };
        Say::Keep(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").into())
    });
    let (ledger, _records) = Ledger::new(64);
    let never_fault = NeverFault::compile(&["/health".to_owned()]);
    let plane = Plane::new(Options { workers: 1, never_fault, ..Options::new(ledger) }).unwrap();
    let proxy = before(&plane, upstream.address);
    inject(&plane, "[[fault]]\nkind='error'\nphase='after_upstream_head'\nhttp_status=500\nmatch={status=[404]}");
    let mut client = Talker::to(proxy);
    assert_eq!(status(&client.ask(GET).0), 200);
    assert_eq!(status(&Talker::to(proxy).ask(&GET.replacen('/', "/missing", 1)).0), 500);
    inject(&plane, "[[fault]]\nkind='error'\nhttp_status=503");
    assert_eq!(status(&client.ask(&GET.replacen('/', "/health", 1)).0), 200);
    assert_eq!(status(&client.ask(GET).0), 503);
}

#[test]
fn a_fault_comes_on_in_the_middle_of_a_long_answer() {
    const TOTAL: usize = 64 << 20;
    let long = server(|mut stream| {
        use std::io::{Read, Write};
        let _head = stream.read(&mut [0; 100]);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        let _cut_off = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; TOTAL]));
    });
    for others in [true, false] {
        let (plane, _records) = plane(1);
        let mut client = Talker::to(before(&plane, long));
        let cut = "[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='downstream'\nhow='reset'\nafter=";
        if others {
            // one is in force already, and stays far
            inject(&plane, &format!("{cut}'1GiB'"));
        }
        client.say(GET);
        client.head();
        client.exactly(1000);
        let fault = inject(&plane, &format!("{cut}'100B'"));
        let (rest, reset) = client.rest();
        assert!(reset && rest.len() < TOTAL - 1000, "{others}: {} {reset}", rest.len());
        assert_eq!(fault.tally.read().injected, 1, "{others}");
    }
}

#[test]
fn a_fault_that_comes_late_sees_the_answer_and_where_it_stands() {
    let (more, wanted) = std::sync::mpsc::channel::<()>();
    let wanted = std::sync::Mutex::new(wanted);
    let half = server(move |mut stream| {
        use std::io::{Read, Write};
        let _head = stream.read(&mut [0; 100]);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nX-Kind: slow\r\n\r\n";
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(b"0123456789")).unwrap();
        let _over = wanted.lock().unwrap().recv();
        let _gone = stream.write_all(b"abcdefghij");
    });
    let cut = |fields: &str, kind: &str| {
        let rule = format!("match={{status=[200],response_headers={{x-kind='{kind}'}}}}");
        format!("[[fault]]\nkind='cut'\nphase='mid_body'\ndirection='downstream'\nhow='fin'\n{fields}\n{rule}")
    };
    let (plane, _records) = plane(1);
    let proxy = before(&plane, half);
    let begin = || {
        publish(&plane, vec![]);
        let mut client = Talker::to(proxy);
        client.say(GET);
        client.head();
        client.exactly(10);
        client
    };
    let mut client = begin();
    let other = inject(&plane, &cut("after='12B'", "fast"));
    inject(&plane, &cut("after='15B'", "slow"));
    more.send(()).unwrap();
    assert_eq!(client.rest(), ("abcde".to_owned(), false));
    assert_eq!(other.tally.read().injected, 0, "it is not for this answer");

    // in time since the answer's head, though nothing moves any more
    let began = plane.clock().now().mono;
    let mut client = begin();
    inject(&plane, &cut("after='2s'", "slow"));
    assert_eq!(client.rest(), (String::new(), false));
    assert!(plane.clock().now().mono - began >= 2_000 * MILLI);
    assert_eq!(plane.reading("p").unwrap().http.cut_injected, 2);
    more.send(()).unwrap();
}

#[test]
fn an_exchange_meets_what_came_on_before_the_one_ahead_of_it() {
    let upstream = fine();
    let (plane, _records) = plane(1);
    let proxy = before(&plane, upstream.address);
    let error =
        |path: &str, status: u16| format!("[[fault]]\nkind='error'\nhttp_status={status}\nmatch={{path='{path}'}}");
    let mut made = faults(&plane, &error("/a", 503));
    publish(&plane, made.clone());
    let ask = |client: &mut Talker, path: &str| status(&client.ask(&GET.replacen('/', path, 1)).0);
    let mut client = Talker::to(proxy);
    assert_eq!(ask(&mut client, "/b"), 200, "it meets none");
    made.extend(faults(&plane, &error("/c", 504)));
    publish(&plane, made); // while the connection rests
    assert_eq!((ask(&mut client, "/a"), ask(&mut client, "/c"), ask(&mut client, "/b")), (503, 504, 200));
}

#[test]
fn what_is_never_faulted_meets_no_fault_that_comes_late_either() {
    let (go, wanted) = std::sync::mpsc::channel::<()>();
    let wanted = std::sync::Mutex::new(wanted);
    let upstream = upstream(move |_, request| {
        if request.contains("/health") {
            let _over = wanted.lock().unwrap().recv();
        }
        Say::Keep(OK.into())
    });
    let (ledger, _records) = Ledger::new(64);
    let never_fault = NeverFault::compile(&["/health".to_owned()]);
    let plane = Plane::new(Options { workers: 1, never_fault, ..Options::new(ledger) }).unwrap();
    let proxy = before(&plane, upstream.address);
    let mut client = Talker::to(proxy);
    assert_eq!(status(&client.ask(GET).0), 200);
    client.say(GET.replacen('/', "/health", 1));
    eventually("asked", || upstream.requests() == 2);
    let fault = inject(&plane, "[[fault]]\nkind='error'\nphase='after_upstream_head'\nhttp_status=503");
    go.send(()).unwrap();
    assert_eq!(status(&client.answer().0), 200);
    assert_eq!(fault.tally.read().eligible, 0);
    assert_eq!(status(&client.ask(GET).0), 503);
}

#[test]
fn trailers_stay_behind_an_answer_that_is_kept() {
    let upstream = upstream(|_, _| {
        let chunks =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n";
        Say::Keep(chunks.into())
    });
    let (_plane, proxy) = faulted(&upstream, "[[fault]]\nkind='latency'\nphase='after_upstream'\ndelay='1ms'");
    let mut client = Talker::to(proxy);
    for _ in 0..2 {
        client.say(GET);
        client.head();
        assert_eq!(client.exactly(12), b"2\r\nab\r\n0\r\nx-");
        assert_eq!(client.head(), "sum: 1\r\n\r\n");
    }
}

#[test]
fn an_answer_longer_than_a_fault_beneath_holds_comes_to_its_end() {
    const TOTAL: usize = 400 << 10;
    let long = upstream(|_, _| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        Say::Keep([head.as_bytes(), &vec![b'x'; TOTAL]].concat())
    });
    let (_plane, proxy) = faulted(&long, "[[fault]]\nkind='bandwidth'\nlayer='bytes'\nrate='2MiB/s'");
    let mut client = Talker::to(proxy);
    assert_eq!(client.ask(GET).1.len(), TOTAL);
}

#[test]
fn faults_beneath_act_on_the_connection() {
    let upstream = fine();
    let (plane, proxy) = faulted(&upstream, "[[fault]]\nkind='latency'\nlayer='bytes'\ndelay='30ms'");
    let mut client = Talker::to(proxy);
    let began = plane.clock().now().mono;
    assert_eq!(client.ask(POST).1, "ok");
    assert!(plane.clock().now().mono - began >= 30 * MILLI);
    let stuck: Arc<_> = inject(&plane, "[[fault]]\nkind='latency'\nlayer='bytes'\ndelay='1h'");
    client.say(GET);
    eventually("held", || stuck.tally.read().held >= 1);
    carried_out(&plane, plane.cell().abort_all());
    assert_eq!(client.answer().1, "ok");
    assert_eq!(plane.held_bytes(), 0);
}
