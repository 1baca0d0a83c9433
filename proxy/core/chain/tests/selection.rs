//! Who is selected, when, and what is counted.

use super::support::*;
use crate::curve::Curve;
use crate::plan::{Active, Slice};
use crate::select::{Cap, Count, Key};
use crate::time::MILLI;
use crate::window::Window;

fn accept(slice: &Slice, ordinal: u64, now: u64) -> Pump {
    let mut pump = Pump::new(ordinal);
    (pump.now, pump.talk.opened) = (now, now);
    pump.retune(Some(slice));
    pump
}

fn stalled(change: impl FnOnce(&mut Active)) -> std::sync::Arc<Slice> {
    let mut active = Stand::new().active(1, None, Mode::Stall(0));
    change(&mut active);
    slice([active])
}

#[test]
fn counts_come_before_the_percentage_and_units_are_counted_once() {
    let slice = stalled(|active| active.select.count = Count::Nth(2));
    let mut pumps: Vec<Pump> = (0..4).map(|ordinal| accept(&slice, ordinal, 5)).collect();
    for pump in &mut pumps {
        pump.now = 6;
        pump.retune(Some(&slice));
    }
    let taken: Vec<bool> = pumps.iter().map(|pump| pump.chain.is_some()).collect();
    assert_eq!(taken, [false, true, false, false]);
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected), (4, 1));
}

/// Open from 0 to 5 ms and from 20 to 25 ms.
fn twice(active: &mut Active) {
    active.window = Window { at: 0, length: Some(5 * MILLI), every: Some(20 * MILLI), times: Some(2) };
}

#[test]
fn who_comes_between_two_openings_is_counted_at_the_next() {
    let slice = stalled(|active| {
        twice(active);
        active.select.count = Count::Nth(3);
    });
    let tally = &slice.actives[0].tally;
    let early = accept(&slice, 0, MILLI);
    let mut between: Vec<Pump> = (1..4).map(|ordinal| accept(&slice, ordinal, 10 * MILLI)).collect();
    assert_eq!((tally.read().eligible, early.chain.is_some()), (1, false));
    for pump in &mut between {
        assert_eq!(pump.next, Some(20 * MILLI));
        assert!(pump.read(DOWN, 10, true) == 10 && !pump.is_holding());
        pump.set(20 * MILLI);
        pump.read(DOWN, 10, true);
    }
    assert_eq!((tally.read().eligible, tally.read().selected), (4, 1));
    assert_eq!(between.iter().map(Pump::is_holding).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(between.iter().map(|pump| pump.chain.is_some()).collect::<Vec<_>>(), [false, true, false]);
    assert!(accept(&slice, 4, 26 * MILLI).chain.is_none(), "it does not open again");
    assert_eq!(tally.read().eligible, 4);
}

#[test]
fn who_comes_while_the_experiment_is_paused_is_counted_when_it_goes_on() {
    let stand = Stand::new();
    let slice = stand.slice([Mode::Stall(0)]);
    let _early = accept(&slice, 0, MILLI);
    stand.switch.pause();
    let mut pump = accept(&slice, 1, 2 * MILLI);
    pump.retune(Some(&slice));
    assert_eq!(slice.actives[0].tally.read().eligible, 1);
    stand.switch.start(0);
    pump.set(3 * MILLI);
    assert_eq!(pump.read(DOWN, 10, true), 10);
    assert!(pump.is_holding());
    assert_eq!(slice.actives[0].tally.read().selected, 2);
}

#[test]
fn a_percentage_selects_by_draw_and_the_rest_has_no_chain() {
    let slice = stalled(|active| active.select.percentage = Curve::Constant(30.0));
    let taken = (0..1_000).filter(|ordinal| accept(&slice, *ordinal, 1).chain.is_some()).count();
    assert!((250..350).contains(&taken), "{taken}");
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected), (1_000, taken as u64));
    let nobody = stalled(|active| active.select.percentage = Curve::Constant(0.0));
    assert!((0..1_000).all(|ordinal| accept(&nobody, ordinal, 1).chain.is_none()));
}

#[test]
fn an_absent_key_is_counted_and_not_selected() {
    let slice = stalled(|active| active.select.key = Key::Http("header:x".parse().unwrap()));
    assert!(accept(&slice, 0, 1).chain.is_none());
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.key_absent, tally.eligible), (1, 0));
    let slice = stalled(|active| {
        active.select.key = Key::Client;
        active.select.percentage = Curve::Constant(50.0);
    });
    let first = accept(&slice, 0, 1).chain.is_some();
    assert!((1..50).all(|ordinal| accept(&slice, ordinal, 1).chain.is_some() == first), "one client, one fate");
}

#[test]
fn a_cap_is_held_while_the_fault_acts_and_given_back() {
    let cap = Cap::new(2);
    let stand = Stand::new();
    let mut active = stand.active(1, None, Mode::Stall(0));
    active.select.cap = Some(cap.clone());
    let slice = slice([active]);
    let mut pumps: Vec<Pump> = (0..3).map(|ordinal| accept(&slice, ordinal, 1)).collect();
    assert!(pumps[2].chain.is_none());
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected, tally.overflow), (3, 2, 1));
    assert!(cap.take().is_none());
    drop(pumps.remove(0));
    assert!(cap.take().is_some(), "the connection ended");
    stand.switch.pause();
    pumps[0].poll();
    assert!(cap.take().is_some_and(|_permit| cap.take().is_some()), "paused");
    stand.switch.start(0);
    pumps[0].poll();
    let other = cap.take();
    assert!(other.is_some() && cap.take().is_none(), "taken again");
    pumps[0].retune(None);
    assert!(cap.take().is_some(), "removed");
}

#[test]
fn a_rising_percentage_wakes_those_it_reaches_and_loses_nobody() {
    let rising = Curve::Ramp { from: 0.0, to: 50.0, over: 100 * MILLI };
    let slice = stalled(|active| active.select.percentage = rising);
    let mut pumps: Vec<Pump> = (0..200).map(|ordinal| accept(&slice, ordinal, 1)).collect();
    assert!(pumps.iter().all(|pump| pump.chain.is_some()), "dormant, to be woken");
    let mut on = Vec::new();
    for step in 1..=110 {
        let now = step * MILLI;
        for pump in &mut pumps {
            while let Some(next) = pump.next.filter(|next| *next <= now) {
                pump.set(next);
            }
        }
        for pump in &mut pumps {
            pump.now = now;
            pump.read(DOWN, 1, true);
            pump.write_all();
        }
        let acting = pumps.iter().map(Pump::is_holding).collect::<Vec<_>>();
        assert!(on.iter().zip(&acting).all(|(before, after): (&bool, &bool)| !before || *after));
        on = acting;
    }
    let acting = on.iter().filter(|on| **on).count();
    assert!((80..120).contains(&acting), "{acting}");
    assert_eq!(slice.actives[0].tally.read().selected, acting as u64);
}

#[test]
fn a_falling_percentage_lets_them_go_by_itself() {
    let falling = Curve::Steps { steps: vec![100.0, 0.0], hold: MILLI };
    let slice = stalled(|active| active.select.percentage = falling);
    let mut pump = accept(&slice, 0, 0);
    pump.read(DOWN, 10, false);
    assert_eq!(pump.next, Some(MILLI));
    pump.set(MILLI);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.released), (10, 1));
}

/// A partition of these connections, open as in [`twice`].
fn parted(connections: &str) -> std::sync::Arc<Slice> {
    let mode = Mode::Real("partition", format!("connections = '{connections}'"));
    let mut active = Stand::new().active(1, Some(DOWN), mode);
    twice(&mut active);
    slice([active])
}

/// Whether a byte that comes now is held.
fn holds(pump: &mut Pump, now: u64) -> bool {
    pump.set(now);
    pump.read(DOWN, 1, true);
    pump.write_all();
    pump.is_holding()
}

#[test]
fn new_takes_who_comes_while_it_acts_and_counts_nobody_else() {
    let slice = parted("new");
    let mut during = accept(&slice, 1, 2 * MILLI);
    assert!(holds(&mut during, 3 * MILLI));
    assert!(!holds(&mut during, 10 * MILLI));
    let mut between = accept(&slice, 2, 11 * MILLI);
    let mut second = accept(&slice, 3, 21 * MILLI);
    assert_eq!([&mut during, &mut between, &mut second].map(|pump| holds(pump, 22 * MILLI)), [false, false, true]);
    assert!(during.chain.is_none() && between.chain.is_none(), "nothing is left to decide");
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected), (2, 2));
}

#[test]
fn established_takes_who_was_there_when_it_came_on_at_each_opening() {
    let slice = parted("established");
    let mut during = accept(&slice, 1, 2 * MILLI);
    assert!(!holds(&mut during, 3 * MILLI));
    let tally = &slice.actives[0].tally;
    assert_eq!(tally.read().eligible, 0);
    let mut between = accept(&slice, 2, 11 * MILLI);
    let mut second = accept(&slice, 3, 21 * MILLI);
    assert_eq!([&mut during, &mut between, &mut second].map(|pump| holds(pump, 22 * MILLI)), [true, true, false]);
    assert_eq!((tally.read().eligible, tally.read().selected), (2, 2));
}

#[test]
fn a_rule_about_connections_selects_by_their_hello() {
    let slice = stalled(|active| {
        let rule = serde_json::json!({ "sni": "*.example.com", "not": { "alpn": ["h2"] } });
        active.rule = Some(std::sync::Arc::new(serde_json::from_value(rule).unwrap()));
    });
    let taken = |sni: Option<&str>, alpn: &[&str]| {
        let mut pump = Pump::new(0);
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        pump.talk.hello = sni.map(|sni| Box::new(crate::tls::Hello { sni: Some(sni.to_owned()), alpn }));
        pump.retune(Some(&slice));
        pump.chain.is_some()
    };
    assert!(taken(Some("a.example.com"), &["http/1.1"]));
    assert!(!taken(Some("a.example.org"), &["http/1.1"]));
    assert!(!taken(Some("a.example.com"), &["h2"]));
    assert!(!taken(None, &[]), "no handshake was seen");
    assert_eq!(slice.actives[0].tally.read().eligible, 1, "nobody else is counted");
}
