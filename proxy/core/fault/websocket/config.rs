//! The words of `websocket`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::curve::Curve;
use crate::dist::{Distribution, DistributionConfig};
use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Flow, Phase};
use crate::unit::{Bytes, Duration, Percentage};

/// Acts on the frames of WebSocket connections, and lets all other exchanges by. `after` whole messages pass as they are.
///
/// Frames that are longer than 64 KiB, or only part of a message, are not dropped, doubled or cut short: they are let by and
/// counted as unread, as is a connection of which it has not seen the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocket {
    pub(super) how: How,
    pub(super) frames: Frames,
    pub(super) after: u64,
    pub(super) share: Curve<Percentage>,
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) delay: Option<Distribution>,
    pub(super) to: u64,
}

/// The fields of a fault on WebSocket frames.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens.
    how: How,
    /// Which frames: "ping" or "pong" with how = "drop" leave pings without an answer. Default "data".
    frames: Option<Frames>,
    /// How many whole messages pass before, in its direction. Default 0.
    #[serde(default)]
    after: u64,
    /// Share of these frames. May be a curve. Default 100 %.
    share: Option<Curve<Percentage>>,
    /// With "close": the code, 1000 to 4999. Default 1011.
    #[schemars(range(min = 1000, max = 4999))]
    code: Option<u16>,
    /// With "close": the reason, up to 123 bytes.
    reason: Option<String>,
    /// With "delay": how long each frame is held. May be a curve.
    delay: Option<Curve<Duration>>,
    /// With "delay": how much more or less, evenly. May be a curve. Default 0.
    jitter: Option<Curve<Duration>>,
    /// With "truncate": bytes that are left of a frame's payload. Default 0B.
    to: Option<Bytes>,
}

/// `how`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// A close frame is put in, and the connection is closed.
    Close,
    /// Frames vanish.
    Drop,
    /// Frames come late, in order.
    Delay,
    /// Frames come twice.
    Duplicate,
    /// Frames come with the beginning of their payload alone.
    Truncate,
}

/// `frames`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Frames {
    /// Those of messages.
    Data,
    /// Those that begin messages of text.
    Text,
    /// Those that begin messages of bytes.
    Binary,
    /// Pings.
    Ping,
    /// Their answers.
    Pong,
    /// All.
    All,
}

impl Kind for WebSocket {
    const NAME: &'static str = "websocket";
    const ABOUT: &'static str = "Drops, delays, doubles or shortens WebSocket frames, or closes with a code";
    const EXAMPLE: &'static str = r#"[[fault]]
kind      = "websocket"
proxy     = "redis"
direction = "upstream"
how       = "drop"
frames    = "pong"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = WebSocket;

    fn build(config: Config) -> Result<WebSocket, Misfit> {
        let Config { how, frames, after, share, code, reason, delay, jitter, to } = config;
        let fits = [
            ("frames", frames.is_some(), how != How::Close),
            ("share", share.is_some(), how != How::Close),
            ("code", code.is_some(), how == How::Close),
            ("reason", reason.is_some(), how == How::Close),
            ("delay", delay.is_some(), how == How::Delay),
            ("jitter", jitter.is_some(), how == How::Delay),
            ("to", to.is_some(), how == How::Truncate),
        ];
        if let Some((field, ..)) = fits.into_iter().find(|(_, written, fits)| *written && !fits) {
            return Err(Misfit::new(field, format!("`{field}` says nothing with how = \"{}\"", how.word())));
        }
        if code.is_some_and(|code| !(1000..=4999).contains(&code)) {
            return Err(Misfit::new("code", "`code` is from 1000 to 4999"));
        }
        let reason = reason.unwrap_or_default();
        if reason.len() > 123 {
            return Err(Misfit::new("reason", "`reason` has up to 123 bytes: a close frame carries 125"));
        }
        if share.as_ref().is_some_and(|share| share.values().iter().all(|share| share.0 <= 0.0)) {
            return Err(Misfit::new("share", "0 % would never do anything"));
        }
        let delays = DistributionConfig { delay, jitter, ..DistributionConfig::default() };
        Ok(WebSocket {
            how,
            frames: frames.unwrap_or(Frames::Data),
            after,
            share: share.unwrap_or(Curve::Constant(Percentage(100.0))),
            code: code.unwrap_or(1011),
            reason,
            delay: (how == How::Delay).then(|| delays.build()).transpose()?,
            to: to.map_or(0, |to| to.0),
        })
    }

    fn summary(fault: &WebSocket) -> String {
        let after = if fault.after > 0 { format!(" after {} messages", fault.after) } else { String::new() };
        let what = match fault.how {
            How::Close => return format!("closed with {}{after}", fault.code),
            How::Drop => "dropped".to_owned(),
            How::Duplicate => "doubled".to_owned(),
            How::Truncate => format!("cut to {}", Bytes(fault.to)),
            How::Delay => fault.delay.as_ref().map_or_else(String::new, |delay| format!("late by {delay}")),
        };
        format!("{} of {} frames {what}{after}", fault.share, fault.frames.word())
    }
}

impl How {
    fn word(self) -> &'static str {
        match self {
            How::Close => "close",
            How::Drop => "drop",
            How::Delay => "delay",
            How::Duplicate => "duplicate",
            How::Truncate => "truncate",
        }
    }
}

impl Frames {
    fn word(self) -> &'static str {
        match self {
            Frames::Data => "data",
            Frames::Text => "text",
            Frames::Binary => "binary",
            Frames::Ping => "ping",
            Frames::Pong => "pong",
            Frames::All => "all",
        }
    }
}
