//! Why an attempt failed, in a few fixed words, so that reasons can be counted.

use std::error::Error;
use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens there.
    Refused,
    /// No way there.
    Unreachable,
    /// RST.
    Reset,
    /// The connection ended before the answer was whole.
    ClosedEarly,
    /// No whole answer in time.
    TimedOut,
    /// A whole answer, with a status that is a failure.
    Status(u16),
    /// The bytes are not the expected ones.
    Differs,
    /// The answer is not HTTP/1.1.
    NotHttp,
    /// This machine has no descriptor or port left.
    Exhausted,
    /// Any other error of the system.
    Other,
}

impl Failure {
    /// Whether a connection that was ended by a fault can be the cause: a whole answer that is wrong came over a
    /// connection that was fine.
    pub(super) fn ends_connection(self) -> bool {
        !matches!(self, Failure::Status(_) | Failure::Differs)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Failure::Refused => "refused",
            Failure::Unreachable => "unreachable",
            Failure::Reset => "connection reset",
            Failure::ClosedEarly => "closed early",
            Failure::TimedOut => "timed out",
            Failure::Status(status) => return write!(f, "status {status}"),
            Failure::Differs => "answer differs",
            Failure::NotHttp => "answer is not HTTP",
            Failure::Exhausted => "out of descriptors or ports",
            Failure::Other => "i/o error",
        };
        f.write_str(words)
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Failure {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Failure::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable => Failure::Unreachable,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Failure::Reset,
            Kind::UnexpectedEof => Failure::ClosedEarly,
            Kind::TimedOut => Failure::TimedOut,
            Kind::AddrNotAvailable => Failure::Exhausted,
            _ if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) => Failure::Exhausted,
            _ => Failure::Other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::from(&error)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Failure {
        if error.is_parse() {
            return Failure::NotHttp;
        }
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Failure::from(error);
            }
            cause = error.source();
        }
        // Ended before a whole head, or while the request waited for it.
        Failure::ClosedEarly
    }
}
