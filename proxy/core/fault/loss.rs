//! `loss`: some of it never arrives.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::draw::Draw;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Carrier, Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Item, Offer, Packet, Place, Until, What,
};
use crate::time::{MILLI, Time};
use crate::unit::Percentage;

/// Loses datagrams: each for itself, or in bursts after Gilbert and Elliott (two states, good and bad, each with its share
/// of losses; a datagram is judged by the state that it finds, then the state may change). The chain moves by one step per
/// datagram and has a memory of its own in each direction of each association.
///
/// On TCP squall can't lose bytes that the kernel has acknowledged. There a lost segment (1448 bytes of the stream) is what
/// its receiver would notice: a stall until it is sent again, 200 ms after it was, and double that for every further loss of
/// the same segment. A sender that retransmits fast would lose less time.
///
/// The model: E. N. Gilbert, "Capacity of a burst-noise channel" (1960) and E. O. Elliott (1963), with the parameters of
/// netem's `gemodel` (S. Salsano et al., "Definition of a general and intuitive loss model", 2012).
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    model: Model,
    how: How,
    /// The share of packets that the kernel drops instead, 0 to 1.
    vanishes: f64,
    /// It is known to lose datagrams.
    datagrams: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Model {
    /// A share of losses, and their mean burst; none: each for itself.
    Share(Curve<Percentage>, Option<f64>),
    Chain(Chain),
}

/// Probabilities of the two states.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Chain {
    /// From good to bad, per datagram.
    p: f64,
    /// From bad to good.
    r: f64,
    /// Of a loss in each state.
    good: f64,
    bad: f64,
}

/// The fields of a loss.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Share of datagrams lost, over time. May be a curve.
    share: Option<Curve<Percentage>>,
    /// With `share`: how many are lost in a row on average, at least 1; then `r` is 1 / burst and `p` is
    /// share · r / (1 − share). Left out, each is lost or not for itself.
    #[schemars(range(min = 1.0))]
    burst: Option<f64>,
    /// Instead of `share`: probability that the good state turns bad, per datagram.
    p: Option<Percentage>,
    /// Probability that the bad state turns good, per datagram: 1 / mean burst.
    r: Option<Percentage>,
    /// With `p` and `r`: share lost in the good state. Default 0.
    good: Option<Percentage>,
    /// Share lost in the bad state. Default 100 %.
    bad: Option<Percentage>,
    /// On TCP: what a loss is.
    #[serde(default)]
    how: How,
}

/// `how`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// In the kernel where it may drop packets (CAP_NET_ADMIN) and each is lost for itself, at one share; else a stall.
    #[default]
    Auto,
    /// The kernel drops packets that come in at squall's socket, and TCP sends them again. Which ones is not drawn from
    /// the seed. Refused at the start where it can't be had.
    Kernel,
    /// Bytes wait as long as it would take to send them again.
    Stall,
}

/// What one direction remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// The state; none: nothing has been judged yet.
    bad: Option<bool>,
    /// Segments of the stream that are judged: those below.
    judged: u64,
    /// The lost one among them that has not arrived yet.
    lost: Option<Lost>,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    segment: u64,
    draw: u64,
    stall: Time,
}

/// The payload of a full TCP segment on Ethernet, with time stamps.
const SEGMENT: u64 = 1448;
/// Linux's shortest retransmission time-out.
const RETRANSMISSION: Time = 200 * MILLI;
/// How often the same segment is lost at most: 12.6 s of stalls.
const ATTEMPTS: u32 = 6;
/// Segments judged in advance, so that a fast stream can be spliced.
const AHEAD: u64 = 64;

impl Kind for Loss {
    const NAME: &'static str = "loss";
    const ABOUT: &'static str = "Loses datagrams, one by one or in bursts; on TCP, stalls as retransmissions would";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "loss"
proxy = "redis"
share = "5%"
burst = 3
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    type Config = Config;
    type Makes = Loss;

    fn build(config: Config) -> Result<Loss, Misfit> {
        let share = |value: Option<Percentage>, default: f64| value.map_or(default, |value| value.0 / 100.0);
        let chain = [("p", config.p), ("r", config.r), ("good", config.good), ("bad", config.bad)];
        let written = chain.iter().find(|(_, value)| value.is_some()).map(|(field, _)| *field);
        match (config.share, written) {
            (Some(_), Some(field)) => {
                Err(Misfit::new(field, format!("`{field}` does not go with `share`: give `p` and `r` instead of it")))
            }
            (Some(losses), None) => with_share(losses, config.burst, config.how),
            (None, _) if config.burst.is_some() => Err(Misfit::new("burst", "`burst` goes with `share`")),
            (None, None) => {
                Err(Misfit { field: None, span: None, message: "says no loss: give `share`, or `p` and `r`".into() })
            }
            (None, Some(field)) => {
                let (Some(p), Some(r)) = (config.p, config.r) else {
                    return Err(Misfit::new(field, "`p` and `r` go together: how the states change"));
                };
                let chain = Chain {
                    p: p.0 / 100.0,
                    r: r.0 / 100.0,
                    good: share(config.good, 0.0),
                    bad: share(config.bad, 1.0),
                };
                if chain.share() <= 0.0 {
                    return Err(Misfit::new(field, "this would never lose anything"));
                }
                Loss::new(Model::Chain(chain), config.how)
            }
        }
    }

    fn summary(fault: &Loss) -> String {
        match &fault.model {
            Model::Share(share, None) => format!("{share} lost"),
            Model::Share(share, Some(burst)) => format!("{share} lost, {burst} in a row on average"),
            Model::Chain(Chain { p, r, good, bad }) => {
                let percent = |share: f64| Percentage(share * 100.0);
                let states = format!("lost: {} in the good state, {} in the bad", percent(*good), percent(*bad));
                format!("p {} r {}; {states}", percent(*p), percent(*r))
            }
        }
    }
}

fn with_share(share: Curve<Percentage>, burst: Option<f64>, how: How) -> Result<Loss, Misfit> {
    let most = share.values().into_iter().fold(0.0, |most: f64, share| most.max(share.0));
    if most <= 0.0 {
        return Err(Misfit::new("share", "0 % would never lose anything"));
    }
    if let Some(burst) = burst {
        if !burst.is_finite() || burst < 1.0 {
            return Err(Misfit::new("burst", "a burst is 1 loss or more"));
        }
        let limit = burst / (burst + 1.0) * 100.0;
        if most > limit {
            let limit = Percentage((limit * 100.0).floor() / 100.0);
            let message = format!("bursts of {burst} on average allow a share of {limit} at most");
            return Err(Misfit::new("share", message));
        }
    }
    Loss::new(Model::Share(share, burst), how)
}

impl Chain {
    /// Losses in bursts of this mean length that make up this share (0 to 1, below 1).
    fn of(share: f64, burst: f64) -> Chain {
        let r = 1.0 / burst;
        Chain { p: (share * r / (1.0 - share)).min(1.0), r, good: 0.0, bad: 1.0 }
    }

    /// Each for itself.
    fn independent(share: f64) -> Chain {
        Chain { p: 0.0, r: 1.0, good: share, bad: share }
    }

    /// How much of the time it is bad.
    fn share_of_bad(&self) -> f64 {
        if self.p + self.r > 0.0 { self.p / (self.p + self.r) } else { 0.0 }
    }

    /// Share of losses over time.
    fn share(&self) -> f64 {
        let bad = self.share_of_bad();
        bad * self.bad + (1.0 - bad) * self.good
    }

    /// Judges one by the state and moves on. Both from one draw: 32 bits each.
    fn judge(&self, state: &mut Option<bool>, draw: &Draw, step: u64) -> Option<u64> {
        let bits = draw.at(step);
        let bad = state.get_or_insert_with(|| low(draw.at(step | FIRST)) < self.share_of_bad());
        let lost = low(bits) < if *bad { self.bad } else { self.good };
        let turns = low(bits >> 32) < if *bad { self.r } else { self.p };
        *bad ^= turns;
        lost.then_some(bits)
    }
}

/// Set in the step that draws the first state.
const FIRST: u64 = 1 << 62;
/// Where a step holds the number of the attempt.
const ATTEMPT: u32 = 48;

/// The low 32 bits as a number from 0 up to but not including 1.
fn low(bits: u64) -> f64 {
    f64::from(u32::try_from(bits & 0xffff_ffff).unwrap_or(0)) / 4_294_967_296.0
}

impl Fault for Loss {
    const KIND: &'static str = "loss";
    const HOOKS: Hooks = Hooks::BOTH;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if matches!(offer.item, Item::Tick | Item::Fin) {
            return Act::Pass(0);
        }
        if self.vanishes > 0.0 {
            return Act::Pass(ALL);
        }
        let segment = offer.offset / SEGMENT;
        if segment >= cx.state.judged {
            self.look_ahead(cx, segment);
        }
        if let Some(lost) = cx.state.lost.filter(|lost| lost.segment == segment) {
            let due = offer.arrived.saturating_add(lost.stall);
            if due > cx.now {
                return Act::Hold(Until::At(due));
            }
            cx.state.lost = None;
            let achieved = cx.now.saturating_sub(offer.arrived);
            let (draw, drawn) = (Some(lost.draw), lost.stall);
            cx.inject(Injection { what: What::Delayed, step: segment, draw, drawn, scheduled: drawn, achieved });
        }
        let end = match cx.state.lost {
            Some(lost) if lost.segment > segment => lost.segment,
            _ => cx.state.judged,
        };
        Act::Pass(usize::try_from((end * SEGMENT).saturating_sub(offer.offset)).unwrap_or(usize::MAX))
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let chain = self.chain(cx.elapsed);
        let Some(draw) = chain.judge(&mut cx.state.bad, &cx.draw, datagram.step) else { return Packet::Pass };
        let bytes = datagram.bytes.len() as u64;
        let (drawn, scheduled, achieved) = (bytes, bytes, bytes);
        cx.inject(Injection { what: What::Dropped, step: datagram.step, draw: Some(draw), drawn, scheduled, achieved });
        Packet::Drop
    }

    fn settle(&self, place: &Place) -> Result<Option<Loss>, String> {
        if place.carrier == Carrier::Datagrams {
            return Ok(Some(Loss { datagrams: true, ..self.clone() }));
        }
        let vanishes = match (self.how, self.share_of_each()) {
            (How::Stall, _) | (_, None) => 0.0,
            (How::Kernel, Some(share)) => {
                place.can_drop().map_err(|why| format!("`how = \"kernel\"` can't be had: {why}"))?;
                share
            }
            (How::Auto, Some(share)) if place.can_drop().is_ok() => share,
            (How::Auto, Some(_)) => 0.0,
        };
        Ok(Some(Loss { vanishes, ..self.clone() }))
    }

    fn vanishes(&self) -> f64 {
        self.vanishes
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        let written = carrier == Carrier::Datagrams && self.how != How::Auto;
        written.then_some(("how", "`how` is for TCP: a datagram that is lost is not sent again"))
    }

    fn approximated(&self) -> Option<&'static str> {
        if self.vanishes > 0.0 || self.datagrams {
            return None;
        }
        Some("on TCP, a lost segment is a stall until it would have been sent again; on UDP, datagrams are lost")
    }
}

impl Loss {
    fn new(model: Model, how: How) -> Result<Loss, Misfit> {
        let loss = Loss { model, how, vanishes: 0.0, datagrams: false };
        if how == How::Kernel && loss.share_of_each().is_none() {
            let message = "the kernel loses each packet for itself, at one share: no curve, `burst`, `p` or `r`";
            return Err(Misfit::new("how", message));
        }
        Ok(loss)
    }

    /// The share of packets lost, 0 to 1, where each is lost for itself and the share stays the same.
    fn share_of_each(&self) -> Option<f64> {
        match &self.model {
            Model::Share(Curve::Constant(share), None) => Some(share.0 / 100.0),
            Model::Share(..) | Model::Chain(_) => None,
        }
    }

    fn chain(&self, elapsed: Time) -> Chain {
        match &self.model {
            Model::Share(share, None) => Chain::independent(share.at(elapsed).0 / 100.0),
            Model::Share(share, Some(burst)) => Chain::of(share.at(elapsed).0 / 100.0, *burst),
            Model::Chain(chain) => *chain,
        }
    }

    /// Judges segments from this one on, up to one that is lost.
    fn look_ahead(&self, cx: &mut Cx<'_, Self>, from: u64) {
        let chain = self.chain(cx.elapsed);
        cx.state.lost = None;
        for segment in from..from + AHEAD {
            cx.state.judged = segment + 1;
            let Some(draw) = chain.judge(&mut cx.state.bad, &cx.draw, segment) else { continue };
            let mut stall = RETRANSMISSION;
            for attempt in 1..ATTEMPTS {
                let step = segment | u64::from(attempt) << ATTEMPT;
                if chain.judge(&mut cx.state.bad, &cx.draw, step).is_none() {
                    break;
                }
                stall += RETRANSMISSION << attempt;
            }
            cx.state.lost = Some(Lost { segment, draw, stall });
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::registry::kind;
    use toml::de::DeTable;

    fn settle(fields: &str, place: &Place) -> Result<(f64, bool), String> {
        let made = (kind("loss").unwrap().make)(DeTable::parse(fields).unwrap()).unwrap();
        let settled = made.fault.settle(place)?.unwrap();
        Ok((settled.vanishes(), settled.approximated().is_some()))
    }

    #[test]
    fn the_kernel_loses_packets_where_it_may_and_can_and_nothing_is_replaced_in_silence() {
        let drops = [Err("no".into()), Ok(())];
        let place = |flow| Place { flow, carrier: Carrier::Stream, everybody: false, drops: drops.clone() };
        let (barred, free) = (place(Some(Flow::Upstream)), place(Some(Flow::Downstream)));
        let datagrams = Place { carrier: Carrier::Datagrams, ..barred.clone() };
        for (fields, place, expected) in [
            ("share = '5%'", &free, (0.05, false)),
            ("share = '5%'", &barred, (0.0, true)),
            ("share = '5%'", &datagrams, (0.0, false)),
            ("share = '5%'\nhow = 'stall'", &free, (0.0, true)),
            ("share = '5%'\nhow = 'kernel'", &free, (0.05, false)),
            ("share = '5%'\nburst = 3", &free, (0.0, true)),
            ("share = { from = '1%', to = '5%', over = '1s' }", &free, (0.0, true)),
        ] {
            assert_eq!(settle(fields, place), Ok(expected), "{fields} {place:?}");
        }
        let refused = settle("share = '5%'\nhow = 'kernel'", &barred).unwrap_err();
        assert_eq!(refused, "`how = \"kernel\"` can't be had: no");
        let both = settle("share = '5%'\nhow = 'kernel'", &place(None));
        assert!(both.is_err(), "one direction is barred");
        let bursts = (kind("loss").unwrap().make)(DeTable::parse("share = '5%'\nburst = 3\nhow = 'kernel'").unwrap());
        assert_eq!(bursts.unwrap_err().field, Some("how"));
    }
}
