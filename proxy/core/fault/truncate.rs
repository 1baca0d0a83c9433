//! `truncate`: datagrams, or the bodies of HTTP messages, arrive cut short.

use bytes::Bytes as Buffer;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::draw::fraction;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Carrier, Cx, Datagram, Effect, End, Fault, Flow, Hooks, Injection, Offer, Packet, Phase, What,
};
use crate::unit::{Bytes, Percentage};

/// Cuts datagrams to a length, as a receiver with too small a buffer would see them. Shorter ones pass whole.
///
/// The body of an HTTP message ends after so many bytes as if that were all: a message in good order, with a part missing.
/// Its length is not announced.
#[derive(Clone, Debug, PartialEq)]
pub struct Truncate {
    to: usize,
    /// None: all.
    share: Option<Curve<Percentage>>,
}

/// The fields of a truncation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The length that is left of a datagram or body, without headers; of a datagram below 64KiB. 0B leaves nothing.
    to: Bytes,
    /// UDP only: share of datagrams that are cut, of those that are longer. May be a curve. Default 100 %.
    share: Option<Curve<Percentage>>,
}

/// The longest payload that a UDP datagram can have over IPv4 (RFC 768, RFC 791).
const LONGEST: u64 = 65_507;

impl Kind for Truncate {
    const NAME: &'static str = "truncate";
    const ABOUT: &'static str = "Cuts datagrams, or the bodies of HTTP messages, to a length";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "truncate"
proxy = "redis"
to    = "512B"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Truncate;

    fn build(config: Config) -> Result<Truncate, Misfit> {
        let Config { to, share } = config;
        if share.as_ref().is_some_and(|share| share.values().iter().all(|share| share.0 <= 0.0)) {
            return Err(Misfit::new("share", "0 % would never cut anything"));
        }
        let to = usize::try_from(to.0).unwrap_or(usize::MAX);
        Ok(Truncate { to, share })
    }

    fn summary(fault: &Truncate) -> String {
        let share = fault.share.as_ref().map_or_else(String::new, |share| format!("{share} of "));
        format!("{share}those longer cut to {}", Bytes(fault.to as u64))
    }
}

impl Fault for Truncate {
    const KIND: &'static str = "truncate";
    const HOOKS: Hooks = Hooks { body: true, ..Hooks::PACKET };
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = ();

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let left = (self.to as u64).saturating_sub(offer.offset);
        if offer.is_empty() {
            return Act::Pass(0);
        }
        if left > 0 {
            return Act::Pass(usize::try_from(left).unwrap_or(ALL));
        }
        let (what, left) = (What::Truncated, offer.offset);
        cx.inject(Injection { what, step: left, draw: None, drawn: left, scheduled: left, achieved: left });
        Act::End(End::Complete)
    }

    fn resizes(&self) -> bool {
        true
    }

    fn misfit_in(&self, _: Phase) -> Option<(&'static str, &'static str)> {
        self.share.as_ref().map(|_| ("share", "`share` is for UDP: `percentage` says which exchanges"))
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let never = carrier == Carrier::Datagrams && self.to as u64 >= LONGEST;
        never.then_some(("to", "no datagram is longer than 65507 bytes: this would never cut any"))
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let Some((left, _)) = datagram.bytes.split_at_checked(self.to).filter(|(_, gone)| !gone.is_empty()) else {
            return Packet::Pass;
        };
        let draw = cx.draw.at(datagram.step);
        if self.share.as_ref().is_some_and(|share| fraction(draw) * 100.0 >= share.at(cx.elapsed).0) {
            return Packet::Pass;
        }
        let bytes = left.len() as u64;
        let (drawn, scheduled, achieved) = (bytes, bytes, bytes);
        let (what, step) = (What::Truncated, datagram.step);
        cx.inject(Injection { what, step, draw: Some(draw), drawn, scheduled, achieved });
        Packet::Replace(Buffer::copy_from_slice(left))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::http::Request;
    use crate::time::SECOND;

    #[test]
    fn a_longer_body_ends_early_as_if_it_were_whole() {
        for (len, end) in [(100, Some(End::Complete)), (64, None), (3, None)] {
            let fault = Truncate::build(toml::from_str("to = '64B'").unwrap()).unwrap();
            let mut driver = Driver::new(fault, Flow::Downstream).of(Request::default(), None);
            driver.at(0).push(&vec![1; len]);
            driver.at(5).fin();
            driver.run_until(SECOND);
            assert_eq!((driver.out.len(), driver.ended.map(|(_, end)| end)), (len.min(64), end.clone()));
            let left: Vec<_> = driver.injected.iter().map(|i| (i.what, i.achieved)).collect();
            assert_eq!(left, if end.is_some() { vec![(What::Truncated, 64)] } else { vec![] });
        }
        let build = |text: &str| Truncate::build(toml::from_str(text).unwrap()).unwrap();
        assert_eq!(build("to = '1MB'").misfit(Carrier::Datagrams).map(|(field, _)| field), Some("to"));
        assert_eq!(build("to = '1B'\nshare = 5").misfit_in(Phase::MidBody).map(|(field, _)| field), Some("share"));
    }
}
