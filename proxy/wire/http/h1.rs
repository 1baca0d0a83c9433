//! HTTP/1.0 and 1.1 (RFC 9112): heads and bodies, read and written, without I/O.
//!
//! What two readers could understand differently is refused, never repaired: a server behind squall must not find another
//! request in the bytes than squall did. What is passed on is written anew from what was understood, not copied.
//!
//! Own code and not `httparse`, `hyper`: the one takes bare LF, any number of empty lines and bytes beyond ASCII in a target,
//! and starts over with each piece of a head; the other can send no 103 and end no body inside the head of a chunk.
//! `cargo bench -p squall-wire --bench http1` says what it costs.

mod body;
mod head;
mod request;
mod response;
mod said;
mod scan;
mod write;

use squall_core::http::StatusCode;

pub(crate) use body::{Decoder, Piece};
pub(crate) use head::Scan;
pub(crate) use request::{is_authority, request};
pub(crate) use response::response;
pub(crate) use scan::is_target;
pub(crate) use write::{CHUNK_TAIL, Keep, Passing, chunk_head, last_chunk, write_request, write_response};

/// How much of a message's head is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a head, or of the trailers behind a body: at most 64 KiB.
    pub(crate) head: usize,
    /// Fields in either.
    pub(crate) fields: usize,
    /// Bytes of a request's target.
    pub(crate) target: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head: 64 << 10, fields: 200, target: 32 << 10 }
    }
}

/// How a body is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// By its length in bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection: responses only.
    UntilClose,
}

impl Framing {
    /// Bytes of the body that the head announces.
    pub(crate) fn announces(self) -> u64 {
        if let Framing::Length(n) = self { n } else { 0 }
    }
}

/// Why a message is refused. The connection ends after it: where its next message would begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the client is to be answered.
    pub(crate) status: StatusCode,
    /// The reason, in one line.
    pub(crate) why: &'static str,
}

/// A head that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its bytes.
    pub(crate) used: usize,
    /// The body that follows.
    pub(crate) framing: Framing,
    /// Whether its sender lets the connection go on after this message.
    pub(crate) persists: bool,
    /// Whether a client waits for 100 (Continue) before it sends its body.
    pub(crate) expects_continue: bool,
    /// Whether another protocol is asked for or, in a response, comes next (RFC 9110, 7.8). CONNECT is not meant.
    pub(crate) upgrade: bool,
}

/// Whose message it is, and so whose fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A client's: 4xx.
    Request,
    /// An upstream's: 502.
    Response,
}

impl Side {
    fn wrong(self, why: &'static str) -> Refusal {
        self.refusal(StatusCode::BAD_REQUEST, why)
    }

    fn too_large(self, why: &'static str) -> Refusal {
        self.refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why)
    }

    fn refusal(self, of_request: StatusCode, why: &'static str) -> Refusal {
        let status = if self == Side::Request { of_request } else { StatusCode::BAD_GATEWAY };
        Refusal { status, why }
    }
}

#[cfg(test)]
mod tests;
