#![allow(clippy::unwrap_used, clippy::panic)]
use std::io::IoSlice;
use std::sync::Arc;

use toml::de::DeTable;

use super::*;
use crate::chain::{Chain, Ready, Talk};
use crate::draw::{Draw, DrawKey};
use crate::fault::contract::pump::{START, active};
use crate::fault::registry::kind;
use crate::fault::{Injections, Span};
use crate::observe::Record;
use crate::plan::{Active, Slice};
use crate::time::{MILLI, Now, SECOND};

const A: u16 = 1;
const MX: u16 = 15;
const AAAA: u16 = 28;

fn build(fields: &str) -> Dns {
    Dns::build(toml::from_str(fields).unwrap_or_else(|error| panic!("{fields}: {error}"))).unwrap()
}

fn wrong(fields: &str) -> String {
    let made = (kind("dns").unwrap().make)(DeTable::parse(fields).unwrap());
    made.err().unwrap_or_else(|| panic!("{fields}")).message
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A response as a server writes it, by hand: an answer of each record, and an OPT record (1232 bytes, no options).
fn response(id: u16, name: &str, kind: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([0x85, 0x80, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 1]); // QR AA RD RA
    bytes.extend(wire_name(name));
    bytes.extend([kind.to_be_bytes(), [0, 1]].concat());
    for (kind, data) in records {
        bytes.extend([0xc0, 12]);
        bytes.extend([kind.to_be_bytes(), [0, 1]].concat());
        bytes.extend([0, 0, 1, 44]); // 300 s
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(data);
    }
    bytes.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn web(id: u16) -> Vec<u8> {
    response(id, "www.Example.com", A, &[(A, &[192, 0, 2, 1])])
}

/// The lines of figures of a header: id, flags and response code, counts.
fn header(message: &[u8]) -> (u16, u8, u8, [u8; 4]) {
    let count = |at: usize| message[at + 1];
    (u16::from_be_bytes([message[0], message[1]]), message[2], message[3], [count(4), count(6), count(8), count(10)])
}

/// The question as it was asked, in its own case.
fn assert_asks(message: &[u8], name: &str, kind: u16) {
    let question = [wire_name(name), kind.to_be_bytes().to_vec(), vec![0, 1]].concat();
    assert_eq!(message[12..12 + question.len()], question, "{message:?}");
}

/// The datagram side of one fault.
struct Client {
    fault: Dns,
    shared: Shared,
    number: u64,
    injected: Injections,
}

impl Client {
    fn of(fields: &str) -> Client {
        Client { fault: build(fields), shared: Shared::default(), number: 0, injected: Vec::new() }
    }

    fn ask(&mut self, flow: Flow, bytes: &[u8]) -> Packet {
        self.number += 1;
        self.ask_at(SECOND, flow, bytes)
    }

    /// The latest datagram, which came at one second.
    fn ask_at(&mut self, now: Time, flow: Flow, bytes: &[u8]) -> Packet {
        let mut state = Memory::default();
        let mut cx = Cx {
            state: &mut state,
            shared: &self.shared,
            draw: DrawKey::new(1, "e", "f").unit(0),
            span: &Span::default(),
            now,
            elapsed: now,
            flow,
            exchange: None,
            injected: &mut self.injected,
        };
        let (number, waited) = (self.number, (now > SECOND).then_some(now));
        let datagram = Datagram { bytes, number, step: number, arrived: SECOND, waited, queued: 0 };
        self.fault.packet(&mut cx, &datagram)
    }

    fn gets(&mut self, bytes: &[u8]) -> Packet {
        self.ask(Flow::Downstream, bytes)
    }

    #[track_caller]
    fn gets_other(&mut self, bytes: &[u8]) -> Bytes {
        match self.gets(bytes) {
            Packet::Replace(put) => put,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_error_keeps_id_question_and_edns_and_has_no_records() {
    for (answer, code) in [("nxdomain", 3), ("servfail", 2), ("refused", 5), ("empty", 0)] {
        let mut client = Client::of(&format!("answer = '{answer}'"));
        let got = client.gets_other(&web(0xbeef));
        assert_eq!(header(&got), (0xbeef, 0x85, 0x80 | code, [1, 0, 0, 1]), "{answer}");
        assert_asks(&got, "www.Example.com", A);
        assert_eq!(got.len(), 12 + 17 + 4 + 11, "{answer}: question and OPT");
        let injection = client.injected[0];
        assert_eq!((injection.what, injection.achieved), (What::Answered, got.len() as u64));
    }
}

#[test]
fn a_truncated_answer_says_so_and_a_timeout_is_none() {
    let mut client = Client::of("answer = 'truncated'");
    assert_eq!(header(&client.gets_other(&web(7))), (7, 0x87, 0x80, [1, 0, 0, 1]));
    let mut client = Client::of("answer = 'timeout'");
    assert_eq!(client.gets(&web(7)), Packet::Drop);
    assert_eq!((client.injected[0].what, client.injected[0].achieved), (What::Dropped, web(7).len() as u64));
}

#[test]
fn an_address_answers_its_own_type_only() {
    let mut client = Client::of("answer = 'address'\naddresses = ['10.0.0.1', '10.0.0.2', '::1']\nttl = '5s'");
    let got = client.gets_other(&web(1));
    assert_eq!(header(&got).3, [1, 2, 0, 1]);
    let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4][..], &[10, 0, 0, 1]].concat();
    assert!(got.windows(record.len()).any(|part| part == record), "{got:?}");
    let six = response(2, "a.b", AAAA, &[]);
    let got = client.gets_other(&six);
    assert!(got.windows(16).any(|part| part == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "{got:?}");
    assert_eq!(client.gets(&response(3, "a.b", MX, &[])), Packet::Pass);
    let mut four = Client::of("answer = 'address'\naddresses = ['10.0.0.1']");
    assert_eq!(four.gets(&six), Packet::Pass, "no address of that type");
}

#[test]
fn a_stale_answer_is_the_first_one_under_the_new_id() {
    let mut client = Client::of("answer = 'stale'");
    assert_eq!(client.gets(&web(1)), Packet::Pass, "the first is kept");
    assert_eq!(client.gets(&web(2)), Packet::Pass, "the server says the same");
    assert!(client.injected.is_empty());
    let moved = response(3, "WWW.example.com", A, &[(A, &[192, 0, 2, 99])]);
    let got = client.gets_other(&moved);
    assert_eq!(header(&got), (3, 0x85, 0x80, [1, 1, 0, 1]));
    assert_asks(&got, "WWW.example.com", A);
    assert!(got.windows(4).any(|part| part == [192, 0, 2, 1]), "{got:?}");
    let gone = response(4, "www.example.com", A, &[]);
    assert!(client.gets_other(&gone).windows(4).any(|part| part == [192, 0, 2, 1]));
    assert_eq!(client.gets(&response(5, "other.example.com", A, &[])), Packet::Pass, "nothing to keep");
    let other = response(6, "www.example.com", MX, &[(MX, b"\0\x0a\x01m\0")]);
    assert_eq!(client.gets(&other), Packet::Pass, "another question");
}

#[test]
fn what_is_kept_for_stale_answers_is_bounded() {
    let mut client = Client::of("answer = 'stale'");
    for n in 0..1_200_u32 {
        client.gets(&response(1, &format!("n{n}.example"), A, &[(A, &n.to_be_bytes())]));
    }
    let kept = (0..1_200_u32).filter(|n| {
        let moved = response(2, &format!("n{n}.example"), A, &[(A, &[9; 4])]);
        matches!(client.gets(&moved), Packet::Replace(_))
    });
    assert_eq!(kept.count(), 1_000);
}

#[test]
fn names_and_types_select_whatever_the_case() {
    let mut client =
        Client::of("answer = 'nxdomain'\nnames = ['*.EXAMPLE.com', 'db.internal.']\ntypes = ['A', 'TYPE15']");
    let mut hit = |name: &str, kind| matches!(client.gets(&response(1, name, kind, &[])), Packet::Replace(_));
    assert!(hit("www.example.COM", A) && hit("a.b.example.com", MX) && hit("DB.internal", A));
    assert!(!hit("example.com", A) && !hit("www.example.com", AAAA) && !hit("db.internal.x", A) && !hit("", A));
    let mut root = Client::of("answer = 'nxdomain'\nnames = ['.']");
    assert!(matches!(root.gets(&response(1, "", 2, &[])), Packet::Replace(_)));
    assert_eq!(root.gets(&web(1)), Packet::Pass);
}

#[test]
fn queries_and_what_is_no_dns_pass() {
    let mut client = Client::of("answer = 'servfail'");
    let mut query = web(1);
    query[2] &= 0x7f;
    let mut update = web(1);
    update[2] |= 0x28;
    let mut two = web(1);
    two[5] = 2;
    let mut hollow = web(1);
    hollow[6..12].fill(0xff);
    for bytes in [&query[..], &update, &two, &hollow, b"", b"x", &web(1)[..20], &[0xff; 600]] {
        assert_eq!(client.gets(bytes), Packet::Pass, "{bytes:?}");
    }
    assert_eq!(Dns::unread(&client.shared), 2, "the hollow one, and the one cut short");
    assert_eq!(client.ask(Flow::Upstream, &web(1)), Packet::Pass);
    assert!(client.injected.is_empty());
}

#[test]
fn a_slow_answer_has_a_time_of_its_own_and_is_on_record_when_it_goes() {
    let mut client = Client::of("answer = 'slow'\ndelay = '20ms'\njitter = '10ms'");
    let mut due = Vec::new();
    for id in 0..50 {
        let Packet::Hold(at) = client.gets(&web(id)) else { panic!("{id} does not wait") };
        assert_eq!(client.injected.len(), usize::from(id), "only when it is carried out");
        assert_eq!(client.ask_at(at - 1, Flow::Downstream, &web(id)), Packet::Hold(at), "the same time again");
        assert_eq!(client.ask_at(at + 3, Flow::Downstream, &web(id)), Packet::Pass);
        let injection = client.injected[usize::from(id)];
        assert_eq!(
            (injection.drawn, injection.scheduled, injection.achieved),
            (at - SECOND, at - SECOND, at - SECOND + 3)
        );
        due.push(at);
    }
    assert!(due.iter().all(|at| (SECOND + 10 * MILLI..=SECOND + 30 * MILLI).contains(at)), "{due:?}");
    assert!(!due.is_sorted(), "each for itself");
}

/// Numbers for the tests below.
struct Dice(Draw, u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.1 += 1;
        usize::try_from(self.0.at(self.1) % n as u64).unwrap()
    }
}

/// The stream side of one fault, on the chain engine.
struct Line {
    talk: Talk,
    chain: Chain,
    fault: Arc<Active>,
    now: Time,
    last: Time,
    next: Option<Time>,
    out: Vec<u8>,
    fin: bool,
    records: Vec<Record>,
}

impl Line {
    fn of(fields: &str) -> Line {
        let fault = Arc::new(active(Arc::new(build(fields)), Some(Flow::Downstream), 1));
        let mut line = Line {
            talk: Talk::new(0, None, START),
            chain: Chain::new(),
            fault,
            now: START,
            last: 0,
            next: None,
            out: Vec::new(),
            fin: false,
            records: Vec::new(),
        };
        line.talk.admit();
        let slice = Slice::new(vec![line.fault.clone()], false);
        line.chain.retune(Some(&slice), &line.talk, &mut line.last, Now { mono: START, boot: START });
        line.poll();
        line
    }

    fn poll(&mut self) {
        let now = Now { mono: self.now, boot: self.now };
        self.next = self.chain.poll(&self.talk, now, &mut self.records).next;
        while self.chain.ready(Flow::Downstream) == Ready::Bytes {
            let mut slots = [IoSlice::new(&[]); 4];
            let filled = self.chain.slices(Flow::Downstream, &mut slots);
            let bytes: Vec<u8> = slots[..filled].iter().flat_map(|slot| slot.iter().copied()).collect();
            self.chain.wrote(Flow::Downstream, bytes.len());
            self.out.extend(bytes);
        }
        self.fin |= self.chain.ready(Flow::Downstream) == Ready::Fin;
    }

    fn read(&mut self, bytes: &[u8]) {
        self.talk.moved(Flow::Downstream, bytes.len());
        let now = Now { mono: self.now, boot: self.now };
        self.chain.push(Flow::Downstream, Bytes::copy_from_slice(bytes), &self.talk, now);
        self.poll();
    }

    fn fin(&mut self) {
        self.chain.fin(Flow::Downstream, Now { mono: self.now, boot: self.now });
        self.poll();
    }

    fn at(&mut self, ms: u64) -> &mut Line {
        self.now = START + ms * MILLI;
        self.poll();
        self
    }

    fn what(&self) -> Vec<(What, u64)> {
        self.records.iter().map(|record| (record.injection.what, record.injection.step)).collect()
    }
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| message::frame(message).unwrap()).collect()
}

/// Two that the fault is for, one that it is not for, and an end in mid-message.
fn stream() -> (Vec<u8>, [usize; 3]) {
    let messages = [web(1), response(2, "other.org", A, &[(A, &[1; 4])]), response(3, "b.example.com", AAAA, &[])];
    let lengths = [0, 1, 2].map(|n: usize| 2 + messages[n].len());
    let mut bytes = framed(&messages);
    bytes.extend_from_slice(&framed(&[web(4)])[..30]);
    (bytes, lengths)
}

#[test]
fn on_a_stream_messages_are_replaced_whole_however_they_were_read() {
    let (bytes, lengths) = stream();
    let mut dice = Dice(DrawKey::new(1, "dns", "reads").unit(0), 0);
    let fields = "answer = 'servfail'\nnames = ['*.example.com']";
    let mut wanted: Option<Vec<u8>> = None;
    for most in [1, 2, 3, 7, 40, 1_000] {
        let mut line = Line::of(fields);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + dice.below(most)).min(rest.len()));
            line.read(now);
            rest = later;
        }
        assert!(!line.chain.is_holding());
        line.fin();
        assert!(line.fin, "in reads of up to {most}");
        let offsets = [0, (lengths[0] + lengths[1]) as u64];
        assert_eq!(line.what(), offsets.map(|offset| (What::Answered, offset)), "in reads of up to {most}");
        assert_eq!(*wanted.get_or_insert_with(|| line.out.clone()), line.out, "in reads of up to {most}");
    }
    let out = wanted.unwrap();
    let replaced = 2 + 12 + 17 + 4 + 11;
    assert_eq!(header(&out[2..]), (1, 0x85, 0x82, [1, 0, 0, 1]));
    assert_eq!(out[replaced..replaced + lengths[1]], bytes[lengths[0]..lengths[0] + lengths[1]], "not for it");
    assert_eq!(out[out.len() - 30..], bytes[bytes.len() - 30..], "what is cut short goes on as it is");
}

#[test]
fn lifted_in_mid_message_nothing_is_missing() {
    let (bytes, _) = stream();
    for cut in 0..bytes.len() {
        let mut line = Line::of("answer = 'timeout'\nnames = ['nobody.example']");
        line.read(&bytes[..cut]);
        line.fault.switch.end();
        line.poll();
        line.read(&bytes[cut..]);
        assert!(line.out == bytes && line.records.is_empty(), "at {cut}");
    }
}

#[test]
fn on_a_stream_a_withheld_answer_is_delivered_when_the_fault_is_lifted() {
    let (bytes, _) = stream();
    let mut line = Line::of("answer = 'timeout'");
    line.read(&bytes);
    line.at(5_000);
    assert!(line.out.is_empty() && line.chain.is_holding());
    assert_eq!(line.what(), [(What::Held, 0)], "once");
    line.fault.switch.end();
    line.poll();
    assert_eq!(line.out, bytes);
}

#[test]
fn on_a_stream_slow_answers_are_never_early_and_wait_side_by_side_in_order() {
    let messages = [web(1), response(2, "other.org", A, &[]), web(3)];
    let mut line = Line::of("answer = 'slow'\ndelay = '100ms'\nnames = ['www.example.com']");
    let first = framed(&messages[..1]);
    line.read(&first[..10]);
    line.at(40).read(&first[10..]); // the message is there only now
    line.at(60).read(&framed(&messages[1..]));
    line.at(139);
    assert!(line.out.is_empty());
    assert_eq!(line.next, Some(START + 140 * MILLI));
    line.at(140);
    assert_eq!(line.out, framed(&messages[..2]), "the other one waited behind it only");
    line.at(160);
    assert_eq!(line.out, framed(&messages));
    assert_eq!(line.what().len(), 2);
    assert!(line.records.iter().all(|record| record.injection.achieved == 100 * MILLI), "{:?}", line.records);
}

#[test]
fn on_a_stream_a_truncated_answer_is_the_whole_one() {
    let (bytes, _) = stream();
    let mut line = Line::of("answer = 'truncated'");
    line.read(&bytes);
    line.fin();
    assert!(line.out == bytes && line.records.is_empty());
}

#[test]
fn what_begins_as_a_response_and_can_not_be_read_passes_and_is_counted() {
    let mut hollow = web(1);
    hollow[6..12].fill(0xff);
    let bytes = framed(&[web(1), hollow, web(2)]);
    let mut line = Line::of("answer = 'stale'");
    line.read(&bytes);
    assert_eq!((&line.out, line.fault.read().unread), (&bytes, 1));
}

const EVERY: [&str; 9] = [
    "answer = 'nxdomain'",
    "answer = 'servfail'",
    "answer = 'refused'",
    "answer = 'empty'",
    "answer = 'truncated'",
    "answer = 'timeout'",
    "answer = 'stale'",
    "answer = 'slow'\ndelay = '1ms'",
    "answer = 'address'\naddresses = ['1.2.3.4', '::1']",
];

#[test]
fn hostile_messages_harm_nobody() {
    let mut dice = Dice(DrawKey::new(1, "dns", "hostile").unit(0), 0);
    let mut clients = EVERY.map(Client::of);
    for _ in 0..20_000 {
        let mut bytes = match dice.below(3) {
            0 => web(5),
            1 => response(6, "a.b.c.d.example", MX, &[(MX, b"\0\x0a\x01m\xc0\x0c"), (A, &[1; 4]), (99, b"xyz")]),
            _ => (0..dice.below(300)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect(),
        };
        for _ in 0..dice.below(6) {
            let at = dice.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(dice.below(256)).unwrap();
            }
        }
        bytes.truncate(dice.below(bytes.len() + 1) + dice.below(2) * 1_000);
        for client in &mut clients {
            client.injected.clear();
            match client.gets(&bytes) {
                Packet::Pass => assert!(client.injected.is_empty(), "{bytes:?}"),
                Packet::Replace(put) => {
                    assert_eq!(put[..2], bytes[..2], "the id");
                    assert!(put.len() <= bytes.len() + 8 * 28 || !client.injected.is_empty());
                }
                Packet::Hold(_) => assert!(client.injected.is_empty(), "on record once it has waited"),
                _ => assert_eq!(client.injected.len(), 1),
            }
        }
    }
}

#[test]
fn hostile_streams_harm_nobody_and_end() {
    let mut dice = Dice(DrawKey::new(2, "dns", "hostile").unit(0), 0);
    for round in 0..300 {
        let fields = EVERY[round % EVERY.len()];
        let mut bytes: Vec<u8> = Vec::new();
        for _ in 0..dice.below(6) {
            let mut message = framed(&[web(5)]);
            let at = dice.below(message.len());
            message[at] ^= u8::try_from(dice.below(2) * dice.below(256)).unwrap();
            message.truncate(message.len() - dice.below(2) * dice.below(9));
            bytes.extend(message);
        }
        let mut line = Line::of(fields);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at((1 + dice.below(60)).min(rest.len()));
            line.read(now);
            rest = later;
        }
        line.fin();
        line.at(10_000);
        assert_eq!(line.fault.tally.read().stuck, 0, "{fields}");
        line.fault.switch.end();
        line.poll();
        assert!(line.fin, "round {round}, {fields}: it hangs");
        if fields.contains("slow") || fields.contains("timeout") || fields.contains("truncated") {
            assert_eq!(line.out, bytes, "round {round}, {fields}");
        }
    }
}

#[test]
fn fields_that_do_not_go_together_are_told() {
    for (fields, expected) in [
        ("answer = 'slow'", "says no delay"),
        ("answer = 'nxdomain'\ndelay = '1s'", "`delay` goes with answer = \"slow\" only"),
        ("answer = 'address'", "needs `addresses`"),
        ("answer = 'stale'\naddresses = ['1.2.3.4']", "`addresses` goes with answer = \"address\" only"),
        ("answer = 'empty'\nttl = '5s'", "`ttl` goes with answer = \"address\" only"),
        ("answer = 'address'\naddresses = ['::1']\nttl = '1500ms'", "whole seconds"),
        ("answer = 'address'\naddresses = ['localhost']", "IP address"),
        ("answer = 'empty'\ntypes = ['AAAAA']", "is no type of records"),
        ("answer = 'empty'\ntypes = ['TYPE70000']", "is no type of records"),
        ("answer = 'empty'\nnames = ['a b']", "is no name"),
        ("answer = 'empty'\nnames = ['a..b']", "is no name"),
        ("answer = 'empty'\nnames = ['bücher.example']", "`xn--` form"),
        ("answer = 'nxdomian'", "unknown variant"),
        ("", "answer"),
    ] {
        let message = wrong(fields);
        assert!(message.contains(expected), "{fields}\n-> {message}");
    }
}
