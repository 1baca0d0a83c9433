//! `truncate`: datagrams arrive cut short.

use bytes::Bytes as Buffer;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::draw::fraction;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Packet, What};
use crate::unit::{Bytes, Percentage};

/// Cuts datagrams to a length, as a receiver with too small a buffer would see them. Shorter ones pass whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Truncate {
    to: usize,
    share: Curve<Percentage>,
}

/// The fields of a truncation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The length that is left of a datagram, without headers, below 64KiB. 0B leaves empty datagrams.
    to: Bytes,
    /// Share of datagrams that are cut, of those that are longer. May be a curve. Default 100 %.
    #[serde(default = "all")]
    share: Curve<Percentage>,
}

fn all() -> Curve<Percentage> {
    Curve::Constant(Percentage(100.0))
}

/// The longest payload that a UDP datagram can have over IPv4 (RFC 768, RFC 791).
const LONGEST: u64 = 65_507;

impl Kind for Truncate {
    const NAME: &'static str = "truncate";
    const ABOUT: &'static str = "Cuts datagrams to a length";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "truncate"
proxy = "redis"
to    = "512B"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    type Config = Config;
    type Makes = Truncate;

    fn build(config: Config) -> Result<Truncate, Misfit> {
        let Config { to, share } = config;
        if to.0 >= LONGEST {
            let message = format!("no datagram is longer than {LONGEST} bytes: this would never cut any");
            return Err(Misfit::new("to", message));
        }
        if share.values().iter().all(|share| share.0 <= 0.0) {
            return Err(Misfit::new("share", "0 % would never cut anything"));
        }
        let to = usize::try_from(to.0).unwrap_or(usize::MAX);
        Ok(Truncate { to, share })
    }

    fn summary(fault: &Truncate) -> String {
        format!("{} of those longer cut to {}", fault.share, Bytes(fault.to as u64))
    }
}

impl Fault for Truncate {
    const KIND: &'static str = "truncate";
    const HOOKS: Hooks = Hooks::PACKET;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = ();

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let Some((left, _)) = datagram.bytes.split_at_checked(self.to).filter(|(_, gone)| !gone.is_empty()) else {
            return Packet::Pass;
        };
        let draw = cx.draw.at(datagram.step);
        if fraction(draw) * 100.0 >= self.share.at(cx.elapsed).0 {
            return Packet::Pass;
        }
        let bytes = left.len() as u64;
        let (drawn, scheduled, achieved) = (bytes, bytes, bytes);
        let (what, step) = (What::Truncated, datagram.step);
        cx.inject(Injection { what, step, draw: Some(draw), drawn, scheduled, achieved });
        Packet::Replace(Buffer::copy_from_slice(left))
    }
}
