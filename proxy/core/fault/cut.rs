//! `cut` and its presets `reset` and `limit_data`: the connection ends, or stalls, at an exact byte or time.

mod after;
mod how;

use schemars::JsonSchema;
use serde::Deserialize;

pub use after::After;
pub use how::How;

use crate::fault::h2code::ErrorCode;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{
    ALL, Act, Asked, Carrier, Cx, Effect, End, Fault, Flow, Gate, Hooks, Injection, Item, Offer, Opening, Patch, Phase,
    Ruling, Until, What,
};
use crate::time::Time;
use crate::unit::{Bytes, Duration};

/// Ends the connection, or stalls this direction, after an exact number of bytes or a time.
///
/// An amount counts each direction on its own, from the connection's first byte; a time counts from the connection's
/// beginning. If it has passed when the fault comes on, the fault acts at the next byte. Everything before it arrives. An
/// amount of 0 closes or resets new connections before the upstream is dialled (unless the fault acts downstream only:
/// then at the first byte of the answer).
///
/// On HTTP it acts on one exchange: in the middle of a body amounts count from the body's first byte and times from the
/// head's arrival, and a body that ends before is left alone. In the other phases the exchange ends before the upstream
/// hears of it, before the client hears of the answer, or once the upstream has acted and the client never hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    after: After,
    /// `after` is written.
    says_when: bool,
    delay: Option<Time>,
    how: How,
    code: Option<ErrorCode>,
    /// Instead of all that: the length that is announced is wrong by so much.
    length_off_by: i64,
    usual: Phase,
}

/// The fields of a cut.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// When: an amount ("1KiB") in either direction, or a time ("5s") since the connection, the request or the answer
    /// began. On HTTP only in the phase "mid_body", and 0B unless written.
    after: Option<After>,
    /// How long the byte at that place, or the exchange, waits until it happens. Written, even as 0, it lets connections
    /// open: an amount of 0 then stands for the first byte.
    delay: Option<Duration>,
    /// What happens then. Default "reset".
    how: Option<How>,
    /// With "rst_stream" and "goaway": the error code, by name or number.
    code: Option<ErrorCode>,
    /// HTTP/1, instead of the others: the length that the head announces is wrong by so many bytes. More than 0: fewer
    /// bytes come than announced.
    content_length_off_by: Option<i64>,
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
        let Config { after, delay, how, code, content_length_off_by } = config;
        if let Some(off_by) = content_length_off_by {
            let others = [("after", after.is_some()), ("delay", delay.is_some()), ("how", how.is_some())];
            if let Some((field, _)) = others.into_iter().find(|(_, written)| *written) {
                return Err(Misfit::new(field, "`content_length_off_by` stands alone: all of the body comes"));
            }
            if off_by == 0 {
                return Err(Misfit::new("content_length_off_by", "a length that is off by 0 is right"));
            }
        }
        let how = how.unwrap_or_default();
        if code.is_some() && !how.takes_code() {
            return Err(Misfit::new("code", "`code` belongs to how = \"rst_stream\" or \"goaway\""));
        }
        if how == How::NoTerminator && (after.is_some() || delay.is_some()) {
            let field = if after.is_some() { "after" } else { "delay" };
            return Err(Misfit::new(field, "how = \"no_terminator\" comes after all of the body"));
        }
        Ok(Cut {
            after: after.unwrap_or_default(),
            says_when: after.is_some(),
            delay: delay.map(|delay| delay.0),
            how,
            code,
            length_off_by: content_length_off_by.unwrap_or(0),
            usual: Phase::MidBody,
        })
    }

    fn summary(fault: &Cut) -> String {
        if fault.length_off_by != 0 {
            return format!("length announced off by {}", fault.length_off_by);
        }
        let how = fault.how.word();
        let code = fault.code.map_or_else(String::new, |code| format!(" {code}"));
        if !fault.says_when && fault.delay.is_none() {
            return format!("{how}{code}");
        }
        let delay = fault.delay.map_or_else(String::new, |delay| format!(", {} later", Duration(delay)));
        format!("{how}{code} after {}{delay}", fault.after)
    }
}

/// `reset`: a cut with RST, by default before anything passes.
#[derive(Debug)]
pub struct Reset;

/// The fields of a reset.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetConfig {
    /// When: an amount ("512B") in either direction, or a time ("5s") since the connection, the request or the answer
    /// began. Default 0B: new connections are reset as soon as they are accepted, exchanges in the phase
    /// "before_upstream"; the upstream never hears of them.
    after: Option<After>,
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
        let usual = if config.after.is_some() { Phase::MidBody } else { Phase::BeforeUpstream };
        let (after, says_when) = (config.after.unwrap_or_default(), config.after.is_some());
        Ok(Cut { usual, says_when, delay: config.delay.map(|delay| delay.0), ..cut(after, How::Reset) })
    }

    fn summary(fault: &Cut) -> String {
        Cut::summary(&Cut { says_when: true, ..fault.clone() })
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
    const PHASES: &'static [Phase] = &[Phase::MidBody];
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
        Ok(cut(After::Amount(amount), How::Fin))
    }

    fn summary(fault: &Cut) -> String {
        Cut::summary(fault)
    }
}

/// A cut at a place that is written.
fn cut(after: After, how: How) -> Cut {
    Cut { after, says_when: true, delay: None, how, code: None, length_off_by: 0, usual: Phase::MidBody }
}

impl Fault for Cut {
    const KIND: &'static str = "cut";
    const HOOKS: Hooks = Hooks { open: true, exchange: true, ..Hooks::STREAM };
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn open(&self, cx: &mut Cx<'_, Self>, _: &Opening) -> Gate {
        if self.after != After::Amount(Bytes(0)) || self.delay.is_some() || cx.flow == Flow::Downstream {
            return Gate::Pass;
        }
        let Some(end) = self.how.end(self.code) else { return Gate::Pass };
        cx.inject(Injection { what: What::Refused, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        Gate::Refuse(end)
    }

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        if asked.phase == Phase::MidBody {
            if self.length_off_by == 0 {
                return Ruling::Pass;
            }
            let (what, step) = (What::Patched, asked.step());
            cx.inject(Injection { what, step, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
            let patch = Patch { length_off_by: self.length_off_by, ..Patch::of(cx.flow) };
            return Ruling::Patch(Box::new(patch));
        }
        let due = asked.arrived.saturating_add(self.delay.unwrap_or(0));
        if due > cx.now {
            return Ruling::Hold(Until::At(due));
        }
        let is_done = std::mem::replace(&mut cx.state.done, true);
        self.how.rule(self.code, cx, asked, is_done)
    }

    fn resizes(&self) -> bool {
        self.how.is_of_bodies()
    }

    fn usual_phase(&self) -> Option<Phase> {
        Some(self.usual)
    }

    fn misfit_in(&self, phase: Phase) -> Option<(&'static str, &'static str)> {
        if phase == Phase::MidBody {
            return None;
        }
        if self.length_off_by != 0 {
            return Some(("content_length_off_by", "it is the body's length: `phase = \"mid_body\"`"));
        }
        if self.how.is_of_bodies() {
            return Some(("how", "it is about the body of a message: `phase = \"mid_body\"`"));
        }
        self.says_when
            .then_some(("after", "it counts what has come of a body: leave it out, or `phase = \"mid_body\"`"))
    }

    fn misfit(&self, carrier: Carrier) -> Option<(&'static str, &'static str)> {
        if carrier != Carrier::Stream {
            return None;
        }
        if self.length_off_by != 0 {
            return Some(("content_length_off_by", "a length is announced by HTTP alone"));
        }
        if self.how.is_of_http() {
            return Some(("how", "only HTTP can end this way: \"fin\", \"reset\" or \"stall\""));
        }
        let is_bare = !self.says_when && self.usual == Phase::MidBody;
        is_bare.then_some(("after", "it has to say when: give `after`"))
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if self.length_off_by != 0 {
            return Act::Pass(if offer.is_empty() { 0 } else { ALL });
        }
        if self.how == How::NoTerminator {
            return leave_open(cx, offer);
        }
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
                let at = began(cx)?.saturating_add(time.0);
                Some(at.saturating_add(self.delay.unwrap_or(0)))
            }
        }
    }
}

fn is_watching(cx: &Cx<'_, Cut>) -> bool {
    cx.state.watching == Some(cx.span.attached)
}

/// Since when times count; none: there is no answer yet.
fn began(cx: &Cx<'_, Cut>) -> Option<Time> {
    match cx.exchange {
        Some(exchange) if cx.flow == Flow::Downstream => exchange.answered.or(cx.span.first),
        _ => Some(cx.span.opened),
    }
}

/// All passes, and the end of the message does not.
fn leave_open(cx: &mut Cx<'_, Cut>, offer: &Offer<'_>) -> Act {
    if !matches!(offer.item, Item::Fin) {
        return Act::Pass(if offer.is_empty() { 0 } else { ALL });
    }
    let (what, at) = (What::Closed, cx.span.seen);
    cx.inject(Injection { what, step: at, draw: None, drawn: at, scheduled: at, achieved: at });
    Act::End(End::Fin)
}

impl Cut {
    /// Bytes that may still pass; [`ALL`] before a time.
    fn left(&self, cx: &Cx<'_, Self>, offset: u64) -> usize {
        match self.after {
            After::Amount(amount) => usize::try_from(amount.0.saturating_sub(offset)).unwrap_or(ALL),
            After::Time(time) if began(cx).is_none_or(|began| cx.now < began.saturating_add(time.0)) => ALL,
            After::Time(_) => 0,
        }
    }

    fn act(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if let Some(delay) = self.delay.filter(|_| !cx.state.done) {
            let reached = match (self.after, offer.is_empty()) {
                (After::Time(time), _) => began(cx).unwrap_or(cx.now).saturating_add(time.0),
                (_, true) => cx.span.last.unwrap_or(offer.arrived),
                (_, false) => offer.arrived,
            };
            let due = reached.saturating_add(delay);
            if due > cx.now {
                return Act::Hold(Until::At(due));
            }
        }
        let what = self.how.what();
        let act = self.how.end(self.code).map_or(Act::Hold(Until::Change), Act::End);
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
