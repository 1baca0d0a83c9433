//! `cut` and its presets `reset` and `limit_data`: the connection ends, or stalls, at an exact byte or time.

mod after;

use schemars::JsonSchema;
use serde::Deserialize;

pub use after::After;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Cx, Effect, End, Fault, Flow, Gate, Hooks, Injection, Offer, Opening, Phase, Until, What,
};
use crate::time::Time;
use crate::unit::{Bytes, Duration};

/// Ends the connection, or stalls this direction, after an exact number of bytes or a time.
///
/// An amount counts each direction on its own, from the connection's first byte; a time counts from the connection's
/// beginning. If it has passed when the fault comes on, the fault acts at the next byte. Everything before it arrives. An
/// amount of 0 closes or resets new connections before the upstream is dialled (unless the fault acts downstream only:
/// then at the first byte of the answer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    after: After,
    delay: Option<Time>,
    how: How,
}

/// The fields of a cut.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// When: an amount ("1KiB") in either direction, or a time ("5s") since the connection began.
    after: After,
    /// How long the byte at that place waits until it happens. Written, even as 0, it lets connections open: an amount of
    /// 0 then stands for the first byte.
    delay: Option<Duration>,
    /// What happens then.
    #[serde(default)]
    how: How,
}

/// `how`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The connection is closed with FIN on both sides.
    Fin,
    /// The connection is reset on both sides.
    #[default]
    Reset,
    /// Nothing more passes in this direction, and nobody is told.
    Stall,
}

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// When the fault came on, if that was before the cut was due: then it acts on time, not only at the next byte.
    watching: Option<Time>,
    /// It has acted.
    done: bool,
}

impl Kind for Cut {
    const NAME: &'static str = "cut";
    const ABOUT: &'static str = "Ends or stalls the connection at an exact byte or time";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "cut"
proxy = "redis"
after = "1KiB"
how   = "fin"
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] =
        &[Phase::MidBody, Phase::BeforeConnect, Phase::BeforeUpstream, Phase::AfterUpstreamHead, Phase::AfterUpstream];
    type Config = Config;
    type Makes = Cut;

    fn build(config: Config) -> Result<Cut, Misfit> {
        Ok(Cut { after: config.after, delay: config.delay.map(|delay| delay.0), how: config.how })
    }

    fn summary(fault: &Cut) -> String {
        let how = match fault.how {
            How::Fin => "fin",
            How::Reset => "reset",
            How::Stall => "stall",
        };
        let delay = fault.delay.map_or_else(String::new, |delay| format!(", {} later", Duration(delay)));
        format!("{how} after {}{delay}", fault.after)
    }
}

/// `reset`: a cut with RST, by default before anything passes.
#[derive(Debug)]
pub struct Reset;

/// The fields of a reset.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetConfig {
    /// When: an amount ("512B") in either direction, or a time ("5s") since the connection began. Default 0B: new
    /// connections are reset as soon as they are accepted, the upstream never hears of them.
    #[serde(default)]
    after: After,
    /// How long the byte at that place waits until the reset. Written, even as 0, it lets connections open: 0B then stands
    /// for the first byte.
    delay: Option<Duration>,
}

impl Kind for Reset {
    const NAME: &'static str = "reset";
    const ABOUT: &'static str = "Resets the connection (RST), at once or after an amount or a time";
    const EXAMPLE: &'static str = r#"[[fault]]
kind       = "reset"
proxy      = "redis"
percentage = 10
after      = "512B"
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] =
        &[Phase::MidBody, Phase::BeforeConnect, Phase::BeforeUpstream, Phase::AfterUpstreamHead, Phase::AfterUpstream];
    type Config = ResetConfig;
    type Makes = Cut;

    fn build(config: ResetConfig) -> Result<Cut, Misfit> {
        Ok(Cut { after: config.after, delay: config.delay.map(|delay| delay.0), how: How::Reset })
    }

    fn summary(fault: &Cut) -> String {
        Cut::summary(fault)
    }
}

/// `limit_data`: a cut with FIN after an amount.
#[derive(Debug)]
pub struct LimitData;

/// The fields of a limit on data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitDataConfig {
    /// How many bytes pass in each direction before the connection is closed.
    bytes: Option<Bytes>,
    /// The same, in the word that cut and reset have for it.
    after: Option<Bytes>,
}

impl Kind for LimitData {
    const NAME: &'static str = "limit_data";
    const ABOUT: &'static str = "Closes the connection (FIN) after an amount of data";
    const EXAMPLE: &'static str = r#"[[fault]]
kind  = "limit_data"
proxy = "redis"
bytes = "64KiB"
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] =
        &[Phase::MidBody, Phase::BeforeConnect, Phase::BeforeUpstream, Phase::AfterUpstreamHead, Phase::AfterUpstream];
    type Config = LimitDataConfig;
    type Makes = Cut;

    fn build(config: LimitDataConfig) -> Result<Cut, Misfit> {
        let amount = match (config.bytes, config.after) {
            (Some(amount), None) | (None, Some(amount)) => amount,
            (Some(_), Some(_)) => {
                return Err(Misfit::new("after", "`after` and `bytes` mean the same: write one of them"));
            }
            (None, None) => {
                let message = "says no limit: give `bytes`".to_owned();
                return Err(Misfit { field: None, span: None, message });
            }
        };
        Ok(Cut { after: After::Amount(amount), delay: None, how: How::Fin })
    }

    fn summary(fault: &Cut) -> String {
        Cut::summary(fault)
    }
}

impl Fault for Cut {
    const KIND: &'static str = "cut";
    const HOOKS: Hooks = Hooks { open: true, ..Hooks::STREAM };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn open(&self, cx: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        if self.after != After::Amount(Bytes(0)) || self.delay.is_some() || cx.flow == Flow::Downstream {
            return Gate::Pass;
        }
        let end = match self.how {
            How::Stall => return Gate::Pass,
            How::Fin => End::Fin,
            How::Reset => End::Reset,
        };
        cx.inject(Injection { what: What::Refused, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        Gate::Refuse(end)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let left = self.left(cx, offer.offset);
        if left > 0 {
            *cx.state = Memory { watching: Some(cx.span.attached), done: false };
            return Act::Pass(if offer.is_empty() { 0 } else { left });
        }
        if offer.is_empty() && !is_watching(cx) {
            return Act::Pass(0);
        }
        self.act(cx, offer)
    }

    fn silences(&self, state: &Memory) -> bool {
        self.how == How::Stall && state.done
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        if cx.state.done || !is_watching(cx) {
            return None;
        }
        match self.after {
            After::Amount(amount) => {
                let reached = cx.span.last.unwrap_or(cx.now);
                (cx.span.seen >= amount.0).then(|| self.delay.map_or(cx.now, |delay| reached.saturating_add(delay)))
            }
            After::Time(time) => {
                let at = cx.span.opened.saturating_add(time.0);
                Some(at.saturating_add(self.delay.unwrap_or(0)))
            }
        }
    }
}

fn is_watching(cx: &Cx<'_, Cut>) -> bool {
    cx.state.watching == Some(cx.span.attached)
}

impl Cut {
    /// Bytes that may still pass; [`ALL`] before a time.
    fn left(&self, cx: &Cx<'_, Self>, offset: u64) -> usize {
        match self.after {
            After::Amount(amount) => usize::try_from(amount.0.saturating_sub(offset)).unwrap_or(ALL),
            After::Time(time) if cx.now < cx.span.opened.saturating_add(time.0) => ALL,
            After::Time(_) => 0,
        }
    }

    fn act(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if let Some(delay) = self.delay.filter(|_| !cx.state.done) {
            let reached = match (self.after, offer.is_empty()) {
                (After::Time(time), _) => cx.span.opened.saturating_add(time.0),
                (_, true) => cx.span.last.unwrap_or(offer.arrived),
                (_, false) => offer.arrived,
            };
            let due = reached.saturating_add(delay);
            if due > cx.now {
                return Act::Hold(Until::At(due));
            }
        }
        let (what, act) = match self.how {
            How::Fin => (What::Closed, Act::End(End::Fin)),
            How::Reset => (What::Reset, Act::End(End::Reset)),
            How::Stall => (What::Stalled, Act::Hold(Until::Change)),
        };
        if !std::mem::replace(&mut cx.state.done, true) {
            let scheduled = match self.after {
                After::Amount(amount) => amount.0,
                After::Time(_) => offer.offset,
            };
            let achieved = offer.offset;
            cx.inject(Injection { what, step: scheduled, draw: None, drawn: scheduled, scheduled, achieved });
        }
        act
    }
}

#[cfg(test)]
mod tests;
