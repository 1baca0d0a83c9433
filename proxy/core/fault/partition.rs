//! `partition`: the other side can't be reached, or nodes can't reach each other.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::running::Running;
use crate::fault::{
    ALL, Act, Carrier, Cx, Datagram, Door, Effect, End, Fault, Flow, Gate, Hooks, Injection, Item, Offer, Opening,
    Packet, Place, Until, What,
};
use crate::groups::Groups;
use crate::select::Connections;
use crate::time::Time;

/// Cuts proxies off from their upstreams, or groups of nodes from each other, over the proxies that link them.
///
/// A connection's handshake with squall is completed by the kernel before squall sees it, so a client finds a connection
/// established that then is held, dropped or reset. Plan, ledger and report say so of a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    how: How,
    connections: Connections,
    groups: Option<Groups>,
    /// In one direction only.
    one_way: bool,
    /// Whether the first packet of new connections vanishes, so that they wait for their handshake; none: not told yet.
    deaf: Option<bool>,
}

/// The fields of a partition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What becomes of bytes and connections meanwhile.
    #[serde(default)]
    how: How,
    /// Which connections, by when they were opened. Each opening of the window is looked at by itself.
    #[serde(default)]
    connections: Connections,
    /// Groups of nodes that can't reach each other: of the proxies named, those are cut that lead from a node of one
    /// group to a node of another. A proxy's nodes are its `from` and `to`. A proxy's name, or a glob, stands for the
    /// node behind it where no node has that name.
    groups: Option<Vec<Vec<String>>>,
    /// With `groups`: only what the first group sends to the others is cut, whoever opened the connection.
    #[serde(default)]
    one_way: bool,
}

/// `how`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Bytes are held, then the sender feels back-pressure; all of it is delivered when the partition heals. New
    /// connections wait before the upstream is dialled.
    #[default]
    Hang,
    /// Bytes are swallowed; connections that lost any are reset when the partition heals. New connections wait for their
    /// handshake, as on a cut link, and are made when it heals: the kernel drops their packets, where it may
    /// (CAP_NET_ADMIN) and every connection is taken. Else they are accepted and hear nothing, which is called
    /// approximated.
    Drop,
    /// Packets of the connections that it takes vanish in the kernel, handshakes included: nobody hears anything, nobody
    /// is told, and when it heals TCP goes on by itself, without a byte lost, as soon as it sends again (after a cut of a
    /// minute that may take a minute more). Refused at the start where the kernel may not drop packets
    /// (CAP_NET_ADMIN), and on unix sockets.
    Silence,
    /// Established connections are reset, in one direction only as soon as something is sent that way; new ones are
    /// refused with a reset.
    Reject,
}

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    swallowed: Running,
    /// The opening of the window for which a hold is on record.
    held: Option<Time>,
}

impl Kind for Partition {
    const NAME: &'static str = "partition";
    const ABOUT: &'static str = "Cuts the upstream off: connections hang, are dropped, or are rejected";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "partition"
proxy = "redis"
how   = "hang"
for   = "500ms"
every = "4s"
times = 3
"#;
    const DIRECTION: Option<Flow> = None;
    type Config = Config;
    type Makes = Partition;

    fn build(config: Config) -> Result<Partition, Misfit> {
        let Config { how, connections, groups, one_way } = config;
        if one_way && groups.is_none() {
            return Err(Misfit::new("one_way", "`one_way` needs `groups`; without them `direction` says which way"));
        }
        let groups = groups.map(|groups| Groups::new(groups, one_way)).transpose();
        let groups = groups.map_err(|why| Misfit::new("groups", why))?;
        Ok(Partition { how, connections, groups, one_way: false, deaf: None })
    }

    fn summary(fault: &Partition) -> String {
        let mut text = match fault.how {
            How::Hang => "hang",
            How::Drop => "drop",
            How::Silence => "silence",
            How::Reject => "reject",
        }
        .to_owned();
        text.push_str(match fault.connections {
            Connections::All => "",
            Connections::New => ", new connections",
            Connections::Established => ", established connections",
        });
        if let Some(groups) = &fault.groups {
            text.push_str(&format!(", {groups}"));
        }
        text
    }
}

fn injection(what: What, step: u64, figure: u64) -> Injection {
    Injection { what, step, draw: None, drawn: figure, scheduled: figure, achieved: figure }
}

impl Fault for Partition {
    const KIND: &'static str = "partition";
    const HOOKS: Hooks = Hooks { door: true, open: true, ..Hooks::BOTH };
    const EFFECT: Effect = Effect::Loses;
    type Shared = ();
    type State = Memory;

    fn connections(&self) -> Connections {
        self.connections
    }

    fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    fn settle(&self, place: &Place) -> Result<Option<Partition>, String> {
        if self.how == How::Silence {
            place.can_drop().map_err(|why| format!("`how = \"silence\"` can't be had: {why}"))?;
        }
        let deaf = self.drops_new() && place.everybody && place.drops[Flow::Upstream as usize].is_ok();
        Ok(Some(Partition { one_way: place.flow.is_some(), deaf: Some(deaf), ..self.clone() }))
    }

    /// A hang holds as many bytes of datagrams as of a stream; what comes beyond is dropped, as is everything otherwise.
    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let bytes = datagram.bytes.len();
        if self.how == How::Hang && datagram.queued + bytes <= self.depth() {
            if datagram.waited.is_none() {
                cx.inject(injection(What::Held, datagram.step, bytes as u64));
            }
            return Packet::Keep;
        }
        cx.inject(injection(What::Dropped, datagram.step, bytes as u64));
        Packet::Drop
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let silent = carrier == Carrier::Datagrams && self.how == How::Silence;
        silent.then_some(("how", "only the packets of connections can vanish in the kernel; `drop` drops datagrams"))
    }

    fn door(&self) -> Door {
        if self.deaf == Some(true) { Door::Deaf } else { Door::Open }
    }

    fn approximated(&self) -> Option<&'static str> {
        if self.how == How::Reject {
            return Some(
                "the kernel has completed a client's handshake before it is refused: it connects, then is reset",
            );
        }
        let why = "new connections are made and hear nothing, where on a cut link they would wait for their handshake";
        (self.drops_new() && self.deaf == Some(false)).then_some(why)
    }

    fn vanishes(&self) -> f64 {
        if self.how == How::Silence { 1.0 } else { 0.0 }
    }

    fn open(&self, cx: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        match self.how {
            How::Hang => {
                self.note_hold(cx, 0, 0);
                Gate::Hold(Until::Change)
            }
            How::Drop | How::Silence => Gate::Pass,
            How::Reject => {
                cx.inject(injection(What::Refused, 0, 0));
                Gate::Refuse(End::Reset)
            }
        }
    }

    fn silences(&self, _: &Memory) -> bool {
        matches!(self.how, How::Hang | How::Drop)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        match (self.how, offer.item) {
            (How::Reject, Item::Tick) if self.one_way => Act::Pass(0),
            (How::Reject, _) => {
                cx.inject(injection(What::Reset, offer.offset, offer.offset));
                Act::Kill(End::Reset)
            }
            (How::Silence, _) => Act::Pass(ALL),
            (_, Item::Tick) => Act::Pass(0),
            (How::Hang, _) => {
                self.note_hold(cx, offer.turn, offer.len() as u64);
                Act::Hold(Until::Change)
            }
            (How::Drop, Item::Fin) => {
                cx.state.swallowed.flush(What::Swallowed, cx.now, cx.injected);
                Act::Hold(Until::Change)
            }
            (How::Drop, Item::Bytes(_) | Item::Len(_)) => {
                let n = offer.len() as u64;
                cx.state.swallowed.add(What::Swallowed, offer.turn, cx.now, (n, n), cx.injected);
                Act::Take { n: offer.len(), put: bytes::Bytes::new() }
            }
        }
    }
}

impl Partition {
    /// Whether new connections are to wait for their handshake.
    fn drops_new(&self) -> bool {
        matches!(self.how, How::Drop | How::Silence) && self.connections != Connections::Established
    }

    /// One record for each direction and opening of the window, when the first bytes are held; how many it came to is
    /// known when they are let go.
    fn note_hold(&self, cx: &mut Cx<'_, Self>, step: u64, bytes: u64) {
        if cx.state.held.replace(cx.span.attached) != Some(cx.span.attached) {
            cx.inject(injection(What::Held, step, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::Carrier;
    use crate::fault::driver::Driver;
    use crate::time::SECOND;

    fn partition(how: How) -> Partition {
        Partition { how, connections: Connections::All, groups: None, one_way: false, deaf: None }
    }

    fn place(flow: Option<Flow>) -> Place {
        Place { flow, carrier: Carrier::Stream, everybody: true, drops: [Ok(()), Ok(())] }
    }

    fn run(fault: Partition) -> Driver<Partition> {
        let mut driver = Driver::new(fault, Flow::Upstream).attached(SECOND, 10);
        driver.at(2 * SECOND).push(&[1; 5]);
        driver.at(3 * SECOND).push(&[1; 5]);
        driver.at(4 * SECOND).fin();
        driver.run_until(9 * SECOND);
        assert!(driver.out.is_empty() && driver.closed_at.is_none());
        driver
    }

    #[test]
    fn hang_holds_everything() {
        let driver = run(partition(How::Hang));
        assert_eq!((driver.ended, driver.swallowed), (None, 0));
        assert_eq!((driver.injected.len(), driver.injected[0].what), (1, What::Held));
    }

    #[test]
    fn drop_swallows_everything() {
        let driver = run(partition(How::Drop));
        assert_eq!((driver.ended, driver.swallowed), (None, 10));
    }

    #[test]
    fn reject_resets_at_once_without_waiting_for_a_byte() {
        let driver = run(partition(How::Reject));
        assert_eq!(driver.ended, Some((SECOND, End::Reset)));
        assert_eq!((driver.injected.len(), driver.injected[0].what), (1, What::Reset));
    }

    #[test]
    fn reject_in_one_direction_waits_for_a_byte() {
        let settle = |flow| partition(How::Reject).settle(&place(flow)).unwrap().unwrap();
        assert_eq!(run(settle(Some(Flow::Upstream))).ended, Some((2 * SECOND, End::Reset)));
        assert_eq!(run(settle(None)).ended, Some((SECOND, End::Reset)));
    }

    #[test]
    fn new_connections_wait_for_their_handshake_where_that_can_be_had_and_hits_nobody_else() {
        let some = Place { everybody: false, ..place(None) };
        let barred = Place { drops: [Err("no".into()), Ok(())], ..place(None) };
        let refused = partition(How::Silence).settle(&barred).unwrap_err();
        assert_eq!(refused, "`how = \"silence\"` can't be had: no");
        let downstream = Place { flow: Some(Flow::Downstream), ..barred.clone() };
        assert!(partition(How::Silence).settle(&downstream).is_ok(), "packets of clients are let in");
        let established = Partition { connections: Connections::Established, ..partition(How::Drop) };
        for (fault, place, door, near) in [
            (partition(How::Drop), place(None), Door::Deaf, false),
            (partition(How::Drop), place(Some(Flow::Downstream)), Door::Deaf, false),
            (partition(How::Drop), some, Door::Open, true),
            (partition(How::Drop), barred, Door::Open, true),
            (established, place(None), Door::Open, false),
            (partition(How::Silence), place(None), Door::Deaf, false),
            (partition(How::Hang), place(None), Door::Open, false),
        ] {
            assert_eq!(fault.door(), Door::Open, "not before it is settled");
            let settled = fault.settle(&place).unwrap().unwrap();
            assert_eq!((settled.door(), settled.approximated().is_some()), (door, near), "{settled:?} {place:?}");
        }
    }
}
