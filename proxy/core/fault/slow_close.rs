//! `slow_close`: the end of a connection arrives late.

use crate::dist::{Distribution, DistributionConfig};
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{ALL, Act, Cx, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Until, What};
use crate::time::Time;

/// Holds the sender's FIN for a delay drawn from a distribution; bytes are not delayed. The other direction stays open
/// meanwhile, and a reset is passed on at once. One delay is drawn for each direction of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowClose {
    delay: Distribution,
}

impl Kind for SlowClose {
    const NAME: &'static str = "slow_close";
    const ABOUT: &'static str = "Delays only the close (FIN), by a time from a distribution";
    const EXAMPLE: &'static str = r#"[[fault]]
kind   = "slow_close"
proxy  = "redis"
delay  = "2s"
jitter = "500ms"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    type Config = DistributionConfig;
    type Makes = SlowClose;

    fn build(config: DistributionConfig) -> Result<SlowClose, Misfit> {
        Ok(SlowClose { delay: config.build()? })
    }

    fn summary(fault: &SlowClose) -> String {
        format!("delay {}", fault.delay)
    }
}

/// When the FIN is due, at the latest as of the last look: a delay that has shrunk since is on record as it was kept.
#[derive(Debug, Default)]
pub struct Memory {
    due: Time,
}

impl Fault for SlowClose {
    const KIND: &'static str = "slow_close";
    const HOOKS: Hooks = Hooks::STREAM;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        match offer.item {
            Item::Bytes(_) | Item::Len(_) => return Act::Pass(ALL),
            Item::Tick => return Act::Pass(0),
            Item::Fin => {}
        }
        let step = cx.flow as u64;
        let waited = cx.now.saturating_sub(offer.arrived);
        let draw = cx.draw.at(step);
        let delay = self.delay.sample(draw, cx.elapsed.saturating_sub(waited));
        let due = offer.arrived.saturating_add(delay);
        if due > cx.now {
            cx.state.due = due;
            return Act::Hold(Until::At(due));
        }
        if delay > 0 {
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
        Act::Pass(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::{MILLI, SECOND};

    fn slow(ms: u64) -> Driver<SlowClose> {
        Driver::new(SlowClose { delay: Distribution::constant(ms * MILLI) }, Flow::Downstream)
    }

    #[test]
    fn only_the_fin_waits_and_from_its_arrival() {
        let mut driver = slow(100);
        driver.at(5 * MILLI).push(&[7; 10]);
        driver.at(30 * MILLI).push(&[8; 10]);
        driver.at(30 * MILLI).fin();
        driver.run_until(SECOND);
        assert_eq!(driver.arrivals(), [(5 * MILLI, 10), (30 * MILLI, 10)]);
        assert_eq!(driver.closed_at, Some(130 * MILLI));
        let figures: Vec<_> = driver.injected.iter().map(|i| (i.what, i.drawn, i.scheduled, i.achieved)).collect();
        assert_eq!(figures, [(What::Delayed, 100 * MILLI, 100 * MILLI, 100 * MILLI)]);
    }

    #[test]
    fn a_delay_of_nothing_is_no_injection() {
        let mut driver = slow(0);
        driver.at(MILLI).fin();
        driver.run_until(SECOND);
        assert_eq!((driver.closed_at, driver.injected.len()), (Some(MILLI), 0));
    }

    #[test]
    fn a_new_configuration_moves_a_fin_that_waits() {
        let mut driver = slow(10_000);
        driver.at(0).fin();
        driver.run_until(50 * MILLI);
        driver.fault = SlowClose { delay: Distribution::constant(20 * MILLI) };
        driver.run_until(SECOND);
        assert_eq!(driver.closed_at, Some(50 * MILLI));
        assert_eq!((driver.injected[0].scheduled, driver.injected[0].achieved), (50 * MILLI, 50 * MILLI));
    }
}
