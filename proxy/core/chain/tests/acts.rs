//! Each act, alone and before another stage.

use super::support::*;
use crate::chain::Ready;
use crate::fault::{ALL, End, Until};
use crate::time::{MILLI, SECOND};

#[test]
fn without_faults_there_is_no_chain() {
    let mut pump = Pump::on(&Stand::new().slice([]));
    assert!(pump.chain.is_none());
    pump.read(DOWN, 10, false);
    assert_eq!(pump.down(), Pump::sent(10));
}

#[test]
fn a_fault_that_passes_everything_gives_credit_without_end() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Pass]));
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), 0, "not asked yet");
    pump.read(DOWN, 5, false);
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), 0, "what is ready goes first");
    pump.write_all();
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), ALL);
    assert_eq!(pump.chain.as_ref().unwrap().credit(UP), ALL, "no fault there");
}

#[test]
fn credit_is_used_up_by_what_goes_past_and_by_what_is_pushed() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Pass, Mode::Grant(100)]));
    pump.read(DOWN, 30, false);
    pump.write_all();
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), 70);
    assert_eq!(pump.read(DOWN, 50, true), 50);
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), 20);
    pump.read(DOWN, 20, false);
    pump.write_all();
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), 0);
    assert_eq!(pump.down(), Pump::sent(100));
}

#[test]
fn a_cut_lets_exactly_its_bytes_through_whatever_went_past() {
    for end in [End::Fin, End::Reset] {
        let mut pump = Pump::on(&Stand::new().slice([Mode::CutAt(1_000, end.clone())]));
        pump.read(DOWN, 10, false);
        pump.write_all();
        assert_eq!(pump.read(DOWN, 2_000, true), 990);
        assert_eq!(pump.ended, None);
        pump.read(DOWN, 1, true);
        assert_eq!(pump.ended, Some(if end == End::Fin { Ready::Close } else { Ready::Reset }));
        assert_eq!(pump.ended_by.as_deref(), Some("fault-1"));
        assert_eq!(pump.down(), Pump::sent(1_000));
        assert_eq!(pump.chain.as_ref().unwrap().room(DOWN), 0);
    }
}

#[test]
fn an_end_waits_behind_the_bytes_that_a_later_stage_delays() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::CutAt(100, End::Reset), Mode::Delay(MILLI)]));
    pump.read(DOWN, 500, false);
    assert_eq!((pump.ended, pump.queued()), (None, 100));
    let due = pump.next.unwrap();
    pump.set(due - 1);
    assert_eq!(pump.write(DOWN, ALL), 0);
    pump.set(due);
    assert_eq!(pump.ended, None, "bytes first");
    pump.write_all();
    assert_eq!((pump.ended, pump.down()), (Some(Ready::Reset), &Pump::sent(100)[..]));
}

#[test]
fn an_end_is_carried_out_even_if_its_stage_and_all_others_have_gone() {
    let stand = Stand::new();
    let mut pump = Pump::on(&stand.slice([Mode::CutAt(100, End::Fin), Mode::Stall(0)]));
    pump.read(DOWN, 500, false);
    pump.retune(None);
    pump.write_all();
    assert_eq!((pump.ended, pump.down()), (Some(Ready::Close), &Pump::sent(100)[..]));
}

#[test]
fn the_other_direction_is_written_before_the_end_where_it_can_be() {
    let stand = Stand::new();
    let mut pump = Pump::on(&stand.slice([Mode::CutAt(0, End::Fin)]));
    pump.read(UP, 50, false);
    pump.read(DOWN, 1, false);
    let chain = pump.chain.as_ref().unwrap();
    assert_eq!((chain.ready(UP), chain.ready(DOWN)), (Ready::Bytes, Ready::Close));
    pump.ended = None;
    pump.write(UP, ALL);
    assert_eq!(pump.chain.as_ref().unwrap().ready(UP), Ready::Close);
}

#[test]
fn a_kill_drops_what_is_queued() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::KillAt(100, End::Reset), Mode::Stall(0)]));
    pump.read(DOWN, 500, false);
    assert_eq!((pump.ended, pump.queued(), pump.is_holding()), (Some(Ready::Reset), 0, false));
    assert_eq!(pump.down(), b"");
}

#[test]
fn pieces_are_never_joined_with_neighbours_but_complete_themselves() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Slice(100, 0)]));
    for n in [30, 30, 90, 200] {
        pump.read(DOWN, n, false);
    }
    while pump.write(DOWN, ALL) > 0 {}
    let sizes: Vec<usize> = pump.out[DOWN as usize].writes.iter().map(|(_, n)| *n).collect();
    assert_eq!(sizes, [100, 100, 100, 50]);
    assert_eq!(pump.chain.as_ref().unwrap().credit(DOWN), 0, "the rest of a piece is not spliced");
    pump.read(DOWN, 100, false);
    pump.write(DOWN, 20);
    while pump.write(DOWN, ALL) > 0 {}
    let sizes: Vec<usize> = pump.out[DOWN as usize].writes.iter().map(|(_, n)| *n).skip(4).collect();
    assert_eq!(sizes, [20, 30, 50]);
    assert_eq!(pump.down(), Pump::sent(450));
}

#[test]
fn plain_bytes_share_a_write() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Pass]));
    for n in [1, 2, 3] {
        pump.read(DOWN, n, false);
    }
    assert_eq!(pump.write(DOWN, ALL), 6);
}

#[test]
fn a_delay_line_holds_many_and_lets_each_go_in_its_time() {
    let stand = Stand::new();
    let slice = stand.slice([Mode::Delay(10 * MILLI)]);
    let mut pump = Pump::on(&slice);
    for round in 0..5 {
        pump.set(round * MILLI);
        pump.read(DOWN, 1_024, false);
        pump.write_all();
    }
    assert!(pump.is_holding());
    assert_eq!(slice.actives[0].tally.read().held, 1);
    assert_eq!(pump.down().len(), 0);
    while pump.down().len() < 5 * 1_024 {
        pump.set(pump.next.expect("a time to look again"));
        pump.write_all();
    }
    assert!(pump.now >= 14 * MILLI && pump.now < 25 * MILLI);
    assert_eq!(pump.records.len(), 5);
    for record in &pump.records {
        assert!(record.injection.achieved >= record.injection.drawn && !record.released);
    }
    assert_eq!(slice.actives[0].tally.read().held, 0);
    assert_eq!(slice.actives[0].tally.read().affected, 1);
}

#[test]
fn a_fin_is_offered_behind_the_bytes() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Stall(50), Mode::FinHold(MILLI)]));
    pump.read(DOWN, 80, false);
    pump.fin(DOWN);
    pump.write_all();
    assert_eq!((pump.down().len(), pump.out[DOWN as usize].fin), (50, false));
    pump.retune(Some(&Stand::new().slice([])));
    pump.write_all();
    assert_eq!((pump.down().len(), pump.out[DOWN as usize].fin), (80, true));

    let mut pump = Pump::on(&Stand::new().slice([Mode::FinHold(MILLI)]));
    pump.set(5);
    pump.fin(DOWN);
    assert_eq!((pump.out[DOWN as usize].fin, pump.next), (false, Some(5 + MILLI)));
    pump.set(5 + MILLI);
    assert!(pump.out[DOWN as usize].fin);
}

#[test]
fn an_alarm_ends_a_silent_connection() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::AlarmEnd(MILLI, End::Fin)]));
    assert_eq!((pump.next, pump.ended), (Some(MILLI), None));
    pump.set(MILLI - 1);
    assert_eq!(pump.ended, None);
    pump.set(MILLI);
    assert_eq!(pump.ended, Some(Ready::Close));
}

#[test]
fn an_alarm_ends_a_connection_whose_fin_has_gone_before() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::AlarmEnd(MILLI, End::Reset)]));
    pump.fin(DOWN);
    assert!(pump.out[DOWN as usize].fin);
    pump.set(MILLI);
    assert_eq!(pump.ended, Some(Ready::Reset));
}

#[test]
fn bytes_are_changed_and_put_in_where_the_fault_says() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Flip(10), Mode::Insert(15)]));
    pump.read(DOWN, 7, false);
    pump.read(DOWN, 23, false);
    pump.write_all();
    let mut expected = Pump::sent(30);
    for flipped in [0, 10, 20] {
        expected[flipped] ^= 0x55;
    }
    expected.splice(15..15, *b"INS");
    assert_eq!(pump.down(), expected);
}

#[test]
fn a_fault_that_gets_nowhere_is_passed_over_and_counted() {
    for (mode, extra) in [(Mode::SpinPass, 0), (Mode::SpinHold, 0), (Mode::SpinInsert, 64)] {
        let slice = Stand::new().slice([mode]);
        let mut pump = Pump::on(&slice);
        pump.read(DOWN, 100, false);
        pump.write_all();
        assert_eq!(pump.down().len(), 100 + extra);
        pump.read(DOWN, 100, false);
        pump.write_all();
        assert_eq!(pump.down().len(), 200 + extra);
        assert_eq!(slice.actives[0].tally.read().stuck, 1);
    }
}

#[test]
fn an_alarm_that_is_always_due_does_not_keep_the_worker_busy() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::SpinAlarm]));
    assert_eq!(pump.next, None);
    pump.set(7);
    assert_eq!(pump.next, None);
}

#[test]
fn room_shrinks_with_what_is_held_and_what_is_not_written() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Stall(0)]));
    let depth = 64 * 1024;
    assert_eq!(pump.chain.as_ref().unwrap().room(DOWN), depth);
    assert_eq!(pump.read(DOWN, 100_000, false), depth);
    assert_eq!(pump.chain.as_ref().unwrap().room(DOWN), 0);
    let mut pump = Pump::on(&Stand::new().slice([Mode::Pass]));
    while pump.read(DOWN, 100_000, false) > 0 {}
    assert!(pump.queued() <= 256 * 1024, "{}", pump.queued());
}

#[test]
fn a_backlog_behind_a_delay_shrinks_without_stopping_the_sender() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Real("latency", "delay = '1s'".into())]));
    for _ in 0..40 {
        pump.read(DOWN, 64 << 10, false); // much faster than it will be written
    }
    pump.set(SECOND);
    assert_eq!(pump.read(DOWN, 64 << 10, false), 0, "nothing of the backlog is written yet");
    let (mut taken, mut written) = (0, 0);
    while written < 36 * (64 << 10) {
        written += pump.write(DOWN, 64 << 10);
        taken += pump.read(DOWN, 64 << 10, false);
    }
    assert!((written * 2 / 5..=written * 3 / 5).contains(&taken), "{taken} for {written}");
}

#[test]
fn a_gate_holds_refuses_and_asks_once() {
    let (stand, mut records) = (Stand::new(), Vec::new());
    let opening = crate::fault::Opening::Accepted(None);
    let gate = |pump: &mut Pump, records: &mut Vec<_>| {
        let (talk, now) = (pump.talk.clone(), at(pump.now));
        pump.chain.as_mut().unwrap().gate(&opening, &talk, now, records)
    };
    let mut pump = at_the_gate(&stand.slice([Mode::GateHold(Until::At(MILLI)), Mode::GateRefuse(End::Reset)]));
    assert_eq!(gate(&mut pump, &mut records), crate::fault::Gate::Hold(Until::At(MILLI)));
    assert!(pump.is_holding());
    pump.retune(Some(&stand.slice([])));
    assert_eq!(pump.released, 1);

    let mut pump = at_the_gate(&stand.slice([Mode::Pass, Mode::GateRefuse(End::Reset)]));
    assert_eq!(gate(&mut pump, &mut records), crate::fault::Gate::Refuse(End::Reset));
    assert_eq!(&*pump.chain.as_ref().unwrap().ended_by().unwrap().fault, "fault-2");

    let slice = stand.slice([Mode::GateHold(Until::Change)]);
    let mut pump = at_the_gate(&slice);
    assert_eq!(gate(&mut pump, &mut records), crate::fault::Gate::Hold(Until::Change));
    assert_eq!(slice.actives[0].tally.read().held, 1);
    stand.switch.end();
    assert_eq!(gate(&mut pump, &mut records), crate::fault::Gate::Pass);
    assert!(records.last().unwrap().released);
    let tally = slice.actives[0].tally.read();
    assert_eq!((tally.held, tally.released, tally.affected), (0, 1, 1));
}

fn at_the_gate(slice: &crate::plan::Slice) -> Pump {
    let mut pump = Pump::at_the_gate(0);
    pump.retune(Some(slice));
    pump
}

#[test]
fn no_fault_is_asked_about_bytes_or_alarms_before_the_gate_is_passed() {
    let mut pump = at_the_gate(&Stand::new().slice([Mode::AlarmEnd(0, End::Reset)]));
    pump.set(MILLI);
    assert_eq!(pump.ended, None);
    pump.talk.admit();
    pump.poll();
    assert_eq!(pump.ended, Some(Ready::Reset));
}

/// The frame at the beginning of the stream, for `Mode::Frames`.
fn first_frame() -> usize {
    1 + usize::from(byte(DOWN, 0))
}

#[test]
fn bytes_that_a_fault_has_to_see_together_wait_for_each_other() {
    let frame = first_frame();
    assert!(frame > 2);
    let mut pump = Pump::on(&Stand::new().slice([Mode::Frames(false)]));
    for _ in 1..frame {
        pump.read(DOWN, 1, true);
        pump.write_all();
    }
    assert_eq!((pump.down().len(), pump.queued(), pump.next), (0, frame - 1, None));
    assert!(!pump.is_holding(), "waiting for the rest is no injection");
    pump.read(DOWN, 1, true);
    pump.write_all();
    assert_eq!(pump.down(), Pump::sent(frame as u64));
    assert!(pump.records.is_empty());
}

#[test]
fn what_will_not_be_whole_goes_on_as_it_is() {
    let part = first_frame() - 1;
    for changes in [false, true] {
        let mut pump = Pump::on(&Stand::new().slice([Mode::Frames(changes)]));
        pump.read(DOWN, part, false);
        pump.fin(DOWN);
        pump.write_all();
        assert_eq!(pump.down(), Pump::sent(part as u64), "the sender has closed its side");
        assert!(pump.out[DOWN as usize].fin);

        let stand = Stand::new();
        let mut pump = Pump::on(&stand.slice([Mode::Frames(changes)]));
        pump.read(DOWN, part, false);
        stand.switch.end();
        pump.poll();
        pump.write_all();
        assert_eq!((pump.down(), pump.released, pump.ended), (&Pump::sent(part as u64)[..], 0, None), "lifted");
        pump.read(DOWN, 500, true);
        pump.write_all();
        assert_eq!(pump.down(), Pump::sent(part as u64 + 500));
    }
    // more than the queue takes
    let mut pump = Pump::on(&Stand::new().slice([Mode::Gather(1 << 20)]));
    assert_eq!(pump.read(DOWN, 65_535, false), 65_535);
    assert_eq!((pump.write(DOWN, ALL), pump.queued()), (0, 65_535));
    pump.read(DOWN, 10, false);
    pump.write_all();
    assert_eq!(pump.down(), Pump::sent(65_536));
}

#[test]
fn several_reads_that_are_taken_together_leave_the_rest_in_order() {
    let mut pump = Pump::on(&Stand::new().slice([Mode::Frames(true)]));
    for _ in 0..10 {
        pump.read(DOWN, 77, false);
    }
    pump.fin(DOWN);
    pump.write_all();
    let mut wanted = Pump::sent(770);
    let mut at = 0;
    while let Some(last) = wanted.get(at).map(|n| at + usize::from(*n))
        && last < wanted.len()
    {
        wanted[last] ^= 0x55;
        at = last + 1;
    }
    assert!(at > 0 && pump.down() == wanted);
}
