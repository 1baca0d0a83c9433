//! Random decisions, plans and times: nothing is lost or made that no fault has said so, and an abort leaves nothing.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::support::{DOWN, Lab, UP, active};
use crate::fault::{Cx, Datagram, Effect, Fault, Hooks, Injection, Packet, What};
use crate::time::{MILLI, SECOND};

/// Decides by draw among these.
#[derive(Clone, Debug)]
struct Whim {
    /// Chances out of 16: hold, queue, keep, drop, replace, copy, answer; the rest passes.
    chances: [u64; 7],
}

impl Fault for Whim {
    const KIND: &'static str = "whim";
    const HOOKS: Hooks = Hooks { packet: true, ..Hooks::NONE };
    const EFFECT: Effect = Effect::Loses;
    type Shared = ();
    type State = u64;

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        if datagram.waited.is_some_and(|until| until <= cx.now) {
            return Packet::Pass;
        }
        *cx.state += 1;
        let draw = cx.draw.at(datagram.step);
        let time = cx.now + (draw >> 8) % (20 * MILLI);
        let mut dice = draw % 16;
        let which = self.chances.iter().position(|chance| {
            let hit = dice < *chance;
            dice = dice.saturating_sub(*chance);
            hit
        });
        let mut note = |what| {
            cx.injected.push(Injection { what, step: 0, draw: None, drawn: 1, scheduled: 1, achieved: 1 });
        };
        match which {
            Some(0) => Packet::Hold(time),
            Some(1) => Packet::Queue(time),
            Some(2) => Packet::Keep,
            Some(3) => {
                note(What::Dropped);
                Packet::Drop
            }
            Some(4) => Packet::Replace(Bytes::copy_from_slice(datagram.bytes)),
            Some(5) => {
                note(What::Duplicated);
                Packet::Copy { times: 1, gap: MILLI }
            }
            Some(6) => {
                note(What::Swallowed);
                Packet::Answer(Bytes::copy_from_slice(datagram.bytes))
            }
            _ => Packet::Pass,
        }
    }
}

fn whims() -> impl Strategy<Value = Vec<[u64; 7]>> {
    prop::collection::vec(prop::array::uniform7(0..4_u64), 1..4)
}

proptest! {
    #[test]
    fn every_datagram_is_accounted_for(
        whims in whims(),
        gaps in prop::collection::vec((0..5_u64, any::<bool>()), 1..60),
        room in prop_oneof![Just(usize::MAX), 0..3_000_usize],
        abort in 0..200_u64,
    ) {
        let faults = whims.iter().map(|chances| active(Arc::new(Whim { chances: *chances }), None)).collect();
        let mut lab = Lab::new(faults);
        lab.room = room;
        let mut at = 0;
        for (gap, up) in gaps {
            at += gap * MILLI;
            lab.at(at).send(if up { UP } else { DOWN });
        }
        lab.run(abort * MILLI);
        lab.faults.iter().for_each(|fault| fault.switch.end());
        lab.poll();
        prop_assert_eq!((lab.packets.held(), lab.packets.is_holding()), (0, false));
        lab.run(20 * SECOND);
        lab.faults.clear();
        let out = lab.out(UP).len() + lab.out(DOWN).len();
        let said = |what| lab.records.iter().filter(|record| record.injection.what == what).count();
        let sent = usize::try_from(lab.sent(UP) + lab.sent(DOWN)).unwrap();
        // an answered one comes out at the other side
        prop_assert_eq!(out + said(What::Dropped) + usize::try_from(lab.dropped).unwrap(), sent + said(What::Duplicated));
        let late = lab.records.iter().filter(|record| !record.released && record.at > 1_000_000_000_000 + abort * MILLI);
        prop_assert_eq!(late.count(), 0, "injected after the abort");
    }

    /// Where faults only queue, order is kept whatever happens to the plan.
    #[test]
    fn what_queues_keeps_its_order(queue in prop_oneof![Just(16_u64), 1..16_u64], sent in 1..80_u64, changes in prop::collection::vec(0..100_u64, 0..4)) {
        let whim = || active(Arc::new(Whim { chances: [0, queue, 0, 0, 0, 0, 0] }), None);
        let mut lab = Lab::new(vec![whim(), whim()]);
        for n in 0..sent {
            lab.at(n * MILLI).send(DOWN);
        }
        let mut changes = changes;
        changes.sort_unstable();
        for ms in changes {
            lab.run(ms * MILLI);
            lab.change(usize::from(ms % 2 == 0), whim());
        }
        lab.run(20 * SECOND);
        let numbers: Vec<_> = lab.out(DOWN).into_iter().map(|(_, number)| number).collect();
        let all: Vec<u64> = (0..sent).collect();
        // a whim that passes overtakes its own queue: only queued ones keep their order among themselves
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        prop_assert_eq!(&sorted, &all);
        if queue == 16 {
            prop_assert_eq!(numbers, all);
        }
    }
}
