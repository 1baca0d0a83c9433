//! A fault that is only asked: its doors are out of reach of whoever would carry its decisions out.

use std::any::Any;
use std::sync::Arc;

use super::{
    Act, AnyCx, AnyFault, Asked, Carrier, Datagram, Door, Effect, End, Gate, Groups, Handshake, Hooks, Injection,
    Needs, Offer, Opening, Packet, Phase, Place, Ruling, Settings, What,
};
use crate::matcher::MatchSpec;
use crate::select::Connections;
use crate::time::Time;

/// Another fault, to be observed. What it decides about connections, bytes and datagrams is asked for and left at that by the
/// engines ([`crate::plan::Active::observed`]). The doors of listeners stay open: a connection that comes in while it would
/// have closed them is told at its gate.
///
/// A hook that is added to faults has to be thought of here: nothing that acts by it may get through.
#[derive(Debug)]
pub struct Observed(pub Arc<dyn AnyFault>);

impl AnyFault for Observed {
    fn closes_when_removed(&self) -> bool {
        false
    }
    fn kind(&self) -> &'static str {
        self.0.kind()
    }
    fn hooks(&self) -> Hooks {
        let own = self.0.hooks();
        Hooks { door: false, open: own.open || own.door, ..own }
    }
    fn effect(&self) -> Effect {
        self.0.effect()
    }
    fn needs(&self) -> Needs {
        self.0.needs()
    }
    fn depth(&self) -> usize {
        self.0.depth()
    }
    fn new_shared(&self) -> Box<dyn Any + Send + Sync> {
        self.0.new_shared()
    }
    fn new_state(&self) -> Box<dyn Any + Send> {
        self.0.new_state()
    }
    fn open(&self, cx: AnyCx<'_>, opening: &Opening) -> Gate {
        let what = match self.0.door() {
            Door::Closed => What::Refused,
            Door::Deaf => What::Held,
            Door::Open => return self.0.open(cx, opening),
        };
        cx.injected.push(Injection { what, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        Gate::Refuse(End::Reset)
    }
    fn stream(&self, cx: AnyCx<'_>, offer: &Offer<'_>) -> Act {
        self.0.stream(cx, offer)
    }
    fn alarm(&self, cx: AnyCx<'_>) -> Option<Time> {
        self.0.alarm(cx)
    }
    fn door(&self) -> Door {
        Door::Open
    }
    fn silences(&self, _: &(dyn Any + Send)) -> bool {
        false
    }
    fn lifted(&self, state: &mut (dyn Any + Send)) {
        self.0.lifted(state);
    }
    fn packet(&self, cx: AnyCx<'_>, datagram: &Datagram<'_>) -> Packet {
        self.0.packet(cx, datagram)
    }
    /// Asked for by the chain engine, which leaves it at that.
    fn exchange(&self, cx: AnyCx<'_>, asked: &Asked<'_>) -> Ruling {
        self.0.exchange(cx, asked)
    }
    fn resizes(&self) -> bool {
        false
    }
    fn settings(&self) -> Option<&Settings> {
        self.0.settings()
    }
    fn usual_phase(&self) -> Option<Phase> {
        self.0.usual_phase()
    }
    fn follows(&self, phase: Phase) -> Option<Phase> {
        self.0.follows(phase)
    }
    fn misfit_in(&self, phase: Phase) -> Option<(&'static str, &'static str)> {
        self.0.misfit_in(phase)
    }
    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        self.0.misfit(carrier)
    }
    fn vanishes(&self) -> f64 {
        0.0
    }
    fn unread(&self, shared: &(dyn Any + Send + Sync)) -> u64 {
        self.0.unread(shared)
    }
    fn forgotten(&self, shared: &(dyn Any + Send + Sync)) -> u64 {
        self.0.forgotten(shared)
    }
    fn connections(&self) -> Connections {
        self.0.connections()
    }
    fn settle(&self, place: &Place) -> Result<Option<Arc<dyn AnyFault>>, String> {
        let settled = self.0.settle(place)?;
        Ok(settled.map(|settled| Arc::new(Observed(settled)) as Arc<dyn AnyFault>))
    }
    fn asked_for(&self) -> Option<MatchSpec> {
        self.0.asked_for()
    }
    fn groups(&self) -> Option<&Groups> {
        self.0.groups()
    }
    fn handshake(&self) -> Handshake {
        self.0.handshake()
    }
    fn approximated(&self) -> Option<&'static str> {
        self.0.approximated()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::DrawKey;
    use crate::fault::{Cx, Fault, Flow, Span};

    #[derive(Debug)]
    struct Shut(Door);

    impl Fault for Shut {
        const KIND: &'static str = "shut";
        const HOOKS: Hooks = Hooks { door: true, packet: true, ..Hooks::NONE };
        const EFFECT: Effect = Effect::Keeps;
        type Shared = ();
        type State = ();
        fn door(&self) -> Door {
            self.0
        }
        fn packet(&self, _: &mut Cx<'_, Self>, _: &Datagram<'_>) -> Packet {
            Packet::Drop
        }
    }

    #[test]
    fn doors_stay_open_and_who_comes_in_is_told_at_the_gate() {
        for (door, what) in [(Door::Closed, What::Refused), (Door::Deaf, What::Held)] {
            let observed = Observed(Arc::new(Shut(door)));
            assert_eq!((observed.door(), observed.hooks().door, observed.hooks().packet), (Door::Open, false, true));
            assert!(observed.hooks().open, "it is asked about connections instead");
            let (mut state, shared, mut injected) = (observed.new_state(), observed.new_shared(), Vec::new());
            let cx = AnyCx {
                state: &mut *state,
                shared: &*shared,
                draw: DrawKey::new(1, "experiment", "fault").unit(9),
                span: &Span::default(),
                now: 0,
                elapsed: 0,
                flow: Flow::Upstream,
                exchange: None,
                injected: &mut injected,
            };
            assert_eq!(observed.open(cx, &Opening::Accepted(None)), Gate::Refuse(End::Reset));
            assert_eq!(injected.iter().map(|injection| injection.what).collect::<Vec<_>>(), [what]);
        }
    }
}
