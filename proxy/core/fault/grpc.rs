//! `grpc`: a stream of gRPC messages ends, stalls or comes late, message by message.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::dist::{Distribution, DistributionConfig};
use crate::fault::error::grpc::{GrpcStatus, percent_encoded};
use crate::fault::framing::grpc::Messages;
use crate::fault::h2code::ErrorCode;
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Act, Cx, Effect, End, Fault, Flow, Hooks, Injection, Item, Needs, Offer, Phase, Until, What};
use crate::http::Fields;
use crate::time::Time;
use crate::unit::Duration;

/// Acts on the messages of gRPC answers, and lets all other answers by. `after` whole messages pass as they are.
///
/// A body of which it has not seen the beginning is let by, as nobody can tell where messages begin in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Grpc {
    how: How,
    /// None: at the end of the answer.
    after: Option<u64>,
    end: End,
    delay: Option<Distribution>,
    words: String,
}

/// The fields of a fault on gRPC messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens.
    how: How,
    /// How many whole messages pass before. Default: 0; with "status" and "no_trailers" all of them.
    after: Option<u64>,
    /// With "status": the status in the trailers, 0 to 16 or its name. Default "UNAVAILABLE".
    status: Option<GrpcStatus>,
    /// With "status": its message.
    message: Option<String>,
    /// With "reset": the error code of HTTP/2, by name or number. Default "INTERNAL_ERROR".
    code: Option<ErrorCode>,
    /// With "delay": how long each message is held. May be a curve.
    delay: Option<Curve<Duration>>,
    /// With "delay": how much more or less, evenly. May be a curve. Default 0.
    jitter: Option<Curve<Duration>>,
}

/// `how`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// The answer ends with this status in its trailers.
    Status,
    /// The answer ends, and there are no trailers.
    NoTrailers,
    /// Nothing more comes, and nobody is told.
    Stall,
    /// The stream is reset (RST_STREAM).
    Reset,
    /// Each message comes late.
    Delay,
}

/// What is remembered of one body.
#[derive(Debug, Default)]
pub struct Memory {
    messages: Messages,
    done: bool,
    /// The message that has waited.
    recorded: Option<u64>,
}

impl Kind for Grpc {
    const NAME: &'static str = "grpc";
    const ABOUT: &'static str = "Ends, stalls or delays streams of gRPC messages, with a status or without any";
    const EXAMPLE: &'static str = r#"[[fault]]
kind    = "grpc"
proxy   = "redis"
how     = "status"
after   = 3
status  = "UNAVAILABLE"
message = "the backend went away"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const ONE_WAY: Option<&'static str> = Some("a status travels to the client");
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Grpc;

    fn build(config: Config) -> Result<Grpc, Misfit> {
        let Config { how, after, status, message, code, delay, jitter } = config;
        let fits = [
            ("status", status.is_some(), how == How::Status),
            ("message", message.is_some(), how == How::Status),
            ("code", code.is_some(), how == How::Reset),
            ("delay", delay.is_some(), how == How::Delay),
            ("jitter", jitter.is_some(), how == How::Delay),
        ];
        if let Some((field, ..)) = fits.into_iter().find(|(_, written, fits)| *written && !fits) {
            return Err(Misfit::new(field, format!("`{field}` says nothing with this `how`")));
        }
        let status = status.unwrap_or(GrpcStatus::UNAVAILABLE);
        let end = match how {
            How::Status => {
                let mut trailers = Fields::default();
                trailers.push("grpc-status", status.code().to_string());
                if let Some(message) = message {
                    trailers.push("grpc-message", percent_encoded(&message));
                }
                End::Trailers(Arc::new(trailers))
            }
            How::Reset => End::Code(code.unwrap_or(ErrorCode::INTERNAL_ERROR).0),
            How::NoTrailers | How::Stall | How::Delay => End::Complete,
        };
        let ends = matches!(how, How::Status | How::NoTrailers);
        let delays = DistributionConfig { delay, jitter, ..DistributionConfig::default() };
        let delay = (how == How::Delay).then(|| delays.build()).transpose()?;
        let words = match (how, &delay) {
            (How::Status, _) => format!("status {status}"),
            (How::NoTrailers, _) => "no trailers".into(),
            (How::Stall, _) => "stalls".into(),
            (How::Reset, _) => "reset".into(),
            (How::Delay, Some(delay)) => format!("each message {delay}"),
            (How::Delay, None) => String::new(),
        };
        Ok(Grpc { how, after: after.or((!ends).then_some(0)), end, delay, words })
    }

    fn summary(fault: &Grpc) -> String {
        match fault.after {
            None => format!("{} after all messages", fault.words),
            Some(0) => fault.words.clone(),
            Some(n) => format!("{} after {n} messages", fault.words),
        }
    }
}

impl Fault for Grpc {
    const KIND: &'static str = "grpc";
    const HOOKS: Hooks = Hooks::BODY;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn resizes(&self) -> bool {
        matches!(self.how, How::Status | How::NoTrailers)
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if !acts_on(cx) {
            return Act::Pass(offer.len());
        }
        match offer.item {
            Item::Bytes(bytes) if !bytes.is_empty() => self.bytes(cx, offer, bytes),
            Item::Fin if is_in_step(cx) && (self.after.is_none() || self.is_reached(&cx.state.messages)) => {
                self.act(cx, offer.offset)
            }
            Item::Tick if self.is_reached(&cx.state.messages) && is_in_step(cx) => self.act(cx, offer.offset),
            _ => Act::Pass(0),
        }
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        // the nth message has gone, and nobody has to send more
        let is_there = acts_on(cx) && !cx.state.done && self.is_reached(&cx.state.messages) && is_in_step(cx);
        is_there.then(|| cx.span.passed.unwrap_or(cx.span.attached))
    }
}

/// Whether it has seen all that has come of the body.
fn is_in_step(cx: &Cx<'_, Grpc>) -> bool {
    cx.state.messages.at == cx.span.seen
}

fn acts_on(cx: &Cx<'_, Grpc>) -> bool {
    let response = cx.exchange.and_then(|exchange| exchange.response.as_ref());
    let kind = response.and_then(|response| response.fields.text("content-type")).unwrap_or_default();
    kind.get(..16).is_some_and(|kind| kind.eq_ignore_ascii_case("application/grpc"))
}

impl Grpc {
    fn bytes(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, bytes: &[u8]) -> Act {
        let state = &mut *cx.state;
        if state.messages.at != offer.offset {
            return Act::Pass(bytes.len()); // it came on in the middle of the body
        }
        if self.is_reached(&state.messages) {
            return self.act(cx, offer.offset);
        }
        if let Some(delay) = self.delay.as_ref().filter(|_| state.messages.is_between())
            && self.after.is_some_and(|after| state.messages.ended >= after)
        {
            let step = state.messages.ended;
            let draw = cx.draw.at(step);
            let drawn = delay.sample(draw, cx.span.elapsed_at(offer.arrived, cx.now, cx.elapsed));
            let due = offer.arrived.saturating_add(drawn);
            if due > cx.now {
                return Act::Hold(Until::At(due));
            }
            if drawn > 0 && state.recorded.replace(step) != Some(step) {
                let (what, draw, achieved) = (What::Delayed, Some(draw), cx.now.saturating_sub(offer.arrived));
                cx.inject(Injection { what, step, draw, drawn, scheduled: drawn, achieved });
            }
        }
        Act::Pass(cx.state.messages.take(bytes))
    }

    /// Whether the place has come at which it acts.
    fn is_reached(&self, messages: &Messages) -> bool {
        let is_there = self.after.is_some_and(|after| messages.ended >= after);
        self.how != How::Delay && messages.is_between() && is_there
    }

    fn act(&self, cx: &mut Cx<'_, Self>, at: u64) -> Act {
        if self.how == How::Delay {
            return Act::Pass(0);
        }
        let what = match self.how {
            How::Stall => What::Stalled,
            How::Reset => What::Reset,
            How::Status | How::NoTrailers | How::Delay => What::Truncated,
        };
        if !std::mem::replace(&mut cx.state.done, true) {
            cx.inject(Injection { what, step: at, draw: None, drawn: at, scheduled: at, achieved: at });
        }
        match self.how {
            How::Stall => Act::Hold(Until::Change),
            _ => Act::End(self.end.clone()),
        }
    }
}
