//! `latency`: bytes, or HTTP exchanges, arrive late.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::dist::{Distribution, DistributionConfig, Family, Quantiles};
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Asked, Carrier, Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Packet, Phase, Ruling,
    Until, What,
};
use crate::time::Time;
use crate::unit::Duration;

/// Holds every byte, and the sender's FIN, for a delay drawn from a distribution. Order is kept: nothing overtakes, so a
/// byte behind a slower one waits for it. Delays run side by side: a stream under 100 ms of latency keeps its throughput.
///
/// One delay is drawn per step: a turn (which begins with the first byte after the direction changed) and, within it,
/// every 64 KiB; before the other side has spoken every 1 KiB. It counts from the arrival of each byte, and curves are
/// taken at that time.
///
/// On UDP each datagram has a delay of its own. They keep their order unless `order = "free"`.
///
/// An HTTP exchange is held once, in the phase in which the fault acts, however many packets its messages come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    delay: Distribution,
    order: Order,
    delays_close: bool,
}

/// The fields of a latency: those of a distribution, and the order.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long: the middle for uniform and normal, the median for lognormal, the mean for exponential, the minimum for
    /// pareto. May be a curve.
    delay: Option<Curve<Duration>>,
    /// How much more or less: the bounds for uniform, the standard deviation for normal. Delays below 0 become 0. May be
    /// a curve. Default 0.
    jitter: Option<Curve<Duration>>,
    /// The shape. Default: uniform where `jitter` is given, constant otherwise.
    distribution: Option<Family>,
    /// Lognormal only: 99 of 100 delays are below this. Must be above `delay`.
    p99: Option<Duration>,
    /// Pareto only: the share of delays above x is (delay / x) to the power of this. Above 0; up to 1 there is no mean.
    /// Default 3.
    shape: Option<f64>,
    /// Instead of the above: at least two quantiles. Between them delays are log-linear (linear from a point at 0); below
    /// the first point every delay is the first point's, above the last the last one's, so `p0` and `p100` say how short
    /// and how long delays can be.
    quantiles: Option<Quantiles>,
    /// Instead of the above: measured delays as pairs of a bin's upper end and the number of values in it, ends rising.
    /// A bin starts where the one before ends, the first at 0; values are spread evenly within it. A first bin with the
    /// count 0 sets the minimum.
    histogram: Option<Vec<(Duration, u64)>>,
    /// Whether a datagram with a shorter delay may overtake those before it (UDP only).
    #[serde(default)]
    order: Order,
    /// Whether the close (FIN) waits as a byte does. Without that it waits only for the bytes before it. Default true.
    #[serde(default = "yes")]
    delays_close: bool,
}

fn yes() -> bool {
    true
}

/// `order`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// None overtakes another: one behind a slower one waits for it.
    #[default]
    Keep,
    /// Each goes when its own delay is over.
    Free,
}

impl Latency {
    /// Delays from a distribution.
    pub fn new(delay: Distribution) -> Latency {
        Latency { delay, order: Order::Keep, delays_close: true }
    }
}

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// The latest time that something was due; nothing behind it goes earlier.
    due: Time,
    /// The latest step on record.
    recorded: Option<u64>,
}

/// A delay line holds bandwidth × delay, or it would limit throughput; how much that may be is for the data plane to say,
/// which shares its memory among all connections.
const DEPTH: usize = ALL;

impl Kind for Latency {
    const NAME: &'static str = "latency";
    const ABOUT: &'static str = "Delays bytes by a time from a distribution, without limiting throughput";
    const EXAMPLE: &'static str = r#"[[fault]]
kind         = "latency"
proxy        = "redis"
delay        = "200ms"
jitter       = "50ms"
distribution = "normal"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] =
        &[Phase::BeforeUpstream, Phase::BeforeConnect, Phase::AfterUpstreamHead, Phase::AfterUpstream];
    type Config = Config;
    type Makes = Latency;

    fn build(config: Config) -> Result<Latency, Misfit> {
        let Config { delay, jitter, distribution, p99, shape, quantiles, histogram, order, delays_close } = config;
        let delays = DistributionConfig { delay, jitter, distribution, p99, shape, quantiles, histogram };
        Ok(Latency { delay: delays.build()?, order, delays_close })
    }

    fn summary(fault: &Latency) -> String {
        let order = if fault.order == Order::Free { ", in any order" } else { "" };
        format!("delay {}{order}", fault.delay)
    }
}

impl Fault for Latency {
    const KIND: &'static str = "latency";
    const HOOKS: Hooks = Hooks { exchange: true, ..Hooks::BOTH };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let step = asked.step();
        let draw = cx.draw.at(step);
        let delay = self.delay.sample(draw, cx.span.elapsed_at(asked.arrived, cx.now, cx.elapsed));
        let due = asked.arrived.saturating_add(delay);
        if due > cx.now {
            return Ruling::Hold(Until::At(due));
        }
        if delay > 0 {
            let achieved = cx.now.saturating_sub(asked.arrived);
            let (what, draw) = (What::Delayed, Some(draw));
            cx.inject(Injection { what, step, draw, drawn: delay, scheduled: delay, achieved });
        }
        Ruling::Pass
    }

    fn depth(&self) -> usize {
        DEPTH
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if matches!(offer.item, Item::Tick) || matches!(offer.item, Item::Fin) && !self.delays_close {
            return Act::Pass(0);
        }
        let (step, left) = offer.delay_step();
        let waited = cx.now.saturating_sub(offer.arrived);
        let draw = cx.draw.at(step);
        let delay = self.delay.sample(draw, cx.span.elapsed_at(offer.arrived, cx.now, cx.elapsed));
        let due = offer.arrived.saturating_add(delay);
        if due > cx.now {
            cx.state.due = cx.state.due.max(due);
            return Act::Hold(Until::At(due));
        }
        if delay > 0 && cx.state.recorded != Some(step) {
            cx.state.recorded = Some(step);
            // a delay that shrank (a new configuration, a curve) must not count as due in the future
            let scheduled = cx.state.due.min(cx.now).max(due).saturating_sub(offer.arrived);
            cx.inject(Injection {
                what: What::Delayed,
                step,
                draw: Some(draw),
                drawn: delay,
                scheduled,
                achieved: waited,
            });
        }
        Act::Pass(left.min(offer.len()))
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let waited = cx.now.saturating_sub(datagram.arrived);
        let draw = cx.draw.at(datagram.step);
        let delay = self.delay.sample(draw, cx.elapsed.saturating_sub(waited));
        let due = datagram.arrived.saturating_add(delay);
        if datagram.waited.is_none() || due > cx.now {
            return match self.order {
                Order::Keep => Packet::Queue(due),
                Order::Free => Packet::Hold(due),
            };
        }
        let due = match self.order {
            Order::Keep => cx.state.due.clamp(due, cx.now),
            Order::Free => due,
        };
        cx.state.due = due;
        cx.inject(Injection {
            what: What::Delayed,
            step: datagram.step,
            draw: Some(draw),
            drawn: delay,
            scheduled: due - datagram.arrived,
            achieved: waited,
        });
        Packet::Pass
    }

    fn misfit_in(&self, _: Phase) -> Option<(&'static str, &'static str)> {
        if self.order == Order::Free {
            return Some(("order", "`order` is for UDP: exchanges wait for each other nowhere"));
        }
        (!self.delays_close)
            .then_some(("delays_close", "`delays_close` is for connections: an exchange is held once, before it ends"))
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let free = carrier == Carrier::Stream && self.order == Order::Free;
        free.then_some(("order", "the bytes of a connection keep their order: `free` is for UDP"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;
    use crate::fault::Span;
    use crate::fault::driver::Driver;
    use crate::http::Request;
    use crate::time::{MILLI, SECOND};

    fn latency(ms: u64) -> Latency {
        Latency::new(Distribution::constant(ms * MILLI))
    }

    #[test]
    fn bytes_and_fin_wait_from_their_arrival() {
        let mut driver = Driver::new(latency(100), Flow::Downstream);
        driver.at(5 * MILLI).push(&[7; 10]);
        driver.at(25 * MILLI).push(&[8; 10]);
        driver.at(30 * MILLI).fin();
        driver.run_until(SECOND);
        assert_eq!(driver.arrivals(), [(105 * MILLI, 10), (125 * MILLI, 10)]);
        assert_eq!(driver.closed_at, Some(130 * MILLI));
    }

    #[test]
    fn a_close_that_is_not_delayed_waits_only_for_what_is_before_it() {
        for (before, closed) in [(0, 5 * MILLI), (10, 100 * MILLI)] {
            let mut driver = Driver::new(Latency { delays_close: false, ..latency(100) }, Flow::Downstream);
            driver.at(0).push(&vec![7; before]);
            driver.at(5 * MILLI).fin();
            driver.run_until(SECOND);
            assert_eq!(driver.closed_at, Some(closed), "{before} bytes before");
        }
    }

    #[test]
    fn one_injection_for_each_step_with_drawn_scheduled_and_achieved() {
        let mut driver = Driver::new(latency(100), Flow::Downstream);
        driver.late = 3 * MILLI; // the pump asks late
        driver.at(0).push(&[0; 1500]); // two steps of 1 KiB
        driver.run_until(SECOND);
        let figures = |i: &Injection| (i.what, i.step, i.drawn, i.scheduled, i.achieved);
        let of = |step| (What::Delayed, step, 100 * MILLI, 100 * MILLI, 103 * MILLI);
        assert_eq!(driver.injected.iter().map(figures).collect::<Vec<_>>(), [of(0), of(1)]);
    }

    #[test]
    fn every_turn_draws_anew() {
        let config = toml::from_str("delay = '50ms'\njitter = '50ms'").map(Latency::build);
        let Ok(Ok(fault)) = config else { panic!("{config:?}") };
        let mut driver = Driver::new(fault, Flow::Downstream);
        for turn in 0..5 {
            driver.at(turn * SECOND).push(&[0; 10]);
            driver.run_until(turn * SECOND + MILLI * 500);
            driver.next_turn();
        }
        let drawn: std::collections::BTreeSet<_> = driver.injected.iter().map(|i| i.drawn).collect();
        assert_eq!(drawn.len(), 5);
    }

    #[test]
    fn no_byte_overtakes_a_slower_one() {
        let config = toml::from_str("delay = '50ms'\njitter = '50ms'").map(Latency::build);
        let Ok(Ok(fault)) = config else { panic!("{config:?}") };
        let mut driver = Driver::new(fault, Flow::Upstream);
        driver.at(0).push(&[0; 64 << 10]);
        driver.run_until(SECOND);
        let arrivals = driver.arrivals();
        assert!(arrivals.len() > 2 && arrivals.is_sorted());
        let behind = driver.injected.iter().filter(|i| i.scheduled > i.drawn).count();
        assert!(behind > 0, "some waited for a slower one before them, and the record says so");
        assert!(driver.injected.iter().all(|i| i.achieved == i.scheduled));
    }

    #[test]
    fn a_curve_that_stands_still_gives_what_comes_meanwhile_the_same_delay() {
        let config = toml::from_str("delay = { from = '1s', to = '0ms', over = '1s' }").map(Latency::build);
        let Ok(Ok(fault)) = config else { panic!("{config:?}") };
        // stands at 900 ms of the curve since 900 ms
        let span = Span { still: (900 * MILLI, crate::time::NEVER), ..Span::default() };
        let (mut state, mut injected) = (Memory::default(), Vec::new());
        let mut ask = |arrived: Time, now: Time| {
            let draw = crate::draw::DrawKey::new(1, "experiment", "fault").unit(9);
            let (flow, elapsed) = (Flow::Downstream, 900 * MILLI);
            let offer = Offer { item: Item::Len(1), arrived, offset: 0, turn: 1, turn_offset: 0, asked: None };
            let (state, injected) = (&mut state, &mut injected);
            let mut cx = Cx { state, shared: &(), draw, span: &span, now, elapsed, flow, exchange: None, injected };
            fault.stream(&mut cx, &offer)
        };
        assert_eq!(ask(5 * SECOND, 5 * SECOND), Act::Hold(Until::At(5 * SECOND + 100 * MILLI)));
        assert_eq!(ask(5 * SECOND, 5 * SECOND + 100 * MILLI), Act::Pass(1));
        assert_eq!(ask(850 * MILLI, 900 * MILLI), Act::Hold(Until::At(SECOND)), "before it stood the curve ran");
    }

    #[test]
    fn an_exchange_is_held_once_whatever_its_bodies() {
        let mut driver = Driver::new(latency(100), Flow::Downstream).attached(SECOND, 0).of(Request::default(), None);
        driver.late = 2 * MILLI;
        let (holds, ruling) = driver.rule(Phase::BeforeUpstream);
        assert!(holds == [SECOND + 100 * MILLI] && matches!(ruling, Some(Ruling::Pass)), "{holds:?} {ruling:?}");
        let figures: Vec<_> = driver.injected.iter().map(|i| (i.what, i.drawn, i.scheduled, i.achieved)).collect();
        assert_eq!(figures, [(What::Delayed, 100 * MILLI, 100 * MILLI, 102 * MILLI)]);
        let mut none = Driver::new(latency(0), Flow::Downstream).of(Request::default(), None);
        assert!(none.rule(Phase::BeforeUpstream).0.is_empty() && none.injected.is_empty());
    }

    #[test]
    fn a_curve_is_taken_at_the_time_at_which_the_exchange_came() {
        let config = toml::from_str("delay = { from = '1s', to = '0ms', over = '1s' }").map(Latency::build);
        let Ok(Ok(fault)) = config else { panic!("{config:?}") };
        let mut driver = Driver::new(fault, Flow::Downstream).of(Request::default(), None);
        driver.now = 400 * MILLI;
        assert_eq!(driver.rule(Phase::BeforeUpstream).0, [SECOND], "600 ms from 400 ms on, not what the curve is then");
    }

    #[test]
    fn a_new_configuration_moves_what_is_held() {
        let mut driver = Driver::new(latency(10_000), Flow::Downstream);
        driver.at(0).push(&[0; 10]);
        driver.run_until(50 * MILLI);
        driver.fault = latency(80);
        driver.run_until(SECOND);
        assert_eq!(driver.arrivals(), [(80 * MILLI, 10)]);
        assert_eq!(driver.injected[0].scheduled, 80 * MILLI);
    }
}
