//! How something ends, or stalls.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::h2code::ErrorCode;
use crate::fault::{Asked, Cx, End, Fault, Injection, Phase, Ruling, Until, What};

/// `how`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The connection is closed with FIN on both sides; an HTTP/2 stream is reset.
    Fin,
    /// The connection is reset on both sides; of HTTP/2, the stream alone.
    #[default]
    Reset,
    /// Nothing more passes in this direction, and nobody is told.
    Stall,
    /// HTTP/2: RST_STREAM with `code`, INTERNAL_ERROR unless written; HTTP/1.1: as "reset".
    RstStream,
    /// HTTP/2: GOAWAY with `code`, NO_ERROR unless written, and the connection closes; HTTP/1.1: as "fin".
    Goaway,
    /// HTTP/1.1: a chunk is announced, part of it comes, then FIN; HTTP/2: as "fin".
    ShortChunk,
    /// The message ends here as if it were whole.
    Complete,
    /// All of the message comes, then FIN without its end (the last chunk, END_STREAM).
    NoTerminator,
}

impl How {
    /// Whether it is about the body of a message.
    pub(super) fn is_of_bodies(self) -> bool {
        matches!(self, How::ShortChunk | How::Complete | How::NoTerminator)
    }

    /// Whether it needs HTTP.
    pub(super) fn is_of_http(self) -> bool {
        self.is_of_bodies() || self.takes_code()
    }

    pub(crate) fn takes_code(self) -> bool {
        matches!(self, How::RstStream | How::Goaway)
    }

    /// The end; none: a stall.
    pub(crate) fn end(self, code: Option<ErrorCode>) -> Option<End> {
        Some(match self {
            How::Stall => return None,
            How::Fin | How::NoTerminator => End::Fin,
            How::Reset => End::Reset,
            How::RstStream => End::Code(code.unwrap_or(ErrorCode::INTERNAL_ERROR).0),
            How::Goaway => End::GoAway(code.unwrap_or(ErrorCode::NO_ERROR).0),
            How::ShortChunk => End::Short,
            How::Complete => End::Complete,
        })
    }

    pub(crate) fn what(self) -> What {
        match self {
            How::Stall => What::Stalled,
            How::Reset | How::RstStream => What::Reset,
            How::Complete => What::Truncated,
            How::Fin | How::Goaway | How::ShortChunk | How::NoTerminator => What::Closed,
        }
    }

    /// As it is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            How::Fin => "fin",
            How::Reset => "reset",
            How::Stall => "stall",
            How::RstStream => "rst_stream",
            How::Goaway => "goaway",
            How::ShortChunk => "short_chunk",
            How::Complete => "complete",
            How::NoTerminator => "no_terminator",
        }
    }

    /// Ends the exchange in this phase, or stalls it: `is_done`: it is on record.
    pub(crate) fn rule<F: Fault>(
        self,
        code: Option<ErrorCode>,
        cx: &mut Cx<'_, F>,
        asked: &Asked<'_>,
        is_done: bool,
    ) -> Ruling {
        let unheard = asked.phase == Phase::AfterUpstream && self != How::Stall;
        let status = asked.response.map_or(0, |response| u64::from(response.status.as_u16()));
        let (what, figure) = if unheard { (What::Unheard, status) } else { (self.what(), 0) };
        if !is_done {
            let step = asked.step();
            cx.inject(Injection { what, step, draw: None, drawn: figure, scheduled: figure, achieved: figure });
        }
        match self.end(code) {
            Some(how) => Ruling::End { how, upstream: asked.upstream() },
            None => Ruling::Hold(Until::Change),
        }
    }
}
