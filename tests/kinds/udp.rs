//! Faults on datagrams: their effect, their removal on a live association, latency and loss together, and every datagram
//! accounted for at a rate.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use squall_core::plan::TallyReading;

use crate::support::{Room, Serve, pattern, wait};

/// A client and a server of the test's with an association through squall between them.
struct Line {
    serve: Serve,
    client: UdpSocket,
    server: UdpSocket,
    /// Where squall sends to the server from.
    peer: SocketAddr,
    _room: Room,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    socket
}

#[track_caller]
fn hear(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let n = socket.recv(&mut buffer).unwrap();
    buffer[..n].to_vec()
}

/// What has come, and comes within `ms` of the one before.
fn drain(socket: &UdpSocket, ms: u64) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
    let mut buffer = vec![0; 2048];
    let mut heard = Vec::new();
    while let Ok(n) = socket.recv(&mut buffer) {
        heard.push(buffer[..n].to_vec());
    }
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    heard
}

impl Line {
    fn new() -> Line {
        let (client, server, room) = (socket(), socket(), Room::new());
        let upstream = server.local_addr().unwrap();
        let proxy = format!("protocol = \"udp\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"");
        let serve = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
        client.connect(serve.address).unwrap();
        client.send(b"hello").unwrap();
        let (n, peer) = server.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(n, 5);
        let line = Line { serve, client, server, peer, _room: room };
        line.works();
        line
    }

    fn answer(&self, bytes: &[u8]) {
        self.server.send_to(bytes, self.peer).unwrap();
    }

    /// A word each way, whole.
    #[track_caller]
    fn works(&self) {
        self.client.send(b"word").unwrap();
        assert_eq!(hear(&self.server), b"word");
        self.answer(&pattern(1_200));
        assert!(hear(&self.client) == pattern(1_200));
    }

    /// Starts these faults; the association has met all of them when this returns.
    #[track_caller]
    fn start(&self, faults: &[&str]) -> String {
        self.meets(self.serve.start(&tables(faults)))
    }

    /// The same, but nothing is injected.
    #[track_caller]
    fn observe(&self, faults: &[&str]) -> String {
        self.meets(self.serve.observe(&tables(faults)))
    }

    #[track_caller]
    fn meets(&self, id: String) -> String {
        wait::until("faults to meet the association", || {
            let view = self.serve.client.view(&id).unwrap();
            view.faults.iter().all(|fault| fault.tally.eligible >= 1).then_some(())
        });
        id
    }

    #[track_caller]
    fn tally(&self, id: &str, fault: &str) -> TallyReading {
        let found = self.serve.client.view(id).unwrap().faults.into_iter().find(|found| found.name == fault);
        found.unwrap_or_else(|| panic!("no fault {fault}")).tally
    }

    /// Ends it and holds to it that the association works; one fault's lines of the ledger.
    #[track_caller]
    fn stop(&self, id: &str, fault: &str) -> Vec<Value> {
        self.serve.stop(id);
        self.works();
        self.ledger(id, fault)
    }

    #[track_caller]
    fn ledger(&self, id: &str, fault: &str) -> Vec<Value> {
        self.serve.over(id);
        let lines = self.serve.ledger(id, fault);
        assert!(lines.iter().all(|line| line["flow"] == "downstream"), "{lines:#?}");
        lines
    }

    /// Answers numbered datagrams and waits until each was heard or dropped by this fault; those heard.
    #[track_caller]
    fn answers(&self, count: u64, size: usize, id: &str, fault: &str) -> Vec<u64> {
        for n in 0..count {
            let mut bytes = pattern(size);
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            self.answer(&bytes);
        }
        let mut heard = Vec::new();
        wait::until("every datagram to be heard or dropped", || {
            heard.extend(drain(&self.client, 20).iter().map(|got| u64::from_le_bytes(got[..8].try_into().unwrap())));
            let dropped = self.tally(id, fault).injected;
            assert!(heard.len() as u64 + dropped <= count, "{} heard and {dropped} dropped", heard.len());
            (heard.len() as u64 + dropped == count).then_some(())
        });
        heard
    }
}

fn tables(faults: &[&str]) -> String {
    faults.iter().map(|fault| format!("[[fault]]\nproxy = \"default\"\n{fault}\n\n")).collect()
}

fn figure(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("no {field} in {line}"))
}

#[test]
fn latency_delays_each_datagram_until_it_is_lifted() {
    let line = Line::new();
    let id = line.start(&["kind = 'latency'\ndelay = '150ms'"]);
    let began = Instant::now();
    line.answer(b"late");
    assert_eq!(hear(&line.client), b"late");
    assert!(began.elapsed() >= Duration::from_millis(150));
    let ledger = line.stop(&id, "latency");
    assert_eq!((ledger.len(), &ledger[0]["what"]), (1, &"delayed".into()), "{ledger:#?}");
    let [drawn, scheduled, achieved] = ["drawn", "scheduled", "achieved"].map(|field| figure(&ledger[0], field));
    assert!(drawn == 150_000_000 && scheduled == drawn && achieved >= scheduled, "{ledger:#?}");
}

#[test]
fn loss_drops_its_share_until_it_is_lifted() {
    let line = Line::new();
    let id = line.start(&["kind = 'loss'\nshare = '50%'"]);
    let heard = line.answers(100, 100, &id, "loss");
    assert!((20..=80).contains(&heard.len()), "{heard:?}");
    let ledger = line.stop(&id, "loss");
    assert_eq!(heard.len() + ledger.len(), 100);
    assert!(ledger.iter().all(|line| line["what"] == "dropped" && figure(line, "achieved") == 100), "{ledger:#?}");
}

#[test]
fn duplicate_sends_copies_until_it_is_lifted() {
    let line = Line::new();
    let id = line.start(&["kind = 'duplicate'\nshare = '100%'\ncopies = 2\ngap = '20ms'"]);
    let began = Instant::now();
    line.answer(b"again");
    (0..3).for_each(|_| assert_eq!(hear(&line.client), b"again"));
    assert!(began.elapsed() >= Duration::from_millis(40));
    let ledger = line.stop(&id, "duplicate");
    assert_eq!((ledger.len(), &ledger[0]["what"], figure(&ledger[0], "achieved")), (1, &"duplicated".into(), 10));
}

#[test]
fn corrupt_flips_the_bits_on_record_until_it_is_lifted() {
    let line = Line::new();
    let id = line.start(&["kind = 'corrupt'\none_per = '16B'"]);
    line.answer(&pattern(160));
    let got = hear(&line.client);
    let pairs = got.iter().zip(pattern(160)).enumerate();
    let flipped: Vec<u64> = pairs.filter(|(_, (got, sent))| *got != sent).map(|(at, _)| at as u64).collect();
    assert_eq!((got.len(), flipped.len()), (160, 10));
    let ledger = line.stop(&id, "corrupt");
    assert_eq!(ledger.iter().map(|line| figure(line, "achieved")).collect::<Vec<_>>(), flipped, "{ledger:#?}");
}

#[test]
fn truncate_cuts_what_is_longer_until_it_is_lifted() {
    let line = Line::new();
    let id = line.start(&["kind = 'truncate'\nto = '100B'"]);
    for (sent, left) in [(1_200, 100), (101, 100), (100, 100), (7, 7)] {
        line.answer(&pattern(sent));
        assert!(hear(&line.client) == pattern(sent)[..left], "{sent}");
    }
    let ledger = line.stop(&id, "truncate");
    assert_eq!(ledger.len(), 2, "{ledger:#?}");
    assert!(ledger.iter().all(|line| line["what"] == "truncated" && figure(line, "achieved") == 100), "{ledger:#?}");
}

/// At 500 B/s a datagram of 1,000 bytes takes 2 s, so the others have come long before the first has gone.
#[test]
fn bandwidth_paces_what_fits_and_drops_the_rest_until_it_is_lifted() {
    let line = Line::new();
    let id = line.start(&["kind = 'bandwidth'\nrate = '500B/s'\nlimit = '4000B'"]);
    let began = Instant::now();
    (0..10).for_each(|_| line.answer(&pattern(1_000)));
    assert!(hear(&line.client) == pattern(1_000));
    assert!(began.elapsed() >= Duration::from_millis(1_990), "early: {:?}", began.elapsed());
    wait::until("the rest to be dropped", || (line.tally(&id, "bandwidth").injected >= 6).then_some(()));
    line.serve.stop(&id);
    let released = drain(&line.client, 500).len();
    line.works();
    let ledger = line.ledger(&id, "bandwidth");
    let of = |what: &str| ledger.iter().filter(|line| line["what"] == what).collect::<Vec<_>>();
    let (paced, dropped) = (of("paced"), of("dropped"));
    assert!(!paced.is_empty() && !dropped.is_empty(), "{ledger:#?}");
    assert!(paced.iter().all(|line| figure(line, "achieved") >= figure(line, "scheduled")), "{ledger:#?}");
    assert_eq!(1 + released + dropped.len(), 10, "heard, let go and dropped: {ledger:#?}");
}

#[test]
fn partition_holds_or_drops_until_it_heals() {
    let line = Line::new();
    let hang = line.start(&["kind = 'partition'"]);
    line.client.send(b"question").unwrap();
    (0..3_u8).for_each(|n| line.answer(&[n]));
    wait::until("four to be held", || (line.tally(&hang, "partition").injected == 4).then_some(()));
    assert!(drain(&line.client, 50).is_empty() && drain(&line.server, 50).is_empty());
    line.serve.stop(&hang);
    assert_eq!(hear(&line.server), b"question");
    (0..3_u8).for_each(|n| assert_eq!(hear(&line.client), [n]));
    line.works();

    let drop = line.start(&["kind = 'partition'\nhow = 'drop'\ndirection = 'downstream'"]);
    (0..3_u8).for_each(|n| line.answer(&[n]));
    wait::until("three to be dropped", || (line.tally(&drop, "partition").injected == 3).then_some(()));
    let ledger = line.stop(&drop, "partition");
    assert!(ledger.len() == 3 && ledger.iter().all(|line| line["what"] == "dropped"), "{ledger:#?}");
}

#[test]
fn what_is_not_lost_is_late_with_both() {
    let line = Line::new();
    let id = line.start(&["kind = 'loss'\nshare = '30%'", "kind = 'latency'\ndelay = '100ms'"]);
    let began = Instant::now();
    let heard = line.answers(100, 100, &id, "loss");
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert!(heard.is_sorted() && (40..=95).contains(&heard.len()), "{heard:?}");
    let dropped = line.stop(&id, "loss").len();
    let late = line.ledger(&id, "latency");
    // each waits first, and then it is decided whether it is lost
    assert_eq!((dropped, late.len()), (100 - heard.len(), 100));
    assert!(late.iter().all(|line| figure(line, "achieved") >= 100_000_000), "{late:#?}");
}

#[test]
fn what_is_only_observed_leaves_every_datagram_as_it_is_and_says_what_would_have_been() {
    let faults =
        ["kind = 'latency'\ndelay = '60s'", "kind = 'corrupt'\none_per = '64B'", "kind = 'loss'\nshare = '30%'"];
    let line = Line::new();
    let id = line.observe(&faults);
    let began = Instant::now();
    for n in 0..100 {
        line.answer(&pattern(100 + n));
        assert!(hear(&line.client) == pattern(100 + n), "{n}");
    }
    assert!(began.elapsed() < Duration::from_secs(50), "it was delayed");
    wait::until("a hundred to be on record", || (line.tally(&id, "latency").injected == 100).then_some(()));
    line.serve.stop(&id);
    line.works();
    let late = line.ledger(&id, "latency");
    let is_seen = |line: &Value| line["observed"] == true && line["achieved"] == 0;
    assert!(late.len() == 100 && late.iter().all(|line| is_seen(line) && figure(line, "scheduled") == 60_000_000_000));
    let lost = line.ledger(&id, "loss");
    assert!((10..=60).contains(&lost.len()) && lost.iter().all(|line| is_seen(line) && line["what"] == "dropped"));
    assert!(line.ledger(&id, "corrupt").len() >= 100);

    // the same datagrams on another association of the same number, under the same seed, acted on
    let other = Line::new();
    let acted = other.start(&faults[2..]);
    other.answers(100, 100, &acted, "loss");
    other.serve.stop(&acted);
    let steps = |lines: &[Value]| lines.iter().map(|line| figure(line, "step")).collect::<Vec<_>>();
    assert_eq!(steps(&lost), steps(&other.ledger(&acted, "loss")));
}

/// Datagrams that the kernel dropped because a socket's buffer was full, of all sockets at these ports.
fn overrun(ports: &[u16]) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap(), 16).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| ports.contains(&port(row[1])) || ports.contains(&port(row[2])));
    ours.map(|row| row.last().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn every_datagram_of_an_echo_at_a_rate_is_accounted_for() {
    const SENT: u64 = 6_000;
    const PER_MILLISECOND: u64 = 3;
    let line = Line::new();
    let id = line.start(&["kind = 'loss'\nshare = '5%'"]);
    let echo = line.server.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok((n, from)) = echo.recv_from(&mut buffer) {
            echo.send_to(&buffer[..n], from).unwrap();
        }
    });
    let sender = line.client.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let began = Instant::now();
        for n in 0..SENT {
            let due = began + Duration::from_millis(n / PER_MILLISECOND);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            sender.send(&pattern(64)).unwrap();
        }
    });
    let ports = [&line.client, &line.server].map(|socket| socket.local_addr().unwrap().port());
    let ports = [ports[0], ports[1], line.serve.address.port(), line.peer.port()];
    let mut echoed = 0;
    let (lost, dropped, full) = wait::until("every datagram to be accounted for", || {
        echoed += drain(&line.client, 50).len() as u64;
        let lost = line.tally(&id, "loss").injected;
        let dropped = line.serve.client.proxies().unwrap()[0].dropped;
        let full = overrun(&ports);
        (echoed + lost + dropped + full == SENT).then_some((lost, dropped, full))
    });
    sender.join().unwrap();
    let passed = (SENT - dropped - full) as f64;
    assert!((0.02..0.09).contains(&(lost as f64 / passed)), "{lost} of {passed}");
    line.serve.stop(&id);
    assert!(drain(&line.client, 50).is_empty(), "one came twice");
    let tally = line.tally(&id, "loss");
    let ledger = line.ledger(&id, "loss").len() as u64;
    assert_eq!((tally.injected, ledger + tally.unrecorded), (lost, lost));
}
