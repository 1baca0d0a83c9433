//! What squall answers when it can not do what it was asked: no fault's doing, and said so.

use bytes::Bytes;
use squall_core::http::{Fields, Response, StatusCode};

use super::exchange::VERSION;
use crate::meter::{Count, Meter};

/// Why a request could not be passed on.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// The word of RFC 9209, 2.3 for it.
    pub(crate) error: &'static str,
    /// In one line.
    pub(crate) why: String,
    /// Which failure of the upstream an exchange that ends with it counts as; none: it is none.
    pub(crate) counts: Option<fn(&Meter) -> &Count>,
}

impl Failure {
    /// Of a connect.
    pub(crate) fn to_connect(error: &std::io::Error) -> Failure {
        use std::io::ErrorKind;
        let (status, word) = match error.kind() {
            ErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
            ErrorKind::ConnectionRefused => (StatusCode::BAD_GATEWAY, "connection_refused"),
            ErrorKind::PermissionDenied => (StatusCode::BAD_GATEWAY, "destination_ip_prohibited"),
            ErrorKind::NotFound => (StatusCode::BAD_GATEWAY, "dns_error"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                (StatusCode::BAD_GATEWAY, "destination_ip_unroutable")
            }
            _ => (StatusCode::BAD_GATEWAY, "destination_unavailable"),
        };
        let why = format!("the upstream can not be reached: {error}");
        Failure { status, error: word, why, counts: Some(|meter| &meter.connect_failed) }
    }

    /// The answer, with the `Proxy-Status` field (RFC 9209) that tells it from one of the upstream's.
    pub(crate) fn answer(&self) -> (Response, Bytes) {
        let mut fields = Fields::default();
        fields.push("content-type", "text/plain; charset=utf-8");
        fields.push("proxy-status", format!("squall; error={}", self.error));
        let head = Response { status: self.status, reason: String::new(), version: VERSION, fields };
        (head, format!("squall: {}\n", self.why).into())
    }
}
