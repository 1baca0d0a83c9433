//! The two ends of an exchange, whatever version they speak: where its request comes from and its answer goes to, and the
//! other way round.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use squall_core::fault::End;
use squall_core::http::{Fields, Request, Response};

use super::h1::Refusal;

/// What comes of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Some of it.
    Data(Bytes),
    /// Its end, with what stands behind it.
    End(Option<Fields>),
}

/// Why nothing more comes, or goes.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection has failed, or has ended too early. What the other side is to feel: a reset, else an end.
    Lost {
        /// It was reset.
        reset: bool,
    },
    /// HTTP/2: the other side has given this exchange up, with this error code.
    Code(u32),
    /// What came is no HTTP that could be passed on.
    Refused(Refusal),
    /// A fault has ended the connection beneath.
    Injected,
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::ConnectionAborted => Broken::Injected,
            kind => Broken::Lost { reset: kind != io::ErrorKind::UnexpectedEof },
        }
    }
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Broken {
        Broken::Refused(refusal)
    }
}

/// Where a body comes from.
pub(crate) trait Source {
    /// The next piece. Not to be asked again after the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>>;
}

/// Where a body goes to.
pub(crate) trait Sink {
    /// Ready once there is room for a piece. Writes what waits.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    /// The next piece.
    fn put(&mut self, bytes: Bytes);
    /// The end, with what stands behind it.
    fn finish(&mut self, trailers: Option<Fields>);
    /// Ready once everything is written.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
}

/// How long a body is, as its message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none.
    None,
    /// So many bytes.
    Known(u64),
    /// Its own end says.
    Open,
    /// HTTP/1: the end of the connection says.
    UntilClose,
    /// Whatever comes until the connection ends: it has left HTTP.
    Tunnel,
}

impl Length {
    /// Bytes, where they are known.
    pub(crate) fn known(self) -> Option<u64> {
        match self {
            Length::None => Some(0),
            Length::Known(n) => Some(n),
            Length::Open | Length::UntilClose | Length::Tunnel => None,
        }
    }
}

/// The client of one exchange.
pub(crate) trait Client: Source + Sink {
    /// Sends an interim answer (1xx but 101).
    fn interim(&mut self, response: &Response);
    /// Sends the head of the answer. `length` is that of the body that follows.
    fn answer(&mut self, response: &Response, length: Length);
    /// Ready once the client has left, told without taking its bytes from anybody.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Ends the exchange where it stands, so that the client does not take it for whole.
    fn end(&mut self, how: &End);
    /// The rest of the request will not be read: if there is any, the connection carries no other exchange. To be called
    /// before the answer, which says so.
    fn read_no_more(&mut self);
}

/// What comes of an answer besides its body.
pub(crate) struct Answered {
    /// The length of the body that follows.
    pub(crate) length: Length,
}

/// The upstream of one exchange.
pub(crate) trait Server: Source + Sink {
    /// Sends the request's head. `length` is that of the body that follows.
    fn request(&mut self, request: &Request, length: Length);
    /// The next head: an interim one (1xx), or the answer's.
    fn poll_head(&mut self, into: &mut Response, cx: &mut Context<'_>) -> Poll<Result<Answered, Broken>>;
    /// Gives the exchange up.
    fn cancel(&mut self);
}
