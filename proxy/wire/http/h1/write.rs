//! Heads and chunks, written.

use std::io::Write;

use squall_core::http::{Fields, Method, Request, Response, StatusCode};

use super::Framing;
use super::body::may_trail;
use super::scan::elements;

/// What the head says of the connection that it is sent on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passing<'a> {
    /// Whether that goes on.
    pub(crate) keep: Keep,
    /// Whether the exchange upgrades: only then does `Upgrade` pass.
    pub(crate) upgrade: bool,
    /// What stands in `Host`, if not the request's authority.
    pub(crate) host: Option<&'a str>,
}

/// Whether a connection goes on after the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As HTTP/1.1 has it: yes, without a word.
    #[default]
    Open,
    /// Yes, and it says so: to a client of HTTP/1.0.
    Alive,
    /// It ends.
    Close,
}

/// What stands behind a chunk's data.
pub(crate) const CHUNK_TAIL: &[u8] = b"\r\n";

/// Writes the head of a request. The target is a path, but for CONNECT (the authority) and OPTIONS of a whole server (`*`).
/// `framing` decides Content-Length and Transfer-Encoding, whatever the fields say.
///
/// Names, values, target and authority are written as they are: what squall has parsed can stand there, and whoever changes
/// them sees to it ([`squall_core::http::is_field_value`]).
pub(crate) fn write_request(request: &Request, framing: Framing, how: &Passing<'_>, out: &mut Vec<u8>) {
    let host = how.host.unwrap_or(&request.authority);
    let target = match &*request.target {
        _ if request.method == Method::CONNECT => &*request.authority,
        "" => "/",
        target => target,
    };
    put(out, &[request.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    put_field(out, b"Host", host.as_bytes());
    let frame = match framing {
        Framing::None | Framing::UntilClose => Frame::Nothing,
        Framing::Length(length) => Frame::Length(length),
        Framing::Chunked => Frame::Chunked,
    };
    write_fields(&request.fields, frame, how, out);
}

/// Writes the head of a response, an interim one too. `framing` decides Content-Length and Transfer-Encoding; where it is
/// [`Framing::None`], as to HEAD and in 304, Content-Length passes as it is, but for statuses that never have one (1xx, 204;
/// where CONNECT succeeds, parsing takes it away). A body until the end of the connection says that it ends.
pub(crate) fn write_response(response: &Response, framing: Framing, how: &Passing<'_>, out: &mut Vec<u8>) {
    let status = response.status;
    let reason = if response.reason.is_empty() { status.canonical_reason().unwrap_or("") } else { &response.reason };
    put(out, &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    let frame = match framing {
        Framing::None if status.is_informational() || status == StatusCode::NO_CONTENT => Frame::Nothing,
        Framing::None => Frame::AsSaid,
        Framing::Length(length) => Frame::Length(length),
        Framing::Chunked => Frame::Chunked,
        Framing::UntilClose => Frame::Nothing,
    };
    let keep = if framing == Framing::UntilClose { Keep::Close } else { how.keep };
    // 426 says by Upgrade what it wants (RFC 9110, 15.5.22), and upgrades pass here
    let upgrade = how.upgrade || (status == StatusCode::UPGRADE_REQUIRED && response.fields.has("upgrade"));
    write_fields(&response.fields, frame, &Passing { keep, upgrade, ..*how }, out);
}

/// Writes the head of a chunk: behind it go `len` bytes and [`CHUNK_TAIL`], or on purpose fewer.
pub(crate) fn chunk_head(len: usize, out: &mut Vec<u8>) {
    let _ = write!(out, "{len:x}\r\n"); // writing to a Vec never fails
}

/// Writes the end of a body in chunks, with those of the trailers that may stand there.
pub(crate) fn last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flat_map(Fields::iter).filter(|(name, _)| may_trail(name)) {
        put_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// What a head says of its body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Nothing,
    /// The Content-Length that is among the fields, if any.
    AsSaid,
    Length(u64),
    Chunked,
}

/// Writes fields and the empty line behind them; what is meant for the next hop only (RFC 9110, 7.6.1) does not pass. What
/// frames the body stands where it stood, or behind all others.
fn write_fields(fields: &Fields, mut frame: Frame, how: &Passing<'_>, out: &mut Vec<u8>) {
    let named = Named::new(fields);
    let mut trailers = false;
    for (name, value) in fields.iter() {
        match Kind::of(name) {
            Kind::Other if named.any && named.has(name) => {}
            Kind::Other => put_field(out, name, value),
            Kind::Length => match frame {
                Frame::AsSaid => put_field(out, name, value),
                Frame::Length(length) => {
                    put_length(out, name, length);
                    frame = Frame::Nothing;
                }
                Frame::Nothing | Frame::Chunked => {}
            },
            Kind::Coding if frame == Frame::Chunked => {
                put_field(out, name, b"chunked");
                frame = Frame::Nothing;
            }
            Kind::Upgrade if how.upgrade => put_field(out, name, value),
            Kind::Te if !trailers && elements(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")) => {
                put_field(out, name, b"trailers");
                trailers = true;
            }
            Kind::Coding | Kind::Upgrade | Kind::Te | Kind::Hop => {}
        }
    }
    match frame {
        Frame::Length(length) => put_length(out, b"Content-Length", length),
        Frame::Chunked => put_field(out, b"Transfer-Encoding", b"chunked"),
        Frame::Nothing | Frame::AsSaid => {}
    }
    put_connection(how, trailers, out);
    out.extend_from_slice(b"\r\n");
}

fn put_connection(how: &Passing<'_>, trailers: bool, out: &mut Vec<u8>) {
    let keep = match how.keep {
        Keep::Open => None,
        Keep::Alive => Some("keep-alive"),
        Keep::Close => Some("close"),
    };
    let options = [keep, how.upgrade.then_some("Upgrade"), trailers.then_some("TE")];
    for (n, option) in options.into_iter().flatten().enumerate() {
        let before: &[u8] = if n == 0 { b"Connection: " } else { b", " };
        put(out, &[before, option.as_bytes()]);
    }
    if options.iter().any(Option::is_some) {
        out.extend_from_slice(b"\r\n");
    }
}

/// What becomes of a field.
enum Kind {
    Other,
    Length,
    Coding,
    Upgrade,
    Te,
    /// It is for this hop alone.
    Hop,
}

impl Kind {
    #[inline]
    fn of(name: &[u8]) -> Kind {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is(b"te") => Kind::Te,
            4 if is(b"host") => Kind::Hop, // the authority stands for it
            7 if is(b"upgrade") => Kind::Upgrade,
            10 if is(b"connection") || is(b"keep-alive") => Kind::Hop,
            14 if is(b"content-length") => Kind::Length,
            16 if is(b"proxy-connection") => Kind::Hop,
            17 if is(b"transfer-encoding") => Kind::Coding,
            _ => Kind::Other,
        }
    }
}

/// The fields that Connection names as meant for this hop.
struct Named<'a> {
    fields: &'a Fields,
    /// Whether there is any, but for those that are known without it.
    any: bool,
}

impl Named<'_> {
    fn new(fields: &Fields) -> Named<'_> {
        let known = [&b"close"[..], b"keep-alive", b"upgrade", b"te", b""];
        let is_known = |option: &[u8]| known.iter().any(|known| option.eq_ignore_ascii_case(known));
        Named { fields, any: options(fields).any(|option| !is_known(option)) }
    }

    fn has(&self, name: &[u8]) -> bool {
        options(self.fields).any(|option| option.eq_ignore_ascii_case(name))
    }
}

fn options(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    fields.values("connection").flat_map(elements)
}

fn put_length(out: &mut Vec<u8>, name: &[u8], length: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    let mut rest = length;
    while rest > 0 || from == digits.len() {
        from -= 1;
        digits[from] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    put_field(out, name, &digits[from..]);
}

fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, &[name, b": ", value, b"\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.reserve(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
