//! WebSocket between the versions: an upgrade in HTTP/1.1 (RFC 6455, 4) is an extended CONNECT in HTTP/2 (RFC 8441).

use std::cell::Cell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use squall_core::draw::DrawKey;
use squall_core::http::{Fields, Method, Request, Response, StatusCode};

use crate::clock::SystemClock;

const KEY: &str = "sec-websocket-key";
const ACCEPT: &str = "sec-websocket-accept";

/// The protocol that an upgrade asks for, if an extended CONNECT can stand for it.
pub(crate) fn protocol(request: &Request) -> Option<&'static str> {
    request.fields.has_token("upgrade", "websocket").then_some("websocket")
}

/// An upgrade, without what an extended CONNECT has none of (RFC 8441, 5), and what its answer has to prove.
pub(crate) fn to_connect(request: &Request) -> (Request, Option<String>) {
    let mut request = request.clone();
    let accept = request.fields.value(KEY).map(accept);
    request.fields.remove(KEY);
    (request, accept)
}

/// The answer to an extended CONNECT as that to an upgrade.
pub(crate) fn switched(response: &mut Response, accept: Option<&str>) {
    response.status = StatusCode::SWITCHING_PROTOCOLS;
    response.fields.set("upgrade", "websocket");
    if let Some(accept) = accept {
        response.fields.set(ACCEPT, accept);
    }
}

/// An extended CONNECT as an upgrade.
pub(crate) fn to_upgrade(request: &Request, protocol: &str) -> Request {
    let mut request = Request { method: Method::GET, protocol: None, ..request.clone() };
    request.fields.set("upgrade", protocol);
    if protocol.eq_ignore_ascii_case("websocket") {
        request.fields.set(KEY, nonce());
        if !request.fields.has("sec-websocket-version") {
            request.fields.push("sec-websocket-version", "13");
        }
    }
    request
}

/// The answer to an upgrade as that to an extended CONNECT.
pub(crate) fn connected(response: &Response) -> Response {
    let mut fields: Fields = response.fields.clone();
    fields.remove(ACCEPT);
    Response { status: StatusCode::OK, fields, ..response.clone() }
}

fn accept(key: &[u8]) -> String {
    let mut sum = Sha1::new();
    sum.update(key);
    sum.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(sum.finalize())
}

/// 16 bytes that no other handshake has. That nobody could guess them would matter to a browser only: they are there so that
/// no cache answers.
fn nonce() -> String {
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    let unit = NEXT.replace(NEXT.get().wrapping_add(1));
    let draw = DrawKey::new(SystemClock::mono(), "squall", "websocket").unit(unit);
    let bytes = [draw.at(0).to_le_bytes(), draw.at(1).to_le_bytes()].concat();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_in_the_standard_and_no_two_are_the_same() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455, 1.3
        let (one, other) = (nonce(), nonce());
        assert_ne!(one, other);
        assert_eq!(STANDARD.decode(one).map(|nonce| nonce.len()), Ok(16));
    }
}
