//! What every kind has to keep to, tried on the chain engine over virtual time with each kind's example and some harder
//! configurations.

#![allow(clippy::unwrap_used, clippy::panic)]

mod exchange;
pub(crate) mod pump;
mod schema;

use std::collections::BTreeSet;
use std::sync::Arc;

use pump::{Pump, Traffic, active, now, traffic};
use schemars::SchemaGenerator;
use toml::de::DeTable;

use super::registry::{Entry, KINDS, Made, kind};
use super::{Carrier, Effect, End, Flow, Gate, Opening};
use crate::chain::Ready;
use crate::curve::Curve;
use crate::parse::COMMON;
use crate::plan::{Active, Slice};
use crate::time::{MILLI, Time};

/// Besides the examples.
const HARDER: &[(&str, &str)] = &[
    ("latency", "delay = '20ms'\njitter = '20ms'"),
    ("latency", "quantiles = { p50 = '1ms', p99 = '30ms' }"),
    ("latency", "delay = { from = '0ms', to = '30ms', over = '50ms' }"),
    ("bandwidth", "rate = '0'"),
    ("bandwidth", "rate = '100MB/s'\nper = 'proxy'"),
    ("bandwidth", "rate = { from = '100kB/s', to = '1MB/s', over = '1s' }\nburst = '1kB'"),
    ("cut", "after = '700B'\nhow = 'stall'"),
    ("cut", "after = '30ms'\nhow = 'stall'"),
    ("cut", "after = '30ms'"),
    ("reset", ""),
    ("blackhole", ""),
    ("blackhole", "after = '20ms'"),
    ("slicer", "size = '7B'\nvariation = '6B'\ngap = '5us'"),
    ("partition", "how = 'drop'"),
    ("partition", "how = 'reject'"),
    ("partition", "connections = 'established'"),
    ("partition", "how = 'drop'\nconnections = 'new'"),
    ("corrupt", "one_per = '3B'"),
    ("dns", "answer = 'timeout'"),
    ("dns", "answer = 'slow'\ndelay = '20ms'"),
    ("dns", "answer = 'stale'"),
    ("dns", "answer = 'address'\naddresses = ['10.0.0.1', '::1']\nttl = '5s'"),
    ("slow_close", "delay = '20ms'\njitter = '20ms'"),
    ("pad", "min = '30ms'"),
    ("connect", "how = 'hang'"),
    ("connect", "how = 'refuse'"),
    ("connect", "how = 'resolve'"),
    ("connection_limit", "max = 1"),
    ("half_open", ""),
    ("tls", "flaw = 'stall'"),
    ("tls", "flaw = 'slow'\ndelay = '20ms'"),
    ("tls", "flaw = 'alert'"),
];

fn own_fields(example: &str) -> toml::Table {
    let document: toml::Table = toml::from_str(example).unwrap();
    let mut fault = document["fault"][0].as_table().unwrap().clone();
    COMMON.iter().for_each(|field| drop(fault.remove(*field)));
    fault
}

fn make(entry: &Entry, fields: &str) -> Made {
    (entry.make)(DeTable::parse(fields).unwrap()).unwrap_or_else(|misfit| panic!("{}: {misfit:?}", entry.name))
}

/// Every kind that acts on bytes, with its example and the harder configurations.
fn cases() -> Vec<(&'static Entry, String)> {
    let examples = KINDS.iter().filter(|entry| entry.hooks.serve(Carrier::Stream));
    let examples = examples.map(|entry| (entry, toml::to_string(&own_fields(entry.example)).unwrap()));
    examples.chain(HARDER.iter().map(|(name, fields)| (kind(name).unwrap(), (*fields).to_owned()))).collect()
}

fn case(entry: &Entry, fields: &str, seed: u64) -> Arc<Active> {
    Arc::new(active(make(entry, fields).fault, entry.direction, seed))
}

fn slice(active: &Arc<Active>) -> Slice {
    Slice::new(vec![active.clone()], false)
}

#[test]
fn examples_are_complete_and_match_their_schema() {
    let mut names = BTreeSet::new();
    for entry in KINDS {
        assert!(names.insert(entry.name), "{} twice", entry.name);
        assert!(!entry.about.contains('\n') && !entry.about.ends_with('.'), "{}: one line", entry.name);
        let document: toml::Table = toml::from_str(entry.example).unwrap();
        let fault = &document["fault"][0];
        assert_eq!((fault["kind"].as_str(), fault["proxy"].as_str()), (Some(entry.name), Some("redis")));
        let fields = own_fields(entry.example);
        assert!(!make(entry, &toml::to_string(&fields).unwrap()).summary.is_empty());

        let mut generator = SchemaGenerator::default();
        let own = serde_json::to_value((entry.schema)(&mut generator)).unwrap();
        let definitions = serde_json::to_value(generator.take_definitions(true)).unwrap();
        let mut value = serde_json::to_value(&fields).unwrap();
        schema::check(&own, &definitions, &value).unwrap_or_else(|why| panic!("{}: {why}", entry.name));
        for field in own["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            assert!(!COMMON.contains(&field.as_str()), "{}: `{field}` is a common field", entry.name);
        }
        value["nonsense"] = 1.into();
        assert!(schema::check(&own, &definitions, &value).is_err(), "{}: takes any field", entry.name);
        let nonsense = (entry.make)(DeTable::parse("nonsense = 1").unwrap());
        assert!(nonsense.is_err(), "{}: takes any field", entry.name);
    }
    for (entry, fields) in cases() {
        let mut generator = SchemaGenerator::default();
        let own = serde_json::to_value((entry.schema)(&mut generator)).unwrap();
        let definitions = serde_json::to_value(generator.take_definitions(true)).unwrap();
        let value = serde_json::to_value(toml::from_str::<toml::Table>(&fields).unwrap()).unwrap();
        schema::check(&own, &definitions, &value).unwrap_or_else(|why| panic!("{} {fields}: {why}", entry.name));
    }
}

#[test]
fn at_percentage_0_every_byte_goes_by_untouched() {
    for (entry, fields) in cases() {
        let mut fault = active(make(entry, &fields).fault, entry.direction, 1);
        fault.select.percentage = Curve::Constant(0.0);
        let fault = Arc::new(fault);
        let pump = traffic(&slice(&fault), Traffic::Whole, None);
        pump.assert_untouched(entry.name);
        assert_eq!((pump.records.len(), fault.tally.read().selected), (0, 0), "{}", entry.name);
    }
}

/// Pacing is the one decision for which what has arrived counts: a byte is through when all that came with it is. Its
/// bytes may differ by one piece of pacing.
fn slack(entry: &Entry) -> Time {
    if entry.name == "bandwidth" { 11 * MILLI } else { 0 }
}

fn assert_same(entry: &Entry, fields: &str, a: &Pump, b: &Pump) {
    let what = format!("{} {fields}", entry.name);
    assert_eq!(a.ended, b.ended, "{what}");
    for flow in 0..2 {
        assert_eq!(a.out[flow].len(), b.out[flow].len(), "{what}");
        for (offset, (a, b)) in a.out[flow].iter().zip(&b.out[flow]).enumerate() {
            assert!(a.1 == b.1 && a.0.abs_diff(b.0) <= slack(entry), "{what}: {flow} {offset}: {a:?} {b:?}");
        }
    }
    assert_eq!(a.drawn(), b.drawn(), "{what}");
}

#[test]
fn the_same_seed_decides_the_same_whatever_the_reads() {
    for (entry, fields) in cases() {
        let whole = traffic(&slice(&case(entry, &fields, 1)), Traffic::Whole, None);
        for dice in 0..8 {
            let split = traffic(&slice(&case(entry, &fields, 1)), Traffic::Split(dice), None);
            assert_same(entry, &fields, &whole, &split);
        }
    }
}

#[test]
fn another_seed_decides_otherwise_where_anything_is_drawn() {
    let mut drawing = BTreeSet::new();
    for (entry, fields) in cases() {
        let [one, other] = [1, 2].map(|seed| traffic(&slice(&case(entry, &fields, seed)), Traffic::Whole, None));
        if !one.drawn().is_empty() {
            assert_ne!(one.drawn(), other.drawn(), "{} {fields}", entry.name);
            drawing.insert(entry.name);
        }
    }
    assert_eq!(drawing, BTreeSet::from(["corrupt", "latency", "slicer", "slow_close"]));
}

#[test]
fn the_same_configuration_published_again_changes_nothing() {
    for (entry, fields) in cases() {
        let first = case(entry, &fields, 1);
        let plain = traffic(&slice(&first), Traffic::Whole, None);
        let before = case(entry, &fields, 1);
        let mut again = active(make(entry, &fields).fault, entry.direction, 1);
        (again.shared, again.tally) = (before.shared.clone(), before.tally.clone());
        again.switch = before.switch.clone();
        let again = slice(&Arc::new(again));
        let republished = traffic(&slice(&before), Traffic::Whole, Some(&again));
        assert_same(entry, &fields, &plain, &republished);
        if slack(entry) == 0 {
            assert_eq!(plain.records.len(), republished.records.len(), "{} {fields}", entry.name);
        }
    }
}

#[test]
fn bytes_stay_whole_unless_the_kind_declares_otherwise() {
    for (entry, fields) in cases() {
        let pump = traffic(&slice(&case(entry, &fields, 1)), Traffic::Split(3), None);
        for flow in [Flow::Upstream, Flow::Downstream] {
            let (out, sent) = (pump.bytes(flow), pump.sent(flow));
            match entry.effect {
                Effect::Keeps => assert!(sent.starts_with(&out), "{} {fields}", entry.name),
                Effect::Mutates => assert_eq!(out.len(), sent.len(), "{} {fields}", entry.name),
                Effect::Loses => assert!(out.len() <= sent.len(), "{} {fields}", entry.name),
            }
        }
    }
}

#[test]
fn an_abort_releases_at_once() {
    let mut released = 0;
    for (entry, fields) in cases() {
        for ms in [0, 1, 6, 33, 41, 62] {
            let fault = case(entry, &fields, 1);
            let mut pump = Pump::new(&slice(&fault));
            pump.schedule(Traffic::Whole);
            pump.run(ms * MILLI);
            let what = format!("{} {fields} after {ms} ms", entry.name);
            if pump.ended.is_some() {
                assert_eq!(fault.tally.read().affected, 1, "{what}: ended without a record");
                continue;
            }
            released += usize::from(pump.is_holding());
            let records = pump.records.iter().filter(|record| !record.released).count();
            fault.switch.end();
            pump.poll();
            assert!(!pump.is_holding(), "{what}: still held");
            let whole = [Flow::Upstream, Flow::Downstream].iter().all(|flow| pump.bytes(*flow) == pump.sent(*flow));
            match (entry.effect, whole) {
                (Effect::Keeps, whole) => assert!(whole && pump.ended.is_none(), "{what}: bytes are missing"),
                (Effect::Mutates, _) => assert!(pump.ended.is_none(), "{what}"),
                (Effect::Loses, false) => assert_eq!(pump.ended.map(|end| end.1), Some(Ready::Reset), "{what}"),
                (Effect::Loses, true) => assert_eq!(pump.ended, None, "{what}"),
            }
            pump.run(1000 * MILLI);
            let after = pump.records.iter().filter(|record| !record.released).count();
            assert_eq!(after, records, "{what}: injected after the abort");
        }
    }
    assert!(released > 20, "the test held something: {released}");
}

#[test]
fn a_gate_that_holds_opens_on_abort() {
    let mut held = BTreeSet::new();
    for (entry, fields) in cases() {
        let fault = case(entry, &fields, 1);
        let mut pump = Pump::at_the_gate(&slice(&fault));
        let opening = Opening::Hello { alpn: true };
        match pump.chain.gate(&opening, &pump.talk, now(pump.now), &mut pump.records) {
            Gate::Hold(_) => {
                held.insert(entry.name);
                fault.switch.end();
                let gate = pump.chain.gate(&opening, &pump.talk, now(pump.now), &mut pump.records);
                assert_eq!(gate, Gate::Pass, "{} {fields}", entry.name);
            }
            Gate::Refuse(end) => {
                assert_eq!(end, End::Reset, "{} {fields}", entry.name);
                assert!(!pump.records.is_empty(), "{} {fields}: refused without a record", entry.name);
            }
            Gate::Tls(_) => {
                assert!(!pump.records.is_empty(), "{} {fields}: a flaw without a record", entry.name);
                fault.switch.end();
                let gate = pump.chain.gate(&opening, &pump.talk, now(pump.now), &mut pump.records);
                assert_eq!(gate, Gate::Pass, "{} {fields}", entry.name);
            }
            Gate::Pass => {}
        }
    }
    assert_eq!(held, BTreeSet::from(["connect", "partition", "tls"]));
}

/// The engine passes over a fault that decides again and again without moving anything; no kind may come to that.
#[test]
fn no_kind_gets_stuck() {
    for (entry, fields) in cases() {
        let fault = case(entry, &fields, 1);
        traffic(&slice(&fault), Traffic::Split(1), None);
        assert_eq!(fault.tally.read().stuck, 0, "{} {fields}", entry.name);
    }
}
