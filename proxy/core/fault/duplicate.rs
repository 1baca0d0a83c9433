//! `duplicate`: datagrams arrive more than once.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::draw::fraction;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Packet, What};
use crate::time::Time;
use crate::unit::{Duration, Percentage};

/// Sends copies of datagrams after them, each datagram drawn for itself. Copies wait by themselves: what comes meanwhile
/// may overtake them.
#[derive(Clone, Debug, PartialEq)]
pub struct Duplicate {
    share: Curve<Percentage>,
    copies: u8,
    gap: Time,
}

/// The fields of a duplication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Share of datagrams that are sent again. May be a curve.
    share: Curve<Percentage>,
    /// How many copies of each, 1 to 16. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    copies: u8,
    /// How long after the original the first copy goes, and each further one after the one before. Default 0: at once.
    #[serde(default)]
    gap: Duration,
}

fn one() -> u8 {
    1
}

impl Kind for Duplicate {
    const NAME: &'static str = "duplicate";
    const ABOUT: &'static str = "Sends datagrams more than once";
    const EXAMPLE: &'static str = r#"[[fault]]
kind   = "duplicate"
proxy  = "redis"
share  = "5%"
copies = 2
gap    = "3ms"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    type Config = Config;
    type Makes = Duplicate;

    fn build(config: Config) -> Result<Duplicate, Misfit> {
        let Config { share, copies, gap } = config;
        if share.values().iter().all(|share| share.0 <= 0.0) {
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
        format!("{} sent again {copies}{gap}", fault.share)
    }
}

impl Fault for Duplicate {
    const KIND: &'static str = "duplicate";
    const HOOKS: Hooks = Hooks::PACKET;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = ();

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let draw = cx.draw.at(datagram.step);
        if fraction(draw) * 100.0 >= self.share.at(cx.elapsed).0 {
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
