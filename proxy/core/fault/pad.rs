//! `pad`: no answer comes sooner than after a time.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Act, Asked, Cx, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Phase, Ruling, Until, What};
use crate::time::Time;
use crate::unit::Duration;

/// Latency up to a minimum: an answer is held until so long after the latest byte of what it answers, one that took
/// longer by itself is let by. While nobody has spoken the time counts from the connection's opening. A turn that had
/// begun before the fault came on is let by too: nobody knows since when the other side waits.
///
/// The answer of an HTTP exchange is held until so long after the request's head had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pad {
    min: Time,
}

/// The fields of a pad.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long after the other side's latest byte an answer comes at the earliest.
    min: Duration,
}

/// The latest turn on record.
#[derive(Debug, Default)]
pub struct Memory {
    recorded: Option<u64>,
}

impl Kind for Pad {
    const NAME: &'static str = "pad";
    const ABOUT: &'static str = "Delays answers up to a minimum: slower ones are let by";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "pad"
proxy = "redis"
min   = "200ms"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::AfterUpstreamHead, Phase::AfterUpstream];
    type Config = Config;
    type Makes = Pad;

    fn build(config: Config) -> Result<Pad, Misfit> {
        if config.min.0 == 0 {
            return Err(Misfit::new("min", "an answer is never sooner than at once: `min` must be above 0"));
        }
        Ok(Pad { min: config.min.0 })
    }

    fn summary(fault: &Pad) -> String {
        format!("at least {}", Duration(fault.min))
    }
}

impl Fault for Pad {
    const KIND: &'static str = "pad";
    const HOOKS: Hooks = Hooks { exchange: true, ..Hooks::STREAM };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let due = asked.began.saturating_add(self.min);
        if due > cx.now {
            return Ruling::Hold(Until::At(due));
        }
        if asked.arrived < due {
            let (scheduled, achieved) = (due - asked.arrived, cx.now.saturating_sub(asked.arrived));
            let (what, step) = (What::Delayed, asked.step());
            cx.inject(Injection { what, step, draw: None, drawn: self.min, scheduled, achieved });
        }
        Ruling::Pass
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let (Item::Bytes(_) | Item::Len(_), Some(asked)) = (offer.item, offer.asked) else {
            return Act::Pass(offer.len());
        };
        let due = asked.saturating_add(self.min);
        if due > cx.now {
            return Act::Hold(Until::At(due));
        }
        if offer.arrived < due && cx.state.recorded != Some(offer.turn) {
            cx.state.recorded = Some(offer.turn);
            let (scheduled, achieved) = (due - offer.arrived, cx.now.saturating_sub(offer.arrived));
            let step = offer.turn;
            cx.inject(Injection { what: What::Delayed, step, draw: None, drawn: self.min, scheduled, achieved });
        }
        Act::Pass(offer.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::http::{Request, Response};
    use crate::time::{MILLI, SECOND};

    fn pad() -> Driver<Pad> {
        Driver::new(Pad { min: 100 * MILLI }, Flow::Downstream)
    }

    #[test]
    fn a_fast_answer_waits_for_the_minimum_and_a_slow_one_does_not() {
        let mut driver = pad();
        driver.asked = Some(10 * MILLI);
        driver.at(30 * MILLI).push(&[1; 10]);
        driver.at(50 * MILLI).push(&[1; 10]);
        driver.at(140 * MILLI).push(&[1; 10]); // the end of the same answer
        driver.run_until(SECOND);
        driver.next_turn();
        driver.asked = Some(SECOND);
        driver.at(SECOND + 200 * MILLI).push(&[1; 10]);
        driver.run_until(2 * SECOND);
        let at = [(110, 20), (140, 10), (1_200, 10)].map(|(ms, n)| (ms * MILLI, n));
        assert_eq!(driver.arrivals(), at);
        let figures: Vec<_> = driver.injected.iter().map(|i| (i.step, i.drawn, i.scheduled, i.achieved)).collect();
        assert_eq!(figures, [(0, 100 * MILLI, 80 * MILLI, 80 * MILLI)], "the second turn was slow by itself");
    }

    #[test]
    fn a_turn_that_began_before_it_and_a_fin_are_let_by() {
        let mut driver = pad();
        driver.at(30 * MILLI).push(&[1; 10]);
        driver.at(40 * MILLI).fin();
        driver.run_until(SECOND);
        assert_eq!((driver.arrivals(), driver.closed_at), (vec![(30 * MILLI, 10)], Some(40 * MILLI)));
        assert!(driver.injected.is_empty());
    }

    #[test]
    fn an_answer_is_held_until_the_minimum_since_the_request() {
        for (answered, held) in [(30 * MILLI, true), (140 * MILLI, false)] {
            let mut driver = pad().of(Request::default(), Some(Response::default()));
            driver.now = answered;
            let (holds, _) = driver.rule(Phase::AfterUpstreamHead);
            assert_eq!(holds, if held { vec![100 * MILLI] } else { vec![] });
            let figures: Vec<_> = driver.injected.iter().map(|i| (i.drawn, i.scheduled, i.achieved)).collect();
            assert_eq!(figures, if held { vec![(100 * MILLI, 70 * MILLI, 70 * MILLI)] } else { vec![] });
        }
    }

    #[test]
    fn a_minimum_of_nothing_is_refused() {
        let build = |text: &str| Pad::build(toml::from_str(text).unwrap());
        assert_eq!(build("min = '0s'").unwrap_err().field, Some("min"));
        assert!(build("min = '5ms'").is_ok());
    }
}
