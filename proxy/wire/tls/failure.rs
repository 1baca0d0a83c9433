//! Why a handshake failed, and on whose side: never by a fault, whose doings are on record as its own.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// With whom it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

/// What went wrong, as far as it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its certificate's time is over.
    Expired,
    /// Its certificate's time has not begun.
    NotYetValid,
    /// Its certificate is for another name.
    WrongName,
    /// Its certificate leads to no root that is trusted.
    Untrusted,
    /// Something else is wrong with its certificate.
    BadCertificate,
    /// No protocol in common (ALPN).
    NoProtocol,
    /// It refused, with this alert.
    Alert(AlertDescription),
    /// No version, cipher or other capability in common.
    Incompatible,
    /// What it sent is no TLS.
    NoTls,
    /// It closed within the handshake.
    Closed,
    /// It took too long.
    Late,
    /// The connection beneath failed.
    Broken,
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) side: Side,
    pub(crate) cause: Cause,
    /// In the words of whoever found it.
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(side: Side, error: &io::Error) -> Failure {
        let cause = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(error) => cause(error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Cause::Closed,
            None if error.kind() == io::ErrorKind::TimedOut => Cause::Late,
            None => Cause::Broken,
        };
        Failure { side, cause, detail: error.to_string() }
    }
}

fn cause(error: &Error) -> Cause {
    match error {
        Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Cause::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Cause::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Cause::WrongName,
            CertificateError::UnknownIssuer => Cause::Untrusted,
            _ => Cause::BadCertificate,
        },
        Error::NoCertificatesPresented => Cause::BadCertificate,
        Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Cause::NoProtocol
        }
        Error::AlertReceived(alert) => Cause::Alert(*alert),
        Error::PeerIncompatible(_) => Cause::Incompatible,
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => Cause::NoTls,
        _ => Cause::Broken,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.side {
            Side::Client => "client",
            Side::Upstream => "upstream",
        };
        write!(f, "the TLS handshake with the {who} failed: ")?;
        match self.cause {
            Cause::Expired => f.write_str("its certificate has expired")?,
            Cause::NotYetValid => f.write_str("its certificate is not valid yet")?,
            Cause::WrongName => f.write_str("its certificate is for another name")?,
            Cause::Untrusted => f.write_str("its certificate leads to no root that is trusted")?,
            Cause::BadCertificate => f.write_str("its certificate is wrong")?,
            Cause::NoProtocol => f.write_str("there is no protocol in common (ALPN)")?,
            Cause::Alert(alert) => write!(f, "it refused with the alert {alert:?}")?,
            Cause::Incompatible => f.write_str("there is no version or cipher in common")?,
            Cause::NoTls => f.write_str("what it sent is no TLS")?,
            Cause::Closed => f.write_str("it closed the connection")?,
            Cause::Late => f.write_str("it took too long")?,
            Cause::Broken => f.write_str("the connection broke")?,
        }
        write!(f, " ({})", self.detail)
    }
}
