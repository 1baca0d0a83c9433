//! `connect`: what happens before the upstream is dialled.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::dist::{Distribution, DistributionConfig, Family, Quantiles};
use crate::fault::registry::{Kind, Misfit, Whom};
use crate::fault::{Cx, Effect, End, Fault, Flow, Gate, Hooks, Injection, Opening, Until, What};
use crate::unit::Duration;

/// Stands between a client's connection and the dialling of the upstream: the dial is late, never comes, or fails.
///
/// The kernel has completed the client's handshake by then: the client is connected, then waits or is reset, as behind
/// any proxy whose upstream is slow or out of reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Connect {
    /// The dial waits.
    Delay(Distribution),
    /// It is not made while the fault acts.
    Hang,
    /// The client is reset, as when the upstream refuses.
    Refuse,
    /// The client is reset, as when the upstream's name has no address.
    Resolve,
}

/// The fields of a connect.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens.
    how: How,
    /// How late the dial is (`how = "delay"` only), as with `latency`. May be a curve.
    delay: Option<Curve<Duration>>,
    /// As with `latency`.
    jitter: Option<Curve<Duration>>,
    /// As with `latency`.
    distribution: Option<Family>,
    /// As with `latency`.
    p99: Option<Duration>,
    /// As with `latency`.
    shape: Option<f64>,
    /// As with `latency`.
    quantiles: Option<Quantiles>,
    /// As with `latency`.
    histogram: Option<Vec<(Duration, u64)>>,
}

/// `how`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The dial waits for a time from the distribution.
    Delay,
    /// The dial waits until the fault is lifted.
    Hang,
    /// As if the upstream refused: the client is reset.
    Refuse,
    /// As if the upstream's name could not be resolved: the client is reset.
    Resolve,
}

impl Kind for Connect {
    const NAME: &'static str = "connect";
    const ABOUT: &'static str = "Delays, hangs or fails what comes before the upstream is dialled";
    const EXAMPLE: &'static str = r#"[[fault]]
kind   = "connect"
proxy  = "redis"
how    = "delay"
delay  = "1s"
jitter = "200ms"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Upstream);
    const WHOM: Whom = Whom::Connections;
    type Config = Config;
    type Makes = Connect;

    fn build(config: Config) -> Result<Connect, Misfit> {
        let Config { how, delay, jitter, distribution, p99, shape, quantiles, histogram } = config;
        let times = DistributionConfig { delay, jitter, distribution, p99, shape, quantiles, histogram };
        let fault = match how {
            How::Delay => return times.build().map(Connect::Delay),
            How::Hang => Connect::Hang,
            How::Refuse => Connect::Refuse,
            How::Resolve => Connect::Resolve,
        };
        match times.given().next() {
            Some(field) => Err(Misfit::new(field, format!("`{field}` goes with how = \"delay\" only"))),
            None => Ok(fault),
        }
    }

    fn summary(fault: &Connect) -> String {
        match fault {
            Connect::Delay(delay) => format!("delay {delay}"),
            Connect::Hang => "hang".to_owned(),
            Connect::Refuse => "refuse".to_owned(),
            Connect::Resolve => "resolve".to_owned(),
        }
    }
}

impl Fault for Connect {
    const KIND: &'static str = "connect";
    const HOOKS: Hooks = Hooks { open: true, ..Hooks::NONE };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn open(&self, cx: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        let nothing = Injection { what: What::Refused, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 };
        match self {
            Connect::Delay(delay) => Connect::wait(delay, cx),
            Connect::Hang => {
                if cx.now == cx.span.attached {
                    cx.inject(Injection { what: What::Held, ..nothing });
                }
                Gate::Hold(Until::Change)
            }
            Connect::Refuse => {
                cx.inject(nothing);
                Gate::Refuse(End::Reset)
            }
            Connect::Resolve => {
                cx.inject(Injection { what: What::Unresolved, ..nothing });
                Gate::Refuse(End::Reset)
            }
        }
    }

    fn approximated(&self) -> Option<&'static str> {
        Some(match self {
            Connect::Delay(_) | Connect::Hang => {
                "the kernel has completed the client's handshake: the client is connected, and waits for its first answer"
            }
            Connect::Refuse | Connect::Resolve => {
                "the kernel has completed the client's handshake: the client is connected, then reset"
            }
        })
    }
}

impl Connect {
    fn wait(delay: &Distribution, cx: &mut Cx<'_, Self>) -> Gate {
        let since = cx.span.attached;
        let waited = cx.now.saturating_sub(since);
        let draw = cx.draw.at(0);
        let drawn = delay.sample(draw, cx.elapsed.saturating_sub(waited));
        let due = since.saturating_add(drawn);
        if due > cx.now {
            return Gate::Hold(Until::At(due));
        }
        if drawn > 0 {
            cx.inject(Injection {
                what: What::Delayed,
                step: 0,
                draw: Some(draw),
                drawn,
                scheduled: drawn,
                achieved: waited,
            });
        }
        Gate::Pass
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::MILLI;

    fn build(text: &str) -> Result<Connect, Misfit> {
        Connect::build(toml::from_str(text).unwrap())
    }

    fn gate(how: &str) -> Driver<Connect> {
        Driver::new(build(how).unwrap(), Flow::Upstream)
    }

    #[test]
    fn the_dial_waits_for_what_was_drawn_and_no_longer() {
        let mut driver = gate("how = 'delay'\ndelay = '80ms'");
        assert_eq!(driver.open(0), Gate::Hold(Until::At(80 * MILLI)));
        assert_eq!(driver.open(30 * MILLI), Gate::Hold(Until::At(80 * MILLI)), "asked early");
        assert_eq!(driver.open(81 * MILLI), Gate::Pass);
        let figures: Vec<_> = driver.injected.iter().map(|i| (i.what, i.drawn, i.scheduled, i.achieved)).collect();
        assert_eq!(figures, [(What::Delayed, 80 * MILLI, 80 * MILLI, 81 * MILLI)]);
    }

    #[test]
    fn a_hang_is_on_record_once_and_lasts() {
        let mut driver = gate("how = 'hang'");
        assert_eq!(driver.open(0), Gate::Hold(Until::Change));
        assert_eq!(driver.open(900 * MILLI), Gate::Hold(Until::Change));
        assert_eq!(driver.injected.iter().map(|i| i.what).collect::<Vec<_>>(), [What::Held]);
    }

    #[test]
    fn a_failure_says_which_it_is() {
        for (how, what) in [("refuse", What::Refused), ("resolve", What::Unresolved)] {
            let mut driver = gate(&format!("how = '{how}'"));
            assert_eq!(driver.open(5), Gate::Refuse(End::Reset));
            assert_eq!(driver.injected.iter().map(|i| i.what).collect::<Vec<_>>(), [what]);
            assert!(driver.fault.approximated().is_some());
        }
    }

    #[test]
    fn times_go_with_delay_only() {
        assert_eq!(build("how = 'hang'\ndelay = '1s'").unwrap_err().field, Some("delay"));
        assert_eq!(
            build("how = 'refuse'\nquantiles = { p50 = '1s', p99 = '2s' }").unwrap_err().field,
            Some("quantiles")
        );
        assert!(build("how = 'delay'").unwrap_err().message.contains("says no delay"));
        assert!(build("how = 'delay'\nquantiles = { p50 = '1s', p99 = '2s' }").is_ok());
    }
}
