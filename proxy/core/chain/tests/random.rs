//! Thousands of random plans with live updates, each from its seed.

use std::sync::Arc;

use super::real::real;
use super::support::*;
use crate::chain::Ready;
use crate::curve::Curve;
use crate::fault::registry::KINDS;
use crate::fault::{ALL, Carrier, End, Flow};
use crate::plan::{Active, Slice};
use crate::select::Cap;
use crate::time::{MILLI, Time};
use crate::window::Window;

const PLANS: u64 = 3_000;

fn keeps(dice: &mut Dice) -> Mode {
    match dice.below(8) {
        0 => Mode::Pass,
        1 => Mode::Grant(dice.size()),
        2 | 3 => Mode::Delay(dice.time()),
        4 => Mode::Pace(dice.size() + 50, dice.time()),
        5 => dice.pick(&[Mode::Frames(false), Mode::Gather(300)]),
        6 => Mode::Slice(dice.size() + 50, dice.time() / 50),
        _ => Mode::FinHold(dice.time()),
    }
}

/// Real kinds too, as far as they only take time.
fn timing(dice: &mut Dice) -> Mode {
    if dice.chance(50) { keeps(dice) } else { real(dice, &["latency", "bandwidth", "slicer"]) }
}

fn any(dice: &mut Dice) -> Mode {
    if dice.chance(40) {
        let kinds: Vec<_> =
            KINDS.iter().filter(|entry| entry.hooks.serve(Carrier::Stream)).map(|entry| entry.name).collect();
        return real(dice, &kinds);
    }
    let place = dice.below(20_000);
    let end = if dice.chance(50) { End::Fin } else { End::Reset };
    match dice.below(14) {
        0 | 1 => Mode::Stall(place),
        2 => Mode::CutAt(place, end),
        3 => Mode::KillAt(place, end),
        4 => Mode::AlarmEnd(dice.time() * 4, end),
        5 => Mode::Flip(1 + dice.below(500)),
        6 => Mode::Swallow(place),
        7 => dice.pick(&[Mode::SpinPass, Mode::SpinHold, Mode::SpinMore, Mode::SpinAlarm]),
        8 => Mode::Frames(true),
        _ => keeps(dice),
    }
}

struct World {
    stand: Stand,
    slice: Arc<Slice>,
    serial: u64,
    modes: Vec<Mode>,
    actives: Vec<Arc<Active>>,
    cap: Arc<Cap>,
}

impl World {
    fn add(&mut self, mode: Mode, dice: &mut Dice, now: Time) {
        self.serial += 1;
        let flow = dice.pick(&[None, Some(UP), Some(DOWN)]);
        let mut active = self.stand.active(self.serial, flow, mode.clone());
        if dice.chance(30) {
            let length = 1 + dice.time();
            let every = dice.chance(50).then(|| length + dice.time());
            active.window =
                Window { at: now + dice.time() / 4, length: Some(length), every, times: Some(1 + dice.below(5)) };
        }
        if dice.chance(20) {
            active.select.percentage = Curve::Ramp { from: 0.0, to: 100.0, over: dice.time() };
        }
        if dice.chance(20) {
            active.select.cap = Some(self.cap.clone());
        }
        self.modes.push(mode);
        let active = Arc::new(active);
        self.actives.push(active.clone());
        self.replace(|actives| actives.push(active));
    }

    fn replace(&mut self, change: impl FnOnce(&mut Vec<Arc<Active>>)) {
        let mut actives = self.slice.actives.clone();
        change(&mut actives);
        self.slice = Arc::new(Slice::new(actives, false));
    }

    fn update(&mut self, dice: &mut Dice, now: Time) {
        let count = self.slice.actives.len() as u64;
        if count == 0 || dice.chance(30) {
            let mode = any(dice);
            return self.add(mode, dice, now);
        }
        let chosen = usize::try_from(dice.below(count)).unwrap();
        if dice.chance(40) {
            return self.replace(|actives| drop(actives.remove(chosen)));
        }
        let old = self.slice.actives[chosen].clone();
        let mode = self.modes[usize::try_from(old.serial - 1).unwrap()].clone();
        let new = match mode {
            Mode::Delay(_) | Mode::Pace(..) | Mode::Slice(..) | Mode::Stall(_) => keeps(dice),
            Mode::Real(kind, _) => real(dice, &[kind]),
            mode => mode,
        };
        self.modes[usize::try_from(old.serial - 1).unwrap()] = new.clone();
        let new = Arc::new(changed(&old, new));
        self.replace(|actives| actives[chosen] = new);
    }
}

/// One plan from its seed: random reads, credits, partial writes, updates, pauses and windows, then everything is
/// released and has to come out.
fn live(seed: u64) {
    let dice = &mut Dice::new(seed);
    let stand = Stand::new();
    let slice = stand.slice([]);
    let (modes, actives) = (Vec::new(), Vec::new());
    let mut world = World { stand, slice, serial: 0, modes, actives, cap: Cap::new(1) };
    for _ in 0..dice.below(4) {
        let mode = any(dice);
        world.add(mode, dice, 0);
    }
    let mut pump = Pump::on(&world.slice);
    let most = dice.pick(&[2_000, 20_000, 100_000]);
    let total = [dice.below(most), dice.below(most)];
    let mut fin = [false; 2];
    let mut all_modes = world.modes.clone();
    for _ in 0..dice.below(400) {
        if pump.ended.is_some() {
            break;
        }
        let flow = if dice.chance(50) { UP } else { DOWN };
        let left = usize::try_from(total[flow as usize] - pump.talk.seen(flow)).unwrap();
        match dice.below(20) {
            0..8 if left > 0 => {
                pump.read(flow, dice.size().min(left), dice.chance(50));
            }
            0..8 if !fin[flow as usize] && dice.chance(20) => {
                fin[flow as usize] = true;
                pump.fin(flow);
            }
            8..14 => {
                pump.write(flow, dice.size());
            }
            14..16 => pump.set(pump.now + dice.time()),
            16 => {
                let next = pump.next.unwrap_or(0).max(pump.now);
                pump.set(next);
            }
            17 => {
                world.update(dice, pump.now);
                all_modes.extend(world.modes.last().cloned());
                pump.now += 1;
                pump.retune(Some(&world.slice));
            }
            18 if dice.chance(30) => {
                world.stand.switch.pause();
                pump.poll();
                assert!(!pump.is_holding(), "seed {seed}: paused, and yet held");
            }
            18 => {
                world.stand.switch.start(0);
                pump.poll();
            }
            _ => {
                let before = (pump.queued(), pump.records.len());
                let next = pump.next;
                pump.poll();
                assert_eq!(
                    (pump.queued(), pump.records.len()),
                    before,
                    "seed {seed}: a poll for nothing did something"
                );
                assert_eq!(pump.next, next, "seed {seed}");
            }
        }
        check(&mut pump, &all_modes, seed);
    }
    if dice.chance(50) {
        world.stand.switch.end();
        pump.poll();
    } else {
        pump.retune(None);
    }
    finish(&mut pump, total, fin, seed);
    check(&mut pump, &all_modes, seed);
    let ends = |mode: &Mode| match mode {
        Mode::CutAt(..) | Mode::KillAt(..) | Mode::AlarmEnd(..) | Mode::Swallow(_) => true,
        Mode::Real(kind, _) => {
            ["cut", "reset", "limit_data", "blackhole", "half_open", "partition", "down"].contains(kind)
        }
        _ => false,
    };
    if pump.ended.is_none() {
        for flow in [UP, DOWN] {
            let out = &pump.out[flow as usize];
            assert_eq!(out.bytes.len() as u64, total[flow as usize], "seed {seed}: bytes are missing");
            assert!(out.fin, "seed {seed}: no FIN");
        }
    } else {
        assert!(all_modes.iter().any(ends), "seed {seed}: ended by nobody");
        assert!(pump.ended_by.is_some());
    }
    drop(pump);
    for active in &world.actives {
        let tally = active.tally.read();
        assert_eq!(tally.held, 0, "seed {seed}: the gauge");
        assert!(tally.eligible <= 1 && tally.selected <= tally.eligible && tally.affected <= 1, "seed {seed}");
    }
    assert!(world.cap.take().is_some(), "seed {seed}: a place was lost");
}

/// All input goes in and everything that comes out is written; nothing may hang.
fn finish(pump: &mut Pump, total: [u64; 2], mut fin: [bool; 2], seed: u64) {
    for _ in 0..10_000 {
        if pump.ended.is_some() {
            return;
        }
        for flow in [UP, DOWN] {
            let left = usize::try_from(total[flow as usize] - pump.talk.seen(flow)).unwrap();
            if left > 0 {
                pump.read(flow, left, true);
            } else if !fin[flow as usize] {
                fin[flow as usize] = true;
                pump.fin(flow);
            }
        }
        pump.write_all();
        if pump.out.iter().all(|out| out.fin) && pump.queued() == 0 {
            return;
        }
    }
    panic!("seed {seed}: it hangs: {:?}", pump.chain);
}

/// What has come out is what went in, in order, changed only where a fault changes bytes.
fn check(pump: &mut Pump, modes: &[Mode], seed: u64) {
    let flips = modes.iter().any(|mode| matches!(mode, Mode::Flip(_) | Mode::Frames(true)));
    let corrupts = modes.iter().any(|mode| matches!(mode, Mode::Real("corrupt", _)));
    for flow in [UP, DOWN] {
        let out = &mut pump.out[flow as usize];
        let checked = std::mem::replace(&mut out.checked, out.bytes.len());
        assert!(out.bytes.len() as u64 <= pump.talk.seen(flow), "seed {seed}: more than was sent");
        for (offset, got) in out.bytes.iter().enumerate().skip(checked) {
            let sent = byte(flow, offset as u64);
            assert!(
                *got == sent || corrupts || (flips && got ^ sent == 0x55),
                "seed {seed}: byte {offset} of {flow:?}"
            );
        }
    }
    assert!(pump.queued() <= 2 * (3 * 64 * 1024 + 256 * 1024 + 64 * 1024 * modes.len()), "seed {seed}");
}

#[test]
fn live_updates_keep_order_bytes_and_counts_and_carry_out_every_end() {
    (0..PLANS).for_each(live);
}

/// Faults that only take time, driven by nothing but the wake-ups that polls ask for.
#[test]
fn wake_ups_are_enough_to_get_everything_through() {
    for seed in 0..600 {
        let dice = &mut Dice::new(seed ^ 0xAAAA);
        let modes: Vec<Mode> = (0..1 + dice.below(4)).map(|_| timing(dice)).collect();
        let mut pump = Pump::on(&Stand::new().slice(modes.clone()));
        let total = dice.below(30_000);
        let mut fin = false;
        while !pump.out[DOWN as usize].fin {
            let left = usize::try_from(total - pump.talk.seen(DOWN)).unwrap();
            let read = if left > 0 { pump.read(DOWN, dice.size().min(left), dice.chance(50)) } else { 0 };
            if left == 0 && !fin {
                fin = true;
                pump.fin(DOWN);
            }
            pump.write_all();
            if read == 0 && !pump.out[DOWN as usize].fin {
                let next = pump.next.unwrap_or_else(|| panic!("seed {seed} {modes:?}: nobody would look again"));
                assert!(next > pump.now, "seed {seed} {modes:?}: a wake-up in the past");
                pump.set(next);
            }
        }
        assert_eq!(pump.down(), Pump::sent(total), "seed {seed}");
    }
}

/// What comes out when and in which writes, for one way of reading.
fn trace(modes: &[Mode], total: u64, mut size: impl FnMut() -> usize) -> (Vec<(Time, usize)>, Option<Ready>, Vec<u8>) {
    let mut pump = Pump::on(&Stand::new().slice(modes.to_vec()));
    pump.slots = usize::try_from(total).unwrap() + 1;
    while pump.talk.seen(DOWN) < total && pump.ended.is_none() {
        let left = usize::try_from(total - pump.talk.seen(DOWN)).unwrap();
        if pump.read(DOWN, size().min(left), false) == 0 {
            break;
        }
    }
    pump.fin(DOWN);
    pump.write_all();
    while let (Some(next), None) = (pump.next, pump.ended) {
        pump.set(next);
        pump.write_all();
    }
    let writes = std::mem::take(&mut pump.out[DOWN as usize].writes);
    (writes, pump.ended, pump.down().to_vec())
}

#[test]
fn decisions_do_not_depend_on_read_sizes() {
    for seed in 0..600 {
        let dice = &mut Dice::new(seed ^ 0x5555);
        let modes: Vec<Mode> = (0..1 + dice.below(3))
            .map(|_| match dice.below(8) {
                0 => Mode::Flip(1 + dice.below(3_000)),
                1 if dice.chance(50) => Mode::Frames(true),
                1 => Mode::CutAt(dice.below(30_000), End::Reset),
                // pacing is the one decision for which it counts how much has arrived
                2..5 => real(dice, &["latency", "slicer", "corrupt", "limit_data"]),
                _ => keeps(dice),
            })
            .collect();
        let total = dice.below(30_000); // within the depth, so that back-pressure does not shift arrivals
        let whole = trace(&modes, total, || ALL);
        let bits = trace(&modes, total, || dice.size());
        assert_eq!(whole, bits, "seed {seed}: {modes:?}");
    }
}

#[test]
fn the_times_of_an_idle_chain_are_never_missed() {
    for flow in [Flow::Upstream, Flow::Downstream] {
        let stand = Stand::new();
        let mut active = stand.active(1, Some(flow), Mode::AlarmEnd(3 * MILLI, End::Fin));
        active.window = Window { at: 5 * MILLI, length: Some(MILLI), every: Some(10 * MILLI), times: None };
        let slice = slice([active]);
        let mut pump = Pump::new(0);
        pump.now = 5 * MILLI;
        pump.retune(Some(&slice));
        for _ in 0..100 {
            pump.set(pump.next.unwrap());
        }
        assert_eq!(pump.ended, None, "the window always closes before");
        assert_eq!(pump.now, (5 + 1 + 99 / 2 * 10 + 10 - 1) * MILLI, "{}", pump.now);
    }
}
