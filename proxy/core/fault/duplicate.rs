//! `duplicate`: datagrams and HTTP requests arrive more than once.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::draw::fraction;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Asked, Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Packet, Phase, Ruling, What};
use crate::time::Time;
use crate::unit::{Duration, Percentage};

/// Sends copies of datagrams after them, each datagram drawn for itself. Copies wait by themselves: what comes meanwhile
/// may overtake them.
///
/// An HTTP request reaches the upstream more than once, as from a client that has tried again; the client hears the first
/// answer. `percentage` and `match` say which.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicate {
    /// None: all.
    share: Option<Curve<Percentage>>,
    copies: u8,
    gap: Time,
}

/// The fields of a duplication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// UDP only: share of datagrams that are sent again. May be a curve. Default 100 %.
    share: Option<Curve<Percentage>>,
    /// How many copies of each, 1 to 16. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    copies: u8,
    /// UDP only: how long after the original the first copy goes, and each further one after the one before. Default 0: at once.
    #[serde(default)]
    gap: Duration,
}

fn one() -> u8 {
    1
}

impl Kind for Duplicate {
    const NAME: &'static str = "duplicate";
    const ABOUT: &'static str = "Sends datagrams, or HTTP requests, more than once";
    const EXAMPLE: &'static str = r#"[[fault]]
kind       = "duplicate"
proxy      = "redis"
percentage = 5
copies     = 2
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::BeforeUpstream];
    type Config = Config;
    type Makes = Duplicate;

    fn build(config: Config) -> Result<Duplicate, Misfit> {
        let Config { share, copies, gap } = config;
        if share.as_ref().is_some_and(|share| share.values().iter().all(|share| share.0 <= 0.0)) {
            return Err(Misfit::new("share", "0 % would never send anything twice"));
        }
        if !(1..=16).contains(&copies) {
            return Err(Misfit::new("copies", format!("{copies} is not a number of copies from 1 to 16")));
        }
        Ok(Duplicate { share, copies, gap: gap.0 })
    }

    fn summary(fault: &Duplicate) -> String {
        let copies = if fault.copies == 1 { "once".to_owned() } else { format!("{} times", fault.copies) };
        let gap = if fault.gap > 0 { format!(", {} apart", Duration(fault.gap)) } else { String::new() };
        let share = fault.share.as_ref().map_or_else(String::new, |share| format!("{share} "));
        format!("{share}sent again {copies}{gap}")
    }
}

impl Fault for Duplicate {
    const KIND: &'static str = "duplicate";
    const HOOKS: Hooks = Hooks { exchange: true, ..Hooks::PACKET };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let (what, step, copies) = (What::Redelivered, asked.step(), u64::from(self.copies));
        cx.inject(Injection { what, step, draw: None, drawn: copies, scheduled: copies, achieved: copies });
        Ruling::Deliver(self.copies)
    }

    fn misfit_in(&self, _: Phase) -> Option<(&'static str, &'static str)> {
        if self.share.is_some() {
            return Some(("share", "`share` is for UDP: `percentage` says which requests"));
        }
        (self.gap > 0).then_some(("gap", "`gap` is for UDP: a request is sent again at once"))
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let draw = cx.draw.at(datagram.step);
        if self.share.as_ref().is_some_and(|share| fraction(draw) * 100.0 >= share.at(cx.elapsed).0) {
            return Packet::Pass;
        }
        let bytes = (datagram.bytes.len() as u64).saturating_mul(self.copies.into());
        let (drawn, scheduled, achieved) = (bytes, bytes, bytes);
        let (what, step) = (What::Duplicated, datagram.step);
        cx.inject(Injection { what, step, draw: Some(draw), drawn, scheduled, achieved });
        // a copy goes at the next turn of the timer at the earliest
        Packet::Copy { times: self.copies, gap: self.gap.max(1) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::http::Request;

    #[test]
    fn a_request_is_delivered_so_many_times_more() {
        let build = |text: &str| Duplicate::build(toml::from_str(text).unwrap());
        let mut driver = Driver::new(build("copies = 3").unwrap(), Flow::Downstream).of(Request::default(), None);
        assert!(matches!(driver.rule(Phase::BeforeUpstream), (_, Some(Ruling::Deliver(3)))));
        let figures: Vec<_> = driver.injected.iter().map(|i| (i.what, i.achieved)).collect();
        assert_eq!(figures, [(What::Redelivered, 3)]);
        for (text, field) in [("share = 5", "share"), ("gap = '1ms'", "gap")] {
            let misfit = build(text).unwrap().misfit_in(Phase::BeforeUpstream);
            assert_eq!(misfit.map(|(field, _)| field), Some(field));
        }
        assert_eq!(build("copies = 17").unwrap_err().field, Some("copies"));
    }
}
