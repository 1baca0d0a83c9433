//! `blackhole`: bytes vanish.

use std::sync::atomic::{AtomicBool, Ordering};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::running::Running;
use crate::fault::{
    Act, Carrier, Cx, Datagram, Effect, End, Fault, Flow, Hooks, Injection, Item, Offer, Packet, Until, What,
};
use crate::time::Time;
use crate::unit::Duration;

/// Swallows everything, FIN and RST too: neither side hears of the other, as behind a dead link. New connections are accepted
/// and then hear nothing either. With `idle` or `after` the connection is closed (FIN) in the end, otherwise it stays
/// open. A connection that has lost bytes is reset when the fault is lifted, never resumed with a gap.
///
/// On record is the first swallow of a direction, then the sum once per turn or second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackhole {
    idle: Option<Time>,
    after: Option<Time>,
    on_removal: OnRemoval,
}

/// The fields of a blackhole.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Close the connection when the client has sent nothing for this long (the server, where the fault acts downstream
    /// only). Counts from when the fault came on. Default: never.
    idle: Option<Duration>,
    /// Close the connection this long after the fault came on. Default: never.
    after: Option<Duration>,
    /// What becomes of the selected connections when the fault is removed while its experiment goes on.
    #[serde(default)]
    on_removal: OnRemoval,
}

/// `on_removal`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRemoval {
    /// Those that have lost bytes are reset, the others go on.
    #[default]
    Reset,
    /// All are closed (FIN).
    Close,
}

/// Whether the fault acts upstream: the same for all connections.
#[derive(Debug, Default)]
pub struct Directions {
    upstream: AtomicBool,
}

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    swallowed: Running,
}

impl Blackhole {
    /// One that never closes.
    pub(super) fn endless() -> Blackhole {
        Blackhole { idle: None, after: None, on_removal: OnRemoval::Reset }
    }
}

impl Kind for Blackhole {
    const NAME: &'static str = "blackhole";
    const ABOUT: &'static str = "Swallows all bytes, then closes after a time, or never";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "blackhole"
proxy = "redis"
idle  = "5s"
"#;
    const DIRECTION: Option<Flow> = None;
    type Config = Config;
    type Makes = Blackhole;

    fn build(config: Config) -> Result<Blackhole, Misfit> {
        let (idle, after) = (config.idle.map(|idle| idle.0), config.after.map(|after| after.0));
        Ok(Blackhole { idle, after, on_removal: config.on_removal })
    }

    fn summary(fault: &Blackhole) -> String {
        let idle = fault.idle.map(|idle| format!("closes when idle for {}", Duration(idle)));
        let after = fault.after.map(|after| format!("closes after {}", Duration(after)));
        let ends: Vec<String> = idle.into_iter().chain(after).collect();
        if ends.is_empty() { "never closes".to_owned() } else { ends.join(", ") }
    }
}

impl Fault for Blackhole {
    const KIND: &'static str = "blackhole";
    const HOOKS: Hooks = Hooks::BOTH;
    const EFFECT: Effect = Effect::Loses;
    type Shared = Directions;
    type State = Memory;

    fn closes_when_removed(&self) -> bool {
        self.on_removal == OnRemoval::Close
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if cx.flow == Flow::Upstream {
            cx.shared.upstream.store(true, Ordering::Relaxed);
        }
        match offer.item {
            Item::Tick if self.deadline(cx).is_some_and(|at| at <= cx.now) => {
                let offset = offer.offset;
                cx.state.swallowed.flush(What::Swallowed, cx.now, cx.injected);
                cx.inject(Injection {
                    what: What::Closed,
                    step: offset,
                    draw: None,
                    drawn: offset,
                    scheduled: offset,
                    achieved: offset,
                });
                Act::End(End::Fin)
            }
            Item::Tick => Act::Pass(0),
            Item::Fin => {
                cx.state.swallowed.flush(What::Swallowed, cx.now, cx.injected);
                Act::Hold(Until::Change)
            }
            Item::Bytes(_) | Item::Len(_) => {
                let n = offer.len() as u64;
                cx.state.swallowed.add(What::Swallowed, offer.turn, cx.now, (n, n), cx.injected);
                Act::Take { n: offer.len(), put: bytes::Bytes::new() }
            }
        }
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        self.deadline(cx)
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let (step, bytes) = (datagram.step, datagram.bytes.len() as u64);
        let (drawn, scheduled, achieved) = (bytes, bytes, bytes);
        cx.inject(Injection { what: What::Dropped, step, draw: None, drawn, scheduled, achieved });
        Packet::Drop
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let why = "there is no connection to close";
        let written = if self.idle.is_some() { Some(("idle", why)) } else { self.after.map(|_| ("after", why)) };
        written.filter(|_| carrier == Carrier::Datagrams)
    }

    fn silences(&self, _: &Memory) -> bool {
        true
    }
}

impl Blackhole {
    fn deadline(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        let attached = cx.span.attached;
        let counts_idle = cx.flow == Flow::Upstream || !cx.shared.upstream.load(Ordering::Relaxed);
        let latest = cx.span.last.map_or(attached, |last| last.max(attached));
        let idle = self.idle.filter(|_| counts_idle).map(|idle| latest.saturating_add(idle));
        let after = self.after.map(|after| attached.saturating_add(after));
        idle.into_iter().chain(after).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::SECOND;

    fn run(idle: Option<u64>, after: Option<u64>) -> Driver<Blackhole> {
        let fault = Blackhole {
            idle: idle.map(|s| s * SECOND),
            after: after.map(|s| s * SECOND),
            on_removal: OnRemoval::Reset,
        };
        let mut driver = Driver::new(fault, Flow::Upstream).attached(10 * SECOND, 50);
        driver.at(11 * SECOND).push(&[1; 10]);
        driver.at(14 * SECOND).push(&[1; 20]);
        driver.at(14 * SECOND).fin();
        driver.run_until(100 * SECOND);
        assert!(driver.out.is_empty() && driver.closed_at.is_none());
        driver
    }

    #[test]
    fn bytes_and_fin_vanish_and_the_connection_stays() {
        let driver = run(None, None);
        assert_eq!((driver.ended, driver.swallowed), (None, 30));
        let sums: Vec<_> = driver.injected.iter().map(|i| (i.what, i.achieved)).collect();
        assert_eq!(sums, [(What::Swallowed, 10), (What::Swallowed, 20)]);
    }

    #[test]
    fn it_closes_after_idle_or_wall_time_whichever_comes_first() {
        assert_eq!(run(Some(5), None).ended, Some((19 * SECOND, End::Fin)));
        assert_eq!(run(None, Some(6)).ended, Some((16 * SECOND, End::Fin)));
        assert_eq!(run(Some(5), Some(6)).ended, Some((16 * SECOND, End::Fin)));
        let early = run(Some(2), None);
        assert_eq!((early.ended, early.swallowed), (Some((13 * SECOND, End::Fin)), 10));
        assert_eq!(early.injected.last().map(|i| (i.what, i.achieved)), Some((What::Closed, 60)));
    }

    #[test]
    fn a_silent_server_is_not_idle_where_the_client_is_heard() {
        let fault = Blackhole { idle: Some(SECOND), after: None, on_removal: OnRemoval::Reset };
        let mut upstream = Driver::new(fault.clone(), Flow::Upstream);
        upstream.run_until(0);
        let mut answers = Driver::new(fault.clone(), Flow::Downstream);
        answers.shared = upstream.shared.clone();
        answers.run_until(9 * SECOND);
        assert_eq!(answers.ended, None);
        let mut alone = Driver::new(fault, Flow::Downstream);
        alone.run_until(9 * SECOND);
        assert_eq!(alone.ended, Some((SECOND, End::Fin)));
    }
}
