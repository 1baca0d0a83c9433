//! What every kind has to keep to that acts on HTTP exchanges, in each of its phases, on the chain engine over virtual time.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use super::super::registry::{Entry, KINDS, kind};
use super::pump::{START, active, now};
use super::{make, own_fields};
use crate::chain::{Chain, Dialogue, Ready, Talk};
use crate::curve::Curve;
use crate::draw::{Draw, DrawKey};
use crate::fault::{Asked, Effect, Flow, Phase, Ruling, Until, What};
use crate::http::{Fields, Request, Response, StatusCode};
use crate::observe::Record;
use crate::plan::{Active, Layer, Slice};
use crate::time::{MILLI, SECOND, Time};

/// Besides the examples.
const HARDER: &[(&str, &str)] = &[
    ("latency", "delay = '20ms'\njitter = '20ms'"),
    ("error", "grpc_status = 14"),
    ("rate_limit", "limit = 1\nalgorithm = 'concurrency'\nstyle = 'draft'"),
    ("rate_limit", "limit = 1\nalgorithm = 'leaky_bucket'\nburst = 1\nwindow = '50ms'"),
    ("limit_data", "bytes = '64B'"),
    ("cut", "how = 'stall'"),
    ("cut", "how = 'goaway'"),
    ("cut", "after = '300B'\nhow = 'complete'"),
    ("cut", "after = '5ms'\nhow = 'stall'"),
    ("cut", "how = 'no_terminator'"),
    ("cut", "content_length_off_by = 7"),
    ("drop_answer", "how = 'stall'"),
    ("bandwidth", "rate = '0'"),
    ("trickle", "chunk = '7B'\ngap = '1ms'"),
    ("sse", "how = 'truncate'\nafter = 2"),
    ("sse", "how = 'cut'\nafter = 1"),
    ("sse", "how = 'error'\nafter = 1"),
    ("sse", "how = 'malformed'\nafter = 1"),
    ("sse", "how = 'pace'\nrate = 50.0"),
    ("sse", "how = 'content_type'"),
    ("grpc", "how = 'delay'\ndelay = '10ms'\njitter = '10ms'"),
    ("grpc", "how = 'stall'\nafter = 1"),
    ("grpc", "how = 'no_trailers'"),
    ("websocket", "how = 'close'\nafter = 2"),
    ("websocket", "how = 'delay'\ndelay = '5ms'"),
    ("websocket", "how = 'drop'\nshare = 50"),
    ("websocket", "how = 'truncate'\nto = '1B'"),
    ("http2", "how = 'stall'\nafter = '64B'"),
    ("corrupt", "one_per = '16B'"),
    ("envoy_headers", "max_delay = '10ms'\nmin_throughput = '1KiB/s'"),
];

/// A kind as it is configured, in one of its phases.
struct Case {
    entry: &'static Entry,
    fields: String,
    phase: Phase,
}

fn cases() -> Vec<Case> {
    let acting = KINDS.iter().filter(|entry| !entry.phases.is_empty());
    let examples = acting.map(|entry| (entry, toml::to_string(&own_fields(entry.example)).unwrap()));
    let harder = HARDER.iter().map(|(name, fields)| (kind(name).unwrap(), (*fields).to_owned()));
    let in_phases = |(entry, fields): (&'static Entry, String)| {
        let fault = make(entry, &fields).fault;
        let phases = entry.phases.iter().filter(move |phase| fault.misfit_in(**phase).is_none());
        phases.map(move |phase| Case { entry, fields: fields.clone(), phase: *phase })
    };
    let cases: Vec<_> = examples.chain(harder).flat_map(in_phases).collect();
    assert!(cases.len() > 50, "{}", cases.len());
    cases
}

impl Case {
    fn active(&self, seed: u64) -> Active {
        let fault = active(make(self.entry, &self.fields).fault, None, seed);
        Active { layer: Layer::Exchange(self.phase), bodies: self.entry.direction.or(Some(Flow::Downstream)), ..fault }
    }

    fn name(&self) -> String {
        format!("{} in {} with {}", self.entry.name, self.phase.word(), self.fields)
    }

    /// What clients have to ask for, they do.
    fn asks(&self) -> Fields {
        let headers: &[(&str, &str)] = match self.entry.name {
            "envoy_headers" if self.fields.contains("abort") => &[("x-envoy-fault-abort-request", "500")],
            "envoy_headers" => &[("x-envoy-fault-delay-request", "20"), ("x-envoy-fault-throughput-response", "32")],
            _ => &[],
        };
        headers.iter().copied().collect()
    }

    /// The answer that the kind is about, and its body.
    fn answer(&self) -> (Response, Vec<u8>) {
        let of = |status, field: (&str, &str), body| {
            let fields = [field].into_iter().collect();
            (Response { status, fields, ..Response::default() }, body)
        };
        let kind = |kind| ("content-type", kind);
        match self.entry.name {
            "sse" => {
                of(StatusCode::OK, kind("text/event-stream"), b"data: {\"a\":1}\n\n: alive\n\ndata: 2\n\n".repeat(9))
            }
            "grpc" => of(StatusCode::OK, kind("application/grpc"), b"\0\0\0\0\x0aabcdefghij\0\0\0\0\0".repeat(20)),
            "websocket" => {
                let frames = b"\x81\x05Hello\x8a\x02hi\x01\x01a\x80\x01b".repeat(20);
                of(StatusCode::SWITCHING_PROTOCOLS, ("sec-websocket-accept", "x"), frames)
            }
            _ => of(StatusCode::OK, kind("application/json"), vec![b'x'; 700]),
        }
    }
}

/// What came of an exchange.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Each ruling, with the time.
    rulings: Vec<(Time, String)>,
    /// The bodies, byte by byte.
    out: [Vec<u8>; 2],
    /// What ended it, or that it stands still.
    ended: Option<String>,
    what: Vec<(What, u64, Option<u64>)>,
}

/// An exchange at a fault.
struct Exchange {
    talk: Talk,
    chain: Chain,
    now: Time,
    last: Time,
    records: Vec<Record>,
    outcome: Outcome,
    next: Option<Time>,
    dice: Option<(Draw, u64)>,
    /// Steps after which the experiment ends.
    abort: Option<(usize, Arc<Active>)>,
    steps: usize,
}

impl Exchange {
    /// Two exchanges one after the other, so that what is counted is; the outcome is of both. `split`: in reads of random
    /// sizes.
    fn run(case: &Case, fault: &Arc<Active>, split: Option<u64>, abort: Option<usize>) -> Vec<Exchange> {
        let slice = Slice::new(vec![fault.clone()], false);
        let one = |number| {
            let request = Request { target: "/v1/charges".into(), fields: case.asks(), ..Request::default() };
            let dialogue = Dialogue { number, request, ..Dialogue::default() };
            let began = START + number * 10 * MILLI;
            let mut exchange = Exchange {
                talk: Talk::exchange(0, None, began, dialogue),
                chain: Chain::new(),
                now: began,
                last: 0,
                records: Vec::new(),
                outcome: Outcome::default(),
                next: None,
                dice: split.map(|seed| (DrawKey::new(seed, "dice", "").unit(number), 0)),
                abort: abort.map(|steps| (steps, fault.clone())),
                steps: 0,
            };
            exchange.chain.retune(Some(&slice), &exchange.talk, &mut exchange.last, now(began));
            exchange.poll();
            exchange.go(case, &slice);
            let what = exchange.records.iter().map(|record| record.injection);
            exchange.outcome.what = what.map(|i| (i.what, i.scheduled, i.draw)).collect();
            exchange
        };
        // both are under way at once
        (0..2).map(one).collect()
    }

    fn go(&mut self, case: &Case, slice: &Slice) {
        let (response, body) = case.answer();
        for phase in [Phase::BeforeConnect, Phase::BeforeUpstream, Phase::MidBody] {
            self.rule(phase);
        }
        self.carry(Flow::Upstream, &[b'r'; 90]);
        self.now += MILLI;
        if let Some(dialogue) = self.talk.dialogue_mut() {
            dialogue.response = Some(response);
            dialogue.answered = Some(self.now);
        }
        self.chain.answered(slice, &self.talk, self.last, now(self.now));
        self.rule(Phase::AfterUpstreamHead);
        self.rule(Phase::MidBody);
        self.carry(Flow::Downstream, &body);
        self.rule(Phase::AfterUpstream);
    }

    fn step(&mut self) {
        self.steps += 1;
        if let Some((steps, fault)) = &self.abort
            && *steps == self.steps
        {
            fault.switch.end();
            self.poll();
            assert!(!self.chain.is_holding(), "held after the abort");
        }
    }

    fn is_aborted(&self) -> bool {
        self.abort.as_ref().is_some_and(|(steps, _)| self.steps >= *steps)
    }

    fn rule(&mut self, phase: Phase) {
        let arrived = self.now;
        for _ in 0..100 {
            if self.outcome.ended.is_some() {
                return;
            }
            let Some(dialogue) = self.talk.dialogue() else { return };
            let (request, response) = (&dialogue.request, dialogue.response.as_ref());
            let asked = Asked { phase, request, response, client: None, began: self.talk.opened, arrived };
            let ruled = self.chain.rule(&asked, &self.talk, now(self.now), &mut self.records);
            assert_eq!(ruled.by.is_none(), matches!(ruled.ruling, Ruling::Pass | Ruling::Hold(_)));
            if matches!(ruled.ruling, Ruling::Pass) {
                return;
            }
            assert!(!self.is_aborted(), "ruled after the abort: {:?}", ruled.ruling);
            self.outcome.rulings.push((self.now, format!("{:?}", ruled.ruling)));
            match ruled.ruling {
                Ruling::Hold(Until::At(at)) => {
                    self.step();
                    self.now = if self.is_aborted() { self.now } else { at };
                }
                Ruling::Hold(Until::Change) => {
                    self.step();
                    if !self.is_aborted() {
                        self.outcome.ended = Some("it waits for good".into());
                    }
                }
                Ruling::Answer { .. } | Ruling::End { .. } => self.outcome.ended = Some("ruled".into()),
                Ruling::Pass | Ruling::Patch(_) | Ruling::Deliver(_) => {}
            }
        }
    }

    /// Sends a body through.
    fn carry(&mut self, flow: Flow, body: &[u8]) {
        let mut sent = 0;
        while sent < body.len() && self.outcome.ended.is_none() {
            self.step();
            let room = self.chain.room(flow);
            if room == 0 && !self.wait() {
                break;
            }
            let n = self.read_size().min(body.len() - sent).min(room);
            self.talk.moved(flow, n);
            self.chain.push(flow, Bytes::copy_from_slice(&body[sent..sent + n]), &self.talk, now(self.now));
            sent += n;
            self.poll();
        }
        if sent == body.len() && self.outcome.ended.is_none() {
            self.chain.fin(flow, now(self.now));
            self.poll();
            while self.chain.queued(flow) > 0 && self.outcome.ended.is_none() && self.wait() {
                self.step();
            }
        }
    }

    /// Until the chain wants to be asked again; false: it never does.
    fn wait(&mut self) -> bool {
        let Some(next) = self.next.filter(|next| *next < START + 60 * SECOND) else { return false };
        self.now = self.now.max(next);
        self.poll();
        true
    }

    fn read_size(&mut self) -> usize {
        let Some((draw, step)) = &mut self.dice else { return usize::MAX };
        *step += 1;
        1 + usize::try_from(draw.at(*step) % 40).unwrap()
    }

    fn poll(&mut self) {
        self.next = self.chain.poll(&self.talk, now(self.now), &mut self.records).next;
        for flow in [Flow::Upstream, Flow::Downstream] {
            while self.chain.ready(flow) == Ready::Bytes {
                let mut slots = [IoSlice::new(&[]); 8];
                let filled = self.chain.slices(flow, &mut slots);
                let bytes: Vec<u8> = slots[..filled].iter().flat_map(|slot| slot.iter().copied()).collect();
                self.chain.wrote(flow, bytes.len());
                self.outcome.out[flow as usize].extend(bytes);
            }
            match self.chain.ready(flow) {
                Ready::Fin => self.chain.fin_passed(flow),
                Ready::Close | Ready::Reset => {
                    self.outcome.ended = Some(format!("{:?}", self.chain.end().map(|(how, _)| how)));
                }
                Ready::Bytes | Ready::Nothing => {}
            }
        }
    }

    fn sent(&self, case: &Case, flow: Flow) -> Vec<u8> {
        match flow {
            Flow::Upstream => vec![b'r'; 90],
            Flow::Downstream => case.answer().1,
        }
    }
}

fn outcomes(exchanges: Vec<Exchange>) -> Vec<Outcome> {
    exchanges.into_iter().map(|exchange| exchange.outcome).collect()
}

#[test]
fn at_percentage_0_every_exchange_goes_by_untouched() {
    for case in cases() {
        let mut fault = case.active(1);
        fault.select.percentage = Curve::Constant(0.0);
        let fault = Arc::new(fault);
        for exchange in Exchange::run(&case, &fault, None, None) {
            let sent = [Flow::Upstream, Flow::Downstream].map(|flow| exchange.sent(&case, flow));
            assert_eq!(exchange.outcome.out, sent, "{}", case.name());
            assert!(exchange.outcome.rulings.is_empty() && exchange.records.is_empty(), "{}", case.name());
            assert_eq!(exchange.now, exchange.talk.opened + MILLI, "{}: late", case.name());
        }
        assert_eq!(fault.tally.read().selected, 0);
    }
}

#[test]
fn the_same_seed_rules_the_same_whatever_the_reads() {
    for case in cases() {
        let run = |split| outcomes(Exchange::run(&case, &Arc::new(case.active(1)), split, None));
        let whole = run(None);
        assert_eq!(run(None), whole, "{}", case.name());
        for dice in 0..6 {
            let mut split = run(Some(dice));
            if matches!(case.entry.name, "bandwidth" | "trickle" | "envoy_headers") {
                // waits are summed up, and a piece is what has come
                for (one, other) in split.iter_mut().zip(&whole) {
                    one.what.clone_from(&other.what);
                }
            }
            assert_eq!(split, whole, "{}", case.name());
        }
    }
}

#[test]
fn every_kind_does_something_and_says_so() {
    let mut silent: BTreeSet<&str> = cases().iter().map(|case| case.entry.name).collect();
    for case in cases() {
        let fault = Arc::new(case.active(1));
        let exchanges = Exchange::run(&case, &fault, None, None);
        let tally = fault.tally.read();
        assert_eq!(tally.stuck, 0, "{}", case.name());
        let changed = exchanges.iter().any(|exchange| {
            let sent = [Flow::Upstream, Flow::Downstream].map(|flow| exchange.sent(&case, flow));
            exchange.outcome.ended.is_some() || exchange.outcome.out != sent
        });
        assert!(!changed || tally.injected > 0, "{}: not on record", case.name());
        if tally.injected > 0 {
            silent.remove(case.entry.name);
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn bodies_stay_whole_unless_the_kind_declares_otherwise() {
    for case in cases() {
        for exchange in Exchange::run(&case, &Arc::new(case.active(1)), Some(3), None) {
            for flow in [Flow::Upstream, Flow::Downstream] {
                let (out, sent) = (&exchange.outcome.out[flow as usize], exchange.sent(&case, flow));
                let touched = flow == case.entry.direction.unwrap_or(Flow::Downstream) && case.phase == Phase::MidBody;
                match case.entry.effect {
                    Effect::Mutates | Effect::Loses if touched => {}
                    _ => assert!(sent.starts_with(out), "{}", case.name()),
                }
            }
        }
    }
}

#[test]
fn an_abort_releases_an_exchange_at_once() {
    let mut released = 0;
    for case in cases() {
        for step in 1..8 {
            let fault = Arc::new(case.active(1));
            for exchange in Exchange::run(&case, &fault, Some(5), Some(step)) {
                let injected = exchange.outcome.what.len();
                if exchange.outcome.ended.is_some() || !exchange.is_aborted() {
                    continue;
                }
                released += usize::from(injected > 0);
                for flow in [Flow::Upstream, Flow::Downstream] {
                    let (out, sent) = (&exchange.outcome.out[flow as usize], exchange.sent(&case, flow));
                    if case.entry.effect == Effect::Keeps {
                        assert_eq!(out, &sent, "{} after {step} steps", case.name());
                    }
                }
            }
        }
    }
    assert!(released > 20, "the test held something: {released}");
}
