//! The head of a response.

use squall_core::http::{Method, Response, StatusCode};

use super::head::{Part, VERSION, fields, minor_version, unexpected};
use super::scan::{line_end, trim, value_end};
use super::{Framing, Limits, Refusal, Scan, Side, Taken};

const SIDE: Side = Side::Response;

/// Parses the head of a response at the start of `buf`, to a request of the method `to`. An interim response (1xx) is one of
/// its own. Otherwise as [`request`](super::request()); each refusal is an upstream's fault, 502. A reason phrase that is no
/// text in UTF-8 is left out.
pub(crate) fn response(
    buf: &[u8],
    scan: &mut Scan,
    limits: &Limits,
    to: &Method,
    into: &mut Response,
) -> Result<Option<Taken>, Refusal> {
    let text = &buf[..buf.len().min(limits.head)];
    if scan.is_new() {
        into.clear();
    }
    if !status_line(text, scan, into)? || !response_fields(text, scan, limits, into)? {
        let is_too_large = text.len() == limits.head;
        return if is_too_large { Err(SIDE.too_large("the head is too large")) } else { Ok(None) };
    }
    let taken = conclude(scan, to, into)?;
    *scan = Scan::default();
    Ok(Some(taken))
}

/// Takes the first line (RFC 9112, 4); the space before a reason that is not there may be missing. False: more bytes are
/// needed.
fn status_line(text: &[u8], scan: &mut Scan, into: &mut Response) -> Result<bool, Refusal> {
    let place = &mut scan.place;
    if matches!(place.part, Part::Start | Part::Version) {
        place.part = Part::Version;
        let Some(version) = minor_version(text, SIDE)? else { return Ok(false) };
        into.version = version;
        place.enter(Part::Status, VERSION);
    }
    if place.part == Part::Status {
        let status = &text[place.mark..];
        let fits = |(n, byte): (usize, &u8)| match n {
            0 => *byte == b' ',
            1 => matches!(byte, b'1'..=b'9'),
            2 | 3 => byte.is_ascii_digit(),
            _ => matches!(byte, b' ' | b'\r'),
        };
        if !status.iter().take(5).enumerate().all(fits) {
            return Err(SIDE.wrong("a status that is none"));
        }
        let [_, a, b, c, _, ..] = status else { return Ok(false) };
        into.status = StatusCode::from_bytes(&[*a, *b, *c]).map_err(|_| SIDE.wrong("a status that is none"))?;
        let reason = place.mark + 4;
        place.enter(Part::Reason, reason);
    }
    if place.part != Part::Reason {
        return Ok(true);
    }
    place.at = value_end(text, place.at);
    match line_end(text, place.at) {
        None => return Ok(false),
        Some(true) => {}
        Some(false) => return Err(SIDE.wrong(unexpected(text, place.at, "a reason with a control character"))),
    }
    into.reason.push_str(std::str::from_utf8(trim(&text[place.mark..place.at])).unwrap_or_default());
    let next = place.at + 2;
    place.next_field(next);
    Ok(true)
}

fn response_fields(text: &[u8], scan: &mut Scan, limits: &Limits, into: &mut Response) -> Result<bool, Refusal> {
    let Scan { place, said, .. } = scan;
    fields(text, place, SIDE, |name, raw| {
        said.count(limits, SIDE)?;
        said.take(name, raw, SIDE)?;
        into.fields.push(name, trim(raw));
        Ok(())
    })
}

/// What all fields, the status and the request together say (RFC 9112, 6.3).
fn conclude(scan: &Scan, to: &Method, into: &mut Response) -> Result<Taken, Refusal> {
    let Scan { place, said, .. } = scan;
    let (version, status) = (into.version, into.status);
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !said.upgrades(version) {
        return Err(SIDE.wrong("101 that does not say to which protocol"));
    }
    let tunnels = *to == Method::CONNECT && status.is_success();
    let said_framing = said.framing(version, SIDE)?;
    let never_has_one = tunnels || status.is_informational() || status == StatusCode::NO_CONTENT;
    if never_has_one {
        into.fields.remove("content-length");
        into.fields.remove("transfer-encoding");
    }
    let has_none = never_has_one || *to == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    let framing = if has_none { Framing::None } else { said_framing };
    Ok(Taken {
        used: place.at,
        framing,
        persists: said.persists(version) && framing != Framing::UntilClose,
        expects_continue: false,
        upgrade: switches,
    })
}
