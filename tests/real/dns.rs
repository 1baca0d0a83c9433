//! DNS faults between dig, or Python's resolver, and dnsmasq, over UDP and TCP on one port number.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use squall_control::api::ProxyRequest;
use squall_core::scenario::Protocol;

use crate::support::dns::{Dnsmasq, Dug, dig};
use crate::support::programs::{installed, run};
use crate::support::{Room, Serve, wait};

const HOSTS: &str = "192.0.2.1 www.example.com\n2001:db8::1 www.example.com\n192.0.2.2 db.other.org\n";

struct Stand {
    serve: Serve,
    dnsmasq: Dnsmasq,
    /// Of both proxies: `default` on TCP and `udp` on UDP.
    address: SocketAddr,
    _room: Room,
}

impl Stand {
    fn new() -> Stand {
        let room = Room::new();
        let dnsmasq = Dnsmasq::start(&room, HOSTS);
        // the port is free for TCP; a UDP socket of somebody else's may be on it
        for _ in 0..5 {
            let serve = Serve::before(&room, dnsmasq.address);
            let request = ProxyRequest {
                listen: serve.address.to_string(),
                upstream: dnsmasq.address.to_string(),
                protocol: Protocol::Udp,
                ..ProxyRequest::default()
            };
            if serve.put_proxy("udp", &request).is_ok() {
                return Stand { address: serve.address, serve, dnsmasq, _room: room };
            }
        }
        panic!("no port for both could be had");
    }

    /// A DNS fault on one proxy.
    fn fault(&self, proxy: &str, fields: &str) -> String {
        self.serve.start(&format!("[[fault]]\nkind = \"dns\"\nproxy = \"{proxy}\"\n{fields}\n"))
    }

    fn dig(&self, words: &[&str]) -> Dug {
        dig(self.address, words)
    }

    #[track_caller]
    fn answers_as_ever(&self) {
        for (proxy, way) in WAYS {
            let dug = self.dig(&["www.example.com", "A", way]);
            assert_eq!((dug.status(), dug.addresses()), ("NOERROR", vec!["192.0.2.1"]), "{proxy}: {dug:?}");
        }
    }
}

/// Both ways to ask, and the proxy that each goes through.
const WAYS: [(&str, &str); 2] = [("udp", "+notcp"), ("default", "+tcp")];

#[test]
fn every_false_answer_is_what_dig_gets_and_gone_when_the_fault_is_lifted() {
    let stand = Stand::new();
    stand.answers_as_ever();
    for (proxy, way) in WAYS {
        for (answer, status, addresses) in [
            ("answer = 'nxdomain'", "NXDOMAIN", vec![]),
            ("answer = 'servfail'", "SERVFAIL", vec![]),
            ("answer = 'refused'", "REFUSED", vec![]),
            ("answer = 'empty'", "NOERROR", vec![]),
            ("answer = 'address'\naddresses = ['10.9.8.7', '10.9.8.6']", "NOERROR", vec!["10.9.8.7", "10.9.8.6"]),
        ] {
            let id = stand.fault(proxy, answer);
            let dug = stand.dig(&["www.example.com", "A", way]);
            assert_eq!((dug.status(), dug.addresses()), (status, addresses), "{proxy} {answer}: {dug:?}");
            assert!(!dug.out.contains("WARNING"), "{proxy} {answer}: dig finds fault with it: {dug:?}");
            stand.serve.stop(&id);
            stand.answers_as_ever();
            stand.serve.over(&id);
            let ledger = stand.serve.ledger(&id, "dns");
            assert_eq!(ledger.len(), 1, "{proxy} {answer}: {ledger:#?}");
            assert_eq!((&ledger[0]["what"], &ledger[0]["flow"]), (&"answered".into(), &"downstream".into()));
        }
    }
}

#[test]
fn names_and_types_select() {
    let stand = Stand::new();
    for (proxy, way) in WAYS {
        let id = stand.fault(proxy, "answer = 'servfail'\nnames = ['*.EXAMPLE.com']\ntypes = ['A', 'TXT']");
        for (name, kind, status) in [
            ("www.example.com", "A", "SERVFAIL"),
            ("WWW.Example.Com", "TXT", "SERVFAIL"),
            ("www.example.com", "AAAA", "NOERROR"),
            ("db.other.org", "A", "NOERROR"),
        ] {
            let dug = stand.dig(&[name, kind, way]);
            assert_eq!(dug.status(), status, "{proxy} {name} {kind}: {dug:?}");
        }
        stand.serve.stop(&id);
    }
}

#[test]
fn a_truncated_answer_sends_dig_to_tcp_on_the_same_port() {
    let stand = Stand::new();
    let id = stand.fault("udp", "answer = 'truncated'");
    let dug = stand.dig(&["www.example.com", "A"]);
    assert_eq!((dug.status(), dug.addresses()), ("NOERROR", vec!["192.0.2.1"]), "{dug:?}");
    assert!(dug.out.contains("Truncated, retrying in TCP mode"), "{dug:?}");
    let cut = stand.dig(&["www.example.com", "A", "+ignore"]);
    assert!(cut.out.contains(" tc ") && cut.addresses().is_empty(), "{cut:?}");
    stand.serve.stop(&id);
    stand.serve.over(&id);
    assert_eq!(stand.serve.ledger(&id, "dns").len(), 2);
}

#[test]
fn without_an_answer_dig_gives_up_and_another_server_is_as_ever() {
    let stand = Stand::new();
    for (proxy, way) in WAYS {
        let id = stand.fault(proxy, "answer = 'timeout'\nnames = ['www.*']");
        let dug = stand.dig(&["www.example.com", "A", way, "+time=1"]);
        assert_eq!(dug.code, 9, "{proxy}: {dug:?}");
        assert_eq!(stand.dig(&["db.other.org", "A", way]).status(), "NOERROR", "{proxy}");
        stand.serve.stop(&id);
        stand.answers_as_ever();
    }
}

#[test]
fn a_slow_answer_is_late_and_latency_comes_on_top() {
    let stand = Stand::new();
    for (proxy, way) in WAYS {
        let slow = format!("[[fault]]\nkind = \"dns\"\nproxy = \"{proxy}\"\nanswer = \"slow\"\ndelay = \"400ms\"\n");
        let late = format!("[[fault]]\nkind = \"latency\"\nproxy = \"{proxy}\"\ndelay = \"300ms\"\n");
        for (faults, least) in [(slow.clone(), 400), (format!("{slow}{late}"), 700)] {
            let id = stand.serve.start(&faults);
            let began = Instant::now();
            let dug = stand.dig(&["www.example.com", "A", way, "+time=20"]);
            assert_eq!(dug.addresses(), ["192.0.2.1"], "{proxy}: {dug:?}");
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(least), "{proxy}: early, {took:?} where {least} ms were due");
            stand.serve.stop(&id);
            stand.serve.over(&id);
            let ledger = stand.serve.ledger(&id, "dns");
            assert_eq!(ledger.len(), 1, "{ledger:#?}");
            let ns = |field: &str| ledger[0][field].as_u64().unwrap();
            assert!(ns("drawn") == 400_000_000 && ns("achieved") >= ns("scheduled"), "{ledger:#?}");
        }
    }
}

#[test]
fn a_stale_answer_stays_when_the_server_has_moved_on() {
    let stand = Stand::new();
    for (proxy, way) in WAYS {
        stand.dnsmasq.learns(HOSTS, "www.example.com", "192.0.2.1");
        let id = stand.fault(proxy, "answer = 'stale'");
        assert_eq!(stand.dig(&["www.example.com", "A", way]).addresses(), ["192.0.2.1"], "kept");
        stand.dnsmasq.learns("192.0.2.77 www.example.com\n", "www.example.com", "192.0.2.77");
        assert_eq!(stand.dig(&["www.example.com", "A", way]).addresses(), ["192.0.2.1"], "{proxy}");
        stand.serve.stop(&id);
        assert_eq!(stand.dig(&["www.example.com", "A", way]).addresses(), ["192.0.2.77"], "{proxy}");
    }
}

/// Ten questions on one TCP connection, held back and lifted in the middle: none is lost, and all in order.
#[test]
fn lifted_on_a_live_connection_the_withheld_answers_arrive() {
    let stand = Stand::new();
    let id = stand.fault("default", "answer = 'timeout'\ntypes = ['A']");
    let program = "
import socket, struct, sys
line = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
line.settimeout(50)
name = b'\\x03www\\x07example\\x03com\\x00'
for n in range(10):
    query = struct.pack('>HHHHHH', n, 0x100, 1, 0, 0, 0) + name + struct.pack('>HH', 1, 1)
    line.sendall(struct.pack('>H', len(query)) + query)
print('asked', flush=True)
def take(n):
    got = b''
    while len(got) < n:
        more = line.recv(n - len(got))
        assert more, 'closed'
        got += more
    return got
for n in range(10):
    answer = take(struct.unpack('>H', take(2))[0])
    ident, flags, _, answers = struct.unpack('>HHHH', answer[:8])
    assert (ident, flags & 15, answers) == (n, 0, 1), (n, ident, flags, answers)
print('answered')
";
    let mut python = Command::new(installed("python3"));
    python.args(["-c", program, &stand.address.port().to_string()]);
    let mut client = crate::support::Running::start(&mut python);
    client.wait_for("asked");
    wait::until("answers to be held", || {
        let view = stand.serve.client.view(&id).unwrap();
        (view.faults[0].tally.held == 1).then_some(())
    });
    assert!(!client.printed().contains("answered"));
    stand.serve.stop(&id);
    assert_eq!(client.code_within(Duration::from_secs(60)), 0, "{}", client.printed());
    client.wait_for("answered");
}

/// glibc reads its servers from /etc/resolv.conf, with the port 53; so Python speaks for itself here, as programs with
/// a resolver of their own do.
#[test]
fn a_resolver_that_tries_again_gets_through_a_fault_that_is_limited() {
    let stand = Stand::new();
    let id = stand.fault("udp", "answer = 'timeout'\nfirst = 1");
    let program = "
import socket, struct, sys
query = struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + b'\\x03www\\x07example\\x03com\\x00' + struct.pack('>HH', 1, 1)
for attempt in range(5):
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.settimeout(2)
    line.sendto(query, ('127.0.0.1', int(sys.argv[1])))
    try:
        answer = line.recv(4096)
        break
    except TimeoutError:
        pass
print(attempt, '.'.join(str(byte) for byte in answer[-4:]))
";
    let mut python = Command::new(installed("python3"));
    let out = run(python.args(["-c", program, &stand.address.port().to_string()]));
    let (attempt, address) = out.trim().split_once(' ').unwrap();
    assert!(attempt != "0" && address == "192.0.2.1", "{out}");
    stand.serve.stop(&id);
}
