//! `connection_limit`: only so many connections at one moment.

mod places;

use schemars::JsonSchema;
use serde::Deserialize;

use self::places::{Place, Places};
use crate::fault::registry::{Kind, Misfit, Whom};
use crate::fault::{ALL, Act, Cx, Effect, End, Fault, Flow, Gate, Hooks, Injection, Item, Offer, Opening, Until, What};
use crate::time::{MILLI, Time};

/// At most `max` connections of those selected are open through the proxy at one moment, over all workers; the excess
/// is refused, or waits before the upstream is dialled until one of them ends: first come, first served.
///
/// Connections that were open before the fault came on count, though they may be more than `max`. While the workers
/// still count them, in the first moments, new ones may slip in.
///
/// Those who wait ask again by themselves, so that no worker has to wake another's connections: the first ones in the
/// queue every 5 ms, each later one as often as its turn can come at that pace, at least four times a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimit {
    max: u64,
    how: How,
}

/// The fields of a limit on connections.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How many may be open at one moment: 1 or more.
    #[schemars(range(min = 1))]
    max: u64,
    /// What becomes of the excess.
    #[serde(default)]
    how: How,
}

/// `how`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// It is reset; the upstream never hears of it.
    #[default]
    Refuse,
    /// It waits for a place.
    Hang,
}

/// How often the head of the queue asks for a place, and how many count as the head.
const ASK: Time = 5 * MILLI;
const HEAD: u64 = 32;
/// Nobody asks more seldom.
const SELDOM: Time = 250 * MILLI;

/// What a connection has of the places.
#[derive(Debug, Default)]
pub struct Memory {
    place: Option<Place>,
    /// It waits: since when, and when it asks again.
    waits: Option<(Time, Time)>,
}

impl Kind for ConnectionLimit {
    const NAME: &'static str = "connection_limit";
    const ABOUT: &'static str = "Lets only so many connections be open at one moment; the excess is refused or waits";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "connection_limit"
proxy = "redis"
max   = 20
how   = "hang"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Upstream);
    const WHOM: Whom = Whom::Connections;
    type Config = Config;
    type Makes = ConnectionLimit;

    fn build(config: Config) -> Result<ConnectionLimit, Misfit> {
        if config.max == 0 {
            let message = "a limit of 0 lets nobody in: that is kind = \"connect\" with how = \"refuse\" or \"hang\"";
            return Err(Misfit::new("max", message));
        }
        Ok(ConnectionLimit { max: config.max, how: config.how })
    }

    fn summary(fault: &ConnectionLimit) -> String {
        let how = match fault.how {
            How::Refuse => "refused",
            How::Hang => "waits",
        };
        format!("at most {}, the excess {how}", fault.max)
    }
}

impl Fault for ConnectionLimit {
    const KIND: &'static str = "connection_limit";
    const HOOKS: Hooks = Hooks { open: true, ..Hooks::STREAM };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = std::sync::Arc<Places>;
    type State = Memory;

    fn open(&self, cx: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        let nothing = Injection { what: What::Refused, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 };
        let before = match cx.shared.enter(cx.state.place.take(), self.max) {
            Ok(place) => {
                cx.state.place = Some(place);
                if let Some((since, _)) = cx.state.waits.take() {
                    let waited = cx.now.saturating_sub(since);
                    let what = What::Queued;
                    cx.inject(Injection { what, drawn: waited, scheduled: waited, achieved: waited, ..nothing });
                }
                return Gate::Pass;
            }
            Err(_) if self.how == How::Refuse => {
                cx.inject(nothing);
                return Gate::Refuse(End::Reset);
            }
            Err(queued) => queued,
        };
        let (place, ahead) = cx.shared.queue(before);
        cx.state.place = Some(place);
        let again = cx.now.saturating_add((ASK + ASK * (ahead / HEAD)).min(SELDOM));
        let since = match cx.state.waits {
            Some((since, _)) => since,
            None => {
                cx.inject(Injection { what: What::Held, ..nothing });
                cx.now
            }
        };
        cx.state.waits = Some((since, again));
        Gate::Hold(Until::Change)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if cx.state.place.is_none() {
            cx.state.place = Some(cx.shared.count());
        }
        Act::Pass(if matches!(offer.item, Item::Bytes(_) | Item::Len(_)) { ALL } else { 0 })
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        cx.state.waits.map(|(_, again)| again)
    }

    fn lifted(&self, state: &mut Memory) {
        *state = Memory::default();
    }

    fn approximated(&self) -> Option<&'static str> {
        Some("the kernel has completed a client's handshake before it is counted: it is connected, then reset or held")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;

    fn crowd(max: u64, how: How, n: usize) -> Vec<Driver<ConnectionLimit>> {
        let first = Driver::new(ConnectionLimit { max, how }, Flow::Upstream);
        let others = (1..n).map(|_| {
            let mut other = Driver::new(ConnectionLimit { max, how }, Flow::Upstream);
            other.shared = first.shared.clone();
            other
        });
        let others: Vec<_> = others.collect();
        [first].into_iter().chain(others).collect()
    }

    const HOLD: Gate = Gate::Hold(Until::Change);

    #[test]
    fn the_excess_is_refused_until_one_ends() {
        let mut all = crowd(2, How::Refuse, 4);
        let gates: Vec<_> = all.iter_mut().map(|one| one.open(5)).collect();
        assert_eq!(gates, [Gate::Pass, Gate::Pass, Gate::Refuse(End::Reset), Gate::Refuse(End::Reset)]);
        assert_eq!(all[2].injected.iter().map(|i| i.what).collect::<Vec<_>>(), [What::Refused]);
        drop(all.remove(0));
        assert_eq!(all.last_mut().unwrap().open(9), Gate::Pass);
    }

    #[test]
    fn those_who_wait_are_served_in_their_order_and_a_newcomer_is_last() {
        let mut all = crowd(1, How::Hang, 4);
        let gates: Vec<_> = all[..3].iter_mut().map(|one| one.open(0)).collect();
        assert_eq!(gates, [Gate::Pass, HOLD, HOLD]);
        all[0].lift();
        assert_eq!((all[3].open(7 * MILLI), all[2].open(7 * MILLI)), (HOLD, HOLD), "the place is not theirs");
        assert_eq!(all[1].open(8 * MILLI), Gate::Pass);
        let figures: Vec<_> = all[1].injected.iter().map(|i| (i.what, i.achieved)).collect();
        assert_eq!(figures, [(What::Held, 0), (What::Queued, 8 * MILLI)]);
        drop(all.remove(2)); // it leaves while it waits
        all[1].lift();
        assert_eq!(all[2].open(9 * MILLI), Gate::Pass);
    }

    #[test]
    fn who_was_there_before_counts_even_beyond_the_limit() {
        let mut all = crowd(1, How::Refuse, 3);
        all[..2].iter_mut().for_each(|one| one.run_until(1));
        assert_eq!(all[2].open(2), Gate::Refuse(End::Reset));
        drop(all.remove(0));
        assert_eq!(all[1].open(3), Gate::Refuse(End::Reset));
        drop(all.remove(0));
        assert_eq!(all[0].open(4), Gate::Pass);
    }

    #[test]
    fn the_head_of_the_queue_asks_often_and_nobody_too_seldom() {
        let mut all = crowd(1, How::Hang, 3_000);
        let mut again = |n: usize| {
            all[n].open(0);
            all[n].alarm()
        };
        assert_eq!((again(0), again(1), again(2)), (None, Some(ASK), Some(ASK)));
        let rest: Vec<_> = (3..3_000).map(|n| again(n).unwrap()).collect();
        assert!(rest.is_sorted() && rest[98] == 4 * ASK && rest.last() == Some(&SELDOM), "{rest:?}");
    }

    #[test]
    fn a_limit_of_nothing_is_refused() {
        let build = |text: &str| ConnectionLimit::build(toml::from_str(text).unwrap());
        assert_eq!(build("max = 0").unwrap_err().field, Some("max"));
        assert_eq!(build("max = 3").unwrap().how, How::Refuse);
    }
}
