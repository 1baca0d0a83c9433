#![allow(clippy::panic, clippy::unwrap_used, clippy::cast_precision_loss)]

use super::*;
use crate::draw::DrawKey;
use crate::fault::Span;
use crate::fault::driver::Driver;
use crate::time::SECOND;

const START: Time = 1_000 * SECOND;

fn bandwidth(text: &str) -> Bandwidth {
    Bandwidth::build(toml::from_str(text).unwrap()).unwrap()
}

/// A sender with always 64 KiB at hand on a path that carries 4 GB/s, timers 60 µs late: bytes per second over `span`,
/// and how often the fault was asked.
fn bulk(fault: &Bandwidth, connections: usize, span: Time) -> (f64, u64) {
    let shared = Buckets::default();
    let mut states: Vec<Memory> = (0..connections).map(|_| Memory::default()).collect();
    let mut flows = vec![(START, START, 0_u64); connections]; // next poll, arrival of the head, offset
    let (mut passed, mut asked) = (0, 0);
    loop {
        let i = (0..connections).min_by_key(|i| flows[*i].0).unwrap();
        let (now, arrived, offset) = flows[i];
        if now >= START + span {
            return (passed as f64 * 1e9 / span as f64, asked);
        }
        let mut cx = Cx {
            state: &mut states[i],
            shared: &shared,
            draw: DrawKey::new(1, "e", "f").unit(0),
            span: &Span::default(),
            now,
            elapsed: now - START,
            flow: Flow::Downstream,
            exchange: None,
            injected: &mut Vec::new(),
        };
        let offer = Offer { item: Item::Len(64 << 10), arrived, offset, turn: 0, turn_offset: offset, asked: None };
        asked += 1;
        flows[i] = match fault.stream(&mut cx, &offer) {
            Act::Hold(Until::At(at)) => (at + 60_000, arrived, offset),
            Act::Pass(n) => {
                passed += n as u64;
                let then = now + n as u64 / 4;
                // what was offered beyond n has been there before
                (then.max(now + 1), if n >= 64 << 10 { then } else { arrived }, offset + n as u64)
            }
            act => panic!("{act:?}"),
        };
    }
}

#[test]
fn the_rate_is_kept_within_one_percent_from_10_kb_to_1_gb_per_second() {
    for rate in [1e4, 1e5, 1e6, 3.3e6, 1e7, 1e8, 1e9] {
        let fault = bandwidth(&format!("rate = '{}B/s'", rate as u64));
        let (measured, asked) = bulk(&fault, 1, 2 * SECOND);
        assert!((measured / rate - 1.0).abs() < 0.01, "{rate}: {measured}");
        assert!(asked < 4_000, "{rate}: asked {asked} times in 2 s");
    }
}

#[test]
fn a_shared_rate_is_the_rate_of_all_together() {
    let fault = bandwidth("rate = '10MB/s'\nper = 'proxy'");
    let (measured, _) = bulk(&fault, 50, 4 * SECOND);
    assert!((measured / 1e7 - 1.0).abs() < 0.01, "{measured}");
    let alone = bandwidth("rate = '10MB/s'");
    assert!(bulk(&alone, 5, SECOND).0 > 4.9e7);
}

#[test]
fn a_short_message_takes_its_time_on_the_link() {
    let mut driver = Driver::new(bandwidth("rate = '10kB/s'"), Flow::Downstream).attached(START, 0);
    driver.at(START).push(&[0; 250]);
    driver.at(START + SECOND).push(&[0; 50]);
    driver.run_until(START + 2 * SECOND);
    let ms = |ms| START + ms * MILLI;
    assert_eq!(driver.arrivals(), [(ms(10), 100), (ms(20), 100), (ms(25), 50), (ms(1005), 50)]);
}

#[test]
fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
    let mut driver = Driver::new(bandwidth("rate = '10kB/s'\nburst = '200B'"), Flow::Downstream).attached(START, 0);
    driver.at(START).push(&[0; 300]);
    driver.run_until(START + SECOND);
    assert_eq!(driver.arrivals(), [(START, 200), (START + 10 * MILLI, 100)]);
}

#[test]
fn rate_0_holds_until_something_changes_and_a_curve_lets_go_by_itself() {
    let mut driver = Driver::new(bandwidth("rate = '0'"), Flow::Downstream).attached(START, 0);
    driver.at(START).push(&[0; 10]);
    driver.run_until(START + 9 * SECOND);
    assert_eq!((driver.out.len(), driver.injected.len(), driver.injected[0].what), (0, 1, What::Held));
    driver.fault = bandwidth("rate = { steps = ['0', '1kB/s'], hold = '10s' }");
    driver.run_until(START + 20 * SECOND);
    assert_eq!(driver.arrivals(), [(START + 10_010 * MILLI, 10)]);
}

#[test]
fn a_new_rate_applies_at_once_and_what_was_counted_stays() {
    let mut driver = Driver::new(bandwidth("rate = '1B/s'"), Flow::Downstream).attached(START, 0);
    driver.at(START).push(&[0; 101]);
    driver.run_until(START + SECOND / 2);
    driver.fault = bandwidth("rate = '1kB/s'");
    driver.run_until(START + SECOND);
    assert_eq!(driver.out.len(), 101);
    assert_eq!(driver.out[0].0, START + SECOND / 2 + MILLI / 2);
    assert_eq!(driver.out[100].0, START + SECOND / 2 + MILLI / 2 + 100 * MILLI);
}

#[test]
fn waits_are_on_record_first_at_once_then_by_the_second_and_at_the_end() {
    let mut driver = Driver::new(bandwidth("rate = '1kB/s'"), Flow::Downstream).attached(START, 0);
    driver.at(START).push(&[0; 2500]);
    driver.at(START).fin();
    driver.run_until(START + 3 * SECOND);
    let waits: Vec<_> = driver.injected.iter().map(|i| (i.what, i.scheduled / MILLI, i.achieved / MILLI)).collect();
    let of = |ms| (What::Paced, ms, ms);
    assert_eq!(waits, [of(10), of(1000), of(1000), of(490)]);
    assert_eq!(driver.closed_at, Some(START + 2500 * MILLI));
}

#[test]
fn it_says_what_it_does() {
    let text = "rate = '10mbit'\nburst = '64KiB'\nper = 'proxy'";
    assert_eq!(Bandwidth::summary(&bandwidth(text)), "1250kB/s per proxy, bursts of 64KiB");
}
