//! Updates, windows, pauses and aborts while bytes are on their way.

use std::sync::Arc;

use super::support::*;
use crate::chain::{Chain, Ready};
use crate::fault::{ALL, End, Gate, Opening, Until, What};
use crate::plan::{OnAbort, Slice};
use crate::time::{MILLI, NEVER, SECOND};
use crate::window::Window;

fn held(stand: &Stand) -> (Pump, Arc<Slice>) {
    let slice = stand.slice([Mode::Delay(SECOND), Mode::Stall(0)]);
    let mut pump = Pump::on(&slice);
    for _ in 0..10 {
        pump.read(DOWN, 100, false);
    }
    assert_eq!(pump.write(DOWN, ALL), 0);
    (pump, slice)
}

#[test]
fn an_abort_lets_everything_go_in_order_and_says_so() {
    let stand = Stand::new();
    let (mut pump, slice) = held(&stand);
    pump.now = MILLI;
    stand.switch.end();
    assert!(pump.poll().released);
    assert!(!pump.is_holding());
    assert!(!pump.poll().released, "once");
    pump.write_all();
    assert_eq!(pump.down(), Pump::sent(1_000));
    let record = &pump.records[0];
    assert!(record.released);
    assert_eq!((record.injection.what, record.injection.achieved), (What::Delayed, MILLI));
    assert!(record.injection.scheduled >= SECOND);
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.released, tally.held, tally.injected, tally.affected), (1, 0, 1, 1));
}

#[test]
fn an_abort_of_all_works_with_and_without_the_empty_plan() {
    let stand = Stand::new();
    let (mut pump, _) = held(&stand);
    stand.cell.abort_all();
    pump.poll();
    pump.write_all();
    assert_eq!(pump.down(), Pump::sent(1_000));
    let (mut pump, _) = held(&Stand::new());
    pump.retune(None);
    pump.write_all();
    assert_eq!(pump.down(), Pump::sent(1_000));
    assert!(pump.chain.is_none(), "no fault left: no chain");
}

#[test]
fn limit_and_lease_end_it_without_anybody_and_announce_when() {
    let stand = Stand::new();
    stand.switch.set_limit(5 * MILLI);
    let (mut pump, _) = held(&stand);
    assert_eq!(pump.next, Some(5 * MILLI));
    pump.set(5 * MILLI);
    assert_eq!(pump.released, 1);
    let stand = Stand::new();
    stand.switch.set_lease(3 * MILLI);
    let (mut pump, _) = held(&stand);
    assert_eq!(pump.next, Some(3 * MILLI));
    pump.set(3 * MILLI);
    assert_eq!(pump.released, 1);
    stand.switch.set_lease(NEVER);
}

#[test]
fn a_pause_releases_and_the_fault_comes_back() {
    let stand = Stand::new();
    let (mut pump, slice) = held(&stand);
    stand.switch.pause();
    pump.set(10);
    pump.write_all();
    assert_eq!(pump.down().len(), 1_000);
    stand.switch.start(10);
    pump.poll();
    pump.read(DOWN, 100, false);
    pump.write_all();
    assert_eq!(pump.down().len(), 1_000, "it acts again");
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected), (1, 1), "the same unit");
}

#[test]
fn on_abort_close_closes_instead_of_releasing_but_a_pause_does_not() {
    for (end, closes) in [(true, true), (false, false)] {
        let stand = Stand::new();
        let mut active = stand.active(1, Some(DOWN), Mode::Stall(50));
        active.on_abort = OnAbort::Close;
        let mut pump = Pump::on(&slice([active]));
        pump.read(DOWN, 200, false);
        if end {
            stand.switch.end()
        } else {
            stand.switch.pause()
        }
        pump.poll();
        pump.write_all();
        assert_eq!(pump.ended, closes.then_some(Ready::Close));
        assert_eq!(pump.down().len(), if closes { 50 } else { 200 });
    }
}

/// Connections that a fault holds, whose experiment lets go over a second.
fn paced(stand: &Stand, many: u64, on_abort: OnAbort) -> (Vec<Pump>, Arc<Slice>) {
    let mut active = stand.active(1, Some(DOWN), Mode::Stall(50));
    (active.release_over, active.on_abort) = (SECOND, on_abort);
    let slice = slice([active]);
    let pumps = (0..many).map(|ordinal| {
        let mut pump = Pump::new(ordinal);
        pump.retune(Some(&slice));
        pump.read(DOWN, 200, false);
        pump.write_all();
        pump
    });
    (pumps.collect(), slice)
}

#[test]
fn a_paced_end_lets_go_one_after_the_other_each_as_a_whole() {
    for on_abort in [OnAbort::Release, OnAbort::Close] {
        let stand = Stand::new();
        let (mut pumps, slice) = paced(&stand, 200, on_abort);
        assert_eq!(slice.actives[0].tally.read().held, 200);
        stand.switch.end();
        let mut gone = Vec::new();
        for now in (0..=10).map(|tenth| tenth * 100 * MILLI) {
            for pump in &mut pumps {
                let waits = pump.is_holding();
                pump.set(now + 1);
                if waits && pump.is_holding() {
                    assert_eq!(pump.down().len(), 50, "nothing passes before its turn");
                    assert!(
                        pump.next.is_some_and(|at| at > now && at <= SECOND + 1),
                        "it asks to be woken: {:?}",
                        pump.next
                    );
                    if now < 500 * MILLI {
                        pump.read(DOWN, 10, false); // what comes meanwhile queues behind
                    }
                }
                pump.write_all();
            }
            gone.push(200 - slice.actives[0].tally.read().held);
        }
        assert!(gone[0] < 20 && (60..140).contains(&gone[5]) && gone[10] == 200, "{gone:?}");
        assert!(gone.is_sorted() && gone.windows(2).all(|two| two[1] - two[0] < 60), "no stampede: {gone:?}");
        for pump in &pumps {
            match on_abort {
                OnAbort::Close => assert_eq!((pump.ended, pump.down().len()), (Some(Ready::Close), 50)),
                OnAbort::Release => {
                    assert_eq!(pump.ended, None);
                    assert!(pump.down().len() >= 200 && pump.down() == Pump::sent(pump.down().len() as u64));
                }
            }
        }
        let tally = slice.actives[0].tally.read();
        assert_eq!((tally.released, tally.held, tally.dropped), (200, 0, 0));
    }
}

#[test]
fn a_paced_end_never_lasts_beyond_limit_and_lease_and_a_pause_is_not_paced() {
    let ends: [fn(&Stand); 4] = [
        |stand| stand.switch.set_limit(100 * MILLI),
        |stand| stand.switch.set_lease(at(100 * MILLI).boot),
        |stand| stand.switch.set_limit(0),
        |_| (),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let stand = Stand::new();
        let (mut pumps, slice) = paced(&stand, 50, OnAbort::Release);
        let held = |slice: &Slice| slice.actives[0].tally.read().held;
        end(&stand);
        match n {
            3 => stand.switch.pause(),
            _ => stand.switch.end(),
        }
        pumps.iter_mut().for_each(|pump| pump.set(MILLI));
        assert_eq!(held(&slice) > 0, n < 2, "{n}: a limit that is over, and a pause, let go at once");
        pumps.iter_mut().for_each(|pump| pump.set(100 * MILLI));
        assert_eq!(held(&slice), 0, "{n}");
    }
}

#[test]
fn who_goes_while_waiting_for_its_turn_is_dropped_and_counted() {
    let stand = Stand::new();
    let (mut pumps, slice) = paced(&stand, 20, OnAbort::Release);
    stand.switch.end();
    pumps.iter_mut().for_each(|pump| pump.set(MILLI));
    let waiting = slice.actives[0].tally.read().held;
    pumps.retain(|pump| !pump.is_holding());
    let tally = slice.actives[0].tally.read();
    assert!(waiting > 0 && (tally.held, tally.dropped) == (0, waiting), "{tally:?}");
    assert_eq!(tally.released + tally.dropped, 20);
}

#[test]
fn the_gate_opens_at_the_turn_of_each() {
    let turns = (0..50).map(|ordinal| {
        let stand = Stand::new();
        let mut active = stand.active(1, None, Mode::GateHold(Until::At(MILLI)));
        active.release_over = SECOND;
        let slice = slice([active]);
        let mut pump = Pump::at_the_gate(ordinal);
        let mut chain = Chain::new();
        chain.retune(Some(&slice), &pump.talk, &mut 0, at(0));
        let mut ask = |now| chain.gate(&Opening::Accepted(None), &pump.talk, at(now), &mut pump.records);
        assert_eq!(ask(0), Gate::Hold(Until::At(MILLI)));
        stand.switch.end();
        let Gate::Hold(Until::At(turn)) = ask(1) else { panic!("{ordinal} went at once") };
        assert_eq!(ask(turn - 1), Gate::Hold(Until::At(turn)), "not even when its own delay is over");
        assert_eq!(slice.actives[0].tally.read().held, 1);
        assert_eq!(ask(turn), Gate::Pass);
        assert_eq!(slice.actives[0].tally.read().held, 0);
        turn
    });
    let mut turns: Vec<_> = turns.collect();
    turns.sort_unstable();
    assert!(turns[0] < SECOND / 4 && turns[49] > SECOND * 3 / 4 && turns[49] <= SECOND + 1, "{turns:?}");
}

#[test]
fn bytes_withheld_for_good_end_in_a_reset_never_in_a_gap() {
    let stand = Stand::new();
    let slice = stand.slice([Mode::Swallow(100)]);
    let mut pump = Pump::on(&slice);
    pump.read(DOWN, 500, false);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.ended), (100, None));
    stand.switch.end();
    pump.poll();
    assert_eq!(pump.ended, Some(Ready::Reset));
    assert_eq!(slice.actives[0].tally.read().reset_on_abort, 1);
    assert_eq!(pump.records.last().map(|record| record.injection.what), Some(What::Reset));

    let stand = Stand::new();
    let mut pump = Pump::on(&stand.slice([Mode::Swallow(100)]));
    pump.read(DOWN, 100, false);
    stand.switch.end();
    pump.poll();
    pump.write_all();
    assert_eq!(pump.ended, None, "nothing was lost yet");
}

#[test]
fn a_new_configuration_keeps_what_was_counted() {
    let stand = Stand::new();
    let first = stand.active(1, Some(DOWN), Mode::CountCut(1_000));
    let second = changed(&first, Mode::CountCut(700));
    let mut pump = Pump::on(&slice([first]));
    pump.read(DOWN, 600, false);
    let second = slice([second]);
    pump.retune(Some(&second));
    pump.read(DOWN, 600, false);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.ended), (700, Some(Ready::Close)));
    assert_eq!(second.actives[0].tally.read().eligible, 1);
}

#[test]
fn a_new_configuration_is_asked_about_a_held_head_at_once() {
    let stand = Stand::new();
    let stalled = stand.active(1, Some(DOWN), Mode::Stall(0));
    let passing = changed(&stalled, Mode::Pass);
    let mut pump = Pump::on(&slice([stalled]));
    pump.read(DOWN, 600, false);
    pump.retune(Some(&slice([passing])));
    pump.write_all();
    assert_eq!(pump.down(), Pump::sent(600));
}

#[test]
fn a_fault_that_comes_on_later_counts_from_the_beginning_of_the_connection() {
    let stand = Stand::new();
    let mut pump = Pump::new(0);
    pump.read(DOWN, 300, false);
    let stalled = Arc::new(stand.active(1, Some(DOWN), Mode::Stall(350)));
    let cut = Arc::new(stand.active(0, Some(DOWN), Mode::CutAt(500, End::Fin)));
    let slice = |actives: &[&Arc<_>]| Slice::new(actives.iter().map(|active| Arc::clone(active)).collect(), false);
    pump.retune(Some(&slice(&[&stalled])));
    pump.read(DOWN, 400, false);
    // bytes are in flight: it is appended behind the stall, although its serial is lower
    pump.now = 10;
    pump.retune(Some(&slice(&[&cut, &stalled])));
    pump.write_all();
    assert_eq!(pump.down().len(), 350);
    pump.now = 20;
    pump.retune(Some(&slice(&[&cut])));
    pump.write_all();
    assert_eq!((pump.down(), pump.ended), (&Pump::sent(500)[..], Some(Ready::Close)));
}

#[test]
fn windows_open_and_close_on_their_own() {
    let stand = Stand::new();
    let mut active = stand.active(1, Some(DOWN), Mode::Stall(0));
    active.window = Window { at: 10, length: Some(10), every: Some(100), times: Some(2) };
    let slice = slice([active]);
    let mut pump = Pump::on(&slice);
    assert!(pump.chain.is_none(), "closed: not attached");
    assert_eq!(slice.actives[0].tally.read().eligible, 0);
    pump.now = 10;
    pump.retune(Some(&slice));
    assert_eq!(pump.next, Some(20));
    pump.read(DOWN, 100, false);
    assert!(pump.is_holding());
    pump.set(20);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.next), (100, Some(110)));
    pump.set(110);
    pump.read(DOWN, 100, true);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.next), (100, Some(120)));
    pump.set(120);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.next), (200, None));
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.eligible, tally.selected, tally.released, tally.affected), (1, 1, 2, 1));
}

#[test]
fn a_removed_fault_may_come_back_before_it_is_forgotten_or_after() {
    let stand = Stand::new();
    let slice = stand.slice([Mode::Stall(0)]);
    let (mut pump, empty) = (Pump::on(&slice), stand.slice([]));
    pump.read(DOWN, 10, false);
    pump.now = 1;
    pump.retune(Some(&empty));
    pump.now = 2;
    pump.retune(Some(&slice));
    pump.write_all();
    assert_eq!(pump.down().len(), 10, "this connection has been counted for it before");
    assert_eq!(slice.actives[0].tally.read().eligible, 1);
}

#[test]
fn letting_go_of_full_queues_allocates_nothing() {
    let (mut pump, _) = held(&Stand::new());
    let full = pump.queued();
    let before = pump.chain.as_ref().unwrap().lines[1].stages[0].queue.front().map(|head| head.bytes.as_ptr());
    pump.retune(None);
    let out = &pump.chain.as_ref().unwrap().lines[1].out;
    assert_eq!(out.len(), full);
    assert_eq!(out.front().map(|head| head.bytes.as_ptr()), before, "segments are moved, not copied");
}

#[test]
fn a_removed_fault_that_says_so_closes_whom_it_selected_and_an_abort_does_not() {
    let blackhole = || Mode::Real("blackhole", "on_removal = 'close'".into());
    let stand = Stand::new();
    let slice = stand.slice([blackhole()]);
    let mut pump = Pump::on(&slice);
    pump.read(DOWN, 100, false);
    pump.retune(None);
    pump.write_all();
    assert_eq!((pump.ended, pump.down().len()), (Some(Ready::Close), 0));
    let mut quiet = Pump::on(&stand.slice([blackhole()]));
    quiet.retune(None);
    quiet.write_all();
    assert_eq!(quiet.ended, Some(Ready::Close), "it was selected, although it lost nothing");
    let mut aborted = Pump::on(&stand.slice([blackhole()]));
    aborted.read(DOWN, 100, false);
    stand.switch.end();
    aborted.retune(None);
    assert_eq!(aborted.ended, Some(Ready::Reset));
}
