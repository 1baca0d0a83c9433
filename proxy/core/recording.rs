//! Recordings: exchanges that were observed, as a text file that a test double plays.
//!
//! The file is TOML: what it is, then what each route took, then the exchanges in the order in which they began.
//!
//! ```toml
//! recording = 1
//! upstream  = "https://api.example.com"
//!
//! [[route]]
//! method  = "GET"
//! path    = "/v1/orders/*"
//! samples = 2
//! latency = { quantiles = { p0 = "11ms", p50 = "11ms", p100 = "19ms" } }
//!
//! [[exchange]]
//! method = "GET"
//! path   = "/v1/orders/7"
//! status = 200
//! fields = [
//!   ["content-type", "text/event-stream"],
//! ]
//! first  = "11ms"                     # from the request's end to the answer's head
//! chunks = [
//!   ["0ns", "data: 1\n\n"],           # since the head, then since the chunk before
//!   ["40ms", "data: 2\n\n"],
//! ]
//! ```

mod fit;
mod play;
mod render;
mod route;

use bytes::Bytes;

use crate::dist::Distribution;
use crate::time::Time;

pub use fit::{Fit, fit};
pub use play::{Asked, Playing, Timing};
pub use render::{VERSION, exchange as render_exchange, render};
pub use route::template;

/// The longest recording that is taken, bytes: that of any file of the language.
pub const MAX_BYTES: u64 = crate::read::MAX_BYTES;

/// A recording, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// What it is.
    pub head: Head,
    /// What each route took.
    pub routes: Vec<Route>,
    /// In the order in which they began.
    pub exchanges: Vec<Exchange>,
}

/// What stands at the head of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Who was asked, `http://host:port` or `https://host`; none: several, or nobody knows.
    pub upstream: Option<String>,
    /// When it was begun, RFC 3339.
    pub recorded: Option<String>,
    /// What was left out, in words.
    pub left_out: Vec<String>,
}

/// The latency of one route: requests of one method whose paths differ in nothing but what looks like identifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The method.
    pub method: String,
    /// As [`template`] says.
    pub path: String,
    /// How many answers the distribution was fitted to.
    pub samples: u64,
    /// From the request's end to the answer's head.
    pub latency: Distribution,
}

/// One request and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// When it began, ns since the recording did.
    pub at: Time,
    /// Whom it asked for; empty: not known.
    pub host: String,
    /// The method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: Option<String>,
    /// Fields of the request, for those who read it: they decide nothing.
    pub request_fields: Vec<(String, String)>,
    /// The request's body.
    pub body: Body,
    /// The status.
    pub status: u16,
    /// Fields of the answer, in order.
    pub fields: Vec<(String, String)>,
    /// From the request's end to the answer's head, ns.
    pub first: Time,
    /// The answer's body as it came.
    pub chunks: Vec<Chunk>,
    /// What stood behind it.
    pub trailers: Vec<(String, String)>,
    /// How it ended.
    pub ended: Ended,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// There was none.
    #[default]
    None,
    /// All of it.
    Kept(Bytes),
    /// Its length in bytes, and the SHA-256 of it in hex.
    Digest(u64, String),
    /// Its length in bytes.
    Size(u64),
}

impl Body {
    /// What tells a body from others.
    pub fn digest(bytes: &[u8]) -> Body {
        Body::Digest(bytes.len() as u64, play::sha256(bytes))
    }
}

/// A piece of an answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Since the piece before, or the head; ns.
    pub after: Time,
    /// What it was.
    pub content: Content,
}

/// What a piece was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// So many bytes, which were not kept.
    Size(u64),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It was whole.
    #[default]
    Whole,
    /// The upstream ended it too early.
    Cut,
    /// The client left before its end: nobody knows what would have come.
    Left,
}

impl Ended {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Ended::Whole => "whole",
            Ended::Cut => "cut",
            Ended::Left => "left",
        }
    }
}

#[cfg(test)]
mod tests;
