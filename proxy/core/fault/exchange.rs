//! What a fault is told about an HTTP exchange, and what it may decide about it.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{End, Flow, Until};
use crate::http::{Fields, Request, Response, StatusCode};
pub use crate::scenario::Phase;
use crate::time::Time;

/// An exchange that has come to the phase in which a fault acts.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The phase. A fault that acts in the middle of a body is asked once with [`Phase::MidBody`]: before the head of that
    /// message goes on.
    pub phase: Phase,
    /// The request's head.
    pub request: &'a Request,
    /// The answer's head, once there is one; never an interim one (1xx).
    pub response: Option<&'a Response>,
    /// Where the client came from; none: a unix socket.
    pub client: Option<IpAddr>,
    /// When the request's head had come.
    pub began: Time,
    /// When the exchange came to this phase.
    pub arrived: Time,
}

impl Asked<'_> {
    /// The step of the draws of this phase.
    pub fn step(&self) -> u64 {
        self.phase as u64
    }

    /// What becomes of the request if the exchange is decided here.
    pub fn upstream(&self) -> Upstream {
        match self.phase {
            Phase::BeforeConnect | Phase::BeforeUpstream => Upstream::Never,
            Phase::AfterUpstreamHead | Phase::MidBody => Upstream::Cancel,
            Phase::AfterUpstream => Upstream::Finish,
        }
    }
}

/// A decision about an exchange.
#[derive(Clone, Debug)]
pub enum Ruling {
    /// It goes on.
    Pass,
    /// It waits, then the fault is asked again.
    Hold(Until),
    /// It goes on with another head or body.
    Patch(Box<Patch>),
    /// The request reaches the upstream so many times besides; the client hears the first answer.
    Deliver(u8),
    /// The client hears this and not the upstream.
    Answer {
        /// What it hears.
        reply: Box<Reply>,
        /// What becomes of the request.
        upstream: Upstream,
    },
    /// It ends without an answer, or without the rest of one.
    End {
        /// How the client feels it.
        how: End,
        /// What becomes of the request.
        upstream: Upstream,
    },
}

/// What becomes of a request whose client will not hear the upstream's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// It never reaches the upstream. Once it has been sent, as [`Upstream::Cancel`].
    #[default]
    Never,
    /// It runs to its end before the client hears anything: the upstream has acted.
    Finish,
    /// It is cut off where it stands.
    Cancel,
}

/// An answer of the fault's own. Length, date and the header that names the fault are added where they are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its head.
    pub head: Response,
    /// Its body.
    pub body: Bytes,
    /// Fields after the body.
    pub trailers: Option<Fields>,
}

/// Changes to one message.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Which: upstream the request, downstream the answer.
    pub side: Flow,
    /// Another status; answers only.
    pub status: Option<StatusCode>,
    /// Fields that go, by name.
    pub remove: Vec<String>,
    /// Fields that take the place of all of their name.
    pub set: Vec<(String, String)>,
    /// Fields beside those there are.
    pub add: Vec<(String, String)>,
    /// Another body.
    pub body: Option<NewBody>,
    /// HTTP/1: announce so many bytes more or fewer than come, where the length is known.
    pub length_off_by: i64,
}

impl Patch {
    /// No change yet.
    pub fn of(side: Flow) -> Patch {
        Patch { side, status: None, remove: vec![], set: vec![], add: vec![], body: None, length_off_by: 0 }
    }
}

/// A body in the place of another.
#[derive(Clone, Debug)]
pub enum NewBody {
    /// This one.
    Put(Bytes),
    /// The old one changed as a whole, if it is no longer than `most` bytes; else it goes on untouched, and is counted.
    Rewrite {
        /// Bytes that may be kept for it.
        most: usize,
        /// How it is changed.
        by: Arc<dyn Rewrite>,
    },
}

/// Changes a whole body.
pub trait Rewrite: Debug + Send + Sync {
    /// The new body; none: the old one can't be read, and goes on as it is.
    fn rewrite(&self, body: &[u8]) -> Option<Vec<u8>>;

    /// The old one is too long to be kept, and goes on as it is.
    fn too_long(&self) {}
}
