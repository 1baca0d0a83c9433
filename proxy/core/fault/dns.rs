//! `dns`: what a DNS server answers comes false, late or not at all.

mod message;
mod words;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use self::message::{Response, Room, Short, Stale, Unread};
use self::words::{NamePattern, RecordType};
use crate::curve::Curve;
use crate::dist::{Distribution, DistributionConfig, Family, Quantiles};
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Carrier, Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Item, Needs, Offer, Packet, Until, What,
};
use crate::time::Time;
use crate::unit::Duration;

/// Acts on the responses of a DNS server, over UDP, where a datagram is a message, and over TCP, where two bytes of length
/// stand before each (RFC 1035, 4.2.2). The server is asked as ever: its answer is what is replaced, delayed or
/// withheld. Responses to other names or types, those with another number of questions than one, and what is no DNS
/// message pass untouched; a response that can't be read passes too, and is counted (`unread`).
///
/// Signed zones stay signed: a client that validates sees through a false answer.
#[derive(Debug)]
pub struct Dns {
    answer: Behaviour,
    names: Vec<NamePattern>,
    types: Vec<RecordType>,
}

/// What becomes of a response that the fault is for.
#[derive(Debug)]
enum Behaviour {
    Rcode(message::Rcode),
    Empty,
    Truncated,
    Timeout,
    Slow(Distribution),
    Address { addresses: Vec<IpAddr>, ttl: u32 },
    Stale,
}

/// The fields of a DNS fault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the client gets: `nxdomain` (there is no such name), `servfail`, `refused`; `empty` (the name, without a record
    /// of the type); `address` (those of `addresses`); `stale` (the first answer that was seen while the fault acted, again
    /// and again: up to 1000 are kept, 1 MiB in all, and questions beyond get the server's); `slow` (the server's answer,
    /// later: over TCP in order, over UDP each for itself); `truncated` (for UDP: cut short, so that the client asks again
    /// over TCP); `timeout` (none: over UDP it vanishes, over TCP it is held, with what follows, until the
    /// fault is lifted).
    answer: Answer,
    /// Questions about these names, globs allowed (`*` stands for anything, dots too), whatever the case. Default: all.
    #[serde(default)]
    names: Vec<NamePattern>,
    /// Questions for records of these types, as in `"A"`, `"AAAA"` or `"TYPE65"`. Default: all.
    #[serde(default)]
    types: Vec<RecordType>,
    /// For `address`: IPv4 addresses answer questions for A, IPv6 addresses those for AAAA; others pass. At most 8.
    #[serde(default)]
    addresses: Vec<IpAddr>,
    /// For `address`: how long clients may keep it, in whole seconds. Default 60s.
    ttl: Option<Duration>,
    /// For `slow`: how long; as for latency, with the fields below.
    delay: Option<Curve<Duration>>,
    /// For `slow`: how much more or less.
    jitter: Option<Curve<Duration>>,
    /// For `slow`: the shape.
    distribution: Option<Family>,
    /// For `slow`, lognormal only: 99 of 100 delays are below this.
    p99: Option<Duration>,
    /// For `slow`, pareto only.
    shape: Option<f64>,
    /// For `slow`: instead of `delay`, quantiles.
    quantiles: Option<Quantiles>,
    /// For `slow`: instead of `delay`, measured delays.
    histogram: Option<Vec<(Duration, u64)>>,
}

/// `answer`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Answer {
    Nxdomain,
    Servfail,
    Refused,
    Timeout,
    Slow,
    Truncated,
    Empty,
    Address,
    Stale,
}

/// What all connections of the proxy have in common.
#[derive(Debug, Default)]
pub struct Shared {
    stale: Stale,
    unread: AtomicU64,
}

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// The latest time that a response was due; nothing behind it goes earlier.
    due: Time,
    /// Offset of the response that is held for good, once that is on record.
    withheld: Option<u64>,
}

impl Kind for Dns {
    const NAME: &'static str = "dns";
    const ABOUT: &'static str = "Replaces, delays or withholds the answers of a DNS server, by name and type";
    const EXAMPLE: &'static str = r#"[[fault]]
kind   = "dns"
proxy  = "redis"
answer = "nxdomain"
names  = ["*.example.com"]
types  = ["A", "AAAA"]
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const ONE_WAY: Option<&'static str> = Some("answers come downstream");
    type Config = Config;
    type Makes = Dns;

    fn build(config: Config) -> Result<Dns, Misfit> {
        let slow = config.slow()?;
        let is_for =
            |answer: Answer, field: &'static str, given: bool, word: &str| match given && config.answer != answer {
                true => Err(Misfit::new(field, format!("`{field}` goes with answer = \"{word}\" only"))),
                false => Ok(()),
            };
        is_for(Answer::Address, "addresses", !config.addresses.is_empty(), "address")?;
        is_for(Answer::Address, "ttl", config.ttl.is_some(), "address")?;
        let answer = match config.answer {
            Answer::Nxdomain => Behaviour::Rcode(message::Rcode::NameError),
            Answer::Servfail => Behaviour::Rcode(message::Rcode::ServerFailure),
            Answer::Refused => Behaviour::Rcode(message::Rcode::Refused),
            Answer::Timeout => Behaviour::Timeout,
            Answer::Slow => Behaviour::Slow(slow.build()?),
            Answer::Truncated => Behaviour::Truncated,
            Answer::Empty => Behaviour::Empty,
            Answer::Stale => Behaviour::Stale,
            Answer::Address => {
                let ttl = seconds(config.ttl)?;
                if !(1..=8).contains(&config.addresses.len()) {
                    return Err(Misfit::new(
                        "addresses",
                        "answer = \"address\" needs `addresses`: one to eight of them",
                    ));
                }
                Behaviour::Address { addresses: config.addresses, ttl }
            }
        };
        Ok(Dns { answer, names: config.names, types: config.types })
    }

    fn summary(fault: &Dns) -> String {
        let mut words = match &fault.answer {
            Behaviour::Rcode(rcode) => message::word(*rcode).to_owned(),
            Behaviour::Empty => "empty".to_owned(),
            Behaviour::Truncated => "truncated".to_owned(),
            Behaviour::Timeout => "timeout".to_owned(),
            Behaviour::Stale => "stale".to_owned(),
            Behaviour::Slow(delay) => format!("slow, delay {delay}"),
            Behaviour::Address { addresses, .. } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("address {}", addresses.join(", "))
            }
        };
        let names: Vec<&str> = fault.names.iter().map(NamePattern::as_str).collect();
        if !names.is_empty() {
            words.push_str(&format!(" for {}", names.join(", ")));
        }
        let types: Vec<String> = fault.types.iter().map(ToString::to_string).collect();
        if !types.is_empty() {
            words.push_str(&format!(" ({})", types.join(", ")));
        }
        words
    }
}

impl Config {
    /// The distribution's fields, which only a slow answer has.
    fn slow(&self) -> Result<DistributionConfig, Misfit> {
        let given = [
            ("delay", self.delay.is_some()),
            ("jitter", self.jitter.is_some()),
            ("distribution", self.distribution.is_some()),
            ("p99", self.p99.is_some()),
            ("shape", self.shape.is_some()),
            ("quantiles", self.quantiles.is_some()),
            ("histogram", self.histogram.is_some()),
        ];
        if self.answer != Answer::Slow
            && let Some((field, _)) = given.into_iter().find(|(_, given)| *given)
        {
            return Err(Misfit::new(field, format!("`{field}` goes with answer = \"slow\" only")));
        }
        Ok(DistributionConfig {
            delay: self.delay.clone(),
            jitter: self.jitter.clone(),
            distribution: self.distribution,
            p99: self.p99,
            shape: self.shape,
            quantiles: self.quantiles.clone(),
            histogram: self.histogram.clone(),
        })
    }
}

fn seconds(ttl: Option<Duration>) -> Result<u32, Misfit> {
    const SECOND: u64 = crate::time::SECOND;
    let ttl = ttl.map_or(60 * SECOND, |ttl| ttl.0);
    match u32::try_from(ttl / SECOND) {
        // RFC 2181, 8: 31 bits
        Ok(whole) if ttl.is_multiple_of(SECOND) && whole < 1 << 31 => Ok(whole),
        _ => Err(Misfit::new("ttl", "`ttl` is a time in whole seconds")),
    }
}

/// What is to be done with a response.
enum Verdict {
    Pass,
    Replace(Bytes),
    Withhold,
    Delay(Time, u64),
}

impl Dns {
    fn is_for(&self, response: &Response<'_>) -> bool {
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted.is(response.question_type())))
            && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(response.name())))
    }

    /// Decides about one message, read whole. `waited`: how long it has been here.
    fn verdict(&self, cx: &mut Cx<'_, Self>, message: &[u8], room: Room, step: u64, waited: Time) -> Verdict {
        let response = match Response::read(message) {
            Ok(Some(response)) if self.is_for(&response) => response,
            Ok(_) => return Verdict::Pass,
            Err(Unread) => {
                cx.shared.unread.fetch_add(1, Ordering::Relaxed);
                return Verdict::Pass;
            }
        };
        let put = match &self.answer {
            Behaviour::Timeout => return Verdict::Withhold,
            Behaviour::Slow(delay) => {
                let draw = cx.draw.at(step);
                return Verdict::Delay(delay.sample(draw, cx.elapsed.saturating_sub(waited)), draw);
            }
            Behaviour::Rcode(rcode) => response.reply(*rcode),
            Behaviour::Empty => response.reply(message::Rcode::NoError),
            Behaviour::Truncated if room == Room::Datagram => response.truncated(),
            Behaviour::Truncated => None,
            Behaviour::Address { addresses, ttl } => response.addressed(addresses, *ttl),
            Behaviour::Stale => cx.shared.stale.answer(&response, message),
        };
        put.map_or(Verdict::Pass, Verdict::Replace)
    }
}

impl Fault for Dns {
    const KIND: &'static str = "dns";
    const HOOKS: Hooks = Hooks::BOTH;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = Shared;
    type State = Memory;

    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn unread(shared: &Shared) -> u64 {
        shared.unread.load(Ordering::Relaxed)
    }

    /// The longest message twice: one that is read, behind one that waits.
    fn depth(&self) -> usize {
        2 * (2 + 0xffff)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let Item::Bytes(bytes) = offer.item else { return Act::Pass(0) };
        if cx.flow == Flow::Upstream {
            return Act::Pass(ALL);
        }
        let message = match message::framed(bytes) {
            Ok(Ok(message)) => message,
            Ok(Err(other)) => return Act::Pass(other),
            Err(Short(n)) => return Act::More(n),
        };
        let frame = 2 + message.len();
        let waited = cx.now.saturating_sub(offer.arrived);
        let whole = |what, figure| Injection {
            what,
            step: offer.offset,
            draw: None,
            drawn: figure,
            scheduled: figure,
            achieved: figure,
        };
        match self.verdict(cx, message, Room::Stream, offer.offset, waited) {
            Verdict::Pass => Act::Pass(frame),
            Verdict::Replace(put) => match message::frame(&put) {
                Some(put) => {
                    cx.inject(whole(What::Answered, put.len() as u64 - 2));
                    Act::Take { n: frame, put }
                }
                None => Act::Pass(frame),
            },
            Verdict::Withhold => {
                if cx.state.withheld.replace(offer.offset) != Some(offer.offset) {
                    cx.inject(whole(What::Held, frame as u64));
                }
                Act::Hold(Until::Change)
            }
            Verdict::Delay(delay, draw) => {
                let due = offer.arrived.saturating_add(delay);
                if due > cx.now {
                    cx.state.due = cx.state.due.max(due);
                    return Act::Hold(Until::At(due));
                }
                let scheduled = cx.state.due.min(cx.now).max(due).saturating_sub(offer.arrived);
                let step = offer.offset;
                let draw = Some(draw);
                cx.inject(Injection { what: What::Delayed, step, draw, drawn: delay, scheduled, achieved: waited });
                Act::Pass(frame)
            }
        }
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        if cx.flow == Flow::Upstream {
            return Packet::Pass;
        }
        let step = datagram.step;
        let figures = |what, n: u64| Injection { what, step, draw: None, drawn: n, scheduled: n, achieved: n };
        let waited = cx.now.saturating_sub(datagram.arrived);
        match self.verdict(cx, datagram.bytes, Room::Datagram, step, waited) {
            Verdict::Pass => Packet::Pass,
            Verdict::Replace(put) => {
                cx.inject(figures(What::Answered, put.len() as u64));
                Packet::Replace(put)
            }
            Verdict::Withhold => {
                cx.inject(figures(What::Dropped, datagram.bytes.len() as u64));
                Packet::Drop
            }
            Verdict::Delay(delay, draw) => {
                let due = datagram.arrived.saturating_add(delay);
                if due > cx.now {
                    return Packet::Hold(due);
                }
                let (draw, scheduled) = (Some(draw), due - datagram.arrived);
                cx.inject(Injection { what: What::Delayed, step, draw, drawn: delay, scheduled, achieved: waited });
                Packet::Pass
            }
        }
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let cut_short = carrier == Carrier::Stream && matches!(self.answer, Behaviour::Truncated);
        cut_short
            .then_some(("answer", "over TCP no answer is too long: `truncated` is for UDP, and sends clients to TCP"))
    }
}

#[cfg(test)]
mod tests;
